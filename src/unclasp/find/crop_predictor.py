"""Runs the pose network on crops of a picture: chooses the crops, one after the other, and which results count.

The order of the steps is that of docs/how-it-predicts.md, "Step by step"; docs/decisions.md has what each step gains.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np

from unclasp import geometry
from unclasp.arrays import Floats, Pixels
from unclasp.data.transforms import crop_image
from unclasp.engines.network import Network, average_flip_test
from unclasp.errors import UnclaspError
from unclasp.find.boxes import box_around, box_around_hands, inside, middles_of, snapped, snapped_rotation, union_of
from unclasp.find.crop_result import MIN_CONFIDENCE, SAME_PLACE, CropResult
from unclasp.find.search import Proposal
from unclasp.find.split_hands import slots_of_two, squares_of_two
from unclasp.pose import MIN_PRESENCE

SAME_CROP_IOU: Final = 0.85
"""If the IoU of a crop with the one around the joints found in it is above this, no closer crop follows."""

MIN_CONFIDENCE_GAIN: Final = 0.1
"""The result of another region replaces the first one if its mean confidence is higher by more than this: of two
doubtful results the first one is usually better."""

MIN_CONFIDENCE_RATIO: Final = 0.5
"""A closer crop does not count if its mean confidence in the wider crop's hands is below this share of the wider
crop's."""

MAX_OTHER_REGIONS: Final = 2
"""At most this many other regions are tried, for a person's other hand or for a more confident one: a crowd has
many."""

WIDER_CROP: Final = 2.0
"""Where one hand was found, the other one is searched for in a crop this many times as wide."""

MAX_SIZE_RATIO: Final = 3.0
"""Hands in two regions are not taken for one person's if one is more than this many times as large as the other."""

WIDER_CROP_SHARE: Final = 0.2
"""Weight of the wider crop's joints in the average with a closer one's, in photos. The closer crop shows more detail,
but a shift of it by one pixel moves its joints by some millimetres; the average of two crops varies less. Videos are
smoothed over frames instead."""

MIN_TILT: Final = 30.0
"""Hands that are turned by at least so many degrees from pointing up are also predicted in an upright crop."""

MIN_MEAN_DIRECTION: Final = 0.5
"""Two hands point the same way if the mean of their unit vectors is longer than this: each is within 60 degrees of
it."""


class Found(NamedTuple):
    """The hands of one person, and where others may be."""

    result: CropResult
    others: Floats
    """(N, 4) px: boxes around other hands, the most promising first."""

    def map(self, change: Callable[[CropResult], CropResult]) -> "Found":
        """Return the same with the result changed."""
        return self._replace(result=change(self.result))


class CropPredictor:
    """Runs the pose network on crops of pictures, before any touch-up.

    Args:
        network: The pose network.
        flip_test: Average over the crop and its mirror image, at twice the cost.
        wider_crop_share: Weight of a wider crop's joints in the average with a closer one's, 0 to 1.
    """

    def __init__(
        self, network: Network, *, flip_test: bool = False, wider_crop_share: float = WIDER_CROP_SHARE
    ) -> None:
        self.network, self.flip_test, self.wider_crop_share = network, flip_test, wider_crop_share

    def without_average(self) -> "CropPredictor":
        """Return a predictor with the same network that takes the closer crop's joints as they are: for videos."""
        return CropPredictor(self.network, flip_test=self.flip_test, wider_crop_share=0.0)

    def hands_in(self, image: Pixels, square: Floats) -> CropResult:
        """Return the result in a crop, with hands that are apart predicted again in crops of their own.

        Args:
            image: (H, W, 3) uint8 RGB.
            square: (4,) x1, y1, x2, y2 px.
        """
        return self._hands_one_by_one(image, self.one_crop(image, square))

    def hands_near(self, image: Pixels, square: Floats) -> CropResult:
        """Return the same for a crop that is laid around the joints of the last frame: on the grid of such crops."""
        return self._hands_one_by_one(image, self.snapped_crop(image, square))

    def predict_proposal(self, image: Pixels, proposal: Proposal) -> Found:
        """Predict where a search proposes hands, and elsewhere if that is doubtful.

        If there is only one hand, the other one is searched for.

        Args:
            image: (H, W, 3) uint8 RGB.
            proposal: Where to predict first, and next.
        """
        first = Found(self._zoom_in_on_each(image, proposal.square), proposal.others)
        surer = self._surer_elsewhere(image, first.result, proposal)
        found = self._with_other_hand(image, surer or first) or surer or first
        if surer is None:
            return found
        proposed = geometry.expand_box(proposal.square, 1 / geometry.CROP_EXPANSION)
        return found._replace(others=np.concatenate([found.others, proposed[None]]))

    def _surer_elsewhere(self, image: Pixels, first: CropResult, proposal: Proposal) -> Found | None:
        """Predict in the next regions and by the network's own search, if the result of the proposed one is doubtful.

        Doubtful means a mean confidence below `MIN_CONFIDENCE`. Another result counts if it has no fewer hands and its
        mean confidence is higher by more than `MIN_CONFIDENCE_GAIN`.
        """
        if not first.has_confidence or first.mean_confidence >= MIN_CONFIDENCE or proposal.fallback is None:
            return None
        surer, best = None, first
        candidates = [(geometry.square_box(region), remaining) for region, remaining in _one_by_one(proposal.others)]
        for square, remaining in (*candidates, (proposal.fallback(), proposal.others)):
            other = self._zoom_in_on_each(image, square)
            min_confidence = max(first.mean_confidence + MIN_CONFIDENCE_GAIN, best.mean_confidence)
            if other.present.sum() >= best.present.sum() and other.mean_confidence > min_confidence:
                best, surer = other, Found(other, remaining)
        return surer

    def _zoom_in_on_each(self, image: Pixels, square: Floats) -> CropResult:
        """Predict in a crop and closer ones, and each of two hands that are apart by itself."""
        return self._hands_one_by_one(image, self._zoom_in(image, square))

    def _zoom_in(self, image: Pixels, square: Floats) -> CropResult:
        """Predict in a crop, then in one around the joints found there, and once more if that crop was off.

        A closer crop counts unless its result is far less confident (`MIN_CONFIDENCE_RATIO`); the last one must have as
        many hands, too. Joints are averaged with the wider crop's (`wider_crop_share`).
        """
        wider = result = self.snapped_crop(image, square)
        for is_last in (False, True):
            box = box_around_hands(result.joints_2d, result.present, image)
            if box is None:
                break
            square = geometry.square_box(box)
            if is_last and geometry.box_iou(square, result.square) > SAME_CROP_IOU:
                break
            closer = self.snapped_crop(image, square)
            if is_last and closer.present.sum() < result.present.sum():
                break
            confidence = closer.mean_confidence_of(result.present_slots)
            if closer.present.any() and confidence < MIN_CONFIDENCE_RATIO * result.mean_confidence:
                break
            wider, result = result, closer
        return averaged(result, wider, self.wider_crop_share) if self.wider_crop_share else result

    def _with_other_hand(self, image: Pixels, found: Found) -> Found | None:
        """Search for the other hand where only one was found: arms may be far apart, or the finder may miss one.

        A region shows it if its joints there are confident, which a network without confidence cannot tell, and a crop
        around both shows two hands.

        Returns:
            The result for both, with the joints of each hand from the closer crops, and the remaining regions; None
            without another hand.
        """
        result = found.result
        box = box_around_hands(result.joints_2d, result.present, image)
        if box is None or result.present.all() or not result.has_confidence:
            return None
        slot = result.likelier_slot
        for other_box, remaining in self._elsewhere(image, found, box):
            extents = np.max(box[2:] - box[:2]), np.max(other_box[2:] - other_box[:2])
            if max(extents) > MAX_SIZE_RATIO * min(extents):
                continue
            other = self._upright(image, self._zoom_in(image, geometry.square_box(other_box)), alone=True)
            if other.presence[1 - slot] < MIN_PRESENCE or other.confidence(1 - slot) < MIN_CONFIDENCE:
                continue
            around = union_of(box, other_box)
            both = self.snapped_crop(image, geometry.square_box(around))
            if both.present.all():
                return Found(both.with_hands({slot: result, 1 - slot: other}), remaining)
        return None

    def _elsewhere(self, image: Pixels, found: Found, box: Floats) -> Iterator[tuple[Floats, Floats]]:
        """Yield boxes (4,) that may show the other hand than the one in `box`, and the regions that remain then.

        These are the next regions, and the other hand's box in a wider crop, if the network is confident of a second
        hand there and it lies beside the first one.
        """
        yield from _one_by_one(found.others)
        wide = self.snapped_crop(image, geometry.expand_box(geometry.square_box(box), WIDER_CROP))
        other_slot = 1 - found.result.likelier_slot
        other_box = box_around(wide.joints_of(other_slot), image)
        if other_box is None or not wide.present.all() or wide.confidence(other_slot) < MIN_CONFIDENCE:
            return
        if not inside(middles_of(other_box), box):
            yield other_box, found.others

    def _hands_one_by_one(self, image: Pixels, result: CropResult) -> CropResult:
        """Predict each of two hands that are apart in a crop of its own: in a crop around both, each is small.

        Nothing changes where one of these crops does not show its hand. Hands that touch, and single ones, are
        predicted upright.
        """
        if not result.present.any():
            return result
        if not result.present.all():
            upright = self._upright(image, result, alone=True)
            return result if upright is result else upright.with_one_hand()
        squares = squares_of_two(result.output.hand_probability[0], self.network.image_size)
        if squares is None:
            return self._upright(image, result, alone=False)
        corners = geometry.apply_affine(result.image_from_crop, squares.reshape(2, 2, 2))
        results = [
            self._upright(image, self.snapped_crop(image, square), alone=True) for square in corners.reshape(2, 4)
        ]
        presence = np.stack([each.presence for each in results])
        slots = slots_of_two(presence, corners.mean(axis=1), result.joints_2d)
        if min(presence[[0, 1], slots]) < MIN_PRESENCE:
            return result
        return result.with_hands(dict(zip(slots, results, strict=True)))

    def _upright(self, image: Pixels, result: CropResult, *, alone: bool) -> CropResult:
        """Predict tilted hands again in a crop turned so that they point up, and keep the more confident result.

        Most hands point up. The network also tells left from right by the direction in which the forearm enters the
        crop, and is wrong where people are not as it expects. With `alone` the crop shows one hand, so only one has to
        be present in the turned crop; otherwise both have to.
        """

        def shown(each: CropResult) -> list[int]:
            return [each.likelier_slot] if alone else [0, 1]

        tilt = snapped_rotation(_tilt(result, shown(result)))
        if abs(tilt) < MIN_TILT:
            return result
        turned = geometry.turned_box(result.square, self.network.image_size, tilt)
        upright = self.one_crop(image, turned, rotation=tilt)._replace(square=result.square)
        if not (upright.present.any() if alone else upright.present.all()):
            return result
        return max(result, upright, key=lambda each: _sureness(each, shown(each)))

    def snapped_crop(self, image: Pixels, square: Floats) -> CropResult:
        """Return the result of the pose network for a crop that is laid around joints or regions (`boxes.snapped`)."""
        return self.one_crop(image, snapped(square, image, self.network.image_size))

    def one_crop(self, image: Pixels, square: Floats, *, rotation: float = 0.0) -> CropResult:
        """Return the result of the pose network for a single crop.

        Args:
            image: (H, W, 3) uint8 RGB.
            square: (4,) x1, y1, x2, y2 px.
            rotation: Degrees clockwise by which the crop is turned.

        Raises:
            UnclaspError: The network's output is not finite.
        """
        size = self.network.image_size
        crop = crop_image(image, square, size, rotation=rotation)
        if self.flip_test:
            both = self.network(np.stack([crop.image, crop.image[:, ::-1]]))
            output = average_flip_test(both, size)
        else:
            output = self.network(crop.image[None])
        optional = (values for values in (output.root_depth, output.confidence) if values is not None)
        if not all(np.isfinite(values).all() for values in (output.pose_2p5d, output.presence, *optional)):
            raise UnclaspError(f"the output of {self.network.name} is not finite; are its weights damaged?")
        return CropResult(output, crop.image_from_crop, square, size)


def _one_by_one(regions: Floats) -> Iterator[tuple[Floats, Floats]]:
    """Yield the first `MAX_OTHER_REGIONS` of regions (N, 4), each with the N - 1 remaining ones."""
    for index, region in enumerate(regions[:MAX_OTHER_REGIONS]):
        yield region, np.delete(regions, index, axis=0)


def averaged(result: CropResult, wider: CropResult, share: float) -> CropResult:
    """Return a closer crop's result with its joints averaged with those of a wider one, in pixels of the picture.

    Nothing changes unless both have the same hands present, nor for a hand that the wider crop has elsewhere (mean
    joint distance of `SAME_PLACE` times its size or more). Depths stay: each crop has a line of sight of its own.

    Args:
        result: The closer crop's result.
        wider: The wider crop's result in the same picture.
        share: Weight of the wider one, 0 to 1.
    """
    if (result.present != wider.present).any():
        return result
    pairs = {slot: (result.joints_of(slot), wider.joints_of(slot)) for slot in result.present_slots}
    return result.with_joints_2d(
        {
            slot: (1 - share) * joints + share * wider_joints
            for slot, (joints, wider_joints) in pairs.items()
            if geometry.mean_distance(joints, wider_joints) < SAME_PLACE * geometry.extent(joints)
        }
    )


def _tilt(result: CropResult, slots: list[int]) -> float:
    """Return the rotation of some hands from pointing up in the picture: degrees, clockwise; 0 if they disagree."""
    hands = np.stack([result.joints_of(slot) for slot in slots])
    pointing = hands[:, :-1].mean(axis=1) - hands[:, -1]
    x, y = (pointing / np.maximum(np.linalg.norm(pointing, axis=1, keepdims=True), 1e-6)).mean(axis=0)
    return float(np.rad2deg(np.arctan2(x, -y))) if np.hypot(x, y) > MIN_MEAN_DIRECTION else 0.0


def _sureness(result: CropResult, slots: list[int]) -> float:
    """Return the mean confidence of some hands, or their mean presence where the network predicts no confidence."""
    return result.mean_confidence_of(slots) if result.has_confidence else float(result.presence[slots].mean())
