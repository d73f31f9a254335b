"""Two positions closed against each other: the broker books the result on either side, the book splits it by prices."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from infra.local.mt5_broker import Book
from tests.support.mt5_cases import EDGES, needs_samples, played, samples
from tests.support.mt5_syncing import Syncing


def pair(
    syncing: Syncing, *, symbol: str = "EURUSD", prices: tuple[str, str] = ("1.10000", "1.10500"), rest: str = "0", **how: Any
) -> str:
    """An account that closed a long against a short of 0.60 (the long larger by ``rest``), read when it was done."""
    account = syncing.account()
    syncing.does("a", "deposit", amount="10000.00")
    volumes = {"long": str(Decimal("0.60") + Decimal(rest)), "short": "0.60"}
    for (ref, volume), side, price in zip(volumes.items(), ("buy", "sell"), prices, strict=True):
        syncing.does("a", "open", symbol=symbol, side=side, volume=volume, price=price, ref=ref)
    syncing.does("a", "close_by", position="long", by="short", **how)
    syncing.good(account)
    return account


def net_and_booked(syncing: Syncing, account: str) -> list[tuple[str, Decimal, Decimal | None]]:
    """Side, the broker's result and the book's of each position."""
    rows_found = syncing.query(
        "select t.type, t.net_pnl, sum(x.realized_pnl_base) as booked from mt5.trades t "
        "join mt5.trading_accounts a on a.id = t.account_id "
        "left join ledger.v_actions x on x.book_id = a.book_id and x.meta->>'position_id' = t.position_id::text "
        "where t.account_id = :id::uuid group by t.position_id, t.type, t.net_pnl order by t.position_id",
        id=account,
    )
    return [(row["type"], row["net_pnl"], row["booked"]) for row in rows_found]


@pytest.mark.parametrize("bearer", ["position", "by"])
@pytest.mark.parametrize("rest", ["0", "0.40"])
def test_the_result_may_sit_on_either_side(syncing: Syncing, bearer: str, rest: str) -> None:
    account = pair(syncing, rest=rest, result_on=bearer)
    on_long = bearer == "position"
    told = {"buy": Decimal(300) if on_long else Decimal(0), "sell": Decimal(0) if on_long else Decimal(300)}
    booked = {"buy": Decimal(300), "sell": Decimal(0)}
    assert net_and_booked(syncing, account) == [(side, told[side], booked[side]) for side in ("buy", "sell")]
    assert syncing.differences() == []
    syncing.check_truth(account, "a")


def test_a_price_between_the_two_openings_splits_the_book_and_not_the_pair(syncing: Syncing) -> None:
    account = pair(syncing, price="1.10200", result_on="by")
    assert [booked for *_, booked in net_and_booked(syncing, account)] == [Decimal(120), Decimal(180)]
    assert syncing.differences() == []


def test_what_a_pair_leaves_over_is_a_difference_of_both_sides(syncing: Syncing) -> None:
    account = pair(syncing, result_on="by", profit="299.00")
    found = syncing.differences()
    assert [(row["difference"], row["not_comparable"]) for row in found] == [(Decimal(1), None)] * 2
    assert [row["close_by_moved"] for row in found] == [Decimal(299), Decimal(-300)]
    assert {str(row["account_id"]) for row in found} == {account}


def test_a_difference_of_costs_is_not_taken_for_the_other_sides(syncing: Syncing) -> None:
    account = pair(syncing, result_on="by")
    syncing.query("update mt5.trades set net_pnl = net_pnl - 2 where type = 'buy' returning 1")
    assert [(row["difference"], row["net_pnl"]) for row in syncing.differences()] == [(Decimal(2), Decimal(-2))]
    assert len(syncing.trades(account)) == 2


def test_a_side_whose_rate_nothing_implies_makes_both_incomparable(syncing: Syncing) -> None:
    pair(syncing, symbol="USDJPY", prices=("150.000", "151.000"), result_on="by")
    found = {row["not_comparable"] for row in syncing.differences()}
    assert found == {"money_unknown", "close_by_side_unknown"}


def test_a_foreign_pair_whose_result_sits_where_its_price_moved_is_compared(syncing: Syncing) -> None:
    pair(syncing, symbol="USDJPY", prices=("150.000", "151.000"), result_on="position")
    assert syncing.differences() == []


@needs_samples
@pytest.mark.local_data
def test_scenario_16_the_recorded_close_by_leaves_no_difference(syncing: Syncing) -> None:
    deals = samples(EDGES)["close_by"]["deals"]
    syncing.fake.add_server("Flat", zone_name="UTC", shift_minutes=0)
    account = syncing.account(server="Flat")
    book = syncing.fake.world.account("a").book
    assert isinstance(book, Book)
    played(book, deals)
    syncing.fake.clock.set(book.changes[-1].at + timedelta(minutes=1))
    syncing.good(account)
    rows_found = {
        row["position_id"]: (row["status"], row["open_volume"], row["realized_profit"]) for row in syncing.trades(account)
    }
    assert rows_found == {7001: ("open", Decimal("0.40"), Decimal(300)), 7002: ("closed", Decimal(0), Decimal(0))}
    assert syncing.differences() == []
