"""What comes late: rows read well at last, socket rows of settled days, executions older than the opening balance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from fillbook.ibkr.accounts import configure_accounts
from fillbook.ibkr.allowlist import AllowList
from fillbook.ibkr.model import PositionRow, Refusal, Row
from fillbook.ibkr.openings import book_opening_once
from fillbook.ibkr.words import Source
from fillbook.ledger import audit
from tests.support.ibkr import CONFIGS, FIRST, SECOND, cancel, cancel_raw, exec_id, flex, flex_raw, outcome, tws, tws_raw
from tests.support.ibkr_world import NOW, Socket, Statement, World

NEXT_DAY = date(2026, 1, 6)
ONLY_SECOND = AllowList.of(CONFIGS[1:])


def refused(raw: dict[str, str], source: Source, allowed: AllowList = ONLY_SECOND) -> Refusal:
    row = outcome(raw, source, allowed=allowed)
    assert isinstance(row, Refusal), row
    return row


def quarantine(world: World) -> list[tuple[str, str]]:
    rows = world.query("select reason, state from ibkr.v_quarantine order by reason, state")
    return [(row["reason"], row["state"]) for row in rows]


@pytest.mark.parametrize("source", [Source.STATEMENT, Source.CONFIRMATION])
def test_rows_of_an_account_that_is_let_in_later_leave_the_quarantine_when_they_are_read(world: World, source: Source) -> None:
    told = [flex_raw(exec_id(1), transactionID="5"), cancel_raw("-100", transactionID="6", origTransactionID="5")]
    configure_accounts(world.db, CONFIGS[1:], world.now)
    world.imported(Statement([], [refused(raw, source) for raw in told], source=source))
    assert quarantine(world) == [("account_not_allowed", "open")] * 2
    configure_accounts(world.db, CONFIGS, world.now)
    rows: list[Row] = [row for row in (outcome(raw, source) for raw in told) if not isinstance(row, Refusal)]
    world.statement(*rows, source=source)
    assert quarantine(world) == [("account_not_allowed", "resolved")] * 2
    assert world.states() == {exec_id(1): "voided"}


def test_a_bare_time_that_may_be_read_later_leaves_the_quarantine_and_its_neighbour_stays(world: World) -> None:
    raw, other = tws_raw(exec_id(1), time="20260105  10:30:00"), tws_raw(exec_id(2), shares="-1")
    world.sync(Socket([], [refused(one, Source.TWS, AllowList.of(CONFIGS)) for one in (raw, other)]))
    row = outcome(raw | {"bareTimeZone": "America/New_York"}, Source.TWS)
    assert not isinstance(row, Refusal)
    assert world.sync(Socket([row])).inserted_executions_count == 1
    assert [state for reason, state in quarantine(world) if reason == "time_without_zone"] == ["resolved"]


def test_an_accepted_row_stays_accepted(world: World) -> None:
    raw = tws_raw(exec_id(1), time="20260105  10:30:00")
    world.sync(Socket([], [refused(raw, Source.TWS, AllowList.of(CONFIGS))]))
    world.query("update ibkr.quarantine set state = 'accepted', decided_by = 'a person', decided_at = now() returning id")
    row = outcome(raw | {"bareTimeZone": "America/New_York"}, Source.TWS)
    assert not isinstance(row, Refusal)
    world.sync(Socket([row]))
    assert quarantine(world) == [("time_without_zone", "accepted")]


def test_a_socket_row_of_a_settled_day_is_not_settled_whichever_came_first(world: World) -> None:
    world.statement(flex(exec_id(1)))
    world.socket(tws(exec_id(1)), tws(exec_id(2)), tws(exec_id(3), time="20260106 15:30:00 UTC"))
    assert world.anomalies() == [("not_settled", exec_id(2))]
    world.statement(flex(exec_id(2)))
    assert world.anomalies() == []


def test_days_of_a_partial_statement_or_of_confirmations_settle_nothing(world: World) -> None:
    bad = refused(flex_raw(exec_id(9), "0"), Source.STATEMENT, AllowList.of(CONFIGS))
    world.imported(Statement([flex(exec_id(1))], [bad]))
    world.imported(Statement([flex(exec_id(1), source=Source.CONFIRMATION)], source=Source.CONFIRMATION))
    world.socket(tws(exec_id(2)))
    assert world.anomalies() == []


def position(quantity: str) -> PositionRow:
    return PositionRow(
        account_id=1,
        conid=265598,
        symbol="AAPL",
        sec_type="STK",
        currency="USD",
        quantity=Decimal(quantity),
        average_cost=Decimal("9.5"),
    )


def open_quantity(world: World) -> Decimal:
    (row,) = world.query("select quantity_open from ledger.positions where instrument = 'ibkr:265598' and status = 'OPEN'")
    assert audit.audit(world.db, FIRST.book_id, world.now).exit == 0
    return Decimal(row["quantity_open"])


def test_what_was_executed_before_the_opening_balance_is_kept_and_shown_and_never_booked_on_top(
    make_world: Callable[..., World],
) -> None:
    world = make_world(opened=False)
    world.statement(flex(exec_id(1), "60", dateTime="20260106;103000", tradeDate="20260106"), days=(NEXT_DAY, NEXT_DAY))
    book_opening_once(world.db, FIRST, [position("160")], as_of=NOW, run_id=None, now=world.now)
    assert open_quantity(world) == 160
    older = flex(exec_id(2), "40", transactionID="5")
    between = flex(exec_id(4), "5", dateTime="20260106;110000", tradeDate="20260106")
    currency = flex(exec_id(5), "9", assetCategory="CASH", conid="12087792", symbol="EUR.USD")
    world.statement(older, between, currency, flex(exec_id(3), "7", dateTime="20260106;170000", tradeDate="20260106"))
    assert world.anomalies() == [("before_opening", exec_id(2)), ("before_opening", exec_id(4))]
    assert sorted(world.states()) == [exec_id(n) for n in (1, 2, 3, 4, 5)]
    assert sorted(world.fills()) == [f"{exec_id(n).rpartition('.')[0]}#0" for n in (1, 3, 5)]
    assert open_quantity(world) == 167
    world.statement(flex(exec_id(1), "50", seen=90, dateTime="20260106;103000", tradeDate="20260106"))
    assert open_quantity(world) == 157
    world.statement(cancel("-40", transactionID="6", origTransactionID="5"))
    assert world.anomalies() == [("before_opening", exec_id(4))]
    assert open_quantity(world) == 157


def test_an_account_declared_flat_begins_where_it_was_declared(make_world: Callable[..., World]) -> None:
    world = make_world(opened=False)
    book_opening_once(world.db, replace(SECOND), [], as_of=NOW, run_id=None, now=world.now)
    world.socket(tws(exec_id(1), acctNumber="U7654321"))
    assert world.anomalies() == [("before_opening", exec_id(1))]
    assert world.fills("U7654321") == {}
