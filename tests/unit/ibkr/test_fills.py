"""What the ledger is told of an execution: every field, every cause, and nothing twice."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fillbook.ibkr.booking import batches
from fillbook.ibkr.fills import Booked, Telling, fill_of, source_id, told
from fillbook.ibkr.model import Execution, Row
from fillbook.ledger.ids import fill_id
from tests.support.ibkr import DAY, FIRST, SECOND, cancel, desk, exec_id, flex, report, tws

NOW = DAY + timedelta(hours=2)


def rows_of(*rows: Row) -> list[Execution]:
    return list(desk(*rows).resolution.executions)


def only(*rows: Row, **options: Any) -> Any:
    [row] = rows_of(*rows)
    return fill_of(options.pop("account", FIRST), row, match_kind=None, now=options.pop("now", NOW), **options)


def tell(before: list[Execution], after: list[Execution], booked: Telling | None = None) -> Telling:
    known: dict[tuple[str, int], Booked] = {} if booked is None else {one.slot: one for one in booked.booked}
    return told(FIRST, before, after, known, {}, NOW)


def test_a_fill_says_what_the_execution_says():
    fill = only(
        flex(
            exec_id(1),
            "-2",
            "0.73",
            assetCategory="OPT",
            multiplier="100",
            symbol="CZR C30",
            underlyingSymbol="CZR",
            transactionID="9",
            openCloseIndicator="C",
            ibCommission="-1.3666",
            taxes="-0.1",
            notes="P",
        )
    )
    assert (fill.source, fill.account_key, fill.source_id) == ("ibkr", "U1234567", "0000e0d5.1.01#0")
    assert (fill.instrument, fill.ticker, fill.contract_name) == ("ibkr:265598", "CZR", "CZR C30")
    assert (fill.side, fill.quantity, fill.price, fill.multiplier) == ("SELL", 2, Decimal("0.73"), 100)
    assert (fill.fees, fill.fees_currency, fill.fees_rate, fill.fx_rate) == (Decimal("1.4666"), "USD", 1, 1)
    assert (fill.position_effect, fill.cash_style, fill.origin, fill.cause) == ("close", "full", "live", "first")
    assert (fill.venue_order, fill.session_date.isoformat()) == ("0000e0d5.1.01", "2026-01-05")
    assert (fill.meta["ib_exec_id"], fill.meta["notes"]) == (exec_id(1), ["P"])


def test_an_opening_is_not_passed_on():
    assert only(flex(exec_id(1), openCloseIndicator="O")).position_effect == "auto"
    assert only(flex(exec_id(1), openCloseIndicator="C;O")).position_effect == "auto"


@pytest.mark.parametrize(
    ("sec_type", "multiplier", "expected"),
    [
        ("STK", "", 1),
        ("CASH", "", 1),
        ("OPT", "", None),
        ("FUT", "", None),
        ("BOND", "1", None),
        ("FUT", "50", 50),
        ("CFD", "", None),
    ],
)
def test_a_blank_contract_size_is_one_only_where_units_are_traded(sec_type, multiplier, expected):
    assert only(flex(exec_id(1), assetCategory=sec_type, multiplier=multiplier)).multiplier == expected


@pytest.mark.parametrize(("sec_type", "style"), [("FUT", "margin"), ("CFD", "margin"), ("CASH", "margin"), ("STK", "full")])
def test_futures_cfds_and_currencies_move_cash_by_margin(sec_type, style):
    assert only(flex(exec_id(1), assetCategory=sec_type)).cash_style == style


def test_fees_stay_in_their_currency_and_are_unknown_until_told():
    assert only(tws(exec_id(1))).fees is None
    foreign = only(tws(exec_id(1)), report(exec_id(1), "2", "CHF"))
    assert (foreign.fees, foreign.fees_currency, foreign.fees_rate) == (2, "CHF", None)
    euro = {"account": SECOND}
    own = only(flex(exec_id(1), fxRateToBase="0.9"), **euro)
    assert (own.fx_rate, own.fees_rate) == (Decimal("0.9"), Decimal("0.9"))
    base = only(flex(exec_id(1), fxRateToBase="0.9", ibCommissionCurrency="EUR"), **euro)
    assert (base.fees_currency, base.fees_rate) == ("EUR", 1)
    assert only(flex(exec_id(1), ibCommissionCurrency="EUR", taxes="-1")).fees is None


def test_what_was_executed_long_before_it_is_recorded_is_history():
    assert only(flex(exec_id(1)), now=DAY + timedelta(days=3)).origin == "live"
    assert only(flex(exec_id(1)), now=DAY + timedelta(days=3, seconds=1)).origin == "history"


def test_digits_beyond_the_ledgers_columns_are_rounded_half_even():
    fill = only(flex(exec_id(1), "0.00000000125", "1.00000000005"))
    assert (fill.quantity, fill.price) == (Decimal("0.0000000012"), Decimal("1.0000000000"))


def test_nothing_is_told_twice():
    rows = rows_of(tws(exec_id(1)))
    first = tell([], rows)
    assert [fill.source_revision for fill in first.fills] == [1]
    assert tell(rows, rows, first) == Telling((), ())


CHANGES = [
    ([tws(exec_id(1))], [tws(exec_id(1)), tws(exec_id(1, 2), "BOT", "60")], "revision"),
    ([flex(exec_id(1), transactionID="5")], [flex(exec_id(1), "100", "11", transactionID="5")], "restatement"),
    ([tws(exec_id(1))], [tws(exec_id(1)), report(exec_id(1))], "commission"),
    ([tws(exec_id(1))], [tws(exec_id(1)), flex(exec_id(1), symbol="AAPL US")], "settled"),
    (
        [flex(exec_id(1), transactionID="5")],
        [
            flex(exec_id(1), transactionID="5"),
            cancel("-100", transactionID="6", origTransactionID="5"),
            flex(exec_id(1), transactionID="7", ibCommission="0"),
        ],
        "rebook",
    ),
]


@pytest.mark.parametrize(("before", "after", "cause"), CHANGES)
def test_a_change_names_its_cause_and_counts_up(before, after, cause):
    stood, stands = rows_of(*before), rows_of(*after)
    [fill] = tell(stood, stands, tell([], stood)).fills
    assert (fill.cause, fill.source_revision, fill.is_bust) == (cause, 2, False)


def test_a_bust_repeats_what_was_booked_and_a_rebook_counts_up():
    stood = rows_of(flex(exec_id(1), transactionID="5"))
    first = tell([], stood)
    gone = [flex(exec_id(1), transactionID="5"), cancel("-100", transactionID="6", origTransactionID="5")]
    bust = tell(stood, rows_of(*gone), first)
    assert [(fill.cause, fill.source_revision, fill.is_bust, fill.quantity) for fill in bust.fills] == [("bust", 1, True, 100)]
    assert tell(rows_of(*gone), rows_of(*gone), bust).fills == ()
    again = tell(rows_of(*gone), rows_of(*gone, flex(exec_id(1), transactionID="7")), bust)
    assert [(fill.cause, fill.source_revision, fill.is_bust) for fill in again.fills] == [("rebook", 2, False)]


def test_a_row_that_was_never_told_is_not_busted():
    gone = [flex(exec_id(1), transactionID="5"), cancel("-100", transactionID="6", origTransactionID="5")]
    assert tell([], rows_of(*gone)).fills == ()


def test_the_summary_of_a_combo_is_never_told():
    bag = tws(exec_id(1), conId="9", secType="BAG")
    leg = tws(exec_id(1, slot="02"), conId="11")
    assert [fill.instrument for fill in tell([], rows_of(bag, leg)).fills] == ["ibkr:11"]


def test_inner_pieces_are_replaced_by_their_statement_row():
    pieces = [tws(exec_id(1, slot="03", fifth=fifth)) for fifth in ("01", "02")]
    stood = rows_of(*pieces)
    stands = rows_of(*pieces, flex(exec_id(1, slot="03"), "200"))
    fills = tell(stood, stands, tell([], stood)).fills
    assert sorted((fill.source_id, fill.is_bust, fill.cause) for fill in fills) == [
        ("0000e0d5.1.03#0", False, "settled"),
        ("0000e0d5.1.03#01#0", True, "settled"),
        ("0000e0d5.1.03#02#0", True, "settled"),
    ]
    [whole] = [fill for fill in fills if not fill.is_bust]
    assert whole.replaces_fill_id == fill_id("ibkr", "U1234567", "0000e0d5.1.03#01#0")


def test_fills_are_told_in_booking_order_and_cut_at_the_ledgers_limits():
    rows = [tws(exec_id(n), conId=str(n + 1), time=f"20260105 15:{59 - n:02d}:00 UTC") for n in range(10)]
    fills = tell([], rows_of(*rows)).fills
    assert [fill.executed_at for fill in fills] == sorted(fill.executed_at for fill in fills)
    assert [len(batch) for batch in batches(fills, fills_max=4)] == [4, 4, 2]
    assert [len(batch) for batch in batches(fills, instruments_max=3)] == [3, 3, 3, 1]
    assert list(batches([])) == []
    assert source_id(("a", 1)) == "a#1"
