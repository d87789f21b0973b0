"""Distributed evaluation, over several processes or machines; the figures equal those of a single process bit for bit.

Every process scores whole batches of the single-process order (`evaluate.share_of`), and the scores are summed exactly.
"""

import os
from dataclasses import replace
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import distributed

from unclasp.data import Dataset
from unclasp.errors import UnclaspError
from unclasp.evaluate import EvaluateOptions, MeanPose, Recorder, collect_scores, report_of, sample_count, share_of
from unclasp.evaluation.report import Report
from unclasp.evaluation.scores import Scores
from unclasp.model import DFL
from unclasp.training.devices import fabric_on


def under_torchrun() -> bool:
    """Return whether torchrun has started this process, perhaps as one of several."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def launch(device: str, devices: int) -> Fabric:
    """Start one process per device, or join the processes that torchrun has started, and return their `Fabric`.

    Args:
        device: cpu, cuda or mps.
        devices: Number of processes on this machine.

    Raises:
        UnclaspError: The device is not available, or torchrun has started another number of processes.
    """
    world, local = (int(os.environ.get(name, devices)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if under_torchrun() and local != devices:
        raise UnclaspError(f"torchrun has started {local} processes on this machine; say --devices {local}")
    nodes = world // local if under_torchrun() else 1
    fabric = fabric_on(device, devices, num_nodes=nodes)
    fabric.launch()
    return fabric


def evaluate_over(fabric: Fabric, model: DFL | MeanPose, dataset: Dataset, options: EvaluateOptions) -> Report | None:
    """Score a model with all processes of `fabric`; the first process returns the report, the others None.

    The arguments are those of `evaluate.evaluate`; only the first process's `options.recorder` holds all predictions.

    Raises:
        UnclaspError: Any process failed; raised in the first process. An error other than an `UnclaspError` is also
            raised as it is in the process where it occurred.
    """
    count, recorder = sample_count(dataset, options.limit), options.recorder
    indices = share_of(count, options.batch_size, rank=fabric.global_rank, world=fabric.world_size)
    mine = options if fabric.is_global_zero else replace(options, progress=None)
    outcome: tuple[Scores, Recorder | None] | UnclaspError
    failure: Exception | None = None
    try:
        scores = collect_scores(model.to(fabric.device), dataset, mine, indices=indices, device=fabric.device)
        outcome = scores, recorder
    except UnclaspError as error:
        outcome = error  # raised after the gather, so that the other processes do not wait for this one for ever
    except Exception as error:
        failure, outcome = error, UnclaspError(f"process {fabric.global_rank} failed: {error!r}")
    outcomes = _gather(fabric, outcome)
    if failure is not None:
        raise failure
    if not fabric.is_global_zero:
        return None
    total = Scores()
    for rank, gathered in enumerate(outcomes):
        if isinstance(gathered, UnclaspError):
            raise gathered
        rank_scores, rank_recorder = gathered
        total = total + rank_scores
        if recorder is not None and rank_recorder is not None and rank != fabric.global_rank:
            recorder.join(rank_recorder)
    return report_of(total, model, dataset, options.protocol)


def _gather(fabric: Fabric, value: Any) -> list[Any]:
    """Return the values of all processes, in the order of their ranks; an empty list except in the first process."""
    if fabric.world_size == 1:
        return [value]
    group = distributed.new_group(backend="gloo")  # pickled objects are sent through main memory
    gathered: list[Any] | None = [None] * fabric.world_size if fabric.is_global_zero else None
    with torch.inference_mode(mode=False):
        distributed.gather_object(value, gathered, dst=0, group=group)
    return gathered or []
