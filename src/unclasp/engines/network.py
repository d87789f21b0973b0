"""What a prediction asks of a network, whichever engine runs it: crops in, numpy arrays out."""

from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from unclasp.batch import ByteArray
from unclasp.config import DepthAxis
from unclasp.hands import FLIPPED_JOINTS

Floats = npt.NDArray[np.floating]


CLEAREST_SHARE: Final = 0.02
"""Without a presence head a hand is as certain as this share of the pixels, those that show it most clearly."""


class NetworkOutput(NamedTuple):
    """What a network says of N crops of S x S px."""

    pose_2p5d: Floats
    """(N, 42, 3) crop px and wrist-relative mm, along `depth_axis`."""
    presence: Floats
    """(N, 2) probabilities."""
    root_depth: Floats | None
    """(N,) mm, left minus right, along `depth_axis`."""
    hand_probability: Floats
    """(N, h, w) how likely each pixel of the finest map shows a hand."""
    confidence: Floats | None = None
    """(N, 42) how far each joint can be trusted, 0 to 1, or None where the network does not say."""
    depth_axis: DepthAxis = DepthAxis.CAMERA
    """What depths are measured along."""


class Network(Protocol):
    """Any engine that answers for crops: `Predictor(network)` works with whatever has these three."""

    name: str
    """Names the weights in results."""
    image_size: int
    """S px."""

    def __call__(self, crops: ByteArray, /) -> NetworkOutput:
        """Answer for (N, S, S, 3) RGB crops."""
        ...


def mirror_output(answer: NetworkOutput, size: int) -> NetworkOutput:
    """Return the answer for crops of size x size px from that for their mirror images."""
    pose = answer.pose_2p5d[:, FLIPPED_JOINTS]
    pose[..., 0] = size - 1 - pose[..., 0]
    return answer._replace(
        pose_2p5d=pose, presence=answer.presence[:, ::-1],
        root_depth=None if answer.root_depth is None else -answer.root_depth,
        hand_probability=answer.hand_probability[..., ::-1],
        confidence=None if answer.confidence is None else answer.confidence[:, FLIPPED_JOINTS],
    )  # fmt: skip


def average_flip_test(both: NetworkOutput, size: int) -> NetworkOutput:
    """Average the answers for a crop and for its mirror image; sides and u are mirrored back."""
    back = mirror_output(both, size)
    mean = both._replace(
        pose_2p5d=_mean(both.pose_2p5d, back.pose_2p5d), presence=_mean(both.presence, back.presence),
        hand_probability=_mean(both.hand_probability, back.hand_probability),
    )  # fmt: skip
    if both.root_depth is not None and back.root_depth is not None:
        mean = mean._replace(root_depth=_mean(both.root_depth, back.root_depth))
    if both.confidence is not None and back.confidence is not None:
        mean = mean._replace(confidence=_mean(both.confidence, back.confidence))
    return mean


def _mean(both: Floats, back: Floats) -> Floats:
    return np.asarray((both[:1] + back[1:]) / 2)
