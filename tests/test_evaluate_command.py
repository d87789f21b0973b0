"""The command `unclasp evaluate`: models, prediction files, the protocol's flags, and invalid combinations."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unclasp.cli import main
from unclasp.data.interhand import InterHand
from unclasp.evaluation.prediction_file import FORMAT
from unclasp.evaluation.protocol import Protocol
from unclasp.predictor import Predictor

HERE = Path()


@pytest.fixture(autouse=True)
def _in_golden_mini(golden_mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `interhand:.` the made-up set that published evaluators were run on."""
    monkeypatch.chdir(golden_mini)


def run(capsys: pytest.CaptureFixture[str], *words: str | Path, data: Path = HERE) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(["evaluate", f"interhand:{data}:test", *map(str, words)])
    told = capsys.readouterr()
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, told.out, told.err


def report_of(capsys: pytest.CaptureFixture[str], *words: str | Path, data: Path = HERE) -> dict[str, Any]:
    loads = not {"--predictions", "--as-predicted"} & set(words)
    code, told, error = run(capsys, *words, "--json", *("--workers", "0") * loads, data=data)
    assert code == 0, error
    content: dict[str, Any] = json.loads(told)
    return content


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_saved_predictions_get_the_figures_of_the_model(
    capsys: pytest.CaptureFixture[str], weights: Path, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"saved{suffix}"
    model = report_of(capsys, "--weights", weights, "--save-predictions", path)
    again = report_of(capsys, "--predictions", path)
    for key in ("figures", "joint_errors", "pck", "worst", "samples", "protocol", "image_size", "dataset"):
        assert model[key] == again[key], key
    assert model["figures"]["mrrpe_mm"] > 0 and model["figures"]["handedness_accuracy"] is not None
    assert (model["model"], again["model"]) == ("mine", "saved")
    assert again["notes"] == {**model["notes"], "predictions": "2.5D poses in 64 px crops as above"}
    assert model["notes"]["images"] == "33 of 33 annotated; layout v1.0, subset all, hands all, all frames"


def test_the_files_are_written_though_nobody_reads_the_report(weights: Path, tmp_path: Path) -> None:
    command = (
        f'"{sys.executable}" -u -m unclasp evaluate interhand:.:test --weights {weights} --workers 0 '
        f"--out {tmp_path}/r.json --save-predictions {tmp_path}/p.npz | true"
    )
    subprocess.run(["bash", "-c", command], check=True, timeout=120)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.npz", "r.json"]


def test_what_users_get_is_scored_too(
    capsys: pytest.CaptureFixture[str], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "saved.npz"
    once = report_of(capsys, "--weights", weights)
    looked = report_of(capsys, "--weights", weights, "--as-predicted", "--save-predictions", path)
    assert looked["notes"]["prediction"].startswith("all of unclasp predict --box")
    assert "prediction" not in once["notes"]
    loaded: list[Predictor] = []
    load = Predictor.load
    monkeypatch.setattr(Predictor, "load", lambda *a, **k: loaded.append(load(*a, **k)) or loaded[-1])
    plain = report_of(capsys, "--weights", weights, "--as-predicted", "--no-landmarks")
    report_of(capsys, "--weights", weights, "--as-predicted")
    assert [each.landmarks is None for each in loaded] == [True, False]
    assert ["corrected" in each["notes"]["prediction"] for each in (looked, plain)] == [True, False]
    assert looked["samples"] == once["samples"] and looked["model"] == "mine"
    assert looked["image_size"] == 64, "the size at which the network runs, not the unit of the 2D error"
    assert looked["figures"]["mpjpe_all_mm"] != once["figures"]["mpjpe_all_mm"]
    assert report_of(capsys, "--predictions", path)["figures"] == looked["figures"]


def test_the_distance_that_users_get_is_scored_too(
    capsys: pytest.CaptureFixture[str], weights: Path, tmp_path: Path
) -> None:
    words = ("--weights", weights, "--as-predicted", "--no-landmarks")
    true = report_of(capsys, *words)
    own = report_of(capsys, *words, "--own-distance", "--save-predictions", tmp_path / "own.npz")
    assert "their own depths" in own["notes"]["predictions"]
    same = ("plane_all_px", "handedness_accuracy")
    assert own["figures"]["mpjpe_all_mm"] != true["figures"]["mpjpe_all_mm"]
    assert [own["figures"][name] for name in same] == pytest.approx([true["figures"][name] for name in same])
    saved = np.load(tmp_path / "own.npz")
    predictor, dataset = Predictor.load(weights, detector="none", landmarks=False), InterHand(HERE, "test")
    for joints, sample in zip(saved["joints"], map(dataset.__getitem__, range(len(dataset))), strict=True):
        focal, princpt = ((float(x), float(y)) for x, y in (sample.focal, sample.princpt))
        pose = predictor(sample.image, sample.box, focal=focal, princpt=princpt)
        np.testing.assert_allclose(joints, pose.joints_cam, rtol=1e-4)


def test_the_protocol_is_flags_and_is_printed(
    capsys: pytest.CaptureFixture[str], weights: Path, tmp_path: Path
) -> None:
    flags = {
        "--depth-source": "relative", "--box-expansion": "1.5", "--average": "sample", "--joints": "40",
        "--root": "middle_mcp", "--scaling": "bone",
    }  # fmt: skip
    words = [word for pair in flags.items() for word in pair]
    out = tmp_path / "report.json"
    code, told, error = run(capsys, "--weights", weights, *words, "--pck-wrists", "--out", out, "--workers", "0")
    assert code == 0, error
    wanted = Protocol(
        depth_source="relative", box_expansion=1.5, average="sample", joints=40, root="middle_mcp", scaling="bone",
        pck_wrists=True,
    )  # fmt: skip
    content = json.loads(out.read_text())
    assert Protocol(**content["protocol"]) == wanted
    for name, words_ in wanted.describe().items():
        assert f"{name}: {words_}" in told and content["protocol_in_words"][name] == words_


def test_the_worst_pictures_are_named(capsys: pytest.CaptureFixture[str], weights: Path) -> None:
    worst = report_of(capsys, "--weights", weights)["worst"]
    code, told, _ = run(capsys, "--weights", weights, "--worst", "3", "--workers", "0")
    assert code == 0
    listed = told.split("worst pictures\n")[1].splitlines()
    assert [line.split()[-1] for line in listed] == [name for name, _ in worst[:3]]
    assert [float(line.split()[0]) for line in listed] == [pytest.approx(error, abs=0.005) for _, error in worst[:3]]
    assert worst == sorted(worst, key=lambda pair: -pair[1])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--predictions", "a.npz", "--mean-pose"), "--mean-pose and --predictions exclude each other"),
        (("--predictions", "a.npz", "--save-predictions", "b.npz"), "--predictions has nothing to save"),
        (("--predictions", "a.npz", "--devices", "2"), "--predictions has nothing to save and runs in one process"),
        (("--predictions", "a.npz"), "there is no file of predictions a.npz"),
        (("--save-predictions", "b.csv"), "--save-predictions must end in .npz or .json, got b.csv"),
        (("--depth-source", "rootnet"), "--depth-source or --box-source rootnet needs RootNet's file"),
        (("--box-source", "rootnet"), "--depth-source or --box-source rootnet needs RootNet's file"),
        (("--rootnet", "a.json"), "--rootnet is not used: add --depth-source rootnet"),
        (("--depth-source", "given"), "depths and boxes can only be given to the library"),
        (("--no-landmarks",), "--no-landmarks is for --as-predicted"),
        (("--own-distance",), "--own-distance is for --as-predicted"),
        (
            ("--as-predicted", "--own-distance", "--depth-source", "relative"),
            "--own-distance and --depth-source relative exclude each other",
        ),
        (("--as-predicted", "--mean-pose"), "--as-predicted scores a model in one process"),
        (("--as-predicted", "--devices", "2"), "--as-predicted scores a model in one process"),
        (("--as-predicted", "--box-source", "rootnet", "--rootnet", "a"), "--as-predicted takes the annotated boxes"),
        (("--predictions", "a.npz", "--device", "cuda"), "--predictions runs no network: leave out --device"),
        (("--predictions", "a.npz", "--workers", "0"), "--predictions runs no network: leave out --workers"),
        (
            ("--as-predicted", "--batch-size", "1", "--workers", "9"),
            "--as-predicted takes one picture at a time: leave out --batch-size and --workers",
        ),
        (("--out", "x.json", "--save-predictions", "./x.json"), "--out and --save-predictions are both x.json: give"),
        (("--box-expansion", "inf"), "box_expansion must be greater than 0 and finite, got inf"),
        (("--devices", "0"), "--devices must be at least 1, got 0"),
        (("--worst", "101"), "--worst must be from 0 to 100, got 101"),
        (("--limit", "0", "--workers", "0"), "there is nothing to evaluate"),
    ],
)
def test_what_does_not_go_together_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    code, out, error = run(capsys, *words)
    assert (code, out) == (2, "")
    assert error.startswith(f"error: {told}") and error.count("\n") == 1


def test_all_trainings_are_told_apart(capsys: pytest.CaptureFixture[str], weights: Path, tmp_path: Path) -> None:
    """They all call their file weights.safetensors."""
    (tmp_path / "first").mkdir()
    path = shutil.copy(weights, tmp_path / "first" / "weights.safetensors")
    assert report_of(capsys, "--weights", path)["model"] == "first/weights"
    assert report_of(capsys, "--weights", path, "--as-predicted")["model"] == "first/weights"


def test_the_split_is_told_and_must_be_named_if_there_are_several(
    capsys: pytest.CaptureFixture[str], weights: Path, tmp_path: Path, golden_mini: Path
) -> None:
    words = ("--weights", str(weights), "--workers", "0")
    with pytest.raises(SystemExit):
        main(["evaluate", f"interhand:{golden_mini}", *words])
    assert "\nsplit: test\n" in capsys.readouterr().out
    for split in ("train", "test"):
        folder = tmp_path / "annotations" / split
        shutil.copytree(golden_mini / "annotations" / "test", folder)
        for path in folder.iterdir():
            path.rename(folder / path.name.replace("test", split))
    for command in (
        ["evaluate", *words], ["calibrate", str(weights), "--out", str(tmp_path / "c.safetensors"), "--data"],
        ["fusion", "collect", "--out", str(tmp_path / "e.npz")], ["gallery"],
    ):  # fmt: skip
        with pytest.raises(SystemExit):
            main([*command, f"interhand:{tmp_path}"])
        wanted = f"{tmp_path} has the splits train, test: say which one is meant, for example interhand:{tmp_path}:test"
        assert wanted in capsys.readouterr().err, command


def save_moved(path: Path, data: Path, move: np.ndarray, joints: slice) -> None:
    """Write the true joints of a data set, some of them moved (mm, camera frame)."""
    samples = [
        sample for dataset in [InterHand(data, "test")] for sample in map(dataset.__getitem__, range(len(dataset)))
    ]
    poses = np.stack([np.where(sample.valid[:, None], sample.joints_cam, [0, 0, 500]) for sample in samples])
    poses = poses.astype(np.float64)
    poses[:, joints] += move
    names = np.array([sample.name for sample in samples])
    np.savez(path, format=FORMAT, space="camera", joints=poses, names=names)


def test_known_errors_on_real_frames(capsys: pytest.CaptureFixture[str], tmp_path: Path, real_frames: Path) -> None:
    """Perfect predictions are 0; fingers moved by (2, 3, 6) mm are 7 mm off, in 40 joints and 20/21 of it in 42."""
    save_moved(tmp_path / "perfect.npz", real_frames, np.zeros(3), slice(0, 42))
    perfect = report_of(capsys, "--predictions", tmp_path / "perfect.npz", data=real_frames)
    assert perfect["samples"] == {"single": 2, "two": 1, "all": 3}
    for name in ("mpjpe_single_mm", "mpjpe_two_mm", "mpjpe_all_mm", "mrrpe_mm", "plane_all_px"):
        assert perfect["figures"][name] == 0
    assert perfect["figures"]["auc_all"] == 1
    save_moved(tmp_path / "right.npz", real_frames, np.array([2.0, 3.0, 6.0]), slice(0, 20))
    moved = report_of(capsys, "--predictions", tmp_path / "right.npz", "--joints", "40", data=real_frames)
    told = {name: error for name, error in moved["joint_errors"].items() if error is not None}
    assert {name[0] for name in told} == {"r", "l"}
    for name, error in told.items():
        assert error == pytest.approx(7 if name[0] == "r" and name != "r_wrist" else 0, abs=1e-9)
    save_moved(tmp_path / "hand.npz", real_frames, np.array([0.0, 9.0, 12.0]), slice(21, 42))
    shifted = report_of(capsys, "--predictions", tmp_path / "hand.npz", data=real_frames)
    assert shifted["figures"]["mpjpe_all_mm"] == pytest.approx(0, abs=1e-9)
    assert shifted["figures"]["mrrpe_mm"] == pytest.approx(15, abs=1e-9)
