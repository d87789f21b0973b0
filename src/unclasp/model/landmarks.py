"""MediaPipe's hand landmark network with its answers: what `unclasp.find.landmarks` runs.

Bazarevsky et al., "MediaPipe Hands: On-device Real-time Hand Tracking" (2020), in its version of 2021.
"""

from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from unclasp.errors import CheckpointError
from unclasp.hands import JOINTS_PER_HAND
from unclasp.model.backbone import HandLandmarks
from unclasp.model.tflite import load_folded, read_layers

_WIDTH: Final = 1152
"""Channels of the last block, whose mean the answers are read from."""
_ANSWERS: Final = (("conv_landmarks", 3 * JOINTS_PER_HAND), ("conv_handflag", 1), ("conv_handedness", 1))
"""Part of the name and outputs of each layer: x, y, z in turn; logits of a hand, and of a right one.

MediaPipe calls the last one left, as it expects mirror images.
"""


class LandmarkNet(nn.Module):
    """Joints of one hand that points up in a crop, and whether it is a hand, and a right one."""

    def __init__(self) -> None:
        super().__init__()
        self.body = HandLandmarks()
        self.answers = nn.Linear(_WIDTH, sum(outputs for _, outputs in _ANSWERS))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Answer for (B, 3, S, S) RGB pictures, 0 to 255; S is 224.

        Returns:
            (B, 21, 3) px and depth in px, in MediaPipe's order, two of (B, 1) probabilities, of a hand and of a right
            one, and (B, 1152) the features that these are read from.
        """
        features = self.body.before_last(image / self.body.std[0]).mean(dim=(2, 3))
        joints, hand, right = self.answers(features).split([n for _, n in _ANSWERS], dim=1)
        return joints.unflatten(1, (JOINTS_PER_HAND, 3)), hand.sigmoid(), right.sigmoid(), features


def load_landmarks(path: Path) -> LandmarkNet:
    """Read MediaPipe's file, strictly.

    Args:
        path: hand_landmark_full.tflite of the package mediapipe.

    Raises:
        CheckpointError: The file cannot be read, or is of another network.
    """
    net = LandmarkNet().eval()
    load_folded(net.body, path)
    named = {name: layer for layer in read_layers(path) for name, _ in _ANSWERS if name in layer.name}
    expected = {name: (outputs, _WIDTH) for name, outputs in _ANSWERS}
    if {name: tuple(layer.weight.shape) for name, layer in named.items()} != expected:
        raise CheckpointError(f"{path} has other answers than MediaPipe's hand_landmark_full.tflite")
    layers = [named[name] for name, _ in _ANSWERS]
    with torch.no_grad():
        net.answers.weight.copy_(torch.cat([layer.weight for layer in layers]))
        net.answers.bias.copy_(torch.cat([layer.bias for layer in layers]))
    return net
