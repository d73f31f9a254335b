"""A function as it is served: gunicorn, real sockets, SIGTERM; and the same folder in this process."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.local.ports import free_port
from infra.manifest import REFUSING
from tests.support.waiting import WAIT_SECONDS, wait_until

AT_ONCE, WAITING = 2, 2
ROOT = Path(__file__).resolve().parents[3]
MAIN = '''"""A small function for the runtime's tests."""

import functools
import os
import time

import functions_framework
from flask import Request, Response

from fillbook.runtime.config import DatabaseConfig
from fillbook.runtime.db import Database
from fillbook.runtime.http import answer, http_edge, read_body
from fillbook.runtime.places import Places
from fillbook.runtime.sql import statement


class SampleConfig(DatabaseConfig):
    """What the sample reads."""

    greeting: str = "hello"


@functools.cache
def config() -> SampleConfig:
    return SampleConfig.from_environment()


@functools.cache
def database() -> Database:
    return Database.open(config(), application_name="sample")


def ask(request: Request) -> Response:
    with database().transaction(read_only=True) as tx:
        return answer(200, {"rows": tx.query(statement("select :a::text as a"), a=config().greeting)})


def take(request: Request) -> Response:
    return answer(200, {"size": len(read_body(request, 100_000, seconds=0.3))})


def fail(request: Request) -> Response:
    raise KeyError("canary-text")


def hold(request: Request) -> Response:
    while not os.path.exists(request.args["gate"]):
        time.sleep(0.01)
    return answer(200, {"ok": True})


edge = http_edge(
    "sample",
    {"GET /": ask, "POST /body": take, "GET /fail": fail, "GET /hold": hold},
    places=Places(2, waiting=2, patience_ms=60_000),
)


@functions_framework.http
def sample(request: Request) -> Response:
    return edge(request)
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("sample")
    (made / "main.py").write_text(MAIN)
    return made


@pytest.fixture
def served(folder, database_url):
    """The function's process and port."""
    port = free_port()
    command = [sys.executable, "-m", "functions_framework", "--target", "sample", "--source", str(folder / "main.py")]
    environment = {**os.environ, "FILLBOOK_ENV": "local", "FILLBOOK_DATABASE_URL": database_url}
    environment |= {"PYTHONPATH": str(ROOT / "shared"), "THREADS": str(AT_ONCE + WAITING + REFUSING)}
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.02)
    yield process, port
    process.kill()
    process.communicate()


def call(port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_SECONDS)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    read = response.status, response.read()
    connection.close()
    return read


def raw(port, *pieces, pause=0.0):
    """Send pieces as they are; return the status line, b'' when the server hung up."""
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        for piece in pieces:
            try:
                sock.sendall(piece)
            except OSError:
                break
            time.sleep(pause)
        sock.settimeout(10)
        try:
            return sock.recv(65_536).split(b"\r\n")[0]
        except OSError:
            return b""


def hung_up(port, data):
    """Say whether the server closes by itself after its answer, without waiting for the rest of the body."""
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(data)
        answer = b""
        while True:
            try:
                piece = sock.recv(65_536)
            except ConnectionResetError:
                piece = b""
            if not piece:
                return b" 404 " in answer or not answer
            answer += piece


def test_a_served_function_keeps_its_promises(served, query):
    process, port = served
    assert json.loads(call(port, "GET", "/")[1]) == {"rows": [{"a": "hello"}]}

    # a bug: an opaque id, never the text
    status, text = call(port, "GET", "/fail")
    assert (status, b"canary" in text) == (500, False)

    # a body is counted while it is read, whatever its header says
    assert json.loads(call(port, "POST", "/body", b"x" * 100_000)[1]) == {"size": 100_000}
    assert call(port, "POST", "/body", b"x" * 100_001)[0] == 413
    chunked = (f"{100_000:x}\r\n".encode() + b"x" * 100_000 + b"\r\n") * 2 + b"0\r\n\r\n"
    head = b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b" 413 " in raw(port, head + chunked)
    assert b" 200 " in raw(port, head + b"3\r\nabc\r\n0\r\n\r\n")

    # what nobody wanted to read is not read after the answer either: the connection ends with it
    assert b" 405 " in raw(port, b"DELETE" + head[4:] + b"3\r\nabc\r\n")
    assert hung_up(port, b"POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\n\r\n" + b"x" * 100_000)

    # a client that drips, or says more than it sends, is cut off; the others are served meanwhile
    head = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    assert b" 408 " in raw(port, head, *[b"x"] * 10, pause=0.08)
    assert call(port, "GET", "/")[0] == 200

    # SIGTERM: the sessions say goodbye, the process ends in order
    sessions = "select count(*)::int as n from pg_stat_activity where application_name = 'sample'"
    assert query(sessions) != [{"n": 0}]
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT_SECONDS) == 0
    assert query(sessions) == [{"n": 0}]


def test_beyond_its_places_a_served_function_says_come_back_at_once_and_takes_all_again_when_they_are_free(served, tmp_path):
    _, port = served
    gate, answers = tmp_path / "gate", []

    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_SECONDS)
        connection.request("GET", f"/hold?gate={gate}")
        response = connection.getresponse()
        answers.append((response.status, response.headers["Retry-After"], json.loads(response.read()).get("reason")))
        connection.close()

    with ThreadPoolExecutor(24) as pool:
        asked = [pool.submit(ask) for _ in range(24)]
        wait_until(lambda: len(answers) >= 24 - AT_ONCE - WAITING, lambda: answers)
        assert answers == [(503, "5", "overloaded")] * 20  # the gate is shut: two are at work, two wait, all others know
        gate.touch()
        for one in asked:
            one.result()
    assert answers[20:] == [(200, None, None)] * 4
    assert json.loads(call(port, "GET", "/")[1]) == {"rows": [{"a": "hello"}]}


def test_a_function_is_called_in_process_and_leaves_no_trace(folder, function_app, database_url):
    environ, path = dict(os.environ), list(sys.path)
    one = function_app("sample", {"FILLBOOK_DATABASE_URL": database_url}, folder=folder)
    assert one.get("/").json == {"rows": [{"a": "hello"}]}
    assert function_app.modules["sample"].config().greeting == "hello"
    function_app.restore()
    assert (dict(os.environ), sys.path) == (environ, path)
    assert "main" not in sys.modules


def test_two_folders_with_the_same_module_name_live_side_by_side(folder, tmp_path, function_app, database_url):
    (tmp_path / "main.py").write_text(MAIN.replace("sample", "other").replace('"hello"', '"other"'))
    one = function_app("sample", {"FILLBOOK_DATABASE_URL": database_url}, folder=folder)
    other = function_app("other", {"FILLBOOK_DATABASE_URL": database_url}, folder=tmp_path)
    assert one.get("/").json == {"rows": [{"a": "hello"}]}
    assert other.get("/").json == {"rows": [{"a": "other"}]}
    assert one.post("/body", data=b"abc").json == {"size": 3}
    for module in function_app.modules.values():
        module.database().close()
