"""What the ledger is told of deals: every column, every cause, nothing twice, nothing that cannot be known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from fillbook.ledger.ids import fill_id
from fillbook.ledger.model import Fill, LotPick
from fillbook.mt5.fills import Terms, fill_ids, telling, wanted, wanted_of_pair
from fillbook.mt5.model import Deal, PairedTrade
from fillbook.mt5.reconciling import marks, stated_cash, statement
from fillbook.mt5.words import TradeSide
from tests.support.ledger import MemoryWorld, make_book
from tests.support.mt5_deals import NOW, Desk, at, deal, derived, facts, shown, terms, utc

IN = deal(1, 5, "buy", "in", 1, "1.10", commission="-3.5", magic=42)
OUT = deal(2, 5, "sell", "out", 1, "1.12", 10, profit=2000, swap="-1.2", fee="-0.1")
TURN = deal(3, 5, "sell", "inout", 3, "1.2", 20, profit=10000, commission="-3", fee="-0.3")
NETTING = terms(hedging=False)
YEN = terms(facts("USDJPY", 100_000, "JPY"))


def fills_of(*deals: Deal, account: Terms | None = None) -> Sequence[Fill]:
    return wanted(account or terms(), derived(deals).episodes).fills


def known(*fills: Fill) -> dict[str, Fill]:
    return {fill.fill_id: fill for fill in fills}


def test_an_opening_says_what_the_deal_says():
    [fill] = fills_of(IN)
    assert (fill.source, fill.account_key, fill.source_id, fill.source_revision) == ("mt5", "Broker-Live:7001", "1", 1)
    assert (fill.instrument, fill.ticker, fill.contract_name) == ("mt5:Broker-Live:EURUSD", "EURUSD", "EURUSD")
    assert (fill.side, fill.position_effect, fill.direction) == ("BUY", "open", "LONG")
    assert (fill.quantity, fill.price, fill.multiplier, fill.currency) == (1, Decimal("1.10"), 100_000, "USD")
    assert (fill.fees, fill.fees_currency, fill.fees_rate, fill.fx_rate, fill.cash_style) == (
        Decimal("3.5"),
        "USD",
        1,
        1,
        "margin",
    )
    assert (fill.lot_ref, fill.lot_picks) == ("5", None)
    assert (fill.executed_at, fill.venue_order, fill.session_date.isoformat()) == (
        utc(at(0)),
        "00000000000000000001.1",
        "2026-02-02",
    )
    assert fill.meta == {"position_id": "5", "episode": 1, "order": "100001", "magic": "42", "reason": 0}
    assert (fill.origin, fill.cause, fill.reason) == ("live", "first", "broker_execution")


def test_a_close_picks_the_lots_of_its_position_in_hedging_and_none_in_netting():
    close = fills_of(IN, OUT)[1]
    assert (close.side, close.position_effect, close.direction, close.lot_ref) == ("SELL", "close", "LONG", None)
    assert close.lot_picks == (LotPick(lot="5", quantity=Decimal(1)),)
    assert close.fees == Decimal("1.3")
    netted = fills_of(IN, OUT, account=NETTING)
    assert [(fill.lot_ref, fill.lot_picks) for fill in netted] == [(None, None)] * 2


def test_a_reversal_is_two_fills_that_share_its_volume_and_costs():
    _, close, opened = fills_of(IN, TURN, account=NETTING)
    assert [(fill.source_id, fill.position_effect, fill.quantity, fill.fees) for fill in (close, opened)] == [
        ("3", "close", 1, Decimal("1.1")),
        ("3#2", "open", 2, Decimal("2.2")),
    ]
    assert (close.venue_order[-2:], opened.venue_order[-2:]) == (".1", ".2")
    assert (close.direction, opened.direction, opened.side, opened.meta["episode"]) == ("LONG", "SHORT", "SELL", 2)


def test_a_reversal_whose_running_volume_is_unknown_is_held_and_told_when_it_is():
    desk = Desk(NETTING)
    desk.poll([TURN])
    assert desk.held == {(5, 1), (5, 2)}
    assert desk.world.actions == []
    desk.poll([IN])
    assert desk.held == set()
    assert [version.action.action_type for version in desk.world.actions] == ["ENTRY", "EXIT", "ENTRY"]


def test_a_close_without_its_entry_is_parked_and_booked_when_the_entry_comes():
    desk = Desk()
    desk.poll([OUT])
    assert [reason for _, reason in desk.world.parked.values()] == ["nothing_to_close"]
    desk.poll([IN])
    assert desk.world.parked == {}
    assert [version.action.realized_pnl for version in desk.world.actions] == [None, Decimal("1995.2")]


def test_a_reversal_split_anew_by_a_late_opening_is_a_correction():
    desk = Desk(NETTING)
    desk.poll([IN, TURN])
    desk.poll([deal(2, 5, "buy", "in", 1, "1.1", 5)])
    expected = Desk(NETTING)
    expected.poll([IN, deal(2, 5, "buy", "in", 1, "1.1", 5), TURN])
    assert desk.world.state_hash == expected.world.state_hash
    assert [desk.known[identity].source_revision for identity in fill_ids(desk.terms, [3])] == [2, 2]


# --- costs and revisions ----------------------------------------------------------------------------------------------


def test_a_later_cost_is_a_new_revision_of_the_last_fill_before_it():
    late = deal(9, 5, "buy", "in", 0, 0, 900, commission="-2")
    opened, closed = fills_of(IN, OUT, late)
    assert (opened.source_revision, opened.fees) == (1, Decimal("3.5"))
    assert (closed.source_revision, closed.fees, closed.cause) == (2, Decimal("3.3"), "commission")
    before = fills_of(IN, OUT)
    [told] = telling((opened, closed), known(*before))
    assert (told.source_id, told.source_revision, told.cause) == ("2", 2, "commission")


def test_costs_arriving_in_any_order_and_a_late_fill_between_end_in_one_book():
    late = [deal(9, 5, "buy", "in", 0, 0, 900, commission="-2"), deal(10, 5, "buy", "in", 0, 0, 950, swap="-1")]
    first, second = Desk(), Desk()
    first.poll([IN, OUT, *late])
    for one in (late[1], IN, late[0], OUT):
        second.poll([one])
    assert first.world.state_hash == second.world.state_hash
    assert first.trades == second.trades


def test_money_on_an_opening_is_a_cost_of_it():
    [fill] = fills_of(replace(IN, profit=Decimal(-2)))
    assert fill.fees == Decimal("5.5")


def test_a_changed_deal_is_a_revision_and_equal_content_is_not_told():
    fills = fills_of(IN, OUT)
    assert telling(fills, known(*fills)) == ()
    changed = fills_of(IN, replace(OUT, price=Decimal("1.13")))
    [told] = telling(changed, known(*fills))
    assert (told.source_revision, told.cause, told.price) == (2, "revision", Decimal("1.13"))


def test_what_no_longer_counts_is_busted_and_may_come_back():
    fills = fills_of(IN, OUT)
    [bust] = telling(fills[:1], known(*fills), {"2": 3})
    assert (bust.source_id, bust.is_bust, bust.cause, bust.source_revision, bust.quantity) == ("2", True, "bust", 3, 1)
    assert telling(fills[:1], known(fills[0], bust)) == ()
    [again] = telling(fills, known(fills[0], bust))
    assert (again.source_id, again.is_bust, again.source_revision) == ("2", False, 4)


def test_a_deal_cancelled_by_the_broker_leaves_the_book():
    desk = Desk()
    desk.poll([IN, OUT])
    desk.poll([replace(OUT, deal_type=14, profit=Decimal(0), swap=Decimal(0), fee=Decimal(0))])
    assert [version.action.action_type for version in desk.world.actions] == ["ENTRY"]
    assert desk.trades[0].open_volume == 1


def test_another_episode_number_alone_is_told():
    [fill] = fills_of(IN)
    moved = replace(fill, meta={**fill.meta, "episode": 2})
    [told] = telling([moved], known(fill))
    assert (told.source_revision, told.meta["episode"]) == (2, 2)


# --- money ------------------------------------------------------------------------------------------------------------


def test_of_an_unknown_symbol_money_is_unknown_and_later_enriched():
    unknown = terms(facts("OTHER"))
    fills = fills_of(IN, OUT, account=unknown)
    assert [(fill.multiplier, fill.currency, fill.fx_rate) for fill in fills] == [(None, "XXX", None)] * 2
    told = telling(fills_of(IN, OUT), known(*fills))
    assert [(fill.source_revision, fill.multiplier, fill.currency) for fill in told] == [(1, 100_000, "USD")] * 2
    world = MemoryWorld(make_book("mt5:Broker-Live:7001", "SPECIFIC", "hedge"))
    world.deliver(fills)
    assert {outcome.status for outcome in world.deliver(told)} == {"enriched"}
    assert world.positions[0].realized_pnl == Decimal("1995.2")


@pytest.mark.parametrize(("size", "currency"), [(None, "USD"), (100_000, None)])
def test_half_known_symbols_are_unknown(size, currency):
    [fill] = fills_of(IN, account=terms(facts("EURUSD", size, currency)))
    assert (fill.multiplier, fill.currency) == (None, "XXX")


def test_the_rate_of_a_foreign_close_comes_from_its_own_profit():
    opened = deal(1, 5, "sell", "in", 1, "150", symbol="USDJPY")
    closed = deal(2, 5, "buy", "out", 1, "149", 10, symbol="USDJPY", profit="670.15")
    fills = fills_of(opened, closed, account=YEN)
    assert [fill.fx_rate for fill in fills] == [None, Decimal("0.0067015")]
    desk = Desk(YEN)
    desk.poll([opened, closed])
    assert desk.world.actions[1].action.realized_pnl_base == Decimal("670.15")


def test_a_foreign_close_where_it_was_opened_has_a_result_without_a_rate():
    desk = Desk(YEN)
    desk.poll(
        [
            deal(1, 5, "sell", "in", 1, "150", symbol="USDJPY", commission="-3"),
            deal(2, 5, "buy", "out", 1, "150", 10, symbol="USDJPY", swap="-1.5"),
        ]
    )
    action = desk.world.actions[1].action
    assert (action.realized_pnl_base, action.realized_pnl) == (Decimal("-4.5"), None)


@pytest.mark.parametrize(("price", "profit"), [("150", "0"), ("149", "0"), ("149", "-5"), ("149.999", "99999999999999")])
def test_a_close_that_implies_no_rate_has_none(price, profit):
    deals = [
        deal(1, 5, "sell", "in", "0.01", "150", symbol="USDJPY"),
        deal(2, 5, "buy", "out", "0.01", price, 10, symbol="USDJPY", profit=profit),
    ]
    rate = fills_of(*deals, account=YEN)[1].fx_rate
    assert rate is None or profit == "99999999999999"


def test_the_implied_rate_goes_by_the_brokers_running_average():
    deals = [
        deal(1, 5, "buy", "in", 1, "150", symbol="USDJPY"),
        deal(2, 5, "sell", "out", "0.5", "151", 10, symbol="USDJPY", profit="333"),
        deal(3, 5, "buy", "in", "1.5", "154", 20, symbol="USDJPY"),
        deal(4, 5, "sell", "out", 2, "155", 30, symbol="USDJPY", profit="2680"),
    ]
    rates = [fill.fx_rate for fill in fills_of(*deals, account=replace(YEN, is_hedging=False))]
    # the average is (0.5 x 150 + 1.5 x 154) / 2 = 153, so the last close gained 2 x 2 x 100,000 yen
    assert rates == [None, Decimal("0.00666"), None, Decimal("0.0067")]


def test_without_the_entry_no_rate_is_implied():
    [close] = fills_of(deal(2, 5, "buy", "out", 1, "149", symbol="USDJPY", profit=670), account=YEN)
    assert (close.fx_rate, close.multiplier) == (None, 100_000)


def test_a_deal_first_read_more_than_three_days_late_is_history():
    [old] = fills_of(replace(IN, time_msc=at(0) - 4 * 86_400_000))
    assert (old.origin, old.received_at - old.executed_at > timedelta(days=3), old.received_at) == ("history", True, NOW)


def test_a_paired_trade_is_an_open_and_a_close_with_the_costs():
    pair = PairedTrade(
        ticket=77,
        symbol="EURUSD",
        side=TradeSide.SELL,
        volume=Decimal(1),
        open_price=Decimal("1.2"),
        close_price=Decimal("1.1"),
        open_msc=at(0),
        close_msc=at(0),
        profit=Decimal(10_000),
        swap=Decimal(-1),
        commission=Decimal(-3),
    )
    opened, closed = wanted_of_pair(terms(), pair, utc, NOW).fills
    assert [(fill.source_id, fill.side, fill.position_effect, fill.fees) for fill in (opened, closed)] == [
        ("77#2", "SELL", "open", 0),
        ("77", "BUY", "close", 4),
    ]
    world = MemoryWorld(make_book("mt5:Broker-Live:7001", "SPECIFIC", "hedge"))
    world.deliver([closed, opened])
    assert world.positions[0].realized_pnl == 9_996


def test_ids_are_asked_for_under_both_names_of_a_deal():
    assert fill_ids(terms(), [3]) == (fill_id("mt5", "Broker-Live:7001", "3"), fill_id("mt5", "Broker-Live:7001", "3#2"))


# --- marks and statements ---------------------------------------------------------------------------------------------


def test_one_mark_per_instrument_with_bid_and_ask_from_its_sides():
    seen = [
        shown(1, "buy", 1, price_current=Decimal("1.1000")),
        shown(2, "sell", 1, price_current=Decimal("1.1002")),
        shown(3, "sell", 1, symbol="XAUUSD", price_current=Decimal(4000)),
        shown(4, "buy", 1, symbol="NONE", price_current=None),
    ]
    eur, gold = marks("Broker-Live", seen, NOW)
    assert (eur.price, eur.bid, eur.ask) == (Decimal("1.1001"), Decimal("1.1000"), Decimal("1.1002"))
    assert (gold.instrument, gold.price, gold.bid, gold.ask, gold.source) == ("mt5:Broker-Live:XAUUSD", 4000, None, 4000, "mt5")


def test_a_statement_lists_direction_and_average_price_in_hedging_and_neither_in_netting():
    seen = [shown(1, "buy", 1, "1.10"), shown(2, "buy", 3, "1.14"), shown(3, "sell", 2, "1.2")]
    hedged = statement(terms(), "mt5:Broker-Live:7001", seen, NOW, complete=True)
    assert [(line.direction, line.quantity, line.average_price, line.currency) for line in hedged.positions] == [
        ("LONG", 4, Decimal("1.13"), "USD"),
        ("SHORT", -2, Decimal("1.2"), "USD"),
    ]
    [line] = statement(NETTING, "mt5:Broker-Live:7001", seen[2:], NOW, complete=True).positions
    assert (line.direction, line.quantity, line.average_price) == (None, -2, None)


def test_cash_is_stated_only_where_every_instrument_is_of_the_accounts_currency():
    both = terms(facts("EURUSD"), facts("USDJPY", 1, "JPY"))
    given = (Decimal(900), Decimal(500), Decimal(100), Decimal(-20))
    assert stated_cash(both, ["EURUSD", "USDJPY"], *given) is None
    assert stated_cash(both, ["EURUSD", "UNKNOWN"], *given) is None
    cash = stated_cash(both, ["EURUSD"], *given)
    assert cash is not None
    assert (cash.start, cash.other_movements, cash.end) == (520, 100, 900)
