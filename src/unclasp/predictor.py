"""Picture in, `HandPose` out: crops, the network, and the way back to the picture and to millimetres."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.apart import slots_of_two, squares_of_two
from unclasp.batch import ByteArray
from unclasp.data.transforms import crop_image, sight_of
from unclasp.engines import open_network
from unclasp.errors import UnclaspError
from unclasp.fusion import Fusion, open_fusion
from unclasp.given import camera_of, check_box, pair
from unclasp.hands import ROOTS
from unclasp.landmarks import Landmarks, open_landmarks
from unclasp.lifting import wrist_depths
from unclasp.looks import Look
from unclasp.network import Network, average_of_mirrored
from unclasp.onnx_model import in_onnx_runtime
from unclasp.opinions import agreed, in_doubt
from unclasp.picture import check_image
from unclasp.pose import PRESENT, Camera, HandPose
from unclasp.regions import box_around
from unclasp.search import Detector, Search, Where, by_network, search_with
from unclasp.streaming import Given, OnError, StreamOptions, stream, video_poses
from unclasp.touch_up import touched_up
from unclasp.tracking import Predict
from unclasp.video import Video

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.floating]

SETTLED: Final = 0.85
"""IoU of a crop with that around the joints seen in it, above which there is no other look."""

SURE: Final = 0.2
"""Mean confidence of the joints from which on a region shows a hand: of 16 regions in rendered pictures, 0.19 and more
in eight of the nine that did, 0.15 and less in the seven that did not."""

SURER: Final = 0.1
"""What is seen elsewhere counts where that confidence is higher by this: of two doubtful looks the first is better."""

LOST: Final = 0.5
"""A closer look that is less sure of the wider one's hands than this share of how sure that was does not count."""

OTHER_REGIONS: Final = 2
"""So many other regions are looked at, for a person's other hand or for a surer one: a crowd has many."""

WIDER: Final = 2.0
"""Where one hand was found, the other one is looked for in a crop this many times as wide."""

LIKE_SIZED: Final = 3.0
"""A person's hands in two regions are at most this many times as large as each other in the picture."""

TILTED: Final = 30.0
"""Degrees from pointing up in the picture from which on hands are looked at upright, too."""


class Predictor:
    """Poses of the hands in pictures.

    >>> pose = Predictor.load()(image)  # doctest: +SKIP
    >>> pose.sides, pose.hand("right")[1]  # doctest: +SKIP

    Args:
        network: What answers for crops.
        flip_test: Average over the crop and its mirror image, at twice the cost.
        search: Where to look in pictures without a box. If not given, the network's own search, and not the finder of
            `Predictor.load`, which is `search.search_with("finder", network)`.
        landmarks: Touches up the joints (`touch_up`). If not given, they stay as the network has them;
            that of `Predictor.load` is `landmarks.open_landmarks()`.
        fusion: Tells for each joint how much of that to believe, and how deep it is; that of `Predictor.load` is
            `fusion.open_fusion()`. Without it, in videos, and for networks that it
            cannot be used with (`fusion.can_fuse`), a rule does, and depths stay.
        second_opinions: Look at pictures in doubt mirrored, turned, brighter and cut out, too (`opinions`); `search` is
            then asked about those pictures as well. Not where a box is given, and not in videos.
    """

    def __init__(
        self, network: Network, *, flip_test: bool = False, search: Search | None = None,
        landmarks: Landmarks | None = None, fusion: Fusion | None = None, second_opinions: bool = True,
    ) -> None:  # fmt: skip
        self.network, self.flip_test, self.landmarks, self.fusion = network, flip_test, landmarks, fusion
        self.second_opinions = second_opinions
        self.search = by_network(network) if search is None else search

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
                network tells.
            fusion: A file of `unclasp fusion train` in place of the shipped one, which has learned the mistakes of
                `small`. Other networks than that are better with one of their own.
            second_opinions: Look at pictures in doubt in other ways, too, as of the class: half a second more.

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
            fusion=open_fusion(fusion) if landmarks else None, second_opinions=second_opinions,
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
        return self._pose(image, box, focal=focal, princpt=princpt, mirrored=mirrored, still=True)

    def _pose(
        self, image: ByteArray, box: npt.ArrayLike | None, *, focal: tuple[float, float] | None,
        princpt: tuple[float, float] | None, mirrored: bool, still: bool,
    ) -> HandPose:  # fmt: skip
        """Predict as `__call__` does; with `still` no other frames will tell more, so doubts are looked into."""
        image = check_image(image)
        if mirrored:
            return self._unmirrored(image, box, focal=focal, princpt=princpt, still=still)
        camera = camera_of(image, focal, princpt)
        if box is not None:
            view = self.look(image, geometry.square_box(check_box(box, image)))
            return self._lift(self._touched_up(view, image, still=still), camera, image)
        view, others = self._see(image, self.search(image), still=still)
        if still and self.second_opinions and in_doubt(view):
            view = agreed(self._glance, image, view, mirrored=not self.flip_test)
            others = self._without(view, others, image)
        return replace(self._lift(view, camera, image), other_regions=others)

    def look(self, image: ByteArray, square: Floats) -> Look:
        """Return what the network sees in a crop, and in closer ones of hands that are apart, before any touch-up.

        Args:
            image: (H, W, 3) uint8 RGB.
            square: (4,) x1, y1, x2, y2 px.
        """
        return self._look_at_each(image, self._look(image, square))

    def _glance(self, image: ByteArray) -> Look:
        """See what there is, but do not search again where that is in doubt: one look among many."""
        return self._see(image, self.search(image)._replace(again=None), still=True)[0]

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

    def _see(self, image: ByteArray, where: Where, *, still: bool) -> tuple[Look, Floats]:
        view, others = self._find(image, where)
        view, others = self._with_other_hand(image, view, others) or (view, others)
        return self._touched_up(view, image, still=still), others

    def _touched_up(self, view: Look, image: ByteArray, *, still: bool) -> Look:
        if self.landmarks is None:
            return view
        # The tracker's rules were chosen with joints by the rule: with others, hands that cross change sides.
        return touched_up(view, image, self.landmarks, fusion=self.fusion if still else None, follow=still)

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
        pictures, frames = (self._with(focal, princpt, mirrored, still=still) for still in (True, False))
        return stream(pictures, frames, source, options, on_error)

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
        return video_poses(self._with(focal, princpt, mirrored, still=False), video, options)

    def _with(
        self, focal: tuple[float, float] | None, princpt: tuple[float, float] | None, mirrored: bool, *, still: bool
    ) -> Predict:
        return lambda image, box: self._pose(image, box, focal=focal, princpt=princpt, mirrored=mirrored, still=still)

    def _unmirrored(
        self,
        image: ByteArray,
        box: npt.ArrayLike | None,
        *,
        focal: tuple[float, float] | None,
        princpt: tuple[float, float] | None,
        still: bool,
    ) -> HandPose:
        """Find the pose in the mirror image, where the hands are as they are, and return to the picture's pixels."""
        last = image.shape[1] - 1
        if box is not None:
            box = geometry.mirror_box(check_box(box, image), last)
        if princpt is not None:
            cx, cy = pair("princpt", princpt)
            princpt = (last - cx, cy)
        mirror_image = np.ascontiguousarray(image[:, ::-1])
        pose = self._pose(mirror_image, box, focal=focal, princpt=princpt, mirrored=False, still=still)
        cx, cy = pose.camera.princpt
        return replace(
            pose, mirrored=True, image=image, box=geometry.mirror_box(pose.box, last),
            other_regions=None if pose.other_regions is None else geometry.mirror_box(pose.other_regions, last),
            joints_2d=np.column_stack([last - pose.joints_2d[:, 0], pose.joints_2d[:, 1]]),
            camera=replace(pose.camera, princpt=(last - cx, cy)),
        )  # fmt: skip

    # The order of the looks: docs/photo.md, "The whole photo, or a box"; what each is worth: docs/decisions.md.

    def _find(self, image: ByteArray, where: Where) -> tuple[Look, Floats]:
        """Look where the search says, and elsewhere, too, where the joints found there are doubtful.

        Doubtful is a mean confidence below `SURE`. Elsewhere are the next regions and the network's own search. Another
        look replaces the first if it sees no fewer hands and its mean confidence is higher by more than `SURER`.

        Returns:
            The look, and boxes (N, 4) around other hands.
        """
        view, others = self._look_closely(image, where.square), where.others
        if view.answer.confidence is None or view.mean_confidence >= SURE or where.again is None:
            return view, others
        squares = [geometry.square_box(other) for other in others[:OTHER_REGIONS]]
        asked = view.mean_confidence + SURER
        for index, square in enumerate((*squares, where.again())):
            look = self._look_closely(image, square)
            if look.present.sum() >= view.present.sum() and look.mean_confidence > max(asked, view.mean_confidence):
                view, others = look, np.delete(where.others, [index] if index < len(squares) else [], axis=0)
        return view, others

    def _look_closely(self, image: ByteArray, square: Floats) -> Look:
        """Look closer, and at each of two hands that are apart by itself."""
        return self._look_at_each(image, self._look_closer(image, square))

    def _look_closer(self, image: ByteArray, square: Floats) -> Look:
        """Look where the hands were found, then around the joints seen there, and once more where that crop was off.

        The last look counts unless it loses a hand, or is far less sure (`LOST`). A hand that the first, widest look
        gave less than `looks.DENIED` cannot appear in a closer one.
        """
        first = view = self._look(image, square)
        for is_last in (False, True):
            box = box_around(view.joints_2d, view.present, image)
            if box is None:
                return view
            square = geometry.square_box(box)
            if is_last and geometry.box_iou(square, view.square) > SETTLED:
                return view
            closer = self._look(image, square).without_denied(first)
            if is_last and closer.present.sum() < view.present.sum():
                return view
            again = closer.mean_confidence_of(view.slots)
            if closer.present.any() and again < LOST * view.mean_confidence:
                return view
            view = closer
        return view

    def _with_other_hand(self, image: ByteArray, view: Look, others: Floats) -> tuple[Look, Floats] | None:
        """Look for the other hand where only one was found: arms may be far apart, or the finder may miss one.

        A place shows it if its joints are sure, which a network without confidence cannot tell, and a look at both sees
        two hands.

        Returns:
            The look at both, with the joints of each as the closer looks have them, and the regions that are left; None
            without another hand.
        """
        own = box_around(view.joints_2d, view.present, image)
        if own is None or view.present.all() or view.answer.confidence is None:
            return None
        slot = view.slot
        for other, remaining in self._elsewhere(image, view, own, others):
            extents = np.max(own[2:] - own[:2]), np.max(other[2:] - other[:2])
            if max(extents) > LIKE_SIZED * min(extents):
                continue
            look = self._look_upright(image, self._look_closer(image, geometry.square_box(other)), alone=True)
            if look.answer.presence[0, 1 - slot] < PRESENT or look.confidence(1 - slot) < SURE:
                continue
            around = np.concatenate([np.minimum(own[:2], other[:2]), np.maximum(own[2:], other[2:])])
            both = self._look(image, geometry.square_box(around))
            if both.present.all():
                return both.with_hands({slot: view, 1 - slot: look}), remaining
        return None

    def _elsewhere(self, image: ByteArray, view: Look, own: Floats, others: Floats) -> Iterator[tuple[Floats, Floats]]:
        """Yield boxes (4,) where the other hand may be, and the regions that are left then.

        These are the next regions and, where a wider look is sure of a hand beside the one that was found, its place.
        """
        for index, other in enumerate(others[:OTHER_REGIONS]):
            yield other, np.delete(others, index, axis=0)
        wide = self._look(image, geometry.expand_box(geometry.square_box(own), WIDER))
        other_slot = 1 - view.slot
        box = box_around(wide.joints_2d, np.arange(2) == other_slot, image)
        if box is None or not wide.present.all() or wide.confidence(other_slot) < SURE:
            return
        middle = (box[:2] + box[2:]) / 2
        if ((middle < own[:2]) | (middle > own[2:])).any():
            yield box, others

    def _look_at_each(self, image: ByteArray, view: Look) -> Look:
        """Look at each of two hands that are apart by itself: in a crop around both, each is small.

        Nothing changes where one of these looks does not see its hand. Hands that touch, and single ones, are looked at
        upright.
        """
        if not view.present.any():
            return view
        if not view.present.all():
            upright = self._look_upright(image, view, alone=True)
            return view if upright is view else upright.with_one_hand()
        squares = squares_of_two(view.answer.hand_probability[0], self.network.image_size)
        if squares is None:
            return self._look_upright(image, view, alone=False)
        corners = geometry.apply_affine(view.image_from_crop, squares.reshape(2, 2, 2))
        looks = [self._look_upright(image, self._look(image, each), alone=True) for each in corners.reshape(2, 4)]
        presence = np.stack([look.answer.presence[0] for look in looks])
        slots = slots_of_two(presence, corners.mean(axis=1), view.joints_2d)
        if min(presence[[0, 1], slots]) < PRESENT:
            return view
        return view.with_hands(dict(zip(slots, looks, strict=True)))

    def _look_upright(self, image: ByteArray, view: Look, *, alone: bool) -> Look:
        """Look at tilted hands in a crop that is turned so that they point up, as most do; the surer look counts.

        The network tells the side by which way the forearm comes in, too, and wrongly where people are not as it
        expects. With `alone` the crop shows one hand, so only the likelier one has to stay visible in the turned crop;
        otherwise both have to.
        """
        tilt = view.tilt(alone=alone)
        if abs(tilt) < TILTED:
            return view
        turned = geometry.turned_box(view.square, self.network.image_size, tilt)
        upright = self._look(image, turned, rotation=tilt)._replace(square=view.square)
        if not (upright.present.any() if alone else upright.present.all()):
            return view
        return upright if upright.sureness(alone=alone) > view.sureness(alone=alone) else view

    def _look(self, image: ByteArray, square: Floats, *, rotation: float = 0.0) -> Look:
        size = self.network.image_size
        crop = crop_image(image, square, size, rotation=rotation)
        if self.flip_test:
            both = self.network(np.stack([crop.image, crop.image[:, ::-1]]))
            answer = average_of_mirrored(both, size)
        else:
            answer = self.network(crop.image[None])
        optional = (numbers for numbers in (answer.root_depth, answer.confidence) if numbers is not None)
        numbers = (answer.pose_2p5d, answer.presence, *optional)
        if not all(np.isfinite(values).all() for values in numbers):
            raise UnclaspError(f"the answer of {self.network.name} is not finite; are its weights damaged?")
        return Look(answer, crop.image_from_crop, square)

    def _lift(self, view: Look, camera: Camera, image: ByteArray) -> HandPose:
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
        return HandPose(
            joints_2d=joints_2d, joints_3d=geometry.relative_to_roots(joints_cam), joints_cam=joints_cam,
            presence=answer.presence[0], confidence=None if answer.confidence is None else answer.confidence[0],
            box=view.square, camera=camera, image=image,
            depth_assumed="the distance at which the hands have the size of an average adult's",
            image_size=(image.shape[1], image.shape[0]), model=self.network.name,
        )  # fmt: skip
