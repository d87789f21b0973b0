"""What an evaluation found, with every choice that shaped the figures: a table for people, JSON for machines."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args

from rich.table import Table

from unclasp import metrics
from unclasp.errors import DataError, UnclaspError
from unclasp.files import write_text
from unclasp.hands import JOINT_NAMES
from unclasp.metrics import Average
from unclasp.scores import BUCKETS, Bucket, Scores

DepthSource = Literal["gt", "relative", "given"]
BoxSource = Literal["annotated", "given"]

_DEPTHS: Final[dict[DepthSource, str]] = {
    "gt": "ground-truth depth of each hand's wrist",
    "relative": "ground-truth depth of the right wrist, or else of the left; the other by the predicted offset",
    "given": "wrist depths given from outside",
}
_BOXES: Final[dict[BoxSource, str]] = {
    "annotated": "annotated box, made square, times {expansion:g}",
    "given": "boxes given from outside, made square, not expanded",
}
_AVERAGES: Final[dict[Average, str]] = {
    "joint": "mean per joint over its valid samples, then over the {joints} joints (InterHand2.6M)",
    "sample": "mean over all valid pairs of a sample and one of the {joints} joints (mmpose)",
}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Everything by which figures for the same model can differ; the defaults are those of section 4.1."""

    depth_source: DepthSource = "gt"
    """Where the absolute wrist depths come from that lift poses to camera space: worth some 2.5 mm on InterHand2.6M."""
    box_source: BoxSource = "annotated"
    """Where the crops come from."""
    box_expansion: float = 1.25
    """Factor on annotated boxes after they were made square."""
    average: Average = "joint"
    """What MPJPE and the 2D error average first."""
    joints: Literal[42, 40] = 42
    """42 counts the two wrists, whose error is 0 by alignment, in MPJPE and in the 2D error; 40 does not."""
    root: Literal["wrist"] = "wrist"
    """What each hand is aligned by."""
    scaling: Literal["none"] = "none"
    """Whether predicted hands are scaled to the true size."""
    pck_wrists: bool = False
    """Whether PCK and AUC count the wrists."""

    def __post_init__(self) -> None:
        choices = {
            "depth_source": get_args(DepthSource), "box_source": get_args(BoxSource), "average": get_args(Average),
            "joints": (42, 40), "root": ("wrist",), "scaling": ("none",),
        }  # fmt: skip
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                told = ", ".join(str(choice) for choice in allowed)
                raise UnclaspError(f"{name} must be one of: {told}; got {getattr(self, name)!r}")
        if not self.box_expansion > 0:
            raise UnclaspError(f"box_expansion must be greater than 0, got {self.box_expansion}")

    def describe(self) -> dict[str, str]:
        """Return the whole protocol in words, the fixed rules included."""
        return {
            "depth": _DEPTHS[self.depth_source],
            "crop": _BOXES[self.box_source].format(expansion=self.box_expansion),
            "alignment": f"each hand's own {self.root} subtracted; scaling {self.scaling}",
            "MPJPE": _AVERAGES[self.average].format(joints=self.joints),
            "buckets": "Single: one hand; Two: both hands, however many joints are valid; All: both pooled",
            "valid": "annotated joints of hands whose wrist is annotated, inside the crop or not",
            "PCK, AUC": f"valid joints pooled, wrists {'in' if self.pck_wrists else 'out'}, 0-50 mm in 101 steps",
            "MRRPE": "right to left wrist, where both are valid; right one at the depth above, left one by offset",
            "2D": "no alignment, pixels of a 256 x 256 crop, averaged as MPJPE",
            "handedness": f"both hands right, threshold {metrics.PRESENCE_THRESHOLD:g}",
            "parts": "33 classes at the resolution of the prediction, pixels pooled",
        }


@dataclass(frozen=True, kw_only=True)
class Report:
    """The figures of one model on one data set. A figure that could not be measured is None."""

    model: str
    """What was evaluated."""
    dataset: str
    """On what."""
    image_size: int
    """Side of the crops in pixels."""
    protocol: Protocol
    """How."""
    samples: Mapping[Bucket, int]
    """Pictures per bucket."""
    figures: Mapping[str, float | None]
    """Per bucket `mpjpe_BUCKET_mm`, the same with the other average (`mpjpe_BUCKET_sample_average_mm`), `auc_BUCKET`,
    `plane_BUCKET_px`; then `mrrpe_mm`, `handedness_accuracy`, `pixel_accuracy`, `hand_pixel_accuracy`, `mean_iou`."""
    joint_errors: Mapping[str, float | None]
    """Mean error of each of the 42 joints in mm over both buckets, by the joint's name."""
    pck: Mapping[Bucket, tuple[float, ...] | None]
    """PCK at `metrics.PCK_THRESHOLDS` per bucket."""
    worst: tuple[tuple[str, float], ...]
    """(name, mean error over the valid joints in mm), the worst first."""
    version: str
    """Of unclasp."""

    @classmethod
    def from_scores(cls, scores: Scores, *, model: str, dataset: str, image_size: int, protocol: Protocol) -> Self:
        """Turn what an evaluation, or the sum of several, has gathered into figures."""
        means = scores.joint_errors("all")
        curves = {bucket: scores.pck_curve(bucket, wrists=protocol.pck_wrists).tolist() for bucket in BUCKETS}
        return cls(
            model=model, dataset=dataset, image_size=image_size, protocol=protocol,
            samples={bucket: scores.sample_count(bucket) for bucket in BUCKETS},
            figures=_figures(scores, protocol),
            joint_errors={name: _known(float(mean)) for name, mean in zip(JOINT_NAMES, means, strict=True)},
            pck={bucket: None if math.isnan(curve[0]) else tuple(curve) for bucket, curve in curves.items()},
            worst=scores.worst, version=_version(),
        )  # fmt: skip

    def named(self, *, model: str | None = None, dataset: str | None = None) -> Self:
        """Return the report under other names."""
        return replace(self, model=model or self.model, dataset=dataset or self.dataset)

    def table(self) -> Table:
        """Return the figures as a table for `rich`; the protocol stands below it."""
        table = Table(title=self._title(), caption=self._footer(), caption_justify="left", title_justify="left")
        for number, heading in enumerate(("", "Single", "Two", "All")):
            table.add_column(heading, justify="left" if number == 0 else "right")
        for row in self._rows():
            table.add_row(*row)
        return table

    def __str__(self) -> str:
        rows = [("", "Single", "Two", "All"), *self._rows()]
        width = max(len(row[0]) for row in rows)
        lines = [f"{row[0]:<{width}}" + "".join(f"{cell:>10}" for cell in row[1:]) for row in rows]
        return "\n".join([self._title(), "", *(line.rstrip() for line in lines), "", self._footer()])

    def to_json(self) -> str:
        """Return the whole report as JSON."""
        content = asdict(self)
        content["protocol_in_words"] = self.protocol.describe()
        content["pck_thresholds_mm"] = metrics.PCK_THRESHOLDS.tolist()
        return json.dumps(content, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read back what `to_json` gave.

        Raises:
            DataError: It is not a report of this version.
        """
        try:
            content: dict[str, Any] = json.loads(text)
            del content["protocol_in_words"], content["pck_thresholds_mm"]
            content["protocol"] = Protocol(**content["protocol"])
            content["pck"] = {
                bucket: None if curve is None else tuple(curve) for bucket, curve in content["pck"].items()
            }
            content["worst"] = tuple((name, error) for name, error in content["worst"])
            return cls(**content)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"not a report of this version of unclasp: {error}") from error

    def save(self, path: Path | str) -> None:
        """Write `to_json` to a file, whole or not at all."""
        write_text(path, self.to_json() + "\n")

    def _title(self) -> str:
        return f"{self.model} on {self.dataset} ({self.image_size} x {self.image_size})"

    def _footer(self) -> str:
        return "\n".join(
            f"{name}: {text}" for name, text in {**self.protocol.describe(), "unclasp": self.version}.items()
        )

    def _rows(self) -> list[tuple[str, str, str, str]]:
        other = _other(self.protocol.average)
        per_bucket = (
            ("MPJPE mm", "mpjpe_{}_mm", 2), (f"MPJPE mm, {other} average", f"mpjpe_{{}}_{other}_average_mm", 2),
            ("AUC 0-50 mm", "auc_{}", 4), ("2D error px", "plane_{}_px", 2),
        )  # fmt: skip
        overall = (
            ("MRRPE mm", "mrrpe_mm", 2), ("Handedness", "handedness_accuracy", 4), ("All pixels", "pixel_accuracy", 4),
            ("Hand pixels", "hand_pixel_accuracy", 4), ("Mean IoU of parts", "mean_iou", 4),
        )  # fmt: skip
        single, two, both = (str(self.samples[bucket]) for bucket in BUCKETS)
        rows = [("pictures", single, two, both)]
        for label, key, digits in per_bucket:
            single, two, both = (_cell(self.figures[key.format(bucket)], digits) for bucket in BUCKETS)
            rows.append((label, single, two, both))
        known = [(label, self.figures[key], digits) for label, key, digits in overall if self.figures[key] is not None]
        return rows + [(label, "", "", _cell(value, digits)) for label, value, digits in known]


def _figures(scores: Scores, protocol: Protocol) -> dict[str, float | None]:
    wrists, average, other = protocol.joints == 42, protocol.average, _other(protocol.average)
    figures: dict[str, float] = {}
    for bucket in BUCKETS:
        figures[f"mpjpe_{bucket}_mm"] = scores.mpjpe(bucket, average=average, wrists=wrists)
        figures[f"mpjpe_{bucket}_{other}_average_mm"] = scores.mpjpe(bucket, average=other, wrists=wrists)
        figures[f"auc_{bucket}"] = metrics.auc(scores.pck_curve(bucket, wrists=protocol.pck_wrists))
        figures[f"plane_{bucket}_px"] = scores.plane_error(bucket, average=average, wrists=wrists)
    figures["mrrpe_mm"] = scores.mrrpe()
    figures["handedness_accuracy"] = scores.handedness_accuracy()
    figures["pixel_accuracy"] = metrics.pixel_accuracy(scores.confusion)
    figures["hand_pixel_accuracy"] = metrics.hand_pixel_accuracy(scores.confusion)
    figures["mean_iou"] = metrics.mean_iou(scores.confusion)
    return {name: _known(value) for name, value in figures.items()}


def _other(average: Average) -> Average:
    return "sample" if average == "joint" else "joint"


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _version() -> str:
    try:
        return installed_version("unclasp")
    except PackageNotFoundError:
        return "not installed"
