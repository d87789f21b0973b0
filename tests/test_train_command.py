"""`unclasp train` as a user types it, on a set in InterHand2.6M's layout, from the index to the report."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import run_here


def unclasp(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "unclasp", *map(str, words)], cwd=cwd, capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(cwd / "cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def from_index_to_report(preset: str, data: Path, cwd: Path, *options: str) -> None:
    (data / "annotations" / "test" / "InterHand2.6M_test.index").unlink(missing_ok=True)
    assert "33 images, built" in unclasp("data", "index", data, cwd=cwd)
    words = ("--out", "run", "--accelerator", "cpu", "--max-steps", "2", "--report-every", "1", *options)
    told = unclasp("train", preset, "--data", f"interhand:{data}", *words, cwd=cwd)
    assert told.splitlines()[-1] == "weights: run/weights.safetensors"
    steps = [json.loads(line) for line in (cwd / "run" / "log.jsonl").read_text().splitlines()]
    assert steps[-1]["step"] == 2
    unclasp("evaluate", f"interhand:{data}", "--weights", "run/weights.safetensors", "--out", "report.json", cwd=cwd)
    report = json.loads((cwd / "report.json").read_text())
    assert report["samples"] == {"single": 18, "two": 15, "all": 33}
    assert report["figures"]["mpjpe_all_mm"] > 0


def test_tiny_goes_from_the_index_to_the_report(golden_mini: Path, tmp_path: Path) -> None:
    from_index_to_report("tiny", golden_mini, tmp_path, "--workers", "2")


@pytest.mark.slow
def test_paper_goes_from_the_index_to_the_report(golden_mini: Path, tmp_path: Path) -> None:
    from_index_to_report("paper", golden_mini, tmp_path, "--workers", "1", "--train.batch-size", "2")


def test_choices_are_written_as_in_files_and_python(capsys: pytest.CaptureFixture[str]) -> None:
    code, told, _ = run_here(capsys, "train", "tiny", "--help")
    assert code == 0 and "{decoupled,fused,pooled}" in told and "{camera,crop}" in told
