"""Training of the pose network (section 4.2).

Lightning Fabric provides devices, precision, distribution and launch; the training loop is our own. The order of the
samples and every augmentation depend on (seed, epoch, index) alone, so a run that was interrupted anywhere and resumed
gives bit for bit the same weights as an uninterrupted one, on a CPU with the same number of threads.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from unclasp.batch import Batch
from unclasp.checkpoint import SUFFIX, load_model, load_state, save_state, save_weights
from unclasp.config import Config, TrainConfig, to_dict
from unclasp.data import Dataset
from unclasp.data.collate import Guarded, collate, collate_or_error, raise_errors, start_worker
from unclasp.data.lookup import fingerprint_of
from unclasp.data.transforms import Example, make_example, random_view
from unclasp.errors import CheckpointError, DataError, NonFiniteLossError, UnclaspError
from unclasp.files import only_one
from unclasp.interruption import Interruption
from unclasp.model import DFL, build, load_backbone
from unclasp.model.backbones import Backbone
from unclasp.model.loading import load_strictly
from unclasp.model.style import StyleMixing
from unclasp.model.tflite import TFLITE, unfold_norms
from unclasp.training.devices import fabric_on
from unclasp.training.optimisation import Result, parameter_groups
from unclasp.training.options import RunOptions
from unclasp.training.reporter import Reporter
from unclasp.training.resuming import differences, run_facts, state_to_resume
from unclasp.training.step import Learner

STATE, WEIGHTS, LOG = "state.pt", "weights.safetensors", "log.jsonl"
"""Files of a run: the state that `--resume` needs, the resulting model, and the log with one JSON object per line."""

_GO_ON = ": the same command with --resume goes on"
_START_ANOTHER = ". --resume would take the same steps: start another run with other settings (--start-weights)"
"""What to do after a run has been ended, or cannot go on."""
_LOST_PROCESS = ("closed by peer", "reset by peer", "remote process exited")
"""What gloo and NCCL say in a process that waits for one that has ended."""
_STATISTICS_CROPS = 96
"""Crops from which the statistics of a backbone with folded batch norms are initialised."""


class TrainingExamples(TorchDataset[Example]):
    """Augmented training crops; item (epoch, index) depends on the seed, the epoch and the index alone."""

    def __init__(self, dataset: Dataset, config: Config) -> None:
        self.dataset, self.config = dataset, config

    def __getitem__(self, key: tuple[int, int]) -> Example:
        epoch, index = key
        rng = np.random.default_rng([self.config.train.seed, epoch, index])
        sample = self.dataset[index]
        view, model = random_view(sample.box, self.config.augment, rng), self.config.model
        return make_example(sample, view, model.image_size, depth_axis=model.depth_axis)


@dataclass(frozen=True, kw_only=True)
class Batches:
    """One rank's share of the (epoch, index) pairs of each step of a run.

    Together, the ranks get the batches that a single process would. Each epoch has its own permutation; samples that
    do not fill a last batch are skipped in that epoch. Batches are generated on demand: at the paper's size, a list of
    them would take gigabytes.
    """

    size: int
    """Number of samples in the data set."""
    config: TrainConfig
    first_step: int
    last_step: int
    rank: int
    world: int

    def __len__(self) -> int:
        return max(0, self.last_step - self.first_step)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        batch_size = self.config.batch_size
        per_epoch = self.size // batch_size
        order, order_epoch = np.empty(0, dtype=np.int64), -1
        for step in range(self.first_step, self.last_step):
            epoch, batch = divmod(step, per_epoch)
            if epoch != order_epoch:
                order, order_epoch = np.random.default_rng([self.config.seed, epoch]).permutation(self.size), epoch
            indices = order[batch * batch_size : (batch + 1) * batch_size]
            yield [(epoch, int(index)) for index in indices[self.rank :: self.world]]


def learning_rate(step: int, config: TrainConfig, *, steps_per_epoch: int) -> float:
    """Return the learning rate at a step: the schedule times the linear warm-up."""
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "cosine":
        progress = step / (config.epochs * steps_per_epoch)
        return config.learning_rate * warmup * 0.5 * (1 + math.cos(math.pi * progress))
    drops = sum(step >= epoch * steps_per_epoch for epoch in config.decay_epochs)
    return config.learning_rate * warmup / config.decay_factor**drops


def optimiser(model: DFL, config: TrainConfig) -> torch.optim.Optimizer:
    """Return AdamW, which at weight decay 0 is the paper's Adam; biases and norms have no weight decay."""
    groups = parameter_groups(
        model, model.encoder.backbone, backbone_rate=config.backbone_rate, weight_decay=config.weight_decay
    )
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def train(config: Config, dataset: Dataset, options: RunOptions) -> Path | None:
    """Train a model and return the path of its weights, or None on all processes but the first, which writes them.

    Args:
        config: Model, losses, augmentation and recipe; a resumed run must have the config it was started with.
        dataset: The training samples.
        options: Output folder, devices, precision and starting point.

    Raises:
        UnclaspError: The data set is smaller than a batch, the batch does not divide among the devices, or the config
            enables the confidence head, which is fitted after training.
        DataError: A picture cannot be read; the message says what is saved.
        CheckpointError: There is nothing to resume, the state belongs to another run, or a run that is not resumed
            would overwrite files of another.
        NonFiniteLossError: The loss or its gradient became infinite or not a number; the last checkpoint is kept.
        KeyboardInterrupt: Ctrl-C or a signal to end, after the step was finished and saved; the message says where.
    """
    if len(dataset) < config.train.batch_size:
        raise UnclaspError(
            f"the data set has {len(dataset)} pictures, fewer than one batch of {config.train.batch_size}: "
            "lower train.batch_size"
        )
    if config.train.batch_size % options.devices:
        raise UnclaspError(f"batch_size {config.train.batch_size} must be a multiple of the {options.devices} devices")
    if config.model.confidence_head:
        raise UnclaspError("the confidence head is fitted after training: leave it off, and run unclasp calibrate then")
    if not options.resume:
        _check_unused(options.out)
    state = state_to_resume(options.out / STATE, config, dataset, options) if options.resume else None
    fabric = fabric_on(options.accelerator, options.devices, precision=options.precision)
    try:
        fabric.launch(_run, config, dataset, options, state)  # type: ignore[arg-type]  # the annotation omits arguments
    except KeyboardInterrupt as interruption:
        raise KeyboardInterrupt(str(interruption) or f"interrupted; {_saved(options.out, _GO_ON)}") from interruption
    except DataError as error:  # a picture that is missing or damaged
        raise DataError(f"{error}; {_saved(options.out, _GO_ON)}") from error
    except RuntimeError as error:  # gloo and NCCL raise it as it is, or a class of their own
        if not any(told in str(error) for told in _LOST_PROCESS):
            raise
        message = f"another process of this run has ended, and its message says why; {_saved(options.out, _GO_ON)}"
        raise UnclaspError(message) from error
    return options.out / WEIGHTS if fabric.is_global_zero else None


def _saved(out: Path, advice: str) -> str:
    """Tell what a run has saved, with advice on what to do with it."""
    state = out / STATE
    return f"saved is step {load_state(state)['step']} in {state}{advice}" if state.exists() else "nothing is saved yet"


def _check_unused(out: Path) -> None:
    if (out / STATE).exists():
        raise CheckpointError(f"{out / STATE} exists: add --resume to go on with it, or choose another --out")
    if (out / WEIGHTS).exists():
        raise CheckpointError(
            f"{out / WEIGHTS} exists without a {STATE} to go on from, and is not overwritten: choose another --out, or "
            "move it away"
        )


def _run(fabric: Fabric, config: Config, dataset: Dataset, options: RunOptions, state: dict[str, Any] | None) -> None:
    fabric.seed_everything(config.train.seed, verbose=False)
    examples = TrainingExamples(dataset, config)
    plain = _start(options, state, examples)
    _freeze(plain.encoder.backbone, config)
    adam = optimiser(plain, config.train)
    styles = StyleMixing(plain.encoder.backbone, config.augment.style)
    model, adam = fabric.setup(plain, adam)
    facts = {"samples": len(dataset), "data": fingerprint_of(dataset)}
    facts["run"] = run_facts(options) if state is None else state["run"]  # the start may be left out when resuming
    run = _Run(
        learner=Learner(fabric, model, adam, config), styles=styles, result=Result(plain, config.train.ema_decay),
        options=options, facts=facts,
    )  # fmt: skip
    if state is not None:
        run.resume(state)
    per_epoch = len(dataset) // config.train.batch_size
    steps = per_epoch * config.train.epochs
    last_step = min(steps, options.max_steps or steps)
    with only_one(options.out, ("state", "weights", "weights-*", "log")) if fabric.is_global_zero else nullcontext():
        if fabric.is_global_zero and not options.resume:
            _check_unused(options.out)  # another run may have ended there meanwhile
        if run.done >= last_step:  # the weights file may have been deleted since
            run.save()
        loader = _loader(fabric, examples, first_step=run.done, last_step=last_step, workers=options.workers)
        with closing(raise_errors(loader)) as batches:
            run.take_steps(batches, last_step=last_step, per_epoch=per_epoch)


@dataclass(kw_only=True)
class _Run:
    """A run that is set up, and how far it is."""

    learner: Learner
    styles: StyleMixing
    result: Result
    options: RunOptions
    facts: dict[str, Any]
    """What a run must have in common with this one to resume it."""
    done: int = 0
    """Number of steps done."""

    def take_steps(self, batches: Iterable[Batch], *, last_step: int, per_epoch: int) -> None:
        """Train on the batches and save; if the process is to end, finish and save the current step first."""
        fabric, recipe, options = self.learner.fabric, self.learner.config.train, self.options
        log = options.out / LOG if fabric.is_global_zero else None
        with Interruption() as interruption, Reporter(
            log, first_step=self.done, last_step=last_step, batch_size=recipe.batch_size, every=options.report_every,
        ) as reporter:  # fmt: skip
            for batch in batches:
                reporter.data_ready()
                self.styles.start(recipe.seed, self.done, fabric.global_rank)
                rate = learning_rate(self.done, recipe, steps_per_epoch=per_epoch)
                here = batch.to(fabric.device)
                try:
                    terms, ends = self.learner.take_step(here, at=self.done, rate=rate, interruption=interruption)
                except NonFiniteLossError as error:
                    raise NonFiniteLossError(f"{error}; {_saved(options.out, _START_ANOTHER)}") from error
                self.result.update(self.done)
                self.done += 1
                reporter.stepped(terms, rate)
                is_end = ends or self.done == last_step
                is_kept = options.keep_every is not None and self.done % options.keep_every == 0
                if is_end or is_kept or self.done % options.save_every == 0:
                    self.save(keep=is_kept)
                if is_end:
                    break
        if self.done < last_step and fabric.is_global_zero:
            raise KeyboardInterrupt(
                f"interrupted after step {self.done} of {last_step}, which is saved in {options.out / STATE}{_GO_ON}"
            )

    def save(self, *, keep: bool = False) -> None:
        """Write the state and the weights, with `keep` also under the step's number; all processes wait for it."""
        fabric, config = self.learner.fabric, self.learner.config
        if fabric.is_global_zero:
            state = {
                "config": to_dict(config), "step": self.done, "average": self.result.state, **self.learner.state,
                **self.facts,
            }  # fmt: skip
            save_state(self.options.out / STATE, state)
            notes = {"steps": self.done, **{name: self.facts[name] for name in ("data", "samples", "run")}}
            for name in (WEIGHTS, f"weights-{self.done}{SUFFIX}")[: 2 if keep else 1]:
                save_weights(self.options.out / name, self.result.state, config, notes=notes)
        fabric.barrier()

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a state that `save` has written."""
        self.learner.resume(state)
        self.result.resume(state["average"])
        self.done = state["step"]


def _start(options: RunOptions, state: dict[str, Any] | None, examples: TrainingExamples) -> DFL:
    """Build the network as it is before the run's first step, or as it was when the run was saved."""
    config = examples.config
    model: DFL = build(config.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if state is not None:
        load_strictly(model, state["model"], str(options.out / STATE))
        return model.train()
    if options.start_weights is not None:
        skipped = ("confidence.",) if options.backbone_weights is None else ("confidence.", "encoder.backbone.")
        _load_start(model, options.start_weights, config, skipped)
    if options.backbone_weights is not None:
        load_backbone(model.encoder.backbone, options.backbone_weights)
        if options.backbone_weights.suffix == TFLITE:
            unfold_norms(model, model.encoder.backbone, _crops_for_statistics(examples))
    return model.train()


def _load_start(model: DFL, weights: Path, config: Config, skipped: tuple[str, ...]) -> None:
    """Load a weights file into a network, but for the parameters whose names begin with one of `skipped`."""
    start, its_config = load_model(weights)
    loaded = {key: value for key, value in start.state_dict().items() if not key.startswith(skipped)}
    initial = {key: value for key, value in model.state_dict().items() if key.startswith(skipped)}
    try:
        load_strictly(model, initial | loaded, str(weights))
    except CheckpointError as error:
        others = ", ".join(differences(to_dict(replace(config, model=its_config.model)), config))
        raise CheckpointError(f"{weights} is of another model ({others})") from error


def _crops_for_statistics(examples: TrainingExamples) -> Tensor:
    """Return up to `_STATISTICS_CROPS` crops of the first epoch, evenly spread over the data set."""
    count = len(examples.dataset)
    rows = np.linspace(0, count - 1, min(count, _STATISTICS_CROPS), dtype=int)
    return collate([examples[0, int(row)] for row in rows]).image


def _freeze(backbone: Backbone, config: Config) -> None:
    """Freeze a backbone or its first layers, including the running statistics of norms; style mixing stays active."""
    frozen: tuple[nn.Module, ...] = ()
    if not config.train.backbone_rate:
        frozen = (backbone,)
    elif config.train.frozen_stride:
        frozen = backbone.until(config.train.frozen_stride)
        if not frozen:
            raise UnclaspError(
                f"train.frozen_stride needs a backbone that tells which layers make which stride: "
                f"{config.model.backbone} does not; leave it at 0, or freeze all of it with train.backbone_rate 0"
            )
    for layer in frozen:
        layer.requires_grad_(False)
        for module in layer.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def _loader(
    fabric: Fabric, examples: TrainingExamples, *, first_step: int, last_step: int, workers: int
) -> DataLoader[Any]:
    batches = Batches(
        size=len(examples.dataset), config=examples.config.train, first_step=first_step, last_step=last_step,
        rank=fabric.global_rank, world=fabric.world_size,
    )  # fmt: skip
    return DataLoader(
        Guarded(examples), batch_sampler=batches, collate_fn=collate_or_error, num_workers=workers,
        worker_init_fn=start_worker, pin_memory=fabric.device.type == "cuda",
    )  # fmt: skip
