"""Measures a model on rendered pictures, annotated real frames, and photos without ground truth.

Photos are compared with the 2D joints of another detector, where it found a hand: a distance to a reference, not an
error. `as_markdown` prints one column per model, so that training runs can be compared side by side.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from unclasp import geometry
from unclasp.arrays import Bools, Floats
from unclasp.data import Dataset
from unclasp.data.json_file import MISFITS, parse_json
from unclasp.errors import DataError, UnclaspError
from unclasp.evaluate import CropModel, EvaluateOptions, evaluate, predictions_of, score_predictions
from unclasp.evaluation.photo_versions import Version, versions
from unclasp.hands import HAND_ORDERS, HAND_SLICES, JOINTS_PER_HAND, SIDES, Side
from unclasp.picture import read_picture
from unclasp.pose import HandPose
from unclasp.predictor import Predictor
from unclasp.sources import PICTURE_SUFFIXES

MAX_FOUND_DISTANCE: Final = 0.5
"""A hand counts as found if its mean joint distance to the reference is at most this share of the reference's
extent."""


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


@dataclass(frozen=True)
class Figure:
    """One figure of the table."""

    group: str
    name: str
    value: float | None
    """None if it could not be measured or is not finite."""
    digits: int = 1
    """Decimal places."""

    def __str__(self) -> str:
        return "-" if self.value is None else f"{self.value:.{self.digits}f}"


def summarise_photos(scores: Sequence[PhotoScore], *, of: str = "photos") -> list[Figure]:
    """Summarise scores as figures; `of` names what was scored in the group's title."""
    distances = np.array([distance for score in scores for distance in score.distances])
    right = np.array([ok for score in scores for ok in score.sides_right], dtype=bool)
    found = distances <= MAX_FOUND_DISTANCE
    median = float(np.median(distances)) if len(distances) else math.nan
    two = [score for score in scores if score.in_view == 2]
    one = [score for score in scores if score.in_view == 1]
    group = f"{len(scores)} {of}, {len(distances)} reference hands"
    return [
        Figure(group, "found %", _share(found)),
        Figure(group, "side right %", _share(right & found)),
        Figure(group, "median 2D / box", median if math.isfinite(median) else None, 3),
        Figure(group, f"two reported in {len(two)} of two %", _share([score.hands == 2 for score in two])),
        Figure(group, f"no ghost in {len(one)} of one %", _share([score.hands == 1 for score in one])),
    ]


def _share(flags: Sequence[bool] | Bools) -> float | None:
    return 100 * float(np.mean(flags)) if len(flags) else None


def measure(
    model: CropModel, predictor: Predictor, *, rendered: Dataset | None = None, limit: int | None = None,
    frames: Dataset | None = None, photos: Sequence[ReferencePhoto] = (), changed: bool = False,
) -> list[Figure]:  # fmt: skip
    """Measure one model on each of the given sets of pictures.

    Args:
        model: The model, on the CPU, for annotated crops.
        predictor: A predictor of the same model, for whole pictures. The reference joints of photos are MediaPipe's, as
            is the landmark network: the distance to them is meaningful only for a predictor without it.
        rendered: Synthetic pictures, scored with InterHand2.6M's protocol.
        limit: Score only this many rendered pictures, from the first on.
        frames: Annotated real pictures, scored with the same protocol: once from annotated crops, once as whole
            pictures without boxes.
        photos: Whole pictures, without boxes.
        changed: Also measure on versions of the photos (`photo_versions`).

    Raises:
        UnclaspError: No pictures are given, or a file cannot be read.
    """
    if rendered is None and frames is None and not photos:
        raise UnclaspError("there is nothing to measure on: give rendered pictures, frames or photos")
    measured: list[Figure] = []
    if rendered is not None:
        figures = evaluate(model, rendered, EvaluateOptions(limit=limit, workers=1)).figures
        measured += [
            *_errors("rendered", figures, ("single", "two", "all")),
            Figure("rendered", "handedness %", _percent(figures["handedness_accuracy"])),
            Figure("rendered", "hand pixels %", _percent(figures["hand_pixel_accuracy"])),
        ]
    if frames is not None:
        figures = evaluate(model, frames).figures
        measured += _of_frames("real frames", figures)
        whole = predictions_of(predictor, frames, boxed=False)
        measured += _of_frames("real frames, whole", score_predictions(whole, frames).figures)
    if photos:
        measured += summarise_photos([score_photo(predictor(read_picture(photo.path)), photo) for photo in photos])
    if photos and changed:
        scores = [
            score_photo(predictor(version.image), in_version(photo, version))
            for photo in photos
            for version in versions(read_picture(photo.path))
        ]
        measured += summarise_photos(scores, of="versions of photos")
    return measured


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


def _of_frames(group: str, figures: Any) -> list[Figure]:
    return [
        *_errors(group, figures, ("single", "two")),
        Figure(group, "2D px", figures["plane_all_px"]),
        Figure(group, "handedness %", _percent(figures["handedness_accuracy"])),
    ]


def _errors(group: str, figures: Any, buckets: Sequence[str]) -> list[Figure]:
    return [Figure(group, f"{bucket.capitalize()} mm", figures[f"mpjpe_{bucket}_mm"]) for bucket in buckets]


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def as_markdown(columns: Sequence[tuple[str, Sequence[Figure]]]) -> str:
    """Return a Markdown table with a row per figure and a column per model.

    Args:
        columns: (model's name, its figures); all models have the same figures in the same order.
    """
    lines = [f"| on | figure | {' | '.join(name for name, _ in columns)} |", "|---" * (len(columns) + 2) + "|"]
    lines += [
        f"| {figures[0].group} | {figures[0].name} | {' | '.join(map(str, figures))} |"
        for figures in zip(*(figures for _, figures in columns), strict=True)
    ]
    return "\n".join(lines)
