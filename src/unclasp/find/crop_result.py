"""The result of the pose network for one crop, in pixels of the picture."""

from typing import Final, NamedTuple

import numpy as np

from unclasp import geometry
from unclasp.arrays import Bools, Floats
from unclasp.engines.network import NetworkOutput, mirror_output
from unclasp.hands import HAND_SLICES, JOINTS_PER_HAND
from unclasp.pose import present_hands

MIN_CONFIDENCE: Final = 0.2
"""A hand with a mean confidence below this is doubtful, and is searched for elsewhere or predicted again. Of 16 regions
in rendered pictures, eight of the nine with a hand had 0.19 and more, the seven without one 0.15 and less."""

MIN_HAND_SCORE: Final = 0.5
"""Only above this does a hand score, or the landmark network's hand score and side score of a reading, speak for a hand
of that side. The fusion network decides by itself how to use other readings."""

DENIED_PRESENCE: Final = 0.25
"""A hand that is dropped gets at most this presence; a missing hand with more than this calls for second opinions."""

LIKELY_PRESENCE: Final = 0.25
"""Hands with at least this presence are touched up. It is below the presence at which a hand counts, because a video
keeps hands that single frames doubt, and their joints must not jump then."""

SAME_PLACE: Final = 0.25
"""Two hands are at one place if the distance of their middles is below this share of the larger one's size."""


class CropResult(NamedTuple):
    """The result of the pose network for one crop."""

    output: NetworkOutput
    image_from_crop: Floats
    square: Floats
    """(4,) x1, y1, x2, y2 px."""
    image_size: int
    """Side of the crop in its own px."""
    middles: Floats | None = None
    """(2, 2) px of the picture: the middles of the crops that the right and the left hand come from. None if both come
    from this crop."""
    hand_scores: Floats | None = None
    """(2,) probability, by the landmark network, that there is a right hand at the joints of the right one, and a left
    hand at those of the left one; 0 where it was not run. None without the landmark network."""
    adjusted_confidence: Floats | None = None
    """(42,) the confidence to report where it is not the pose network's: after the fusion, or where there may be no
    hand. All rules are for the pose network's."""

    @property
    def joints_2d(self) -> Floats:
        """(42, 2) px of the picture."""
        return geometry.apply_affine(self.image_from_crop, self.output.pose_2p5d[0, :, :2])

    def joints_of(self, slot: int) -> Floats:
        """Return a hand's joints: (21, 2) px of the picture."""
        return self.joints_2d[HAND_SLICES[slot]]

    @property
    def middle(self) -> Floats:
        """(2,) px of the picture: the crop's middle (`geometry.crop_middle`), half a crop pixel off the square's."""
        return np.asarray((self.square[:2] + self.square[2:] - self._crop_pixel) / 2)

    @property
    def _crop_pixel(self) -> float:
        """Side of a pixel of the crop, in px of the picture; the square's over `image_size` but for rounding."""
        return geometry.scale_of(self.image_from_crop)

    @property
    def middles_of_hands(self) -> Floats:
        """(2, 2) px of the picture: the middles of the crops that the right and the left hand come from."""
        return np.stack([self.middle, self.middle]) if self.middles is None else self.middles

    @property
    def presence(self) -> Floats:
        """(2,) probability that the right and the left hand are in the crop."""
        return np.asarray(self.output.presence[0])

    @property
    def present(self) -> Bools:
        """(2,) whether the right and the left hand count as present."""
        return present_hands(self.presence)

    @property
    def present_slots(self) -> list[int]:
        """The slots of the hands that count as present, 0 right and 1 left."""
        return [int(slot) for slot in np.flatnonzero(self.present)]

    @property
    def only_slot(self) -> int | None:
        """Slot of the hand that counts as present, 0 right and 1 left; None unless it is just one."""
        slots = self.present_slots
        return slots[0] if len(slots) == 1 else None

    @property
    def likelier_slot(self) -> int:
        """Slot of the hand with the higher presence, 0 right and 1 left."""
        return int(self.presence.argmax())

    @property
    def has_confidence(self) -> bool:
        """Whether the network predicts confidences. Without them all rules that need one are left out."""
        return self.output.confidence is not None

    def confidence(self, slot: int) -> float:
        """Return the mean confidence of a hand's joints; 0 without any (`has_confidence`)."""
        return 0.0 if self.output.confidence is None else float(self.output.confidence[0, HAND_SLICES[slot]].mean())

    def hand_score(self, slot: int) -> float:
        """Return a hand's score (`hand_scores`); 0 without the landmark network."""
        return 0.0 if self.hand_scores is None else float(self.hand_scores[slot])

    @property
    def reported_confidence(self) -> Floats | None:
        """(42,) the confidence of each joint that users see; None where the network predicts none."""
        if self.output.confidence is None or self.adjusted_confidence is not None:
            return self.adjusted_confidence
        return np.asarray(self.output.confidence[0])

    @property
    def mean_confidence(self) -> float:
        """Mean confidence of the joints of all present hands; 0 without any."""
        return self.mean_confidence_of(self.present_slots)

    def mean_confidence_of(self, slots: list[int]) -> float:
        """Return the mean confidence of the joints of some hands, 0 right and 1 left; 0 without any."""
        return sum(map(self.confidence, slots)) / max(1, len(slots))

    @property
    def are_at_one_place(self) -> bool:
        """Whether the middles of both hands are nearer than `SAME_PLACE` times the size of the larger one."""
        right, left = (self.joints_2d[joints] for joints in HAND_SLICES)
        return geometry.on_one_place(right, left, SAME_PLACE)

    def without_hand(self, slot: int) -> "CropResult":
        """Return the result with the presence of a hand, 0 right and 1 left, lowered so that it does not count."""
        return self.with_presence({slot: min(self.presence[slot], DENIED_PRESENCE)})

    def with_one_hand(self) -> "CropResult":
        """Return the result with only the hand of the higher presence."""
        return self.without_hand(1 - self.likelier_slot)

    def without_hands(self, hands: Bools) -> "CropResult":
        """Return the result without the hands that are marked in `hands` (2,)."""
        result = self
        for slot in np.flatnonzero(hands & self.present).tolist():
            result = result.without_hand(slot)
        return result

    def without_confidence_in(self, slot: int) -> "CropResult":
        """Return the result with zero confidence in the joints of a hand, 0 right and 1 left."""
        if self.output.confidence is None:
            return self
        confidence = self.output.confidence.copy()
        confidence[0, HAND_SLICES[slot]] = 0.0
        result = self._replace(output=self.output._replace(confidence=confidence))
        return result.with_reported_confidence({slot: np.zeros(JOINTS_PER_HAND)})

    def mapped(self, other_from_this: Floats) -> "CropResult":
        """Return the result in another picture, of which this one is a mirrored, turned or cut-out copy.

        Args:
            other_from_this: 3x3, pixels of this picture to those of the other one; it keeps sizes.
        """
        half = (self.square[2] - self.square[0]) / 2
        middle = geometry.apply_affine(other_from_this, self.middle) + self._crop_pixel / 2
        mapped = self._replace(
            image_from_crop=other_from_this @ self.image_from_crop,
            square=geometry.square_around(middle, half),
            middles=None if self.middles is None else geometry.apply_affine(other_from_this, self.middles),
        )
        if not geometry.is_mirroring(other_from_this):
            return mapped
        return mapped._replace(
            output=mirror_output(self.output, self.image_size),
            image_from_crop=mapped.image_from_crop @ geometry.flip_matrix(self.image_size),
            middles=_exchanged(mapped.middles),
            hand_scores=_exchanged(self.hand_scores),
            adjusted_confidence=_exchanged(self.adjusted_confidence),
        )

    def with_presence(self, presence: dict[int, float]) -> "CropResult":
        """Return the result with another presence for some hands, 0 right and 1 left."""
        changed = [presence.get(slot, self.presence[slot]) for slot in (0, 1)]
        return self._replace(output=self.output._replace(presence=np.array([changed])))

    def with_joints_2d(self, joints_2d: dict[int, Floats]) -> "CropResult":
        """Return the result with other joints (21, 2), px of the picture, for some hands, 0 right and 1 left."""
        pose = self.output.pose_2p5d.copy()
        crop_from_image = np.linalg.inv(self.image_from_crop)
        for slot, joints in joints_2d.items():
            pose[0, HAND_SLICES[slot], :2] = geometry.apply_affine(crop_from_image, joints)
        return self._replace(output=self.output._replace(pose_2p5d=pose))

    def with_depths(self, depths: dict[int, Floats]) -> "CropResult":
        """Return the result with other depths (21,), mm relative to the wrist, for some hands, 0 right and 1 left."""
        pose = self.output.pose_2p5d.copy()
        for slot, hand_depths in depths.items():
            pose[0, HAND_SLICES[slot], 2] = hand_depths
        return self._replace(output=self.output._replace(pose_2p5d=pose))

    def with_reported_confidence(self, confidence: dict[int, Floats]) -> "CropResult":
        """Return the result with another confidence (21,) to report for some hands, 0 right and 1 left."""
        if not confidence or self.reported_confidence is None:
            return self
        reported = self.reported_confidence.copy()
        for slot, of_hand in confidence.items():
            reported[HAND_SLICES[slot]] = of_hand
        return self._replace(adjusted_confidence=reported)

    def with_hands(self, results: dict[int, "CropResult"]) -> "CropResult":
        """Return the result with both hands, 0 right and 1 left, taken from other results.

        The presence of the hands, and the distance of their wrists in depth, stay this result's own.
        """
        right, left = results[0], results[1]
        joints = {slot: result.joints_of(slot) for slot, result in results.items()}
        depths = {slot: result.output.pose_2p5d[0, HAND_SLICES[slot], 2] for slot, result in results.items()}
        moved = self.with_joints_2d(joints).with_depths(depths)
        return moved._replace(
            output=moved.output._replace(confidence=_joined(right.output.confidence, left.output.confidence)),
            middles=np.stack([right.middles_of_hands[0], left.middles_of_hands[1]]),
            hand_scores=_joined(right.hand_scores, left.hand_scores),
            adjusted_confidence=_joined(right.reported_confidence, left.reported_confidence),
        )


def _exchanged(values: Floats | None) -> Floats | None:
    """Return an array with its halves (along the first axis), of the right and of the left hand, exchanged."""
    return None if values is None else np.roll(values, len(values) // 2, axis=0)


def _joined(right: Floats | None, left: Floats | None) -> Floats | None:
    """Return the right hand's half (along the last axis) of one array and the left hand's of another."""
    if right is None or left is None:
        return None
    half = right.shape[-1] // 2
    return np.concatenate([right[..., :half], left[..., half:]], axis=-1)
