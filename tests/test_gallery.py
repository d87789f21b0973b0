"""The gallery draws the model's predictions for randomly chosen pictures."""

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dots import MakeSample
from unclasp.batch import Prediction, Sample
from unclasp.cli import main
from unclasp.config import DepthAxis
from unclasp.data.transforms import make_example, plain_view
from unclasp.errors import UnclaspError
from unclasp.evaluation.gallery import draw_gallery
from unclasp.evaluation.scores import WORST_KEPT


class Dots:
    """Samples of made-up pictures."""

    def __init__(self, make_sample: MakeSample, count: int) -> None:
        self.samples = [make_sample(index) for index in range(count)]
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        self.read.append(index)
        return self.samples[index]


class Knows:
    """Predicts the truth of its crop, shifted by some pixels."""

    name, image_size, depth_axis = "knows", 64, DepthAxis.CAMERA

    def __init__(self, dots: Dots, shift: float) -> None:
        examples = [make_example(sample, plain_view(sample.box), 64) for sample in dots.samples]
        self.crops = np.stack([example.image for example in examples]).astype(int)
        self.poses = np.stack([example.pose_2p5d for example in examples]) + np.float32([shift, 0, 0])
        self.present = torch.tensor(np.stack([example.hand_type for example in examples])) * 18.0 - 9.0

    def __call__(self, crops: torch.Tensor) -> Prediction:
        pictures = crops.permute(0, 2, 3, 1).numpy()
        which = [int(np.abs(self.crops - picture).sum(axis=(1, 2, 3)).argmin()) for picture in pictures]
        return Prediction(
            pose_2p5d=torch.from_numpy(self.poses[which]), steps=(), part_logits=torch.zeros(len(which), 33, 16, 16),
            relations=(), presence=self.present[which], root_depth=None,
        )  # fmt: skip


def halves(sheet: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the two pictures of the first cell."""
    return sheet[6:286, 6:286], sheet[6:286, 292:572]


def test_a_perfect_model_draws_the_truth_and_another_does_not(make_sample: MakeSample) -> None:
    dots = Dots(make_sample, 3)
    left, right = halves(draw_gallery(Knows(dots, 0.0), dots, count=1))
    assert (np.abs(left.astype(int) - right) > 40).mean() < 0.002
    left, right = halves(draw_gallery(Knows(dots, 9.0), dots, count=1))
    assert (np.abs(left.astype(int) - right) > 40).mean() > 0.01


def test_side_views_show_each_hand_over_the_true_one(make_sample: MakeSample) -> None:
    dots = Dots(make_sample, 1)
    knows = Knows(dots, 0.0)
    sheets = [draw_gallery(knows, dots, count=1, side_views=True)]
    knows.poses[:, :20, 2] += 60.0
    sheets.append(draw_gallery(knows, dots, count=1, side_views=True))
    assert [sheet.shape for sheet in sheets] == [(332, 578 + 2 * 286, 3)] * 2
    np.testing.assert_array_equal(sheets[0][:, :578], draw_gallery(Knows(dots, 0.0), dots, count=1))
    rights, lefts = ([sheet[6:286, start : start + 280] for sheet in sheets] for start in (578, 864))
    assert (lefts[0] == lefts[1]).all() and np.ptp(lefts[0]) > 100, "only the right hand is wrong, in depth"
    assert grey_bones(rights[1]) > 2 * grey_bones(rights[0]), "the true one is in sight beside a wrong one"


def test_a_hand_without_a_true_wrist_has_no_side_view(make_sample: MakeSample) -> None:
    dots = Dots(make_sample, 1)
    valid = dots.samples[0].valid.copy()
    valid[41] = False
    dots.samples[0] = replace(dots.samples[0], valid=valid)
    sheet = draw_gallery(Knows(dots, 0.0), dots, count=1, side_views=True)
    assert np.ptp(sheet[6:286, 864:1144].reshape(-1, 3), axis=0).max() == 0
    assert np.ptp(sheet[6:286, 578:858]) > 100


def grey_bones(card: np.ndarray) -> int:
    """Return the number of pixels that are nearly grey, and neither the card's light nor an outline's dark."""
    value, spread = card.astype(int).mean(axis=2), np.ptp(card.astype(int), axis=2)
    return int(((value > 170) & (value < 235) & (spread < 25)).sum())


def test_the_seed_decides_which(make_sample: MakeSample) -> None:
    dots = Dots(make_sample, 12)
    drawn = []
    for seed in (0, 0, 1):
        dots.read = []
        sheet = draw_gallery(Knows(dots, 0.0), dots, count=4, seed=seed, columns=3)
        drawn.append(sorted(set(dots.read[-4:])))
        assert sheet.shape == (2 * 332, 3 * 578, 3) and (sheet[340:620, 1200:] == (243, 242, 238)).all()
    assert drawn[0] == drawn[1] != drawn[2]


def test_each_of_many_has_its_error(make_sample: MakeSample, monkeypatch: pytest.MonkeyPatch) -> None:
    dots, told = Dots(make_sample, WORST_KEPT + 2), []
    monkeypatch.setattr("unclasp.evaluation.gallery.cv2.putText", lambda _picture, text, *_: told.append(text))
    sheet = draw_gallery(Knows(dots, 9.0), dots, count=WORST_KEPT + 2, columns=6)
    assert sheet.shape[0] == 17 * 332 and len(told) == 3 * (WORST_KEPT + 2)
    captions = [text for text in told if re.match(r"\d+ mm mean error   ", text)]
    assert sorted(text.split("   ")[1] for text in captions) == sorted(sample.name for sample in dots.samples)


@pytest.mark.parametrize("count", [0, 4])
def test_there_must_be_so_many(make_sample: MakeSample, count: int) -> None:
    dots = Dots(make_sample, 3)
    with pytest.raises(UnclaspError, match="from 1 to all 3 pictures"):
        draw_gallery(Knows(dots, 0.0), dots, count=count)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "sheet.png"
    with pytest.raises(SystemExit) as exit_:
        main(["gallery", "synthetic:test", "--count", "2", "--columns", "2", "--out", str(out)])
    assert exit_.value.code == 0 and str(out) in capsys.readouterr().out
    assert cv2.imread(str(out)).shape == (332, 2 * 578, 3)


def test_a_small_data_set_is_shown_whole(tmp_path: Path) -> None:
    for words in (
        ["synth", "write", "--out", tmp_path / "d", "--count", 2, "--split", "test", "--processes", 1],
        ["gallery", f"interhand:{tmp_path / 'd'}", "--columns", 2, "--out", tmp_path / "sheet.png"],
    ):
        with pytest.raises(SystemExit) as exit_:
            main([str(word) for word in words])
        assert exit_.value.code == 0
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (332, 2 * 578, 3)


@pytest.mark.parametrize(
    ("words", "told"), [(["--out", "sheet.gif"], "must end in .png or .jpg"), (["--columns", "0"], "at least 1")]
)
def test_wrong_use(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["gallery", "synthetic:test", *words])
    assert exit_.value.code == 2 and told in capsys.readouterr().err
