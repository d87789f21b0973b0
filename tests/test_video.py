"""Videos made here: read, truncated, written, interrupted."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from clips import RATE, Camera, make_video
from unclasp import video, video_writer
from unclasp.errors import UnclaspError, VideoError
from unclasp.video import Video
from unclasp.video_writer import VideoWriter

REAL_CAPTURE = cv2.VideoCapture


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_video(tmp_path / "clip.mp4")


# ---- reading


def test_frames_come_in_order_as_rgb_with_their_times(clip: Path) -> None:
    with Video(clip) as opened:
        frames = list(opened)
        assert opened.rate == RATE and opened.expected == 12 and opened.name == str(clip)
    assert [frame.number for frame in frames] == list(range(12))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(12) / RATE, atol=1e-6)
    for frame in frames:
        assert frame.image.shape == (64, 96, 3) and frame.image.dtype == np.uint8
        np.testing.assert_allclose(frame.image[32, 60], 16 + 16 * frame.number, atol=6)
        red, green, blue = frame.image[32, 4].astype(int)
        assert red > 150 and max(green, blue) < 80


@pytest.mark.parametrize(
    ("every", "max_frames", "numbers"),
    [
        (1, None, range(12)),
        (5, None, [0, 5, 10]),
        (1, 3, [0, 1, 2]),
        (4, 2, [0, 4]),
        (100, None, [0]),
        (1, 99, range(12)),
    ],
)
def test_every_and_max_frames(clip: Path, every: int, max_frames: int | None, numbers: list[int]) -> None:
    with Video(clip, every=every, max_frames=max_frames) as opened:
        frames = list(opened)
        assert opened.expected == len(frames)
    assert [frame.number for frame in frames] == list(numbers)
    np.testing.assert_allclose([frame.time for frame in frames], np.array(numbers) / RATE, atol=1e-6)


@pytest.mark.parametrize(("every", "max_frames", "rest"), [(1, None, range(7, 12)), (2, None, []), (1, 9, [7, 8])])
def test_iterating_again_goes_on(clip: Path, every: int, max_frames: int | None, rest: list[int]) -> None:
    with Video(clip, every=every, max_frames=max_frames) as opened:
        first = [frame.number for _, frame in zip(range(7), opened, strict=False)]
        frames = list(opened)
        assert [frame.number for frame in frames] == list(rest)
        assert not list(opened), "and nothing is left to read, which is no error"
    assert first == list(range(0, 12, every))[:7]
    np.testing.assert_allclose([frame.time for frame in frames], np.array(rest) / RATE, atol=1e-6)


def test_a_closed_video_does_not_count_as_truncated(clip: Path) -> None:
    with Video(clip) as opened:
        frames = iter(opened)
        next(frames)
    for closed in (frames, iter(opened)):
        with pytest.raises(VideoError, match=r"clip.mp4: it has been closed; read its frames inside the with block$"):
            next(closed)


@pytest.mark.parametrize("options", [{"every": 0}, {"max_frames": 0}, {"every": -1}])
def test_counts_below_one_are_refused(clip: Path, options: dict[str, int]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(UnclaspError, match=f"^{name} must be at least 1, got {value}$"):
        Video(clip, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options", [{"every": 1.5}, {"every": "2"}, {"every": None}, {"every": True}, {"max_frames": float("nan")}]
)
def test_counts_are_whole(clip: Path, options: dict[str, Any]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(UnclaspError, match=f"^{name} must be a whole number, got {value!r}$"):
        Video(clip, **options)
    assert len(list(Video(clip, every=np.int64(5)))) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [-1, np.int64(-7)])
def test_cameras_are_numbered_from_zero(number: Any) -> None:
    """OpenCV ends the process if it is asked for another one."""
    with pytest.raises(VideoError, match=f"^the number of a camera must be at least 0, got {number}$"):
        Video(number)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: None, "expected a video, found nothing of this name"),
        (lambda path: path.mkdir(), "expected a video file, got a folder; name a file in it"),
        pytest.param(
            getattr(os, "mkfifo", os.mkdir),
            "expected a video file, got a device or pipe; save the video to a file first",
            marks=pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes"),
        ),
        (lambda path: path.write_bytes(b""), "expected a video, got an empty file"),
        (lambda path: path.write_bytes(b"hands" * 900), "expected a video, got a file that cannot be opened"),
        (lambda path: path.write_bytes(make_video(path).read_bytes()[:-300]), "truncated, damaged or in a "),
    ],
)
def test_what_is_no_video_is_told_in_one_line(tmp_path: Path, make: Callable[[Path], object], told: str) -> None:
    path = tmp_path / "clip.mp4"
    make(path)
    with pytest.raises(VideoError, match=told) as caught:
        Video(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_nothing_is_printed_about_it(tmp_path: Path) -> None:
    """In a process of its own: FFmpeg keeps the level of its first use."""
    (tmp_path / "clip.mp4").write_bytes(make_video(tmp_path / "whole.mp4").read_bytes()[:-300])
    code = """
import sys
from unclasp.errors import VideoError
from unclasp.video import Video
from unclasp.video_writer import VideoWriter
try:
    Video(sys.argv[1])
except VideoError:
    pass
import numpy as np
with VideoWriter(sys.argv[2], rate=25) as writer:
    writer.write(np.zeros((64, 64, 3), np.uint8))
print("done")
"""
    words = [sys.executable, "-c", code, str(tmp_path / "clip.mp4"), str(tmp_path / "out.mp4")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_a_file_that_may_not_be_read(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)
    with pytest.raises(VideoError, match=r"cannot be opened \(Permission denied\); check its permissions"):
        Video(clip)


def test_a_video_without_a_frame(tmp_path: Path) -> None:
    path = make_video(tmp_path / "none.avi", 0, codec="MJPG")
    with pytest.raises(VideoError, match=r"expected a video, got (one without a frame|a file that cannot)"):
        list(Video(path))


def test_a_truncated_video_gives_what_there_is_and_says_so(tmp_path: Path) -> None:
    """An AVI announces its frames at its start; an MP4 does so where it is made for streaming."""
    whole = make_video(tmp_path / "whole.avi", 40, codec="MJPG")
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    frames = []
    with pytest.raises(VideoError, match=r"cut.avi: ends after (\d+) of 40 frames: it is truncated") as caught:
        for frame in Video(cut):
            frames.append(frame)  # noqa: PERF402  the error comes after them
    assert 10 < len(frames) < 30 and f"after {len(frames)} of" in str(caught.value)
    assert len(list(Video(cut, max_frames=5))) == 5  # who wants no more is not told


class Telling:
    """A file of which OpenCV tells what the test says.

    Args:
        source: The file.
        told: Values of its properties.
        clock: Times of its frames in ms, instead of those of the file.
        frames: How many can be read, instead of all.
    """

    def __init__(
        self, source: str, told: dict[int, float], *, clock: Sequence[float] = (), frames: int | None = None
    ) -> None:
        self.inner, self.told, self.clock, self.frames = REAL_CAPTURE(source), told, list(clock), frames

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def get(self, key: int) -> float:
        if key == cv2.CAP_PROP_POS_MSEC and self.clock:
            return self.clock.pop(0)
        return self.told.get(key, self.inner.get(key))

    def grab(self) -> bool:
        self.frames = None if self.frames is None else self.frames - 1
        return self.frames != -1 and bool(self.inner.grab())


Tell = Callable[..., None]


@pytest.fixture
def tell(monkeypatch: pytest.MonkeyPatch) -> Tell:
    """Return a function that makes OpenCV tell something else of the files that are opened from then on (`Telling`)."""
    return lambda *told, **options: monkeypatch.setattr(
        cv2, "VideoCapture", lambda source: Telling(source, *told, **options)
    )


@pytest.mark.parametrize("last", [0.99, 0.6])
def test_a_file_that_announces_its_length_in_seconds_alone(tmp_path: Path, tell: Tell, last: float) -> None:
    """Of Matroska files with uneven times OpenCV tells duration times rate as the number of frames: here 100."""
    clip = make_video(tmp_path / "clip.avi", 12, codec="MJPG")  # its structure does not tell
    tell({cv2.CAP_PROP_FRAME_COUNT: 100.0}, clock=np.linspace(0, last * 100 / RATE, 12) * 1000)
    with Video(clip) as opened:
        if last > 0.95:
            assert len(list(opened)) == 12
        else:
            with pytest.raises(VideoError, match="ends after 12 of 100 frames"):
                list(opened)


def test_a_trimmed_file_has_fewer_frames_than_it_announces(clip: Path, tell: Tell) -> None:
    """An edit list hides frames, and the movie's duration does not count them."""
    tell({cv2.CAP_PROP_FRAME_COUNT: 100.0})
    with Video(clip) as opened:
        assert len(list(opened)) == 12
    tell({cv2.CAP_PROP_FRAME_COUNT: 100.0}, frames=7)
    with Video(clip) as opened, pytest.raises(VideoError, match="ends after 7 of 100 frames"):
        list(opened)  # not by its duration either


@pytest.mark.parametrize(
    ("clock", "times"),
    [
        (
            [5000, 5040, 5080, 8000, 1400, 1450, 1480],
            [0, 0.04, 0.08, 3, 3 + 1 / RATE, 3.05 + 1 / RATE, 3.08 + 1 / RATE],
        ),
        ([0, 40, 120, 80, 160], [0, 0.04, 0.12, 0.08, 0.16]),  # out of order, but the same recording
        ([0, 40, 80, 0, 160, 200], [0, 0.04, 0.08, 3 / RATE, 0.16, 0.2]),  # one without a time
        ([0, 1000, 2000, 0, 4000], [0, 1, 2, 3 / RATE, 4]),
        ([0, 0, 0, 0], [0, 1 / RATE, 2 / RATE, 3 / RATE]),
        ([0, 0, float("nan"), 700], [0, 1 / RATE, 2 / RATE, 0.7]),
    ],
)
def test_clocks_that_start_again_or_stumble(clip: Path, tell: Tell, clock: list[float], times: list[float]) -> None:
    tell({}, clock=clock)
    with Video(clip, max_frames=len(clock)) as opened:
        np.testing.assert_allclose([frame.time for frame in opened], times, atol=1e-9)


def test_a_camera_that_is_not_there(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(VideoError, match="camera 63: there is none, or it is in use or not permitted") as caught:
        Video(63)
    assert "\n" not in str(caught.value) and capfd.readouterr() == ("", "")


def test_a_camera_gives_frames_until_it_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    cameras = [Camera(3), Camera(3)]
    opening = iter(cameras)
    monkeypatch.setattr(cv2, "VideoCapture", lambda source: next(opening))
    with Video(0) as opened:
        assert opened.expected is None and opened.rate == video.USUAL_RATE and opened.name == "camera0"
        with pytest.raises(VideoError, match="camera 0: it stopped after 3 frames"):
            list(opened)
    assert cameras[0].released
    with Video(0, max_frames=2) as opened:
        frames = list(opened)
    assert [frame.number for frame in frames] == [0, 1] and 0 == frames[0].time <= frames[1].time


@pytest.mark.parametrize("number", [2**31, 10**12])
def test_a_number_that_no_camera_can_have(number: int) -> None:
    with pytest.raises(VideoError, match=f"camera {number}: there is none, or it is in use or not permitted"):
        Video(number)


@pytest.mark.parametrize("source", [True, 1.5, None])
def test_what_is_neither_a_path_nor_a_number_is_told(source: Any) -> None:
    with pytest.raises(VideoError, match="expected the path of a video or the number of a camera, got"):
        Video(source)


def test_the_next_recording_in_a_file_begins_a_step_of_what_is_read_later(clip: Path, tell: Tell) -> None:
    tell({}, clock=[5000.0, 8000.0, 1000.0, 1500.0])
    with Video(clip, every=3) as opened:
        told = [frame.time for frame in opened]
    np.testing.assert_allclose(told, [0, 3, 3 + 3 / RATE, 3.5 + 3 / RATE], atol=1e-9)


@pytest.mark.parametrize(("announced", "complete"), [(43, True), (44, False)])
def test_a_twentieth_of_the_frames_and_one_may_be_missing(
    tmp_path: Path, tell: Tell, announced: int, complete: bool
) -> None:
    clip = make_video(tmp_path / "clip.avi", 40, codec="MJPG")
    tell({cv2.CAP_PROP_FRAME_COUNT: float(announced)})
    expected = nullcontext() if complete else pytest.raises(VideoError, match="ends after 40 of 44 frames")
    with Video(clip) as opened, expected:
        assert len(list(opened)) == 40


def test_a_file_that_tells_no_rate_has_the_usual_one(clip: Path, tell: Tell) -> None:
    tell({cv2.CAP_PROP_FPS: 0.0})
    assert Video(clip).rate == video.USUAL_RATE


def test_a_file_that_tells_no_number_of_frames_may_have_any(clip: Path, tell: Tell) -> None:
    tell({cv2.CAP_PROP_FRAME_COUNT: 0.0})
    assert Video(clip).expected is None


def test_a_rate_below_what_an_mp4_can_have_is_raised(tmp_path: Path) -> None:
    assert VideoWriter(tmp_path / "out.mp4", rate=1e-4).rate == 0.002


def test_a_clock_is_not_taken_for_a_rate(clip: Path, tell: Tell) -> None:
    """OpenCV tells this of a Matroska file with uneven times and no rate of its own."""
    tell({cv2.CAP_PROP_FPS: 1000.0, cv2.CAP_PROP_FRAME_COUNT: 4000.0})
    with Video(clip) as opened:
        assert opened.rate == video.USUAL_RATE and opened.expected is None
        assert len(list(opened)) == 12, "and nobody misses the other 3988 frames"


@pytest.mark.parametrize(
    ("across", "down", "told"), [(16.0, 11.0, ["16:11"]), (8.0, 9.0, ["8:9"]), (1.0, 1.0, []), (0.0, 1.0, [])]
)
def test_pixels_that_are_not_square_are_told(
    clip: Path, tell: Tell, caplog: pytest.LogCaptureFixture, across: float, down: float, told: list[str]
) -> None:
    """OpenCV gives 0:1 for a file that does not say."""
    tell({cv2.CAP_PROP_SAR_NUM: across, cv2.CAP_PROP_SAR_DEN: down})
    with Video(clip):
        pass
    expected = [f"{clip}: its pixels are not square ({ratio}), but are taken for it" for ratio in told]
    assert [message.split(", so ")[0] for message in caplog.messages] == expected


def test_a_video_of_which_no_frame_can_be_decoded(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Undecodable(Telling):
        def retrieve(self) -> tuple[bool, None]:
            return False, None

    monkeypatch.setattr(cv2, "VideoCapture", lambda source: Undecodable(source, {}))
    with pytest.raises(VideoError, match="got one without a frame that can be decoded"):
        list(Video(clip))


def test_names_with_a_colon_are_no_protocols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with VideoWriter("2026-05-01T12:30:00.mp4", rate=RATE) as writer:
        for picture in pictures(3):
            writer.write(picture)
    assert len(list(Video("2026-05-01T12:30:00.mp4"))) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all names are Unicode")
def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    """In a process of its own, which such a name would end."""
    code = """
import os, sys
import numpy as np
from unclasp.video import Video
from unclasp.video_writer import VideoWriter
name = os.fsdecode(os.fsencode(sys.argv[1]) + b"/hand\\xe9.mp4")
with VideoWriter(name, rate=25) as writer:
    writer.write(np.zeros((64, 64, 3), np.uint8))
print(len(list(Video(name))))
"""
    words = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


# ---- writing


def pictures(count: int, height: int = 64, width: int = 96) -> list[np.ndarray]:
    return [np.full((height, width, 3), (200, 40 + 10 * number, 20), np.uint8) for number in range(count)]


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.mp4"
    with VideoWriter(path, rate=RATE) as writer:
        for picture in pictures(7):
            writer.write(picture)
        assert not path.exists(), "not before it is whole"
    assert writer.codec in video_writer.CODECS and list(path.parent.iterdir()) == [path]
    frames = list(Video(path))
    assert len(frames) == 7 and Video(path).rate == RATE
    for given, frame in zip(pictures(7), frames, strict=True):
        np.testing.assert_allclose(frame.image.astype(int), given, atol=12)


@pytest.mark.parametrize("rate", [0.004, 14.985, 23.976, 66.6667, 119.947, 480.123])
def test_rates_that_mpeg_4_cannot_tell_exactly(tmp_path: Path, rate: float) -> None:
    with VideoWriter(tmp_path / "out.mp4", rate=rate) as writer:
        for picture in pictures(4):
            writer.write(picture)
    assert len(list(Video(tmp_path / "out.mp4"))) == 4
    told = cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FPS)
    assert told == pytest.approx(rate, abs=1e-4 if rate < 65 else 0.01)


@pytest.mark.parametrize(
    ("all_frames", "times", "greens"),
    [
        (True, (0.0, 0.1, 0.2, 0.3), [40, 50, 60, 70]),
        (True, (0.0, 0.14, 0.15, 0.31), [40, 50, 60, 70]),  # uneven, but nowhere far from the rate
        (True, (0.0, 0.01, 0.02, 0.03), [40, 50, 60, 70]),  # too early: none is dropped
        (True, (0.0, 0.1, 0.5, 0.6), [40, 50, 50, 50, 50, 60, 70]),  # a gap
        (False, (0.0, 0.16, 0.24, 0.36), [40, 40, 50, 60, 70]),  # each at the nearest place
        (False, (0.0, 0.3, 0.32, 0.6), [40, 40, 40, 50, 60, 60, 70]),  # the third is too early for a place of its own
    ],
)
def test_a_picture_stays_until_the_next_one_and_all_frames_of_a_file_are_kept(
    tmp_path: Path, all_frames: bool, times: tuple[float, ...], greens: list[int]
) -> None:
    """At 10 a second."""
    with VideoWriter(tmp_path / "out.mp4", rate=10, all_frames=all_frames) as writer:
        for picture, time in zip(pictures(4), times, strict=True):
            writer.write(picture, time=time)
    written = [frame.image[..., 1].mean() for frame in Video(tmp_path / "out.mp4")]
    np.testing.assert_allclose(written, greens, atol=4)


def test_a_camera_that_slept_leaves_no_hour_of_one_picture(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", rate=2) as writer:
        for picture, time in zip(pictures(3), (0.0, 3600.0, 3601.0), strict=True):
            writer.write(picture, time=time)
    assert 20 <= len(list(Video(tmp_path / "out.mp4"))) <= 24


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits to the size of a file to set")
def test_a_file_that_could_not_be_written_whole_takes_no_place(tmp_path: Path) -> None:
    """OpenCV says nothing of it; in a process of its own, for the limit and what FFmpeg prints."""
    path = tmp_path / "out.mp4"
    path.write_bytes(b"earlier")
    code = """
import resource, sys
import numpy as np
from unclasp.errors import VideoError
from unclasp.video_writer import VideoWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
rng = np.random.default_rng(0)
try:
    with VideoWriter(sys.argv[1], rate=25) as writer:
        for _ in range(40):
            writer.write(rng.integers(0, 255, (240, 320, 3)).astype(np.uint8))
except VideoError as error:
    print(error)
"""
    words = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == f"{path}: only 0 of 40 frames could be written; is the disk full?\n"
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"earlier"


def test_odd_sides_lose_a_row_or_column(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", rate=RATE) as writer:
        for picture in pictures(3, 65, 97):
            writer.write(picture)
    assert next(iter(Video(tmp_path / "out.mp4"))).image.shape == (64, 96, 3)


def test_an_interruption_keeps_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt), VideoWriter(path, rate=RATE) as writer:
        for picture in pictures(5):
            writer.write(picture)
        raise KeyboardInterrupt
    assert len(list(Video(path))) == 5 and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [None, KeyboardInterrupt(), ValueError("x")])
@pytest.mark.parametrize("frames", [0, 3])
def test_nothing_is_left_of_what_failed(tmp_path: Path, error: BaseException | None, frames: int) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"earlier")
    with suppress(KeyboardInterrupt, ValueError), VideoWriter(path, rate=RATE) as writer:
        for picture in pictures(frames):
            writer.write(picture)
        if error is not None:
            raise error
    assert list(tmp_path.iterdir()) == [path]
    kept = frames > 0 and not isinstance(error, ValueError)
    assert (path.read_bytes() == b"earlier") == (not kept)


def test_frames_of_another_size_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(VideoError, match="all frames must be 96 × 64 px, got"),
        VideoWriter(tmp_path / "out.mp4", rate=RATE) as writer,
    ):
        writer.write(pictures(1)[0])
        writer.write(pictures(1, 32, 32)[0])
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(VideoError, match=r"/file: cannot be written \(it is a file, not a folder\); choose another"),
        VideoWriter(tmp_path / "file" / "out.mp4", rate=RATE) as writer,
    ):
        writer.write(pictures(1)[0])


def test_an_opencv_without_codecs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_writer, "CODECS", ("XXXX",))
    with (
        pytest.raises(VideoError, match="this OpenCV can write none of XXXX"),
        VideoWriter(tmp_path / "out.mp4", rate=RATE) as writer,
    ):
        writer.write(pictures(1)[0])
    assert not list(tmp_path.iterdir())
