"""Compact ONNX files: smaller, with bit-identical outputs."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("onnx", reason="exporting is an extra")

import onnx

from unclasp.checkpoint import load_model, save_weights
from unclasp.cli import main
from unclasp.engines.onnx_model import OnnxModel
from unclasp.errors import UnclaspError
from unclasp.export import export_onnx
from unclasp.exporting.compact import as_rows, compacted
from unclasp.model import build
from unclasp.presets import tiny

CROPS = np.random.default_rng(0).integers(0, 256, (4, 3, 64, 64)).astype(np.uint8)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Export one network plainly and compactly; its norms are not the identity."""
    folder = tmp_path_factory.mktemp("compact")
    torch.manual_seed(0)
    model = build(tiny().model)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, -2.0, 2.0)
            torch.nn.init.uniform_(module.running_var, 0.1, 3.0)
    save_weights(folder / "tiny.safetensors", model.state_dict(), tiny())
    model, config = load_model(folder / "tiny.safetensors")
    paths = folder / "plain.onnx", folder / "compact.onnx"
    for path in paths:
        compact = path.stem == "compact"
        export_onnx(model, config, path, name="tiny", precision="fp32", unseen=CROPS, compact=compact)
    return paths


def test_a_compact_file_answers_the_same_to_the_bit(exported: tuple[Path, Path]) -> None:
    plain, compact = map(OnnxModel, exported)
    assert plain.facts == compact.facts
    for name, theirs in plain(CROPS)._asdict().items():
        mine = getattr(compact(CROPS), name)
        assert mine is theirs is None or np.array_equal(mine, theirs), name


def test_a_compact_file_is_much_smaller(exported: tuple[Path, Path]) -> None:
    """Little remains in single precision: constants computed from positions, and products of linear maps."""
    plain, compact = (onnx.load(path).graph.initializer for path in exported)
    kept = [tensor for tensor in compact if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 4]
    assert not kept, "all convolutions are stored in half precision"
    sizes = [sum(len(tensor.raw_data) for tensor in tensors) for tensors in (plain, compact)]
    assert sizes[1] < 0.75 * sizes[0]


def test_rows_are_found_among_others_and_give_every_bit() -> None:
    rng = np.random.default_rng(1)
    halves = [rng.normal(0, 1, (7, 5, 3, 3)).astype(np.float16) for _ in range(3)]
    halves[1][2, 3] = 0
    gains = rng.normal(0, 1, (7, 1, 1, 1))
    weights = (halves[1].astype(np.float64) * gains).astype(np.float32)
    rows = as_rows(weights, halves)
    assert rows is not None and rows.half is halves[1]
    assert np.array_equal(rows.product, weights)
    np.testing.assert_allclose(rows.gains, gains, rtol=1e-6)
    assert as_rows(weights, halves[::2]) is None, "the right one is not among them"
    weights[0, 0, 0, 0] = np.nextafter(weights[0, 0, 0, 0], np.float32(9))
    assert as_rows(weights, halves) is None, "one bit is otherwise"


def test_rows_of_zeros_are_zeros() -> None:
    half = np.zeros((2, 4), np.float16)
    half[1] = 1
    weights = np.array([[0.0], [0.1]], np.float32).repeat(4, axis=1)
    rows = as_rows(weights, [half])
    assert rows is not None and np.array_equal(rows.product, weights)


def test_what_is_no_product_of_halves_stays() -> None:
    values = np.random.default_rng(2).normal(0, 1, (3, 4)).astype(np.float32)
    graph = onnx.helper.make_graph([], "g", [], [], [onnx.numpy_helper.from_array(values, "w")])
    (kept,) = compacted(onnx.helper.make_model(graph), [values + 1]).graph.initializer
    assert np.array_equal(onnx.numpy_helper.to_array(kept), values) and not graph.node


def test_only_single_precision_is_stored_compactly(tmp_path: Path) -> None:
    model = build(tiny().model).eval()
    with pytest.raises(SystemExit):
        main(["export", "--compact", "--precision", "int8", "--out", str(tmp_path / "a.onnx")])
    with pytest.raises(UnclaspError, match="only fp32 can be stored compactly, fp16 is small already"):
        export_onnx(model, tiny(), tmp_path / "a.onnx", name="a", precision="fp16", unseen=CROPS, compact=True)


def test_vectors_scalars_and_whole_numbers_stay_as_they_are() -> None:
    """A gain per value would take more space than the value, and so would a node per scalar."""
    vector = np.float32([0.1, 0.2, 0.3])
    values = {"vector": vector, "scalar": np.float32(0.5), "counts": np.zeros((2, 3), np.int32)}
    tensors = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    half = np.ones(3, np.float32)
    graph = compacted(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], tensors)), [half]).graph
    assert not graph.node
    for tensor in graph.initializer:
        assert np.array_equal(onnx.numpy_helper.to_array(tensor), values[tensor.name])
        assert onnx.numpy_helper.to_array(tensor).dtype == np.asarray(values[tensor.name]).dtype


def test_values_that_halves_can_hold_are_stored_as_halves_and_too_large_ones_are_not() -> None:
    values = {"exact": np.float32([0.5, -2.0, -0.0]), "large": np.float32([0.5, 1e6]), "tiny": np.float32([1e-12])}
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = compacted(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], tensors)), []).graph
    assert [tensor.name for tensor in graph.initializer] == ["exact_half", "large", "tiny"]
    assert [(node.op_type, list(node.output)) for node in graph.node] == [("Cast", ["exact"])]


def test_a_zero_keeps_its_sign() -> None:
    half = np.float16([[0.0, 1.0]])
    assert as_rows(np.float32([[0.0, -0.1]]), [half]) is None, "times a negative gain it would be a negative zero"
    rows = as_rows(np.float32([[-0.0, -0.1]]), [half])
    assert rows is not None and np.signbit(rows.product).all()
