"""The contents of a report, and that they are complete."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unclasp.errors import DataError, UnclaspError
from unclasp.evaluation.protocol import Protocol
from unclasp.evaluation.report import Report
from unclasp.evaluation.scores import SampleScore, Scores
from unclasp.hands import JOINT_NAMES
from unclasp.metrics import ROOT_JOINTS, Root


def make_report(protocol: Protocol | None = None, **optional: Any) -> Report:
    """Two pictures: single with an error of 12 mm everywhere, both hands with 24 mm at one joint only."""
    scores = Scores()
    errors = np.where(np.isin(np.arange(42), (20, 41)), 0.0, 12.0)
    valid = np.ones(42, dtype=np.bool_)
    only = np.arange(42) == 3
    scores.add(SampleScore(name="one", interacting=False, errors=errors, plane_errors=errors / 4, valid=valid))
    scores.add(
        SampleScore(name="both", interacting=True, errors=2 * errors, plane_errors=errors / 2, valid=only, **optional)
    )
    return Report.from_scores(scores, model="m", dataset="d", image_size=64, protocol=protocol or Protocol())


def test_figures_by_hand() -> None:
    figures = make_report().figures
    assert figures["mpjpe_single_mm"] == pytest.approx(12 * 40 / 42)
    assert figures["mpjpe_two_mm"] == 24
    assert figures["mpjpe_all_mm"] == pytest.approx((12 * 39 + 18) / 42)
    assert figures["mpjpe_all_sample_average_mm"] == pytest.approx((12 * 40 + 24) / 43)
    assert figures["plane_two_px"] == 6
    assert figures["auc_single"] == pytest.approx((38 + 0.25) / 50)
    assert figures["auc_two"] == pytest.approx((26 + 0.25) / 50)
    assert figures["mrrpe_mm"] is figures["handedness_accuracy"] is figures["mean_iou"] is None


def test_the_protocol_shapes_the_figures() -> None:
    forty = make_report(Protocol(joints=40)).figures
    assert forty["mpjpe_single_mm"] == pytest.approx(12)
    assert forty["mpjpe_all_mm"] == pytest.approx((12 * 39 + 18) / 40)
    assert forty["plane_single_px"] == pytest.approx(3)
    by_sample = make_report(Protocol(average="sample")).figures
    assert by_sample["mpjpe_all_mm"] == pytest.approx((12 * 40 + 24) / 43)
    assert by_sample["mpjpe_all_joint_average_mm"] == pytest.approx((12 * 39 + 18) / 42)
    wrists = make_report(Protocol(pck_wrists=True))
    assert wrists.pck["single"] is not None
    assert wrists.pck["single"][0] == pytest.approx(2 / 42)
    assert wrists.figures["auc_single"] == pytest.approx((2 * 50 + 40 * 38.25) / 42 / 50)
    assert make_report().pck["single"][0] == 0  # type: ignore[index]


@pytest.mark.parametrize("root", list(ROOT_JOINTS))
def test_the_confident_half_is_that_of_the_higher_confidences(root: Root) -> None:
    """The joints of alignment are of neither half; of each hand one half of the others is better."""
    others = np.flatnonzero(~np.isin(np.arange(42), ROOT_JOINTS[root]))
    errors, confidence = np.zeros(42), np.full(42, 0.9)
    errors[others[::2]], errors[others[1::2]], confidence[others[1::2]] = 10.0, 30.0, 0.4
    scores = Scores()
    valid = np.ones(42, dtype=np.bool_)
    scores.add(
        SampleScore(name="one", interacting=False, errors=errors, plane_errors=None, valid=valid, confidence=confidence)
    )
    report = Report.from_scores(scores, model="m", dataset="d", image_size=64, protocol=Protocol(root=root))
    assert (report.figures["confident_half_mm"], report.figures["doubtful_half_mm"]) == (10, 30)
    assert report.notes == {}, "without any place in the picture no joint is left out of the 2D error"


def test_optional_figures_appear_when_they_are_known() -> None:
    confusion = np.zeros((33, 33), dtype=np.int64)
    confusion[0, 0], confusion[1, 1], confusion[1, 2] = 6, 3, 1
    report = make_report(wrist_offset_error=31.25, handedness_correct=True, confusion=confusion)
    assert report.figures["mrrpe_mm"] == 31.25
    assert report.figures["handedness_accuracy"] == 1
    assert report.figures["pixel_accuracy"] == 0.9
    assert report.figures["hand_pixel_accuracy"] == 0.75
    assert report.figures["mean_iou"] == pytest.approx((1 + 0.75 + 0) / 3)
    lines = {line[:18].strip(): line.split()[-1] for line in str(report).splitlines()[2:13] if line}
    assert lines["MRRPE mm"] == "31.25"
    assert lines["Hand pixels"] == "0.7500"


def test_joints_and_worst_samples_are_listed() -> None:
    report = make_report()
    assert tuple(report.joint_errors) == JOINT_NAMES
    assert report.joint_errors["r_thumb1"] == 18
    assert report.joint_errors["l_wrist"] == 0
    assert [name for name, _ in report.worst] == ["both", "one"]
    assert report.samples == {"single": 1, "two": 1, "all": 2}


@pytest.mark.parametrize("optional", [{}, {"wrist_offset_error": 3.0}])
def test_json_holds_everything_and_reads_back(optional: dict[str, float], tmp_path: Path) -> None:
    report = make_report(Protocol(joints=40, pck_wrists=True), **optional)
    content = json.loads(report.to_json())
    assert set(content) == {field.name for field in fields(Report)} | {"protocol_in_words", "pck_thresholds_mm"}
    assert set(content["protocol"]) == {field.name for field in fields(Protocol)}
    assert "NaN" not in report.to_json()
    assert Report.from_json(report.to_json()) == report
    path = tmp_path / "deep" / "report.json"
    report.save(path)
    assert Report.from_json(path.read_text()) == report
    assert [file.name for file in path.parent.iterdir()] == ["report.json"]


def test_empty_buckets_are_null_in_json_and_a_dash_in_the_table() -> None:
    scores = Scores()
    report = Report.from_scores(scores, model="m", dataset="d", image_size=64, protocol=Protocol())
    assert set(report.figures.values()) == {None}
    assert report.pck == {"single": None, "two": None, "all": None}
    assert Report.from_json(report.to_json()) == report
    assert str(report).splitlines()[4].split() == ["MPJPE", "mm", "-", "-", "-"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": "m"}', "3"])
def test_what_is_not_a_report_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="not a report"):
        Report.from_json(text)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content["pck"].clear(),
        lambda content: content["pck"].update(two=[0.5]),
        lambda content: content["figures"].pop("auc_two"),
        lambda content: content["figures"].update(auc_two=None),
        lambda content: content["protocol"].update(joints=41),
        lambda content: content["protocol"].update(box_expansion=10**400),
        lambda content: content["figures"].pop("mpjpe_all_sample_average_mm"),
        lambda content: content["figures"].pop("doubtful_half_mm"),
        lambda content: content["figures"].update(auc_two="0.5"),
        lambda content: content["figures"].update(mpjpe_all_mm=[]),
        lambda content: content["figures"].update(mpjpe_all_mm=10**400),
        lambda content: content["figures"].update(mpjpe_all_mm=float("inf")),
        lambda content: content["pck"].update(two=["a"] * len(content["pck"]["two"])),
        lambda content: content["pck"].update(two=[[0.5]] * len(content["pck"]["two"])),
        lambda content: content["joint_errors"].popitem(),
        lambda content: content.update(samples=True),
        lambda content: content["samples"].pop("single"),
        lambda content: content["samples"].update(two="1"),
        lambda content: content.update(notes="none"),
        lambda content: content["notes"].update(masks=None),
        lambda content: content.update(image_size=[64]),
        lambda content: content.update(model=None),
        lambda content: content.update(worst=[["one", None]]),
    ],
)
def test_a_damaged_report_is_refused(damage: Callable[[dict[str, Any]], object], tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    make_report().save(path)
    assert Report.load(path) == make_report()
    content = json.loads(path.read_text())
    damage(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"report\.json: not a report of this version"):
        Report.load(path)


def test_figures_that_an_earlier_report_lacks_are_named(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    make_report().save(path)
    content = json.loads(path.read_text())
    del content["figures"]["contact_precision"], content["figures"]["contact_recall"]
    path.write_text(json.dumps(content))
    told = "of this version of unclasp: figures lack contact_precision, contact_recall; make one with unclasp eval"
    with pytest.raises(DataError, match=told):
        Report.load(path)


def test_the_text_names_the_whole_protocol() -> None:
    text = str(make_report(Protocol(depth_source="relative", joints=40, average="sample", pck_wrists=True)))
    for words in (
        "m on d (64 x 64)", "predicted offset", "annotated box", "times 1.25", "own wrist", "scaling none", "40 joints",
        "mmpose", "wrists in", "12.00", "threshold 0.5",
    ):  # fmt: skip
        assert words in text


@pytest.mark.parametrize(
    "change",
    [
        {"depth_source": "relative"}, {"depth_source": "given"}, {"depth_source": "rootnet"}, {"box_source": "given"},
        {"box_source": "rootnet"}, {"box_expansion": 1.5}, {"average": "sample"}, {"joints": 40}, {"pck_wrists": True},
        {"root": "middle_mcp"}, {"scaling": "bone"},
    ],
)  # fmt: skip
def test_every_choice_is_told_in_words(change: dict[str, Any]) -> None:
    assert Protocol(**change).describe() != Protocol().describe()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("depth_source", "kinect"), ("box_source", "detector"), ("average", "macro"), ("joints", 21),
        ("root", "middle"), ("scaling", "palm"), ("box_expansion", 0.0),
    ],
)  # fmt: skip
def test_unknown_choices_are_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(UnclaspError) as caught:
        Protocol(**{field: value})
    assert field in str(caught.value)
    assert str(value) in str(caught.value)


def test_notes_are_printed_and_kept() -> None:
    report = make_report().noting({"images": "732, as in the paper"}).noting({"RootNet": "file.json"})
    assert report.notes == {"images": "732, as in the paper", "RootNet": "file.json"}
    assert "images: 732, as in the paper" in str(report) and "RootNet: file.json" in str(report)
    assert Report.from_json(report.to_json()) == report


def test_worst_samples_are_told_by_name() -> None:
    assert make_report().worst_lines(1).split() == ["24.00", "mm", "both"]
    assert [line.split()[-1] for line in make_report().worst_lines(9).splitlines()] == ["both", "one"]


def test_names_can_be_given_later() -> None:
    report = make_report()
    named = report.named(model="small", dataset="synthetic:test")
    assert (named.model, named.dataset, report.model) == ("small", "synthetic:test", "m")
    assert named.figures == report.figures
