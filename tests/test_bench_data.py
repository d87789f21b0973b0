"""Benchmark of the loader: all methods produce the same crop, and unmeasurable settings are refused."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from unclasp.bench.data import MadeUp, bare_crop, speeds, worker_memory, write_pictures
from unclasp.bench.index import write_made_up
from unclasp.cli import main
from unclasp.data.transforms import View, make_example, random_view
from unclasp.errors import UnclaspError
from unclasp.presets import paper

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="private memory is told by /proc")


@pytest.fixture
def made_up(tmp_path: Path) -> MadeUp:
    write_made_up(tmp_path, 200)
    write_pictures(tmp_path / "pictures", 3)
    return MadeUp(tmp_path)


def test_the_pictures_have_the_data_set_s_size_and_turn(made_up: MadeUp) -> None:
    assert len(made_up) == 200
    assert [made_up[i].image.shape for i in range(4)] == [(334, 512, 3), (512, 334, 3), (334, 512, 3), (334, 512, 3)]
    assert all(10_000 < path.stat().st_size < 60_000 for path in made_up.files)
    np.testing.assert_array_equal(made_up[0].image, made_up[3].image)


def test_the_bare_sum_makes_the_crop_of_the_loader(made_up: MadeUp) -> None:
    """Pixels are equal except for the order of the channels and the colour augmentation."""
    config = paper()
    for index in range(3):
        sample = made_up[index]
        view = random_view(sample.box, config.augment, np.random.default_rng([config.train.seed, 0, index]))
        loaded = make_example(sample, View(view.box, view.rotation, view.flip), 256).image
        np.testing.assert_array_equal(bare_crop(made_up, index, config)()[..., ::-1], loaded)


def test_all_ways_take_turns_and_leave_the_threads_as_they_were(made_up: MadeUp) -> None:
    threads = cv2.getNumThreads()
    times = speeds(made_up, 4)
    assert cv2.getNumThreads() == threads
    assert all(way.shape == (4,) and (way > 0).all() for way in times)


@needs_linux
def test_the_memory_of_the_workers_is_told(made_up: MadeUp) -> None:
    memory = worker_memory(made_up, 2, batches=1)
    assert len(memory) == 2 and all(private > 1e6 and shared > 1e6 for private, shared in memory)
    with pytest.raises(UnclaspError, match="4 workers need at least 256 images, got 200"):
        worker_memory(made_up, 4)


@needs_linux
def test_the_command_tells_speed_and_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--count", "70", "--repeats", "2", "--workers", "1", "--folder", str(tmp_path)]
    with pytest.raises(SystemExit) as exit_:
        main(["bench", "data", *words])
    told = capsys.readouterr().out
    assert exit_.value.code == 0 and "of the bare sum" in told and "memory of each of 1 workers" in told
    assert not any(tmp_path.iterdir()), "everything is removed"
    with pytest.raises(SystemExit):
        main(["bench", "data", "--repeats", "0"])
    assert "must be at least 1" in capsys.readouterr().err
