"""TIFF files made here, tag by tag: pixels as the tags mean them, or a refusal."""

import struct

import numpy as np
import pytest

from unclasp.errors import ImageError
from unclasp.picture import decode_photo

ANY_DATA, PREMULTIPLIED, STRAIGHT = 0, 1, 2  # ExtraSamples
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE = 0, 1, 2, 3  # PhotometricInterpretation


def tiff(
    image: np.ndarray, *, photometric: int = RGB, extra: tuple[int, ...] | None = None, separate: bool = False,
    order: str = "<", extra_kind: int = 3, colours: tuple[int, ...] = (),
    more: dict[int, tuple[int, tuple[int, ...]]] | None = None,
) -> bytes:  # fmt: skip
    """Return an uncompressed TIFF of (H, W, C) samples; `order` is that of the bytes, `extra_kind` a TIFF type."""
    height, width, channels = image.shape
    planes = [image[..., i] for i in range(channels)] if separate else [image]
    strips = [plane.astype(plane.dtype.newbyteorder(order)).tobytes() for plane in planes]
    tags: dict[int, tuple[int, tuple[int, ...]]] = {
        256: (4, (width,)), 257: (4, (height,)), 258: (3, (8 * image.itemsize,) * channels), 259: (3, (1,)),
        262: (3, (photometric,)), 273: (4, (0,) * len(strips)), 277: (3, (channels,)), 278: (4, (height,)),
        279: (4, tuple(map(len, strips))), 284: (3, (2 if separate else 1,)),
    }  # fmt: skip
    tags |= more or {}
    if colours:
        tags[320] = (3, colours)
    if extra is not None:
        tags[338] = (extra_kind, extra)
    end = 8 + 2 + 12 * len(tags) + 4
    starts = [end + sum(map(len, strips[:i])) for i in range(len(strips))]
    tags[273] = (4, tuple(starts))
    body, entries = b"".join(strips), b""
    for tag, (kind, values) in sorted(tags.items()):
        value = struct.pack(f"{order}{len(values)}{ {1: 'B', 3: 'H', 4: 'I'}[kind] }", *values)
        if len(value) > 4:
            value, body = struct.pack(f"{order}I", end + len(body)), body + value
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + value.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    return head + entries + bytes(4) + body


def samples(channels: int, dtype: str) -> np.ndarray:
    """Return random samples, with some that are invisible, opaque, black and white."""
    values = np.random.default_rng(0).integers(0, 256, (24, 20, channels))
    values[0], values[1], values[2, :, -1], values[3, :, -1] = 0, 255, 0, 255
    return (values * (257 if dtype == "u2" else 1)).astype(dtype)


def to_8_bits(image: np.ndarray) -> np.ndarray:
    return np.asarray(image // (257 if image.dtype == np.uint16 else 1), dtype=np.float64)


def read(data: bytes) -> np.ndarray:
    return np.asarray(decode_photo(data).image, dtype=np.float64)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("dtype", "separate"), [("u1", False), ("u1", True), ("u2", False)])
class TestFourChannels:
    @pytest.mark.parametrize("extra", [(STRAIGHT,), None], ids=["straight", "not told"])
    def test_straight_alpha_is_blended_once(
        self, dtype: str, separate: bool, order: str, extra: tuple[int, ...] | None
    ) -> None:
        stored = samples(4, dtype)
        alpha = to_8_bits(stored[..., 3:]) / 255
        expected = to_8_bits(stored[..., :3]) * alpha + 255 * (1 - alpha)
        image = read(tiff(stored, extra=extra, separate=separate, order=order))
        np.testing.assert_allclose(image, expected, atol=0.5 + 1e-9)

    @pytest.mark.parametrize("extra_kind", [1, 3, 4], ids=["byte", "short", "long"])
    def test_premultiplied_colours_get_white_alone(
        self, dtype: str, separate: bool, order: str, extra_kind: int
    ) -> None:
        stored = samples(4, dtype)
        stored[..., :3] = np.minimum(stored[..., :3], stored[..., 3:])  # no colour is brighter than its alpha
        expected = to_8_bits(stored[..., :3]) + 255 - to_8_bits(stored[..., 3:])
        data = tiff(stored, extra=(PREMULTIPLIED,), separate=separate, order=order, extra_kind=extra_kind)
        np.testing.assert_array_equal(read(data), expected)

    def test_too_bright_premultiplied_colours_are_white(self, dtype: str, separate: bool, order: str) -> None:
        stored = np.full((20, 20, 4), np.iinfo(dtype).max, dtype)
        stored[..., 3] //= 2
        assert (read(tiff(stored, extra=(PREMULTIPLIED,), separate=separate, order=order)) == 255).all()

    def test_any_other_data_are_no_transparency(self, dtype: str, separate: bool, order: str) -> None:
        stored = samples(4, dtype)
        image = read(tiff(stored, extra=(ANY_DATA,), separate=separate, order=order))
        np.testing.assert_array_equal(image, to_8_bits(stored[..., :3]))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_grey_whose_white_is_zero(dtype: str, order: str) -> None:
    stored = samples(1, dtype)
    for photometric, expected in ((WHITE_IS_ZERO, 255 - to_8_bits(stored)), (BLACK_IS_ZERO, to_8_bits(stored))):
        image = read(tiff(stored, photometric=photometric, order=order))
        np.testing.assert_array_equal(image, np.repeat(expected, 3, axis=2))


def test_of_fewer_bits_in_16_zero_is_white_too() -> None:
    """Of 12 bits, 4095 is black: (4095 - 2048) / 4095 · 255 = 127.5."""
    stored = np.full((20, 20, 1), 2048, np.uint16)
    stored[0], stored[1] = 0, 4095
    image = read(tiff(stored, photometric=WHITE_IS_ZERO))
    assert (image[0, 0, 0], image[1, 0, 0]) == (255, 0) and abs(image[5, 5, 0] - 127.5) <= 0.5


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("channels", [1, 3])
def test_opaque_kinds(dtype: str, channels: int) -> None:
    stored = samples(channels, dtype)
    image = read(tiff(stored, photometric=RGB if channels == 3 else BLACK_IS_ZERO))
    np.testing.assert_array_equal(image, np.broadcast_to(to_8_bits(stored), (24, 20, 3)))


@pytest.mark.parametrize("extra", [(ANY_DATA,), None])
@pytest.mark.parametrize("photometric", [BLACK_IS_ZERO, WHITE_IS_ZERO])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_data_beside_grey_are_ignored(dtype: str, photometric: int, extra: tuple[int, ...] | None) -> None:
    """Of such files OpenCV decodes 16 bits to 8, with white bright."""
    stored = samples(2, dtype)
    grey = to_8_bits(stored[..., :1])
    expected = 255 - grey if photometric == WHITE_IS_ZERO else grey
    image = read(tiff(stored, photometric=photometric, extra=extra))
    np.testing.assert_array_equal(image, np.repeat(expected, 3, axis=2))


@pytest.mark.parametrize(
    ("channels", "dtype", "tags", "expected"),
    [
        (3, "u2", {"separate": True}, "interleaved channels .*, got 16 bits in separate planes"),
        (4, "u2", {"separate": True, "extra": (STRAIGHT,)}, "interleaved channels .*, got 16 bits in separate planes"),
        (3, "u2", {"photometric": BLACK_IS_ZERO, "extra": (0, 0)}, "grey or RGB, got grey with 2 more channels"),
        (4, "u2", {"photometric": WHITE_IS_ZERO, "extra": (0, 0, 0)}, "grey or RGB, got grey with 3 more channels"),
        (2, "u1", {"photometric": BLACK_IS_ZERO, "extra": (STRAIGHT,)}, "got one channel with transparency"),
        (2, "u2", {"photometric": BLACK_IS_ZERO, "extra": (PREMULTIPLIED,)}, "got one channel with transparency"),
        (2, "u1", {"photometric": WHITE_IS_ZERO, "extra": (STRAIGHT,)}, "got one channel with transparency"),
        (4, "u1", {"photometric": BLACK_IS_ZERO, "extra": (2, 0, 0)}, "got one channel with transparency"),
        (2, "u1", {"photometric": PALETTE, "extra": (2,), "colours": (9,) * 768}, "got one channel with transparency"),
        (5, "u1", {"extra": (STRAIGHT, ANY_DATA)}, "at most 4 channels, got 5"),
    ],
)
def test_kinds_that_opencv_reads_wrongly_are_refused_before_decoding(
    channels: int, dtype: str, tags: dict[str, object], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cv2.imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ImageError, match=f"^expected a TIFF .*{expected}; convert it to PNG$"):
        decode_photo(tiff(samples(channels, dtype), **tags))  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [3, 2**32 - 1])
def test_values_outside_the_file_are_damage(length: int) -> None:
    data = bytearray(tiff(samples(3, "u1")))
    at = data.index(struct.pack("<HHI", 258, 3, 3))
    struct.pack_into("<II", data, at + 4, length, len(data))
    with pytest.raises(ImageError, match="truncated or damaged"):
        decode_photo(bytes(data))


@pytest.mark.parametrize(
    ("more", "is_raw"),
    [
        ({0xFE: (4, (1,))}, True),  # a reduced copy
        ({0xFE: (4, (0,)), 0xC612: (1, (1, 4, 0, 0))}, True),  # DNG
        ({0xFE: (4, (0,))}, False),
        ({0xFE: (4, (2,))}, False),  # a page of several
    ],
)
@pytest.mark.parametrize("order", "<>")
def test_raw_pictures_are_refused_as_their_thumbnail_would_be_read(
    order: str, more: dict[int, tuple[int, tuple[int, ...]]], is_raw: bool
) -> None:
    data = tiff(samples(3, "u1"), order=order, more=more)
    if is_raw:
        with pytest.raises(ImageError, match="got a raw one or one with a thumbnail first; convert it to JPEG"):
            decode_photo(data)
    else:
        assert decode_photo(data).image.shape == (24, 20, 3)


def test_a_raw_picture_of_canon_is_refused() -> None:
    data = tiff(samples(3, "u1"))
    with pytest.raises(ImageError, match="got a raw one"):
        decode_photo(data[:4] + struct.pack("<I", len(data)) + b"CR\2\0" + data[12:] + data[8:])
