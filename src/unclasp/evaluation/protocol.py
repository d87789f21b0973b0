"""The evaluation protocol: every choice that changes the figures of a model, named, and printed in every report.

The fields of `Protocol` are also flags of `unclasp evaluate`. The defaults are those of section 4.1, as implemented in
A2J-Transformer's code: ground-truth depths and boxes, 42 joints, wrists as roots, no scaling.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal, get_args

from unclasp import metrics
from unclasp.contact import CONTACT_MM, CONTACT_PROBABILITY
from unclasp.errors import UnclaspError, check_choice
from unclasp.metrics import Average, Root, Scaling

DepthSource = Literal["gt", "relative", "rootnet", "given"]
BoxSource = Literal["annotated", "rootnet", "given"]

_DEPTHS: Final[dict[DepthSource, str]] = {
    "gt": "ground-truth depth of each hand's wrist",
    "relative": "ground-truth depth of the right wrist, or else of the left; the other by the predicted offset",
    "rootnet": "RootNet's depth of each hand's wrist",
    "given": "wrist depths given from outside",
}
_BOXES: Final[dict[BoxSource, str]] = {
    "annotated": "annotated box, made square, times {expansion:g}",
    "rootnet": "RootNet's box as it is, not expanded again",
    "given": "boxes given from outside, made square, not expanded",
}
_AVERAGES: Final[dict[Average, str]] = {
    "joint": "mean per joint over its valid samples, then over the {joints} joints (InterHand2.6M)",
    "sample": "mean over all valid pairs of a sample and one of the {joints} joints (mmpose)",
}
_ROOTS: Final[dict[Root, str]] = {"wrist": "wrist", "middle_mcp": "middle MCP"}
_SCALINGS: Final[dict[Scaling, str]] = {
    "none": "scaling none",
    "bone": "each predicted hand scaled by true over predicted length from wrist to middle MCP",
}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The choices that change the figures of a model; the defaults are those of section 4.1."""

    depth_source: DepthSource = "gt"
    """Source of the absolute wrist depths that lift 2.5D poses to camera space. On InterHand2.6M, errors with gt
    (A2J-Transformer, mmpose) are about 2.5 mm lower than with rootnet (InterNet, DIGIT, Keypoint Transformer)."""
    box_source: BoxSource = "annotated"
    """Source of the boxes that define the crops. RootNet's boxes are not expanded again."""
    box_expansion: float = 1.25
    """Factor by which annotated boxes are expanded after they are made square."""
    average: Average = "joint"
    """How MPJPE and the 2D error are averaged: joint (InterHand2.6M's evaluator) takes each joint's mean over its valid
    samples first, sample (mmpose's) pools all valid pairs of sample and joint."""
    joints: Literal[42, 40] = 42
    """42 includes the two joints that hands are aligned by, whose error is 0 in MPJPE; 40 leaves them out of MPJPE and
    of the 2D error."""
    root: Root = "wrist"
    """Joint that each hand is aligned by: wrist (model-free methods) or middle_mcp (IntagHand)."""
    scaling: Scaling = "none"
    """Whether predicted hands are scaled to the true size: none, or bone (IntagHand's and DIR's evaluators)."""
    pck_wrists: bool = False
    """Whether PCK and AUC include the joints of alignment, the wrists by default; these raise the whole curve."""

    def __post_init__(self) -> None:
        choices = {
            "depth_source": get_args(DepthSource), "box_source": get_args(BoxSource), "average": get_args(Average),
            "joints": (42, 40), "root": get_args(Root), "scaling": get_args(Scaling),
        }  # fmt: skip
        for name, allowed in choices.items():
            check_choice(name, getattr(self, name), allowed)
        if not 0 < self.box_expansion < math.inf:
            raise UnclaspError(f"box_expansion must be greater than 0 and finite, got {self.box_expansion}")

    @property
    def needs_rootnet(self) -> bool:
        """Whether the protocol needs RootNet's file."""
        return "rootnet" in (self.depth_source, self.box_source)

    def describe(self) -> dict[str, str]:
        """Describe the whole protocol in words, including the rules that are not options."""
        needs_mcp = (self.root, self.scaling) != ("wrist", "none")
        excluded = "; hands without a middle MCP do not count" if needs_mcp else ""
        return {
            "depth": _DEPTHS[self.depth_source],
            "crop": _BOXES[self.box_source].format(expansion=self.box_expansion),
            "alignment": f"each hand's own {_ROOTS[self.root]} subtracted; {_SCALINGS[self.scaling]}{excluded}",
            "MPJPE": _AVERAGES[self.average].format(joints=self.joints),
            "buckets": "Single: one hand; Two: both hands, however many joints are valid; All: both pooled",
            "valid": "annotated joints of hands whose wrist is annotated, inside the crop or not",
            "PCK, AUC": (
                f"valid joints pooled, {_ROOTS[self.root]}s {'in' if self.pck_wrists else 'out'}, 0-50 mm in 101 steps"
            ),
            "MRRPE": "right to left wrist, where both are valid; right one at the depth above, left one by offset",
            "contact": (
                f"nearest joints of the two hands within {CONTACT_MM:g} mm; predicted from a probability of "
                f"{CONTACT_PROBABILITY:g}, the hands placed as for MRRPE; pictures with all 42 joints"
            ),
            "2D": "no alignment, pixels of a 256 x 256 crop, averaged as MPJPE",
            "handedness": f"both hands right, threshold {metrics.PRESENCE_THRESHOLD:g}",
            "parts": "33 classes at the resolution of the prediction, pixels pooled",
        }
