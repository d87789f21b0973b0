"""Measures a model on rendered pictures, annotated real frames, and photos without ground truth.

`as_markdown` prints one column per model, so that training runs can be compared side by side.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from unclasp.arrays import Bools
from unclasp.data import Dataset
from unclasp.errors import UnclaspError
from unclasp.evaluate import CropModel, EvaluateOptions, evaluate, predictions_of, score_predictions
from unclasp.evaluation.photo_versions import versions
from unclasp.evaluation.reference_photos import PhotoScore, ReferencePhoto, in_version, score_photo
from unclasp.picture import read_picture
from unclasp.predictor import Predictor

MAX_FOUND_DISTANCE: Final = 0.5
"""A hand counts as found if its mean joint distance to the reference is at most this share of the reference's
extent."""


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
        measured += _of_rendered(evaluate(model, rendered, EvaluateOptions(limit=limit, workers=1)).figures)
    if frames is not None:
        measured += _of_frames("real frames", evaluate(model, frames).figures)
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


def _of_rendered(figures: Mapping[str, float | None]) -> list[Figure]:
    return [
        *_errors("rendered", figures, ("single", "two", "all")),
        Figure("rendered", "handedness %", _percent(figures["handedness_accuracy"])),
        Figure("rendered", "hand pixels %", _percent(figures["hand_pixel_accuracy"])),
    ]


def _of_frames(group: str, figures: Mapping[str, float | None]) -> list[Figure]:
    return [
        *_errors(group, figures, ("single", "two")),
        Figure(group, "2D px", figures["plane_all_px"]),
        Figure(group, "handedness %", _percent(figures["handedness_accuracy"])),
    ]


def _errors(group: str, figures: Mapping[str, float | None], buckets: Sequence[str]) -> list[Figure]:
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
