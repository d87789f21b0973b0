"""Tests of the index: built once, opened instantly, shared, kept up to date, and written atomically."""

import errno
import json
import logging
import multiprocessing
import os
import pickle
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_set import change, fit, set_mano

from unclasp.bench.index import index_cost, memory_of, summary, write_made_up
from unclasp.cli import main
from unclasp.data import annotations, index
from unclasp.data.container import open_arrays, verify_arrays, write_arrays
from unclasp.data.fields import whole_number
from unclasp.data.index import build_index, fresh_index, index_paths, open_index
from unclasp.data.interhand import InterHand
from unclasp.data.layout import annotation_path, find_layout, layouts_in
from unclasp.errors import DataError
from unclasp.files import whole as write_whole

NAME = "InterHand2.6M_train.index"


def made(root: Path) -> list[str]:
    """Return the names of the other files in the annotations' folder."""
    return sorted(path.name for path in (root / "annotations" / "train").iterdir() if path.suffix != ".json")


# ---- the file of arrays


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "numbers": rng.normal(size=(5, 3)), "none": np.zeros((0, 42, 3)), "bytes": np.arange(7, dtype=np.uint8),
        "turned": rng.integers(0, 9, (4, 6)).astype(np.int32).T,
    }  # fmt: skip
    write_arrays(tmp_path / "arrays", arrays, {"note": [1, "ü"]})
    opened, note = open_arrays(tmp_path / "arrays")
    assert note == {"note": [1, "ü"]} and list(opened) == list(arrays)
    for name, values in arrays.items():
        np.testing.assert_array_equal(opened[name], values)
        assert opened[name].dtype == values.dtype and not opened[name].flags.writeable


@pytest.mark.parametrize("size", [0, 10, 20, 40, 200, -1])
def test_arrays_that_were_cut_are_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "arrays"
    write_arrays(path, {"numbers": np.arange(100.0)}, {})
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=r"is cut short|is damaged|not a file of arrays"):
        open_arrays(path)


@pytest.mark.parametrize(
    "header",
    [
        {}, [], {"size": 0}, {"size": 0, "note": {}, "arrays": {"a": {}}},
        {"size": 0, "note": {}, "arrays": {"a": {"dtype": "(,", "shape": [0], "offset": 0}}},
    ],
)  # fmt: skip
def test_a_header_of_something_else_is_refused(tmp_path: Path, header: object) -> None:
    path = tmp_path / "arrays"
    write_arrays(path, {}, {})
    set_header(path, json.dumps(header).encode())
    with pytest.raises(DataError, match=r"is damaged .*; delete it"):
        open_arrays(path)


def set_header(path: Path, header: bytes) -> None:
    magic, numbers = path.read_bytes()[: len(b"unclasp arrays 2")], (len(header), zlib.crc32(header))
    path.write_bytes(magic + b"".join(number.to_bytes(8, "little") for number in numbers) + header)


def test_a_header_that_is_nested_deeply_is_refused(tmp_path: Path) -> None:
    write_arrays(tmp_path / "arrays", {}, {})
    set_header(tmp_path / "arrays", b"[" * 100_000)
    with pytest.raises(DataError, match="nested too deeply"):
        open_arrays(tmp_path / "arrays")


def test_a_changed_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "arrays"
    write_arrays(path, {"numbers": np.arange(8.0)}, {})
    path.write_bytes(path.read_bytes().replace(b"<f8", b"<i8"))
    with pytest.raises(DataError, match="is damaged"):
        open_arrays(path)


@pytest.mark.parametrize("name", ["numbers", "bytes"])
def test_a_changed_array_is_noticed_when_all_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "arrays"
    write_arrays(path, {"numbers": np.arange(8.0), "none": np.zeros(0), "bytes": np.full(9, 77, np.uint8)}, {})
    verify_arrays(path)
    content, array = path.read_bytes(), open_arrays(path)[0][name].tobytes()
    assert content.count(array) == 1
    path.write_bytes(content.replace(array, array[:-1] + b"\x55"))
    open_arrays(path)  # opening is instant, and does not read the arrays
    with pytest.raises(DataError, match=f"is damaged: the array '{name}' is not as it was written; delete it"):
        verify_arrays(path)


def test_arrays_are_on_the_disk_before_they_have_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a power failure could leave a file of the right size, full of zeros."""
    path, synced = tmp_path / "arrays", []

    def sync(file: int) -> None:
        assert not path.exists()
        synced.append(os.fstat(file).st_size)

    monkeypatch.setattr(os, "fsync", sync)
    write_arrays(path, {"numbers": np.arange(8.0)}, {})
    assert synced == [path.stat().st_size]


# ---- made when it is needed


def test_it_is_made_once(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fresh_index(find_layout(small, "train")) is None
    first = InterHand(small)[0]
    assert made(small) == [NAME]

    def never(*_: Any) -> None:
        raise AssertionError("the annotations were read again")

    monkeypatch.setattr(index, "read_annotations", never)
    np.testing.assert_array_equal(InterHand(small)[0].joints_cam, first.joints_cam)


def without(content: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name != key}


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays, _: (arrays, []),
        lambda arrays, note: (arrays, without(note, "sequences")),
        lambda arrays, note: (arrays, {**note, "problems": "none"}),
        lambda arrays, note: (without(arrays, "camera"), note),
        lambda arrays, note: ({**arrays, "world": arrays["world"].astype(np.float32)}, note),
        lambda arrays, note: ({**arrays, "id": arrays["id"].reshape(-1, 1)}, note),
        lambda arrays, note: ({**arrays, "id": arrays["id"][0]}, note),
    ],
    ids=["another note", "note cut", "no problems", "no camera", "another type", "another shape", "a number"],
)
def test_it_is_made_anew_when_it_is_not_an_index(small: Path, damage: Any) -> None:
    whole = open_index(find_layout(small, "train"))
    arrays, note = open_arrays(whole.path)
    write_arrays(whole.path, *damage({name: values.copy() for name, values in arrays.items()}, note))
    again = open_index(find_layout(small, "train"))
    assert (again.sequences, again.problems) == (whole.sequences, whole.problems)
    assert {key: values.dtype for key, values in again.columns.items()} == {
        key: values.dtype for key, values in whole.columns.items()
    }
    for key, values in whole.columns.items():
        np.testing.assert_array_equal(again.columns[key], values)


@pytest.mark.parametrize("kind", ["data", "camera", "joint_3d", "MANO_NeuralAnnot"])
def test_it_is_made_anew_when_a_source_changes(small: Path, kind: str) -> None:
    set_mano(small, {"0": {"0": {"right": fit(), "left": None}}})
    layout = find_layout(small, "train")
    before = open_index(layout)
    change(small, kind, lambda content: None)  # the same content, another time
    assert fresh_index(layout) is None
    after = open_index(layout)
    assert after.sources != before.sources and len(after) == len(before)


def test_it_is_made_anew_when_fits_come_along(small: Path) -> None:
    layout = find_layout(small, "train")
    assert not open_index(layout).has_mano
    set_mano(small, {"0": {"0": {"right": fit(), "left": None}}})
    assert open_index(layout).has_mano


def test_a_change_right_after_it_was_made_is_seen(small: Path) -> None:
    """Changes within one tick of the file system's clock have the same modification time."""
    layout = find_layout(small, "train")
    path = layout.path("data")
    for turn in range(5):
        width = 60.0 + turn
        change(small, "data", lambda data, width=width: data["annotations"][0].update(bbox=[10.0, 10.0, width, 50.0]))
        assert InterHand(small)[0].box[2] == 10 + width
        assert len(path.read_text()) > 0


def test_sources_that_change_meanwhile_are_told(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = index.read_annotations

    def reading(*arguments: Any) -> Any:
        result = read(*arguments)
        change(small, "camera", lambda content: None)
        return result

    monkeypatch.setattr(index, "read_annotations", reading)
    with pytest.raises(DataError, match="changed while they were read; start again"):
        InterHand(small)
    assert made(small) == []


# ---- where it cannot be written


def refuse(folder: Path, error: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a folder read-only."""
    opened = Path.open

    def open_(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if "w" in mode and path.parent == folder:
            raise OSError(error, os.strerror(error))
        return opened(path, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", open_)


@pytest.mark.parametrize("error", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written_has_it_in_the_users_cache(
    small: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    expected = InterHand(small)[1].joints_cam
    (small / "annotations" / "train" / NAME).unlink()
    refuse(small / "annotations" / "train", error, monkeypatch)
    dataset = InterHand(small)
    assert dataset.index.path.parent == cache / "unclasp" and made(small) == []
    np.testing.assert_array_equal(dataset[1].joints_cam, expected)
    stamp = dataset.index.path.stat().st_mtime_ns
    assert InterHand(small).index.path.stat().st_mtime_ns == stamp, "found there again"


def test_nowhere_to_write_it_is_told(small: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (small / "annotations" / "train", cache / "unclasp"):
        refuse(folder, errno.EACCES, monkeypatch)
    with pytest.raises(DataError, match=r"the index cannot be written to .* or .*; make one of them writable") as error:
        InterHand(small)
    assert "\n" not in str(error.value)


def test_a_full_disk_is_told_and_leaves_the_old_one(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    InterHand(small)
    path = small / "annotations" / "train" / NAME
    old = path.read_bytes()
    change(small, "camera", lambda content: None)

    class Full:
        """A file that accepts its header and nothing more."""

        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, data: Any) -> None:
            if len(data) > 2000:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.file.write(data)

    opened = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda path, mode="r", *a, **k: Full(opened(path, mode)) if mode == "wb" else opened(path, mode, *a, **k),
    )
    with pytest.raises(DataError, match=r"the disk is full: .*\.index could not be written, and nothing of it is left"):
        InterHand(small)
    assert path.read_bytes() == old and made(small) == [NAME]


def test_what_a_killed_process_left_is_removed_later(small: Path) -> None:
    folder = small / "annotations" / "train"
    old, young = (folder / f".InterHand2.6M_train.{process}.partial.index" for process in (11, 12))
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    InterHand(small)
    assert made(small) == sorted([young.name, NAME])


def test_another_error_of_the_disk_is_told(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(small / "annotations" / "train", errno.EIO, monkeypatch)
    with pytest.raises(DataError, match=r"train\.index cannot be written \(Input/output error\)"):
        InterHand(small)


# ---- several processes


def _open_at_once(root: str, barrier: Any, answers: Any) -> None:
    from unclasp.data import index as module

    count = 0
    read = module.read_annotations

    def reading(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        time.sleep(0.3)  # so that the others come while it is at work
        return read(*arguments)

    module.read_annotations = reading  # type: ignore[assignment]
    barrier.wait()
    dataset = InterHand(root)
    answers.put((count, len(dataset), float(dataset.record(2)["joints_cam"].sum())))


def test_processes_that_index_at_once_do_it_once(small: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(3), context.SimpleQueue()
    processes = [context.Process(target=_open_at_once, args=(str(small), barrier, answers)) for _ in range(3)]
    for process in processes:
        process.start()
    results = [answers.get() for _ in processes]
    for process in processes:
        process.join()
    assert sum(count for count, *_ in results) == 1
    assert len({result[1:] for result in results}) == 1 and made(small) == [NAME]


def test_without_locks_each_writes_a_whole_one(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unclasp.files.fcntl", None)
    assert len(InterHand(small)) == 3 and made(small) == [NAME]


def test_it_goes_to_other_processes_as_a_path(small: Path) -> None:
    dataset = InterHand(small, hands="single")
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 2000 < dataset.index.path.stat().st_size
    copy = pickle.loads(pickled)  # noqa: S301
    assert [copy[i].name for i in range(2)] == [dataset[i].name for i in range(2)]
    change(small, "data", lambda data: data["images"].pop())
    build_index(find_layout(small, "train"))
    with pytest.raises(DataError, match="was made anew while it was in use"):
        pickle.loads(pickled)  # noqa: S301


def test_processes_share_its_pages(tmp_path: Path) -> None:
    write_made_up(tmp_path, 4000)
    cost = index_cost(tmp_path, workers=3, records=300)
    assert cost["images"] == 4000 and cost["workers"] == 3
    assert cost["worker_private_bytes"] < 60e6 and cost["worker_shared_bytes"] > 1e6
    assert cost["open_seconds"] < 1 and cost["make_peak_bytes"] > 10e6
    assert "4,000 images" in summary(cost) and "shared" in summary(cost)
    private, shared = memory_of(os.getpid())
    assert private > 10e6 and shared > 1e6


# ---- made-up annotations


def test_made_up_annotations_are_of_the_true_kind(tmp_path: Path) -> None:
    write_made_up(tmp_path, 2000)
    content = {kind: json.loads(annotation_path(tmp_path, "train", kind).read_text())
               for kind in ("data", "camera", "joint_3d", "MANO_NeuralAnnot")}  # fmt: skip
    assert len(content["data"]["images"]) == len(content["data"]["annotations"]) == 2000
    frames = [frame for capture in content["joint_3d"].values() for frame in capture]
    assert len(frames) == 25 and {len(cameras) for cameras in content["camera"]["0"].values()} == {80}
    dataset = InterHand(tmp_path)
    image, annotation = content["data"]["images"][1234], content["data"]["annotations"][1234]
    record = dataset.record(1234)
    assert record["name"] == image["file_name"] and dataset.annotation_ids[1234] == annotation["id"]
    x, y, width, height = annotation["bbox"]
    np.testing.assert_allclose(record["box"], [x, y, x + width, y + height], rtol=1e-6)
    world = np.array(content["joint_3d"]["0"][str(image["frame_idx"])]["world_coord"])
    camera = {key: np.array(values[image["camera"]]) for key, values in content["camera"]["0"].items()}
    expected = np.stack([camera["camrot"] @ (point - camera["campos"]) for point in world])
    np.testing.assert_allclose(record["joints_cam"], expected, rtol=1e-5, atol=1e-2)


def test_the_benchmark_runs_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, code in ((["--count", "300", "--workers", "1", "--json"], 0), (["--count", "0"], 2)):
        with pytest.raises(SystemExit) as exit_:
            main(["bench", "index", "--folder", str(tmp_path), *words])
        output = capsys.readouterr()
        assert exit_.value.code == code
        if not code:
            assert json.loads(output.out)["images"] == 300
    assert list(tmp_path.iterdir()) == []


def test_large_sets_are_announced(
    small: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(index, "SLOW_FROM_BYTES", 10)
    with caplog.at_level(logging.WARNING):
        InterHand(small)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"indexing {small / 'annotations' / 'train'} once: 0.0 GB of annotations")


def test_many_rows_come_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_made_up(tmp_path, 500)
    expected = open_index(find_layout(tmp_path, "train")).columns
    monkeypatch.setattr(annotations, "_ROWS", 7)
    pieces = build_index(find_layout(tmp_path, "train"), anew=True).columns
    for name, values in expected.items():
        np.testing.assert_array_equal(pieces[name], values, err_msg=name)


def test_without_a_home_folder_an_index_is_beside_the_annotations(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    (path,) = index_paths(find_layout(small, "train"))
    assert path.parent == find_layout(small, "train").folder


def test_index_paths_differ_between_folders(tmp_path: Path, small: Path) -> None:
    ours = index_paths(find_layout(small, "train"))
    with write_whole(tmp_path / "elsewhere" / "annotations" / "train" / "InterHand2.6M_train_data.json") as path:
        path.write_text("{}")
    other = index_paths(layouts_in(tmp_path / "elsewhere")[0])
    assert not set(ours) & set(other)


# ---- what is read


@pytest.mark.parametrize("kind", ["data", "camera", "joint_3d", "MANO_NeuralAnnot"])
def test_nothing_may_follow_the_end_of_a_file(small: Path, kind: str) -> None:
    """As after two downloads into one file."""
    set_mano(small, {"0": {"0": {"right": fit(), "left": None}}})
    path = annotation_path(small, "train", kind)
    path.write_text(path.read_text() * 2)
    with pytest.raises(DataError, match=rf"{kind}\.json is not whole JSON \(something follows its end\)"):
        InterHand(small)


def test_progress_rises_to_the_size_of_all_files(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unclasp.data.jsonstream._CHUNK", 1000)
    layout, told = find_layout(small, "train"), list[tuple[int, int]]()
    annotations.read_annotations(layout, lambda *done: told.append(done))
    sizes = sum(path.stat().st_size for path in layout.sources if path.exists())
    done = [amount for amount, _ in told]
    assert len(told) > 5 and done == sorted(done) and done[-1] == sizes and {total for _, total in told} == {sizes}


def test_pieces_of_one_row_hold_the_same_rows(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def edit(data: Any) -> None:
        for number, (image, entry) in enumerate(zip(data["images"], data["annotations"], strict=True)):
            entry["joint_valid"][5 + number] = [0]
            image["file_name"] = image["file_name"].replace("hands", "hände" * number)

    change(small, "data", edit)
    expected = open_index(find_layout(small, "train"))
    names = [image["file_name"] for image in json.loads(annotation_path(small, "train", "data").read_text())["images"]]
    assert [expected.file_name(row) for row in range(3)] == names
    monkeypatch.setattr(annotations, "_ROWS", 1)
    pieces = build_index(find_layout(small, "train"), anew=True)
    for name, values in expected.columns.items():
        np.testing.assert_array_equal(pieces.columns[name], values, err_msg=name)


def test_sequences_of_one_name_in_two_captures_are_two(small: Path) -> None:
    opened = open_index(find_layout(small, "train"))
    assert opened.sequences == ["0/hands", "1/hands"] and opened.columns["sequence"].tolist() == [0, 0, 1]


def test_frames_may_have_large_numbers_and_sizes_are_of_width_and_height(small: Path) -> None:
    change(small, "data", lambda data: data["images"][0].update(frame_idx=2**40, width=97))
    change(small, "joint_3d", lambda joints: joints["0"].update({str(2**40): joints["0"].pop("0")}))
    opened = open_index(find_layout(small, "train"))
    assert opened.columns["frame_idx"].tolist() == [2**40, 1, 2] and opened.columns["frame"].min() == 0
    assert opened.columns["size"][0].tolist() == [97, 96]


def test_numbers_fit_into_signed_columns() -> None:
    assert whole_number(2**31 - 1, 32) == 2**31 - 1
    for number in (2**31, -(2**31) - 1):
        with pytest.raises(ValueError, match="of 32 bits, where at most 31 are expected"):
            whole_number(number, 32)


def test_flags_in_pairs_are_not_the_flags_of_the_joints(small: Path) -> None:
    change(small, "data", lambda data: data["annotations"][0].update(joint_valid=[[1, 1]] * 21))
    with pytest.raises(DataError, match="'joint_valid' must be a list of 42 values of 0 or 1"):
        InterHand(small)


def test_images_without_an_annotation_are_of_no_subset(small: Path) -> None:
    """The lists of annotation ids begin with 0, as ids do."""
    change(small, "data", lambda data: data["annotations"].pop())
    (small / "annotations" / "train" / "aid_human_annot_train.txt").write_text("0\n1\n")
    read = annotations.read_annotations(find_layout(small, "train"), None)
    assert read.columns["annotation_id"].tolist() == [0, 1, -1]
    assert (read.columns["flags"] & annotations.SUBSET_BITS["human"] > 0).tolist() == [True, True, False]


# ---- the file


def test_arrays_begin_at_multiples_of_64_bytes(tmp_path: Path) -> None:
    """Readers of any kind may take them as they lie there; the file is mapped at the beginning of a page."""
    arrays = {"one": np.zeros(3, np.uint8), "two": np.zeros(5), "three": np.zeros(2, np.float32)}
    write_arrays(tmp_path / "arrays", arrays, {"note": "of some length"})
    assert [values.ctypes.data % 64 for values in open_arrays(tmp_path / "arrays")[0].values()] == [0, 0, 0]


def test_arrays_with_something_after_them_are_refused(tmp_path: Path) -> None:
    write_arrays(tmp_path / "arrays", {"numbers": np.arange(100.0)}, {})
    with (tmp_path / "arrays").open("ab") as file:
        file.write(bytes(64))
    with pytest.raises(DataError, match="is cut short"):
        open_arrays(tmp_path / "arrays")


def test_an_index_of_another_version_is_made_anew(small: Path) -> None:
    path = open_index(find_layout(small, "train")).path
    arrays, note = open_arrays(path)
    write_arrays(path, {name: values.copy() for name, values in arrays.items()}, {**note, "version": index.VERSION - 1})
    assert fresh_index(find_layout(small, "train")) is None
    assert open_arrays(open_index(find_layout(small, "train")).path)[1]["version"] == index.VERSION


def test_an_index_is_made_anew_on_request(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, read, calls = find_layout(small, "train"), index.read_annotations, list[int]()
    monkeypatch.setattr(index, "read_annotations", lambda *given: (calls.append(1), read(*given))[1])
    for anew, count in ((False, 1), (False, 1), (True, 2)):
        build_index(layout, anew=anew)
        assert len(calls) == count


def test_sources_of_another_size_are_other_sources_whatever_their_time(small: Path) -> None:
    layout = find_layout(small, "train")
    open_index(layout)
    path = layout.path("data")
    stamp = path.stat().st_mtime_ns
    path.write_text(path.read_text() + " ")
    os.utime(path, ns=(stamp, stamp))
    assert fresh_index(layout) is None


def test_whoever_sees_the_progress_needs_no_announcement(
    small: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(index, "SLOW_FROM_BYTES", 10)
    build_index(find_layout(small, "train"), lambda *_: None)
    assert not caplog.records


def test_a_folder_has_one_index_by_whatever_path(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absolute = index_paths(find_layout(small, "train"))
    monkeypatch.chdir(small)
    assert index_paths(find_layout(Path(), "train"))[1] == absolute[1]


def test_the_first_kind_of_damage_is_told_with_the_number_of_others(small: Path) -> None:
    change(small, "camera", lambda cameras: cameras["0"]["focal"].pop("000"))
    change(small, "joint_3d", lambda joints: joints["0"].pop("1"))
    with pytest.raises(DataError, match=r"damaged in camera\.json .*'focal' lacks it\), and 1 more kinds of damage"):
        InterHand(small)
