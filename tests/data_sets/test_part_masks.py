"""Published part masks, as PNG files and in LMDB, are converted to our classes; our own files take precedence."""

import multiprocessing
import pickle
import sys
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import pytest
from made_set import fit, set_mano

from unclasp.data import open_dataset
from unclasp.data.interhand import InterHand
from unclasp.data.layout import parts_path
from unclasp.errors import DataError
from unclasp.hands import HAND_PART_NAMES, PART_NAMES

PUBLISHED = """ring proximal, index middle, pinky proximal, middle proximal, middle distal, ring distal, pinky distal,
    thumb proximal, palm, thumb middle, index proximal, index distal, thumb distal, pinky middle, middle middle,
    ring middle"""


@pytest.fixture
def published(small: Path) -> dict[str, np.ndarray]:
    """Return a mask with every class for each picture, as published: three equal channels, their own order."""
    rng = np.random.default_rng(0)
    return {name: rng.permutation(np.arange(96 * 96) % 33).astype(np.uint8).reshape(96, 96)
            for name in InterHand(small).file_names}  # fmt: skip


def png(parts: np.ndarray) -> bytes:
    return cv2.imencode(".png", np.repeat(parts[..., None], 3, axis=2))[1].tobytes()


def write_files(folder: Path, masks: dict[str, np.ndarray], split: str = "train") -> Path:
    for name, parts in masks.items():
        path = (folder / split / name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(parts))
    return folder


def write_database(path: Path, masks: dict[str, np.ndarray], *, subdir: bool = True) -> Path:
    with lmdb.open(str(path), subdir=subdir, map_size=1 << 22) as database, database.begin(write=True) as writing:
        for name, parts in masks.items():
            writing.put(f"train/{name.replace('.jpg', '.png')}".encode(), png(parts))
        writing.put(b"__len__", b"3")
    return path


def in_our_classes(parts: np.ndarray) -> np.ndarray:
    """Name every class by the protocol's table, and look the name up in ours."""
    names = [name.strip().replace(" ", "_") for name in PUBLISHED.split(",")]
    ours = [0, *(PART_NAMES.index(f"{side}_{name}") for side in "rl" for name in names)]
    return np.array([[ours[value] for value in row] for row in parts])


@pytest.mark.parametrize("form", ["files", "folder of lmdb", "file of lmdb", "named files", "named lmdb"])
def test_published_masks_are_read_in_our_classes(small: Path, published: dict[str, np.ndarray], form: str) -> None:
    name = None
    if "lmdb" in form:
        path = small / ("elsewhere.lmdb" if "named" in form else "segm_32.lmdb")
        name = write_database(path, published, subdir="file" not in form)
    else:
        name = write_files(small / ("rendered" if "named" in form else "segms"), published)
    dataset = InterHand(small, parts=str(name) if "named" in form else None)
    for sample in (dataset[i] for i in range(3)):
        assert sample.parts is not None
        np.testing.assert_array_equal(sample.parts, in_our_classes(published[sample.name]))
    by_name = open_dataset(f"interhand:{small}:train,parts={name}")
    np.testing.assert_array_equal(by_name[1].parts, dataset[1].parts)


def test_the_published_order_has_each_part_once() -> None:
    names = [name.strip().replace(" ", "_") for name in PUBLISHED.split(",")]
    assert sorted(names) == sorted(HAND_PART_NAMES)


def test_ours_come_first_and_none_is_none(small: Path, published: dict[str, np.ndarray]) -> None:
    write_database(small / "segm_32.lmdb", published)
    write_files(small / "segms", published)
    mine = np.full((96, 96), 7, np.uint8)
    path = parts_path(small, "train", InterHand(small).file_names[0])
    path.parent.mkdir(parents=True)
    cv2.imwrite(str(path), mine)
    dataset = InterHand(small)
    np.testing.assert_array_equal(dataset[0].parts, mine)
    assert dataset[1].parts is None, "a picture without a mask of ours has none"
    assert InterHand(small, parts="none")[0].parts is None


@pytest.mark.parametrize("form", ["files", "lmdb"])
def test_a_picture_without_a_published_mask_has_none(small: Path, published: dict[str, np.ndarray], form: str) -> None:
    del published[InterHand(small).file_names[1]]
    write_files(small / "segms", published) if form == "files" else write_database(small / "segm_32.lmdb", published)
    assert [InterHand(small)[i].parts is None for i in range(3)] == [False, True, False]


def test_published_masks_need_fits_of_exactly_the_hands(small: Path, published: dict[str, np.ndarray]) -> None:
    """Where the fits are there: both for interacting hands, and no other one for a single hand."""
    write_files(small / "segms", published)
    both, right = {"right": fit(), "left": fit()}, {"right": fit(), "left": None}
    for fits, there in (
        ({"0": {"0": both, "1": right}}, [True, True, False]),
        ({"0": {"0": right, "1": both}, "1": {"2": {"right": None, "left": fit()}}}, [False, False, True]),
    ):
        set_mano(small, fits)
        assert [InterHand(small)[i].parts is not None for i in range(3)] == there


def _parts_of(dataset: InterHand, answers: Any) -> None:
    answers.put(dataset[0].parts)  # small enough for the pipe, so that nobody has to read it first


def test_a_database_serves_forked_processes_and_copies(small: Path, published: dict[str, np.ndarray]) -> None:
    write_database(small / "segm_32.lmdb", published)
    dataset = InterHand(small)
    expected = dataset[0].parts
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(dataset))[0].parts, expected)  # noqa: S301
    if sys.platform == "linux":
        context = multiprocessing.get_context("fork")
        answers: Any = context.SimpleQueue()
        process = context.Process(target=_parts_of, args=(dataset, answers))
        process.start()
        process.join(60)
        assert process.exitcode == 0
        np.testing.assert_array_equal(answers.get(), expected)


def _not_installed(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_database(small / "segm_32.lmdb", {"a.jpg": np.zeros((4, 4), np.uint8)})
    monkeypatch.setitem(sys.modules, "lmdb", None)


@pytest.mark.parametrize(
    ("damage", "parts", "told"),
    [
        (_not_installed, None, r"segm_32\.lmdb needs lmdb to be read: pip install 'unclasp\[lmdb\]'"),
        (lambda root, _: (root / "segm_32.lmdb").write_bytes(b"no database" * 999), None, "is not an LMDB database"),
        (lambda root, _: lmdb.open(str(root / "segm_32.lmdb")).close(), None, "is an empty database"),
        (lambda root, _: None, "nowhere", "there are no part masks at nowhere"),
        (lambda root, _: (root / "some" / "val").mkdir(parents=True), "some", "train is missing; published part masks"),
    ],
)
def test_what_is_wrong_on_opening_is_one_line(
    small: Path, monkeypatch: pytest.MonkeyPatch, damage: Any, parts: str | None, told: str
) -> None:
    damage(small, monkeypatch)
    monkeypatch.chdir(small)
    with pytest.raises(DataError, match=told) as error:
        InterHand(small, parts=parts)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"no picture", "image0.png is not a picture that can be decoded"),
        (png(np.full((96, 96), 33, np.uint8)), r"image0.png must hold part classes below 33 .*up to 33"),
        (png(np.zeros((96, 95), np.uint8)), r"image0.png must hold .*got \(96, 95\)"),
        (cv2.imencode(".png", np.zeros((96, 96), np.uint16))[1].tobytes(), "image0.png must hold part classes"),
    ],
)
@pytest.mark.parametrize("form", ["files", "lmdb"])
def test_a_damaged_mask_is_one_line(
    small: Path, published: dict[str, np.ndarray], content: bytes, told: str, form: str
) -> None:
    name = InterHand(small).file_names[0]
    if form == "files":
        (write_files(small / "segms", published) / "train" / name).with_suffix(".png").write_bytes(content)
    else:
        path = write_database(small / "segm_32.lmdb", published)
        with lmdb.open(str(path)) as database, database.begin(write=True) as writing:
            writing.put(f"train/{name.replace('.jpg', '.png')}".encode(), content)
    dataset = InterHand(small)
    with pytest.raises(DataError, match=told) as error:
        dataset[0]
    assert "\n" not in str(error.value)
    assert dataset[1].parts is not None
