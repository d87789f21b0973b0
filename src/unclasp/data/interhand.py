"""InterHand2.6M's on-disk layout (release v1.0): a reader, and a writer for rendered pictures.

    ROOT/annotations/SPLIT/InterHand2.6M_SPLIT_{data,camera,joint_3d}.json
    ROOT/images/SPLIT/CaptureC/SEQUENCE/camCAMERA/imageFRAME.jpg
    ROOT/parts/SPLIT/…/imageFRAME.png     8-bit part classes 0-32; optional, ours

Joints are world coordinates in mm, cameras are `rotation @ (world - position)`, boxes are (x, y, width,
height), and joints that were not annotated hold the placeholder (1, 1, 1). The JSON files are read whole into
arrays, which suits sets up to some 10^5 pictures.
"""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from unclasp import geometry
from unclasp.batch import ByteArray, FloatArray, Sample
from unclasp.errors import DataError
from unclasp.hands import NUM_JOINTS, NUM_PARTS

HAND_TYPES = {"right": (True, False), "left": (False, True), "interacting": (True, True)}
FILES = ("data", "camera", "joint_3d")


def annotation_path(root: Path, split: str, kind: str) -> Path:
    """Return where the annotations of a kind (`data`, `camera`, `joint_3d`) of a split lie."""
    return root / "annotations" / split / f"InterHand2.6M_{split}_{kind}.json"


def parts_path(root: Path, split: str, file_name: str) -> Path:
    """Return where the part mask of a picture lies."""
    return (root / "parts" / split / file_name).with_suffix(".png")


class InterHand:
    """The pictures of one split.

    Args:
        root: Folder with `annotations` and `images`.
        split: train, val or test.

    Raises:
        DataError: A file is missing or damaged, or refers to what is not there.
    """

    def __init__(self, root: Path | str, split: str = "train") -> None:
        self.root, self.split = Path(root), split
        data, cameras, joints = (read_json(annotation_path(self.root, split, kind)) for kind in FILES)
        try:
            annotations = {annotation["image_id"]: annotation for annotation in data["annotations"]}
            records = [_record(image, annotations[image["id"]], cameras, joints) for image in data["images"]]
        except (KeyError, TypeError, ValueError) as error:
            where = annotation_path(self.root, split, "data").parent
            raise DataError(
                f"{where}: the annotations do not fit together ({type(error).__name__}: {error})"
            ) from error
        self.file_names = [record["file_name"] for record in records]
        self._numbers = {
            key: np.stack([record[key] for record in records]) if records else np.zeros((0,))
            for key in ("joints_cam", "valid", "focal", "princpt", "box", "hand_type", "hand_type_valid")
        }
        self._has_parts = (self.root / "parts" / split).is_dir()

    def __len__(self) -> int:
        return len(self.file_names)

    def __getitem__(self, index: int) -> Sample:
        name = self.file_names[index]
        numbers = {key: values[index].copy() for key, values in self._numbers.items()}
        image = _read_rgb(self.root / "images" / self.split / name)
        return Sample(
            **{**numbers, "hand_type_valid": bool(numbers["hand_type_valid"])},
            image=image,
            parts=_read_parts(parts_path(self.root, self.split, name), image) if self._has_parts else None,
            name=name,
        )


def _record(image: dict[str, Any], annotation: dict[str, Any], cameras: Any, joints: Any) -> dict[str, Any]:
    camera, name = cameras[str(image["capture"])], str(image["camera"])
    frame = joints[str(image["capture"])][str(image["frame_idx"])]
    world = np.asarray(frame["world_coord"], dtype=np.float64).reshape(NUM_JOINTS, 3)
    rotation, position = (np.asarray(camera[key][name], dtype=np.float64) for key in ("camrot", "campos"))
    valid = np.asarray(annotation["joint_valid"], dtype=bool).reshape(NUM_JOINTS)
    x, y, width, height = annotation["bbox"]
    return {
        "file_name": image["file_name"],
        "joints_cam": geometry.camera_from_world(world, rotation, position).astype(np.float32),
        "valid": geometry.mask_without_root(valid),
        "focal": np.asarray(camera["focal"][name], dtype=np.float32).reshape(2),
        "princpt": np.asarray(camera["princpt"][name], dtype=np.float32).reshape(2),
        "box": np.array([x, y, x + width, y + height], dtype=np.float32),
        "hand_type": np.array(HAND_TYPES[annotation["hand_type"]]),
        "hand_type_valid": np.bool_(annotation["hand_type_valid"]),
    }


def read_json(path: Path) -> Any:
    """Read a file of annotations."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is missing; expected InterHand2.6M's v1.0 layout below the folder you named"
        ) from error
    except ValueError as error:
        raise DataError(f"{path} is not whole JSON ({error}); fetch it again") from error


def _read_rgb(path: Path) -> ByteArray:
    # Orientation tags are ignored: the annotations are for the pixels as stored.
    image = _decode(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _read_parts(path: Path, image: ByteArray) -> ByteArray | None:
    if not path.exists():
        return None
    parts = _decode(path, cv2.IMREAD_GRAYSCALE)
    if parts.shape != image.shape[:2] or parts.max() >= NUM_PARTS:
        raise DataError(
            f"{path} must hold part classes below {NUM_PARTS} for {image.shape[:2]} pixels, got {parts.shape} up to "
            f"{parts.max()}; write the data set again"
        )
    return parts


def _decode(path: Path, flags: int) -> ByteArray:
    try:
        image = cv2.imdecode(np.fromfile(path, dtype=np.uint8), flags)
    except (OSError, cv2.error) as error:
        raise DataError(f"{path} cannot be read ({error}); is the download complete?") from error
    if image is None:
        raise DataError(f"{path} is not a picture that can be decoded; fetch it again")
    return np.asarray(image, dtype=np.uint8)


def annotation_entries(sample: Sample, index: int, capture: int, file_name: str) -> dict[str, Any]:
    """Return one picture's entries for the annotation files; the world frame is that of its own camera."""
    camera, frame = file_name.split("/cam")[1].split("/", maxsplit=1)[0], str(index)
    height, width = sample.image.shape[:2]
    x1, y1, x2, y2 = (float(value) for value in sample.box)
    hand_type = {flags: name for name, flags in HAND_TYPES.items()}[
        (bool(sample.hand_type[0]), bool(sample.hand_type[1]))
    ]
    world: FloatArray = np.where(sample.valid[:, None], sample.joints_cam, np.float32(1.0))
    return {
        "image": {
            "id": index, "file_name": file_name, "width": width, "height": height, "capture": capture, "subject": 0,
            "seq_name": file_name.split("/")[1], "camera": camera, "frame_idx": index,
        },
        "annotation": {
            "id": index, "image_id": index, "bbox": [x1, y1, x2 - x1, y2 - y1],
            "joint_valid": [[int(valid)] for valid in sample.valid], "hand_type": hand_type, "hand_type_valid": 1,
        },
        "camera": {
            "campos": {camera: [0.0, 0.0, 0.0]}, "camrot": {camera: np.eye(3).tolist()},
            "focal": {camera: sample.focal.tolist()}, "princpt": {camera: sample.princpt.tolist()},
        },
        "joint_3d": {
            frame: {
                "world_coord": world.round(3).astype(float).tolist(),
                "joint_valid": [[bool(valid)] for valid in sample.valid],
                "hand_type": hand_type, "hand_type_valid": True,
            }
        },
    }  # fmt: skip
