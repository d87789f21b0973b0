"""Training of the finder: hand-made labels, identities of the losses, overfitting of a few scenes, and the export."""

import errno
import json
import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dots import MakeSample, make_sample_function
from unclasp import geometry
from unclasp.checkpoint import read_tensors, tensor_file
from unclasp.cli import main
from unclasp.data.views import cut, labels, random_window
from unclasp.data.wholes import Wholes, write_wholes
from unclasp.errors import CheckpointError, DataError, NonFiniteLossError, UnclaspError
from unclasp.exporting.finder import export_finder
from unclasp.find.finder import open_finder
from unclasp.model.finder import FinderMaps, FinderNet, Targets, boxes_of, finder_losses, generalised_iou
from unclasp.synth.regions import IGNORED, Whole
from unclasp.training import finder_train
from unclasp.training.finder_config import FinderConfig, FinderRun
from unclasp.training.finder_train import batch_maker, close_up, learning_rate, make_view, stack, train_finder
from unclasp.training.finder_weights import average_finders, load_finder, save_finder

SIZE, STRIDE = 64, 4


def scene() -> Whole:
    """Return a grey picture with a bright hand of 16 x 12 px and one that is ignored."""
    image, mask = np.full((48, 64, 3), 90, np.uint8), np.zeros((48, 64), np.uint8)
    image[8:20, 16:32] = 230
    mask[8:20, 16:32], mask[40:48, 0:8] = 1, IGNORED
    return Whole(image, mask, np.array([[15.5, 7.5, 31.5, 19.5]], np.float32))


# ---- views


def test_a_whole_window_is_the_letterbox() -> None:
    image, *_ = scene()
    view, matrix = cut(image, np.array([0.0, 0, 64, 48]), SIZE, flip=False)
    np.testing.assert_array_equal(view[8:56], image)
    assert not view[:8].any() and not view[56:].any()
    np.testing.assert_allclose(matrix, [[1, 0, 0], [0, 1, 8]])


def test_a_mirrored_view_mirrors_pixels_and_boxes() -> None:
    image, mask, boxes = scene()
    window = np.array([0.0, 0, 64, 48])
    plain, matrix = cut(image, window, SIZE, flip=False)
    mirrored, flipped = cut(image, window, SIZE, flip=True)
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])
    other = labels(mask, cut(mask, window, SIZE, flip=True, nearest=True)[0], boxes, flipped, STRIDE)
    one = labels(mask, cut(mask, window, SIZE, flip=False, nearest=True)[0], boxes, matrix, STRIDE)
    np.testing.assert_allclose(other.hand, one.hand[:, ::-1])
    np.testing.assert_allclose(other.middle, one.middle[:, ::-1], atol=1e-6)


def test_labels_by_hand() -> None:
    _, mask, boxes = scene()
    cut_mask, matrix = cut(mask, np.array([0.0, 0, 64, 48]), SIZE, flip=False, nearest=True)
    made = labels(mask, cut_mask, boxes, matrix, STRIDE)
    hand = np.zeros((16, 16))
    hand[4:7, 4:8] = 1
    np.testing.assert_array_equal(made.hand, hand)
    assert made.middle.max() == 1 and np.argwhere(made.middle == 1)[0].tolist() == [5, 5]
    assert made.weight.sum() == pytest.approx(1) and (made.weight[4:7, 4:8] > 0).all()
    np.testing.assert_allclose(made.boxes[:, 5, 5], [15.5, 15.5, 31.5, 27.5])
    assert made.loss_mask[12:14, 0:2].sum() == 0 and made.loss_mask.sum() == 16 * 16 - 4


def test_a_hand_that_is_mostly_cut_off_is_neither_asked_for_nor_denied() -> None:
    _, mask, boxes = scene()
    window = np.array([28.0, 0, 64, 36])
    cut_mask, matrix = cut(mask, window, SIZE, flip=False, nearest=True)
    made = labels(mask, cut_mask, boxes, matrix, STRIDE)
    assert not made.middle.any() and not made.weight.any() and not made.hand.any()
    assert made.loss_mask[4:8, 0].sum() == 0


def test_windows_lie_within_the_picture() -> None:
    rng = np.random.default_rng(0)
    windows = np.array([random_window(rng, 200, 120) for _ in range(300)])
    assert windows.min() >= 0 and (windows[:, 2] <= 200).all() and (windows[:, 3] <= 120).all()
    assert 60 < (windows == [0, 0, 200, 120]).all(axis=1).sum() < 180


def test_views_are_functions_of_their_generator() -> None:
    first, second = (make_view(scene(), np.random.default_rng(5), SIZE) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    assert not np.array_equal(first[0], make_view(scene(), np.random.default_rng(6), SIZE)[0])


def test_close_ups_become_regions(make_sample: MakeSample) -> None:
    with pytest.raises(UnclaspError, match="has no part mask"):
        close_up(make_sample(0, parts=False))
    image, mask, boxes = close_up(make_sample(0))
    assert len(boxes) == mask.max() == 2, "hands 160 mm apart"
    assert image.shape[:2] == mask.shape and boxes[0, 2] < boxes[1, 0]
    _, mask, boxes = close_up(make_sample(0, hands="left"))
    assert len(boxes) == mask.max() == 1 and mask.any()


# ---- losses


def targets() -> Targets:
    _, mask, boxes = scene()
    cut_mask, matrix = cut(mask, np.array([0.0, 0, 64, 48]), SIZE, flip=False, nearest=True)
    made = labels(mask, cut_mask, boxes, matrix, STRIDE)
    return stack([(np.zeros((SIZE, SIZE, 3), np.uint8), made)], torch.device("cpu"))[1]


def test_the_right_answer_costs_nothing_and_what_is_ignored_costs_nothing() -> None:
    wanted = targets()
    logits = torch.where(wanted.middle == 1, 20.0, -20.0)
    hand = torch.where(wanted.hand > 0.5, 20.0, -20.0)
    centres = (torch.arange(16) + 0.5) * 4 - 0.5
    x, y = centres[None, None, :], centres[None, :, None]
    box = wanted.boxes
    edges = torch.stack([x - box[:, 0], y - box[:, 1], box[:, 2] - x, box[:, 3] - y], dim=1)
    found = FinderMaps(logits, hand, (edges / 4 + 1).clamp(min=1).log())
    right = finder_losses(found, wanted)
    assert float(right["middle"]) < 1e-3 and float(right["hand"]) < 1e-3 and float(right["box"]) < 0.2
    ignored = logits + 40 * (wanted.loss_mask == 0)
    assert float(finder_losses(found._replace(middle=ignored), wanted)["middle"]) < 1e-3
    wrong = logits + 40 * (wanted.hand == 0) * (wanted.loss_mask > 0)
    assert float(finder_losses(found._replace(middle=wrong), wanted)["middle"]) > 1


def test_generalised_iou_by_hand() -> None:
    def boxes(*values: float) -> torch.Tensor:
        return torch.tensor(values).reshape(1, 4, 1, 1)

    assert float(generalised_iou(boxes(0, 0, 2, 2), boxes(0, 0, 2, 2))) == pytest.approx(1)
    assert float(generalised_iou(boxes(0, 0, 2, 2), boxes(1, 0, 3, 2))) == pytest.approx(1 / 3)
    assert float(generalised_iou(boxes(0, 0, 1, 1), boxes(3, 0, 4, 1))) == pytest.approx(-0.5)


def test_edges_are_distances_from_the_cell_s_centre() -> None:
    edges = torch.zeros(1, 4, 8, 8)
    edges[0, :, 2, 3] = torch.log(torch.tensor([2.0, 3.0, 1.5, 1.0]))
    assert boxes_of(edges)[0, :, 2, 3].tolist() == pytest.approx([13.5 - 4, 9.5 - 8, 13.5 + 2, 9.5])


# ---- training


class Scenes(Wholes):
    """A few scenes in memory."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.items = []
        for _ in range(4):
            image, mask, boxes = (part.copy() for part in scene())
            dx, dy = (int(rng.integers(0, extent)) for extent in (30, 20))
            self.items.append(Whole(
                np.roll(image, (dy, dx), (0, 1)), np.roll(np.where(mask == 1, 1, 0).astype(np.uint8), (dy, dx), (0, 1)),
                boxes + np.float32([dx, dy, dx, dy]),
            ))  # fmt: skip

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Whole:
        return self.items[index]


def test_a_few_scenes_are_learnt(tmp_path: Path) -> None:
    config = FinderConfig(
        image_size=SIZE, steps=60, batch_size=4, learning_rate=1e-2, channels=16, freeze_down=False, ema_decay=0.5
    )
    run = FinderRun(out=tmp_path / "f.safetensors", bf16=False, report_every=5)
    torch.set_num_threads(1)
    assert train_finder(config, Scenes(), None, run) == run.out
    lines = [json.loads(line)["loss"] for line in run.out.with_suffix(".jsonl").read_text().splitlines()]
    assert lines[-1]["total"] < 0.8 * lines[0]["total"], lines
    assert load_finder(run.out).answer.in_channels == 16


class Deadly(Scenes):
    """Scenes whose fourth one ends the process."""

    def __init__(self, ended_by: signal.Signals | type[Exception] | Exception) -> None:
        super().__init__()
        self.ended_by, self.left = ended_by, 4

    def __getitem__(self, index: int) -> Whole:
        self.left -= 1
        if not self.left and isinstance(self.ended_by, signal.Signals):
            os.kill(os.getpid(), self.ended_by)
        elif not self.left:
            raise self.ended_by  # type: ignore[misc]
        return super().__getitem__(index)


@pytest.mark.parametrize(("ended_by", "save_every"), [(signal.SIGINT, 100), (signal.SIGTERM, 100), (DataError, 1)])
def test_what_ends_early_leaves_a_finder(tmp_path: Path, ended_by: Any, save_every: int) -> None:
    """Weights without the file that prediction uses would be of no use, and would block another run."""
    config = FinderConfig(image_size=SIZE, steps=5, batch_size=2, channels=16)
    run = FinderRun(out=tmp_path / "f.safetensors", bf16=False, save_every=save_every)
    with pytest.raises((KeyboardInterrupt, DataError)) as caught:
        train_finder(config, Deadly(ended_by), None, run)
    if ended_by is not DataError:
        assert str(caught.value) == f"interrupted after step 2 of 5, whose weights are {run.out}"
    assert load_finder(run.out).answer.in_channels == 16
    assert open_finder(run.out.with_suffix(".onnx"))


@pytest.mark.parametrize("save_every", [1, 100])
def test_a_second_signal_ends_it_at_once_and_tells_what_is_saved(tmp_path: Path, save_every: int) -> None:
    class Impatient(Deadly):
        def __getitem__(self, index: int) -> Whole:
            item = super().__getitem__(index)
            if not self.left:
                os.kill(os.getpid(), signal.SIGTERM)
            return item

    config = FinderConfig(image_size=SIZE, steps=5, batch_size=2, channels=16)
    run = FinderRun(out=tmp_path / "f.safetensors", bf16=False, save_every=save_every)
    exported = run.out.with_suffix(".onnx")
    kept = f"saved is {run.out}, without {exported}" if save_every == 1 else "nothing is saved yet"
    with pytest.raises(KeyboardInterrupt, match=f"^interrupted; {kept}$"):
        train_finder(config, Impatient(signal.SIGTERM), None, run)
    assert run.out.exists() == (save_every == 1) and not exported.exists()


@pytest.mark.parametrize(
    ("ended_by", "kind", "told"),
    [
        (DataError("a lost picture"), DataError, "^a lost picture; "),
        (signal.SIGTERM, KeyboardInterrupt, "^interrupted after step 2 of 5, .*; "),
        (None, UnclaspError, "^"),
    ],
)
def test_what_cannot_be_exported_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended_by: Any, kind: type[BaseException], told: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("unclasp.training.finder_train.export_finder", full)
    config = FinderConfig(image_size=SIZE, steps=5, batch_size=2, channels=16)
    run = FinderRun(out=tmp_path / "f.safetensors", bf16=False, save_every=1)
    told += r".*f\.safetensors is saved, but .*f\.onnx cannot be written: .*No space left"
    with pytest.raises(kind, match=told):
        train_finder(config, Scenes() if ended_by is None else Deadly(ended_by), None, run)


def test_a_mistake_in_the_program_exports_nothing(tmp_path: Path) -> None:
    config = FinderConfig(image_size=SIZE, steps=5, batch_size=2, channels=16)
    run = FinderRun(out=tmp_path / "f.safetensors", bf16=False, save_every=1)
    with pytest.raises(RuntimeError, match="out of memory"):
        train_finder(config, Deadly(RuntimeError("out of memory")), None, run)
    assert run.out.exists() and not run.out.with_suffix(".onnx").exists()


def test_a_log_without_weights_blocks_no_run(tmp_path: Path) -> None:
    log = tmp_path / "f.jsonl"
    log.write_text('{"step": 1, "loss": {}}\n{"step": 2, "loss": {}}\n')
    config = FinderConfig(image_size=SIZE, steps=1, batch_size=2, channels=16)
    train_finder(config, Scenes(), None, FinderRun(out=tmp_path / "f.safetensors"))
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [1]


@pytest.mark.parametrize("suffix", [".safetensors", ".onnx", ".jsonl"])
def test_an_earlier_run_is_not_overwritten(tmp_path: Path, suffix: str) -> None:
    earlier = tmp_path / f"f{suffix}"
    earlier.write_text("kept\n")
    config = FinderConfig(image_size=SIZE, steps=1, batch_size=2, channels=16)
    with pytest.raises(UnclaspError, match=rf"f{suffix} .*is not overwritten"):
        train_finder(config, Scenes(), None, FinderRun(out=tmp_path / "f.safetensors"))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["kept\n"]


def test_a_start_of_another_width_is_told_at_once(tmp_path: Path) -> None:
    save_finder(tmp_path / "wide.safetensors", FinderNet(24).state_dict(), channels=24)
    config = FinderConfig(image_size=SIZE, steps=1, batch_size=2, channels=16)
    run = FinderRun(out=tmp_path / "f.safetensors", start_weights=tmp_path / "wide.safetensors")
    with pytest.raises(UnclaspError, match=r"wide\.safetensors is a finder of 24 channels, not 16"):
        train_finder(config, Scenes(), None, run)


def test_what_blows_up_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = FinderConfig(image_size=SIZE, steps=2, batch_size=2, channels=16)
    monkeypatch.setattr("unclasp.training.finder_train.WEIGHTS", {"middle": float("nan"), "hand": 1.0, "box": 1.0})
    with pytest.raises(NonFiniteLossError, match="not finite at step 0"):
        train_finder(config, Scenes(), None, FinderRun(out=tmp_path / "f.safetensors"))
    assert not (tmp_path / "f.safetensors").exists()


def test_a_gradient_that_is_not_finite_spoils_no_saved_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is finite, its gradient is not."""
    calls: list[int] = []

    def steep(found: Any, targets: Any) -> dict[str, torch.Tensor]:
        terms = finder_losses(found, targets)
        calls.append(1)
        cliff = (terms["hand"] - terms["hand"].detach()).square().sqrt() if len(calls) > 2 else 0
        return {**terms, "hand": terms["hand"] + cliff}

    monkeypatch.setattr("unclasp.training.finder_train.finder_losses", steep)
    config = FinderConfig(image_size=SIZE, steps=4, batch_size=2, channels=16)
    out = tmp_path / "f.safetensors"
    with pytest.raises(NonFiniteLossError, match="the finder's gradient is not finite at step 2"):
        train_finder(config, Scenes(), None, FinderRun(out=out, save_every=1))
    assert all(torch.isfinite(value).all() for value in load_finder(out).state_dict().values())


def test_every_scene_comes_once_an_epoch_and_batches_depend_on_their_step_alone() -> None:
    scenes, seen = Scenes(), []
    scenes.__class__ = type("Watched", (Scenes,), {"__getitem__": lambda self, i: seen.append(i) or self.items[i]})
    make = batch_maker(scenes, None, FinderConfig(image_size=SIZE, batch_size=2))
    first, _ = make(0), make(1)
    assert sorted(seen) == [0, 1, 2, 3]
    np.testing.assert_array_equal(make(0)[1][0], first[1][0])


def test_the_learning_rate_warms_up_and_falls_to_nothing() -> None:
    config = FinderConfig(steps=400, learning_rate=1.0)
    rates = [learning_rate(step, config) for step in range(400)]
    assert rates[0] == pytest.approx(0.02) and max(rates) > 0.95 and rates[-1] < 1e-4
    assert rates[200] == pytest.approx(0.5)


def test_the_export_is_the_network_and_a_finder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = FinderNet(16).eval()
    export_finder(net, tmp_path / "f.onnx")
    picture = np.random.default_rng(0).integers(0, 256, (192, 192, 3)).astype(np.uint8)
    with torch.inference_mode():
        found = net(torch.from_numpy(picture).permute(2, 0, 1)[None])
    answer = open_finder(tmp_path / "f.onnx").maps(picture)
    np.testing.assert_allclose(answer.middle, found.middle[0].sigmoid().numpy(), atol=1e-4)
    np.testing.assert_allclose(answer.boxes, boxes_of(found.edges)[0].numpy(), atol=1e-2)


def test_an_export_that_is_not_the_network_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unclasp.exporting.finder._MAX_DIFFERENCE", -1.0)
    with pytest.raises(UnclaspError, match="does not match the network"):
        export_finder(FinderNet(16), tmp_path / "f.onnx")
    assert not (tmp_path / "f.onnx").exists()


def test_what_knows_real_hands_stays_as_it_is(tmp_path: Path) -> None:
    config = FinderConfig(image_size=SIZE, steps=2, batch_size=2, channels=16, ema_decay=0.5, learning_rate=1e-2)
    before = FinderNet(16)
    save_finder(tmp_path / "before.safetensors", before.state_dict(), channels=16)
    run = FinderRun(out=tmp_path / "f.safetensors", bf16=False, start_weights=tmp_path / "before.safetensors")
    after = load_finder(train_finder(config, Scenes(), None, run))
    started = load_finder(run.start_weights).state_dict()
    moved = {name for name, value in after.state_dict().items() if not torch.equal(value, started[name])}
    assert not any(name.startswith(("backbone.stem", "backbone.slope", "backbone.stages")) for name in moved)
    assert {"backbone.up16.project.weight", "backbone.up8.blocks.0.pointwise.weight", "answer.weight"} <= moved


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: FinderConfig(steps=0), "steps must be at least 1, got 0"),
        (lambda: FinderConfig(batch_size=-3), "batch_size must be at least 1, got -3"),
        (lambda: FinderConfig(channels=0), "channels must be at least 1"),
        (lambda: FinderConfig(image_size=0), "positive multiple of 32, got 0"),
        (lambda: FinderConfig(image_size=-32), "positive multiple of 32, got -32"),
        (lambda: FinderConfig(image_size=100), "positive multiple of 32, got 100"),
        (lambda: FinderConfig(close_up_share=1.5), r"close_up_share must lie in \[0, 1\], got 1.5"),
        (lambda: FinderConfig(close_up_share=float("nan")), "got nan"),
        (lambda: FinderConfig(ema_decay=-0.1), "ema_decay must lie in"),
        (lambda: FinderConfig(backbone_rate=-1.0), "backbone_rate must lie in"),
        (lambda: FinderConfig(learning_rate=0.0), "learning_rate must be greater than 0"),
        (lambda: FinderRun(save_every=0), "save_every must be at least 1"),
        (lambda: FinderRun(report_every=0), "report_every must be at least 1"),
    ],
)
def test_nonsense_is_refused_before_any_work(made: Callable[[], object], told: str) -> None:
    with pytest.raises(UnclaspError, match=told):
        made()


def test_the_least_and_the_most_are_no_nonsense() -> None:
    FinderConfig(image_size=32, steps=1, batch_size=1, channels=1, close_up_share=0.0, ema_decay=0.0, backbone_rate=1.0)
    FinderConfig(close_up_share=1.0)
    FinderRun(save_every=1, report_every=1)


# ---- files


def test_weights_round_trip_and_others_are_refused(tmp_path: Path) -> None:
    net = FinderNet(16)
    save_finder(tmp_path / "f.safetensors", net.state_dict(), channels=16, notes={"steps": 3})
    loaded = load_finder(tmp_path / "f.safetensors")
    again = loaded.state_dict()
    assert not loaded.training
    stored = read_tensors(tmp_path / "f.safetensors")[0]
    assert not any(name.endswith("num_batches_tracked") for name in stored), "counters are of no use"
    for key, value in net.state_dict().items():
        torch.testing.assert_close(again[key], value, rtol=1e-3, atol=1e-4)
    pose = Path(__file__).parents[1] / "src/unclasp/weights/small.safetensors"
    with pytest.raises(CheckpointError, match="expected weights of a finder"):
        load_finder(pose)


@pytest.mark.parametrize("channels", ["", "0", "-1", "²", "9" * 15, "9" * 5000])
def test_numbers_of_channels_that_are_none_are_told(tmp_path: Path, channels: str) -> None:
    facts = {"format": "finder 2", "channels": channels}
    (tmp_path / "f.safetensors").write_bytes(tensor_file({"a": torch.zeros(1)}, facts))
    with pytest.raises(CheckpointError, match=r"1 to 999 channels, got 'finder 2' and '.{0,9}';"):
        load_finder(tmp_path / "f.safetensors")


def test_stages_are_averaged_and_exported(tmp_path: Path) -> None:
    paths = [tmp_path / f"{seed}.safetensors" for seed in range(2)]
    for seed, path in enumerate(paths):
        torch.manual_seed(seed)
        save_finder(path, FinderNet(16).state_dict(), channels=16)
    with pytest.raises(SystemExit) as stop:
        main(["finder", "average", *map(str, paths), "--out", str(tmp_path / "mean.safetensors")])
    assert stop.value.code == 0 and (tmp_path / "mean.onnx").exists()
    first, second, mean = (load_finder(path).state_dict() for path in (*paths, tmp_path / "mean.safetensors"))
    for name in ("backbone.stem.weight", "answer.weight", "lateral.0.1.running_mean"):
        torch.testing.assert_close(mean[name], (first[name] + second[name]) / 2, rtol=2e-3, atol=1e-3)

    save_finder(paths[1], FinderNet(8).state_dict(), channels=8)
    with pytest.raises(CheckpointError, match=r"has 8 channels, .* has 16: only stages of one"):
        average_finders(paths, tmp_path / "none.safetensors")
    assert not (tmp_path / "none.safetensors").exists()


def test_rendering_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr("unclasp.data.wholes.SHARD", 2)
    assert list(write_wholes(tmp_path, 3, seed=5, size=96)) == [2, 3]
    first = (tmp_path / "wholes-000000.arrays").stat().st_mtime_ns
    assert list(write_wholes(tmp_path, 4, seed=5, size=96)) == [2, 4]
    assert (tmp_path / "wholes-000000.arrays").stat().st_mtime_ns == first
    wholes = Wholes(tmp_path)
    assert len(wholes) == 4
    for image, mask, boxes in (wholes[index] for index in range(4)):
        assert image.shape[:2] == mask.shape and max(mask.shape) == 96 and boxes.shape[1] == 4
        assert set(np.unique(mask)) <= {0, IGNORED, *range(1, len(boxes) + 1)}
    for fewer in (2, 3):
        with pytest.raises(
            DataError, match=f"holds 4 pictures, more than {fewer}: ask for at least as many, or choose"
        ):
            list(write_wholes(tmp_path, fewer, seed=5, size=96))
    with pytest.raises(DataError, match="was made with"):
        list(write_wholes(tmp_path, 4, seed=6, size=96))
    with pytest.raises(DataError, match="gloved"):
        list(write_wholes(tmp_path, 4, seed=5, size=96, gloved=0.5))
    with pytest.raises(IndexError):
        wholes[4]


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no whole pictures; make them with unclasp finder render"):
        Wholes(tmp_path)
    with pytest.raises(DataError, match="count must be at least 1"):
        list(write_wholes(tmp_path, 0, seed=1, size=64))


# ---- what the training is made from


def test_the_losses_are_those_of_the_papers_cell_by_cell() -> None:
    """The focal loss of CenterNet, the mean cross-entropy and the weighted mean of 1 - GIoU, in double precision."""
    rng = np.random.default_rng(0)
    middle, hand, weight = rng.uniform(0, 0.99, (3, 2, 4, 4))
    middle[rng.uniform(size=middle.shape) < 0.2] = 1
    mask = (rng.uniform(size=middle.shape) < 0.7).astype(np.float64)
    corner, extent = rng.uniform(0, 8, (2, 2, 2, 4, 4))
    logits, hand_logits, edges = (
        rng.normal(0, 2, (2, 4, 4)),
        rng.normal(0, 2, (2, 4, 4)),
        rng.uniform(0, 2, (2, 4, 4, 4)),
    )
    boxes = np.concatenate([corner, corner + extent], axis=1)
    found = FinderMaps(*map(torch.from_numpy, (logits, hand_logits, edges)))
    told = finder_losses(found, Targets(*map(torch.from_numpy, (middle, hand, boxes, weight, mask))))
    overlap = generalised_iou(boxes_of(found.edges), torch.from_numpy(boxes)).numpy()
    focal = cross = box = 0.0
    for at in np.ndindex(middle.shape):
        p, q = (1 / (1 + math.exp(-each[at])) for each in (logits, hand_logits))
        if middle[at] == 1:
            focal -= mask[at] * (1 - p) ** 2 * math.log(p)
        else:
            focal -= mask[at] * (1 - middle[at]) ** 4 * p**2 * math.log(1 - p)
        cross -= mask[at] * (hand[at] * math.log(q) + (1 - hand[at]) * math.log(1 - q))
        box += weight[at] * (1 - overlap[at])
    assert float(told["middle"]) == pytest.approx(focal / (middle == 1).sum())
    assert float(told["hand"]) == pytest.approx(cross / mask.sum())
    assert float(told["box"]) == pytest.approx(box / weight.sum())


def test_hands_that_meet_in_a_close_up_are_one_region() -> None:
    sample = make_sample_function()(0)
    joints = sample.joints_cam.copy()
    joints[21:, 0] -= 130
    image, mask, boxes = close_up(replace(sample, joints_cam=joints))
    pixels = geometry.project(joints, sample.focal, sample.princpt)
    np.testing.assert_allclose(boxes, [[*pixels.min(axis=0), *pixels.max(axis=0)]], atol=1e-3)
    np.testing.assert_array_equal(mask, np.minimum(sample.parts, 1))
    assert image is sample.image


def test_hands_apart_in_a_close_up_are_a_region_each_within_the_picture() -> None:
    sample = make_sample_function()(0)
    valid, joints = np.arange(42) != 3, sample.joints_cam.copy()
    joints[:21, 0] -= 100
    joints[21:, 0] += 100
    joints[3] = 1  # a placeholder
    _, mask, boxes = close_up(replace(sample, joints_cam=joints, valid=valid))
    np.testing.assert_array_equal(mask, np.select([sample.parts == 0, sample.parts <= 16], [0, 1], 2))
    pixels = geometry.project(joints, sample.focal, sample.princpt)
    for box, hand in zip(boxes, (valid.nonzero()[0][:20], np.arange(21, 42)), strict=True):
        expected = np.clip([*pixels[hand].min(axis=0), *pixels[hand].max(axis=0)], -0.5, 95.5)
        np.testing.assert_allclose(box, expected, atol=1e-3)
    assert boxes[0, 0] == -0.5 and boxes[1, 2] == 95.5, "cut at the edges"


def test_labels_stay_with_their_pixels_in_every_view(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hand of the scene is brighter than all around it."""
    monkeypatch.setattr(finder_train, "_PHOTOMETRIC_STRENGTH", 0.0)
    monkeypatch.setattr(finder_train, "_TEXTURE_SHARE", 0.0)
    shown = 0
    for seed in range(30):
        view, made = make_view(scene(), np.random.default_rng(seed), SIZE)
        cells = view.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3, 4))
        hand, background = made.hand > 0.99, (made.hand == 0) & (made.loss_mask > 0)
        if hand.any():
            shown += 1
            assert np.median(cells[hand]) > np.median(cells[background]), seed
    assert shown > 15


def test_some_views_are_grey(monkeypatch: pytest.MonkeyPatch) -> None:
    image, mask, boxes = scene()
    image[..., 2] = 20
    for share in (0.0, 1.0):
        monkeypatch.setattr(finder_train, "_GREY_SHARE", share)
        view, _ = make_view(Whole(image, mask, boxes), np.random.default_rng(0), SIZE)
        assert (np.ptp(view.astype(int), axis=2).mean() < 10) == (share == 1)


def test_epochs_have_orders_of_their_own_and_close_ups_their_share() -> None:
    class Watched(Scenes):
        def __getitem__(self, index: int) -> Whole:
            seen.append(index)
            return super().__getitem__(index)

    seen: list[int] = []
    make = batch_maker(Watched(), None, FinderConfig(image_size=SIZE, batch_size=4))
    for step in range(4):
        make(step)
    orders = [tuple(seen[start : start + 4]) for start in range(0, 16, 4)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders) and len(set(orders)) > 1

    close_ups: Any = [make_sample_function()(0)]
    for share, wholes in ((0.0, 8), (1.0, 0)):
        seen.clear()
        batch_maker(Watched(), close_ups, FinderConfig(image_size=SIZE, batch_size=8, close_up_share=share))(0)
        assert len(seen) == wholes


def test_one_scene_has_another_view_every_time() -> None:
    class Same(Scenes):
        def __getitem__(self, index: int) -> Whole:
            return super().__getitem__(0)

    make = batch_maker(Same(), None, FinderConfig(image_size=SIZE, batch_size=4))
    views = [image for step in range(2) for image, _ in make(step)]
    assert len({view.tobytes() for view in views}) == 8


def test_a_new_finder_has_the_body_that_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(finder_train, "load_palm_backbone", lambda *args: given.extend(args))
    net = finder_train._start(FinderConfig(channels=16), FinderRun(backbone_weights=tmp_path / "palm.tflite"))
    assert given == [net.backbone, tmp_path / "palm.tflite"]
