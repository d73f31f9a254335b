"""The webhook as it is served: routes, bodies counted while read, answers in time when Pub/Sub is down or hangs."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from fillbook.runtime.clock import monotonic
from fillbook.signal.receipt import instant
from tests.support.functions import FunctionApps
from tests.support.receipts import R_TS, ingest_cases, text_of
from tests.support.topics import Topics, topics

TOKEN, NEXT_TOKEN = "canary-token-of-today", "canary-token-of-tomorrow"
R = text_of("R").encode()
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def published() -> Iterator[Topics]:
    with topics() as kept:
        yield kept


@pytest.fixture
def env(published: Topics, tmp_path: Path) -> dict[str, str]:
    clock = {"desk_at": instant(R_TS + 60_000).isoformat(), "real_at": 0, "speed": 1, "paused": True}
    (tmp_path / "clock.json").write_text(json.dumps(clock))
    return {
        "INGEST_TOKENS": f"{TOKEN},{NEXT_TOKEN}",
        "FILLBOOK_PROJECT": "fillbook-local",
        "FILLBOOK_LOCAL_URL": published.url,
        "FILLBOOK_DESK_CLOCK": str(tmp_path / "clock.json"),
        "PUBLISH_BUDGET_SECONDS": "1",
    }


@pytest.fixture
def webhook(function_app: FunctionApps, env: dict[str, str]) -> FlaskClient:
    return function_app("signal_ingest", env)


def test_a_receipt_is_published_and_answered(webhook: FlaskClient, published: Topics) -> None:
    """Scenario 1, over HTTP."""
    answers = [
        webhook.post("/timed/ingest", data=R, headers=BEARER),
        webhook.post("/timed/ingest", data=R, headers={"X-Timed-Key": NEXT_TOKEN}),
        webhook.post(f"/timed/ingest/{TOKEN}", data=R, content_type="text/plain"),
        webhook.post(f"/timed/ingest?key={NEXT_TOKEN}", data=R),
        webhook.post("/timed/ingest", data=R.replace(b"{", b'{"token":"' + TOKEN.encode() + b'",', 1)),
    ]
    assert [answer.status_code for answer in answers] == [202] * 5
    assert len({answer.get_data() for answer in answers}) == 1
    assert len(set(published.data("signals"))) == 1
    message = published.messages["signals"][0]
    assert message["orderingKey"] == "ZZTA"
    assert message["attributes"]["receipt_id"] == answers[0].get_json()["receiptId"]


def test_the_recorded_cases_get_the_same_answers_over_http(webhook: FlaskClient) -> None:
    for case in ingest_cases():
        if case["now_ms"] != R_TS + 60_000:
            continue
        headers = dict(BEARER)
        if case.get("content_encoding"):
            headers["Content-Encoding"] = case["content_encoding"]
        answer = webhook.post("/timed/ingest", data=case["body"].encode(), headers=headers, content_type=case["content_type"])
        assert answer.status_code == case["status"], case["name"]
        told = answer.get_json()
        assert (told.get("reason"), told.get("field")) == (case.get("reason"), case.get("field")), case["name"]


def test_only_post_on_its_own_path_is_answered(webhook: FlaskClient) -> None:
    """Scenario 7: GET is 405."""
    for method in ("get", "put", "delete", "patch"):
        answer = getattr(webhook, method)("/timed/ingest", headers=BEARER)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert webhook.post("/timed", data=R, headers=BEARER).status_code == 404
    assert webhook.post(f"/timed/ingest/{TOKEN}/more", data=R).status_code == 404


def padded(size: int) -> bytes:
    return R + b" " * (size - len(R))


def test_a_body_is_counted_while_it_is_read(webhook: FlaskClient, published: Topics) -> None:
    """Scenario 3 and reliability check 26."""
    assert webhook.post("/timed/ingest", data=padded(65_536), headers=BEARER).status_code == 202
    assert webhook.post("/timed/ingest", data=padded(65_537), headers=BEARER).status_code == 413
    assert chunked(webhook, padded(65_536), BEARER).status_code == 202
    assert chunked(webhook, padded(70_000), BEARER).status_code == 413
    assert len(published.data("signals")) == 2


def chunked(webhook: FlaskClient, body: bytes, headers: dict[str, str]) -> Any:
    """A body without a length, as a server hands on a chunked request."""
    return webhook.post(
        "/timed/ingest",
        input_stream=io.BytesIO(body),
        headers={**headers, "Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )


class Endless(io.RawIOBase):
    """A body of 100 MB that notes how much of it was asked for."""

    def __init__(self) -> None:
        self.given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), 100_000_000 - self.given)
        buffer[:size] = b"x" * size
        self.given += size
        return size


def test_a_body_of_a_hundred_megabytes_is_cut_off_at_the_limit(webhook: FlaskClient) -> None:
    """Reliability check 26: whatever the length says, hardly more than the limit is read."""
    endless = Endless()
    stream = {"wsgi.input": endless, "wsgi.input_terminated": True}
    answer = webhook.post("/timed/ingest", headers=BEARER, environ_overrides=stream)
    assert answer.status_code == 413
    assert endless.given <= 2 * 65_536
    lying = {"CONTENT_LENGTH": "100000000"}
    assert webhook.post("/timed/ingest", data=b"{}", headers=BEARER, environ_overrides=lying).status_code == 413


def test_a_gzip_bomb_is_never_unpacked(webhook: FlaskClient, published: Topics) -> None:
    import gzip

    bomb = gzip.compress(b" " * 20_000_000)
    answer = webhook.post("/timed/ingest", data=bomb, headers={**BEARER, "Content-Encoding": "gzip"})
    assert (answer.status_code, answer.get_json()["reason"]) == (400, "encoding")
    assert published.data("signals-quarantine") == [bomb[:65_536]]


def test_nobody_enters_without_a_right_token(webhook: FlaskClient, published: Topics) -> None:
    """Scenario 2 and reliability check 27."""
    for path, headers in (
        ("/timed/ingest", {}),
        ("/timed/ingest", {"Authorization": "Bearer wrong"}),
        ("/timed/ingest/wrong", {}),
        ("/timed/ingest?key=wrong", {}),
        ("/timed/ingest", {"Authorization": f"Bearer {TOKEN[:-1]}"}),
        ("/timed/ingest", {"Authorization": TOKEN}),
    ):
        answer = webhook.post(path, data=R, headers=headers)
        assert (answer.status_code, answer.get_json()) == (401, {"ok": False, "reason": "unauthorized"})
    assert published.messages == {}


def test_a_right_header_enters_whatever_the_body_shows(webhook: FlaskClient, published: Topics) -> None:
    with_wrong = R.replace(b"{", b'{"token":"wrong",', 1)
    assert webhook.post("/timed/ingest", data=with_wrong, headers=BEARER).status_code == 202
    assert b"wrong" not in published.data("signals")[0]


def test_without_a_token_setting_the_webhook_is_closed(function_app: FunctionApps, env: dict[str, str]) -> None:
    for empty in ("", " ", ","):
        closed = function_app("signal_ingest", {**env, "INGEST_TOKENS": empty})
        answer = closed.post("/timed/ingest", data=b"not even json", headers=BEARER)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_the_answer_leaves_in_time_when_pubsub_is_down_or_hangs(webhook: FlaskClient, published: Topics) -> None:
    """Scenario 8: a Pub/Sub that hangs would hang for a minute."""
    for behaviour in (500, 403, "hang"):
        published.behaviour = behaviour
        began = monotonic()
        answer = webhook.post("/timed/ingest", data=R, headers=BEARER)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert answer.get_json() == {"ok": False, "reason": "publish_failed"}
        assert monotonic() - began < 30  # bounded, not measured
    published.behaviour = "ok"
    assert webhook.post("/timed/ingest", data=R, headers=BEARER).status_code == 202
    assert len(published.data("signals")) == 1


def test_a_flood_of_wrong_tokens_is_not_even_read(webhook: FlaskClient) -> None:
    for _ in range(20):
        assert webhook.post("/timed/ingest", data=R, headers={"X-Forwarded-For": "6.6.6.6, 7.7.7.7"}).status_code == 401
    unread = Endless()
    stream = {"wsgi.input": unread, "wsgi.input_terminated": True}
    answer = webhook.post("/timed/ingest", headers={"X-Forwarded-For": "1.1.1.1, 7.7.7.7"}, environ_overrides=stream)
    assert (answer.status_code, unread.given) == (401, 0)
    assert webhook.post("/timed/ingest", data=R, headers={**BEARER, "X-Forwarded-For": "7.7.7.7"}).status_code == 202


def test_a_token_stands_in_no_answer_message_or_log_line(
    webhook: FlaskClient, published: Topics, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reliability check 30 at this function."""
    told = b""
    for body in (R, b"{", R[:900], R.replace(b"100.40", b"0"), b'{"a":"' + TOKEN.encode()):
        for path in (f"/timed/ingest/{TOKEN}", f"/timed/ingest?key={TOKEN}", "/timed/ingest"):
            told += webhook.post(path, data=b'{"token":"' + TOKEN.encode() + b'",' + body[1:]).get_data()
    published.behaviour = 500
    told += webhook.post(f"/timed/ingest/{TOKEN}", data=R).get_data()
    kept = b"".join(published.data("signals") + published.data("signals-quarantine"))
    assert kept
    assert TOKEN.encode() not in told + kept + json.dumps(published.messages).encode()
    assert TOKEN not in capsys.readouterr().out


def test_the_function_opens_no_database_and_imports_no_driver() -> None:
    from infra.door.probe import ask

    folder = Path(__file__).resolve().parents[3] / "functions" / "signal_ingest"
    modules = set(ask(folder, "signal_ingest")["modules"])
    assert not modules & {"pg8000", "fillbook.runtime.db", "fillbook.ledger", "fillbook.signal.service", "requests", "grpc"}
    assert "fillbook.signal.ingest" in modules
    assert "fillbook" in sys.modules
