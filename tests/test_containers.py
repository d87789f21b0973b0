"""Whether a video file's end is missing, by its structure."""

import struct
from pathlib import Path

import pytest

from unclasp.containers import is_cut_off


def box(kind: bytes, content: bytes, *, large: bool = False) -> bytes:
    if large:
        return struct.pack(">I4sQ", 1, kind, 16 + len(content)) + content
    return struct.pack(">I4s", 8 + len(content), kind) + content


MP4 = box(b"ftyp", b"isom") + box(b"mdat", bytes(100), large=True) + box(b"moov", bytes(30))
EBML = b"\x1a\x45\xdf\xa3\x84" + bytes(4)
SEGMENT = b"\x18\x53\x80\x67"


@pytest.mark.parametrize("missing", [0, 1, 29, 30, 38, 39, 100, 130])
def test_an_mp4_is_cut_off_unless_a_box_ends_with_the_file(tmp_path: Path, missing: int) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(MP4[: len(MP4) - missing])
    assert is_cut_off(path) == (missing not in (0, 38))


def test_a_last_box_may_last_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.mov"
    path.write_bytes(box(b"wide", b"") + struct.pack(">I4s", 0, b"mdat") + bytes(50))
    assert is_cut_off(path) is False


@pytest.mark.parametrize("length", [b"\xb2", b"\x40\x32", b"\x01" + bytes(6) + b"\x32"])
@pytest.mark.parametrize("missing", [0, 1, 50])
def test_a_matroska_file_is_cut_off_if_its_segment_is(tmp_path: Path, length: bytes, missing: int) -> None:
    path = tmp_path / "a.mkv"
    content = EBML + SEGMENT + length + bytes(50)  # the length 50 in one, two and eight bytes
    path.write_bytes(content[: len(content) - missing])
    assert is_cut_off(path) == (missing > 0)


@pytest.mark.parametrize(
    "content",
    [
        EBML + SEGMENT + b"\x01" + b"\xff" * 7 + bytes(9),  # of unknown length, as in a live recording
        EBML + SEGMENT, EBML + SEGMENT + b"\x40", EBML, EBML[:4], EBML + b"\xec\x81\x00", b"RIFF" + bytes(20), b"",
    ],
)  # fmt: skip
def test_others_do_not_tell(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    assert is_cut_off(path) is None
