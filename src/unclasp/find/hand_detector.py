"""Hands that MediaPipe's two networks see in a whole picture: one says where a palm is, the other whether it is a hand.

Both have learned from real pictures, in which they tell hands from feet, faces and leaves where the finder, which has
learned from rendered ones, does not. They miss hands that hide each other, which the finder and the pose network know.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.batch import ByteArray
from unclasp.find.crop_predictor import MIN_CONFIDENCE
from unclasp.find.crop_result import CropResult
from unclasp.find.finder import Regions, merge_nearby
from unclasp.find.landmarks import LandmarkReading, Landmarks
from unclasp.find.palms import Palm, PalmFinder
from unclasp.find.regions import SMALLEST_CROP, meets
from unclasp.find.search import Proposal, proposal_of
from unclasp.find.touch_up import DOUBTFUL_CONFIDENCE, MIN_HAND_SCORE, SAME_HAND_DISTANCE
from unclasp.hands import HAND_SLICES, SIDES, Side
from unclasp.lifting import hand_sized
from unclasp.pose import MIN_PRESENCE_SECOND

Floats = npt.NDArray[np.floating]

PALM_SIZES: Final = (128, 192, 320, 512)
"""px: squares that palms are looked for in; larger ones show smaller hands (docs/decisions.md)."""
PALM_SIZES_IN_VIDEOS: Final = (192, 320)
"""The same for frames, which have to be fast, and of which there are more."""
MAX_OTHER_SIDE_SCORE: Final = 0.1
"""A hand that the landmark network sees less likely than this may be one of the other side."""
MIN_FIRST_HAND_SCORE: Final = 0.1
"""What the landmark network takes for a hand less than this is not read again."""
MIN_DETECTED_SCORE: Final = 0.3
"""What it takes for a hand of a side at least so likely is looked at by the pose network."""
CERTAIN_SCORE: Final = 0.9
"""Where it sees a hand as likely as this, no palm is read again."""
MAX_PALMS: Final = 16
"""Palms that are read at each size, the surest first: a crowd has many."""
_SAME_PLACE: Final = 0.35
"""Hands whose middles are nearer than this share of the larger one's extent are the same."""


def are_at_one_place(first: Floats, second: Floats) -> bool:
    """Tell whether two hands, by their joints (21, 2) px, are the same one."""
    return geometry.on_one_place(first, second, _SAME_PLACE)


class DetectedHand(NamedTuple):
    """A hand in a picture."""

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
        """How likely there is a hand, and one of its side, 0 to 1."""
        return self.reading.hand_score * self.reading.side_score

    @property
    def box(self) -> Floats:
        """(4,) x1, y1, x2, y2 px, tight around the joints."""
        return np.concatenate([self.joints_2d.min(axis=0), self.joints_2d.max(axis=0)])

    def box_in(self, width: int, height: int) -> Floats:
        """Return what of its box (4,) lies in a picture."""
        return np.clip(self.box, -0.5, np.array([width, height] * 2) - 0.5)

    @property
    def extent(self) -> float:
        """px: the longer side of its box."""
        return geometry.extent(self.joints_2d)

    def contains(self, point: Floats) -> bool:
        """Tell whether a point (2,) px is near the hand's middle."""
        return bool(np.linalg.norm(point - self.middle) < _SAME_PLACE * self.extent)

    @property
    def depths(self) -> Floats:
        """(21,) mm relative to the wrist."""
        depths = hand_sized(self.reading.joints)[:, 2]
        return np.asarray(depths - depths[-1])

    @property
    def middle(self) -> Floats:
        """(2,) px."""
        return np.asarray(self.joints_2d.mean(axis=0))

    def distance_to(self, other: "DetectedHand") -> float:
        """Return how far another hand's middle is away, px."""
        return float(np.linalg.norm(self.middle - other.middle))

    def is_at(self, joints_2d: Floats) -> bool:
        """Tell whether a hand with these joints (21, 2) px is at the same place."""
        return are_at_one_place(self.joints_2d, joints_2d)


class Detected(NamedTuple):
    """What the pose network sees where hands were spotted."""

    look: CropResult
    others: Floats
    """(N, 4) px: boxes around other hands."""
    hands: list[DetectedHand]
    """All over the picture, the likeliest first."""
    square: Floats
    """(4,) px, around those of one person."""

    def with_detected(self, view: CropResult) -> CropResult:
        """Return the touched-up look with hands that it lacks, or has elsewhere, and that are seen for sure."""
        return with_detected(view, self.hands, self.square)


class HandDetector:
    """Spots hands in whole pictures.

    Args:
        palms: The palm detector.
        landmarks: The landmark network.
    """

    def __init__(self, palms: PalmFinder, landmarks: Landmarks) -> None:
        self.palms, self.landmarks = palms, landmarks

    def __call__(self, image: ByteArray, sizes: Sequence[int] = PALM_SIZES) -> list[DetectedHand]:
        """Return the hands that are seen in a picture, the likeliest first.

        Args:
            image: (H, W, 3) RGB.
            sizes: px: squares that palms are looked for in.
        """
        height, width = image.shape[:2]
        read: list[DetectedHand] = []
        for size in sizes:
            for palm in self.palms(image, size)[:MAX_PALMS]:
                if not any(hand.score > CERTAIN_SCORE and hand.contains(palm.middle) for hand in read):
                    read.extend(self._read(image, palm))
        kept: list[DetectedHand] = []
        for hand in sorted(read, key=lambda hand: -hand.score):
            inside = hand.box_in(width, height)
            is_new = not any(hand.is_at(other.joints_2d) for other in kept)
            if is_new and meets(hand.box, image) and max(inside[2:] - inside[:2]) >= SMALLEST_CROP:
                kept.append(hand)
        return kept

    def _read(self, image: ByteArray, palm: Palm) -> Iterator[DetectedHand]:
        """Yield the hand around a palm, if the landmark network sees it once its crop is laid around its joints."""
        first = self.landmarks.read(image, *palm.around_hand())
        if not first.finite or first.hand_score < MIN_FIRST_HAND_SCORE:
            return
        sides: tuple[Side, Side] = ("right", "left") if first.side_score > 0.5 else ("left", "right")
        for side in sides:
            hand = DetectedHand(side, self.landmarks(image, first.joints_2d, side))
            if hand.reading.finite and hand.score > MIN_DETECTED_SCORE:
                yield hand
                return


def pair_of(hands: Sequence[DetectedHand]) -> list[DetectedHand]:
    """Return the likeliest of the large hands and the nearest one of the other side, if there is any."""
    first = max(hands, key=_conspicuous)
    nearest = min((hand for hand in hands if hand.side != first.side), key=first.distance_to, default=None)
    return [first] if nearest is None else [first, nearest]


def _conspicuous(hand: DetectedHand) -> float:
    return hand.score**2 * hand.extent


def proposal_of_hands(hands: Sequence[DetectedHand], image: ByteArray) -> Proposal:
    """Return where to look for some hands: what to look at first, and the others.

    First comes the likeliest of the large ones, with the nearest one of the other side where one crop should hold both.
    """
    height, width = image.shape[:2]
    pair = pair_of(hands)
    boxes = np.array([hand.box_in(width, height) for hand in pair])
    near = merge_nearby(Regions(boxes, np.array([hand.score for hand in pair]))).boxes
    left = [hand for hand in hands if not any(hand is each for each in pair)]
    rest = [hand.box_in(width, height) for hand in sorted(left, key=_conspicuous, reverse=True)]
    return proposal_of(np.concatenate([near, np.reshape(rest, (-1, 4))]))


def with_detected(view: CropResult, hands: Sequence[DetectedHand], square: Floats) -> CropResult:
    """Return a touched-up look with the hands that it lacks, or has elsewhere, and that are seen for sure.

    Args:
        view: A look whose hands the landmark network has judged.
        hands: Seen by it all over the picture, the likeliest first.
        square: (4,) px: those outside are not the same person's.
    """
    likeliest: dict[int, DetectedHand] = {}
    for hand in hands:
        x, y = hand.middle
        if hand.score > MIN_HAND_SCORE and square[0] < x < square[2] and square[1] < y < square[3]:
            likeliest.setdefault(hand.slot, hand)
    for slot, hand in likeliest.items():
        view = _with_hand(view, hand, alone=1 - slot not in likeliest)
    return view


def _with_hand(view: CropResult, hand: DetectedHand, *, alone: bool) -> CropResult:
    """Return the look with a hand; with `alone` no hand of the other side was seen, so that it may be that one."""
    slot, other = hand.slot, 1 - hand.slot
    seen, present = np.zeros(2) if view.hand_scores is None else view.hand_scores, view.present
    own, others = (view.joints_2d[HAND_SLICES[each]] for each in (slot, other))
    if present[slot] and seen[slot] > MIN_HAND_SCORE:
        return view
    if present[slot] and view.confidence(slot) >= DOUBTFUL_CONFIDENCE and not hand.is_at(own):
        return view  # it hides behind the other one
    if alone and present[other] and hand.is_at(others):
        if seen[other] > MAX_OTHER_SIDE_SCORE:
            return view
        view = view.without_hand(other)  # it was taken for one of the other side
    presence = view.output.presence.copy()
    presence[0, slot] = max(
        presence[0, slot], hand.score, MIN_PRESENCE_SECOND
    )  # it counts, whatever the pose network says
    view = view._replace(output=view.output._replace(presence=presence))
    if seen[slot] > MIN_HAND_SCORE and hand.is_at(own):
        return view
    view = view._replace(hand_scores=np.where(np.arange(2) == slot, hand.score, seen))
    if geometry.mean_distance(hand.joints_2d, own) < SAME_HAND_DISTANCE * hand.extent:
        return view
    return view.with_joints_2d({slot: hand.joints_2d}).with_depths({slot: hand.depths}).without_confidence_in(slot)


def is_certain(view: CropResult) -> bool:
    """Tell whether a look shows two hands that both networks are sure of, so that no others are looked for.

    Never without the landmark network, always where the pose network tells no confidence.
    """
    if view.output.confidence is None:
        return True
    seen = np.zeros(2) if view.hand_scores is None else view.hand_scores
    return len(view.present_slots) == 2 and all(
        view.confidence(slot) >= MIN_CONFIDENCE and seen[slot] > MIN_HAND_SCORE for slot in view.present_slots
    )
