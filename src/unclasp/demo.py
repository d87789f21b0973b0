"""The web page: a small HTTP server on the standard library that shows what is found in a picture.

A picture is the body of one POST request. It is held in memory, answered, and forgotten: nothing is written to disk,
and no request is logged. What a request can cost is bounded by `Limits` before it is spent: bytes by Content-Length,
pixels by the picture's header, waiting requests by their number. Pictures are predicted one at a time.
"""

import contextlib
import json
import logging
import socket
import socketserver
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qs, urlsplit

from unclasp.errors import UnclaspError
from unclasp.predictor import Predictor
from unclasp.web.answer import answer_picture
from unclasp.web.connections import is_closed, is_loopback, went_away
from unclasp.web.page import EXAMPLES, HEADERS, demo_page

_LOG = logging.getLogger(__name__)
_PICTURES: Final = Path(__file__).parent / "pictures"
_LOOK_SECONDS: Final = 0.05
"""How often it is looked whether a connection that waits is still open."""
_PLACE_SECONDS: Final = 1.0
"""How long a place in the queue is waited for: a page that calls pictures off gets theirs back in that time."""
_IDLE_SECONDS: Final = 20.0
"""A connection that sends or takes nothing for so long is closed."""
_HEADER_SECONDS: Final = 30.0
"""A connection whose request's head has not come by then is closed, however often it sends a byte."""
_CHUNK: Final = 1 << 16
_HTML, _JPEG, _JSON = "text/html; charset=utf-8", "image/jpeg", "application/json"
_TOO_MANY: Final = "\r\n".join((
    "HTTP/1.0 503 Service Unavailable", *(f"{name}: {value}" for name, value in HEADERS.items()),
    f"Content-Type: {_JSON}", "", '{"error": "too many connections are open; try again in a moment"}',
)).encode()  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the server accepts. Memory is bounded by `queue` × `upload_bytes` and some 20 bytes for each of `pixels`."""

    upload_bytes: int = 20_000_000
    """Largest picture file."""
    pixels: int = 50_000_000
    """Largest width × height."""
    queue: int = 8
    """Pictures that are received, wait or are predicted at a time; more are told to come again."""
    connections: int = 64
    """Open connections; more are closed with a word."""
    upload_seconds: float = 60.0
    """An upload that takes longer is given up."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise UnclaspError(f"{name} must be positive, got {value:g}")


class DemoServer(ThreadingHTTPServer):
    """Serves the page, the example pictures, and answers to pictures.

    >>> DemoServer("127.0.0.1", 7860, Predictor.load()).serve_forever()  # doctest: +SKIP

    Args:
        host: Address to listen on. On this computer's own, requests must name it too, so that other sites' pages
            cannot reach the server through a name of theirs.
        port: 0 picks a free one; `url` tells it.
        predictor: Finds the hands.
        limits: Bounds of what is accepted.

    Raises:
        UnclaspError: The address or port cannot be listened on.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, predictor: Predictor, limits: Limits = Limits()) -> None:
        self.host, self.predictor, self.limits = host, predictor, limits
        self.is_local = is_loopback(host)
        self.places = threading.BoundedSemaphore(limits.queue)
        self.worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="predict")
        self._connections = threading.BoundedSemaphore(limits.connections)
        self.page = demo_page(
            upload_bytes=limits.upload_bytes, pixels=limits.pixels, model=predictor.network.name
        ).encode()
        self.examples = {name: (_PICTURES / name).read_bytes() for name in EXAMPLES}
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            self.worker.shutdown()
            told = getattr(error, "strerror", None) or error
            raise UnclaspError(
                f"cannot listen on {host} port {port}: {told}; choose another --port or --host"
            ) from None

    @property
    def url(self) -> str:
        """Where a browser finds the page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_address[1]}/"

    def server_bind(self) -> None:
        """Bind without looking up this computer's name, which takes long without a network."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, int(self.server_address[1])

    def server_close(self) -> None:
        """Stop listening, and let the picture that is being predicted end."""
        super().server_close()
        self.worker.shutdown(cancel_futures=True)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection, if there are not too many."""
        if self._connections.acquire(blocking=False):
            try:
                super().process_request(request, client_address)
            except Exception:
                self._connections.release()
                raise
            return
        request.settimeout(1.0)
        try:
            request.sendall(_TOO_MANY)
        except OSError:
            _LOG.debug("a connection too many was gone before it could be told")
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  the standard library's
        """Log what went wrong with a connection, unless its other side just went away."""
        _LOG.log(logging.DEBUG if went_away() else logging.ERROR, "a connection failed", exc_info=True)


class _Refused(Exception):  # noqa: N818  an answer, not a failure
    """A request that gets a message instead of a result."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: DemoServer
    timeout = _IDLE_SECONDS
    server_version, sys_version = "unclasp", ""
    default_request_version = "HTTP/1.0"  # older answers have no headers, even to what cannot be read

    def setup(self) -> None:
        """Prepare for a request, and for one that never comes."""
        super().setup()
        self._patience = threading.Timer(_HEADER_SECONDS, self._hang_up)
        self._patience.daemon = True
        self._patience.start()

    def parse_request(self) -> bool:
        """Read the request's head."""
        try:
            return super().parse_request()
        finally:
            self._patience.cancel()

    def finish(self) -> None:
        """Close the connection."""
        self._patience.cancel()
        super().finish()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):  # it may have gone by itself
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        try:
            kind, body = self._found()
        except _Refused as refused:
            self._tell(refused.status, str(refused))
        else:
            self._send(HTTPStatus.OK, kind, body)

    def do_POST(self) -> None:
        try:
            answer = self._answer()
        except _Refused as refused:
            self._tell(refused.status, str(refused))
        except ConnectionError:
            raise
        except TimeoutError:
            self._tell(HTTPStatus.REQUEST_TIMEOUT, "the upload took too long; try a smaller picture")
        except UnclaspError as error:
            self._tell(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except Exception:
            _LOG.exception("a picture could not be answered")
            self._tell(HTTPStatus.INTERNAL_SERVER_ERROR, "this picture could not be worked on; the server goes on")
        else:
            self._send(HTTPStatus.OK, _JSON, answer)

    def _address(self) -> SplitResult:
        try:
            return urlsplit(self.path)
        except ValueError as error:
            raise _Refused(HTTPStatus.BAD_REQUEST, f"expected an address such as /, got one that is {error}") from None

    def _found(self) -> tuple[str, bytes]:
        """Return the kind and the bytes of what is at an address."""
        path = self._address().path
        if not self._is_meant():
            raise _Refused(HTTPStatus.FORBIDDEN, "this address is not the server's own")
        if path == "/":
            return _HTML, self.server.page
        example = self.server.examples.get(path.removeprefix("/examples/"))
        if path.startswith("/examples/") and example is not None:
            return _JPEG, example
        if path == "/predict":
            raise _Refused(HTTPStatus.METHOD_NOT_ALLOWED, "pictures are sent here with POST")
        raise _Refused(HTTPStatus.NOT_FOUND, "there is nothing at this address")

    def _answer(self) -> bytes:
        server = self.server
        address = self._address()
        if not self._is_meant():
            raise _Refused(HTTPStatus.FORBIDDEN, "only the page of this server may send pictures to it")
        if address.path != "/predict":
            raise _Refused(HTTPStatus.NOT_FOUND, "there is nothing at this address; pictures go to /predict")
        length = self._body_length()
        if not server.places.acquire(timeout=_PLACE_SECONDS):
            told = f"{server.limits.queue} pictures are being worked on already; try again in a moment"
            raise _Refused(HTTPStatus.SERVICE_UNAVAILABLE, told)
        try:
            data = self._read_body(length)
            asked = parse_qs(address.query)
            name = Path(asked.get("name", [""])[-1][:200]).name or None
            mirrored = asked.get("mirrored", ["0"])[-1]
            if mirrored not in ("0", "1"):
                raise _Refused(HTTPStatus.BAD_REQUEST, f"expected mirrored=0 or mirrored=1, got {mirrored[:20]!r}")
            return self._predict(data, name=name, mirrored=mirrored == "1")
        finally:
            server.places.release()

    def _predict(self, data: bytes, *, name: str | None, mirrored: bool) -> bytes:
        """Wait for a turn, and answer a picture unless its connection has been closed meanwhile."""
        server, done = self.server, threading.Event()
        closed = _Refused(HTTPStatus.BAD_REQUEST, "the connection was closed before the picture's turn came")

        def work() -> bytes:
            if is_closed(self.connection):
                raise closed
            return answer_picture(server.predictor, data, name=name, mirrored=mirrored, max_pixels=server.limits.pixels)

        turn = server.worker.submit(work)
        turn.add_done_callback(lambda _: done.set())
        while not done.is_set():
            if is_closed(self.connection) and turn.cancel():
                raise closed
            done.wait(_LOOK_SECONDS)
        return turn.result()

    def _is_meant(self) -> bool:
        """Tell whether the request was meant for this server, not led here by another site's page."""
        host, origin = self.headers.get("Host"), self.headers.get("Origin")
        try:
            named = urlsplit(f"//{host}").hostname
            foreign = origin is not None and urlsplit(origin).netloc != host
        except ValueError:
            return False
        return not foreign and (host is None or not self.server.is_local or is_loopback(named or ""))

    def _body_length(self) -> int:
        told, most = self.headers.get("Content-Length"), self.server.limits.upload_bytes
        if told is None or "Transfer-Encoding" in self.headers:
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "expected a picture with its Content-Length")
        if not (told.isascii() and told.isdecimal() and len(told) < 20):
            raise _Refused(HTTPStatus.BAD_REQUEST, "expected a number of bytes as Content-Length")
        if int(told) > most:
            message = (
                f"expected a picture of at most {most / 1e6:g} MB, got {int(told) / 1e6:.1f} MB; use a smaller one"
            )
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
        return int(told)

    def _read_body(self, length: int) -> bytes:
        """Read the picture, and no byte more.

        Raises:
            TimeoutError: It does not come in time.
            ConnectionError: The other side went away.
        """
        end = time.monotonic() + self.server.limits.upload_seconds
        body = bytearray()
        while len(body) < length:
            if time.monotonic() > end:
                raise TimeoutError
            chunk = self.rfile.read1(min(length - len(body), _CHUNK))
            if not chunk:
                raise ConnectionAbortedError
            body += chunk
        return bytes(body)

    def _tell(self, status: HTTPStatus, message: str) -> None:
        """Answer with a message, and take what is still being sent, so that the message is read."""
        self._send(status, _JSON, json.dumps({"error": message}).encode())
        end, left = time.monotonic() + 5, 4 * self.server.limits.upload_bytes
        try:
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(1.0)
            while left > 0 and time.monotonic() < end and (chunk := self.rfile.read1(_CHUNK)):
                left -= len(chunk)
        except OSError:
            _LOG.debug("the other side did not wait for the end")

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(body))}
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            headers["Retry-After"] = "2"
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = "POST"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Send an error that the standard library finds, such as a method that does not exist, as JSON, too."""
        status = HTTPStatus(code)
        self.close_connection = True
        self._tell(status, message or explain or status.phrase)

    def end_headers(self) -> None:
        """Send `HEADERS` with every answer."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep no record of who asked for what."""
