"""The RGB2Hands benchmark (Wang 2020): four sequences of two hands, shown in the paper's figure 5.

    ROOT/color_intrinsics.txt                                   fx fy cx cy, in px
    ROOT/seq01_crossed/color/000_color.png
    ROOT/seq01_crossed/annotation/annot2D_color/000_color2.5D.txt   one joint a line: u v in px, depth, a fourth number

All pictures have one size, that of the camera. ROOT may also be the parent folder, with all of this in `data`. Joints
that are not annotated are 0 or negative. We know of no documentation of the rows and the third column, and the paper
only shows pictures. So by default, the annotations only define the crops, and no joint is scored. `order` assigns
joints to the rows and takes the third column as the depth in mm.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args

import numpy as np

from unclasp import geometry
from unclasp.arrays import Bools, Doubles, Floats
from unclasp.batch import Sample
from unclasp.data.naming import split_options
from unclasp.data.pictures import read_rgb
from unclasp.errors import DataError, check_choice
from unclasp.hands import HAND_ORDERS, JOINTS_PER_HAND, NUM_JOINTS, SIDES, Order, Side

Frames = Literal["annotated", "all"]

SEQUENCES: Final = ("seq01_crossed", "seq02_occlusion", "seq03_shuffle", "seq04_scratch")
_OPTIONS: Final = ("frames", "order", "first_hand")
_LARGEST: Final = 1e9
"""Numbers of files must be smaller than this, so that what is computed from them is finite."""
_OFF_CENTRE: Final = 0.25
"""Share of a picture by which a camera's principal point may be off its middle; a halved picture has it at its edge."""
_FRAMES: Final = {"annotated": "with annotated points", "all": "all, the whole picture where no point is annotated"}


class RGB2Hands:
    """The pictures of all sequences found, sorted by name.

    Args:
        root: Folder with the sequences.
        frames: Only pictures with annotated points, or all.
        order: Joint order of the 21 rows of each hand in an annotation; None: the rows only define the boxes.
        first_hand: The hand whose 21 rows come first.

    Raises:
        DataError: A file is missing or damaged.
        UnclaspError: `frames`, `order` or `first_hand` is none of these.
    """

    def __init__(
        self, root: Path | str, *, frames: Frames = "annotated", order: Order | None = None,
        first_hand: Side = "right",
    ) -> None:  # fmt: skip
        check_choice("frames", frames, get_args(Frames))
        if order is not None:
            check_choice("order", order, HAND_ORDERS)
        check_choice("first_hand", first_hand, SIDES)
        self.root = Path(root)
        if not self._sequences() and (self.root / "data").is_dir():
            self.root = self.root / "data"
        if not self._sequences():
            raise DataError(f"{root} has none of {', '.join(SEQUENCES)}; name the folder that they are in")
        self.frames, self.order, self.first_hand = frames, order, first_hand
        self._camera = self._intrinsics()
        self.file_names, self._points = [], []
        self._found, self._unannotated = dict.fromkeys(SEQUENCES, 0), 0
        for sequence, picture in self._pictures():
            points = self._annotation(picture)
            self._found[sequence] += 1
            self._unannotated += points is None
            if frames == "all" or (points is not None and len(_annotated(points))):
                self.file_names.append(picture.relative_to(self.root).as_posix())
                self._points.append(np.zeros((0, 3)) if points is None else points)
        if not self.file_names:
            raise DataError(f"{self.root} has no pictures {frames}: color/*_color.png with annotation/annot2D_color")
        self._size = self._size_of_all()

    @classmethod
    def named(cls, name: str) -> Self:
        """Open `ROOT[,frames=all][,order=mediapipe][,first_hand=left]`."""
        root, options = split_options(name, _OPTIONS)
        order = options.pop("order", "none")
        return cls(root, order=None if order == "none" else order, **options)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.file_names)

    def __getitem__(self, index: int) -> Sample:
        image = read_rgb(self.root / self.file_names[index], self._size)
        return Sample(**self.record(index), image=image, parts=None)

    @property
    def notes(self) -> dict[str, str]:
        """How the data set was read, for reports."""
        joints = "not scored: the rows only make the boxes; order=… says which joint is which"
        if self.order is not None:
            joints = f"rows in {self.order} order, {self.first_hand} hand first; third column taken for the depth in mm"
        return {
            "images": f"{len(self)}, {_FRAMES[self.frames]}; the paper only shows some",
            "sequences": self._sequences_note(),
            "joints": joints,
            "annotated box": "tight box of the annotated points times 1.2, as InterHand2.6M annotates",
            "hands": "taken to be two in every picture; handedness is not scored",
        }

    def record(self, index: int) -> dict[str, Any]:
        """Return the fields of a `Sample` that come from the annotations: all but the picture and its parts."""
        points = self._points[index]
        joints, valid = self._joints(points)
        return {
            "joints_cam": joints.astype(np.float32), "valid": geometry.mask_without_root(valid),
            "focal": self._camera[:2].astype(np.float32), "princpt": self._camera[2:].astype(np.float32),
            "box": self._box(index).astype(np.float32), "hand_type": np.array([True, True]), "hand_type_valid": False,
            "name": self.file_names[index],
        }  # fmt: skip

    def _box(self, index: int) -> Floats:
        points = _annotated(self._points[index])
        if not len(points):
            return np.array([0.0, 0.0, *self._size])
        return geometry.expand_box(geometry.tight_box(points), geometry.TIGHT_TO_ANNOTATED)

    def _joints(self, points: Doubles) -> tuple[Doubles, Bools]:
        """Return the joints (42, 3) mm in the camera frame, and which of them are valid."""
        if self.order is None or not len(points):
            return np.ones((NUM_JOINTS, 3)), np.zeros(NUM_JOINTS, dtype=np.bool_)
        hands = points.reshape(2, JOINTS_PER_HAND, -1)
        hands = hands if self.first_hand == "right" else hands[::-1]
        rows = hands[:, np.argsort(HAND_ORDERS[self.order])].reshape(NUM_JOINTS, -1)
        valid = np.asarray((rows[:, :3] > 0).all(axis=1))
        joints = geometry.unproject(rows[:, :2], rows[:, 2], self._camera[:2], self._camera[2:])
        return np.where(valid[:, None], joints, 1.0), valid

    def _sequences(self) -> list[Path]:
        return [self.root / name for name in SEQUENCES if (self.root / name).is_dir()]

    def _pictures(self) -> Iterator[tuple[str, Path]]:
        """Yield each picture with its sequence."""
        for folder in self._sequences():
            for path in sorted((folder / "color").glob("*_color.png")):
                yield folder.name, path

    def _sequences_note(self) -> str:
        there = ", ".join(f"{name} ({count} pictures)" for name, count in self._found.items() if count)
        missing = ", ".join(name for name, count in self._found.items() if not count)
        return f"{there}; missing: {missing or 'none'}; pictures without an annotation file: {self._unannotated}"

    def _size_of_all(self) -> tuple[int, int]:
        """Return the width and height in px of the first picture, which all must have."""
        first = self.root / self.file_names[0]
        height, width = read_rgb(first).shape[:2]
        share = self._camera[2:] / (width, height)
        if not (np.abs(share - 0.5) <= _OFF_CENTRE).all():
            raise DataError(
                f"{first} is {width} x {height} px, of which the principal point in color_intrinsics.txt, "
                f"({self._camera[2]:g}, {self._camera[3]:g}), must be near the middle; fetch the original pictures"
            )
        return width, height

    def _intrinsics(self) -> Doubles:
        path = self.root / "color_intrinsics.txt"
        numbers = _numbers(path).ravel()[:4]
        if len(numbers) != 4 or not (numbers > 0).all() or not (numbers[:2] >= 1).all():
            raise DataError(f"{path} must begin with fx fy cx cy, all greater than 0, and fx fy at least 1")
        return numbers

    def _annotation(self, picture: Path) -> Doubles | None:
        """Return the rows of a picture's annotation; None if there is no file."""
        number = picture.name.removesuffix("_color.png")
        path = picture.parents[1] / "annotation" / "annot2D_color" / f"{number}_color2.5D.txt"
        if not path.exists():
            return None
        points = _numbers(path)
        if points.ndim != 2 or points.shape[1] < 3:
            raise DataError(f"{path} must have at least 3 numbers a line: u, v and a depth")
        if self.order is not None and len(points) != NUM_JOINTS:
            raise DataError(f"{path} has {len(points)} lines; order= needs one for each of the {NUM_JOINTS} joints")
        return points


def _annotated(points: Doubles) -> Doubles:
    """Return u, v of the annotated points (N, 2); empty if they all coincide, because they have no box then."""
    pixels = points[:, :2]
    annotated = np.asarray(pixels[(pixels > 0).all(axis=1)])
    return annotated if len(annotated) and np.ptp(annotated, axis=0).any() else annotated[:0]


def _numbers(path: Path) -> Doubles:
    """Return the numbers of a text file, one row per line."""
    try:
        rows = [[float(token) for token in line.split()] for line in path.read_text().splitlines() if line.strip()]
        numbers = np.array(rows, dtype=np.float64)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as rows of numbers ({error}); fetch it again") from error
    if not numbers.size or not (np.abs(numbers) < _LARGEST).all():
        raise DataError(f"{path} must hold finite numbers, smaller than {_LARGEST:g}; fetch it again")
    return numbers
