"""Tests of RGB2Hands on synthetic files of the same format: a few dark pictures and 2.5D annotations."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from unclasp.cli import main
from unclasp.data import open_dataset
from unclasp.data.rgb2hands import RGB2Hands
from unclasp.errors import UnclaspError
from unclasp.evaluate import PosePredictions, evaluate, mean_pose, score_predictions
from unclasp.hands import HAND_ORDERS

CAMERA = (61.0, 62.0, 39.5, 29.5)


def joints_of(seed: int) -> np.ndarray:
    """Return joints (42, 3) mm in front of the camera, in our order."""
    return np.random.default_rng(seed).uniform([-90, -90, 400], [90, 90, 500], (42, 3))


def rows_of(joints: np.ndarray, order: str = "interhand", first: str = "right") -> np.ndarray:
    """Return an annotation's rows: u, v, depth and a fourth number."""
    pixels = joints[:, :2] / joints[:, 2:] * CAMERA[:2] + CAMERA[2:]
    rows = np.column_stack([pixels, joints[:, 2], np.zeros(42)]).reshape(2, 21, 4)[:, HAND_ORDERS[order]]
    return (rows if first == "right" else rows[::-1]).reshape(42, 4)


def save_rows(folder: Path, number: str, rows: np.ndarray) -> None:
    path = folder / "annotation" / "annot2D_color" / f"{number}_color2.5D.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, rows)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Write three pictures in two sequences; the second picture of the first sequence has no annotation."""
    (tmp_path / "color_intrinsics.txt").write_text(" ".join(map(str, CAMERA)) + "\n")
    for name, numbers in (("seq01_crossed", ("000", "001")), ("seq03_shuffle", ("000",))):
        (tmp_path / name / "color").mkdir(parents=True)
        for number in numbers:
            cv2.imwrite(str(tmp_path / name / "color" / f"{number}_color.png"), np.full((60, 80, 3), 30, np.uint8))
    save_rows(tmp_path / "seq01_crossed", "000", rows_of(joints_of(0)))
    partly = rows_of(joints_of(1))
    partly[[3, 30], :] = [[0, 0, 0, 0], [-1, -1, 0, 0]]
    save_rows(tmp_path / "seq03_shuffle", "000", partly)
    return tmp_path


def test_the_annotation_makes_boxes_and_nothing_is_scored(root: Path) -> None:
    data = open_dataset(f"rgb2hands:{root}")
    assert isinstance(data, RGB2Hands)
    assert data.file_names == ["seq01_crossed/color/000_color.png", "seq03_shuffle/color/000_color.png"]
    sample = data[1]
    points = rows_of(joints_of(1))[[joint for joint in range(42) if joint not in (3, 30)], :2]
    low, high = points.min(axis=0), points.max(axis=0)
    centre, half = (low + high) / 2, (high - low) / 2 * 1.2
    np.testing.assert_allclose(sample.box, [*(centre - half), *(centre + half)], rtol=1e-5)
    assert sample.image.shape == (60, 80, 3) and sample.interacting and not sample.hand_type_valid
    assert not sample.valid.any()
    assert (*sample.focal.tolist(), *sample.princpt.tolist()) == CAMERA
    report = evaluate(mean_pose(data, image_size=64), data)
    assert report.samples["two"] == 2 and report.figures["mpjpe_all_mm"] is report.figures["plane_all_px"] is None
    assert report.notes["joints"].startswith("not scored")


def test_a_single_point_makes_no_box(root: Path) -> None:
    rows = np.zeros((42, 4))
    rows[5] = [30, 20, 450, 0]
    save_rows(root / "seq03_shuffle", "000", rows)
    assert len(open_dataset(f"rgb2hands:{root}")) == 1
    assert open_dataset(f"rgb2hands:{root},frames=all")[2].box.tolist() == [0, 0, 80, 60]


def test_all_frames(root: Path) -> None:
    data = open_dataset(f"rgb2hands:{root},frames=all")
    assert len(data) == 3 and data[1].box.tolist() == [0, 0, 80, 60]
    np.testing.assert_array_equal(data[0].box, open_dataset(f"rgb2hands:{root}")[0].box)


@pytest.mark.parametrize("order", ["mano", "mediapipe", "interhand"])
@pytest.mark.parametrize("first", ["right", "left"])
def test_an_order_makes_joints(root: Path, order: str, first: str) -> None:
    save_rows(root / "seq01_crossed", "000", rows_of(joints_of(0), order, first))
    data = RGB2Hands.named(f"{root},order={order},first_hand={first}")
    np.testing.assert_allclose(data[0].joints_cam, joints_of(0), rtol=1e-5)
    assert data[0].valid.all()
    assert data.notes["joints"].startswith(f"rows in {order} order, {first} hand first; third column")


def test_known_errors(root: Path) -> None:
    data = RGB2Hands(root, order="interhand")
    assert [joint for joint in range(42) if not data[1].valid[joint]] == [3, 30]
    truth = np.stack([joints_of(0), joints_of(1)])
    assert score_predictions(PosePredictions(joints_cam=truth), data).figures["mpjpe_all_mm"] == pytest.approx(
        0, abs=1e-4
    )
    truth[:, [0, 25]] += [4, 0, 3]
    truth[1, [3, 30]] = 1e6
    report = score_predictions(PosePredictions(joints_cam=truth), data)
    assert report.joint_errors["r_thumb4"] == pytest.approx(5, abs=1e-4)
    assert report.figures["mpjpe_all_mm"] == pytest.approx(5 * 2 / 42, abs=1e-4)


def test_the_folder_above_will_do(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    above = tmp_path / "RGB2HANDS_Benchmark"
    above.mkdir()
    (above / "data").symlink_to(root)
    with pytest.raises(SystemExit) as exit_:
        main(["evaluate", f"rgb2hands:{above}", "--mean-pose", "--workers", "0"])
    told = capsys.readouterr().out
    assert exit_.value.code == 0 and "hands: taken to be two in every picture" in told


def test_reports_name_what_is_missing(root: Path) -> None:
    """A partial download would otherwise be scored like the whole one."""
    note = (
        "seq01_crossed (2 pictures), seq03_shuffle (1 pictures); missing: seq02_occlusion, seq04_scratch; "
        "pictures without an annotation file: 1"
    )
    assert RGB2Hands(root).notes["sequences"] == RGB2Hands(root, frames="all").notes["sequences"] == note
    assert (
        score_predictions(PosePredictions(joints_cam=np.stack([joints_of(0), joints_of(1)])), RGB2Hands(root)).notes[
            "sequences"
        ]
        == note
    )
    for name in ("seq02_occlusion", "seq04_scratch"):
        (root / name / "color").mkdir(parents=True)
        cv2.imwrite(str(root / name / "color" / "000_color.png"), np.zeros((60, 80, 3), np.uint8))
        save_rows(root / name, "000", np.zeros((42, 4)))
    assert "seq04_scratch (1 pictures); missing: none; pictures" in RGB2Hands(root).notes["sequences"]


def test_pictures_of_another_size_are_refused(root: Path) -> None:
    path = root / "seq03_shuffle" / "color" / "000_color.png"
    cv2.imwrite(str(path), np.zeros((30, 40, 3), np.uint8))
    data = RGB2Hands(root)
    assert data[0].image.shape == (60, 80, 3)
    with pytest.raises(UnclaspError, match=r"seq03_shuffle/color/000_color\.png must be 80 x 60 px, .*, not 40 x 30"):
        data[1]
    for picture in root.glob("*/color/*.png"):
        cv2.imwrite(str(picture), np.zeros((30, 40, 3), np.uint8))
    with pytest.raises(
        UnclaspError, match=r"000_color\.png is 40 x 30 px, of which the principal point .*39\.5, 29\.5"
    ):
        RGB2Hands(root)


def test_damage_is_told(root: Path) -> None:
    def fails(told: str, name: str = "") -> None:
        with pytest.raises(UnclaspError, match=told) as caught:
            RGB2Hands.named(f"{root}{name}")
        assert "\n" not in str(caught.value)

    fails("has none of seq01_crossed", "/seq01_crossed")
    fails("order must be one of interhand, ", ",order=coco")
    fails("the option split of the data set is unknown; there are frames, order, first_hand", ",split=test")
    annotation = root / "seq01_crossed" / "annotation" / "annot2D_color" / "000_color2.5D.txt"
    save_rows(root / "seq01_crossed", "000", rows_of(joints_of(0))[:40])
    assert len(RGB2Hands(root)) == 2
    fails("has 40 lines; order= needs one for each of the 42 joints", ",order=mano")
    for content, told in (
        ("1 2\n", "at least 3 numbers a line"),
        ("a b c\n", "cannot be read as rows"),
        ("", "finite"),
    ):
        annotation.write_text(content)
        fails(told)
    annotation.write_text("1 2 nan\n")
    fails("must hold finite numbers")
    annotation.write_text("1 2 1e300\n")
    fails("must hold finite numbers, smaller than 1e\\+09")
    annotation.unlink()
    (root / "color_intrinsics.txt").write_text("1e-300 500 320 240\n")
    fails("must begin with fx fy cx cy, .* at least 1")
    (root / "color_intrinsics.txt").write_text("500 500\n")
    fails("must begin with fx fy cx cy")
    (root / "color_intrinsics.txt").unlink()
    fails("color_intrinsics.txt cannot be read")
