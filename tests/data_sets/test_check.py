"""Tests of `unclasp data check`, `unclasp data index` and `unclasp data show` on sets with known contents."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import pytest
from made_set import change, fit, make_small, set_annotations, set_mano

from unclasp import geometry
from unclasp.cli import main
from unclasp.commands.sheets import write_sheet
from unclasp.data import check as module
from unclasp.data.check import check
from unclasp.data.container import open_arrays
from unclasp.data.entries import annotation_entries
from unclasp.data.fields import leaves_folder
from unclasp.data.interhand import InterHand
from unclasp.data.layout import PUBLISHED, Counts, annotation_path
from unclasp.data.problems import Problems
from unclasp.data.show import contact_sheet, draw_annotations
from unclasp.errors import DataError, UnclaspError
from unclasp.hands import FINGER_COLOURS

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "interhand_mini"


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """Run `unclasp data WORDS` in this process; return exit code, output and errors."""
    with pytest.raises(SystemExit) as exit_:
        main(["data", *map(str, words)])
    told = capsys.readouterr()
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, told.out, told.err


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that the small set is the published one: three train pictures, one of them of two hands."""
    counts = {("train", "all"): Counts(2, 1), ("train", "human"): Counts(1, 1), ("val", "all"): Counts(4, 5)}
    monkeypatch.setattr(module, "PUBLISHED", counts)


# ---- check


def test_published_counts_add_up() -> None:
    """Compare with the totals stated in the papers."""
    totals = {key: count.total for key, count in PUBLISHED.items()}
    assert totals["train", "all"] == 1_361_062 and totals["test", "all"] == 849_160
    assert totals["train", "human"] == 528_482 and totals["test", "human"] == 121_573
    assert totals["train", "machine"] == 909_037 and totals["test", "machine"] == 727_587
    assert totals["val", "machine"] == totals["val", "all"] == 380_125


def test_the_golden_set_is_whole(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = tmp_path / "mini"
    shutil.copytree(GOLDEN, root, ignore=shutil.ignore_patterns("*.index"))
    code, told, errors = run(capsys, "check", root)
    assert code == 0 and not errors
    images = json.loads(annotation_path(root, "test", "data").read_text())["annotations"]
    two = sum(entry["hand_type"] == "interacting" for entry in images)
    table = [line.split() for line in told.splitlines()]
    assert table[0][-4:] == ["the", "layout", "of", "v1.0"]
    assert table[2][:6] == ["test", "all", str(33 - two), str(two), "33", "849,160"]
    assert told.splitlines()[-1] == "whole: all that the annotations name is there"


def test_what_was_published_is_recognised(small: Path, published: None) -> None:
    set_mano(small, {"0": {"0": {"right": fit(), "left": fit()}, "1": {"right": fit(), "left": None}}})
    (small / "annotations" / "train" / "aid_human_annot_train.txt").write_text("0 1")  # both hands, and one
    result = check(small)
    (split,) = result.splits
    assert split.version == "v1.0, 5 fps" and split.fps == 30 and not split.problems
    assert split.counts == {"all": Counts(2, 1), "human": Counts(1, 1)} and split.index is None
    assert split.mano is not None and (split.mano.frames, split.mano.without_entry) == (2, 1)
    assert (split.mano.one_hand, split.mano.no_hand, split.mano.images_with_fit) == (1, 0, 2)
    assert (split.pictures.present, split.pictures.opened, split.pictures.missing) == (3, 3, 0)
    assert result.fetch == ["val: annotations and pictures", "test: annotations and pictures"]
    assert result.verdict == "partial"


@pytest.mark.parametrize(
    ("frames", "fps"), [((0, 18, 36), 5), ((0, 6, 12), 5), ((0, 3, 18), 30), ((7, 8, 9), 30), ((4,), None)]
)
def test_the_frame_rate_is_told_by_the_steps(tmp_path: Path, make_sample: Any, frames: Any, fps: int | None) -> None:
    """Tell the two releases apart, with frame clocks of 90 and of 30 ticks per second."""
    entries = [annotation_entries(make_sample(0), i, 0, f"Capture0/a/cam1/image{i}.jpg") for i in frames]
    set_annotations(tmp_path, entries)
    assert check(tmp_path).splits[0].fps == fps


def test_a_partial_download_is_named(small: Path, published: None, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(small / "images" / "train" / "Capture0")
    code, told, _ = run(capsys, "check", small)
    assert code == 1
    fetch = [line for line in told.splitlines() if line.startswith("  fetch: ")]
    assert fetch[0].startswith("  fetch: train: 2 pictures, of Capture0 (2); each of the image archives")
    assert fetch[1] == "  fetch: train: InterHand2.6M_train_MANO_NeuralAnnot.json, for part masks and the filtered set"
    assert [line.split()[1] for line in fetch[2:]] == ["val:", "test:"]
    assert "1 pictures there, 2 missing, 2 camera folders empty" in told
    assert told.splitlines()[-1].startswith("partial: ")


def test_the_old_release_is_recognised(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PUBLISHED_V0", {"train": 3})
    result = check(small)
    assert result.splits[0].version.startswith("v0.0: ") and result.verdict == "partial"
    assert result.fetch == ["train: the annotations of v1.0"]


def test_the_older_layout_tells_its_subsets_by_folders(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing_list = "H cannot be told without its list of annotation ids"
    assert missing_list in run(capsys, "check", small)[1]
    (small / "annotations" / "train").rename(small / "annotations" / "all")
    told = run(capsys, "check", small)[1]
    assert "the older layout" in told and missing_list not in told


def test_an_index_that_is_up_to_date_saves_the_reading(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(small, "data", lambda data: data["annotations"].reverse())
    before = check(small)
    path = InterHand(small).index.path
    monkeypatch.setattr(module, "read_annotations", lambda *_: 1 / 0)
    after = check(small)
    assert after.splits[0].index == str(path) and before.splits[0].index is None
    for name in ("counts", "problems", "pictures", "mano", "version", "fps"):
        assert getattr(after.splits[0], name) == getattr(before.splits[0], name), name
    assert after.splits[0].problems == ["2 annotations that stand in another order than the images (from number 1 on)"]


@pytest.mark.parametrize("focal", [[0.0, 0.0], [-500.0, 500.0], [float("nan"), 1.0], [float("inf"), 1.0]])
def test_a_camera_without_a_focal_length_is_damage(small: Path, focal: list[float]) -> None:
    """Projection would divide by it, and the errors would look like the model's."""
    change(small, "camera", lambda cameras: cameras["0"]["focal"].update({"000": focal}))
    result = check(small)
    assert result.verdict == "unusable" and result.splits[0].damaged
    with pytest.raises(DataError, match=r"damaged in camera\.json \(capture '0' camera '000': 'focal' must hold"):
        InterHand(small)


def test_images_without_an_annotated_joint_are_told(small: Path) -> None:
    def blank(count: int) -> Any:
        return lambda data: [entry.update(joint_valid=[[0]] * 42) for entry in data["annotations"][:count]]

    change(small, "data", blank(1))
    result = check(small)
    assert result.verdict == "whole" and len(InterHand(small)) == 3
    told = "1 images without an annotated joint, on which no pose can be trained or scored (image 0)"
    assert result.splits[0].problems == [told]
    change(small, "data", blank(3))
    assert check(small).verdict == "unusable"
    with pytest.raises(DataError, match="3 images, which are all that there are, without an annotated joint"):
        InterHand(small)


def test_examples_are_told_once(small: Path) -> None:
    problems = Problems()
    for example in ("a", "a", "b", "a"):
        problems.add("camera", example)
    assert problems.lines() == ["4 images whose camera is missing or damaged in camera.json (a, b)"]
    for example in ("c", "a", "c"):
        problems.add("camera", example)
    assert problems.lines() == ["7 images whose camera is missing or damaged in camera.json (a, b, c)"]
    for example in ("d", "e"):
        problems.add("camera", example)
    assert problems.lines() == ["9 images whose camera is missing or damaged in camera.json (a, b, c, …)"]
    assert Problems.from_json(problems.to_json()) == problems
    change(small, "data", lambda data: [image.update(camera="000", capture=7) for image in data["images"]])
    (told,) = (line for line in check(small).splits[0].problems if "camera" in line)
    assert told.endswith("(capture '7' camera '000': is missing)") and told.startswith("3 images")


@pytest.mark.parametrize(
    ("name", "leaves"),
    [
        ("Capture0/a/cam1/image1.jpg", False), ("Capture0/a..b/image1.jpg", False), ("..a/image..jpg", False),
        ("../x.jpg", True), ("a/../../x.jpg", True), ("a/..", True), ("/x.jpg", True), ("", True), ("a\0.jpg", True),
        ("..\\x.jpg", True), ("a\\..\\..\\x.jpg", True), ("\\x.jpg", True), ("C:\\x.jpg", True), ("C:x.jpg", True),
    ],
)  # fmt: skip
def test_names_that_leave_their_folder_are_known(name: str, leaves: bool) -> None:
    assert leaves_folder(name) is leaves


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (
            lambda lines: [*lines[:1], *lines[22:], *lines[1:22]],
            "joint 0 must be 'r_thumb4 0 1', got 'l_thumb_null 21 22'",
        ),
        (
            lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
            "joint 0 must be 'r_thumb4 0 1', got 'r_thumb3 1 2'",
        ),
        (lambda lines: [*lines[:4], "r_thumb1 3 2", *lines[5:]], "joint 3 must be 'r_thumb1 3 20', got 'r_thumb1 3 2'"),
        (
            lambda lines: [lines[0], *(f"l{line[1:]}" for line in lines[1:])],
            "joint 0 must be 'r_thumb4 0 1', got 'l_thumb_null 0 1'",
        ),
        (lambda lines: lines[:30], "joint 29 must be 'l_middle4 29 30', got 'nothing'"),
        (lambda lines: ["", "# none"], "joint 0 must be 'r_thumb4 0 1', got 'nothing'"),
    ],
)
def test_another_order_of_joints_is_not_whole(
    small: Path, capsys: pytest.CaptureFixture[str], edit: Any, told: str
) -> None:
    lines = (GOLDEN / "annotations" / "skeleton.txt").read_text().splitlines()
    path = small / "annotations" / "skeleton.txt"
    path.write_text("\n".join(lines))
    assert run(capsys, "check", small)[0] == 0
    path.write_text("\n".join(line.replace("_null ", "4 ") for line in lines))  # tips have two names
    assert run(capsys, "check", small)[0] == 0
    path.write_text("\n".join(edit(lines)))
    code, out, _ = run(capsys, "check", small)
    assert code == 1 and f"\n  fetch: {path} and the annotations, again: {told}\n" in out, out
    path.unlink()
    path.mkdir()
    code, out, _ = run(capsys, "check", small)
    assert code == 1 and f"\n  fetch: {path}, again: it cannot be read (Is a directory)\n" in out


def damage_box(index: Path) -> None:
    """Change one byte of the boxes, with the size and time of the file as they were."""
    content, stamp = index.read_bytes(), index.stat()
    box = open_arrays(index)[0]["box"].tobytes()
    index.write_bytes(content.replace(box, bytes([box[0] ^ 255]) + box[1:]))
    os.utime(index, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def test_a_damaged_index_is_told_and_made_anew(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = InterHand(small)[0].box
    path = InterHand(small).index.path
    damage_box(path)
    assert (InterHand(small)[0].box != expected).any()
    code, told, _ = run(capsys, "check", small)
    assert (
        code == 1 and f"\n  fetch: train: no file, but the index anew, by unclasp data index: {path} is damaged" in told
    )
    assert "  index: none that is up to date" in told and told.splitlines()[-1].startswith("partial")
    assert run(capsys, "index", small)[:2] == (0, f"train: 3 images, was damaged, built anew: {path}\n")
    np.testing.assert_array_equal(InterHand(small)[0].box, expected)
    assert run(capsys, "check", small)[0] == 0


def set_mask(root: Path, number: int, parts: np.ndarray | bytes, folder: str = "parts") -> None:
    (name,) = (name for name in InterHand(root).file_names if name.endswith(f"image{number}.jpg"))
    path = (root / folder / "train" / name).with_suffix(".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(parts if isinstance(parts, bytes) else cv2.imencode(".png", parts)[1].tobytes())


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (b"no picture", "is not a picture that can be decoded"),
        (np.full((96, 96), 33, np.uint8), "must hold part classes below 33 for (96, 96) pixels, got (96, 96) up to 33"),
        (np.zeros((48, 48), np.uint8), "must hold part classes below 33 for (96, 96) pixels, got (48, 48)"),
    ],
)
@pytest.mark.parametrize("folder", ["parts", "segms"])
def test_part_masks_are_opened_too(
    small: Path, capsys: pytest.CaptureFixture[str], damage: Any, told: str, folder: str
) -> None:
    for number in (0, 2):
        set_mask(small, number, np.full((96, 96), 32, np.uint8), folder)
    code, out, _ = run(capsys, "check", small)
    assert code == 0 and "\n  part masks: of 2 decoded 0 unreadable\n" in out
    set_mask(small, 2, damage, folder)
    code, out, _ = run(capsys, "check", small)
    assert code == 1 and "\n  part masks: of 2 decoded 1 unreadable\n" in out
    (fetch,) = (line for line in out.splitlines() if line.startswith("  fetch: "))
    assert fetch.startswith(f"  fetch: train: 1 of the part masks, again, or remove them: {small / folder / 'train'}")
    assert "image2.png" in fetch and told in fetch


def test_part_masks_in_a_database_are_opened_too(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = list(InterHand(small).file_names)
    with lmdb.open(str(small / "segm_32.lmdb"), map_size=1 << 22) as database, database.begin(write=True) as writing:
        for value, name in enumerate(names, start=31):
            mask = cv2.imencode(".png", np.full((96, 96), value, np.uint8))[1].tobytes()
            writing.put(f"train/{name.replace('.jpg', '.png')}".encode(), mask)
    code, told, _ = run(capsys, "check", small)
    assert code == 1 and "\n  part masks: of 3 decoded 1 unreadable\n" in told and "image2.png must hold part" in told


def test_a_database_that_cannot_be_opened_is_told(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (small / "segm_32.lmdb").write_bytes(b"no database" * 1000)
    code, told, _ = run(capsys, "check", small)
    assert code == 1 and "\n  fetch: train: the part masks, again, or remove them: " in told
    assert "is not an LMDB database that can be read" in told


def test_one_bad_split_does_not_hide_the_others(small: Path) -> None:
    for kind in ("data", "camera", "joint_3d"):
        path = annotation_path(small, "val", kind)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(annotation_path(small, "train", kind).read_bytes()[: 30 if kind == "camera" else None])
    result = check(small)
    assert [split.split for split in result.splits] == ["train"] and result.verdict == "partial"
    (error,) = result.errors
    assert "val_camera.json is not whole JSON" in error
    assert result.fetch == [f"val: the annotations in {small / 'annotations' / 'val'}, again"]


def test_json_holds_what_the_table_does(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told, _ = run(capsys, "check", small, "--json")
    content = json.loads(told)
    assert code == 0 and content["verdict"] == "whole" and content["release"] == "v1.0"
    (split,) = content["splits"]
    assert split["counts"] == {"all": {"single": 2, "interacting": 1, "total": 3}}
    assert split["published"]["all"]["total"] == 1_361_062 and split["pictures"]["present"] == 3


@pytest.mark.parametrize(("words", "opened"), [((), 3), (("--opened", "0"), 0), (("--opened", "2"), 2)])
def test_as_many_pictures_are_decoded_as_asked(
    small: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], opened: int
) -> None:
    content = json.loads(run(capsys, "check", small, "--json", *words)[1])
    assert content["splits"][0]["pictures"]["opened"] == opened
    content = json.loads(run(capsys, "check", small, "--json", "--open-all", *words)[1])
    assert content["splits"][0]["pictures"]["opened"] == 3


def test_wrong_use_is_told(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (small / "a.png").mkdir()
    (small / "a.txt").touch()
    for words, told in (
        (("check", small, "--opened", "-1"), "--opened must be at least 0, got -1"),
        (("check", small / "nowhere"), f"there is no folder {small / 'nowhere'}"),
        (("index", small, "--split", "val"), "val_data.json is missing"),
        (("show", small, "--count", "0"), "--count must be at least 1, got 0"),
        (("show", small, "--out", small / "a.png"), f"{small / 'a.png'}: is a folder; give the name of a file in it"),
        (("show", small / "nowhere", "--out", "x.gif"), "--out must end in .png or .jpg or .jpeg, got x.gif"),
        (("show", small / "nowhere", "--out", "x"), "--out must end in .png or .jpg or .jpeg, got x"),
        (("show", small / "nowhere", "--out", small / "a.txt" / "x.png"), "it is a file, not a folder"),
    ):
        code, out, errors = run(capsys, *words)
        assert code == 2 and not out and told in errors and errors.count("\n") == 1, errors


# ---- index


def test_indexing_tells_what_it_did(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = small / "annotations" / "train" / "InterHand2.6M_train.index"
    change(small, "data", lambda data: data["annotations"][1].update(bbox=[0, 0, 0, 0]))
    noticed = "train: noticed 1 images without a box of positive size, which are left out (image 1)\n"
    assert run(capsys, "index", small)[:2] == (0, f"train: 3 images, built: {path}\n{noticed}")
    assert run(capsys, "index", small)[:2] == (0, f"train: 3 images, up to date: {path}\n{noticed}")
    stamp = path.stat().st_mtime_ns
    assert run(capsys, "index", small, "--force")[1].startswith("train: 3 images, built: ")
    assert path.stat().st_mtime_ns > stamp


def test_indexing_counts_the_filtered_set(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    set_mano(small, {"0": {"0": {"right": fit(), "left": fit()}}})
    assert run(capsys, "index", small, "--filtered")[1].endswith("train: 1 images in the filtered two-hand set\n")


# ---- show


def test_joints_are_drawn_where_they_project(small: Path) -> None:
    sample = InterHand(small)[0]
    for zoom in (1.0, 4.0):
        drawn = draw_annotations(sample, zoom)
        assert drawn.shape == (96 * zoom, 96 * zoom, 3)
    pixels = geometry.project(sample.joints_cam, sample.focal, sample.princpt)
    places = (pixels + 0.5) * 4 - 0.5
    order = np.argsort(sample.joints_cam[:, 2])
    near = order[0]  # nothing lies on top of the nearest joint
    u, v = places[near].round().astype(int)
    colour = FINGER_COLOURS[near // 21, min(near % 21 // 4, 4)]
    assert np.abs(drawn[v, u].astype(int) - colour).max() <= 2
    colours = {tuple(colour) for side in FINGER_COLOURS.tolist() for colour in side}
    drawn_at = [tuple(drawn[round(y), round(x)].tolist()) in colours for x, y in places]
    assert np.mean(drawn_at) > 0.8, "on all joints but those that are drawn over at their rim"


def test_joints_that_are_not_valid_are_not_drawn(small: Path) -> None:
    change(small, "data", lambda data: data["annotations"][0].update(joint_valid=[[0]] * 42))
    sample = InterHand(small)[0]
    drawn, plain = draw_annotations(sample), sample.image
    x1, y1, x2, y2 = sample.box.round().astype(int)
    inside = slice(max(y1, 0) + 3, y2 - 3), slice(max(x1, 0) + 3, x2 - 3)
    np.testing.assert_array_equal(drawn[inside], plain[inside])


def test_a_sheet_shows_as_many_as_asked(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "sheets" / "sheet.png"
    code, told, _ = run(capsys, "show", small, "--count", "9", "--columns", "2", "--out", out)
    assert code == 0 and told == f"3 of 3 pictures of train: {out}\n"
    sheet = cv2.imread(str(out))
    assert sheet.shape == (2 * 394, 2 * 360, 3)
    cells = [sheet[y : y + 360, x : x + 360] for y in (0, 394) for x in (0, 360)]
    assert [len(np.unique(cell.reshape(-1, 3), axis=0)) > 1 for cell in cells] == [True, True, True, False]
    assert run(capsys, "show", small, "--hands", "interacting", "--out", out)[1].startswith("1 of 1 pictures")
    with pytest.raises(DataError, match="there is nothing to show"):
        contact_sheet(InterHand(small), [])


def test_a_sheet_that_is_too_large_for_a_jpeg_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, sheet = tmp_path / "sheet.jpg", np.zeros((65501, 2, 3), dtype=np.uint8)
    with pytest.raises(UnclaspError, match=r"sheet.jpg: a sheet of 2 x 65501 px is too large for this format"):
        write_sheet(out, sheet)
    assert not out.exists() and capfd.readouterr() == ("", "")
    write_sheet(out.with_suffix(".PNG"), sheet)
    assert cv2.imread(str(out.with_suffix(".PNG"))).shape == sheet.shape


def test_a_folder_without_that_split_is_shown_by_the_one_it_has(
    tmp_path: Path, make_sample: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_small(tmp_path, make_sample)
    for folder in ("annotations", "images"):
        (root / folder / "train").rename(root / folder / "test")
    for path in (root / "annotations" / "test").iterdir():
        path.rename(path.with_name(path.name.replace("train", "test")))
    assert "3 of 3 pictures of test" in run(capsys, "show", root, "--out", tmp_path / "sheet.jpg")[1]
