"""The door: sides, signs, numbers, ids, accounts, texts; what is refused, and why."""

from datetime import date
from decimal import Decimal

import pytest

from fillbook.ibkr.intake import assign_commissions, refusal
from fillbook.ibkr.model import Cancel, Refusal, Sighting
from fillbook.ibkr.words import CancelKind, IdKind, PayloadKind, Reason, Side, Source
from tests.support.ibkr import (
    FIRST,
    cancel,
    cancel_raw,
    commission_raw,
    exec_id,
    flex,
    flex_raw,
    outcome,
    report,
    tws,
    tws_raw,
)


def reason(raw, source=Source.STATEMENT):
    refused = outcome(raw, source)
    assert isinstance(refused, Refusal), refused
    return refused.reason.value


def test_a_statement_row_becomes_facts_with_every_digit():
    one = flex(
        "CUSTHSFX.012f0001.01.01",
        "-1143.28313142",
        "30.3074532",
        assetCategory="CASH",
        symbol="USD.TWD",
        ibCommission="-1.3666",
        taxes="-0.5",
        transactionID="35000000025",
        ibOrderID="9876543210123",
        notes="P;ZZ",
        openCloseIndicator="C",
        fifoPnlRealized="-3.25",
    )
    facts = one.facts
    assert (facts.side, facts.quantity, facts.price) == (Side.SELL, Decimal("1143.28313142"), Decimal("30.3074532"))
    assert facts.signed_quantity == Decimal("-1143.28313142")
    assert (facts.commission, facts.commission_currency, facts.taxes) == (Decimal("1.3666"), "USD", Decimal("0.5"))
    assert (facts.transaction_id, facts.flex_order_id, facts.notes) == (35000000025, 9876543210123, ("P", "ZZ"))
    assert (facts.open_close, facts.broker_realized_pnl, facts.trade_day) == ("C", Decimal("-3.25"), date(2026, 1, 5))
    assert one.account_id == FIRST.account_id


def test_a_rebate_keeps_its_sign_and_a_zero_has_none():
    assert flex("a.b.01.01", ibCommission="0.3333").facts.commission == Decimal("-0.3333")
    zero = flex("a.b.01.01", ibCommission="0").facts.commission
    assert zero == 0
    assert not zero.is_signed()


def test_a_commission_without_a_currency_is_unknown():
    assert flex("a.b.01.01", ibCommissionCurrency="").facts.commission is None
    assert flex("a.b.01.01", ibCommission="").facts.commission_currency is None


def test_a_confirmation_is_read_in_its_own_spelling():
    raw = flex_raw("", quantity="1", price="")
    for gone in (
        "ibExecID",
        "ibOrderID",
        "tradePrice",
        "ibCommission",
        "ibCommissionCurrency",
        "notes",
        "openCloseIndicator",
        "taxes",
    ):
        del raw[gone]
    raw |= {"execID": "a.b.01.01", "orderID": "7", "price": "1.06", "commission": "-0.8453", "commissionCurrency": "USD"}
    raw |= {"code": "O;P", "tax": "0"}
    one = outcome(raw, Source.CONFIRMATION)
    assert isinstance(one, Sighting)
    facts = one.facts
    assert (facts.price, facts.commission, facts.flex_order_id) == (Decimal("1.06"), Decimal("0.8453"), 7)
    assert (facts.notes, facts.open_close) == (("O", "P"), "O")


def test_a_row_without_execution_id_is_keyed_by_transaction_or_trade():
    assert (flex("N/A", transactionID="5").ib_exec_id, flex("", transactionID="5").id_kind) == ("tx:5", IdKind.TRANSACTION)
    assert flex("--", tradeID="6").ib_exec_id == "trade:6"
    assert reason(flex_raw("N/A", transactionID="N/A", tradeID="N/A")) == "no_identity"


def test_cancel_rows_become_cancels_and_never_executions():
    one = cancel("-2", "0.73", transactionID="902", origTradeID="901", origTransactionID="900")
    assert (one.event_key, one.signed_quantity, one.orig_transaction_id, one.kind) == ("tx:902", -2, 900, CancelKind.CANCEL)
    no_id = cancel("-1", "1.06", origTradeID="8100000000")
    assert no_id.event_key == "cancel:8100000000:-1:1.06:2026-01-05"
    noted = outcome(cancel_raw("-2", transactionType="ExchTrade", transactionID="5"))
    assert isinstance(noted, Cancel)
    assert cancel("0.276942", transactionType="FracShareCancel", transactionID="5").kind is CancelKind.FRACTION_CANCEL


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"quantity": "0"}, "bad_number"),
        ({"quantity": "NaN"}, "bad_number"),
        ({"quantity": "Infinity"}, "bad_number"),
        ({"quantity": "1_000"}, "bad_number"),
        ({"quantity": "1e30"}, "bad_number"),
        ({"quantity": "0.00000000001"}, "bad_number"),
        ({"tradePrice": ""}, "bad_number"),
        ({"tradePrice": "1,5"}, "bad_number"),
        ({"quantity": "-100"}, "bad_side"),
        ({"buySell": "HOLD"}, "bad_side"),
        ({"conid": ""}, "missing_field"),
        ({"symbol": ""}, "missing_field"),
        ({"currency": "dollars"}, "bad_text"),
        ({"transactionType": "Lent"}, "unknown_transaction_type"),
        ({"accountId": "U0000001"}, "account_not_allowed"),
        ({"dateTime": "20260308;023000"}, "time_in_gap"),
        ({"dateTime": "yesterday"}, "bad_time"),
        ({"symbol": "A\x00B"}, "bad_text"),
        ({"symbol": "A\ud800B"}, "bad_text"),
        ({"symbol": "A" * 40_000}, "bad_text"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_with_its_reason(texts, expected):
    raw = flex_raw("a.b.01.01", buySell="BUY") | texts
    assert reason(raw) == expected


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"shares": "0"}, "bad_number"),
        ({"shares": "-5"}, "bad_number"),
        ({"shares": "NaN"}, "bad_number"),
        ({"price": ""}, "bad_number"),
        ({"price": "1.7976931348623157E308"}, "bad_number"),
        ({"side": "X"}, "bad_side"),
        ({"time": "20260105  10:30:00"}, "time_without_zone"),
        ({"time": "20260105 15:30:00 Mars/Base"}, "unknown_zone"),
        ({"execId": ""}, "no_identity"),
        ({"acctNumber": "DU1"}, "account_not_allowed"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused_with_its_reason(texts, expected):
    assert reason(tws_raw(exec_id(1)) | texts, Source.TWS) == expected


def test_a_bare_time_is_read_where_the_target_accepts_it():
    one = tws(exec_id(1), time="20260105  10:30:00", bareTimeZone="America/New_York")
    assert one.facts.executed_at == tws(exec_id(1)).facts.executed_at


def test_the_socket_names_instruments_by_local_symbol_where_that_says_more():
    option = tws(
        exec_id(1), secType="OPT", symbol="CZR", localSymbol="CZR   260821C00030000", right="C", strike="30.0", expiry="20260821"
    )
    assert (option.facts.symbol, option.facts.underlying_symbol, option.facts.put_call) == ("CZR   260821C00030000", "CZR", "C")
    assert (option.facts.strike, option.facts.expiry) == (30, date(2026, 8, 21))
    assert tws(exec_id(1), secType="CASH", symbol="EUR", localSymbol="EUR.USD").facts.symbol == "EUR.USD"
    assert tws(exec_id(1)).facts.underlying_symbol is None


def test_ids_that_are_none_are_unknown_and_wide_ones_are_kept():
    assert tws(exec_id(1), orderId="2147483647", permId="0").facts.ib_order_id is None
    assert tws(exec_id(1), permId="9876543210123").facts.ib_perm_id == 9876543210123
    assert tws(exec_id(1), permId="0").facts.ib_perm_id is None
    assert tws(exec_id(1), orderId="0", clientId="0").facts.client_id == 0


def test_an_alias_leads_to_its_account_and_the_text_is_kept():
    one = flex("a.b.01.01", accountId="U1234567F")
    assert (one.account_code, one.raw["accountId"]) == ("U1234567", "U1234567F")


def test_the_socket_keeps_the_sign_of_a_commission_and_its_unset_number_is_unknown():
    one = report(exec_id(1), "-0.25", "CHF")
    assert (one.commission, one.commission_currency, one.broker_realized_pnl) == (Decimal("-0.25"), "CHF", None)
    assert report(exec_id(1), "1.7976931348623157E308").commission is None
    refused = outcome(commission_raw(""), Source.TWS, kind=PayloadKind.COMMISSION)
    assert isinstance(refused, Refusal)


def test_a_commission_belongs_to_the_one_account_that_saw_its_execution():
    mine, other = tws(exec_id(1)), tws(exec_id(1), acctNumber="U7654321")
    assert [one.account_id for one in assign_commissions([mine, report(exec_id(1))])[0]] == [1]
    assigned, ambiguous = assign_commissions([report(exec_id(1)), mine, other])
    assert (assigned, ambiguous) == ([], [(1, exec_id(1)), (2, exec_id(1))])
    assert assign_commissions([report(exec_id(1))]) == ([], [])


def test_a_refused_row_keeps_its_text_also_where_postgres_could_not():
    refused = refusal("tws", "a\x00", Reason.BAD_FRAME, "x" * 900, ["11", "\x00"])
    assert (refused.raw, refused.account_code, len(refused.detail)) == ('["11","\\u0000"]', "a\\u0000", 500)


def test_the_same_texts_are_the_same_payload_in_any_order():
    raw = flex_raw("a.b.01.01")
    turned = dict(reversed(raw.items()))
    one, other = outcome(raw), outcome(turned, seen=99)
    assert isinstance(one, Sighting)
    assert isinstance(other, Sighting)
    assert one.payload_hash == other.payload_hash
    assert one.payload_hash != flex("a.b.01.01", "101").payload_hash
