"""`unclasp presets`."""

from dataclasses import dataclass

from unclasp.commands.arguments import parse
from unclasp.errors import UnclaspError
from unclasp.presets import PRESETS


@dataclass(frozen=True)
class PresetsArguments:
    """List the presets, which include each row of the paper's Tables 1-3."""


def presets(words: list[str]) -> int:
    """Run `unclasp presets`."""
    if words and words[0] not in ("-h", "--help"):
        raise UnclaspError(f"unclasp presets takes no arguments, got {' '.join(words)}")
    parse(PresetsArguments, words, "presets")
    print("\n".join(PRESETS))
    return 0
