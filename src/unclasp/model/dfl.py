"""The complete network (figure 2).

Letters: B batch, S side of the square crop in pixels.
"""

import torch
from torch import Tensor, nn

from unclasp.batch import Prediction
from unclasp.config import DepthAxis
from unclasp.errors import UnclaspError
from unclasp.geometry import DEPTH_RANGE
from unclasp.hands import HAND_SLICES
from unclasp.model.backbones import Backbone
from unclasp.model.confidence import evidence
from unclasp.model.encoder import Encoder
from unclasp.model.relation import Readout
from unclasp.model.units import depth_of, pixels_of


class Normalise(nn.Module):
    """Normalises RGB values in 0..255 as the backbone's pretrained weights expect.

    Comparable published methods only divide by 255. Here each backbone keeps the normalisation of its pretrained
    weights: ImageNet's for ResNet, the division by 255 for MediaPipe's.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone, image_size: int) -> None:
        super().__init__()
        self.image_size = image_size
        self.register_buffer("mean", torch.tensor(backbone.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(backbone.std).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, 3, S, S) RGB, uint8 or float in 0..255, to floats as the backbone expects.

        Raises:
            UnclaspError: The image is no tensor, has no crops, or is of another shape or precision.
        """
        self._check(image)
        return (image - self.mean) / self.std

    def _check(self, image: object) -> None:
        shape = (3, self.image_size, self.image_size)
        expected = f"image must be (B, {', '.join(map(str, shape))})"
        if not isinstance(image, Tensor):
            got = type(image).__name__
            raise UnclaspError(f"{expected}, a tensor, got {got}; convert arrays with torch.from_numpy")
        if image.shape[1:] != shape or image.shape[0] == 0:
            raise UnclaspError(f"{expected}, got {tuple(image.shape)}; give crops of that side, one or more")
        kept = self.mean.dtype
        if image.dtype == torch.bool or torch.promote_types(image.dtype, kept) != kept:
            raise UnclaspError(f"{expected} of uint8 or {kept}, got {image.dtype}; convert it with image.to({kept})")


class RootDepth(nn.Module):
    """Head for the depth of the left wrist relative to the right one, from the crop's and both hands' mean features."""

    def __init__(self, overview_channels: int, joint_channels: int, hidden: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(overview_channels + 2 * joint_channels, hidden), nn.ReLU(), Readout(hidden, 1, bias=0.0)
        )

    def forward(self, overview: Tensor, joints: Tensor) -> Tensor:
        """Map crop features (B, A) and joint features (B, 42, C) to the relative depth (B,) in mm."""
        hands = [joints[:, hand].mean(dim=1) for hand in HAND_SLICES]
        depth: Tensor = self.network(torch.cat((overview, *hands), dim=-1))
        return DEPTH_RANGE / 2 * depth.squeeze(-1)


class DFL(nn.Module):
    """The pose network: predicts the 2.5D pose of two interacting hands from crops."""

    name = "DFL"

    def __init__(
        self, normalise: Normalise, encoder: Encoder, decoder: nn.Module, *,
        presence: nn.Module | None = None, root_depth: nn.Module | None = None,
        confidence: nn.Module | None = None, depth_axis: DepthAxis = DepthAxis.CAMERA,
    ) -> None:  # fmt: skip
        """Assemble the network.

        Args:
            normalise: Maps RGB crops (B, 3, S, S) to the backbone's input.
            encoder: Maps normalised crops to `encoder.Encoded`.
            decoder: Maps `Encoded.levels` to `decoder.Decoded`.
            presence: Maps the mean appearance of the coarsest level (B, A) to logits (B, 2) of the right and left hand.
            root_depth: Maps the same mean and `Decoded.joints` (B, 42, C) to the depth of the left wrist minus that of
                the right one, (B,) mm.
            confidence: Maps `confidence.evidence` (B, 42, F) to logits (B, 42).
            depth_axis: Axis along which depths are measured; it is only reported and does not affect the computation.
        """
        super().__init__()
        self.normalise = normalise
        self.encoder = encoder
        self.decoder = decoder
        self.presence = presence
        self.root_depth = root_depth
        self.confidence = confidence
        self.depth_axis = depth_axis

    @property
    def image_size(self) -> int:
        """S, side of the crops in px."""
        return self.normalise.image_size

    def forward(self, image: Tensor) -> Prediction:
        """Predict from crops (B, 3, S, S) RGB, uint8 or float in 0..255."""
        encoded = self.encoder(self.normalise(image))
        decoded = self.decoder(encoded.levels)
        overview = encoded.levels[0].appearance.mean(dim=1)
        presence = None if self.presence is None else self.presence(overview)
        confidence = None
        if self.confidence is not None:
            signs = evidence(decoded.pose, decoded.steps, decoded.relations, encoded.part_logits, presence)
            confidence = self.confidence(signs)
        size = self.image_size
        return Prediction(
            pose_2p5d=torch.cat((pixels_of(decoded.pose[..., :2], size), depth_of(decoded.pose[..., 2:])), dim=-1),
            steps=tuple(pixels_of(step, size) for step in decoded.steps),
            part_logits=encoded.part_logits,
            relations=decoded.relations,
            presence=presence,
            root_depth=None if self.root_depth is None else self.root_depth(overview, decoded.joints),
            confidence=confidence,
        )
