"""Live caught up after an outage: what is refused, and that forty minutes decided later are those of an undisturbed day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from fillbook.replay import catchup, runs
from fillbook.replay.asked import asked
from fillbook.replay.catchup import Target, catch_up, plan
from fillbook.replay.service import Limits
from fillbook.runtime.errors import Conflict, Rejected
from fillbook.signal.receipt import instant
from infra.database.roles import login_role_statement
from tests.support.receipts import MINUTE_MS
from tests.support.replay_desk import OPENS, ReplayDesk, book_rows, walk
from tests.support.signal_live import LiveDesk

ENABLED = Target(is_enabled=True, secret=b"of this test")
TEXT = "REPLAY 2026-02-02 INTO live"
GROUPS = ("signal_reader", "ledger_reader", "replay_reader", "replay_writer", "replay_catch_up")
Call = Callable[..., Any]


@pytest.fixture
def desk(open_database: Any, query: Any, db: Any) -> ReplayDesk:
    """A desk whose login may write live rows as well: only where the target is enabled."""
    query(login_role_statement("replay_worker_live", GROUPS))
    return ReplayDesk(open_database("replay_worker_live", pool_size=2), query, db)


@pytest.fixture
def live(open_database: Any, query: Any) -> LiveDesk:
    return LiveDesk(open_database("signal_worker", pool_size=2), query)


def call(desk: ReplayDesk, target: Target = ENABLED, **params: Any) -> Any:
    given = {"date": "2026-02-02", "target": "live", "scriptVersion": "*"} | params
    wanted = asked({}, given, desk.now)
    if wanted.dry_run:
        return plan(desk.desk, wanted, target, desk.now)
    return catch_up(desk.desk, wanted, target, created_by="tests", now=desk.now, limits=Limits(), deadline=1e12)


def refusal(desk: ReplayDesk, target: Target = ENABLED, **params: Any) -> tuple[str, int]:
    with pytest.raises((Rejected, Conflict)) as caught:
        call(desk, target, **params)
    return caught.value.reason, getattr(caught.value, "status", 409)


def test_scenario_29_each_condition_refuses_by_its_name(desk: ReplayDesk, live: LiveDesk) -> None:
    assert refusal(desk, Target(is_enabled=False, secret=b"x")) == ("live_target_disabled", 403)
    assert refusal(desk, cleanSlate="1") == ("live_never_purged", 400)
    assert refusal(desk, confirm="REPLAY 2026-02-03 INTO live") == ("confirm", 400)
    assert refusal(desk, confirm=TEXT) == ("dry_run_first", 409)
    planned = call(desk, dryRun="1")
    assert refusal(desk, confirm=TEXT, plan=planned["planToken"] + "0") == ("dry_run_first", 409)
    assert refusal(desk, confirm="REPLAY 2026-02-02 ZZTA INTO live", ticker="ZZTA", plan=planned["planToken"]) == (
        "dry_run_first",
        409,
    )
    desk.now += timedelta(minutes=15, seconds=1)
    assert refusal(desk, confirm=TEXT, plan=planned["planToken"]) == ("dry_run_first", 409)
    desk.now = instant(OPENS + 300 * MINUTE_MS)
    assert refusal(desk, confirm=TEXT) == ("live_busy", 409)
    live.send()
    desk.now = live.state()["updated_at"] + timedelta(hours=6)
    planned = call(desk, dryRun="1")
    live.query("update signal.ticker_states set updated_at = :at", at=desk.now - timedelta(minutes=9))
    assert refusal(desk, confirm=TEXT, plan=planned["planToken"]) == ("live_busy", 409)


def test_scenario_29_forty_stale_minutes_are_decided_as_on_an_undisturbed_day_and_told_to_nobody_one_by_one(
    desk: ReplayDesk, live: LiveDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catchup, "PAGE_ROWS", 30)  # three pages
    day = walk(11, ["ZZTA", "ZZTB"], range(60))
    for document in day:
        is_late = document["ts"] >= OPENS + 20 * MINUTE_MS
        assert live.take(document, age_seconds=1_000 if is_late else 1).result == ("stale" if is_late else "decided")
    undisturbed = desk.day(run="undisturbed", after="", limit=500)[-1]
    events = "select event_type, payload::jsonb->'data'->>'origin' as origin from outbox.events order by id"
    told = len(desk.query(events))
    planned = call(desk, dryRun="1")
    assert planned["rows"] == 80
    assert desk.query("select count(*) as n from signal.decisions where book_id = 'live'")[0]["n"] == 40
    answer = call(desk, confirm=planned["confirm"], plan=planned["planToken"])
    assert (answer.rows, answer.has_more, answer.run.status, answer.run.kind) == (80, False, "done", "catch_up")
    assert (answer.run.rows, answer.run.trades_created) == (80, answer.trades_created)
    entries = "select count(*) as n from ledger.v_actions where book_id = 'live' and origin = 'history' and action_type = 'ENTRY'"
    assert answer.trades_created == desk.query(entries)[0]["n"] > 1
    assert book_rows(desk.query, "live") == desk.rows(undisturbed)
    later = desk.query(events)[told:]
    assert later
    assert {row["origin"] for row in later} == {"history"}
    again = call(desk, confirm=planned["confirm"], plan=planned["planToken"])
    assert (again.rows, again.trades_created) == (0, 0)
    with pytest.raises(Conflict, match="run_of_live"):
        runs.pin(desk.desk, answer.run.run_id, pinned=True)
    assert call(desk, dryRun="1")["rows"] == 0
