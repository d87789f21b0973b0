"""Tests of HIC on synthetic files of the same format: meshes of 778 vertices, a made-up regressor, blank pictures."""

import json
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from unclasp import geometry
from unclasp.cli import main
from unclasp.data import open_dataset
from unclasp.data.hic import HIC, PAPER_COUNT
from unclasp.errors import DataError, UnclaspError
from unclasp.evaluate import PosePredictions, score_predictions
from unclasp.evaluation.prediction_file import FORMAT
from unclasp.hands import JOINT_NAMES

TYPES = ("interacting", "right", "interacting", "left", "interacting")
ALL = {"images": "all", "expect": None}


def regressor(rows: int = 21) -> np.ndarray:
    """Return a regressor that makes joint r the mean of vertices 2 r and 2 r + 1."""
    matrix = np.zeros((rows, 778))
    for row in range(rows):
        matrix[row, [2 * row, 2 * row + 1]] = 0.5
    return matrix


def mesh(seed: int, x: float) -> np.ndarray:
    """Return 778 vertices in metres around (x, 0, 0.6)."""
    return np.random.default_rng(seed).uniform(-0.08, 0.08, (778, 3)).round(5) + np.array([x, 0.0, 0.6])


def save_ply(path: Path, vertices: np.ndarray) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["ply", "format ascii 1.0", f"element vertex {len(vertices)}", *(f"property float {a}" for a in "xyz")]
    rows = [" ".join(map(str, row)) for row in vertices.tolist()]
    path.write_text("\n".join([*lines, "end_header", *rows, ""]))
    return path.name


def npy(header: str) -> bytes:
    return b"\x93NUMPY\x01\0" + struct.pack("<H", 118) + header.ljust(117).encode() + b"\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Write five pictures; the third one's left hand has no mesh."""
    images, annotations = [], []
    for index, hand_type in enumerate(TYPES):
        name = f"{index:02}/rgb/000.png"
        (tmp_path / name).parent.mkdir(parents=True)
        cv2.imwrite(str(tmp_path / name), np.full((480, 640, 3), 9 * index, np.uint8))
        meshes: dict[str, str | None] = {"right_mano_path": None, "left_mano_path": None}
        for side, x in (("right", -0.1), ("left", 0.1)):
            if hand_type in (side, "interacting") and (index, side) != (2, "left"):
                meshes[f"{side}_mano_path"] = f"{index:02}/{side}.ply"
                save_ply(tmp_path / f"{index:02}" / f"{side}.ply", mesh(2 * index + (side == "left"), x))
        images.append({"id": 70 + index, "file_name": name, "width": 640, "height": 480})
        annotations.append({"id": 30 + index, "image_id": 70 + index, "hand_type": hand_type, **meshes})
    (tmp_path / "HIC.json").write_text(json.dumps({"images": images, "annotations": annotations[::-1]}))
    np.save(tmp_path / "J_regressor_mano_ih26m.npy", regressor())
    return tmp_path


def test_a_sample_by_hand(root: Path) -> None:
    data = HIC(root, **ALL)
    assert len(data) == 5
    assert data.file_names == [f"{index:02}/rgb/000.png" for index in (4, 3, 2, 1, 0)]
    assert data.annotation_ids.tolist() == [34, 33, 32, 31, 30]
    sample = data[4]
    right, left = mesh(0, -0.1) * 1000, mesh(1, 0.1) * 1000
    for joint in range(21):
        np.testing.assert_allclose(sample.joints_cam[joint], right[2 * joint : 2 * joint + 2].mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(
            sample.joints_cam[21 + joint], left[2 * joint : 2 * joint + 2].mean(axis=0), rtol=1e-5
        )
    pixels = sample.joints_cam[:, :2] / sample.joints_cam[:, 2:] * 525 + [319.5, 239.5]
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    centre, half = (low + high) / 2, (high - low) / 2 * 1.2
    np.testing.assert_allclose(sample.box, [*(centre - half), *(centre + half)], rtol=1e-4)
    assert sample.valid.all() and sample.interacting and sample.name == "00/rgb/000.png"
    assert (sample.image == 0).all() and (data[3].image == 9).all() and sample.image.shape == (480, 640, 3)


def test_hands_without_a_mesh_do_not_count(root: Path) -> None:
    data = HIC(root, **ALL)
    one_mesh, right, left = data[2], data[3], data[1]
    assert one_mesh.interacting and one_mesh.valid.tolist() == [True] * 21 + [False] * 21
    assert right.hand_type.tolist() == [True, False] and right.valid.tolist() == [True] * 21 + [False] * 21
    assert left.hand_type.tolist() == [False, True] and left.valid.tolist() == [False] * 21 + [True] * 21


@pytest.mark.parametrize(("images", "count"), [("interacting", 3), ("both", 2), ("all", 5)])
def test_which_pictures_is_a_choice_that_is_counted(root: Path, images: str, count: int) -> None:
    assert len(open_dataset(f"hic:{root},images={images},expect={count}")) == count
    with pytest.raises(DataError, match=rf"gives {count} pictures, not 732 \(interacting 3, both 2, all 5\)"):
        open_dataset(f"hic:{root},images={images}")
    assert str(count) in HIC(root, images=images, expect=None).notes["images"]  # type: ignore[arg-type]
    assert f"the paper has {PAPER_COUNT}" in HIC(root, expect=None).notes["images"]


def test_boxes(root: Path) -> None:
    joints, mesh_, image = (HIC(root, box=box, **ALL)[4].box for box in ("joints", "mesh", "image"))  # type: ignore[arg-type]
    assert image.tolist() == [0, 0, 640, 480]
    assert (mesh_[:2] < joints[:2]).all() and (mesh_[2:] > joints[2:]).all()
    vertices = np.concatenate([mesh(0, -0.1), mesh(1, 0.1)])
    pixels = vertices[:, :2] / vertices[:, 2:] * 525 + [319.5, 239.5]
    tight = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])
    np.testing.assert_allclose(mesh_, geometry.expand_box(tight, 1.2), rtol=1e-4)


def test_manos_own_regressor_gets_tips(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "mano.npy"
    np.save(path, regressor(16))
    data = HIC(root, regressor=path, **ALL)
    vertices, joints = mesh(0, -0.1) * 1000, data[4].joints_cam
    by_name = dict(zip(JOINT_NAMES, joints, strict=True))
    for name, expected in {
        "r_wrist": vertices[0:2].mean(axis=0), "r_index1": vertices[2:4].mean(axis=0),
        "r_pinky1": vertices[14:16].mean(axis=0), "r_thumb1": vertices[26:28].mean(axis=0),
        "r_thumb2": vertices[28:30].mean(axis=0), "r_thumb3": vertices[30:32].mean(axis=0),
        "r_thumb4": vertices[745], "r_middle4": vertices[444], "r_pinky4": vertices[673],
    }.items():  # fmt: skip
        np.testing.assert_allclose(by_name[name], expected, rtol=1e-5, err_msg=name)
    assert "MANO, tips as vertices" in data.notes["joints"]


def test_known_errors_and_the_choices_are_reported(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = HIC(root, **ALL)
    truth = np.stack([data[index].joints_cam for index in range(5)]).astype(np.float64)
    moved = truth.copy()
    moved[:, :20] += [0, 6, 8]
    figures = score_predictions(PosePredictions(joints_cam=truth), data).figures
    assert figures["mpjpe_all_mm"] == figures["mrrpe_mm"] == 0
    path = tmp_path / "moved.npz"
    np.savez(path, format=FORMAT, space="camera", joints=moved, annotation_ids=data.annotation_ids)
    with pytest.raises(SystemExit) as exit_:
        main(
            ["evaluate", f"hic:{root},images=all,expect=any", "--predictions", str(path), "--out", str(tmp_path / "r")]
        )
    told = capsys.readouterr().out
    report = json.loads((tmp_path / "r").read_text())
    assert exit_.value.code == 0
    assert report["figures"]["mpjpe_all_mm"] == pytest.approx(10 * 20 / 42, abs=1e-4)
    assert report["joint_errors"]["r_thumb4"] == pytest.approx(10, abs=1e-4)
    assert set(data.notes) < set(report["notes"])
    for name, text in data.notes.items():
        assert f"{name}: {text}" in told


def edit(root: Path, change: Any) -> None:
    content = json.loads((root / "HIC.json").read_text())
    change(content)
    (root / "HIC.json").write_text(json.dumps(content))


def test_damage_is_told(root: Path) -> None:
    def fails(told: str, **options: Any) -> None:
        with pytest.raises(DataError, match=told) as caught:
            data = HIC(root, **(ALL | options))
            data[4]
        assert "\n" not in str(caught.value)

    np.save(root / "flat.npy", np.zeros((3, 3)))
    np.save(root / "zero.npy", np.zeros((21, 778)))
    (root / "text.npy").write_text("no array")
    fails("is missing; take J_regressor_mano_ih26m.npy from InterHand2.6M", regressor=root / "nothing.npy")
    fails(r"must be a regressor of 21 x 778, or MANO's 16 x 778, got \(3, 3\)", regressor=root / "flat.npy")
    fails("weights must sum to 1, got 0", regressor=root / "zero.npy")
    fails("is not a regressor saved by numpy", regressor=root / "text.npy")
    save_ply(root / "00" / "right.ply", mesh(0, 0)[:700])
    fails("must have the 778 vertices of a MANO hand, got 700")
    save_ply(root / "00" / "right.ply", mesh(0, 0) * 1000)
    fails("in metres, not at z = 598")
    (root / "00" / "right.ply").unlink()
    fails("1 files that HIC.json names are not there, the first .*right.ply")
    edit(root, lambda content: content["annotations"][0].update(hand_type="both"))
    fails("it has the hand types both")
    edit(root, lambda content: content["annotations"][0].update(image_id=1))
    fails("is not InterWild's HIC.json .KeyError: 1")
    (root / "HIC.json").write_text("{")
    fails("HIC.json is not whole JSON")
    (root / "HIC.json").write_text("[" * 100_000)
    fails("HIC.json is not whole JSON .it is nested too deeply")
    (root / "HIC.json").unlink()
    fails("HIC.json is missing: InterWild's authors", regressor=root / "nothing.npy")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"id": "x"}, "it has a damaged id"),
        ({"id": 10**30}, "it has a damaged id"),
        ({"file_name": None}, "it has a damaged file_name"),
        ({"file_name": "../x.png"}, "it has a damaged file_name"),
        ({"right_mano_path": "/x.ply"}, "it has a damaged right_mano_path"),
        ({"right_mano_path": 5}, "it has a damaged right_mano_path"),
        ({"left_mano_path": "y" * 300}, "1 files that HIC.json names are not there"),
    ],
)
def test_damaged_entries_are_told(root: Path, change: dict[str, Any], told: str) -> None:
    edit(root, lambda content: content["annotations"][1].update(change))
    with pytest.raises(DataError, match=told):
        HIC(root, **ALL)


def test_a_picture_of_another_size_is_refused(root: Path) -> None:
    """The camera is fixed, whatever size HIC.json tells."""
    edit(root, lambda content: [image.update(width=320, height=240) for image in content["images"]])
    assert HIC(root, box="image", **ALL)[4].box.tolist() == [0, 0, 640, 480]
    cv2.imwrite(str(root / "00" / "rgb" / "000.png"), np.zeros((240, 320, 3), np.uint8))
    with pytest.raises(DataError, match=r"00/rgb/000\.png must be 640 x 480 px, .*, not 320 x 240; fetch the original"):
        HIC(root, **ALL)[4]


def test_vertices_far_beside_the_camera_are_told(root: Path) -> None:
    save_ply(root / "00" / "right.ply", mesh(0, 1e300))
    with pytest.raises(DataError, match="must lie in front of the camera, in metres"):
        HIC(root, **ALL)[4]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"PK\x03\x04", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,)}"),
        npy("{'descr': '<f8', 'fortran_order': ("), npy("{'descr': '(,', 'fortran_order': False, 'shape': (1,)}"),
    ],
    ids=["empty", "zip", "huge", "cut", "type"],
)  # fmt: skip
def test_a_damaged_regressor_is_told(root: Path, content: bytes) -> None:
    (root / "r.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"r\.npy is not a regressor saved by numpy \(.+\)$"):
        HIC(root, regressor=root / "r.npy", **ALL)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("images=some", "images must be one of interacting, both, all, got 'some'"),
        ("box=hand", "box must be one of joints, mesh, image, got 'hand'"),
        ("expect=many", "expect must be a number of pictures, or any; got 'many'"),
        ("split=test", "the option split of the data set is unknown; there are images, regressor, box, expect"),
        ("box=mesh,box=mesh", "the option box of the data set comes twice"),
    ],
)
def test_unknown_options_are_told(root: Path, options: str, told: str) -> None:
    with pytest.raises(UnclaspError, match=told):
        open_dataset(f"hic:{root},{options}")
