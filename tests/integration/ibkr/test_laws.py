"""Laws 1 and 2 on Postgres: any order and any split into runs ends alike; trades and book always equal the canonical rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fillbook.ibkr.columns import execution_of
from fillbook.ibkr.fills import _ECONOMIC, fill_of, is_told, source_id
from fillbook.ibkr.model import Row
from fillbook.ibkr.parents import resolve
from fillbook.ledger import audit
from tests.support.ibkr import FIRST
from tests.support.ibkr_histories import commissions, days
from tests.support.ibkr_world import Query, Socket, Statement, World


def tell(world: World, rows: list[Row]) -> None:
    """Rows of one run, each by the door it came through; cancels and statement rows in one document."""
    flexed = [row for row in rows if getattr(row, "source", None) is None or getattr(row, "source", None) != "tws"]
    flexed = [row for row in flexed if not hasattr(row, "broker_realized_pnl")]
    socketed = [row for row in rows if row not in flexed]
    if socketed:
        world.sync(Socket(socketed))
    if flexed:
        world.imported(Statement(flexed, size=3, source=flexed[0].source.CONFIRMATION))  # type: ignore[union-attr]


def check_trades_and_book(world: World, query: Query) -> None:
    """Law 2, and the ledger's own audit."""
    rows = query("select to_jsonb(e) - 'raw' as r from ibkr.trade_executions e where account_id = 1")
    executions = [execution_of(row["r"]) for row in rows]
    resolution = resolve(FIRST, executions)
    stored = {str(trade["trade_id"]): trade for trade in world.trades()}
    assert set(stored) == {trade.trade_id for trade in resolution.trades}
    for trade in resolution.trades:
        kept = stored[trade.trade_id]
        for name in ("total_quantity", "total_value", "avg_price", "commission", "status", "execution_count", "canonical_count"):
            assert kept[name] == getattr(trade, name), name
        # keys of trades that were emptied into this one lead here too
        assert set(kept["keys"]) >= set(trade.keys)
    expected = {source_id(one.slot): fill_of(FIRST, one, match_kind=None, now=world.now) for one in executions if is_told(one)}
    booked = {name: fill for name, fill in world.fills().items() if not fill["is_bust"]}
    assert set(booked) == set(expected)
    for name, fill in expected.items():
        for column in _ECONOMIC:
            want: Any = getattr(fill, column)
            assert booked[name][column] == (want if column != "side" else want.value), (name, column)
    result = audit.audit(world.db, FIRST.book_id, world.now)
    assert result.exit == 0, result.findings


# an example is dozens of runs: a failing one is shown as it is, not made smaller
@settings(max_examples=10, phases=[Phase.explicit, Phase.generate])
@given(days(10), st.randoms(use_true_random=False))
def test_any_order_and_any_split_into_runs_ends_alike(
    anew: Callable[[], World], query: Query, rows: list[Row], chance: Any
) -> None:
    told = [*rows, *commissions(rows)]
    serial = anew()
    tell(serial, told)
    check_trades_and_book(serial, query)
    expected = serial.export()
    shuffled = anew()
    mixed = list(rows)
    chance.shuffle(mixed)
    while mixed:
        size = chance.randint(1, len(mixed))
        part, mixed = mixed[:size], mixed[size:]
        tell(shuffled, [*part, *commissions(part)])
        check_trades_and_book(shuffled, query)
    assert shuffled.export() == expected
