"""From picture to pose, JSON and overlay with only NumPy, OpenCV and onnxruntime installed."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("onnx", reason="exporting is an extra")
pytest.importorskip("onnxruntime", reason="exporting is an extra")

from unclasp.checkpoint import save_weights
from unclasp.engines.opening import open_network
from unclasp.errors import UnclaspError
from unclasp.export import export_onnx
from unclasp.model import build
from unclasp.picture import read_picture
from unclasp.predictor import Predictor
from unclasp.presets import tiny

ENGINE = ("unclasp", "numpy", "cv2", "onnxruntime")
COMMAND_LINE = (
    "tyro", "rich", "docstring_parser", "typeguard", "typing_extensions", "pygments", "markdown_it", "mdurl",
)  # fmt: skip

BARE = """
import sys

class Allowed:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        is_allowed = top in sys.stdlib_module_names or top in {allowed!r}
        return self.finder.find_spec(name, path, target) if is_allowed else None

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Allowed, sys.meta_path)
"""


def run_bare(code: str, *, allowed: tuple[str, ...], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh process in which nothing but the standard library and `allowed` can be imported."""
    bare = BARE.format(allowed=allowed)
    return subprocess.run(
        [sys.executable, "-c", bare + code], capture_output=True, text=True, check=False, timeout=120, cwd=folder
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a picture, a weights file, and the same network exported."""
    made = tmp_path_factory.mktemp("bare")
    torch.manual_seed(0)
    model, generator = build(tiny().model).eval(), np.random.default_rng(0)
    crops = generator.integers(0, 256, (2, 3, 64, 64)).astype(np.uint8)
    save_weights(made / "tiny.safetensors", model.state_dict(), tiny())
    export_onnx(model, tiny(), made / "tiny.onnx", name="tiny", precision="fp32", unseen=crops)
    picture = cv2.resize(generator.integers(0, 256, (9, 12, 3)).astype(np.uint8), (160, 120))
    cv2.imwrite(str(made / "picture.png"), picture)
    return made


@pytest.mark.parametrize("box", ["None", "(20, 15, 90, 100)"])
def test_a_prediction(folder: Path, box: str) -> None:
    done = run_bare(f"""
from unclasp.picture import read_picture
from unclasp.predictor import Predictor
pose = Predictor.load("tiny.onnx", flip_test=True)(read_picture("picture.png"), {box})
pose.save_json("pose.json")
drawn = pose.plot()
print(drawn.ndim, drawn.dtype, (drawn.std() > 0) + 0)
""", allowed=ENGINE, folder=folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["3", "uint8", "1"]
    predictor = Predictor.load(folder / "tiny.onnx", flip_test=True)
    expected = predictor(read_picture(folder / "picture.png"), None if box == "None" else (20, 15, 90, 100))
    expected.save_json(folder / "expected.json")
    assert json.loads((folder / "pose.json").read_text()) == json.loads((folder / "expected.json").read_text())


def test_the_shipped_model(folder: Path) -> None:
    done = run_bare("""
from unclasp.picture import read_picture
from unclasp.predictor import Predictor
pose = Predictor.load()(read_picture("picture.png"), (20, 15, 90, 100))
print(pose.model, pose.joints_3d.shape)
""", allowed=ENGINE, folder=folder)  # fmt: skip
    assert done.stdout == "small (42, 3)\n", done.stderr


def test_the_command(folder: Path) -> None:
    done = run_bare("""
from unclasp.cli import main
main(["predict", "picture.png", "--weights", "tiny.onnx", "--out", "out", "--html", "--box", "20", "15", "90", "100"])
""", allowed=(*ENGINE, *COMMAND_LINE), folder=folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {each.suffix for each in (folder / "out").iterdir()} == {".png", ".json", ".html"}
    told = json.loads((folder / "out" / "picture.json").read_text())
    assert told["model"] == "tiny"


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ('"tiny.safetensors"', "tiny.safetensors needs the package torch: pip install torch, or give an exported"),
        ('None, device="cuda"', "the shipped model needs the package torch"),
        ('"tyni.safetensors"', "there is no weights file tyni.safetensors; check the spelling; the shipped model is"),
    ],
)
def test_weights_files_say_what_they_need(folder: Path, weights: str, told: str) -> None:
    done = run_bare(f"""
from unclasp.errors import UnclaspError
from unclasp.predictor import Predictor
try:
    Predictor.load({weights})
except UnclaspError as error:
    print(error)
""", allowed=ENGINE, folder=folder)  # fmt: skip
    assert told in done.stdout, done.stderr


def test_help_has_the_names_that_can_be_imported(folder: Path) -> None:
    done = run_bare("""
sys.modules["torch"] = None  # as if it were missing
import inspect, unclasp
members = dict(inspect.getmembers(unclasp))  # as pydoc gets them
print(*sorted(set(unclasp.__all__) - set(members)))
""", allowed=ENGINE, folder=folder)  # fmt: skip
    assert done.stdout == "DFL build load_model\n", done.stderr


def test_nothing_else_means_nothing_else(folder: Path) -> None:
    """Otherwise the tests above would prove nothing."""
    for name in ("torch", "safetensors", "onnx", "tyro", "numba"):
        done = run_bare(f"import {name}", allowed=ENGINE, folder=folder)
        assert done.returncode == 1 and f"No module named '{name}'" in done.stderr


def test_exported_models_run_on_the_cpu(folder: Path) -> None:
    with pytest.raises(UnclaspError, match="run on the cpu, got device 'cuda'"):
        open_network(folder / "tiny.onnx", device="cuda")
