"""Picture in, `HandPose` out: crops, the network, and the way back to the picture and to millimetres."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.batch import ByteArray
from unclasp.data.transforms import sight_of
from unclasp.engines.network import Network
from unclasp.engines.onnx_engine import RunnerOptions
from unclasp.engines.onnx_model import in_onnx_runtime
from unclasp.engines.opening import open_network
from unclasp.errors import UnclaspError, check_at_least
from unclasp.find.crop_predictor import CropPredictor
from unclasp.find.crop_result import CropResult
from unclasp.find.fusion import Fusion, open_fusion
from unclasp.find.landmarks import Landmarks, open_landmarks
from unclasp.find.palms import PalmFinder, open_palms
from unclasp.find.photo_search import FoundInPhoto, PhotoSearch
from unclasp.find.search import Detector, Search, by_network, search_with
from unclasp.follow.frame_result import FrameResult, PredictFrame
from unclasp.hands import ROOTS
from unclasp.inputs import CheckedPicture, check_picture
from unclasp.lifting import wrist_depths
from unclasp.pose import HandPose
from unclasp.streaming import OnError, SourceLike, StreamOptions, stream, video_poses
from unclasp.video import Video

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.floating]


class Predictor:
    """Poses of the hands in pictures.

    >>> pose = Predictor.load()(image)  # doctest: +SKIP
    >>> pose.sides, pose.hand("right")[1]  # doctest: +SKIP

    Args:
        network: What answers for crops.
        flip_test: Average over the crop and its mirror image, at twice the cost.
        search: Where to look in pictures without a box. If not given, the network's own search, and not the finder of
            `Predictor.load`, which is `search.search_with("finder", network)`.
        landmarks: Touches up the joints (`touch_up`), and has a say in whether there are hands, and which. If not
            given, they stay as the network has them; that of `Predictor.load` is `landmarks.open_landmarks()`.
        fusion: Tells for each joint how much of that to believe, and how deep it is; that of `Predictor.load` is
            `fusion.open_fusion()`. Without it, and for networks that it cannot be used with (`fusion.can_fuse`), a rule
            does, and depths stay.
        palms: The palm detector, which finds hands together with `landmarks` where not both hands are certain
            (`hand_detector`); that of `Predictor.load` is `palms.open_palms()`. Not used where a box is given, and in
            videos only where no hands are known.
        second_opinions: Look at doubtful pictures mirrored and turned, too (`find.second_opinions`), and all over
            (`find.sweep`). Not where a box is given, and not in videos.
    """

    def __init__(
        self, network: Network, *, flip_test: bool = False, search: Search | None = None,
        landmarks: Landmarks | None = None, fusion: Fusion | None = None, palms: PalmFinder | None = None,
        second_opinions: bool = True,
    ) -> None:  # fmt: skip
        self.crop_predictor = CropPredictor(network, flip_test=flip_test)
        self.photo_search = PhotoSearch(
            self.crop_predictor, by_network(network) if search is None else search, landmarks=landmarks, fusion=fusion,
            palms=palms, second_opinions=second_opinions,
        )  # fmt: skip

    @property
    def network(self) -> Network:
        """What answers for crops."""
        return self.crop_predictor.network

    @property
    def search(self) -> Search:
        """What tells where to look in a whole picture."""
        return self.photo_search.search

    @property
    def palms(self) -> PalmFinder | None:
        """What spots hands where the search is in doubt, together with `landmarks`: not without these."""
        return self.photo_search.palms

    @property
    def landmarks(self) -> Landmarks | None:
        """What touches up the joints."""
        return self.photo_search.landmarks

    @property
    def fusion(self) -> Fusion | None:
        """What says how."""
        return self.photo_search.fusion

    @classmethod
    def load(
        cls, weights: Path | str | None = None, *, device: "torch.device | str" = "cpu", flip_test: bool = False,
        detector: Detector = "finder", landmarks: bool = True, fusion: Path | str | None = None,
        second_opinions: bool = True, threads: int | None = None,
    ) -> Self:  # fmt: skip
        """Load a model, and with it the finder of hands, the landmark network and the fusion network.

        Args:
            weights: A weights file of `unclasp train`, or an .onnx or .xml of `unclasp export`. If none is given, the
                shipped model, `small`, which ONNX Runtime runs on the CPU, and torch elsewhere.
            device: Where torch runs it; exported models run on the CPU.
            flip_test: As of the class.
            detector: What looks for hands where a call gives no box: `finder`, the shipped finder of hands; `network`,
                the pose network's own part segmentation (ten crops, and less often right); `none`, the whole picture is
                the crop.
            landmarks: Touch up the joints by MediaPipe's landmark network, which has seen real hands, as the fusion
                network tells; with the detector `finder`, spot hands by its palm detector, too. Without it all pictures
                are believed to have hands.
            fusion: A file of `unclasp fusion train` in place of the shipped one, which has learned the mistakes of
                `small`. Other networks than that are better with one of their own.
            second_opinions: Look at pictures in doubt in other ways, too, as of the class: up to a second more.
            threads: How many cores a picture may take; as many as there are if not given. One each is best for many
                processes side by side. With torch this holds for all that the process does.

        Raises:
            CheckpointError: The file is missing, damaged or not ours.
            UnclaspError: There is no such detector or device, the device is not the CPU for an exported model, there is
                a fusion network without the landmark network, or `threads` is below 1.
        """
        if fusion is not None and not landmarks:
            raise UnclaspError(
                "a fusion network needs the landmark network: leave out --fusion or --no-landmarks (landmarks=False)"
            )
        check_at_least(1, threads=threads)
        network = open_network(weights, device=device, threads=threads)
        options: RunnerOptions = {"spin": in_onnx_runtime(network), "threads": threads}
        return cls(
            network, flip_test=flip_test, search=search_with(detector, network, threads=threads),
            landmarks=open_landmarks(**options) if landmarks else None,
            fusion=open_fusion(fusion) if landmarks else None,
            palms=open_palms(**options) if landmarks and detector == "finder" else None,
            second_opinions=second_opinions,
        )  # fmt: skip

    def __call__(
        self,
        image: ByteArray,
        box: npt.ArrayLike | None = None,
        *,
        focal: tuple[float, float] | None = None,
        princpt: tuple[float, float] | None = None,
        mirrored: bool = False,
    ) -> HandPose:
        """Find the pose of the hands of one person.

        Args:
            image: (H, W, 3) uint8 RGB; a grey or RGBA one is converted.
            box: (4,) x1, y1, x2, y2 px around the hands, like InterHand2.6M's: the tight box times 1.2. Without one the
                hands are looked for in the whole picture first.
            focal: px. Without it `lifting.FIELD_OF_VIEW` is assumed.
            princpt: px. Without it the picture's middle.
            mirrored: The picture is a mirror image, such as a selfie: sides and 3D are those of the real hands, pixels
                (also of `box` and `princpt`) those of the picture as given.

        Raises:
            ImageError: The image is not a picture.
            BoxError: The box is malformed, empty or outside of the picture.
            UnclaspError: The camera is malformed, or the network's answer is not finite.
        """
        shot = check_picture(image, box, focal=focal, princpt=princpt, mirrored=mirrored)
        if shot.box is not None:
            view = self.crop_predictor.hands_in(shot.image, geometry.square_box(shot.box))
            return self._lift(self.photo_search.touch_up(view, shot.image), shot, None)
        return self._told(self.photo_search.in_photo(shot.image), shot)

    def everyone(
        self,
        image: ByteArray,
        *,
        focal: tuple[float, float] | None = None,
        princpt: tuple[float, float] | None = None,
        mirrored: bool = False,
    ) -> list[HandPose]:
        """Find the poses of the hands of all people, at most a right and a left one of each.

        The first is the one that a call returns, with or without hands; the others have some. Which hands are one
        person's is told by their sides and their distance alone. Without the palm detector the others are those in
        the regions that the finder saw; other searches tell of none.

        Args:
            image: As in a call.
            focal: As in a call.
            princpt: As in a call.
            mirrored: As in a call.

        Raises:
            ImageError: As in a call.
            UnclaspError: As in a call.
        """
        shot = check_picture(image, None, focal=focal, princpt=princpt, mirrored=mirrored)
        found = self.photo_search.in_photo(shot.image)
        others = self.photo_search.of_others(shot.image, found) if found.is_credible else []
        return [self._told(found, shot), *(self._lift(each, shot, None) for each in others)]

    def stream(
        self,
        source: SourceLike | Iterable[SourceLike],
        *,
        options: StreamOptions = StreamOptions(),  # noqa: B008  frozen
        focal: tuple[float, float] | None = None,
        princpt: tuple[float, float] | None = None,
        mirrored: bool = False,
        on_error: OnError | None = None,
    ) -> Iterator[HandPose]:
        """Yield the poses in any source, one by one as they are asked for.

        >>> for pose in predictor.stream("clip.mp4"):  # doctest: +SKIP
        ...     print(pose.frame, pose.sides)

        Videos give a pose for each frame, with `frame` and `time`; the hands are followed, keep their slots, and are
        smoothed (docs/on-a-video.md).

        Args:
            source: A picture's or video's path, a folder, a pattern, the number of a camera, an array (H, W, 3), or an
                iterable of those.
            options: The box, and how videos are gone through.
            focal: px, as in a single call; if not given, that of a picture file's EXIF block counts (`read_photo`).
            princpt: px, as in a single call.
            mirrored: As in a single call.
            on_error: Is told of each source that fails; the others are done nevertheless. Without it they are logged
                as warnings, and if there was nothing but failures the first one is raised.

        Raises:
            UnclaspError: No source could be used.
        """

        def picture(image: ByteArray, box: npt.ArrayLike | None, known: tuple[float, float] | None) -> HandPose:
            return self(image, box, focal=focal or known, princpt=princpt, mirrored=mirrored)

        frame = self._frames(options, focal=focal, princpt=princpt, mirrored=mirrored)
        return stream(picture, frame, source, options, on_error)

    def video(
        self,
        video: Video,
        options: StreamOptions = StreamOptions(),  # noqa: B008  frozen
        *,
        focal: tuple[float, float] | None = None,
        princpt: tuple[float, float] | None = None,
        mirrored: bool = False,
    ) -> Iterator[HandPose]:
        """Yield the pose of each frame of an open video or camera, tracked and smoothed, as `stream` does.

        Of the options, `every` and `max_frames` are the video's own.
        """
        return video_poses(self._frames(options, focal=focal, princpt=princpt, mirrored=mirrored), video, options)

    def _frames(
        self, options: StreamOptions, *, focal: tuple[float, float] | None, princpt: tuple[float, float] | None,
        mirrored: bool,
    ) -> PredictFrame:  # fmt: skip
        return partial(
            self._frame, focal=focal, princpt=princpt, mirrored=mirrored, hands_given=options.box is not None
        )

    def _frame(
        self, image: ByteArray, box: npt.ArrayLike | None, /, *, fresh: bool, focal: tuple[float, float] | None,
        princpt: tuple[float, float] | None, mirrored: bool, hands_given: bool,
    ) -> FrameResult:  # fmt: skip
        """See the hands of a frame: no doubts are looked into, as other frames tell more.

        They are followed by the joints of the touch-up's rule, for which the tracker's thresholds were chosen: by those
        of the fusion network, hands that cross change sides. With `fresh` nothing is known of where hands are: they are
        looked for harder, and have to be surer. With `hands_given` there are hands, whatever they look like.
        """
        shot = check_picture(image, box, focal=focal, princpt=princpt, mirrored=mirrored)
        if shot.box is not None:
            view, others = self.crop_predictor.hands_in(shot.image, geometry.square_box(shot.box)), None
            looks = self.photo_search.touch_up_for_video(view, shot.image)
        else:
            looks, others, hands_given = self.photo_search.in_frame(shot.image, fresh=fresh, hands_given=hands_given)
        if fresh and not hands_given:
            ghosts = looks.tracked.present & ~looks.tracked.without_ghost().present
            looks = looks.map(lambda look: look.without_hands(ghosts))
        first = looks.tracked
        is_known = hands_given or first.is_credible
        believed = hands_given or (first.is_credible_in_track and (is_known or not fresh))
        followed = self._lift(first, shot, others, believed=believed)
        told = followed if looks.reported is first else self._lift(looks.reported, shot, others, believed=believed)
        evidence = None if hands_given else first.hand_evidence
        return FrameResult(
            followed, told, is_known=is_known, detection_score=first.detection_score, hand_evidence=evidence
        )

    def _told(self, found: FoundInPhoto, shot: CheckedPicture) -> HandPose:
        """Return what was found in a whole picture as the pose of a person."""
        return self._lift(found.look, shot, found.regions, believed=found.is_credible)

    def _lift(
        self, view: CropResult, shot: CheckedPicture, others: Floats | None, *, believed: bool = True
    ) -> HandPose:
        camera, image = shot.camera, shot.image
        answer, joints_2d = view.output, view.joints_2d
        focal, princpt = np.array(camera.focal), np.array(camera.princpt)
        axis = answer.depth_axis
        sights = np.stack([sight_of(middle, focal, princpt, axis) for middle in view.middles_of_hands])
        lines = geometry.joint_lines(joints_2d, answer.pose_2p5d[0, :, 2], focal, princpt, sights)
        left_from_right = None
        if answer.root_depth is not None:
            offset, sight = float(answer.root_depth[0]), sight_of(view.middle, focal, princpt, axis)
            left_from_right = geometry.offset_along(joints_2d[list(ROOTS)], offset, focal, princpt, sight)
        joints_cam = geometry.on_lines(lines, wrist_depths(lines, view.present, left_from_right=left_from_right))
        pose = HandPose(
            joints_2d=joints_2d, joints_3d=geometry.relative_to_roots(joints_cam), joints_cam=joints_cam,
            presence=answer.presence[0], present=view.present & believed,
            confidence=None if answer.confidence is None else answer.confidence[0],
            box=view.square, other_regions=others, camera=camera, image=image,
            depth_assumed="the distance at which the hands have the size of an average adult's",
            image_size=(image.shape[1], image.shape[0]), model=self.network.name,
        )  # fmt: skip
        return shot.to_given(pose)
