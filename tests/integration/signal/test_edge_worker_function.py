"""The worker as it is served: who may push, what is answered, what is kept, what is published after the commit."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from fillbook.runtime.clock import real_epoch_seconds
from fillbook.signal import deciding
from fillbook.signal.receipt import instant, parse
from tests.support.functions import FunctionApps
from tests.support.receipts import R_TS, body, encoded, text_of
from tests.support.signer import Signer
from tests.support.topics import Topics, envelope, topics

Query = Callable[..., list[dict[str, Any]]]
NOW = instant(R_TS + 61_000)
AUDIENCE = "https://signal-worker.test"
CALLER = "pubsub-push@desk.example"
SIGNER = Signer()


@pytest.fixture
def published() -> Iterator[Topics]:
    with topics() as kept:
        kept.certificates = SIGNER.certificates()
        yield kept


@pytest.fixture
def env(published: Topics, database_url: str, tmp_path: Path) -> dict[str, str]:
    clock = {"desk_at": NOW.isoformat(), "real_at": 0, "speed": 1, "paused": True}
    (tmp_path / "clock.json").write_text(json.dumps(clock))
    return {
        "FILLBOOK_DATABASE_URL": f"{database_url}?role=signal_worker",
        "FILLBOOK_PROJECT": "fillbook-local",
        "FILLBOOK_LOCAL_URL": published.url,
        "FILLBOOK_DESK_CLOCK": str(tmp_path / "clock.json"),
        "FILLBOOK_OIDC_AUDIENCE": AUDIENCE,
        "FILLBOOK_OIDC_CALLERS": CALLER,
    }


@pytest.fixture
def app(function_app: FunctionApps, env: dict[str, str]) -> FlaskClient:
    return function_app("signal_worker", env)


def token(**claims: Any) -> dict[str, str]:
    claims = {"audience": AUDIENCE, "issued": real_epoch_seconds(), "email": CALLER} | claims
    return {"Authorization": f"Bearer {SIGNER.sign(**claims)}"}


def message(document: dict[str, Any], **attributes: str) -> dict[str, Any]:
    """A receipt as the door publishes it."""
    accepted = parse(encoded(document), now=NOW)
    told = {
        "schema": "receipt.v1",
        "receipt_id": accepted.receipt.receipt_id,
        "ticker": accepted.receipt.ticker,
        "received_at": NOW.isoformat(),
        "repairs": "",
    }
    return envelope(accepted.canonical, ordering_key=accepted.receipt.ticker, **told | attributes)


def push(app: FlaskClient, sent: Any, path: str = "/", **claims: Any) -> int:
    return app.post(path, json=sent, headers=token(**claims)).status_code


def quarantined(query: Query) -> list[tuple[str, str, int]]:
    rows = query("select source::text as source, reason, count from signal.quarantine order by first_seen_at, reason")
    return [(row["source"], row["reason"], row["count"]) for row in rows]


def test_a_receipt_becomes_an_execution_and_its_event_leaves_with_it(app: FlaskClient, published: Topics, query: Query) -> None:
    assert push(app, message(body(), repairs="nan_null")) == 204
    [action] = query("select action_type, quantity::text as quantity from ledger.v_actions")
    assert action == {"action_type": "ENTRY", "quantity": "37.6374000000"}
    [event] = published.data("events")
    told = json.loads(event)
    assert (told["event_type"], told["data"]["ticker"], told["data"]["quantity"]) == ("execution_booked", "ZZTA", "37.6374")
    assert query("select received_at, repairs from signal.receipts") == [{"received_at": NOW, "repairs": ["nan_null"]}]


def test_every_message_delivered_five_times_has_one_effect(app: FlaskClient, published: Topics, query: Query) -> None:
    """Reliability check 4: messages = executions."""
    for sent in (message(body()), message(body("Q"))):
        assert [push(app, sent) for _ in range(5)] == [204] * 5
    assert query("select count(*) as n from signal.decisions") == [{"n": 2}]
    assert len(published.data("events")) == 1


def test_a_committed_receipt_is_answered_even_when_its_event_cannot_leave(
    app: FlaskClient, published: Topics, query: Query
) -> None:
    published.behaviour = 500
    assert push(app, message(body())) == 204
    assert query("select count(*) as n from outbox.events where published_at is null") == [{"n": 1}]


def test_only_the_pusher_may_push(app: FlaskClient, function_app: FunctionApps, env: dict[str, str], query: Query) -> None:
    """Reliability checks 27 and 29."""
    sent = message(body())
    for path in ("/", "/quarantine", "/dead"):
        assert app.post(path, json=sent).status_code == 401
        assert app.post(path, json=sent, headers={"Authorization": "Bearer x"}).status_code == 401
        assert app.post(path, json=sent, headers={"X-CloudScheduler": "true", "From": CALLER}).status_code == 401
        assert push(app, sent, path, audience="https://other.test") == 401
        assert push(app, sent, path, issued=real_epoch_seconds() - 7200) == 401
        assert push(app, sent, path, email="someone@else.example") == 403
        altered = token()["Authorization"][:-4] + "AAAA"
        assert app.post(path, json=sent, headers={"Authorization": altered}).status_code == 401
    closed = function_app("signal_worker", {**env, "FILLBOOK_OIDC_CALLERS": ""})
    assert push(closed, sent) == 403
    assert quarantined(query) == []
    assert query("select count(*) as n from signal.receipts") == [{"n": 0}]


def test_what_stays_wrong_is_kept_and_acknowledged(app: FlaskClient, query: Query) -> None:
    """Reliability check 25 at the worker: 204 and a row in quarantine, never a receipt."""
    receipt = parse(text_of("R").encode(), now=NOW).canonical
    for sent, reason in (
        (envelope(b"{"), "json_invalid"),
        (envelope(b'{"a":1e400}'), "number_invalid"),
        (envelope(b"\xff\xfe"), "text_invalid"),
        (envelope(b"[" * 5_000 + b"]" * 5_000), "json_limits"),
        (envelope(b'{"ticker":"A","ts":1,"price":1}'), "ts_not_milliseconds"),
        (envelope(receipt, receipt_id="bb8ce33e-3b8f-5e82-9c3f-000000000000"), "receipt_id_mismatch"),
        (envelope(receipt, schema="receipt.v2"), "schema_unknown"),
        (envelope(receipt, received_at="yesterday"), "attributes_invalid"),
        (envelope(receipt, received_at="2026-02-03T15:16:00"), "attributes_invalid"),
    ):
        assert push(app, sent) == 204
        assert push(app, sent) == 204
        assert ("worker", reason) in {row[:2] for row in quarantined(query)}, reason
    assert app.post("/", data=b"not an envelope", headers=token()).status_code == 204
    assert ("worker", "envelope_invalid", 1) in quarantined(query)
    assert sum(count for _, _, count in quarantined(query)) == 19
    assert query("select count(*) as n from signal.receipts") == [{"n": 0}]


def test_an_envelope_beyond_all_bounds_is_cut_off(app: FlaskClient) -> None:
    """Reliability check 26."""
    size = {"CONTENT_LENGTH": str(100_000_000)}
    assert app.post("/", data=b"{}", headers=token(), environ_overrides=size).status_code == 413


def test_a_refused_body_is_kept_with_the_doors_reason(app: FlaskClient, query: Query) -> None:
    cut = text_of("R").encode()[:1500]
    for _ in range(2):
        assert push(app, envelope(cut, reason="json_invalid", field="", ticker="ZZTA"), "/quarantine") == 204
    [row] = query("select source::text as source, reason, field, ticker, body, count from signal.quarantine")
    assert row == {"source": "ingest", "reason": "json_invalid", "field": None, "ticker": "ZZTA", "body": cut, "count": 2}


def test_a_message_of_the_quarantine_that_was_given_up_keeps_its_reason(app: FlaskClient, query: Query) -> None:
    assert push(app, envelope(b"x", reason="price_missing", field="price"), "/dead") == 204
    assert push(app, envelope(b"y"), "/dead") == 204
    assert quarantined(query) == [("dead_letter", "dead_letter", 1), ("dead_letter", "price_missing", 1)]


def test_scenario_13_a_receipt_that_breaks_a_rule_ends_in_quarantine_and_the_next_ones_flow(
    app: FlaskClient, published: Topics, query: Query, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    decide = deciding.decide

    def broken(receipt: Any, *rest: Any) -> Any:
        if receipt.price == 101:
            raise ZeroDivisionError("a secret of the core")
        return decide(receipt, *rest)

    monkeypatch.setattr(deciding, "decide", broken)
    poisoned = message(body(price=101))
    for attempt in range(1, 21):
        answer = app.post("/", json={**poisoned, "deliveryAttempt": attempt}, headers=token())
        assert answer.status_code == 500
        assert "secret" not in answer.get_data(as_text=True)
        if attempt == 10:
            assert push(app, message(body("Q"))) == 204, "other tickers are never stopped"
    assert push(app, poisoned, "/dead") == 204
    [row] = query("select source::text as source, reason, ticker, body from signal.quarantine")
    data = base64.b64decode(poisoned["message"]["data"])
    assert row == {"source": "dead_letter", "reason": "dead_letter", "ticker": "ZZTA", "body": data}
    assert push(app, message(body(minutes=1))) == 204
    assert query("select ticker from signal.decisions order by ticker") == [{"ticker": "ZZTA"}, {"ticker": "ZZTB"}]
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_a_ticker_too_many_is_quarantined_not_lost(function_app: FunctionApps, env: dict[str, str], query: Query) -> None:
    small = function_app("signal_worker", {**env, "TICKERS_MAX": "1"})
    assert [push(small, message(body())), push(small, message(body("Q")))] == [204, 204]
    assert quarantined(query) == [("worker", "too_many_tickers", 1)]


def test_without_a_database_nothing_is_acknowledged(function_app: FunctionApps, env: dict[str, str]) -> None:
    """Reliability check 12."""
    away = function_app("signal_worker", {**env, "FILLBOOK_DATABASE_URL": "postgresql://postgres@127.0.0.1:1/none"})
    for path in ("/", "/quarantine", "/dead"):
        assert push(away, message(body()), path) == 503
    assert push(away, envelope(b"{"), "/") == 503, "a refusal that cannot be kept is asked for again"


def test_knobs_reach_the_use_case(function_app: FunctionApps, env: dict[str, str], query: Query) -> None:
    lanes_only = function_app("signal_worker", {**env, "BOOK_EXECUTIONS": "false", "LANE_EVENTS": "true"})
    assert push(lanes_only, message(body())) == 204
    assert query("select lane::text as lane, blocks->0->>'rule' as rule from signal.decisions") == [
        {"lane": "flip_watch", "rule": "L0"}
    ]
    assert query("select event_type from outbox.events") == [{"event_type": "lane_changed"}]
    aged = function_app("signal_worker", {**env, "LIVE_AGE_SECONDS_MAX": "1", "STRATEGY_PROFILE": "tt-2026-02-12"})
    assert push(aged, message(body("Q", minutes=-2))) == 204
    assert query("select result::text as result from signal.receipts where ticker = 'ZZTB'") == [{"result": "stale"}]
