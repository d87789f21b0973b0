"""Training of the hand finder on rendered whole pictures and close-ups."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from unclasp import geometry
from unclasp.arrays import Pixels
from unclasp.batch import Sample
from unclasp.data import Dataset
from unclasp.data.photometric import apply_photometric, random_photometric
from unclasp.data.views import Labels, cut, labels, random_window
from unclasp.data.wholes import Wholes
from unclasp.errors import CheckpointError, NonFiniteLossError, UnclaspError
from unclasp.exporting.finder import export_finder
from unclasp.hands import HAND_SLICES, PARTS_PER_HAND
from unclasp.interruption import Interruption
from unclasp.model.finder import STRIDE, WEIGHTS, FinderNet, Targets, finder_losses
from unclasp.model.palms import load_palm_backbone
from unclasp.synth.regions import Whole, are_one_region
from unclasp.training.finder_config import FinderConfig, FinderRun
from unclasp.training.finder_weights import load_finder, save_finder
from unclasp.training.optimisation import Result, parameter_groups, set_rate
from unclasp.training.reporter import Reporter

_PHOTOMETRIC_STRENGTH: Final = 0.8
"""Strength of the photometric augmentation."""
_TEXTURE_SHARE: Final = 0.15
"""Share of views whose texture is changed."""
_GREY_SHARE: Final = 0.15
"""Share of views without colour, like the pictures of some studio cameras."""
_WARM_UP_STEPS: Final = 50


def close_up(sample: Sample) -> Whole:
    """Convert a sample with a part mask to a picture with one region, or with two if its hands are apart.

    Raises:
        UnclaspError: The sample has no part mask.
    """
    if sample.parts is None:
        raise UnclaspError(f"{sample.name} has no part mask: the finder learns from rendered close-ups only")
    pixels = geometry.project(
        np.where(sample.valid[:, None], sample.joints_cam, np.float32(1)), sample.focal, sample.princpt
    )
    boxes = [
        geometry.tight_box(pixels[hand], sample.valid[hand])
        for hand, present in zip(HAND_SLICES, sample.hand_type, strict=True)
        if present
    ]
    sides = np.where(sample.parts == 0, 0, np.where(sample.parts <= PARTS_PER_HAND, 1, 2)).astype(np.uint8)
    if len(boxes) == 2 and are_one_region(*boxes):
        boxes = [np.concatenate([np.minimum(*boxes)[:2], np.maximum(*boxes)[2:]])]
    mask = np.minimum(sides, np.uint8(len(boxes)))  # both sides are one region if there is only one box
    height, width = mask.shape
    limits = np.array([width, height, width, height]) - 0.5
    return Whole(sample.image, mask, np.clip(np.stack(boxes), -0.5, limits).astype(np.float32))


def make_view(whole: Whole, rng: np.random.Generator, size: int) -> tuple[Pixels, Labels]:
    """Draw a random view of a picture with its labels: cropped, possibly mirrored, and photometrically augmented."""
    image, mask, boxes = whole
    window, flip = random_window(rng, mask.shape[1], mask.shape[0]), bool(rng.random() < 0.5)
    view, matrix = cut(image, window, size, flip=flip)
    cut_mask, _ = cut(mask, window, size, flip=flip, nearest=True)
    view = np.clip(view * rng.uniform(0.85, 1.15, 3).astype(np.float32), 0, 255).astype(np.uint8)
    change = random_photometric(_PHOTOMETRIC_STRENGTH, rng, texture=_TEXTURE_SHARE)
    if rng.random() < _GREY_SHARE:
        change = replace(change, saturation=0.0)
    return apply_photometric(view, change), labels(mask, cut_mask, boxes, matrix, STRIDE)


def stack(views: list[tuple[Pixels, Labels]], device: torch.device) -> tuple[Tensor, Targets]:
    """Stack views into a batch of images and targets on a device."""
    images = torch.from_numpy(np.stack([image for image, _ in views]).transpose(0, 3, 1, 2)).to(device)
    stacked = (np.stack(parts) for parts in zip(*(label for _, label in views), strict=True))
    return images, Targets(*(torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in stacked))


def batch_maker(
    wholes: Wholes, close_ups: Dataset | None, config: FinderConfig
) -> Callable[[int], list[tuple[Pixels, Labels]]]:
    """Return a function that maps a step to its views, which depend on the seed and the step alone."""

    def make(step: int) -> list[tuple[Pixels, Labels]]:
        views = []
        for position in range(step * config.batch_size, (step + 1) * config.batch_size):
            rng = np.random.default_rng([config.seed, position])
            if close_ups is not None and rng.random() < config.close_up_share:
                whole = close_up(close_ups[int(rng.integers(len(close_ups)))])
            else:
                epoch, row = divmod(position, len(wholes))
                whole = wholes[_shuffled(config.seed, epoch, len(wholes))[row]]
            views.append(make_view(whole, rng, config.image_size))
        return views

    return make


@lru_cache(maxsize=1)
def _shuffled(seed: int, epoch: int, count: int) -> list[int]:
    return list(np.random.default_rng([seed, epoch]).permutation(count).tolist())


def train_finder(config: FinderConfig, wholes: Wholes, close_ups: Dataset | None, run: FinderRun) -> Path:
    """Train a finder, and return the path of its weights; the .onnx file that prediction uses is written beside them.

    Raises:
        CheckpointError: The weights `run.out` or their .onnx exist already, or the weights to start from do not fit.
        UnclaspError: The finder to start from has another number of channels.
        NonFiniteLossError: The loss or its gradient became infinite or not a number; the last saved weights are kept.
        KeyboardInterrupt: Ctrl-C or a signal to end, after the step was finished and saved; at the second one, at once.
    """
    exported = run.out.with_suffix(".onnx")
    for path in (run.out, exported):
        if path.exists():
            raise CheckpointError(f"{path} exists and is not overwritten: choose another --out, or move it away")
    torch.manual_seed(config.seed)
    device = torch.device(run.device)
    net = _start(config, run).to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    if config.freeze_down:
        net.freeze_down()
    stopped: UnclaspError | KeyboardInterrupt | None = None
    try:
        done = _take_steps(config, net, batch_maker(wholes, close_ups, config), run, device)
        if done < config.steps:
            stopped = KeyboardInterrupt(f"interrupted after step {done} of {config.steps}, whose weights are {run.out}")
    except UnclaspError as error:  # what was saved before is exported all the same
        stopped = error
    except KeyboardInterrupt as interruption:  # the second signal
        kept = f"saved is {run.out}, without {exported}" if run.out.exists() else "nothing is saved yet"
        raise KeyboardInterrupt(f"interrupted; {kept}") from interruption
    if run.out.exists():
        _export(run.out, exported, stopped)
    if stopped is not None:
        raise stopped
    return run.out


def _export(weights: Path, exported: Path, stopped: UnclaspError | KeyboardInterrupt | None) -> None:
    """Write the file that prediction uses; an error also tells what had stopped the training."""
    try:
        export_finder(load_finder(weights), exported)
    except (UnclaspError, OSError) as error:
        told = f"{weights} is saved, but {exported} cannot be written: {error}"
        if stopped is None:
            raise UnclaspError(told) from error
        stopped.args = (f"{stopped}; {told}",)
        raise stopped from error


def _take_steps(
    config: FinderConfig, net: FinderNet, make: Callable[[int], list[tuple[Pixels, Labels]]], run: FinderRun,
    device: torch.device,
) -> int:  # fmt: skip
    """Train and save; return the number of steps done, which an interruption may have ended early."""
    result = Result(net, config.ema_decay)
    groups = parameter_groups(net, net.backbone, backbone_rate=config.backbone_rate, weight_decay=config.weight_decay)
    adam = torch.optim.AdamW(groups)
    with Interruption() as interruption, Reporter(
        run.out.with_suffix(".jsonl"), first_step=0, last_step=config.steps, batch_size=config.batch_size,
        every=run.report_every,
    ) as reporter:  # fmt: skip
        for step in range(config.steps):
            images, targets = stack(make(step), device)
            reporter.data_ready()
            rate = learning_rate(step, config)
            set_rate(adam, rate)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=run.bf16):
                found = net(images)
            terms = finder_losses(found, targets)
            loss = torch.stack([WEIGHTS[name] * term for name, term in terms.items()]).sum()
            adam.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            for name, value in (("loss", loss), ("gradient", norm)):
                if not bool(torch.isfinite(value)):
                    raise NonFiniteLossError(f"the finder's {name} is not finite at step {step}; lower learning_rate")
            adam.step()
            result.update(step)
            reporter.stepped({"total": loss.detach(), **{name: term.detach() for name, term in terms.items()}}, rate)
            is_end = interruption.requested or step + 1 == config.steps
            if is_end or (step + 1) % run.save_every == 0:
                save_finder(run.out, result.state, channels=config.channels, notes={"steps": step + 1})
            if is_end:
                break
    return step + 1


def learning_rate(step: int, config: FinderConfig) -> float:
    """Return the learning rate at a step: a cosine times the linear warm-up."""
    warm_up = min(1.0, (step + 1) / _WARM_UP_STEPS)
    return config.learning_rate * warm_up * 0.5 * (1 + math.cos(math.pi * step / config.steps))


def _start(config: FinderConfig, run: FinderRun) -> FinderNet:
    if run.start_weights is not None:
        net = load_finder(run.start_weights)
        if net.answer.in_channels != config.channels:
            raise UnclaspError(
                f"{run.start_weights} is a finder of {net.answer.in_channels} channels, not {config.channels}: "
                "set channels to that"
            )
        return net
    net = FinderNet(config.channels)
    if run.backbone_weights is not None:
        load_palm_backbone(net.backbone, run.backbone_weights)
    return net
