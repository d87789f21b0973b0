"""`stream` for all kinds of sources: the poses, their order, and how failures are handled."""

import json
import logging
import re
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from clips import Camera, make_video
from motion import moving_hands
from poses import pose_of
from shades import Shades
from unclasp.errors import ImageError, UnclaspError
from unclasp.find.versions import Versions
from unclasp.follow.frame_result import FrameResult, PredictFrame
from unclasp.pose import HandPose
from unclasp.predictor import Predictor
from unclasp.streaming import StreamOptions, stream
from unclasp.video import Frame

POSE = pose_of(moving_hands(1)[0], box=np.array([0.0, 0.0, 640.0, 480.0]))


class Predict:
    """Records the pictures and boxes of its calls."""

    def __init__(self) -> None:
        self.images: list[np.ndarray] = []
        self.boxes: list[npt.ArrayLike | None] = []

    def __call__(
        self, image: np.ndarray, box: npt.ArrayLike | None, focal: tuple[float, float] | None = None
    ) -> HandPose:
        self.images.append(image)
        self.boxes.append(box)
        return POSE


def for_frames(predict: Predict) -> PredictFrame:
    """Wrap a predictor of pictures as one of video frames."""

    def predict_frame(image: np.ndarray, box: npt.ArrayLike | None, fresh: bool) -> FrameResult:
        pose = predict(image, box)
        return FrameResult(Versions(pose, pose))

    return predict_frame


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with two good pictures, each of a single grey, and a broken one between them."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, grey in (("a.png", 50), ("c.png", 200)):
        cv2.imwrite(str(folder / name), np.full((40, 60, 3), grey, np.uint8))
    (folder / "b.png").write_bytes(b"not a picture")
    return folder


def run(source: object, **options: object) -> tuple[list[HandPose], Predict]:
    predict = Predict()
    return list(stream(predict, for_frames(predict), source, StreamOptions(**options))), predict  # type: ignore[arg-type]


@pytest.mark.parametrize("source", [b"a.jpg", None, 1.5, True, [2.0]])
def test_wrong_types_are_named(source: Any) -> None:
    with pytest.raises(UnclaspError, match=r"a source is the path of .*, got (bytes|NoneType|float|bool)"):
        list(stream(lambda *_: pose_of(), for_frames(lambda *_: pose_of()), source, StreamOptions()))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("several", [False, True])
def test_the_content_of_a_file_is_no_list_of_cameras(kind: Any, several: bool) -> None:
    content: Any = kind(b"\x89PNG")
    with pytest.raises(UnclaspError, match=f"got {kind.__name__}; decode the content of a file with decode_photo"):
        list(Predictor(Shades()).stream([content] if several else content))


@pytest.mark.parametrize("several", [False, True])
def test_a_frame_is_no_source(several: bool) -> None:
    frame: Any = Frame(np.full((60, 80, 3), 120, np.uint8), 0, 0.0)  # its number is not a camera's
    with pytest.raises(UnclaspError, match=r"got Frame; give your own frames to Predictor.track"):
        list(Predictor(Shades()).stream([frame] if several else frame))


@pytest.mark.parametrize("mode", ["r", "rb"])
def test_an_open_file_is_no_list_of_its_lines(tmp_path: Path, mode: str) -> None:
    (tmp_path / "a.mp4").write_bytes(b"one\ntwo\n")
    errors: list[UnclaspError] = []
    with (tmp_path / "a.mp4").open(mode) as file:
        given: Any = file
        assert not list(Predictor(Shades()).stream(given, on_error=errors.append))
    (error,) = errors
    assert re.search(r"got (TextIOWrapper|BufferedReader); give the path of the file$", str(error))


def test_a_temporary_file_is_no_list_of_its_lines_either() -> None:
    errors: list[UnclaspError] = []
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(b"one\ntwo\n")
        file.seek(0)
        given: Any = file
        assert not list(Predictor(Shades()).stream(given, on_error=errors.append))
    (error,) = errors
    assert str(error).endswith("; give the path of the file")


def test_on_error_is_checked_at_the_call() -> None:
    on_error: Any = "raise"
    with pytest.raises(UnclaspError, match=r"^on_error must be a function of the error, got str; leave it out to have"):
        Predictor(Shades()).stream("a.mp4", on_error=on_error)


@pytest.mark.parametrize(
    ("frames", "told"),
    [
        (None, "got NoneType; give a list or a generator"),
        (np.zeros((2, 60, 80, 3), np.uint8), "got ndarray; give a list or a generator of them"),
        (Frame(np.zeros((60, 80, 3), np.uint8), 0, 0.0), "got Frame; give a list or a generator of them"),
        ("a.mp4", "got str; give files and cameras to Predictor.stream"),
        (0, "got int; give files and cameras to Predictor.stream"),
    ],
)
def test_what_is_no_series_of_frames_is_told_at_the_call(frames: Any, told: str) -> None:
    with pytest.raises(UnclaspError, match=rf"^expected several Frame\(image, number, time\), .*, {told}"):
        Predictor(Shades()).track(frames)


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (None, "frame 7: expected a picture, got None; OpenCV gives None at the end of a video"),
        (np.zeros((60, 80, 3)), r"frame 7: image must be \(H, W, 3\) uint8 RGB, got float64"),
    ],
)
def test_a_frame_that_holds_no_picture_is_told_with_its_number(image: Any, told: str) -> None:
    with pytest.raises(ImageError, match=f"^{told}"):
        next(Predictor(Shades()).track([Frame(image, 7, 0.0)]))


@pytest.mark.parametrize(
    "options", [{"every": 1.5}, {"every": "2"}, {"every": None}, {"every": True}, {"max_frames": float("nan")}]
)
def test_counts_of_frames_are_whole(options: dict[str, Any]) -> None:
    with pytest.raises(UnclaspError, match=f"{next(iter(options))} must be a whole number, got"):
        StreamOptions(**options)


@pytest.mark.parametrize("smooth", ["no", 0, None, [True]])
def test_flags_are_true_or_false(smooth: Any) -> None:
    with pytest.raises(UnclaspError, match=f"smooth must be True or False, got {re.escape(repr(smooth))}"):
        StreamOptions(smooth=smooth)


def test_numpy_s_flags_count(tmp_path: Path) -> None:
    poses = run(make_video(tmp_path / "clip.mp4"), smooth=np.False_, max_frames=2)[0]
    assert len(poses) == 2


@pytest.mark.parametrize("options", [{"every": 0}, {"max_frames": -3}])
def test_counts_of_frames_are_positive(options: dict[str, Any]) -> None:
    with pytest.raises(UnclaspError, match=f"{next(iter(options))} must be at least 1, got"):
        StreamOptions(**options)


def test_a_path_an_array_a_folder_a_pattern_and_a_list(photos: Path) -> None:
    array = np.full((40, 60, 3), 9, np.uint8)
    for source, greys in (
        (photos / "a.png", [50]),
        (str(photos / "c.png"), [200]),
        (array, [9]),
        (photos, [50, 200]),
        (f"{photos}/[ac].png", [50, 200]),
        ([array, photos / "c.png", f"{photos}/a*"], [9, 200, 50]),
        (iter([photos / "a.png", array]), [50, 9]),
    ):
        poses, predict = run(source, box=[1, 2, 30, 40])
        assert [int(image[0, 0, 0]) for image in predict.images] == greys
        assert predict.boxes == [[1, 2, 30, 40]] * len(greys)
    assert [pose.source for pose in run(photos)[0]] == [str(photos / "a.png"), str(photos / "c.png")]
    assert poses[1].source is None and poses[0].frame is None


def test_frames_of_one_s_own_are_tracked(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Predictor(Shades())
    image = np.full((60, 80, 3), 120, np.uint8)
    frames = (Frame(image if number < 3 else image[:40], number, number / 10) for number in range(5))
    poses = predictor.track(frames, StreamOptions(box=[5, 5, 60, 38]))
    first = next(poses)
    assert (first.frame, first.time, first.source) == (0, 0.0, None) and next(frames).number == 1, "one at a time"
    assert [(pose.frame, pose.image_size) for pose in poses] == [(2, (80, 60)), (3, (80, 40)), (4, (80, 40))]
    for wrong, told in (
        (image, r"expected a Frame\(image, number, time\), got ndarray"),
        (Frame(None, 0, 0.0), "None"),
    ):  # type: ignore[arg-type]
        with pytest.raises(UnclaspError, match=told):
            next(predictor.track([wrong]))  # type: ignore[list-item]


def test_numbers_of_frames_may_be_numpy_s(tmp_path: Path) -> None:
    frame = Frame(np.full((60, 80, 3), 120, np.uint8), np.int64(3), np.float32(0.5))  # type: ignore[arg-type]
    (pose,) = Predictor(Shades()).track([frame], StreamOptions(box=[5, 5, 60, 38]))
    assert (type(pose.frame), type(pose.time)) == (int, float)
    pose.save_json(tmp_path / "pose.json")
    image = json.loads((tmp_path / "pose.json").read_text())["image"]
    assert (image["frame"], image["time"]) == (3, 0.5)
    for time in (None, "0.5", 1j, np.complex64(1), float("nan")):
        with pytest.raises(UnclaspError, match="time must be a finite number of seconds"):
            next(Predictor(Shades()).track([frame._replace(time=time)]))  # type: ignore[arg-type]


def test_it_is_lazy(photos: Path) -> None:
    predict = Predict()
    poses = stream(predict, predict, photos, StreamOptions())
    assert not predict.images
    next(poses)
    assert len(predict.images) == 1


def test_failures_are_logged_and_the_other_sources_processed(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="unclasp"):
        poses, _ = run([photos, photos / "nowhere.png"])
    assert len(poses) == 2 and len(caplog.messages) == 2
    assert "b.png" in caplog.messages[0] and "nothing of this name" in caplog.messages[1]


def test_the_error_that_is_raised_is_not_logged_too(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    missing = [photos / f"{name}.png" for name in ("x", "y", "z")]
    with pytest.raises(UnclaspError, match=r"x\.png"):
        run(missing)
    assert ["y.png" in message or "z.png" in message for message in caplog.messages] == [True, True]
    caplog.clear()
    with pytest.raises(UnclaspError, match=r"x\.png"):
        run(missing[0])
    assert not caplog.messages
    poses, _ = run([missing[0], photos / "a.png", missing[1]])
    assert len(poses) == 1 and ["x.png" in message for message in caplog.messages] == [True, False]


def test_on_error_is_called_with_failures(photos: Path) -> None:
    errors: list[UnclaspError] = []
    assert list(stream(Predict(), for_frames(Predict()), photos / "b.png", StreamOptions(), errors.append)) == []
    assert len(errors) == 1 and str(photos / "b.png") in str(errors[0])


def test_a_source_of_a_wrong_type_does_not_stop_the_others(photos: Path) -> None:
    errors: list[UnclaspError] = []
    sources: list[Any] = [photos / "a.png", None, photos / "c.png"]
    poses = list(stream(Predict(), for_frames(Predict()), sources, StreamOptions(), errors.append))
    assert len(poses) == 2
    assert [str(error).rpartition(", got ")[2] for error in errors] == ["NoneType"]


def test_nothing_but_failures_is_an_error(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.mp4").write_bytes(make_video(tmp_path / "whole.mp4").read_bytes()[:-300])
    for source, message in (
        (photos / "b.png", "b.png"),
        ([tmp_path / "x.jpg", photos / "b.png"], "x.jpg"),
        (tmp_path / "cut.mp4", "cut.mp4: expected a video"),
        (63, "camera 63: there is none"),
    ):
        with pytest.raises(UnclaspError, match=message):
            run(source)
    assert run([])[0] == []


def test_a_video_gives_its_frames_among_the_others(photos: Path, tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4", size=(640, 480))
    poses, predict = run([photos / "a.png", clip, photos / "c.png"], every=5, max_frames=2)
    assert [pose.frame for pose in poses] == [None, 0, 5, None]
    assert [pose.time for pose in poses] == [None, 0, 0.2, None]
    assert [pose.source for pose in poses[1:3]] == [str(clip)] * 2
    np.testing.assert_allclose([image[32, 50, 0] for image in predict.images], [50, 16, 96, 200], atol=6)
    assert predict.boxes[1] is None and predict.boxes[2] is not None, "searched, then tracked"


def test_videos_are_smoothed_by_default(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4")
    poses = iter([pose_of(joints) for joints in moving_hands(24)] * 2)

    def predict_frame(image: np.ndarray, box: npt.ArrayLike | None, fresh: bool) -> FrameResult:
        return FrameResult(Versions(pose := next(poses), pose))

    pictures = Predict()
    smooth = list(stream(pictures, predict_frame, clip, StreamOptions()))
    assert not pictures.images, "frames are predicted separately"
    for _ in range(24 - 12):
        next(poses)
    plain = list(stream(pictures, predict_frame, clip, StreamOptions(smooth=False)))
    np.testing.assert_allclose(plain[5].joints_2d, pose_of(moving_hands(24)[5]).joints_2d)
    assert 0.1 < np.abs(smooth[5].joints_2d - plain[5].joints_2d).max() < 3, "smoothed, but not late"


def test_a_camera_is_released_when_the_stream_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = Camera(100)
    monkeypatch.setattr(cv2, "VideoCapture", lambda source: camera)
    poses = stream(Predict(), for_frames(Predict()), 0, StreamOptions())
    pose = next(poses)
    assert pose.source == "camera0" and not camera.released
    poses.close()  # type: ignore[attr-defined]
    assert camera.released
