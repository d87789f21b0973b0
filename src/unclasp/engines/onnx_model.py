"""Exported models at work: numpy and onnxruntime (or OpenVINO) alone, no torch.

The file tells all that is needed to use it: `ModelMetadata` are in its metadata, names and units in its documentation.
"""

import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from unclasp.batch import ByteArray, FloatArray
from unclasp.config import DepthAxis
from unclasp.engines.network import CLEAREST_SHARE, Network, NetworkOutput
from unclasp.engines.onnx_session import open_session
from unclasp.errors import CheckpointError, UnclaspError
from unclasp.hands import PARTS_PER_HAND

EXPORTED: Final = (".onnx", ".xml")
"""Suffixes of the files that `unclasp export` writes; OpenVINO runs the second."""
FORMAT: Final = "1"
"""Version of the metadata and of the names, shapes and units below."""
INPUT: Final = "image"
INPUT_DESCRIPTION: Final = (
    "(batch, 3, S, S) float32 RGB crops, 0 to 255, channels first; `crop` in the metadata is how to cut"
)
OUTPUTS: Final = {
    "pose_2p5d": "(batch, 42, 3) float32 u, v in crop pixels (centres at integers), depth in mm relative to the wrist "
    "of the joint's own hand, away from the camera, along its axis or along the line of sight through the middle of "
    "the crop: model.depth_axis in `config`; joints in the order of `joints`",
    "part_logits": "(batch, 33, S / 4, S / 4) float32 logits of the classes in `parts`",
    "presence": "(batch, 2) float32 logits of a right and of a left hand being in the crop",
    "root_depth": "(batch,) float32 mm, depth of the left wrist minus that of the right wrist, along the same",
    "confidence": "(batch, 42) float32 logits of how far each joint can be trusted",
}
"""What a model may have beside the first two, which all have."""

_PREFIX: Final = "unclasp."


@dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """What a file says about itself."""

    name: str
    """Of the weights or the preset."""
    version: str
    """Of unclasp, when it was written."""
    image_size: int
    """S, side of the square crops in px."""
    precision: str
    """fp32, fp16 or int8; inputs and outputs are float32 all the same."""
    crop: str
    """How to cut the crops."""
    joints: tuple[str, ...]
    """42 names: right hand, left hand; r_ and l_ are the person's own right and left."""
    parts: tuple[str, ...]
    """33 names of part classes."""
    config: dict[str, Any]
    """How the model was built and trained (`unclasp.config`)."""
    format: str = FORMAT

    @property
    def depth_axis(self) -> DepthAxis:
        """What depths are measured along."""
        # Files that were written before there was a choice have the paper's.
        return DepthAxis(self.config["model"].get("depth_axis", DepthAxis.CAMERA))

    def to_metadata(self) -> dict[str, str]:
        """Return key and JSON value of every fact."""
        return {_PREFIX + key: json.dumps(value) for key, value in asdict(self).items()}

    @classmethod
    def from_metadata(cls, metadata: dict[str, str], source: str) -> Self:
        """Read what `to_metadata` gave.

        Raises:
            CheckpointError: The file is not of `unclasp export`, or of another format.
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
            _ = facts.depth_axis  # a damaged one is told here
            return facts
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CheckpointError(
                f"{source}: expected a model of unclasp export, format {FORMAT}, got one with {error}; export it again"
            ) from error


class ExportedOutput(NamedTuple):
    """What a model says of B crops; `OUTPUTS` tells shapes and units."""

    pose_2p5d: FloatArray
    part_logits: FloatArray
    presence: FloatArray | None = None
    root_depth: FloatArray | None = None
    confidence: FloatArray | None = None


class ExportedModel(ABC):
    """What engines share: facts, and crops in, `ExportedOutput` out."""

    def __init__(self, facts: ModelMetadata) -> None:
        self.facts = facts
        self.name, self.image_size = facts.name, facts.image_size
        self.depth_axis = facts.depth_axis

    def __call__(self, images: ByteArray | FloatArray) -> ExportedOutput:
        """Answer for crops (B, 3, S, S) RGB, uint8 or float in 0..255.

        Raises:
            UnclaspError: They have another shape.
        """
        expected = (3, self.image_size, self.image_size)
        if images.ndim != 4 or images.shape[1:] != expected:
            raise UnclaspError(f"images must be (B, {', '.join(map(str, expected))}), got {images.shape}")
        return ExportedOutput(**self._run(np.ascontiguousarray(images, dtype=np.float32)))

    @abstractmethod
    def _run(self, images: FloatArray) -> dict[str, FloatArray]:
        """Return each output by its name."""


class OnnxModel(ExportedModel):
    """A model of `unclasp export` in ONNX Runtime.

    >>> model = OnnxModel("model.onnx")  # doctest: +SKIP
    >>> model(crops).pose_2p5d.shape  # doctest: +SKIP
    (8, 42, 3)

    Args:
        path: Ends in .onnx.
        threads: How many cores one call may use; as many as there are if not given.

    Raises:
        CheckpointError: The file is missing, damaged or not of `unclasp export`.
        UnclaspError: The package onnxruntime is missing.
    """

    def __init__(self, path: Path | str, *, threads: int | None = None) -> None:
        onnxruntime = _engine("onnxruntime", Path(path))
        try:
            self._session = open_session(onnxruntime, Path(path), threads=threads)
        except Exception as error:  # the engine's exceptions have no other base
            raise CheckpointError(f"{path} is not a model that ONNX Runtime can read ({_first_line(error)})") from error
        super().__init__(ModelMetadata.from_metadata(self._session.get_modelmeta().custom_metadata_map, str(path)))
        self._outputs = [output.name for output in self._session.get_outputs()]

    def _run(self, images: FloatArray) -> dict[str, FloatArray]:
        return dict(zip(self._outputs, self._session.run(None, {INPUT: images}), strict=True))


class OpenVinoModel(ExportedModel):
    """A model of `unclasp export` in OpenVINO.

    Args:
        path: Ends in .xml, with its .bin beside it, or in .onnx.
        threads: How many cores one call may use; as many as there are if not given.

    Raises:
        CheckpointError: The file is missing, damaged or not of `unclasp export`.
        UnclaspError: The package openvino is missing.
    """

    def __init__(self, path: Path | str, *, threads: int | None = None) -> None:
        openvino, self._turn = _engine("openvino", Path(path)), Lock()  # a compiled model's call has one request
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        try:
            core = openvino_core(openvino)
            model = core.read_model(str(path))
            more = {} if threads is None else {"INFERENCE_NUM_THREADS": threads}
            self._compiled = core.compile_model(model, "CPU", {**options, **more})
        except RuntimeError as error:
            raise CheckpointError(f"{path} is not a model that OpenVINO can read ({_first_line(error)})") from error
        super().__init__(ModelMetadata.from_metadata(_info(model), str(path)))
        # An output may have more names, of the nodes behind it.
        self._outputs = [next(name for name in OUTPUTS if name in output.names) for output in self._compiled.outputs]

    def _run(self, images: FloatArray) -> dict[str, FloatArray]:
        with self._turn:
            answers = self._compiled([images])
            return {name: np.array(answers[index]) for index, name in enumerate(self._outputs)}


@cache
def openvino_core(openvino: Any) -> Any:
    """Return the process's one core.

    Each brings its own stack for signal handlers and puts back the one before when it goes. Of two whose lives overlap,
    the second puts back the freed stack of the first, and the next signal, a loader worker's end, say, is fatal.
    """
    return openvino.Core()


def _engine(name: str, path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(f"there is no model file {path}")
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise UnclaspError(f"{path} needs the package {name}: pip install {name}") from error


def _info(model: Any) -> dict[str, str]:
    """Return the metadata of a model that OpenVINO read from its own format or from ONNX."""
    for place in ([], ["framework"]):
        if model.has_rt_info([*place, _PREFIX + "format"]):
            return {
                _PREFIX + each.name: str(model.get_rt_info([*place, _PREFIX + each.name]).value)
                for each in fields(ModelMetadata)
            }
    return {}


class OnnxNetwork:
    """An exported model as the network behind a prediction (`network.Network`).

    Args:
        path: A file of `unclasp export`, .onnx or .xml; OpenVINO runs the latter.
        threads: How many cores one call may use; as many as there are if not given.
    """

    def __init__(self, path: Path | str, *, threads: int | None = None) -> None:
        engine = OpenVinoModel if Path(path).suffix == ".xml" else OnnxModel
        self.model: ExportedModel = engine(path, threads=threads)
        self.name, self.image_size = self.model.name, self.model.image_size

    def __call__(self, crops: ByteArray, /) -> NetworkOutput:
        """Answer for (N, S, S, 3) RGB crops."""
        arrays = self.model(crops.transpose(0, 3, 1, 2))
        probabilities = _softmax(arrays.part_logits)
        return NetworkOutput(
            pose_2p5d=arrays.pose_2p5d.astype(np.float64),
            presence=_clearest(probabilities) if arrays.presence is None else _sigmoid(arrays.presence),
            root_depth=None if arrays.root_depth is None else arrays.root_depth.astype(np.float64),
            hand_probability=1 - probabilities[:, 0].astype(np.float64),
            confidence=None if arrays.confidence is None else _sigmoid(arrays.confidence),
            depth_axis=self.model.depth_axis,
        )


def in_onnx_runtime(network: Network) -> bool:
    """Return whether ONNX Runtime runs a network."""
    return isinstance(network, OnnxNetwork) and isinstance(network.model, OnnxModel)


def _softmax(logits: FloatArray) -> FloatArray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: FloatArray = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _sigmoid(logits: FloatArray) -> npt.NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))


def _clearest(probabilities: FloatArray) -> npt.NDArray[np.float64]:
    """Return how certain the pixels are that show each side most clearly, (N, 2)."""
    sides = probabilities[:, 1:].reshape(len(probabilities), 2, PARTS_PER_HAND, -1).sum(axis=2)
    count = max(1, round(CLEAREST_SHARE * sides.shape[2]))
    return np.asarray(np.sort(sides, axis=2)[..., -count:].mean(axis=2, dtype=np.float64))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
