"""HEIC files in tests/data, written with pillow-heif, and AVIF files made here: what is read, and what is refused."""

import io
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unclasp
from unclasp import heif, sources
from unclasp.errors import ImageError
from unclasp.picture import decode_photo, read_photo
from unclasp.sources import find_sources
from unclasp.web.page import demo_page

pytest.importorskip("pi_heif", reason="needs the extra heic")
import pi_heif
from PIL import Image

DATA = Path(__file__).parent / "data"
TURNED = (DATA / "turned.heic").read_bytes()
"""64×48 quarters in red, green, blue and yellow, stored on the side; EXIF with 26 mm, and an orientation to be ignored
as the container has one."""
RED, GREEN, BLUE, YELLOW = (220, 40, 40), (40, 200, 60), (50, 60, 210), (230, 220, 60)
FOCAL_26MM = 26 / math.hypot(36, 24) * 64 * 5 / 4
"""px: of a 4:3 picture with a longer side of 64 px (`exif.ASPECTS`)."""


def quarters() -> Image.Image:
    image = np.empty((48, 64, 3), np.uint8)
    image[:24, :32], image[:24, 32:], image[24:, :32], image[24:, 32:] = RED, GREEN, BLUE, YELLOW
    return Image.fromarray(image)


def avif(image: Image.Image | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    (quarters() if image is None else image).save(file, "AVIF", quality=95, **options)
    return file.getvalue()


def exif(orientation: int = 1) -> Image.Exif:
    block = Image.Exif()
    block[0x112], block[0x10F] = orientation, "maker"
    block.get_ifd(0x8769).update({0xA405: 26, 0xA002: 64, 0xA003: 48})
    return block


def assert_quarters(image: np.ndarray, colours: tuple[tuple[int, int, int], ...]) -> None:
    """Check the quarters of a picture, read like a page, in their middles."""
    height, width = image.shape[:2]
    found = [image[y, x] for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    np.testing.assert_allclose(np.array(found, int), colours, atol=6)


def test_a_heic_picture_is_upright_with_its_focal_length(save: Callable[..., Path]) -> None:
    image, focal = read_photo(save(TURNED, "IMG_0001.HEIC"))
    assert image.shape == (64, 48, 3)
    assert image.flags.c_contiguous
    assert_quarters(image, (BLUE, RED, YELLOW, GREEN))
    assert focal == pytest.approx((FOCAL_26MM, FOCAL_26MM))


def test_transparency_is_blended_over_white() -> None:
    expected = ((255, 255, 255), GREEN, BLUE, YELLOW)
    assert_quarters(decode_photo((DATA / "transparent.heic").read_bytes()).image, expected)
    image = quarters()
    image.putalpha(Image.fromarray(np.where(np.indices((48, 64)).max(axis=0) < 24, 0, 255).astype(np.uint8)))
    assert_quarters(decode_photo(avif(image)).image, expected)


def test_ten_bits_become_eight() -> None:
    assert_quarters(decode_photo((DATA / "ten_bits.heic").read_bytes()).image, (RED, GREEN, BLUE, YELLOW))


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, (RED, GREEN, BLUE, YELLOW)),
        (2, (GREEN, RED, YELLOW, BLUE)),
        (3, (YELLOW, BLUE, GREEN, RED)),
        (4, (BLUE, YELLOW, RED, GREEN)),
        (5, (RED, BLUE, GREEN, YELLOW)),
        (6, (BLUE, RED, YELLOW, GREEN)),
        (7, (YELLOW, GREEN, BLUE, RED)),
        (8, (GREEN, YELLOW, RED, BLUE)),
    ],
)
def test_an_avif_picture_is_upright_with_its_focal_length(
    orientation: int, upright: tuple[tuple[int, int, int], ...]
) -> None:
    image, focal = decode_photo(avif(exif=exif(orientation)))
    assert image.shape == ((64, 48, 3) if orientation > 4 else (48, 64, 3))
    assert_quarters(image, upright)
    assert focal == pytest.approx((FOCAL_26MM, FOCAL_26MM))


def test_a_picture_without_exif_has_no_focal_length() -> None:
    assert decode_photo(avif()).focal is None


@pytest.mark.parametrize(
    ("brands", "kind"),
    [
        (b"heic\0\0\0\0mif1heic", "HEIC"),
        (b"heix\0\0\0\0mif1heix", "HEIC"),
        (b"mif1\0\0\0\0mif1heic", "HEIC"),
        (b"mif1\0\0\0\0mif1miaf", "HEIC"),
        (b"mif1\0\0\0\0mif1avif", "AVIF"),
        (b"avif\0\0\0\0mif1miaf", "AVIF"),
        (b"avis\0\0\0\0msf1miaf", "AVIF"),
        (b"isom\0\0\0\0mp41avc1", None),
        (b"qt  \0\0\0\0qt  ", None),
    ],
)
def test_brands_tell_the_format(brands: bytes, kind: str | None) -> None:
    data = (8 + len(brands)).to_bytes(4) + b"ftyp" + brands
    assert heif.kind_of(data) == kind
    assert heif.kind_of(data + b"heicavif") == kind, "what follows the box counts as well"
    assert heif.kind_of(data.replace(b"ftyp", b"free")) is None


@pytest.mark.parametrize("data", [TURNED, avif(), avif(exif=exif(6))], ids=["heic", "avif", "avif with exif"])
def test_a_picture_that_was_cut_off_is_refused_silently(data: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    for length in range(12, len(data), 7):
        with pytest.raises(ImageError, match=r"truncated or damaged|an unknown format"):
            decode_photo(data[:length])
    with pytest.raises(ImageError, match="truncated or damaged"):
        decode_photo(data[:-1])
    assert capfd.readouterr() == ("", "")


def test_data_after_the_picture_is_ignored() -> None:
    box = (16).to_bytes(4) + b"mpvd" + bytes(8)
    long_box = (1).to_bytes(4) + b"free" + (24).to_bytes(8) + bytes(8)
    last_box = (0).to_bytes(4) + b"free" + b"\xff" * 100
    for more in (box, long_box, last_box, b"end"):
        assert (decode_photo(TURNED + more).image == decode_photo(TURNED).image).all()
    with pytest.raises(ImageError, match="truncated"):
        decode_photo(TURNED + (1).to_bytes(4) + b"free" + (25).to_bytes(8) + bytes(8))


ENTRY = (21).to_bytes(4) + b"infe\2\0\0\1\0\2\0\0Exif\0"


def with_entry(entry: bytes) -> bytes:
    """Return the file with another entry for its EXIF block; the boxes around it grow with it."""
    data, more = TURNED, len(entry) - len(ENTRY)
    for box in (b"meta", b"iinf"):
        at = data.index(box) - 4
        data = data[:at] + (int.from_bytes(data[at : at + 4]) + more).to_bytes(4) + data[at + 4 :]
    assert ENTRY in data
    return data.replace(ENTRY, entry)


@pytest.mark.parametrize(
    "entry",
    [
        ENTRY.replace(b"Exif", b"E\x80if"),
        ENTRY.replace(b"Exif\0", "Exi\xe9".encode()),
        bytes(4) + ENTRY[4:].replace(b"Exif", b"E\x80if"),
        (1).to_bytes(4) + b"infe" + (29).to_bytes(8) + ENTRY[8:].replace(b"Exif", b"E\x80if"),
        (23).to_bytes(4) + b"infe\3\0\0\1\0\0\0\2\0\0" + "Exi\xe9".encode(),
    ],
    ids=["type", "half a letter", "to the end", "64 bits", "version 3"],
)
def test_a_type_that_is_no_text_is_refused_instead_of_ending_the_process(entry: bytes) -> None:
    program = "import sys; from unclasp.picture import decode_photo; decode_photo(sys.stdin.buffer.read())"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], input=with_entry(entry), capture_output=True, check=False, env=environment
    )
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1].endswith("truncated or damaged; copy or download it again")


def test_files_that_claim_much_are_refused_at_once() -> None:
    start, entries = TURNED[: TURNED.index(b"meta") - 4], (b"\x7f\x7f\x7f\x7finfe" + bytes(8)) * 50_000
    meta = (12 + len(entries)).to_bytes(4) + b"meta" + bytes(4) + entries
    brands = (2**31).to_bytes(4) + b"ftypheic" + bytes(20_000_000)
    for data in (start + meta, brands):
        began = time.process_time()
        with pytest.raises(ImageError, match="truncated or damaged"):
            decode_photo(data)
        assert time.process_time() - began < 1


@pytest.mark.parametrize("data", [TURNED, avif()], ids=["heic", "avif"])
def test_a_size_is_refused_before_the_picture_is_decoded(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert decode_photo(data, max_pixels=64 * 48).image.size
    monkeypatch.setattr(heif, "read_pixels", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ImageError, match=r"at most 3,071 pixels, got (64 × 48|48 × 64)"):
        decode_photo(data, max_pixels=64 * 48 - 1)


@pytest.mark.parametrize(("data", "kind"), [(TURNED, "a HEIC"), (avif(), "an AVIF")], ids=["heic", "avif"])
def test_without_the_extra_the_error_says_how_to_get_it(
    data: bytes, kind: str, save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    path = save(data, "hand.jpg")
    with pytest.raises(ImageError) as caught:
        read_photo(path)
    assert str(caught.value) == (
        f"{path}: expected a JPEG, PNG, WebP, BMP or TIFF picture, got {kind} picture; pip install 'unclasp[heic]' to "
        "read it, or convert it to JPEG"
    )


def test_a_decoder_that_cannot_be_loaded_is_told_like_a_missing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """pi-heif can be imported without its library, and says so only when it is used."""

    def cannot_be_loaded(_: object) -> None:
        raise ImportError("libheif.so.1: cannot open shared object file")

    monkeypatch.setattr(pi_heif, "HeifImageFile", cannot_be_loaded)
    with pytest.raises(ImageError, match=r"got a HEIC picture; pip install 'unclasp\[heic\]'"):
        decode_photo(TURNED)


def test_folders_are_searched_for_them(
    save: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("1.HEIC", "2.heif", "2.hif", "3.avif", "4.jpg", "5.gif"):
        save(TURNED, name)
    found = [Path(source.name).name for source in find_sources(tmp_path)]
    assert found == ["1.HEIC", "2.heif", "2.hif", "3.avif", "4.jpg"]
    told = f"{tmp_path}: skipped pictures in formats that cannot be read"
    assert caplog.messages == [f"{told}: 1 GIF; convert them to JPEG"]
    caplog.clear()
    monkeypatch.setattr(sources, "PICTURE_SUFFIXES", sources.PICTURE_SUFFIXES - heif.SUFFIXES.keys())
    assert [Path(source.name).name for source in find_sources(tmp_path)] == ["4.jpg"]
    assert caplog.messages == [
        f"{told}: 1 AVIF, 1 GIF, 3 HEIC; pip install 'unclasp[heic]' for HEIC and AVIF, or convert them to JPEG"
    ]


def test_the_web_page_takes_them_where_they_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    page = demo_page(upload_bytes=1, pixels=1, model="x")
    assert "TIFF, HEIC, AVIF ·" in page
    assert 'image/tiff,image/heic,image/heif,image/avif,.heic,.heif,.hif,.avif">' in page
    monkeypatch.setattr(heif, "find_spec", lambda _: None)
    page = demo_page(upload_bytes=1, pixels=1, model="x")
    assert "TIFF ·" in page
    assert 'image/tiff">' in page


def test_the_import_loads_neither_package() -> None:
    program = "import sys, unclasp.predictor, unclasp.sources; print({'pi_heif', 'PIL'} & sys.modules.keys())"
    environment = os.environ | {"PYTHONPATH": str(Path(unclasp.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "set()\n"
