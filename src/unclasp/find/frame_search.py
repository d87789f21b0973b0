"""Finds the hands in a frame of a video: in the whole frame, or in a crop where hands are tracked."""

from typing import NamedTuple

from unclasp.arrays import Bools, Floats, Pixels
from unclasp.find.boxes import pooled
from unclasp.find.credibility import (
    MIN_SCORE_GAIN,
    detection_score,
    hand_evidence,
    is_certain,
    is_credible,
    is_credible_in_track,
    without_ghost,
)
from unclasp.find.crop_predictor import CropPredictor
from unclasp.find.crop_result import CropResult
from unclasp.find.faces import FACE_SIZES_IN_VIDEOS, FaceDetector, FacesIn
from unclasp.find.hand_detector import (
    PALM_SIZES_IN_VIDEOS,
    HandDetector,
    detect_hands,
    proposal_of_hands,
    with_detected,
)
from unclasp.find.search import Proposal, Search
from unclasp.find.touch_up import TouchUp
from unclasp.find.versions import Versions


class FrameSearchResult(NamedTuple):
    """The hands in a whole frame of a video."""

    results: Versions[CropResult]
    regions: Floats | None
    """(N, 4) px: boxes around other hands; None in a tracked crop."""
    is_known: bool
    """Whether the frame, as a photo, would count as showing hands."""
    is_credible: bool
    """Whether it does as a frame of a video."""
    hand_evidence: Floats | None = None
    """(2,) `credibility.hand_evidence`; None if the hands are given."""
    are_faces: Bools | None = None
    """(2,) whether each hand is rather a face (`FacesIn.among`); None without evidence, which that would lower."""


class FoundInFrame(NamedTuple):
    """The hands of one person in a whole frame, and where others may be, before they are judged."""

    results: Versions[CropResult]
    others: Floats
    """(N, 4) px: boxes around other hands."""


class FrameSearch:
    """Finds the hands in frames of videos, without second opinions: the other frames tell more.

    The tracker follows the joints of the rule-based touch-up, because its thresholds were tuned on them; with the
    fusion network's joints, crossing hands swap sides.

    Args:
        crop_predictor: Runs the pose network on crops.
        search: Proposes where to predict first.
        touch_up: Corrects the joints of the results.
        detector: Detects hands where the result of the search is doubtful.
        faces: The face detector, which tells faces from hands.
    """

    def __init__(
        self, crop_predictor: CropPredictor, search: Search, touch_up: TouchUp, *, detector: HandDetector | None,
        faces: FaceDetector | None,
    ) -> None:  # fmt: skip
        self.crop_predictor, self.search, self.touch_up = crop_predictor, search, touch_up
        self.detector, self.faces = detector, faces

    def __call__(self, image: Pixels, square: Floats | None, *, fresh: bool) -> FrameSearchResult:
        """Find the hands in a frame.

        Args:
            image: (H, W, 3) RGB.
            square: (4,) px, the crop to predict in; None to search the whole frame.
            fresh: No hands are tracked yet, or another one is looked for: stronger evidence is required. In a whole
                frame the hand detector runs, too, unless two hands are certain.
        """
        faces = FacesIn(self.faces, image, FACE_SIZES_IN_VIDEOS if fresh else FACE_SIZES_IN_VIDEOS[:1])
        regions: Floats | None = None
        if square is not None:
            results = self.touch_up.for_video(self.crop_predictor.hands_near(image, square), image)
        else:
            proposal = self.search(image)
            if proposal.hands_given:
                return FrameSearchResult(*self._predict(image, proposal), is_known=True, is_credible=True)
            # Where hands are known, a detection could replace two hands in contact by the one that is seen better.
            results, regions = self._with_detector(image, proposal, faces) if fresh else self._predict(image, proposal)
        if fresh:
            results = _without_faces(results, faces)
            ghosts = results.tracked.present & ~without_ghost(results.tracked).present
            results = _without_hands(results, ghosts)
        tracked = results.tracked
        is_known = is_credible(tracked)
        credible = is_credible_in_track(tracked) and (is_known or not fresh)
        evidence = hand_evidence(tracked)
        are_faces = None if evidence is None else faces.among(tracked)
        return FrameSearchResult(results, regions, is_known, credible, evidence, are_faces)

    def in_given_crop(self, image: Pixels, square: Floats) -> FrameSearchResult:
        """Predict the hands in a crop (4,) px that is known to show hands, so that none is rejected."""
        results = self.touch_up.for_video(self.crop_predictor.hands_in(image, square), image)
        return FrameSearchResult(results, None, is_known=True, is_credible=True)

    def _with_detector(self, image: Pixels, proposal: Proposal, faces: FacesIn) -> FoundInFrame:
        """Predict at a proposal, and also where hands are detected, unless the former shows two certain hands."""
        if self.detector is not None:
            proposal = proposal._replace(fallback=None)  # the hand detector is a better second search
        first = self._predict(image, proposal)
        first = first._replace(results=_without_faces(first.results, faces))
        is_settled = is_certain(first.results.tracked)
        hands = [] if is_settled else detect_hands(self.detector, image, PALM_SIZES_IN_VIDEOS, faces)
        if not hands:
            return first
        at_hands = proposal_of_hands(hands, image)
        second = self._predict(image, at_hands)
        results = _without_faces(second.results, faces).map(
            lambda result: with_detected(result, hands, at_hands.square)
        )
        if detection_score(results.tracked) <= detection_score(first.results.tracked) + MIN_SCORE_GAIN:
            return first
        return FoundInFrame(results, pooled(second.others, first.others))

    def _predict(self, image: Pixels, proposal: Proposal) -> FoundInFrame:
        """Predict at a proposal, and touch the result up."""
        found = self.crop_predictor.predict_proposal(image, proposal)
        return FoundInFrame(self.touch_up.for_video(found.result, image), found.others)


def _without_hands(results: Versions[CropResult], hands: Bools) -> Versions[CropResult]:
    """Return both versions without the hands that are marked in `hands` (2,)."""
    return results.map(lambda result: result.without_hands(hands))


def _without_faces(results: Versions[CropResult], faces: FacesIn) -> Versions[CropResult]:
    return _without_hands(results, faces.among(results.tracked))
