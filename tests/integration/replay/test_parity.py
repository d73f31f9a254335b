"""Parity: a day as live decided it, decided again from what live saw, is identical; whatever was altered since is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from fillbook.replay import parity
from fillbook.replay.model import Cause, Comparison, RunStatus
from fillbook.replay.service import Limits
from fillbook.runtime.clock import monotonic
from fillbook.runtime.db import Database
from fillbook.signal.profile import load
from fillbook.signal.receipt import instant
from tests.support.receipts import MINUTE_MS
from tests.support.replay_desk import DAY, LATER, OPENS, ReplayDesk, walk
from tests.support.signal_live import LiveDesk

TICKERS = [f"ZZT{letter}" for letter in "ABCDEFGHIJKLMN"]
DAY_MS = 24 * 60 * MINUTE_MS
FRIDAY = DAY - timedelta(days=3)
Query = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def live(db: Database, query: Query) -> LiveDesk:
    """A live book of two days: positions carried over, caps reached, receipts late, stale and in conflict, a profile changed."""
    desk = LiveDesk(db, query)
    for document in walk(5, TICKERS[:5], range(3), start=OPENS - 3 * DAY_MS):
        desk.take(document)
    morning = walk(6, TICKERS, (0, 1, 2, 15, 17))
    for number, document in enumerate(morning):
        desk.take(document)
        if number % 9 == 4:
            other = document | {"price": document["price"] + 1}
            assert desk.take(other).result == "conflict"
            assert desk.take(document | {"ts": document["ts"] - 1}).result == "late"
    assert desk.take(walk(7, TICKERS[:1], [20])[0], age_seconds=901).result == "stale"
    afternoon = desk.with_strategy(profile=load("tt-2026-02-12"))
    for document in [*walk(8, TICKERS[:6], (180, 181)), *walk(9, TICKERS[:2], [420])]:
        afternoon.take(document)
    return desk


def check(desk: ReplayDesk, day: date | None = DAY, **changes: Any) -> tuple[Comparison, ...]:
    given: dict[str, Any] = {"limits": Limits(), "deadline": monotonic() + 60} | changes
    return parity.check_parity(desk.desk, day, given.pop("now", LATER), **given)


# Scenario 25
def test_a_day_of_every_kind_of_receipt_caps_and_two_profiles_is_identical(
    live: LiveDesk, desk: ReplayDesk, query: Query
) -> None:
    refused = {
        rule for row in query("select blocks from signal.decisions") for rule in (block["rule"] for block in row["blocks"])
    }
    assert refused & {"L1", "L2", "L3"}  # caps were reached
    assert {row["profile"] for row in query("select profile from signal.decisions")} == {"tt-2026-02", "tt-2026-02-12"}
    [found] = check(desk)
    assert found.divergences == ()
    assert found.identical
    assert found.totals_a == found.totals_b
    assert found.totals_a.decided == len(
        query("select from signal.decisions where book_id = 'live' and ts >= :t", t=instant(OPENS))
    )
    assert found.positions["equal"] > 5
    [row] = query("select kind::text as kind, status::text as status from replay.run_records")
    assert row == {"kind": "parity", "status": RunStatus.DONE}
    assert check(desk)[0].identical  # asked again, nothing is run twice
    assert live.count("replay.run_records") == 1


# Scenario 26
def test_an_altered_quantity_is_one_divergence_and_an_error(
    live: LiveDesk, desk: ReplayDesk, query: Query, capsys: pytest.CaptureFixture[str]
) -> None:
    [altered] = query(
        "update ledger.execution_actions set quantity = quantity / 2, value = value / 2"
        " where (book_id, action_id) = (select book_id, action_id from ledger.execution_actions"
        " where book_id = 'live' and action_type = 'ENTRY' and executed_at > :t order by executed_at, action_id limit 1)"
        " returning ticker, executed_at",
        t=instant(OPENS),
    )
    capsys.readouterr()
    [found] = check(desk)
    [one] = found.divergences
    assert (one.ticker, one.field, one.cause) == (altered["ticker"], "quantity", Cause.CODE)
    assert one.ts == (altered["executed_at"] - instant(0)) // timedelta(milliseconds=1) - MINUTE_MS
    [line] = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "parity_broken" in line]
    assert line["severity"] == "ERROR"
    assert (line["divergent"], line["first_ticker"], line["first_field"]) == (1, altered["ticker"], "quantity")


def test_a_day_that_is_not_over_is_checked_as_far_as_it_is_settled_and_finished_with_the_next(
    live: LiveDesk, desk: ReplayDesk, query: Query
) -> None:
    at_noon = instant(OPENS + 206 * MINUTE_MS)
    [found] = check(desk, None, now=at_noon)
    assert found.identical
    decided = found.totals_a.decided
    [row] = query("select status::text as status, date_from from replay.run_records")
    assert row == {"status": "paused", "date_from": DAY}
    before, after = check(desk, None, now=at_noon + timedelta(days=1))
    assert before.identical
    assert before.totals_a.decided == decided + 2  # the receipts after the close
    assert after.totals_a.decided == 0


def test_other_code_begins_the_run_anew_and_a_deadline_leaves_it_to_the_next_call(live: LiveDesk, desk: ReplayDesk) -> None:
    check(desk)
    assert check(desk.with_code("code 2"))[0].identical
    assert live.count("replay.run_records") == 1


def test_a_holiday_has_nothing_to_compare(desk: ReplayDesk) -> None:
    assert check(desk, None, now=instant(OPENS - DAY_MS)) == ()
