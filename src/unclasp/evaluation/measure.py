"""How good a model is on everything at once: rendered pictures, annotated real frames, and photos without truth.

Photos are compared with another detector's 2D joints, where that one found a hand: a distance, not an error. One column
per model, so that training runs can be laid side by side.
"""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.checkpoint import load_model
from unclasp.data import Dataset
from unclasp.errors import DataError, UnclaspError
from unclasp.evaluate import evaluate, predictions_of, score_predictions
from unclasp.evaluation.photo_versions import Version, versions
from unclasp.hands import HAND_ORDERS, HAND_SLICES, JOINTS_PER_HAND, SIDES, Side
from unclasp.picture import read_picture
from unclasp.pose import HandPose
from unclasp.predictor import Predictor
from unclasp.sources import PICTURE_SUFFIXES

Floats = npt.NDArray[np.floating]

FOUND: Final = 0.5
"""A hand counts as found whose joints are this close to the reference on average, as a share of its box."""


@dataclass(frozen=True)
class ReferenceHand:
    """One hand as another detector sees it."""

    side: Side
    """The person's own."""
    joints_2d: Floats
    """(21, 2) px, in InterHand2.6M's order."""


@dataclass(frozen=True)
class Photo:
    """A picture with a reference."""

    path: Path
    hands: tuple[ReferenceHand, ...]
    """What the other detector found; often not all that is there."""
    in_view: int | None
    """How many hands the picture shows, 1 or 2, if a person counted them."""


def read_photos(folder: Path | str, references: Path | str) -> list[Photo]:
    """Read a folder of pictures with reference joints.

    Args:
        folder: Pictures. A `manifest.csv` beside the folder with the columns `file` and `hands` may say how many hands
            each one shows.
        references: For each picture `NAME.json` with MediaPipe's hands: {"hands": [{"handedness_raw": "Left",
            "keypoints_2d_px": 21 pairs in MediaPipe's order}]}; its side is taken as the person's own.

    Raises:
        DataError: There are no pictures, or a file is malformed.
    """
    folder, references = Path(folder), Path(references)
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    if not paths:
        raise DataError(f"{folder} holds no pictures ({', '.join(sorted(PICTURE_SUFFIXES))})")
    counts = _counts(folder)
    return [Photo(path, _read_hands(references / f"{path.stem}.json"), counts.get(path.name)) for path in paths]


def _counts(folder: Path) -> dict[str, int]:
    manifest = folder.parent / "manifest.csv"
    if not manifest.exists():
        return {}
    with manifest.open(encoding="utf-8", newline="") as file:
        try:
            # A row that is too short has None in the columns that it lacks.
            rows = [(row["file"] or "", row["hands"] or "") for row in csv.DictReader(file)]
        except KeyError as error:
            raise DataError(f"{manifest} must have the columns file and hands, {error} is missing") from error
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{manifest} is not a CSV file in UTF-8 ({error}); save it as one") from error
    return {Path(name).name: int(hands) for name, hands in rows if hands.isdecimal()}


def _read_hands(path: Path) -> tuple[ReferenceHand, ...]:
    try:
        content = json.loads(path.read_bytes())
        return tuple(_hand(hand) for hand in content["hands"])
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing: every picture needs its reference") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not a file of reference hands ({type(error).__name__}: {error})") from error


def _hand(hand: dict[str, Any]) -> ReferenceHand:
    side: Side = {"Left": "left", "Right": "right"}[hand["handedness_raw"]]  # type: ignore[assignment]
    joints = np.asarray(hand["keypoints_2d_px"], dtype=np.float64).reshape(JOINTS_PER_HAND, 2)
    ours = np.empty_like(joints)
    ours[HAND_ORDERS["mediapipe"]] = joints
    return ReferenceHand(side, ours)


@dataclass(frozen=True)
class PhotoScore:
    """One prediction beside its reference."""

    distances: tuple[float, ...]
    """Per reference hand the mean distance of the joints of the predicted hand that it goes with, as a share of the
    reference's extent; infinite where none is left for it."""
    sides_right: tuple[bool, ...]
    """Whether that hand has the reference's side."""
    hands: int
    """How many hands were predicted."""
    in_view: int | None
    """How many there are."""


def score_photo(pose: HandPose, photo: Photo) -> PhotoScore:
    """Pair predicted with reference hands, the closest first, and measure each pair."""
    predicted = {
        side: pose.joints_2d[slot] for side, slot in zip(SIDES, HAND_SLICES, strict=True) if side in pose.sides
    }
    pairs = sorted(
        (geometry.mean_distance(joints, hand.joints_2d) / geometry.extent(hand.joints_2d), index, side)
        for side, joints in predicted.items()
        for index, hand in enumerate(photo.hands)
    )
    matched: dict[int, tuple[float, Side]] = {}
    for distance, index, side in pairs:
        if index not in matched and side not in {taken for _, taken in matched.values()}:
            matched[index] = (distance, side)
    distances, sides = [], []
    for index, hand in enumerate(photo.hands):
        distances.append(matched[index][0] if index in matched else float("inf"))
        sides.append(index in matched and matched[index][1] == hand.side)
    return PhotoScore(tuple(distances), tuple(sides), len(pose.sides), photo.in_view)


@dataclass(frozen=True)
class Figure:
    """One figure of the table."""

    group: str
    name: str
    value: float | None
    """None where nothing tells it, or where it is not finite."""
    digits: int = 1

    def __str__(self) -> str:
        return "-" if self.value is None else f"{self.value:.{self.digits}f}"


def summarise_photos(scores: Sequence[PhotoScore], *, of: str = "photos") -> list[Figure]:
    """Turn the scores of photos, or of what else they are of, into figures."""
    distances = np.array([distance for score in scores for distance in score.distances])
    right = np.array([ok for score in scores for ok in score.sides_right], dtype=bool)
    found = distances <= FOUND
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


def _share(flags: Sequence[bool] | npt.NDArray[np.bool_]) -> float | None:
    return 100 * float(np.mean(flags)) if len(flags) else None


def measure(
    weights: Path | str | None,
    *,
    rendered: Dataset | None = None,
    limit: int | None = None,
    frames: Dataset | None = None,
    photos: Sequence[Photo] = (),
    flip_test: bool = False,
    landmarks: bool = True,
    second_opinions: bool = True,
    changed: bool = False,
) -> list[Figure]:
    """Measure one model on whatever is given.

    Args:
        weights: A weights file; the shipped model, in the form that `Predictor.load` opens, if None.
        rendered: Synthetic pictures, scored with InterHand2.6M's protocol.
        limit: Only the first so many of these.
        frames: Annotated real pictures, scored likewise, and as `Predictor` sees them whole, without a box.
        photos: Pictures that `Predictor` gets whole, without a box.
        flip_test: Average whole pictures with their mirror images.
        landmarks: Let the landmark network touch up whole pictures. It is MediaPipe's, as the joints are that photos
            are compared with, so that their distance says nothing then.
        second_opinions: Look at whole pictures that are in doubt in other ways, too.
        changed: Measure on versions of the photos, too (`photo_versions`).

    Raises:
        UnclaspError: Nothing is given, or something cannot be read.
    """
    if rendered is None and frames is None and not photos:
        raise UnclaspError("there is nothing to measure on: give rendered pictures, frames or photos")
    model, config = load_model(weights)
    size = config.model.image_size
    predictor = Predictor.load(weights, flip_test=flip_test, landmarks=landmarks, second_opinions=second_opinions)
    measured: list[Figure] = []
    if rendered is not None:
        figures = evaluate(model, rendered, image_size=size, limit=limit, workers=1).figures
        measured += [
            *_errors("rendered", figures, ("single", "two", "all")),
            Figure("rendered", "handedness %", _percent(figures["handedness_accuracy"])),
            Figure("rendered", "hand pixels %", _percent(figures["hand_pixel_accuracy"])),
        ]
    if frames is not None:
        figures = evaluate(model, frames, image_size=size).figures
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


def in_version(photo: Photo, version: Version) -> Photo:
    """Return the photo with its reference in the pixels of a version: in a mirror image right hands are left ones."""
    mirrored = np.linalg.det(version.version_from_photo) < 0
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
    """Return a table with a line per figure and a column per model."""
    lines = [f"| on | figure | {' | '.join(name for name, _ in columns)} |", "|---" * (len(columns) + 2) + "|"]
    lines += [
        f"| {figures[0].group} | {figures[0].name} | {' | '.join(map(str, figures))} |"
        for figures in zip(*(figures for _, figures in columns), strict=True)
    ]
    return "\n".join(lines)
