"""Benchmark of the renderer. Times on shared machines are noisy: only compare values of one run."""

import time
from statistics import median

import numpy as np

from unclasp.opencv_threads import opencv_threads
from unclasp.synth.close_up import render
from unclasp.synth.scene import SceneMix, sample_scene


def synth_speed(count: int, *, size: int, supersample: int) -> str:
    """Render `count` pictures of `size` x `size` px on one core and return a table of times per stage."""
    posing, rendering = [], []
    with opencv_threads(1):
        for index in range(-5, count):  # the first few are warm-up: they compile code and fill caches
            rng = np.random.default_rng([0, index + 5])
            start = time.perf_counter()
            scene = sample_scene(rng, SceneMix(), size=size)
            posed = time.perf_counter()
            render(scene, rng, supersample=supersample)
            if index >= 0:
                posing.append(posed - start)
                rendering.append(time.perf_counter() - posed)
    total = np.array(posing) + np.array(rendering)
    return "\n".join([
        f"{count} pictures of {size}x{size}, {supersample}x{supersample} samples per pixel, one core",
        f"  hands, pose, contact   {median(posing) * 1e3:6.1f} ms median, {np.mean(posing) * 1e3:6.1f} ms mean",
        f"  light, skin, effects   {median(rendering) * 1e3:6.1f} ms median, {np.mean(rendering) * 1e3:6.1f} ms mean",
        f"  together               {1 / total.mean():6.1f} images/s",
    ])  # fmt: skip
