"""From a picture to a `HandPose`: cropping, inference, and lifting to picture pixels and millimetres."""

from collections.abc import Generator, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

import numpy.typing as npt

from unclasp import geometry
from unclasp.arrays import Array, Floats, Pixels
from unclasp.crop_lifting import lifted
from unclasp.engines.network import Network
from unclasp.engines.onnx_engine import RunnerOptions
from unclasp.engines.onnx_model import in_onnx_runtime
from unclasp.engines.opening import open_network
from unclasp.errors import UnclaspError
from unclasp.find.credibility import detection_score
from unclasp.find.crop_predictor import CropPredictor
from unclasp.find.crop_result import CropResult
from unclasp.find.faces import FaceDetector, open_faces
from unclasp.find.frame_search import FrameSearch
from unclasp.find.fusion import Fusion, open_fusion
from unclasp.find.landmarks import Landmarks, open_landmarks
from unclasp.find.palms import PalmDetector, open_palms
from unclasp.find.photo_search import PhotoSearch
from unclasp.find.search import Detector, Search, by_network, search_with
from unclasp.find.touch_up import TouchUp
from unclasp.follow.frame_result import FrameResult, PredictFrame
from unclasp.inputs import CheckedPicture, Focal, check_flags, check_load_types, check_picture, check_threads
from unclasp.pose import HandPose
from unclasp.streaming import OnError, SourceLike, StreamOptions, check_on_error, checked_frames, frame_poses, stream
from unclasp.video import Frame, Video

if TYPE_CHECKING:
    import torch


class Predictor:
    """Predicts the poses of the hands in pictures.

    Examples:
        >>> pose = Predictor.load()(image)  # doctest: +SKIP
        >>> pose.sides, pose.hand("right")[1]  # doctest: +SKIP

    Args:
        network: The pose network, which predicts the hands in a crop.
        flip_test: Average the outputs for the crop and its mirror image, at twice the cost.
        search: Proposes regions in pictures without a box. Defaults to the pose network's own part segmentation.
            `Predictor.load` uses the hand finder instead, `search.search_with("finder", network)`.
        landmarks: The landmark network, which refines the joints (`touch_up`) and contributes to the decision which
            hands are present. Without it the joints stay as the pose network predicts them. `Predictor.load` uses
            `landmarks.open_landmarks()`.
        fusion: The fusion network, which weighs the landmark network's joints against the pose network's, joint by
            joint, and corrects the depths. Without it, and for pose networks that it does not support
            (`fusion.can_fuse`), a fixed rule does the weighing, and the depths do not change. `Predictor.load` uses
            `fusion.open_fusion()`.
        palms: The palm detector, which finds hands together with `landmarks` unless the search has found two certain
            hands (`hand_detector`). Not used where a box is given; in videos only while fewer than two hands are
            tracked. `Predictor.load` uses `palms.open_palms()`.
        faces: The face detector, which tells faces from hands in whole pictures, where the landmark network is not
            certain of a hand. Not used where a box is given. `Predictor.load` uses `faces.open_faces()`.
        second_opinions: Predict doubtful pictures again with test-time augmentation, mirrored and turned
            (`find.second_opinions`), and sweep the whole picture for hands (`find.sweep`). Neither where a box is
            given, nor in videos.
    """

    def __init__(
        self, network: Network, *, flip_test: bool = False, search: Search | None = None,
        landmarks: Landmarks | None = None, fusion: Fusion | None = None, palms: PalmDetector | None = None,
        faces: FaceDetector | None = None, second_opinions: bool = True,
    ) -> None:  # fmt: skip
        if isinstance(network, str | Path):
            raise UnclaspError(f"network must be a network, got {network!r}; use Predictor.load({network!r})")
        check_flags(flip_test=flip_test, second_opinions=second_opinions)
        self.crop_predictor = CropPredictor(network, flip_test=flip_test)
        self.touch_up = TouchUp(landmarks, fusion)
        search = by_network(network) if search is None else search
        self.photo_search = PhotoSearch(
            self.crop_predictor, search, self.touch_up, palms=palms, faces=faces, second_opinions=second_opinions
        )
        self.frame_search = FrameSearch(
            self.crop_predictor.without_average(), search, self.touch_up, detector=self.photo_search.detector,
            faces=faces,
        )  # fmt: skip

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Predictor can be neither pickled nor copied: load one in each process; threads may share it")

    @property
    def network(self) -> Network:
        """The pose network, which predicts the hands in a crop."""
        return self.crop_predictor.network

    @property
    def search(self) -> Search:
        """Proposes the regions of a whole picture to predict on."""
        return self.photo_search.search

    @property
    def palms(self) -> PalmDetector | None:
        """The palm detector, for pictures where the search is uncertain; unused without `landmarks`."""
        return self.photo_search.palms

    @property
    def faces(self) -> FaceDetector | None:
        """The face detector, for hands that may be faces; unused without `landmarks`."""
        return self.photo_search.faces

    @property
    def landmarks(self) -> Landmarks | None:
        """The landmark network, which refines the joints."""
        return self.touch_up.landmarks

    @property
    def fusion(self) -> Fusion | None:
        """The fusion network, which weighs the pose network's joints against the landmark network's."""
        return self.touch_up.fusion

    @classmethod
    def load(
        cls, weights: Path | str | None = None, *, device: "torch.device | str" = "cpu", flip_test: bool = False,
        detector: Detector = "finder", landmarks: bool = True, fusion: Path | str | None = None,
        second_opinions: bool = True, threads: int | None = None,
    ) -> Self:  # fmt: skip
        """Load a pose network together with the hand finder, palm and face detectors, landmark and fusion networks.

        Args:
            weights: A weights file of `unclasp train`, or an .onnx or .xml file of `unclasp export`. Defaults to the
                shipped model, `small`, which runs in ONNX Runtime on the CPU and in torch on other devices.
            device: The device that torch uses; exported models run on the CPU.
            flip_test: See `Predictor`.
            detector: Finds hands where a call gives no box: `finder`, the shipped hand finder; `network`, the pose
                network's own part segmentation (ten crops, and less accurate); `none`, the whole picture is the crop.
            landmarks: Refine the joints with MediaPipe's landmark network, which was trained on real hands, weighted by
                the fusion network, and tell faces from hands with its face detector; with the detector `finder`, also
                find hands with its palm detector. Without the landmark network, pictures are assumed to show hands.
            fusion: A file of `unclasp fusion train` instead of the shipped fusion network. The shipped one was trained
                on the errors of `small`; other pose networks do better with one of their own.
            second_opinions: Predict doubtful pictures again, see `Predictor`: they take several times as long.
            threads: CPU cores to use per picture, at most and by default all of them. For many processes in parallel
                one each is best. With torch the limit applies to the whole process.

        Raises:
            CheckpointError: The file is missing, damaged, or was not written by unclasp.
            UnclaspError: The detector or device does not exist, an exported model is to run on another device than the
                CPU, `fusion` is given although `landmarks` is false, `threads` is below 1, or a value is of another
                type.
        """
        check_load_types(device, weights=weights, fusion=fusion)
        check_flags(flip_test=flip_test, landmarks=landmarks, second_opinions=second_opinions)
        if fusion is not None and not landmarks:
            raise UnclaspError(
                "a fusion network needs the landmark network: leave out --fusion or --no-landmarks (landmarks=False)"
            )
        threads = check_threads(threads)
        network = open_network(weights, device=device, threads=threads)
        options: RunnerOptions = {"spin": in_onnx_runtime(network), "threads": threads}
        return cls(
            network, flip_test=flip_test, search=search_with(detector, network, threads=threads),
            landmarks=open_landmarks(**options) if landmarks else None,
            fusion=open_fusion(fusion) if landmarks else None,
            palms=open_palms(**options) if landmarks and detector == "finder" else None,
            faces=open_faces(**options) if landmarks else None, second_opinions=second_opinions,
        )  # fmt: skip

    def __call__(
        self, image: Array, box: npt.ArrayLike | None = None, *, focal: Focal | None = None,
        princpt: tuple[float, float] | None = None, mirrored: bool = False,
    ) -> HandPose:  # fmt: skip
        """Predict the pose of one person's hands; other people's that touch a single hand are in `touching`.

        Args:
            image: (H, W, 3) uint8 RGB; grey and RGBA pictures are converted.
            box: (4,) x1, y1, x2, y2 px around the hands, drawn as in InterHand2.6M: 1.2 times the tight box. Without
                it, hands are searched for in the whole picture.
            focal: Focal length in px, or fx, fy. Defaults to a field of view of `lifting.FIELD_OF_VIEW`.
            princpt: Principal point in px. Defaults to the middle of the picture.
            mirrored: The picture is a mirror image, such as a selfie: sides and 3D joints are those of the real hands;
                pixel coordinates, including `box` and `princpt`, are those of the picture as given.

        Raises:
            ImageError: `image` is not a picture.
            BoxError: The box is malformed, empty or outside the picture.
            UnclaspError: The camera is malformed, or the network's output is not finite.
        """
        shot = check_picture(image, box, focal=focal, princpt=princpt, mirrored=mirrored)
        if shot.box is not None:
            result = self.crop_predictor.hands_in(shot.image, geometry.square_box(shot.box))
            return self._lift(self.touch_up(result, shot.image), shot)
        found = self.photo_search.in_photo(shot.image)
        pose = self._lift(found.result, shot, found.regions, is_credible=found.is_credible)
        touching = (self._lift(other, shot) for other in self.photo_search.of_touching(found))
        return replace(pose, touching=tuple(replace(other, image=None) for other in touching))

    def everyone(
        self, image: Array, *, focal: Focal | None = None, princpt: tuple[float, float] | None = None,
        mirrored: bool = False,
    ) -> list[HandPose]:  # fmt: skip
        """Predict the poses of all people's hands, at most one right and one left hand per person.

        The first pose is the one that `Predictor.__call__` returns, with or without hands, but without `touching`:
        those hands are among the further poses, each of which has at least one hand. Hands are paired into people by
        their sides and distance alone. Without the palm detector, only the other regions of the hand finder are
        predicted on; other searches find one person only.

        Args:
            image: As in `__call__`.
            focal: As in `__call__`.
            princpt: As in `__call__`.
            mirrored: As in `__call__`.

        Raises:
            ImageError: As in `__call__`.
            UnclaspError: As in `__call__`.
        """
        shot = check_picture(image, None, focal=focal, princpt=princpt, mirrored=mirrored)
        found = self.photo_search.in_photo(shot.image)
        others = self.photo_search.of_others(shot.image, found) if found.is_credible else []
        first = self._lift(found.result, shot, found.regions, is_credible=found.is_credible)
        return [first, *(self._lift(other, shot) for other in others)]

    def stream(
        self, source: SourceLike | Iterable[SourceLike], *,
        options: StreamOptions = StreamOptions(),  # noqa: B008  frozen
        focal: Focal | None = None, princpt: tuple[float, float] | None = None, mirrored: bool = False,
        on_error: OnError | None = None,
    ) -> Generator[HandPose, None, None]:  # fmt: skip
        """Yield the poses of pictures, videos, cameras or folders lazily, one at a time.

        A video yields one pose per frame, with `frame` and `time` set; its hands are tracked, keep their slots, and are
        smoothed (docs/on-a-video.md).

        Examples:
            >>> for pose in predictor.stream("clip.mp4"):  # doctest: +SKIP
            ...     print(pose.frame, pose.sides)

        Args:
            source: The path of a picture or video, a folder, a glob pattern, a camera number, an array (H, W, 3), a
                `Photo`, or an iterable of these.
            options: The box, and how to process videos.
            focal: px, as in `__call__`; for picture files and photos it defaults to the focal length of the EXIF block
                (`read_photo`).
            princpt: px, as in `__call__`.
            mirrored: As in `__call__`.
            on_error: Called with the error of each source that fails; the remaining sources are still processed.
                Without it, errors are logged as warnings, except that the first one is raised at the end if no source
                yielded a pose.

        Raises:
            UnclaspError: No source could be used, and there is no `on_error`, or it cannot be called.
        """

        def predict(image: Pixels, box: npt.ArrayLike | None, exif_focal: tuple[float, float] | None) -> HandPose:
            return self(image, box, focal=exif_focal if focal is None else focal, princpt=princpt, mirrored=mirrored)

        check_on_error(on_error)
        predict_frame = self._frame_predictor(options, focal=focal, princpt=princpt, mirrored=mirrored)
        return stream(predict, predict_frame, source, options, on_error)

    def video(
        self, video: Video, options: StreamOptions = StreamOptions(), *,  # noqa: B008  frozen
        focal: Focal | None = None, princpt: tuple[float, float] | None = None, mirrored: bool = False,
    ) -> Generator[HandPose, None, None]:  # fmt: skip
        """Yield the pose of each frame of an open video or camera, tracked and smoothed as in `stream`.

        `options.every` and `options.max_frames` have no effect: the open video has its own.

        Raises:
            UnclaspError: As in `__call__`, or `video` is no `Video`.
        """
        if not isinstance(video, Video):
            advice = "give a path to Predictor.stream, and your own frames to Predictor.track"
            raise UnclaspError(f"expected an open Video, got {type(video).__name__}; {advice}")
        predict_frame = self._frame_predictor(options, focal=focal, princpt=princpt, mirrored=mirrored)
        return frame_poses(predict_frame, video, options, live=video.live, source=video.name)

    def track(
        self, frames: Iterable[Frame], options: StreamOptions = StreamOptions(), *,  # noqa: B008  frozen
        live: bool = True, focal: Focal | None = None, princpt: tuple[float, float] | None = None,
        mirrored: bool = False,
    ) -> Generator[HandPose, None, None]:  # fmt: skip
        """Yield the pose of each of your own frames, from any source, tracked and smoothed as in `stream`.

        Examples:
            >>> def frames():
            ...     for number, image in enumerate(my_camera):  # (H, W, 3) uint8 RGB
            ...         yield Frame(image, number, time.monotonic())
            >>> for pose in predictor.track(frames()):  # doctest: +SKIP
            ...     print(pose.frame, pose.sides)

        Args:
            frames: In the order of their times, which are in seconds from any origin. Where their size changes, the
                hands are searched for anew.
            options: The box, and whether to smooth; `every` and `max_frames` have no effect.
            live: Yield each pose before the next frame is asked for. Otherwise joints are smoothed over later frames,
                too, as those of files are, and poses come some frames late.
            focal: px, as in `__call__`.
            princpt: px, as in `__call__`.
            mirrored: As in `__call__`.

        Raises:
            ImageError: As in `__call__`.
            UnclaspError: As in `__call__`, or it is no iterable of `Frame`s.
        """
        check_flags(live=live)
        predict_frame = self._frame_predictor(options, focal=focal, princpt=princpt, mirrored=mirrored)
        return frame_poses(predict_frame, checked_frames(frames), options, live=live)

    def _frame_predictor(
        self, options: StreamOptions, *, focal: Focal | None, princpt: tuple[float, float] | None, mirrored: bool
    ) -> PredictFrame:
        """Return the function that predicts the hands of a video frame: `FrameSearch`, lifted to 3D."""
        check_flags(mirrored=mirrored)
        if not isinstance(options, StreamOptions):
            raise UnclaspError(
                f"options must be StreamOptions(...), got {type(options).__name__}; import it from unclasp"
            )

        def predict_frame(image: Pixels, box: npt.ArrayLike | None, /, *, fresh: bool) -> FrameResult:
            shot = check_picture(image, box, focal=focal, princpt=princpt, mirrored=mirrored)
            square = None if shot.box is None else geometry.square_box(shot.box)
            if options.box is None or square is None:
                found = self.frame_search(shot.image, square, fresh=fresh)
            else:
                found = self.frame_search.in_given_crop(shot.image, square)
            lift = partial(self._lift, shot=shot, other_regions=found.regions, is_credible=found.is_credible)
            score = detection_score(found.results.tracked)
            return FrameResult(found.results.map(lift), found.is_known, score, found.hand_evidence, found.are_faces)

        return predict_frame

    def _lift(
        self, result: CropResult, shot: CheckedPicture, other_regions: Floats | None = None, *, is_credible: bool = True
    ) -> HandPose:
        """Return the pose of the hands in a crop, in 2D and 3D; unless `is_credible`, no hand is present."""
        joints_cam, (height, width) = lifted(result, shot.camera), shot.given.shape[:2]
        pose = HandPose(
            joints_2d=result.joints_2d, joints_3d=geometry.relative_to_roots(joints_cam), joints_cam=joints_cam,
            presence=result.presence, present=result.present & is_credible,
            confidence=result.reported_confidence,
            box=result.square, other_regions=other_regions, camera=shot.camera, image=shot.given,
            depth_assumed="the distance at which the hands have the size of an average adult's, or less if uncertain",
            image_size=(width, height), model=self.network.name,
        )  # fmt: skip
        return shot.to_given(pose)
