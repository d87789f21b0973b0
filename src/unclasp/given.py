"""What callers give beside a picture, checked: the box and the camera."""

from typing import Final

import numpy as np
import numpy.typing as npt

from unclasp.batch import ByteArray
from unclasp.errors import BoxError, UnclaspError
from unclasp.lifting import FIELD_OF_VIEW, assumed_focal
from unclasp.pose import Camera
from unclasp.regions import meets

Floats = npt.NDArray[np.floating]

LARGEST_BOX: Final = 20.0
"""Times the picture's longer side: a larger box shows nothing of the picture."""


def camera_of(image: ByteArray, focal: tuple[float, float] | None, princpt: tuple[float, float] | None) -> Camera:
    """Return the camera of a picture (H, W, 3), with what of it had to be assumed.

    Raises:
        UnclaspError: What is given is not two numbers.
    """
    height, width = image.shape[:2]
    told = []
    if focal is None:
        focal = (assumed_focal(width, height),) * 2
        told.append(f"a field of view of {FIELD_OF_VIEW:g} degrees across the longer side")
    if princpt is None:
        princpt = ((width - 1) / 2, (height - 1) / 2)
        told.append("the principal point in the middle")
    return Camera(
        focal=pair("focal", focal, positive=True),
        princpt=pair("princpt", princpt),
        assumed=" and ".join(told) or None,
    )


def pair(name: str, values: npt.ArrayLike, *, positive: bool = False) -> tuple[float, float]:
    """Return two finite numbers.

    Raises:
        UnclaspError: They are not, or not positive where they have to be.
    """
    try:
        checked = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        checked = np.zeros(0)
    if checked.shape != (2,) or not np.isfinite(checked).all() or (positive and checked.min() <= 0):
        raise UnclaspError(f"{name} must be two {'positive ' * positive}numbers x, y in px, got {values!r}")
    return float(checked[0]), float(checked[1])


def check_box(box: npt.ArrayLike, image: ByteArray) -> Floats:
    """Return a box as (4,) float px.

    Raises:
        BoxError: It is not four finite numbers, is empty, or does not meet the picture.
    """
    height, width = image.shape[:2]
    try:
        checked = np.asarray(box, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BoxError(f"box must be four numbers x1, y1, x2, y2 in px, got {box!r}") from error
    told = np.array2string(checked, separator=", ")
    if checked.shape != (4,) or not np.isfinite(checked).all():
        raise BoxError(f"box must be four finite numbers x1, y1, x2, y2 in px, got {told}")
    sides = checked[2:] - checked[:2]
    if sides.min() < 1:
        raise BoxError(
            f"box must be x1, y1, x2, y2 with x2 and y2 at least 1 px larger than x1 and y1, got {told}; "
            "is it x, y, width, height, or a share of the picture?"
        )
    if not meets(checked, image):
        raise BoxError(f"box must meet the picture of {width} x {height} px, got {told}, which lies outside of it")
    if sides.max() > LARGEST_BOX * max(width, height):
        raise BoxError(f"box must fit the hands in the picture of {width} x {height} px, got {told}; is it in px?")
    return checked
