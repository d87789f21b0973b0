"""The two files of the shipped model: which one is used, by which engine, and that both are the same network."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from unclasp.data.crops import synthetic_crops
from unclasp.engines.onnx_engine import Runner
from unclasp.engines.onnx_model import ExportedNetwork
from unclasp.engines.onnx_session import import_engine, open_session
from unclasp.engines.opening import is_cpu, open_network
from unclasp.engines.torch_network import TorchNetwork
from unclasp.errors import CheckpointError, UnclaspError
from unclasp.inputs import check_threads
from unclasp.picture import read_picture
from unclasp.predictor import Predictor
from unclasp.shipped import exported_file, model_name, shipped_names, shipped_weights, weights_file
from unclasp.video import Frame


def test_a_missing_shipped_model_is_named() -> None:
    with pytest.raises(CheckpointError, match="no shipped weights are called 'huge'"):
        shipped_weights("huge")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (None, "small.safetensors"),
        ("small", "small.safetensors"),
        (Path("small"), "small.safetensors"),
        ("mine/small", None),
        ("small.safetensors", None),
        ("mine", None),
    ],
)
def test_a_shipped_model_is_meant_by_its_bare_name(given: Path | str | None, meant: str | None) -> None:
    assert weights_file(given) == (Path(str(given)) if meant is None else shipped_weights("small").with_name(meant))
    assert exported_file(given) == (None if meant is None else shipped_weights("small").with_suffix(".onnx"))


def test_a_file_of_a_shipped_model_s_name_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small").touch()
    monkeypatch.chdir(tmp_path)
    assert weights_file("small") == Path("small")
    assert exported_file("small") is None


def test_weights_have_the_name_of_their_training() -> None:
    """All trainings call their file weights.safetensors."""
    named = {"runs/a/weights.safetensors": "a/weights", "runs/a/mean.safetensors": "mean", "weights.onnx": None}
    for path, name in named.items():
        assert model_name(Path(path)) == (name or f"{Path.cwd().name}/weights")
    assert model_name(Path("runs/a/mean.safetensors"), in_folder=True) == "a/mean"
    assert model_name(shipped_weights("small")) == "small"


def test_onnx_runtime_runs_the_shipped_model_on_the_cpu() -> None:
    assert isinstance(open_network(), ExportedNetwork)
    assert isinstance(open_network("small"), ExportedNetwork)
    assert isinstance(open_network(device=torch.device("cpu", 0)), ExportedNetwork)


def test_torch_runs_it_by_its_weights_file_and_where_onnx_runtime_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_network(shipped_weights("small")), TorchNetwork)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert isinstance(open_network(), TorchNetwork)


def test_both_files_of_a_shipped_model_are_one_network() -> None:
    for name in shipped_names():
        exported, trained = open_network(name), open_network(shipped_weights(name))
        assert (exported.name, exported.image_size) == (trained.name, trained.image_size)
        crops = synthetic_crops("test", 8, trained.image_size).transpose(0, 2, 3, 1)
        ours, theirs = exported(crops), trained(crops)
        assert ours.depth_axis == theirs.depth_axis
        assert np.abs(ours.pose_2p5d - theirs.pose_2p5d).max() < 0.01
        assert ours.confidence is not None and theirs.confidence is not None
        np.testing.assert_allclose(ours.confidence, theirs.confidence, atol=1e-4)
        np.testing.assert_allclose(ours.presence, theirs.presence, atol=1e-4)


def test_one_core_is_enough_for_every_network_of_a_predictor(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int | None] = []

    def watched(*given: Any, threads: int | None = None, **options: Any) -> Any:
        asked.append(threads)
        return open_session(*given, threads=threads, **options)

    for module in ("engines.onnx_engine", "engines.onnx_model"):
        monkeypatch.setattr(f"unclasp.{module}.open_session", watched)
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3)).astype(np.uint8)
    alone, all_of_them = (Predictor.load(threads=threads)(image, (10, 10, 90, 80)) for threads in (1, None))
    assert asked == [1] * 5 + [None] * 5, "pose network, finder, landmark network, palm and face detector"
    np.testing.assert_allclose(alone.joints_2d, all_of_them.joints_2d, atol=0.01)


FORKS = """
import os, sys
import numpy as np
from unclasp import Predictor
predictor = Predictor.load()
image = np.random.default_rng(0).integers(0, 255, (90, 120, 3)).astype(np.uint8)
expected = predictor(image).joints_2d
sessions = [network._session for network in (predictor.network.model, predictor.landmarks.run)]
inherited = [session.of_process for session in sessions]
for _ in range(2):
    sys.stdout.flush()
    if child := os.fork():
        assert os.waitpid(child, 0)[1] == 0
    else:
        same = (predictor(image).joints_2d == expected).all()
        anew = all(session.of_process is not before for session, before in zip(sessions, inherited))
        print("same" if same and anew else "different", flush=True)
        del predictor, sessions
        sys.exit(0)  # which destroys what is left
assert all(session.of_process is before for session, before in zip(sessions, inherited))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
def test_a_fork_of_a_process_that_has_predicted_predicts_the_same() -> None:
    """Its parent's threads are gone, and sessions that it inherited may wait for them for ever."""
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and done.stdout == "same\nsame\n", done.stderr


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2"])
def test_threads_are_a_positive_number(threads: Any) -> None:
    with pytest.raises(UnclaspError, match="threads must be a whole number of at least 1, got"):
        Predictor.load(threads=threads)


def test_there_are_no_more_threads_than_cores() -> None:
    cores = os.cpu_count() or 1
    assert [check_threads(threads) for threads in (1, cores, cores + 1, 10**6, None)] == [1, cores, cores, cores, None]


def test_the_number_of_threads_makes_no_difference() -> None:
    """It changes last digits, which would change the next crop if crops lay on no grid (`boxes.snapped`)."""
    predictors = [Predictor.load(threads=threads) for threads in (1, 2)]
    root = Path(__file__).parent
    for picture in (root / "data" / "crossed.jpg", root.parent / "examples" / "two_hands.jpg"):
        one, two = (predictor(read_picture(picture)) for predictor in predictors)
        assert one.sides == two.sides and one.doubted == two.doubted
        np.testing.assert_allclose(one.joints_2d, two.joints_2d, atol=1e-3, err_msg=picture.name)


def test_nor_does_it_in_a_video() -> None:
    picture = read_picture(Path(__file__).parent.parent / "examples" / "two_hands.jpg")
    frames = [Frame(np.roll(picture, 3 * number, axis=1), number, number / 25) for number in range(6)]
    one, two = (list(Predictor.load(threads=threads).track(frames)) for threads in (1, 2))
    for first, second in zip(one, two, strict=True):
        assert first.sides == second.sides and first.doubted == second.doubted
        np.testing.assert_allclose(first.joints_2d, second.joints_2d, atol=1e-3, err_msg=str(first.frame))


def test_an_onnxruntime_that_cannot_be_loaded_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> None:
        raise ImportError("libstdc++.so.6: cannot open shared object file\nmore")

    monkeypatch.setattr("unclasp.engines.onnx_session.import_module", broken)
    with pytest.raises(
        UnclaspError, match=r"package onnxruntime cannot be loaded \(libstdc.*file\); install it again$"
    ):
        Predictor.load()


def test_the_cpu_has_several_names() -> None:
    for device, cpu in (("cpu", True), ("cpu:0", True), ("cuda", False), ("cuda:0", False), ("cpux", False)):
        assert is_cpu(device) is cpu


def test_an_engine_that_is_missing_or_broken_is_told_as_that_and_a_missing_file_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "m.onnx"
    with pytest.raises(CheckpointError, match=r"there is no model file .*m\.onnx"):
        import_engine("an_engine_that_nobody_has", file)
    file.touch()
    with pytest.raises(UnclaspError, match="needs the package an_engine_that_nobody_has: pip install an_engine"):
        import_engine("an_engine_that_nobody_has", file)
    assert import_engine("json", file).dumps(1) == "1"


def test_sessions_are_opened_with_the_threads_and_the_waiting_that_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Settings:
        def __init__(self) -> None:
            self.entries: dict[str, str] = {}

        def add_session_config_entry(self, key: str, value: str) -> None:
            self.entries[key] = value

    opened: list[tuple[Any, ...]] = []
    runtime = SimpleNamespace(
        SessionOptions=Settings, InferenceSession=lambda *given, **how: opened.append((*given, how))
    )
    monkeypatch.chdir(tmp_path)
    for threads, spin, entries in (
        (3, True, {"session.force_spinning_stop": "1"}), (None, False, {"session.intra_op.allow_spinning": "0"}),
    ):  # fmt: skip
        open_session(runtime, Path("m.onnx"), threads=threads, spin=spin, enable_profiling=True)
        place, settings, how = opened[-1]
        assert place == str(tmp_path / "m.onnx") and how == {"providers": ["CPUExecutionProvider"]}
        assert settings.intra_op_num_threads == (threads or 0) and settings.entries == entries
        assert settings.enable_profiling is True


def test_outputs_of_small_networks_come_in_the_order_that_is_asked_for() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 48, 3)).astype(np.uint8)

    class Answers:
        def run(self, names: list[str], inputs: dict[str, Any]) -> list[Any]:
            assert inputs["image"].flags.c_contiguous and inputs["image"].dtype == np.float32
            np.testing.assert_array_equal(inputs["image"][0].transpose(1, 2, 0), image)
            return names

    runner = Runner.__new__(Runner)
    runner._outputs, runner._session = ["b", "a"], Answers()  # type: ignore[assignment]
    assert runner(image) == ["b", "a"]
