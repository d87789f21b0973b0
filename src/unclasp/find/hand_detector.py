"""Detects hands in whole pictures with MediaPipe's two networks: the palm detector and the landmark network.

The palm detector finds palms, the landmark network decides whether each belongs to a hand. Both are trained on real
pictures, and tell hands from feet, faces and leaves where the finder, which is trained on rendered ones, does not. They
miss hands that hide each other, which the finder and the pose network know.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from unclasp import geometry
from unclasp.arrays import Floats, Pixels
from unclasp.find.boxes import SMALLEST_CROP, clipped, meets
from unclasp.find.crop_result import MIN_HAND_SCORE, CropResult
from unclasp.find.faces import FacesIn
from unclasp.find.finder import Regions, merge_nearby
from unclasp.find.landmarks import LandmarkReading, Landmarks
from unclasp.find.palms import Palm, PalmDetector
from unclasp.find.search import Proposal, proposal_of
from unclasp.find.touch_up import MAX_CONFIDENCE_TO_FOLLOW, SAME_HAND_DISTANCE
from unclasp.hands import SIDES, Side
from unclasp.lifting import hand_sized
from unclasp.pose import MIN_PRESENCE_SECOND

PALM_SIZES: Final = (128, 192, 320, 512)
"""px: sides of the squares on which the palm detector runs; larger ones show smaller hands (docs/decisions.md)."""
PALM_SIZES_IN_CROWDS: Final = (768, 1024)
"""Further ones for everyone's hands in a picture, which may be small."""
PALM_SIZES_IN_VIDEOS: Final = (192, 320)
"""The same for frames of videos: fewer, as frames have to be fast and there are more of them."""
MAX_OTHER_SIDE_SCORE: Final = 0.1
"""A hand of the result with a hand score of at most this may really be the detected hand of the other side."""
MIN_FIRST_HAND_SCORE: Final = 0.1
"""Palms whose first hand score is below this are dropped."""
MIN_DETECTED_SCORE: Final = 0.3
"""A hand is detected if its score after the second reading is above this."""
CERTAIN_SCORE: Final = 0.9
"""Palms at a detected hand with a score above this are not read again. A hand that only the further sizes for crowds
show must reach it: less certain ones are ears and fingertips as often as hands."""
MAX_PALMS: Final = 16
"""At most this many palms are read at each size, in the order of their scores: a crowd has many."""
MAX_REACH: Final = 7.0
"""Two hands are not taken for one person's if their distance is at least this many sizes of the larger one."""
MAX_SIZE_RATIO_OF_PAIR: Final = 2.0
"""Nor if one is more than this many times as large as the other."""
MAX_REACH_OF_MISPLACED: Final = 3.0
"""A hand on another one is misplaced if it was detected elsewhere, less than this many sizes away."""
SAME_DETECTION: Final = 0.35
"""Two detections are of one hand if the distance of their middles is below this share of the larger one's extent."""


class DetectedHand(NamedTuple):
    """A hand in a picture, found by the hand detector."""

    side: Side
    reading: LandmarkReading

    @property
    def slot(self) -> int:
        """0 right and 1 left."""
        return SIDES.index(self.side)

    @property
    def joints_2d(self) -> Floats:
        """(21, 2) px, in InterHand2.6M's order."""
        return self.reading.joints_2d

    @property
    def score(self) -> float:
        """Probability that there is a hand and that it is of its side, 0 to 1."""
        return self.reading.score

    @property
    def box(self) -> Floats:
        """(4,) x1, y1, x2, y2 px, tight around the joints."""
        return geometry.tight_box(self.joints_2d)

    def box_in(self, width: int, height: int) -> Floats:
        """Return its box (4,), clipped to a picture of this size."""
        return clipped(self.box, width, height)

    def is_seen_in(self, image: Pixels) -> bool:
        """Tell whether enough of it is in a picture (H, W, 3) for a crop."""
        height, width = image.shape[:2]
        x1, y1, x2, y2 = self.box_in(width, height)
        return meets(self.box, image) and max(x2 - x1, y2 - y1) >= SMALLEST_CROP

    @property
    def extent(self) -> float:
        """Longer side of its box, px."""
        return geometry.extent(self.joints_2d)

    def contains(self, point: Floats) -> bool:
        """Tell whether a point (2,) px is near the hand's middle, relative to its extent."""
        return bool(np.linalg.norm(point - self.middle) < SAME_DETECTION * self.extent)

    @property
    def depths(self) -> Floats:
        """(21,) mm relative to the wrist."""
        depths = hand_sized(self.reading.joints)[:, 2]
        return np.asarray(depths - depths[-1])

    @property
    def middle(self) -> Floats:
        """(2,) px: the mean of its joints."""
        return np.asarray(self.joints_2d.mean(axis=0))

    def distance_to(self, joints_2d: Floats) -> float:
        """Return the distance to the middle of a hand with these joints (21, 2) px."""
        return float(np.linalg.norm(self.middle - joints_2d.mean(axis=0)))

    def is_in_reach_of(self, joints_2d: Floats, reach: float = MAX_REACH) -> bool:
        """Tell whether a hand with these joints (21, 2) px can belong to the same person, by distance and size."""
        small, large = sorted((self.extent, geometry.extent(joints_2d)))
        return self.distance_to(joints_2d) < reach * large and large <= MAX_SIZE_RATIO_OF_PAIR * small

    def is_at(self, joints_2d: Floats) -> bool:
        """Tell whether a hand with these joints (21, 2) px is at the same place."""
        return geometry.on_one_place(self.joints_2d, joints_2d, SAME_DETECTION)


class HandDetector:
    """Detects hands in whole pictures.

    Args:
        palms: The palm detector.
        landmarks: The landmark network.
    """

    def __init__(self, palms: PalmDetector, landmarks: Landmarks) -> None:
        self.palms, self.landmarks = palms, landmarks

    def __call__(self, image: Pixels, sizes: Sequence[int] = PALM_SIZES) -> list[DetectedHand]:
        """Return the hands detected in a picture, by descending score.

        Args:
            image: (H, W, 3) RGB.
            sizes: px: sides of the squares on which the palm detector runs.
        """
        return self.read_all(image, (palm for size in sizes for palm in self.palms(image, size)[:MAX_PALMS]))

    def read_all(self, image: Pixels, palms: Iterable[Palm]) -> list[DetectedHand]:
        """Return the distinct hands at palms, by descending score."""
        readings: list[DetectedHand] = []
        for palm in palms:
            if not any(hand.score > CERTAIN_SCORE and hand.contains(palm.middle) for hand in readings):
                readings.extend(self._read(image, palm))
        return _distinct(hand for hand in readings if hand.is_seen_in(image))

    def _read(self, image: Pixels, palm: Palm) -> Iterator[DetectedHand]:
        """Yield the hand at a palm, if there is one.

        The landmark network has to confirm it in a second crop, which is laid around the joints that it finds in the
        first.
        """
        first = self.landmarks.read(image, *palm.around_hand())
        if not first.finite or first.hand_score < MIN_FIRST_HAND_SCORE:
            return
        sides: tuple[Side, Side] = ("right", "left") if first.side_score > 0.5 else ("left", "right")
        for side in sides:
            hand = DetectedHand(side, self.landmarks(image, first.joints_2d, side))
            if hand.reading.finite and hand.score > MIN_DETECTED_SCORE:
                yield hand
                return


def detect_hands(
    detector: HandDetector | None, image: Pixels, sizes: Sequence[int], faces: FacesIn
) -> list[DetectedHand]:
    """Return the hands detected with letterboxes of these sizes that are no faces; none without a detector."""
    hands = [] if detector is None else detector(image, sizes)
    return [hand for hand in hands if not faces.is_face(hand.joints_2d, hand.score)]


def with_small_hands(
    hands: Sequence[DetectedHand], detector: HandDetector | None, image: Pixels, faces: FacesIn
) -> list[DetectedHand]:
    """Return detected hands, and with them those that are too small for the usual sizes of the palm detector."""
    small = detect_hands(detector, image, PALM_SIZES_IN_CROWDS, faces)
    return _distinct([*hands, *(hand for hand in small if hand.score >= CERTAIN_SCORE)])


def _distinct(hands: Iterable[DetectedHand]) -> list[DetectedHand]:
    """Return the best hand at each place, by descending score."""
    distinct: list[DetectedHand] = []
    for hand in sorted(hands, key=lambda hand: -hand.score):
        if not any(hand.is_at(other.joints_2d) for other in distinct):
            distinct.append(hand)
    return distinct


def pair_of(hands: Sequence[DetectedHand]) -> list[DetectedHand]:
    """Return the hand with the best score and size, and the nearest one of the other side, if there is any."""
    first = most_prominent(hands)
    others = (hand for hand in hands if hand.side != first.side)
    nearest = min(others, key=lambda other: first.distance_to(other.joints_2d), default=None)
    return [first] if nearest is None else [first, nearest]


def most_prominent(hands: Sequence[DetectedHand]) -> DetectedHand:
    """Return the hand with the best score and size."""
    return max(hands, key=_prominence)


def _prominence(hand: DetectedHand) -> float:
    """Return the weight by which hands are ordered: large ones first, if their score is good."""
    return hand.score**2 * hand.extent


def partner_of(result: CropResult, hands: Sequence[DetectedHand]) -> DetectedHand | None:
    """Return the detected hand that is taken for the other hand of a person of whom one is known.

    It is the nearest one of the other side, unless that is too far away, too small or too large.

    Args:
        result: A result; there is no partner unless exactly one hand is present in it.
        hands: The hands detected in the whole picture.
    """
    slot = result.only_slot
    if slot is None:
        return None
    known = result.joints_of(slot)
    others = [hand for hand in hands if hand.score > MIN_HAND_SCORE and not hand.is_at(known)]
    return nearest_in_reach(known, slot, others)


def without_misplaced(result: CropResult, hands: Sequence[DetectedHand]) -> CropResult:
    """Return the result without the weaker of two hands on one place, if a hand of its side was detected elsewhere.

    Args:
        result: A result of the picture.
        hands: The hands detected in it.
    """
    scores = result.hand_scores
    if len(result.present_slots) < 2 or scores is None or not result.are_at_one_place:
        return result
    weaker = int(scores.argmin())
    if scores[weaker] >= MIN_HAND_SCORE:
        return result
    alone = result.without_hand(weaker)
    partner, known = partner_of(alone, hands), result.joints_of(1 - weaker)
    is_near = partner is not None and partner.is_in_reach_of(known, MAX_REACH_OF_MISPLACED)
    return alone if is_near else result


def nearest_in_reach(joints_2d: Floats, slot: int, hands: Sequence[DetectedHand]) -> DetectedHand | None:
    """Return the nearest hand of the other side than a hand with these joints (21, 2) px that can be the same person's.

    Args:
        joints_2d: (21, 2) px.
        slot: The side of that hand, 0 right and 1 left.
        hands: Detected hands.
    """
    reachable = [hand for hand in hands if hand.slot != slot and hand.is_in_reach_of(joints_2d)]
    return min(reachable, key=lambda hand: hand.distance_to(joints_2d), default=None)


def proposal_of_hands(hands: Sequence[DetectedHand], image: Pixels) -> Proposal:
    """Return where to predict detected hands: the first region, and the others.

    The first region holds the hand with the best score and size, and the nearest one of the other side if one crop
    should hold both (`finder.merge_nearby`).
    """
    height, width = image.shape[:2]
    pair = pair_of(hands)
    boxes = np.array([hand.box_in(width, height) for hand in pair])
    merged = merge_nearby(Regions(boxes, np.array([hand.score for hand in pair]))).boxes
    others = [hand for hand in hands if not any(hand is each for each in pair)]
    other_boxes = [hand.box_in(width, height) for hand in sorted(others, key=_prominence, reverse=True)]
    return proposal_of(np.concatenate([merged, np.reshape(other_boxes, (-1, 4))]))


def with_detected(result: CropResult, hands: Sequence[DetectedHand], square: Floats) -> CropResult:
    """Return a touched-up result with detected hands that it lacks, or has elsewhere.

    Only hands with a score above `MIN_HAND_SCORE` are added, of each side the one with the highest score.

    Args:
        result: A touched-up result, with hand scores.
        hands: The hands detected in the whole picture, by descending score.
        square: (4,) px: hands whose middles are outside do not belong to the same person.
    """
    best_of_side: dict[int, DetectedHand] = {}
    for hand in hands:
        x, y = hand.middle
        if hand.score > MIN_HAND_SCORE and square[0] < x < square[2] and square[1] < y < square[3]:
            best_of_side.setdefault(hand.slot, hand)
    for slot, hand in best_of_side.items():
        result = _with_hand(result, hand, alone=1 - slot not in best_of_side)
    return result


def _with_hand(result: CropResult, hand: DetectedHand, *, alone: bool) -> CropResult:
    """Return the result with a detected hand.

    With `alone` no hand of the other side was detected, so that a hand of that side in the result may really be this
    one.
    """
    slot, other = hand.slot, 1 - hand.slot
    score, other_score, present = result.hand_score(slot), result.hand_score(other), result.present
    joints, other_joints = result.joints_of(slot), result.joints_of(other)
    if present[slot] and score > MIN_HAND_SCORE:
        return result
    if present[slot] and result.confidence(slot) >= MAX_CONFIDENCE_TO_FOLLOW and not hand.is_at(joints):
        return result  # it may be hidden behind the other one
    if alone and present[other] and hand.is_at(other_joints):
        if other_score > MAX_OTHER_SIDE_SCORE:
            return result
        result = result.without_hand(other)  # the pose network took this hand for one of the other side
    # At least enough to count as present.
    result = result.with_presence({slot: max(result.presence[slot], hand.score, MIN_PRESENCE_SECOND)})
    if score > MIN_HAND_SCORE and hand.is_at(joints):
        return result
    scores = (hand.score, other_score) if slot == 0 else (other_score, hand.score)
    result = result._replace(hand_scores=np.array(scores))
    if geometry.mean_distance(hand.joints_2d, joints) < SAME_HAND_DISTANCE * hand.extent:
        return result
    return result.with_joints_2d({slot: hand.joints_2d}).with_depths({slot: hand.depths}).without_confidence_in(slot)
