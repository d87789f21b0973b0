"""Picture in, `HandPose` out: crops, the network, and the way back to the picture and to millimetres."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.batch import ByteArray
from unclasp.data.transforms import sight_of
from unclasp.engines import open_network
from unclasp.errors import UnclaspError
from unclasp.fusion import Fusion, open_fusion
from unclasp.given import Shot, shot_of
from unclasp.hands import ROOTS
from unclasp.landmarks import Landmarks, open_landmarks
from unclasp.lifting import wrist_depths
from unclasp.looking import Looker
from unclasp.looks import WORTH_MORE, Look
from unclasp.network import Network
from unclasp.onnx_model import in_onnx_runtime
from unclasp.opinions import Way, best, in_doubt
from unclasp.palms import Palms, open_palms
from unclasp.pose import HandPose
from unclasp.regions import box_around, pooled
from unclasp.search import Detector, Search, Where, by_network, search_with
from unclasp.seen_hands import SIZES, SIZES_IN_VIDEOS, Spotted, Spotter, is_settled, where_of_hands
from unclasp.sightings import SeeFrame, Sighting
from unclasp.streaming import Given, OnError, StreamOptions, stream, video_poses
from unclasp.sweep import is_called_for, is_surer, surest_box
from unclasp.touch_up import touched_up, touched_up_twice
from unclasp.video import Video

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.floating]

ELSEWHERE: Final = 0.2
"""IoU of two looks' crops below which they are of different places."""


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
        palms: With the landmark network, spots hands where not both are sure (`seen_hands`); that of `Predictor.load`
            is `palms.open_palms()`. Not where a box is given; in videos where nothing is known.
        second_opinions: Look at pictures in doubt mirrored and turned, too (`opinions`), for which `search` is asked
            about those pictures as well, and all over (`sweep`). Not where a box is given, and not in videos.
    """

    def __init__(
        self, network: Network, *, flip_test: bool = False, search: Search | None = None,
        landmarks: Landmarks | None = None, fusion: Fusion | None = None, palms: Palms | None = None,
        second_opinions: bool = True,
    ) -> None:  # fmt: skip
        self.landmarks, self.fusion, self.second_opinions = landmarks, fusion, second_opinions
        self.looker = Looker(network, flip_test=flip_test)
        self.search = by_network(network) if search is None else search
        self.spotter = None if palms is None or landmarks is None else Spotter(palms, landmarks)

    @property
    def network(self) -> Network:
        """What answers for crops."""
        return self.looker.network

    @classmethod
    def load(
        cls, weights: Path | str | None = None, *, device: "torch.device | str" = "cpu", flip_test: bool = False,
        detector: Detector = "finder", landmarks: bool = True, fusion: Path | str | None = None,
        second_opinions: bool = True,
    ) -> Self:  # fmt: skip
        """Load a model, and with it the finder of hands, the landmark network and the fusion network.

        Args:
            weights: A weights file of `unclasp train`, an .onnx or .xml of `unclasp export`, or a shipped model's name:
                `small`, which is loaded if none is given, or `small128`, which takes 0.6 to 0.7 of the time and is less
                exact.
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

        Raises:
            CheckpointError: The file is missing, damaged or not ours.
            UnclaspError: There is no such detector or device, the device is not the CPU for an exported model, or there
                is a fusion network without the landmark network.
        """
        if fusion is not None and not landmarks:
            raise UnclaspError(
                "a fusion network needs the landmark network: leave out --fusion or --no-landmarks (landmarks=False)"
            )
        network = open_network(weights, device=device)
        return cls(
            network, flip_test=flip_test, search=search_with(detector, network),
            landmarks=open_landmarks(spin=in_onnx_runtime(network)) if landmarks else None,
            fusion=open_fusion(fusion) if landmarks else None,
            palms=open_palms(spin=in_onnx_runtime(network)) if landmarks and detector == "finder" else None,
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
        shot = shot_of(image, box, focal=focal, princpt=princpt, mirrored=mirrored)
        if shot.box is not None:
            view = self.looker.at(shot.image, geometry.square_box(shot.box))
            return self._lift(self._touched_up(view, shot.image), shot, None)
        view, others, believed = self._found(shot.image)
        return self._lift(view, shot, others, believed=believed)

    def _found(self, image: ByteArray) -> tuple[Look, Floats, bool]:
        """Look for hands in a whole picture (docs/photo.md).

        Returns:
            What is seen, boxes (N, 4) around other hands, and whether there are hands at all.
        """
        where = self.search(image)
        view, others = self.looker.see(image, where)
        first = view = self._touched_up(view, image)
        spotted = None if where.is_said or is_settled(first) else self._spotted(image)
        views, elsewhere = [first], None
        if spotted is not None:
            mended = spotted.with_seen(self._touched_up(spotted.look, image))
            if mended.worth > first.worth + WORTH_MORE:
                view, others = mended, pooled(spotted.others, others)
                is_elsewhere = geometry.box_iou(view.square, first.square) < ELSEWHERE
                # The picture is turned about the first of them, which counts of equals: about the hands, in any case.
                views, elsewhere = ([view, first], view) if is_elsewhere else ([first, view], None)
        if self.second_opinions and in_doubt(view.without_ghost()):
            agreed = best(partial(self._glance, at=elsewhere), image, views, mirrored=not self.looker.flip_test)
            view = agreed if agreed.is_believed or not view.is_believed else view
        if self.second_opinions and not where.is_said and is_called_for(view):
            view = self._swept(view, image)
        others = others if view is first else self._without(view, others, image)
        if where.is_said:
            return view, others, True
        return view.without_ghost(), others, view.is_believed

    def _spotted(self, image: ByteArray, sizes: Sequence[int] = SIZES) -> Spotted | None:
        """Look where the palm detector, in squares of these sizes, and the landmark network see hands, if they do."""
        hands = [] if self.spotter is None else self.spotter(image, sizes)
        if not hands:
            return None
        where = where_of_hands(hands, image)
        return Spotted(*self.looker.see(image, where), hands, where.square)

    def _swept(self, view: Look, image: ByteArray) -> Look:
        """Return the look at the surest hand of all over the picture, if it is surer than what was seen."""
        box = None if self.landmarks is None else surest_box(self.looker, self.landmarks, image)
        if box is None:
            return view
        swept, _ = self.looker.see(image, Where(geometry.square_box(box), np.zeros((0, 4))))
        swept = self._touched_up(swept, image)
        return swept if is_surer(swept, view) else view

    def _touched_up(self, view: Look, image: ByteArray) -> Look:
        return view if self.landmarks is None else touched_up(view, image, self.landmarks, fusion=self.fusion)

    def _glance(self, way: Way, *, at: Look | None) -> Look:
        """See what there is, but do not search again where that is in doubt: one look among many.

        With `at`, see what there is in the same place: that of hands that the search does not find.
        """
        if at is None:
            where = self.search(way.image)._replace(again=None)
        else:
            where = Where(way.of(at).square, np.zeros((0, 4)))
        return self._touched_up(self.looker.see(way.image, where)[0], way.image)

    @staticmethod
    def _without(view: Look, boxes: Floats, image: ByteArray) -> Floats:
        """Return the boxes (N, 4) whose middle lies in none of the look's hands."""
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        for slot in view.slots:
            hand = box_around(view.joints_2d, np.arange(2) == slot, image)
            if hand is not None:
                outside = ((middles < hand[:2]) | (middles > hand[2:])).any(axis=1)
                boxes, middles = boxes[outside], middles[outside]
        return boxes

    def stream(
        self,
        source: Given | Iterable[Given],
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
            focal: px, as in a single call.
            princpt: px, as in a single call.
            mirrored: As in a single call.
            on_error: Is told of each source that fails; the others are done nevertheless. Without it they are logged
                as warnings, and if there was nothing but failures the first one is raised.

        Raises:
            UnclaspError: No source could be used.
        """
        picture = partial(self.__call__, focal=focal, princpt=princpt, mirrored=mirrored)
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

    def _frames(self, options: StreamOptions, **told: Any) -> SeeFrame:
        return partial(self._frame, **told, is_said=options.box is not None)

    def _frame(
        self, image: ByteArray, box: npt.ArrayLike | None, anew: bool, /, *, focal: tuple[float, float] | None,
        princpt: tuple[float, float] | None, mirrored: bool, is_said: bool,
    ) -> Sighting:  # fmt: skip
        """See the hands of a frame: no doubts are looked into, as other frames tell more.

        They are followed by the joints of the touch-up's rule, for which the tracker's thresholds were chosen: by those
        of the fusion network, hands that cross change sides. With `anew` nothing is known of where hands are: they are
        looked for harder, and have to be surer. With `is_said` there are hands, whatever they look like.
        """
        shot = shot_of(image, box, focal=focal, princpt=princpt, mirrored=mirrored)
        if shot.box is not None:
            view, others = self.looker.at(shot.image, geometry.square_box(shot.box)), None
            looks = self._touched_up_twice(view, shot.image)
        else:
            looks, others, is_said = self._searched(shot.image, anew=anew, is_said=is_said)
        is_known = is_said or looks[0].is_believed
        believed = is_said or (looks[0].is_still_believed and (is_known or not anew))
        poses = [
            self._lift(look.without_ghost() if anew and not is_said else look, shot, others, believed=believed)
            for look in looks
        ]
        return Sighting(
            followed=poses[0], told=poses[-1], is_known=is_known, worth=looks[0].worth,
            evidence=None if is_said else looks[0].evidence,
        )  # fmt: skip

    def _searched(self, image: ByteArray, *, anew: bool, is_said: bool) -> tuple[list[Look], Floats, bool]:
        """Look for hands in a whole frame.

        Returns:
            What is seen, touched up twice, boxes (N, 4) around other hands, and whether there are hands in any case.
        """
        where = self.search(image)
        is_said = is_said or where.is_said
        if anew and self.spotter is not None:
            where = where._replace(again=None)  # the palm detector is a better second search
        view, others = self.looker.see(image, where)
        looks = self._touched_up_twice(view, image)
        # Where hands are known, what is spotted may take the place of two in contact by one that is seen better.
        is_asked = anew and not (is_said or is_settled(looks[0]))
        spotted = self._spotted(image, SIZES_IN_VIDEOS) if is_asked else None
        if spotted is not None:
            mended = [spotted.with_seen(look) for look in self._touched_up_twice(spotted.look, image)]
            if mended[0].worth > looks[0].worth + WORTH_MORE:
                looks, others = mended, pooled(spotted.others, others)
        return looks, others, is_said

    def _touched_up_twice(self, view: Look, image: ByteArray) -> list[Look]:
        if self.landmarks is None:
            return [view]
        return touched_up_twice(view, image, self.landmarks, fusion=self.fusion)

    def _lift(self, view: Look, shot: Shot, others: Floats | None, *, believed: bool = True) -> HandPose:
        camera, image = shot.camera, shot.image
        answer, joints_2d = view.answer, view.joints_2d
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
        return shot.told(pose)
