"""The result object and its JSON form, which must match docs/json-schema.md."""

import copy
import json
import os
import pickle
import re
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import unclasp
from poses import random_pose
from unclasp import Predictor, read_picture
from unclasp.errors import ImageError, UnclaspError
from unclasp.hands import HAND_ORDERS, HAND_SLICES
from unclasp.pose import UNDECIDED, HandPose, present_hands

SCHEMA_PAGE = Path(__file__).parents[1] / "docs" / "json-schema.md"


def test_arrays_are_the_poses_own_and_read_only() -> None:
    joints_2d = np.zeros((42, 2))
    pose = replace(random_pose(), joints_2d=joints_2d)
    joints_2d[:] = 7
    assert pose.joints_2d.max() == 0
    pose = replace(pose, confidence=np.ones(42))
    for name in ("joints_2d", "joints_3d", "joints_cam", "presence", "present", "confidence", "box"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(pose, name)[0] = 1.0
    with pytest.raises(FrozenInstanceError):
        pose.model = "other"  # type: ignore[misc]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pose: pickle.loads(pickle.dumps(pose))])  # noqa: S301
def test_copies_are_read_only_too(copied: Callable[[HandPose], HandPose]) -> None:
    pose = replace(random_pose(), other_regions=np.zeros((2, 4)))
    other = copied(pose)
    assert other.to_dict() == pose.to_dict() and other.root_offset is not None
    for name in ("joints_2d", "present", "box", "other_regions"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(other, name)[0] = 1.0


def test_an_empty_list_is_no_region_and_nothing_is_no_array() -> None:
    assert replace(random_pose(), other_regions=[]).other_regions.shape == (0, 4)  # type: ignore[union-attr]
    for name in ("joints_2d", "box", "presence"):
        with pytest.raises((UnclaspError, TypeError)):
            replace(random_pose(), **{name: None})


def test_arrays_of_wrong_shapes_are_rejected() -> None:
    for name, wrong in (("joints_2d", (21, 2)), ("box", (2, 2)), ("present", (3,)), ("other_regions", (4,))):
        with pytest.raises(UnclaspError, match=f"{name} of a pose must be .*, got .*{wrong[0]}"):
            replace(random_pose(), **{name: np.zeros(wrong)})


@pytest.mark.parametrize(
    ("right", "left", "sides"),
    [(0.9, 0.8, ("right", "left")), (0.5, 0.49, ("right",)), (0.1, 0.7, ("left",)), (0.2, 0.3, ())],
)
def test_present_hands(right: float, left: float, sides: tuple[str, ...]) -> None:
    pose = random_pose(right, left)
    assert pose.sides == sides
    assert [hand["side"] for hand in pose.to_dict()["hands"]] == list(sides)
    assert (pose.root_offset is not None) == (len(sides) == 2)


@pytest.mark.parametrize(
    ("right", "confidence", "doubted"),
    [
        (0.9, (0.1, 0.4), ("right",)),
        (0.9, (0.1, 0.1), ("right", "left")),
        (0.1, (0.1, 0.4), ()),
        (0.9, (0.4, 0.4), ()),
        (0.9, None, ()),
    ],
    ids=["one", "both", "absent", "none", "no confidence"],
)
def test_hands_in_doubt(right: float, confidence: tuple[float, float] | None, doubted: tuple[str, ...]) -> None:
    pose = replace(random_pose(right), confidence=None if confidence is None else np.repeat(confidence, 21))
    assert pose.doubted == doubted
    assert tuple(view.side for view in pose.views() if view.doubted) == doubted


def test_repr_is_one_line() -> None:
    pose = replace(random_pose(), confidence=np.repeat([0.9, 0.1], 21))
    assert repr(pose) == "HandPose(right, left in doubt; an array, 256x240)"
    assert repr(replace(random_pose(0.1, 0.1), source="a.mp4", frame=3)) == "HandPose(no hand; a.mp4, frame 3, 256x240)"
    assert [hand["doubted"] for hand in pose.to_dict()["hands"]] == [False, True]


@pytest.mark.parametrize(
    ("confidence", "texts"), [((0.9, 0.514), ("90% sure", "51% sure")), ((0.9, 0.1), ("90% sure", "in doubt"))]
)
def test_views_say_how_sure_the_hands_are(confidence: tuple[float, float], texts: tuple[str, str]) -> None:
    views = replace(random_pose(), confidence=np.repeat(confidence, 21)).views()
    assert tuple(view.label for view in views) == texts
    assert [view.label for view in random_pose().views()] == ["97% there", "91% there"]


def test_hands_in_doubt_are_dashed_in_the_picture_and_in_the_3d_views() -> None:
    image = np.full((240, 256, 3), 128, np.uint8)
    pages = [replace(random_pose(), confidence=np.full(42, share)).plot(image).astype(int) for share in (0.9, 0.1)]
    for region in (np.s_[60:640, 60:680], np.s_[80:320, 760:1000]):
        sure, doubted = ((np.ptp(page[region], axis=2) > 40).mean() for page in pages)
        assert 0.1 * sure < doubted < 0.8 * sure


def test_root_offset_goes_from_the_right_wrist_to_the_left_one() -> None:
    pose = random_pose()
    assert pose.root_offset is not None
    np.testing.assert_allclose(pose.joints_cam[20] + pose.root_offset, pose.joints_cam[41])


def test_orders_of_other_libraries() -> None:
    pose = random_pose()
    for side, joints in zip(("right", "left"), HAND_SLICES, strict=True):
        in_plane, in_space = pose.hand(side, order="mediapipe")  # type: ignore[arg-type]
        np.testing.assert_array_equal(in_plane[0], pose.joints_2d[joints][20])  # the wrist comes first there,
        np.testing.assert_array_equal(in_space[4], pose.joints_3d[joints][0])  # and the thumb's tip is number 4
        for order in HAND_ORDERS:
            assert pose.hand(side, order=order)[1].shape == (21, 3)  # type: ignore[arg-type]


def test_to_gives_every_hand_that_is_present_in_the_order_of_a_library() -> None:
    pose = replace(random_pose(), confidence=np.arange(42) / 42)
    both, left = pose.to("mano"), replace(pose, present=np.array([False, True])).to("mano")
    assert list(both) == ["right", "left"] and list(left) == ["left"]
    for hand, start in ((both["right"], 0), (both["left"], 21)):
        np.testing.assert_array_equal(hand.joints_cam[0], pose.joints_cam[start + 20])  # the wrist
        np.testing.assert_array_equal(hand.joints_2d[1], pose.joints_2d[start + 7])  # the index finger's base
        np.testing.assert_array_equal(hand.joints_3d[16], pose.joints_3d[start])  # the thumb's tip
        np.testing.assert_array_equal(hand.confidence[20], pose.confidence[start + 16])  # the pinky's tip
    assert random_pose().to("openpose")["right"].confidence is None
    with pytest.raises(ValueError, match=r"order must be one of .*got 'coco'"):
        pose.to("coco")  # type: ignore[arg-type]


def test_to_numpy_gives_the_callers_own_arrays() -> None:
    pose = random_pose()
    arrays = pose.to_numpy()
    assert {name: array.shape for name, array in arrays.items()} == {
        "joints_2d": (42, 2), "joints_3d": (42, 3), "joints_cam": (42, 3), "presence": (2,), "present": (2,),
        "box": (4,), "confidence": (42,),
    }  # fmt: skip
    for name, array in arrays.items():
        if name != "confidence":
            np.testing.assert_array_equal(array, getattr(pose, name))
            array[:] = 0
    assert np.isnan(arrays["confidence"]).all() and pose.joints_2d.any() and pose.present.all()
    np.testing.assert_array_equal(replace(pose, confidence=np.ones(42)).to_numpy()["confidence"], 1)


def test_tracking_may_decide_who_is_present() -> None:
    pose = replace(random_pose(right=0.3, left=0.9), present=np.array([True, False]))
    assert pose.sides == ("right",) and pose.root_offset is None
    (hand,) = pose.to_dict()["hands"]
    assert (hand["side"], hand["presence"]) == ("right", 0.3)


def test_a_replaced_presence_decides_who_is_present_only_if_asked_to() -> None:
    pose = random_pose(right=0.9, left=0.9)
    changed = {"presence": np.array([0.1, 0.9])}
    assert replace(pose, **changed).sides == ("right", "left")
    assert replace(pose, **changed, present=UNDECIDED).sides == ("left",) and UNDECIDED.size == 0
    with pytest.raises(UnclaspError, match=r"present of a pose must be \(2,\), got \(1,\)"):
        replace(pose, present=np.array([True]))


@pytest.mark.parametrize(
    ("side", "order", "message"),
    [
        ("both", "mano", "side must be one of right, left, got 'both'"),
        ("left", "coco", "order must be one of .*mediapipe.*, got 'coco'"),
        ("left", ["mano"], r"order must be one of .*mediapipe.*, got \['mano'\]"),
    ],
)
def test_unknown_sides_and_orders_are_named(side: str, order: Any, message: str) -> None:
    with pytest.raises(UnclaspError, match=message):
        random_pose().hand(side, order=order)  # type: ignore[arg-type]


# ---- JSON


def documented() -> dict[str, str]:
    """Return the types by key from the page's table."""
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+?) \|", SCHEMA_PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(rows) == len(dict(rows)) > 15
    return dict(rows)


def flattened(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the keys of a JSON value as the page writes them, `a.b` in objects, `a[].b` in lists, with their values."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from flattened(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield key, value
        for inner in value:
            yield from flattened(inner, f"{key}[]")
    else:
        yield key, value


def conforms(value: Any, kind: str) -> bool:
    """Check a value against a type in the page's notation."""
    if kind == "list":
        return isinstance(value, list)
    if kind.endswith("or null"):
        return value is None or conforms(value, kind.removesuffix(" or null"))
    if match := re.fullmatch(r"(\d+) × (\d+) numbers", kind):
        rows, columns = map(int, match.groups())
        return len(value) == rows and all(conforms(row, f"{columns} numbers") for row in value)
    if match := re.fullmatch(r"(\d+) (number|string)s", kind):
        return (
            isinstance(value, list)
            and len(value) == int(match[1])
            and all(conforms(entry, match[2]) for entry in value)
        )
    if kind == "boolean":
        return isinstance(value, bool)
    kinds: dict[str, tuple[type, ...]] = {"integer": (int,), "number": (int, float), "string": (str,)}
    return isinstance(value, kinds[kind]) and not isinstance(value, bool)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"source": "photos/hände.jpg", "mirrored": True},
        {"source": "clip.mp4", "frame": 3, "time": 0.1, "confidence": np.linspace(0, 1, 42)},
    ],
)
def test_the_json_matches_the_documentation(more: dict[str, Any]) -> None:
    types = documented()
    values = list(flattened(json.loads(replace(random_pose(), **more).to_json())))
    assert {key for key, _ in values} == set(types)
    for key, value in values:
        assert conforms(value, types[key]), f"{key} should be {types[key]}, got {value!r}"


def test_the_check_against_the_page_can_fail() -> None:
    assert not conforms([[0.0, 1.0]] * 20, "21 × 2 numbers")
    assert not conforms([0.0, "1"], "2 numbers")
    assert not conforms("1", "integer")
    assert not conforms(True, "integer")
    assert not conforms(1, "boolean")
    assert not conforms([0.5] * 20, "21 numbers or null")
    assert not conforms(3, "string or null")


def test_the_json_holds_the_numbers() -> None:
    pose = random_pose(left=0.2)
    written = json.loads(pose.to_json())
    (hand,) = written["hands"]
    for name in ("joints_2d", "joints_3d", "joints_cam"):
        np.testing.assert_allclose(hand[name], getattr(pose, name)[:21], atol=0.005001)
    np.testing.assert_allclose(written["box"], pose.box)
    assert hand["joints_3d"][20] == [0, 0, 0]
    assert (hand["side"], hand["presence"], written["presence"]) == ("right", 0.97, {"right": 0.97, "left": 0.2})
    assert written["image"] == {
        "source": None, "frame": None, "time": None, "width": 256, "height": 240, "mirrored": False,
    }  # fmt: skip
    assert hand["confidence"] is None
    assert written["camera"] == {"focal": [500, 500], "princpt": [128, 128], "assumed": "a field of view"}
    assert (written["schema"], written["unclasp"], written["model"]) == (1, unclasp.__version__, "tiny")


def test_non_finite_numbers_are_not_written_to_json() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        replace(random_pose(), joints_3d=np.full((42, 3), np.nan)).to_json()


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "pose.json"
    target.write_text("earlier")

    def half(path: Path, text: str, **options: Any) -> int:
        path.write_bytes(text[: len(text) // 2].encode())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(UnclaspError, match="No space"):
        random_pose().save_json(target)
    assert target.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [target]


def test_save_json_makes_the_folder(tmp_path: Path) -> None:
    random_pose().save_json(tmp_path / "new" / "pose.json")
    assert json.loads((tmp_path / "new" / "pose.json").read_text())["model"] == "tiny"


# ---- drawing


def test_jupyter_shows_the_overlay_at_a_moderate_size() -> None:
    image = np.random.default_rng(0).integers(0, 255, (3000, 4000, 3)).astype(np.uint8)
    pose = replace(random_pose(), image=image)
    png = pose._repr_png_()
    assert png is not None
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1], pose.plot())
    assert max(pose.plot().shape) < 1700
    assert replace(pose, image=None)._repr_png_() is None


@pytest.mark.parametrize(("right", "left"), [(0.9, 0.9), (0.9, 0.1), (0.1, 0.1)])
def test_plot_returns_a_picture_and_leaves_the_callers_alone(right: float, left: float) -> None:
    image = np.full((240, 256, 3), 128, np.uint8)
    drawn = random_pose(right, left).plot(image)
    assert drawn.dtype == np.uint8 and drawn.ndim == 3 and drawn.shape[2] == 3 and min(drawn.shape[:2]) > 100
    assert (image == 128).all()
    if right >= 0.5:
        assert not np.array_equal(drawn, random_pose(0.1, 0.1).plot(image))


def test_plot_draws_the_hands_that_are_present_in_one_space(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr("unclasp.visualize.draw_pose", lambda _, views, others: calls.append((views, others)))
    both, left = random_pose(), random_pose(right=0.1)
    both.plot(np.zeros((240, 256, 3), np.uint8))
    left.plot(np.zeros((240, 256, 3), np.uint8), others=[both])
    (views, nobody), ((alone,), (others,)) = calls
    assert [(view.side, view.score) for view in views] == [("right", 0.97), ("left", 0.91)]
    np.testing.assert_array_equal(views[1].joints_2d, both.joints_2d[21:])
    offset = both.joints_cam[41] - both.joints_cam[20]
    np.testing.assert_array_equal(views[1].joints_3d, both.joints_3d[21:] + offset)
    assert alone.side == "left" and not nobody and [view.side for view in others] == ["right", "left"]
    np.testing.assert_array_equal(alone.joints_3d, left.joints_3d[21:])


def test_plot_uses_the_poses_own_picture_and_says_when_there_is_none() -> None:
    image = np.full((240, 256, 3), 128, np.uint8)
    pose = replace(random_pose(), image=image)
    np.testing.assert_array_equal(pose.plot(), random_pose().plot(image))
    with pytest.raises(UnclaspError, match=r"does not hold its picture; give it: pose.plot\(image\)"):
        replace(pose, image=None).plot()


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (np.zeros((120, 128, 3), np.uint8), "expected the pose's picture, 256 × 240 px, got 128 × 120; resize it, or"),
        (np.zeros((256, 240), np.uint8), "expected the pose's picture, 256 × 240 px, got 240 × 256"),
        (np.zeros((240, 256, 3)), "image must be .* uint8 RGB, got float64"),
        ("photo.jpg", "image must be .* got str; read the file with read_picture"),
    ],
)
def test_plot_refuses_other_pictures(image: Any, told: str) -> None:
    """Hands drawn over a smaller copy of the picture would be in wrong places."""
    with pytest.raises(ImageError, match=told):
        random_pose().plot(image)


def test_the_3d_views_of_a_mirrored_picture_look_like_the_picture() -> None:
    pose = random_pose()
    for plain, mirrored in zip(pose.views(), replace(pose, mirrored=True).views(), strict=True):
        np.testing.assert_array_equal(mirrored.joints_2d, plain.joints_2d)
        np.testing.assert_array_equal(mirrored.joints_3d, plain.joints_3d * [-1, 1, 1])


@pytest.mark.parametrize(
    ("presence", "expected"),
    [((0.4, 0.1), (False, False)), ((0.5, 0.1), (True, False)), ((0.5, 0.0), (True, False)),
     ((0.4, 0.3), (True, False)), ((0.69, 0.9), (False, True)),
     ((0.7, 0.9), (True, True)), ((0.9, 0.7), (True, True)), ((0.6, 0.6), (True, True))],
)  # fmt: skip
def test_the_less_likely_hand_has_to_be_more_certain(
    presence: tuple[float, float], expected: tuple[bool, bool]
) -> None:
    assert tuple(present_hands(np.array(presence))) == expected
    assert tuple(present_hands(np.array(presence[::-1]))) == expected[::-1]


def test_confidences_are_written_with_four_digits_and_copied() -> None:
    pose = replace(random_pose(), confidence=np.full(42, 0.12345))
    assert pose.to_dict()["hands"][1]["confidence"] == [0.1234] * 21
    pose.to_numpy()["confidence"][:] = 0
    assert pose.confidence is not None and (pose.confidence == 0.12345).all()


def test_a_name_that_is_not_utf_8_gives_valid_json() -> None:
    pose = replace(random_pose(), source=os.fsdecode(b"bad\xff.jpg"))
    pose.to_json().encode()  # raises for lone surrogates
    assert pose.to_dict()["image"]["source"] == "bad?.jpg"


def test_the_example_of_the_documentation_is_what_is_written() -> None:
    """Up to last digits, which depend on the processor."""
    (block,) = re.findall(r"```json\n(.*?)```", SCHEMA_PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)[:1]
    example = json.loads(block)
    image = read_picture(SCHEMA_PAGE.parents[1] / example["image"]["source"])
    written = json.loads(Predictor.load()(image).to_json())
    (right, _), (hand, *_) = example["hands"], written["hands"]
    for name in ("joints_2d", "joints_3d", "joints_cam", "confidence"):
        np.testing.assert_allclose(hand[name][0], right[name][0], rtol=0.01, atol=0.5, err_msg=name)
    np.testing.assert_allclose(written["box"], example["box"], atol=0.5)
    assert written["presence"] == pytest.approx(example["presence"], abs=0.01)
    numbers = {"probability": 0.01, "distance": 0.5}
    for name, value in example["contact"].items():
        assert written["contact"][name] == (pytest.approx(value, abs=numbers[name]) if name in numbers else value)
