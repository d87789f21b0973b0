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
from unclasp.find.fusion import Fusion
from unclasp.find.landmarks import Landmarks
from unclasp.find.looking import Looker
from unclasp.find.looks import WORTH_MORE, Look
from unclasp.find.opinions import Way, best, in_doubt
from unclasp.find.palms import Palms
from unclasp.find.people import Others
from unclasp.find.regions import box_around, pooled
from unclasp.find.search import Search, Where
from unclasp.find.seen_hands import SIZES, SIZES_IN_VIDEOS, SeenHand, Spotted, Spotter, is_settled, where_of_hands
from unclasp.find.sweep import is_called_for, is_surer, surest_box
from unclasp.find.touch_up import Twice, touched_up, touched_up_twice

Floats = npt.NDArray[np.floating]

ELSEWHERE: Final = 0.2
"""IoU of two looks' crops below which they are of different places."""


class Found(NamedTuple):
    """What was found in a whole picture."""

    look: Look
    regions: Floats
    """(N, 4) px: boxes around other hands."""
    believed: bool
    """Whether there are hands at all."""
    hands: list[SeenHand] | None = None
    """What was spotted all over the picture; None where that was not asked."""


class FoundInFrame(NamedTuple):
    """What was found in a whole frame of a video."""

    looks: Twice
    regions: Floats
    """(N, 4) px: boxes around other hands."""
    is_said: bool
    """Whether there are hands in any case."""


class Finding:
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
        self, looker: Looker, search: Search, *, landmarks: Landmarks | None, fusion: Fusion | None,
        palms: Palms | None, second_opinions: bool,
    ) -> None:  # fmt: skip
        self.looker, self.search, self.palms = looker, search, palms
        self.landmarks, self.fusion, self.second_opinions = landmarks, fusion, second_opinions
        self.spotter = None if palms is None or landmarks is None else Spotter(palms, landmarks)

    def in_photo(self, image: ByteArray) -> Found:
        """Look for the hands of one person in a whole picture."""
        where = self.search(image)
        view, others = self.looker.see(image, where)
        first = view = self.touched_up(view, image)
        hands = None if where.is_said or is_settled(first) else self._seen_hands(image, SIZES)
        spotted = self._spotted(image, hands)
        views, elsewhere = [first], None
        if spotted is not None:
            mended = spotted.with_seen(self.touched_up(spotted.look, image))
            if mended.worth > first.worth + WORTH_MORE:
                view, others = mended, pooled(spotted.others, others)
                is_elsewhere = geometry.box_iou(view.square, first.square) < ELSEWHERE
                # The picture is turned about the first of them, which counts of equals: about the hands, in any case.
                views, elsewhere = ([view, first], view) if is_elsewhere else ([first, view], None)
        if self.second_opinions and in_doubt(view.without_ghost()):
            agreed = best(partial(self._glance, at=elsewhere), image, views, mirrored=not self.looker.flip_test)
            view = agreed if agreed.is_believed or not view.is_believed else view
        if self.second_opinions and not where.is_said and is_called_for(view):
            view = self._swept(view, image)
        others = others if view is first else self._without(view, others, image)
        if where.is_said:
            return Found(view, others, believed=True)
        return Found(view.without_ghost(), others, believed=view.is_believed, hands=hands)

    def of_others(self, image: ByteArray, found: Found) -> list[Look]:
        """Return what is seen of the hands of other people in a whole picture, one look for each."""
        others = Others(lambda where: self.touched_up(self.looker.see(image, where)[0], image), found.look)
        others.look_for_hands(self._seen_hands(image, SIZES) if found.hands is None else found.hands, image)
        others.look_in_regions(found.regions)
        return others.found

    def in_frame(self, image: ByteArray, *, anew: bool, is_said: bool) -> FoundInFrame:
        """Look for hands in a whole frame of a video.

        Args:
            image: (H, W, 3) RGB.
            anew: Nothing is known of where they are: look harder.
            is_said: There are hands, whatever they look like.
        """
        where = self.search(image)
        is_said = is_said or where.is_said
        if anew and self.spotter is not None:
            where = where._replace(again=None)  # the palm detector is a better second search
        view, others = self.looker.see(image, where)
        looks = self.touched_up_twice(view, image)
        # Where hands are known, what is spotted may take the place of two in contact by one that is seen better.
        is_asked = anew and not (is_said or is_settled(looks.followed))
        spotted = self._spotted(image, self._seen_hands(image, SIZES_IN_VIDEOS) if is_asked else None)
        if spotted is not None:
            mended = self.touched_up_twice(spotted.look, image).each(spotted.with_seen)
            if mended.followed.worth > looks.followed.worth + WORTH_MORE:
                looks, others = mended, pooled(spotted.others, others)
        return FoundInFrame(looks, others, is_said)

    def touched_up(self, view: Look, image: ByteArray) -> Look:
        """Return a look at a picture touched up."""
        return view if self.landmarks is None else touched_up(view, image, self.landmarks, fusion=self.fusion)

    def touched_up_twice(self, view: Look, image: ByteArray) -> Twice:
        """Return a look at a frame of a video touched up."""
        if self.landmarks is None:
            return Twice(view, view)
        return touched_up_twice(view, image, self.landmarks, fusion=self.fusion)

    def _seen_hands(self, image: ByteArray, sizes: Sequence[int]) -> list[SeenHand]:
        """Return the hands that the palm detector, in squares of these sizes, and the landmark network see."""
        return [] if self.spotter is None else self.spotter(image, sizes)

    def _spotted(self, image: ByteArray, hands: list[SeenHand] | None) -> Spotted | None:
        """Look at some hands, if there are any."""
        if not hands:
            return None
        where = where_of_hands(hands, image)
        return Spotted(*self.looker.see(image, where), hands, where.square)

    def _swept(self, view: Look, image: ByteArray) -> Look:
        """Return the look at the surest hand of all over the picture, if it is surer than what was seen."""
        box = None if self.landmarks is None else surest_box(self.looker, self.landmarks, image)
        if box is None:
            return view
        swept, _ = self.looker.see(image, Where(geometry.square_box(box), np.zeros((0, 4))))
        swept = self.touched_up(swept, image)
        return swept if is_surer(swept, view) else view

    def _glance(self, way: Way, *, at: Look | None) -> Look:
        """See what there is, but do not search again where that is in doubt: one look among many.

        With `at`, see what there is in the same place: that of hands that the search does not find.
        """
        if at is None:
            where = self.search(way.image)._replace(again=None)
        else:
            where = Where(way.of(at).square, np.zeros((0, 4)))
        return self.touched_up(self.looker.see(way.image, where)[0], way.image)

    @staticmethod
    def _without(view: Look, boxes: Floats, image: ByteArray) -> Floats:
        """Return the boxes (N, 4) whose middle lies in none of the look's hands."""
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        for slot in view.slots:
            hand = box_around(view.joints_2d, np.arange(2) == slot, image)
            if hand is not None:
                outside = ((middles < hand[:2]) | (middles > hand[2:])).any(axis=1)
                boxes, middles = boxes[outside], middles[outside]
        return boxes
