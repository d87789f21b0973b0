"""Sessions of ONNX Runtime that leave the cores to others between calls."""

from pathlib import Path
from typing import Any


def open_session(runtime: Any, path: Path, *, threads: int | None = None, spin: bool = True, **options: Any) -> Any:
    """Open a model on the CPU.

    Args:
        runtime: The package onnxruntime.
        path: Ends in .onnx.
        threads: How many cores one call may use; as many as there are if not given.
        spin: Within a call, let threads wait busily for their next piece of it. Faster by a third, unless another
            engine's threads do so between its own calls, as torch's do. Between calls no thread of the session does.
        options: Attributes of `SessionOptions`.
    """
    chosen = runtime.SessionOptions()
    chosen.intra_op_num_threads = threads or 0
    chosen.log_severity_level = 3
    for name, value in options.items():
        setattr(chosen, name, value)
    if spin:
        # Two sessions that take turns would otherwise take the cores from each other: half of the speed of both.
        chosen.add_session_config_entry("session.force_spinning_stop", "1")
    else:
        chosen.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return runtime.InferenceSession(str(path), chosen, providers=["CPUExecutionProvider"])
