"""Trainings that Ctrl-C, a signal, a closed terminal or an error ends, with loader processes and without."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from unclasp.checkpoint import load_model, load_state, save_weights
from unclasp.interruption import Interruption
from unclasp.model import build
from unclasp.presets import tiny
from unclasp.train import LOG, STATE, WEIGHTS

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no such signals")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm"}
FIRST = "interrupted: this step is finished first; a second signal stops at once"


def test_only_a_second_signal_interrupts_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_closed_terminal_may_tell_it_twice() -> None:
    """The shell passes SIGHUP on, and the kernel sends it when the shell has ended."""
    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        assert interruption.requested


def test_a_first_signal_that_nobody_can_read_of_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any) -> int:
        raise BrokenPipeError

    monkeypatch.setattr("unclasp.interruption.os.write", gone)
    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.requested


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_what_is_ignored_or_handled_by_others_stays_so(handler: Any) -> None:
    before = signal.signal(signal.SIGHUP, handler)
    try:
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interruption.requested
    finally:
        signal.signal(signal.SIGHUP, before)


def training(out: Path, workers: int, *more: object) -> list[str]:
    return [
        "train", "tiny", "--data", "synthetic:train", "--out", str(out), "--accelerator", "cpu", "--workers",
        str(workers), "--report-every", "1", "--train.batch-size", "2", *map(str, more),
    ]  # fmt: skip


def has_default_signals() -> None:
    """Do as in a terminal: background jobs inherit that Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def start() -> Iterator[Callable[..., Any]]:
    """Start trainings; whatever of them is left after a failed test is ended."""
    processes: list[Any] = []

    def started_here(*given: Any) -> Any:
        processes.append(started(*given))
        return processes[-1]

    yield started_here
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def started(out: Path, workers: int, stderr: int, prepare: Callable[[], None] = has_default_signals) -> Any:
    return subprocess.Popen(
        [sys.executable, "-m", "unclasp", *training(out, workers)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=stderr, text=True, env=ENVIRONMENT, start_new_session=True,
        preexec_fn=prepare,  # noqa: PLW1509
    )  # fmt: skip


def wait_for_steps(running: Any, log: Path, meanwhile: Callable[[], object] = lambda: None) -> None:
    deadline = time.monotonic() + 120
    while running.poll() is None and time.monotonic() < deadline:
        meanwhile()
        if log.exists() and log.read_text().count("\n") >= 2:
            return
        time.sleep(0.05)
    pytest.fail(f"no steps: {running.communicate(timeout=1)}")


def saved_step(out: Path) -> int:
    """Return the step that was saved, which is the last one that was logged."""
    step = load_state(out / STATE)["step"]
    logged = [json.loads(line)["step"] for line in (out / LOG).read_text().splitlines()]
    assert step == logged[-1] < 500 and load_model(out / WEIGHTS)
    return int(step)


@pytest.mark.parametrize(
    ("ended_by", "workers"), [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGTERM, 1), (signal.SIGHUP, 1)]
)
def test_ctrl_c_and_what_ends_a_process_keep_the_steps_that_were_done(
    tmp_path: Path, start: Callable[..., Any], ended_by: signal.Signals, workers: int
) -> None:
    """Without waiting for the next checkpoint, and with loader processes that get the signal, too."""
    running = start(tmp_path / "run", workers, subprocess.PIPE)
    wait_for_steps(running, tmp_path / "run" / LOG)
    os.killpg(running.pid, ended_by)
    printed, errors = running.communicate(timeout=120)
    assert running.returncode == 130 and not printed, errors
    kept = f"step {saved_step(tmp_path / 'run')} of 1000000, which is saved in {tmp_path / 'run' / STATE}"
    assert errors.splitlines() == [FIRST, f"interrupted after {kept}: the same command with --resume goes on"]


def test_ctrl_c_keeps_the_steps_although_it_ended_the_reader_of_the_messages(
    tmp_path: Path, start: Callable[..., Any]
) -> None:
    """As in `unclasp train ... 2>&1 | tee log`."""
    reading, writing = os.pipe()
    running = start(tmp_path / "run", 1, writing)
    os.close(writing)
    wait_for_steps(running, tmp_path / "run" / LOG)
    os.close(reading)
    os.killpg(running.pid, signal.SIGINT)
    assert running.communicate(timeout=120)[0] == "" and running.returncode == 130
    assert saved_step(tmp_path / "run")


def test_a_closed_terminal_keeps_the_steps(tmp_path: Path, start: Callable[..., Any]) -> None:
    """The kernel sends SIGHUP, and all that is written to the terminal fails, such as the end of the bar."""
    import fcntl
    import pty
    import termios

    def in_terminal() -> None:
        has_default_signals()
        fcntl.ioctl(2, termios.TIOCSCTTY, 0)

    near, far = pty.openpty()
    os.set_blocking(near, False)

    shown = bytearray()

    def show() -> None:
        with suppress(BlockingIOError):
            while True:
                shown.extend(os.read(near, 4096))

    running = start(tmp_path / "run", 1, far, in_terminal)
    os.close(far)
    wait_for_steps(running, tmp_path / "run" / LOG, show)
    assert b"step" in shown
    os.close(near)
    assert running.communicate(timeout=120)[0] == "" and running.returncode == 130
    assert saved_step(tmp_path / "run")


CODE = """
import os, signal, sys
from unclasp.cli import main
from unclasp.training.step import Learner
signal.signal(signal.SIGINT, signal.default_int_handler)
step, done = Learner.take_step, 0
def take_step(*given, **options):
    global done
    done += 1
    if done == 3:
        {what}
    return step(*given, **options)
Learner.take_step = take_step
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("save_every", "told"), [(2, "interrupted; saved is step 2 in {}: the same command"), (100, "interrupted; nothing")]
)
def test_a_second_signal_tells_what_is_saved(tmp_path: Path, save_every: int, told: str) -> None:
    code = CODE.format(what="os.kill(os.getpid(), signal.SIGINT); os.kill(os.getpid(), signal.SIGINT)")
    words = training(tmp_path / "run", 1, "--save-every", save_every)
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env=ENVIRONMENT, timeout=120, check=False
    )
    assert done.returncode == 130 and done.stderr.startswith(f"{FIRST}\n{told.format(tmp_path / 'run' / STATE)}")
    assert "kept" not in done.stderr and done.stderr.count("\n") == 2


def test_an_unexpected_error_ends_a_training_with_its_loaders(tmp_path: Path) -> None:
    code = CODE.format(what="raise RuntimeError('out of memory')")
    done = subprocess.run(
        [sys.executable, "-c", code, *training(tmp_path / "run", 1)], capture_output=True, text=True, env=ENVIRONMENT,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and done.stderr.endswith("RuntimeError: out of memory\n")


def test_an_unexpected_error_in_a_loader_ends_an_evaluation(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_weights(tmp_path / "t.safetensors", build(tiny().model).state_dict(), tiny())
    code = """
import sys
from unclasp import evaluate
from unclasp.cli import main
def crop(*_):
    raise RuntimeError('out of memory')
evaluate._Crops.__getitem__ = crop
main(sys.argv[1:])
"""
    words = ("evaluate", "synthetic:val", "--weights", tmp_path / "t.safetensors", "--workers", "1", "--limit", "9")
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, env=ENVIRONMENT, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1 and done.stderr.rstrip().endswith("RuntimeError: out of memory"), done.stderr
