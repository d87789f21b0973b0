"""Every module has its place among the layers that imports flow down through (pyproject.toml, import-linter)."""

import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def test_every_module_of_the_packages_has_a_layer() -> None:
    """The linter asks for that only where modules lie side by side, not within packages."""
    contract, _ = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    listed = {name.strip() for layer in contract["layers"] for name in layer.split("|")}
    for package in contract["exhaustive_ignores"]:
        modules = {path.stem for path in (REPOSITORY / "src/unclasp" / package).glob("*.py")} - {"__init__"}
        assert modules == {name.split(".")[1] for name in listed if name.startswith(f"{package}.")}, package
