"""Tracking: hands are followed, found again, and not swapped by a network that confuses the sides."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from motion import moving_hands
from poses import HEIGHT, WIDTH, pose_of, poses_of
from scripted import BLACK, Script
from unclasp import geometry
from unclasp.find.credibility import MIN_SCORE_GAIN
from unclasp.find.versions import Versions
from unclasp.follow.frame_result import FrameResult, exchanged
from unclasp.follow.track import FIRST_SIDE_CHANGE_FRAMES, SIDE_CHANGE_FRAMES, Track
from unclasp.follow.tracking import (
    MAX_FRAMES_NOT_CREDIBLE,
    MAX_HELD_FRAMES,
    MAX_VAIN_SEARCHES,
    SEARCH_EVERY_DOUBTFUL,
    SEARCH_EVERY_NO_HAND,
    SEARCH_EVERY_ONE_HAND,
    Tracker,
)
from unclasp.pose import UNDECIDED, HandPose

ASIDE = np.array([7.0, 0.0])


def wrists(poses: list[HandPose]) -> np.ndarray:
    return np.stack([pose.joints_2d[[20, 41]] for pose in poses])


def swaps(poses: list[HandPose]) -> int:
    """Count the frames in which the wrists are nearer to each other's last positions than to their own."""
    count = 0
    for last, now in pairwise(wrists(poses)):
        same, crossed = (np.linalg.norm(now - other, axis=1).sum() for other in (last, last[::-1]))
        count += crossed < same
    return count


def test_frames_without_usable_times_are_smoothed_as_if_they_were_even() -> None:
    poses = iter(poses_of(moving_hands(3)))
    tracker = Tracker(lambda image, box, fresh: FrameResult(Versions(pose := next(poses), pose)))
    assert all(np.isfinite(tracker(BLACK, time).joints_cam).all() for time in (0.1, 0.1, 0.0))


# ---- crops and searches


def test_the_first_frame_is_searched_and_the_next_ones_are_followed() -> None:
    poses = poses_of(moving_hands(5))
    script = Script(poses)
    script.run()
    assert [len(boxes) for boxes in script.boxes] == [1] * 5 and script.boxes[0] == [None]
    for last, (box,) in zip(poses, script.boxes[1:], strict=False):
        tight = np.concatenate([last.joints_2d.min(axis=0), last.joints_2d.max(axis=0)])
        np.testing.assert_allclose(box, geometry.expand_box(tight, 1.2))


def test_an_absent_hand_does_not_widen_the_crop() -> None:
    poses = poses_of(moving_hands(2), presence=np.array([0.05, 0.9]))
    script = Script(poses)
    script.run()
    box = script.boxes[1][0]
    left = poses[0].joints_2d[21:]
    np.testing.assert_allclose((box[:2] + box[2:]) / 2, (left.min(axis=0) + left.max(axis=0)) / 2)


def test_hands_are_searched_for_anew_where_the_frames_change_their_size() -> None:
    script = Script(poses_of(moving_hands(4)))
    tracker = Tracker(script)
    for image in (BLACK, BLACK, BLACK[:100], BLACK[:100]):
        script.boxes.append([])
        tracker(image)
    assert [boxes[0] is None for boxes in script.boxes] == [True, False, True, False] and tracker.changes == 1


def test_with_a_given_box_nothing_else_is_predicted() -> None:
    script = Script(poses_of(moving_hands(3), presence=np.array([0.0, 0.0])))
    script.run(box=[1.0, 2.0, 300.0, 400.0])
    assert [[list(box) for box in boxes] for boxes in script.boxes] == [[[1.0, 2.0, 300.0, 400.0]]] * 3


@pytest.mark.parametrize("better", [True, False])
def test_a_lost_hand_is_searched_at_once_and_the_better_result_counts(better: bool) -> None:
    good = poses_of(moving_hands(3))
    lost = [*good[:1], *(replace(pose, presence=np.array([0.9, 0.1]), present=UNDECIDED) for pose in good[1:])]
    script = Script(lost, searched=good if better else lost)
    tracked = script.run()
    assert script.boxes[1][1] is None and len(script.boxes[1]) == 2
    assert list(tracked[1].presence) == ([0.9, 0.9] if better else [0.9, 0.1])


def test_without_hands_the_frame_is_searched_now_and_then_and_the_last_square_predicted_in_between() -> None:
    """Without hands, there is nothing to forget either."""
    frames = MAX_FRAMES_NOT_CREDIBLE + 3
    poses = poses_of(moving_hands(frames), presence=np.array([0.1, 0.2]))
    script = Script(poses, fields=lambda *_: {"is_known": False})
    tracked = script.run()
    assert script.searches == list(range(0, frames, SEARCH_EVERY_NO_HAND)) and all(script.fresh)
    assert all(len(boxes) == 1 for boxes in script.boxes) and not any(pose.sides for pose in tracked)


def test_in_between_the_same_square_is_predicted_again() -> None:
    """The predictor makes a square of the box in each frame."""
    pose = pose_of(moving_hands(1)[0], presence=np.array([0.1, 0.2]), box=np.array([10.0, 20.0, 110.0, 120.0]))
    squares = []

    def predict_frame(image: np.ndarray, box: npt.ArrayLike | None, fresh: bool) -> FrameResult:
        square = pose.box if box is None else geometry.square_box(np.asarray(box))
        squares.append(square)
        return FrameResult(Versions(replace(pose, box=square), pose))

    tracker = Tracker(predict_frame)
    for _ in range(2 * SEARCH_EVERY_NO_HAND):
        tracker(BLACK)
    np.testing.assert_allclose(squares, np.broadcast_to(pose.box, (2 * SEARCH_EVERY_NO_HAND, 4)))


def test_a_hand_that_appears_in_the_square_of_the_last_search_is_present_at_once() -> None:
    motion = moving_hands(3)
    none, some = (poses_of(motion, presence=np.array([likely, likely])) for likely in (0.1, 0.9))
    script = Script([none[0], *some[1:]])
    assert [pose.sides for pose in script.run()][1:] == [("right", "left")] * 2 and script.searches == [0]
    assert script.fresh == [True, True, False]


@pytest.mark.parametrize("ghost", [0.1, 0.3])
def test_with_one_hand_the_other_is_searched_now_and_then(ghost: float) -> None:
    poses = poses_of(moving_hands(2 * SEARCH_EVERY_ONE_HAND + 2), presence=np.array([0.9, ghost]))
    script = Script(poses)
    script.run()
    assert script.searches == [0, SEARCH_EVERY_ONE_HAND, 2 * SEARCH_EVERY_ONE_HAND]


@pytest.mark.parametrize(
    ("confidence", "elsewhere", "counts"), [(0.05, 0.6, True), (0.05, 0.01, False), (0.2, 0.6, None)]
)
def test_a_doubtful_hand_is_searched_now_and_then_and_the_more_confident_result_counts(
    confidence: float, elsewhere: float, counts: bool | None
) -> None:
    motion = moving_hands(SEARCH_EVERY_DOUBTFUL + 2)
    sure = np.full(42, 0.7)
    doubtful, other = (np.where(np.arange(42) < 21, value, sure) for value in (confidence, elsewhere))
    script = Script(poses_of(motion, confidence=doubtful), searched=poses_of(motion, confidence=other))
    tracked = script.run()
    assert script.searches == ([0] if counts is None else [0, SEARCH_EVERY_DOUBTFUL])
    expected = other if counts else doubtful
    np.testing.assert_allclose(tracked[SEARCH_EVERY_DOUBTFUL].confidence, expected)


@pytest.mark.parametrize("apart_elsewhere", [True, False])
def test_two_hands_on_one_place_are_searched_at_once_and_those_apart_count(apart_elsewhere: bool) -> None:
    apart = poses_of(moving_hands(4))
    together = moving_hands(4)
    right, left = together[:, :21].mean(axis=1, keepdims=True), together[:, 21:].mean(axis=1, keepdims=True)
    together[:, 21:] += right - left
    script = Script([apart[0], *poses_of(together)[1:]], searched=apart if apart_elsewhere else poses_of(together))
    tracked = script.run()
    assert [any(box is None for box in boxes) for boxes in script.boxes[1:]] == [True] * 3
    now = np.stack([pose.joints_2d.reshape(2, 21, 2).mean(axis=1) for pose in tracked[1:]])
    assert (np.linalg.norm(now[:, 0] - now[:, 1], axis=1) > 1).all() == apart_elsewhere


def test_searches_in_vain_are_not_repeated_in_each_frame() -> None:
    frames = MAX_VAIN_SEARCHES + 1 + 2 * SEARCH_EVERY_NO_HAND
    together = moving_hands(frames)
    together[:, 21:] = together[:, :21]
    script = Script(poses_of(together))
    script.run()
    assert script.searches == [
        *range(MAX_VAIN_SEARCHES + 1),
        MAX_VAIN_SEARCHES + SEARCH_EVERY_NO_HAND,
        MAX_VAIN_SEARCHES + 2 * SEARCH_EVERY_NO_HAND,
    ]


def test_a_good_frame_ends_searches_in_vain() -> None:
    """Afterwards hands on one place are searched for in each frame again."""
    good = MAX_VAIN_SEARCHES + SEARCH_EVERY_NO_HAND
    together = moving_hands(good + 3)
    together[:good, 21:], together[good + 1 :, 21:] = together[:good, :21], together[good + 1 :, :21]
    script = Script(poses_of(together))
    script.run()
    assert script.searches == [*range(MAX_VAIN_SEARCHES + 1), good + 1, good + 2]


def test_a_search_that_finds_more_ends_searches_in_vain() -> None:
    apart, together = moving_hands(2 * MAX_VAIN_SEARCHES + 2), moving_hands(2 * MAX_VAIN_SEARCHES + 2)
    together[:, 21:] = together[:, :21]
    poses = poses_of(together)
    found = [poses_of(apart)[number] if number == MAX_VAIN_SEARCHES else pose for number, pose in enumerate(poses)]
    script = Script(poses, found)
    script.run()
    assert script.searches == list(range(2 * MAX_VAIN_SEARCHES + 1))


def test_rejected_hands_are_searched_for_at_once() -> None:
    good = poses_of(moving_hands(2))
    rejected = replace(good[1], present=np.array([False, False]))
    script = Script([good[0], rejected], good)
    assert script.run()[1].sides == ("right", "left") and script.searches == [0, 1]


def test_hands_outside_of_the_crop_are_searched_even_after_searches_in_vain() -> None:
    frames = MAX_VAIN_SEARCHES + 4
    together = moving_hands(frames)
    together[:, 21:] = together[:, :21]
    poses = poses_of(together)
    for number in range(MAX_VAIN_SEARCHES + 2, frames):
        poses[number] = replace(poses[number], box=np.array([0.0, 0.0, 20.0, 20.0]))
    script = Script(poses)
    script.run()
    assert script.searches[-2:] == [frames - 2, frames - 1]


@pytest.mark.parametrize(("more", "jumps"), [(MIN_SCORE_GAIN + 0.05, True), (MIN_SCORE_GAIN - 0.05, False)])
def test_beside_one_hand_a_hand_elsewhere_needs_a_higher_score(more: float, jumps: bool) -> None:
    """It is another hand of the same side, so nothing is held, smoothed or averaged between the two."""
    motion = moving_hands(SEARCH_EVERY_ONE_HAND + 3, speed=0.2)
    here, there = (poses_of(motion + aside, presence=np.array([0.9, 0.1])) for aside in (0.0, [400.0, 0, 0]))
    sure = [replace(pose, confidence=np.full(42, 0.1)) for pose in there]
    script = Script(
        here[: SEARCH_EVERY_ONE_HAND + 1] + sure[SEARCH_EVERY_ONE_HAND + 1 :], [here[0], *sure[1:]],
        fields=lambda number, searched: {"detection_score": 0.5 + (more if searched else 0.0)},
    )  # fmt: skip
    tracked = script.run(smooth=True)
    assert script.fresh[0] and script.fresh[SEARCH_EVERY_ONE_HAND] and not any(script.fresh[1:SEARCH_EVERY_ONE_HAND])
    expected = sure if jumps else here
    np.testing.assert_allclose(
        tracked[SEARCH_EVERY_ONE_HAND].joints_2d[:21], expected[SEARCH_EVERY_ONE_HAND].joints_2d[:21], atol=8
    )
    assert tracked[SEARCH_EVERY_ONE_HAND].sides == ("right",)


def one_hand_and(found: HandPose, *, worth: tuple[float, float]) -> tuple[Script, list[HandPose], Tracker]:
    """Track a right hand until the whole frame is searched, which finds `found`; return the tracked poses, too."""
    here = poses_of(moving_hands(SEARCH_EVERY_ONE_HAND + 1, speed=0.2), presence=np.array([0.9, 0.1]))
    script = Script(here, [*here[:-1], found], fields=lambda number, searched: {"detection_score": worth[searched]})
    tracker = Tracker(script, smooth=False)
    tracked = []
    for number in range(len(here)):
        script.boxes.append([])
        tracked.append(tracker(BLACK, number / 30))
    return script, tracked, tracker


def test_rejected_hands_do_not_replace_a_tracked_one() -> None:
    (there,) = poses_of(moving_hands(1) + np.array([400.0, 0, 0]), presence=np.array([0.9, 0.1]))
    nothing = replace(there, present=np.array([False, False]), box=np.array([1.0, 2.0, 30.0, 40.0]))
    script, tracked, tracker = one_hand_and(nothing, worth=(0.0, 0.25))
    assert tracked[-1].sides == ("right",) and tracker.changes == 0
    np.testing.assert_array_equal(tracked[-1].box, script.poses[-1].box)


@pytest.mark.parametrize(("aside", "changes"), [(0.0, 0), (400.0, 1)])
def test_only_hands_elsewhere_are_others(aside: float, changes: int) -> None:
    """Then earlier frames must not matter, nor in the smoothing of files."""
    motion = moving_hands(SEARCH_EVERY_ONE_HAND + 1, speed=0.2) + np.array([aside, 0, 0])
    found = poses_of(motion, presence=np.array([0.9, 0.1]))[-1]
    _, _, tracker = one_hand_and(found, worth=(0.5, 0.9))
    assert tracker.changes == changes


def test_a_second_hand_elsewhere_replaces_nobody() -> None:
    motion = moving_hands(SEARCH_EVERY_ONE_HAND + 1, speed=0.2)
    motion[:, 21:, 0] += 400
    both = poses_of(motion, presence=np.array([0.9, 0.95]))[-1]
    _, tracked, tracker = one_hand_and(both, worth=(0.5, 0.9))
    assert tracked[-1].presence[1] == 0.95 and tracker.changes == 0


def test_joints_of_an_absent_hand_make_a_single_one_no_worse() -> None:
    found = poses_of(moving_hands(SEARCH_EVERY_ONE_HAND + 1, speed=0.2), presence=np.array([0.95, 0.1]))[-1]
    _, tracked, _ = one_hand_and(replace(found, joints_2d=[*found.joints_2d[:21]] * 2), worth=(0.5, 0.5))
    assert tracked[-1].presence[0] == 0.95


@pytest.mark.parametrize(("less", "counts"), [(0.05, True), (0.15, False)])
def test_beside_one_hand_two_are_accepted_unless_their_score_is_lower(less: float, counts: bool) -> None:
    both = poses_of(moving_hands(SEARCH_EVERY_ONE_HAND + 1, speed=0.2), presence=np.array([0.9, 0.95]))[-1]
    _, tracked, _ = one_hand_and(both, worth=(0.5, 0.5 - less))
    assert (tracked[-1].presence[1] == 0.95) == counts


def test_with_two_hands_a_search_is_not_fresh() -> None:
    poses = poses_of(moving_hands(SEARCH_EVERY_DOUBTFUL + 1), confidence=np.full(42, 0.05))
    script = Script(poses)
    script.run()
    assert script.searches == [0, SEARCH_EVERY_DOUBTFUL] and script.fresh == [True] + [False] * SEARCH_EVERY_DOUBTFUL


def test_hands_outside_the_crop_are_rejected() -> None:
    searched = poses_of(moving_hands(2), presence=np.array([0.9, 0.9]))
    poses = [replace(pose, presence=np.array([0.99, 0.99])) for pose in searched]
    poses[1] = replace(poses[1], box=np.array([0.0, 0.0, 20.0, 20.0]))
    script = Script(poses, searched)
    tracked = script.run()
    assert len(script.boxes[1]) == 2 and script.boxes[1][1] is None and not script.fresh[1]
    assert tracked[1].box.tolist() == searched[1].box.tolist()


# ---- sides


def test_exchanged_hands_are_the_same_hands_in_other_slots() -> None:
    pose = replace(pose_of(moving_hands(1)[0]), confidence=np.arange(42) / 42, present=np.array([True, False]))
    other = exchanged(pose)
    for name in ("joints_2d", "joints_3d", "joints_cam", "confidence"):
        np.testing.assert_array_equal(getattr(other, name)[:21], getattr(pose, name)[21:])
    assert other.sides == ("left",)
    np.testing.assert_array_equal(exchanged(other).joints_cam, pose.joints_cam)


@pytest.mark.parametrize("smooth", [False, True])
def test_a_network_with_unstable_sides_does_not_swap_the_hands(smooth: bool) -> None:
    rng = np.random.default_rng(0)
    true = poses_of(moving_hands(200))
    wavering = [exchanged(pose) if number and rng.random() < 0.4 else pose for number, pose in enumerate(true)]
    assert swaps(wavering) > 60
    tracked = Script(wavering).run(smooth=smooth)
    assert swaps(tracked) == 0
    assert np.abs(wrists(tracked) - wrists(true)).max() < (40 if smooth else 1e-9)


def test_hands_that_cross_keep_their_sides() -> None:
    motion = moving_hands(90, speed=0.2)
    motion[:, :21, 0] += np.linspace(0, 200, 90)[:, None]
    motion[:, 21:, 0] -= np.linspace(0, 200, 90)[:, None]
    poses = poses_of(motion)
    assert (wrists(poses)[0, 0, 0] < wrists(poses)[0, 1, 0]) and (wrists(poses)[-1, 0, 0] > wrists(poses)[-1, 1, 0])
    np.testing.assert_allclose(wrists(Script(poses).run()), wrists(poses))


@pytest.mark.parametrize(
    ("right_for", "patience"), [(0, FIRST_SIDE_CHANGE_FRAMES), (2 * SIDE_CHANGE_FRAMES, SIDE_CHANGE_FRAMES)]
)
def test_a_network_that_keeps_disagreeing_is_followed_once(right_for: int, patience: int) -> None:
    """It swaps the hands in the first frame only, or in all frames after it was right for long."""
    true = poses_of(moving_hands(right_for + 3 * SIDE_CHANGE_FRAMES))
    predicted = [*true[:right_for], exchanged(true[0]), *true[1:]] if not right_for else [
        *true[:right_for], *map(exchanged, true[right_for:])
    ]  # fmt: skip
    predicted = predicted[: len(true)]
    tracked = Script(predicted).run(smooth=True)
    assert swaps(tracked) == 1
    changed = max(1, right_for) + patience
    assert np.abs(wrists(tracked) - wrists(predicted))[changed + 1 :].max() < 40
    for last, now in pairwise(tracked[:changed]):
        assert np.abs(last.joints_2d - now.joints_2d).max() < 60


@pytest.mark.parametrize("confidence", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("apart", [100, 250, 400])
def test_hands_far_apart_change_sides_and_stay_so(apart: float, confidence: float) -> None:
    """Beyond 1.5 hand sizes. No hand is held at the other one's position."""
    motion = moving_hands(40, speed=0.2)
    motion[:, 21:, 0] += apart
    true = poses_of(motion, confidence=np.full(42, confidence))
    tracked = Script([exchanged(true[0]), *true[1:]]).run(smooth=True)
    off = [np.abs(now - then).max() for now, then in zip(wrists(tracked), wrists(true), strict=True)]
    wrong = np.array(off) > 40
    assert wrong[: 1 + FIRST_SIDE_CHANGE_FRAMES].all() and not wrong[1 + FIRST_SIDE_CHANGE_FRAMES :].any()


def test_sides_of_hands_on_one_place_tell_nothing() -> None:
    """The network disagrees in all frames but the first one, by too little to be followed."""
    still = poses_of(moving_hands(1))[0]
    right = still.joints_2d[:21]
    true = replace(still, joints_2d=[*right, *(right + np.array([0.15 * np.ptp(right, axis=0).max(), 0.0]))])
    tracked = Script([true, *[exchanged(true)] * (2 * FIRST_SIDE_CHANGE_FRAMES)]).run()
    for pose in tracked:
        np.testing.assert_array_equal(pose.joints_2d, true.joints_2d)


def test_a_single_hand_keeps_its_side() -> None:
    motion = moving_hands(40)
    right = poses_of(motion, presence=np.array([0.9, 0.1]))
    called_left = [exchanged(pose) if number in (7, 8, 20) else pose for number, pose in enumerate(right)]
    tracked = Script(called_left).run()
    assert {pose.sides for pose in tracked} == {("right",)}
    np.testing.assert_allclose(wrists(tracked)[:, 0], wrists(right)[:, 0])


def test_a_single_hand_that_jumps_keeps_its_side() -> None:
    motion = moving_hands(4, speed=0.2)
    motion[2:, :, 0] += 300
    tracked = Script(poses_of(motion, presence=np.array([0.9, 0.1]))).run()
    assert {pose.sides for pose in tracked} == {("right",)}


def test_joints_of_an_absent_hand_tell_nothing_about_sides_or_the_crop() -> None:
    """They are where the present hand was, or outside of the crop."""
    poses = poses_of(moving_hands(4, speed=0.2), presence=np.array([0.9, 0.1]))
    size = np.ptp(poses[0].joints_2d[:21], axis=0).max()
    for number, pose in enumerate(poses):
        absent = poses[0].joints_2d[:21] if number % 2 else pose.joints_2d[21:] + 2 * WIDTH
        moved = poses[0].joints_2d[:21] + np.array([0.4 * size * (number % 2), 0.0])
        poses[number] = replace(pose, joints_2d=np.concatenate([moved, absent]))
    script = Script(poses)
    tracked = script.run()
    assert {pose.sides for pose in tracked} == {("right",)} and script.searches == [0]
    np.testing.assert_array_equal(middles(tracked)[:, 0], middles(poses)[:, 0])


def test_a_hand_that_comes_elsewhere_is_a_new_one() -> None:
    motion = moving_hands(20)
    motion[:, 21:, 0] += 250
    only_right = poses_of(motion[:10], presence=np.array([0.9, 0.05]))
    only_left = poses_of(motion[10:], presence=np.array([0.05, 0.9]))
    tracked = Script([*only_right, *only_left]).run()
    assert tracked[0].sides == ("right",) and tracked[-1].sides == ("left",)
    np.testing.assert_allclose(tracked[-1].joints_2d, only_left[-1].joints_2d)


# ---- implausible hands


def middles(poses: list[HandPose]) -> np.ndarray:
    return np.stack([pose.joints_2d.reshape(2, 21, 2).mean(axis=1) for pose in poses])


@pytest.mark.parametrize(("confidence", "believed"), [(0.3, False), (0.9, True)])
def test_a_hand_that_jumps_needs_confidence(confidence: float, believed: bool) -> None:
    """It jumps by 1.5 of its sizes within one frame."""
    motion = moving_hands(12, speed=0.2)
    size = np.ptp(pose_of(motion[4]).joints_2d[21:], axis=0).max()
    sure = np.where(np.arange(42) < 21, 0.8, confidence)
    poses = poses_of(motion, confidence=np.full(42, 0.8))
    for number in (4, 5):
        joints_2d = poses[number].joints_2d + np.outer(np.arange(42) >= 21, [1.5 * size, 0.0])
        poses[number] = replace(poses[number], joints_2d=joints_2d, confidence=sure)
    tracked = Script(poses).run()
    steps = np.linalg.norm(np.diff(middles(tracked), axis=0), axis=-1)
    assert (steps[:, 0] < 10).all() and (steps[:, 1].max() < 10) == (not believed)
    assert tracked[4].present.all()
    assert tracked[4].confidence is not None and (tracked[4].confidence[21:] == (confidence if believed else 0)).all()
    np.testing.assert_allclose(tracked[4].confidence[:21], 0.8)
    np.testing.assert_allclose(tracked[6].joints_2d, poses[6].joints_2d)


def test_a_hand_that_stays_elsewhere_is_accepted_after_a_while() -> None:
    motion = moving_hands(40, speed=0.2)
    motion[5:, 21:, 0] += 250
    poses = poses_of(motion, confidence=np.full(42, 0.1))
    tracked = Script(poses).run()
    right = np.abs(middles(tracked) - middles(poses)).max(axis=(1, 2)) < 1
    assert right[:5].all() and not right[5 : 5 + MAX_HELD_FRAMES].any() and right[5 + MAX_HELD_FRAMES :].all()


def test_a_hand_that_jumps_onto_the_other_one_is_held() -> None:
    motion = moving_hands(12, speed=0.2)
    poses = poses_of(motion, confidence=np.full(42, 0.9))
    for number in (6, 7):
        joints_2d = poses[number].joints_2d.copy()
        joints_2d[:21] += (middles(poses)[number, 1] - middles(poses)[number, 0])[None] + 3.0
        poses[number] = replace(poses[number], joints_2d=joints_2d)
    tracked = Script(poses).run()
    assert swaps(tracked) == 0
    for name in ("joints_2d", "joints_3d", "joints_cam"):
        np.testing.assert_array_equal(getattr(tracked[7], name)[:21], getattr(poses[5], name)[:21])
        np.testing.assert_array_equal(getattr(tracked[7], name)[21:], getattr(poses[7], name)[21:])


@pytest.mark.parametrize(("apart", "is_held"), [(1.0, True), (0.24, False)])
def test_of_two_hands_that_come_together_the_one_that_moved_farther_is_held(apart: float, is_held: bool) -> None:
    """Hands that are on one place already move as they like."""
    pose = poses_of(moving_hands(1), confidence=np.full(42, 0.9))[0]
    joints_2d = pose.joints_2d - np.repeat(middles([pose])[0], 21, axis=0) + [WIDTH / 2, HEIGHT / 2]
    size = np.ptp(joints_2d.reshape(2, 21, 2), axis=1).max()
    before, after = (
        replace(pose, joints_2d=joints_2d + np.repeat([[right * size, 0.0], [left * size, 0.0]], 21, axis=0))
        for right, left in ((0.0, apart), (0.15, 0.15))
    )
    _, tracked = Script([before, after]).run()
    left_hand = before if is_held else after
    np.testing.assert_array_equal(tracked.joints_2d, [*after.joints_2d[:21], *left_hand.joints_2d[21:]])


def test_a_hand_that_appears_is_not_held_where_it_was_not() -> None:
    motion = moving_hands(6, speed=0.2)
    absent, there = (
        poses_of(motion, presence=np.array([0.9, likely]), confidence=np.full(42, 0.3)) for likely in (0.02, 0.95)
    )
    elsewhere = absent[0].joints_2d + np.repeat([[0.0, 0.0], [300.0, 0.0]], 21, axis=0)
    tracked = Script([replace(absent[0], joints_2d=elsewhere), *there[1:]]).run()
    assert tracked[-1].sides == ("right", "left")
    np.testing.assert_array_equal(middles(tracked)[1:], middles(there)[1:])


def test_a_hand_is_held_as_long_again_after_a_plausible_frame() -> None:
    still = poses_of(moving_hands(1), confidence=np.full(42, 0.3))[0]
    away = replace(still, joints_2d=still.joints_2d + np.repeat([[0.0, 0.0], [300.0, 0.0]], 21, axis=0))
    jumps = [away] * (MAX_HELD_FRAMES - 1)
    for pose in Script([still, *jumps, still, *jumps]).run():
        np.testing.assert_array_equal(pose.joints_2d, still.joints_2d)


def test_the_position_of_a_held_hand_says_little_about_the_sides() -> None:
    """The right hand passes the left one's last accepted position; the left hand reappears elsewhere."""
    still = poses_of(moving_hands(1), confidence=np.full(42, 0.9))[0]
    size, cover = np.ptp(still.joints_2d[21:], axis=0).max(), MAX_HELD_FRAMES - 2
    last, passed, out = np.array([0.21, 0.09]), np.array([0.03, 0.035]), np.array([0.32, 0.27])
    path = [np.array([1.5, 0.3]) * (1 - share) + last * share for share in np.linspace(0, 1, cover)]
    poses = []
    for right, left, sure in (
        *((path[0], np.zeros(2), 0.9) for _ in range(4)), *((point, np.array([-2.0, 0.0]), 0.1) for point in path),
        (passed, out, 0.9), (passed, out, 0.9),
    ):  # fmt: skip
        places = np.repeat([right, left], 21, axis=0) * size - np.repeat(middles([still])[0], 21, axis=0)
        confidence = np.where(np.arange(42) < 21, 0.9, sure)
        poses.append(replace(still, joints_2d=still.joints_2d + places + 300, confidence=confidence))
    tracked = Script(poses).run()
    held = middles(tracked[4:-2])[:, 1]
    np.testing.assert_allclose(
        held, np.broadcast_to(middles(tracked[:1])[0, 1], held.shape), err_msg="while it is hidden"
    )
    np.testing.assert_allclose(middles(tracked[-2:]), middles(poses[-2:]), atol=1e-6)


# ---- presence


def present(probabilities: list[float]) -> list[bool]:
    """Return in which frames the right hand is present, given the network's probabilities."""
    motion = moving_hands(1)[0]
    poses = [pose_of(motion, presence=np.array([p, 0.99]), box=np.array([0, 0, WIDTH, HEIGHT])) for p in probabilities]
    return ["right" in pose.sides for pose in Script(poses).run()]


def test_a_hand_neither_flickers_away_nor_in() -> None:
    assert present([0.9, 0.3, 0.9, 0.1, 0.9]) == [True] * 5
    assert present([0.1, 0.6, 0.1, 0.7, 0.1]) == [False] * 5
    assert present([0.45, 0.4, 0.45, 0.4]) == [False] * 4
    assert present([0.55, 0.45, 0.4, 0.45]) == [False] * 4, "beside a likelier hand"
    assert present([0.75, 0.45, 0.4, 0.45]) == [True] * 4


def test_a_hand_that_goes_is_gone_and_one_that_comes_is_there_soon() -> None:
    assert present([0.95] + [0.02] * 5) == [True, True, True, False, False, False]  # averages 0.485, 0.2525, 0.136
    assert present([0.02] + [0.95] * 3) == [False, False, True, True]


def test_hands_that_are_not_credible_are_dropped_after_a_while() -> None:
    """They are lost if a search does not find them either; a single credible frame keeps them."""
    frames = 2 * MAX_FRAMES_NOT_CREDIBLE + 4
    poses = poses_of(moving_hands(frames))
    nothing = [replace(pose, present=np.array([False, False])) for pose in poses]
    kept = MAX_FRAMES_NOT_CREDIBLE - 1  # credible again in this frame
    script = Script(poses, [poses[0], *nothing[1:]], fields=lambda number, searched: {"is_known": number in (0, kept)})
    tracked = script.run()
    gone = kept + MAX_FRAMES_NOT_CREDIBLE + 1
    assert [len(pose.sides) for pose in tracked[: gone + 1]] == [2] * gone + [0]
    assert script.searches[:2] == [0, gone] and script.fresh[gone]


def test_how_long_the_network_agreed_with_hands_that_were_forgotten_does_not_count() -> None:
    """The first frame after that has the sides wrong, and all later ones disagree with it."""
    before, after = 2 * SIDE_CHANGE_FRAMES, 3 * FIRST_SIDE_CHANGE_FRAMES
    start = before + MAX_FRAMES_NOT_CREDIBLE
    poses = poses_of(moving_hands(start + after, speed=0.2))
    poses[start] = exchanged(poses[start])
    script = Script(poses, fields=lambda number, _: {"is_known": not before <= number < start})
    tracked = script.run()
    assert script.searches[-1] == start
    np.testing.assert_allclose(wrists(tracked)[start], wrists(poses)[start])
    np.testing.assert_allclose(wrists(tracked)[-FIRST_SIDE_CHANGE_FRAMES:], wrists(poses)[-FIRST_SIDE_CHANGE_FRAMES:])


def test_evidence_from_before_hands_disappeared_does_not_count() -> None:
    """When both hands return, one has little evidence, as if it were behind the other."""
    motion = moving_hands(60, speed=0.2)
    none, both = (poses_of(motion, presence=np.array([likely, likely])) for likely in (0.02, 0.95))
    evidence = [np.zeros(2) if number < 30 else np.array([0.9, 0.2]) for number in range(60)]
    tracked = Script([*none[:30], *both[30:]], fields=lambda number, _: {"hand_evidence": evidence[number]}).run()
    assert {pose.sides for pose in tracked[35:]} == {("right", "left")}


def test_evidence_moves_along_when_the_network_wins_about_sides() -> None:
    """The network disagrees for long enough; the ghost is in the other slot then, and is still dropped."""
    true = poses_of(moving_hands(5 * FIRST_SIDE_CHANGE_FRAMES))
    poses = [true[0], *map(exchanged, true[1:])]
    evidence = [np.array([0.9, 0.05]), *[np.array([0.05, 0.9])] * (len(true) - 1)]
    tracked = Script(poses, fields=lambda number, _: {"hand_evidence": evidence[number]}).run()
    assert {pose.sides for pose in tracked[FIRST_SIDE_CHANGE_FRAMES + 2 : FIRST_SIDE_CHANGE_FRAMES + 4]} == {
        ("right", "left")
    }
    assert {pose.sides for pose in tracked[FIRST_SIDE_CHANGE_FRAMES + 7 :]} == {("left",)}


def test_a_hand_alone_is_no_ghost_of_one_that_is_not_there() -> None:
    poses = poses_of(moving_hands(40), presence=np.array([0.05, 0.95]))
    tracked = Script(poses, fields=lambda *_: {"hand_evidence": np.array([0.9, 0.05])}).run()
    assert {pose.sides for pose in tracked} == {("left",)}


def test_a_second_hand_without_evidence_is_a_ghost() -> None:
    """It is dropped after some frames, and returns after some with evidence; this holds for either slot."""
    evidence = np.array([[0.9, 0.05]] * 30 + [[0.9, 0.9]] * 8)
    for order in (slice(None), slice(None, None, -1)):
        poses = poses_of(moving_hands(len(evidence)))
        script = Script(poses, fields=lambda number, searched, order=order: {"hand_evidence": evidence[number, order]})
        there = np.array([pose.present[order] for pose in script.run()])
        assert there[:, 0].all() and there[:10, 1].all() and not there[20:30, 1].any() and there[-4:, 1].all()


def test_a_ghost_needs_more_evidence_to_return_than_to_stay() -> None:
    evidence = np.array([[0.9, 0.2]] * 20 + [[0.9, 0.05]] * 30 + [[0.9, 0.25]] * 40)
    script = Script(poses_of(moving_hands(1)[[0] * 90]), fields=lambda number, _: {"hand_evidence": evidence[number]})
    there = [bool(pose.present[1]) for pose in script.run()]
    assert there[:20] == [True] * 20 and there[-50:] == [False] * 50


def test_hands_are_rejected_only_if_the_network_predicts_some() -> None:
    for likely, counts, is_rejected in ((0.9, False, True), (0.9, True, False), (0.2, False, False)):
        pose = pose_of(moving_hands(1)[0], presence=np.full(2, likely), present=np.full(2, counts))
        result = FrameResult(Versions(pose, pose))
        assert result.is_rejected == is_rejected
        np.testing.assert_array_equal(result.credible_presence, 0.0 if is_rejected else likely)


@pytest.mark.parametrize(("value", "at_once"), [(0.95, True), (0.85, False)])
def test_a_second_hand_with_certain_evidence_is_present_at_once(value: float, at_once: bool) -> None:
    """It is absent in all frames before, and has evidence in one frame only."""
    motion = moving_hands(43, speed=0.2)
    one, two = (poses_of(motion, presence=np.array([0.99, likely])) for likely in (0.02, 0.98))
    evidence = np.array([[0.9, 0.0]] * 40 + [[0.9, value]] + [[0.9, 0.0]] * 2)
    script = Script([*one[:40], two[40], *one[41:]], fields=lambda number, _: {"hand_evidence": evidence[number]})
    assert [pose.present[1] for pose in script.run()][39:] == [False, at_once, at_once, False]


@pytest.mark.parametrize("evidence", [[0.05, 0.05], [0.4, 0.05], [0.9, 0.4]])
def test_two_hands_with_similar_evidence_are_both_reported(evidence: list[float]) -> None:
    script = Script(poses_of(moving_hands(40)), fields=lambda *_: {"hand_evidence": np.array(evidence)})
    assert all(pose.present.all() for pose in script.run())


@pytest.mark.parametrize("clear", [1, 10])
@pytest.mark.parametrize(("seen", "is_dropped"), [(0.85, True), (0.95, False)])
def test_a_face_is_a_ghost_unless_the_hand_was_seen_clearly(seen: float, is_dropped: bool, clear: int) -> None:
    """In the first frames the second hand has much evidence; then it is at a face, with less than its average."""
    evidence = np.array([[0.9, seen]] * clear + [[0.9, 0.4]] * 30)
    fields = [
        {"hand_evidence": each, "are_faces": np.array([False, number >= clear])} for number, each in enumerate(evidence)
    ]
    tracked = Script(poses_of(moving_hands(len(evidence))), fields=lambda number, _: fields[number]).run()
    assert tracked[clear].present.all() and tracked[-1].present.tolist() == [True, not is_dropped]


def test_a_hand_that_was_gone_has_to_be_seen_clearly_anew() -> None:
    """The second hand is seen clearly, is away, and comes back, hardly seen and at a face."""
    there, away, back, face = slice(0, 5), slice(5, 15), slice(15, 20), slice(20, 50)
    evidence, presence = np.full((50, 2), 0.9), np.full((50, 2), 0.95)
    evidence[there, 1], evidence[away, 1], evidence[back, 1], evidence[face, 1] = 0.95, 0.0, 0.85, 0.4
    presence[away, 1] = 0.02
    poses = [
        replace(pose_of(joints), presence=each, present=UNDECIDED)
        for joints, each in zip(moving_hands(50), presence, strict=True)
    ]
    fields = [
        {"hand_evidence": each, "are_faces": np.array([False, number >= 20])} for number, each in enumerate(evidence)
    ]
    tracked = Script(poses, fields=lambda number, _: fields[number]).run()
    assert [bool(pose.present[1]) for pose in (tracked[0], tracked[14], tracked[20], tracked[-1])] == [
        True, False, True, False,
    ]  # fmt: skip


def test_evidence_changes_sides_with_its_hand() -> None:
    """The network swaps the hands in every second frame; the first hand is the ghost."""
    true = poses_of(moving_hands(40))
    evidence = [np.array([0.05, 0.9])[:: -1 if number % 2 else 1] for number in range(40)]
    poses = [exchanged(pose) if number % 2 else pose for number, pose in enumerate(true)]
    tracked = Script(poses, fields=lambda number, _: {"hand_evidence": evidence[number]}).run()
    assert tracked[0].sides == ("right", "left") and {pose.sides for pose in tracked[25:]} == {("left",)}


# ---- reported poses


def deeper(pose: HandPose) -> HandPose:
    """Report the same hands 7 px further right, and the left one 30 mm deeper."""
    joints_cam = pose.joints_cam + np.repeat([[0.0, 0, 0], [0, 0, 30]], 21, axis=0)
    return replace(pose, joints_2d=pose.joints_2d + ASIDE, joints_cam=joints_cam)


@pytest.mark.parametrize("smooth", [False, True])
def test_reported_poses_affect_no_decision_and_follow_each(smooth: bool) -> None:
    """With unstable sides, a hand that jumps, and one that disappears: reported as tracked, but shifted."""
    true = poses_of(moving_hands(90), confidence=np.full(42, 0.05))
    poses = [exchanged(pose) if 20 <= number < 24 else pose for number, pose in enumerate(true)]
    jumped = poses[40].joints_2d + np.repeat([[0.0, 0], [300, 0]], 21, axis=0)
    poses[40] = replace(poses[40], joints_2d=jumped)
    poses[60:] = [replace(pose, presence=[0.9, 0.1]) for pose in poses[60:]]
    plain, scripts = Script(poses), [Script(poses), Script(poses, report=deeper)]
    tracked, (same, reported) = plain.run(smooth=smooth), [script.run(smooth=smooth) for script in scripts]
    assert [[str(box) for box in boxes] for boxes in scripts[1].boxes] == [
        [str(box) for box in boxes] for boxes in plain.boxes
    ]
    for one, other, moved in zip(tracked, same, reported, strict=True):
        np.testing.assert_array_equal(one.joints_2d, other.joints_2d)
        np.testing.assert_array_equal(one.present, moved.present)
        there = one.present.repeat(21)
        np.testing.assert_allclose(moved.joints_2d[there], one.joints_2d[there] + ASIDE, atol=1e-3)
    depths = np.stack([(moved.joints_cam - one.joints_cam)[:, 2] for one, moved in zip(tracked, reported, strict=True)])
    exchanged_then = slice(20, 24)
    if not smooth:
        np.testing.assert_allclose(depths[:20, 21:], 30, atol=1e-6)
        np.testing.assert_allclose(depths[exchanged_then, :21], 30, atol=1e-6)
        np.testing.assert_allclose(
            reported[40].joints_2d[21:], reported[39].joints_2d[21:], err_msg="held at the reported position"
        )


def test_reported_hands_change_sides_with_the_tracked_ones() -> None:
    true = poses_of(moving_hands(4 * FIRST_SIDE_CHANGE_FRAMES))
    poses = [true[0], *(exchanged(pose) for pose in true[1:])]
    tracked, reported = Script(poses).run(smooth=True), Script(poses, report=deeper).run(smooth=True)
    for one, moved in zip(tracked, reported, strict=True):
        np.testing.assert_allclose(moved.joints_2d, one.joints_2d + ASIDE, atol=1e-3)
    assert swaps(tracked) == 1


def test_times_and_the_callers_numbers_stay() -> None:
    script = Script(poses_of(moving_hands(3)))
    assert [pose.time for pose in script.run(smooth=True)] == [0, 1 / 30, 2 / 30]


def test_two_versions_that_are_one_object_are_changed_once() -> None:
    called: list[int] = []

    def change(number: int) -> str:
        called.append(number)
        return str(number)

    one = 1000
    once = Versions(one, one).map(change)
    assert called == [one] and once.tracked is once.reported
    assert Versions(1, 2).map(change) == ("1", "2") and called == [one, 1, 2]


def test_an_exchanged_track_exchanges_all_values_of_the_hands() -> None:
    """Exchanged twice, it is the same but for its sides, which count as new."""
    pose = pose_of(moving_hands(1)[0], presence=np.array([0.9, 0.8]))
    last = FrameResult(Versions(pose, pose), hand_evidence=np.array([0.1, 0.2]), are_faces=np.array([True, False]))
    track = Track(
        last=last, presence=np.array([0.3, 0.4]), evidence=np.array([0.5, 0.6]), held=np.array([7, 8]),
        confirmed=np.array([False, True]), side_agreement=SIDE_CHANGE_FRAMES, frames_not_credible=1, vain_searches=2,
    )  # fmt: skip
    once, twice = track.exchanged(), track.exchanged().exchanged()
    assert once.last is not None and twice.last is not None
    np.testing.assert_array_equal(once.last.tracked.presence, [0.8, 0.9])
    assert once.last.are_faces is not None and once.last.are_faces.tolist() == [False, True]
    for name in ("presence", "evidence", "confirmed", "held"):
        np.testing.assert_array_equal(getattr(once, name), getattr(track, name)[::-1])
        np.testing.assert_array_equal(getattr(twice, name), getattr(track, name))
    np.testing.assert_array_equal(twice.last.tracked.joints_3d, pose.joints_3d)
    assert (once.side_agreement, once.frames_not_credible, once.vain_searches) == (FIRST_SIDE_CHANGE_FRAMES, 1, 2)
