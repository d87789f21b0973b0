"""What commands share: reading their arguments, and what they need to be installed."""

from typing import Any, TypeVar

import tyro

from unclasp.errors import UnclaspError

_Arguments = TypeVar("_Arguments")


def parse(kind: type[_Arguments], words: list[str], name: str, default: _Arguments | None = None) -> _Arguments:
    """Read the words after `unclasp NAME` into the dataclass `kind`, whose docstrings are the help text."""
    options: dict[str, Any] = {} if default is None else {"default": default}
    parsed: _Arguments = tyro.cli(kind, args=words, prog=f"unclasp {name}", **options)
    return parsed


def need_synth() -> None:
    """Raise an error that says what to install if the renderer cannot run."""
    try:
        import numba  # noqa: F401
    except ModuleNotFoundError as error:
        raise UnclaspError("rendering needs numba: pip install 'unclasp[synth]'") from error
