"""Two versions of what is predicted for a video frame: one to track, one to report."""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")
U = TypeVar("U")


class Versions(NamedTuple, Generic[T]):
    """Two versions with the same hands in the same slots; the same object twice where they do not differ."""

    tracked: T
    """By the rule of `touch_up`: for the tracker, whose thresholds were tuned on it."""
    reported: T
    """By the fusion network where it can be used: possibly more accurate, and returned to the caller."""

    def map(self, change: Callable[[T], U]) -> "Versions[U]":
        """Return both versions changed; `change` is called once where they are the same object."""
        tracked = change(self.tracked)
        return Versions(tracked, tracked if self.reported is self.tracked else change(self.reported))
