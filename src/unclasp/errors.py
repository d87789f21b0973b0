"""What users can get wrong, as one family of exceptions.

The command line prints them as one line, without a traceback.
"""

import math
from collections.abc import Collection


class UnclaspError(ValueError):
    """Something the caller can mend; the message says what was expected, what came and what to do."""


class ImageError(UnclaspError):
    """A picture that cannot be read, or is not a picture."""


class VideoError(UnclaspError):
    """A video or camera that cannot be opened, read to its end, or written."""


class BoxError(UnclaspError):
    """A box that is malformed or does not meet the picture."""


class DataError(UnclaspError):
    """A data set on disk that is missing, incomplete or damaged."""


class CheckpointError(UnclaspError):
    """A weights or training-state file that is missing, damaged or of another model."""


class NonFiniteLossError(UnclaspError):
    """The training loss became infinite or not a number."""


def check_choice(name: str, value: object, allowed: Collection[object]) -> None:
    """Raise an error that lists what there is to choose from, unless `value` is among it."""
    if value not in allowed:
        raise UnclaspError(f"{name} must be one of {', '.join(map(str, allowed))}, got {value!r}")


def check_at_least(least: float, **values: float | None) -> None:
    """Raise an error that names the first value that is below a bound or not finite; None is none."""
    for name, value in values.items():
        if value is not None and not least <= value < math.inf:
            raise UnclaspError(f"{name} must be at least {least:g}, got {value}")
