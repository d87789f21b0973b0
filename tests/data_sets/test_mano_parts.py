"""Part masks from MANO fits: position and occlusion of the hands, and files that are written atomically."""

import errno
import json
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from made_mano import make_hand, write_models
from made_set import change, set_mano

from unclasp import geometry
from unclasp.cli import main
from unclasp.data.interhand import InterHand
from unclasp.data.layout import annotation_path, find_layout
from unclasp.data.mano import read_mano
from unclasp.data.mano_parts import PartsRenderer, write_parts
from unclasp.errors import DataError

FOCAL, PRINCPT = np.array([110.0, 115.0]), np.array([40.0, 30.0])


@pytest.fixture
def mano(tmp_path: Path) -> Path:
    return write_models(tmp_path / "mano files")


def hand_at(x: float, z: float, seed: int) -> dict[str, Any]:
    """Return a fit of a hand that points up in the picture, at a position in metres."""
    rng = np.random.default_rng(seed)
    pose = rng.normal(0, 0.2, 48)
    pose[:3] = [np.pi, 0.1, 0.05]
    return {"pose": pose.tolist(), "shape": rng.normal(0, 0.5, 10).tolist(), "trans": [x, 0.05, z]}


@pytest.fixture
def fitted(small: Path) -> Path:
    """The small set with fits: picture 0 has both hands, 1 the right one, 2 the left one."""
    set_mano(small, {
        "0": {
            "0": {"right": hand_at(-0.04, 0.60, 1), "left": hand_at(0.04, 0.62, 2)},
            "1": {"right": hand_at(-0.04, 0.60, 3), "left": None},
        },
        "1": {"2": {"right": None, "left": hand_at(0.04, 0.60, 4)}},
    })  # fmt: skip
    return small


def meshes_of(models: Any, fits: dict[str, Any]) -> dict[Any, np.ndarray]:
    return {
        side: models[side].vertices(*(np.array(one[key]) for key in ("pose", "shape", "trans")))
        for side, one in fits.items()
        if one is not None
    }


def slow_parts(models: Any, meshes: dict[Any, np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Intersect every pixel's ray with every triangle of both hands, in float64, from either side."""
    width, height = size
    parts, nearest = np.zeros((height, width), int), np.full((height, width), np.inf)
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    rays = np.concatenate([(grid - PRINCPT) / FOCAL, np.ones((height, width, 1))], axis=-1)
    for side, mesh in meshes.items():
        shares = models[side].part_probabilities.astype(float)
        for face in models[side].faces:
            corners = mesh[face]
            try:
                weights = rays @ np.linalg.inv(corners.T).T  # ray = sum of corners times these
            except np.linalg.LinAlgError:
                continue
            depth = 1 / np.maximum(weights.sum(axis=-1), 1e-12)
            seen = (weights >= 0).all(axis=-1) & (depth < nearest)
            parts[seen] = (weights[seen] @ shares[face]).argmax(axis=-1) + 16 * (side == "left")
            nearest[seen] = depth[seen]
    return parts


@pytest.mark.parametrize(("right", "left"), [(0.60, 0.66), (0.66, 0.60)])
def test_both_hands_hide_each_other_as_rays_say(mano: Path, right: float, left: float) -> None:
    models = read_mano(mano)
    meshes = meshes_of(models, {"right": hand_at(-0.01, right, 5), "left": hand_at(0.01, left, 6)})
    drawn = PartsRenderer(models)(meshes, FOCAL, PRINCPT, size=(80, 60))
    expected = slow_parts(models, meshes, (80, 60))
    assert (drawn != expected).mean() < 0.002, "only pixels that an edge goes through may differ"
    assert {int(part > 16) for part in np.unique(drawn[drawn > 0])} == {0, 1} and len(np.unique(drawn)) > 10
    other = slow_parts(models, dict(reversed(meshes_of(models, {"right": hand_at(-0.01, left, 5)}).items())), (80, 60))
    assert (drawn != other).mean() > 0.02


def test_the_wrist_is_closed(mano: Path) -> None:
    """From below one looks at the palm's closed end, and not through it at what is behind."""
    models = read_mano(mano)
    one = {"pose": [np.pi / 2, 0, 0, *(-make_hand()["hands_mean"]).tolist()], "shape": [0.0] * 10, "trans": [0, 0, 0.5]}
    drawn = PartsRenderer(models)(meshes_of(models, {"right": one}), FOCAL * 3, PRINCPT, size=(80, 60))
    assert drawn[30, 40] == 1


def test_masks_read_back_and_lie_on_the_hands(fitted: Path, mano: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in fitted.rglob("*.json")}
    with pytest.raises(SystemExit) as exit_:
        main(["data", "parts", str(fitted), "--mano", str(mano)])
    assert exit_.value.code == 0
    told = capsys.readouterr().out
    assert told == "train: 3 part masks written, 0 existed, 0 images without MANO fits of exactly their hands\n"
    assert all(path.read_bytes() == content for path, content in before.items())
    dataset, models = InterHand(fitted), read_mano(mano)
    fits = json.loads(annotation_path(fitted, "train", "MANO_NeuralAnnot").read_text())
    for index, key in enumerate((("0", "0"), ("0", "1"), ("1", "2"))):
        sample = dataset[index]
        assert sample.parts is not None and sample.parts.shape == sample.image.shape[:2]
        meshes = meshes_of(models, fits[key[0]][key[1]])
        for side, mesh in meshes.items():
            drawn = (sample.parts > 0) & ((sample.parts > 16) == (side == "left"))
            spots = geometry.project(mesh, sample.focal, sample.princpt)
            on = drawn[tuple(spots.round().astype(int).clip(0, 95).T[::-1])]
            assert on.mean() > 0.5 and drawn.sum() > 200
            rows, columns = np.nonzero(drawn)
            assert spots[:, 0].min() - 1 <= columns.min() and columns.max() <= spots[:, 0].max() + 1
            assert spots[:, 1].min() - 1 <= rows.min() and rows.max() <= spots[:, 1].max() + 1
        assert {bool(part > 16) for part in np.unique(sample.parts) if part} == {side == "left" for side in meshes}


def test_the_cameras_turn_and_stand_apart(fitted: Path, mano: Path) -> None:
    """World to camera is R (X - C), in millimetres, as for the joints."""
    write_parts(find_layout(fitted, "train"), mano)
    plain = InterHand(fitted)[1].parts
    turn, centre = cv2.Rodrigues(np.array([0.2, -2.0, 0.4]))[0], np.array([120.0, -300.0, 90.0])

    def moved(cameras: Any) -> None:
        cameras["0"]["camrot"]["001"], cameras["0"]["campos"]["001"] = turn.tolist(), centre.tolist()

    def placed(fits: Any) -> None:
        """Move the hand with the camera; the model turns about its wrist at rest, which is not the origin."""
        one = fits["0"]["1"]["right"]
        fields = make_hand()
        wrist = (fields["J_regressor"] @ (fields["v_template"] + fields["shapedirs"] @ one["shape"]))[0]
        old = cv2.Rodrigues(np.array(one["pose"][:3]))[0]
        one["pose"][:3] = cv2.Rodrigues(turn.T @ old)[0].ravel().tolist()
        one["trans"] = (turn.T @ (wrist + one["trans"]) + centre / 1000 - wrist).tolist()

    change(fitted, "camera", moved)
    change(fitted, "MANO_NeuralAnnot", placed)
    (fitted / "parts" / "train.made.json").unlink()
    for path in (fitted / "parts").rglob("*.png"):
        path.rename(path.with_suffix(".old"))
    (fitted / "parts" / "train").rename(fitted / "parts" / "before")
    write_parts(find_layout(fitted, "train"), mano)
    again = InterHand(fitted)[1].parts
    assert plain is not None and again is not None and (plain != again).mean() < 1e-3


def test_pictures_without_fits_of_exactly_their_hands_have_no_mask(fitted: Path, mano: Path) -> None:
    change(fitted, "MANO_NeuralAnnot", lambda fits: fits["0"]["0"].update(left=None))
    change(fitted, "MANO_NeuralAnnot", lambda fits: fits["0"]["1"].update(left=hand_at(0.04, 0.6, 7)))
    outcome = write_parts(find_layout(fitted, "train"), mano)
    assert (outcome.written, outcome.there, outcome.without) == (1, 0, 2)
    assert [InterHand(fitted)[i].parts is None for i in range(3)] == [True, True, False]


def test_a_run_that_was_cut_off_goes_on(fitted: Path, mano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = find_layout(fitted, "train")
    real, calls = Path.replace, []

    def full(self: Path, target: Path) -> Path:
        calls.extend([target] if target.suffix == ".png" else [])
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        with pytest.raises(
            DataError, match=r"the disk is full: .*png could not be written, and nothing of it is left; make room"
        ) as error:
            write_parts(layout, mano)
    assert "\n" not in str(error.value)
    kept = {path: path.stat().st_mtime_ns for path in (fitted / "parts").rglob("*.png")}
    assert len(kept) == 1, "a whole mask stays, and nothing of the other"
    steps: list[tuple[int, int]] = []
    outcome = write_parts(layout, mano, progress=lambda *step: steps.append(step))
    assert (outcome.written, outcome.there) == (2, 1) and steps[-1] == (3, 3)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert sum(1 for path in (fitted / "parts").rglob("*") if path.is_file()) == 4


def test_subsets_of_the_older_layout_share_their_masks(
    fitted: Path, mano: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fitted / "annotations" / "train"
    for subset in ("human_annot", "machine_annot"):
        for path in folder.glob("*.json"):
            name = path.name.replace("MANO_NeuralAnnot", "MANO")
            (folder.parent / subset).mkdir(exist_ok=True)
            (folder.parent / subset / name).write_bytes(path.read_bytes() + b" " * (subset == "human_annot"))
    shutil.rmtree(folder)
    with pytest.raises(SystemExit) as exit_:
        main(["data", "parts", str(fitted), "--mano", str(mano)])
    assert exit_.value.code == 0
    told = capsys.readouterr().out
    assert "train (human): 3 part masks written, 0 existed" in told
    assert "train (machine): 0 part masks written, 3 existed" in told


@pytest.mark.slow
def test_two_processes_draw_what_one_does(fitted: Path, mano: Path) -> None:
    layout = find_layout(fitted, "train")
    write_parts(layout, mano)
    alone = {path: path.read_bytes() for path in (fitted / "parts").rglob("*.png")}
    for path in alone:
        path.unlink()
    assert write_parts(layout, mano, processes=2).written == 3
    assert {path: path.read_bytes() for path in (fitted / "parts").rglob("*.png")} == alone


def edit_fits(root: Path, what: Any) -> None:
    change(root, "MANO_NeuralAnnot", what)


def test_a_damaged_fit_has_no_mask_and_the_others_have(fitted: Path, mano: Path) -> None:
    edit_fits(fitted, lambda fits: fits["0"]["1"]["right"]["pose"].pop())
    outcome = write_parts(find_layout(fitted, "train"), mano)
    assert (outcome.written, outcome.without) == (2, 1)


def test_a_hand_behind_the_camera_is_not_drawn(fitted: Path, mano: Path) -> None:
    edit_fits(fitted, lambda fits: fits["0"]["1"]["right"].update(trans=[0, 0, -0.6]))
    write_parts(find_layout(fitted, "train"), mano)
    parts = InterHand(fitted)[1].parts
    assert parts is not None and not parts.any()


def save_note(root: Path, text: str) -> None:
    (root / "parts").mkdir()
    (root / "parts" / "train.made.json").write_text(text)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda root: annotation_path(root, "train", "MANO_NeuralAnnot").unlink(), "MANO_NeuralAnnot.json is missing"),
        (lambda root: annotation_path(root, "train", "MANO_NeuralAnnot").write_text('{"0": {'), "is not whole JSON"),
        (
            lambda root: (root / "parts" / "train" / "Capture0").mkdir(parents=True),
            "holds part masks that come from elsewhere",
        ),
        (
            lambda root: write_parts(find_layout(root, "train"), write_models(root / "other", hands_mean=np.zeros(45))),
            r"drawn from other models or fits; delete it and train\.made\.json first",
        ),
        (
            lambda root: save_note(root, "[" * 100_000),
            r"drawn from other models or fits; delete it and train\.made\.json first",
        ),
        (lambda root: (root / "parts").write_text("in the way"), "cannot be written"),
        (lambda root: (root.joinpath("mano files/MANO_LEFT.pkl")).unlink(), "MANO_LEFT.pkl is missing; --mano names"),
        (lambda root: (root.joinpath("mano files/MANO_LEFT.pkl")).write_bytes(b"cos\nsystem\n."), r"names os\.system"),
    ],
)
def test_what_is_wrong_is_one_line(
    fitted: Path, mano: Path, capsys: pytest.CaptureFixture[str], damage: Any, told: str
) -> None:
    damage(fitted)
    with pytest.raises(SystemExit) as exit_:
        main(["data", "parts", str(fitted), "--mano", str(mano)])
    error = capsys.readouterr().err
    assert exit_.value.code == 2 and error.count("\n") == 1 and error.startswith("error: ")
    assert re.search(told, error), error


def test_the_words_of_the_command_are_checked(fitted: Path, mano: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (
        (["--processes", "0"], "--processes must be at least 1, got 0"),
        (["--split", "val"], "the splits there are train"),
    ):
        with pytest.raises(SystemExit):
            main(["data", "parts", str(fitted), "--mano", str(mano), *words])
        assert told in capsys.readouterr().err
    assert not (fitted / "parts").exists()
