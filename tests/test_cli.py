"""The command line as users have it: a process, its exit code, and what it prints."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import unclasp
from clips import make_video
from command_line import predict_here, run_here
from unclasp.cli import COMMANDS, main, module_of
from unclasp.commands.arguments import with_numbers_last
from unclasp.commands.predict import summary_of
from unclasp.errors import UnclaspError
from unclasp.picture import read_picture
from unclasp.pose import UNDECIDED, HandPose
from unclasp.predictor import Predictor
from unclasp.presets import PRESETS
from unclasp.video import Video

HEAVY = ("torch", "cv2", "numba", "numpy", "tyro", "rich", "matplotlib", "lightning_fabric")
PREDICT_FLAGS = {
    "--out", "--weights", "--box", "--focal", "--device", "--flip-test", "--no-flip-test", "--json", "--no-json",
    "--mirrored", "--no-mirrored", "--everyone", "--no-everyone", "--html", "--no-html", "--smooth", "--no-smooth",
    "--every", "--max-frames", "--rerun", "--no-rerun", "--detector", "--landmarks", "--no-landmarks", "--fusion",
    "--second-opinions", "--no-second-opinions", "--threads", "--skip-done", "--no-skip-done", "--help",
}  # fmt: skip


def run(*words: str | Path, code: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run `python -m unclasp WORDS`, or some code, in a process of its own."""
    start = ["-c", code] if code is not None else ["-m", "unclasp", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1", "PYTHONUTF8": "1"}
    return subprocess.run(
        [sys.executable, *start], capture_output=True, encoding="utf-8", env=environment, timeout=300, check=False
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with two good pictures and two bad ones."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("one.png", "two.jpg"):
        cv2.imwrite(str(folder / name), rng.integers(0, 255, (60, 80, 3)).astype(np.uint8))
    (folder / "broken.jpg").write_bytes((folder / "two.jpg").read_bytes()[:400])
    (folder / "empty.png").write_bytes(b"")
    return folder


# ---- light and quick


@pytest.mark.parametrize("statement", ["import unclasp", "import unclasp.cli; print(unclasp.cli.help_text())"])
def test_nothing_heavy_is_imported_before_it_is_needed(statement: str) -> None:
    done = run(code=f"{statement}\nimport sys\nprint('loaded', *sorted(set(sys.modules) & set({HEAVY!r})))")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["loaded"]


def test_the_check_for_heavy_imports_can_fail() -> None:
    assert run(code="import numpy, sys; print('numpy' in sys.modules)").stdout.split() == ["True"]


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("--version",)])
def test_help_is_quick(words: tuple[str, ...]) -> None:
    spent = os.times().children_user + os.times().children_system
    done = run(*words)
    spent = os.times().children_user + os.times().children_system - spent
    assert done.returncode == 0 and not done.stderr
    assert spent < 2, f"{spent:.2f} s of processor time"  # not of the clock: the machine may be busy


def test_help_names_every_command() -> None:
    told = run("--help").stdout
    assert f"unclasp {unclasp.__version__}" in told
    for name, summary in COMMANDS.items():
        assert f"  {name}" in told and summary in " ".join(told.split())


def test_help_names_the_commands_of_a_group() -> None:
    for flag in ("-h", "--help"):
        done = run("synth", flag)
        assert done.returncode == 0 and "synth preview  " in done.stdout and "predict" not in done.stdout


def test_a_group_is_told_from_a_folder_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "synth").mkdir()
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    code, out, _ = run_here(capsys, "synth", "--help")
    assert code == 0 and "synth preview  " in out
    assert "name a command of synth" in run_here(capsys, "synth")[2]
    assert "did you mean unclasp predict photos?" in run_here(capsys, "photos")[2]


def test_the_commands_are_these() -> None:
    """Frozen: a command that goes away or is renamed breaks scripts. What is added goes here and into CHANGELOG.md."""
    assert set(COMMANDS) == {
        "predict", "evaluate", "export", "measure", "train", "average", "calibrate", "landmarks", "palms", "faces",
        "adapt", "label", "linearise", "synth preview", "synth write",
        "bench synth", "bench latency", "bench pieces", "bench train", "bench predict", "bench index", "data check",
        "data index",
        "data show", "data parts", "bench data", "presets", "demo", "gallery", "figures attention", "figures curves",
        "finder render", "finder train", "finder average", "bench finder", "fusion collect", "fusion train",
        "fusion calibrate",
    }  # fmt: skip


def test_every_command_can_be_run() -> None:
    for name in COMMANDS:
        assert callable(getattr(import_module(module_of(name)), name.split()[-1])), name


def test_the_flags_of_predict_are_these(capsys: pytest.CaptureFixture[str]) -> None:
    """Frozen like the commands."""
    code, told, _ = predict_here(capsys, "--help")
    assert code == 0 and set(re.findall(r"(?<!\S)--[a-z][a-z-]*", told.replace("|", " "))) == PREDICT_FLAGS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], name: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([*name.split(), "--help"])
    told = capsys.readouterr().out
    assert exit_.value.code == 0 and f"usage: unclasp {name}" in told
    assert max(map(len, told.splitlines())) <= 80 and "(default: )" not in told
    unnamed = re.sub(r"\[?--\S+ (\S+ \| )?\S+", "", told.split("\n\n")[0])
    assert not re.search(r"\bSTR\b|None", unnamed), "what is named without an option has a name"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("predict",), "EXIF block is used, and without one a field of view of 60 degrees is assumed."),
        (
            ("train", "small"),
            "Three use strides 16, 8, 4 after an initialisation at 32; two drop the coarsest level, and",
        ),
    ],
)
def test_help_texts_have_no_line_breaks_of_the_source(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], text: str
) -> None:
    """In a wide terminal each is one line, also those of nested options."""
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    assert text in re.sub(" +", " ", capsys.readouterr().out)


def test_scripts_of_completions_are_not_wrapped() -> None:
    script = run("predict", "--tyro-print-completion", "bash").stdout
    assert max(map(len, script.splitlines())) > 80
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_help_fits_a_narrow_terminal_and_can_be_without_colours() -> None:
    """In a terminal of its own, as colours depend on there being one."""
    terminal = (
        "import os, pty, sys\nos.environ.update(word.split('=') for word in sys.argv[1:])\n"
        "pty.spawn([sys.executable, '-m', 'unclasp', 'figures', 'attention', '--help'])"
    )
    coloured, plain = (
        subprocess.run([sys.executable, "-c", terminal, *names], capture_output=True, text=True, check=True).stdout
        for names in (["COLUMNS=50", "TERM=xterm"], ["COLUMNS=50", "TERM=xterm", "NO_COLOR=1"])
    )
    assert "\x1b[" in coloured and "\x1b[" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain and max(map(len, plain.splitlines())) <= 50
    assert "╭─ options" in plain


@pytest.mark.parametrize("words", ["--help", "--nonsense"])
def test_without_stdout_there_is_no_traceback(words: str) -> None:
    command = f'"{sys.executable}" -m unclasp predict {words} >&-'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr and done.returncode == (0 if words == "--help" else 2)


def test_done_pictures_are_skipped_on_demand(photos: Path, weights: Path, tmp_path: Path) -> None:
    """A file of that name counts only if it is a result."""
    words = [photos / "two.jpg", photos / "one.png", "--weights", weights, "--out", tmp_path, "--json"]
    first = json.loads(run("predict", *words[:1], *words[2:]).stdout)
    (tmp_path / "one.json").write_text('{"my": "own"}')
    second = run("predict", *words, "--skip-done")
    assert "skipped 1 of 2 sources" in second.stderr and "one.json is not an earlier result" in second.stderr
    (tmp_path / "one.json").unlink()
    assert [entry["source"] for entry in json.loads(run("predict", *words, "--skip-done").stdout)] == [str(words[1])]
    third = run("predict", *words, "--skip-done")
    assert third.returncode == 0 and json.loads(third.stdout) == [] and len(first) == 1
    fourth = run("predict", photos / "empty.png", *words, "--skip-done")
    assert fourth.returncode == 1 and "1 of 3 sources failed" in fourth.stderr, "those skipped count as done"


# ---- wrong use


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("zzz",), "there is no command 'zzz'; the commands are predict, "),
        (("predicct", "a.jpg"), "there is no command 'predicct'; did you mean predict?"),
        (("synth", "previw"), "there is no command 'synth previw'; did you mean synth preview?"),
        ((__file__,), f"there is no command {__file__!r}; did you mean unclasp predict {__file__}?"),
        (("synth",), "name a command of synth: synth preview, synth write\n"),
        (("synth", "paint"), "there is no command 'synth paint'; those of synth are synth preview, synth write\n"),
        (
            ("bench", "foo"),
            "there is no command 'bench foo'; those of bench are bench predict, bench latency, bench pieces, ",
        ),
        (("presets", "all"), "unclasp presets takes no arguments, got all"),
        (("predict",), "name at least one picture, video, folder, glob or camera number"),
        (("train",), "usage: unclasp train PRESET --data DATA"),
        (("train", "gigantic"), "there is no preset 'gigantic'; choose one of: paper, small"),
        (("evaluate", "coco:x"), "a data set is named synthetic:SPLIT, interhand:ROOT[:SPLIT], hic:ROOT or rgb2h"),
    ],
)
def test_wrong_use_is_told_in_one_line(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(words)
    output = capsys.readouterr()
    assert exit_.value.code == 2 and not output.out
    assert output.err.startswith(f"error: {told}") and output.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("average a.safetensors b.safetensors --out x.onnx", "--out must end in .safetensors, got x.onnx"),
        ("calibrate a.safetensors --out x.onnx", "--out must end in .safetensors, got x.onnx"),
        ("adapt photos --out x.onnx", "--out must end in .safetensors, got x.onnx"),
        ("label photos --out x --min-confidence 2", "--min-confidence must lie in [0, 1], got 2.0"),
        ("linearise --out x.onnx", "--out must end in .safetensors, got x.onnx"),
        ("finder train --data nowhere --out x.onnx", "--out must end in .safetensors, got x.onnx"),
        ("finder average a.safetensors --out b.safetensors", "name at least two weights files, got 1"),
        ("finder average a.safetensors b.safetensors --out x.onnx", "--out must end in .safetensors, got x.onnx"),
        ("finder render --out x --gloved 1.5", "--gloved must lie in [0, 1], got 1.5"),
        ("finder train --data nowhere --steps 0", "steps must be at least 1, got 0"),
        ("finder train --data nowhere --device abacus", "device 'abacus' cannot be used"),
        ("evaluate synthetic:test --fusion x.npz", "--fusion is for --as-predicted: a single pass never"),
        ("fusion collect synthetic:val --out x.npy", "--out must end in .npz, got x.npy"),
        ("fusion collect synthetic:val --out x.npz --limit 0", "--limit must be at least 1, got 0"),
        ("fusion collect synthetic:val --out x.npz --seed -1", "--seed must be from 0 to 4294967295, got -1"),
        ("finder train --data x --seed 99999999999999999999", "seed must be from 0 to 4294967295, got 99999999999"),
        ("fusion train evidence.npz --out x.safetensors", "--out must end in .npz, got x.safetensors"),
        ("fusion train evidence.npz --out x.npz --epochs 0", "--epochs must be at least 1, got 0"),
        ("fusion train --out x.npz", "name at least one file of unclasp fusion collect"),
        ("fusion train x.npz y.npz --out y.npz", "--out y.npz is a file of evidence, which it would overwrite"),
        ("fusion calibrate --out x.npz", "name at least one file of unclasp fusion collect"),
        ("synth preview --out x.xyz", "--out must end in .png or .jpg or .jpeg, got x.xyz"),
        ("synth preview --out x", "--out must end in .png or .jpg or .jpeg, got x"),
        ("synth preview --count 0", "--count must be at least 1, got 0"),
        ("synth preview --size 15", "--size must be at least 16 px, got 15; choose a larger one"),
        ("synth write --out x --size 15", "--size must be at least 16 px, got 15; choose a larger one"),
        ("synth preview --columns 0", "--columns must be at least 1, got 0"),
        ("synth write --out x --processes 0", "--processes must be at least 1, got 0"),
        ("synth write --out x --split ../../evil", "split must be a plain name of letters, digits, - and _, got '../"),
        ("bench synth --count 0", "--count must be at least 1, got 0"),
        ("bench synth --supersample -1", "--supersample must be at least 1, got -1"),
        ("bench predict x.png --threads 0", "--threads must be at least 1, got 0"),
        ("bench predict x.png --repeats 0", "--repeats must be at least 1, got 0"),
        ("bench latency tiny --engines plain --device abacus", "device 'abacus' cannot be used"),
        ("bench train tiny --device abacus", "device 'abacus' cannot be used"),
        ("demo --max-upload-mb nan", "--max-upload-mb must be a positive number, got nan"),
        ("demo --max-upload-mb 0", "--max-upload-mb must be a positive number, got 0"),
        ("demo --queue 0", "--queue must be at least 1, got 0"),
        ("demo --max-megapixels inf", "--max-megapixels must be a positive number, got inf"),
    ],
)
def test_what_cannot_work_is_told_before_any_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output, errors = run_here(capsys, *words.split())
    assert code == 2 and not output and errors.startswith(f"error: {told}") and errors.count("\n") == 1, errors
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="a device that is there can be used")
@pytest.mark.parametrize(
    "words",
    [
        "evaluate {data} --weights {weights}", "evaluate {data} --weights {weights} --devices 2",
        "bench latency tiny --engines plain", "bench train tiny", "finder train --data nowhere",
    ],
)  # fmt: skip
def test_cuda_where_there_is_none_is_one_line(
    capsys: pytest.CaptureFixture[str], weights: Path, golden_mini: Path, words: str
) -> None:
    spoken = words.format(data=f"interhand:{golden_mini}:test", weights=weights)
    code, output, errors = run_here(capsys, *spoken.split(), "--device", "cuda")
    assert code == 2 and not output and errors.startswith("error: device 'cuda' cannot be used: "), errors
    assert errors.count("\n") == 1


def test_what_cannot_be_written_is_one_line_with_its_path(
    capsys: pytest.CaptureFixture[str], weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.safetensors").mkdir()
    for out in (tmp_path / "file" / "mean.safetensors", tmp_path / "folder.safetensors"):
        code, _, errors = run_here(capsys, "average", weights, weights, "--out", out)
        # What is in the way is named: the file that should be a folder, or the folder that should be a file.
        named = out.parent if out.parent.name == "file" else out
        assert code == 2 and errors.startswith(f"error: {named}: ") and errors.count("\n") == 1, errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.safetensors"]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="Linux has a folder that nobody can write to, others do not")
@pytest.mark.parametrize("words", ["average {weights} {weights}", "evaluate {data} --weights {weights} --workers 0"])
def test_a_folder_that_nobody_writes_to_is_told(
    capsys: pytest.CaptureFixture[str], weights: Path, golden_mini: Path, words: str
) -> None:
    spoken = words.format(data=f"interhand:{golden_mini}:test", weights=weights)
    code, _, errors = run_here(capsys, *spoken.split(), "--out", "/proc/mine.safetensors")
    assert code == 2 and errors.startswith("error: /proc/mine.safetensors: ") and errors.count("\n") == 1, errors


@pytest.mark.parametrize(
    "words", ["train tiny --data synthetic:train", "synth write --count 1", "finder render --count 1", "predict a.png"]
)
def test_a_file_in_the_place_of_a_folder_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: str
) -> None:
    (tmp_path / "file").touch()
    for out, told in ((tmp_path / "file", "the file"), (tmp_path / "file" / "below", "a path inside the file")):
        code, _, errors = run_here(capsys, *words.split(), "--out", out)
        assert code == 2 and errors == f"error: --out must be a folder, got {told} {tmp_path / 'file'}\n"


def test_a_full_disk_names_the_file_that_was_meant(
    capsys: pytest.CaptureFixture[str], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    out = tmp_path / "mean.safetensors"
    code, _, errors = run_here(capsys, "average", weights, weights, "--out", out)
    assert code == 2 and errors == f"error: {out}: No space left on device\n"


def test_no_words_show_the_help_and_fail(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([])
    assert exit_.value.code == 2 and "usage: unclasp COMMAND" in capsys.readouterr().out


def test_missing_packages_are_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """But for our own modules, which are never missing: that would be a mistake."""
    for name, told in (
        ("torch", "error: evaluate needs the package torch: pip install torch\n"),
        ("cv2.dnn", "error: evaluate needs the package opencv-python-headless: pip install opencv-python-headless\n"),
        ("resource", "error: evaluate needs Python's module resource, which this installation or system lacks\n"),
        ("unclasp.x", None),
    ):

        def fails(_: list[str], name: str = name) -> int:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        monkeypatch.setattr("unclasp.cli._run", fails)
        with pytest.raises(SystemExit if told else ModuleNotFoundError) as exit_:
            main(["evaluate"])
        assert not told or (exit_.value.args == (2,) and capsys.readouterr().err == told)


def within_compiled_code() -> SystemError:
    """Return what numba makes of Ctrl-C."""
    error = SystemError("CPUDispatcher(<function _probe>) returned a result with an exception set")
    error.__cause__ = KeyboardInterrupt()
    return error


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (within_compiled_code(), 130), (UnclaspError("it is so"), 2)]
)
def test_interruptions_and_errors_have_their_codes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def fail(words: list[str]) -> int:
        raise error

    monkeypatch.setattr("unclasp.commands.presets.presets", fail)
    with pytest.raises(SystemExit) as exit_:
        main(["presets"])
    assert exit_.value.code == code
    assert capsys.readouterr().err in ("interrupted; what was finished is kept\n", "error: it is so\n")


def test_an_interruption_is_one_although_nobody_reads_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after Ctrl-C in `unclasp predict --json | head`: the list of what was done finds no reader."""

    def fail(words: list[str]) -> int:
        try:
            raise KeyboardInterrupt
        finally:
            raise BrokenPipeError

    monkeypatch.setattr("unclasp.commands.presets.presets", fail)
    with pytest.raises(SystemExit) as exit_:
        main(["presets"])
    assert exit_.value.code == 130


@pytest.mark.parametrize("words", ["--help", "--version", "presets"])
@pytest.mark.parametrize(("reader", "code", "told"), [("| true", 0, ""), ("> /dev/full", 2, "No space left")])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device")
def test_what_finds_no_reader_or_no_space_ends_in_a_line_at_most(words: str, reader: str, code: int, told: str) -> None:
    command = f'set -o pipefail; "{sys.executable}" -u -m unclasp {words} {reader}'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code and told in done.stderr and len(done.stderr.splitlines()) <= 1, done.stderr


def test_names_that_the_locale_cannot_decode(weights: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "two.jpg").rename(photos / "zw\u00f6lf.jpg")
    done = subprocess.run(
        [sys.executable, "-m", "unclasp", "predict", ".", "--weights", weights, "--out", tmp_path / "out"],
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, cwd=photos, check=False,
        capture_output=True, timeout=120,
    )  # fmt: skip
    assert b"Traceback" not in done.stderr and (tmp_path / "out" / "zw\u00f6lf.json").exists()


@pytest.mark.parametrize(("words", "code"), [("presets", 0), ("zzz", 2)])
def test_errors_that_nobody_reads_have_their_codes(words: str, code: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-m", "unclasp", words], stderr=writing, check=False, timeout=120)
    os.close(writing)
    assert done.returncode == code


def test_presets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["presets"])
    assert exit_.value.code == 0 and capsys.readouterr().out.splitlines() == list(PRESETS)


def test_a_reader_that_has_had_enough_is_no_error() -> None:
    """`unclasp presets | head -1`, with a pipe that is closed before anything is written."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-u", "-m", "unclasp", "presets"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 0 and "Traceback" not in done.stderr and "Exception" not in done.stderr, done.stderr


# ---- predict


def test_a_folder_with_good_and_bad_pictures(weights: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("predict", photos, "--weights", weights, "--out", out)
    assert done.returncode == 1, done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["one.json", "one.png", "two.json", "two.png"]
    told = done.stderr.splitlines()
    assert len(told) == 3 and told[-1] == "2 of 4 sources failed", done.stderr
    for line, name in zip(told, ("broken.jpg", "empty.png"), strict=False):
        assert line.startswith("error: ") and line.count(str(photos / name)) == 1
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [
        str(photos / n) for n in ("one.png", "two.jpg")
    ]
    for name in ("one", "two"):
        pose = json.loads((out / f"{name}.json").read_text())
        assert pose["model"] == "mine" and (pose["image"]["width"], pose["image"]["height"]) == (80, 60)
        assert cv2.imread(str(out / f"{name}.png")).shape[2] == 3


def test_json_tells_what_was_done(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    code, told, _ = predict_here(capsys, photos, tmp_path / "nowhere.png", "--weights", weights, "--out", out, "--json")
    entries = {Path(entry["source"]).name: entry for entry in json.loads(told)}
    assert code == 1 and set(entries) == {"one.png", "two.jpg", "broken.jpg", "empty.png", "nowhere.png"}
    for name in ("one.png", "two.jpg"):
        assert entries[name].keys() == {"source", "hands", "doubted", "in_contact", "overlay", "json"}
        pose = json.loads(Path(entries[name]["json"]).read_text())
        assert Path(entries[name]["overlay"]).exists() and pose["image"]["source"] == entries[name]["source"]
        assert entries[name]["hands"] == [hand["side"] for hand in pose["hands"]] and entries[name]["doubted"] == []
    for name in ("broken.jpg", "empty.png", "nowhere.png"):
        assert entries[name].keys() == {"source", "error"} and "\n" not in entries[name]["error"]


@pytest.mark.parametrize(("share", "told"), [(0.9, ""), (0.1, " (in doubt)")])
def test_hands_in_doubt_are_named(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    share: float, told: str,
) -> None:  # fmt: skip
    call = Predictor.__call__

    def doubtful(*args: Any, **more: Any) -> HandPose:
        pose = call(*args, **more)
        return replace(pose, confidence=np.full(42, share), presence=np.array([0.9, 0.1]), present=UNDECIDED)

    monkeypatch.setattr(Predictor, "__call__", doubtful)
    code, out, _ = predict_here(capsys, photos / "one.png", "--weights", weights, "--out", tmp_path / "out")
    assert code == 0 and out.splitlines()[-1].startswith(f"{photos / 'one.png'}: right{told} -> ")


@pytest.mark.parametrize(
    ("box", "told"),
    [(("500", "10", "600", "50"), "outside"), (("0", "0", "0", "0"), "at least 1 px larger"), (("nan",) * 4, "finite")],
)
def test_a_bad_box_fails_every_picture_and_says_why(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], box: tuple[str, ...], told: str
) -> None:
    words = (photos / "one.png", "--weights", weights, "--out", tmp_path / "out", "--box", *box)
    code, _, errors = predict_here(capsys, *words)
    assert code == 2 and str(photos / "one.png") in errors.splitlines()[0] and told in errors.splitlines()[0]
    assert len(errors.splitlines()) == 2 and not (tmp_path / "out").exists()


def test_box_and_focal_reach_the_pose(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    box, out = ("10", "5", "50", "45"), tmp_path / "out"
    words = (photos / "one.png", "--weights", weights, "--out", out, "--box", *box, "--focal", "90", "80")
    assert predict_here(capsys, *words)[0] == 0
    pose = json.loads((out / "one.json").read_text())
    assert pose["box"] == [5, 0, 55, 50]  # 40 px times 1.25 about (30, 25)
    assert pose["camera"]["focal"] == [90, 80]


def test_sources_are_not_overwritten(weights: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in photos.iterdir()}
    code, _, errors = predict_here(capsys, photos, "--weights", weights, "--out", photos)
    assert code == 1 and f"{photos / 'one.png'} is one of the sources and is not overwritten" in errors
    assert {path: path.read_bytes() for path in before} == before
    assert (photos / "two.png").exists() and (photos / "two.json").exists()
    assert not (photos / "one.json").exists(), "no half of a result"


def test_what_is_no_file_in_the_place_of_a_result_is_an_error(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe would be waited for without an end."""
    (tmp_path / "one.png").symlink_to(tmp_path / "one.png")
    os.mkfifo(tmp_path / "two.png")
    words = (photos / "one.png", photos / "two.jpg", "--weights", weights, "--out", tmp_path)
    code, _, errors = predict_here(capsys, *words)
    assert code == 2 and "one.png: is a link to itself" in errors and "two.png: is a device or a pipe" in errors
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".json") == []


def test_one_s_own_files_beside_our_numbers_are_not_overwritten(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as a photo of which the pose was saved beside it, and another one of its name."""
    mine, others = tmp_path / "mine", tmp_path / "others"
    mine.mkdir()
    others.mkdir()
    (mine / "one.png").write_bytes((photos / "one.png").read_bytes())
    make_video(mine / "clip.mp4", 3)
    pose = Predictor.load(weights)(read_picture(mine / "one.png"))
    pose.save_json(mine / "one.json")
    (mine / "clip.jsonl").write_text(pose.to_json(indent=None) + "\n")
    before = {path: path.read_bytes() for path in mine.iterdir()}
    for source in (photos / "one.png", make_video(others / "clip.mp4", 2)):
        code, _, errors = predict_here(capsys, source, "--weights", weights, "--out", mine)
        assert code == 2 and "is not an earlier result and is not overwritten" in errors
    assert {path: path.read_bytes() for path in mine.iterdir()} == before


@pytest.mark.parametrize("name", ["one.png", "one.json", "one.html"])
def test_files_of_others_are_not_overwritten_and_earlier_results_are(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text('{"mine": "a label"}')
    words = (photos / "one.png", "--weights", weights, "--html", "--out", out)
    code, _, err = predict_here(capsys, *words)
    assert code == 2 and f"{out / name} is not an earlier result and is not overwritten" in err
    assert (out / name).read_text() == '{"mine": "a label"}' and [path.name for path in out.iterdir()] == [name]
    (out / name).unlink()
    assert [predict_here(capsys, *words)[0] for _ in range(2)] == [0, 0]


@pytest.mark.parametrize(
    "words", [("--box", "1,2,30,40", "x.png"), ("x.png", "--box", "1", "2", "30", "40"), ("--box=1,2,30,40", "x.png")]
)
def test_a_box_to_measure_is_given_as_one_to_predict(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        "unclasp.bench.start.start_speed", lambda picture, _, *, repeats, box: asked.append((picture, repeats, box))
    )
    code, *_ = run_here(capsys, "bench", "predict", *words, "--fresh", "--repeats", "3")
    assert code == 0 and asked == [(Path("x.png"), 3, (1, 2, 30, 40))]


@pytest.mark.parametrize(
    ("before", "after", "box", "focal"),
    [
        (("--box", "1", "2", "30", "40"), (), [1, 2, 30, 40], None),
        (("--box", "1,2,30,40"), (), [1, 2, 30, 40], None),
        ((), ("--box", "1,2,30,40", "--focal", "50"), [1, 2, 30, 40], (50, 50)),
        (("--focal", "50"), (), None, (50, 50)),
        (("--focal", "50", "60"), ("--box", "1", "2", "30", "4e1"), [1, 2, 30, 40], (50, 60)),
    ],
)
def test_pictures_may_come_behind_options_with_numbers(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    before: tuple[str, ...], after: tuple[str, ...], box: list[float] | None, focal: tuple[float, float] | None,
) -> None:  # fmt: skip
    asked: list[Any] = []
    call = Predictor.__call__

    def remembered(self: Predictor, image: Any, given: Any, **more: Any) -> HandPose:
        asked.append((None if given is None else list(given), more["focal"]))
        return call(self, image, given, **more)

    monkeypatch.setattr(Predictor, "__call__", remembered)
    code, *_ = predict_here(
        capsys, *before, photos / "one.png", "--weights", weights, *after, "--out", tmp_path / "out"
    )
    assert code == 0 and asked == [(box, focal)]


def test_numbers_that_are_no_option_s_stay_where_they_are() -> None:
    """Cameras are numbers, too."""
    words = ["0", "--box", "0", "1", "30", "40", "1", "--focal", "50", "a.jpg"]
    for given, meant in (
        (["--focal=50", "a.jpg"], ["a.jpg", "--focal", "50", "50"]),
        (["--focal=50,60", "a.jpg"], ["a.jpg", "--focal", "50", "60"]),
        (["--focal", "5", "a.jpg", "--focal", "6,7"], ["a.jpg", "--focal", "6", "7"]),
        (["--box=1,2,3,4", "--box=1,2,3,5"], ["--box", "1", "2", "3", "5"]),
        (["--focal", "5", "--", "-x.jpg", "--box"], ["--focal", "5", "5", "--", "-x.jpg", "--box"]),
    ):
        assert with_numbers_last(given) == meant, given
    with pytest.raises(UnclaspError, match=r"--box needs 4 numbers x1 y1 x2 y2 in px, got 40 50 215$"):
        with_numbers_last(["--box", "40", "50", "215", "--out", "b"])
    assert with_numbers_last(words) == ["0", "1", "a.jpg", "--box", "0", "1", "30", "40", "--focal", "50", "50"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--box", "1", "2", "x.png"), "--box needs 4 numbers x1 y1 x2 y2 in px, got 1 2"),
        (("x.png", "--box"), "--box needs 4 numbers x1 y1 x2 y2 in px, got none"),
        (("x.png", "--box", "1,2,3"), "--box needs 4 numbers x1 y1 x2 y2 in px, got 1,2,3"),
        (("--focal", "x.png"), "--focal needs 2 numbers fx fy in px, got x.png"),
    ],
)
def test_too_few_numbers_are_told_in_one_line(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    code, _, err = predict_here(capsys, *words)
    assert code == 2 and err.strip() == f"error: {told}"


def test_a_file_that_looks_like_an_option_is_told_with_what_to_write(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    (photos / "one.png").rename(photos / "-one.png")
    options = ("--weights", weights, "--out", tmp_path / "out")
    code, _, err = predict_here(capsys, "-one.png", "two.jpg", *options)
    assert code == 2 and err.startswith("error: -one.png: expected an option, as it begins with -, got the name of a ")
    assert err.endswith("write ./-one.png, or put -- before all sources\n")
    assert predict_here(capsys, *options, "--", "-one.png")[0] == predict_here(capsys, "./-one.png", *options)[0] == 0


@pytest.mark.parametrize("option", ["--every", "--max-frames"])
def test_numbers_of_frames_are_told_by_their_option(capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert predict_here(capsys, "a.mp4", option, "0") == (2, "", f"error: {option} must be at least 1, got 0\n")


@pytest.mark.skipif(os.name == "nt", reason="no such names")
def test_names_with_control_characters_stay_in_one_line(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "one.png").rename(photos / "new\nline.png")
    (photos / "broken.jpg").rename(photos / "new\nbroken.jpg")
    (photos / "two.jpg").rename(photos / "two  spaces.png")
    (photos / "two  spaces.png").write_bytes(b"BM")
    words = (photos / "new\nline.png", photos / "new\nbroken.jpg", photos / "two  spaces.png", "no\x1b[31mne.jpg")
    code, out, err = predict_here(capsys, *words, "--weights", weights, "--out", tmp_path / "out")
    (line,), errors = out.splitlines(), err.splitlines()
    assert code == 1 and line.startswith(f"{photos}/new\\nline.png: ") and r"out/new\nline.png" in line
    for error, name in zip(errors, (r"new\nbroken.jpg", "two  spaces.png", r"no\x1b[31mne.jpg"), strict=False):
        assert error.startswith("error: ") and error.count(name) == 1, error
    assert len(errors) == 4


def test_earlier_results_are_not_predicted_again(
    weights: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = photos / "unclasp-out"
    words = (photos, "--weights", weights, "--out", out, "--json")
    first, second = (json.loads(predict_here(capsys, *words)[1]) for _ in range(2))
    assert [entry["source"] for entry in second] == [entry["source"] for entry in first] and len(first) == 4


@pytest.mark.parametrize("pattern", ["**/*.[jp][pn]g", "*.[jp][pn]g"])
def test_a_pattern_does_not_find_earlier_results(
    weights: Path, photos: Path, capsys: pytest.CaptureFixture[str], pattern: str
) -> None:
    """Neither among the pictures nor in the folder of another run; others' numbers beside a picture do not hide it."""
    (photos / "broken.jpg").unlink()
    (photos / "empty.png").write_bytes((photos / "one.png").read_bytes())
    (photos / "empty.json").write_text('{"shapes": []}')
    (photos / "one.json").write_text('{"unclasp": "9", "image": {"source": "' + "x" * 300 + '"}}')
    expected = [str(photos / name) for name in ("empty.png", "one.png", "two.jpg")]
    for out in (photos, photos, photos / "a", photos / "b", photos / "b"):
        words = (photos / pattern, "--weights", weights, "--out", out, "--json")
        assert [entry["source"] for entry in json.loads(predict_here(capsys, *words)[1])] == expected
    assert (photos / "two.png").exists() and (photos / "b" / "two.png").exists()


def test_an_overlay_that_is_named_is_predicted(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict_here(capsys, photos / "two.jpg", "--weights", weights, "--out", photos)
    code, told, _ = predict_here(capsys, photos / "two.png", "--weights", weights, "--out", tmp_path, "--json")
    assert code == 0 and [entry["source"] for entry in json.loads(told)] == [str(photos / "two.png")]


def test_names_need_not_fit_the_output_s_encoding(
    weights: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "one.png").rename(photos / "手.png")
    output = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", output)
    with pytest.raises(SystemExit) as exit_:
        main(["predict", str(photos / "手.png"), "--weights", str(weights), "--out", str(tmp_path / "out"), "--html"])
    output.flush()
    assert exit_.value.code == 0 and rb"\u624b.png: " in output.buffer.getvalue()  # type: ignore[attr-defined]


def test_long_names_are_written(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 244 bytes: what is written under another name at first may not have a longer one."""
    long = photos / ("手" * 80 + ".png")
    (photos / "one.png").rename(long)
    code, _, errors = predict_here(capsys, long, "--weights", weights, "--out", tmp_path / "out")
    assert (code, errors) == (0, "")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{long.stem}.json", long.name]


def test_an_interruption_tells_what_was_done(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(predictor: Any, source: Any, *rest: Any, **options: Any) -> dict[str, Any]:
        if source.path.name == "two.jpg":
            raise KeyboardInterrupt
        return {"source": source.name, "error": "it is so"}

    monkeypatch.setattr("unclasp.commands.predict._predict_picture", interrupted)
    code, told, _ = predict_here(capsys, photos, "--weights", weights, "--out", tmp_path / "out", "--json")
    assert code == 130 and [Path(entry["source"]).name for entry in json.loads(told)] == [
        "broken.jpg", "empty.png", "one.png",
    ]  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_of_a_terminal_stays_out_of_the_output(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the place of stdout while it is drawn; what goes to a file or a pipe goes there."""
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setattr(sys, "stderr", Terminal())
    for more in ((), ("--json",)):
        words = ("predict", str(photos), "--weights", str(weights), "--out", str(tmp_path / "out"), *more)
        with pytest.raises(SystemExit):
            main(words)
        told = capsys.readouterr().out
        if more:
            assert len(json.loads(told)) == 4
        else:
            assert [line.split(":")[0] for line in told.splitlines()] == [
                str(photos / "one.png"), str(photos / "two.jpg"),
            ]  # fmt: skip
    assert "predict" in sys.stderr.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--weights", "nowhere.safetensors"), "there is no weights file nowhere.safetensors"),
        (("--device", "abacus"), "device 'abacus' cannot be used"),
    ],
)
def test_what_concerns_all_pictures_is_told_once(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    given = words if "--weights" in words else ("--weights", str(weights), *words)
    code, _, errors = predict_here(capsys, photos, *given, "--out", tmp_path / "out")
    assert code == 2 and errors.startswith(f"error: {told}") and errors.count("\n") == 1


def test_out_must_be_a_folder(weights: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, errors = predict_here(capsys, photos / "two.jpg", "--weights", weights, "--out", photos / "one.png")
    assert code == 2 and errors == f"error: --out must be a folder, got the file {photos / 'one.png'}\n"


def test_a_full_disk_is_told_in_one_line_and_leaves_nothing(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    code, _, errors = predict_here(capsys, photos / "one.png", "--weights", weights, "--out", tmp_path / "out")
    first, last = errors.splitlines()
    assert (
        code == 2 and first == f"error: {photos / 'one.png'}: {tmp_path / 'out' / 'one.json'}: No space left on device"
    )
    assert last == "1 of 1 sources failed" and not list((tmp_path / "out").iterdir())


# ---- videos


def test_a_video_gives_an_mp4_and_a_line_per_frame(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, out = make_video(tmp_path / "clip.mp4", 8), tmp_path / "out"
    words = (clip, "--weights", weights, "--out", out, "--every", "2", "--max-frames", "3", "--json")
    code, told, _ = predict_here(capsys, *words)
    (entry,) = json.loads(told)
    assert code == 0 and entry["frames"] == 3 and entry["source"] == str(clip)
    assert sorted(path.name for path in out.iterdir()) == ["clip.jsonl", "clip.mp4"]
    lines = [json.loads(line) for line in Path(entry["json"]).read_text().splitlines()]
    assert [line["image"]["frame"] for line in lines] == [0, 2, 4]
    with Video(entry["overlay"]) as written:
        assert len(list(written)) == 3 and written.rate == pytest.approx(12.5)


def test_the_line_of_a_video_counts_frames_in_contact_if_there_are_any() -> None:
    entry = {
        "source": "a.mp4", "frames": 9, "both": 7, "of_side": {"right": 9, "left": 7}, "in_contact": 5, "in_doubt": 2,
        "frames_per_second": 4.5, "overlay": "o/a.mp4",
    }  # fmt: skip
    counts = "a.mp4: right in 9, left in 7, both in 7 of 9 frames"
    assert summary_of(entry) == f"{counts}, in contact in 5, in doubt in 2; 4.5 frames/s -> o/a.mp4"
    assert summary_of(entry | {"in_contact": 0, "in_doubt": 0}) == f"{counts}; 4.5 frames/s -> o/a.mp4"


def test_a_truncated_video_is_kept_and_told(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, cut = make_video(tmp_path / "whole.avi", 40, codec="MJPG"), tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    code, told, errors = predict_here(capsys, cut, "--weights", weights, "--out", tmp_path / "out", "--json")
    (entry,) = json.loads(told)
    assert code == 2 and f"{cut}: ends after" in entry["error"] and entry["error"] in errors
    assert len(Path(entry["json"]).read_text().splitlines()) == entry["frames"] > 1


def test_a_missing_camera_is_one_line(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, errors = predict_here(capsys, "63", "--weights", weights, "--out", tmp_path / "out")
    assert code == 2 and errors.splitlines()[0].startswith("error: camera 63: there is none, or it is in use")
    assert not (tmp_path / "out").exists()


def test_a_video_does_not_overwrite_itself(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = make_video(tmp_path / "clip.mp4", 3)
    before = clip.read_bytes()
    code, _, errors = predict_here(capsys, clip, "--weights", weights, "--out", tmp_path)
    assert code == 2 and "is one of the sources and is not overwritten" in errors and clip.read_bytes() == before


def test_options_that_suit_no_source_are_told(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, photo = ("--weights", weights, "--out", tmp_path / "out"), photos / "one.png"
    of_videos = ("--rerun", "--no-smooth", "--every", "2", "--max-frames", "3")
    code, _, errors = predict_here(capsys, photo, *given, *of_videos, "--html")
    told = [f"{option} is only for videos and cameras, and none are given: it is ignored" for option in of_videos]
    assert code == 0 and errors.splitlines() == [line for line in told if line.startswith("--")]
    clip = make_video(tmp_path / "clip.mp4", 2)
    code, _, errors = predict_here(capsys, clip, *given, "--html")
    assert code == 0 and errors == "--html is only for pictures, and none are given: it is ignored\n"
    assert not predict_here(capsys, clip, photo, *given, "--html")[2], "it is for one of them"


def test_predictions_go_on_although_nobody_reads_any_more(weights: Path, photos: Path, tmp_path: Path) -> None:
    predict = f'"{sys.executable}" -u -m unclasp predict one.png two.jpg --weights {weights} --out {tmp_path / "out"}'
    command = f"set -o pipefail; {predict} | true"
    done = subprocess.run(["bash", "-c", command], cwd=photos, check=False, timeout=120, capture_output=True)
    assert done.returncode == 0 and not done.stderr
    assert sorted(path.name for path in (tmp_path / "out").glob("*.json")) == ["one.json", "two.json"]


def test_a_name_too_long_for_its_results_leaves_none(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = photos / f"{'x' * 251}.png"
    (photos / "one.png").rename(long)
    code, _, errors = predict_here(capsys, long, "--weights", weights, "--out", tmp_path / "out")
    assert code == 2 and "this name of a result has 256 bytes, more than 255" in errors
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_outputs_lose_no_work(weights: Path, photos: Path, tmp_path: Path, closed: str) -> None:
    command = f'"{sys.executable}" -m unclasp predict one.png two.jpg --weights {weights} --out {tmp_path / "out"}'
    done = subprocess.run(["bash", "-c", f"{command} {closed}"], cwd=photos, check=False, timeout=120)
    assert done.returncode == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.json")) == ["one.json", "two.json"]


def ends(send: str) -> subprocess.CompletedProcess[str]:
    """Run what is ended by signals within the time in which a video would be predicted."""
    return run(
        code=f"""
import os, signal, time
from unclasp.interruption import signals_as_interrupts
{send.partition("|")[0]}
before = signal.getsignal(signal.SIGTERM)
try:
    with signals_as_interrupts():
        try:
            {send.partition("|")[2]}
            print("goes on")
        finally:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            print("cleaned up")
except KeyboardInterrupt:
    print("interrupted")
print(signal.getsignal(signal.SIGTERM) == before)
"""
    )


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no such signal")
@pytest.mark.parametrize("name", ["SIGHUP", "SIGTERM"])
def test_signals_interrupt_once_and_are_as_before_afterwards(name: str) -> None:
    done = ends(f"|os.kill(os.getpid(), signal.{name}); time.sleep(5)")
    assert done.stdout.splitlines() == ["cleaned up", "interrupted", "True"], done.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no such signal")
def test_what_nohup_ignores_stays_ignored() -> None:
    ignored = "for each in (signal.SIGHUP, signal.SIGTERM): signal.signal(each, signal.SIG_IGN)"
    done = ends(f"{ignored}|os.kill(os.getpid(), signal.SIGHUP)")
    assert done.stdout.splitlines() == ["goes on", "cleaned up", "True"], done.stderr


def test_html_and_mirrored_reach_the_results(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (photos / "one.png", "--weights", weights, "--out", tmp_path / "out", "--html", "--mirrored", "--json")
    code, told, _ = predict_here(capsys, *words)
    (entry,) = json.loads(told)
    assert code == 0 and Path(entry["html"]).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert json.loads(Path(entry["json"]).read_text())["image"]["mirrored"] is True


def listen() -> None:
    """Do as in a terminal: background jobs inherit that Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_what_ends_a_process_leave_a_playable_video(
    weights: Path, tmp_path: Path, ended_by: signal.Signals
) -> None:
    clip, out = make_video(tmp_path / "clip.mp4", 3000), tmp_path / "out"
    words = [sys.executable, "-m", "unclasp", "predict", clip, "--weights", weights, "--out", out, "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        preexec_fn=listen,  # noqa: PLW1509
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while running.poll() is None and time.monotonic() < deadline:
        if any(path.stat().st_size for path in out.glob(".*.partial.jsonl")):  # frames have been written
            running.send_signal(ended_by)
            break
        time.sleep(0.05)
    printed, errors = running.communicate(timeout=120)
    assert running.returncode == 130 and errors == "interrupted; what was finished is kept\n"
    assert sorted(path.name for path in out.iterdir()) == ["clip.jsonl", "clip.mp4"]
    lines = (out / "clip.jsonl").read_text().splitlines()
    with Video(out / "clip.mp4") as written:
        frames = len(list(written))
    assert 0 < len(lines) < 3000 and abs(frames - len(lines)) <= 1
    (entry,) = json.loads(printed)
    assert entry["interrupted"] is True and entry["frames"] == len(lines)
    assert all(json.loads(line)["schema"] == 1 for line in lines)
