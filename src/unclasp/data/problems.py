"""What can be wrong with a set of annotations: counted, with the first few examples, and told in one line."""

from dataclasses import dataclass, field
from typing import Any, Final

_EXAMPLES: Final = 3

FATAL: Final = {
    "image": "entries of 'images' that are damaged",
    "annotation": "entries of 'annotations' that are damaged",
    "image twice": "ids that two images share",
    "annotation twice": "images with two annotations",
    "name twice": "file names that two images share",
    "unannotated": "images without an annotation",
    "camera": "images whose camera is missing or damaged in camera.json",
    "frame": "images whose frame is missing or damaged in joint_3d.json",
}
"""An index is not made of annotations with these: they are not what their makers wrote."""
NOTED: Final = {
    "box": "images without a box of positive size, which are left out",
    "joints": "frames with joints that are not finite, which count as not annotated",
    "orphan": "annotations of images that the file does not list",
    "id": "annotations whose id is not that of their image",
    "order": "annotations that stand in another order than the images",
    "mano": "MANO fits that are damaged and count as missing",
    "mano frame": "MANO fits of frames that joint_3d.json lacks",
    "listed": "ids in the lists of human or machine annotations that no annotation has",
}
"""An index is made in spite of these, and they are told."""


@dataclass
class Problems:
    """How often each kind of problem was met."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, example: str, count: int = 1) -> None:
        """Count a problem; the first few examples of a kind are kept."""
        self.counts[kind] = self.counts.get(kind, 0) + count
        shown = self.examples.setdefault(kind, [])
        if len(shown) < _EXAMPLES:
            shown.append(example)

    @property
    def fatal(self) -> list[str]:
        """The kinds, of those met, that no index is made of."""
        return [kind for kind in FATAL if kind in self.counts]

    def line(self, kind: str) -> str:
        """Tell one kind: how many, of what, and the first examples."""
        shown = self.examples[kind]
        more = ", …" if self.counts[kind] > len(shown) else ""
        return f"{self.counts[kind]} {(FATAL | NOTED)[kind]} ({', '.join(shown)}{more})"

    def lines(self) -> list[str]:
        """Tell every kind that was met, the worst first."""
        return [self.line(kind) for kind in FATAL | NOTED if kind in self.counts]

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        return {kind: {"count": count, "examples": self.examples[kind]} for kind, count in self.counts.items()}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Problems":
        """Undo `to_json`."""
        return cls(
            {kind: int(entry["count"]) for kind, entry in content.items()},
            {kind: list(entry["examples"]) for kind, entry in content.items()},
        )
