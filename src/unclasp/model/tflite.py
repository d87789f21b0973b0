"""Loading of MediaPipe's networks, which come as TensorFlow Lite files.

In these files, batch normalisation is folded into the preceding convolutions. `unfold_norms` separates the two again,
with the statistics of given pictures, because training normalises by the statistics of its batches.
"""

import struct
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from unclasp.errors import CheckpointError, UnclaspError
from unclasp.model.backbones.efficientnet import HandLandmarks

TFLITE: Final = ".tflite"
_IDENTIFIER: Final = b"TFL3"
_FLOAT16: Final = 1
"""The format's tensor type float16."""


class Layer(NamedTuple):
    """A layer of a TensorFlow Lite file."""

    weight: Tensor
    """(out, in / groups, K, K) of a convolution, (C,) slopes of a PReLU, or (out, in) of a fully connected layer."""
    bias: Tensor
    """(out,); empty for a PReLU."""
    name: str = ""
    """Name of the weight, for a fully connected layer."""


def copy_layers(modules: Sequence[nn.Module], stored: Sequence[Layer], path: Path, name: str) -> None:
    """Copy the weights and biases of all layers of a file into modules, in order, but for biases that these lack.

    Raises:
        CheckpointError: The shapes differ: the file at `path` is not MediaPipe's file of that name.
    """
    if [layer.weight.shape for layer in stored] != [module.state_dict()["weight"].shape for module in modules]:
        raise CheckpointError(f"{path} is another network: it must be MediaPipe's {name}")
    for module, layer in zip(modules, stored, strict=True):
        module.load_state_dict({part: getattr(layer, part) for part in module.state_dict()})


def load_folded(backbone: HandLandmarks, path: Path) -> None:
    """Load the convolutions of a TensorFlow Lite file, in order, into a backbone.

    The norm after each convolution is set to add the convolution's bias only. The projection of the last block, which
    the file does not have, keeps its values.

    Args:
        backbone: The backbone to load into.
        path: hand_landmark_full.tflite of the package mediapipe.

    Raises:
        CheckpointError: The file cannot be read, or contains another network.
    """
    stored = [layer for layer in read_layers(path) if layer.weight.ndim == 4]
    pairs = _with_norms(backbone)[:-1]
    expected = [tuple(convolution.weight.shape) for convolution, _ in pairs]
    got = [tuple(layer.weight.shape) for layer in stored]
    if got != expected:
        raise CheckpointError(
            f"{path} is another network, with {len(got)} convolutions: expected the {len(expected)} of MediaPipe's "
            "hand_landmark_full.tflite"
        )
    with torch.no_grad():
        for (convolution, norm), layer in zip(pairs, stored, strict=True):
            convolution.weight.copy_(layer.weight)
            norm.running_mean.zero_()  # type: ignore[union-attr]
            norm.running_var.fill_(1 - norm.eps)  # type: ignore[union-attr]
            norm.weight.fill_(1)
            norm.bias.copy_(layer.bias)


@torch.no_grad()
def unfold_norms(model: nn.Module, backbone: nn.Module, pictures: Tensor) -> None:
    """Set the running statistics of each norm in the backbone to those of its input, without changing its output.

    Args:
        model: A network that contains the backbone.
        backbone: The backbone whose norms are adjusted, in place.
        pictures: (B, ...) a batch of inputs of the model.
    """

    def set_statistics(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None  # noqa: S101
        var, mean = torch.var_mean(inputs[0].float(), dim=(0, 2, 3), correction=0)
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        norm.bias.add_((mean - norm.running_mean) * gain)
        norm.weight.copy_(gain * (var + norm.eps).sqrt())
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)

    hooks = [m.register_forward_pre_hook(set_statistics) for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    training = model.training
    try:
        model.eval()(pictures)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()


def _with_norms(backbone: nn.Module) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Return each convolution with the norm after it, in the order of the forward pass."""
    layers = [m for m in backbone.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    return [(a, b) for a, b in pairwise(layers) if isinstance(a, nn.Conv2d) and isinstance(b, nn.BatchNorm2d)]


def read_layers(path: Path) -> list[Layer]:
    """Return the convolutions, PReLUs and fully connected layers of a TensorFlow Lite file, in order.

    Raises:
        CheckpointError: The file is missing or cannot be read.
        UnclaspError: The package tflite is missing.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no weights file {path}")
    try:
        tflite = import_module("tflite")
    except ImportError as error:
        raise UnclaspError(f"{path} needs the package tflite to be read: pip install 'unclasp[weights]'") from error
    content = path.read_bytes()
    if content[4:8] != _IDENTIFIER:
        raise CheckpointError(f"{path} is not a TensorFlow Lite file")
    try:
        return list(_layers(tflite.Model.GetRootAs(content, 0), tflite.BuiltinOperator))
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError, struct.error) as error:
        raise CheckpointError(f"{path} is a damaged TensorFlow Lite file ({type(error).__name__}: {error})") from error


def _layers(model: Any, kinds: Any) -> Iterator[Layer]:
    graph = model.Subgraphs(0)
    operators = [graph.Operators(index) for index in range(graph.OperatorsLength())]
    kind_of = [_kind(model.OperatorCodes(operator.OpcodeIndex())) for operator in operators]
    half = {  # single-precision tensor: the half-precision tensor that it is dequantised from
        operator.Outputs(0): operator.Inputs(0)
        for operator, kind in zip(operators, kind_of, strict=True)
        if kind == kinds.DEQUANTIZE
    }

    def values(index: int) -> Tensor:
        index = half.get(index, index)
        tensor = graph.Tensors(index)
        raw = model.Buffers(tensor.Buffer()).DataAsNumpy().tobytes()
        stored = np.frombuffer(raw, dtype="<f2" if tensor.Type() == _FLOAT16 else "<f4")
        return torch.from_numpy(stored.astype(np.float32)).reshape(tuple(tensor.ShapeAsNumpy()))

    for operator, kind in zip(operators, kind_of, strict=True):
        if kind == kinds.CONV_2D:  # (out, K, K, in)
            yield Layer(values(operator.Inputs(1)).permute(0, 3, 1, 2), values(operator.Inputs(2)))
        elif kind == kinds.DEPTHWISE_CONV_2D:  # (1, K, K, out)
            yield Layer(values(operator.Inputs(1)).permute(3, 0, 1, 2), values(operator.Inputs(2)))
        elif kind == kinds.PRELU:
            yield Layer(values(operator.Inputs(1)).flatten(), torch.zeros(0))
        elif kind == kinds.FULLY_CONNECTED:
            name = graph.Tensors(operator.Inputs(1)).Name().decode("ascii", "replace")
            weight, has_bias = values(operator.Inputs(1)), operator.InputsLength() > 2 and operator.Inputs(2) >= 0
            yield Layer(weight, values(operator.Inputs(2)) if has_bias else torch.zeros(len(weight)), name)


def _kind(code: Any) -> int:
    """Return an operator's code; old files have it in the deprecated field, new ones in both if it is small."""
    return max(int(code.BuiltinCode()), int(code.DeprecatedBuiltinCode()))
