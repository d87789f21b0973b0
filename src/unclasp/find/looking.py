"""Looks at a picture: which crops the pose network sees, one after the other, and which of its answers counts.

Their order is that of docs/how-it-predicts.md, "Step by step"; what each is worth: docs/decisions.md.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.batch import ByteArray
from unclasp.data.transforms import crop_image
from unclasp.engines.network import Network, average_of_mirrored
from unclasp.errors import UnclaspError
from unclasp.find.apart import slots_of_two, squares_of_two
from unclasp.find.looks import Look
from unclasp.find.regions import box_around
from unclasp.find.search import Where
from unclasp.pose import PRESENT

Floats = npt.NDArray[np.floating]

SETTLED: Final = 0.85
"""IoU of a crop with that around the joints seen in it, above which there is no other look."""

SURE: Final = 0.2
"""Mean confidence of the joints from which on a region shows a hand: of 16 regions in rendered pictures, 0.19 and more
in eight of the nine that did, 0.15 and less in the seven that did not."""

SURER: Final = 0.1
"""What is seen elsewhere counts where that confidence is higher by this: of two doubtful looks the first is better."""

LOST: Final = 0.5
"""A closer look that is less sure of the wider one's hands than this share of how sure that was does not count."""

OTHER_REGIONS: Final = 2
"""So many other regions are looked at, for a person's other hand or for a surer one: a crowd has many."""

WIDER: Final = 2.0
"""Where one hand was found, the other one is looked for in a crop this many times as wide."""

LIKE_SIZED: Final = 3.0
"""A person's hands in two regions are at most this many times as large as each other in the picture."""

TILTED: Final = 30.0
"""Degrees from pointing up in the picture from which on hands are looked at upright, too."""


class Looker:
    """Looks at pictures, before any touch-up.

    Args:
        network: What answers for crops.
        flip_test: Average over the crop and its mirror image, at twice the cost.
    """

    def __init__(self, network: Network, *, flip_test: bool = False) -> None:
        self.network, self.flip_test = network, flip_test

    def at(self, image: ByteArray, square: Floats) -> Look:
        """Return what the network sees in a crop, and in closer ones of hands that are apart.

        Args:
            image: (H, W, 3) uint8 RGB.
            square: (4,) x1, y1, x2, y2 px.
        """
        return self._look_at_each(image, self.once(image, square))

    def see(self, image: ByteArray, where: Where) -> tuple[Look, Floats]:
        """Return what the network sees where a search says, and elsewhere where that asks for it.

        Args:
            image: (H, W, 3) uint8 RGB.
            where: Where to look first, and next.

        Returns:
            The look, and boxes (N, 4) around other hands.
        """
        view, others, given_up = self._find(image, where)
        view, others = self._with_other_hand(image, view, others) or (view, others)
        return view, np.concatenate([others, given_up])

    def _find(self, image: ByteArray, where: Where) -> tuple[Look, Floats, Floats]:
        """Look where the search says, and elsewhere, too, where the joints found there are doubtful.

        Doubtful is a mean confidence below `SURE`. Elsewhere are the next regions and the network's own search. Another
        look replaces the first if it sees no fewer hands and its mean confidence is higher by more than `SURER`.

        Returns:
            The look, boxes (N, 4) around other hands, and that (1, 4) of the first look where another one counts.
        """
        view, others = self._look_closely(image, where.square), where.others
        given_up: Floats = np.zeros((0, 4))
        if view.answer.confidence is None or view.mean_confidence >= SURE or where.again is None:
            return view, others, given_up
        squares = [geometry.square_box(other) for other in others[:OTHER_REGIONS]]
        asked = view.mean_confidence + SURER
        for index, square in enumerate((*squares, where.again())):
            look = self._look_closely(image, square)
            if look.present.sum() >= view.present.sum() and look.mean_confidence > max(asked, view.mean_confidence):
                view, others = look, np.delete(where.others, [index] if index < len(squares) else [], axis=0)
                given_up = geometry.expand_box(where.square, 1 / geometry.CROP_EXPANSION)[None]
        return view, others, given_up

    def _look_closely(self, image: ByteArray, square: Floats) -> Look:
        """Look closer, and at each of two hands that are apart by itself."""
        return self._look_at_each(image, self._look_closer(image, square))

    def _look_closer(self, image: ByteArray, square: Floats) -> Look:
        """Look where the hands were found, then around the joints seen there, and once more where that crop was off.

        A closer look counts unless it is far less sure (`LOST`); the last one has to show as many hands, too. A hand
        that the first, widest look gave less than `looks.DENIED` cannot appear in a closer one that shows another.
        """
        first = view = self.once(image, square)
        for is_last in (False, True):
            box = box_around(view.joints_2d, view.present, image)
            if box is None:
                return view
            square = geometry.square_box(box)
            if is_last and geometry.box_iou(square, view.square) > SETTLED:
                return view
            closer = self.once(image, square).without_denied(first)
            if is_last and closer.present.sum() < view.present.sum():
                return view
            again = closer.mean_confidence_of(view.slots)
            if closer.present.any() and again < LOST * view.mean_confidence:
                return view
            view = closer
        return view

    def _with_other_hand(self, image: ByteArray, view: Look, others: Floats) -> tuple[Look, Floats] | None:
        """Look for the other hand where only one was found: arms may be far apart, or the finder may miss one.

        A place shows it if its joints are sure, which a network without confidence cannot tell, and a look at both sees
        two hands.

        Returns:
            The look at both, with the joints of each as the closer looks have them, and the regions that are left; None
            without another hand.
        """
        own = box_around(view.joints_2d, view.present, image)
        if own is None or view.present.all() or view.answer.confidence is None:
            return None
        slot = view.slot
        for other, remaining in self._elsewhere(image, view, own, others):
            extents = np.max(own[2:] - own[:2]), np.max(other[2:] - other[:2])
            if max(extents) > LIKE_SIZED * min(extents):
                continue
            look = self._look_upright(image, self._look_closer(image, geometry.square_box(other)), alone=True)
            if look.answer.presence[0, 1 - slot] < PRESENT or look.confidence(1 - slot) < SURE:
                continue
            around = np.concatenate([np.minimum(own[:2], other[:2]), np.maximum(own[2:], other[2:])])
            both = self.once(image, geometry.square_box(around))
            if both.present.all():
                return both.with_hands({slot: view, 1 - slot: look}), remaining
        return None

    def _elsewhere(self, image: ByteArray, view: Look, own: Floats, others: Floats) -> Iterator[tuple[Floats, Floats]]:
        """Yield boxes (4,) where the other hand may be, and the regions that are left then.

        These are the next regions and, where a wider look is sure of a hand beside the one that was found, its place.
        """
        for index, other in enumerate(others[:OTHER_REGIONS]):
            yield other, np.delete(others, index, axis=0)
        wide = self.once(image, geometry.expand_box(geometry.square_box(own), WIDER))
        other_slot = 1 - view.slot
        box = box_around(wide.joints_2d, np.arange(2) == other_slot, image)
        if box is None or not wide.present.all() or wide.confidence(other_slot) < SURE:
            return
        middle = (box[:2] + box[2:]) / 2
        if ((middle < own[:2]) | (middle > own[2:])).any():
            yield box, others

    def _look_at_each(self, image: ByteArray, view: Look) -> Look:
        """Look at each of two hands that are apart by itself: in a crop around both, each is small.

        Nothing changes where one of these looks does not see its hand. Hands that touch, and single ones, are looked at
        upright.
        """
        if not view.present.any():
            return view
        if not view.present.all():
            upright = self._look_upright(image, view, alone=True)
            return view if upright is view else upright.with_one_hand()
        squares = squares_of_two(view.answer.hand_probability[0], self.network.image_size)
        if squares is None:
            return self._look_upright(image, view, alone=False)
        corners = geometry.apply_affine(view.image_from_crop, squares.reshape(2, 2, 2))
        looks = [self._look_upright(image, self.once(image, each), alone=True) for each in corners.reshape(2, 4)]
        presence = np.stack([look.answer.presence[0] for look in looks])
        slots = slots_of_two(presence, corners.mean(axis=1), view.joints_2d)
        if min(presence[[0, 1], slots]) < PRESENT:
            return view
        return view.with_hands(dict(zip(slots, looks, strict=True)))

    def _look_upright(self, image: ByteArray, view: Look, *, alone: bool) -> Look:
        """Look at tilted hands in a crop that is turned so that they point up, as most do; the surer look counts.

        The network tells the side by which way the forearm comes in, too, and wrongly where people are not as it
        expects. With `alone` the crop shows one hand, so only the likelier one has to stay visible in the turned crop;
        otherwise both have to.
        """
        tilt = view.tilt(alone=alone)
        if abs(tilt) < TILTED:
            return view
        turned = geometry.turned_box(view.square, self.network.image_size, tilt)
        upright = self.once(image, turned, rotation=tilt)._replace(square=view.square)
        if not (upright.present.any() if alone else upright.present.all()):
            return view
        return upright if upright.sureness(alone=alone) > view.sureness(alone=alone) else view

    def once(self, image: ByteArray, square: Floats, *, rotation: float = 0.0) -> Look:
        """Return what the network sees in a crop.

        Args:
            image: (H, W, 3) uint8 RGB.
            square: (4,) x1, y1, x2, y2 px.
            rotation: Degrees clockwise by which the crop is turned.
        """
        size = self.network.image_size
        crop = crop_image(image, square, size, rotation=rotation)
        if self.flip_test:
            both = self.network(np.stack([crop.image, crop.image[:, ::-1]]))
            answer = average_of_mirrored(both, size)
        else:
            answer = self.network(crop.image[None])
        optional = (numbers for numbers in (answer.root_depth, answer.confidence) if numbers is not None)
        numbers = (answer.pose_2p5d, answer.presence, *optional)
        if not all(np.isfinite(values).all() for values in numbers):
            raise UnclaspError(f"the answer of {self.network.name} is not finite; are its weights damaged?")
        return Look(answer, crop.image_from_crop, square)
