"""What the server accepts of a request: where it is addressed to, its size, and its body."""

import time
from email.message import Message
from http import HTTPStatus
from io import BufferedIOBase
from typing import Final
from urllib.parse import SplitResult, urlsplit

from unclasp.web.connections import names_loopback

CHUNK_BYTES: Final = 1 << 16
"""Bytes that are read at a time."""


class Refused(Exception):  # noqa: N818  a response, not a failure
    """A request that is answered with an error message."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def parsed_url(url: str) -> SplitResult:
    """Return the parts of a request's URL, or raise a `Refused`."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, f"expected an address such as /: {error}") from None


def is_addressed_here(headers: Message, *, is_local: bool) -> bool:
    """Tell whether the request is addressed to this server, and does not come from another site's page."""
    hosts, origin = headers.get_all("Host", []), headers.get("Origin")
    try:
        foreign = len(hosts) > 1 or (origin is not None and [urlsplit(origin).netloc] != hosts)
    except ValueError:
        return False
    return not foreign and (not is_local or all(map(names_loopback, hosts)))


def body_length(headers: Message, *, max_bytes: int) -> int:
    """Return the size of the picture that a request announces.

    Raises:
        Refused: It announces none, or the picture is too large or in a form.
    """
    length = headers.get("Content-Length")
    if headers.get("Content-Type", "").lower().startswith("multipart/"):
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the picture itself as the body, not in a form")
    if length is None or "Transfer-Encoding" in headers:
        raise Refused(HTTPStatus.LENGTH_REQUIRED, "expected a picture with its Content-Length")
    if not (length.isascii() and length.isdecimal() and len(length) < 20):
        raise Refused(HTTPStatus.BAD_REQUEST, "expected a number of bytes as Content-Length")
    if int(length) > max_bytes:
        size = f"at most {max_bytes / 1e6:g} MB, got {int(length) / 1e6:.1f} MB"
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected a picture of {size}; use a smaller one")
    return int(length)


def read_body(stream: BufferedIOBase, length: int, *, max_seconds: float) -> bytes:
    """Read the picture, and nothing beyond it.

    Raises:
        TimeoutError: The upload takes too long.
        ConnectionError: The peer disconnected.
    """
    end = time.monotonic() + max_seconds
    body = bytearray()
    while len(body) < length:
        if time.monotonic() > end:
            raise TimeoutError
        chunk = stream.read1(min(length - len(body), CHUNK_BYTES))
        if not chunk:
            raise ConnectionAbortedError
        body += chunk
    return bytes(body)
