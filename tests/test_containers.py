"""Whether a video file is complete, by its structure."""

import struct
from pathlib import Path

import pytest

from unclasp.containers import is_complete


def box(kind: bytes, content: bytes, *, large: bool = False) -> bytes:
    if large:
        return struct.pack(">I4sQ", 1, kind, 16 + len(content)) + content
    return struct.pack(">I4s", 8 + len(content), kind) + content


def movie(seconds: int, *, version: int = 0) -> bytes:
    """Return a movie box with a header that tells a duration."""
    fields = ">B3xIIII" if version == 0 else ">B3xQQIQ"
    header = box(b"mvhd", struct.pack(fields, version, 0, 0, 600, 600 * seconds) + bytes(80))
    return box(b"moov", box(b"free", bytes(5)) + header + box(b"trak", bytes(30)))


MP4 = box(b"ftyp", b"isom") + movie(3) + box(b"mdat", bytes(100), large=True)
EBML = b"\x1a\x45\xdf\xa3\x84" + bytes(4)
SEGMENT = b"\x18\x53\x80\x67"
SOUND = b"\x86\x85A_AAC".ljust(50, b"\0")


def complete(tmp_path: Path, content: bytes, seconds: float = 3.0) -> bool:
    path = tmp_path / "video"
    path.write_bytes(content)
    return is_complete(path, seconds)


@pytest.mark.parametrize("missing", [0, 1, 50, 99, 100, 115, 120])
def test_an_mp4_whose_last_box_is_cut_off(tmp_path: Path, missing: int) -> None:
    assert complete(tmp_path, MP4[: len(MP4) - missing]) == (missing == 0)


@pytest.mark.parametrize("version", [0, 1])
def test_an_mp4_of_which_less_comes_out_than_its_duration(tmp_path: Path, version: int) -> None:
    content = box(b"ftyp", b"isom") + movie(3, version=version)
    assert [complete(tmp_path, content, seconds) for seconds in (1.0, 2.8, 2.9, 3.2)] == [False, False, True, True]


def test_a_last_box_may_last_to_the_end(tmp_path: Path) -> None:
    assert complete(tmp_path, box(b"wide", b"") + movie(3) + struct.pack(">I4s", 0, b"mdat") + bytes(50))


@pytest.mark.parametrize("length", [b"\xb2", b"\x40\x32", b"\x01" + bytes(6) + b"\x32"])
@pytest.mark.parametrize("missing", [0, 1, 30])
def test_a_matroska_file_whose_segment_is_cut_off(tmp_path: Path, length: bytes, missing: int) -> None:
    content = EBML + SEGMENT + length + SOUND  # the length 50 in one, two and eight bytes
    assert complete(tmp_path, content[: len(content) - missing]) == (missing == 0)


def test_a_matroska_file_without_sound_announces_its_own_frames(tmp_path: Path) -> None:
    assert not complete(tmp_path, EBML + SEGMENT + b"\xb2" + SOUND.replace(b"A_", b"V_"))


@pytest.mark.parametrize(
    "content",
    [
        EBML + SEGMENT + b"\x01" + b"\xff" * 7 + SOUND,  # of unknown length, as in a live recording
        EBML + SEGMENT, EBML + SEGMENT + b"\x40", EBML, EBML[:4], EBML + b"\xec\x81\x00", b"RIFF" + bytes(20), b"",
        b"abc", box(b"ftyp", b"isom"), box(b"ftyp", b"isom") + box(b"moov", b""), movie(0)[:30],
        box(b"moov", box(b"mvhd", bytes(3))), box(b"moov", box(b"mvhd", bytes(100))),
        struct.pack(">I4sQ", 1, b"ftyp", 0),
    ],
)  # fmt: skip
def test_others_do_not_tell(tmp_path: Path, content: bytes) -> None:
    assert not complete(tmp_path, content)
