"""The measurement table: matching with reference hands, and the command from files to figures."""

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from command_line import run_here
from dots import make_sample_function
from unclasp import geometry
from unclasp.checkpoint import save_weights
from unclasp.cli import main
from unclasp.errors import DataError, UnclaspError
from unclasp.evaluation.measure import measure, summarise_photos
from unclasp.evaluation.photo_versions import Version
from unclasp.evaluation.reference_photos import (
    PhotoScore,
    ReferenceHand,
    ReferencePhoto,
    in_version,
    read_photos,
    score_photo,
)
from unclasp.hands import HAND_ORDERS
from unclasp.model import DFL, build
from unclasp.predictor import Predictor
from unclasp.presets import tiny

RNG = np.random.default_rng(0)
RIGHT, LEFT = RNG.uniform(0, 100, (21, 2)), RNG.uniform(300, 400, (21, 2))


class Pose:
    """The fields of a `HandPose` that `score_photo` reads."""

    def __init__(self, right: np.ndarray, left: np.ndarray, sides: tuple[str, ...]) -> None:
        self.joints_2d, self.sides = np.concatenate([right, left]), sides
        self.touching: tuple[Pose, ...] = ()


def photo(*hands: ReferenceHand, in_view: int | None = 2) -> ReferencePhoto:
    return ReferencePhoto(Path("a.jpg"), hands, in_view)


REFERENCE = photo(ReferenceHand("right", RIGHT), ReferenceHand("left", LEFT))


def test_the_reference_itself_scores_perfectly() -> None:
    score = score_photo(Pose(RIGHT, LEFT, ("right", "left")), REFERENCE)
    assert score == PhotoScore((0.0, 0.0), (True, True), 2, 2)


def test_a_known_shift_is_a_share_of_the_hands_box() -> None:
    score = score_photo(Pose(RIGHT + np.array([3, 4]), LEFT, ("right", "left")), REFERENCE)
    assert score.distances[0] == pytest.approx(5 / np.ptp(RIGHT, axis=0).max()) and score.distances[1] == 0


def test_swapped_sides_are_close_and_wrong() -> None:
    score = score_photo(Pose(LEFT, RIGHT, ("right", "left")), REFERENCE)
    assert score.distances == (0.0, 0.0) and score.sides_right == (False, False)


def test_each_predicted_hand_goes_with_one_reference() -> None:
    score = score_photo(Pose(RIGHT, LEFT, ("right",)), REFERENCE)
    assert score == PhotoScore((0.0, float("inf")), (True, False), 1, 2)


def test_each_reference_goes_with_the_nearest_predicted_hand() -> None:
    right_alone = photo(ReferenceHand("right", RIGHT))
    score = score_photo(Pose(RIGHT, LEFT, ("right", "left")), right_alone)
    assert score == PhotoScore((0.0,), (True,), 2, 2)


def test_distances_are_shares_of_the_references_size_whatever_the_predicted_one() -> None:
    small, large = np.zeros((21, 2)), np.zeros((21, 2))
    small[0], large[0] = [10.0, 0.0], [31.0, 0.0]
    score = score_photo(Pose(large, LEFT, ("right",)), photo(ReferenceHand("right", small)))
    assert score.distances == pytest.approx((21 / 21 / 10,))


def test_references_of_mirrored_photos_are_of_the_other_side() -> None:
    same, flip = np.eye(3), geometry.flip_matrix(400)
    for matrix, sides in ((same, ["right", "left"]), (flip, ["left", "right"])):
        hands = in_version(REFERENCE, Version("made", np.zeros((400, 400, 3), np.uint8), matrix)).hands
        assert [hand.side for hand in hands] == sides
        for hand, joints in zip(hands, (RIGHT, LEFT), strict=True):
            np.testing.assert_array_equal(hand.joints_2d, joints if matrix is same else joints * [-1, 1] + [399, 0])


@pytest.mark.parametrize(("in_view", "row"), [(2, 3), (1, 4)])
def test_neither_too_many_nor_too_few_hands_are_right(in_view: int, row: int) -> None:
    values = [summarise_photos([PhotoScore((), (), hands, in_view)])[row].value for hands in range(5)]
    assert values == [100.0 * (hands == in_view) for hands in range(5)]


def test_hands_of_others_that_touch_a_single_one_are_reported_too() -> None:
    pose = Pose(RIGHT, LEFT, ("right",))
    pose.touching = (Pose(LEFT, RIGHT, ("right",)),)
    assert score_photo(pose, REFERENCE).hands == 2


def test_figures_of_known_scores() -> None:
    figures = summarise_photos([
        PhotoScore((0.1, 0.7), (True, True), 2, 2), PhotoScore((0.2,), (False,), 1, 2), PhotoScore((), (), 2, 1),
    ])  # fmt: skip
    values = [figure.value for figure in figures]
    assert values == pytest.approx([200 / 3, 100 / 3, 0.2, 50.0, 0.0])
    assert figures[0].group == "3 photos, 3 reference hands" and str(figures[2]) == "0.200"


def test_a_median_that_most_references_have_no_part_in_is_a_dash() -> None:
    figures = summarise_photos([PhotoScore((0.1, math.inf, math.inf), (True, False, False), 1, 2)])
    assert figures[2].name == "median 2D / box" and figures[2].value is None and str(figures[2]) == "-"


def test_figures_that_nothing_tells_are_dashes() -> None:
    assert [str(figure) for figure in summarise_photos([])] == ["-"] * 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sample = make_sample_function()(0)
    (tmp_path / "photos").mkdir()
    (tmp_path / "points").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "a.png"), sample.image)
    points = RIGHT[HAND_ORDERS["mediapipe"]].tolist()
    content = {"hands": [{"handedness_raw": "Right", "keypoints_2d_px": points}]}
    (tmp_path / "points" / "a.json").write_text(json.dumps(content))
    (tmp_path / "manifest.csv").write_text("file,hands\nphotos/a.png,2\n")
    return tmp_path


def test_references_come_in_mediapipes_order(folder: Path) -> None:
    (read,) = read_photos(folder / "photos", folder / "points")
    assert read.in_view == 2 and read.hands[0].side == "right"
    np.testing.assert_allclose(read.hands[0].joints_2d, RIGHT)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "not whole JSON"),
        ("[" * 10**5, "nested too deeply"),
        ("[]", "not a file of reference hands"),
        ('{"hands": [{"handedness_raw": "Up"}]}', "KeyError"),
        (None, "missing"),
    ],
)
def test_damaged_references_are_named(folder: Path, content: str | None, told: str) -> None:
    path = folder / "points" / "a.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(DataError, match=told) as error:
        read_photos(folder / "photos", folder / "points")
    assert str(path) in str(error.value)


@pytest.mark.parametrize("points", [[[math.nan, 1.0], *[[2.0, 3.0]] * 20], [[5.0, 5.0]] * 21, [[1e999, 0.0]] * 21])
def test_references_without_a_place_or_an_extent_are_named(folder: Path, points: list[list[float]]) -> None:
    """No distance to them would be a number, and every hand would count as missed."""
    path = folder / "points" / "a.json"
    path.write_text(json.dumps({"hands": [{"handedness_raw": "Right", "keypoints_2d_px": points}]}))
    with pytest.raises(DataError, match=r"a\.json is not a file of reference hands .*finite, and not all the same"):
        read_photos(folder / "photos", folder / "points")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--changed",), "--changed is for photos: add --photos and --references"),
        (
            ("--rendered", "None", "--frames", "interhand:x", "--limit", "3"),
            "--limit is for rendered pictures, and there",
        ),
    ],
)
def test_options_without_an_effect_are_refused(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    code, _, errors = run_here(capsys, "measure", *words)
    assert code == 2 and errors.startswith(f"error: {told}")


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures"):
        read_photos(tmp_path, tmp_path)


def test_a_manifest_may_be_of_a_spreadsheet(folder: Path) -> None:
    """Spreadsheets write a mark at the start of files in UTF-8."""
    (folder / "manifest.csv").write_text("file,hands\na.png,2\n", encoding="utf-8-sig")
    assert [photo.in_view for photo in read_photos(folder / "photos", folder / "points")] == [2]


def test_a_manifest_without_the_columns_is_named(folder: Path) -> None:
    (folder / "manifest.csv").write_text("name\na\n")
    with pytest.raises(DataError, match="columns file and hands"):
        read_photos(folder / "photos", folder / "points")


@pytest.mark.parametrize("row", ["photos/a.png", "photos/a.png,", "photos/a.png,two", "photos/a.png,²"])
def test_a_manifest_may_leave_a_count_out(folder: Path, row: str) -> None:
    (folder / "manifest.csv").write_text(f"file,hands\n{row}\n", encoding="utf-8")
    (read,) = read_photos(folder / "photos", folder / "points")
    assert read.in_view is None


def test_a_manifest_that_is_not_text_is_named(folder: Path) -> None:
    (folder / "manifest.csv").write_bytes(b"file,hands\nphotos/\xff.png,2\n")
    with pytest.raises(DataError, match=r"manifest\.csv is not a CSV file in UTF-8"):
        read_photos(folder / "photos", folder / "points")


def loaded(folder: Path) -> tuple[DFL, Predictor]:
    """Return a tiny model, and a predictor of it."""
    model = build(tiny().model).eval()
    save_weights(folder / "a.safetensors", model.state_dict(), tiny())
    return model, Predictor.load(folder / "a.safetensors")


def test_nothing_to_measure_on(folder: Path) -> None:
    with pytest.raises(UnclaspError, match="nothing to measure"):
        measure(*loaded(folder))


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    weights = folder / "a.safetensors"
    save_weights(weights, build(tiny().model).state_dict(), tiny())
    make = make_sample_function()
    monkeypatch.setattr("unclasp.data.open_dataset", lambda name, **_: [make(0), make(1, hands="left")])
    words = ["measure", str(weights), str(weights), "--rendered", "None", "--frames", "interhand:x"]
    with pytest.raises(SystemExit) as stop:
        main([*words, "--photos", str(folder / "photos"), "--references", str(folder / "points")])
    lines = capsys.readouterr().out.splitlines()
    assert stop.value.code == 0 and lines[0].count(f"{folder.name}/a") == 2
    assert any(line.startswith("| real frames | Two mm |") for line in lines)
    assert any(line.startswith("| real frames, whole | Two mm |") for line in lines)
    assert any("1 photos, 1 reference hands | median 2D / box" in line for line in lines)


def test_the_command_prints_json_that_any_reader_takes(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_weights(folder / "a.safetensors", build(tiny().model).state_dict(), tiny())
    reference = folder / "points" / "a.json"
    hands = json.loads(reference.read_bytes())["hands"]
    reference.write_text(json.dumps({"hands": hands * 5}))  # of which at most two can be matched
    monkeypatch.chdir(folder)
    words = ["measure", "a.safetensors", "--rendered", "None", "--photos", "photos", "--references", "points", "--json"]
    with pytest.raises(SystemExit) as stop:
        main(words)
    (told,) = json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert stop.value.code == 0 and told["model"] == f"{folder.name}/a"
    assert [figure["value"] for figure in told["figures"] if figure["name"] == "median 2D / box"] == [None]


@pytest.mark.parametrize("flag", [None, "--no-landmarks", "--no-second-opinions"])
def test_whole_pictures_are_touched_up_and_asked_again_unless_told_otherwise(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, flag: str | None
) -> None:
    save_weights(folder / "a.safetensors", build(tiny().model).state_dict(), tiny())
    loaded: list[Predictor] = []
    load = Predictor.load
    monkeypatch.setattr(Predictor, "load", lambda *a, **k: loaded.append(load(*a, **k)) or loaded[-1])
    words = ["measure", str(folder / "a.safetensors"), "--rendered", "None", "--photos", str(folder / "photos")]
    with pytest.raises(SystemExit) as stop:
        main([*words, "--references", str(folder / "points"), *([flag] if flag else [])])
    assert stop.value.code == 0, capsys.readouterr().err
    assert [each.landmarks is None for each in loaded] == [flag == "--no-landmarks"]
    assert [each.photo_search.second_opinions for each in loaded] == [flag != "--no-second-opinions"]


def test_versions_of_photos_have_rows_of_their_own(folder: Path) -> None:
    photos = read_photos(folder / "photos", folder / "points")
    given = loaded(folder)
    plain, changed = (measure(*given, photos=photos, changed=changed) for changed in (False, True))
    assert changed[: len(plain)] == plain
    assert {figure.group for figure in changed[len(plain) :]} == {"8 versions of photos, 8 reference hands"}


def test_photos_and_references_go_together(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["measure", "--photos", str(folder)])
    assert stop.value.code == 2 and "--photos and --references go together" in capsys.readouterr().err
