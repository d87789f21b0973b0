"""Shared by the commands that draw a sheet of pictures: writing it."""

from pathlib import Path

import cv2

from unclasp.arrays import Pixels
from unclasp.errors import UnclaspError
from unclasp.files import write_bytes
from unclasp.quiet import quiet_opencv


def write_sheet(out: Path, sheet: Pixels) -> None:
    """Write a sheet (H, W, 3) RGB in the format that the suffix names.

    Raises:
        UnclaspError: The sheet is too large for the format.
    """
    try:
        with quiet_opencv():
            done, data = cv2.imencode(out.suffix, sheet[..., ::-1])
    except cv2.error:  # some versions of OpenCV raise it, others return False
        done = False
    if not done:
        height, width = sheet.shape[:2]
        raise UnclaspError(f"{out}: a sheet of {width} x {height} px is too large for this format; draw fewer pictures")
    write_bytes(out, data.tobytes())
