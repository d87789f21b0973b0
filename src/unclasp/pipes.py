"""Standard streams that nobody reads any more, as after `unclasp ... | head -1`."""

import os
from contextlib import suppress
from typing import TextIO


def discard(stream: TextIO) -> None:
    """Let what a stream cannot write go nowhere; else Python would try it again at its exit, which changes the code."""
    try:
        stream.flush()
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
