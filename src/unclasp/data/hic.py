"""HIC, Hands in Action (Tzionas 2016), as annotated by InterWild: the test set of the paper's Table 5.

    ROOT/HIC.json            COCO style: images (id, file_name); annotations (id, image_id, hand_type, right_mano_path,
                             left_mano_path), paths relative to ROOT, null where there is no hand
    ROOT/….ply               778 MANO vertices per hand, metres, camera frame
    ROOT/J_regressor_mano_ih26m.npy   21 x 778, from InterHand2.6M's repository; not ours to ship

The paper reports one MPJPE for "732 images" and specifies neither which ones, nor how joints, boxes and depths were
obtained. The images, joints and boxes are options here, named in every report; the defaults are our interpretation.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.arrays import Doubles, Singles
from unclasp.batch import Sample
from unclasp.data.fields import HAND_TYPES, leaves_folder
from unclasp.data.json_file import MISFITS, parse_json
from unclasp.data.naming import split_options
from unclasp.data.pictures import read_rgb
from unclasp.data.ply import read_vertices
from unclasp.errors import DataError, check_choice
from unclasp.hands import HAND_ORDERS, HAND_SLICES, JOINTS_PER_HAND, NUM_JOINTS, SIDES

Images = Literal["interacting", "both", "all"]
Box = Literal["joints", "mesh", "image"]

FOCAL: Final = (525.0, 525.0)
PRINCPT: Final = (319.5, 239.5)
SIZE: Final = (640, 480)
"""Intrinsics of all pictures, and the width and height that they are for, in px; sizes in HIC.json are not read."""
PAPER_COUNT: Final = 732
"""Number of pictures in Table 5."""
REGRESSOR: Final = "J_regressor_mano_ih26m.npy"
_FARTHEST: Final = 10.0
"""Metres; vertices lie nearer."""
_VERTICES: Final = 778
_MANO_JOINTS: Final = 16
_TIPS: Final = (745, 317, 444, 556, 673)
"""Vertices used as fingertips, thumb to pinky, because MANO's own regressor has none."""
_IMAGES: Final = {
    "interacting": "annotated as interacting", "both": "with a mesh of both hands", "all": "all that are annotated",
}  # fmt: skip
_BOXES: Final = {
    "joints": "tight box of the projected joints times 1.2, as InterHand2.6M annotates",
    "mesh": "tight box of the projected meshes times 1.2", "image": "the whole picture",
}  # fmt: skip
_OPTIONS: Final = ("images", "regressor", "box", "expect")
_FIELDS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "id": lambda value: isinstance(value, int) and 0 <= value < 2**63,
    "file_name": lambda value: isinstance(value, str) and not leaves_folder(value),
    **dict.fromkeys(
        ("right_mano_path", "left_mano_path"),
        lambda value: value is None or (isinstance(value, str) and not leaves_folder(value)),
    ),
}
"""What an annotation must have, and what is a valid value of it."""


class HIC:
    """The annotated pictures of HIC.

    Args:
        root: Folder with `HIC.json`.
        images: Pictures to use: those annotated as interacting, those with a mesh of both hands, or all.
        regressor: Joint regressor, a .npy matrix: 21 x 778 in InterHand2.6M's joint order, or MANO's own 16 x 778, to
            which the tips are added as vertices. ROOT/J_regressor_mano_ih26m.npy by default.
        box: What the annotated box encloses; the protocol makes it square and expands it.
        expect: Required number of pictures, so that figures are comparable; None for any number.

    Raises:
        DataError: A file is missing or damaged, or the number of pictures is not the expected one.
        UnclaspError: `images` or `box` is none of these.
    """

    def __init__(
        self, root: Path | str, *, images: Images = "interacting", regressor: Path | str | None = None,
        box: Box = "joints", expect: int | None = PAPER_COUNT,
    ) -> None:  # fmt: skip
        check_choice("images", images, _IMAGES)
        check_choice("box", box, get_args(Box))
        self.root, self.images, self.box = Path(root), images, box
        self.regressor_path = self.root / REGRESSOR if regressor is None else Path(regressor)
        everything = _read_annotations(self.root / "HIC.json")
        self._regressor = _read_regressor(self.regressor_path)
        selections = {name: [entry for entry in everything if _is_selected(entry, name)] for name in _IMAGES}
        self._entries = selections[images]
        if expect is not None and len(self._entries) != expect:
            sizes = ", ".join(f"{name} {len(entries)}" for name, entries in selections.items())
            raise DataError(
                f"{self.root / 'HIC.json'} gives {len(self._entries)} pictures, not {expect} ({sizes}); choose others "
                "with images=, or add expect=any to evaluate on what is there"
            )
        missing = [path for entry in self._entries for path in self._files(entry) if not _exists(path)]
        if missing:
            raise DataError(
                f"{len(missing)} files that HIC.json names are not there, the first {missing[0]}; fetch them"
            )

    @classmethod
    def named(cls, name: str) -> Self:
        """Open `ROOT[,images=all][,regressor=FILE][,box=mesh][,expect=any]`."""
        root, options = split_options(name, _OPTIONS)
        expect = options.pop("expect", str(PAPER_COUNT))
        if expect != "any" and not expect.isdecimal():
            raise DataError(f"expect must be a number of pictures, or any; got {expect!r}")
        return cls(root, expect=None if expect == "any" else int(expect), **options)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Sample:
        image = read_rgb(self.root / self._entries[index]["file_name"], SIZE)
        return Sample(**self.record(index), image=image, parts=None)

    @property
    def file_names(self) -> list[str]:
        """The pictures' names, relative to the folder, as in `Sample.name`."""
        return [entry["file_name"] for entry in self._entries]

    @property
    def annotation_ids(self) -> npt.NDArray[np.int64]:
        """(N,) the annotations' ids in HIC.json."""
        return np.array([entry["id"] for entry in self._entries], dtype=np.int64)

    @property
    def notes(self) -> dict[str, str]:
        """How the data set was read, for reports."""
        definition = "MANO, tips as vertices" if len(self._regressor) == _MANO_JOINTS else "InterHand2.6M"
        count = "as many as the paper's Table 5 is over" if len(self) == PAPER_COUNT else f"the paper has {PAPER_COUNT}"
        return {
            "images": f"{len(self)} {_IMAGES[self.images]}; {count}",
            "joints": f"regressed from the MANO meshes by {self.regressor_path.name} ({definition})",
            "annotated box": _BOXES[self.box],
            "camera": "focal length 525 px, principal point (319.5, 239.5), of 640 x 480 px",
        }

    def record(self, index: int) -> dict[str, Any]:
        """Return the fields of a `Sample` that come from the annotations: all but the picture and its parts."""
        entry = self._entries[index]
        joints, valid = np.ones((NUM_JOINTS, 3)), np.zeros(NUM_JOINTS, dtype=np.bool_)
        meshes = []
        for side, span in zip(SIDES, HAND_SLICES, strict=True):
            if entry[f"{side}_mano_path"] is not None:
                vertices = self._vertices(self.root / entry[f"{side}_mano_path"])
                joints[span], valid[span] = self._joints(vertices), True
                meshes.append(vertices)
        return {
            "joints_cam": joints.astype(np.float32), "valid": valid, "focal": np.array(FOCAL, dtype=np.float32),
            "princpt": np.array(PRINCPT, dtype=np.float32), "box": self._box(joints[valid], meshes),
            "hand_type": np.array(HAND_TYPES[entry["hand_type"]]), "hand_type_valid": True,
            "name": entry["file_name"],
        }  # fmt: skip

    def _files(self, entry: Mapping[str, Any]) -> list[Path]:
        names = (entry["file_name"], entry["right_mano_path"], entry["left_mano_path"])
        return [self.root / name for name in names if name is not None]

    def _vertices(self, path: Path) -> Doubles:
        """Return a hand's vertices (778, 3) in mm."""
        vertices = read_vertices(path)
        if vertices.shape != (_VERTICES, 3):
            raise DataError(f"{path} must have the {_VERTICES} vertices of a MANO hand, got {len(vertices)}")
        if not ((vertices[:, 2] > 0).all() and (np.abs(vertices) < _FARTHEST).all()):  # catches NaN, too
            raise DataError(f"{path} must lie in front of the camera, in metres, not at z = {vertices[:, 2].mean():g}")
        return vertices * 1000.0

    def _joints(self, vertices: Doubles) -> Doubles:
        if len(self._regressor) == JOINTS_PER_HAND:
            return self._regressor @ vertices
        in_mano_order = np.concatenate([self._regressor @ vertices, vertices[list(_TIPS)]])
        return in_mano_order[np.argsort(HAND_ORDERS["mano"])]

    def _box(self, joints: Doubles, meshes: list[Doubles]) -> Singles:
        if self.box == "image" or not meshes:
            return np.array([0, 0, *SIZE], dtype=np.float32)
        points = joints if self.box == "joints" else np.concatenate(meshes)
        pixels = geometry.project(points, np.array(FOCAL), np.array(PRINCPT))
        tight = geometry.tight_box(pixels)
        return geometry.expand_box(tight, geometry.TIGHT_TO_ANNOTATED).astype(np.float32)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # the name is too long for one
        return False


def _is_selected(entry: Mapping[str, Any], images: str) -> bool:
    if images == "both":
        return all(entry[f"{side}_mano_path"] is not None for side in SIDES)
    return images == "all" or entry["hand_type"] == "interacting"


def _read_annotations(path: Path) -> list[dict[str, Any]]:
    """Return each annotation merged with the entry of its picture, in the file's order."""
    try:
        content = parse_json(path.read_bytes(), path)
        images = {image["id"]: image for image in content["images"]}
        entries = [
            {"right_mano_path": None, "left_mano_path": None, **images[annotation["image_id"]], **annotation}
            for annotation in content["annotations"]
        ]
        unknown = {str(entry["hand_type"]) for entry in entries} - set(HAND_TYPES)
        faulty = [key for entry in entries for key, is_valid in _FIELDS.items() if not is_valid(entry[key])]
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing: InterWild's authors distribute it apart from HIC's pictures") from error
    except DataError:
        raise
    except (OSError, *MISFITS) as error:
        raise DataError(f"{path} is not InterWild's HIC.json ({type(error).__name__}: {error})") from error
    if unknown or faulty:
        what = f"the hand types {', '.join(sorted(unknown))}" if unknown else f"a damaged {faulty[0]}"
        raise DataError(f"{path} is not InterWild's HIC.json: it has {what}")
    return entries


def _read_regressor(path: Path) -> Doubles:
    try:
        matrix = np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
    except FileNotFoundError as error:
        raise DataError(
            f"HIC gives MANO vertices, and joints need a regressor, which is not ours to ship: {path} is missing; take "
            f"{REGRESSOR} from InterHand2.6M's repository, or MANO's J_regressor saved as .npy, and say regressor=FILE"
        ) from error
    except Exception as error:  # numpy raises many types, depending on the damage
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} is not a regressor saved by numpy ({reason})") from error
    if matrix.shape not in ((JOINTS_PER_HAND, _VERTICES), (_MANO_JOINTS, _VERTICES)):
        raise DataError(f"{path} must be a regressor of 21 x 778, or MANO's 16 x 778, got {matrix.shape}")
    if not np.allclose(matrix.sum(axis=1), 1.0, atol=1e-2):
        raise DataError(f"{path} is no regressor: each row's weights must sum to 1, got {matrix.sum(axis=1).min():g}")
    return matrix
