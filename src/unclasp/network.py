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


class Answer(NamedTuple):
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

    def __call__(self, crops: ByteArray, /) -> Answer:
        """Answer for (N, S, S, 3) RGB crops."""
        ...


def average_of_mirrored(both: Answer, size: int) -> Answer:
    """Average the answers for a crop and for its mirror image; sides and u are mirrored back."""
    mirrored = both.pose_2p5d[1, FLIPPED_JOINTS].copy()
    mirrored[:, 0] = size - 1 - mirrored[:, 0]
    return Answer(
        pose_2p5d=(both.pose_2p5d[:1] + mirrored) / 2,
        presence=(both.presence[:1] + both.presence[1, ::-1]) / 2,
        root_depth=None if both.root_depth is None else (both.root_depth[:1] - both.root_depth[1]) / 2,
        hand_probability=(both.hand_probability[:1] + both.hand_probability[1, :, ::-1]) / 2,
        confidence=None if both.confidence is None else (both.confidence[:1] + both.confidence[1, FLIPPED_JOINTS]) / 2,
        depth_axis=both.depth_axis,
    )
