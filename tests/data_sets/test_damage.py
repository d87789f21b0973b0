"""All kinds of damaged data sets: each gives one clear message, and no data is lost."""

import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import pytest
from made_set import change, fit, set_mano

from unclasp.cli import main
from unclasp.data import open_dataset
from unclasp.data.container import open_arrays, write_arrays
from unclasp.data.interhand import InterHand
from unclasp.data.layout import annotation_path
from unclasp.errors import DataError

INDEX = "annotations/train/InterHand2.6M_train.index"
FITS = {
    "0": {"0": {"right": fit(), "left": fit()}, "1": {"right": fit(), "left": None}},
    "1": {"2": {"right": None, "left": fit()}},
}


class Damage(NamedTuple):
    """A kind of damage to a set of three pictures, and the expected result."""

    inflict: Callable[[Path], Any]
    outcome: Literal["refused", "told", "noted", "picture"]
    """Opening fails; opening warns; only `data check` reports it; reading picture 1 fails."""
    line: str
    """Pattern in the message."""
    code: int
    """Exit code of `data check`."""


def edit(kind: str, what: Callable[[Any], Any]) -> Callable[[Path], None]:
    return lambda root: change(root, kind, what)


def cut(kind: str) -> Callable[[Path], Any]:
    def inflict(root: Path) -> None:
        path = annotation_path(root, "train", kind)
        path.write_bytes(path.read_bytes()[:-40])

    return inflict


def image(number: int, content: bytes | None) -> Callable[[Path], Any]:
    def inflict(root: Path) -> None:
        path = next(root.glob(f"images/train/*/*/*/image{number}.jpg"))
        path.unlink()
        if content is not None:
            path.write_bytes(content)

    return inflict


def black(root: Path) -> None:
    cv2.imwrite(str(next(root.glob("images/train/*/*/*/image1.jpg"))), np.zeros((96, 96, 3), np.uint8))


def halved(root: Path) -> None:
    path = str(next(root.glob("images/train/*/*/*/image1.jpg")))
    cv2.imwrite(path, cv2.resize(cv2.imread(path), None, fx=0.5, fy=0.5))


def again(values: list[Any], index: int = 0, **changes: Any) -> None:
    values.append({**values[index], **changes})


def _cut_index(root: Path, size: int | None) -> None:
    path = root / INDEX
    path.write_bytes(path.read_bytes()[:size])


def _other_version(root: Path) -> None:
    arrays, note = open_arrays(root / INDEX)
    write_arrays(root / INDEX, {name: values.copy() for name, values in arrays.items()}, {**note, "version": 0})


def _retell(root: Path) -> None:
    """Rewrite a source file with the same content in another form."""
    path = annotation_path(root, "train", "camera")
    path.write_text(json.dumps(json.loads(path.read_text()), indent=1))


def refused(inflict: Callable[[Path], Any], line: str) -> Damage:
    """Return a damage that prevents an index."""
    return Damage(inflict, "refused", line, 2)


DAMAGES = {
    "data cut": refused(cut("data"), r"train_data\.json is not whole JSON"),
    "cameras cut": refused(cut("camera"), r"train_camera\.json is not whole JSON"),
    "joints cut": refused(cut("joint_3d"), r"train_joint_3d\.json is not whole JSON"),
    "fits cut": refused(cut("MANO_NeuralAnnot"), r"train_MANO_NeuralAnnot\.json is not whole JSON"),
    "no cameras": refused(
        lambda root: annotation_path(root, "train", "camera").unlink(), r"train_camera\.json is missing"
    ),
    "another outline": refused(
        lambda root: annotation_path(root, "train", "data").write_text("[]"), "holds a list where an object"
    ),
    "no list of images": refused(edit("data", lambda d: d.pop("images")), "no list 'images'"),
    "no image": refused(
        edit("data", lambda d: d.update(images=[], annotations=[])), r"train_data\.json names no image"
    ),
    "no annotation": refused(edit("data", lambda d: d.update(annotations=[])), r"3 images without an ann"),
    "an annotation lost": refused(
        edit("data", lambda d: d["annotations"].pop(1)), r"1 images without an annotation \(image 1\)"
    ),
    "capture without cameras": refused(
        edit("camera", lambda c: c.pop("1")), r"1 images whose camera .*capture '1' camera '002': is missing"
    ),
    "a camera missing": refused(
        edit("camera", lambda c: [c["0"][key].pop("000") for key in c["0"]]), "camera '000': is missing"
    ),
    "a camera without centre": refused(
        edit("camera", lambda c: c["0"]["campos"].pop("000")), "camera '000': 'campos' lacks it"
    ),
    "a focal length that is no number": refused(
        edit("camera", lambda c: c["0"]["focal"].update({"000": [float("nan"), 1]})), "'focal' must hold"
    ),
    "a frame missing": refused(
        edit("joint_3d", lambda j: j["0"].pop("1")), "1 images whose frame .*frame '1': is missing"
    ),
    "41 joints": refused(
        edit("joint_3d", lambda j: j["0"]["1"]["world_coord"].pop()), r"\(42, 3\) numbers, got \(41, 3\)"
    ),
    "41 flags": refused(
        edit("data", lambda d: d["annotations"][1]["joint_valid"].pop()),
        "'joint_valid' must be a list of 42 values of 0 or 1, got 41",
    ),
    "flags that are no numbers": refused(
        edit("data", lambda d: d["annotations"][1]["joint_valid"].__setitem__(3, ["x"])),
        r"of image 1: 'joint_valid' must be .*, got 42, with \['x'\]",
    ),
    "three hands": refused(
        edit("data", lambda d: d["annotations"][0].update(hand_type="three")),
        "number 1: 'hand_type' must be one of right, left, interacting, got 'three'",
    ),
    "a box of three numbers": refused(
        edit("data", lambda d: d["annotations"][0].update(bbox=[1, 2, 3])),
        r"number 1: 'bbox' must be a list of the 4 numbers x, y, width and height, got \[1, 2, 3\]",
    ),
    "an image without a name": refused(
        edit("data", lambda d: d["images"][2].pop("file_name")), "number 3: 'file_name' is missing"
    ),
    "a width of 33 bits": refused(
        edit("data", lambda d: d["images"][2].update(width=2**32 + 640)),
        "number 3: 'width' must be a whole number of pixels above 0, got 4294967936",
    ),
    "a frame of 64 bits": refused(
        edit("data", lambda d: d["images"][2].update(frame_idx=2**63)),
        "number 3: 'frame_idx' must be a whole number of at most 63 bits, got 9223372036854775808",
    ),
    "an endless id": refused(
        edit("data", lambda d: d["images"][2].update(id=float("inf"))),
        "number 3: 'id' must be a whole number of at most 63 bits, got inf",
    ),
    "an id of 100 bits": refused(
        edit("data", lambda d: d["annotations"][1].update(id=10**30)),
        "number 2: 'id' must be a whole number of at most 63 bits, got 10+",
    ),
    "a box of 400 digits": refused(
        edit("data", lambda d: d["annotations"][1].update(bbox=[5, 5, 10**400, 9])),
        r"of image 1: 'bbox' must be a list of the 4 numbers .*, got \[5, 5, 10*\.\.\.0*, 9\]",
    ),
    "a focal length of 400 digits": refused(
        edit("camera", lambda c: c["0"]["focal"].update({"000": [10**400, 1]})), "'focal' holds no numbers for it"
    ),
    "a joint of 400 digits": refused(
        edit("joint_3d", lambda j: j["0"]["1"]["world_coord"][4].__setitem__(1, 10**400)), "must hold 42 points"
    ),
    "a width of 0": refused(
        edit("data", lambda d: d["images"][2].update(width=0)), "number 3: 'width' must be .* above 0, got 0"
    ),
    "no height": refused(edit("data", lambda d: d["images"][2].pop("height")), "number 3: 'height' is missing"),
    "an image that is a list": refused(
        edit("data", lambda d: d["images"].__setitem__(2, [7])),
        r"number 3: it must be an object with id, .*, got \[7\]",
    ),
    "a name that leaves the folder": refused(
        edit("data", lambda d: d["images"][2].update(file_name="Capture0/../../../x.jpg")),
        r"number 3: 'file_name' must be a path below the folder of pictures, got 'Capture0/\.\./",
    ),
    "an absolute name": refused(
        edit("data", lambda d: d["images"][2].update(file_name="/etc/x.jpg")), "number 3: 'file_name' must be a path"
    ),
    "a box of null": refused(
        edit("data", lambda d: d["annotations"][1].update(bbox=None)), "number 2: 'bbox' must be .*, got None"
    ),
    "a box that is text": refused(
        edit("data", lambda d: d["annotations"][1].update(bbox="1234")), "number 2: 'bbox' must be .*, got '1234'"
    ),
    "a box of lists": refused(
        edit("data", lambda d: d["annotations"][1].update(bbox=[[1], [2], [3], [4]])), "of image 1: 'bbox' must be "
    ),
    "a list of hands": refused(
        edit("data", lambda d: d["annotations"][1].update(hand_type=["right"])), r"got \['right'\]"
    ),
    "nothing to say which hands are valid": refused(
        edit("data", lambda d: d["annotations"][1].pop("hand_type_valid")), "number 2: 'hand_type_valid' is missing"
    ),
    "an annotation that is null": refused(
        edit("data", lambda d: d["annotations"].__setitem__(1, None)), "number 2: it must be an object with image_id"
    ),
    "flags of 2": refused(
        edit("data", lambda d: d["annotations"][1]["joint_valid"].__setitem__(3, [2])),
        r"of image 1: 'joint_valid' must be a list of 42 values of 0 or 1, got 42, with \[2\]",
    ),
    "two flags per joint": refused(
        edit("data", lambda d: [entry.update(joint_valid=[[1, 1]] * 42) for entry in d["annotations"]]),
        "of image 0: 'joint_valid' must be a list of 42 values",
    ),
    "a camera that scales": refused(
        edit("camera", lambda c: c["0"]["camrot"].update({"000": [[2, 0, 0], [0, 2, 0], [0, 0, 2]]})),
        r"camera '000': 'camrot' must hold a rotation for it, got \[\[2\.0, 0\.0, 0\.0\]",
    ),
    "a camera that mirrors": refused(
        edit("camera", lambda c: c["0"]["camrot"].update({"000": [[-1, 0, 0], [0, 1, 0], [0, 0, 1]]})),
        "'camrot' must hold a rotation",
    ),
    "a camera of 1e200": refused(
        edit("camera", lambda c: c["0"]["camrot"].update({"000": [[1e200] * 3] * 3})), "'camrot' must hold a rotation"
    ),
    "an id twice": refused(
        edit("data", lambda d: again(d["images"], file_name="other.jpg")), r"1 ids that two images share \(0\)"
    ),
    "an annotation twice": refused(
        edit("data", lambda d: again(d["annotations"])), r"1 images with two annotations \(0\)"
    ),
    "a file name twice": refused(
        edit("data", lambda d: d["images"][0].update(file_name=d["images"][1]["file_name"])),
        r"1 file names that two images share \(Capture0/hands/cam001/image1\.jpg\)",
    ),
    "a joint that is not a number": Damage(
        edit("joint_3d", lambda j: j["0"]["1"]["world_coord"][4].__setitem__(1, float("nan"))), "told",
        r"1 frames with joints that are not finite.*\(capture 0 frame 1\)", 0,
    ),
    "a box without area": Damage(
        edit("data", lambda d: d["annotations"][1].update(bbox=[5.0, 5.0, 0.0, 9.0])), "told",
        r"1 images without a box of positive size, which are left out \(image 1\)", 0,
    ),
    "a box that is not finite": Damage(
        edit("data", lambda d: d["annotations"][1].update(bbox=[5.0, 5.0, float("inf"), 9.0])), "told",
        r"1 images without a box of positive size", 0,
    ),
    "ids out of order": Damage(
        edit("data", lambda d: d["annotations"].reverse()), "noted", "2 annotations that stand in another order", 0
    ),
    "ids that differ": Damage(
        edit("data", lambda d: d["annotations"][2].update(id=77)), "noted", "1 annotations whose id is not that of", 0
    ),
    "an annotation of no image": Damage(
        edit("data", lambda d: again(d["annotations"], image_id=99, id=99)), "noted",
        r"1 annotations of images that the file does not list \(of image 99\)", 0,
    ),
    "null for a fit": Damage(
        lambda root: set_mano(root, {"0": {"0": {"right": None, "left": None}}}), "noted",
        "1 time steps .*, 2 have no entry, 0 one hand only, 1 none; 0 images with a fit", 0,
    ),
    "a fit of another size": Damage(
        lambda root: set_mano(root, {"0": {"0": {"right": {**fit(), "pose": [0.0] * 45}, "left": fit()}}}), "noted",
        r"1 MANO fits that are damaged and count as missing \(capture 0 frame 0 right\)", 0,
    ),
    "a fit of 400 digits": Damage(
        lambda root: set_mano(root, {"0": {"0": {"right": {**fit(), "pose": [10**400] * 48}, "left": fit()}}}), "noted",
        r"1 MANO fits that are damaged and count as missing \(capture 0 frame 0 right\)", 0,
    ),
    "a fit of no frame": Damage(
        lambda root: set_mano(root, {"7": {"7": {"right": fit(), "left": None}}}), "noted",
        r"1 MANO fits of frames that joint_3d.json lacks \(capture 7 frame 7\)", 0,
    ),
    "a black picture": Damage(black, "noted", r"1 black.*\n  black: Capture0/hands/cam001/image1\.jpg", 0),
    "a picture missing": Damage(
        image(1, None), "picture", r"1 missing.*\n(.*\n)*  fetch: train: 1 pictures, of Capture0 \(1\)", 1
    ),
    "an empty picture": Damage(
        image(1, b""), "picture", r"1 unreadable.*\n(.*\n)*  fetch: train: 1 pictures that cannot", 1
    ),
    "no picture": Damage(image(1, b"no picture"), "picture", r"1 unreadable", 1),
    "a picture cut short": Damage(
        lambda root: image(1, next(root.glob("images/train/*/*/*/image1.jpg")).read_bytes()[:-100])(root), "picture",
        r"1 unreadable", 1,
    ),
    "a picture of half the size": Damage(
        halved, "picture", r"1 of another size, 2 good\n(.*\n)*  fetch: train: 1 pictures of another size than "
        r"annotated, in the original: Capture0/hands/cam001/image1\.jpg \(48 x 48 px, not 96 x 96\)", 1,
    ),
    "no pictures at all": Damage(
        lambda root: shutil.rmtree(root / "images"), "picture", r"3 missing, 3 camera folders empty(.*\n)*unusable: ", 2
    ),
    "the index cut": Damage(lambda root: _cut_index(root, -100), "noted", "none that is up to date", 0),
    "the index emptied": Damage(lambda root: _cut_index(root, 0), "noted", "none that is up to date", 0),
    "the index of another version": Damage(_other_version, "noted", "none that is up to date", 0),
    "the index is another file": Damage(
        lambda root: (root / INDEX).write_text("something else altogether"), "noted", "none that is up to date", 0
    ),
    "the index older than its source": Damage(_retell, "noted", "none that is up to date", 0),
}  # fmt: skip


def check(root: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as exit_:
        main(["data", "check", str(root)])
    told = capsys.readouterr()
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, told.out + told.err


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def same(ours: InterHand, expected: list[Any]) -> None:
    assert len(ours) == len(expected)
    for i, sample in enumerate(expected):
        for name in ("image", "joints_cam", "valid", "focal", "princpt", "box", "hand_type"):
            np.testing.assert_array_equal(getattr(ours[i], name), getattr(sample, name), err_msg=name)
        assert ours[i].name == sample.name


def test_there_are_at_least_twenty() -> None:
    assert len(DAMAGES) >= 20


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_told_in_one_line_and_loses_nothing(
    small: Path, name: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    damage = DAMAGES[name]
    set_mano(small, FITS)
    whole = [InterHand(small)[i] for i in range(3)]
    before = files(small)
    damage.inflict(small)
    after = files(small)

    code, told = check(small, capsys)
    assert code == damage.code, told
    if damage.outcome != "picture":
        assert re.search(damage.line, told), told
    assert files(small) == after, "a check changes nothing"

    with caplog.at_level(logging.WARNING):
        if damage.outcome == "refused":
            with pytest.raises(DataError, match=damage.line) as error:
                InterHand(small)
            assert "\n" not in str(error.value)
            assert files(small) == after, "what was there before stays, and nothing is left behind"
        else:
            _read_in_spite_of(damage, InterHand(small), whole, caplog)
    if damage.outcome == "picture":
        assert re.search(damage.line, told), told
    for path, content in before.items():  # what was damaged is fetched again
        (small / path).parent.mkdir(parents=True, exist_ok=True)
        (small / path).write_bytes(content)
    same(InterHand(small), whole)
    assert {path for path in files(small) if path not in before} == set(), "nothing is left behind"


def _read_in_spite_of(damage: Damage, dataset: InterHand, whole: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    lines = [record.getMessage() for record in caplog.records]
    if damage.outcome == "told":
        assert len(lines) == 1 and re.search(damage.line, lines[0]) and "\n" not in lines[0], lines
        names = list(dataset.file_names)
        for i in (0, 2):  # the others are as they were
            sample = dataset[names.index(whole[i].name)]
            np.testing.assert_array_equal(sample.joints_cam, whole[i].joints_cam)
            np.testing.assert_array_equal(sample.valid, whole[i].valid)
        return
    assert not lines
    if damage.outcome == "noted":
        images = [sample.image for sample in whole]
        for i, sample in enumerate(whole):
            np.testing.assert_array_equal(dataset[i].joints_cam, sample.joints_cam)
            np.testing.assert_array_equal(dataset[i].box, sample.box)
            assert dataset[i].image.shape == images[i].shape
        return
    with pytest.raises(
        DataError, match=r"image1\.jpg (cannot be read|is not a picture|must be 96 x 96 px, .*, not 48 x 48)"
    ) as error:
        dataset[1]
    assert "\n" not in str(error.value)
    if (dataset.root / "images").exists():
        np.testing.assert_array_equal(dataset[0].image, whole[0].image)


def test_a_joint_that_is_not_finite_is_masked_alone(small: Path) -> None:
    before = InterHand(small)[0]
    change(small, "joint_3d", lambda j: j["0"]["0"]["world_coord"][4].__setitem__(1, None))
    after = InterHand(small)[0]
    assert np.flatnonzero(before.valid & ~after.valid).tolist() == [4]
    assert np.isfinite(after.joints_cam).all()


def test_a_wrist_that_is_not_finite_takes_its_hand_along(small: Path) -> None:
    change(small, "joint_3d", lambda j: j["0"]["0"]["world_coord"].__setitem__(20, [float("nan")] * 3))
    assert np.flatnonzero(InterHand(small)[0].valid).tolist() == list(range(21, 42))


def test_a_split_that_is_not_there_is_told_from_a_folder(small: Path) -> None:
    with pytest.raises(DataError, match=r" has no split 'valid', only train$"):
        open_dataset(f"interhand:{small}:valid")
    with pytest.raises(DataError, match=r"there is no folder .*nowhere:valid"):
        open_dataset(f"interhand:{small}/nowhere:valid")


@pytest.mark.parametrize(
    ("root", "split", "told"),
    [
        (".", "val", r"val_data\.json is missing.*the splits there are train"),
        (".", "exam", r"exam_data\.json is missing.*the splits there are train"),
        ("annotations", "train", r"did you mean .*/set\?$"),
        ("..", "train", r"did you mean .*/set\?$"),
        ("nowhere", "train", "there is no folder"),
        ("images/train", "train", r"did you mean .*/set\?$"),
        ("images/train/Capture0", "train", "name the one that holds annotations/ and images/"),
    ],
)
def test_the_wrong_folder_or_split_is_told(small: Path, tmp_path: Path, root: str, split: str, told: str) -> None:
    inner = tmp_path / "outer" / "set"
    inner.mkdir(parents=True)
    for name in ("annotations", "images"):
        (tmp_path / name).rename(inner / name)
    with pytest.raises(DataError, match=told) as error:
        InterHand((inner / root).resolve(), split)
    assert "\n" not in str(error.value)
