"""Hands of other people in a picture: looked for where those of the first one are not."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.batch import ByteArray
from unclasp.find.crop_result import CropResult
from unclasp.find.hand_detector import DetectedHand, are_at_one_place, pair_of, proposal_of_hands, with_detected
from unclasp.find.search import Proposal
from unclasp.hands import HAND_SLICES

Floats = npt.NDArray[np.floating]
PredictAt = Callable[[Proposal], CropResult]
"""Where to look to what is seen there, touched up."""

MAX_PLACES: Final = 12
"""So many places are looked at: a crowd has many, and each takes as long as a picture."""

MAX_REACH: Final = 6.0
"""Hands farther from each other than this many sizes of the larger one are not taken for one person's."""


class Others:
    """Collects what is seen of the hands of other people, each hand once.

    Args:
        look_at: Sees what is there.
        first: What was seen of the person whose hands are known.
    """

    def __init__(self, look_at: PredictAt, first: CropResult) -> None:
        self._look_at = look_at
        self._known = _hands_of(first)
        self._asked = 0
        self.found: list[CropResult] = []
        """One look for each of them, in the order in which they were found."""

    def look_for_hands(self, hands: Sequence[DetectedHand], image: ByteArray) -> None:
        """Look at hands that were seen all over a picture (H, W, 3), the likeliest of the large ones first.

        A right and a left one that are near each other are taken for one person's.
        """
        left = self._unknown(hands)
        while left and self._asked < MAX_PLACES:
            first, *nearest = pair_of(left)
            reach = [hand for hand in nearest if first.distance_to(hand) < MAX_REACH * max(first.extent, hand.extent)]
            where = proposal_of_hands([first, *reach], image)
            self._keep(with_detected(self._look(where), left, where.square))
            left = self._unknown([hand for hand in left if hand is not first])

    def look_in_regions(self, regions: Floats) -> None:
        """Look in boxes (N, 4) px that may hold hands which were not seen one by one."""
        for region in regions:
            middle = (region[:2] + region[2:]) / 2
            if self._asked < MAX_PLACES and not any(_is_in(middle, joints) for joints in self._known):
                self._keep(self._look(Proposal(geometry.square_box(region), np.zeros((0, 4)))))

    def _unknown(self, hands: Sequence[DetectedHand]) -> list[DetectedHand]:
        return [hand for hand in hands if not any(hand.is_at(joints) for joints in self._known)]

    def _look(self, where: Proposal) -> CropResult:
        """Look somewhere, and leave out the hands that are known: the network tells the clearest, whoever's it is."""
        self._asked += 1
        view = self._look_at(where)
        hands = (view.joints_2d[joints] for joints in HAND_SLICES)
        return view.without_hands(
            np.array([any(are_at_one_place(hand, joints) for joints in self._known) for hand in hands])
        )

    def _keep(self, view: CropResult) -> None:
        view = view.without_ghost()
        if view.present.any() and view.is_credible:
            self.found.append(view)
            self._known += _hands_of(view)


def _hands_of(view: CropResult) -> list[Floats]:
    return [view.joints_2d[HAND_SLICES[slot]] for slot in view.present_slots]


def _is_in(point: Floats, joints_2d: Floats) -> bool:
    return bool(((joints_2d.min(axis=0) <= point) & (point <= joints_2d.max(axis=0))).all())
