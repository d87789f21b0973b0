"""Prediction: exact network outputs give exact poses, crops follow the rule, and errors name the bad input."""

import copy
import importlib.util
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from clips import make_video
from made_hands import two_hands
from shades import Shades
from unclasp import geometry, presets
from unclasp.checkpoint import save_weights
from unclasp.config import DepthAxis, with_model
from unclasp.data.transforms import Crop, crop_image
from unclasp.engines.network import NetworkOutput
from unclasp.engines.torch_network import TorchNetwork
from unclasp.errors import BoxError, CheckpointError, ImageError, UnclaspError
from unclasp.find import crop_predictor
from unclasp.find.boxes import SNAPS_PER_SIDE
from unclasp.hands import FLIPPED_JOINTS, ROOTS
from unclasp.inputs import shown
from unclasp.lifting import assumed_focal
from unclasp.model import build
from unclasp.picture import Photo, read_picture
from unclasp.predictor import Predictor
from unclasp.shipped import shipped_weights
from unclasp.video import Frame, Video

WIDTH, HEIGHT, SIZE = 640, 480, 64
FOCAL = np.full(2, assumed_focal(WIDTH, HEIGHT))
PRINCPT = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
PHOTOS = Path(__file__).parents[2] / "shared" / "real" / "photos"
BOX = [150.0, 100.0, 500.0, 430.0]


@pytest.fixture
def crops(monkeypatch: pytest.MonkeyPatch) -> list[Crop]:
    """Records all crops, in order."""
    recorded: list[Crop] = []

    def record(image: Any, box: Any, size: int, **options: float) -> Crop:
        recorded.append(crop_image(image, box, size, **options))
        return recorded[-1]

    monkeypatch.setattr(crop_predictor, "crop_image", record)
    return recorded


class Oracle:
    """A perfect network: it returns the 2.5D pose of known camera joints in the crop that was made last.

    A second crop in a call is the mirror image of the first one. `bias` is added to all outputs, in crop px and mm.
    """

    name, image_size = "oracle", SIZE

    def __init__(
        self,
        joints: np.ndarray,
        crops: list[Crop],
        *,
        presence: tuple[float, float] = (0.9, 0.8),
        bias: float = 0.0,
        roots: bool = True,
        focal: np.ndarray = FOCAL,
        depth_axis: DepthAxis = DepthAxis.CAMERA,
        confidence: float | None = None,
    ) -> None:
        self.joints, self.crops, self.presence, self.bias, self.roots = joints, crops, presence, bias, roots
        self.focal, self.depth_axis, self.confidence = focal, depth_axis, confidence

    def __call__(self, crops: np.ndarray, /) -> NetworkOutput:
        assert crops.shape[1:] == (SIZE, SIZE, 3) and crops.dtype == np.uint8
        if len(crops) > 2:  # the search: finds nothing, so the whole picture is used
            nothing = np.zeros((len(crops), 16, 16))
            return NetworkOutput(np.zeros((len(crops), 42, 3)), np.zeros((len(crops), 2)), None, nothing)
        matrix = self.crops[-1].crop_from_image
        sight: Any = geometry.CAMERA_AXIS
        if self.depth_axis is DepthAxis.CROP:
            middle = geometry.apply_affine(np.linalg.inv(matrix), geometry.crop_middle(SIZE))
            sight = geometry.sight_through(middle, self.focal, PRINCPT)
        pose = geometry.pose_2p5d_from_cam(self.joints, self.focal, PRINCPT, matrix, sight)
        root = geometry.root_depth(self.joints, sight)
        mirrored = pose[FLIPPED_JOINTS].copy()
        mirrored[:, 0] = SIZE - 1 - mirrored[:, 0]
        return NetworkOutput(
            pose_2p5d=np.stack([pose, mirrored])[: len(crops)] + self.bias,
            presence=np.array([self.presence, self.presence[::-1]])[: len(crops)],
            root_depth=np.array([root, -root])[: len(crops)] + self.bias if self.roots else None,
            hand_probability=np.zeros((len(crops), 16, 16)),
            confidence=None if self.confidence is None else np.full((len(crops), 42), self.confidence),
            depth_axis=self.depth_axis,
        )


def black() -> np.ndarray:
    return np.zeros((HEIGHT, WIDTH, 3), np.uint8)


# ---- lifting


@pytest.mark.parametrize("flip_test", [False, True])
@pytest.mark.parametrize("roots", [False, True])
@pytest.mark.parametrize("depth_axis", DepthAxis)
def test_an_exact_output_gives_the_exact_pose(
    crops: list[Crop], flip_test: bool, roots: bool, depth_axis: DepthAxis
) -> None:
    joints = two_hands(0, (600.0, 640.0)) + np.array([90.0, -60.0, 0.0])
    pose = Predictor(Oracle(joints, crops, roots=roots, depth_axis=depth_axis), flip_test=flip_test)(black(), BOX)
    np.testing.assert_allclose(pose.joints_2d, geometry.project(joints, FOCAL, PRINCPT), atol=1e-8)
    np.testing.assert_allclose(pose.joints_3d, geometry.relative_to_roots(joints), atol=1e-6)
    np.testing.assert_allclose(pose.joints_cam, joints, atol=1e-6)
    np.testing.assert_allclose(pose.presence, [0.9, 0.8])
    assert pose.image_size == (WIDTH, HEIGHT) and pose.model == "oracle"


def test_an_uncertain_hand_is_taken_for_the_smaller_mean_of_several(crops: list[Crop]) -> None:
    joints = two_hands(0, (600.0, 640.0))
    certain, uncertain = (
        Predictor(Oracle(joints, crops, confidence=confidence))(black(), BOX) for confidence in (1.0, 0.4)
    )
    np.testing.assert_allclose(certain.joints_cam, joints, atol=1e-6)
    assert (uncertain.joints_cam[list(ROOTS), 2] < 0.9 * np.array([600.0, 640.0])).all()
    np.testing.assert_allclose(uncertain.joints_2d, certain.joints_2d, atol=1e-8)


def test_a_given_camera_is_used_and_not_called_assumed(crops: list[Crop]) -> None:
    joints, focal = two_hands(1, (600.0, 640.0)), np.array([900.0, 880.0])
    network = Oracle(joints, crops, focal=focal)
    pose = Predictor(network)(black(), BOX, focal=tuple(focal), princpt=tuple(PRINCPT))
    np.testing.assert_allclose(pose.joints_cam, joints, atol=1e-6)
    assert pose.camera.assumed is None and pose.camera.focal == (900.0, 880.0)
    assert pose.depth_assumed is not None and "average adult's, or less if uncertain" in pose.depth_assumed


def test_assumptions_are_stated(crops: list[Crop]) -> None:
    predict = Predictor(Oracle(two_hands(2, (600.0, 600.0)), crops))
    assert "field of view of 60 degrees" in str(predict(black(), BOX).camera.assumed)
    assert predict(black(), BOX, focal=(900.0, 900.0)).camera.assumed == "the principal point in the middle"


def test_a_hand_that_is_larger_than_assumed_comes_out_smaller_but_in_shape(crops: list[Crop]) -> None:
    joints = two_hands(3, (800.0, 800.0), scales=(1.1, 1.1))
    pose = Predictor(Oracle(joints, crops))(black(), BOX)
    np.testing.assert_allclose(pose.joints_2d, geometry.project(joints, FOCAL, PRINCPT), atol=1e-8)
    lengths = np.linalg.norm(pose.joints_3d[[7, 11, 15, 19]], axis=1) / np.linalg.norm(
        geometry.relative_to_roots(joints)[[7, 11, 15, 19]], axis=1
    )
    np.testing.assert_allclose(lengths, 1 / 1.1, rtol=0.03)


def test_the_flip_test_cancels_what_a_mirror_image_mirrors(crops: list[Crop]) -> None:
    """The network predicts all joints too far right, which in the mirror image is too far left."""
    joints = two_hands(4, (600.0, 640.0))
    exact = geometry.project(joints, FOCAL, PRINCPT)
    biased = Predictor(Oracle(joints, crops, bias=3.0))(black(), BOX)
    averaged = Predictor(Oracle(joints, crops, bias=3.0), flip_test=True)(black(), BOX)
    assert np.abs(biased.joints_2d[:, 0] - exact[:, 0]).min() > 3
    np.testing.assert_allclose(averaged.joints_2d[:, 0], exact[:, 0], atol=1e-8)


def test_a_mirrored_picture_gives_the_mirrored_pose(crops: list[Crop]) -> None:
    joints = two_hands(5, (600.0, 640.0))
    mirrored = joints[FLIPPED_JOINTS] * [-1, 1, 1]  # the principal point is in the middle
    pose = Predictor(Oracle(joints, crops))(black(), BOX)
    other = Predictor(Oracle(mirrored, crops, presence=(0.8, 0.9)))(
        black(), [WIDTH - 1 - BOX[2], BOX[1], WIDTH - 1 - BOX[0], BOX[3]]
    )
    np.testing.assert_allclose(other.joints_3d, pose.joints_3d[FLIPPED_JOINTS] * [-1, 1, 1], atol=1e-6)
    np.testing.assert_allclose(other.joints_2d[:, 0], WIDTH - 1 - pose.joints_2d[FLIPPED_JOINTS][:, 0], atol=1e-8)


def test_non_finite_outputs_are_rejected(crops: list[Crop]) -> None:
    with pytest.raises(UnclaspError, match=r"oracle is not finite.*weights"):
        Predictor(Oracle(two_hands(6, (600.0, 600.0)), crops, bias=np.nan))(black(), BOX)


@pytest.mark.parametrize("field", ["pose_2p5d", "presence", "root_depth", "confidence"])
def test_no_part_of_an_output_may_be_infinite(crops: list[Crop], field: str) -> None:
    class Broken(Oracle):
        def __call__(self, crops: np.ndarray, /) -> NetworkOutput:
            output = super().__call__(crops)
            values = np.ones((len(crops), 42)) if field == "confidence" else getattr(output, field).copy()
            values[-1:] = np.inf
            return output._replace(**{field: values})

    with pytest.raises(UnclaspError, match="not finite"):
        Predictor(Broken(two_hands(6, (600.0, 600.0)), crops))(black(), BOX)


# ---- boxes


def test_a_given_box_is_cropped_by_the_interhand_rule(crops: list[Crop]) -> None:
    pose = Predictor(Oracle(two_hands(0, (600.0, 600.0)), crops))(black(), BOX)
    # Worked by hand: the longer side, 350, times 1.25, about the centre (325, 265).
    np.testing.assert_allclose(pose.box, [325 - 218.75, 265 - 218.75, 325 + 218.75, 265 + 218.75])
    assert len(crops) == 1


def test_a_reported_box_is_a_given_one_enlarged(crops: list[Crop]) -> None:
    """The pages say so: to give a reported box, its sides are divided by 1.25."""
    predictor = Predictor(Oracle(two_hands(0, (600.0, 600.0)), crops))
    pose = predictor(black(), BOX)
    np.testing.assert_allclose(predictor(black(), pose.box).box, geometry.expand_box(pose.box, 1.25))
    np.testing.assert_allclose(predictor(black(), geometry.expand_box(pose.box, 1 / 1.25)).box, pose.box)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([10, 10, 10, 10], "at least 1 px larger"),
        ([310, 40, 120, 200], "at least 1 px larger.*x, y, width, height"),
        ([0.1, 0.2, 0.6, 0.9], "share of the picture"),
        ([700, 10, 900, 200], "meet the picture of 640 x 480"),
        ([-300, -200, -10, -10], "lies outside"),
        ([10, 20, 30], "four finite numbers"),
        ([[10, 20, 30, 40]], "four finite numbers"),
        ([10, 20, np.nan, 40], "four finite numbers"),
        ("everywhere", "four numbers"),
        ([-1e9, -1e9, 1e9, 1e9], "is it in px"),
    ],
)
def test_bad_boxes_are_named(crops: list[Crop], box: Any, message: str) -> None:
    with pytest.raises(BoxError, match=message) as caught:
        Predictor(Oracle(two_hands(0, (600.0, 600.0)), crops))(black(), box)
    assert "\n" not in str(caught.value) and "got" in str(caught.value)
    assert not crops


def test_a_box_may_reach_beyond_the_picture(crops: list[Crop]) -> None:
    joints = two_hands(0, (600.0, 600.0))
    pose = Predictor(Oracle(joints, crops))(black(), [-100, -50, 300, 400])
    np.testing.assert_allclose(pose.joints_2d, geometry.project(joints, FOCAL, PRINCPT), atol=1e-8)


@pytest.mark.parametrize("camera", [{"focal": (1.0, 1e7)}, {"princpt": (-1e7, 1e7)}])
def test_cameras_at_the_bounds_give_numbers(crops: list[Crop], camera: dict[str, Any]) -> None:
    pose = Predictor(Oracle(two_hands(0, (600.0, 600.0)), crops))(black(), BOX, **camera)
    assert all(np.isfinite(array).all() for array in (pose.joints_2d, pose.joints_3d, pose.joints_cam))


@pytest.mark.parametrize("focal", [500, 500.0, np.float32(500), np.int64(500), np.array(500.0)])
def test_one_focal_length_is_for_both_axes(crops: list[Crop], focal: Any) -> None:
    predictor = Predictor(Oracle(two_hands(0, (600.0, 600.0)), crops))
    frames = [Frame(black(), 0, 0.0)]
    poses = [
        predictor(black(), BOX, focal=focal), *predictor.everyone(black(), focal=focal),
        *predictor.stream(black(), focal=focal), *predictor.track(frames, focal=focal),
    ]  # fmt: skip
    assert len(poses) == 4
    for pose in poses:
        assert pose.camera.focal == (500.0, 500.0) and type(pose.camera.focal[0]) is float
        assert pose.camera.assumed == "the principal point in the middle"


@pytest.mark.parametrize(
    "camera",
    [
        {"focal": (0.0, 5.0)},
        {"focal": (np.nan, 5.0)},
        {"focal": -900.0},
        {"focal": np.float32(np.inf)},
        {"focal": True},
        {"focal": "900"},
        {"focal": np.array("900")},
        {"focal": (900.0,)},
        {"focal": "wide"},
        {"focal": (1e-300, 1e-300)},
        {"focal": (0.99, 500.0)},
        {"focal": (500.0, 1.01e7)},
        {"focal": (10**400, 10**400)},
        {"princpt": 320.0},
        {"princpt": (1.0, 2.0, 3.0)},
        {"princpt": (1e300, 0.0)},
    ],
)
def test_bad_cameras_are_named(crops: list[Crop], camera: dict[str, Any]) -> None:
    ((name, given),) = camera.items()
    expected = {"focal": "one number, or two, fx, fy, in px", "princpt": "two numbers x, y in px"}[name]
    with pytest.raises(UnclaspError, match=f"{name} must be {expected}, from .* to .*, got {re.escape(shown(given))}"):
        Predictor(Oracle(two_hands(0, (600.0, 600.0)), crops))(black(), BOX, **camera)


def test_bad_arrays_are_named(crops: list[Crop]) -> None:
    with pytest.raises(ImageError, match="uint8"):
        Predictor(Oracle(two_hands(0, (600.0, 600.0)), crops))(np.zeros((HEIGHT, WIDTH, 3)))  # type: ignore[arg-type]


def test_a_photo_is_no_array_and_a_source_by_itself(crops: list[Crop]) -> None:
    predictor, photo = Predictor(Oracle(two_hands(0, (600.0, 600.0)), crops)), Photo(black(), (500.0, 510.0))
    for call in (predictor, predictor.everyone):
        with pytest.raises(ImageError, match=r"got Photo; of a photo, pass photo.image, and focal=photo.focal"):
            call(photo)  # type: ignore[operator]
    photos = [photo, photo._replace(focal=None)]
    assert [pose.camera.focal for pose in predictor.stream(photo)] == [(500.0, 510.0)]
    assert [pose.camera.focal for pose in predictor.stream(iter(photos))] == [(500.0, 510.0), tuple(FOCAL)]
    assert [pose.camera.focal for pose in predictor.stream(photos, focal=400)] == [(400.0, 400.0)] * 2


def test_the_picture_is_not_changed_and_the_result_is_reproducible(crops: list[Crop]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    before = image.copy()
    predict = Predictor(Oracle(two_hands(0, (600.0, 600.0)), crops))
    assert predict(image).to_json() == predict(image).to_json()
    np.testing.assert_array_equal(image, before)


# ---- without a box


def test_the_last_crop_is_around_the_joints_that_were_found(crops: list[Crop]) -> None:
    joints = two_hands(0, (900.0, 900.0))
    pose = Predictor(Oracle(joints, crops))(black())
    pixels = geometry.project(joints, FOCAL, PRINCPT)
    side = 1.2 * 1.25 * (pixels.max(axis=0) - pixels.min(axis=0)).max()
    np.testing.assert_allclose(pose.box[2:] - pose.box[:2], side, atol=side / SNAPS_PER_SIDE)
    middle = (pixels.max(axis=0) + pixels.min(axis=0)) / 2
    np.testing.assert_allclose((pose.box[:2] + pose.box[2:]) / 2, middle, atol=side / SNAPS_PER_SIDE)
    np.testing.assert_allclose(pose.joints_2d, pixels, atol=1e-8)


def test_an_absent_hand_does_not_widen_the_crop(crops: list[Crop]) -> None:
    joints = two_hands(0, (900.0, 900.0))
    pixels = geometry.project(joints, FOCAL, PRINCPT)[21:]
    pose = Predictor(Oracle(joints, crops, presence=(0.1, 0.9)))(black())
    middle = (pixels.max(axis=0) + pixels.min(axis=0)) / 2
    np.testing.assert_allclose((pose.box[:2] + pose.box[2:]) / 2, middle, atol=np.ptp(pose.box[::2]) / SNAPS_PER_SIDE)


@pytest.mark.parametrize("case", ["nobody", "one place", "outside"])
def test_with_implausible_joints_the_whole_picture_is_used(crops: list[Crop], case: str) -> None:
    joints = two_hands(0, (900.0, 900.0))
    if case == "one place":
        joints[:] = [0.0, 0.0, 900.0]
    if case == "outside":
        joints += [5000.0, 0.0, 0.0]
    pose = Predictor(Oracle(joints, crops, presence=(0.1, 0.2) if case == "nobody" else (0.9, 0.9)))(black())
    np.testing.assert_allclose(pose.box, [-0.5, -80.5, 639.5, 559.5], atol=2 * 640 / SNAPS_PER_SIDE)
    assert np.isfinite(pose.joints_cam).all() and (case != "nobody" or not pose.sides)


# ---- real networks


def tiny_network() -> TorchNetwork:
    torch.manual_seed(3)
    model = build(presets.tiny().model)
    with torch.no_grad():
        for parameter in model.parameters():  # untrained heads give nearly the same pose for all pictures
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return TorchNetwork(model, name="tiny", image_size=SIZE)


def test_with_the_flip_test_mirrored_pictures_have_mirrored_poses() -> None:
    """For any weights. Both crops are 64 px at scale 1; the second is 1 px on, as a crop's centre is pixel 32."""
    image = np.random.default_rng(4).integers(0, 255, (100, 120, 3)).astype(np.uint8)
    mirrored = np.ascontiguousarray(image[:, ::-1])
    box, half = np.array([50.0, 48.0]), 25.6  # times 1.25 is 32
    there = np.array([119 - box[0] + 1, box[1]])
    boxes = [np.concatenate([centre - half, centre + half]) for centre in (box, there)]
    plain, flipped = (Predictor(tiny_network(), flip_test=flip) for flip in (False, True))
    pose, other = flipped(image, boxes[0]), flipped(mirrored, boxes[1])
    np.testing.assert_allclose(other.joints_2d[:, 0], 119 - pose.joints_2d[FLIPPED_JOINTS, 0], atol=1e-3)
    np.testing.assert_allclose(other.joints_2d[:, 1], pose.joints_2d[FLIPPED_JOINTS, 1], atol=1e-3)
    np.testing.assert_allclose(other.presence, pose.presence[::-1], atol=1e-5)
    # Without the flip test they differ far more, so the agreement is not due to a constant output.
    difference = plain(mirrored, boxes[1]).joints_2d[:, 0] - (119 - plain(image, boxes[0]).joints_2d[FLIPPED_JOINTS, 0])
    assert np.abs(difference).max() > 0.1


def test_the_flip_test_is_the_average_of_both_outputs() -> None:
    network, size = tiny_network(), SIZE
    image = np.random.default_rng(5).integers(0, 255, (SIZE, SIZE, 3)).astype(np.uint8)
    box = np.array([32 - 25.6, 32 - 25.6, 32 + 25.6, 32 + 25.6])  # the crop is the picture
    pose = Predictor(network, flip_test=True)(image, box)
    both = network(np.stack([image, image[:, ::-1]]))
    for joint in range(42):
        u, v, _ = both.pose_2p5d[0, joint]
        u_mirrored, v_mirrored, _ = both.pose_2p5d[1, (joint + 21) % 42]
        expected = [(u + size - 1 - u_mirrored) / 2, (v + v_mirrored) / 2]
        np.testing.assert_allclose(pose.joints_2d[joint], expected, atol=1e-3)
    np.testing.assert_allclose(pose.presence, (both.presence[0] + both.presence[1, ::-1]) / 2, atol=1e-6)


@pytest.mark.parametrize("heads", [True, False])
def test_a_weights_file_predicts_from_start_to_end(tmp_path: Path, heads: bool) -> None:
    config = with_model(presets.tiny(), presence_head=heads, root_depth_head=heads)
    torch.manual_seed(0)
    save_weights(tmp_path / "mine.safetensors", build(config.model).state_dict(), config)
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3)).astype(np.uint8)
    for flip_test in (False, True):
        predict = Predictor.load(tmp_path / "mine.safetensors", flip_test=flip_test)
        for box in (None, [20, 10, 100, 80]):
            pose = predict(image, box)
            assert pose.model == "mine" and np.isfinite(pose.joints_cam).all()
            assert pose.to_json()


# ---- mirrored pictures


@pytest.mark.parametrize(("princpt", "box"), [(None, None), ((30.0, 25.0), [10.0, 5.0, 50.0, 45.0])])
def test_a_picture_declared_mirrored_gives_the_real_hands_on_its_own_pixels(
    princpt: tuple[float, float] | None, box: list[float] | None
) -> None:
    """For any network: the same pose as for the unmirrored picture, to the last bit, with its pixels mirrored."""
    image = np.random.default_rng(6).integers(0, 255, (60, 80, 3)).astype(np.uint8)
    selfie = np.ascontiguousarray(image[:, ::-1])
    predict, last = Predictor(tiny_network()), 79
    plain = predict(image, box, princpt=princpt)
    there = None if box is None else [last - box[2], box[1], last - box[0], box[3]]
    pose = predict(selfie, there, princpt=None if princpt is None else (last - princpt[0], princpt[1]), mirrored=True)
    assert pose.mirrored and not plain.mirrored and pose.image is selfie
    for name in ("joints_3d", "joints_cam", "presence"):
        np.testing.assert_array_equal(getattr(pose, name), getattr(plain, name))
    assert pose.sides == plain.sides
    np.testing.assert_array_equal(
        pose.joints_2d, np.column_stack([last - plain.joints_2d[:, 0], plain.joints_2d[:, 1]])
    )
    np.testing.assert_allclose(pose.box, [last - plain.box[2], plain.box[1], last - plain.box[0], plain.box[3]])
    # The formula of docs/json-schema.md: u = cx - fx X / Z.
    focal, centre = np.array(pose.camera.focal), np.array(pose.camera.princpt)
    projected = geometry.project(pose.joints_cam, focal * [-1, 1], centre)
    np.testing.assert_allclose(pose.joints_2d, projected, atol=1e-6)
    assert pose.camera.assumed == plain.camera.assumed


def test_a_mirrored_picture_that_is_not_declared_is_another_picture() -> None:
    image = np.random.default_rng(6).integers(0, 255, (60, 80, 3)).astype(np.uint8)
    predict, selfie = Predictor(tiny_network()), np.ascontiguousarray(image[:, ::-1])
    assert np.abs(predict(selfie).joints_3d - predict(selfie, mirrored=True).joints_3d).max() > 0.1


def test_errors_about_a_mirrored_picture_are_in_its_own_pixels(crops: list[Crop]) -> None:
    predict = Predictor(Oracle(two_hands(0, (600.0, 600.0)), crops))
    with pytest.raises(BoxError, match=r"got \[700.0, 10.0, 900.0, 200.0\]"):
        predict(black(), [700.0, 10.0, 900.0, 200.0], mirrored=True)
    with pytest.raises(UnclaspError, match=r"princpt must be two .*got \(nan, 3.0\)"):
        predict(black(), princpt=(np.nan, 3.0), mirrored=True)


@pytest.mark.parametrize("flip_test", [False, True])
def test_the_confidence_of_each_joint_reaches_the_pose(crops: list[Crop], flip_test: bool) -> None:
    plain, mirrored = np.arange(42) / 42, np.full(42, 0.5)
    mirrored[20] = 0.9  # the right wrist of the mirror image, which is the left one

    class Sure(Oracle):
        def __call__(self, crops: np.ndarray, /) -> NetworkOutput:
            output = super().__call__(crops)
            return output._replace(confidence=np.stack([plain, mirrored])[: len(output.presence)])

    pose = Predictor(Sure(two_hands(0, (600.0, 600.0)), crops), flip_test=flip_test)(black(), BOX)
    expected = plain if not flip_test else (plain + np.where(np.arange(42) == 41, 0.9, 0.5)) / 2
    assert pose.confidence is not None
    np.testing.assert_allclose(pose.confidence, expected)
    assert Predictor(Oracle(two_hands(0, (600.0, 600.0)), crops))(black(), BOX).confidence is None


# ---- real and synthetic pictures


def interesting_pictures() -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Return names, pictures and boxes: a synthetic picture, and real photos where they are available."""
    found = []
    if importlib.util.find_spec("numba") is not None:
        from unclasp.data.synthetic import Synthetic

        sample = Synthetic(seed=11, size=1)[0]
        found.append(("synthetic", sample.image, sample.box.astype(np.float64)))
    for path in sorted(PHOTOS.glob("hamer_test1.jpg")):
        image = read_picture(path)
        height, width = image.shape[:2]
        found.append((path.name, image, np.array([0.2 * width, 0.2 * height, 0.8 * width, 0.8 * height])))
    return found


@pytest.mark.parametrize("weights", [None, shipped_weights("small")])
@pytest.mark.parametrize("landmarks", [False, True])
def test_a_mirrored_picture_has_the_mirrored_pose(crops: list[Crop], *, landmarks: bool, weights: Path | None) -> None:
    """With the shipped weights and the flip test, on synthetic pictures and photos.

    Where tilted hands are cropped upright, a few values of the rotated crops differ by one grey level, because OpenCV
    rounds in single precision, and differently in the two pictures. The same may happen in the landmark network's
    crops, which are rotated by any angle: the effect is up to 0.1 px in ONNX Runtime, and some tenths of a mm in depth.
    """
    pictures = interesting_pictures()
    if not pictures:
        pytest.skip("neither numba nor the photos are here")
    predict = Predictor.load(weights, flip_test=True, landmarks=landmarks)
    for name, image, given in pictures:
        # The crop rule maps the box's middle to pixel S / 2, half a crop pixel off the crop's middle. The mirrored box
        # is shifted by one crop pixel, so that both crops are exact mirror images of each other.
        last = image.shape[1] - 1
        centre, half = np.round((given[:2] + given[2:]) / 2), predict.network.image_size / 2 / 1.25
        box = np.concatenate([centre - half, centre + half])
        mirrored = np.array([last - box[2] + 1, box[1], last - box[0] + 1, box[3]])
        crops.clear()
        pose, other = predict(image, box), predict(np.ascontiguousarray(image[:, ::-1]), mirrored)
        rotated = any(crop.crop_from_image[0, 1] for crop in crops)
        np.testing.assert_allclose(
            other.joints_2d, np.column_stack([last - pose.joints_2d[:, 0], pose.joints_2d[:, 1]])[FLIPPED_JOINTS],
            atol=(0.1 if weights is None else 0.03) if rotated else 2e-3, err_msg=name,
        )  # fmt: skip
        np.testing.assert_allclose(other.presence, pose.presence[::-1], atol=1e-4, err_msg=name)
        depth = pose.joints_3d[FLIPPED_JOINTS][:, 2]
        if len(pose.sides) == 2:
            np.testing.assert_allclose(other.joints_3d[:, 2], depth, atol=0.25 if landmarks else 0.05, err_msg=name)


def test_a_stream_gives_what_single_calls_give(tmp_path: Path) -> None:
    images = [np.random.default_rng(n).integers(0, 255, (60, 80, 3)).astype(np.uint8) for n in range(2)]
    cv2.imwrite(str(tmp_path / "one.png"), images[1][..., ::-1])
    predict = Predictor(tiny_network())
    for options in ({}, {"mirrored": True, "focal": (500.0, 510.0), "princpt": (30.0, 20.0)}):
        poses = list(predict.stream([images[0], tmp_path / "one.png"], **options))  # type: ignore[arg-type]
        for pose, image in zip(poses, images, strict=True):
            assert replace(pose, source=None).to_json() == predict(image, **options).to_json()  # type: ignore[arg-type]


def test_grey_and_transparent_arrays_are_converted(crops: list[Crop]) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH)).astype(np.uint8)
    rgb = np.repeat(grey[..., None], 3, axis=2)
    rgba = np.dstack([rgb, np.full_like(grey, 255)])
    predict = Predictor(Oracle(two_hands(0, (600.0, 600.0)), crops))
    for image in (grey, rgb, rgba):
        predict(image, BOX)
    np.testing.assert_array_equal(crops[0].image, crops[1].image)
    np.testing.assert_array_equal(crops[2].image, crops[1].image)


def test_missing_weights_and_devices_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        Predictor.load(tmp_path / "nowhere.safetensors")
    config = presets.tiny()
    save_weights(tmp_path / "tiny.safetensors", build(config.model).state_dict(), config)
    for device, reason in ("abacus", "expected cpu, cuda, cuda:N or mps"), ("cuda:99", ".*; cpu always works"):
        with pytest.raises(UnclaspError, match=f"device '{device}' cannot be used: {reason}$"):
            Predictor.load(tmp_path / "tiny.safetensors", device=device)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weights": 123}, "weights must be the path of a file, got int; leave it out"),
        ({"weights": ["small"]}, "weights must be the path of a file, got list; leave it out"),
        ({"fusion": 1.5}, "fusion must be the path of a file, got float; leave it out"),
        (
            {"device": None},
            "device must be cpu, cuda, cuda:N, mps or a torch.device, got NoneType; leave it out for cpu",
        ),
        ({"device": b"cpu"}, "device must be .*, got bytes"),
    ],
)
def test_values_of_another_type_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UnclaspError, match=f"^{message}"):
        Predictor.load(**given)


@pytest.mark.parametrize("flag", ["flip_test", "landmarks", "second_opinions"])
@pytest.mark.parametrize("value", ["false", 1, None])
def test_flags_of_a_predictor_are_true_or_false(flag: str, value: Any) -> None:
    with pytest.raises(UnclaspError, match=f"{flag} must be True or False, got {value!r}"):
        Predictor.load(**{flag: value})
    if flag != "landmarks":
        with pytest.raises(UnclaspError, match=f"{flag} must be True or False, got {value!r}"):
            Predictor(Shades(), **{flag: value})


@pytest.mark.parametrize("mirrored", ["0", 1, None])
def test_flags_of_a_call_are_true_or_false(mirrored: Any, tmp_path: Path) -> None:
    predictor = Predictor(Shades())
    video = Video(make_video(tmp_path / "clip.mp4"))
    told = f"must be True or False, got {mirrored!r}"
    for call, given in (
        (predictor, black()), (predictor.everyone, black()), (predictor.stream, black()), (predictor.track, []),
        (predictor.video, video),
    ):  # fmt: skip
        with pytest.raises(UnclaspError, match=f"mirrored {told}"):
            call(given, mirrored=mirrored)  # type: ignore[operator]
    with pytest.raises(UnclaspError, match=f"live {told}"):
        predictor.track([], live=mirrored)
    assert predictor(black(), mirrored=np.True_).mirrored is True


def test_devices_of_torch_are_taken() -> None:
    assert Predictor.load("small", device=torch.device("cpu"), landmarks=False, detector="none").network.name == "small"


@pytest.mark.parametrize("given", ["clip.mp4", ["clip.mp4"], black(), None], ids=["path", "list", "array", "none"])
def test_what_is_no_open_video_is_refused_at_the_call(given: Any) -> None:
    with pytest.raises(UnclaspError, match=r"^expected an open Video, got \w+; give a path to Predictor.stream, and"):
        Predictor(Shades()).video(given)


@pytest.mark.parametrize("options", [{"every": 2}, None, True])
def test_options_are_of_their_own_class(options: Any, tmp_path: Path) -> None:
    predictor, video = Predictor(Shades()), Video(make_video(tmp_path / "clip.mp4"))
    for call, given in ((predictor.stream, black()), (predictor.track, []), (predictor.video, video)):
        message = f"options must be StreamOptions(...), got {type(options).__name__}; import it from unclasp"
        with pytest.raises(UnclaspError, match=f"^{re.escape(message)}$"):
            call(given, options=options)  # type: ignore[operator]


@pytest.mark.parametrize("use", [pickle.dumps, copy.deepcopy])
def test_a_predictor_is_not_copied_to_other_processes(use: Callable[[Predictor], object]) -> None:
    with pytest.raises(TypeError, match="a Predictor can be neither pickled nor copied: load one in each process"):
        use(Predictor.load(landmarks=False, detector="none"))


@pytest.mark.parametrize("given", ["small", "small.onnx", Path("small.onnx")])
def test_a_file_is_no_network(given: Any) -> None:
    message = f"network must be a network, got {given!r}; use Predictor.load({given!r})"
    with pytest.raises(UnclaspError, match=f"^{re.escape(message)}$"):
        Predictor(given)
