"""Photos without ground truth: the 2D joints of another detector as a reference, where it found a hand.

The distance to them is one to a reference, not an error.
"""

import csv
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from unclasp import geometry
from unclasp.arrays import Floats
from unclasp.data.json_file import MISFITS, parse_json
from unclasp.errors import DataError
from unclasp.evaluation.photo_versions import Version
from unclasp.hands import HAND_ORDERS, HAND_SLICES, JOINTS_PER_HAND, SIDES, Side
from unclasp.pose import HandPose
from unclasp.sources import PICTURE_SUFFIXES


@dataclass(frozen=True)
class ReferenceHand:
    """One hand as found by another detector."""

    side: Side
    """The person's own side."""
    joints_2d: Floats
    """(21, 2) px, in InterHand2.6M's order."""


@dataclass(frozen=True)
class ReferencePhoto:
    """A picture with reference hands."""

    path: Path
    hands: tuple[ReferenceHand, ...]
    """The hands that the other detector found; often not all hands in the picture."""
    in_view: int | None
    """Number of hands in the picture, as counted by a person; None if not counted."""


def read_photos(folder: Path | str, references: Path | str) -> list[ReferencePhoto]:
    """Read a folder of pictures with reference joints.

    Args:
        folder: Folder of pictures. A `manifest.csv` beside this folder, with the columns `file` and `hands`, may give
            the number of hands in each picture.
        references: Folder with a `NAME.json` of MediaPipe's hands for each picture: {"hands": [{"handedness_raw":
            "Left", "keypoints_2d_px": 21 pairs in MediaPipe's order}]}. The side is taken as the person's own.

    Raises:
        DataError: There are no pictures, or a file is malformed.
    """
    folder, references = Path(folder), Path(references)
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    if not paths:
        raise DataError(f"{folder} holds no pictures ({', '.join(sorted(PICTURE_SUFFIXES))})")
    counts = _counts(folder)
    return [
        ReferencePhoto(path, _read_hands(references / f"{path.stem}.json"), counts.get(path.name)) for path in paths
    ]


def _counts(folder: Path) -> dict[str, int]:
    manifest = folder.parent / "manifest.csv"
    if not manifest.exists():
        return {}
    with manifest.open(encoding="utf-8-sig", newline="") as file:
        try:
            # A row that is too short has None in the columns that it lacks.
            rows = [(row["file"] or "", row["hands"] or "") for row in csv.DictReader(file)]
        except KeyError as error:
            raise DataError(f"{manifest} must have the columns file and hands, {error} is missing") from error
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{manifest} is not a CSV file in UTF-8 ({error}); save it as one") from error
    return {Path(name).name: int(hands) for name, hands in rows if hands.isdecimal() and len(hands) < 4}


def _read_hands(path: Path) -> tuple[ReferenceHand, ...]:
    try:
        content = parse_json(path.read_bytes(), path, "write it again")
        return tuple(_hand(hand) for hand in content["hands"])
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing: every picture needs its reference") from error
    except DataError:
        raise
    except MISFITS as error:
        raise DataError(f"{path} is not a file of reference hands ({type(error).__name__}: {error})") from error


def _hand(hand: dict[str, Any]) -> ReferenceHand:
    side: Side = {"Left": "left", "Right": "right"}[hand["handedness_raw"]]  # type: ignore[assignment]
    joints = np.asarray(hand["keypoints_2d_px"], dtype=np.float64).reshape(JOINTS_PER_HAND, 2)
    if not (np.isfinite(joints).all() and np.ptp(joints, axis=0).max() > 0):
        raise ValueError("the points of a hand must be finite, and not all the same")
    ours = np.empty_like(joints)
    ours[HAND_ORDERS["mediapipe"]] = joints
    return ReferenceHand(side, ours)


def in_version(photo: ReferencePhoto, version: Version) -> ReferencePhoto:
    """Return the photo with its reference in the pixels of a version; mirroring swaps the hands' sides."""
    mirrored = geometry.is_mirroring(version.version_from_photo)
    other: dict[Side, Side] = {"right": "left", "left": "right"}
    hands = (
        ReferenceHand(
            other[hand.side] if mirrored else hand.side,
            geometry.apply_affine(version.version_from_photo, hand.joints_2d),
        )
        for hand in photo.hands
    )
    return replace(photo, hands=tuple(hands))


@dataclass(frozen=True)
class PhotoScore:
    """A prediction for one photo, compared with its reference."""

    distances: tuple[float, ...]
    """Per reference hand, the mean joint distance to its matched predicted hand as a share of the reference's extent;
    infinite if it is unmatched."""
    sides_right: tuple[bool, ...]
    """Per reference hand, whether the matched hand has the same side."""
    hands: int
    """Number of predicted hands."""
    in_view: int | None
    """Number of hands in the picture; None if unknown."""


def score_photo(pose: HandPose, photo: ReferencePhoto) -> PhotoScore:
    """Match predicted with reference hands greedily, the closest pair first, and measure each pair."""
    predicted = {
        side: pose.joints_2d[slot] for side, slot in zip(SIDES, HAND_SLICES, strict=True) if side in pose.sides
    }
    pairs = sorted(
        (geometry.mean_distance(joints, hand.joints_2d) / geometry.extent(hand.joints_2d), index, side)
        for side, joints in predicted.items()
        for index, hand in enumerate(photo.hands)
    )
    matched: dict[int, tuple[float, Side | None]] = {}
    for distance, index, side in pairs:
        if index not in matched and side not in {taken for _, taken in matched.values()}:
            matched[index] = (distance, side)
    matches = [matched.get(index, (math.inf, None)) for index in range(len(photo.hands))]
    sides_right = tuple(side == hand.side for (_, side), hand in zip(matches, photo.hands, strict=True))
    reported = sum(len(person.sides) for person in (pose, *pose.touching))
    return PhotoScore(tuple(distance for distance, _ in matches), sides_right, reported, photo.in_view)
