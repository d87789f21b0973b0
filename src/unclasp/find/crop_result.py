"""What the network saw in one crop, in the picture's pixels."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.engines.network import NetworkOutput, mirror_output
from unclasp.hands import HAND_SLICES
from unclasp.pose import present_hands

Floats = npt.NDArray[np.floating]

DENIED_PRESENCE: Final = 0.25
"""A hand less likely than this in the first look, which sees the most around it, is not accepted from a closer one."""

LIKELY_PRESENCE: Final = 0.25
"""Hands from this presence on are touched up: a video keeps hands that single frames doubt, and joints must not jump
then."""

MIN_DETECTION_SCORE: Final = 0.3
"""Hands are believed to be there if they are worth (`CropResult.detection_score`) at least this much."""

MIN_CONFIDENCE_UNSEEN: Final = 0.5
"""Hands are also believed if the mean confidence of one is at least this, seen or not: it may hide behind the other."""

MIN_IN_TRACK: Final = (0.15, 0.5)
"""Where the last frame of a video had hands, they are believed if one has at least this mean confidence, or is seen at
least this likely by the landmark network."""

GHOST_MAX_CONFIDENCE: Final = 0.1
"""Only a second hand with a mean confidence below this can be a ghost."""

GHOST_SCORES_BESIDE: Final = (0.1, 0.5)
"""It is one beside a hand that is seen: the landmark network sees it less likely than the first of these, and the other
one at least as likely as the second."""

GHOST_SCORES_SAME_PLACE: Final = (0.5, 0.9)
"""It is one on a hand that is surely seen: it lies on the place of that (`SAME_PLACE`), the landmark network's score of
it is below the first of these, and that of the other one at least the second."""

SAME_PLACE: Final = 0.25
"""Two hands lie on one place if their middles are nearer than this share of the larger one's size."""

UNSURE_HAND_SCORE: Final = 0.5
"""What a hand that the landmark network sees is worth, if the pose network is not sure of it at all."""

MIN_SCORE_GAIN: Final = 0.1
"""What is seen elsewhere, by another search, counts where it is worth (`CropResult.detection_score`) more by this."""

MIN_MEAN_DIRECTION: Final = 0.5
"""Two hands point the same way if the mean of their unit vectors is longer than this: each within 60 degrees of it."""


class CropResult(NamedTuple):
    """What the network saw in one crop."""

    output: NetworkOutput
    image_from_crop: Floats
    square: Floats
    """(4,) x1, y1, x2, y2 px."""
    middles: Floats | None = None
    """(2, 2) px of the picture: the middles of the crops in which the right and the left hand were seen. If not given,
    both were seen in this one."""
    hand_scores: Floats | None = None
    """(2,) how likely it is to the landmark network that there is a right hand where the right one is, and a left hand
    where the left one is; 0 where it was not asked. None where it does not take part."""

    @property
    def joints_2d(self) -> Floats:
        """(42, 2) px of the picture."""
        return geometry.apply_affine(self.image_from_crop, self.output.pose_2p5d[0, :, :2])

    @property
    def middle(self) -> Floats:
        """(2,) px of the picture: that of the crop (`geometry.crop_middle`), half its pixel beside the square's."""
        return np.asarray((self.square[:2] + self.square[2:] - self._crop_pixel) / 2)

    @property
    def _crop_pixel(self) -> float:
        """The side of a pixel of the crop, in px of the picture."""
        return float(np.sqrt(np.abs(np.linalg.det(self.image_from_crop[:2, :2]))))

    @property
    def middles_of_hands(self) -> Floats:
        """(2, 2) px of the picture: the middles of the crops in which the right and the left hand were seen."""
        return np.stack([self.middle, self.middle]) if self.middles is None else self.middles

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """(2,) which hands count."""
        return present_hands(self.output.presence[0])

    @property
    def present_slots(self) -> list[int]:
        """The hands that count, 0 right and 1 left."""
        return [int(slot) for slot in np.flatnonzero(self.present)]

    def confidence(self, slot: int) -> float:
        """Return the mean confidence of a hand's joints; 0 where the network tells none: it is not sure then."""
        return 0.0 if self.output.confidence is None else float(self.output.confidence[0, HAND_SLICES[slot]].mean())

    @property
    def mean_confidence(self) -> float:
        """That of the joints of all hands that count; 0 without any."""
        return self.mean_confidence_of(self.present_slots)

    @property
    def slot(self) -> int:
        """The likelier hand, 0 right and 1 left."""
        return int(self.output.presence[0].argmax())

    def tilt(self, *, alone: bool) -> float:
        """Return how far the hands are turned from pointing up in the picture: degrees, clockwise; 0 if they disagree.

        With `alone` only the likelier hand counts.
        """
        hands = np.stack([self.joints_2d[HAND_SLICES[slot]] for slot in self._slots(alone=alone)])
        pointing = hands[:, :-1].mean(axis=1) - hands[:, -1]
        x, y = (pointing / np.maximum(np.linalg.norm(pointing, axis=1, keepdims=True), 1e-6)).mean(axis=0)
        return float(np.rad2deg(np.arctan2(x, -y))) if np.hypot(x, y) > MIN_MEAN_DIRECTION else 0.0

    def confidence_or_presence(self, *, alone: bool) -> float:
        """Return the mean confidence of these hands, or how likely they are where the network tells no confidence."""
        slots = self._slots(alone=alone)
        if self.output.confidence is None:
            return float(self.output.presence[0, slots].mean())
        return self.mean_confidence_of(slots)

    def mean_confidence_of(self, slots: list[int]) -> float:
        """Return that of the joints of some hands, 0 right and 1 left; 0 without any."""
        return sum(map(self.confidence, slots)) / max(1, len(slots))

    @property
    def max_confidence(self) -> float:
        """The mean confidence of the surest hand that counts; 0 without any."""
        return max(map(self.confidence, self.present_slots), default=0.0)

    @property
    def are_at_one_place(self) -> bool:
        """Whether the middles of both hands are nearer than the larger one's size times `SAME_PLACE`."""
        right, left = (self.joints_2d[joints] for joints in HAND_SLICES)
        return geometry.on_one_place(right, left, SAME_PLACE)

    @property
    def total_hand_score(self) -> float:
        """How many of the hands that count the landmark network sees, 0 to 2; 0 where it does not take part."""
        return 0.0 if self.hand_scores is None else float(self.hand_scores[self.present_slots].sum())

    @property
    def max_hand_score(self) -> float:
        """How likely the landmark network sees the likeliest of the hands that count; 0 where it does not take part."""
        return 0.0 if self.hand_scores is None else float(self.hand_scores[self.present_slots].max(initial=0.0))

    @property
    def detection_score(self) -> float:
        """How much speaks for the hands that count: how likely each is seen, and more so the surer it is; 0 to 3."""
        if self.hand_scores is None:
            return 0.0
        return sum(
            float(self.hand_scores[slot]) * (UNSURE_HAND_SCORE + self.confidence(slot)) for slot in self.present_slots
        )

    @property
    def hand_evidence(self) -> Floats | None:
        """(2,) what speaks for each hand: that it is seen, or that the pose network is sure; None where none tells."""
        if self.output.confidence is None or self.hand_scores is None:
            return None
        return np.maximum(self.hand_scores, [self.confidence(slot) for slot in (0, 1)])

    @property
    def is_credible(self) -> bool:
        """Whether there are hands at all.

        The pose network has learned from pictures with hands alone, and points at some in any picture. Networks that
        tell no confidence are always believed.
        """
        if self.output.confidence is None or self.hand_scores is None:
            return True
        return self.detection_score >= MIN_DETECTION_SCORE or self.max_confidence >= MIN_CONFIDENCE_UNSEEN

    @property
    def is_credible_in_track(self) -> bool:
        """The same where the last frame of a video had hands."""
        if self.output.confidence is None or self.hand_scores is None:
            return True
        sure, likely = MIN_IN_TRACK
        return self.max_confidence >= sure or self.max_hand_score >= likely

    def _slots(self, *, alone: bool) -> list[int]:
        return [self.slot] if alone else [0, 1]

    def without_hand(self, slot: int) -> "CropResult":
        """Return the look with a hand denied, 0 right and 1 left."""
        presence = self.output.presence.copy()
        presence[0, slot] = min(presence[0, slot], DENIED_PRESENCE)
        return self._replace(output=self.output._replace(presence=presence))

    def with_one_hand(self) -> "CropResult":
        """Return the look with the less likely hand denied."""
        return self.without_hand(1 - self.slot)

    def without_confidence_in(self, slot: int) -> "CropResult":
        """Return the look without confidence in the joints of a hand, 0 right and 1 left."""
        if self.output.confidence is None:
            return self
        confidence = self.output.confidence.copy()
        confidence[0, HAND_SLICES[slot]] = 0.0
        return self._replace(output=self.output._replace(confidence=confidence))

    def without_ghost(self) -> "CropResult":
        """Return the look without a second hand that neither network is sure of, beside or on one that is seen.

        The pose network has learned from more pictures of two hands than of one. For whole photos, and for frames of
        videos before which there were no hands; otherwise the frames before tell, and with a box the user does.
        """
        if self.hand_scores is None or self.output.confidence is None or len(self.present_slots) < 2:
            return self
        ghost = int(self.hand_scores.argmin())
        own, other = self.hand_scores[ghost], self.hand_scores[1 - ghost]
        (beside, seen_beside), (alike, seen_alike) = GHOST_SCORES_BESIDE, GHOST_SCORES_SAME_PLACE
        is_beside = own < beside and other >= seen_beside
        is_alike = own < alike and other >= seen_alike and self.are_at_one_place
        is_ghost = self.confidence(ghost) < GHOST_MAX_CONFIDENCE and (is_beside or is_alike)
        return self.without_hand(ghost) if is_ghost else self

    def without_hands(self, hands: npt.NDArray[np.bool_]) -> "CropResult":
        """Return the look without some hands: (2,) which."""
        view = self
        for slot in np.flatnonzero(hands & self.present).tolist():
            view = view.without_hand(slot)
        return view

    def without_hands_missing_in(self, first: "CropResult") -> "CropResult":
        """Return the look with hands that the first look denied no likelier than there, unless no hand were left."""
        seen, before = self.output.presence, first.output.presence
        presence = np.where(before < DENIED_PRESENCE, np.minimum(before, seen), seen)
        if not present_hands(presence[0]).any():
            return self
        return self._replace(output=self.output._replace(presence=presence))

    def mapped(self, other_from_this: Floats) -> "CropResult":
        """Return the look in another picture, of which this one is mirrored, turned or cut out.

        Args:
            other_from_this: 3x3, pixels of this picture to those of the other one; it keeps sizes.
        """
        half = (self.square[2] - self.square[0]) / 2
        middle = geometry.apply_affine(other_from_this, self.middle) + self._crop_pixel / 2
        there = self._replace(
            image_from_crop=other_from_this @ self.image_from_crop,
            square=np.concatenate([middle - half, middle + half]),
            middles=None if self.middles is None else geometry.apply_affine(other_from_this, self.middles),
        )
        if np.linalg.det(other_from_this) > 0:
            return there
        size = round(2 * half / self._crop_pixel)
        return there._replace(
            output=mirror_output(self.output, size),
            image_from_crop=there.image_from_crop @ geometry.flip_matrix(size),
            middles=None if there.middles is None else there.middles[::-1],
            hand_scores=None if there.hand_scores is None else there.hand_scores[::-1],
        )

    def with_joints_2d(self, joints_2d: dict[int, Floats]) -> "CropResult":
        """Return the look with a hand's joints, 0 right and 1 left, at other places (21, 2) px of the picture."""
        pose = self.output.pose_2p5d.copy()
        crop_from_image = np.linalg.inv(self.image_from_crop)
        for slot, joints in joints_2d.items():
            pose[0, HAND_SLICES[slot], :2] = geometry.apply_affine(crop_from_image, joints)
        return self._replace(output=self.output._replace(pose_2p5d=pose))

    def with_depths(self, depths: dict[int, Floats]) -> "CropResult":
        """Return the look with a hand's depths, 0 right and 1 left, as these (21,) mm relative to its wrist."""
        pose = self.output.pose_2p5d.copy()
        for slot, relative in depths.items():
            pose[0, HAND_SLICES[slot], 2] = relative
        return self._replace(output=self.output._replace(pose_2p5d=pose))

    def averaged(self, other: "CropResult", share: float) -> "CropResult":
        """Return the result with the joints' pixels averaged with another's.

        Nothing changes unless both have the same hands, nor for a hand that the other one has elsewhere
        (`SAME_PLACE`). Depths stay: each crop has a line of sight of its own.

        Args:
            other: A result in the same picture.
            share: Weight of the other one, 0 to 1.
        """
        if (self.present != other.present).any():
            return self
        pairs = {slot: (self.joints_2d[HAND_SLICES[slot]], other.joints_2d[HAND_SLICES[slot]]) for slot in (0, 1)}
        return self.with_joints_2d(
            {
                slot: (1 - share) * own + share * theirs
                for slot, (own, theirs) in pairs.items()
                if self.present[slot] and geometry.mean_distance(own, theirs) < SAME_PLACE * geometry.extent(own)
            }
        )

    def with_hands(self, looks: dict[int, "CropResult"]) -> "CropResult":
        """Return the look with the joints of a hand, 0 right and 1 left, as another look has them."""
        moved = self.with_joints_2d({slot: look.joints_2d[HAND_SLICES[slot]] for slot, look in looks.items()})
        moved = moved.with_depths(
            {slot: look.output.pose_2p5d[0, HAND_SLICES[slot], 2] for slot, look in looks.items()}
        )
        confidence = None if self.output.confidence is None else self.output.confidence.copy()
        middles = self.middles_of_hands.copy()
        for slot, look in looks.items():
            joints = HAND_SLICES[slot]
            middles[slot] = look.middles_of_hands[slot]
            if confidence is not None and look.output.confidence is not None:
                confidence[0, joints] = look.output.confidence[0, joints]
        return moved._replace(output=moved.output._replace(confidence=confidence), middles=middles)
