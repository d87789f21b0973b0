"""Weights and training state files: round trips, and clear errors for files of other kinds."""

import errno
import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from unclasp.checkpoint import (
    average_weights,
    load_model,
    load_notes,
    load_state,
    save_state,
    save_weights,
)
from unclasp.cli import main
from unclasp.config import DepthAxis, to_dict, with_model
from unclasp.errors import CheckpointError, UnclaspError
from unclasp.files import check_writable, whole, write_bytes, write_text, write_together
from unclasp.model import DFL, build
from unclasp.model.loading import load_strictly
from unclasp.presets import tiny
from unclasp.video_writer import VideoWriter


@pytest.fixture(scope="module")
def model() -> DFL:
    torch.manual_seed(0)
    model = build(tiny().model)
    for name, buffer in model.named_buffers():
        if name.endswith("running_var"):
            buffer.fill_(123456.0)  # beyond the range of half precision
    return model


@pytest.fixture
def weights(tmp_path: Path, model: DFL) -> Path:
    save_weights(tmp_path / "w.safetensors", model.state_dict(), tiny(), notes={"steps": 7})
    return tmp_path / "w.safetensors"


def tensors_and_facts(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118


# ---- weights


def test_parameters_beyond_half_precision_are_stored_in_single(tmp_path: Path, model: DFL) -> None:
    name, parameter = next(iter(model.named_parameters()))
    state = {**model.state_dict(), name: torch.full_like(parameter, 7e4)}
    save_weights(tmp_path / "w.safetensors", state, tiny())
    assert torch.equal(load_model(tmp_path / "w.safetensors")[0].state_dict()[name], state[name].detach())


def test_a_config_that_asks_for_any_amount_of_memory_is_refused_without_it(tmp_path: Path) -> None:
    config = to_dict(tiny())
    config["model"]["fpn_channels"] = 10**6  # of which a layer's weights alone would take 36 TB
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors", {"format": "1", "config": json.dumps(config)})
    with pytest.raises(CheckpointError, match="does not fit the DFL"):
        load_model(tmp_path / "w.safetensors")


@pytest.mark.parametrize("notes", ["[]", "[" * 100_000, "{"])
def test_notes_that_are_no_object_are_told(tmp_path: Path, notes: str) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors", {"format": "1", "notes": notes})
    with pytest.raises(CheckpointError, match="its notes are damaged"):
        load_notes(tmp_path / "w.safetensors")


def test_loading_leaves_the_random_numbers_of_the_caller_alone(weights: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_model(weights)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of file sizes")
def test_a_state_that_does_not_fit_the_disk_names_its_file_and_keeps_the_last(tmp_path: Path) -> None:
    """Torch reports that it cannot finish the archive, not why."""
    save_state(tmp_path / "state.pt", {"step": 1})
    done = subprocess.run(
        [sys.executable, "-c", f"""
import resource, signal, torch
from unclasp.checkpoint import save_state
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_state({str(tmp_path / "state.pt")!r}, {{"model": torch.zeros(100_000)}})
except OSError as error:
    print(error)
"""], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"[Errno 27] File too large: '{tmp_path / 'state.pt'}'\n"
    assert load_state(tmp_path / "state.pt") == {"step": 1} and len(list(tmp_path.iterdir())) == 1


def test_weights_come_back_as_they_were_in_half_precision(weights: Path, model: DFL) -> None:
    loaded, config = load_model(weights)
    assert config == tiny()
    parameters = {name for name, _ in model.named_parameters()}
    for name, value in model.state_dict().items():
        expected = value.half().float() if name in parameters else value
        assert torch.equal(loaded.state_dict()[name], expected), name
        assert loaded.state_dict()[name].dtype == value.dtype, name
    assert not loaded.training


def test_parameters_are_stored_in_half_and_buffers_in_single_precision(weights: Path, model: DFL) -> None:
    tensors, _ = tensors_and_facts(weights)
    parameters = {name for name, _ in model.named_parameters()}
    assert tensors.keys() == model.state_dict().keys()
    assert {tensors[name].dtype for name in parameters} == {torch.float16}
    variances = [value for name, value in tensors.items() if name.endswith("running_var")]
    assert variances and all(v.dtype == torch.float32 and (v == 123456.0).all() for v in variances)


def test_the_file_says_how_it_was_made(weights: Path) -> None:
    _, facts = tensors_and_facts(weights)
    assert facts.keys() == {"format", "unclasp", "config", "notes"}
    assert json.loads(facts["config"]) == to_dict(tiny()) and json.loads(facts["notes"]) == {"steps": 7}


def test_the_config_in_the_file_decides_what_is_built(tmp_path: Path) -> None:
    config = with_model(tiny(), iterations=2, presence_head=False)
    config = replace(config, train=replace(config.train, decay_epochs=(3, 5)))
    save_weights(tmp_path / "other.safetensors", build(config.model).state_dict(), config)
    loaded, told = load_model(tmp_path / "other.safetensors")
    assert told == config
    prediction = loaded(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    assert prediction.presence is None and len(prediction.steps) < len(build(tiny().model).eval()(
        torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    ).steps)  # fmt: skip


def test_tensors_that_do_not_fit_are_named_and_nothing_is_loaded() -> None:
    linear = torch.nn.Linear(2, 3)
    before = linear.weight.detach().clone()
    with pytest.raises(CheckpointError, match=r"here.*missing: bias; unexpected: extra; weight: expected"):
        load_strictly(linear, {"weight": torch.zeros(3, 3), "extra": torch.zeros(1)}, "here")
    with pytest.raises(CheckpointError, match=r"\(missing: bias\)"):
        load_strictly(linear, {"weight": torch.zeros(3, 2)}, "here")
    assert torch.equal(linear.weight, before)


def test_weights_of_another_model_are_refused_with_the_tensors_names(weights: Path, tmp_path: Path) -> None:
    tensors, facts = tensors_and_facts(weights)
    lost = sorted(tensors)[0]
    save_file({k: v for k, v in tensors.items() if k != lost}, tmp_path / "lost.safetensors", metadata=facts)
    with pytest.raises(CheckpointError, match=rf"lost\.safetensors does not fit the DFL \(missing: {lost}\)"):
        load_model(tmp_path / "lost.safetensors")


def foreign(kind: str, path: Path, good: Path) -> None:
    tensors, facts = tensors_and_facts(good)
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("these are no weights, whatever the name says")
    elif kind == "cut":
        path.write_bytes(good.read_bytes()[:-100])
    elif kind == "cut in the header":
        path.write_bytes(good.read_bytes()[:200])
    elif kind == "pickle":
        torch.save(tensors, path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "foreign":
        save_file(tensors, path)
    elif kind == "later format":
        save_file(tensors, path, metadata={**facts, "format": "2"})
    elif kind == "no config":
        save_file(tensors, path, metadata={"format": "1"})
    elif kind == "config is no JSON":
        save_file(tensors, path, metadata={**facts, "config": "{"})
    elif kind == "config is a list":
        save_file(tensors, path, metadata={**facts, "config": "[]"})
    elif kind != "missing":
        config = json.loads(facts["config"])
        wrong = {"unknown field": {"wings": 2}, "no integer": {"fpn_channels": 96.0}, "no name": {"backbone": None}}
        config["model"] |= wrong[kind]
        save_file(tensors, path, metadata={**facts, "config": json.dumps(config)})


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("missing", "there is no weights file .*; the shipped model is called small"),
        ("empty", "not a whole safetensors file"),
        ("text", "not a whole safetensors file"),
        ("cut", "not a whole safetensors file"),
        ("cut in the header", "not a whole safetensors file"),
        ("pickle", "not a whole safetensors file"),
        ("folder", "is a folder; give the weights file in it, which ends in .safetensors; there is none"),
        ("foreign", "got one without a format; was it written by unclasp train"),
        ("later format", "expected a weights file of format 1, got 2"),
        ("no config", "config"),
        ("config is no JSON", "Expecting property name"),
        ("config is a list", "not a config of this version"),
        ("unknown field", "not a config of this version.*wings"),
        ("no integer", "its config makes no model"),
        ("no name", "its config makes no model"),
    ],
)
def test_files_that_are_not_ours_are_refused_in_one_line(weights: Path, tmp_path: Path, kind: str, told: str) -> None:
    path = tmp_path / "mine.safetensors"
    foreign(kind, path, weights)
    with pytest.raises(CheckpointError, match=told) as caught:
        load_model(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_is_answered_with_the_weights_in_it(weights: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"{weights.parent} is a folder; give the weights file in it, such as "):
        load_model(weights.parent)


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_a_file_that_may_not_be_read_is_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError("Permission denied (os error 13)")  # as safetensors does, without a number of its own

    monkeypatch.setattr("unclasp.checkpoint.safe_open", refused)
    path = tmp_path / f"mine{suffix}"
    path.touch()
    with pytest.raises(CheckpointError, match=rf"mine\{suffix} cannot be read: Permission denied"):
        load_model(path)


@pytest.mark.parametrize("suffix", [".onnx", ".npz", ".bin", ".xml"])
def test_files_of_other_kinds_are_answered_with_the_kind_that_is_expected(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mine{suffix}"
    path.write_bytes(b"PK and so on, longer than a header")
    with pytest.raises(CheckpointError, match=rf"expected a weights file \(\.safetensors\), got \{suffix}"):
        load_model(path)


def test_equal_weights_are_written_as_equal_files(weights: Path, model: DFL, tmp_path: Path) -> None:
    """Safetensors itself writes the metadata in a random order."""
    for number in range(5):
        again = tmp_path / f"{number}.safetensors"
        save_weights(again, model.state_dict(), tiny(), notes={"steps": 7})
        assert again.read_bytes() == weights.read_bytes()


def test_the_shipped_model_loads_by_name() -> None:
    model, config = load_model("small")
    assert model.normalise.image_size == config.model.image_size == 192
    assert config.model.confidence_head and load_notes("small")["calibrated_on"] == "synthetic:val"


def test_damaged_notes_are_told(weights: Path, tmp_path: Path) -> None:
    with safe_open(weights, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        facts = file.metadata()
    save_file(tensors, tmp_path / "mine.safetensors", metadata={**facts, "notes": "{"})
    with pytest.raises(CheckpointError, match=r"mine\.safetensors: its notes are damaged"):
        load_notes(tmp_path / "mine.safetensors")


# ---- training state


def test_a_training_state_comes_back_with_every_kind_of_value(tmp_path: Path) -> None:
    state = {"step": 4, "rate": 0.5, "names": ["a", "b"], "deep": {"x": torch.arange(3), "none": None}}
    save_state(tmp_path / "state.pt", state)
    loaded = load_state(tmp_path / "state.pt")
    assert torch.equal(loaded["deep"].pop("x"), state["deep"].pop("x"))  # type: ignore[attr-defined]
    assert loaded == state


class Trap:
    """Runs code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("how", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_state_that_would_run_code_is_refused_unrun(tmp_path: Path, how: Any) -> None:
    how({"step": Trap(tmp_path / "sprung")}, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match=r"state\.pt is not a training state"):
        load_state(tmp_path / "state.pt")
    assert not (tmp_path / "sprung").exists()


def test_states_that_are_missing_damaged_or_of_another_kind_are_named(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    with pytest.raises(CheckpointError, match=r"no training state .*state\.pt; start without --resume"):
        load_state(path)
    save_state(path, {"step": 1, "x": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(CheckpointError, match="not a training state"):
        load_state(path)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="it holds a list"):
        load_state(path)


# ---- whole files


@pytest.mark.parametrize("existed", [True, False])
def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path, existed: bool) -> None:
    target = tmp_path / "result.json"
    if existed:
        target.write_text("old")
    with pytest.raises(RuntimeError, match="power cut"), whole(target) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError("power cut")
    assert [path.name for path in tmp_path.iterdir()] == (["result.json"] if existed else [])
    assert not existed or target.read_text() == "old"


def test_files_of_one_result_are_replaced_together_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last file is away meanwhile: a process that is killed between two files leaves no mixture behind."""
    picture, text, seen = tmp_path / "a.png", tmp_path / "a.json", list[bool]()
    write_together({picture: b"1", text: b"1"})
    replace_file = Path.replace

    def watched(path: Path, target: Path) -> Path:
        seen.append(text.exists())
        return replace_file(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", watched)
        write_together({picture: b"2", text: b"2"})
    assert seen == [False, False] and (picture.read_bytes(), text.read_bytes()) == (b"2", b"2")

    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_together({picture: b"3", text: b"3"})
    assert (picture.read_bytes(), text.read_bytes()) == (b"2", b"2") and len(list(tmp_path.iterdir())) == 2


def test_threads_write_the_same_file_whole(tmp_path: Path) -> None:
    target, texts = tmp_path / "a.json", [str(number) * 5000 for number in range(4)]
    write_text(target, texts[0])

    def write(text: str) -> bool:
        for _ in range(50):
            write_text(target, text)
            if target.read_text() not in texts:
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(write, texts))
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_what_cannot_be_written_is_told_beforehand(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "a.json")
    assert [path.name for path in tmp_path.rglob("*")] == ["new"]
    (tmp_path / "file").touch()
    with pytest.raises(UnclaspError, match="is a folder; give the name of a file in it"):
        check_writable(tmp_path / "new")
    with pytest.raises(UnclaspError, match=r"cannot be written .*too long"):
        check_writable(tmp_path / ("a" * 300))
    with pytest.raises(UnclaspError, match=r"file: cannot be written \(.*\); choose another place"):
        check_writable(tmp_path / "file" / "a.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_devices_and_pipes_are_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    for write in (check_writable, lambda path: write_text(path, "{}"), lambda path: VideoWriter(path, rate=25)):
        with pytest.raises(UnclaspError, match=r"pipe\.json: is a device or a pipe"):
            write(pipe)
    assert pipe.is_fifo() and [path.name for path in tmp_path.iterdir()] == ["pipe.json"]


def test_a_link_to_itself_is_an_error(tmp_path: Path) -> None:
    loop = tmp_path / "loop.json"
    loop.symlink_to(loop)
    for write in (check_writable, lambda path: write_text(path, "{}")):
        with pytest.raises(UnclaspError, match=r"loop\.json: is a link to itself"):
            write(loop)


def test_a_link_stays_a_link_to_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link, target = tmp_path / "link.json", tmp_path / "real" / "target.json"
    target.write_text("old")
    link.symlink_to(target)
    check_writable(link)
    write_text(link, "new")
    assert link.is_symlink() and target.read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["target.json"]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    target.write_text("old")
    with whole(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        assert temporary.parent == tmp_path and temporary.suffix == ".json"  # same file system, same format
    assert target.read_text() == "new" and list(tmp_path.iterdir()) == [target]


def test_folders_are_made_and_text_is_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "name.txt", "Hände ≠ pieds\n")
    write_bytes(tmp_path / "a" / "c.bin", b"\x00\xff")
    assert (tmp_path / "a" / "b" / "name.txt").read_bytes() == "Hände ≠ pieds\n".encode()
    assert (tmp_path / "a" / "c.bin").read_bytes() == b"\x00\xff"


def test_failing_to_save_weights_keeps_the_old_ones(weights: Path, model: DFL, monkeypatch: pytest.MonkeyPatch) -> None:
    before = weights.read_bytes()

    def half(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="No space"):
        save_weights(weights, model.state_dict(), tiny())
    assert weights.read_bytes() == before and list(weights.parent.iterdir()) == [weights]


def test_the_average_of_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    states = []
    for seed in range(3):
        torch.manual_seed(seed)
        states.append(build(tiny().model).state_dict())
        save_weights(tmp_path / f"{seed}.safetensors", states[-1], tiny(), notes={"steps": seed})
    out = tmp_path / "mean.safetensors"
    with pytest.raises(SystemExit) as stop:
        main(["average", *(str(tmp_path / f"{seed}.safetensors") for seed in range(3)), "--out", str(out)])
    assert stop.value.code == 0 and load_notes(out) == {"average_of": [{"steps": 0}, {"steps": 1}, {"steps": 2}]}
    for key, value in load_model(out)[0].state_dict().items():
        expected = torch.stack([state[key].float() for state in states]).mean(dim=0)
        torch.testing.assert_close(value.float(), expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    "change", [{"iterations": 2}, {"depth_axis": DepthAxis.CROP}], ids=["parts", "what depths are"]
)
def test_only_stages_of_one_model_are_averaged(tmp_path: Path, weights: Path, change: dict[str, Any]) -> None:
    other = with_model(tiny(), **change)
    save_weights(tmp_path / "other.safetensors", build(other.model).state_dict(), other)
    with pytest.raises(CheckpointError, match=r"other\.safetensors is of another model"):
        average_weights([weights, tmp_path / "other.safetensors"], tmp_path / "mean.safetensors")
    assert not (tmp_path / "mean.safetensors").exists()


def test_the_mean_of_models_for_crops_of_two_sizes_is_for_those_of_the_last(weights: Path, tmp_path: Path) -> None:
    model, config = load_model(weights)
    larger = with_model(config, image_size=2 * config.model.image_size)
    save_weights(tmp_path / "larger.safetensors", model.state_dict(), larger)
    average_weights([weights, tmp_path / "larger.safetensors"], tmp_path / "mean.safetensors")
    mean, of_mean = load_model(tmp_path / "mean.safetensors")
    assert of_mean.model.image_size == larger.model.image_size
    for key, value in model.state_dict().items():
        if not key.startswith("confidence."):
            assert torch.equal(mean.state_dict()[key], value), key
