"""The index: made once, opened at once, shared, up to date, whole or not there."""

import errno
import json
import logging
import multiprocessing
import os
import pickle
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from made_set import change, fit, set_annotations, set_mano

from unclasp.bench_index import index_cost, memory_of, told, write_made_up
from unclasp.cli import main
from unclasp.data import annotations, container, index, open_dataset
from unclasp.data.container import open_arrays, write_arrays
from unclasp.data.index import build_index, fresh_index, index_paths, open_index
from unclasp.data.interhand import InterHand, annotation_entries, annotation_path, thinned
from unclasp.data.layout import find_layout, layouts_in
from unclasp.errors import DataError
from unclasp.files import whole as write_whole

NAME = "InterHand2.6M_train.index"


def made(root: Path) -> list[str]:
    """Return what lies beside the annotations besides the annotations."""
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
    with pytest.raises(DataError, match=r"is cut short|not a file of arrays"):
        open_arrays(path)


# ---- made when it is needed


def test_it_is_made_once(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fresh_index(find_layout(small, "train")) is None
    first = InterHand(small)[0]
    assert made(small) == [NAME]

    def never(*_: Any) -> None:
        raise AssertionError("the annotations were read again")

    monkeypatch.setattr(index, "read_annotations", never)
    np.testing.assert_array_equal(InterHand(small)[0].joints_cam, first.joints_cam)


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
    """Changes within one tick of the file system's clock bear the same time."""
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
    """Let nothing be written in a folder."""
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
        """A file that takes its header and no more."""

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
    monkeypatch.setattr(index, "fcntl", None)
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
    assert "4,000 images" in told(cost) and "shared" in told(cost)
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
    monkeypatch.setattr(index, "LARGE", 10)
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


# ---- what it is asked for


@pytest.fixture
def six(tmp_path: Path, make_sample: Any) -> Path:
    """Six pictures of one sequence and capture at 30 frames a second by a clock of 90, frames 9, 12 … 24."""
    entries = []
    for i, hands in enumerate(("interacting", "right", "interacting", "left", "interacting", "interacting")):
        name = f"Capture0/both/cam400{i:03d}/image{9 + 3 * i}.jpg"
        entry = annotation_entries(make_sample(i, hands=hands), 9 + 3 * i, 0, name)
        entry["image"]["id"] = entry["annotation"]["image_id"] = i
        entry["annotation"]["id"] = 100 + i
        entries.append(entry)
        path = tmp_path / "images" / "train" / name
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), np.full((96, 96, 3), 5 if i == 4 else 90, np.uint8))
    set_annotations(tmp_path, entries)
    return tmp_path


def frames(dataset: InterHand) -> list[int]:
    return [int(name.rpartition("image")[2][:-4]) for name in dataset.file_names]


def test_hands_are_told_apart_by_the_annotated_type(six: Path) -> None:
    assert frames(InterHand(six, hands="interacting")) == [9, 15, 21, 24]
    assert frames(InterHand(six, hands="single")) == [12, 18]
    single = InterHand(six, hands="single")
    assert [single[i].hand_type.tolist() for i in range(2)] == [[True, False], [False, True]]
    assert single.file_names[-1] == single.file_names[1] == single[1].name == single[-1].name
    assert single.file_names[0:2] == list(single.file_names) and single.annotation_ids.tolist() == [101, 103]
    with pytest.raises(IndexError, match=r"index must lie in \[0, 2\), got 2"):
        single[2]
    with pytest.raises(DataError, match="hands must be one of all, single, interacting, got 'both'"):
        InterHand(six, hands="both")  # type: ignore[arg-type]


def test_thinning_takes_every_sixth_step_of_a_sequence(six: Path, make_sample: Any) -> None:
    assert frames(InterHand(six, fps=30)) == [9, 12, 15, 18, 21, 24]
    assert frames(InterHand(six, fps=5)) == [9]
    entries = []
    for frame in (9, 12, 27, 30, 45, 60, 63):  # with gaps: counted by the clock, not by what is there
        name = f"Capture0/both/cam400/image{frame}.jpg"
        entries.append(annotation_entries(make_sample(0), frame, 0, name))
    set_annotations(six, entries)
    assert frames(InterHand(six, fps=5)) == [9, 27, 45, 63]
    with pytest.raises(DataError, match="fps must be 5 or 30, the releases that there are, got 10"):
        InterHand(six, fps=10)


def test_the_sparse_release_cannot_be_made_denser(six: Path, make_sample: Any) -> None:
    entries = [annotation_entries(make_sample(0), i, 0, f"Capture0/a/cam1/image{i}.jpg") for i in (0, 18, 36)]
    set_annotations(six, entries)
    assert frames(InterHand(six, fps=5)) == [0, 18, 36]
    with pytest.raises(DataError, match="every 18th frame, which is the 5 frames a second release"):
        thinned(open_index(find_layout(six, "train")), 30)


def test_subsets_are_told_by_their_lists_of_ids(six: Path) -> None:
    for subset in ("human", "machine"):
        with pytest.raises(DataError, match=rf"aid_{subset}_annot_train\.txt is missing: only that list"):
            InterHand(six, subset=subset)  # type: ignore[arg-type]
    (six / "annotations" / "train" / "aid_human_annot_train.txt").write_text("100\n102\n105\n")
    assert frames(InterHand(six, subset="human")) == [9, 15, 24]
    assert frames(InterHand(six, subset="human", hands="single")) == []
    (six / "aid_machine_annot_train.txt").write_text("102\n103\n")
    assert frames(InterHand(six, subset="machine")) == [15, 18]
    assert frames(InterHand(six, subset="human")) == [9, 15, 24] and len(InterHand(six)) == 6
    with pytest.raises(DataError, match="subset must be one of all, human, machine, got 'H'"):
        InterHand(six, subset="H")  # type: ignore[arg-type]
    (six / "aid_machine_annot_train.txt").write_text("102 and more\n")
    with pytest.raises(DataError, match=r"aid_machine_annot_train\.txt must hold one annotation id a line"):
        InterHand(six)


def test_all_of_val_is_machine_annotated(six: Path) -> None:
    for kind in ("data", "camera", "joint_3d"):
        path = annotation_path(six, "val", kind)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(annotation_path(six, "train", kind).read_bytes())
    assert len(InterHand(six, "val", subset="machine")) == 6
    with pytest.raises(DataError, match="val has no human annotations"):
        InterHand(six, "val", subset="human")


def test_the_older_layout_has_its_subsets_in_folders(six: Path) -> None:
    for folder, kept in (("all", slice(None)), ("human_annot", slice(0, 2))):
        for kind in ("data", "camera", "joint_3d"):
            content = json.loads(annotation_path(six, "train", kind).read_text())
            if kind == "data":
                content = {key: values[kept] for key, values in content.items()}
            path = six / "annotations" / folder / f"InterHand2.6M_train_{kind}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(content))
    (six / "annotations" / "all" / "InterHand2.6M_train_MANO.json").write_text("{}")
    v1 = InterHand(six)
    assert v1.layout.release == "v1.0"
    for path in (six / "annotations" / "train").iterdir():
        path.unlink()
    older = InterHand(six)
    assert older.layout.release == "older" and older.index.has_mano
    assert [layout.subset for layout in layouts_in(six)] == ["all", "human"]
    for i in range(6):
        np.testing.assert_array_equal(older[i].joints_cam, v1.record(i)["joints_cam"])
    assert frames(InterHand(six, subset="human")) == [9, 12]
    with pytest.raises(DataError, match=r"machine_annot.*train_data\.json is missing"):
        InterHand(six, subset="machine")


def test_options_may_follow_a_name(six: Path) -> None:
    assert len(open_dataset(f"interhand:{six}:train,hands=single")) == 2
    assert len(open_dataset(f"interhand:{six},fps=5,hands=interacting")) == 1
    with pytest.raises(DataError, match=r"fps must be 5 or 30.*got 'all'"):
        open_dataset(f"interhand:{six},fps=all")
    comma = six.rename(six.with_name("a,b=c"))
    assert len(open_dataset(f"interhand:{comma}")) == 6


# ---- the filtered two-hand set


def test_the_filtered_set_follows_its_rule(six: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"MANO_NeuralAnnot\.json is missing; the filtered set"):
        InterHand(six, filtered=True)
    both = {"right": fit(), "left": fit()}
    set_mano(six, {"0": {"9": both, "12": both, "15": {"right": fit(), "left": None}, "21": both, "24": both}})
    # 12 is a single hand, 15 lacks a fit, 18 both, 21 is black; 24 stays only while its type can be trusted.
    assert frames(InterHand(six, filtered=True)) == [9, 24]
    change(six, "data", lambda data: data["annotations"][5].update(hand_type_valid=0))
    assert frames(InterHand(six, filtered=True)) == [9]
    monkeypatch.setattr("unclasp.data.filtered.read_rgb", lambda path: 1 / 0)
    assert frames(InterHand(six, filtered=True)) == [9], "what was found is kept"


@pytest.mark.parametrize(("grey", "kept"), [(9, []), (10, [9])])
def test_the_darkest_picture_has_a_mean_of_ten(six: Path, grey: int, kept: list[int]) -> None:
    set_mano(six, {"0": {"9": {"right": fit(), "left": fit()}}})
    cv2.imwrite(str(six / "images" / "train" / InterHand(six).file_names[0]), np.full((96, 96, 3), grey, np.uint8))
    assert frames(InterHand(six, filtered=True)) == kept


def test_pictures_that_come_later_join_the_filtered_set(six: Path, caplog: pytest.LogCaptureFixture) -> None:
    both = {"right": fit(), "left": fit()}
    set_mano(six, {"0": {"9": both, "24": both}})
    path = six / "images" / "train" / InterHand(six).file_names[0]
    content = path.read_bytes()
    path.unlink()
    with caplog.at_level(logging.WARNING):
        assert frames(InterHand(six, filtered=True)) == [24]
    assert ["1 pictures cannot be read and are left out" in record.getMessage() for record in caplog.records] == [True]
    path.write_bytes(content)
    assert frames(InterHand(six, filtered=True)) == [9, 24]
    for other in (six / "images").rglob("*.jpg"):
        other.unlink()
    (six / "annotations" / "train" / "InterHand2.6M_train.brightness").unlink()
    with pytest.raises(DataError, match="holds none of the 2 pictures"):
        InterHand(six, filtered=True)


def test_brightness_that_cannot_be_kept_is_told(
    six: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    set_mano(six, {"0": {"9": {"right": fit(), "left": fit()}}})
    InterHand(six)
    monkeypatch.setattr(container, "whole", lambda path: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    with caplog.at_level(logging.WARNING):
        assert frames(InterHand(six, filtered=True)) == [9]
    assert "cannot be written (No space left); the pictures will be read again" in caplog.records[0].getMessage()


def test_index_paths_differ_between_folders(tmp_path: Path, small: Path) -> None:
    ours = index_paths(find_layout(small, "train"))
    with write_whole(tmp_path / "elsewhere" / "annotations" / "train" / "InterHand2.6M_train_data.json") as path:
        path.write_text("{}")
    other = index_paths(layouts_in(tmp_path / "elsewhere")[0])
    assert not set(ours) & set(other)
