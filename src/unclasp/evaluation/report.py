"""The results of an evaluation with the choices behind them, as a table for people and as JSON for machines."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from unclasp import metrics
from unclasp.data.json_file import MISFITS
from unclasp.errors import DataError
from unclasp.evaluation.protocol import Protocol
from unclasp.evaluation.scores import BUCKETS, Bucket, Scores
from unclasp.files import write_text
from unclasp.hands import JOINT_NAMES
from unclasp.metrics import Average
from unclasp.version import installed_version


@dataclass(frozen=True, kw_only=True)
class Report:
    """The figures of one model on one data set. A figure that could not be measured is None."""

    model: str
    """Name of the model."""
    dataset: str
    """Name of the data set."""
    image_size: int | None
    """Side of the crops in pixels; None for predictions that are not of crops."""
    protocol: Protocol
    """The evaluation protocol."""
    samples: Mapping[Bucket, int]
    """Number of pictures per bucket."""
    figures: Mapping[str, float | None]
    """Per bucket `mpjpe_BUCKET_mm`, the same with the other average (`mpjpe_BUCKET_sample_average_mm`), `auc_BUCKET`,
    `plane_BUCKET_px`; then `mrrpe_mm`, `contact_precision`, `contact_recall`, `handedness_accuracy`, `pixel_accuracy`,
    `hand_pixel_accuracy`, `mean_iou`, `confident_half_mm`, `doubtful_half_mm`."""
    joint_errors: Mapping[str, float | None]
    """Mean error in mm of each of the 42 joints over all samples, by the joint's name."""
    pck: Mapping[Bucket, tuple[float, ...] | None]
    """PCK at `metrics.PCK_THRESHOLDS` per bucket."""
    worst: tuple[tuple[str, float], ...]
    """(name, mean error over the valid joints in mm), the worst first."""
    version: str
    """Version of unclasp."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Choices that are not part of the protocol: how a data set was read, the form of the predictions."""

    @classmethod
    def from_scores(
        cls, scores: Scores, *, model: str, dataset: str, image_size: int | None, protocol: Protocol,
        notes: Mapping[str, str] | None = None,
    ) -> Self:  # fmt: skip
        """Build a report from the scores of an evaluation, or from the sum of several."""
        means = scores.joint_errors("all")
        curves = {
            bucket: scores.pck_curve(bucket, wrists=protocol.pck_wrists, root=protocol.root).tolist()
            for bucket in BUCKETS
        }
        return cls(
            model=model, dataset=dataset, image_size=image_size, protocol=protocol,
            samples={bucket: scores.sample_count(bucket) for bucket in BUCKETS},
            figures=_figures(scores, protocol),
            joint_errors={name: _known(float(mean)) for name, mean in zip(JOINT_NAMES, means, strict=True)},
            pck={bucket: None if math.isnan(curve[0]) else tuple(curve) for bucket, curve in curves.items()},
            worst=scores.worst, version=installed_version(), notes={**(notes or {}), **_plane_note(scores)},
        )  # fmt: skip

    def named(self, *, model: str | None = None, dataset: str | None = None, image_size: int | None = None) -> Self:
        """Return the report with the names of the model or the data set, or the size of the crops, replaced."""
        return replace(
            self, model=model or self.model, dataset=dataset or self.dataset, image_size=image_size or self.image_size
        )

    def noting(self, notes: Mapping[str, str]) -> Self:
        """Return the report with notes added."""
        return replace(self, notes={**self.notes, **notes})

    def __str__(self) -> str:
        rows = [("", "Single", "Two", "All"), *self._rows()]
        width = max(len(row[0]) for row in rows)
        lines = [f"{row[0]:<{width}}" + "".join(f"{cell:>10}" for cell in row[1:]) for row in rows]
        return "\n".join([self._title(), "", *(line.rstrip() for line in lines), "", self._footer()])

    def worst_lines(self, count: int) -> str:
        """List the `count` worst samples, one per line: mean error over the valid joints, then the name."""
        return "\n".join(f"{error:10.2f} mm  {name}" for name, error in self.worst[:count])

    def to_json(self) -> str:
        """Return the whole report as JSON."""
        content = asdict(self)
        content["protocol_in_words"] = self.protocol.describe()
        content["pck_thresholds_mm"] = metrics.PCK_THRESHOLDS.tolist()
        return json.dumps(content, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse the output of `to_json`.

        Raises:
            DataError: `text` is not a report of this version.
        """
        try:
            content: dict[str, Any] = json.loads(text)
            del content["protocol_in_words"], content["pck_thresholds_mm"]
            content["protocol"] = Protocol(**content["protocol"])
            content["pck"] = {
                bucket: None if curve is None else tuple(curve) for bucket, curve in content["pck"].items()
            }
            content["worst"] = tuple((name, error) for name, error in content["worst"])
            report = cls(**content)
            report._check()
            return report
        except (RecursionError, *MISFITS) as error:
            advice = "make one with unclasp evaluate --out"
            raise DataError(f"not a report of this version of unclasp: {error}; {advice}") from error

    def _check(self) -> None:
        """Raise a ValueError unless all fields have the keys and types that `from_scores` gives them."""
        like = Report.from_scores(Scores(), model="", dataset="", image_size=None, protocol=self.protocol)
        for name in ("samples", "figures", "joint_errors", "pck"):
            given, expected = getattr(self, name).keys(), getattr(like, name)
            if given != expected.keys():
                lacking = ", ".join(key for key in expected if key not in given)
                raise ValueError(f"{name} lack {lacking}" if lacking else f"{name} are not {', '.join(expected)}")
        curves = {bucket: curve for bucket, curve in self.pck.items() if curve is not None}
        for bucket, curve in curves.items():
            if len(curve) != len(metrics.PCK_THRESHOLDS) or not all(_is_number(share) for share in curve):
                raise ValueError(f"the PCK curve {bucket} must have {len(metrics.PCK_THRESHOLDS)} numbers")
        known: list[Any] = [each for each in (*self.figures.values(), *self.joint_errors.values()) if each is not None]
        known += [self.figures[f"auc_{bucket}"] for bucket in curves] + [error for _, error in self.worst]
        counts = [*self.samples.values(), *([] if self.image_size is None else [self.image_size])]
        texts = [self.model, self.dataset, self.version, *self.notes, *self.notes.values(), *dict(self.worst)]
        is_whole = all(isinstance(text, str) for text in texts) and all(type(count) is int for count in counts)
        is_whole &= isinstance(self.protocol.pck_wrists, bool)
        if not is_whole or not all(map(_is_number, [*known, *counts, self.protocol.box_expansion])):
            raise ValueError("a text, a count or a figure is damaged")

    def save(self, path: Path | str) -> None:
        """Write `to_json` to a file atomically."""
        write_text(path, self.to_json() + "\n")

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a file of `save`.

        Raises:
            DataError: The file holds no report of this version.
        """
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is no report, but binary; make one with unclasp evaluate --out") from error
        except DataError as error:
            raise DataError(f"{path}: {error}") from error

    def _title(self) -> str:
        size = "" if self.image_size is None else f" ({self.image_size} x {self.image_size})"
        return f"{self.model} on {self.dataset}{size}"

    def _footer(self) -> str:
        return "\n".join(
            f"{name}: {text}"
            for name, text in {**self.protocol.describe(), **self.notes, "unclasp": self.version}.items()
        )

    def _rows(self) -> list[tuple[str, str, str, str]]:
        other = _other(self.protocol.average)
        per_bucket = (
            ("MPJPE mm", "mpjpe_{}_mm", 2), (f"MPJPE mm, {other} average", f"mpjpe_{{}}_{other}_average_mm", 2),
            ("AUC 0-50 mm", "auc_{}", 4), ("2D error px", "plane_{}_px", 2),
        )  # fmt: skip
        overall = (
            ("MRRPE mm", "mrrpe_mm", 2), ("Contact, precision", "contact_precision", 4),
            ("Contact, recall", "contact_recall", 4), ("Handedness", "handedness_accuracy", 4),
            ("All pixels", "pixel_accuracy", 4), ("Hand pixels", "hand_pixel_accuracy", 4),
            ("Mean IoU of parts", "mean_iou", 4),
            ("Confident half mm", "confident_half_mm", 2), ("Less confident half mm", "doubtful_half_mm", 2),
        )  # fmt: skip
        single, two, both = (str(self.samples[bucket]) for bucket in BUCKETS)
        rows = [("pictures", single, two, both)]
        for label, key, digits in per_bucket:
            single, two, both = (_cell(self.figures[key.format(bucket)], digits) for bucket in BUCKETS)
            rows.append((label, single, two, both))
        known = [(label, self.figures[key], digits) for label, key, digits in overall if self.figures[key] is not None]
        return rows + [(label, "", "", _cell(value, digits)) for label, value, digits in known]


def _figures(scores: Scores, protocol: Protocol) -> dict[str, float | None]:
    wrists, average, root, other = protocol.joints == 42, protocol.average, protocol.root, _other(protocol.average)
    figures: dict[str, float] = {}
    for bucket in BUCKETS:
        figures[f"mpjpe_{bucket}_mm"] = scores.mpjpe(bucket, average=average, wrists=wrists, root=root)
        figures[f"mpjpe_{bucket}_{other}_average_mm"] = scores.mpjpe(bucket, average=other, wrists=wrists, root=root)
        figures[f"auc_{bucket}"] = metrics.auc(scores.pck_curve(bucket, wrists=protocol.pck_wrists, root=root))
        figures[f"plane_{bucket}_px"] = scores.plane_error(bucket, average=average, wrists=wrists, root=root)
    figures["mrrpe_mm"] = scores.mrrpe()
    figures["contact_precision"], figures["contact_recall"] = scores.contact()
    figures["handedness_accuracy"] = scores.handedness_accuracy()
    figures["pixel_accuracy"] = metrics.pixel_accuracy(scores.confusion)
    figures["hand_pixel_accuracy"] = metrics.hand_pixel_accuracy(scores.confusion)
    figures["mean_iou"] = metrics.mean_iou(scores.confusion)
    figures["confident_half_mm"], figures["doubtful_half_mm"] = scores.halves_by_confidence(root=root)
    return {name: _known(value) for name, value in figures.items()}


def _plane_note(scores: Scores) -> dict[str, str]:
    """Return a note on the 2D error if it leaves out joints; there is none if it leaves out all."""
    counted, scored = int(scores.plane_joints.sum()), int(scores.joints.sum())
    if counted in (0, scored):
        return {}
    share = f"of {counted} of the {scored} scored joints ({counted / scored:.2%})"
    return {"2D error": f"{share}; the others are predicted behind the camera, and have no place in the picture"}


def _other(average: Average) -> Average:
    return "sample" if average == "joint" else "joint"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
