"""Compares our reader, crop and command with the results of two published loaders and evaluators on a made-up set."""

import json
from pathlib import Path

import numpy as np
import pytest

from unclasp.cli import main
from unclasp.data import open_dataset
from unclasp.data.interhand import InterHand
from unclasp.data.transforms import Example, make_example, plain_view
from unclasp.evaluate import PosePredictions
from unclasp.evaluation.prediction_file import write_predictions

EXPECTED = Path(__file__).parents[1] / "data" / "golden" / "expected"
EVALUATORS = [("internet", 64), ("a2j", 256)]
FIGURES = {
    "MPJPE_all_mm": "mpjpe_all_mm", "MPJPE_single_mm": "mpjpe_single_mm", "MPJPE_two_mm": "mpjpe_two_mm",
    "MRRPE_mm": "mrrpe_mm", "handedness_accuracy": "handedness_accuracy",
}  # fmt: skip


@pytest.fixture(scope="module")
def examples(golden_mini: Path) -> dict[str, Example]:
    dataset = InterHand(golden_mini, "test")
    samples = (dataset[index] for index in range(len(dataset)))
    return {sample.name: make_example(sample, plain_view(sample.box), 256) for sample in samples}


@pytest.mark.parametrize(("evaluator", "size"), EVALUATORS)
def test_crops_are_the_published_ones_to_a_grey_level(examples: dict[str, Example], evaluator: str, size: int) -> None:
    targets = np.load(EXPECTED / evaluator / "targets.npz")
    names = [str(targets["file_name"][row]) for row in targets["crop_index"]]
    assert len(names) == 3
    for name, crop in zip(names, targets["crop"], strict=True):
        difference = np.abs(examples[name].image.astype(int) - crop.transpose(1, 2, 0))
        assert (difference.max(axis=2) <= 1).mean() >= 0.999, name
        assert crop.any()


@pytest.mark.parametrize(("evaluator", "size"), EVALUATORS)
def test_targets_are_the_published_ones(examples: dict[str, Example], evaluator: str, size: int) -> None:
    targets = np.load(EXPECTED / evaluator / "targets.npz")
    for row, name in enumerate(targets["file_name"]):
        example, published = examples[str(name)], targets["joint_coord"][row].astype(np.float64)
        valid = targets["joint_valid"][row] > 0
        np.testing.assert_array_equal(example.valid, valid, err_msg=str(name))
        np.testing.assert_allclose(example.pose_2p5d[valid, :2], published[valid, :2] * (256 / size), atol=1e-2)
        np.testing.assert_allclose(example.pose_2p5d[valid, 2], (published[valid, 2] / size - 0.5) * 400, atol=1e-2)
        np.testing.assert_array_equal(example.hand_type, targets["hand_type"][row] > 0)


def test_the_only_split_needs_no_name(golden_mini: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(open_dataset(f"interhand:{golden_mini}")) == 33
    assert [record.getMessage() for record in caplog.records] == [
        f"{golden_mini} has no split but test, which is taken"
    ]


def test_the_only_split_is_no_news_where_none_was_expected(golden_mini: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(open_dataset(f"interhand:{golden_mini}", default_split=None)) == 33
    assert not caplog.records


@pytest.mark.parametrize(("evaluator", "size"), EVALUATORS)
def test_the_command_gives_the_published_figures(
    golden_mini: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], evaluator: str, size: int
) -> None:
    stored = np.load(EXPECTED / evaluator / "predictions.npz")
    expected = json.loads((EXPECTED / evaluator / "expected.json").read_text())
    has_heads = "MRRPE_mm" in expected
    predictions = PosePredictions.from_heatmaps(
        stored["joint_coord"], size=size, names=tuple(map(str, stored["file_name"])),
        root_depth=stored["rel_root_depth"][:, 0] if has_heads else None,
        presence=stored["hand_type"] if has_heads else None,
    )  # fmt: skip
    write_predictions(tmp_path / "theirs.npz", predictions)
    with pytest.raises(SystemExit) as exit_:
        main(["evaluate", f"interhand:{golden_mini}:test", "--predictions", str(tmp_path / "theirs.npz"), "--json"])
    assert exit_.value.code == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert set(expected) <= set(FIGURES) and len(expected) == (5 if has_heads else 3)
    for name, value in expected.items():
        assert figures[FIGURES[name]] == pytest.approx(value, abs=1e-3), name
