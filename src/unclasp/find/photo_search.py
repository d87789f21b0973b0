"""Finds hands in whole pictures: where the searches say, and where that is in doubt elsewhere, in other ways, all over.

The order is that of docs/how-it-predicts.md, "Step by step"; what each step is worth: docs/decisions.md.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.batch import ByteArray
from unclasp.find.crop_predictor import CropPredictor
from unclasp.find.crop_result import MIN_SCORE_GAIN, CropResult
from unclasp.find.fusion import Fusion
from unclasp.find.hand_detector import (
    PALM_SIZES,
    PALM_SIZES_IN_VIDEOS,
    Detected,
    DetectedHand,
    HandDetector,
    is_certain,
    proposal_of_hands,
)
from unclasp.find.landmarks import Landmarks
from unclasp.find.palms import PalmFinder
from unclasp.find.people import Others
from unclasp.find.regions import box_around, pooled
from unclasp.find.search import Proposal, Search
from unclasp.find.second_opinions import Variant, best_of_variants, is_doubtful
from unclasp.find.sweep import best_box, is_better, is_needed
from unclasp.find.touch_up import TwoTouchUps, touch_up, touch_up_for_video

Floats = npt.NDArray[np.floating]

SAME_PLACE_IOU: Final = 0.2
"""IoU of two looks' crops below which they are of different places."""


class FoundInPhoto(NamedTuple):
    """What was found in a whole picture."""

    look: CropResult
    regions: Floats
    """(N, 4) px: boxes around other hands."""
    is_credible: bool
    """Whether there are hands at all."""
    hands: list[DetectedHand] | None = None
    """What was spotted all over the picture; None where that was not asked."""


class FoundInFrame(NamedTuple):
    """What was found in a whole frame of a video."""

    looks: TwoTouchUps
    regions: Floats
    """(N, 4) px: boxes around other hands."""
    hands_given: bool
    """Whether there are hands in any case."""


class PhotoSearch:
    """Finds hands in whole pictures.

    Args:
        looker: Looks at crops.
        search: Where to look first.
        landmarks: Touches up what is seen; nothing does without it.
        fusion: Says how.
        palms: Spots hands together with `landmarks`, where the search is in doubt.
        second_opinions: Look at pictures in doubt in other ways, too, and all over.
    """

    def __init__(
        self, looker: CropPredictor, search: Search, *, landmarks: Landmarks | None, fusion: Fusion | None,
        palms: PalmFinder | None, second_opinions: bool,
    ) -> None:  # fmt: skip
        self.crop_predictor, self.search, self.palms = looker, search, palms
        self.landmarks, self.fusion, self.second_opinions = landmarks, fusion, second_opinions
        self.detector = None if palms is None or landmarks is None else HandDetector(palms, landmarks)

    def in_photo(self, image: ByteArray) -> FoundInPhoto:
        """Look for the hands of one person in a whole picture."""
        where = self.search(image)
        view, others = self.crop_predictor.search_from(image, where)
        first = view = self.touch_up(view, image)
        hands = None if where.hands_given or is_certain(first) else self._seen_hands(image, PALM_SIZES)
        spotted = self._spotted(image, hands)
        views, elsewhere = [first], None
        if spotted is not None:
            mended = spotted.with_detected(self.touch_up(spotted.look, image))
            if mended.detection_score > first.detection_score + MIN_SCORE_GAIN:
                view, others = mended, pooled(spotted.others, others)
                is_elsewhere = geometry.box_iou(view.square, first.square) < SAME_PLACE_IOU
                # The picture is turned about the first of them, which counts of equals: about the hands, in any case.
                views, elsewhere = ([view, first], view) if is_elsewhere else ([first, view], None)
        if self.second_opinions and is_doubtful(view.without_ghost()):
            agreed = best_of_variants(
                partial(self._glance, at=elsewhere), image, views, mirrored=not self.crop_predictor.flip_test
            )
            view = agreed if agreed.is_credible or not view.is_credible else view
        if self.second_opinions and not where.hands_given and is_needed(view):
            view = self._swept(view, image)
        others = others if view is first else self._without(view, others, image)
        if where.hands_given:
            return FoundInPhoto(view, others, is_credible=True)
        return FoundInPhoto(view.without_ghost(), others, is_credible=view.is_credible, hands=hands)

    def of_others(self, image: ByteArray, found: FoundInPhoto) -> list[CropResult]:
        """Return what is seen of the hands of other people in a whole picture, one look for each."""
        others = Others(
            lambda where: self.touch_up(self.crop_predictor.search_from(image, where)[0], image), found.look
        )
        others.look_for_hands(self._seen_hands(image, PALM_SIZES) if found.hands is None else found.hands, image)
        others.look_in_regions(found.regions)
        return others.found

    def in_frame(self, image: ByteArray, *, fresh: bool, hands_given: bool) -> FoundInFrame:
        """Look for hands in a whole frame of a video.

        Args:
            image: (H, W, 3) RGB.
            fresh: Nothing is known of where they are: look harder.
            hands_given: There are hands, whatever they look like.
        """
        where = self.search(image)
        hands_given = hands_given or where.hands_given
        if fresh and self.detector is not None:
            where = where._replace(fallback=None)  # the palm detector is a better second search
        view, others = self.crop_predictor.search_from(image, where)
        looks = self.touch_up_for_video(view, image)
        # Where hands are known, what is spotted may take the place of two in contact by one that is seen better.
        is_asked = fresh and not (hands_given or is_certain(looks.tracked))
        spotted = self._spotted(image, self._seen_hands(image, PALM_SIZES_IN_VIDEOS) if is_asked else None)
        if spotted is not None:
            mended = self.touch_up_for_video(spotted.look, image).map(spotted.with_detected)
            if mended.tracked.detection_score > looks.tracked.detection_score + MIN_SCORE_GAIN:
                looks, others = mended, pooled(spotted.others, others)
        return FoundInFrame(looks, others, hands_given)

    def touch_up(self, view: CropResult, image: ByteArray) -> CropResult:
        """Return a look at a picture touched up."""
        return view if self.landmarks is None else touch_up(view, image, self.landmarks, fusion=self.fusion)

    def touch_up_for_video(self, view: CropResult, image: ByteArray) -> TwoTouchUps:
        """Return a look at a frame of a video touched up."""
        if self.landmarks is None:
            return TwoTouchUps(view, view)
        return touch_up_for_video(view, image, self.landmarks, fusion=self.fusion)

    def _seen_hands(self, image: ByteArray, sizes: Sequence[int]) -> list[DetectedHand]:
        """Return the hands that the palm detector, in squares of these sizes, and the landmark network see."""
        return [] if self.detector is None else self.detector(image, sizes)

    def _spotted(self, image: ByteArray, hands: list[DetectedHand] | None) -> Detected | None:
        """Look at some hands, if there are any."""
        if not hands:
            return None
        where = proposal_of_hands(hands, image)
        return Detected(*self.crop_predictor.search_from(image, where), hands, where.square)

    def _swept(self, view: CropResult, image: ByteArray) -> CropResult:
        """Return the look at the surest hand of all over the picture, if it is surer than what was seen."""
        box = None if self.landmarks is None else best_box(self.crop_predictor, self.landmarks, image)
        if box is None:
            return view
        swept, _ = self.crop_predictor.search_from(image, Proposal(geometry.square_box(box), np.zeros((0, 4))))
        swept = self.touch_up(swept, image)
        return swept if is_better(swept, view) else view

    def _glance(self, way: Variant, *, at: CropResult | None) -> CropResult:
        """See what there is, but do not search again where that is in doubt: one look among many.

        With `at`, see what there is in the same place: that of hands that the search does not find.
        """
        if at is None:
            where = self.search(way.image)._replace(fallback=None)
        else:
            where = Proposal(way.of(at).square, np.zeros((0, 4)))
        return self.touch_up(self.crop_predictor.search_from(way.image, where)[0], way.image)

    @staticmethod
    def _without(view: CropResult, boxes: Floats, image: ByteArray) -> Floats:
        """Return the boxes (N, 4) whose middle lies in none of the look's hands."""
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        for slot in view.present_slots:
            hand = box_around(view.joints_2d, np.arange(2) == slot, image)
            if hand is not None:
                outside = ((middles < hand[:2]) | (middles > hand[2:])).any(axis=1)
                boxes, middles = boxes[outside], middles[outside]
        return boxes
