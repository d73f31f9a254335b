"""The function as it is served, beside a fake TWS: what a request, a push, the minute's tick and the job each do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from fillbook.runtime.clock import FixedClock, real_epoch_seconds
from infra.local import tws_book
from infra.local.tws import TwsFake
from tests.support.functions import FunctionApps
from tests.support.ibkr_world import NOW, Query
from tests.support.signer import Signer
from tests.support.topics import Topics, envelope, topics

AUDIENCE, CALLER, PERSON = "https://execution-sync.test", "pubsub-push@desk.example", "someone@desk.example"
ACCOUNT = "DU1234567"
SIGNER = Signer()


@pytest.fixture
def published() -> Iterator[Topics]:
    with topics() as kept:
        kept.certificates = SIGNER.certificates()
        yield kept


@pytest.fixture
def gateway() -> Iterator[TwsFake]:
    """Serves two fills of one order and what they leave behind; no order message may ever come."""
    with TwsFake(clock=FixedClock(NOW), accounts=(ACCOUNT,)) as fake:
        fill(fake, "60", "40")
        yield fake
        assert fake.orders() == []


def fill(fake: TwsFake, *pieces: str, held: str | None = None) -> None:
    frames = []
    for number, piece in enumerate(pieces, 1):
        name = f"0000e0d5.6543c1f{number}.01.01"
        at = NOW - timedelta(hours=2)
        frames += [tws_book.execution(name, ACCOUNT, at, "BOT", piece, "10.5", perm_id="1400000001")]
        frames += [tws_book.commission(name, "1")]
    total = held or str(sum(int(piece) for piece in pieces))
    fake.load(frames, [tws_book.position(ACCOUNT, "265598", "AAPL", total, "10.52")] if total != "0" else [])


def at(path: Path, minutes: float) -> None:
    """Move the desk clock, which stands still."""
    clock = {"desk_at": (NOW + timedelta(minutes=minutes)).isoformat(), "real_at": 0, "speed": 1, "paused": True}
    path.write_text(json.dumps(clock))


@pytest.fixture
def env(published: Topics, gateway: TwsFake, database_url: str, tmp_path: Path) -> dict[str, str]:
    at(tmp_path / "clock.json", 0)
    return {
        "FILLBOOK_DATABASE_URL": f"{database_url}?role=execution_sync",
        "FILLBOOK_PROJECT": "fillbook-local",
        "FILLBOOK_LOCAL_URL": published.url,
        "FILLBOOK_DESK_CLOCK": str(tmp_path / "clock.json"),
        "FILLBOOK_OIDC_AUDIENCE": AUDIENCE,
        "FILLBOOK_OIDC_CALLERS": f"{CALLER},{PERSON}",
        "IBKR_RUN_DEADLINE_SECONDS": "3",
        "IBKR_ACCOUNTS": json.dumps([{"id": 11, "code": ACCOUNT}]),
        "IBKR_TWS_TARGETS": json.dumps([{"host": gateway.host, "port": gateway.port, "reach_days": 6}]),
    }


@pytest.fixture
def app(function_app: FunctionApps, env: dict[str, str]) -> FlaskClient:
    return function_app("execution_sync", env)


def token(email: str = CALLER) -> dict[str, str]:
    return {"Authorization": f"Bearer {SIGNER.sign(audience=AUDIENCE, issued=real_epoch_seconds(), email=email)}"}


def ask(app: FlaskClient, job_type: str = "trades.sync", **headers: str) -> Any:
    return app.post("/api/v1/jobs", json={"job_type": job_type, "payload": {}}, headers=token(PERSON) | headers)


def push(app: FlaskClient, path: str, body: bytes | dict[str, Any]) -> int:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = envelope(data)
    sent["subscription"] = f"projects/p/subscriptions/{path.rpartition('/')[2]}-execution_sync"
    return app.post(path, json=sent, headers=token()).status_code


def tick(app: FlaskClient) -> dict[str, Any]:
    told: dict[str, Any] = app.post("/cron/jobs", json={}, headers=token()).get_json()
    return told


def orders(*sizes: tuple[int, str], account: str = ACCOUNT, count: int = 1) -> dict[str, Any]:
    rows = [{"ib_perm_id": perm_id, "order_quantity": quantity} for perm_id, quantity in sizes]
    return {"event_id": str(uuid4()), "account": account, "processed_count": count, "orders": rows}


def trades(query: Query) -> list[tuple[Any, ...]]:
    rows = query("select ib_perm_id, total_quantity, order_quantity, status from ibkr.v_trades order by ib_perm_id")
    return [tuple(row.values()) for row in rows]


def booked(query: Query) -> int:
    return int(query("select count(*) as n from ledger.v_actions where book_id = :book", book=f"ibkr:{ACCOUNT}")[0]["n"])


def opened(app: FlaskClient, clock: Path) -> None:
    """Positions are known before the executions that reach them, so that the account can be opened."""
    for minutes, job_type in ((0, "positions.sync"), (1, "trades.sync"), (2, "positions.sync")):
        at(clock, minutes)
        assert ask(app, job_type).status_code == 202
        assert tick(app)["worked"] == 1


def test_a_request_a_push_and_a_tick_do_the_same_work_once(
    app: FlaskClient, published: Topics, query: Query, tmp_path: Path
) -> None:
    told = ask(app)
    assert (told.status_code, told.get_json()["is_new"], told.get_json()["state"]) == (202, True, "queued")
    assert ask(app).get_json() == told.get_json() | {"is_new": False}
    [event] = published.data("ibkr-jobs")
    assert push(app, "/pubsub/jobs", event) == 204
    assert push(app, "/pubsub/jobs", event) == 204
    assert tick(app) == {"ok": True, "reaped": 0, "worked": 0}
    job = app.get(f"/api/v1/jobs/{told.get_json()['job_id']}", headers=token(PERSON)).get_json()
    assert (job["state"], job["attempts"], job["requested_by"]) == ("succeeded", 1, PERSON)
    [run] = job["runs"]
    assert (run["state"], run["counts"]["inserted_executions_count"]) == ("complete", 2)
    assert trades(query) == [(1400000001, 100, None, "unknown")]
    at(tmp_path / "clock.json", 5)
    assert ask(app).get_json()["is_new"]
    assert tick(app)["worked"] == 1
    assert trades(query) == [(1400000001, 100, None, "unknown")]


def test_the_first_positions_that_executions_have_reached_open_the_account(
    app: FlaskClient, published: Topics, query: Query, tmp_path: Path
) -> None:
    ask(app, "positions.sync")
    tick(app)
    assert booked(query) == 0
    at(tmp_path / "clock.json", 1)
    ask(app)
    tick(app)
    assert booked(query) == 2
    assert query("select count(*) as n from ledger.fills where reason = 'opening_balance'") == [{"n": 0}]
    at(tmp_path / "clock.json", 2)
    ask(app, "positions.sync")
    tick(app)
    [compared] = query("select result from ledger.v_reconciliations")
    assert compared["result"] == "matched"
    assert len(published.data("events")) == 2


def test_an_end_that_does_not_come_and_a_first_empty_answer_are_no_answer(
    app: FlaskClient, gateway: TwsFake, query: Query, tmp_path: Path
) -> None:
    clock = tmp_path / "clock.json"
    opened(app, clock)
    results = []
    for minutes, end in ((10, False), (20, True), (20.5, True), (22, True)):
        fill(gateway, "60", "40", held="0")
        gateway.turn(has_end=end)
        at(clock, minutes)
        ask(app, "trades.sync")
        ask(app, "positions.sync")
        tick(app)
        rows = query(
            "select counts->'results'->>:code as result from ibkr.sync_runs where kind = 'positions' "
            "order by started_at desc limit 1",
            code=ACCOUNT,
        )
        results.append(rows[0]["result"])
    assert results[-1] == "breaks"
    assert "breaks" not in results[:-1]
    [gap] = query("select kind, instrument from ledger.v_breaks where resolved_at is null")
    assert (gap["kind"], gap["instrument"]) == ("missing_at_broker", "ibkr:265598")
    fill(gateway, "60", "40")
    at(clock, 30)
    ask(app, "trades.sync")
    ask(app, "positions.sync")
    tick(app)
    assert query("select count(*) as n from ledger.v_breaks where resolved_at is null") == [{"n": 0}]


def test_orders_processed_sizes_trades_at_once_and_asks_for_both_syncs(app: FlaskClient, query: Query, tmp_path: Path) -> None:
    ask(app)
    tick(app)
    told = orders((1400000001, "100"))
    assert [push(app, "/pubsub/orders-processed", told) for _ in range(3)] == [204] * 3
    assert trades(query) == [(1400000001, 100, 100, "filled")]
    assert query("select job_type from ibkr.jobs where state = 'queued' order by 1") == [
        {"job_type": "positions.sync"},
        {"job_type": "trades.sync"},
    ]
    assert push(app, "/pubsub/orders-processed", orders((1400000001, "150"), count=0)) == 204
    older = query("select received_at from ibkr.order_sizes")
    assert len(older) == 1
    tick(app)
    assert len(query("select 1 as n from ibkr.jobs where state = 'queued'")) == 2  # five seconds are not over
    at(tmp_path / "clock.json", 0.1)
    assert tick(app)["worked"] == 2


def test_more_than_was_ordered_is_an_anomaly_and_an_older_size_never_wins(app: FlaskClient, query: Query) -> None:
    ask(app)
    tick(app)
    newer, older = (
        envelope(json.dumps(orders((1400000001, "80"))).encode()),
        envelope(json.dumps(orders((1400000001, "200"))).encode()),
    )
    newer["message"]["publishTime"], older["message"]["publishTime"] = "2026-01-06T20:00:02Z", "2026-01-06T20:00:01Z"
    for sent in (newer, older):
        assert app.post("/pubsub/orders-processed", json=sent, headers=token()).status_code == 204
    assert trades(query) == [(1400000001, 100, 80, "filled")]
    assert query("select kind from ibkr.v_anomalies where closed_at is null") == [{"kind": "overfilled"}]


def test_a_message_that_stays_wrong_is_kept_and_a_given_up_one_gives_its_job_up(
    app: FlaskClient, published: Topics, query: Query
) -> None:
    wrong: list[Any] = [
        b"nonsense",
        {"event_id": "x"},
        orders((0, "1")),
        orders((1, "-1")),
        orders((1, "1e999999")),
        orders((1, "1"), account="U9"),
    ]
    assert [push(app, "/pubsub/orders-processed", one) for one in wrong] == [204] * 6
    assert push(app, "/pubsub/jobs", {"event_type": "unheard_of"}) == 204
    ask(app)
    [event] = published.data("ibkr-jobs")
    assert push(app, "/pubsub/dead", event) == 204
    assert query("select state, last_error from ibkr.jobs") == [{"state": "failed", "last_error": "dead_letter"}]
    kept = query("select source, reason from ibkr.quarantine order by source, reason")
    assert [(row["source"], row["reason"]) for row in kept] == [
        ("dead", "dead_letter"),
        ("jobs", "bad_message"),
        ("orders-processed", "account_not_allowed"),
        *[("orders-processed", "bad_message")] * 5,
    ]


def test_a_refused_row_is_accepted_by_name_once(app: FlaskClient, query: Query) -> None:
    push(app, "/pubsub/orders-processed", b"nonsense")
    [row] = app.get("/api/v1/quarantine", headers=token(PERSON)).get_json()["items"]
    path = f"/api/v1/quarantine/{row['quarantine_id']}/accept"
    assert app.post(path, json={}, headers=token(PERSON)).get_json()["reason"] == "reason_invalid"
    told = app.post(path, json={"reason": "a test of theirs"}, headers=token(PERSON))
    assert (told.status_code, told.get_json()["decided_by"], told.get_json()["decision"]) == (200, PERSON, "a test of theirs")
    again = app.post(path, json={"reason": "another"}, headers=token(CALLER)).get_json()
    assert again == told.get_json()
    assert app.get("/api/v1/quarantine", headers=token(PERSON)).get_json() == {"items": []}


def test_a_gateway_that_is_away_costs_attempts_and_is_told_after_five(
    app: FlaskClient, gateway: TwsFake, published: Topics, query: Query, tmp_path: Path
) -> None:
    gateway.turn(error_code=321)
    ask(app)
    for minutes in range(0, 100, 16):
        at(tmp_path / "clock.json", minutes)
        tick(app)
    assert query("select state, attempts from ibkr.jobs") == [{"state": "failed", "attempts": 5}]
    assert query("select distinct state from ibkr.sync_runs") == [{"state": "failed"}]
    told = [json.loads(one) for one in published.data("events")]
    assert {(one["event_type"], one["data"]["account"]) for one in told} == {("sync_failed", ACCOUNT)}
    assert [one["data"]["error_class"] for one in told] == ["cursor_stalled", "gateway_request_failed"]


def test_two_runs_at_once_store_everything_once(app: FlaskClient, query: Query) -> None:
    for days in (1, 2):
        body = {"job_type": "trades.sync", "payload": {"lookback_days": days, "client_id": 20 + days}}
        assert app.post("/api/v1/jobs", json=body, headers=token(PERSON)).status_code == 202
    module = app.application.view_functions  # the routes are served by threads of one process
    assert module
    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(lambda _: tick(app)["worked"], range(2))) == 2
    assert trades(query) == [(1400000001, 100, None, "unknown")]
    assert query("select distinct state from ibkr.jobs") == [{"state": "succeeded"}]


def test_the_job_works_what_waits_and_ends(function_app: FunctionApps, env: dict[str, str], query: Query) -> None:
    app = function_app("execution_sync", env)
    ask(app)
    ask(app, "positions.sync")
    module = function_app.modules["execution_sync"]
    tick(app)  # the settings of a process are read by its first request
    ask(app)
    module.work_off()
    assert query("select state, count(*) as n from ibkr.jobs group by 1") == [{"state": "succeeded", "n": 3}]


def test_a_schedule_of_something_not_configured_is_no_trouble(app: FlaskClient) -> None:
    due = {"X-CloudScheduler-ScheduleTime": NOW.isoformat()}
    told = ask(app, "flex.request", **due)
    assert (told.status_code, told.get_json()["reason"]) == (200, "invalid_payload")
    assert ask(app, "flex.request").status_code == 400
