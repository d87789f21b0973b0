"""The folder layouts of InterHand2.6M, both that its owners have released, and the published counts of pictures.

    v1.0    ROOT/annotations/SPLIT/InterHand2.6M_SPLIT_{data,camera,joint_3d,MANO_NeuralAnnot}.json
    older   ROOT/annotations/{all,human_annot,machine_annot}/InterHand2.6M_SPLIT_{data,camera,joint_3d,MANO}.json
    both    ROOT/images/SPLIT/CaptureC/SEQUENCE/camCAMERA/imageFRAME.jpg
    ours    ROOT/parts/SPLIT/…/imageFRAME.png     8-bit part classes 0-32; optional

v1.0 has the human and the machine annotations in one file. Lists of annotation ids (aid_human_annot_SPLIT.txt,
aid_machine_annot_SPLIT.txt), which are separate downloads, say which is which. They are searched for beside the
annotations, in ROOT/annotations and in ROOT.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args

from unclasp.errors import DataError, advice_on_missing, check_choice

Subset = Literal["all", "human", "machine"]
"""All pictures, or those annotated by people (the publication's H) or by machines (M); H and M overlap."""
SUBSETS: Final[tuple[Subset, ...]] = get_args(Subset)
SPLITS: Final = ("train", "val", "test")
FILES: Final = ("data", "camera", "joint_3d")
"""The kinds of required files; the MANO fits are optional."""
_OLDER_FOLDERS: Final[dict[Subset, str]] = {"all": "all", "human": "human_annot", "machine": "machine_annot"}
_MANO_KINDS: Final = ("MANO_NeuralAnnot", "MANO")


class Counts(NamedTuple):
    """Numbers of pictures of one hand and of two."""

    single: int
    interacting: int

    @property
    def total(self) -> int:
        """Number of all pictures."""
        return self.single + self.interacting


PUBLISHED: Final[dict[tuple[str, Subset], Counts]] = {
    ("train", "human"): Counts(142_231, 386_251),
    ("train", "machine"): Counts(594_189, 314_848),
    ("train", "all"): Counts(687_548, 673_514),
    ("val", "machine"): Counts(234_183, 145_942),
    ("val", "all"): Counts(234_183, 145_942),
    ("test", "human"): Counts(33_665, 87_908),
    ("test", "machine"): Counts(455_303, 272_284),
    ("test", "all"): Counts(488_968, 360_192),
}
"""The owners' counts for v1.0 at 5 frames per second."""
PUBLISHED_V0: Final = {"train": 738_602, "val": 184_287, "test": 352_897}
"""Pictures per split in v0.0, which is no longer reported on."""
PUBLISHED_MANO_FRAMES: Final = {"train": 18_718, "val": 2_736, "test": 6_890}
"""Time steps with a MANO fit in v1.0 at 5 frames per second, as counted by its users."""


def annotation_path(root: Path, split: str, kind: str) -> Path:
    """Return the path of a split's annotations of a kind (`data`, `camera`, `joint_3d`) in v1.0."""
    return root / "annotations" / split / f"InterHand2.6M_{split}_{kind}.json"


def parts_path(root: Path, split: str, file_name: str) -> Path:
    """Return the path of a picture's part mask."""
    return (root / "parts" / split / file_name).with_suffix(".png")


@dataclass(frozen=True)
class Layout:
    """The annotation files of one split."""

    root: Path
    split: str
    folder: Path
    """The folder of the JSON files."""
    release: Literal["v1.0", "older"]
    subset: Subset
    """The subset in the files; `all` in v1.0."""

    def path(self, kind: str) -> Path:
        """Return the path of a kind of file, whether it exists or not."""
        return self.folder / f"InterHand2.6M_{self.split}_{kind}.json"

    @property
    def mano(self) -> Path:
        """Path of the MANO fits: the file that exists, else the expected one."""
        paths = [self.path(kind) for kind in _MANO_KINDS]
        return next((path for path in paths if path.exists()), paths[0])

    @property
    def images(self) -> Path:
        """The folder that the pictures' names are relative to."""
        return self.root / "images" / self.split

    def id_list(self, subset: Subset) -> Path:
        """Return the path of a subset's list of annotation ids: the file that exists, else the expected one."""
        name = f"aid_{_OLDER_FOLDERS[subset]}_{self.split}.txt"
        paths = [folder / name for folder in (self.folder, self.root / "annotations", self.root)]
        return next((path for path in paths if path.exists()), paths[0])

    @property
    def sources(self) -> list[Path]:
        """All source files of an index, whether they exist or not."""
        lists = [self.id_list("human"), self.id_list("machine")] if self.release == "v1.0" else []
        return [*(self.path(kind) for kind in FILES), self.mano, *lists]


def find_layout(root: Path, split: str, subset: Subset = "all") -> Layout:
    """Return the layout of a folder.

    Raises:
        DataError: A required file of the split (in the older layout, of the subset) is missing.
        UnclaspError: `subset` is unknown.
    """
    check_choice("subset", subset, SUBSETS)
    v1, older = _candidates(root, split)
    has_older = any(layout.path("data").exists() for layout in older.values())
    found = older[subset] if has_older and not v1.path("data").exists() else v1
    if found is older["all"] and split == "val" and not found.path("data").exists():
        found = older["machine"]  # all of val is, and the older release has a folder only for that
    for path in (found.path(kind) for kind in FILES):
        if not path.exists():
            raise DataError(
                f"{path} is missing; expected InterHand2.6M's v1.0 layout below the folder you named"
                f"{_hint(root, split)}"
            )
    return found


def layouts_in(root: Path) -> list[Layout]:
    """Return the layouts with a data file below a folder: one per split, or in the older layout one per subset."""
    found = []
    for split in splits_in(root):
        v1, older = _candidates(root, split)
        older_found = [layout for layout in older.values() if layout.path("data").exists()]
        found += [v1] if v1.path("data").exists() else older_found
    return found


def splits_in(root: Path) -> list[str]:
    """Return the splits that have an annotation file, the published ones first."""
    folder = root / "annotations"
    names = {path.stem.removeprefix("InterHand2.6M_").removesuffix("_data")
             for path in folder.glob("*/InterHand2.6M_*_data.json")}  # fmt: skip
    return [split for split in SPLITS if split in names] + sorted(names.difference(SPLITS))


def _candidates(root: Path, split: str) -> tuple[Layout, dict[Subset, Layout]]:
    folder = root / "annotations"
    older = {name: Layout(root, split, folder / below, "older", name) for name, below in _OLDER_FOLDERS.items()}
    return Layout(root, split, folder / split, "v1.0", "all"), older


def _hint(root: Path, split: str) -> str:
    """Suggest the folder or split that was probably meant."""
    if not root.is_dir():
        return f"; {root} is a file" if root.exists() else f"; there is no folder {root}: {advice_on_missing(root)}"
    splits = splits_in(root)
    if splits:
        return f" (the splits there are {', '.join(splits)})" if split not in splits else ""
    for near in (root.parent, root.parent.parent, *sorted(path for path in root.iterdir() if path.is_dir())):
        if (near / "annotations").is_dir() and splits_in(near):
            return f"; did you mean {near}?"
    return "" if (root / "annotations").is_dir() else "; name the one that holds annotations/ and images/"
