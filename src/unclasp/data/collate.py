"""Collates numpy examples into a batch of tensors; a module of its own, so that cutting crops does not need torch."""

import signal
from collections.abc import Generator, Iterable, Sequence
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset

from unclasp.batch import Batch
from unclasp.data.transforms import PART_STRIDE, Example
from unclasp.errors import UnclaspError
from unclasp.interruption import SIGNALS

_Item = TypeVar("_Item")
_Value_co = TypeVar("_Value_co", covariant=True)


class _Indexed(Protocol[_Value_co]):
    def __getitem__(self, key: Any, /) -> _Value_co: ...


class Guarded(TorchDataset[_Item | UnclaspError]):
    """Returns the items of `inner`, or the `UnclaspError` raised while an item was made.

    An error raised in a loader process would be reported with that process's whole traceback. Returned as a value, it
    is raised by `raise_errors` with just its message.
    """

    def __init__(self, inner: _Indexed[_Item]) -> None:
        self.inner = inner

    def __getitem__(self, key: Any) -> _Item | UnclaspError:
        try:
            return self.inner[key]
        except UnclaspError as error:
            return error


def raise_errors(loader: Iterable[_Item | UnclaspError]) -> Generator[_Item, None, None]:
    """Yield the batches of a loader of `Guarded` items; raise the first error among them.

    Use it within `contextlib.closing`: the loader's processes, which ignore signals, are ended with it, also after an
    error. At its exit, Python would wait for them for ever.
    """
    batches: Any = iter(loader)
    try:
        for batch in batches:
            if isinstance(batch, UnclaspError):
                raise batch
            yield batch
    finally:
        if hasattr(batches, "_shutdown_workers"):  # absent without processes
            batches._shutdown_workers()
            for worker in batches._workers:
                if worker.is_alive():
                    worker.kill()


def collate_or_error(examples: Sequence[Example | UnclaspError]) -> Batch | UnclaspError:
    """Stack examples as `collate` does, or return the first error among them."""
    listed = listed_or_error(examples)
    return listed if isinstance(listed, UnclaspError) else collate(listed)


def listed_or_error(items: Sequence[_Item | UnclaspError]) -> list[_Item] | UnclaspError:
    """Return the items as a list, or the first error among them."""
    for item in items:
        if isinstance(item, UnclaspError):
            return item
    return list(items)  # type: ignore[arg-type]


def start_worker(_: int) -> None:
    """Limit a loader process to one thread, because the work is already spread over the processes.

    Signals that end all processes of a group are left to the main process, which needs its loaders until its step is
    finished; it ends them (`raise_errors`), and they end by themselves if it is killed.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(0)  # 1 would wait for ever for the parent's threads, which do not exist in a forked process


def collate(examples: Sequence[Example]) -> Batch:
    """Stack examples into a batch of tensors."""
    side = examples[0].image.shape[0] // PART_STRIDE
    no_parts = np.zeros((side, side), dtype=np.int64)
    return Batch(
        image=torch.from_numpy(np.stack([e.image for e in examples]).transpose(0, 3, 1, 2)),
        pose_2p5d=torch.from_numpy(np.stack([e.pose_2p5d for e in examples])),
        valid=torch.from_numpy(np.stack([e.valid for e in examples])),
        parts=torch.from_numpy(np.stack([no_parts if e.parts is None else e.parts for e in examples])),
        parts_valid=torch.tensor([e.parts is not None for e in examples]),
        hand_type=torch.from_numpy(np.stack([e.hand_type for e in examples])),
        hand_type_valid=torch.tensor([e.hand_type_valid for e in examples]),
        root_depth=torch.tensor([e.root_depth for e in examples], dtype=torch.float32),
        root_depth_valid=torch.tensor([e.root_depth_valid for e in examples]),
        names=tuple(e.name for e in examples),
    )
