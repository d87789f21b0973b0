"""Strict loading of published backbone weights."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from unclasp.errors import CheckpointError
from unclasp.model.backbones import Backbone
from unclasp.model.backbones.efficientnet import HandLandmarks
from unclasp.model.loading import load_strictly
from unclasp.model.tflite import TFLITE, load_folded


def load_backbone(backbone: Backbone, path: str | Path) -> None:
    """Load published weights into a backbone.

    The file must contain exactly the parameters of the backbone and optionally those of the classifier, which are
    dropped. Only the counters `num_batches_tracked` may be missing, as older files do not have them.

    Args:
        backbone: Of a whole network, `DFL.encoder.backbone`.
        path: A `.safetensors` file, a state dict saved by PyTorch (read without unpickling objects), or, for the hand
            landmark backbone, MediaPipe's `.tflite` file, whose norms are folded (`tflite.unfold_norms`).

    Raises:
        CheckpointError: The file cannot be read, or contains another network; the message lists the differences.
    """
    if Path(path).suffix == TFLITE:
        if not isinstance(backbone, HandLandmarks):
            raise CheckpointError(
                f"{type(backbone).__name__} does not come as a TensorFlow Lite file: {path} is for the backbone "
                "hand_landmarks"
            )
        load_folded(backbone, Path(path))
        return
    stored = {name: value for name, value in _read(Path(path)).items() if name.split(".")[0] not in backbone.classifier}
    counters = {k: value for k, value in backbone.state_dict().items() if k.endswith("num_batches_tracked")}
    load_strictly(backbone, counters | stored, str(path))


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"there is no weights file {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} is not a readable weights file ({type(error).__name__}: {error})") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} must hold a dict from parameter names to tensors, got {type(state).__name__}")
    return state
