"""Exported files: same outputs, any batch size, metadata, use without torch, and no file left behind on failure."""

import copy
import json
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("onnx", reason="exporting is an extra")
pytest.importorskip("onnxruntime", reason="exporting is an extra")

from unclasp import export as exporting
from unclasp.checkpoint import load_model, save_weights
from unclasp.cli import main
from unclasp.config import Config, DepthAxis, to_dict, with_model
from unclasp.data.crops import synthetic_crops
from unclasp.engines.onnx_model import OUTPUTS, ExportedModel, ExportedNetwork, ModelMetadata, OnnxModel, OpenVinoModel
from unclasp.engines.onnx_session import INPUT
from unclasp.engines.torch_network import TorchNetwork
from unclasp.errors import CheckpointError, UnclaspError
from unclasp.evaluation.exported import ExportedScored
from unclasp.export import ExportError, Parity, check, compare, export_onnx, export_openvino
from unclasp.exporting import graph as graphs
from unclasp.exporting.tracing import export, spots
from unclasp.hands import JOINT_NAMES, PART_NAMES
from unclasp.model import DFL, build
from unclasp.predictor import Predictor
from unclasp.presets import tiny

LINEAR = with_model(tiny(), segmentation_channels=0, root_depth_head=False, presence_head=False)


def crops(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 64, 64)).astype(np.uint8)


def built(config: Config) -> DFL:
    torch.manual_seed(0)
    return build(config.model).eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    model, path = built(tiny()), tmp_path_factory.mktemp("export") / "tiny.onnx"
    parity = export_onnx(model, tiny(), path, name="tiny", precision="fp32", unseen=crops(4))
    return SimpleNamespace(model=model, path=path, parity=parity)


@pytest.mark.parametrize("engine", [OnnxModel, OpenVinoModel])
def test_threads_may_share_a_model(exported: SimpleNamespace, engine: type[OnnxModel | OpenVinoModel]) -> None:
    pytest.importorskip("openvino" if engine is OpenVinoModel else "onnxruntime")
    model, given = engine(exported.path), [crops(1, seed) for seed in range(4)]
    alone = [model(each).pose_2p5d for each in given]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: model(each).pose_2p5d, given * 10))
    for number, pose in enumerate(together):
        np.testing.assert_allclose(pose, alone[number % 4], atol=1e-3)


@pytest.mark.parametrize("count", [1, 3, 16])
def test_answers_are_the_network_s_for_every_batch_size(exported: SimpleNamespace, count: int) -> None:
    images = crops(count, seed=1)
    with torch.inference_mode():
        expected = exported.model(torch.from_numpy(images))
    for given in (images, images.astype(np.float32)):
        got = OnnxModel(exported.path, threads=1)(given)
        for name in ("pose_2p5d", "part_logits", "presence", "root_depth"):
            np.testing.assert_allclose(getattr(got, name), getattr(expected, name).numpy(), atol=1e-3, err_msg=name)


@pytest.mark.parametrize("engine", [OnnxModel, OpenVinoModel])
def test_no_crop_at_all_is_told(exported: SimpleNamespace, engine: type[OnnxModel | OpenVinoModel]) -> None:
    if engine is OpenVinoModel:
        pytest.importorskip("openvino")
    with pytest.raises(UnclaspError, match=r"at least one crop, got \(0, 3, 64, 64\)"):
        engine(exported.path)(crops(1)[:0])


def test_the_shipped_model_on_fifty_unseen_pictures(tmp_path: Path) -> None:
    model, config = load_model()
    unseen, path = synthetic_crops("test", 50, config.model.image_size), tmp_path / "small.onnx"
    parity = export_onnx(model, config, path, name="small", precision="fp32", unseen=unseen)
    assert parity.pictures == 50 and parity.largest <= max(1e-3, 2 * parity.rounding)
    assert parity.rounding < 2e-3 and parity.coordinate < 2e-4
    with torch.inference_mode():
        expected = copy.deepcopy(model).double()(torch.from_numpy(unseen.copy()))
    exported = OnnxModel(path, threads=1)
    for size in (1, 3, 16):
        answers = [exported(unseen[start : start + size]) for start in range(0, 50, size)]
        for name in ("pose_2p5d", "root_depth"):
            got = np.concatenate([getattr(each, name) for each in answers])
            far = np.abs(got - getattr(expected, name).numpy()).reshape(50, -1).max(axis=1)
            assert (far <= 1e-3).sum() >= 49, f"{name} {size}"
            assert far.max() <= max(1e-3, 2 * parity.rounding), f"{name} {size}"


def test_the_folded_convolution_is_exported_too(tmp_path: Path) -> None:
    import onnx

    path = tmp_path / "linear.onnx"
    parity = export_onnx(built(LINEAR), LINEAR, path, name="linear", precision="fp32", unseen=crops(20))
    assert parity.pictures == 20 and parity.largest < 1e-3
    assert "Col2Im" in {node.op_type for node in onnx.load(path).graph.node}
    assert OnnxModel(path)(crops(1)).presence is None


def test_the_file_documents_itself(exported: SimpleNamespace) -> None:
    import onnx

    graph = onnx.load(exported.path).graph
    told = {value.name: value.doc_string for value in (*graph.input, *graph.output)}
    assert told.keys() == {INPUT, "pose_2p5d", "part_logits", "presence", "root_depth"}
    assert all(told[name] == OUTPUTS[name] for name in told if name != INPUT) and "0 to 255" in told[INPUT]
    assert {value.type.tensor_type.shape.dim[0].dim_param for value in (*graph.input, *graph.output)} == {"batch"}
    facts = OnnxModel(exported.path).facts
    assert (facts.name, facts.image_size, facts.precision) == ("tiny", 64, "fp32")
    assert facts.joints == JOINT_NAMES and facts.parts == PART_NAMES and "1.25" in facts.crop
    assert facts.config == to_dict(tiny())


def test_it_runs_without_torch(exported: SimpleNamespace, tmp_path: Path) -> None:
    images = crops(3, seed=2)
    np.save(tmp_path / "images.npy", images)
    code = f"""
import sys
sys.modules["torch"] = None
import numpy as np
from unclasp.engines.onnx_model import OnnxModel, ExportedNetwork
images = np.load({str(tmp_path / "images.npy")!r})
pose = OnnxModel({str(exported.path)!r})(images).pose_2p5d
answer = ExportedNetwork({str(exported.path)!r})(images.transpose(0, 2, 3, 1))
assert np.array_equal(answer.pose_2p5d, pose)
np.save({str(tmp_path / "pose.npy")!r}, pose)
try:
    import torch
except ImportError:
    print("no torch")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0 and done.stdout.split() == ["no", "torch"], done.stderr
    with torch.inference_mode():
        expected = exported.model(torch.from_numpy(images)).pose_2p5d.numpy()
    np.testing.assert_allclose(np.load(tmp_path / "pose.npy"), expected, atol=1e-3)


@pytest.mark.parametrize(
    "config",
    [
        with_model(tiny(), confidence_head=True),
        with_model(tiny(), confidence_head=True, confidence_context=True),
        LINEAR,
        with_model(tiny(), depth_axis=DepthAxis.CROP),
    ],
    ids=["with every head", "with confidence of context", "without any", "along the crop's line of sight"],
)
def test_as_a_network_it_answers_like_torch(config: Config, tmp_path: Path) -> None:
    model, path = built(config), tmp_path / "model.onnx"
    export_onnx(model, config, path, name="model", precision="fp32", unseen=crops(1))
    images = crops(2, seed=3).transpose(0, 2, 3, 1).copy()
    expected = TorchNetwork(model, name="model", image_size=64)(images)
    network = ExportedNetwork(path)
    got = network(images)
    assert (network.name, network.image_size) == ("model", 64)
    assert got.depth_axis is config.model.depth_axis and ExportedScored(path).depth_axis is config.model.depth_axis
    for name, value in expected._asdict().items():
        if value is None:
            assert getattr(got, name) is None
        elif name == "depth_axis":
            assert value is config.model.depth_axis
        else:
            np.testing.assert_allclose(getattr(got, name), value, atol=1e-3, err_msg=name)


def test_predictors_load_it(exported: SimpleNamespace) -> None:
    image, box = crops(1, seed=4)[0].transpose(1, 2, 0), (8, 8, 56, 56)
    pose = Predictor.load(exported.path, landmarks=False)(image, box)
    expected = Predictor(TorchNetwork(exported.model, name="tiny", image_size=64))(image, box)
    assert pose.model == "tiny"
    np.testing.assert_allclose(pose.joints_2d, expected.joints_2d, atol=1e-3)
    with pytest.raises(UnclaspError, match="run on the cpu, got device 'cuda'"):
        Predictor.load(exported.path, device="cuda")


def test_exported_models_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, exported, told = tmp_path / "tiny.safetensors", tmp_path / "tiny.onnx", {}
    save_weights(weights, built(tiny()).state_dict(), tiny())
    # The file is in half precision, and rounding may move a joint across a threshold: export the rounded weights.
    export_onnx(load_model(weights)[0], tiny(), exported, name="tiny", precision="fp32", unseen=crops(4))
    for path in (exported, weights):
        with pytest.raises(SystemExit) as exit_:
            main(["evaluate", "--weights", str(path), "synthetic:test", "--limit", "3", "--workers", "0",
                  "--json"])  # fmt: skip
        assert exit_.value.code == 0
        told[path.suffix] = json.loads(capsys.readouterr().out)
    of_torch, of_onnx = (_numbers(told[suffix]) for suffix in (".safetensors", ".onnx"))
    assert len(of_onnx) > 20
    np.testing.assert_allclose(of_onnx, of_torch, rtol=1e-4)
    for words in (("--device", "cuda"), ("--devices", "2")):
        with pytest.raises(SystemExit) as exit_:
            main(["evaluate", "--weights", str(exported), "synthetic:test", *words])
        assert exit_.value.code == 2 and "scored on the cpu, in one process" in capsys.readouterr().err


def _numbers(told: object) -> list[float]:
    """Return all numbers of a JSON document, in order."""
    if isinstance(told, dict):
        return [number for value in told.values() for number in _numbers(value)]
    if isinstance(told, list):
        return [number for value in told for number in _numbers(value)]
    return [float(told)] if isinstance(told, (int, float)) else []


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_narrower_numbers(precision: exporting.Precision, exported: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "narrow.onnx"
    parity = export_onnx(
        exported.model, tiny(), path, name="tiny", precision=precision, unseen=crops(8), calibration=crops(8, seed=5)
    )
    assert 0 < parity.mean < 1.5, "near, and yet not the same numbers"
    assert path.stat().st_size < exported.path.stat().st_size and OnnxModel(path).facts.precision == precision
    assert not np.array_equal(OnnxModel(path)(crops(1)).part_logits, OnnxModel(exported.path)(crops(1)).part_logits)


def test_openvino(exported: SimpleNamespace, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="an extra of its own")
    path = tmp_path / "made" / "tiny.xml"
    parity = export_openvino(exported.model, exported.path, path, precision="fp32", unseen=crops(20))
    assert parity.pictures == 20 and parity.largest < 1e-3
    assert sorted(each.name for each in path.parent.iterdir()) == ["tiny.bin", "tiny.xml"]
    assert OpenVinoModel(path).facts == OnnxModel(exported.path).facts == OpenVinoModel(exported.path).facts
    np.testing.assert_allclose(
        ExportedNetwork(path)(crops(2).transpose(0, 2, 3, 1)).pose_2p5d, OnnxModel(exported.path)(crops(2)).pose_2p5d,
        atol=1e-3,
    )  # fmt: skip


OVERLAPPING = """
import signal, subprocess, sys
from unclasp.engines.onnx_model import OpenVinoModel
signal.signal(signal.SIGCHLD, lambda *_: print("heard"))
first = OpenVinoModel(sys.argv[1])
second = OpenVinoModel(sys.argv[1])
del first
del second
subprocess.run([sys.executable, "-c", ""], check=True)
"""


def test_signals_are_heard_after_models_whose_lives_overlapped(exported: SimpleNamespace) -> None:
    """Each OpenVINO core replaces the signal stack, and two overlapping ones would leave a freed stack in place."""
    pytest.importorskip("openvino", reason="an extra of its own")
    command = [sys.executable, "-c", OVERLAPPING, str(exported.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "heard" in done.stdout, done.stderr


def test_another_network_s_file_is_noticed_and_not_written(
    exported: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    other = build(tiny().model).eval()
    far = compare(other, OnnxModel(exported.path), crops(2))
    assert far.largest > 1e-3
    monkeypatch.setattr(exporting, "optimise", lambda model: other)
    with pytest.raises(ExportError, match="nothing was written"):
        export_onnx(exported.model, tiny(), tmp_path / "a.onnx", name="a", precision="fp32", unseen=crops(2))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "parity", [Parity(1, 2e-3, 2e-3, 2e-3), Parity(1, 1e-5, 2e-3, 1e-5), Parity(1, *[float("nan")] * 3)]
)
def test_bounds(parity: Parity) -> None:
    with pytest.raises(ExportError):
        check(parity, "fp32")
    check(Parity(1, 9e-4, 9e-4, 9e-4), "fp32")


def test_a_picture_that_enlarges_every_rounding_may_differ_by_twice_the_network_s_own() -> None:
    check(Parity(50, 1e-5, largest=1.9e-3, coordinate=1e-4, rounding=1e-3), "fp32")
    with pytest.raises(ExportError, match=r"and 0\.002 for fp32"):
        check(Parity(50, 1e-5, largest=2.1e-3, coordinate=1e-4, rounding=1e-3), "fp32")


def test_int8_may_change_its_mind_about_one_picture_but_not_lose_a_coordinate() -> None:
    check(Parity(50, mean=1.0, largest=61.0, coordinate=3.0), "int8")
    with pytest.raises(ExportError, match="of the worst coordinate"):
        check(Parity(50, mean=1.0, largest=61.0, coordinate=20.0), "int8")


def test_files_that_are_not_models(exported: SimpleNamespace, tmp_path: Path) -> None:
    import onnx

    with pytest.raises(CheckpointError, match="no model file"):
        OnnxModel(tmp_path / "nowhere.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(exported.path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="ONNX Runtime can read") as caught:
        OnnxModel(broken)
    assert str(caught.value).count(str(broken)) == 1
    foreign = onnx.load(exported.path)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(CheckpointError, match="format none"):
        OnnxModel(tmp_path / "foreign.onnx")
    for size, told in (('"x"', "crops of x px"), ("128", "its inputs or outputs are not those of its metadata")):
        other = onnx.load(exported.path)
        next(each for each in other.metadata_props if each.key.endswith("image_size")).value = size
        onnx.save(other, tmp_path / "other.onnx")
        with pytest.raises(CheckpointError, match=told):
            OnnxModel(tmp_path / "other.onnx")
    with pytest.raises(UnclaspError, match=r"must be \(B, 3, 64, 64\), got \(1, 64, 64, 3\)"):
        OnnxModel(exported.path)(crops(1).transpose(0, 2, 3, 1))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = tmp_path / "mine.safetensors"
    save_weights(weights, built(tiny()).state_dict(), tiny())
    out = tmp_path / "out.onnx"
    with pytest.raises(SystemExit) as exit_:
        main(["export", str(weights), "--out", str(out), "--pictures", "2"])
    told = capsys.readouterr().out
    assert exit_.value.code == 0 and "poses of 2 unseen pictures differ by" in told and OnnxModel(out).name == "mine"
    assert json.loads(json.dumps(OnnxModel(out).facts.config)) == to_dict(tiny())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--out", "a.xml"), "--out must end in .onnx"),
        (("a.safetensors", "--preset", "tiny"), "not both"),
        (("--pictures", "0"), "at least 1"),
    ],
)
def test_wrong_use(words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["export", *words])
    assert exit_.value.code == 2 and told in capsys.readouterr().err


# ---- parts


def facts_of(**changes: object) -> ModelMetadata:
    given = {
        "name": "é", "version": "1", "image_size": 64, "precision": "fp32", "crop": "so", "joints": ("a", "b"),
        "parts": ("c",), "config": to_dict(tiny()),
    }  # fmt: skip
    return ModelMetadata(**{**given, **changes})  # type: ignore[arg-type]


def test_metadata_come_back_as_they_were_among_those_of_others() -> None:
    metadata = {**facts_of().to_metadata(), "author": "not JSON"}
    assert ModelMetadata.from_metadata(metadata, "m.onnx") == facts_of()


@pytest.mark.parametrize(
    "changes",
    [{"format": "2"}, {"config": {}}, {"config": {"model": {"depth_axis": "up"}}}, {"image_size": 0},
     {"image_size": True}, {"joints": 3}, {"more": 1}],
    ids=str,
)  # fmt: skip
def test_metadata_that_describe_no_model_are_refused(changes: dict[str, object]) -> None:
    changed = {f"unclasp.{key}": json.dumps(value) for key, value in changes.items()}
    with pytest.raises(CheckpointError, match=r"m\.onnx: expected a model of unclasp export, format 1, got one with"):
        ModelMetadata.from_metadata({**facts_of().to_metadata(), **changed}, "m.onnx")


@pytest.mark.parametrize(
    ("outputs", "sides", "ours"),
    [
        (["part_logits", "pose_2p5d"], [[64, 64]], True),
        (list(OUTPUTS), [[64, 64]], True),
        (["pose_2p5d"], [[64, 64]], False),
        (["part_logits", "pose_2p5d", "more"], [[64, 64]], False),
        (["part_logits", "pose_2p5d"], [[64, 32]], False),
        (["part_logits", "pose_2p5d"], [[64, 64], [64, 64]], False),
    ],
)
def test_outputs_and_inputs_are_those_that_a_model_of_ours_has(
    outputs: list[str], sides: list[list[int]], ours: bool
) -> None:
    class Model(ExportedModel):
        def _run(self, images: np.ndarray) -> dict[str, np.ndarray]:
            return {}

    model = Model(facts_of())
    if ours:
        model._check("m.onnx", outputs, sides)
    else:
        with pytest.raises(CheckpointError, match="its inputs or outputs are not those of its metadata"):
            model._check("m.onnx", outputs, sides)


def chain(*kinds: tuple[str, str], domain: str = "") -> Any:
    """Return a graph of operators in a row, given by kind and name, from `x` to `y`, all of (2, 3)."""
    from onnx import TensorProto, helper

    names = ["x", *(f"t{index}" for index in range(1, len(kinds))), "y"]
    nodes = [
        helper.make_node(kind, [names[index]], [names[index + 1]], name=name, domain=domain)
        for index, (kind, name) in enumerate(kinds)
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, 3)) for name in "xy"]
    opsets = [helper.make_opsetid("", graphs.OPSET), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:]), opset_imports=opsets)
    model.ir_version = 8
    return model


def test_nodes_are_sorted_by_what_they_read() -> None:
    model = chain(("Relu", "a"), ("Exp", "b"), ("Neg", "c"))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes[::-1])
    graphs._sort(model.graph)
    assert [node.name for node in model.graph.node] == ["a", "b", "c"]
    model.graph.node[0].input[0] = "nowhere"
    with pytest.raises(UnclaspError, match="reads what nothing writes, at a"):
        graphs._sort(model.graph)


def test_what_sums_many_values_stays_in_single_precision() -> None:
    from onnx import TensorProto

    halved = graphs.halved(chain(("Relu", "a"), ("Softmax", "b"), ("Neg", "c"))).graph
    writes = {name: node for node in halved.node for name in node.output}
    kinds = {node.op_type: writes[node.input[0]] for node in halved.node if node.op_type in ("Relu", "Softmax", "Neg")}
    to = {kind: before.attribute[0].i for kind, before in kinds.items() if before.op_type == "Cast"}
    assert to == {"Relu": TensorProto.FLOAT16, "Softmax": TensorProto.FLOAT, "Neg": TensorProto.FLOAT16}
    ends = [value.type.tensor_type.elem_type for value in (*halved.input, *halved.output)]
    assert ends == [TensorProto.FLOAT] * 2


def test_the_encoder_is_quantised_but_for_its_stem_and_the_part_logits() -> None:
    backbone = "/encoder/backbone"
    model = chain(
        ("Relu", f"{backbone}/_conv_stem/Relu"), ("Relu", f"{backbone}/_blocks.0/_depthwise_conv/Relu"),
        ("Relu", f"{backbone}/_blocks.1/_depthwise_conv/Relu"), ("Exp", f"{backbone}/_blocks.1/Exp"),
        ("Relu", "/encoder/lateral.4/Relu"), ("Relu", "/encoder/output.8/Relu"), ("Relu", "/decoder/Relu"),
        ("Relu", "/encoder/segmentation/Relu"),
    )  # fmt: skip
    assert graphs._to_quantise(model) == [
        f"{backbone}/_blocks.1/_depthwise_conv/Relu", "/encoder/lateral.4/Relu", "/encoder/output.8/Relu",
    ]  # fmt: skip


def test_only_the_quantiser_is_silenced(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    with graphs._silenced():
        print("progress")
        logging.getLogger().warning("progress")
    print("result")
    logging.getLogger().warning("result")
    assert capsys.readouterr().out == "result\n" and [record.getMessage() for record in caplog.records] == ["result"]


def test_operators_of_one_engine_are_not_exported(tmp_path: Path) -> None:
    model = chain(("Gelu", "a"), domain="com.microsoft")
    (tmp_path / "traced.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UnclaspError, match=r"operators that are not ONNX's own: com\.microsoft"):
        graphs.simplified(tmp_path / "traced.onnx", tmp_path / "simple.onnx")


@pytest.mark.parametrize("apart", [0.11, float("nan")])
def test_a_small_network_that_differs_is_not_written(tmp_path: Path, apart: float) -> None:
    net, (picture, image) = torch.nn.Conv2d(3, 2, 1), spots(8)
    np.testing.assert_array_equal(image[0].permute(1, 2, 0).numpy(), picture)
    options = {"what": "net", "largest": 0.1}
    with pytest.raises(UnclaspError, match="the exported net does not match the network: outputs differ by"):
        export(net, image, ["out"], tmp_path / "n.onnx", apart=lambda _: apart, **options)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
    export(net, image, ["out"], tmp_path / "n.onnx", apart=lambda _: 0.1, **options)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["n.onnx"]
