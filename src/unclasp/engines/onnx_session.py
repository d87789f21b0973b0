"""ONNX Runtime sessions whose threads do not occupy the cores between calls, and which survive a fork."""

import ctypes
import os
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

from unclasp.errors import CheckpointError, UnclaspError, advice_on_missing, first_line

INPUT: Final = "image"
"""Name of the only input of all ONNX files: (B, 3, S, S) float32 RGB, 0 to 255."""


class Session:
    """An ONNX Runtime session; a forked process opens its own.

    Threads do not survive a fork, so that an inherited session may wait for its threads for ever.

    Args:
        open_anew: Opens the session.
    """

    def __init__(self, open_anew: Callable[[], Any]) -> None:
        self._open = open_anew
        self._session, self._process = open_anew(), os.getpid()
        _sessions.add(self)

    @property
    def of_process(self) -> Any:
        """The `InferenceSession` of this process."""
        if os.getpid() != self._process:
            self._session, self._process = self._open(), os.getpid()
        return self._session

    def keep(self) -> None:
        """Never destroy the present session: that would wait for its threads."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._session))

    def run(self, outputs: list[str] | None, inputs: dict[str, Any]) -> list[Any]:
        """Return the outputs with these names, or all of them."""
        arrays: list[Any] = self.of_process.run(outputs, inputs)
        return arrays


_sessions: WeakSet[Session] = WeakSet()


def _keep_inherited() -> None:
    for session in _sessions:
        session.keep()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_inherited)


def import_engine(name: str, path: Path) -> Any:
    """Import an engine's package, after checking that the model file exists."""
    if not path.is_file():
        raise CheckpointError(f"there is no model file {path}; {advice_on_missing(path)}")
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise UnclaspError(f"{path} needs the package {name}: pip install {name}") from error
    except ImportError as error:  # for example a library of the system that it needs is missing
        raise UnclaspError(f"the package {name} cannot be loaded ({first_line(error)}); install it again") from error


def open_session(runtime: Any, path: Path, *, threads: int | None, spin: bool = True, **options: Any) -> Session:
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
    place = str(path.resolve())  # the working folder may be another one when a forked process opens it
    return Session(partial(runtime.InferenceSession, place, settings, providers=["CPUExecutionProvider"]))
