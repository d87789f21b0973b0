"""Draws a sheet of a model's predictions beside the ground truth, for pictures drawn at random."""

from typing import Final

import cv2
import numpy as np

from unclasp import geometry
from unclasp.arrays import Bools, Floats, Pixels
from unclasp.batch import Sample
from unclasp.canvas import CARD, INK, PAPER, in_rows
from unclasp.data import Dataset
from unclasp.data.transforms import crop_image, plain_view, view_matrix
from unclasp.errors import UnclaspError
from unclasp.evaluate import CropModel, EvaluateOptions, Recorder, evaluate
from unclasp.evaluation.scores import WORST_KEPT
from unclasp.evaluation.scoring import PredictedSample, Truth, lifted
from unclasp.hands import HAND_SLICES, NUM_JOINTS, SIDES, Side
from unclasp.pose import present_hands
from unclasp.skeletons import HandView, draw_people, draw_skeletons
from unclasp.visualize import SIDE_VIEW_DEGREES, turn_about_vertical

_CELL: Final = 280
"""Side of each of the two pictures of a sample in px."""
_CAPTION: Final = 46
"""Height of the two lines below in px."""
_GAP: Final = 6
"""Space around each picture in px."""
_MARGIN: Final = 24
"""Space around the hand in a side view in px."""


def draw_gallery(
    model: CropModel, dataset: Dataset, *, count: int, seed: int = 0, columns: int = 3, side_views: bool = False
) -> Pixels:
    """Draw random samples, each as a pair of crops: the predicted skeletons on the left, the true ones on the right.

    Below are the mean error over the valid joints, with each hand aligned by its wrist, and the sample's name. With
    side views this is what the paper's Figures 3 and 5 show.

    Args:
        model: Maps crops to predictions, as for `evaluate`.
        dataset: Samples.
        count: Number of samples.
        seed: Seed of the random selection.
        columns: Samples per row.
        side_views: Beside each pair, draw the right and the left hand in 3D, from the side and aligned by the wrist,
            the predicted one over the true one in grey. A hand without a true wrist has none.

    Returns:
        (H, W, 3) RGB.

    Raises:
        UnclaspError: `count` is below 1 or above the size of the data set, or the model predicts no 2.5D poses.
    """
    if not 1 <= count <= len(dataset):
        raise UnclaspError(f"a gallery shows from 1 to all {len(dataset)} pictures of the data set, got {count}")
    chosen = np.random.default_rng(seed).permutation(len(dataset))[:count].tolist()
    cells: list[Pixels] = []
    for start in range(0, count, WORST_KEPT):  # a report lists the errors of at most this many samples
        samples = [dataset[index] for index in chosen[start : start + WORST_KEPT]]
        cells += _cells(model, samples, side_views=side_views)
    return in_rows(cells, columns=columns, background=PAPER)


def _cells(model: CropModel, samples: list[Sample], *, side_views: bool) -> list[Pixels]:
    """Draw up to `WORST_KEPT` samples, in the given order."""
    recorder = Recorder()
    errors = dict(evaluate(model, samples, EvaluateOptions(recorder=recorder)).worst)
    cells = []
    for index, name, predicted in sorted(recorder.entries, key=lambda entry: entry[0]):
        if predicted.pose_2p5d is None:
            raise UnclaspError("this model gives no 2.5D poses to draw")
        presence = predicted.presence
        present = np.array([True, True]) if presence is None else present_hands(np.asarray(presence))
        sample = samples[index]
        cell = _cell(sample, predicted.pose_2p5d, present, model.image_size, errors.get(name))
        if side_views:
            cell = np.concatenate([cell, *_side_views(sample, predicted, present)], axis=1)
        cells.append(cell)
    return cells


def _side_views(sample: Sample, predicted: PredictedSample, present: Bools) -> list[Pixels]:
    """Return a picture for the right and one for the left hand, as high as a cell."""
    truth = Truth.of(sample, view_matrix(plain_view(sample.box).box, predicted.image_size, width=sample.image.shape[1]))
    hands = [np.where(truth.valid[:, None], truth.joints_cam, np.nan), lifted(predicted, truth)]
    hands = [turn_about_vertical(geometry.relative_to_roots(joints), SIDE_VIEW_DEGREES) for joints in hands]
    views = []
    for part, side, is_present in zip(HAND_SLICES, SIDES, present, strict=True):
        view = np.full((_CELL + _CAPTION + _GAP, _CELL + _GAP, 3), PAPER, dtype=np.uint8)
        card = view[_GAP : _GAP + _CELL, :_CELL]
        card[:] = CARD
        if truth.valid[part].any():
            shown = [joints[part] for joints in (hands if is_present else hands[:1])]
            card[:] = _side_view(card, shown, side)
            _write(view, f"{side} hand from the side, true one grey", 0, 1)
        views.append(view)
    return views


def _side_view(card: Pixels, hands: list[Floats], side: Side) -> Pixels:
    """Draw the true hand in grey and, if there is one, the predicted hand over it: (21, 3) mm from the wrist."""
    points = np.concatenate(hands)[:, :2]
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    scale = (_CELL - 2 * _MARGIN) / max(float((high - low).max()), 1.0)
    people = [
        [
            HandView(
                joints_2d=(joints[:, :2] - (low + high) / 2) * scale + _CELL / 2, joints_3d=joints, side=side,
                score=1.0, neutral=index == 0,
            )
        ]
        for index, joints in enumerate(hands)
    ]  # fmt: skip
    return draw_people(card, people)


def _cell(sample: Sample, pose_2p5d: Floats, present: Bools, image_size: int, error: float | None) -> Pixels:
    view = plain_view(sample.box)
    crop = crop_image(sample.image, view.box, _CELL)
    # `make_example` would drop the joints that the crop cuts off; here all annotated joints are drawn.
    true_pose = geometry.pose_2p5d_from_cam(
        np.where(sample.valid[:, None], sample.joints_cam, 1.0), sample.focal, sample.princpt, crop.crop_from_image
    )
    predicted = pose_2p5d.astype(np.float64).copy()
    model_crop_from_image = view_matrix(view.box, image_size, width=sample.image.shape[1])
    cell_from_model_crop = crop.crop_from_image @ np.linalg.inv(model_crop_from_image)
    predicted[:, :2] = geometry.apply_affine(cell_from_model_crop, predicted[:, :2])
    has_joints = np.array([sample.valid[part].any() for part in HAND_SLICES])
    true_pose = np.where(sample.valid[:, None], true_pose, np.nan)
    cell = np.full((_CELL + _CAPTION + _GAP, 2 * _CELL + 3 * _GAP, 3), PAPER, dtype=np.uint8)
    halves = (("predicted", predicted, present), ("true", true_pose, has_joints & sample.hand_type))
    for column, (heading, pose, shown) in enumerate(halves):
        left = _GAP + column * (_CELL + _GAP)
        cell[_GAP : _GAP + _CELL, left : left + _CELL] = draw_skeletons(crop.image, _hands(pose, shown))
        _write(cell, heading, left, 1)
    _write(cell, sample.name if error is None else f"{error:.0f} mm mean error   {sample.name}", _GAP, 2)
    return cell


def _write(cell: Pixels, words: str, left: int, line: int) -> None:
    """Write into the first or second line below the crops; in place."""
    position = (left + 2, _CELL + _GAP + 18 * line)
    cv2.putText(cell, words, position, cv2.FONT_HERSHEY_DUPLEX, 0.45, INK, 1, cv2.LINE_AA)


def _hands(pose: Floats, shown: Bools) -> list[HandView]:
    """Return the shown hands of a 2.5D pose (42, 3); the depths only decide the drawing order."""
    if pose.shape != (NUM_JOINTS, 3):
        raise UnclaspError(f"expected a pose of shape ({NUM_JOINTS}, 3), got {pose.shape}")
    return [
        HandView(joints_2d=pose[part, :2], joints_3d=pose[part], side=side, score=1.0)
        for part, side, is_shown in zip(HAND_SLICES, SIDES, shown, strict=True)
        if is_shown
    ]
