import gc
import json
import math
import multiprocessing
import os
import signal
import tracemalloc
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException

from dots import make_sample_function
from ports import free_port
from unclasp import train as train_module
from unclasp.checkpoint import load_model, load_notes, load_state, save_state, save_weights
from unclasp.config import AugmentConfig, DepthAxis, TrainConfig, with_model
from unclasp.data.collate import collate
from unclasp.data.lookup import fingerprint_of
from unclasp.data.transforms import make_example, plain_view
from unclasp.errors import CheckpointError, DataError, NonFiniteLossError, UnclaspError
from unclasp.evaluate import EvaluateOptions, evaluate
from unclasp.files import only_one
from unclasp.losses import compute_losses, total
from unclasp.model import build
from unclasp.model.backbones import Backbone
from unclasp.model.backbones.efficientnet import HandLandmarks, SameConv2d
from unclasp.model.tflite import Layer
from unclasp.presets import tiny
from unclasp.train import (
    LOG,
    STATE,
    WEIGHTS,
    Batches,
    TrainingExamples,
    learning_rate,
    optimiser,
    train,
)
from unclasp.training.optimisation import MovingAverage
from unclasp.training.options import RunOptions
from unclasp.training.reporter import Reporter
from unclasp.training.step import Learner, check_devices


class Samples:
    """A small data set.

    `deadly` counts down to a kill -9 of this process.
    """

    def __init__(self, size, *, deadly=None):
        self.size, self.deadly = size, deadly
        self.make = make_sample_function()

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        if self.deadly is not None:
            self.deadly -= 1
            if self.deadly < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.make(index, hands=("interacting", "right", "left")[index % 3])


def config_for(**changes):
    config = tiny()
    settings = {
        "epochs": 3,
        "batch_size": 4,
        "ema_decay": 0.9,
        "schedule": "cosine",
        "warmup_steps": 2,
        "clip_norm": 5.0,
    }
    return replace(config, train=replace(config.train, **{**settings, **changes}))


def cpu(out, **changes):
    return RunOptions(out=out, **{"accelerator": "cpu", "workers": 0, "save_every": 2, "report_every": 1, **changes})


def with_all_randomness():
    return replace(config_for(), augment=AugmentConfig(photographic=0.5, texture=0.5, style=0.7))


def test_a_run_starts_from_weights_and_from_a_backbone_s_file(tmp_path, monkeypatch):
    lite = with_model(config_for(), backbone="efficientnet_lite0")
    hands = with_model(config_for(epochs=1, learning_rate=1e-12, warmup_steps=0), backbone="hand_landmarks")
    torch.manual_seed(3)
    start = build(lite.model)
    convolutions = [module for module in HandLandmarks().modules() if type(module) is SameConv2d]
    save_weights(tmp_path / "start.safetensors", start.state_dict(), lite)
    layers = [Layer(conv.weight.detach(), torch.rand(conv.out_channels)) for conv in convolutions[:-1]]
    monkeypatch.setattr("unclasp.model.tflite.read_layers", lambda path: layers)
    (tmp_path / "hands.tflite").touch()
    given = {"start_weights": tmp_path / "start.safetensors", "backbone_weights": tmp_path / "hands.tflite"}
    train(hands, Samples(4), cpu(tmp_path / "run", max_steps=1, **given))
    begun = load_state(tmp_path / "run" / STATE)["model"]
    for key, value in load_model(tmp_path / "start.safetensors")[0].state_dict().items():
        if not key.startswith("encoder.backbone.") and value.is_floating_point() and "running" not in key:
            torch.testing.assert_close(begun[key], value, msg=key)
    torch.testing.assert_close(begun["encoder.backbone._conv_stem.weight"], layers[0].weight)
    assert begun["encoder.backbone._bn0.running_mean"].abs().min() > 0, "the norms were unfolded"


def test_weights_of_another_model_to_start_from_are_told_by_their_settings(tmp_path):
    other = with_model(config_for(), iterations=2, image_size=96)
    save_weights(tmp_path / "start.safetensors", build(other.model).state_dict(), other)
    told = r"start\.safetensors is of another model \(model\.image_size 96, now 64, model\.iterations 2, now 3\)$"
    with pytest.raises(CheckpointError, match=told):
        train(config_for(), Samples(12), cpu(tmp_path / "run", start_weights=tmp_path / "start.safetensors"))


@pytest.mark.parametrize(
    ("backbone", "settings", "learns"),
    [
        ("tiny", {"backbone_rate": 0.0}, ""),
        ("tiny", {"frozen_stride": 8}, "stages.2."),
        ("resnet18", {"frozen_stride": 16}, "layer4.0."),
        ("hand_landmarks", {"frozen_stride": 8}, "_blocks.5."),
        ("hand_landmarks", {"frozen_stride": 32}, ""),
    ],
)
def test_what_is_frozen_of_a_backbone_stays_as_it_is_and_the_rest_learns(tmp_path, backbone, settings, learns):
    config = with_model(config_for(epochs=1, **settings), backbone=backbone)
    config = replace(config, augment=AugmentConfig(style=1.0))
    torch.manual_seed(3)
    start = build(config.model)
    save_weights(tmp_path / "start.safetensors", start.state_dict(), config)
    train(config, Samples(12), cpu(tmp_path / "run", start_weights=tmp_path / "start.safetensors"))
    before = load_model(tmp_path / "start.safetensors")[0].state_dict()
    after = load_model(tmp_path / "run" / WEIGHTS)[0].state_dict()
    changed = [not torch.equal(value, after[key]) for key, value in before.items()]
    body = [key.removeprefix("encoder.backbone.") for key in before if key.startswith("encoder.backbone.")]
    first = next((index for index, key in enumerate(body) if learns and key.startswith(learns)), len(body))
    assert not any(changed[:first]), "the frozen layers, the first in the file, with their statistics"
    assert all(changed[first : len(body)]), "and all layers after them learn"
    assert changed[list(before).index("encoder.segmentation.0.0.weight")]
    rates = [line["learning_rate"] for line in map(json.loads, (tmp_path / "run" / LOG).read_text().splitlines())]
    assert rates[0] > 0


def test_layers_that_a_backbone_does_not_tell_cannot_be_frozen(tmp_path, monkeypatch):
    monkeypatch.setattr("unclasp.model.backbones.tiny.Tiny.until", Backbone.until)
    config = config_for(frozen_stride=8)
    with pytest.raises(UnclaspError, match=r"frozen_stride needs a backbone that .*: tiny does not; leave it"):
        train(config, Samples(4), cpu(tmp_path / "run"))


def train_and_die(out, deadly):
    torch.set_num_threads(1)
    train(with_all_randomness(), Samples(12, deadly=deadly), cpu(out))


@pytest.mark.parametrize("workers", [0, 1])
def test_killed_and_resumed_equals_unbroken_to_the_bit(tmp_path, workers):
    torch.set_num_threads(1)
    train(with_all_randomness(), Samples(12), cpu(tmp_path / "whole"))
    process = multiprocessing.get_context("spawn").Process(target=train_and_die, args=(tmp_path / "cut", 18))
    process.start()
    process.join(timeout=120)
    assert process.exitcode == -signal.SIGKILL
    interrupted = load_state(tmp_path / "cut" / STATE)
    assert interrupted["step"] == 4, "killed in step 5 of 9, in the middle of the second epoch"
    logged = (tmp_path / "cut" / LOG).read_text()
    with (tmp_path / "cut" / LOG).open("a") as log:
        log.write(logged.splitlines()[-1].replace('"step": 4', '"step": 5') + '\n{"step": 6, "lo')
    train(with_all_randomness(), Samples(12), cpu(tmp_path / "cut", resume=True, workers=workers))
    steps = [json.loads(line)["step"] for line in (tmp_path / "cut" / LOG).read_text().splitlines()]
    assert steps == list(range(1, 10)), "lines of steps that were lost go"
    whole, cut = (load_state(tmp_path / name / STATE) for name in ("whole", "cut"))
    assert whole["step"] == cut["step"] == 9
    for part in ("model", "average"):
        for key, value in whole[part].items():
            assert torch.equal(value, cut[part][key]), f"{part} {key}"
    shipped = [load_model(tmp_path / name / WEIGHTS)[0].state_dict() for name in ("whole", "cut")]
    assert all(torch.equal(value, shipped[1][key]) for key, value in shipped[0].items())


def test_it_overfits_two_samples_below_5_mm():
    """This fails if the loss, the flip, the root, a mask or the conversion back to millimetres is wrong."""
    torch.manual_seed(0)
    config, make = with_model(tiny(), init_residual=True), make_sample_function()
    loss = replace(config.loss, relation_weight=10.0, relation_sigma=10.0)
    samples = [make(0), make(1, hands="left")]
    batch = collate([make_example(sample, plain_view(sample.box), 64) for sample in samples])
    model = build(config.model).eval()  # two samples have no batch statistics
    adam = torch.optim.Adam(model.parameters())
    for step in range(300):
        adam.param_groups[0]["lr"] = 3e-3 * min(1, (step + 1) / 20) * (1 - step / 300)
        terms = compute_losses(model(batch.image), batch, loss, image_size=64)
        adam.zero_grad()
        total(terms, loss).backward()
        adam.step()
    report = evaluate(model, samples, EvaluateOptions(batch_size=2))
    assert report.figures["mpjpe_all_mm"] < 5.0, report


def test_the_ranks_share_the_batches_of_one_process():
    config = TrainConfig(batch_size=4, epochs=2, seed=3)
    alone = list(Batches(size=11, config=config, first_step=0, last_step=4, rank=0, world=1))
    shares = [list(Batches(size=11, config=config, first_step=0, last_step=4, rank=rank, world=2)) for rank in range(2)]
    for whole, first, second in zip(alone, *shares, strict=True):
        assert sorted(whole) == sorted(first + second) and len(first) == len(second) == 2
    assert [epoch for batch in alone for epoch, _ in batch] == [0] * 8 + [1] * 8
    assert len({index for batch in alone[:2] for _, index in batch}) == 8, "no sample twice in an epoch"
    assert alone[2:] == list(Batches(size=11, config=config, first_step=2, last_step=4, rank=0, world=1))
    first, second = ([index for batch in batches for _, index in batch] for batches in (alone[:2], alone[2:]))
    other = Batches(size=11, config=replace(config, seed=4), first_step=0, last_step=2, rank=0, world=1)
    assert first != second and first != [index for batch in other for _, index in batch]


def test_a_whole_run_of_batches_is_never_listed():
    """At the paper's size there are 68 million pairs in all; the first ones must be available at once."""
    config = TrainConfig(batch_size=64, epochs=50)
    tracemalloc.start()
    batches = Batches(size=1_361_062, config=config, first_step=0, last_step=50 * 21_266, rank=0, world=1)
    first = list(islice(batches, 3))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(batches) == 1_063_300 and [len(batch) for batch in first] == [64] * 3
    assert peak < 30e6, "one epoch's permutation is 11 MB"
    again = Batches(size=11, config=TrainConfig(batch_size=3), first_step=1, last_step=4, rank=0, world=1)
    assert list(again) == list(again) and len(again) == 3


def gradients_of_rank(rank, world, queue, port):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK=str(rank), RANK=str(rank))
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=world)
    model = torch.nn.parallel.DistributedDataParallel(frozen_model())
    gradients = gradients_on(model, model.module, joined_batch()[rank::world])
    if rank == 0:
        queue.put([gradient.numpy() for gradient in gradients])
    # If the wrapper held the last reference to the group, the group would be destroyed with the GIL held while it waits
    # for its own threads, one of which may be waiting for the GIL: one process in ten would hang.
    del model
    gc.collect()
    torch.distributed.destroy_process_group()


def frozen_model():
    """Batch statistics differ between a joined batch and its halves, so they are frozen; all else trains."""
    torch.manual_seed(1)
    return build(tiny().model).eval()


def joined_batch():
    make = make_sample_function()
    samples = [make(i, hands=("interacting", "right", "left", "interacting")[i], parts=i != 3) for i in range(4)]
    return [make_example(sample, plain_view(sample.box), 64) for sample in samples]


def gradients_on(model, module, examples):
    config = tiny()
    batch = collate(examples)
    loss = replace(config.loss, relation_weight=0.5)
    total(compute_losses(model(batch.image), batch, loss, image_size=64), loss).backward()
    return [parameter.grad.clone() for parameter in module.parameters()]


def test_two_processes_give_the_gradients_of_one():
    context, port = multiprocessing.get_context("spawn"), free_port()
    queue = context.Queue()
    ranks = [context.Process(target=gradients_of_rank, args=(rank, 2, queue, port), daemon=True) for rank in range(2)]
    for process in ranks:
        process.start()
    together = queue.get(timeout=120)
    for process in ranks:
        process.join(timeout=60)
    assert [process.exitcode for process in ranks] == [0, 0]
    model = frozen_model()
    alone = gradients_on(model, model, joined_batch())
    for (name, _), ours, theirs in zip(model.named_parameters(), alone, together, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5 * (1 + float(ours.abs().max())), err_msg=name)


@pytest.mark.parametrize("saved", [False, True])
def test_a_process_that_waits_for_one_that_ended_says_so(tmp_path, monkeypatch, saved):
    if saved:
        train(config_for(), Samples(12), cpu(tmp_path, max_steps=2))

    def fail(*_):
        raise RuntimeError(reasons.pop())

    reasons = ["another reason", "[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:5278"]
    monkeypatch.setattr("unclasp.train._run", fail)
    told = r"saved is step 2 in .*--resume" if saved else "nothing is saved yet"
    with pytest.raises(UnclaspError, match=f"another process of this run has ended, .*{told}"):
        train(config_for(), Samples(12), cpu(tmp_path, resume=saved))
    with pytest.raises(RuntimeError, match="another reason"):
        train(config_for(), Samples(12), cpu(tmp_path, resume=saved))


def test_a_loss_that_is_not_finite_stops_the_run_and_names_what_it_saw(tmp_path, monkeypatch):
    def poisoned(prediction, batch, config, *, image_size):
        terms = compute_losses(prediction, batch, config, image_size=image_size)
        return {**terms, "pose": terms["pose"] * (float("nan") if calls.append(1) or len(calls) > 3 else 1.0)}

    calls = []
    monkeypatch.setattr("unclasp.training.step.compute_losses", poisoned)
    with pytest.raises(
        NonFiniteLossError,
        match=r"step 3 .*pose nan.*made:\d+; saved is step 2 in .*pt\. --resume would take the same steps",
    ):
        train(config_for(), Samples(12), cpu(tmp_path))
    assert load_state(tmp_path / STATE)["step"] == 2, "the last good checkpoint stays"
    assert all(torch.isfinite(value).all() for value in load_state(tmp_path / STATE)["model"].values())


def test_a_gradient_that_is_not_finite_stops_the_run_too(tmp_path, monkeypatch):
    """The loss is finite but its gradient is not: spoilt weights are never saved."""

    def steep(prediction, batch, config, *, image_size):
        terms = compute_losses(prediction, batch, config, image_size=image_size)
        calls.append(1)
        cliff = (prediction.pose_2p5d - prediction.pose_2p5d.detach()).square().sum().sqrt() if len(calls) > 3 else 0
        return {**terms, "pose": terms["pose"] + cliff}

    calls = []
    monkeypatch.setattr("unclasp.training.step.compute_losses", steep)
    with pytest.raises(NonFiniteLossError, match="the gradient is not finite at step 3"):
        train(config_for(clip_norm=0.0), Samples(12), cpu(tmp_path, save_every=1))
    assert load_state(tmp_path / STATE)["step"] == 3
    assert all(torch.isfinite(value).all() for value in load_state(tmp_path / STATE)["model"].values())


class Devices:
    """Two devices as `Fabric`; what is reduced is added, in place, to the flags of the other one."""

    def __init__(self, other=(1.0, 1.0), *, scaler=None, ends=False):
        self.world_size, self.other, self.reduced = 2, torch.tensor([*other, float(ends), 3.0]), 0
        self.strategy = SimpleNamespace(precision=SimpleNamespace(scaler=scaler))

    def all_reduce(self, flags, reduce_op):
        assert reduce_op == "sum"
        self.reduced += 1
        return flags.add_(self.other)


@pytest.mark.parametrize(
    ("loss", "norm", "other", "scaler", "told"),
    [
        (1.0, 1.0, (1.0, 1.0), None, None),
        (math.nan, math.nan, (1.0, 0.0), None, r"the loss .* step 7 \(pose nan\) on this device with a, b, c, d$"),
        (1.0, math.nan, (0.0, 0.0), None, r"the loss .* step 7 \(pose 1\) on another device$"),
        (1.0, math.inf, (1.0, 0.0), None, "the gradient is not finite at step 7$"),
        (1.0, math.inf, (1.0, 1.0), object(), None),
        (math.inf, math.inf, (1.0, 1.0), object(), "the loss is not finite"),
    ],
)
def test_all_devices_stop_if_one_has_to(loss, norm, other, scaler, told):
    """With a gradient scaler, gradients that are not finite are a matter of course."""
    devices, batch = Devices(other, scaler=scaler), SimpleNamespace(names=("a", "b", "c", "d"))
    loss = torch.tensor(loss)
    with nullcontext() if told is None else pytest.raises(NonFiniteLossError, match=told):
        means, _ = check_devices(devices, {"pose": loss}, torch.tensor(norm), batch, 7, ends=False)
        assert means == {"pose": 2.0}
    assert devices.reduced == 1


@pytest.mark.parametrize(("here", "there"), [(False, False), (False, True), (True, False), (True, True)])
def test_all_devices_stop_after_the_same_step(here, there):
    devices, loss = Devices(ends=there), torch.tensor(1.0)
    _, ends = check_devices(devices, {"pose": loss}, loss, SimpleNamespace(names=()), 7, ends=here)
    assert ends == (here or there)
    assert devices.reduced == 1


def test_a_step_reads_the_device_once(tmp_path, monkeypatch):
    """On a GPU each reading waits for all that has been started; the log has its own interval."""
    reads = []
    for name in ("__float__", "__bool__", "__int__", "item", "tolist", "numpy"):
        plain = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda self, *args, name=name, plain=plain: (reads.append(name), plain(self, *args))[1]
        )
    steps, reduced, step = [], [], Learner.take_step
    reduce = Fabric.all_reduce
    monkeypatch.setattr(Fabric, "all_reduce", lambda *args, **how: (reduced.append(1), reduce(*args, **how))[1])

    def counted(*args, **options):
        reads.clear()
        terms = step(*args, **options)
        steps.append(list(reads))
        return terms

    monkeypatch.setattr(Learner, "take_step", counted)
    # On a CPU, AdamW reads the number of its step.
    monkeypatch.setattr(
        "unclasp.train.optimiser", lambda model, _: torch.optim.SGD([{"params": model.parameters(), "rate": 1.0}])
    )
    train(config_for(epochs=1), Samples(12), cpu(tmp_path, report_every=100))
    assert steps == [["tolist"]] * 3 and len(reduced) == 3


def test_weights_that_were_lost_come_back(tmp_path):
    weights = train(config_for(epochs=1), Samples(12), cpu(tmp_path))
    before = load_model(weights)[0].state_dict()
    weights.unlink()
    assert train(config_for(epochs=1), Samples(12), cpu(tmp_path, resume=True)) == weights
    assert all(torch.equal(value, before[key]) for key, value in load_model(weights)[0].state_dict().items())


class Missing(Samples):
    def __getitem__(self, index):
        if index == 5:
            raise DataError("image5.jpg: there is no such picture; fetch it")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_is_missing_is_told_in_one_line(tmp_path, workers):
    """An error raised across the loader's process boundary would include that process's traceback."""
    with pytest.raises(DataError) as caught:
        train(config_for(), Missing(12), cpu(tmp_path, workers=workers))
    assert str(caught.value) == "image5.jpg: there is no such picture; fetch it; nothing is saved yet"
    with pytest.raises(DataError) as caught:
        evaluate(build(tiny().model), Missing(12), EvaluateOptions(workers=workers))
    assert str(caught.value) == "image5.jpg: there is no such picture; fetch it"


def test_the_log_has_a_line_per_report_and_the_weights_load(tmp_path):
    weights = train(config_for(epochs=1), Samples(12), cpu(tmp_path, precision="bf16-mixed"))
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert {"total", "pose", "steps", "focal", "dice"} <= lines[0]["loss"].keys()
    model, config = load_model(weights)
    assert config == config_for(epochs=1) and not model.training


@pytest.mark.parametrize(
    ("changes", "options", "error", "told"),
    [
        ({"batch_size": 13}, {}, UnclaspError, "fewer than one batch of 13: lower train.batch_size"),
        ({}, {"devices": 3}, UnclaspError, "multiple of the 3 devices"),
        ({}, {"resume": True}, CheckpointError, "start without --resume"),
        pytest.param(
            {},
            {"accelerator": "cuda"},
            UnclaspError,
            "device 'cuda' cannot be used",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
        ),
    ],
)
def test_what_cannot_be_run_is_said(tmp_path, changes, options, error, told):
    with pytest.raises(error, match=told):
        train(config_for(**changes), Samples(12), cpu(tmp_path, **options))


def test_fewer_devices_than_asked_for_are_told_in_one_line(tmp_path, monkeypatch):
    def fabric(**_):
        raise MisconfigurationException("You requested gpu: [0, 1]\n But your machine only has: [0]. See the manual")

    monkeypatch.setattr("unclasp.training.devices.Fabric", fabric)
    told = r"device 'cpu' cannot be used: You requested gpu: \[0, 1\] But your machine only has: \[0\]$"
    with pytest.raises(UnclaspError, match=told):
        train(config_for(), Samples(12), cpu(tmp_path, devices=2))


def test_a_log_begins_anew_with_the_run_and_files_of_others_stay(tmp_path):
    """A log of steps without a checkpoint is replaced; a file that another command wrote under its name is kept."""
    (tmp_path / LOG).write_text('{"step": 1, "loss": {}}\n{"step": 2, "loss": {}}\n')
    train(config_for(epochs=1), Samples(12), cpu(tmp_path))
    lines = (tmp_path / LOG).read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
    poses = '{"unclasp": "0.1", "image": {"source": "a.mp4"}}\n'
    (tmp_path / "poses.jsonl").write_text(poses)
    with pytest.raises(
        UnclaspError, match=r"poses\.jsonl is no log of a training and is not overwritten: move it away"
    ):
        Reporter(tmp_path / "poses.jsonl", first_step=0, last_step=3, batch_size=4, every=1)
    assert (tmp_path / "poses.jsonl").read_text() == poses


def test_a_run_is_neither_overwritten_nor_mixed_with_another(tmp_path):
    train(config_for(epochs=1), Samples(12), cpu(tmp_path))
    with pytest.raises(CheckpointError, match="--resume"):
        train(config_for(epochs=1), Samples(12), cpu(tmp_path))
    with pytest.raises(CheckpointError, match=r"other settings \(train\.epochs 1, now 2\)"):
        train(config_for(epochs=2), Samples(12), cpu(tmp_path, resume=True))
    with pytest.raises(CheckpointError, match="was trained on 12 pictures, the data set has 16"):
        train(config_for(epochs=1), Samples(16), cpu(tmp_path, resume=True))
    for changes, told in (
        ({"precision": "bf16-mixed"}, "trained with precision 32-true, got bf16-mixed"),
        ({"devices": 2}, "trained with devices 1, got 2"),
    ):
        with pytest.raises(CheckpointError, match=f"{told}: resume with what it began with"):
            train(config_for(epochs=1), Samples(12), cpu(tmp_path, resume=True, **changes))
    for name in ("start_weights", "backbone_weights"):
        with pytest.raises(
            CheckpointError, match=rf"trained with {name} None, got weights\.safetensors \(\w+\): resume"
        ):
            train(config_for(epochs=1), Samples(12), cpu(tmp_path, resume=True, **{name: tmp_path / WEIGHTS}))
    save_state(tmp_path / STATE, {"step": 3})
    with pytest.raises(
        CheckpointError, match="not a training state of this version: it lacks average, config, data, model"
    ):
        train(config_for(epochs=1), Samples(12), cpu(tmp_path, resume=True))


def test_weights_are_kept_after_every_so_many_steps_and_tell_what_they_were_trained_on(tmp_path):
    train(config_for(), Samples(12), cpu(tmp_path, keep_every=4))
    assert sorted(path.name for path in tmp_path.glob("weights*")) == [
        "weights-4.safetensors", "weights-8.safetensors", WEIGHTS,
    ]  # fmt: skip
    kept, last = (load_notes(tmp_path / name) for name in ("weights-4.safetensors", WEIGHTS))
    assert (kept["steps"], last["steps"], last["samples"]) == (4, 9, 12)
    assert last["run"]["precision"] == "32-true" and last["data"] == fingerprint_of(Samples(12))


def test_a_folder_is_of_one_run_at_a_time_and_has_no_rests_of_killed_ones(tmp_path):
    rest, foreign = tmp_path / ".state.0123456789ab.partial.pt", tmp_path / ".report.0123456789ab.partial.json"
    rest.touch(), foreign.touch()
    with only_one(tmp_path, ("state",)):
        assert not rest.exists() and foreign.exists()
        with pytest.raises(UnclaspError, match=r"another process is writing to .*: choose another --out"):
            train(config_for(), Samples(12), cpu(tmp_path))
    train(config_for(epochs=1), Samples(12), cpu(tmp_path))


class Named(Samples):
    """Samples whose names are known."""

    def __init__(self, size, *, split="train", prefix="image"):
        super().__init__(size)
        self.split, self.file_names = split, [f"{prefix}{index}.jpg" for index in range(size)]


@pytest.mark.parametrize("other", [{"split": "val"}, {"prefix": "other"}])
def test_a_run_goes_on_with_the_pictures_that_it_began_with(tmp_path, other):
    train(config_for(epochs=1), Named(12), cpu(tmp_path, max_steps=1))
    with pytest.raises(CheckpointError, match=r"other pictures, by their names or their split, .*resume with the data"):
        train(config_for(epochs=1), Named(12, **other), cpu(tmp_path, resume=True))
    train(config_for(epochs=1), Named(12), cpu(tmp_path, resume=True))
    assert load_state(tmp_path / STATE)["step"] == 3


def test_part_masks_are_part_of_the_data():
    """Resumed without them, a run would silently lose two of its losses."""
    masked, published = Samples(12), Samples(12)
    masked.notes, published.notes = {"part masks": "in this project's order"}, {"part masks": "published"}
    plain = Samples(12)
    plain.notes = {"part masks": "none"}
    assert fingerprint_of(plain) == fingerprint_of(Samples(12))
    assert len({fingerprint_of(samples) for samples in (plain, masked, published)}) == 3


def test_rendered_pictures_are_known_by_all_that_they_depend_on(monkeypatch):
    """Without making a million names for it."""
    pytest.importorskip("numba")
    from unclasp.data.synthetic import Synthetic
    from unclasp.synth.scene import SceneMix

    monkeypatch.setattr(Synthetic, "file_names", None)
    sets = [
        Synthetic(1, 1_000_000), Synthetic(1, 1_000), Synthetic(2, 1_000_000), Synthetic(1, 1_000_000, image_size=128),
        Synthetic(1, 1_000_000, replace(SceneMix(), other_side=0.5)),
    ]  # fmt: skip
    assert len({fingerprint_of(dataset) for dataset in sets}) == 5
    assert fingerprint_of(sets[0]) == fingerprint_of(Synthetic(1, 1_000_000, SceneMix()))


def test_weights_without_a_state_are_not_overwritten(tmp_path):
    train(config_for(epochs=1), Samples(12), cpu(tmp_path))
    (tmp_path / STATE).unlink()
    before = (tmp_path / WEIGHTS).read_bytes(), (tmp_path / LOG).read_bytes()
    with pytest.raises(
        CheckpointError, match=r"weights\.safetensors exists without a state\.pt .*another --out, or move"
    ):
        train(config_for(epochs=1), Samples(12), cpu(tmp_path))
    assert before == ((tmp_path / WEIGHTS).read_bytes(), (tmp_path / LOG).read_bytes())


def test_a_run_may_be_resumed_with_all_options_that_it_began_with(tmp_path):
    train(config_for(epochs=1), Samples(12), cpu(tmp_path / "first"))
    begun = {"start_weights": tmp_path / "first" / WEIGHTS}
    train(config_for(epochs=1), Samples(12), cpu(tmp_path / "run", max_steps=1, **begun))
    train(config_for(epochs=1), Samples(12), cpu(tmp_path / "run", resume=True, max_steps=2))
    renamed = begun["start_weights"].rename(tmp_path / "renamed.safetensors")
    train(config_for(epochs=1), Samples(12), cpu(tmp_path / "run", resume=True, start_weights=renamed))
    assert load_state(tmp_path / "run" / STATE)["step"] == 3
    for path, told in (
        (tmp_path / "run" / WEIGHTS, "resume with"),
        (tmp_path / "gone", "there is no weights file .*left"),
        (tmp_path / "run", r"is a folder; give the weights file in it, such as .*weights\.safetensors"),
    ):
        with pytest.raises(CheckpointError, match=told):
            train(config_for(epochs=1), Samples(12), cpu(tmp_path / "run", resume=True, start_weights=path))


def test_a_precision_that_a_device_does_not_have_is_not_replaced_in_silence(tmp_path):
    with pytest.raises(UnclaspError, match="the precision 16-mixed does not exist on the device cpu: use bf16-mixed"):
        train(config_for(), Samples(12), cpu(tmp_path, precision="16-mixed"))


def test_schedules():
    step = TrainConfig(epochs=50, learning_rate=1.0, decay_epochs=(24, 35), decay_factor=5.0)
    rates = [learning_rate(epoch * 10, step, steps_per_epoch=10) for epoch in (0, 23, 24, 34, 35, 49)]
    assert rates == pytest.approx([1, 1, 0.2, 0.2, 0.04, 0.04])
    cosine = TrainConfig(epochs=10, learning_rate=2.0, schedule="cosine", warmup_steps=4)
    assert learning_rate(0, cosine, steps_per_epoch=10) == pytest.approx(0.5)
    assert learning_rate(50, cosine, steps_per_epoch=10) == pytest.approx(1.0)
    assert learning_rate(100, cosine, steps_per_epoch=10) == pytest.approx(0.0)


def moved(out, **settings):
    """Return the largest change that one step makes to the backbone's weights and to all others."""
    config = config_for(epochs=1, warmup_steps=0, learning_rate=0.01, **settings)
    train(config, Samples(4), cpu(out, max_steps=1))
    after = load_state(out / STATE)["model"]
    Fabric(accelerator="cpu").seed_everything(config.train.seed, verbose=False)
    far = {
        name: float((after[name] - start.detach()).abs().max())
        for name, start in build(config.model).named_parameters()
    }
    of_backbone = [value for name, value in far.items() if name.startswith("encoder.backbone.")]
    return max(of_backbone), max(value for name, value in far.items() if not name.startswith("encoder.backbone."))


def test_the_backbone_learns_at_its_own_rate(tmp_path):
    backbone, others = moved(tmp_path, backbone_rate=1e-3)
    assert backbone < 2e-5 and others > 5e-3


def test_gradients_are_clipped(tmp_path):
    """Adam's steps do not depend on the gradient's scale, unless gradients are as small as its epsilon."""
    assert max(moved(tmp_path, clip_norm=1e-12)) < 1e-5


def test_weights_decay_and_biases_and_norms_do_not():
    config = config_for(backbone_rate=0.5, weight_decay=0.1)
    model = build(config.model)
    backbone = set(map(id, model.encoder.backbone.parameters()))
    grouped = [
        (group, parameter) for group in optimiser(model, config.train).param_groups for parameter in group["params"]
    ]
    assert len(grouped) == len(list(model.parameters()))
    for group, parameter in grouped:
        assert group["weight_decay"] == (0.1 if parameter.ndim > 1 else 0.0)
        assert group["rate"] == (0.5 if id(parameter) in backbone else 1.0)


def test_the_moving_average_is_one():
    model = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(0.0)
    average = MovingAverage(model, 0.9)
    with torch.no_grad():
        model.weight.fill_(1.0)
    average.update(model, step=10_000)
    assert average.state["weight"].item() == pytest.approx(0.1)
    average.update(model, step=10_000)
    assert average.state["weight"].item() == pytest.approx(0.19)


def test_without_a_moving_average_the_model_s_own_weights_are_written(tmp_path, monkeypatch):
    """No copy of them is kept and updated at every step."""
    monkeypatch.setattr("unclasp.training.optimisation.MovingAverage", None)
    train(config_for(epochs=1, ema_decay=0.0), Samples(12), cpu(tmp_path))
    state, written = load_state(tmp_path / STATE), load_model(tmp_path / WEIGHTS)[0].state_dict()
    for key, value in state["model"].items():
        assert torch.equal(value, state["average"][key]), key
        torch.testing.assert_close(written[key], value, rtol=2e-3, atol=1e-7, msg=key)  # in half precision


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_states_with_a_copy_of_the_weights_as_average_resume(tmp_path, ema_decay):
    """This is what was written before, whatever the decay."""
    config = config_for(epochs=2, ema_decay=ema_decay)
    train(config, Samples(12), cpu(tmp_path / "whole"))
    train(config, Samples(12), cpu(tmp_path / "cut", max_steps=4))
    state = load_state(tmp_path / "cut" / STATE)
    same = all(torch.equal(value, state["average"][key]) for key, value in state["model"].items())
    assert same == (ema_decay == 0)
    state["average"] = {key: value.clone() for key, value in state["average"].items()}
    save_state(tmp_path / "cut" / STATE, state)
    train(config, Samples(12), cpu(tmp_path / "cut", resume=True))
    whole, cut = (load_state(tmp_path / name / STATE) for name in ("whole", "cut"))
    assert cut["step"] == 6
    for part in ("model", "average"):
        for key, value in whole[part].items():
            assert torch.equal(value, cut[part][key]), f"{part} {key}"
    written = [load_model(tmp_path / name / WEIGHTS)[0].state_dict() for name in ("whole", "cut")]
    assert all(torch.equal(value, written[1][key]) for key, value in written[0].items())


def test_targets_are_along_the_axis_of_the_config():
    config = config_for()
    along = replace(config, model=replace(config.model, depth_axis=DepthAxis.CROP))
    camera, crop = (TrainingExamples(Samples(6), each)[0, 2] for each in (config, along))
    assert np.array_equal(camera.image, crop.image)
    np.testing.assert_allclose(camera.pose_2p5d[:, :2], crop.pose_2p5d[:, :2])
    assert np.abs(camera.pose_2p5d[:, 2] - crop.pose_2p5d[:, 2]).max() > 0.1


def test_augmentation_depends_on_the_epoch_and_the_index_alone():
    examples = TrainingExamples(Samples(6), config_for())
    again = TrainingExamples(Samples(6), config_for())
    assert np.array_equal(examples[1, 2].image, (again[0, 0], again[1, 2])[1].image)
    assert not np.array_equal(examples[0, 2].image, examples[1, 2].image)
    other = TrainingExamples(Samples(6), config_for(seed=1))
    assert not np.array_equal(examples[0, 2].image, other[0, 2].image)


def test_the_moving_average_forgets_the_random_start_and_counts_as_the_model_does():
    """Later it moves as slowly as its decay says. Counters cannot be averaged."""
    model = torch.nn.BatchNorm1d(1)
    torch.nn.init.zeros_(model.weight)
    average = MovingAverage(model, 0.999)
    torch.nn.init.ones_(model.weight)
    for step in range(10):
        model(torch.randn(4, 1))
        average.update(model, step)
        if step == 0:
            assert average.state["weight"].item() == pytest.approx(0.9)
    assert average.state["weight"].item() > 0.9999
    assert average.state["num_batches_tracked"].item() == 10
    torch.nn.init.zeros_(model.weight)
    average.update(model, 1_000_000)
    assert average.state["weight"].item() == pytest.approx(0.999, abs=1e-4)


def test_the_log_tells_the_speed_and_the_time_spent_waiting_since_the_last_line(tmp_path, monkeypatch):
    """Three seconds to wait for a batch and one to compute, then one and one."""
    # The clock is read at the start, when a batch has come, for a line, and after a step.
    times = iter([100.0, 103, 104, 107, 108, 108, 109, 110, 111, 112, 112])
    monkeypatch.setattr("unclasp.training.reporter.time", SimpleNamespace(perf_counter=lambda: next(times)))
    with Reporter(tmp_path / LOG, first_step=0, last_step=4, batch_size=6, every=2) as reporter:
        for _ in range(4):
            reporter.data_ready()
            reporter.stepped({"total": torch.tensor(2.0)}, 0.5)
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [(line["step"], line["samples_per_second"], line["data_share"]) for line in lines] == [
        (2, 12 / 8, 6 / 8), (4, 12 / 4, 2 / 4),
    ]  # fmt: skip
    assert lines[0]["loss"] == {"total": 2.0} and lines[0]["learning_rate"] == 0.5


@pytest.mark.parametrize(
    ("logged", "kept"),
    [
        ('{"step": 1}\n{"step": 2}\n{"step": 3}\n', 2),
        ('{"step": 1}\n{"step": 2}', 1),
        ('{"step": 1}\n{"st\n{"step": 2}\n', 1),
        ('{"st', 0),
        ("", 0),
    ],
)
def test_a_log_goes_on_after_its_last_whole_line_of_a_step_that_was_saved(tmp_path, logged, kept):
    (tmp_path / LOG).write_text(logged)
    with Reporter(tmp_path / LOG, first_step=2, last_step=3, batch_size=4, every=100) as reporter:
        reporter.data_ready()
        reporter.stepped({}, 0.5)
    steps = [json.loads(line)["step"] for line in (tmp_path / LOG).read_text().splitlines()]
    assert steps == [*[1, 2][:kept], 3], "the last step has a line, whatever the interval"


@pytest.mark.parametrize(("path", "shown"), [(LOG, True), (None, False)])
def test_only_the_process_with_the_log_shows_its_progress(tmp_path, monkeypatch, path, shown):
    monkeypatch.setattr("sys.stderr", SimpleNamespace(isatty=lambda: True, write=lambda _: 0, flush=lambda: None))
    reporter = Reporter(path and tmp_path / path, first_step=0, last_step=3, batch_size=4, every=1)
    assert reporter._bar.disable == (not shown)


def test_a_run_that_another_one_has_overtaken_does_not_overwrite_it(tmp_path, monkeypatch):
    """The other one has begun and ended between the first check and the start of this one."""

    def overtaken(*_, **__):
        (tmp_path / STATE).write_text("of another run")
        return Fabric(accelerator="cpu", devices=1)

    monkeypatch.setattr("unclasp.train.fabric_on", overtaken)
    with pytest.raises(CheckpointError, match="exists: add --resume"):
        train(config_for(), Samples(4), cpu(tmp_path))
    assert (tmp_path / STATE).read_text() == "of another run"


def test_a_start_from_calibrated_weights_leaves_their_confidence_head(tmp_path):
    """It was fitted to the weights as they are, and belongs to another config."""
    calibrated = with_model(config_for(), confidence_head=True)
    start = build(calibrated.model)
    save_weights(tmp_path / "start.safetensors", start.state_dict(), calibrated)
    options = cpu(tmp_path / "run", start_weights=tmp_path / "start.safetensors")
    begun = train_module._start(options, None, TrainingExamples(Samples(4), config_for())).state_dict()
    assert not any(key.startswith("confidence.") for key in begun)
    for key, value in begun.items():
        torch.testing.assert_close(value, start.state_dict()[key], rtol=1e-3, atol=1e-6, msg=key)


def test_statistics_of_a_backbone_are_of_pictures_from_the_whole_data_set(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(train_module, "_STATISTICS_CROPS", 3)
    monkeypatch.setattr(train_module, "load_backbone", lambda *_: None)
    monkeypatch.setattr(train_module, "unfold_norms", lambda model, backbone, crops: seen.append(len(crops)))
    examples = TrainingExamples(Samples(9), config_for())
    examples.dataset.make = lambda index, make=examples.dataset.make, **hands: (seen.append(index), make(index))[1]
    train_module._start(cpu(tmp_path, backbone_weights=tmp_path / "hands.tflite"), None, examples)
    assert seen == [0, 4, 8, 3]


def test_a_norm_of_zero_does_not_clip(tmp_path):
    assert min(moved(tmp_path, clip_norm=0.0)) > 5e-3


@pytest.mark.parametrize("name", ["devices", "save_every", "report_every", "keep_every", "max_steps", "workers"])
def test_options_that_no_run_can_have_are_refused(tmp_path, name):
    with pytest.raises(
        UnclaspError, match=f"{name} must be at least {'0, got -1' if name == 'workers' else '1, got 0'}"
    ):
        RunOptions(out=tmp_path, **{name: -1 if name == "workers" else 0})


def test_data_sets_are_known_by_their_size_and_by_each_of_their_names():
    """Also those whose samples have no names."""
    assert fingerprint_of(Samples(12)) != fingerprint_of(Samples(13))
    named, other = Named(30), Named(30)
    other.file_names[17] = "another.jpg"
    assert fingerprint_of(named) == fingerprint_of(Named(30)) != fingerprint_of(other)
