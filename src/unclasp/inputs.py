"""What callers give, checked: the picture, the box and the camera; and the way back from a mirror image."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.batch import ByteArray
from unclasp.errors import BoxError, UnclaspError
from unclasp.find.regions import meets
from unclasp.lifting import FIELD_OF_VIEW, assumed_focal
from unclasp.picture import check_image
from unclasp.pose import Camera, HandPose

Floats = npt.NDArray[np.floating]

MAX_BOX: Final = 20.0
"""Times the picture's longer side: a larger box shows nothing of the picture."""
MIN_FOCAL: Final = 1.0
"""px: no picture has a shorter focal length."""
MAX_PX: Final = 1e7
"""px: no focal length is longer, and no principal point farther away."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CheckedPicture:
    """A picture as it is looked at: one in which the hands are as they are."""

    image: ByteArray
    """(H, W, 3) uint8 RGB."""
    box: Floats | None
    """(4,) x1, y1, x2, y2 px."""
    camera: Camera
    mirror_image: ByteArray | None = None
    """The picture that was given, where that is a mirror image."""

    def to_given(self, pose: HandPose) -> HandPose:
        """Return a pose in the pixels of the picture that was given."""
        if self.mirror_image is None:
            return pose
        width = self.image.shape[1]
        cx, cy = pose.camera.princpt
        return replace(
            pose, mirrored=True, image=self.mirror_image, box=geometry.mirror_box(pose.box, width),
            other_regions=None if pose.other_regions is None else geometry.mirror_box(pose.other_regions, width),
            joints_2d=np.column_stack([width - 1 - pose.joints_2d[:, 0], pose.joints_2d[:, 1]]),
            camera=replace(pose.camera, princpt=(width - 1 - cx, cy)),
        )  # fmt: skip


def check_picture(
    image: ByteArray, box: npt.ArrayLike | None, *, focal: tuple[float, float] | None = None,
    princpt: tuple[float, float] | None = None, mirrored: bool = False,
) -> CheckedPicture:  # fmt: skip
    """Check what is given, and turn a mirror image into the picture that it is of.

    Args:
        image: (H, W, 3) uint8 RGB, or grey or RGBA.
        box: (4,) x1, y1, x2, y2 px.
        focal: px.
        princpt: px.
        mirrored: The picture is a mirror image.

    Raises:
        ImageError: The image is not a picture.
        BoxError: The box is malformed, empty or outside of the picture.
        UnclaspError: The camera is malformed.
    """
    image = check_image(image)
    box = None if box is None else check_box(box, image)
    if not mirrored:
        return CheckedPicture(image=image, box=box, camera=camera_of(image, focal, princpt))
    width = image.shape[1]
    if princpt is not None:
        cx, cy = pair("princpt", princpt)
        princpt = (width - 1 - cx, cy)
    return CheckedPicture(
        image=np.ascontiguousarray(image[:, ::-1]),
        box=None if box is None else geometry.mirror_box(box, width),
        camera=camera_of(image, focal, princpt),
        mirror_image=image,
    )


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
    """Return two numbers of px that a camera may have.

    Raises:
        UnclaspError: They are none, or not positive where they have to be.
    """
    try:
        checked = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        checked = np.zeros(0)
    least = MIN_FOCAL if positive else -MAX_PX
    if checked.shape != (2,) or not ((least <= checked) & (checked <= MAX_PX)).all():
        raise UnclaspError(f"{name} must be two numbers x, y in px, from {least:g} to {MAX_PX:g}, got {values!r}")
    return float(checked[0]), float(checked[1])


def check_box(box: npt.ArrayLike, image: ByteArray) -> Floats:
    """Return a box as (4,) float px.

    Raises:
        BoxError: It is not four finite numbers, is empty, or does not meet the picture.
    """
    height, width = image.shape[:2]
    try:
        checked = np.asarray(box, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
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
    if sides.max() > MAX_BOX * max(width, height):
        raise BoxError(f"box must fit the hands in the picture of {width} x {height} px, got {told}; is it in px?")
    return checked
