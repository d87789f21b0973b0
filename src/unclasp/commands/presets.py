"""`unclasp presets`."""

from unclasp.config import PRESETS
from unclasp.errors import UnclaspError


def presets(words: list[str]) -> int:
    """Run `unclasp presets`."""
    if words:
        raise UnclaspError(f"unclasp presets takes no arguments, got {' '.join(words)}")
    print("\n".join(PRESETS))
    return 0
