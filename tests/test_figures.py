"""The drawings of `unclasp figures`: attention maps and PCK curves."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from test_report import make_report
from unclasp.canvas import Canvas
from unclasp.cli import main
from unclasp.errors import DataError
from unclasp.evaluation.attention import draw_attention
from unclasp.evaluation.curves import MAX_REPORTS, draw_curves
from unclasp.evaluation.protocol import Protocol
from unclasp.model import build
from unclasp.model.attention import AttentionMaps, attention_maps
from unclasp.presets import preset, tiny

PAPER = (243, 242, 238)
BOX = np.array([0.0, 0.0, 99.0, 99.0])
HANDS = Path(__file__).parents[1] / "examples" / "two_hands.jpg"


def cell(page: np.ndarray, row: int, column: int) -> np.ndarray:
    """Return a picture (220, 220, 3) of the page of attention maps."""
    return page[34 + row * 230 :, 104 + column * 230 :][:220, :220]


def test_a_row_for_each_kind_and_a_column_for_each_stage() -> None:
    image = np.full((100, 100, 3), 90, dtype=np.uint8)
    page = draw_attention(build(tiny().model).eval(), image, BOX, 4)
    assert page.shape == (34 + 3 * 230, 104 + 5 * 230, 3)
    drawn = [[bool((cell(page, row, column) != PAPER).any()) for column in range(5)] for row in range(3)]
    assert drawn == [[True] * 5, [False, False, True, True, True], [False, True, True, True, True]]
    fused = draw_attention(build(preset("tiny-table1-ji").model).eval(), image, BOX, 4)
    assert fused.shape == (34 + 230, 104 + 5 * 230, 3)


def test_the_joint_s_map_is_drawn_where_it_is_high(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = np.full((42, 4, 4), 1e-3)
    maps[7, 1, 2] = 0.9
    stage = AttentionMaps("initialisation", torch.from_numpy(maps), {})
    monkeypatch.setattr(
        "unclasp.evaluation.attention.attention_maps", lambda *given: ([stage], attention_maps(*given)[1])
    )
    image = np.full((100, 100, 3), 90, dtype=np.uint8)
    heat = cell(draw_attention(build(tiny().model).eval(), image, BOX, 7), 0, 1).max(axis=2)
    assert heat[60:105, 115:160].min() > 200
    assert heat[:50].max() < 60
    other = cell(draw_attention(build(tiny().model).eval(), image, BOX, 8), 0, 1)
    assert np.ptp(other[:50].astype(int), axis=(0, 1)).max() == 0, "an even map"


def test_a_cross_marks_the_truth_in_every_picture() -> None:
    image, model = np.full((100, 100, 3), 90, dtype=np.uint8), build(tiny().model).eval()
    without, with_cross = (draw_attention(model, image, BOX, 4, truth=at) for at in (None, np.array([24.0, 74.0])))
    rows, columns = np.nonzero((cell(without, 0, 0) != cell(with_cross, 0, 0)).any(axis=2))
    assert abs(rows.mean() - 165) < 3 and abs(columns.mean() - 54) < 3 and np.ptp(rows) < 20
    assert (cell(without, 2, 4) != cell(with_cross, 2, 4)).any()


def test_attention_is_drawn_of_a_data_set_s_picture(
    golden_mini: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["attention", "--data", f"interhand:{golden_mini}:test", "--weights", str(weights)]
    assert run([*words, "--index", "2", "--out", str(tmp_path / "a.png"), "--joint", "l_wrist"]) == 0
    told = capsys.readouterr().out
    assert told == f"attention of l_wrist, although no left hand is annotated: {tmp_path / 'a.png'}\n"
    for wrong, hint in (
        (["--index", "99"], "--index must be from 0 to 32, got 99"),
        (["--box", "1", "2", "30", "40"], "--box is for a picture"),
        ([str(HANDS)], "name a picture, or a data set by --data"),
    ):
        assert run([*words, *wrong]) == 2 and hint in capsys.readouterr().err
    assert run(["attention", str(HANDS), "--index", "3"]) == 2 and "--index 3 is for --data" in capsys.readouterr().err


def test_curves_pass_through_their_values() -> None:
    page = draw_curves([("a", make_report())])
    assert page.shape == (16 * 2 + 40 + 340 + 50 + 22, 3 * (52 + 340 + 20 + 16) + 16, 3)
    red = np.all(np.abs(page[56:396, 68:408].astype(int) - (214, 66, 62)) < 30, axis=2)  # the plot of Single
    assert red[-8:, :75].any() and red[:4, 90:].any() and not red[20:-20, 95:].any()  # 0 below 12 mm, then 1
    rows = np.argwhere(red[20:-20])[:, 1]
    assert rows.min() > 0.22 * 340 and rows.max() < 0.27 * 340


def test_a_bucket_without_pictures_has_no_card() -> None:
    report = make_report()
    single = replace(report, pck={**report.pck, "two": None})
    assert draw_curves([("a", single)]).shape[1] == 428 + 16
    assert draw_curves([("a", single), ("b", report)]).shape[1] == 3 * 428 + 16


def test_what_cannot_be_compared_is_refused() -> None:
    report = make_report()
    with pytest.raises(DataError, match="a and b differ in joints, so that their curves cannot be compared"):
        draw_curves([("a", report), ("b", make_report(Protocol(joints=40)))])
    with pytest.raises(DataError, match=f"1 to {MAX_REPORTS} reports to draw, got {MAX_REPORTS + 1}"):
        draw_curves([("a", report)] * (MAX_REPORTS + 1))
    with pytest.raises(DataError, match="got 0"):
        draw_curves([])
    with pytest.raises(DataError, match="no report has a PCK curve"):
        draw_curves([("a", replace(report, pck=dict.fromkeys(report.pck)))])


def run(words: list[str]) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["figures", *words])
    return int(exit_.value.code or 0)


def test_the_commands(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maps, curves = tmp_path / "a.png", tmp_path / "c.jpg"
    reports = [tmp_path / name / "report.json" for name in ("dfl", "other")]
    for path in reports:
        make_report().save(path)
    assert run(["attention", str(HANDS), "--box", "40,50,215,225", "--weights", str(weights), "--out", str(maps)]) == 0
    assert run(["curves", *map(str, reports), "--out", str(curves)]) == 0
    assert cv2.imread(str(maps)).shape == (724, 1254, 3) and cv2.imread(str(curves)) is not None
    told = capsys.readouterr().out
    assert "attention of r_index4" in told and f"curves: {curves}" in told
    fewer = make_report()
    replace(fewer, samples={**fewer.samples, "all": 1}).save(reports[1])
    assert run(["curves", *map(str, reports), "--out", str(curves)]) == 0
    told = f"curves, although of different numbers of pictures ({fewer.samples['all']} dfl_report, 1 other_report): "
    assert told in capsys.readouterr().out
    assert run(["attention", str(maps), "--out", str(maps)]) == 2 and "is the picture itself" in capsys.readouterr().err


def test_a_joint_of_a_hand_that_is_not_there_is_told(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unclasp.pose.HandPose.sides", ("left",))
    words = ["attention", str(HANDS), "--box", "40,50,215,225", "--weights", str(weights), "--out", f"{tmp_path}/a.png"]
    assert run(words) == 0 and "attention of r_index4, although no right hand was found" in capsys.readouterr().out
    assert run([*words, "--joint", "l_wrist"]) == 0 and "although" not in capsys.readouterr().out


def test_the_legend_tells_reports_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    text = Canvas.text
    monkeypatch.setattr(
        Canvas,
        "text",
        lambda canvas, words, *place, **look: written.append(words) or text(canvas, words, *place, **look),
    )
    report = make_report()
    draw_curves([("short", report), ("long" * 40, report)])
    assert "short" in written and "AUC 0.765" in written
    (cut,) = {words for words in written if words.startswith("long")}
    assert "..." in cut and 20 < len(cut) < 40
    draw_curves([("a", report), ("b", replace(report, dataset="else"))])
    assert {"a, d", "b, else"} <= set(written)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["attention", str(HANDS), "--joint", "index4"], "no joint 'index4'; the joints are r_thumb4, "),
        (["attention", str(HANDS), "--out", "a.gif"], "must end in .png or .jpg"),
        (["attention", "{tmp}/black.png"], "black.png: no hands were found; give --box"),
        (["curves", "{tmp}/none.json"], "none.json: No such file"),
        (["curves", "{tmp}/black.png"], "black.png is no report, but binary; make one with unclasp evaluate --out"),
        (["curves", "{tmp}/other.json"], "other.json: not a report of this version of unclasp"),
    ],
)
def test_wrong_use(words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(f"{tmp_path}/black.png", np.zeros((64, 64, 3), dtype=np.uint8))
    (tmp_path / "other.json").write_text("{}")
    given = [word.format(tmp=tmp_path) for word in words]
    assert run([*given, *([] if "--out" in given else ["--out", f"{tmp_path}/out.png"])]) == 2
    assert told in capsys.readouterr().err and not (tmp_path / "out.png").exists()
