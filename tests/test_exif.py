"""What EXIF blocks say of the focal length, and that predictions use it."""

import json
import math
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from command_line import predict_here
from shades import Shades
from unclasp.exif import DIAGONAL_35MM, focal_length, orientation
from unclasp.lifting import assumed_focal
from unclasp.picture import read_photo
from unclasp.predictor import Predictor
from unclasp.web.answer import answer_picture

WIDTH, HEIGHT, FOCAL_35MM = 0xA002, 0xA003, 0xA405
PHONE = {FOCAL_35MM: 26, WIDTH: 4032, HEIGHT: 3024}
AS_TAKEN = 26 / DIAGONAL_35MM * 5000 / 4000
"""Focal length of such a picture in longer sides: 4000 x 3000 px have a diagonal of 5000."""


def block(shot: dict[int, int], *, order: str = ">", start: int = 26) -> bytes:
    """Return an EXIF block: an upright picture, and the tags of the shot."""
    mark = b"MM" if order == ">" else b"II"
    first = struct.pack(f"{order}HIHHHII", 42, 8, 1, 0x8769, 4, 1, start)
    tags = b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in shot.items())
    return b"Exif\0\0" + mark + first + bytes(4) + struct.pack(f"{order}H", len(shot)) + tags + bytes(4)


@pytest.mark.parametrize("order", "><")
@pytest.mark.parametrize("size", [(4032, 3024), (3024, 4032), (1000, 750), (400, 301)])
def test_a_phone_s_focal_length_in_px(size: tuple[int, int], order: str) -> None:
    """By hand: 26 mm on a frame of 43.27 mm of diagonal, turned and shrunk pictures, too."""
    assert focal_length(block(PHONE, order=order), *size) == pytest.approx(AS_TAKEN * max(size), rel=2e-3)


@pytest.mark.parametrize(
    ("size", "degrees"), [((6000, 4000), 39.6), ((4000, 3000), 38.2), ((1920, 1080), 38.2)], ids=["3:2", "4:3", "16:9"]
)
def test_50_mm_see_what_50_mm_see(size: tuple[int, int], degrees: float) -> None:
    """Across the longer side: 36 mm of film, or as much of the same diagonal as is seen."""
    focal = focal_length(block({FOCAL_35MM: 50}), *size)
    assert focal is not None
    assert 2 * math.degrees(math.atan(max(size) / 2 / focal)) == pytest.approx(degrees, abs=0.1)


@pytest.mark.parametrize(
    ("shot", "size"),
    [
        (PHONE, (4032, 2268)),
        (PHONE, (3024, 3024)),
        ({FOCAL_35MM: 26}, (1000, 1000)),
        ({FOCAL_35MM: 26}, (1920, 1350)),
        ({FOCAL_35MM: 26, WIDTH: 1000, HEIGHT: 900}, (1000, 900)),
    ],
)
def test_cropped_pictures_tell_none(shot: dict[int, int], size: tuple[int, int]) -> None:
    assert focal_length(block(shot), *size) is None


@pytest.mark.parametrize("focal", [0, 3, 60000])
def test_what_no_lens_has_is_not_believed(focal: int) -> None:
    assert focal_length(block({FOCAL_35MM: focal}), 4000, 3000) is None


@pytest.mark.parametrize(
    "exif",
    [b"", b"Exif\0\0", b"MM", block(PHONE)[:50], block(PHONE, start=0), block(PHONE, start=60000), block({})],
)
def test_damaged_and_missing_blocks_tell_nothing(exif: bytes) -> None:
    assert focal_length(exif, 4000, 3000) is None
    assert orientation(exif) == 1


# ---- in use


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Return a phone's JPEG of 400 x 300 px."""
    path, exif = tmp_path / "phone.jpg", block({FOCAL_35MM: 26})
    jpeg = cv2.imencode(".jpg", np.full((300, 400, 3), 120, np.uint8))[1].tobytes()
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    return path


def test_a_file_is_read_with_its_focal_length(photo: Path, tmp_path: Path) -> None:
    image, focal = read_photo(photo)
    assert image.shape == (300, 400, 3)
    assert focal == pytest.approx((400 * AS_TAKEN,) * 2)
    cv2.imwrite(str(tmp_path / "plain.png"), image)
    assert read_photo(tmp_path / "plain.png").focal is None


def test_streams_and_the_web_page_use_it(photo: Path) -> None:
    predictor, expected = Predictor(Shades()), read_photo(photo).focal
    (pose,) = predictor.stream(photo)
    assert pose.camera.focal == expected
    assert pose.camera.assumed == "the principal point in the middle"
    for given in ((500, 510), np.array([500.0, 510.0])):
        (pose,) = predictor.stream(photo, focal=given)  # type: ignore[arg-type]
        assert pose.camera.focal == (500, 510)
    answer = json.loads(answer_picture(predictor, photo.read_bytes(), max_pixels=10**6))
    assert json.loads(answer["result"])["camera"]["focal"] == list(expected or ())
    (pose,) = predictor.stream(read_photo(photo).image)
    assert pose.camera.focal == pytest.approx((assumed_focal(400, 300),) * 2)


@pytest.mark.parametrize("more", [(), ("--everyone",), ("--focal", "500", "510")])
def test_the_command_uses_it(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str]) -> None:
    code, told, _ = predict_here(capsys, photo, "--out", tmp_path / "out", *more)
    assert code == 0 and "phone.jpg" in told
    camera = json.loads((tmp_path / "out" / "phone.json").read_text())["camera"]
    assert camera["focal"] == ([500, 510] if "--focal" in more else pytest.approx([400 * AS_TAKEN] * 2, abs=1e-3))
