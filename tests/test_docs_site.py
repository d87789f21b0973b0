"""What the README and docs/ speak of exists: links, options, names, commands, presets, the joint picture."""

import importlib.util
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from unclasp import _HOMES, __all__, cli
from unclasp.presets import PRESETS

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.rglob("*.md"))]


def _prose(page: Path) -> str:
    return re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_flags_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", _prose(page)):
        assert "://" in target or (page.parent / target).exists(), f"{page.name} links to {target}"
    sources = [*REPOSITORY.glob("src/unclasp/**/*.py")]
    fields = set(re.findall(r"^    (\w+):", "\n".join(source.read_text() for source in sources), re.MULTILINE))
    for span in re.findall(r"`([^`]+)`", _prose(page)):
        for flag in () if span.startswith("pip ") else re.findall(r"(?<!\S)--([a-z][\w.-]*)", span):
            name = flag.split(".")[-1].replace("-", "_")
            assert name == "help" or {name, name.removeprefix("no_")} & fields, f"{page.name} speaks of --{flag}"


def test_the_reference_has_the_public_names_and_every_command() -> None:
    listed = [
        name
        for page in (DOCS / "reference").glob("*.md")
        for name in re.findall(r"^::: (\S+)$", page.read_text(), re.M)
    ]
    for name in listed:
        _resolve(name)
    for name in set(__all__) - {"__version__"}:
        home = getattr(import_module(_HOMES[name]), name).__module__
        assert home in listed or f"{home}.{name}" in listed, f"the reference lacks {name}"
    commands = (DOCS / "reference" / "commands.md").read_text()
    assert re.findall(r"^\| `unclasp ([\w ]+)`", commands, re.MULTILINE) == list(cli.COMMANDS)
    assert re.findall(r"^## (.+)$", commands, re.MULTILINE)[: len(cli.GROUPS)] == list(cli.GROUPS)


def _resolve(name: str) -> object:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise AssertionError(f"the reference speaks of {name}")


def test_the_navigation_has_every_page() -> None:
    listed = re.findall(r"(\S+\.md)$", (REPOSITORY / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))
    assert sorted(listed) == pages, "each page has one line under nav: in mkdocs.yml"


def test_the_tables_of_the_paper_have_every_preset() -> None:
    told = re.findall(r"`(paper[\w-]*)`", (DOCS / "reproduce.md").read_text())
    assert set(told) == {name for name in PRESETS if name.startswith("paper")}


def test_the_joints_are_drawn_as_they_are_numbered() -> None:
    drawing = _load(DOCS / "joint_order.py")
    assert drawing.TARGET.read_text() == drawing.draw(), "python docs/joint_order.py draws it anew"


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
