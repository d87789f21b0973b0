"""Every code block of the README and of docs/ is run here, page by page, in a folder with small inputs.

A page's blocks share a folder and, if they are Python, their names. A block that cannot be run has a comment in the
line above it, `<!-- not run: REASON -->`; it is still compiled, or read by the parser of its command. Commands run in
this process, after their own parser has read them as they stand, with the changes of `SMALLER`.
"""

import doctest
import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch

from unclasp import cli
from unclasp.picture import read_picture
from unclasp.presets import PRESETS, preset
from unclasp.video_writer import VideoWriter

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.rglob("*.md"))]

CPU = {"--device": "cpu"}
SMALLER: dict[str, dict[str, str]] = {
    "predict": CPU,
    "evaluate": {**CPU, "--devices": "1", "--limit": "2", "--workers": "2"},
    "measure": {"--limit": "2"},
    "train": {
        "--accelerator": "cpu", "--devices": "1", "--precision": "32-true", "--workers": "0", "--max-steps": "1",
        "--train.batch-size": "2",
    },
    "calibrate": {"--limit": "8"},
    "export": {"--pictures": "2", "--calibration": "4"},
    "synth preview": {"--count": "2", "--size": "64"},
    "synth write": {"--count": "4", "--size": "64", "--processes": "1"},
    "bench latency": {**CPU, "--batch": "1", "--engines": "plain", "--repeats": "1", "--threads": "1"},
    "bench train": {**CPU, "--batch": "2", "--repeats": "1", "--threads": "1"},
    "bench predict": {"--repeats": "1", "--threads": "1"},
    "bench synth": {"--count": "1", "--size": "64"},
    "bench index": {"--count": "200", "--workers": "1"},
    "bench data": {"--count": "200", "--repeats": "2", "--workers": "1"},
}  # fmt: skip
"""Options that a command is run with whatever the page gives them. Besides, presets are trained at size `tiny`."""
WITHOUT = ("--backbone-weights",)
"""Options that are left out: the tiny backbone has no ImageNet weights."""
ENDLESS = ("demo",)
"""Commands that do not end by themselves: their blocks have to be marked."""

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})\s*(\w*)\s*$")
_MARK = re.compile(r"<!--\s*not run:(.*?)-->")


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    code: str
    line: int
    """Of its first line of code, from 1."""
    mark: str | None
    """The reason why it is not run."""


def blocks_of(text: str) -> list[Block]:
    """Return the fenced blocks; a mark without a reason or without a block below it is an error."""
    blocks, mark, fence, start = [], None, None, 0
    lines = text.splitlines()
    for number, line in enumerate(lines):
        found = _FENCE.match(line)
        if fence is not None:
            if found and found[1] == fence[1] and not found[2]:
                blocks.append(Block(fence[2], "\n".join(lines[start:number]) + "\n", start + 1, mark))
                fence = mark = None
        elif found:
            fence, start = found, number + 1
        elif marked := _MARK.search(line):
            assert mark is None, f"line {number + 1}: two marks for one block"
            mark = marked[1].strip()
            assert mark, f"line {number + 1}: why is it not run?"
        elif mark is not None:
            raise AssertionError(f"line {number + 1}: expected the block that is not run right below its mark")
        else:
            assert not re.match(r"\s+(```|~~~)", line), f"line {number + 1}: move this block to the left to have it run"
    assert fence is None, f"line {start}: the block does not end"
    assert mark is None, "a mark at the end has no block"
    return blocks


def commands_of(code: str) -> list[list[str]]:
    """Return the words of each command of a shell block."""
    commands = []
    for line in code.replace("\\\n", " ").splitlines():
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            assert word not in ("|", ">", "<", ";", "&", "||"), f"{line!r}: give commands one by one, without {word}"
            if word != "&&":
                words.append(word)
            elif words:
                commands.append(words)
                words = []
    return commands


def named(words: list[str]) -> str:
    """Return the name of the unclasp command that words call."""
    return next(
        (name for length in (2, 1) if (name := " ".join(words[1 : 1 + length])) in cli.COMMANDS), " ".join(words[1:2])
    )


def smaller(words: list[str]) -> list[str]:
    """Return the arguments of unclasp as they are run here."""
    name, words = named(words), words[1:]
    if name.startswith(("train", "bench", "export")):
        words = [re.sub("^(paper|small)", "tiny", word) if word in PRESETS else word for word in words]
    changes = SMALLER.get(name, {})
    for flag in (*WITHOUT, *changes):
        if flag in words:
            start = words.index(flag)
            after = (at for at in range(start + 1, len(words)) if words[at].startswith("--"))
            del words[start : next(after, len(words))]
    return [*words, *(word for change in changes.items() for word in change)]


class _ReadError(Exception):
    """The arguments were read, and nothing else shall be done."""


def parse_only(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a command's own parser read its arguments as they stand in the page."""
    name = named(words)
    assert name in cli.COMMANDS, f"there is no command {' '.join(words)!r}"
    module = import_module(cli.module_of(name))
    if name == "train":
        preset(words[2])
    if not hasattr(module, "parse"):  # it takes no arguments
        assert name.split() == words[1:]
        return
    parse = module.parse

    def read(*arguments: Any, **options: Any) -> None:
        parse(*arguments, **options)
        raise _ReadError

    with monkeypatch.context() as patch, pytest.raises(_ReadError):
        patch.setattr(module, "parse", read)
        getattr(module, name.split()[-1])(words[1 + len(name.split()) :])


def check_command(words: list[str], monkeypatch: pytest.MonkeyPatch, *, run: bool) -> None:
    """Run a command of a shell block, or check what can be checked of it without."""
    if words[0] == "unclasp":
        assert not run or named(words) not in ENDLESS, f"{shlex.join(words)} does not end by itself: mark the block"
        parse_only(words, monkeypatch)
        if run:
            with pytest.raises(SystemExit) as exit_:
                cli.main(smaller(words))
            assert exit_.value.code == 0, f"{shlex.join(smaller(words))}: exit code {exit_.value.code}"
    elif words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
        assert set(words[1:]) <= set(targets), f"{shlex.join(words)}: the Makefile has no such target"
    elif words[:2] == ["pip", "install"]:
        _check_requirements(words[2:])
    else:
        assert not run, f"{shlex.join(words)}: not known here; mark the block as not run, or teach this test"


def _check_requirements(words: list[str]) -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pins = (REPOSITORY / "constraints.txt").read_text().splitlines()
    for word in words:
        if found := re.fullmatch(r"(?:\.|unclasp)(?:\[([\w,]+)\])?", word):
            assert set((found[1] or "dev").split(",")) <= set(extras), f"{word}: there is no such extra"
        else:
            assert word in pins, f"{word}: constraints.txt pins another version"


def run_python(block: Block, page: str, namespace: dict[str, Any]) -> None:
    """Run a Python block, which adds to the names of its page; one with >>> must print what it says."""
    if ">>>" in block.code:
        example = doctest.DocTestParser().get_doctest(block.code, namespace, page, page, block.line - 1)
        told: list[str] = []
        doctest.DocTestRunner(verbose=False).run(example, out=told.append, clear_globs=False)
        assert not told, "".join(told)
        namespace.update(example.globs)
        return
    code = compile("\n" * (block.line - 1) + block.code, page, "exec")  # errors tell the page's line
    if block.mark is None:
        exec(code, namespace)  # noqa: S102  the page's own code


def check_page(text: str, page: str, namespace: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run all blocks of a page in the current folder."""
    for block in blocks_of(text):
        is_shell = block.language == "sh" or (not block.language and re.search(r"^unclasp ", block.code, re.MULTILINE))
        try:
            if is_shell:
                for words in commands_of(block.code):
                    check_command(words, monkeypatch, run=block.mark is None)
            elif block.language == "python":
                run_python(block, page, namespace)
            elif block.language == "json":
                json.loads(block.code)
            elif block.mark is None:
                assert block.language in ("", "text"), f"blocks in {block.language} cannot be run: mark it"
        except BaseException as error:
            error.add_note(f"in the block at {page}:{block.line}")
            raise


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the pages speak of: photos, a video, a data set, weights, predictions."""
    folder = tmp_path_factory.mktemp("docs")
    picture = read_picture(REPOSITORY / "examples" / "two_hands.jpg")
    small = np.asarray(cv2.resize(picture, (256, 256), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    for name, image in {
        "photo.jpg": small, "selfie.jpg": small[:, ::-1], "folder/one.jpg": small, "more/two.png": small,
    }.items():  # fmt: skip
        (folder / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / name), image[..., ::-1])
    with VideoWriter(folder / "clip.mp4", rate=30) as video:
        for shift in range(4):
            video.write(np.roll(small, 3 * shift, axis=1))
    root = str(folder / "ROOT")
    for seed, split in (("11", "train"), ("12", "test")):
        _main("synth", "write", "--out", root, "--count", "2", "--size", "64", "--seed", seed, "--split", split)
    shutil.copy(REPOSITORY / "src/unclasp/weights/small.safetensors", folder / "W.safetensors")
    _main("evaluate", f"interhand:{root}:test", "--workers", "0", "--save-predictions", str(folder / "THEIRS.npz"))
    return folder


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Commands of `bench` choose how many threads torch has: give back what the tests have."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def _main(*words: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(words)
    assert exit_.value.code == 0


def given(page: str) -> dict[str, Any]:
    """Return the names that a page takes as the reader's own."""
    if page == "README.md":
        return {"image": read_picture("photo.jpg")}
    if page == "evaluation.md":
        joints = np.zeros((2, 42, 3))
        return {"names": np.array(["one.jpg", "two.jpg"]), "joints": joints, "joint_coord": joints}
    return {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_runs(page: Path, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page.read_text()
    if not blocks_of(text):
        return
    folder = tmp_path / "here"
    shutil.copytree(inputs, folder)
    monkeypatch.chdir(folder)
    check_page(text, page.name, {"__name__": "page", **given(page.name)}, monkeypatch)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("```python\n1 / 0\n```\n", "division by zero"),
        ("```python\n>>> 1 + 1\n3\n```\n", "Expected"),
        ("<!-- not run: no reason to -->\n```python\n1 +\n```\n", "invalid syntax"),
        ("```sh\nunclasp predict photo.jpg --nothing\n```\n", "--nothing"),
        (
            "<!-- not run: a mark does not excuse a wrong flag -->\n```sh\nunclasp predict 0 --nothing\n```\n",
            "--nothing",
        ),
        ("```\nunclasp nothing\n```\n", "no command"),
        ("```sh\nunclasp demo\n```\n", "does not end"),
        ("```sh\nunclasp train nothing --data synthetic:train\n```\n", "no preset"),
        ("```sh\nunclasp predict nothing.jpg\n```\n", "exit code 2"),
        ("```sh\nmake nothing\n```\n", "no such target"),
        ("```sh\npip install '.[nothing]'\n```\n", "no such extra"),
        ("```sh\npip install torch==0.1\n```\n", "another version"),
        ("```sh\nrm -r folder\n```\n", "not known"),
        ("```sh\nunclasp presets | head\n```\n", "one by one"),
        ("```json\n{\n```\n", "Expecting"),
        ("```html\n<p>\n```\n", "mark it"),
        ("<!-- not run: -->\n```sh\nmake test\n```\n", "why"),
        ("<!-- not run: lost -->\n\nText\n", "right below"),
        ("- item\n\n    ```sh\n    make test\n    ```\n", "to the left"),
        ("```sh\nmake test\n", "does not end"),
    ],
)
def test_wrong_blocks_are_told(
    text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BaseException) as error:
        check_page(text, "page", {}, monkeypatch)
    assert told in str(error.value) + "".join(capsys.readouterr())


def test_commands_are_run_smaller() -> None:
    words = shlex.split("unclasp train paper-table1-ji --data x --backbone-weights r.pth --max-steps 90 --resume")
    made = smaller(words)
    assert made[:5] == ["train", "tiny-table1-ji", "--data", "x", "--resume"] and "--backbone-weights" not in made
    assert made[made.index("--max-steps") + 1] == "1"
    assert smaller(["unclasp", "bench", "latency", "paper", "--engines", "onnx", "plain"])[2:4] == ["tiny", "--device"]
    assert commands_of("A && B 'c d'  # e\nF \\\n  g\n") == [["A"], ["B", "c d"], ["F", "g"]]
