"""Writes data sets in InterHand2.6M's layout."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from unclasp.batch import Sample
from unclasp.data.entries import annotation_entries
from unclasp.data.layout import FILES, annotation_path, parts_path
from unclasp.errors import DataError
from unclasp.files import write_bytes, write_text
from unclasp.hands import JOINT_NAMES, PARENTS

_JPEG_QUALITY: Final = 95


def write_samples(root: Path, samples: Iterable[Sample], *, split: str = "train") -> int:
    """Write samples as a new data set, and return how many there are.

    The annotation files come last, so that an interrupted run leaves nothing that can be opened.

    Args:
        root: Folder of the data set.
        samples: The samples; the world frame becomes that of each one's camera.
        split: Name of the split on disk, of letters, digits, - and _.

    Raises:
        DataError: The folder has such a split already, there are no samples, or `split` is no plain name.
    """
    check_split_name(split)
    if (root / "annotations" / split).exists() or (root / "images" / split).exists():
        raise DataError(f"{root} has a split {split} already: remove it, or choose another folder or --split")
    entries = [write_sample(root, split, 0, sample, index) for index, sample in enumerate(samples)]
    if not entries:
        raise DataError(f"there is nothing to write to {root}")
    write_annotations(root, split, {0: entries})
    return len(entries)


def write_sample(root: Path, split: str, capture: int, sample: Sample, index: int) -> dict[str, Any]:
    """Write a sample's picture and part mask, and return its entries for the annotation files."""
    kind = "interacting" if sample.interacting else "single"
    file_name = f"Capture{capture}/{kind}/cam{index:06d}/image{index}.jpg"
    image_path = root / "images" / split / file_name
    bgr = np.ascontiguousarray(sample.image[..., ::-1])
    write_bytes(image_path, cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes())
    if sample.parts is not None:
        write_bytes(parts_path(root, split, file_name), cv2.imencode(".png", sample.parts)[1].tobytes())
    return annotation_entries(sample, index, capture, file_name)


def write_annotations(root: Path, split: str, captures: dict[int, list[dict[str, Any]]]) -> None:
    """Write the annotation files of a split, from the entries of each capture."""
    data: dict[str, Any] = {"images": [], "annotations": []}
    cameras: dict[str, Any] = {}
    joints: dict[str, Any] = {}
    for number, entries in captures.items():
        capture = str(number)
        cameras[capture] = {key: {} for key in ("campos", "camrot", "focal", "princpt")}
        joints[capture] = {}
        for entry in entries:
            data["images"].append(entry["image"])
            data["annotations"].append(entry["annotation"])
            joints[capture].update(entry["joint_3d"])
            for key, by_camera in cameras[capture].items():
                by_camera.update(entry["camera"][key])
    for kind, content in zip(FILES, (data, cameras, joints), strict=True):
        write_text(annotation_path(root, split, kind), json.dumps(content))
    lines = (f"{name} {index} {parent}" for index, (name, parent) in enumerate(zip(JOINT_NAMES, PARENTS, strict=True)))
    write_text(root / "annotations" / "skeleton.txt", "\n".join(["# name index parent", *lines, ""]))


def check_split_name(split: str) -> None:
    """Raise a `DataError` if a split's name is no plain one."""
    if not re.fullmatch(r"[\w-]+", split):
        raise DataError(f"split must be a plain name of letters, digits, - and _, got {split!r}")
