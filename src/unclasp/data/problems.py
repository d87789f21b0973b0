"""Counts the faults in a set of annotations, with a few examples of each kind."""

from dataclasses import dataclass, field
from typing import Any, Final

_MAX_EXAMPLES: Final = 3
_MORE: Final = "…"

FATAL: Final = {
    "image": "entries of 'images' that are damaged",
    "annotation": "entries of 'annotations' that are damaged",
    "image twice": "ids that two images share",
    "annotation twice": "images with two annotations",
    "name twice": "file names that two images share",
    "unannotated": "images without an annotation",
    "camera": "images whose camera is missing or damaged in camera.json",
    "frame": "images whose frame is missing or damaged in joint_3d.json",
    "no joint at all": "images, which are all that there are, without an annotated joint",
}
"""Faults that prevent an index: such files are not what the owners distribute."""
NOTED: Final = {
    "box": "images without a box of positive size, which are left out",
    "joints": "frames with joints that are not finite, which count as not annotated",
    "no joint": "images without an annotated joint, on which no pose can be trained or scored",
    "orphan": "annotations of images that the file does not list",
    "id": "annotations whose id is not that of their image",
    "order": "annotations that stand in another order than the images",
    "mano": "MANO fits that are damaged and count as missing",
    "mano frame": "MANO fits of frames that joint_3d.json lacks",
    "listed": "ids in the lists of human or machine annotations that no annotation has",
}
"""Faults that are reported but do not prevent an index."""


@dataclass
class Problems:
    """The number of problems of each kind found, with examples."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, example: str, count: int = 1) -> None:
        """Count a problem; of each kind, the first few examples that differ are kept, and … for further ones."""
        self.counts[kind] = self.counts.get(kind, 0) + count
        shown = self.examples.setdefault(kind, [])
        example = example if (example and len(shown) < _MAX_EXAMPLES) or example in shown else _MORE
        if example not in shown:
            shown.append(example)

    @property
    def fatal(self) -> list[str]:
        """The kinds found that prevent an index."""
        return [kind for kind in FATAL if kind in self.counts]

    def line(self, kind: str) -> str:
        """Describe one kind: the number, the kind, and the first examples."""
        return f"{self.counts[kind]} {(FATAL | NOTED)[kind]} ({', '.join(self.examples[kind])})"

    def lines(self) -> list[str]:
        """Describe every kind found, fatal ones first."""
        return [self.line(kind) for kind in FATAL | NOTED if kind in self.counts]

    def to_json(self) -> dict[str, Any]:
        """Return the problems as JSON content."""
        return {kind: {"count": count, "examples": self.examples[kind]} for kind, count in self.counts.items()}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Problems":
        """Restore problems from the output of `to_json`."""
        return cls(
            {kind: int(entry["count"]) for kind, entry in content.items()},
            {kind: list(entry["examples"]) for kind, entry in content.items()},
        )
