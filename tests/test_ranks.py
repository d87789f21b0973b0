"""Distributed evaluation, as started by torchrun, compared with a single process."""

import contextlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from evaluated import SIZE, Samples, dataset
from ports import free_port
from unclasp.batch import Sample
from unclasp.checkpoint import save_weights
from unclasp.cli import main
from unclasp.data.entries import annotation_entries
from unclasp.data.layout import annotation_path
from unclasp.errors import UnclaspError
from unclasp.evaluate import EvaluateOptions, evaluate, mean_pose
from unclasp.evaluation import ranks
from unclasp.evaluation.prediction_file import read_predictions
from unclasp.evaluation.ranks import evaluate_over, launch
from unclasp.model import build
from unclasp.presets import tiny

MakeSample = Callable[..., Sample]
__all__ = ["dataset"]  # a fixture


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    save_weights(path, build(tiny().model).state_dict(), tiny())
    return path


@pytest.fixture
def root(tmp_path: Path, make_sample: MakeSample) -> Path:
    """Seven pictures in InterHand2.6M's layout."""
    files: dict[str, dict] = {"data": {"images": [], "annotations": []}, "camera": {}, "joint_3d": {}}
    for index in range(7):
        sample = make_sample(index, hands=("interacting", "right", "left")[index % 3])
        name = f"Capture{index}/seq/cam400001/image{index}.png"
        entries = annotation_entries(sample, index, index, name)
        files["data"]["images"].append(entries["image"])
        files["data"]["annotations"].append(entries["annotation"])
        files["camera"][str(index)] = entries["camera"]
        files["joint_3d"][str(index)] = entries["joint_3d"]
        picture = tmp_path / "data" / "images" / "test" / name
        picture.parent.mkdir(parents=True)
        cv2.imwrite(str(picture), sample.image[..., ::-1])
    for kind, content in files.items():
        path = annotation_path(tmp_path / "data", "test", kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return tmp_path / "data"


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Use the thread count of the two processes, because it changes the last digit of a convolution."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run_out_of_memory(*_: Any, **__: Any) -> None:
    raise MemoryError("no memory left")


def rank_of_two(rank: int, port: int, words: list[str], log: Path, second_fails: bool) -> None:
    if second_fails and rank == 1:
        ranks.collect_scores = run_out_of_memory  # type: ignore[assignment]
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip
    torch.set_num_threads(1)
    with log.open("w") as told, contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        try:
            main(words)
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()


def run_two(words: list[str], logs: Path, *, second_fails: bool = False) -> list[tuple[int | None, str]]:
    """Run a command in two new processes (forked ones could wait for threads of this one for ever).

    Returns:
        Exit code and output of each.
    """
    context, port = multiprocessing.get_context("spawn"), free_port()
    logs.mkdir()
    files = [logs / f"{rank}.txt" for rank in range(2)]
    processes = [
        context.Process(target=rank_of_two, args=(rank, port, words, files[rank], second_fails), daemon=True)
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    return [(process.exitcode, file.read_text()) for process, file in zip(processes, files, strict=True)]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("batch_size", [2, 8])
def test_two_processes_report_what_one_does(root: Path, weights: Path, tmp_path: Path, batch_size: int) -> None:
    """Seven pictures do not divide by two, nor into batches of two; one batch of eight leaves a process without any."""
    words = ["evaluate", f"interhand:{root}:test", "--weights", str(weights), "--workers", "0"]
    words += ["--batch-size", str(batch_size)]
    alone, both = tmp_path / "alone.json", tmp_path / "both.json"
    with pytest.raises(SystemExit) as exit_:
        main([*words, "--out", str(alone), "--save-predictions", str(tmp_path / "alone.npz")])
    assert exit_.value.code == 0
    saved = ["--save-predictions", str(tmp_path / "both.npz")]
    (first, told), (second, told_by_second) = run_two(
        [*words, "--devices", "2", "--out", str(both), *saved], tmp_path / "logs"
    )
    assert (first, second) == (0, 0), told + told_by_second
    assert json.loads(alone.read_text())["samples"] == {"single": 4, "two": 3, "all": 7}
    assert both.read_bytes() == alone.read_bytes()
    assert "MPJPE mm" in told and "MPJPE mm" not in told_by_second
    one, two = (read_predictions(tmp_path / f"{name}.npz") for name in ("alone", "both"))
    assert one.names == two.names
    np.testing.assert_array_equal(one.pose_2p5d, two.pose_2p5d)


def test_one_process_of_a_group_reports_what_a_single_one_does(dataset: Samples) -> None:
    """With the same names of model and data set."""
    model = mean_pose(dataset, image_size=SIZE)
    options = EvaluateOptions(batch_size=3)
    report = evaluate_over(launch("cpu", 1), model, dataset, options)
    assert report == evaluate(model, dataset, options)
    assert report is not None and (report.model, report.dataset) == ("mean pose", "made")


def test_an_error_in_any_process_ends_all_of_them(root: Path, weights: Path, tmp_path: Path) -> None:
    """The picture of sample 2 is the second process's."""
    (root / "images" / "test" / "Capture2" / "seq" / "cam400001" / "image2.png").write_bytes(b"damaged")
    words = ["evaluate", f"interhand:{root}:test", "--weights", str(weights), "--workers", "0", "--batch-size", "2"]
    (first, told), (second, _) = run_two([*words, "--devices", "2"], tmp_path / "logs")
    assert (first, second) == (2, 0)
    assert "error: " in told and "image2.png is not a picture that can be decoded" in told and "Traceback" not in told


def test_other_errors_in_any_process_end_all_of_them(root: Path, weights: Path, tmp_path: Path) -> None:
    words = ["evaluate", f"interhand:{root}:test", "--weights", str(weights), "--workers", "0", "--devices", "2"]
    (first, told), (second, _) = run_two(words, tmp_path / "logs", second_fails=True)
    assert first == 2 and "process 1 failed: MemoryError('no memory left')" in told
    assert second not in (0, None), "its own traceback is kept"


def test_processes_and_devices_have_to_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UnclaspError, match="torchrun has started 2 processes on this machine; say --devices 2"):
        launch("cpu", 4)
