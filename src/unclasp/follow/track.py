"""What is known about the two tracked hands: where they were last, and how likely each is there."""

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from unclasp.arrays import Bools, Floats
from unclasp.follow.frame_result import FrameResult
from unclasp.pose import present_hands

MIN_PRESENCE_TO_STAY: Final = 0.25
"""A hand stays present until its presence, averaged over frames, falls below this."""
PRESENCE_DECAY: Final = 0.5
"""Weight of the old value in the moving average of the presence."""
EVIDENCE_DECAY: Final = 0.9
"""Weight of the old value in the moving average of a hand's evidence (`credibility.hand_evidence`)."""
FIRST_EVIDENCE: Final = 0.5
"""Evidence for a hand before any frame has given some."""
GHOST_EVIDENCE: Final = (0.15, 0.3)
"""Evidence below which a ghost (a spurious second hand) is dropped, and from which a dropped hand may return."""
MIN_EVIDENCE_BESIDE: Final = 0.5
"""A hand can be a ghost only beside a hand with at least this much evidence."""
CERTAIN_EVIDENCE: Final = 0.9
"""A hand that has this much evidence in a single frame is present at once."""
SIDE_CHANGE_FRAMES: Final = 120
"""Frames for which the network has to disagree before hands that have had their sides for long swap them."""
FIRST_SIDE_CHANGE_FRAMES: Final = 10
"""The same for hands that have just appeared, because the first frames may have been wrong."""


@dataclass(kw_only=True, eq=False)
class Track:
    """The state of the two tracked hands, which `Tracker` updates with every frame; a new one knows no hands."""

    last: FrameResult | None = None
    """The last frame's hands, smoothed; None before the first frame."""
    presence: Floats = field(default_factory=lambda: np.zeros(2))
    """(2,) presence of each hand, averaged over frames."""
    evidence: Floats = field(default_factory=lambda: np.full(2, FIRST_EVIDENCE))
    """(2,) evidence for each hand, averaged over frames."""
    confirmed: Bools = field(default_factory=lambda: np.zeros(2, dtype=np.bool_))
    """(2,) whether a single frame has given `CERTAIN_EVIDENCE` for each hand since it was last absent."""
    held: npt.NDArray[np.integer] = field(default_factory=lambda: np.zeros(2, int))
    """(2,) frames for which each hand has been held at its last position."""
    side_agreement: int = FIRST_SIDE_CHANGE_FRAMES
    """Frames in which the network agreed with the hands' sides minus those in which it did not, at most
    `SIDE_CHANGE_FRAMES`; the hands swap sides below 0."""
    frames_not_credible: int = 0
    """Frames in a row that, as photos, would not count as showing hands."""
    vain_searches: int = 0
    """Searches in a row without success."""

    def exchanged(self) -> "Track":
        """Return the track with the hands in each other's slots; their sides count as new."""
        return replace(
            self,
            last=None if self.last is None else self.last.exchanged(),
            presence=self.presence[::-1],
            evidence=self.evidence[::-1],
            confirmed=self.confirmed[::-1],
            held=self.held[::-1],
            side_agreement=FIRST_SIDE_CHANGE_FRAMES,
        )

    def update_presence(self, result: FrameResult) -> Bools:
        """Update the averages of presence and evidence, and return which hands are present by them: (2,)."""
        presence = result.credible_presence
        if self.last is None:
            self.presence, self.evidence = presence, np.full(2, FIRST_EVIDENCE)
            if result.hand_evidence is not None:
                self.confirmed = result.hand_evidence >= CERTAIN_EVIDENCE
            return result.tracked.present
        self.presence = PRESENCE_DECAY * self.presence + (1 - PRESENCE_DECAY) * presence
        before, (min_to_stay, min_to_return) = self.last.tracked.present, GHOST_EVIDENCE
        if not before.any():
            self.evidence = np.full(2, FIRST_EVIDENCE)
        certain = np.zeros(2, dtype=np.bool_)
        if result.hand_evidence is not None:
            self.confirmed = (self.confirmed & before) | (result.hand_evidence >= CERTAIN_EVIDENCE)
            evidence = result.hand_evidence
            if result.are_faces is not None:  # a hand that was seen clearly may be hard to see before a face
                evidence = np.where(result.are_faces & ~self.confirmed, 0.0, evidence)
            self.evidence = EVIDENCE_DECAY * self.evidence + (1 - EVIDENCE_DECAY) * evidence
            certain = present_hands(presence) & (result.hand_evidence >= CERTAIN_EVIDENCE)
        may_be_ghost = (present_hands(self.presence) & (self.evidence >= MIN_EVIDENCE_BESIDE))[::-1]
        stays = (self.presence >= MIN_PRESENCE_TO_STAY) & ~(may_be_ghost & (self.evidence < min_to_stay))
        appears = certain | (present_hands(self.presence) & ~(may_be_ghost & (self.evidence < min_to_return)))
        self.evidence = np.where(certain & ~before, FIRST_EVIDENCE, self.evidence)
        return np.where(before, stays, appears)
