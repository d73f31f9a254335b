"""The page's files and the headers of every answer, over a folder of the test's own and without a database."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
from flask import Response
from flask.testing import FlaskClient

from fillbook.runtime.http import http_edge
from fillbook.tracker.api import refuse, routes
from fillbook.tracker.dressing import GZIP_BYTES_MIN, HEADERS, dress

HASHED = "assets/index-Bx3d9fA_.js"
SCRIPT = b"let a = 1;\n" * 400
METHODS = ["GET", "POST", "HEAD", "DELETE"]


def no_desk() -> Any:
    raise AssertionError("a file needs no desk")


def served(more: dict[str, Any] | None = None, *, static: Path) -> FlaskClient:
    app = flask.Flask("tracker")
    edge = http_edge("tracker", {**routes(no_desk, static), **(more or {})}, refuse=refuse, dress=dress)
    app.add_url_rule("/", "root", lambda: edge(flask.request), methods=METHODS)
    app.add_url_rule("/<path:path>", "path", lambda path: edge(flask.request), methods=METHODS)
    return app.test_client()


@pytest.fixture
def static(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>Trade Tracker</title>")
    (tmp_path / "favicon.ico").write_bytes(b"\x00\x00\x01\x00")
    (tmp_path / HASHED).write_bytes(SCRIPT)
    (tmp_path / "assets" / "plain.css").write_text("a{}")
    (tmp_path / "assets" / "notes.md").write_text("not for the world")
    (tmp_path / "assets" / "link-Aa1Bb2Cc.js").symlink_to("/etc/hostname")
    return tmp_path


@pytest.fixture
def client(static: Path) -> FlaskClient:
    return served(static=static)


@pytest.mark.parametrize("path", ["/", "/app/", "/app/today", "/app/positions/0d6fd3a6/more"])
def test_every_view_is_the_index_whatever_lies_below_it(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.mimetype, answer.headers["Cache-Control"]) == (200, "text/html", "no-cache")
    assert b"Trade Tracker" in answer.data
    assert client.get(path, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304


def test_a_file_whose_name_holds_its_hash_is_kept_for_good_and_others_are_asked_for_again(client: FlaskClient) -> None:
    assert client.get(f"/{HASHED}").headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert client.get("/assets/plain.css").headers["Cache-Control"] == "no-cache"
    assert client.get("/favicon.ico").mimetype == "image/x-icon"
    assert client.get("/robots.txt").get_data(as_text=True) == "User-agent: *\nDisallow: /\n"


def test_a_script_is_sent_compressed_to_whoever_reads_that(client: FlaskClient) -> None:
    packed = client.get(f"/{HASHED}", headers={"Accept-Encoding": "gzip"})
    assert (packed.headers["Content-Encoding"], packed.headers["Vary"]) == ("gzip", "Accept-Encoding")
    assert gzip.decompress(packed.data) == SCRIPT
    plain = client.get(f"/{HASHED}")
    assert (plain.data, "Content-Encoding" in plain.headers) == (SCRIPT, False)


@pytest.mark.parametrize(
    "name", ["nothing.js", "..%2Findex.html", "../index.html", "index.html", "notes.md", "link-Aa1Bb2Cc.js", "%00", "", "a/b.js"]
)
def test_an_unknown_asset_is_not_found_and_never_the_index(client: FlaskClient, name: str) -> None:
    answer = client.get(f"/assets/{name}")
    assert answer.status_code == 404
    assert b"Trade Tracker" not in answer.data


def test_every_answer_wears_the_headers_and_only_a_real_host_is_told_to_stay_on_tls(client: FlaskClient) -> None:
    for method, path in (("GET", "/"), ("GET", f"/{HASHED}"), ("GET", "/nothing"), ("DELETE", "/"), ("GET", "/robots.txt")):
        for base, is_real in (
            ("http://localhost:8080", False), ("http://127.0.0.1", False), ("http://[::1]:9", False), ("https://d.example", True),
        ):  # fmt: skip
            answer = client.open(path, method=method, base_url=base)
            assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
            assert ("Strict-Transport-Security" in answer.headers) is is_real, (path, base)
            assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]


def test_a_file_that_is_made_piece_by_piece_is_compressed_piece_by_piece_and_its_maker_is_closed(static: Path) -> None:
    closed = []

    def pieces() -> Iterator[bytes]:
        try:
            for number in range(3):
                yield f"{number};".encode() * 40_000
        finally:
            closed.append(True)

    def export(_request: Any) -> Response:
        return Response(pieces(), content_type="text/csv")

    client = served({"GET /export": export}, static=static)
    answer = client.get("/export", headers={"Accept-Encoding": "gzip"}, buffered=False)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "Content-Length" not in answer.headers
    assert gzip.decompress(answer.data) == b"".join(f"{number};".encode() * 40_000 for number in range(3))
    assert closed == [True]
    stopped = client.get("/export", headers={"Accept-Encoding": "gzip"}, buffered=False)
    next(iter(stopped.response))
    stopped.close()
    assert closed == [True, True]


def test_small_answers_and_pictures_are_sent_as_they_are(static: Path) -> None:
    def small(_request: Any) -> Response:
        return Response(b"a" * (GZIP_BYTES_MIN - 1), content_type="text/plain")

    def large(_request: Any) -> Response:
        return Response(b"a" * GZIP_BYTES_MIN, content_type="text/plain")

    def picture(_request: Any) -> Response:
        return Response(b"a" * 5_000, content_type="image/png")

    client = served({"GET /small": small, "GET /large": large, "GET /picture": picture}, static=static)
    told = {path: client.get(path, headers={"Accept-Encoding": "gzip"}).headers for path in ("/small", "/large", "/picture")}
    assert [path for path, headers in told.items() if "Content-Encoding" in headers] == ["/large"]
    assert [path for path, headers in told.items() if headers.get("Vary") == "Accept-Encoding"] == ["/small", "/large"]
