"""Positions of the socket against the book: what a difference is put down to, and which answers are believed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fillbook.ibkr.allowlist import AllowList
from fillbook.ibkr.model import PositionRow, Refusal
from fillbook.ibkr.positions import PositionsMetrics, sync_positions_once
from fillbook.ibkr.sources import PositionsSnapshot, Target
from fillbook.ibkr.words import Source
from fillbook.runtime.errors import Unavailable
from tests.support.ibkr import CONFIGS, cancel, exec_id, outcome, tws, tws_raw
from tests.support.ibkr_world import Socket, World

AAPL, MSFT = 265598, 272093


def position(quantity: str, conid: int = AAPL, symbol: str = "AAPL", sec_type: str = "STK") -> PositionRow:
    return PositionRow(
        account_id=1,
        conid=conid,
        symbol=symbol,
        sec_type=sec_type,
        currency="USD",
        quantity=Decimal(quantity),
        average_cost=Decimal("10.5"),
    )


class Positions:
    """A gateway that says what it was given, or raises it."""

    def __init__(self, world: World, rows: Sequence[PositionRow] | Unavailable, **told: Any) -> None:
        self.world, self.rows, self.told = world, rows, told

    def fetch_positions(self, target: Target) -> PositionsSnapshot:
        assert (target.host, target.port, target.client_id) == ("127.0.0.1", 4002, 11)
        if isinstance(self.rows, Unavailable):
            raise self.rows
        given = {"rows": tuple(self.rows), "accounts": (1,), "as_of": self.world.now, "is_end_seen": True}
        return PositionsSnapshot(**(given | self.told))


def asked(
    world: World, *rows: PositionRow, minutes: float = 1, fails: Unavailable | None = None, **told: Any
) -> PositionsMetrics:
    world.now += timedelta(minutes=minutes)
    return sync_positions_once(
        world.db,
        Positions(world, fails or rows, **told),
        host="127.0.0.1",
        port=4002,
        client_id=11,
        connect_timeout_seconds=10,
        now=world.now,
    )


def breaks(world: World) -> dict[str, tuple[str, str | None]]:
    """Open breaks by instrument: kind and cause."""
    rows = world.query("select instrument, kind, cause from ledger.v_breaks where resolved_at is null order by instrument")
    return {row["instrument"]: (row["kind"], row["cause"]) for row in rows}


def refused(number: int) -> Refusal:
    row = outcome(tws_raw(exec_id(number), time="20260106  10:30:00"), Source.TWS, allowed=AllowList.of(CONFIGS))
    assert isinstance(row, Refusal)
    return row


def test_what_agrees_is_matched_and_kept_as_it_was_told(world: World) -> None:
    world.socket(tws(exec_id(1)))
    told = asked(world, position("100"))
    assert (told.state, told.results, told.complete) == ("complete", {"U1234567": "matched"}, (1,))
    [row] = world.query("select conid, quantity, average_cost, as_of from ibkr.broker_positions")
    assert tuple(row.values()) == (AAPL, 100, Decimal("10.5"), world.now)
    assert world.query("select count(*) as n from ledger.marks") == [{"n": 0}], "position frames carry no price"
    assert breaks(world) == {}


def test_executions_that_do_not_reach_the_snapshot_are_the_first_suspect(world: World) -> None:
    world.statement(cancel("-40", transactionID="6", origTransactionID="5"))
    world.socket(tws(exec_id(1)))
    assert asked(world, position("120"), minutes=4.9).results == {"U1234567": "breaks"}
    assert breaks(world)["ibkr:265598"] == ("position_quantity", "open_anomaly"), "five minutes are near enough"
    asked(world, position("120"), minutes=0.2)
    assert breaks(world)["ibkr:265598"] == ("position_quantity", "executions_pending")
    world.socket(tws(exec_id(1)))
    asked(world, position("120"))
    assert breaks(world)["ibkr:265598"] == ("position_quantity", "open_anomaly")


def test_a_partial_run_reaches_nothing(world: World) -> None:
    world.sync(Socket([tws(exec_id(1))], is_end_seen=False, error_class="gateway_lost"))
    asked(world, position("120"))
    assert breaks(world)["ibkr:265598"] == ("position_quantity", "executions_pending")


def test_something_open_about_one_instrument_is_put_down_to_that_one_only(world: World) -> None:
    other = {"conId": str(MSFT), "symbol": "MSFT", "localSymbol": "MSFT", "permId": "1400000002"}
    mismatched = tws(exec_id(1, 2), "SLD", "30")
    world.socket(tws(exec_id(1)), mismatched, tws(exec_id(2), **other))
    assert world.anomalies()[0][0] == "revision_mismatch"
    asked(world, position("100"), position("90", MSFT, "MSFT"))
    assert breaks(world) == {
        "ibkr:265598": ("position_quantity", "open_anomaly"),
        "ibkr:272093": ("position_quantity", breaks(world)["ibkr:272093"][1]),
    }
    assert breaks(world)["ibkr:272093"][1] not in ("open_anomaly", "executions_pending", "quarantined_row", "before_history")


def test_a_row_that_could_not_be_read_may_be_any_instruments_until_it_is_decided(world: World) -> None:
    world.sync(Socket([tws(exec_id(1))], [refused(2)]))
    world.socket(tws(exec_id(1)))
    asked(world, position("120"), position("5", MSFT, "MSFT"))
    assert breaks(world) == {
        "ibkr:265598": ("position_quantity", "quarantined_row"),
        "ibkr:272093": ("missing_in_book", "quarantined_row"),
    }
    world.query("update ibkr.quarantine set state = 'accepted', decided_by = 'a person', decided_at = now() returning id")
    asked(world, position("120"), position("5", MSFT, "MSFT"))
    assert breaks(world)["ibkr:272093"] == ("missing_in_book", "before_history")
    assert breaks(world)["ibkr:265598"][1] != "quarantined_row"


def test_a_row_of_an_account_that_is_not_ours_explains_nothing(world: World) -> None:
    foreign = outcome(tws_raw(exec_id(9), acctNumber="U9"), Source.TWS, allowed=AllowList.of(CONFIGS))
    assert isinstance(foreign, Refusal)
    world.sync(Socket([tws(exec_id(1))], [foreign]))
    asked(world, position("120"))
    assert breaks(world)["ibkr:265598"][1] not in ("executions_pending", "quarantined_row")


def test_a_holding_without_any_execution_is_older_than_our_history(world: World) -> None:
    world.socket(tws(exec_id(1)))
    asked(world, position("100"), position("5", MSFT, "MSFT"))
    assert breaks(world) == {"ibkr:272093": ("missing_in_book", "before_history")}


def test_currencies_are_not_compared(world: World) -> None:
    pair = {"conId": "12087792", "symbol": "EUR", "localSymbol": "EUR.USD", "secType": "CASH", "permId": "1400000003"}
    world.socket(tws(exec_id(1)), tws(exec_id(2), **pair))
    assert asked(world, position("100")).results == {"U1234567": "matched"}
    assert asked(world, position("100"), position("7", 12087792, "EUR.USD", "CASH")).results == {"U1234567": "matched"}


@pytest.mark.parametrize("told", [{"is_end_seen": False}, {"is_end_seen": False, "error_class": "gateway_lost"}])
def test_no_end_is_no_answer_whatever_came_before(world: World, told: dict[str, Any]) -> None:
    world.socket(tws(exec_id(1)))
    for _ in range(3):
        partial = asked(world, **told)
        assert (partial.state, partial.results, partial.complete) == ("partial", {"U1234567": "inconclusive"}, ())
    assert breaks(world) == {}


def test_an_empty_answer_is_believed_when_a_minute_later_another_says_the_same(world: World) -> None:
    world.socket(tws(exec_id(1)))
    assert asked(world).results == {"U1234567": "inconclusive"}
    assert asked(world, minutes=0.9).results == {"U1234567": "inconclusive"}
    assert breaks(world) == {}
    assert asked(world, minutes=0.1).results == {"U1234567": "breaks"}
    assert breaks(world)["ibkr:265598"][0] == "missing_at_broker"


def test_an_answer_that_is_not_empty_begins_the_minute_anew(world: World) -> None:
    world.socket(tws(exec_id(1)))
    asked(world)
    assert asked(world, position("100")).results == {"U1234567": "matched"}
    assert asked(world).results == {"U1234567": "inconclusive"}


def test_an_empty_answer_from_before_an_execution_proves_nothing_about_what_it_left(world: World) -> None:
    assert asked(world).results == {"U1234567": "matched"}, "nothing is held, nothing is said"
    moment = f"{world.now + timedelta(minutes=1):%Y%m%d-%H:%M:%S}"
    world.now += timedelta(minutes=2)
    world.socket(tws(exec_id(1), time=moment))
    assert asked(world).results == {"U1234567": "inconclusive"}
    assert asked(world).results == {"U1234567": "breaks"}


def test_a_gateway_that_is_away_leaves_a_failed_run(world: World) -> None:
    with pytest.raises(Unavailable):
        asked(world, fails=Unavailable("gateway_refused", "port"))
    [run] = world.query("select kind, state, error_class from ibkr.sync_runs")
    assert tuple(run.values()) == ("positions", "failed", "gateway_refused")
    assert world.query("select count(*) as n from ledger.v_reconciliations") == [{"n": 0}]


def test_a_position_nobody_can_read_makes_the_answer_incomplete(world: World) -> None:
    world.socket(tws(exec_id(1)))
    bad = Refusal(source="tws", account_code="U1234567", reason=refused(1).reason, detail="position", raw='["61"]')
    told = asked(world, position("100"), refusals=(bad,))
    assert (told.state, told.results, told.quarantined_rows_count) == ("partial", {"U1234567": "inconclusive"}, 1)
