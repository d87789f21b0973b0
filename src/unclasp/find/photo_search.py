"""Finds the hands in whole photos: runs the searches, and where the result is doubtful the other detectors.

The order of the steps is that of docs/how-it-predicts.md, "Step by step"; docs/decisions.md has what each step gains.
"""

from functools import partial
from typing import Final, NamedTuple

from unclasp import geometry
from unclasp.arrays import Floats, Pixels
from unclasp.find import sweep
from unclasp.find.boxes import box_around, inside, middles_of, pooled, union_of
from unclasp.find.credibility import (
    MIN_SCORE_GAIN,
    are_specks,
    detection_score,
    discounted,
    is_certain,
    is_credible,
    without_ghost,
)
from unclasp.find.crop_predictor import CropPredictor, Found
from unclasp.find.crop_result import CropResult
from unclasp.find.faces import FaceDetector, FacesIn
from unclasp.find.hand_detector import (
    PALM_SIZES,
    DetectedHand,
    HandDetector,
    detect_hands,
    partner_of,
    proposal_of_hands,
    with_detected,
    with_small_hands,
    without_misplaced,
)
from unclasp.find.overlap import BesideHands, beside_all, beside_one, without_double
from unclasp.find.palms import PalmDetector
from unclasp.find.people import Others, PredictAt
from unclasp.find.search import Proposal, Search
from unclasp.find.second_opinions import Variant, best_of_variants, is_doubtful
from unclasp.find.touch_up import TouchUp
from unclasp.pose import MIN_PRESENCE_SECOND

ELSEWHERE_IOU: Final = 0.2
"""Two results are of different places if the IoU of their crops is below this."""


class PhotoSearchResult(NamedTuple):
    """The hands of one person in a whole picture, and where others may be."""

    result: CropResult
    regions: Floats
    """(N, 4) px: boxes around other hands."""
    is_credible: bool
    """Whether there are hands at all."""
    hands: list[DetectedHand] | None = None
    """All hands that the hand detector found in the picture; None where it was not run."""
    beside: BesideHands | None = None
    """What it found beside the person's only hand, once that was painted over; None without hands, and where that was
    not tried."""
    faces: FacesIn | None = None
    """The faces in the picture, so that none is looked for twice; None where the picture is given as a crop."""


class Completed(NamedTuple):
    """The result for a person after the search for their other hand."""

    result: CropResult
    """With both hands if the other one was found; otherwise the same object as before."""
    beside: BesideHands | None = None
    """What was detected with the only hand painted over, if that was tried."""


class PhotoSearch:
    """Finds the hands in whole photos.

    Args:
        crop_predictor: Runs the pose network on crops.
        search: Proposes where to predict first.
        touch_up: Corrects the joints of the results.
        palms: The palm detector, which detects hands together with the landmark network of `touch_up` where the result
            of the search is doubtful; without that network it is not used.
        faces: The face detector, which tells faces from hands that the landmark network is not certain of.
        second_opinions: Predict doubtful pictures mirrored and turned, too, and sweep over them.
    """

    def __init__(
        self, crop_predictor: CropPredictor, search: Search, touch_up: TouchUp, *, palms: PalmDetector | None,
        faces: FaceDetector | None, second_opinions: bool,
    ) -> None:  # fmt: skip
        self.crop_predictor, self.search, self.touch_up = crop_predictor, search, touch_up
        self.palms, self.faces = palms, faces
        self.second_opinions, landmarks = second_opinions, touch_up.landmarks
        self.detector = None if palms is None or landmarks is None else HandDetector(palms, landmarks)

    def in_photo(self, image: Pixels) -> PhotoSearchResult:
        """Find the hands of one person in a whole picture."""
        proposal = self.search(image)
        faces = FacesIn(None if proposal.hands_given else self.faces, image)
        found = first = self._predict(image, proposal).map(faces.removed_from)
        is_settled = proposal.hands_given or is_certain(first.result)
        hands = None if is_settled else detect_hands(self.detector, image, PALM_SIZES, faces)
        if hands:
            at_hands = proposal_of_hands(hands, image)
            detected = self._predict(image, at_hands).map(faces.removed_from)
            result = with_detected(detected.result, hands, at_hands.square)
            if detection_score(result) > detection_score(first.result) + MIN_SCORE_GAIN:
                found = Found(result, pooled(detected.others, first.others))
        result = found.result
        if self.second_opinions and is_doubtful(without_ghost(result)):
            result = self._with_second_opinions(result, first.result, image, faces)
        if self.second_opinions and not proposal.hands_given and sweep.is_needed(result):
            result = self._sweep(result, image, faces)
        others = found.others if result is first.result else self._outside_hands(result, found.others, image)
        if proposal.hands_given:
            return PhotoSearchResult(result, others, is_credible=True)
        credible, result = is_credible(result), self._without_double(without_ghost(result), image)
        completed = self.completed(result, hands or [], image) if credible else Completed(result)
        if completed.result is not result:
            others = self._outside_hands(completed.result, others, image)
        result, beside = discounted(completed.result), completed.beside
        if are_specks(result, image):
            credible, beside = False, None  # what is beside them touches no hand
        return PhotoSearchResult(result, others, credible, hands, beside, faces)

    def of_touching(self, found: PhotoSearchResult) -> list[CropResult]:
        """Return the results for hands of other people that touch a person's only hand, one for each person.

        They have the side of that hand: one of the other side would be the person's own.
        """
        slot = found.result.only_slot
        if found.beside is None or slot is None:
            return []
        others, same_side = Others(found.result), [hand for hand in found.beside.hands if hand.slot == slot]
        self._add_beside(others, found.beside._replace(hands=same_side))
        return [result.without_hand(1 - slot) for result in others.found if result.present[slot]]

    def of_others(self, image: Pixels, found: PhotoSearchResult) -> list[CropResult]:
        """Return the results for the hands of other people in a whole picture, one for each person."""
        others, faces = Others(found.result), found.faces or FacesIn(self.faces, image)
        self._add_beside(others, found.beside)
        hands = detect_hands(self.detector, image, PALM_SIZES, faces) if found.hands is None else found.hands
        hands = with_small_hands(hands, self.detector, image, faces)
        others.add_detected(hands, image, partial(self._predict_person, image, faces))
        others.add_regions(found.regions, partial(self._predict_person, image, faces))
        if self.detector is not None:
            self._add_beside(others, beside_all(self.detector, image, [hand.joints_2d for hand in hands]))
        return others.found

    def _add_beside(self, others: Others, found: BesideHands | None) -> None:
        if found is not None:
            others.add_detected(found.hands, found.image, partial(self._predict_beside, found))

    def _predict(self, image: Pixels, proposal: Proposal) -> Found:
        """Predict at a proposal in a photo, and touch the result up."""
        return self.crop_predictor.predict_proposal(image, proposal).map(partial(self.touch_up, image=image))

    def _predict_person(self, image: Pixels, faces: FacesIn, proposal: Proposal) -> CropResult:
        """Predict at a proposal in a photo as in `in_photo`, but without the steps for results in doubt."""
        return self._without_double(faces.removed_from(self._predict(image, proposal).result), image)

    def _predict_beside(self, found: BesideHands, proposal: Proposal) -> CropResult:
        """Predict at a proposal in a picture with hands painted over; the detected hands' positions in it count.

        The joints of hands that are partly painted over are less exact in the pose network's crop, and so is then the
        landmark network's crop around them.
        """
        result = self._predict(found.image, proposal).result
        joints = {  # of several hands at one place the last one counts: the likeliest
            hand.slot: hand.joints_2d for hand in reversed(found.hands) if hand.is_at(result.joints_of(hand.slot))
        }
        return result.with_joints_2d(joints)

    def _without_double(self, result: CropResult, image: Pixels) -> CropResult:
        """Return the result with one hand where both are the same one."""
        landmarks = self.touch_up.landmarks
        return result if landmarks is None else without_double(result, image, landmarks)

    def completed(self, result: CropResult, hands: list[DetectedHand], image: Pixels) -> Completed:
        """Add the person's other hand to a result, if it is missing or misplaced and detected after all.

        That is for hands too far apart for one crop, in which they are too small, and for hands behind others.

        Args:
            result: The result for the person.
            hands: All detected hands in the picture.
            image: (H, W, 3) RGB.
        """
        known = without_misplaced(result, hands)
        both = self._with_partner(known, hands, image, lambda proposal: self._predict(image, proposal).result)
        slot = result.only_slot
        if both is not None or self.detector is None or slot is None:
            return Completed(result if both is None else both)
        beside = beside_one(self.detector, image, result.joints_of(slot))
        both = self._with_partner(result, beside.hands, image, partial(self._predict_beside, beside))
        return Completed(result if both is None else both, beside)

    def _with_partner(
        self, result: CropResult, hands: list[DetectedHand], image: Pixels, predict_at: PredictAt
    ) -> CropResult | None:
        """Return the result with the person's other hand, if only one is known and the other was detected elsewhere."""
        partner = partner_of(result, hands)
        if partner is None:
            return None
        proposal = proposal_of_hands([partner], image)
        other = with_detected(predict_at(proposal), [partner], proposal.square)
        hands_of = {1 - partner.slot: result, partner.slot: other}
        box, other_box = (box_around(each.joints_of(slot), image) for slot, each in hands_of.items())
        is_found = other.present[partner.slot] and partner.is_at(other.joints_of(partner.slot))
        if not is_found or box is None or other_box is None:
            return None
        around = self.crop_predictor.snapped_crop(image, geometry.square_box(union_of(box, other_box)))
        return with_both(around, hands_of)

    def _with_second_opinions(self, result: CropResult, first: CropResult, image: Pixels, faces: FacesIn) -> CropResult:
        """Return the best of a doubtful result, the first one of all, and those in variants of the picture."""
        is_elsewhere = geometry.box_iou(result.square, first.square) < ELSEWHERE_IOU
        # Variants are turned about the crop of the result listed first, which must show the hands; it also wins ties.
        results = [first] if result is first else [result, first] if is_elsewhere else [first, result]
        predict = partial(self._predict_variant, at=result if is_elsewhere else None)
        best = best_of_variants(predict, image, results, mirrored=not self.crop_predictor.flip_test)
        best = faces.removed_from(best)
        return best if is_credible(best) or not is_credible(result) else result

    def _sweep(self, result: CropResult, image: Pixels, faces: FacesIn) -> CropResult:
        """Return the result at the most confident hand of a sweep, if it is better than the given one."""
        landmarks = self.touch_up.landmarks
        box = None if landmarks is None else sweep.best_box(self.crop_predictor, landmarks, image)
        if box is None:
            return result
        swept = faces.removed_from(self._predict(image, Proposal(geometry.square_box(box))).result)
        return swept if sweep.is_better(swept, result) else result

    def _predict_variant(self, variant: Variant, *, at: CropResult | None) -> CropResult:
        """Predict in a variant of the picture, without the second search where the result is doubtful.

        With `at`, a result in the original picture, predict in the same place of the variant: for hands that the search
        misses.
        """
        proposal = self.search(variant.image) if at is None else Proposal(variant.of(at).square)
        return self._predict(variant.image, proposal._replace(fallback=None)).result

    @staticmethod
    def _outside_hands(result: CropResult, boxes: Floats, image: Pixels) -> Floats:
        """Return the boxes (N, 4) whose middles lie in none of the result's hands."""
        for slot in result.present_slots:
            hand = box_around(result.joints_of(slot), image)
            if hand is not None:
                boxes = boxes[~inside(middles_of(boxes), hand)]
        return boxes


def with_both(around: CropResult, hands_of: dict[int, CropResult]) -> CropResult:
    """Return the result of a crop around both hands, 0 right and 1 left, with those of touched-up results.

    Both count as present: a hand alone needs less to count than the second one of two.
    """
    presence = {slot: max(result.presence[slot], MIN_PRESENCE_SECOND) for slot, result in hands_of.items()}
    return around.with_hands(hands_of).with_presence(presence)
