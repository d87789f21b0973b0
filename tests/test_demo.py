"""The web page's server: right answers or clear messages, whatever is sent; bounded memory, nothing on disk."""

import base64
import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from poses import random_pose
from unclasp.errors import UnclaspError
from unclasp.picture import decode_photo
from unclasp.predictor import Predictor
from unclasp.web.connections import is_closed
from unclasp.web.page import EXAMPLES, HEADERS, demo_page
from unclasp.web.server import DemoServer, Limits

MB = 1_000_000
PDF = b"%PDF-1.7\n" + bytes(2000)


@pytest.fixture(scope="module")
def predictor(weights: Path) -> Predictor:
    return Predictor.load(weights)


class Serving:
    """A server in a thread of this process."""

    def __init__(self, predictor: Predictor, host: str = "127.0.0.1", **limits: Any) -> None:
        self.server = DemoServer(host, 0, predictor, Limits(**limits))
        self.port = int(self.server.server_address[1])

    def __enter__(self) -> "Serving":
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def port(predictor: Predictor) -> Iterator[int]:
    with Serving(predictor, queue=16, upload_bytes=2 * MB, pixels=2 * MB) as serving:
        yield serving.port


def ask(
    port: int, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def post(port: int, data: bytes, path: str = "/predict", **headers: str) -> tuple[int, dict[str, Any]]:
    status, body, _ = ask(port, "POST", path, data, headers)
    return status, json.loads(body)


def photo(seed: int = 0, height: int = 60, width: int = 80) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def claiming_png(width: int, height: int, rows: int = 0) -> bytes:
    """A grey PNG that claims a size, with so many rows of zeros in it: small, however large it claims to be."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pack, row = zlib.compressobj(9), bytes(1 + width)
    pixels = b"".join(pack.compress(row) for _ in range(rows)) + pack.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


# ---- answers


def test_a_picture_gives_what_the_predictor_says(port: int, predictor: Predictor) -> None:
    status, told = post(port, photo(), "/predict?name=some%2Fwhere%2Fme.png")
    result, expected = json.loads(told["result"]), predictor(decode_photo(photo()).image).to_dict()
    assert status == 200 and result["image"].pop("source") == "me.png"
    expected["image"].pop("source")
    assert result == expected
    overlay = base64.b64decode(told["overlay"].removeprefix("data:image/jpeg;base64,"))
    assert decode_photo(overlay).image.shape == (60, 80, 3)
    assert told["view"].startswith("<!DOCTYPE html>") and "me.png" in told["view"] and told["seconds"] > 0


def test_mirrored_reaches_the_predictor(port: int, predictor: Predictor) -> None:
    _, told = post(port, photo(3), "/predict?mirrored=1")
    expected = predictor(decode_photo(photo(3)).image, mirrored=True).to_dict()
    assert json.loads(told["result"]) == expected and expected["image"]["mirrored"] is True
    assert json.loads(post(port, photo(3), "/predict?mirrored=0")[1]["result"]) != expected


def test_a_large_picture_is_drawn_small_and_where_it_should(port: int) -> None:
    _, told = post(port, cv2.imencode(".jpg", np.full((700, 1600, 3), 90, np.uint8))[1].tobytes())
    overlay = decode_photo(base64.b64decode(told["overlay"].partition(",")[2])).image
    assert overlay.shape == (560, 1280, 3)
    result = json.loads(told["result"])
    for hand in result["hands"]:
        u, v = (np.array(hand["joints_2d"][20]) + 0.5) * 0.8 - 0.5
        if 4 < u < 1275 and 4 < v < 555:
            assert np.abs(overlay[round(v) - 2 : round(v) + 3, round(u) - 2 : round(u) + 3] - 90.0).max() > 40


def test_a_very_long_picture_is_answered_or_refused(port: int) -> None:
    status, told = post(port, cv2.imencode(".png", np.full((16, 100_000, 3), 90, np.uint8))[1].tobytes())
    assert status in (200, 422), told


def test_the_page_and_its_examples(port: int) -> None:
    status, body, headers = ask(port, "GET", "/?x=1")
    page = body.decode()
    assert (
        status == 200
        and headers["Cache-Control"] == "no-store"
        and "default-src 'none'" in headers["Content-Security-Policy"]
    )
    assert not re.search(r"""(src|href)=["']?(https?:)?//|@import|url\(""", page), "asks another server"
    assert "up to 2 MB and 2 megapixels" in page
    for name in EXAMPLES:
        assert f"examples/{name}" in page
        status, data, headers = ask(port, "GET", f"/examples/{name}")
        assert status == 200 and headers["Content-Type"] == "image/jpeg" and len(data) < 60_000
        assert decode_photo(data).image.shape == (560, 560, 3)


@pytest.mark.parametrize("path", ["/nothing", "/examples/", "/examples/../page.py", "/examples/%2e%2e/page.py"])
def test_there_is_nothing_else(port: int, path: str) -> None:
    status, body, _ = ask(port, "GET", path)
    assert status == 404 and "nothing at this address" in json.loads(body)["error"]
    assert post(port, photo(), path)[0] == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "NONSENSE"])
def test_other_methods_are_refused_in_json(port: int, method: str) -> None:
    status, body, _ = ask(port, method, "/predict")
    assert status == 501 and method in json.loads(body)["error"]


def test_pictures_are_not_fetched(port: int) -> None:
    status, body, headers = ask(port, "GET", "/predict")
    assert status == 405 and headers["Allow"] == "POST" and "must be sent here with POST" in json.loads(body)["error"]


@pytest.mark.parametrize("word", ["yes", "2", "true"])
def test_a_word_for_mirrored_that_means_nothing_is_refused(port: int, word: str) -> None:
    status, told = post(port, photo(), f"/predict?mirrored={word}&name=x")
    assert (status, told["error"]) == (400, f"expected mirrored=0 or mirrored=1, got {word!r}")


# ---- messages


@pytest.mark.parametrize(
    ("data", "status", "told"),
    [
        (b"", 422, "got an empty file"),
        (PDF, 422, "got a PDF document; convert it to JPEG or PNG"),
        (b"hello", 422, "got a text file"),
        (claiming_png(10_000, 10_000), 422, "expected at most 2,000,000 pixels, got 10000 × 10000"),
        (claiming_png(10_000, 10_000, 10_000), 422, "expected at most 2,000,000 pixels"),
        (claiming_png(2**31 - 1, 2**31 - 1), 422, "expected at most 2,000,000 pixels"),
        (claiming_png(8, 8, 8), 422, "at least 16 × 16 pixels"),
        (photo()[:900], 422, "truncated or damaged"),
        (bytes(2 * MB + 1), 413, "expected a picture of at most 2 MB, got 2.0 MB"),
        (bytes(6 * MB), 413, "at most 2 MB, got 6.0 MB"),
    ],
)
def test_what_is_no_usable_picture_is_told(port: int, data: bytes, status: int, told: str) -> None:
    got, answer = post(port, data)
    assert got == status and told in answer["error"] and "\n" not in answer["error"]
    assert post(port, photo())[0] == 200


def raw(port: int, request: bytes, *, break_off: bool = False) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        if break_off:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"", 411),
        (b"Content-Length: -5\r\n", 400),
        (b"Content-Length: ten\r\n", 400),
        ("Content-Length: ²\r\n".encode("latin1"), 400),
        (b"Content-Length: " + b"9" * 5000 + b"\r\n", 400),
        (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", 411),
        (b"Content-Length: 4\r\nContent-Type: multipart/form-data; boundary=x\r\n", 415),
        (b"Content-Length: 4\r\nHost: evil.example\r\n", 403),
        (b"Content-Length: 4\r\nHost: [\r\n", 403),
        (b"Content-Length: 4\r\nHost: 127.0.0.1/.evil.example\r\n", 403),
        (b"Content-Length: 4\r\nHost: evil.example@127.0.0.1\r\n", 403),
        (b"Content-Length: 4\r\nHost: [::1%25evil]\r\n", 403),
        (b"Content-Length: 4\r\nHost: localhost\r\nHost: localhost\r\n", 403),
        (b"Content-Length: 4\r\nHost: [::1]:80\r\n", 422),
        (b"Content-Length: 4\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\n", 403),
        (b"Content-Length: 4\r\nHost: localhost:1\r\nOrigin: http://localhost:1\r\n", 422),
    ],
)
def test_headers_that_do_not_fit(port: int, headers: bytes, status: int) -> None:
    answer = raw(port, b"POST /predict HTTP/1.0\r\n" + headers + b"\r\n" + b"body")
    assert int(answer.split()[1]) == status, answer
    assert "error" in json.loads(answer.partition(b"\r\n\r\n")[2])


def test_a_request_that_drips_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, the whole head does not; its connection is free for others then."""
    monkeypatch.setattr("unclasp.web.server._HEADER_SECONDS", 0.5)
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n")
        with suppress(ConnectionError):
            while time.monotonic() < began + 8 and not is_closed(connection):
                connection.sendall(b"X")
                time.sleep(0.05)
    assert 0.4 < time.monotonic() - began < 5


def test_a_server_for_the_network_goes_by_any_name_but_not_for_other_sites(predictor: Predictor) -> None:
    with Serving(predictor, "0.0.0.0") as serving:  # noqa: S104  that is what is tested
        assert not serving.server.is_local
        named = {"Host": "hands.example"}
        assert ask(serving.port, "GET", "/", headers=named)[0] == 200
        assert ask(serving.port, "POST", "/predict", photo(), named)[0] == 200
        assert ask(serving.port, "POST", "/predict", photo(), {**named, "Origin": "http://evil.example"})[0] == 403


def test_the_page_s_script_reads_what_the_json_has() -> None:
    script = demo_page(upload_bytes=1, pixels=1, model="x")
    result = random_pose().to_dict(others=[])
    read = set(re.findall(r"result\.(\w+)(?:\?\.(\w+)|\.(width|mirrored|assumed)\b)?", script))
    assert ("contact", "likely", "") in read and len(read) > 6
    for key, *inner in read:
        assert key in result and all(name in result[key] for name in inner if name)


@pytest.mark.skipif(shutil.which("node") is None, reason="node, which reads the page's script here, is not installed")
def test_the_page_s_script_is_whole(tmp_path: Path) -> None:
    """What a browser would do with it is in browser_demo.py, where there is one."""
    page = demo_page(upload_bytes=1, pixels=1, model="x")
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    (tmp_path / "page.js").write_text(script, encoding="utf-8")
    done = subprocess.run(["node", "--check", tmp_path / "page.js"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("address", [b"http://[", b"http://[/predict"])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_an_address_that_cannot_be_read(
    port: int, method: bytes, address: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = raw(port, method + b" " + address + b" HTTP/1.0\r\nContent-Length: 4\r\n\r\nbody")
    assert answer.startswith(b"HTTP/1.0 400 ")
    assert "expected an address" in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"HEAD / HTTP/1.0\r\n\r\n", 501),
        (b"GET / HTTP/x\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 200),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.0\r\n\r\n", 414),
        (b"GET /nothing HTTP/1.0\r\n\r\n", 404),
        (b"GET / HTTP/1.0\r\n\r\n", 200),
    ],
)
def test_every_answer_has_the_same_headers(port: int, request_: bytes, status: int) -> None:
    assert_headers(raw(port, request_), status)


def assert_headers(answer: bytes, status: int) -> None:
    lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    assert lines[0].startswith(f"HTTP/1.0 {status} ")
    for name, value in HEADERS.items():
        assert lines.count(f"{name}: {value}") == 1, lines


def test_an_upload_that_breaks_off_or_takes_too_long(predictor: Predictor) -> None:
    with Serving(predictor, queue=1, upload_seconds=0.3) as serving:
        assert raw(serving.port, b"POST /predict HTTP/1.0\r\nContent-Length: 1000\r\n\r\nhalf", break_off=True) == b""
        with socket.create_connection(("127.0.0.1", serving.port), timeout=30) as slow:
            slow.sendall(b"POST /predict HTTP/1.0\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(8):
                slow.sendall(b"x")
                time.sleep(0.06)
            assert b" 408 " in slow.recv(65536)
        assert post(serving.port, photo())[0] == 200, "the only place in the queue was given back"


def test_a_failure_is_told_and_the_server_goes_on(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Serving(predictor, queue=1) as serving:
        with monkeypatch.context() as patched:
            patched.setattr("unclasp.web.answer.draw_overlay", lambda *_, **__: 1 / 0)
            status, told = post(serving.port, photo())
        assert status == 500 and "the server keeps running" in told["error"] and "ZeroDivisionError" in caplog.text
        assert post(serving.port, photo())[0] == 200


# ---- many at once


def test_ten_uploads_at_once_get_their_own_answers(port: int, predictor: Predictor) -> None:
    pictures = [photo(seed, 60 + seed, 80) for seed in range(10)]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda data: post(port, data), pictures))
    for data, (status, told) in zip(pictures, answers, strict=True):
        assert status == 200
        expected = np.array(predictor(decode_photo(data).image).box)
        np.testing.assert_allclose(json.loads(told["result"])["box"], expected, atol=0.01)


class Waiting(Predictor):
    """Predicts when it is let."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__(predictor.network)
        self.go, self.running, self.most, self.calls = threading.Event(), 0, 0, 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        self.running += 1
        self.most = max(self.most, self.running)
        assert self.go.wait(30)
        pose = super().__call__(*arguments, **options)
        self.running -= 1
        return pose


def test_more_than_the_queue_holds_are_told_to_come_again(predictor: Predictor) -> None:
    waiting = Waiting(predictor)
    with Serving(waiting, queue=3) as serving, ThreadPoolExecutor(10) as pool:
        asked = [pool.submit(post, serving.port, photo()) for _ in range(10)]
        end = time.monotonic() + 30
        while sum(one.done() for one in asked) < 7 and time.monotonic() < end:
            time.sleep(0.01)
        refused = [one.result() for one in asked if one.done()]
        waiting.go.set()
        answers = [one.result() for one in asked]
    assert [status for status, _ in refused] == [503] * 7
    assert "3 pictures are already being processed" in refused[0][1]["error"]
    assert sorted(status for status, _ in answers) == [200] * 3 + [503] * 7 and waiting.most == 1


def begin_upload(port: int) -> socket.socket:
    """Send a picture, and do not wait for the answer."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    data = photo()
    connection.sendall(b"POST /predict HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
    return connection


def wait_until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def test_pictures_that_are_called_off_leave_the_queue_and_are_not_predicted(predictor: Predictor) -> None:
    waiting = Waiting(predictor)
    with Serving(waiting, queue=2) as serving, ThreadPoolExecutor(1) as pool:
        first = begin_upload(serving.port)
        wait_until(lambda: waiting.running == 1)
        for _ in range(8):
            begin_upload(serving.port).close()
        last = pool.submit(post, serving.port, photo())
        time.sleep(0.5)
        assert not last.done(), last.result()
        waiting.go.set()
        assert last.result()[0] == 200 and waiting.calls == 2
        first.close()


def test_a_picture_whose_connection_closes_as_its_turn_comes_is_not_predicted(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unclasp.web.server._POLL_SECONDS", 60.0)
    waiting = Waiting(predictor)
    with Serving(waiting, queue=4) as serving:
        first = begin_upload(serving.port)
        wait_until(lambda: waiting.running == 1)
        with begin_upload(serving.port) as half_closed:
            wait_until(lambda: serving.server.worker._work_queue.qsize() == 1)
            half_closed.shutdown(socket.SHUT_WR)
            waiting.go.set()
            answer = b"".join(iter(lambda: half_closed.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.0 400 ") and b"connection was closed" in answer
        assert post(serving.port, photo())[0] == 200 and waiting.calls == 2
        first.close()


def test_a_connection_that_gets_no_thread_gives_its_place_back(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with Serving(predictor, connections=1) as serving:
        with monkeypatch.context() as patched:
            patched.setattr("socketserver.ThreadingMixIn.process_request", no_thread)
            assert raw(serving.port, b"") == b""
        assert "can't start new thread" in caplog.text
        assert ask(serving.port, "GET", "/")[0] == 200


def test_connections_are_bounded(predictor: Predictor) -> None:
    with Serving(predictor, connections=3) as serving:
        idle = [socket.create_connection(("127.0.0.1", serving.port), timeout=30) for _ in range(3)]
        with socket.create_connection(("127.0.0.1", serving.port), timeout=30) as one_more:
            answer = b"".join(iter(lambda: one_more.recv(65536), b""))
            assert_headers(answer, 503)
            assert "too many" in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
        for connection in idle:
            connection.close()
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                if post(serving.port, photo())[0] == 200:
                    return
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.05)
        raise AssertionError("the connections were not given back")


# ---- the command


def test_wrong_limits_and_addresses(predictor: Predictor, port: int) -> None:
    with pytest.raises(UnclaspError, match="queue must be positive, got 0"):
        Limits(queue=0)
    for taken in (port, 70_000):
        with pytest.raises(UnclaspError, match=f"cannot listen on 127.0.0.1 port {taken}: .*; choose another --port"):
            DemoServer("127.0.0.1", taken, predictor)


def peak_memory(process: int) -> int:
    """Bytes of memory that a process has held at most."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found
    return 1024 * int(found[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read a process's memory from")
def test_memory_is_bounded_and_nothing_is_kept(weights: Path, tmp_path: Path) -> None:
    for name in ("home", "temporary", "here"):
        (tmp_path / name).mkdir()
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "temporary"),
    }  # fmt: skip
    words = [sys.executable, "-m", "unclasp", "demo", "--port", "0", "--weights", str(weights), "--queue", "10"]
    running = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=tmp_path / "here", env=environment)
    try:
        assert running.stdout is not None
        found = re.fullmatch(r"open http://127\.0\.0\.1:(\d+)/ \(Ctrl-C stops it\)\n", running.stdout.readline())
        assert found
        port = int(found[1])
        assert post(port, photo())[0] == 200
        before = peak_memory(running.pid)
        bomb = claiming_png(30_000, 30_000, 30_000)
        assert len(bomb) < 2 * MB
        for data in (claiming_png(10_000, 10_000, 10_000), bomb, PDF, b""):
            assert post(port, data)[0] == 422
        assert post(port, bytes(21 * MB))[0] == 413
        assert peak_memory(running.pid) - before < 60 * MB, "refused before they are decoded"
        twelve = cv2.imencode(".jpg", np.full((3000, 4000, 3), 120, np.uint8))[1].tobytes()
        with ThreadPoolExecutor(10) as pool:
            statuses = list(pool.map(lambda _: post(port, twelve)[0], range(10)))
        assert statuses == [200] * 10
        assert peak_memory(running.pid) - before < 300 * MB, "one picture at a time"
        assert post(port, photo())[0] == 200
    finally:
        running.send_signal(signal.SIGINT)
        code = running.wait(30)
    assert code == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
