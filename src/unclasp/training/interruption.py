"""Lets a training finish its step, and save it, when Ctrl-C or a signal ends it."""

import os
import signal
import threading
from types import TracebackType
from typing import Any, Final, Self

_SIGNALS: Final = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_STEP_FIRST: Final = b"interrupted: this step is finished first; a second signal stops at once\n"


class Interruption:
    """Records that the process is to end; within `with`, the first signal sets `requested` and does nothing else.

    A second signal raises KeyboardInterrupt. Signals that are ignored, as nohup does, remain so. Outside the main
    thread nothing is recorded, because Python allows no handlers there.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, lambda *_: self._record())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _record(self) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        os.write(2, _STEP_FIRST)  # print could be in the middle of a line of its own
