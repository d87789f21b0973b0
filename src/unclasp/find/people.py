"""Hands of other people in a picture: searches where the hands that are already known are not."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from unclasp import geometry
from unclasp.arrays import Floats, Pixels
from unclasp.find.boxes import inside, middles_of
from unclasp.find.credibility import discounted, is_credible, max_hand_score, without_ghost
from unclasp.find.crop_result import MIN_HAND_SCORE, CropResult
from unclasp.find.hand_detector import (
    DetectedHand,
    most_prominent,
    nearest_in_reach,
    proposal_of_hands,
    with_detected,
)
from unclasp.find.search import Proposal
from unclasp.hands import HAND_SLICES

PredictAt = Callable[[Proposal], CropResult]
"""Takes a proposal; returns the touched-up result there."""

MAX_PLACES: Final = 12
"""At most this many proposals are predicted: a crowd has many hands, and each takes as long as a picture."""

KNOWN_HAND: Final = 0.3
"""A hand is a known one if the distance of their middles is below this share of the larger one's extent."""


class Others:
    """Collects the results for the hands of other people, each hand once.

    Args:
        first: The result for the person whose hands are known.
    """

    def __init__(self, first: CropResult) -> None:
        self._known = _hands_of(first)
        self._predictions = 0
        self.found: list[CropResult] = []
        """One result for each person, in the order in which they were found."""

    def add_detected(self, hands: Sequence[DetectedHand], image: Pixels, predict_at: PredictAt) -> None:
        """Predict hands that were detected in the whole picture, large ones with good scores first.

        A right and a left one that are near each other are taken for one person's.

        Args:
            hands: The detected hands.
            image: (H, W, 3) RGB.
            predict_at: Predicts the hands at a proposal in that picture.
        """
        remaining = self._unknown(hands)
        while remaining and self._predictions < MAX_PLACES:
            first = most_prominent(remaining)
            partner = nearest_in_reach(first.joints_2d, first.slot, remaining)
            proposal = proposal_of_hands([first] if partner is None else [first, partner], image)
            self._keep(with_detected(self._predict(proposal, predict_at), remaining, proposal.square))
            remaining = self._unknown([hand for hand in remaining if hand is not first])

    def add_regions(self, regions: Floats, predict_at: PredictAt) -> None:
        """Predict in boxes (N, 4) px, which may show hands that the hand detector missed."""
        for region in regions:
            is_known = any(inside(middles_of(region), geometry.tight_box(joints)) for joints in self._known)
            if self._predictions < MAX_PLACES and not is_known:
                result = self._predict(Proposal(geometry.square_box(region)), predict_at)
                if result.hand_scores is None or max_hand_score(result) > MIN_HAND_SCORE:
                    self._keep(result)

    def _unknown(self, hands: Sequence[DetectedHand]) -> list[DetectedHand]:
        return [hand for hand in hands if not self._is_known(hand.joints_2d)]

    def _predict(self, proposal: Proposal, predict_at: PredictAt) -> CropResult:
        """Predict at a proposal, and drop the known hands.

        The network predicts the clearest hands of a crop, whoever's they are.
        """
        self._predictions += 1
        result = predict_at(proposal)
        hands = (result.joints_2d[joints] for joints in HAND_SLICES)
        return result.without_hands(np.array([self._is_known(hand) for hand in hands]))

    def _is_known(self, joints_2d: Floats) -> bool:
        return any(geometry.on_one_place(joints_2d, known, KNOWN_HAND) for known in self._known)

    def _keep(self, result: CropResult) -> None:
        result = without_ghost(result)
        if result.present.any() and is_credible(result):
            self.found.append(discounted(result))
            self._known += _hands_of(result)


def _hands_of(result: CropResult) -> list[Floats]:
    return [result.joints_of(slot) for slot in result.present_slots]
