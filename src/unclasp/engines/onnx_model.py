"""Inference with exported models; needs NumPy and onnxruntime (or OpenVINO), but not torch.

A file contains everything that is needed to use it: its metadata hold `ModelMetadata`, and the documentation of its
inputs and outputs gives names and units.
"""

import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple, Self

import numpy as np

from unclasp.arrays import Pixels, Singles
from unclasp.config import DepthAxis
from unclasp.engines.network import Network, NetworkOutput, output_of
from unclasp.engines.onnx_session import INPUT, import_engine, open_session
from unclasp.errors import CheckpointError, UnclaspError, first_line

EXPORTED: Final = (".onnx", ".xml")
"""Suffixes of the files that `unclasp export` writes; .xml files are run by OpenVINO."""
FORMAT: Final = "1"
"""Version of the metadata and of the names, shapes and units below."""
INPUT_DESCRIPTION: Final = (
    "(batch, 3, S, S) float32 RGB crops, 0 to 255, channels first; the metadata's `crop` says how to cut them"
)
OUTPUTS: Final = {
    "pose_2p5d": "(batch, 42, 3) float32 u, v in crop pixels (centres at integers), depth in mm relative to the wrist "
    "of the joint's own hand, away from the camera, along its axis or along the line of sight through the middle of "
    "the crop: model.depth_axis in `config`; joints in the order of `joints`",
    "part_logits": "(batch, 33, S / 4, S / 4) float32 logits of the classes in `parts`",
    "presence": "(batch, 2) float32 logits of a right and of a left hand being in the crop",
    "root_depth": "(batch,) float32 mm, depth of the left wrist minus that of the right wrist, along the same axis",
    "confidence": "(batch, 42) float32 logits of the confidence in each joint",
}
"""Outputs and their descriptions. Every model has the first two; the others are optional."""

_PREFIX: Final = "unclasp."


@dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """Description of a model, stored in its file."""

    name: str
    """Name of the weights or the preset."""
    version: str
    """Version of unclasp that wrote the file."""
    image_size: int
    """S, side of the square crops in px."""
    precision: str
    """fp32, fp16 or int8; inputs and outputs are always float32."""
    crop: str
    """How crops are cut."""
    joints: tuple[str, ...]
    """42 names: right hand, left hand; r_ and l_ are the person's own right and left."""
    parts: tuple[str, ...]
    """Names of the 33 part classes."""
    config: dict[str, Any]
    """How the model was built and trained (`unclasp.config`)."""
    format: str = FORMAT

    @property
    def depth_axis(self) -> DepthAxis:
        """Axis along which depths are measured."""
        return DepthAxis(self.config["model"]["depth_axis"])

    def to_metadata(self) -> dict[str, str]:
        """Return the metadata: a key and a JSON value for each field."""
        return {_PREFIX + key: json.dumps(value) for key, value in asdict(self).items()}

    @classmethod
    def from_metadata(cls, metadata: dict[str, str], source: str) -> Self:
        """Parse the metadata that `to_metadata` returned.

        Raises:
            CheckpointError: The file was not written by `unclasp export`, or has another format version.
        """
        try:
            values = {
                key.removeprefix(_PREFIX): json.loads(value)
                for key, value in metadata.items()
                if key.startswith(_PREFIX)
            }
            if values.get("format") != FORMAT:
                raise ValueError(f"format {values.get('format', 'none')}")
            facts = cls(**{**values, "joints": tuple(values["joints"]), "parts": tuple(values["parts"])})
            _ = facts.depth_axis  # raises here if it is damaged
            if type(facts.image_size) is not int or facts.image_size < 1:
                raise ValueError(f"crops of {facts.image_size} px")
            return facts
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise CheckpointError(
                f"{source}: expected a model of unclasp export, format {FORMAT}, got one with {error}; export it again"
            ) from error


class ExportedOutput(NamedTuple):
    """Outputs of a model for B crops; `OUTPUTS` describes shapes and units."""

    pose_2p5d: Singles
    part_logits: Singles
    presence: Singles | None = None
    root_depth: Singles | None = None
    confidence: Singles | None = None


class ExportedModel(ABC):
    """Base of the exported models in each engine: maps crops to `ExportedOutput`."""

    def __init__(self, facts: ModelMetadata) -> None:
        self.facts = facts
        self.name, self.image_size = facts.name, facts.image_size
        self.depth_axis = facts.depth_axis

    def __call__(self, images: Pixels | Singles) -> ExportedOutput:
        """Predict from RGB crops (B, 3, S, S), B at least 1, uint8 or float in 0..255.

        Raises:
            UnclaspError: The crops have another shape, or there are none.
        """
        expected = (3, self.image_size, self.image_size)
        if images.shape[1:] != expected:
            raise UnclaspError(f"images must be (B, {', '.join(map(str, expected))}), got {images.shape}")
        if not len(images):
            raise UnclaspError(f"images must hold at least one crop, got {images.shape}; skip the call for none")
        return ExportedOutput(**self._run(np.ascontiguousarray(images, dtype=np.float32)))

    def _check(self, path: Path | str, outputs: list[str], sides: list[list[Any]]) -> None:
        """Raise a CheckpointError unless the outputs are ours, and the crops are of the size that the metadata says."""
        are_ours = {"pose_2p5d", "part_logits"} <= set(outputs) <= set(OUTPUTS)
        if not are_ours or sides != [[self.image_size, self.image_size]]:
            raise CheckpointError(f"{path}: its inputs or outputs are not those of its metadata; export it again")

    @abstractmethod
    def _run(self, images: Singles) -> dict[str, Singles]:
        """Return the outputs by name."""


class OnnxModel(ExportedModel):
    """An exported model run by ONNX Runtime.

    Examples:
        >>> model = OnnxModel("model.onnx")  # doctest: +SKIP
        >>> model(crops).pose_2p5d.shape  # doctest: +SKIP
        (8, 42, 3)

    Args:
        path: A file of `unclasp export`, ending in .onnx.
        threads: Number of cores that one call may use; by default all.

    Raises:
        CheckpointError: The file is missing, damaged or was not written by `unclasp export`.
        UnclaspError: The package onnxruntime is missing.
    """

    def __init__(self, path: Path | str, *, threads: int | None = None) -> None:
        onnxruntime = import_engine("onnxruntime", Path(path))
        try:
            self._session = open_session(onnxruntime, Path(path), threads=threads)
            metadata = self._session.of_process.get_modelmeta().custom_metadata_map
        except Exception as error:  # the engine's exceptions have no more specific base
            reason = first_line(error).replace(f"Load model from {path} failed:", "")
            raise CheckpointError(
                f"{path} is not a model that ONNX Runtime can read ({reason}); export it again"
            ) from error
        super().__init__(ModelMetadata.from_metadata(metadata, str(path)))
        opened = self._session.of_process
        self._outputs = [output.name for output in opened.get_outputs()]
        self._check(path, self._outputs, [each.shape[2:] for each in opened.get_inputs()])

    def _run(self, images: Singles) -> dict[str, Singles]:
        return dict(zip(self._outputs, self._session.run(None, {INPUT: images}), strict=True))


class OpenVinoModel(ExportedModel):
    """An exported model run by OpenVINO.

    Args:
        path: A file of `unclasp export`, ending in .xml, with its .bin beside it, or in .onnx.
        threads: Number of cores that one call may use; by default all.

    Raises:
        CheckpointError: The file is missing, damaged or was not written by `unclasp export`.
        UnclaspError: The package openvino is missing.
    """

    def __init__(self, path: Path | str, *, threads: int | None = None) -> None:
        openvino = import_engine("openvino", Path(path))
        self._lock = Lock()  # calls of a compiled model share one inference request
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        try:
            core = openvino_core(openvino)
            model = core.read_model(str(path))
            thread_options = {} if threads is None else {"INFERENCE_NUM_THREADS": threads}
            self._compiled = core.compile_model(model, "CPU", {**options, **thread_options})
        except RuntimeError as error:
            reason = first_line(error)
            raise CheckpointError(
                f"{path} is not a model that OpenVINO can read ({reason}); export it again"
            ) from error
        super().__init__(ModelMetadata.from_metadata(_metadata_of(model), str(path)))
        # An output may have further names, those of the nodes that compute it.
        self._outputs = [
            next((name for name in OUTPUTS if name in output.names), "") for output in self._compiled.outputs
        ]
        sides = [[side.get_max_length() for side in list(each.get_partial_shape())[2:]] for each in model.inputs]
        self._check(path, self._outputs, sides)

    def _run(self, images: Singles) -> dict[str, Singles]:
        with self._lock:
            outputs = self._compiled([images])
            return {name: np.array(outputs[index]) for index, name in enumerate(self._outputs)}


@cache
def openvino_core(openvino: Any) -> Any:
    """Return the single OpenVINO core of this process.

    Each core installs its own alternate stack for signal handlers and restores the previous one when it is destroyed.
    If the lifetimes of two cores overlap, the second restores the freed stack of the first, and the next signal, such
    as the exit of a loader worker, crashes the process.
    """
    return openvino.Core()


def _metadata_of(model: Any) -> dict[str, str]:
    """Return the metadata of a model that OpenVINO read from its own format or from ONNX, or {} if there is none."""
    for prefix in ([], ["framework"]):
        if model.has_rt_info([*prefix, _PREFIX + "format"]):
            return {
                _PREFIX + field.name: str(model.get_rt_info([*prefix, _PREFIX + field.name]).value)
                for field in fields(ModelMetadata)
            }
    return {}


class ExportedNetwork:
    """An exported model as a `network.Network`.

    Args:
        path: A file of `unclasp export`: .onnx, run by ONNX Runtime, or .xml, run by OpenVINO.
        threads: Number of cores that one call may use; by default all.
    """

    def __init__(self, path: Path | str, *, threads: int | None = None) -> None:
        engine = OpenVinoModel if Path(path).suffix == ".xml" else OnnxModel
        self.model: ExportedModel = engine(path, threads=threads)
        self.name, self.image_size = self.model.name, self.model.image_size
        self.source = Path(path)

    def __call__(self, crops: Pixels, /) -> NetworkOutput:
        """Predict from (N, S, S, 3) RGB crops."""
        arrays = self.model(crops.transpose(0, 3, 1, 2))
        return output_of(**arrays._asdict(), depth_axis=self.model.depth_axis)


def in_onnx_runtime(network: Network) -> bool:
    """Return whether a network is run by ONNX Runtime."""
    return isinstance(network, ExportedNetwork) and isinstance(network.model, OnnxModel)
