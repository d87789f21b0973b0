"""What Ctrl-C and the signals that end a process do during a training and a prediction."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, Self

_HANGUP: Final = getattr(signal, "SIGHUP", None)  # Windows has no such signal
SIGNALS: Final = tuple(number for number in (signal.SIGINT, signal.SIGTERM, _HANGUP) if number is not None)
"""The signals that end a process: Ctrl-C, the end of a job, and that the terminal was closed."""
_STEP_FIRST: Final = b"interrupted: this step is finished first; a second signal stops at once\n"


class Interruption:
    """Records that the process is to end; within `with`, the first signal sets `requested` and does nothing else.

    A second signal raises KeyboardInterrupt, except for SIGHUP, which a closed terminal may send twice. Signals that
    are ignored, as nohup does, or have a handler of another program, are left alone. Outside the main thread nothing
    is recorded, because Python allows no handlers there.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = _replace(SIGNALS, self._record)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _record(self, number: int, _: object) -> None:
        if self.requested:
            if number != _HANGUP:
                raise KeyboardInterrupt
            return
        self.requested = True
        with suppress(OSError):  # the terminal or the reader of the pipe may be gone
            os.write(2, _STEP_FIRST)  # print could be in the middle of a line of its own


@contextmanager
def signals_as_interrupts() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into KeyboardInterrupt, so that a video is kept up to that point, as after Ctrl-C.

    Signals that `Interruption` leaves alone are left alone here, too. After the first signal, further ones are ignored
    while the files are completed.
    """

    def interrupt(*_: object) -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = _replace([number for number in SIGNALS if number != signal.SIGINT], interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _replace(numbers: Sequence[int], handler: Callable[[int, Any], None]) -> dict[int, Any]:
    """Set the handler of those signals that have Python's default one, and return these."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    before = {number: signal.getsignal(number) for number in numbers}
    replaced = {
        number: now for number, now in before.items() if now in (signal.SIG_DFL, signal.default_int_handler)
    }  # fmt: skip
    for number in replaced:
        signal.signal(number, handler)
    return replaced
