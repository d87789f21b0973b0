"""Picture in, `HandPose` out: crops, the network, and the way back to the picture and to millimetres."""

import math
from pathlib import Path
from typing import Final, NamedTuple, Protocol, Self

import cv2
import numpy as np
import numpy.typing as npt
import torch

from unclasp import geometry
from unclasp.batch import ByteArray
from unclasp.checkpoint import load_model, shipped_weights
from unclasp.data.transforms import crop_image
from unclasp.errors import BoxError, UnclaspError
from unclasp.hands import FLIPPED_JOINTS, NUM_JOINTS, PARTS_PER_HAND
from unclasp.lifting import FIELD_OF_VIEW, assumed_focal, wrist_depths
from unclasp.model import DFL
from unclasp.picture import check_image
from unclasp.pose import PRESENT, Camera, HandPose

Floats = npt.NDArray[np.floating]

TIGHT_TO_ANNOTATED: Final = 1.2
"""InterHand2.6M's annotated boxes are this much larger than the tight ones; the crop rule starts from those."""
SMALLEST_CROP: Final = 16.0
"""px: a network that puts all joints in one place must not lead to an empty crop."""
LARGEST_BOX: Final = 20.0
"""Times the picture's longer side: a larger box shows nothing of the picture."""
_CLEAREST_SHARE: Final = 0.02
_MASS_SIZE: Final = 192
_MASS_LEVEL: Final = 0.5
_SMALL_SHARE: Final = 0.2


class Answer(NamedTuple):
    """What a network says of N crops of S x S px."""

    pose_2p5d: Floats
    """(N, 42, 3) crop px and wrist-relative mm."""
    presence: Floats
    """(N, 2) probabilities."""
    root_depth: Floats | None
    """(N,) mm, left minus right."""
    hand_probability: Floats
    """(N, h, w) how likely each pixel of the finest map shows a hand."""


class Network(Protocol):
    """Any engine that answers for crops."""

    name: str
    image_size: int

    def __call__(self, crops: ByteArray, /) -> Answer:
        """Answer for (N, S, S, 3) RGB crops."""
        ...


class TorchNetwork:
    """A `DFL` on a device."""

    def __init__(self, model: DFL, *, name: str, image_size: int, device: torch.device | str = "cpu") -> None:
        self.name, self.image_size, self.device = name, image_size, torch.device(device)
        self._model = model.eval().to(self.device)

    @torch.inference_mode()
    def __call__(self, crops: ByteArray, /) -> Answer:
        """Answer for (N, S, S, 3) RGB crops."""
        images = torch.from_numpy(crops).permute(0, 3, 1, 2).to(self.device)
        prediction = self._model(images)
        probabilities = prediction.part_logits.float().softmax(dim=1)
        if prediction.presence is not None:
            presence = prediction.presence.float().sigmoid()
        else:
            # Without the head: how certain the pixels are that show the side most clearly.
            sides = probabilities[:, 1:].unflatten(1, (2, PARTS_PER_HAND)).sum(dim=2).flatten(2)
            presence = sides.topk(max(1, round(_CLEAREST_SHARE * sides.shape[2])), dim=2).values.mean(dim=2)
        return Answer(
            pose_2p5d=_numpy(prediction.pose_2p5d),
            presence=_numpy(presence),
            root_depth=None if prediction.root_depth is None else _numpy(prediction.root_depth),
            hand_probability=_numpy(1 - probabilities[:, 0]),
        )


def _numpy(tensor: torch.Tensor) -> Floats:
    return tensor.float().cpu().numpy().astype(np.float64)


class Predictor:
    """Poses of the hands in pictures.

    >>> pose = Predictor.load()(image)  # doctest: +SKIP
    >>> pose.sides, pose.hand("right")[1]  # doctest: +SKIP

    Args:
        network: What answers for crops.
        flip_test: Average over the crop and its mirror image: steadier, at twice the cost.
    """

    def __init__(self, network: Network, *, flip_test: bool = False) -> None:
        self.network, self.flip_test = network, flip_test

    @classmethod
    def load(
        cls, weights: Path | str | None = None, *, device: torch.device | str = "cpu", flip_test: bool = False
    ) -> Self:
        """Load the shipped small model, or a weights file of `unclasp train`.

        Raises:
            CheckpointError: The file is missing, damaged or not ours.
            UnclaspError: The device is not there.
        """
        path = Path(weights) if weights is not None else shipped_weights()
        model, config = load_model(path)
        try:
            network = TorchNetwork(model, name=path.stem, image_size=config.model.image_size, device=device)
        except (RuntimeError, AssertionError) as error:  # what torch raises for a device that is not there
            raise UnclaspError(f"device {str(device)!r} cannot be used: {str(error).splitlines()[0]}") from error
        return cls(network, flip_test=flip_test)

    def __call__(
        self,
        image: ByteArray,
        box: npt.ArrayLike | None = None,
        *,
        focal: tuple[float, float] | None = None,
        princpt: tuple[float, float] | None = None,
    ) -> HandPose:
        """Find the pose of the hands of one person.

        Args:
            image: (H, W, 3) uint8 RGB; a grey or RGBA one is converted.
            box: (4,) x1, y1, x2, y2 px around the hands, like InterHand2.6M's: the tight box times 1.2. Without one the
                hands are looked for in the whole picture first.
            focal: px. Without it `lifting.FIELD_OF_VIEW` is assumed.
            princpt: px. Without it the picture's middle.

        Raises:
            ImageError: The image is not a picture.
            BoxError: The box is malformed, empty or outside of the picture.
            UnclaspError: The camera is malformed, or the network's answer is not finite.
        """
        image = check_image(image)
        camera = _camera(image, focal, princpt)
        if box is not None:
            square = geometry.square_box(check_box(box, image))
        else:
            square = self._refined(image, find_region(self.network, image))
        answer, image_from_crop = self._answer(image, square)
        return self._lift(answer, image_from_crop, square, camera, image)

    def _refined(self, image: ByteArray, square: Floats) -> Floats:
        """Return the crop around the joints that a first crop gave; that one itself where they make no sense."""
        answer, image_from_crop = self._answer(image, square)
        present = np.repeat(answer.presence[0] >= PRESENT, NUM_JOINTS // 2)
        if not present.any():
            return square
        joints = geometry.apply_affine(image_from_crop, answer.pose_2p5d[0, :, :2])
        tight = geometry.tight_box(joints, present)
        if max(tight[2:] - tight[:2]) < SMALLEST_CROP or not _meets(tight, image):
            return square
        return geometry.square_box(geometry.expand_box(tight, TIGHT_TO_ANNOTATED))

    def _answer(self, image: ByteArray, square: Floats) -> tuple[Answer, Floats]:
        size = self.network.image_size
        crop = crop_image(image, square, size)
        if self.flip_test:
            both = self.network(np.stack([crop.image, crop.image[:, ::-1]]))
            answer = _average_of_mirrored(both, size)
        else:
            answer = self.network(crop.image[None])
        numbers = (answer.pose_2p5d, answer.presence, 0.0 if answer.root_depth is None else answer.root_depth)
        if not all(np.isfinite(values).all() for values in numbers):
            raise UnclaspError(f"the answer of {self.network.name} is not finite; are its weights damaged?")
        return answer, crop.image_from_crop

    def _lift(
        self, answer: Answer, image_from_crop: Floats, square: Floats, camera: Camera, image: ByteArray
    ) -> HandPose:
        pose, presence = answer.pose_2p5d[0], answer.presence[0]
        focal, princpt = np.array(camera.focal), np.array(camera.princpt)
        joints_2d = geometry.apply_affine(image_from_crop, pose[:, :2])
        depths = wrist_depths(
            (joints_2d - princpt) / focal, pose[:, 2], presence >= PRESENT,
            left_minus_right=None if answer.root_depth is None else float(answer.root_depth[0]),
        )  # fmt: skip
        joints_cam = geometry.unproject(joints_2d, pose[:, 2] + np.repeat(depths, NUM_JOINTS // 2), focal, princpt)
        return HandPose(
            joints_2d=joints_2d, joints_3d=geometry.relative_to_roots(joints_cam), joints_cam=joints_cam,
            presence=presence, box=square, camera=camera,
            depth_assumed="the distance at which the hands have the size of an average adult's",
            image_size=(image.shape[1], image.shape[0]), model=self.network.name,
        )  # fmt: skip


def _average_of_mirrored(both: Answer, size: int) -> Answer:
    """Average the answers for a crop and for its mirror image; sides and u are mirrored back."""
    mirrored = both.pose_2p5d[1, FLIPPED_JOINTS].copy()
    mirrored[:, 0] = size - 1 - mirrored[:, 0]
    return Answer(
        pose_2p5d=(both.pose_2p5d[:1] + mirrored) / 2,
        presence=(both.presence[:1] + both.presence[1, ::-1]) / 2,
        root_depth=None if both.root_depth is None else (both.root_depth[:1] - both.root_depth[1]) / 2,
        hand_probability=(both.hand_probability[:1] + both.hand_probability[1, :, ::-1]) / 2,
    )


def _camera(image: ByteArray, focal: tuple[float, float] | None, princpt: tuple[float, float] | None) -> Camera:
    height, width = image.shape[:2]
    told = []
    if focal is None:
        focal = (assumed_focal(width, height),) * 2
        told.append(f"a field of view of {FIELD_OF_VIEW:g} degrees across the longer side")
    if princpt is None:
        princpt = ((width - 1) / 2, (height - 1) / 2)
        told.append("the principal point in the middle")
    return Camera(
        focal=_pair("focal", focal, positive=True),
        princpt=_pair("princpt", princpt),
        assumed=" and ".join(told) or None,
    )


def _pair(name: str, values: npt.ArrayLike, *, positive: bool = False) -> tuple[float, float]:
    try:
        checked = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        checked = np.zeros(0)
    if checked.shape != (2,) or not np.isfinite(checked).all() or (positive and checked.min() <= 0):
        raise UnclaspError(f"{name} must be two {'positive ' * positive}numbers x, y in px, got {values!r}")
    return float(checked[0]), float(checked[1])


def check_box(box: npt.ArrayLike, image: ByteArray) -> Floats:
    """Return a box as (4,) float px.

    Raises:
        BoxError: It is not four finite numbers, is empty, or does not meet the picture.
    """
    height, width = image.shape[:2]
    try:
        checked = np.asarray(box, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BoxError(f"box must be four numbers x1, y1, x2, y2 in px, got {box!r}") from error
    told = np.array2string(checked, separator=", ")
    if checked.shape != (4,) or not np.isfinite(checked).all():
        raise BoxError(f"box must be four finite numbers x1, y1, x2, y2 in px, got {told}")
    sides = checked[2:] - checked[:2]
    if sides.min() < 1:
        raise BoxError(
            f"box must be x1, y1, x2, y2 with x2 and y2 at least 1 px larger than x1 and y1, got {told}; "
            "is it x, y, width, height, or a share of the picture?"
        )
    if not _meets(checked, image):
        raise BoxError(f"box must meet the picture of {width} x {height} px, got {told}, which lies outside of it")
    if sides.max() > LARGEST_BOX * max(width, height):
        raise BoxError(f"box must fit the hands in the picture of {width} x {height} px, got {told}; is it in px?")
    return checked


def _meets(box: Floats, image: ByteArray) -> bool:
    height, width = image.shape[:2]
    return bool((box[2:] >= 0).all() and box[0] <= width - 1 and box[1] <= height - 1)


def find_region(network: Network, image: ByteArray) -> Floats:
    """Find the square around the hands in a whole picture, by the network's own part segmentation.

    The network looks at the whole picture and at up to nine overlapping windows of half its size; where it sees hands,
    the largest regions decide. Where it sees none, the whole picture is returned.

    Returns:
        (4,) square x1, y1, x2, y2 px.
    """
    height, width = image.shape[:2]
    whole = geometry.square_box(np.array([-0.5, -0.5, width - 0.5, height - 0.5]), expansion=1.0)
    windows = [whole, *_half_windows(width, height)]
    size = network.image_size
    crops = [crop_image(image, window, size) for window in windows]
    answer = network(np.stack([crop.image for crop in crops]))
    scale = _MASS_SIZE / (whole[2] - whole[0])
    mass = np.zeros((_MASS_SIZE, _MASS_SIZE), dtype=np.float32)
    for window, probability in zip(windows, answer.hand_probability, strict=True):
        mass = np.maximum(mass, _pasted(probability, window, whole, scale))
    found = _largest_regions(mass > _MASS_LEVEL)
    if found is None:
        return whole
    box = found / scale + np.tile(whole[:2], 2)
    return geometry.square_box(geometry.expand_box(box, TIGHT_TO_ANNOTATED))


def _half_windows(width: int, height: int) -> list[Floats]:
    """Return squares of half the longer side that cover the picture, overlapping by half or more."""
    side = max(width, height) / 2
    columns, rows = (max(1, math.ceil(2 * extent / side) - 1) for extent in (width, height))
    centres = [
        ((column + 1) * width / (columns + 1) - 0.5, (row + 1) * height / (rows + 1) - 0.5)
        for row in range(rows)
        for column in range(columns)
    ]
    return [np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2]) for x, y in centres]


def _pasted(probability: Floats, window: Floats, whole: Floats, scale: float) -> npt.NDArray[np.float32]:
    """Resample a window's map (h, w) onto the map of the whole picture."""
    stride = (window[2] - window[0]) * scale / probability.shape[1]
    offset = (window[:2] - whole[:2]) * scale + stride / 2 - 0.5
    matrix = np.array([[stride, 0, offset[0]], [0, stride, offset[1]]])
    pasted = cv2.warpAffine(probability.astype(np.float32), matrix, (_MASS_SIZE, _MASS_SIZE), flags=cv2.INTER_LINEAR)
    return np.asarray(pasted, dtype=np.float32)


def _largest_regions(mask: npt.NDArray[np.bool_]) -> Floats | None:
    """Return the box around the largest connected region and all that are not much smaller, or None.

    Its coordinates are those of the cells' edges: the first cell lies between 0 and 1.
    """
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count < 2:
        return None
    areas = stats[1:, cv2.CC_STAT_AREA]
    kept = stats[1:][areas >= _SMALL_SHARE * areas.max()]
    low = kept[:, [cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP]]
    high = low + kept[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    return np.concatenate([low.min(axis=0), high.max(axis=0)]).astype(np.float64)
