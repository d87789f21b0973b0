"""Lines for standard streams, which nobody may read any more, as after `unclasp ... | head -1`."""

import os
import re
from contextlib import suppress
from typing import TextIO


def discard(stream: TextIO) -> None:
    """Let what a stream cannot write go nowhere; else Python would try it again at its exit, which changes the code."""
    try:
        stream.flush()
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def in_one_line(text: str) -> str:
    r"""Return a text with its control characters, which names of files may have, as escapes.

    Examples:
        >>> print(in_one_line("new\nline"))
        new\nline
    """
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: found[0].encode("unicode_escape").decode(), text)
