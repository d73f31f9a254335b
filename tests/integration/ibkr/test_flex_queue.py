"""Statements through the queue: asked for, fetched, taken in, their positions compared; what the service says instead."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from fillbook.ledger import audit
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from infra.local import flex_book, flex_document
from infra.local.flex import FlexFake
from infra.local.flex_book import TakenBack
from tests.support.ibkr import exec_id, flex_raw
from tests.support.ibkr_flex import DAY, statement
from tests.support.ibkr_queue import QueueDesk
from tests.support.ibkr_world import Query

NOW = datetime(2026, 1, 6, 11, 15, tzinfo=UTC)
BOTH = ("U1234567", "U7654321")
BOOK = "ibkr:U1234567"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def fake(clock: FixedClock) -> Iterator[FlexFake]:
    with FlexFake(clock=clock, accounts=BOTH) as served:
        yield served


@pytest.fixture
def queue(worker: Database, query: Query, fake: FlexFake, clock: FixedClock) -> QueueDesk:
    return QueueDesk(worker, query, fake, clock)


def held(quantity: str, mark: str = "11.25", account: str = "U1234567", **texts: str) -> dict[str, str]:
    return flex_document.position(account, "AAPL", 265598, quantity, "10.5", mark, **texts)


def both(rows: list[dict[str, str]], positions: list[dict[str, str]], day: date = DAY) -> bytes:
    """An activity statement of both accounts, all rows in the part of the first."""
    parts = [
        flex_document.statement(
            rows if code == BOTH[0] else [],
            account=code,
            days=(day, day),
            generated_at=datetime(day.year, day.month, day.day + 1, 6, tzinfo=UTC),
            positions=positions if code == BOTH[0] else [],
        )
        for code in BOTH
    ]
    return b"".join(flex_document.response(*parts))


def results(query: Query) -> list[dict[str, Any]]:
    told = "select counts->'results' as r from ibkr.sync_runs where kind = 'positions' and source = 'flex' order by started_at"
    rows = query(told)
    return [row["r"] for row in rows]


def test_a_request_is_followed_to_a_booked_compared_and_marked_account(queue: QueueDesk, query: Query) -> None:
    queue.fake.serve("7", both([flex_raw(exec_id(1), "60"), flex_raw(exec_id(2), "-20", transactionID="9")], [held("140")]))
    queue.ask()
    assert queue.work_all() == ["flex.request succeeded", "flex.fetch succeeded"]
    assert queue.calls() == ["send", "fetch"]
    runs = query("select kind, state, source from ibkr.sync_runs order by kind")
    assert [tuple(row.values()) for row in runs] == [("executions", "complete", "flex"), ("positions", "complete", "flex")]
    assert results(query) == [{"U1234567": "matched", "U7654321": "matched"}]
    fills = query(
        "select reason, signed from (select reason, case side when 'BUY' then quantity else -quantity end as signed, executed_at "
        "from ledger.fills where book_id = :book) f order by executed_at, signed",
        book=BOOK,
    )
    assert [(row["reason"], row["signed"]) for row in fills] == [
        ("opening_balance", 100),
        ("broker_execution", -20),
        ("broker_execution", 60),
    ]
    [mark] = query("select instrument_id, price, source, as_of from ledger.v_marks where book_id = :book", book=BOOK)
    assert (mark["instrument_id"], mark["price"], mark["source"]) == ("ibkr:265598", Decimal("11.25"), "flex")
    assert mark["as_of"] == datetime(2026, 1, 6, 5, tzinfo=UTC), "the end of the statement's last day, in New York"
    assert query("select count(*) as n from ledger.v_breaks where resolved_at is null") == [{"n": 0}]
    assert audit.audit(queue.db, BOOK, queue.clock.now()).exit == 0


def test_the_same_statement_asked_for_anew_books_nothing_twice(queue: QueueDesk, query: Query) -> None:
    queue.fake.serve("7", both([flex_raw(exec_id(1), "60")], [held("60")]))
    queue.ask()
    queue.work_all()
    before = query("select fill_id, xmin::text as x from ledger.fills order by fill_id")
    queue.later(hours=3)
    queue.ask()
    assert queue.work_all() == ["flex.request succeeded", "flex.fetch succeeded"]
    assert query("select fill_id, xmin::text as x from ledger.fills order by fill_id") == before
    assert results(query) == [{"U1234567": "matched", "U7654321": "matched"}] * 2


def test_a_position_the_book_does_not_know_is_a_break(queue: QueueDesk, query: Query) -> None:
    queue.fake.serve("7", both([flex_raw(exec_id(1), "60")], [held("60")]))
    queue.ask()
    queue.work_all()
    queue.later(days=1)
    queue.fake.serve("7", both([], [held("75", "12")], day=date(2026, 1, 6)))
    queue.ask()
    queue.work_all()
    [gap] = query("select kind, instrument, cause from ledger.v_breaks where resolved_at is null")
    assert (gap["kind"], gap["instrument"]) == ("position_quantity", "ibkr:265598")
    assert [row["price"] for row in query("select price from ledger.marks order by marked_at")] == [Decimal("11.25"), 12]


def test_a_flat_account_is_opened_by_its_statement_and_an_emptied_one_not_at_once_believed(
    queue: QueueDesk, query: Query
) -> None:
    queue.fake.serve("7", both([flex_raw(exec_id(1), "60"), flex_raw(exec_id(2), "-60", transactionID="9")], []))
    queue.ask()
    queue.work_all()
    assert results(query) == [{"U1234567": "matched", "U7654321": "matched"}]
    assert query("select count(*) as n from ledger.fills where book_id = :book", book=BOOK) == [{"n": 2}]
    told = []
    for day, rows in ((6, [flex_raw(exec_id(3), "5", dateTime="20260106;103000", tradeDate="20260106")]), (7, []), (8, [])):
        queue.later(days=1)
        queue.fake.serve("7", both(rows, [], day=date(2026, 1, day)))
        queue.ask()
        queue.work_all()
        told.append(results(query)[-1]["U1234567"])
    assert told == ["inconclusive", "breaks", "breaks"]
    [gap] = query("select kind from ledger.v_breaks where resolved_at is null")
    assert gap["kind"] == "missing_at_broker"


def test_a_query_without_the_section_of_positions_says_nothing_about_them(queue: QueueDesk, query: Query) -> None:
    body = both([flex_raw(exec_id(1), "60")], []).replace(b"<OpenPositions>\n</OpenPositions>\n", b"")
    assert b"OpenPositions" not in body
    queue.fake.serve("7", body)
    queue.ask()
    queue.work_all()
    assert results(query) == []
    assert query("select count(*) as n from ibkr.trade_executions") == [{"n": 1}]
    assert query("select count(*) as n from ledger.fills") == [{"n": 0}], "stored and shown, not booked before the opening"


def test_a_window_that_cannot_be_made_is_halved_and_both_halves_are_taken_in(queue: QueueDesk, query: Query) -> None:
    queue.fake.fault("code", step="send", code=1001, count=3)
    job = queue.ask(kind="statement", from_date="2026-01-01", to_date="2026-01-05")
    told = queue.work_all()
    assert told.count("flex.fetch succeeded") == 2
    assert queue.state(job)[:2] == ("succeeded", 1), "the service's patience costs no attempt"
    days = query(
        "select covered_from, covered_to from ibkr.sync_coverage c join ibkr.sync_runs r on r.id = c.run_id "
        "where r.kind = 'executions' and c.account_id = 1 order by covered_from"
    )
    assert [(row["covered_from"].day, row["covered_to"].day) for row in days] == [(1, 4), (4, 6)]
    assert {row["state"] for row in query("select state from ibkr.flex_requests")} == {"fetched"}
    assert queue.told() == []


def test_scenario_38_patience_is_had_without_an_attempt_and_nobody_hears_of_it(queue: QueueDesk) -> None:
    queue.fake.fault("code", step="fetch", code=1019, count=3)
    queue.ask()
    assert queue.work_all() == ["flex.request succeeded", *["flex.fetch queued"] * 3, "flex.fetch succeeded"]
    fetches = queue.query("select attempts, deferrals from ibkr.jobs where job_type = 'flex.fetch'")
    assert fetches == [{"attempts": 1, "deferrals": 3}]
    assert queue.told() == []


def test_scenario_38_too_many_requests_hold_back_every_job_of_the_token(queue: QueueDesk) -> None:
    queue.fake.fault("code", step="send", code=1018)
    first = queue.ask()
    assert queue.work() == "flex.request queued"
    second = queue.ask(kind="confirmation")
    assert queue.work() == "flex.request queued"
    assert (queue.calls(), queue.state(second)[3]) == (["send"], "flex_token_paused")
    assert queue.work_all().count("flex.request succeeded") == 2
    assert (queue.state(first)[0], queue.clock.now() > NOW, queue.told()) == ("succeeded", True, [])


def test_scenario_38_a_lock_out_is_told_once_and_its_end_too(queue: QueueDesk) -> None:
    queue.fake.fault("code", step="fetch", code=1025)
    queue.ask()
    assert [queue.work(), queue.work()] == ["flex.request succeeded", "flex.fetch queued"]
    assert queue.told() == [("sync_failed", code, "flex_locked_out") for code in BOTH]
    calls, at = len(queue.calls()), queue.clock.now()
    queue.ask(kind="confirmation")
    assert queue.work() == "flex.request queued"
    assert len(queue.calls()) == calls
    assert "flex.fetch succeeded" in queue.work_all()
    assert (queue.clock.now() - at).total_seconds() >= 45 * 60
    assert queue.told() == [
        *[("sync_failed", code, "flex_locked_out") for code in BOTH],
        *[("sync_recovered", code, None) for code in BOTH],
    ]


@pytest.mark.parametrize("code", [1012, 1013, 1015])
def test_scenario_38_an_unusable_token_is_told_and_another_one_ends_it(queue: QueueDesk, code: int) -> None:
    queue.fake.fault("code", step="send", code=code)
    failed = queue.ask()
    assert queue.work_all() == ["flex.request failed"]
    assert queue.state(failed)[3] == "flex_token_disabled"
    queue.later(hours=12)
    queue.ask()
    assert queue.work_all() == ["flex.request failed"]
    assert queue.calls() == ["send"], "a disabled token is not used"
    queue.token = "123123123123123123123123"
    queue.fake.set_token(queue.token)
    queue.ask()
    assert queue.work_all() == ["flex.request succeeded", "flex.fetch succeeded"]
    told = queue.told()
    assert told[:2] == [("sync_failed", one, "flex_token_disabled") for one in BOTH]
    assert told[-2:] == [("sync_recovered", one, None) for one in BOTH]


def test_what_the_contract_does_not_know_is_tried_five_times_and_told(queue: QueueDesk, query: Query) -> None:
    queue.fake.fault("html", step="fetch", count=None)
    queue.ask()
    assert queue.work_all() == ["flex.request succeeded", *["flex.fetch queued"] * 4, "flex.fetch failed"]
    assert queue.told() == [("sync_failed", code, "flex_not_xml") for code in BOTH]
    assert query("select count(*) as n from ibkr.execution_payloads") == [{"n": 0}]
    queue.fake.faults.rules.clear()
    queue.ask()
    queue.work_all()
    assert queue.told()[-2:] == [("sync_recovered", code, None) for code in BOTH]


def test_what_was_missed_for_two_years_is_asked_for_a_year_at_a_time(queue: QueueDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.local.flex_book.TRADED", ())  # what was held is told as well; only the spans are looked at
    queue.ask()
    queue.work_all()
    queue.later(days=800)
    queue.ask()
    queue.work_all()
    sent = [(one["query"]["fd"], one["query"]["td"]) for one in queue.fake.requests() if one["step"] == "send"][1:]
    days = sorted((date.fromisoformat(first), date.fromisoformat(last)) for first, last in sent)
    assert len(days) == 3
    assert days[0][0] <= date(2026, 1, 4), "an overlap of two days"
    assert days[-1][1] == date(2028, 3, 15)
    assert all((last - first).days < 365 for first, last in days)
    assert all((second[0] - first[1]).days == 1 for first, second in pairwise(days))


@pytest.mark.parametrize("are_confirmed", [False, True], ids=["told by the statement alone", "confirmed the day before"])
def test_what_the_broker_takes_back_leaves_the_book_and_what_it_books_again_counts_once(
    queue: QueueDesk, query: Query, *, are_confirmed: bool
) -> None:
    rows = [row for row, _ in flex_book.executions(BOTH[0], DAY)]
    busted, again = (rows[0]["ibExecID"], rows[2]["ibExecID"]), rows[5]
    price = Decimal(again["tradePrice"]) + Decimal("0.03")
    taken_back = [TakenBack(exec_id=name, at=NOW) for name in busted]
    taken_back.append(TakenBack(exec_id=again["ibExecID"], at=NOW, price=str(price)))
    if are_confirmed:
        queue.fake.serve("8", flex_book.confirmations(BOTH, (DAY, DAY), NOW + timedelta(hours=1), taken_back))
        queue.ask(kind="confirmation")
    else:
        queue.ask()
    queue.work_all()
    queue.fake.take_back(taken_back)
    queue.later(hours=3)
    queue.ask()
    assert queue.work_all() == ["flex.request succeeded", "flex.fetch succeeded"]
    states = {row["id"]: row["state"] for row in query("select ib_exec_id as id, state from ibkr.trade_executions")}
    assert {name for name, state in states.items() if state == "voided"} == set(busted)
    booked = query(
        """select meta ->> 'ib_exec_id' as id, quantity, price from ledger.v_actions
            where book_id = :book and reason = 'broker_execution' and session_date = :day""",
        book=BOOK,
        day=DAY,
    )
    expected = {row["ibExecID"]: Decimal(row["tradePrice"]) for row in rows if row["ibExecID"] not in busted}
    assert {row["id"]: row["price"] for row in booked} == expected | {again["ibExecID"]: price}
    assert len(booked) == len(expected)
    assert query("select kind, subject from ibkr.anomalies where closed_at is null") == []
    assert query("select state from ibkr.broker_events where state <> 'applied'") == []
    assert results(query)[-1] == {"U1234567": "matched", "U7654321": "matched"}
    assert audit.audit(queue.db, BOOK, queue.clock.now()).exit == 0


def test_confirmations_ask_for_today_and_move_no_settled_day(queue: QueueDesk, query: Query) -> None:
    raw = flex_raw("", dateTime="20260106;053000", tradeDate="20260106", tradeID="77") | {"execID": exec_id(1), "price": "10.5"}
    for name in ("ibExecID", "tradePrice", "notes", "transactionID"):
        del raw[name]
    today = date(2026, 1, 6)
    queue.fake.serve("8", statement([raw], kind="TCF", days=(today, today), row_name="TradeConfirm"))
    queue.ask(kind="confirmation")
    assert queue.work_all() == ["flex.request succeeded", "flex.fetch succeeded"]
    assert queue.fake.requests()[0]["query"] == {"q": "8", "fd": "20260106", "td": "20260106", "v": "3"}
    assert query("select sources from ibkr.trade_executions") == [{"sources": ["confirmation"]}]
    assert query("select count(*) as n from ibkr.sync_runs where kind = 'positions'") == [{"n": 0}]
    assert query("select count(*) as n from ibkr.sync_coverage where settles_to is not null") == [{"n": 0}]
