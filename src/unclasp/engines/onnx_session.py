"""ONNX Runtime sessions whose threads do not occupy the cores between calls."""

from pathlib import Path
from typing import Any


def open_session(runtime: Any, path: Path, *, threads: int | None = None, spin: bool = True, **options: Any) -> Any:
    """Open an ONNX model for inference on the CPU.

    Args:
        runtime: The package onnxruntime.
        path: The model file, ending in .onnx.
        threads: Number of cores that one call may use; by default all.
        spin: Let threads spin while they wait for work within a call. This is a third faster, unless threads of another
            engine spin between its calls, as torch's do. Between calls, threads of this session never spin.
        options: Further attributes to set on `SessionOptions`.
    """
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = threads or 0
    settings.log_severity_level = 3
    for name, value in options.items():
        setattr(settings, name, value)
    if spin:
        # Otherwise two sessions that run in turn would take the cores from each other, at half the speed of both.
        settings.add_session_config_entry("session.force_spinning_stop", "1")
    else:
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return runtime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
