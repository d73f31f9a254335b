"""Law 5 against the fake's truth: what is derived from deals is what the operations behind them did, corrections and all.

The fake's broker (``infra/local/mt5_operations.py``) carries operations out, its truth (``infra/local/mt5_truth.py``) tells the
trades from what each operation did. Neither shares anything with ``trades.py``, which sees the deals alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from fillbook.mt5.clocks import ServerClock
from fillbook.mt5.model import Deal, ServerRule, Trade
from fillbook.mt5.revisions import withdraw
from fillbook.mt5.trades import View, derive
from fillbook.mt5.words import CashKind
from infra.local import mt5_fleet, mt5_truth
from infra.local.mt5_broker import Book
from infra.local.mt5_model import EXCHANGE, HEDGING, NETTING, NEW_YORK_PLUS_7, ClockRule, Terms, fixed, symbols
from infra.local.mt5_model import Deal as Told
from infra.local.mt5_truth import TrueTrade
from tests.support.examples import share
from tests.support.mt5_deals import ACCOUNT, NOW, Desk, facts, shown, stored, terms

BEGINS = datetime(2026, 3, 6, 12, 0, tzinfo=UTC)  # the New York clock changes two days later
KNOWN = tuple(facts(one.name, one.contract_size, one.currency_profit) for one in symbols().values())
worlds = given(
    data=st.data(),
    seed=st.integers(0, 2**32),
    mode=st.sampled_from((HEDGING, NETTING, EXCHANGE)),
    steps=st.integers(1, 30),
    corrections=st.integers(0, 4),
)
TEN = Decimal("1e-10")
few = share(5)  # an account is lived, and told several times, in each example


def wandered(seed: int, mode: int, steps: int, corrections: int, clock: ClockRule | None = None) -> Book:
    """An account that did whatever can be done, and of whose deals some were edited, deleted or cancelled since."""
    chance = random.Random(seed)
    book = Book(Terms(margin_mode=mode, commission_per_lot=Decimal("3.5"), clock=clock or fixed(0)))
    mt5_fleet.wander(book, BEGINS, steps, chance)
    for _ in range(corrections):
        at = book.changes[-1].at + timedelta(hours=1)
        kind = chance.choice(("edit_deal", "delete_deal", "cancel_deal"))
        edits = {"profit": str(chance.randint(-100, 100)), "price": "1.5", "swap": "-0.01"} if kind == "edit_deal" else {}
        try:
            book.operate(kind, at, deal=chance.choice(sorted(book.deals)), **edits)
        except (ValueError, IndexError):
            continue  # other deals rest on it, or none is left
    return book


def read(deal: Told) -> Deal:
    """A deal as the adapter reads it."""
    return Deal(
        deal_ticket=deal.ticket,
        order_id=deal.order,
        position_id=deal.position_id,
        time_msc=deal.time_msc,
        deal_type=deal.type,
        entry=deal.entry,
        reason=deal.reason,
        symbol=deal.symbol,
        volume=deal.volume,
        price=deal.price,
        profit=deal.profit,
        commission=deal.commission,
        swap=deal.swap,
        fee=deal.fee,
    )


def last_view(book: Book) -> View:
    """The terminal's positions after everything."""
    at_msc = book.terms.clock.msc(book.changes[-1].at) + 1
    held = [
        shown(
            one.position_id, "buy" if one.side == 0 else "sell", one.volume, one.price_open, ticket=one.ticket, symbol=one.symbol
        )
        for one in book.positions.values()
    ]
    return View.of(at_msc, held)


def agree(rows: Iterable[Trade], book: Book) -> None:
    """Every row says what the operations did, and there is no other row."""
    found = {(row.position_id, row.episode): row for row in rows}
    true = {(one.position_id, one.episode): one for one in mt5_truth.trades(book.changes, book.terms.digits)}
    assert found.keys() == true.keys()
    for key, one in true.items():
        row = found[key]
        assert (row.side.value, row.symbol, row.status.value) == (one.side, one.symbol, one.status)
        assert (row.volume, row.open_volume) == (one.volume, one.open_volume)
        assert (row.commission, row.fee, row.realized_profit, row.realized_swap) == (
            one.commission,
            one.fee,
            one.profit,
            one.swap,
        )
        assert (row.net_pnl, row.entry_complete) == (one.net, True)
        assert row.open_time == one.open_time
        assert row.close_time == (one.close_time if one.status == "closed" else None)
        assert _near(row.open_price, mt5_truth.average(one.opened))
        assert _near(row.close_price, mt5_truth.average(one.closed))
        if _is_last(one, true):
            assert row.open_volume == 0 or row.ticket == one.ticket


def _is_last(one: TrueTrade, others: Iterable[tuple[int, int]]) -> bool:
    return (one.position_id, one.episode + 1) not in others


def _near(found: Decimal | None, told: Decimal | None) -> bool:
    if found is None or told is None:
        return found is None and told is None
    return abs(found - told) <= TEN


@few
@worlds
def test_law_5_any_polls_of_a_broker_that_corrects_itself_end_in_its_truth(
    data: st.DataObject, seed: int, mode: int, steps: int, corrections: int
) -> None:
    book = wandered(seed, mode, steps, corrections)
    desk = Desk(terms(*KNOWN, hedging=mode == HEDGING))
    moments = [change.at for change in book.changes]
    for at in sorted(data.draw(st.lists(st.sampled_from(moments), max_size=4))):
        seen = [read(one) for one in book.state(at).rows]
        desk.poll(data.draw(st.permutations(seen)) if data.draw(st.booleans()) else seen[data.draw(st.integers(0, 5)) :])
    final = {deal.ticket: read(deal) for deal in book.state(moments[-1]).rows}
    desk.poll(final.values())
    desk.take([withdraw(one, NOW) for ticket, one in desk.stored.items() if ticket not in final and not one.withdrawn])
    desk.poll((), last_view(book))
    agree(desk.trades, book)
    told = {one["ticket"]: (one["kind"], Decimal(str(one["amount"]))) for one in mt5_truth.cash(book.changes)}
    assert {ticket: (one.kind.value, one.amount) for ticket, one in desk.operations.items()} == told
    moved = sum(one.amount for one in desk.operations.values() if one.kind is not CashKind.CREDIT)
    assert sum(row.net_pnl or 0 for row in desk.trades) + moved == book.balance


@few
@worlds
def test_law_5_the_truth_is_met_on_a_server_whose_clock_changes(
    data: st.DataObject, seed: int, mode: int, steps: int, corrections: int
) -> None:
    book = wandered(seed, mode, steps, corrections, NEW_YORK_PLUS_7)
    rule = ServerRule(server="x", zone_name=NEW_YORK_PLUS_7.zone_name, shift_minutes=NEW_YORK_PLUS_7.shift_minutes)
    deals = data.draw(st.permutations([read(deal) for deal in book.deals.values()]))
    clock = ServerClock(rule, {deal.deal_ticket: deal.time_msc for deal in deals})
    rows: list[Trade] = []
    for position in sorted({deal.position_id for deal in deals} - {0}):
        of = stored(*(deal for deal in deals if deal.position_id == position))
        rows += derive(ACCOUNT, position, of, (), last_view(book), clock, book.terms.digits).trades
    agree(rows, book)


@few
@given(data=st.data(), seed=st.integers(0, 2**32), steps=st.integers(2, 40))
def test_what_prices_gain_in_the_book_is_what_the_broker_booked_however_it_splits_a_close_by(
    data: st.DataObject, seed: int, steps: int
) -> None:
    """Per order: one close, or both sides of a close-by. Foreign profits have an implied rate and no gain of their own."""
    book = wandered(seed, HEDGING, steps, 0)
    desk = Desk(terms(*KNOWN))
    for part in _cut([read(deal) for deal in book.deals.values()], data):
        desk.poll(part)
    gained: dict[int, Decimal] = {}
    closings: dict[int, int] = {}
    for version in desk.world.actions:
        action = version.action
        if action.closings and action.currency == "USD":
            order = int(action.meta["order"])
            assert action.realized_pnl_gross is not None
            gained[order] = gained.get(order, Decimal(0)) + action.realized_pnl_gross
            closings[order] = closings.get(order, 0) + 1
    booked: dict[int, Decimal] = {}
    for deal in book.deals.values():
        if deal.entry in (1, 3) and deal.volume and symbols()[deal.symbol].currency_profit == "USD":
            booked[deal.order] = booked.get(deal.order, Decimal(0)) + deal.profit
    assert gained.keys() == booked.keys()
    assert all(abs(gained[order] - booked[order]) <= Decimal("0.005") * closings[order] for order in booked)


def _cut(deals: list[Deal], data: st.DataObject) -> Iterable[list[Deal]]:
    order = data.draw(st.permutations(deals))
    cut = data.draw(st.integers(0, len(order)))
    return order[:cut], order[cut:]
