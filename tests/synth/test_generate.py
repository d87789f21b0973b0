"""Samples depend only on (seed, index, options)."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from unclasp.errors import UnclaspError
from unclasp.synth import generate as module
from unclasp.synth.generate import MIN_HAND_SHARE, MIN_ON_HAND, Generated, generate
from unclasp.synth.preview import contact_sheet, draw_sample, draw_skeleton

SIZE = 96

PROGRAM = """
import hashlib
from unclasp.synth.generate import generate
sample = generate({seed}, {index}, size={size})
for name in ("image", "parts", "depth", "joints_cam", "focal", "princpt"):
    print(hashlib.sha256(getattr(sample, name).tobytes()).hexdigest())
"""


def equal(first: Generated, second: Generated) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_order_of_calls_does_not_matter() -> None:
    forwards = [generate(3, index, size=SIZE) for index in range(4)]
    backwards = [generate(3, index, size=SIZE) for index in reversed(range(4))]
    assert all(equal(a, b) for a, b in zip(forwards, reversed(backwards), strict=True))


def test_seeds_and_indices_differ() -> None:
    pictures = [generate(seed, index, size=SIZE).image for seed in (0, 1) for index in (0, 1)]
    digests = {hashlib.sha256(picture.tobytes()).hexdigest() for picture in pictures}
    assert len(digests) == 4


def test_another_process_draws_the_same() -> None:
    program = PROGRAM.format(seed=8, index=5, size=SIZE)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    sample = generate(8, 5, size=SIZE)
    names = ("image", "parts", "depth", "joints_cam", "focal", "princpt")
    assert run.stdout.split() == [hashlib.sha256(getattr(sample, name).tobytes()).hexdigest() for name in names]


def test_truth_is_consistent() -> None:
    for index in range(8):
        sample = generate(11, index, size=SIZE)
        np.testing.assert_array_equal(sample.valid, np.repeat(sample.hand_type, 21))
        assert (sample.joints_cam[~sample.valid] == 0).all()
        joints = sample.joints_cam[sample.valid]
        pixels = joints[:, :2] / joints[:, 2:] * sample.focal + sample.princpt
        assert ((pixels > -0.5) & (pixels < SIZE - 0.5)).all(axis=1).mean() >= 0.96
        columns, rows = np.clip(np.rint(pixels), 0, SIZE - 1).astype(int).T
        assert (sample.parts[rows, columns] > 0).mean() >= MIN_ON_HAND
        assert (sample.parts > 0).mean() >= MIN_HAND_SHARE
        assert sample.kind in ("contact", "interlaced", "apart", "right", "left")
        assert sample.hand_type.sum() == (1 if sample.kind in ("right", "left") else 2)


def test_size_is_an_option() -> None:
    for size in (64, 160):
        sample = generate(2, 1, size=size)
        assert sample.image.shape == (size, size, 3)
        assert sample.parts.shape == sample.depth.shape == (size, size)


def test_hopeless_views_end_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "acceptable", lambda *_: False)
    monkeypatch.setattr(module, "_ATTEMPTS", 2)
    with pytest.raises(UnclaspError, match="larger size"):
        generate(0, 0, size=SIZE)


def test_preview_draws_three_pictures_per_sample() -> None:
    samples = [generate(4, index, size=SIZE) for index in range(3)]
    assert draw_skeleton(samples[0]).shape == (2 * SIZE, 2 * SIZE, 3)
    assert draw_sample(samples[0]).shape == (SIZE, 3 * SIZE, 3)
    sheet = contact_sheet(samples, columns=2)
    assert sheet.shape == (2 * SIZE, 6 * SIZE, 3)
    np.testing.assert_array_equal(sheet[:SIZE, :SIZE], samples[0].image)
    assert (sheet[SIZE:, 3 * SIZE :] == 0).all()
    np.testing.assert_array_equal(contact_sheet(samples[:1], columns=4), draw_sample(samples[0]))
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([])
