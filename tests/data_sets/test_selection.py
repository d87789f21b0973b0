"""Selection of a data set's pictures: by hands, frame rate and subset, and the filtered two-hand set."""

import errno
import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from made_set import change, fit, set_annotations, set_mano

from unclasp.data import container, open_dataset
from unclasp.data.entries import annotation_entries
from unclasp.data.index import open_index
from unclasp.data.interhand import InterHand, frame_step, thinned
from unclasp.data.layout import annotation_path, find_layout, layouts_in
from unclasp.data.tables import MANO_KEY
from unclasp.errors import DataError, UnclaspError


@pytest.fixture
def six(tmp_path: Path, make_sample: Any) -> Path:
    """Six pictures of one sequence at 30 frames per second with a clock of 90: frames 9, 12 … 24."""
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
    assert single[-2].name == single[0].name
    assert single.file_names[0:2] == list(single.file_names) and single.annotation_ids.tolist() == [101, 103]
    with pytest.raises(IndexError, match=r"index must lie in \[0, 2\), got 2"):
        single[2]
    with pytest.raises(UnclaspError, match="hands must be one of all, single, interacting, got 'both'"):
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


def test_pictures_one_by_one_are_taken_for_the_sparse_release(six: Path, make_sample: Any) -> None:
    assert frame_step(np.array([9, 12, 30]), np.array([0, 1, 2])) == 6
    assert frame_step(np.array([30, 9, 12, 12, 9]), np.array([0, 1, 1, 0, 1])) == 3, "two cameras see one frame"
    entries = [annotation_entries(make_sample(0), i, 0, f"Capture0/{i}/cam1/image{i}.jpg") for i in (0, 7, 36)]
    set_annotations(six, entries)
    assert frames(InterHand(six, fps=5)) == [0, 7, 36]


def test_the_sparse_release_cannot_be_made_denser(six: Path, make_sample: Any) -> None:
    entries = [annotation_entries(make_sample(0), i, 0, f"Capture0/a/cam1/image{i}.jpg") for i in (0, 18, 36)]
    set_annotations(six, entries)
    assert frames(InterHand(six, fps=5)) == [0, 18, 36]
    with pytest.raises(DataError, match="every 18th frame, which is the 5 frames a second release"):
        thinned(open_index(find_layout(six, "train")), 30)
    entries = [annotation_entries(make_sample(0), i, 0, f"Capture0/a/cam1/image{i}.jpg") for i in (0, 6, 12)]
    set_annotations(six, entries)
    assert frames(InterHand(six, fps=5)) == [0, 6, 12]
    with pytest.raises(DataError, match="every 6th frame, which is the 5 frames a second release"):
        InterHand(six, fps=30)


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
    with pytest.raises(UnclaspError, match="subset must be one of all, human, machine, got 'H'"):
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


def test_the_older_val_has_a_machine_folder_alone(six: Path) -> None:
    below = six / "annotations" / "machine_annot"
    below.mkdir()
    for kind in ("data", "camera", "joint_3d"):
        annotation_path(six, "train", kind).rename(below / f"InterHand2.6M_val_{kind}.json")
    assert len(InterHand(six, "val")) == len(InterHand(six, "val", subset="machine")) == 6
    with pytest.raises(DataError, match=r"human_annot.*val_data\.json is missing"):
        InterHand(six, "val", subset="human")


def test_a_report_says_which_pictures_were_read(six: Path) -> None:
    assert InterHand(six).notes == {
        "images": "6 of 6 annotated; layout v1.0, subset all, hands all, all frames", "part masks": "none",
    }  # fmt: skip
    chosen = InterHand(six, hands="single", fps=30).notes["images"]
    assert chosen == "2 of 6 annotated; layout v1.0, subset all, hands single, thinned to 30 frames per second"


def test_options_may_follow_a_name(six: Path) -> None:
    assert len(open_dataset(f"interhand:{six}:train,hands=single")) == 2
    assert len(open_dataset(f"interhand:{six},fps=5,hands=interacting")) == 1
    with pytest.raises(DataError, match=r"fps must be 5 or 30.*got 'all'"):
        open_dataset(f"interhand:{six},fps=all")
    for wrong, told in (
        ("filtered=0", "filtered must stand by itself, or be true or false, got '0'"),
        ("hands=single,hands=all", "the option hands of the data set comes twice"),
        ("hand=single", "the option hand of the data set is unknown; there are subset, hands"),
    ):
        for name in (six, f"{six}:train"):
            with pytest.raises(DataError, match=told):
                open_dataset(f"interhand:{name},{wrong}")
    assert len(open_dataset(f"interhand:{six},filtered=false")) == 6
    comma = six.rename(six.with_name("a,b=c"))
    assert len(open_dataset(f"interhand:{comma}")) == len(open_dataset(f"interhand:{comma}:train")) == 6
    for kind in ("images", "annotations"):
        (comma / kind / "train").rename(comma / kind / "dev")
    for path in (comma / "annotations" / "dev").glob("*_train_*"):
        path.rename(path.with_name(path.name.replace("_train_", "_dev_")))
    (comma / "annotations" / "val").mkdir()
    assert len(open_dataset(f"interhand:{comma}:dev")) == 6


# ---- the filtered two-hand set


def test_an_index_tells_which_hands_of_a_frame_have_a_fit(six: Path) -> None:
    some = {"9": {"right": fit(), "left": None}, "12": {"right": None, "left": fit()}, "15": {}}
    set_mano(six, {"0": {**some, "18": {"right": fit(), "left": fit()}}})
    told = open_index(find_layout(six, "train")).columns["frame_mano"]
    assert told.tolist() == [MANO_KEY + 1, MANO_KEY + 2, MANO_KEY, MANO_KEY + 3, 0, 0]


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


@pytest.mark.parametrize(
    ("arrays", "note"),
    [
        ({}, None), ({"states": np.zeros(6, np.uint8)}, []), ({"states": np.zeros(2, np.uint8)}, None),
        ({"states": np.full(6, 9, np.uint8)}, None), ({"states": np.zeros(6)}, None),
    ],
    ids=["no states", "another note", "too few", "unknown states", "another type"],
)  # fmt: skip
def test_damaged_brightness_is_looked_up_again(six: Path, arrays: dict[str, Any], note: Any) -> None:
    set_mano(six, {"0": {"9": {"right": fit(), "left": fit()}}})
    data = InterHand(six, filtered=True)
    path = data.index.path.with_suffix(".brightness")
    kept = path.read_bytes()
    container.write_arrays(path, arrays, {"sources": data.index.sources} if note is None else note)
    assert frames(InterHand(six, filtered=True)) == [9]
    assert path.read_bytes() == kept


def test_changed_brightness_is_looked_up_again(six: Path) -> None:
    set_mano(six, {"0": {"9": {"right": fit(), "left": fit()}}})
    data = InterHand(six, filtered=True)
    path = data.index.path.with_suffix(".brightness")
    content, states = path.read_bytes(), container.open_arrays(path)[0]["states"].tobytes()
    dark = bytes(2 * (state > 0) for state in states)
    path.write_bytes(dark.join(content.rsplit(states, 1)))
    assert container.open_arrays(path)[0]["states"].tobytes() == dark
    assert frames(InterHand(six, filtered=True)) == [9] and path.read_bytes() == content


def test_an_interrupted_search_for_black_pictures_goes_on(six: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_mano(six, {"0": {str(frame): {"right": fit(), "left": fit()} for frame in (9, 15, 21, 24)}})
    monkeypatch.setattr("unclasp.data.filtered._CHUNK", 2)
    read: list[int] = []

    def looked_at(paths: Any) -> list[int]:
        read.extend(int(path.stem[5:]) for path in paths)
        if len(read) == 4 and not again:
            raise KeyboardInterrupt
        return [1, 1]

    monkeypatch.setattr("unclasp.data.filtered.brightness", looked_at)
    again = False
    with pytest.raises(KeyboardInterrupt):
        open_dataset(f"interhand:{six},filtered")
    again = True
    assert len(open_dataset(f"interhand:{six},filtered")) == 4
    assert read == [9, 15, 21, 24, 21, 24]
