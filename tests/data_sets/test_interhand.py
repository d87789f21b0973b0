"""InterHand2.6M's layout: a written set reads back unchanged, interrupted runs resume, and damage is reported."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from made_set import change, set_annotations

from unclasp import geometry
from unclasp.data import open_dataset
from unclasp.data.entries import annotation_entries
from unclasp.data.interhand import InterHand
from unclasp.data.layout import annotation_path, parts_path
from unclasp.errors import DataError

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "interhand_mini"


# ---- reading


def test_annotations_read_back_as_the_samples_were(small: Path, make_sample: Any) -> None:
    dataset = InterHand(small)
    assert len(dataset) == 3
    for index, hands in enumerate(("interacting", "right", "left")):
        expected, sample = make_sample(index, hands=hands), dataset[index]
        np.testing.assert_array_equal(sample.valid, expected.valid)
        np.testing.assert_allclose(sample.joints_cam[sample.valid], expected.joints_cam[expected.valid], atol=1e-3)
        np.testing.assert_array_equal(sample.hand_type, expected.hand_type)
        for name in ("focal", "princpt", "box"):
            np.testing.assert_allclose(getattr(sample, name), getattr(expected, name), rtol=1e-6, err_msg=name)
        assert sample.image.shape == (96, 96, 3) and sample.parts is None and sample.hand_type_valid is True
        assert sample.name == f"Capture{index // 2}/hands/cam{index:03d}/image{index}.jpg"


def test_channels_are_red_green_blue(small: Path) -> None:
    path = small / "images" / "train" / InterHand(small).file_names[0]
    image = np.zeros((96, 96, 3), np.uint8)
    image[..., 2] = 250  # OpenCV's order: the last one is red
    cv2.imwrite(str(path), image)
    assert np.abs(InterHand(small)[0].image.reshape(-1, 3).mean(axis=0) - [250, 0, 0]).max() < 3


def test_orientation_tags_do_not_turn_what_was_annotated(small: Path) -> None:
    path = small / "images" / "train" / InterHand(small).file_names[0]
    plain = cv2.imencode(".jpg", np.full((96, 96, 3), np.arange(96)[:, None, None] > 47, np.uint8) * 200)[1].tobytes()
    tag = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # 6: turn by 90 degrees
    path.write_bytes(plain[:2] + b"\xff\xe1" + (len(tag) + 2).to_bytes(2, "big") + tag + plain[2:])
    assert cv2.imread(str(path))[10, [10, 80], 0].tolist() == [200, 0], "the tag works"
    assert InterHand(small)[0].image[[10, 80], 10, 0].tolist() == [0, 200]


def test_the_camera_turns_about_its_centre(small: Path) -> None:
    """campos is the camera's position, not a translation: a worked example for a quarter turn about y."""

    def turned(cameras: Any) -> None:
        cameras["0"]["campos"]["000"] = [10.0, 20.0, 30.0]
        cameras["0"]["camrot"]["000"] = [[0, 0, -1], [0, 1, 0], [1, 0, 0]]

    def placed(joints: Any) -> None:
        joints["0"]["0"]["world_coord"][4] = [610.0, 25.0, 33.0]

    change(small, "camera", turned)
    change(small, "joint_3d", placed)
    np.testing.assert_allclose(InterHand(small)[0].joints_cam[4], [-3.0, 5.0, 600.0], atol=1e-4)


def test_joints_that_were_not_annotated_hold_the_placeholder_and_are_not_valid(small: Path, make_sample: Any) -> None:
    sample = make_sample(0)
    sample.valid[[3, 30]] = False
    entry = annotation_entries(sample, 0, 0, "Capture0/hands/cam000/image0.jpg")
    world = np.array(entry["joint_3d"]["0"]["world_coord"])
    np.testing.assert_array_equal(world[[3, 30]], 1.0)
    np.testing.assert_allclose(world[sample.valid], sample.joints_cam[sample.valid], atol=1e-3)
    set_annotations(small, [entry])
    assert np.flatnonzero(~InterHand(small)[0].valid).tolist() == [3, 30]


@pytest.mark.parametrize(("wrist", "lost"), [(20, slice(0, 21)), (41, slice(21, 42))])
def test_a_missing_wrist_takes_its_whole_hand_along(small: Path, wrist: int, lost: slice) -> None:
    change(small, "data", lambda data: data["annotations"][0]["joint_valid"].__setitem__(wrist, [0]))
    expected = np.ones(42, bool)
    expected[lost] = False
    np.testing.assert_array_equal(InterHand(small)[0].valid, expected)


def test_annotations_are_found_by_their_id_not_their_place(small: Path) -> None:
    before = [InterHand(small)[i] for i in range(3)]
    change(small, "data", lambda data: data["annotations"].reverse())
    for index, sample in enumerate(before):
        np.testing.assert_array_equal(InterHand(small)[index].box, sample.box)


def test_pictures_come_in_the_order_of_the_file_whatever_their_ids(small: Path) -> None:
    before = [InterHand(small)[i] for i in range(3)]

    def edit(data: Any) -> None:
        data["images"].reverse()
        data["annotations"].insert(0, {**data["annotations"][0], "image_id": 99})

    change(small, "data", edit)
    for sample, index in zip(before, (2, 1, 0), strict=True):
        after = InterHand(small)[index]
        assert after.name == sample.name and after.hand_type.tolist() == sample.hand_type.tolist()
        np.testing.assert_array_equal(after.box, sample.box)


def test_an_invalid_hand_type_is_told(small: Path) -> None:
    change(small, "data", lambda data: data["annotations"][1].update(hand_type_valid=0))
    assert [InterHand(small)[i].hand_type_valid for i in range(3)] == [True, False, True]


def test_samples_can_be_changed_without_changing_the_data_set(small: Path) -> None:
    dataset = InterHand(small)
    first = dataset[0]
    for name in ("joints_cam", "valid", "box", "focal", "princpt", "hand_type", "image"):
        getattr(first, name)[:] = 0
    again = dataset[0]
    for name in ("joints_cam", "valid", "box", "focal", "princpt", "hand_type", "image"):
        assert getattr(again, name).any(), name


def test_part_masks_are_read_where_there_are_any(small: Path) -> None:
    mask = (np.arange(96 * 96) % 33).astype(np.uint8).reshape(96, 96)
    path = parts_path(small, "train", InterHand(small).file_names[2])
    path.parent.mkdir(parents=True)
    cv2.imwrite(str(path), mask)
    dataset = InterHand(small)
    np.testing.assert_array_equal(dataset[2].parts, mask)
    assert dataset[0].parts is None


# ---- damage


def test_files_that_are_missing_or_cut_are_named(small: Path) -> None:
    for kind in ("data", "camera", "joint_3d"):
        path = annotation_path(small, "train", kind)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataError, match=rf"train_{kind}\.json is not whole JSON"):
            InterHand(small)
        path.unlink()
        with pytest.raises(DataError, match=rf"train_{kind}\.json is missing; expected InterHand2.6M's v1.0 layout"):
            InterHand(small)
        path.write_bytes(whole)
    assert len(InterHand(small)) == 3


@pytest.mark.parametrize(
    ("kind", "edit", "told"),
    [
        ("camera", lambda c: c.pop("1"), "'1'"),
        ("camera", lambda c: c["0"]["campos"].pop("000"), "'000'"),
        ("camera", lambda c: c["1"]["focal"]["002"].append(1.0), r"'focal' must hold \(2,\) finite numbers"),
        ("camera", lambda c: c["0"]["princpt"].update({"000": [3.0]}), r"'princpt' must hold \(2,\)"),
        ("joint_3d", lambda j: j["0"].pop("1"), "'1'"),
        ("joint_3d", lambda j: j["0"]["1"]["world_coord"].pop(), r"\(42, 3\) numbers, got \(41, 3\)"),
        ("data", lambda d: d["annotations"].pop(), "2"),
        ("data", lambda d: d.pop("images"), "'images'"),
        ("data", lambda d: d["annotations"][0].update(hand_type="three"), "three"),
        ("data", lambda d: d["annotations"][0].update(bbox=[1, 2, 3]), "'bbox' must be a list of the 4 numbers"),
    ],
)
def test_annotations_that_do_not_fit_together_are_named(small: Path, kind: str, edit: Any, told: str) -> None:
    change(small, kind, edit)
    with pytest.raises(DataError, match=f"train: the annotations do not fit together.*{told}"):
        InterHand(small)


@pytest.mark.parametrize("content", ["[]", "3", "null", '{"images": [1], "annotations": []}', '{"images": 3}'])
def test_json_of_another_shape_is_refused(small: Path, content: str) -> None:
    annotation_path(small, "train", "data").write_text(content)
    with pytest.raises(DataError, match="do not fit together"):
        InterHand(small)


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "cannot be read"), (b"", "cannot be read|not a picture"), (b"no picture", "not a picture")],
)
def test_pictures_that_are_missing_or_unreadable_are_named(small: Path, content: bytes | None, told: str) -> None:
    dataset = InterHand(small)
    path = small / "images" / "train" / dataset.file_names[1]
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"image1\.jpg.*({told})"):
        dataset[1]
    assert dataset[0].image.any(), "the others can still be read"


def test_part_masks_that_are_damaged_are_named(small: Path) -> None:
    path = parts_path(small, "train", InterHand(small).file_names[0])
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"parts.*image0\.png is not a picture"):
        InterHand(small)[0]
    for mask, told in ((np.zeros((33, 10)), r"\(33, 10\)"), (np.full((96, 96), 33), "up to 33")):
        cv2.imwrite(str(path), mask.astype(np.uint8))
        with pytest.raises(DataError, match=rf"image0\.png must hold part classes below 33.*{told}"):
            InterHand(small)[0]


# ---- names


def test_data_sets_are_opened_by_name(small: Path) -> None:
    assert len(open_dataset(f"interhand:{small}")) == len(open_dataset(f"interhand:{small}:train")) == 3
    with pytest.raises(DataError, match=r"InterHand2\.6M_val_data\.json is missing"):
        open_dataset(f"interhand:{small}:val")
    colon = small.rename(small.with_name("a:b"))
    assert len(open_dataset(f"interhand:{colon}")) == len(open_dataset(f"interhand:{colon}:train")) == 3


@pytest.mark.parametrize("name", ["", "interhand", "interhand:", "coco:x", "synthetic"])
def test_names_of_no_data_set_are_refused(name: str) -> None:
    if name.startswith("synthetic"):
        pytest.importorskip("numba")
    with pytest.raises(DataError, match=r"synthetic:SPLIT, interhand:ROOT|has the splits train, val, test"):
        open_dataset(name)


def test_splits_that_are_not_there_are_refused() -> None:
    pytest.importorskip("numba")
    with pytest.raises(DataError, match="has the splits train, val, test, got 'exam'"):
        open_dataset("synthetic:exam")


# ---- sets that others made


def test_the_golden_mini_set_reads(golden_mini: Path) -> None:
    dataset = open_dataset(f"interhand:{golden_mini}:test")
    assert len(dataset) == 33
    targets = np.load(GOLDEN.parent / "expected" / "internet" / "targets.npz")
    samples = [dataset[index] for index in range(33)]
    # The published loader's own validity is the training mask, so ours can only be wider.
    valid = np.stack([sample.valid for sample in samples])
    assert (valid | ~targets["joint_valid"].astype(bool)).all() and not valid.all()
    for sample in samples:
        assert sample.image.shape == (512, 334, 3)
        assert sample.image.any(), sample.name
    assert {tuple(sample.hand_type.tolist()) for sample in samples} == {(True, False), (False, True), (True, True)}
    assert not all(sample.hand_type_valid for sample in samples)


def test_the_joints_of_real_frames_lie_in_their_boxes(real_frames: Path) -> None:
    dataset = InterHand(real_frames, "test")
    assert len(dataset) == 3
    for sample in (dataset[index] for index in range(3)):
        pixels = geometry.project(sample.joints_cam[sample.valid], sample.focal, sample.princpt)
        assert sample.valid.any()
        assert (pixels >= sample.box[:2]).all() and (pixels <= sample.box[2:]).all(), sample.name


# ---- writing


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write four pictures in two captures."""
    pytest.importorskip("numba")
    write = pytest.importorskip("unclasp.data.write")
    root = tmp_path_factory.mktemp("set")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "CAPTURE_SIZE", 3)
        assert list(write.write_dataset(root, 4, seed=9, image_size=64)) == [3, 4]
    return root


def copy_of(root: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Copy a written set; return the writer's module, with captures of three."""
    from unclasp.data import write

    shutil.copytree(root, target, dirs_exist_ok=True)
    monkeypatch.setattr(write, "CAPTURE_SIZE", 3)
    return write


def pictures(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("image*.*"))}


def test_what_was_written_reads_back_as_it_was_rendered(written: Path) -> None:
    from unclasp.data.synthetic import Synthetic

    rendered, read = Synthetic(9, 4, image_size=64), InterHand(written)
    assert len(read) == 4
    for index in range(4):
        ours, theirs = read[index], rendered[index]
        np.testing.assert_array_equal(ours.valid, theirs.valid)
        np.testing.assert_allclose(ours.joints_cam[ours.valid], theirs.joints_cam[theirs.valid], atol=1e-3)
        np.testing.assert_array_equal(ours.parts, theirs.parts)
        np.testing.assert_array_equal(ours.hand_type, theirs.hand_type)
        for name in ("focal", "princpt", "box"):
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-6, err_msg=name)
        difference = np.abs(ours.image.astype(int) - theirs.image)
        assert difference.mean() < 6, "JPEG"
    assert (written / "annotations" / "skeleton.txt").read_text().splitlines()[1] == "r_thumb4 0 1"


def test_a_larger_count_adds_and_keeps_what_is_there(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = copy_of(written, tmp_path, monkeypatch)
    before = pictures(tmp_path)
    first = next(tmp_path.rglob("image0.jpg"))
    stamp = first.stat().st_mtime_ns
    assert list(write.write_dataset(tmp_path, 5, seed=9, image_size=64)) == [3, 5]
    after = pictures(tmp_path)
    assert {name: after[name] for name in before} == before and len(after) == len(before) + 2
    assert first.stat().st_mtime_ns == stamp, "a finished capture is not rendered again"
    assert len(InterHand(tmp_path)) == 5


def test_an_interrupted_run_goes_on(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = copy_of(written, tmp_path, monkeypatch)
    annotations = tmp_path / "annotations" / "train"
    expected = {path.name: path.read_bytes() for path in annotations.glob("*.json")}
    (annotations / "captures" / "Capture1.json").unlink()
    for path in annotations.glob("*.json"):
        path.unlink()
    lost = next(tmp_path.rglob("image3.jpg"))
    lost_bytes = lost.read_bytes()
    lost.unlink()
    list(write.write_dataset(tmp_path, 4, seed=9, image_size=64))
    assert {path.name: path.read_bytes() for path in annotations.glob("*.json")} == expected
    assert lost.read_bytes() == lost_bytes


@pytest.mark.parametrize("which", ["image1.jpg", "image1.png"])
def test_a_file_that_was_lost_is_made_again(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    write = copy_of(written, tmp_path, monkeypatch)
    lost = next(tmp_path.rglob(which))
    before = lost.read_bytes()
    lost.unlink()
    list(write.write_dataset(tmp_path, 4, seed=9, image_size=64))
    assert lost.read_bytes() == before


def test_files_of_others_among_the_captures_are_left_alone(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = copy_of(written, tmp_path, monkeypatch)
    stray = tmp_path / "annotations" / "train" / "captures" / "Capture1 (copy).json"
    stray.write_text("[]")
    assert list(write.write_dataset(tmp_path, 4, seed=9, image_size=64)) == [3, 4]
    assert stray.read_text() == "[]"


@pytest.mark.parametrize("count", [2, 3])
def test_a_smaller_count_does_not_shrink_the_set(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    write = copy_of(written, tmp_path, monkeypatch)
    with pytest.raises(DataError, match=f"the split train of .* has 4 pictures, more than {count}: ask for at least"):
        list(write.write_dataset(tmp_path, count, seed=9, image_size=64))
    assert len(InterHand(tmp_path)) == 4


@pytest.mark.parametrize("size", [64, 96])
def test_two_splits_never_have_the_same_pictures(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """By the default seed alone, val would be train again."""
    write = copy_of(written, tmp_path, monkeypatch)
    with pytest.raises(DataError, match=r"the split train of .* has the pictures of seed 9, and val .*another seed"):
        list(write.write_dataset(tmp_path, 1, seed=9, split="val", image_size=size))
    assert not (tmp_path / "annotations" / "val").exists()
    list(write.write_dataset(tmp_path, 1, seed=10, split="val", image_size=64))
    assert len(InterHand(tmp_path, "val")) == 1


@pytest.mark.parametrize("split", ["../../evil", "..", "", "a/b", "test,fps=5"])
def test_a_split_is_a_plain_name(tmp_path: Path, split: str) -> None:
    pytest.importorskip("numba")
    from unclasp.data.write import write_dataset

    with pytest.raises(DataError, match="split must be a plain name of letters, digits, - and _, got"):
        list(write_dataset(tmp_path / "set", 1, seed=9, split=split))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"seed": 10}, {"image_size": 96}])
def test_pictures_of_other_options_are_not_mixed_in(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, int]
) -> None:
    write = copy_of(written, tmp_path, monkeypatch)
    before = pictures(tmp_path)
    with pytest.raises(DataError, match=r"holds pictures made with.*choose another folder"):
        list(write.write_dataset(tmp_path, 4, **{"seed": 9, "image_size": 64, **options}))
    assert pictures(tmp_path) == before


@pytest.mark.parametrize("count", [0, -3])
def test_a_data_set_needs_a_picture(tmp_path: Path, count: int) -> None:
    pytest.importorskip("numba")
    from unclasp.data.write import write_dataset

    with pytest.raises(DataError, match=f"count must be at least 1 and seed at least 0, got {count} and 9"):
        list(write_dataset(tmp_path, count, seed=9))
    with pytest.raises(DataError, match="got 1 and -1"):
        list(write_dataset(tmp_path, 1, seed=-1))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["options.json", "Capture0.json"])
def test_damaged_notes_of_an_earlier_run_are_named(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write = copy_of(written, tmp_path, monkeypatch)
    (tmp_path / "annotations" / "train" / "captures" / name).write_text('{"seed"')
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        list(write.write_dataset(tmp_path, 4, seed=9, image_size=64))


def test_entries_tell_width_and_height(make_sample: Any) -> None:
    wide = replace(make_sample(0), image=np.zeros((40, 60, 3), np.uint8), parts=None)
    image = annotation_entries(wide, 0, 0, "Capture0/hands/cam000/image0.jpg")["image"]
    assert (image["width"], image["height"]) == (60, 40)
