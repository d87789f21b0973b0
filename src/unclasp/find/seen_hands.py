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
from unclasp.find.finder import Regions, grouped
from unclasp.find.landmarks import Landmarks, Reading
from unclasp.find.looking import SURE
from unclasp.find.looks import Look
from unclasp.find.palms import Palm, Palms
from unclasp.find.regions import SMALLEST_CROP, meets
from unclasp.find.search import Where, where_of
from unclasp.find.touch_up import DOUBTED, NEAR, SEEN
from unclasp.hands import HAND_SLICES, SIDES, Side
from unclasp.lifting import hand_sized
from unclasp.pose import SECOND

Floats = npt.NDArray[np.floating]

SIZES: Final = (128, 192, 320, 512)
"""px: squares that palms are looked for in; larger ones show smaller hands (docs/decisions.md)."""
SIZES_IN_VIDEOS: Final = (192, 320)
"""The same for frames, which have to be fast, and of which there are more."""
DENIED_SIDE: Final = 0.1
"""A hand that the landmark network sees less likely than this may be one of the other side."""
MAYBE: Final = 0.1
"""What the landmark network takes for a hand less than this is not read again."""
ENOUGH: Final = 0.3
"""What it takes for a hand of a side at least so likely is looked at by the pose network."""
CERTAIN: Final = 0.9
"""Where it sees a hand as likely as this, no palm is read again."""
MOST: Final = 16
"""Palms that are read at each size, the surest first: a crowd has many."""
_SAME: Final = 0.35
"""Hands whose middles are nearer than this share of the larger one's extent are the same."""


def are_at_one_place(first: Floats, second: Floats) -> bool:
    """Tell whether two hands, by their joints (21, 2) px, are the same one."""
    return geometry.on_one_place(first, second, _SAME)


class SeenHand(NamedTuple):
    """A hand in a picture."""

    side: Side
    reading: Reading

    @property
    def slot(self) -> int:
        """0 right and 1 left."""
        return SIDES.index(self.side)

    @property
    def joints_2d(self) -> Floats:
        """(21, 2) px, in InterHand2.6M's order."""
        return self.reading.joints_2d

    @property
    def seen(self) -> float:
        """How likely there is a hand, and one of its side, 0 to 1."""
        return self.reading.hand * self.reading.of_side

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

    def has(self, point: Floats) -> bool:
        """Tell whether a point (2,) px is near the hand's middle."""
        return bool(np.linalg.norm(point - self.middle) < _SAME * self.extent)

    @property
    def depths(self) -> Floats:
        """(21,) mm relative to the wrist."""
        depths = hand_sized(self.reading.joints)[:, 2]
        return np.asarray(depths - depths[-1])

    @property
    def middle(self) -> Floats:
        """(2,) px."""
        return np.asarray(self.joints_2d.mean(axis=0))

    def distance_to(self, other: "SeenHand") -> float:
        """Return how far another hand's middle is away, px."""
        return float(np.linalg.norm(self.middle - other.middle))

    def is_at(self, joints_2d: Floats) -> bool:
        """Tell whether a hand with these joints (21, 2) px is at the same place."""
        return are_at_one_place(self.joints_2d, joints_2d)


class Spotted(NamedTuple):
    """What the pose network sees where hands were spotted."""

    look: Look
    others: Floats
    """(N, 4) px: boxes around other hands."""
    hands: list[SeenHand]
    """All over the picture, the likeliest first."""
    square: Floats
    """(4,) px, around those of one person."""

    def with_seen(self, view: Look) -> Look:
        """Return the touched-up look with hands that it lacks, or has elsewhere, and that are seen for sure."""
        return with_seen(view, self.hands, self.square)


class Spotter:
    """Spots hands in whole pictures.

    Args:
        palms: The palm detector.
        landmarks: The landmark network.
    """

    def __init__(self, palms: Palms, landmarks: Landmarks) -> None:
        self.palms, self.landmarks = palms, landmarks

    def __call__(self, image: ByteArray, sizes: Sequence[int] = SIZES) -> list[SeenHand]:
        """Return the hands that are seen in a picture, the likeliest first.

        Args:
            image: (H, W, 3) RGB.
            sizes: px: squares that palms are looked for in.
        """
        height, width = image.shape[:2]
        read: list[SeenHand] = []
        for size in sizes:
            for palm in self.palms(image, size)[:MOST]:
                if not any(hand.seen > CERTAIN and hand.has(palm.middle) for hand in read):
                    read.extend(self._read(image, palm))
        kept: list[SeenHand] = []
        for hand in sorted(read, key=lambda hand: -hand.seen):
            inside = hand.box_in(width, height)
            is_new = not any(hand.is_at(other.joints_2d) for other in kept)
            if is_new and meets(hand.box, image) and max(inside[2:] - inside[:2]) >= SMALLEST_CROP:
                kept.append(hand)
        return kept

    def _read(self, image: ByteArray, palm: Palm) -> Iterator[SeenHand]:
        """Yield the hand around a palm, if the landmark network sees it once its crop is laid around its joints."""
        first = self.landmarks.read(image, *palm.around_hand())
        if not first.finite or first.hand < MAYBE:
            return
        sides: tuple[Side, Side] = ("right", "left") if first.of_side > 0.5 else ("left", "right")
        for side in sides:
            hand = SeenHand(side, self.landmarks(image, first.joints_2d, side))
            if hand.reading.finite and hand.seen > ENOUGH:
                yield hand
                return


def pair_of(hands: Sequence[SeenHand]) -> list[SeenHand]:
    """Return the likeliest of the large hands and the nearest one of the other side, if there is any."""
    first = max(hands, key=_conspicuous)
    nearest = min((hand for hand in hands if hand.side != first.side), key=first.distance_to, default=None)
    return [first] if nearest is None else [first, nearest]


def _conspicuous(hand: SeenHand) -> float:
    return hand.seen**2 * hand.extent


def where_of_hands(hands: Sequence[SeenHand], image: ByteArray) -> Where:
    """Return where to look for some hands: what to look at first, and the others.

    First comes the likeliest of the large ones, with the nearest one of the other side where one crop should hold both.
    """
    height, width = image.shape[:2]
    pair = pair_of(hands)
    boxes = np.array([hand.box_in(width, height) for hand in pair])
    near = grouped(Regions(boxes, np.array([hand.seen for hand in pair]))).boxes
    left = [hand for hand in hands if not any(hand is each for each in pair)]
    rest = [hand.box_in(width, height) for hand in sorted(left, key=_conspicuous, reverse=True)]
    return where_of(np.concatenate([near, np.reshape(rest, (-1, 4))]))


def with_seen(view: Look, hands: Sequence[SeenHand], square: Floats) -> Look:
    """Return a touched-up look with the hands that it lacks, or has elsewhere, and that are seen for sure.

    Args:
        view: A look whose hands the landmark network has judged.
        hands: Seen by it all over the picture, the likeliest first.
        square: (4,) px: those outside are not the same person's.
    """
    likeliest: dict[int, SeenHand] = {}
    for hand in hands:
        x, y = hand.middle
        if hand.seen > SEEN and square[0] < x < square[2] and square[1] < y < square[3]:
            likeliest.setdefault(hand.slot, hand)
    for slot, hand in likeliest.items():
        view = _with_hand(view, hand, alone=1 - slot not in likeliest)
    return view


def _with_hand(view: Look, hand: SeenHand, *, alone: bool) -> Look:
    """Return the look with a hand; with `alone` no hand of the other side was seen, so that it may be that one."""
    slot, other = hand.slot, 1 - hand.slot
    seen, present = np.zeros(2) if view.seen is None else view.seen, view.present
    own, others = (view.joints_2d[HAND_SLICES[each]] for each in (slot, other))
    if present[slot] and seen[slot] > SEEN:
        return view
    if present[slot] and view.confidence(slot) >= DOUBTED and not hand.is_at(own):
        return view  # it hides behind the other one
    if alone and present[other] and hand.is_at(others):
        if seen[other] > DENIED_SIDE:
            return view
        view = view.without(other)  # it was taken for one of the other side
    presence = view.answer.presence.copy()
    presence[0, slot] = max(presence[0, slot], hand.seen, SECOND)  # it counts, whatever the pose network says
    view = view._replace(answer=view.answer._replace(presence=presence))
    if seen[slot] > SEEN and hand.is_at(own):
        return view
    view = view._replace(seen=np.where(np.arange(2) == slot, hand.seen, seen))
    if geometry.mean_distance(hand.joints_2d, own) < NEAR * hand.extent:
        return view
    return view.with_joints_2d({slot: hand.joints_2d}).with_depths({slot: hand.depths}).unsure_of(slot)


def is_settled(view: Look) -> bool:
    """Tell whether a look shows two hands that both networks are sure of, so that no others are looked for.

    Never without the landmark network, always where the pose network tells no confidence.
    """
    if view.answer.confidence is None:
        return True
    seen = np.zeros(2) if view.seen is None else view.seen
    return len(view.slots) == 2 and all(view.confidence(slot) >= SURE and seen[slot] > SEEN for slot in view.slots)
