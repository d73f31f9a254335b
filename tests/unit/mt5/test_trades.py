"""From deals to trades, line by line: what the laws' healthy accounts do not show."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from fillbook.mt5.model import PairedTrade, Trade
from fillbook.mt5.trades import Derived, Urgency, derive, paired_trade, to_read
from fillbook.mt5.words import IdentityQuality, TradeSide, TradeStatus
from tests.support.mt5_deals import ACCOUNT, START_MSC, at, cash, deal, derived, shown, stored, utc, view

IN = deal(1, 5, "buy", "in", 1, "1.10", commission="-3.5")
PART = deal(2, 5, "sell", "out", "0.4", "1.12", 10, profit=80, reason=4)
REST = deal(3, 5, "sell", "out", "0.6", "1.11", 20, profit=60, reason=5)


def only(found: Derived) -> Trade:
    [row] = found.trades
    return row


def test_an_open_trade_is_worth_what_the_snapshot_says_and_costs_what_the_deals_say():
    row = only(derived([IN], seen=view(5, shown(5, "buy", 1, profit=Decimal("12.5"), swap=Decimal(-1), stop_loss=Decimal(1)))))
    assert (row.profit, row.swap, row.commission, row.net_pnl) == (Decimal("12.5"), -1, Decimal("-3.5"), Decimal("-3.5"))
    assert (row.status, row.stop_loss, row.current_price, row.snapshot_msc) == ("open", 1, Decimal("1.2"), at(5))


def test_before_any_snapshot_an_open_trade_has_no_profit():
    row = only(derived([IN]))
    assert (row.status, row.profit, row.swap, row.realized_profit) == ("open", None, None, 0)


def test_a_closed_trade_has_the_time_and_reason_of_its_last_exit_and_keeps_the_stops_last_seen():
    opened = derived([IN], seen=view(5, shown(5, "buy", 1, stop_loss=Decimal("1.05"), ticket=77)))
    row = only(derived([REST, PART, IN], opened.trades))
    assert (row.status, row.close_time, row.close_reason) == ("closed", utc(at(20)), 5)
    assert (row.ticket, row.stop_loss, row.current_price, row.pending_polls) == (77, Decimal("1.05"), None, 0)


def test_a_snapshot_of_the_moment_of_the_last_deal_changes_nothing():
    before = derived([IN], seen=view(5, shown(5, "buy", 1)))
    found = derived([IN, PART], before.trades, view(10, shown(5, "buy", 1, profit=Decimal(99))))
    assert (only(found).open_volume, only(found).profit, found.agrees) == (Decimal("0.6"), 1, None)


def test_a_snapshot_older_than_one_already_taken_changes_nothing():
    before = derived([IN], seen=view(9, shown(5, "buy", 1)))
    assert derived([IN], before.trades, view(7)).trades == before.trades
    assert derived([IN], before.trades, view(7, shown(5, "buy", 1, profit=Decimal(7)))).trades == before.trades


def test_scenario_23_a_snapshot_older_than_the_closing_deal_leaves_the_row_closed():
    row = only(derived([IN, PART, REST]))
    found = derived([IN, PART, REST], [row], view(19, shown(5, "buy", "0.6")))
    assert (found.trades, found.gap, found.reading) == ((row,), None, None)


def test_a_later_snapshot_of_another_volume_opens_a_gap_and_wants_the_whole_life():
    found = derived([IN, PART], seen=view(30, shown(5, "buy", "0.5")))
    assert (only(found).status, only(found).open_volume) == ("open", Decimal("0.6"))
    assert (found.gap and (found.gap.from_msc, found.gap.to_msc), found.agrees) == ((at(10), at(30)), False)
    assert found.reading is Urgency.NOW


def test_deals_decide_a_balanced_position_is_closed_whatever_a_snapshot_shows():
    found = derived([IN, PART, REST], seen=view(30, shown(5, "buy", "0.6")))
    assert (only(found).status, found.agrees, found.reading) == ("closed", False, Urgency.NOW)


def test_a_snapshot_of_the_other_side_means_that_a_reversal_is_not_read_yet():
    before = derived([IN], seen=view(5, shown(5, "buy", 1)))
    found = derived([IN], before.trades, view(9, shown(5, "sell", 2, profit=Decimal(-50))))
    assert (only(found).side, only(found).status, only(found).profit) == ("buy", "open", 1)
    assert (found.agrees, found.reading) == (False, Urgency.NOW)


def test_absence_counts_polls_reads_at_three_and_calls_a_person_once_at_twelve():
    rows = derived([IN], seen=view(1, shown(5, "buy", 1))).trades
    told = []
    for poll in range(1, 15):
        found = derived([IN], rows, view(10 + poll))
        rows = found.trades
        told.append((only(found).pending_polls, found.reading, found.is_stale))
    assert [polls for polls, _, _ in told] == list(range(1, 15))
    assert [reading for _, reading, _ in told] == [None] * 2 + [Urgency.PENDING] * 12
    assert [polls for polls, _, is_stale in told if is_stale] == [12]


def test_the_same_cached_answer_is_not_another_poll():
    pending = derived([IN], seen=view(10))
    again = derived([IN], pending.trades, view(10))
    assert (only(again).pending_polls, again.trades) == (1, pending.trades)


def test_a_position_that_is_back_is_open_again():
    pending = derived([IN], seen=view(10))
    row = only(derived([IN], pending.trades, view(20, shown(5, "buy", 1))))
    assert (row.status, row.pending_polls) == ("open", 0)


def test_a_failed_positions_step_leaves_pending_pending_and_a_newer_deal_ends_it():
    pending = derived([IN], seen=view(5))
    assert derived([IN], pending.trades).trades == pending.trades
    row = only(derived([IN, PART], pending.trades))
    assert (row.status, row.pending_polls, row.open_volume) == ("open", 0, Decimal("0.6"))


def test_a_position_without_deals_is_a_row_of_the_snapshot_until_they_come():
    found = derived([], seen=view(5, shown(5, "buy", "0.7", "1.09", second=-60)), position=5)
    row = only(found)
    assert (row.identity_quality, row.volume, row.open_price, row.open_time) == (
        "snapshot",
        Decimal("0.7"),
        Decimal("1.09"),
        utc(at(-60)),
    )
    assert (row.commission, row.net_pnl, found.reading) == (None, None, Urgency.NOW)
    again = derived([], found.trades, view(6, shown(5, "buy", "0.7", "1.09", second=-60)), position=5)
    assert again.reading is Urgency.AGAIN
    after = only(derived([deal(1, 5, "buy", "in", "0.7", "1.095", -60)], again.trades, view(7, shown(5, "buy", "0.7"))))
    assert (after.identity_quality, after.id, after.open_price) == (IdentityQuality.DEALS, row.id, Decimal("1.095"))


def test_a_row_of_the_snapshot_is_never_closed_by_absence():
    rows = derived([], seen=view(5, shown(5, "buy", 1)), position=5).trades
    for poll in range(14):
        found = derived([], rows, view(6 + poll), position=5)
        rows = found.trades
    assert (only(found).status, only(found).pending_polls, found.reading) == ("close_pending", 14, Urgency.PENDING)


# --- entries that are missing -----------------------------------------------------------------------------------------


def test_an_exit_without_entry_copies_nothing_from_it():
    row = only(derived([PART]))
    assert (row.status, row.side, row.volume, row.open_volume) == ("closed", "buy", Decimal("0.4"), 0)
    assert (row.open_price, row.open_time, row.entry_complete, row.close_price) == (None, None, False, Decimal("1.12"))


def test_an_exit_without_entry_is_open_while_a_later_snapshot_shows_the_rest():
    found = derived([PART], seen=view(30, shown(5, "buy", "0.6")))
    row = only(found)
    assert (row.status, row.volume, row.open_volume, found.agrees) == ("open", 1, Decimal("0.6"), True)
    partly = only(derived([PART, deal(3, 5, "sell", "out", "0.1", "1.1", 40)], [row]))
    assert (partly.status, partly.volume, partly.open_volume) == ("open", 1, Decimal("0.5"))
    whole = only(derived([PART, REST], [row]))
    assert (whole.status, whole.volume, whole.open_volume) == ("closed", 1, 0)


def test_what_a_snapshot_showed_before_the_first_deal_is_remembered():
    before = derived([], seen=view(5, shown(5, "buy", 1)), position=5)
    row = only(derived([PART], before.trades))
    assert (row.status, row.volume, row.open_volume) == ("open", 1, Decimal("0.6"))
    same_run = only(derived([PART], (), view(5, shown(5, "buy", 1))))
    assert (same_run.status, same_run.volume, same_run.open_volume) == ("open", 1, Decimal("0.6"))


def test_what_was_shown_and_is_gone_without_an_exit_is_pending_not_closed():
    before = derived([PART], seen=view(30, shown(5, "buy", "0.6")))
    row = only(derived([PART], before.trades, view(40)))
    assert (row.status, row.open_volume) == ("close_pending", Decimal("0.6"))


def test_a_closed_row_without_entry_is_not_reopened_by_an_older_snapshot():
    row = only(derived([PART, REST]))
    assert derived([PART, REST], [row], view(20, shown(5, "buy", 9))).trades == (row,)
    assert derived([PART, REST], [row], view(15, shown(5, "buy", 9))).trades == (row,)


def test_what_must_have_been_opened_is_never_less_than_what_was_closed():
    deals = [PART, deal(3, 5, "buy", "in", "0.2", "1.1", 20), deal(4, 5, "sell", "out", "0.8", "1.1", 30)]
    found = derived(deals)
    [life] = found.episodes
    assert (life.missing, life.volume, life.open_volume) == (1, Decimal("1.2"), 0)
    still = derived([PART, deal(3, 5, "buy", "in", "0.2", "1.1", 20)])
    assert (only(still).status, only(still).open_volume, only(still).entry_complete) == ("open", Decimal("0.2"), False)


def test_a_reversal_without_its_entry_is_two_incomplete_rows_until_the_whole_life_is_read():
    turn = deal(9, 5, "sell", "inout", 3, "1.2", 10, profit=-10, commission="-3")
    found = derived([turn])
    assert [(row.side, row.entry_complete) for row in found.trades] == [("buy", False), ("sell", False)]
    assert sum(row.net_pnl or 0 for row in found.trades) == -13
    assert found.reading is Urgency.NOW
    seen = derived([turn], (), view(20, shown(5, "sell", 2)))
    assert (seen.trades[1].open_volume, seen.agrees) == (2, True)
    whole = derived([IN, turn], found.trades)
    assert [(row.volume, row.entry_complete, row.commission) for row in whole.trades] == [
        (1, True, Decimal("-4.5")),
        (2, True, -2),
    ]
    assert [row.id for row in whole.trades] == [row.id for row in found.trades]


def test_an_opening_after_the_end_begins_the_next_life():
    deals = [IN, PART, REST, deal(4, 5, "buy", "in", 2, "1.3", 30)]
    assert [(row.episode, row.status, row.volume) for row in derived(deals).trades] == [(1, "closed", 1), (2, "open", 2)]


def test_a_life_left_open_behind_another_is_pending_and_read():
    found = derived([IN, deal(4, 5, "sell", "in", 2, "1.3", 30)])
    assert [(row.side, row.status) for row in found.trades] == [("buy", TradeStatus.CLOSE_PENDING), ("sell", TradeStatus.OPEN)]
    assert found.reading is Urgency.NOW


# --- costs, cancelled and strange deals -------------------------------------------------------------------------------


def test_a_cost_after_the_close_moves_neither_volume_nor_closing_time():
    row = only(derived([IN, PART, REST, deal(4, 5, 7, "in", 0, 0, 900, profit="-2")]))
    assert (row.status, row.close_time, row.net_pnl, row.last_deal_msc) == ("closed", utc(at(20)), Decimal("134.5"), at(900))


def test_a_cost_before_any_other_deal_belongs_to_the_first_life():
    row = only(derived([deal(4, 5, "buy", "in", 0, 0, -5, commission="-1"), IN]))
    assert (row.volume, row.commission, row.open_time) == (1, Decimal("-4.5"), utc(START_MSC))


def test_a_position_of_which_only_a_cost_is_known_keeps_its_money_and_is_read():
    found = derived([deal(4, 5, "sell", "in", 0, 0, commission="-1")])
    row = only(found)
    assert (row.status, row.volume, row.entry_complete, row.net_pnl, found.reading) == ("closed", 0, False, -1, Urgency.NOW)


@pytest.mark.parametrize("cancelled", [13, 14])
def test_a_cancelled_deal_is_out_of_the_volumes_and_its_money_stays(cancelled):
    row = only(derived([IN, deal(2, 5, cancelled, "in", 3, "1.5", 5, commission="-0.5")]))
    assert (row.volume, row.net_pnl) == (1, -4)
    assert derived([deal(2, 5, cancelled, "in", 3, "1.5")]).trades == ()


def test_rows_of_deals_that_no_longer_count_are_gone():
    before = derived([IN, deal(2, 5, "sell", "inout", 3, "1.5", 5)])
    assert derived([IN], before.trades).gone == (2,)
    assert derive(ACCOUNT, 5, stored(IN, withdrawn=True), before.trades, None, utc, 2).gone == (1, 2)


def test_a_credit_that_names_a_position_is_still_no_trade():
    assert derived([cash(8, 3, 100, position=5)]).trades == ()


# --- other rows -------------------------------------------------------------------------------------------------------


def test_a_paired_trade_is_one_closed_row_of_its_ticket():
    pair = PairedTrade(
        ticket=2975166898,
        symbol="EURUSD.r",
        side=TradeSide.SELL,
        volume=Decimal("0.5"),
        open_price=Decimal("1.2"),
        close_price=Decimal("1.1"),
        open_msc=at(0),
        close_msc=at(60),
        profit=Decimal(5000),
        swap=Decimal(-1),
        commission=Decimal(-3),
    )
    row = paired_trade(ACCOUNT, pair, utc)
    assert (row.position_id, row.episode, row.identity_quality, row.status) == (2975166898, 1, "paired", "closed")
    assert (row.net_pnl, row.fee, row.symbol_norm, row.close_time) == (4996, None, "EURUSD", utc(at(60)))
    assert derive(ACCOUNT, pair.ticket, (), [row], view(90), utc, 2).trades == (row,)


def test_scenario_27_small_prices_and_large_tickets_stay_exact():
    ticket = 9_007_199_254_740_993
    row = only(derived([deal(1, ticket, "buy", "in", 1, "0.00001234"), deal(2, ticket, "sell", "out", 1, "0.00001235", 1)]))
    assert (row.position_id, row.open_price, row.close_price) == (ticket, Decimal("0.00001234"), Decimal("0.00001235"))


def test_the_most_urgent_lives_are_read_first_and_vain_reads_only_again():
    def one(position: int, reading: Urgency | None, polls: int = 0) -> Derived:
        row = only(derived([IN], seen=view(1, shown(5, "buy", 1))))
        return Derived(position_id=position, trades=(replace(row, pending_polls=polls),), reading=reading)

    found = [one(1, Urgency.AGAIN), one(2, None), one(3, Urgency.PENDING, 7), one(4, Urgency.PENDING, 3), one(5, Urgency.NOW)]
    assert to_read(found, 20, again=False) == (5, 4, 3)
    assert to_read(found, 20, again=True) == (5, 4, 3, 1)
    assert to_read(found, 2, again=True) == (5, 4)


def test_costs_of_a_reversal_are_split_by_volume_half_to_even():
    turn = deal(9, 5, "sell", "inout", 2, "1.2", 10, commission="-0.05", fee="-0.15")
    closed, opened = derived([IN, turn]).trades
    assert (closed.fee, opened.fee) == (Decimal("-0.08"), Decimal("-0.07"))
    assert (opened.commission, closed.commission) == (Decimal("-0.03"), Decimal("-3.52"))
    closed, opened = derived([IN, turn], digits=0).trades
    assert (closed.fee, opened.fee) == (0, Decimal("-0.15"))
