"""Small sets in InterHand2.6M's layouts, written by hand, without the writer under test."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from unclasp.data.entries import annotation_entries
from unclasp.data.layout import annotation_path


def set_annotations(root: Path, entries: list[dict[str, Any]], split: str = "train") -> None:
    """Write the three annotation files."""
    data: dict[str, Any] = {"images": [e["image"] for e in entries], "annotations": [e["annotation"] for e in entries]}
    cameras: dict[str, Any] = {}
    joints: dict[str, Any] = {}
    for entry in entries:
        capture = str(entry["image"]["capture"])
        joints.setdefault(capture, {}).update(entry["joint_3d"])
        for key, value in entry["camera"].items():
            cameras.setdefault(capture, {}).setdefault(key, {}).update(value)
    for kind, content in (("data", data), ("camera", cameras), ("joint_3d", joints)):
        path = annotation_path(root, split, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))


def make_small(root: Path, make_sample: Any) -> Path:
    """Write three pictures in two captures: both hands, the right one, the left one; no part masks."""
    entries = []
    for index, hands in enumerate(("interacting", "right", "left")):
        sample = make_sample(index, hands=hands)
        name = f"Capture{index // 2}/hands/cam{index:03d}/image{index}.jpg"
        path = root / "images" / "train" / name
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), sample.image[..., ::-1])
        entries.append(annotation_entries(sample, index, index // 2, name))
    set_annotations(root, entries)
    return root


def change(root: Path, kind: str, edit: Callable[[Any], Any], split: str = "train") -> None:
    path = annotation_path(root, split, kind)
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def set_mano(root: Path, fits: dict[str, dict[str, Any]], split: str = "train") -> None:
    """Write the file of MANO fits: {capture: {frame: {side: fit or None}}}."""
    annotation_path(root, split, "MANO_NeuralAnnot").write_text(json.dumps(fits))


def fit() -> dict[str, Any]:
    """Return a MANO fit of one hand."""
    return {"pose": [0.1] * 48, "shape": [0.0] * 10, "trans": [0.0, 0.1, 0.9]}
