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
from unclasp.engines.network import Network, average_flip_test
from unclasp.errors import UnclaspError
from unclasp.find.crop_result import CropResult
from unclasp.find.regions import box_around
from unclasp.find.search import Proposal
from unclasp.find.split_hands import slots_of_two, squares_of_two
from unclasp.pose import MIN_PRESENCE

Floats = npt.NDArray[np.floating]

SAME_CROP_IOU: Final = 0.85
"""IoU of a crop with that around the joints seen in it, above which there is no other look."""

MIN_CONFIDENCE: Final = 0.2
"""Mean confidence of the joints from which on a region shows a hand: of 16 regions in rendered pictures, 0.19 and more
in eight of the nine that did, 0.15 and less in the seven that did not."""

MIN_CONFIDENCE_GAIN: Final = 0.1
"""What is seen elsewhere counts where that confidence is higher by this: of two doubtful looks the first is better."""

MIN_CONFIDENCE_RATIO: Final = 0.5
"""A closer look that is less sure of the wider one's hands than this share of how sure that was does not count."""

MAX_OTHER_REGIONS: Final = 2
"""So many other regions are looked at, for a person's other hand or for a surer one: a crowd has many."""

WIDER_CROP: Final = 2.0
"""Where one hand was found, the other one is looked for in a crop this many times as wide."""

MAX_SIZE_RATIO: Final = 3.0
"""A person's hands in two regions are at most this many times as large as each other in the picture."""

WIDER_CROP_SHARE: Final = 0.2
"""Share of the wider crop in the joints of a closer one. The closer one shows more, but a crop a pixel beside it gives
joints some millimetres elsewhere, and two crops agree on less of that."""

MIN_TILT: Final = 30.0
"""Degrees from pointing up in the picture from which on hands are looked at upright, too."""


class CropPredictor:
    """Looks at pictures, before any touch-up.

    Args:
        network: What answers for crops.
        flip_test: Average over the crop and its mirror image, at twice the cost.
    """

    def __init__(self, network: Network, *, flip_test: bool = False) -> None:
        self.network, self.flip_test = network, flip_test

    def hands_in(self, image: ByteArray, square: Floats) -> CropResult:
        """Return what the network sees in a crop, and in closer ones of hands that are apart.

        Args:
            image: (H, W, 3) uint8 RGB.
            square: (4,) x1, y1, x2, y2 px.
        """
        return self._hands_one_by_one(image, self.one_crop(image, square))

    def search_from(self, image: ByteArray, where: Proposal) -> tuple[CropResult, Floats]:
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

    def _find(self, image: ByteArray, where: Proposal) -> tuple[CropResult, Floats, Floats]:
        """Predict where the search says, and elsewhere, too, if the joints found there are doubtful.

        Doubtful means a mean confidence below `MIN_CONFIDENCE`. Elsewhere are the next regions and the network's own
        search. Another result replaces the first one if it has no fewer hands and its mean confidence is higher by more
        than `MIN_CONFIDENCE_GAIN`.

        Returns:
            The look, boxes (N, 4) around other hands, and that (1, 4) of the first look where another one counts.
        """
        view, others = self._zoom_in_on_each(image, where.square), where.others
        given_up: Floats = np.zeros((0, 4))
        if view.output.confidence is None or view.mean_confidence >= MIN_CONFIDENCE or where.fallback is None:
            return view, others, given_up
        squares = [geometry.square_box(other) for other in others[:MAX_OTHER_REGIONS]]
        asked = view.mean_confidence + MIN_CONFIDENCE_GAIN
        for index, square in enumerate((*squares, where.fallback())):
            look = self._zoom_in_on_each(image, square)
            if look.present.sum() >= view.present.sum() and look.mean_confidence > max(asked, view.mean_confidence):
                view, others = look, np.delete(where.others, [index] if index < len(squares) else [], axis=0)
                given_up = geometry.expand_box(where.square, 1 / geometry.CROP_EXPANSION)[None]
        return view, others, given_up

    def _zoom_in_on_each(self, image: ByteArray, square: Floats) -> CropResult:
        """Look closer, and at each of two hands that are apart by itself."""
        return self._hands_one_by_one(image, self._zoom_in(image, square))

    def _zoom_in(self, image: ByteArray, square: Floats) -> CropResult:
        """Predict in a crop, then in one around the joints found there, and once more if that crop was off.

        A closer crop counts unless its result is far less confident (`MIN_CONFIDENCE_RATIO`); the last one must have as
        many hands, too. A hand whose presence was below `crop_result.DENIED_PRESENCE` in the first, widest crop cannot
        appear in a closer one that shows another hand. Joints are averaged with those of the wider crop
        (`WIDER_CROP_SHARE`).
        """
        first = wider = view = self.one_crop(image, square)
        for is_last in (False, True):
            box = box_around(view.joints_2d, view.present, image)
            if box is None:
                break
            square = geometry.square_box(box)
            if is_last and geometry.box_iou(square, view.square) > SAME_CROP_IOU:
                break
            closer = self.one_crop(image, square).without_hands_missing_in(first)
            if is_last and closer.present.sum() < view.present.sum():
                break
            again = closer.mean_confidence_of(view.present_slots)
            if closer.present.any() and again < MIN_CONFIDENCE_RATIO * view.mean_confidence:
                break
            wider, view = view, closer
        return view.averaged(wider, WIDER_CROP_SHARE)

    def _with_other_hand(self, image: ByteArray, view: CropResult, others: Floats) -> tuple[CropResult, Floats] | None:
        """Look for the other hand where only one was found: arms may be far apart, or the finder may miss one.

        A place shows it if its joints are sure, which a network without confidence cannot tell, and a look at both sees
        two hands.

        Returns:
            The look at both, with the joints of each as the closer looks have them, and the regions that are left; None
            without another hand.
        """
        own = box_around(view.joints_2d, view.present, image)
        if own is None or view.present.all() or view.output.confidence is None:
            return None
        slot = view.slot
        for other, remaining in self._elsewhere(image, view, own, others):
            extents = np.max(own[2:] - own[:2]), np.max(other[2:] - other[:2])
            if max(extents) > MAX_SIZE_RATIO * min(extents):
                continue
            look = self._upright(image, self._zoom_in(image, geometry.square_box(other)), alone=True)
            if look.output.presence[0, 1 - slot] < MIN_PRESENCE or look.confidence(1 - slot) < MIN_CONFIDENCE:
                continue
            around = np.concatenate([np.minimum(own[:2], other[:2]), np.maximum(own[2:], other[2:])])
            both = self.one_crop(image, geometry.square_box(around))
            if both.present.all():
                return both.with_hands({slot: view, 1 - slot: look}), remaining
        return None

    def _elsewhere(
        self, image: ByteArray, view: CropResult, own: Floats, others: Floats
    ) -> Iterator[tuple[Floats, Floats]]:
        """Yield boxes (4,) where the other hand may be, and the regions that are left then.

        These are the next regions and, where a wider look is sure of a hand beside the one that was found, its place.
        """
        for index, other in enumerate(others[:MAX_OTHER_REGIONS]):
            yield other, np.delete(others, index, axis=0)
        wide = self.one_crop(image, geometry.expand_box(geometry.square_box(own), WIDER_CROP))
        other_slot = 1 - view.slot
        box = box_around(wide.joints_2d, np.arange(2) == other_slot, image)
        if box is None or not wide.present.all() or wide.confidence(other_slot) < MIN_CONFIDENCE:
            return
        middle = (box[:2] + box[2:]) / 2
        if ((middle < own[:2]) | (middle > own[2:])).any():
            yield box, others

    def _hands_one_by_one(self, image: ByteArray, view: CropResult) -> CropResult:
        """Look at each of two hands that are apart by itself: in a crop around both, each is small.

        Nothing changes where one of these looks does not see its hand. Hands that touch, and single ones, are looked at
        upright.
        """
        if not view.present.any():
            return view
        if not view.present.all():
            upright = self._upright(image, view, alone=True)
            return view if upright is view else upright.with_one_hand()
        squares = squares_of_two(view.output.hand_probability[0], self.network.image_size)
        if squares is None:
            return self._upright(image, view, alone=False)
        corners = geometry.apply_affine(view.image_from_crop, squares.reshape(2, 2, 2))
        looks = [self._upright(image, self.one_crop(image, each), alone=True) for each in corners.reshape(2, 4)]
        presence = np.stack([look.output.presence[0] for look in looks])
        slots = slots_of_two(presence, corners.mean(axis=1), view.joints_2d)
        if min(presence[[0, 1], slots]) < MIN_PRESENCE:
            return view
        return view.with_hands(dict(zip(slots, looks, strict=True)))

    def _upright(self, image: ByteArray, view: CropResult, *, alone: bool) -> CropResult:
        """Look at tilted hands in a crop that is turned so that they point up, as most do; the surer look counts.

        The network tells the side by which way the forearm comes in, too, and wrongly where people are not as it
        expects. With `alone` the crop shows one hand, so only the likelier one has to stay visible in the turned crop;
        otherwise both have to.
        """
        tilt = view.tilt(alone=alone)
        if abs(tilt) < MIN_TILT:
            return view
        turned = geometry.turned_box(view.square, self.network.image_size, tilt)
        upright = self.one_crop(image, turned, rotation=tilt)._replace(square=view.square)
        if not (upright.present.any() if alone else upright.present.all()):
            return view
        return (
            upright if upright.confidence_or_presence(alone=alone) > view.confidence_or_presence(alone=alone) else view
        )

    def one_crop(self, image: ByteArray, square: Floats, *, rotation: float = 0.0) -> CropResult:
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
            answer = average_flip_test(both, size)
        else:
            answer = self.network(crop.image[None])
        optional = (numbers for numbers in (answer.root_depth, answer.confidence) if numbers is not None)
        numbers = (answer.pose_2p5d, answer.presence, *optional)
        if not all(np.isfinite(values).all() for values in numbers):
            raise UnclaspError(f"the answer of {self.network.name} is not finite; are its weights damaged?")
        return CropResult(answer, crop.image_from_crop, square)
