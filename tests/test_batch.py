"""Validation of samples, and methods of batches."""

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data._utils.pin_memory import pin_memory

from unclasp.batch import Batch, Sample


def fields(**changes: Any) -> dict[str, Any]:
    return {
        "image": np.zeros((6, 8, 3), dtype=np.uint8),
        "joints_cam": np.zeros((42, 3), dtype=np.float32),
        "valid": np.ones(42, dtype=np.bool_),
        "focal": np.ones(2, dtype=np.float32),
        "princpt": np.ones(2, dtype=np.float32),
        "box": np.array([0, 0, 8, 6], dtype=np.float32),
        "hand_type": np.array([True, True]),
        "hand_type_valid": True,
        "parts": np.zeros((6, 8), dtype=np.uint8),
        "name": "picture",
    } | changes


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("image", np.zeros((6, 8), dtype=np.uint8), "image must be (H, W, 3)"),
        ("image", np.zeros((6, 8, 4), dtype=np.uint8), "image must be uint8 of shape (6, 8, 3)"),
        ("image", np.zeros((6, 8, 3), dtype=np.float32), "image must be uint8"),
        ("joints_cam", np.zeros((21, 3), dtype=np.float32), "joints_cam must be float32 of shape (42, 3)"),
        ("joints_cam", np.zeros((42, 3)), "got float64"),
        ("valid", np.ones(42, dtype=np.float32), "valid must be bool"),
        ("focal", np.float32(500.0).reshape(1), "focal must be float32 of shape (2,)"),
        ("princpt", np.zeros(3, dtype=np.float32), "princpt must be float32 of shape (2,)"),
        ("box", np.zeros((2, 2), dtype=np.float32), "box must be float32 of shape (4,)"),
        ("box", np.float32([3, 1, 3, 1]), "of more than a point, got [3. 1. 3. 1.] for picture"),
        ("box", np.float32([3, 1, 2, 5]), "box must be x1, y1, x2, y2"),
        ("box", np.float32([0, 1, np.nan, 5]), "box must be x1, y1, x2, y2"),
        ("focal", [500.0, 500.0], "focal must be an array, float32 of shape (2,), got list"),
        ("hand_type", "right", "hand_type must be an array, bool of shape (2,), got str"),
        ("hand_type", np.array([1, 0]), "hand_type must be bool"),
        ("parts", np.zeros((8, 6), dtype=np.uint8), "parts must be uint8 of shape (6, 8)"),
    ],
)
def test_a_malformed_sample_names_the_field(field: str, value: Any, expected: str) -> None:
    with pytest.raises(ValueError) as caught:
        Sample(**fields(**{field: value}))
    assert expected in str(caught.value)


def test_a_sample_may_lack_parts_and_cannot_be_changed() -> None:
    sample = Sample(**fields(parts=None))
    with pytest.raises(FrozenInstanceError):
        sample.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("hand_type", "interacting"), [((True, True), True), ((True, False), False), ((False, True), False)]
)
def test_interacting_is_decided_by_the_hand_type_alone(hand_type: tuple[bool, bool], interacting: bool) -> None:
    sample = Sample(**fields(hand_type=np.array(hand_type), valid=np.zeros(42, dtype=np.bool_)))
    assert sample.interacting is interacting


@pytest.fixture
def batch() -> Batch:
    return Batch(
        image=torch.zeros(2, 3, 8, 8, dtype=torch.uint8), pose_2p5d=torch.zeros(2, 42, 3), valid=torch.zeros(2, 42) > 0,
        parts=torch.zeros(2, 8, 8, dtype=torch.int64), parts_valid=torch.zeros(2) > 0, hand_type=torch.zeros(2, 2) > 0,
        hand_type_valid=torch.zeros(2) > 0, root_depth=torch.zeros(2), root_depth_valid=torch.zeros(2) > 0,
        names=("a", "b"),
    )  # fmt: skip


def test_a_batch_moves_every_tensor_and_keeps_the_names(batch: Batch) -> None:
    moved = batch.to("meta")
    assert len(moved) == len(batch) == 2
    assert moved.names == ("a", "b")
    tensors = [value for value in vars(moved).values() if isinstance(value, torch.Tensor)]
    assert len(tensors) == 9
    assert all(tensor.device.type == "meta" for tensor in tensors)
    assert batch.image.device.type == "cpu"


def test_a_batch_can_be_pinned(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader asks for it; without the method it would leave the batch as it is, and say nothing."""
    pinned: list[torch.Tensor] = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor)
    assert pin_memory(batch).names == batch.names
    assert len(pinned) == 9
