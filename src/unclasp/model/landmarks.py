"""MediaPipe's hand landmark network, which `unclasp.find.landmarks` runs.

Bazarevsky et al., "MediaPipe Hands: On-device Real-time Hand Tracking" (2020), in the version of 2021.
"""

from pathlib import Path
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from unclasp.errors import CheckpointError
from unclasp.hands import JOINTS_PER_HAND
from unclasp.model.backbones.efficientnet import HandLandmarks
from unclasp.model.tflite import load_folded, read_layers

_FEATURE_CHANNELS: Final = 1152
"""Channels of the last block, from whose mean the outputs are computed."""
_OUTPUT_LAYERS: Final = (("conv_landmarks", 3 * JOINTS_PER_HAND), ("conv_handflag", 1), ("conv_handedness", 1))
"""Part of the name and number of outputs of each output layer: x, y, z in turn; logit of a hand; of a right hand.

MediaPipe calls the last one left, because it expects mirrored images.
"""


class LandmarkOutput(NamedTuple):
    """Output of the network for B crops."""

    joints: Tensor
    """(B, 21, 3) x, y and depth in px, in MediaPipe's order."""
    hand: Tensor
    """(B, 1) probability of a hand."""
    right: Tensor
    """(B, 1) probability of a right hand."""
    features: Tensor
    """(B, 1152) from which the others are computed."""


class LandmarkNet(nn.Module):
    """Predicts the joints of one hand that points up in a crop, and the probabilities of a hand and of a right hand."""

    def __init__(self) -> None:
        super().__init__()
        self.body = HandLandmarks()
        self.answers = nn.Linear(_FEATURE_CHANNELS, sum(outputs for _, outputs in _OUTPUT_LAYERS))

    def forward(self, image: Tensor) -> LandmarkOutput:
        """Predict from (B, 3, S, S) RGB crops, 0 to 255; S is 224."""
        features = self.body.before_last(image / self.body.std[0]).mean(dim=(2, 3))
        joints, hand, right = self.answers(features).split([n for _, n in _OUTPUT_LAYERS], dim=1)
        return LandmarkOutput(joints.unflatten(1, (JOINTS_PER_HAND, 3)), hand.sigmoid(), right.sigmoid(), features)


def load_landmarks(path: Path) -> LandmarkNet:
    """Load MediaPipe's weights, strictly.

    Args:
        path: hand_landmark_full.tflite of the package mediapipe.

    Raises:
        CheckpointError: The file cannot be read, or contains another network.
    """
    net = LandmarkNet().eval()
    load_folded(net.body, path)
    named = {name: layer for layer in read_layers(path) for name, _ in _OUTPUT_LAYERS if name in layer.name}
    expected = {name: (outputs, _FEATURE_CHANNELS) for name, outputs in _OUTPUT_LAYERS}
    if {name: tuple(layer.weight.shape) for name, layer in named.items()} != expected:
        raise CheckpointError(f"{path} has other output layers than MediaPipe's hand_landmark_full.tflite")
    layers = [named[name] for name, _ in _OUTPUT_LAYERS]
    with torch.no_grad():
        net.answers.weight.copy_(torch.cat([layer.weight for layer in layers]))
        net.answers.bias.copy_(torch.cat([layer.bias for layer in layers]))
    return net
