"""Streaming JSON gives the same values as reading it whole, wherever the buffer ends."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unclasp.data import jsonstream
from unclasp.data.jsonstream import JsonStream
from unclasp.errors import DataError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def walk(path: Path) -> dict[str, Any]:
    """Read an object of lists and of objects by walking through its structure."""
    result: dict[str, Any] = {}
    with JsonStream(path) as stream:
        for key in stream.members():
            if key.startswith("list"):
                result[key] = list(stream.values())
            elif key.startswith("object"):
                result[key] = {name: stream.value() for name in stream.members()}
            else:
                result[key] = stream.value()
        stream.end()
    return result


@settings(max_examples=60, deadline=None)
@given(
    lists=st.dictionaries(st.text(max_size=3).map("list".__add__), st.lists(VALUES, max_size=5), max_size=2),
    objects=st.dictionaries(
        st.text(max_size=3).map("object".__add__), st.dictionaries(st.text(), VALUES, max_size=5), max_size=2
    ),
    rest=st.dictionaries(st.text(max_size=3).map("rest".__add__), VALUES, max_size=2),
    chunk=st.integers(1, 40),
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
)
def test_pieces_are_what_the_whole_is(
    tmp_path_factory: pytest.TempPathFactory,
    lists: Any,
    objects: Any,
    rest: Any,
    chunk: int,
    indent: Any,
    ascii_only: bool,
) -> None:
    content = {**lists, **rest, **objects}
    path = tmp_path_factory.mktemp("json") / "content.json"
    path.write_text(
        json.dumps(content, indent=indent, ensure_ascii=ascii_only), encoding="utf-8", errors="surrogatepass"
    )
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return  # a lone surrogate is no text
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonstream, "_CHUNK", chunk)
        assert walk(path) == content


def test_the_buffer_holds_pieces_not_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonstream, "_CHUNK", 1000)
    path = tmp_path / "long.json"
    path.write_text(json.dumps({"list": [{"number": i} for i in range(20_000)]}))
    largest = 0
    with JsonStream(path) as stream:
        for _ in stream.members():
            for _ in stream.values():
                largest = max(largest, len(stream._text))
    assert path.stat().st_size > 300_000 and largest < 3000


NOT_JSON = (
    b"", b" ", b"{", b'{"list"', b'{"list":', b'{"list": [1', b'{"list": [1,', b'{"list": [1}', b'{"list": [1 2]}',
    b"{3: 4}", b'{"list": [1]', b'{"list": [1]} x', b'{"list": [1],}', b'{"list" [1]}', b'{"list": [nul]}',
    b'{"rest": "abc', b'{"object": {"a": 1, "b"}}', b'{"list": ["\xff\xfe"]}',
)  # fmt: skip
OUTLINES = {
    b"[]": "a list where an object", b"3": "a number where an object", b'{"list": {}}': "an object where a list",
    b'{"list": null}': "null where a list", b'{"object": "a"}': "a string where an object",
}  # fmt: skip
DEEP, LONG = b"[" * 200_000 + b"]" * 200_000, b"9" * 5000


@pytest.mark.parametrize(
    ("content", "told"),
    [
        *((content, r"broken\.json is not whole JSON \(.*\); fetch it again") for content in NOT_JSON),
        *((text, f"do not fit together: broken.json holds {told} is expected") for text, told in OUTLINES.items()),
        pytest.param(b'{"rest": ' + DEEP + b"}", "nested too deeply", id="nested"),
        pytest.param(b'{"rest": ' + LONG + b"}", "nested too deeply", id="digits"),
    ],
)
def test_damage_and_other_outlines_are_refused(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=told):
        walk(path)


def test_an_early_error_is_told_without_reading_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonstream, "_CHUNK", 100)
    path = tmp_path / "early.json"
    path.write_text('{"list": [1, oops, ' + "1, " * 100_000 + "1]}")
    read = 0

    def count(characters: int) -> None:
        nonlocal read
        read += characters

    with pytest.raises(DataError, match="not whole JSON"), JsonStream(path, count) as stream:
        for _ in stream.members():
            list(stream.values())
    assert read < 2000


def test_a_byte_order_mark_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "marked.json"
    path.write_text('{"list": [1]}', encoding="utf-8-sig")
    assert walk(path) == {"list": [1]}
