"""The generator's guarantees on 300 samples at full size; takes minutes, so `make test-slow` runs it.

Each test prints its figures; `make test-slow` shows them.
"""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from exact import penetration_and_gap
from labelled import adjacency
from scenes import faces_of

from unclasp.synth.generate import Generated, generate
from unclasp.synth.scene import SceneMix, sample_scene

pytestmark = pytest.mark.slow

COUNT = 300
SEED = 77
TOUCHING = 1.0
"""mm between the surfaces."""
TWO_HANDS = {kind: share for kind, share in SceneMix().kinds.items() if kind not in ("right", "left")}

PROGRAM = f"""
import hashlib
from unclasp.synth.generate import generate
for index in range({COUNT}):
    sample = generate({SEED}, index)
    digest = hashlib.sha256()
    for name in ("image", "parts", "depth", "joints_cam", "focal", "princpt"):
        digest.update(getattr(sample, name).tobytes())
    print(digest.hexdigest())
"""


def digest_of(sample: Generated) -> str:
    digest = hashlib.sha256()
    for name in ("image", "parts", "depth", "joints_cam", "focal", "princpt"):
        digest.update(getattr(sample, name).tobytes())
    return digest.hexdigest()


def test_another_process_draws_the_same_and_visible_joints_lie_on_their_parts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    digests, seen, right = [], 0, 0
    for index in range(COUNT):
        sample = generate(SEED, index)
        digests.append(digest_of(sample))
        visible, correct = adjacency(sample)
        seen, right = seen + visible, right + correct
    told, _ = other.communicate()
    same = sum(a == b for a, b in zip(digests, told.split(), strict=True))
    with capsys.disabled():
        print(
            f"\n{same} of {COUNT} identical; {100 * right / seen:.2f} % of {seen} visible joints carry an adjacent part"
        )
    assert same == COUNT
    assert right / seen >= 0.98


def test_hands_touch_without_passing_through_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    depths, touching = [], 0
    for index in range(COUNT):
        rng = np.random.default_rng([SEED, index, 0])
        scene = sample_scene(rng, SceneMix(kinds=TWO_HANDS), size=256)
        right, left = scene.hands
        depth, gap = penetration_and_gap(
            right.vertices.astype(float), faces_of(right), left.vertices.astype(float), faces_of(left)
        )
        depths.append(depth)
        touching += depth > 0 or gap <= TOUCHING
    share, high = touching / COUNT, float(np.percentile(depths, 95))
    with capsys.disabled():
        print(f"\npenetration: 95 % below {high:.1f} mm, at most {max(depths):.1f} mm; {100 * share:.0f} % touch")
    assert high < 5.0 and max(depths) < 12.0
    assert share >= 0.6
