"""The torch engine: inputs and outputs."""

import os
import pickle

import numpy as np
import pytest
import torch

from unclasp.batch import Prediction
from unclasp.config import DepthAxis
from unclasp.engines.network import NetworkOutput, mirror_output, output_of
from unclasp.engines.torch_network import TorchNetwork
from unclasp.errors import UnclaspError

SIZE = 64


class Listening(torch.nn.Module):
    """Returns a made-up prediction and records its input."""

    depth_axis = DepthAxis.CROP

    def __init__(self, *, presence: bool = True, roots: bool = True, right: float = 0.0, pixels: int = 0) -> None:
        super().__init__()
        self.presence, self.roots, self.right, self.pixels = presence, roots, right, pixels

    def forward(self, image: torch.Tensor) -> Prediction:
        self.image = image
        count = len(image)
        logits = torch.zeros(count, 33, 16, 16)
        logits[:, 0] = 20.0
        logits[:, 5].flatten(1)[:, : self.pixels] = 40.0
        return Prediction(
            pose_2p5d=torch.arange(42 * 3.0).view(42, 3).repeat(count, 1, 1),
            steps=(),
            part_logits=logits,
            relations=(),
            presence=torch.tensor([[self.right, -self.right]] * count) if self.presence else None,
            root_depth=torch.full((count,), 12.0) if self.roots else None,
        )


def test_the_network_gets_channels_first_rgb_bytes() -> None:
    model = Listening(right=2.0)
    crops = np.random.default_rng(0).integers(0, 255, (2, SIZE, SIZE, 3)).astype(np.uint8)
    answer = TorchNetwork(model, name="listening", image_size=SIZE)(crops)  # type: ignore[arg-type]
    assert model.image.dtype == torch.uint8 and not model.training
    np.testing.assert_array_equal(model.image.permute(0, 2, 3, 1).numpy(), crops)
    np.testing.assert_allclose(answer.presence, [[0.880797, 0.119203]] * 2, atol=1e-6)
    np.testing.assert_array_equal(answer.root_depth, [12, 12])
    assert answer.depth_axis is DepthAxis.CROP
    np.testing.assert_array_equal(answer.pose_2p5d[1, 1], [3, 4, 5])
    assert answer.hand_probability.shape == (2, 16, 16) and answer.hand_probability.max() < 1e-6


def test_a_fork_of_a_process_with_several_threads_is_told_to_load_its_own_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its parent's threads are gone, and torch would wait for them for ever. Another process is no fork."""
    network = TorchNetwork(Listening(), name="x", image_size=SIZE)  # type: ignore[arg-type]
    crops = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    pickled, process = pickle.dumps(network), os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: process + 1)
    for threads in (1, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert pickle.loads(pickled)(crops).presence.shape == (1, 2)  # noqa: S301
        if threads == 1:
            network(crops)
            continue
        with pytest.raises(UnclaspError, match=r"with several threads in a fork .*: load it in each process"):
            network(crops)


@pytest.mark.parametrize(("pixels", "present"), [(0, False), (1, False), (2, False), (3, True), (10, True)])
def test_without_the_head_presence_comes_from_the_parts(pixels: int, present: bool) -> None:
    """Part 5 belongs to the right index; two of the five clearest pixels of 256 are not enough for a hand."""
    model = Listening(presence=False, roots=False, pixels=pixels)
    answer = TorchNetwork(model, name="x", image_size=SIZE)(np.zeros((1, SIZE, SIZE, 3), np.uint8))  # type: ignore[arg-type]
    assert (answer.presence[0, 0] >= 0.5) == present
    assert answer.presence[0, 1] < 1e-6 and answer.root_depth is None
    assert answer.hand_probability[0].round().sum() == pixels


def output(part_logits: np.ndarray) -> NetworkOutput:
    return output_of(
        pose_2p5d=np.zeros((1, 42, 3), np.float32), part_logits=part_logits.astype(np.float32), presence=None,
        root_depth=None, confidence=None, depth_axis=DepthAxis.CAMERA,
    )  # fmt: skip


def test_on_a_small_map_one_pixel_tells_a_hand_and_parts_of_a_hand_add_up() -> None:
    logits = np.zeros((1, 33, 4, 4))
    logits[:, 0] = 900.0
    logits[0, [0, 20, 25], 2, 1] = 0.0, 900.0, 900.0
    found = output(logits)
    np.testing.assert_allclose(found.presence, [[0, 1]], atol=1e-6)
    expected = np.zeros((4, 4))
    expected[2, 1] = 1
    np.testing.assert_allclose(found.hand_probability[0], expected, atol=1e-6)


def test_the_hands_of_a_mirrored_map_are_mirrored_back() -> None:
    found = output(np.random.default_rng(0).normal(0, 1, (1, 33, 4, 6)))
    mirrored = mirror_output(found, 24)
    np.testing.assert_array_equal(mirrored.hand_probability, found.hand_probability[..., ::-1])
