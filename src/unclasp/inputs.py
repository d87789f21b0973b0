"""Checks the caller's picture, box and camera, and maps poses back to a picture that was given as a mirror image."""

import os
from dataclasses import dataclass, replace
from numbers import Real
from os import PathLike
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.arrays import Floats, Pixels
from unclasp.errors import BoxError, UnclaspError
from unclasp.exposure import brightened
from unclasp.find.boxes import meets
from unclasp.lifting import FIELD_OF_VIEW, assumed_focal
from unclasp.picture import check_image
from unclasp.pose import Camera, HandPose

Focal = float | tuple[float, float]
"""A focal length in px, or those of the two axes, fx and fy."""
MAX_BOX_TO_PICTURE: Final = 20.0
"""Largest side of a box, in multiples of the picture's longer side; in a larger box the picture is too small to see."""
MIN_FOCAL_PX: Final = 1.0
"""px: shortest focal length that is accepted."""
MAX_PX: Final = 1e7
"""px: longest focal length, and largest coordinate of a principal point, that is accepted."""
_MAX_SHOWN: Final = 80
"""Most characters of a wrong value that an error shows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CheckedPicture:
    """A picture as the networks see it, bright enough, and with right hands that look like right hands."""

    image: Pixels
    """(H, W, 3) uint8 RGB."""
    box: Floats | None
    """(4,) x1, y1, x2, y2 px."""
    camera: Camera
    given: Pixels
    """(H, W, 3) uint8 RGB, the picture as given."""
    mirrored: bool
    """`given` is a mirror image."""

    def to_given(self, pose: HandPose) -> HandPose:
        """Return a pose in pixels of `image`, with `given` as its picture, in the pixels of `given`."""
        if not self.mirrored:
            return pose
        width = self.image.shape[1]
        cx, cy = pose.camera.princpt
        return replace(
            pose, mirrored=True, box=geometry.mirror_box(pose.box, width),
            other_regions=None if pose.other_regions is None else geometry.mirror_box(pose.other_regions, width),
            joints_2d=np.column_stack([width - 1 - pose.joints_2d[:, 0], pose.joints_2d[:, 1]]),
            camera=replace(pose.camera, princpt=(width - 1 - cx, cy)),
        )  # fmt: skip


def check_picture(
    image: Pixels, box: npt.ArrayLike | None, *, focal: Focal | None, princpt: tuple[float, float] | None,
    mirrored: bool,
) -> CheckedPicture:  # fmt: skip
    """Check the caller's input, flip a mirror image back, and brighten a dark picture (`exposure.brightened`).

    Args:
        image: (H, W, 3) uint8 RGB, or grey or RGBA.
        box: (4,) x1, y1, x2, y2 px.
        focal: Focal length in px, or fx, fy; assumed if None.
        princpt: Principal point in px; assumed if None.
        mirrored: The picture is a mirror image; `box` and `princpt` are in its pixels.

    Raises:
        ImageError: `image` is not a picture.
        BoxError: The box is malformed, empty or outside the picture.
        UnclaspError: The camera is malformed, or `mirrored` is neither true nor false.
    """
    check_flags(mirrored=mirrored)
    image = check_image(image)
    box = None if box is None else check_box(box, image)
    bright = brightened(image)
    if not mirrored:
        camera = camera_of(image, focal, princpt)
        return CheckedPicture(image=bright, box=box, camera=camera, given=image, mirrored=False)
    width = image.shape[1]
    if princpt is not None:
        cx, cy = principal_point(princpt)
        princpt = (width - 1 - cx, cy)
    return CheckedPicture(
        image=np.asarray(cv2.flip(bright, 1), dtype=np.uint8),
        box=None if box is None else geometry.mirror_box(box, width),
        camera=camera_of(image, focal, princpt),
        given=image,
        mirrored=True,
    )


def camera_of(image: Pixels, focal: Focal | None, princpt: tuple[float, float] | None) -> Camera:
    """Return the camera of a picture (H, W, 3), filling in and naming what the caller does not give.

    Raises:
        UnclaspError: `focal` or `princpt` is malformed or out of range.
    """
    height, width = image.shape[:2]
    assumptions = []
    if focal is None:
        focal = assumed_focal(width, height)
        assumptions.append(f"a field of view of {FIELD_OF_VIEW:g} degrees across the longer side")
    if princpt is None:
        princpt = ((width - 1) / 2, (height - 1) / 2)
        assumptions.append("the principal point in the middle")
    return Camera(
        focal=focal_lengths(focal),
        princpt=principal_point(princpt),
        assumed=" and ".join(assumptions) or None,
    )


def focal_lengths(focal: Focal) -> tuple[float, float]:
    """Check focal lengths in px and return fx and fy; a single number is both.

    Raises:
        UnclaspError: They are not one or two numbers from `MIN_FOCAL_PX` to `MAX_PX`.
    """
    if isinstance(focal, np.ndarray) and focal.ndim == 0:
        focal = focal[()]
    is_one = isinstance(focal, Real) and not isinstance(focal, bool)
    checked = _pair((focal, focal) if is_one else focal, least=MIN_FOCAL_PX)
    if checked is None:
        bounds = f"from {MIN_FOCAL_PX:g} to {MAX_PX:g}"
        raise UnclaspError(f"focal must be one number, or two, fx, fy, in px, {bounds}, got {shown(focal)}")
    return checked


def principal_point(princpt: npt.ArrayLike) -> tuple[float, float]:
    """Check a principal point in px and return it as floats.

    Raises:
        UnclaspError: It is not two numbers of at most `MAX_PX`.
    """
    checked = _pair(princpt, least=-MAX_PX)
    if checked is None:
        bounds = f"from {-MAX_PX:g} to {MAX_PX:g}"
        raise UnclaspError(f"princpt must be two numbers x, y in px, {bounds}, got {shown(princpt)}")
    return checked


def _pair(values: object, *, least: float) -> tuple[float, float] | None:
    """Return two numbers from `least` to `MAX_PX` as floats; None if the values are something else."""
    try:
        checked = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    if checked.shape != (2,) or not ((least <= checked) & (checked <= MAX_PX)).all():
        return None
    return float(checked[0]), float(checked[1])


def shown(values: object) -> str:
    """Return what was given for numbers, in one line.

    Examples:
        >>> shown(np.array([[1.0, 2.5], [3.0, 4.0]])), shown((7, "x"))
        ('[[1.0, 2.5], [3.0, 4.0]]', "(7, 'x')")
    """
    text = " ".join(str(values.tolist() if isinstance(values, np.ndarray) else values).split())
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def check_box(box: npt.ArrayLike, image: Pixels) -> Floats:
    """Check a box against its picture and return it as (4,) float px.

    Raises:
        BoxError: The box is not four finite numbers, is empty, does not overlap the picture, or is far larger than it.
    """
    height, width = image.shape[:2]
    try:
        checked = np.asarray(box, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise BoxError(f"box must be four numbers x1, y1, x2, y2 in px, got {shown(box)}") from error
    if checked.shape != (4,) or not np.isfinite(checked).all():
        raise BoxError(f"box must be four finite numbers x1, y1, x2, y2 in px, got {shown(box)}")
    sides = checked[2:] - checked[:2]
    if sides.min() < 1:
        raise BoxError(
            f"box must be x1, y1, x2, y2 with x2 and y2 at least 1 px larger than x1 and y1, got {shown(box)}; "
            "is it x, y, width, height, or a share of the picture?"
        )
    if not meets(checked, image):
        raise BoxError(
            f"box must meet the picture of {width} x {height} px, got {shown(box)}, which lies outside of it"
        )
    if sides.max() > MAX_BOX_TO_PICTURE * max(width, height):
        raise BoxError(
            f"box must fit the hands in the picture of {width} x {height} px, got {shown(box)}; is it in px?"
        )
    return checked


def check_threads(threads: int | None) -> int | None:
    """Return a number of threads that is no larger than that of the cores: more would only wait for each other.

    Raises:
        UnclaspError: It is not a whole number, or below 1.
    """
    if threads is None:
        return None
    if not isinstance(threads, int | np.integer) or threads < 1:
        raise UnclaspError(f"threads must be a whole number of at least 1, got {threads!r}")
    return min(int(threads), os.cpu_count() or 1)


def check_load_types(device: object, **files: object) -> None:
    """Check that a device and files are names, or what else stands for one.

    Raises:
        UnclaspError: They are not.
    """
    for name, file in files.items():
        if not isinstance(file, str | PathLike | None):
            got = type(file).__name__
            raise UnclaspError(f"{name} must be the path of a file, got {got}; leave it out for the shipped network")
    if not isinstance(device, str) and type(device).__name__ != "device":  # torch need not be loaded
        got = type(device).__name__
        raise UnclaspError(f"device must be cpu, cuda, cuda:N, mps or a torch.device, got {got}; leave it out for cpu")


def check_flags(**flags: object) -> None:
    """Check that flags are true or false: texts such as "no" would count as true.

    Raises:
        UnclaspError: One is something else; the message names it.
    """
    for name, flag in flags.items():
        if not isinstance(flag, bool | np.bool_):
            raise UnclaspError(f"{name} must be True or False, got {flag!r:.80}")
