"""A small HTTP server, based on the standard library, for a web page that predicts the hands in a picture.

A picture is the body of a POST request. It is kept in memory until the response is sent; nothing is written to disk and
no request is logged. `Limits` bounds the cost of a request in advance: bytes by Content-Length, pixels by the picture's
header, and the number of waiting requests. Pictures are predicted one at a time.
"""

import contextlib
import json
import logging
import os
import socket
import socketserver
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

from unclasp.errors import UnclaspError
from unclasp.predictor import Predictor
from unclasp.web.answer import answer_picture
from unclasp.web.connections import is_closed, is_loopback, went_away
from unclasp.web.incoming import CHUNK_BYTES, Refused, body_length, is_addressed_here, parsed_url, read_body
from unclasp.web.page import EXAMPLES, HEADERS, demo_page

_LOG = logging.getLogger(__name__)
_POLL_SECONDS: Final = 0.05
"""Seconds between checks whether a waiting connection is still open."""
_QUEUE_SECONDS: Final = 1.0
"""Seconds to wait for a place in the queue; a page that cancels pictures frees theirs within that time."""
_IDLE_SECONDS: Final = 20.0
"""Connections that send or accept nothing for this long are closed."""
_HEADER_SECONDS: Final = 30.0
"""Connections whose request head is not complete by then are closed, even if they keep sending bytes."""
_STATUS_HEADERS: Final = {503: {"Retry-After": "2"}, 405: {"Allow": "POST"}}
_HTML, _JPEG, _JSON = "text/html; charset=utf-8", "image/jpeg", "application/json"
_TOO_MANY_CONNECTIONS: Final = "\r\n".join((
    "HTTP/1.0 503 Service Unavailable", *(f"{name}: {value}" for name, value in HEADERS.items()),
    f"Content-Type: {_JSON}", "", '{"error": "too many connections are open; try again in a moment"}',
)).encode()  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the server accepts. It uses at most `queue` × `upload_bytes`, plus some 20 bytes for each of `pixels`."""

    upload_bytes: int = 20_000_000
    """Largest picture file."""
    pixels: int = 50_000_000
    """Largest width × height."""
    queue: int = 8
    """Pictures that are being received, waiting or predicted; further requests are told to try again."""
    connections: int = 64
    """Open connections; further ones are closed with an error message."""
    upload_seconds: float = 60.0
    """Uploads that take longer are aborted."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise UnclaspError(f"{name} must be positive, got {value:g}")


class DemoServer(ThreadingHTTPServer):
    """Serves the page, the example pictures, and predictions.

    Examples:
        >>> DemoServer("127.0.0.1", 7860, Predictor.load()).serve_forever()  # doctest: +SKIP

    Args:
        host: Address to listen on. If it is a loopback address, the Host header of requests must be one too, so that
            other sites' pages cannot reach the server through a host name of theirs (DNS rebinding).
        port: Port to listen on; 0 chooses a free one, which `url` contains.
        predictor: Predicts the hands.
        limits: Bounds of what is accepted.

    Raises:
        UnclaspError: The server cannot listen on the address or port.
    """

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # on Windows it would let two servers share a port
    request_queue_size = 64

    def __init__(self, host: str, port: int, predictor: Predictor, limits: Limits = Limits()) -> None:
        self.host, self.predictor, self.limits = host, predictor, limits
        self.is_local = is_loopback(host)
        self.places = threading.BoundedSemaphore(limits.queue)
        self.worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="predict")
        self._connections = threading.BoundedSemaphore(limits.connections)
        model = predictor.network.name
        self.page = demo_page(upload_bytes=limits.upload_bytes, pixels=limits.pixels, model=model).encode()
        self.examples = {name: (Path(__file__).parent / "pictures" / name).read_bytes() for name in EXAMPLES}
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError, TypeError) as error:  # TypeError: the name cannot be encoded
            self.worker.shutdown()
            reason = getattr(error, "strerror", None) or str(error).rstrip(".")
            raise UnclaspError(
                f"cannot listen on {host} port {port}: {reason}; choose another --port or --host"
            ) from None

    @property
    def url(self) -> str:
        """Address of the page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_address[1]}/"

    def server_bind(self) -> None:
        """Bind without a lookup of this computer's name, which is slow without a network."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, int(self.server_address[1])

    def server_close(self) -> None:
        """Stop listening, and wait for the picture that is being predicted."""
        super().server_close()
        self.worker.shutdown(cancel_futures=True)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection, or reject it if too many are open."""
        if self._connections.acquire(blocking=False):
            try:
                super().process_request(request, client_address)
            except Exception:
                self._connections.release()
                raise
            return
        request.settimeout(1.0)
        try:
            request.sendall(_TOO_MANY_CONNECTIONS)
        except OSError:
            _LOG.debug("a rejected connection was closed before the message was sent")
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Handle a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  an override
        """Log the error of a connection, at debug level if the peer merely disconnected."""
        _LOG.log(logging.DEBUG if went_away() else logging.ERROR, "a connection failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: DemoServer
    timeout = _IDLE_SECONDS
    server_version, sys_version = "unclasp", ""
    default_request_version = "HTTP/1.0"  # HTTP/0.9 has no headers, even for unreadable requests

    def setup(self) -> None:
        """Prepare for a request, and start the timer for its head."""
        super().setup()
        self._head_timer = threading.Timer(_HEADER_SECONDS, self._hang_up)
        self._head_timer.daemon = True
        self._head_timer.start()

    def parse_request(self) -> bool:
        """Parse the request's head, and stop the timer."""
        try:
            return super().parse_request()
        finally:
            self._head_timer.cancel()

    def finish(self) -> None:
        """Close the connection."""
        self._head_timer.cancel()
        super().finish()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):  # the peer may have closed it
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        try:
            content_type, body = self._content()
        except Refused as refused:
            self._send_message(refused.status, str(refused))
        else:
            self._send(HTTPStatus.OK, content_type, body)

    def do_POST(self) -> None:
        try:
            result = self._result()
        except Refused as refused:
            self._send_message(refused.status, str(refused))
        except ConnectionError:
            raise
        except TimeoutError:
            self._send_message(HTTPStatus.REQUEST_TIMEOUT, "the upload took too long; try a smaller picture")
        except UnclaspError as error:
            self._send_message(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except Exception:
            _LOG.exception("a picture could not be processed")
            message = "this picture could not be processed; the server keeps running"
            self._send_message(HTTPStatus.INTERNAL_SERVER_ERROR, message)
        else:
            self._send(HTTPStatus.OK, _JSON, result)

    def _content(self) -> tuple[str, bytes]:
        """Return the content type and the bytes of the page or of an example picture."""
        path = parsed_url(self.path).path
        if not is_addressed_here(self.headers, is_local=self.server.is_local):
            raise Refused(HTTPStatus.FORBIDDEN, "the request is not addressed to this server")
        if path == "/":
            return _HTML, self.server.page
        example = self.server.examples.get(path.removeprefix("/examples/"))
        if path.startswith("/examples/") and example is not None:
            return _JPEG, example
        if path == "/predict":
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "pictures must be sent here with POST")
        raise Refused(HTTPStatus.NOT_FOUND, "there is nothing at this address")

    def _result(self) -> bytes:
        server = self.server
        url = parsed_url(self.path)
        if not is_addressed_here(self.headers, is_local=server.is_local):
            raise Refused(HTTPStatus.FORBIDDEN, "only the page of this server may send pictures to it")
        if url.path != "/predict":
            raise Refused(HTTPStatus.NOT_FOUND, "there is nothing at this address; pictures go to /predict")
        query = parse_qs(url.query)
        name = Path(query.get("name", [""])[-1][:200]).name or None
        mirrored = query.get("mirrored", ["0"])[-1]
        if mirrored not in ("0", "1"):
            raise Refused(HTTPStatus.BAD_REQUEST, f"expected mirrored=0 or mirrored=1, got {mirrored[:20]!r}")
        length = body_length(self.headers, max_bytes=server.limits.upload_bytes)
        if not server.places.acquire(timeout=_QUEUE_SECONDS):
            message = f"{server.limits.queue} pictures are already being processed; try again in a moment"
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, message)
        try:
            body = read_body(self.rfile, length, max_seconds=server.limits.upload_seconds)
            return self._predict(body, name=name, mirrored=mirrored == "1")
        finally:
            server.places.release()

    def _predict(self, data: bytes, *, name: str | None, mirrored: bool) -> bytes:
        """Wait for the worker, and predict a picture unless its connection has been closed meanwhile."""
        server = self.server
        closed = Refused(HTTPStatus.BAD_REQUEST, "the connection was closed before the picture's turn came")

        def work() -> bytes:
            if is_closed(self.connection):
                raise closed
            return answer_picture(server.predictor, data, name=name, mirrored=mirrored, max_pixels=server.limits.pixels)

        future = server.worker.submit(work)
        while not future.done():
            if is_closed(self.connection) and future.cancel():
                raise closed
            wait([future], timeout=_POLL_SECONDS)
        return future.result()

    def _send_message(self, status: HTTPStatus, message: str) -> None:
        """Send an error message, and drain the rest of the upload, so that the peer reads the message."""
        self._send(status, _JSON, json.dumps({"error": message}).encode())
        end, remaining = time.monotonic() + 5, 4 * self.server.limits.upload_bytes
        try:
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(1.0)
            while remaining > 0 and time.monotonic() < end and (chunk := self.rfile.read1(CHUNK_BYTES)):
                remaining -= len(chunk)
        except OSError:
            _LOG.debug("the peer disconnected before the end of the response")

    def _send(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        headers = {"Content-Type": content_type, "Content-Length": str(len(body)), **_STATUS_HEADERS.get(status, {})}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Send errors that the standard library detects, such as an unknown method, as JSON, too."""
        status = HTTPStatus(code)
        self.close_connection = True
        self._send_message(status, message or explain or status.phrase)

    def end_headers(self) -> None:
        """Send `HEADERS` with every response."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Log no requests."""
