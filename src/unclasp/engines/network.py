"""The interface between predictions and networks, independent of the engine: crops in, NumPy arrays out."""

from typing import Final, NamedTuple, Protocol

import numpy as np

from unclasp.arrays import Floats, Pixels, Singles
from unclasp.config import DepthAxis
from unclasp.hands import FLIPPED_JOINTS, PARTS_PER_HAND

CLEAREST_SHARE: Final = 0.02
"""Without a presence head, the presence of a hand is its mean probability over this share of the pixels, those where it
is highest."""


class NetworkOutput(NamedTuple):
    """Output of a network for N crops of S x S px."""

    pose_2p5d: Floats
    """(N, 42, 3) u, v in crop px and wrist-relative depth in mm along `depth_axis`."""
    presence: Floats
    """(N, 2) probability that the right and the left hand is present."""
    root_depth: Floats | None
    """(N,) mm, depth of the left wrist minus that of the right one, along `depth_axis`; None without that head."""
    hand_probability: Floats
    """(N, h, w) probability that each pixel of the finest map shows a hand."""
    confidence: Floats | None = None
    """(N, 42) confidence in each joint, 0 to 1; None without a confidence head."""
    depth_axis: DepthAxis = DepthAxis.CAMERA
    """Axis along which depths are measured."""


def output_of(
    *, pose_2p5d: Singles, part_logits: Singles, presence: Singles | None, root_depth: Singles | None,
    confidence: Singles | None, depth_axis: DepthAxis,
) -> NetworkOutput:  # fmt: skip
    """Convert a network's raw outputs, in which parts, presence and confidence are logits.

    Args:
        pose_2p5d: As of `NetworkOutput`.
        part_logits: (N, 33, h, w).
        presence: (N, 2) logits, or None without that head: then the part segmentation decides (`CLEAREST_SHARE`).
        root_depth: As of `NetworkOutput`.
        confidence: (N, 42) logits, or None without that head.
        depth_axis: As of `NetworkOutput`.
    """
    probabilities = _softmax(part_logits)
    return NetworkOutput(
        pose_2p5d=pose_2p5d.astype(np.float64),
        presence=_presence_from_parts(probabilities) if presence is None else _sigmoid(presence),
        root_depth=None if root_depth is None else root_depth.astype(np.float64),
        hand_probability=1 - probabilities[:, 0].astype(np.float64),
        confidence=None if confidence is None else _sigmoid(confidence),
        depth_axis=depth_axis,
    )


def _softmax(logits: Singles) -> Singles:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Singles = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _sigmoid(logits: Singles) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))


def _presence_from_parts(probabilities: Singles) -> Floats:
    """Return (N, 2): the mean probability of each hand over the `CLEAREST_SHARE` of pixels where it is highest."""
    sides = probabilities[:, 1:].reshape(len(probabilities), 2, PARTS_PER_HAND, -1).sum(axis=2)
    count = max(1, round(CLEAREST_SHARE * sides.shape[2]))
    return np.asarray(np.sort(sides, axis=2)[..., -count:].mean(axis=2, dtype=np.float64))


class Network(Protocol):
    """A network in any engine: `Predictor(network)` works with every object that has these three members."""

    name: str
    """Name of the weights, as given in results."""
    image_size: int
    """S, side of the crops in px."""

    def __call__(self, crops: Pixels, /) -> NetworkOutput:
        """Predict from (N, S, S, 3) RGB crops."""
        ...


def mirror_output(output: NetworkOutput, size: int) -> NetworkOutput:
    """Convert the output for mirrored crops of size x size px to the output for the crops themselves."""
    pose = output.pose_2p5d[:, FLIPPED_JOINTS]
    pose[..., 0] = size - 1 - pose[..., 0]
    return output._replace(
        pose_2p5d=pose, presence=output.presence[:, ::-1],
        root_depth=None if output.root_depth is None else -output.root_depth,
        hand_probability=output.hand_probability[..., ::-1],
        confidence=None if output.confidence is None else output.confidence[:, FLIPPED_JOINTS],
    )  # fmt: skip


def average_flip_test(both: NetworkOutput, size: int) -> NetworkOutput:
    """Average the outputs for a crop and for its mirror image; sides and u of the latter are mirrored back first.

    Args:
        both: Output for a batch of two: the crop and its mirror image.
        size: Side of the crop in px.
    """
    own, other = both._asdict(), mirror_output(both, size)._asdict()
    means = {name: (own[name][:1] + other[name][1:]) / 2 for name in own if isinstance(own[name], np.ndarray)}
    return both._replace(**means)
