"""The files written for a video, also when it ends early."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from motion import moving_hands
from poses import pose_of
from unclasp.errors import UnclaspError, VideoError
from unclasp.overlay import FrameDrawer
from unclasp.pose import HandPose
from unclasp.recording import record
from unclasp.rerun_log import RerunLog
from unclasp.video import Video
from unclasp.video_writer import VideoWriter

HEIGHT, WIDTH = 240, 320


def some_poses(count: int, error: BaseException | None = None, **fields: Any) -> Iterator[HandPose]:
    for number, joints in enumerate(moving_hands(count)):
        image = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
        yield pose_of(joints, image=image, frame=number, time=number / 25, **fields)
    if error is not None:
        raise error


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- the overlay


def test_the_overlay_leaves_the_frame_alone_and_draws_hands_and_a_view() -> None:
    image = np.full((480, 640, 3), 40, np.uint8)
    views = pose_of(moving_hands(1)[0]).views()
    drawn = FrameDrawer()(image, views)
    assert (image == 40).all() and drawn.shape == image.shape
    changed = (drawn != 40).any(axis=2)
    rows, columns = np.nonzero((drawn == (253, 252, 250)).all(axis=2))
    assert rows.min() > 300 and columns.min() > 460 and len(rows) > 0.5 * 0.1 * 640 * 480 / 2
    low, high = views[0].joints_2d.min(axis=0), views[0].joints_2d.max(axis=0)
    assert changed[int(low[1]) : int(high[1]), int(low[0]) : int(high[0])].mean() > 0.05
    assert not changed[:40].any()


@pytest.mark.parametrize(("height", "width"), [(64, 96), (720, 1280), (1080, 607)])
def test_without_hands_the_frame_is_the_frame(height: int, width: int) -> None:
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8)
    np.testing.assert_array_equal(FrameDrawer()(image, []), image)
    views = pose_of(moving_hands(1)[0]).views()
    assert FrameDrawer()(image, views[:1]).shape == FrameDrawer()(image, views).shape == image.shape


def test_hands_in_doubt_are_dashed() -> None:
    (view, _) = next(iter(some_poses(1))).views()
    image = np.full((480, 640, 3), 40, np.uint8)
    drawn = [FrameDrawer()(image, [replace(view, doubted=doubted)]) for doubted in (False, True)]
    sure, dashed = ((frame[:300] != 40).any(axis=2).sum() for frame in drawn)
    assert 0.2 * sure < dashed < 0.8 * sure


def test_the_view_is_of_both_hands_in_one_space() -> None:
    image = np.full((480, 640, 3), 40, np.uint8)
    right, left = pose_of(moving_hands(1)[0]).views()
    closer = replace(left, joints_3d=left.joints_3d - 0.7 * left.joints_3d[20])
    near, far = FrameDrawer()(image, [right, closer]), FrameDrawer()(image, [right, left])
    assert (near[320:, 480:] != far[320:, 480:]).any()


def test_the_view_makes_way_for_hands_after_a_while_and_stays_then() -> None:
    image, draw = np.full((480, 640, 3), 40, np.uint8), FrameDrawer()
    (view,) = pose_of(moving_hands(1)[0]).views()[:1]
    shape = view.joints_2d - view.joints_2d.mean(axis=0)
    low_right, low_left, middle = (
        replace(view, joints_2d=shape * 0.3 + at) for at in ([560, 400], [80, 400], [320, 240])
    )
    places = [corner_of(draw(image, [hand])) for hand in [low_right] * 3 + [middle] * 3]
    assert places == ["left"] * 6  # at once in the first frame, and not back
    places = [corner_of(draw(image, [hand])) for hand in [low_left] * 10 + [middle] + [low_left] * 20]
    assert places == ["left"] * 26 + ["right"] * 5
    assert corner_of(FrameDrawer()(image, [low_right, low_left])) == "upper right"
    wide = replace(view, joints_2d=np.linspace([0, 0], [640, 480], 21))
    assert [corner_of(draw(image, [wide])) for _ in range(20)] == ["right"] * 20


def corner_of(frame: np.ndarray) -> str:
    rows, columns = np.nonzero((frame == (253, 252, 250)).all(axis=2))
    return ("upper " if rows.mean() < 240 else "") + ("left" if columns.mean() < 320 else "right")


# ---- files


def test_an_mp4_and_a_line_per_frame(tmp_path: Path) -> None:
    written: list[int | None] = []
    recorded = record(
        some_poses(6), tmp_path / "out" / "a.b", rate=25, on_frame=lambda pose: written.append(pose.frame)
    )
    assert (recorded.frames, recorded.both, recorded.of_side, recorded.problem) == (6, 6, {"right": 6, "left": 6}, None)
    assert names(tmp_path / "out") == ["a.b.jsonl", "a.b.mp4"] and written == list(range(6))
    lines = (tmp_path / "out" / "a.b.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [pose.to_dict() for pose in some_poses(6)]
    frames = list(Video(tmp_path / "out" / "a.b.mp4"))
    assert len(frames) == 6 and np.ptp(frames[0].image.astype(int)) > 150, "the hands are drawn"


def test_frames_that_change_their_size_lose_no_recording(tmp_path: Path) -> None:
    """As those of a virtual camera may."""
    poses = list(some_poses(3))
    narrow = np.full((HEIGHT, WIDTH // 2, 3), 200, np.uint8)
    poses[1] = replace(poses[1], image=narrow, image_size=(WIDTH // 2, HEIGHT), present=np.array([False, False]))
    recorded = record(poses, tmp_path / "a", rate=25)
    assert (recorded.frames, recorded.problem) == (3, None)
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert lines[1]["image"]["width"] == WIDTH // 2
    with Video(tmp_path / "a.mp4") as video:
        frames = [frame.image for frame in video]
    assert {frame.shape for frame in frames} == {(HEIGHT, WIDTH, 3)}
    assert frames[1][:, 90:230].mean() > 180 and max(frames[1][:, :70].mean(), frames[1][:, -70:].mean()) < 20
    assert abs(frames[2][:60].mean() - 40) < 5


def test_only_present_hands_are_counted(tmp_path: Path) -> None:
    poses = [replace(pose, present=np.array([False, number < 2])) for number, pose in enumerate(some_poses(5))]
    recorded = record(poses, tmp_path / "a", rate=25)
    assert (recorded.frames, recorded.both, recorded.of_side, recorded.doubted) == (5, 0, {"left": 2}, 0)


def test_frames_with_a_hand_in_doubt_are_counted(tmp_path: Path) -> None:
    poses = [replace(pose, confidence=np.full(42, 0.2 * number)) for number, pose in enumerate(some_poses(5))]
    assert record(poses, tmp_path / "a", rate=25).doubted == 2


def test_frames_with_hands_in_contact_are_counted(tmp_path: Path) -> None:
    def beside(gap: float) -> HandPose:
        (pose,) = some_poses(1)
        joints = pose.joints_cam.copy()
        joints[21:] = joints[:21] + np.array([gap, 0.0, 0.0])
        return replace(pose, joints_cam=joints, confidence=np.ones(42))

    poses = [beside(8), beside(300), replace(beside(8), present=np.array([True, False]))]
    assert [pose.contact is not None and pose.contact.is_likely for pose in poses] == [True, False, False]
    assert record(poses, tmp_path / "a", rate=25).in_contact == 1


def test_an_interruption_keeps_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        record(some_poses(0, KeyboardInterrupt()), tmp_path / "a", rate=25)
    assert names(tmp_path) == []
    recorded = record(some_poses(4, KeyboardInterrupt()), tmp_path / "a", rate=25)
    assert recorded.interrupted and recorded.frames == 4
    assert names(tmp_path) == ["a.jsonl", "a.mp4"]
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == len(list(Video(tmp_path / "a.mp4"))) == 4


def test_a_camera_ends_by_ctrl_c_and_plays_at_its_own_pace(tmp_path: Path) -> None:
    """Twelve frames per second in an MP4 of 24: each frame is repeated; there is one line per predicted frame."""
    slow = (replace(pose, time=number / 12) for number, pose in enumerate(some_poses(6)))

    def until_interrupted() -> Iterator[HandPose]:
        yield from slow
        raise KeyboardInterrupt

    recorded = record(until_interrupted(), tmp_path / "camera0", rate=24, live=True)
    assert (recorded.frames, recorded.both, recorded.problem) == (6, 6, None)
    assert len((tmp_path / "camera0.jsonl").read_text().splitlines()) == 6
    assert len(list(Video(tmp_path / "camera0.mp4"))) == 11
    with pytest.raises(KeyboardInterrupt):
        record(some_poses(0, KeyboardInterrupt()), tmp_path / "none", rate=24, live=True)
    assert names(tmp_path) == ["camera0.jsonl", "camera0.mp4"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full, others do not")
def test_a_full_disk_leaves_nothing_and_names_what_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = tmp_path / ".full"
    full.symlink_to("/dev/full")
    monkeypatch.setattr("unclasp.recording.temporary_beside", lambda _: full)
    with pytest.raises(VideoError, match=r"a\.jsonl: cannot be written \(No space left on device\); is the disk full"):
        record(some_poses(3), tmp_path / "a", rate=25)
    assert names(tmp_path) == []


def test_other_os_errors_are_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    def closed(_: HandPose) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        record(some_poses(3), tmp_path / "a", rate=25, on_frame=closed)
    assert names(tmp_path) == []


def test_an_interruption_while_files_are_moved_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(writer: VideoWriter) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(VideoWriter, "_check_complete", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record(some_poses(3, KeyboardInterrupt()), tmp_path / "a", rate=24, live=True)
    assert "a.mp4" not in names(tmp_path)


def test_without_the_mp4_there_are_no_lines_that_would_imply_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def incomplete(writer: VideoWriter) -> None:
        raise VideoError("a.mp4: only 0 of 3 frames could be written; is the disk full?")

    monkeypatch.setattr(VideoWriter, "_check_complete", incomplete)
    with pytest.raises(VideoError, match="only 0 of 3"):
        record(some_poses(3), tmp_path / "a", rate=25)
    assert names(tmp_path) == []


def test_a_source_that_fails_midway_is_kept_and_its_error_reported(tmp_path: Path) -> None:
    recorded = record(some_poses(4, VideoError("clip.mp4: ends")), tmp_path / "a", rate=25)
    assert recorded.frames == 4 and str(recorded.problem) == "clip.mp4: ends"
    assert names(tmp_path) == ["a.jsonl", "a.mp4"]
    with pytest.raises(VideoError, match="without a frame"):
        record(some_poses(0, VideoError("without a frame")), tmp_path / "b", rate=25)
    assert names(tmp_path) == ["a.jsonl", "a.mp4"]


def test_other_errors_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        record(some_poses(4, RuntimeError()), tmp_path / "a", rate=25)
    with pytest.raises(UnclaspError, match="hold their pictures"):
        record([replace(pose, image=None) for pose in some_poses(2)], tmp_path / "a", rate=25)
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(VideoError, match=r"/file: cannot be written \(it is a file, not a folder\); choose another"):
        record(some_poses(2), tmp_path / "file" / "a", rate=25)
    assert names(tmp_path) == ["file"]


# ---- Rerun


def test_without_rerun_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(UnclaspError, match=r"needs rerun-sdk .* pip install 'unclasp\[rerun\]'"):
        record(some_poses(2), tmp_path / "a", rate=25, rerun=True)
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [None, KeyboardInterrupt(), ValueError()])
def test_a_rerun_recording(tmp_path: Path, error: BaseException | None) -> None:
    pytest.importorskip("rerun", reason="rerun-sdk is not installed")
    path = tmp_path / "a.rrd"
    try:
        with RerunLog(path) as log:
            for pose in some_poses(3):
                log.write(replace(pose, present=np.array([True, pose.frame != 1])))
            if error is not None:
                raise error
    except (KeyboardInterrupt, ValueError) as caught:
        assert caught is error
    assert names(tmp_path) == ([] if isinstance(error, ValueError) else ["a.rrd"])
    if path.exists():
        assert path.read_bytes()[:3] == b"RRF" and path.stat().st_size > 3000


@pytest.mark.parametrize("error", [None, KeyboardInterrupt("stopped"), VideoError("the disk is full")])
def test_a_rerun_recording_that_could_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException | None
) -> None:
    """Rerun tells at its flush that its writer has stopped; an earlier error is not hidden by that."""

    class Stream:
        save = log = set_time = disconnect = lambda *_, **__: None

        def flush(self) -> None:
            raise RuntimeError("File-writer thread shut down prematurely")

    fake = SimpleNamespace(RecordingStream=lambda _: Stream(), ViewCoordinates=SimpleNamespace(RDF="RDF"))
    monkeypatch.setitem(sys.modules, "rerun", fake)
    told = "a.rrd: cannot be written .File-writer thread .*; is the disk full" if error is None else str(error)
    with pytest.raises(VideoError if error is None else type(error), match=told), RerunLog(tmp_path / "a.rrd") as log:
        log._frames = 1
        if error is not None:
            raise error
    assert names(tmp_path) == []


def test_the_calls_to_rerun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for rerun that records paths, times and numbers."""
    entries: list[tuple[str, Any]] = []

    class Stream:
        def save(self, path: str) -> None:
            Path(path).write_bytes(b"RRF2")

        def log(self, path: str, what: Any, *, static: bool = False) -> None:
            entries.append((path, what))

        def set_time(self, name: str, **value: float) -> None:
            entries.append((name, next(iter(value.values()))))

        def flush(self) -> None: ...
        def disconnect(self) -> None: ...

    def kind(name: str) -> Any:
        return lambda *args, **options: (name, *args)

    archetypes = ("LineStrips2D", "Points2D", "LineStrips3D", "Points3D", "Clear")
    picture = lambda image: SimpleNamespace(compress=lambda jpeg_quality: ("Image", image))  # noqa: E731
    fake = SimpleNamespace(
        RecordingStream=lambda name: Stream(), ViewCoordinates=SimpleNamespace(RDF="RDF"), Image=picture,
        **{name: kind(name) for name in archetypes},
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "rerun", fake)
    poses = [replace(pose, present=np.array([True, pose.frame == 1])) for pose in some_poses(2)]
    record(poses, tmp_path / "a", rate=25, rerun=True)
    assert names(tmp_path) == ["a.jsonl", "a.mp4", "a.rrd"]
    logged = dict(entries)
    assert logged["world"] == "RDF" and logged["frame"] == 1 and logged["time"] == 1 / 25
    assert [what[0] for path, what in entries if path == "world/left"] == ["Clear"]  # in the first frame
    np.testing.assert_array_equal(logged["world/right/joints"][1], poses[1].joints_cam[:21])
    np.testing.assert_array_equal(logged["picture/left/joints"][1], poses[1].joints_2d[21:])
    np.testing.assert_array_equal(logged["world/left/bones"][1][0], poses[1].joints_cam[[21, 22]])
