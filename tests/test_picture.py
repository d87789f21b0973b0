"""Real files, whole and broken, made here: what is read, what is refused and with which words."""

import os
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import unclasp
from unclasp import picture, quiet
from unclasp.errors import ImageError
from unclasp.picture import check_image, decode_photo, read_photo, read_picture, with_gamma

RED, GREEN, BLUE, WHITE = (230, 20, 20), (20, 200, 20), (20, 20, 230), (255, 255, 255)


def corners(height: int = 32, width: int = 48) -> np.ndarray:
    """Return an RGB picture whose quarters are red, green, blue and white, read like a page."""
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = RED, GREEN
    image[height // 2 :, : width // 2], image[height // 2 :, width // 2 :] = BLUE, WHITE
    return image


def encode(suffix: str, image: np.ndarray | None = None, flags: tuple[int, ...] = ()) -> bytes:
    image = corners() if image is None else image
    return cv2.imencode(suffix, image[..., ::-1] if image.ndim == 3 and image.shape[2] == 3 else image, flags)[
        1
    ].tobytes()


def noise(channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 64, channels), dtype=np.uint8)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(colour: int, pixel: bytes, *, size: tuple[int, int] = (20, 20), depth: int = 8, extra: bytes = b"") -> bytes:
    """Return a PNG of one colour; colour is the PNG's colour type."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    rows = b"" if size[0] > 1000 else (b"\0" + pixel * size[0]) * size[1]
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def exif(orientation: int, *, order: str = ">") -> bytes:
    """Return a TIFF directory with nothing but the orientation."""
    mark = b"MM" if order == ">" else b"II"
    return mark + struct.pack(f"{order}HIHHHIHHI", 42, 8, 1, 0x112, 3, 1, orientation, 0, 0)


def with_app1(jpeg: bytes, payload: bytes) -> bytes:
    payload = b"Exif\0\0" + payload
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]


def cmyk_jpeg() -> bytes:
    """Return a 16 × 16 CMYK JPEG of one colour: every coefficient is 0, so each sample is 128."""
    segment = lambda marker, data: bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data  # noqa: E731
    components = b"".join(bytes([i, 0x11, 0]) for i in range(1, 5))
    frame = struct.pack(">BHHB", 8, 16, 16, 4) + components
    tables = b"".join(bytes([kind]) + b"\1" + bytes(15) + b"\0" for kind in (0x00, 0x10))
    scan = b"\4" + b"".join(bytes([i, 0]) for i in range(1, 5)) + bytes([0, 63, 0])
    adobe = segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, 0))
    head = b"\xff\xd8" + adobe + segment(0xDB, b"\0" + b"\1" * 64) + segment(0xC0, frame) + segment(0xC4, tables)
    return head + segment(0xDA, scan) + bytes(4) + b"\xff\xd9"


def quarters(image: np.ndarray) -> list[tuple[int, ...]]:
    """Return the palette colour nearest to each corner, read like a page."""
    palette = np.array([RED, GREEN, BLUE, WHITE])
    found = [image[y, x].astype(int) for y in (4, -5) for x in (4, -5)]
    return [tuple(palette[np.abs(palette - colour).sum(axis=1).argmin()].tolist()) for colour in found]


# Reading ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
def test_colours_and_shape_survive_every_format(save: Callable[..., Path], suffix: str) -> None:
    image = read_picture(str(save(encode(suffix), f"Hand{suffix.upper()}")))
    assert image.shape == (32, 48, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert quarters(image) == [RED, GREEN, BLUE, WHITE]
    if suffix in (".png", ".bmp", ".tiff"):
        np.testing.assert_array_equal(image, corners())


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_the_content_of_a_file_is_decoded_as_the_file_is_read(save: Callable[..., Path], kind: Any) -> None:
    photo = unclasp.decode_photo(kind(encode(".png")))
    assert isinstance(photo, unclasp.Photo) and photo.focal is None
    np.testing.assert_array_equal(photo.image, read_picture(save(encode(".png"))))


@pytest.mark.parametrize("read", [read_picture, read_photo])
@pytest.mark.parametrize("given", [b"a.png", bytearray(encode(".png")), BytesIO(encode(".png")), None, 3])
def test_what_is_no_path_is_told_from_what_to_decode(read: Callable[[Any], object], given: Any) -> None:
    with pytest.raises(ImageError, match=f"the path of a picture file, got {type(given).__name__}; .* decode_photo"):
        read(given)


@pytest.mark.parametrize("given", ["a.png", Path("a.png"), BytesIO(b"x"), None])
def test_what_is_no_content_is_told_from_what_to_read(given: Any) -> None:
    with pytest.raises(ImageError, match=f"the bytes of a picture file, got {type(given).__name__}; .* read_photo, "):
        decode_photo(given)


def test_calls_that_take_arrays_say_what_to_do_with_the_content_of_a_file() -> None:
    with pytest.raises(ImageError, match="got bytes; decode the content of a file with decode_photo"):
        check_image(encode(".png"))


def test_content_decides_not_the_suffix(save: Callable[..., Path]) -> None:
    np.testing.assert_array_equal(read_picture(save(encode(".png"), "hand.jpg")), corners())


def test_progressive_restart_and_arithmetic_free_jpegs_are_whole(save: Callable[..., Path]) -> None:
    flags = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2, cv2.IMWRITE_JPEG_OPTIMIZE, 1)
    for chosen in (flags[:2], flags[2:4], flags):
        assert read_picture(save(encode(".jpg", noise(), chosen))).shape == (64, 64, 3)


def test_a_jpeg_that_tells_how_its_arithmetic_code_is_set_is_whole() -> None:
    data = encode(".jpg")
    conditioning = b"\xff\xcc" + struct.pack(">HBB", 4, 0, 0x10)
    assert quarters(decode_photo(data[:2] + conditioning + data[2:]).image) == [RED, GREEN, BLUE, WHITE]


UPRIGHT = {  # what EXIF says about where row 0 and column 0 are -> the four corners, read like a page
    1: [RED, GREEN, BLUE, WHITE],
    2: [GREEN, RED, WHITE, BLUE],
    3: [WHITE, BLUE, GREEN, RED],
    4: [BLUE, WHITE, RED, GREEN],
    5: [RED, BLUE, GREEN, WHITE],
    6: [BLUE, RED, WHITE, GREEN],
    7: [WHITE, GREEN, BLUE, RED],
    8: [GREEN, WHITE, RED, BLUE],
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(save: Callable[..., Path], orientation: int, order: str) -> None:
    path = save(with_app1(encode(".jpg"), exif(orientation, order=order)))
    image = read_picture(path)
    assert quarters(image) == UPRIGHT[orientation]
    assert image.flags.c_contiguous
    assert image.shape == ((32, 48, 3) if orientation < 5 else (48, 32, 3))
    np.testing.assert_array_equal(image, cv2.imread(str(path))[..., ::-1])  # OpenCV's own opinion


def test_of_two_exif_blocks_the_first_counts() -> None:
    twice = with_app1(with_app1(encode(".jpg"), exif(3)), exif(6))
    assert quarters(decode_photo(twice).image) == UPRIGHT[6]


@pytest.mark.parametrize("damage", [b"", b"MM", b"MM\0*\0\0\xff\xff", exif(9), exif(0), exif(6)[:12]])
def test_damaged_exif_does_not_cost_the_picture(save: Callable[..., Path], damage: bytes) -> None:
    assert read_picture(save(with_app1(encode(".jpg"), damage))).shape == (32, 48, 3)


def test_orientation_of_png_webp_and_transparent_png(save: Callable[..., Path]) -> None:
    opaque = np.dstack([corners()[..., ::-1], np.full((32, 48), 255, np.uint8)])
    for image in (corners(), opaque):
        data = encode(".png", image)
        turned = data[:33] + chunk(b"eXIf", exif(6)) + data[33:]
        assert quarters(read_picture(save(turned))) == UPRIGHT[6]
    webp = encode(".webp")[12:]
    sides = (47).to_bytes(3, "little") + (31).to_bytes(3, "little")
    odd = b"ABCD" + struct.pack("<I", 3) + b"odd\0"
    body = b"WEBPVP8X" + struct.pack("<II", 10, 8) + sides + webp + odd + b"EXIF" + struct.pack("<I", 26) + exif(8)
    assert quarters(read_picture(save(b"RIFF" + struct.pack("<I", len(body)) + body))) == UPRIGHT[8]


def test_jpeg_with_a_thumbnail_and_trailing_bytes_is_whole(save: Callable[..., Path]) -> None:
    jpeg = with_app1(encode(".jpg"), exif(1) + encode(".jpg", noise()))
    for trailer in (b"", b"\0" * 100, b"SEFT\xff\xd8\xff", encode(".jpg", noise())):
        assert quarters(read_picture(save(jpeg + trailer))) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize(
    ("colour", "pixel", "extra", "depth", "expected"),
    [
        pytest.param(0, b"\x40", b"", 8, (64, 64, 64), id="grey"),
        pytest.param(4, b"\x40\x80", b"", 8, (159, 159, 159), id="grey+alpha"),  # (64·128 + 255·127) / 255
        pytest.param(4, b"\x40\x83", b"", 8, (157, 157, 157), id="grey+alpha rounds"),  # 156.88
        pytest.param(6, b"\x40\x80\xc0\x00", b"", 8, (255, 255, 255), id="invisible"),
        pytest.param(6, b"\x40\x80\xc0\xff", b"", 8, (64, 128, 192), id="opaque"),
        pytest.param(6, b"\xff\x00\x00\x80", b"", 8, (255, 127, 127), id="half red"),
        pytest.param(3, b"\0", chunk(b"PLTE", b"\x0a\x14\x1e"), 8, (10, 20, 30), id="palette"),
        pytest.param(
            3, b"\0", chunk(b"PLTE", b"\x0a\x14\x1e") + chunk(b"tRNS", b"\0"), 8, (255, 255, 255), id="palette+alpha"
        ),
        pytest.param(0, b"\xff\xff", b"", 16, (255, 255, 255), id="grey16"),
        pytest.param(2, b"\x40\x40\x00\x00\xff\xff", b"", 16, (64, 0, 255), id="rgb16"),
        pytest.param(2, b"\x40\xbf\x00\x80\x00\x81", b"", 16, (64, 0, 1), id="rgb16 rounds"),
        pytest.param(6, b"\xff\xff\x00\x00\x00\x00\x80\x80", b"", 16, (255, 127, 127), id="rgba16"),
    ],
)
def test_png_kinds(
    save: Callable[..., Path], colour: int, pixel: bytes, extra: bytes, depth: int, expected: tuple[int, ...]
) -> None:
    image = read_picture(save(png(colour, pixel, depth=depth, extra=extra)))
    assert image.shape == (20, 20, 3)
    assert np.unique(image.reshape(-1, 3), axis=0).tolist() == [list(expected)]


def test_grey_and_cmyk_jpeg(save: Callable[..., Path]) -> None:
    assert np.ptp(read_picture(save(encode(".jpg", noise(1)))), axis=2).max() == 0
    cmyk = read_picture(save(cmyk_jpeg()))
    assert cmyk.shape == (16, 16, 3)
    assert abs(int(cmyk.min()) - 64) <= 1  # 255 · ½ · ½
    assert np.ptp(cmyk) == 0


def test_a_bmp_with_an_empty_fourth_byte_is_not_transparent(save: Callable[..., Path]) -> None:
    header = struct.pack("<2sIHHI", b"BM", 54 + 1024, 0, 0, 54) + struct.pack(
        "<IiiHHIIiiII", 40, 16, 16, 1, 32, 0, 0, 0, 0, 0, 0
    )
    assert (read_picture(save(header + b"\x01\x02\x03\x00" * 256)) == (3, 2, 1)).all()


def test_alpha_of_a_bmp_is_ignored(save: Callable[..., Path]) -> None:
    path = save(encode(".bmp", np.dstack([corners()[..., ::-1], np.zeros((32, 48), np.uint8)])))
    np.testing.assert_array_equal(read_picture(path), corners())


def test_an_old_bmp(save: Callable[..., Path]) -> None:
    header = struct.pack("<2sIHHIIHHHH", b"BM", 26 + 768, 0, 0, 26, 12, 16, 16, 1, 24)
    assert (read_picture(save(header + b"\x01\x02\x03" * 256)) == (3, 2, 1)).all()


# Refusing -----------------------------------------------------------------------------------------------------------


def refusal(path: Path | str) -> str:
    """Return the message, after checking what all of them have in common."""
    with pytest.raises(ImageError) as caught:
        read_picture(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: expected ")
    assert re.search(r", got .+; .+", message)
    assert "\n" not in message
    return message


def test_missing_folder_and_device(tmp_path: Path) -> None:
    assert "nothing at this path" in refusal(tmp_path / "no.jpg")
    assert "a folder" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "a device or pipe" in refusal(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match=r"^'': expected"):
        read_picture("")
    assert "cannot be opened" in refusal("x" * 300 + ".jpg") or sys.version_info >= (3, 12)


def test_unreadable_file(save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", deny)
    assert "Permission denied" in refusal(save(encode(".jpg")))


def test_huge_file_is_not_read(save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "MAX_BYTES", 100)
    assert "at most 100 bytes" in refusal(save(encode(".jpg")))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "an empty file"),
        (b"hello, I am no picture\n" * 20, "a text file"),
        (bytes(range(256)), "an unknown format"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF document"),
        (b"GIF89a" + bytes(20), "a GIF"),
        (b"\0\0\0\x18ftypcrx " + bytes(20), "a raw picture"),
        (b"FUJIFILMCCD-RAW " + bytes(20), "a raw picture"),
        (b"IIU\0" + bytes(20), "a raw picture"),
        (b"IIRO" + bytes(20), "a raw picture"),
        (b"\0\0\0\x18ftypisom" + bytes(20), "a video"),
        (b"RIFF\0\0\0\0AVI LIST", "a video"),
        (b"G@\x11\x10\0B\xf0" + bytes(20), "a video"),  # MPEG-TS
        (b"\0\0\1\xbaD\0\4" + bytes(20), "a video"),  # MPEG-PS
        (b"FLV\1\5" + bytes(20), "a video"),
        (b"\x1a\x45\xdf\xa3" + bytes(20), "a video"),
        (b"PK\x03\x04" + bytes(20), "a ZIP archive"),
    ],
)
def test_what_is_no_picture_is_named(save: Callable[..., Path], data: bytes, expected: str) -> None:
    message = refusal(save(data))
    assert f"got {expected};" in message
    if data:
        assert "JPEG, PNG, WebP, BMP or TIFF" in message
        is_video = expected == "a video"
        assert ("under a name that ends in .mp4, or extract its frames" if is_video else "convert it") in message
        assert ("or to MP4 if it moves" in message) == (expected == "a GIF")


@pytest.mark.parametrize("keep", [0.01, 0.2, 0.5, 0.9, 0.995, -2, -1])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff", "progressive", "thumbnail"])
def test_truncated_files_are_refused_silently(
    save: Callable[..., Path], capfd: pytest.CaptureFixture[str], suffix: str, keep: float
) -> None:
    flags = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1) if suffix == "progressive" else ()
    data = encode(suffix if suffix.startswith(".") else ".jpg", noise(), flags)
    if suffix == "thumbnail":
        data = with_app1(data, exif(1) + encode(".jpg"))
    data = data[: keep if keep < 0 else max(9, int(len(data) * keep))]
    if data[:4] == b"RIFF" and len(data) < 12:
        data += b"WEBP"
    assert "truncated or damaged" in refusal(save(data))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xe0\0\x04\0\0\xff\xd9",
        b"BMW is a car maker",
        b"BM" + bytes(60),
        b"II*\0" + bytes(9),
    ],
    ids=["bare", "no frame", "text", "empty bmp", "empty tiff"],
)
def test_hollow_files_are_refused_silently(
    save: Callable[..., Path], capfd: pytest.CaptureFixture[str], data: bytes
) -> None:
    refusal(save(data))
    assert capfd.readouterr() == ("", "")


def test_a_jpeg_of_very_many_scans_is_refused(save: Callable[..., Path]) -> None:
    data = encode(".jpg", flags=(cv2.IMWRITE_JPEG_PROGRESSIVE, 1))
    start = data.rindex(b"\xff\xda")
    more = 101 - data.count(b"\xff\xda")
    assert "at most 100 scans, got more;" in refusal(save(data[:start] + data[start:-2] * (more + 1) + data[-2:]))
    read_picture(save(data[:start] + data[start:-2] * more + data[-2:]))


@pytest.mark.parametrize("thumbnail", [b"", exif(1) + encode(".jpg")], ids=["plain", "thumbnail"])
@pytest.mark.parametrize("tail", [b"", bytes(5000), b"\xff\x00" * 500], ids=["cut", "zeros", "stuffing"])
def test_a_half_downloaded_jpeg_is_refused(save: Callable[..., Path], tail: bytes, thumbnail: bytes) -> None:
    whole = with_app1(encode(".jpg", noise()), thumbnail)
    half = whole[: len(whole) * 2 // 3] + tail
    if tail:
        assert cv2.imdecode(np.frombuffer(half, np.uint8), cv2.IMREAD_COLOR) is not None  # why we look ourselves
    assert "truncated or damaged" in refusal(save(half))


def test_damaged_png_is_refused_silently(save: Callable[..., Path], capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(encode(".png", noise()))
    data[len(data) // 2] ^= 1
    assert "truncated or damaged" in refusal(save(bytes(data)))
    assert capfd.readouterr() == ("", "")


def test_a_wrong_checksum_of_a_remark_does_not_cost_the_picture(save: Callable[..., Path]) -> None:
    data = encode(".png")
    remark = bytearray(chunk(b"tEXt", b"Author\0me"))
    remark[-1] ^= 1
    np.testing.assert_array_equal(read_picture(save(data[:33] + remark + data[33:])), corners())


def resized_header(suffix: str, width: int, height: int) -> bytes:
    """Return a small file whose header claims another size."""
    if suffix == ".png":
        return png(0, b"", size=(width, height)) if width > 1000 else png(0, b"\0", size=(width, height))
    flags = (cv2.IMWRITE_WEBP_QUALITY, 101 if suffix == "lossless" else 80) if suffix in ("lossless", ".webp") else ()
    data = bytearray(encode(".webp" if suffix == "lossless" else suffix, flags=flags))
    if suffix == ".jpg":
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", height, width)
    elif suffix == ".bmp":
        data[18:26] = struct.pack("<ii", width, -height)
    elif suffix == ".webp":
        data[26:30] = struct.pack("<HH", width, height)
    elif suffix == "lossless":
        data[21:25] = struct.pack("<I", (width - 1) | (height - 1) << 14)
    else:
        start = struct.unpack_from("<I", data, 4)[0] + 2
        for at, value in ((start, width), (start + 12, height)):
            data[at + 2 : at + 12] = struct.pack("<HII", 4, 1, value)
    return bytes(data)


@pytest.mark.parametrize("lie", ["twice", "long"])
def test_a_tiff_that_tells_two_sizes_is_refused_before_decoding(lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tag that comes twice counts as libtiff takes it; what stands for a value of 8 bytes is only its place."""
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    data = bytearray(encode(".tiff", np.zeros((1200, 1200, 3), np.uint8)))
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    entries = [bytes(data[at : at + 12]) for at in range(start + 2, start + 2 + 12 * count, 12)]
    size = [entry for entry in entries if struct.unpack_from("<H", entry)[0] in (256, 257)]
    assert len(size) == 2
    if lie == "twice":
        entries += [entry[:2] + struct.pack("<HII", 4, 1, 100) for entry in size]
    else:
        entries = [entry[:2] + struct.pack("<HII", 16, 1, 100) if entry in size else entry for entry in entries]
    struct.pack_into("<I", data, 4, len(data))
    data += struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    with pytest.raises(ImageError, match="at most 1,000,000 pixels" if lie == "twice" else "at least 16 × 16 pixels"):
        decode_photo(bytes(data), max_pixels=1_000_000)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", "lossless", ".bmp", ".tiff"])
def test_size_is_checked_before_decoding(
    save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    def decoded(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(cv2, "imdecode", decoded)
    sizes = {
        "at least 16 × 16": ((1, 1), (15, 400), (400, 15)),
        "at most 200,000,000": ((16000, 16000), (12501, 16000)),
    }
    for expected, claims in sizes.items():
        for width, height in claims:
            assert f"{expected} pixels, got {width} × {height};" in refusal(save(resized_header(suffix, width, height)))


def test_extended_webp_size(save: Callable[..., Path]) -> None:
    body = b"WEBPVP8X" + struct.pack("<II", 10, 0) + b"\xff" * 6 + bytes(8)
    assert "16777216 × 16777216" in refusal(save(b"RIFF" + struct.pack("<I", len(body)) + body))


def test_smallest_side_is_read(save: Callable[..., Path]) -> None:
    assert read_picture(save(encode(".png", corners(16, 16)))).shape == (16, 16, 3)


def test_pictures_of_just_the_largest_and_the_smallest_size_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decode_photo(encode(".png"), max_pixels=32 * 48).image.shape == (32, 48, 3)
    monkeypatch.setattr(picture, "MAX_PIXELS", 16 * 48)
    assert check_image(corners(16, 48)).shape == (16, 48, 3)


def test_float_tiff_is_refused(save: Callable[..., Path]) -> None:
    assert "got 3 of float32" in refusal(save(encode(".tiff", noise().astype(np.float32))))


def test_opencv_limit_and_silence_in_a_fresh_process(save: Callable[..., Path]) -> None:
    code = "import sys; from unclasp.picture import read_picture; read_picture(sys.argv[1])"
    environment = {**os.environ, "OPENCV_IO_MAX_IMAGE_PIXELS": "1000"}
    command = [sys.executable, "-c", code, str(save(encode(".png")))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "at most OPENCV_IO_MAX_IMAGE_PIXELS pixels" in done.stderr.splitlines()[-1]


def test_the_log_level_is_restored(save: Callable[..., Path]) -> None:
    before = quiet._LOGGING.getLogLevel()
    refusal(save(encode(".bmp", noise())[:-100]))
    read_picture(save(encode(".bmp")))
    assert quiet._LOGGING.getLogLevel() == before != 0


def test_any_damage_is_an_image_error_or_a_picture(save: Callable[..., Path]) -> None:
    """Bytes are changed at random; nothing but ImageError may come out."""
    rng = np.random.default_rng(1)
    refused = 0
    for suffix in (".jpg", ".png", ".webp", ".bmp", ".tiff"):
        whole = np.frombuffer(with_app1(encode(".jpg"), exif(6)) if suffix == ".jpg" else encode(suffix), np.uint8)
        for _ in range(40):
            data = whole.copy()
            data[rng.integers(0, min(len(data), 120), 3)] = rng.integers(0, 256, 3)
            path = save(data.tobytes())
            try:
                assert read_picture(path).shape[2] == 3
            except ImageError as error:
                assert str(error).startswith(f"{path}: ")
                refused += 1
    assert 60 < refused < 200


# Arrays -------------------------------------------------------------------------------------------------------------


def test_check_image_takes_rgb_grey_and_rgba() -> None:
    rgb = corners()
    assert check_image(rgb) is rgb
    grey = rgb[..., 0]
    for given in (grey, grey[..., None]):
        np.testing.assert_array_equal(check_image(given), np.dstack([grey] * 3))
    half = np.dstack([rgb, np.full(grey.shape, 128, np.uint8)])
    np.testing.assert_array_equal(check_image(half), np.round(rgb * (128 / 255) + 127).astype(np.uint8))
    assert check_image(rgb[:, ::-1]).flags.c_contiguous
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix(grey)  # its operations keep two dimensions
    np.testing.assert_array_equal(check_image(matrix), np.dstack([grey] * 3))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.zeros((10, 10)), r"got float64 of shape \(10, 10\); .*multiply by 255 and convert"),
        (np.zeros((20, 20, 3), np.float32), r"got float32 of shape \(20, 20, 3\); .*multiply by 255"),
        (np.zeros((20, 20, 3), np.int64), "got int64 .*8 bits per channel"),
        (np.zeros((20, 20, 3), bool), "got bool .*8 bits per channel"),
        (np.zeros((20, 20, 2), np.uint8), "got uint8 .*3 channels"),
        (np.zeros((3, 20, 20), np.uint8), "channels last"),
        (np.zeros((1, 20, 20, 3), np.uint8), "one picture at a time"),
        (np.zeros(20, np.uint8), r"shape \(20,\)"),
        (np.zeros((0, 20, 3), np.uint8), "at least 16 × 16 pixels"),
        (np.zeros((15, 20, 3), np.uint8), "at least 16 × 16 pixels"),
        (np.broadcast_to(np.uint8(0), (30_000, 24_000, 3)), "at most 200,000,000 pixels"),
        ("hand.jpg", "got str; read the file with read_picture"),
        (Path("hand.jpg"), "read_picture"),
        ([[1, 2]], "got list; convert it with np.asarray"),
        (None, "got NoneType; OpenCV returns None for a file that it cannot read"),
        (np.full((40, 40, 3), 0.5), r"got float64 .*; multiply by 255 and convert it with"),
        (np.full((40, 40, 3), 99.5), r"got float64 .*; convert it with \.astype"),
    ],
)
def test_check_image_refuses(image: object, expected: str) -> None:
    with pytest.raises(ImageError, match=f"^image must be .*{expected}"):
        check_image(image)


def test_a_power_of_the_values_keeps_black_and_white_and_moves_the_rest() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    for exponent in (0.6, 1.0, 1.8):
        expected = np.rint(255 * (np.arange(256) / 255) ** exponent)
        np.testing.assert_array_equal(with_gamma(ramp, exponent)[0, :, 1], expected)


@pytest.mark.parametrize(
    ("white", "grey", "read"), [(1023, 512, 128), (4095, 2048, 128), (4096, 2048, 8), (65535, 32768, 128)]
)
def test_of_fewer_bits_in_16_white_is_the_brightest_they_can_tell(
    tmp_path: Path, white: int, grey: int, read: int
) -> None:
    pixels = np.full((20, 20), grey, np.uint16)
    pixels[0, 0] = white
    cv2.imwrite(str(tmp_path / "grey.png"), pixels)
    image = read_picture(tmp_path / "grey.png")
    assert (image[5, 5] == read).all() and (image[0, 0] == (255 if white != 4096 else 16)).all()


def test_a_black_picture_of_16_bits_is_black(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((20, 20), np.uint16))
    assert not read_picture(tmp_path / "black.png").any()
