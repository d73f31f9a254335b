"""One EXECUTION row of a Flex document as a sighting or a cancel, in both spellings: Trade and TradeConfirm.

Source: ibkr.md 5, 7, 8.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Final

from fillbook.ibkr import execid, fields, times
from fillbook.ibkr.allowlist import Account
from fillbook.ibkr.fields import Refused
from fillbook.ibkr.model import Cancel, Facts, Sighting, Texts
from fillbook.ibkr.times import Moment
from fillbook.ibkr.words import CancelKind, Reason, Side, Source
from fillbook.money import plain

EXECUTION_TYPES: Final = frozenset({"ExchTrade", "BookTrade", "FracShare", "DvpTrade", "TradeCorrect"})
CANCEL_TYPES: Final = {"TradeCancel": CancelKind.CANCEL, "FracShareCancel": CancelKind.FRACTION_CANCEL}
CANCEL_NOTE: Final = "Ca"


def read(raw: Texts, account: Account, source: Source, observed_at: datetime) -> Sighting | Cancel:
    """Return what the row says; raises ``Refused`` or ``TimeRefused``."""
    transaction_type = fields.text_of(raw, "transactionType") or ""
    notes = notes_of(raw)
    kind = CANCEL_TYPES.get(transaction_type)
    if kind is None and CANCEL_NOTE in notes:
        kind = CancelKind.CANCEL
    if kind is not None:
        return _cancel(raw, account, source, kind, observed_at)
    if transaction_type not in EXECUTION_TYPES:
        raise Refused(Reason.UNKNOWN_TRANSACTION_TYPE, "transactionType")
    return _sighting(raw, account, source, transaction_type, notes, observed_at)


def notes_of(raw: Texts) -> tuple[str, ...]:
    """The broker's codes, as it orders them."""
    text = fields.text_of(raw, "notes", "code") or ""
    return tuple(code for code in (part.strip() for part in text.split(";")) if code)


def _sighting(
    raw: Texts, account: Account, source: Source, transaction_type: str, notes: tuple[str, ...], observed_at: datetime
) -> Sighting:
    transaction_id = fields.broker_id(raw, "transactionID")
    key = execid.ingest_key(_exec_id(raw), transaction_id, fields.broker_id(raw, "tradeID"))
    if key is None:
        raise Refused(Reason.NO_IDENTITY, "ibExecID, transactionID, tradeID")
    return Sighting(
        account_id=account.account_id,
        account_code=account.code,
        ib_exec_id=key[0],
        id_kind=key[1],
        source=source,
        observed_at=observed_at,
        facts=_facts(raw, account, transaction_type, notes),
        raw=raw,
        payload_hash=fields.payload_hash(raw),
    )


def _exec_id(raw: Texts) -> str:
    return fields.text_of(raw, "ibExecID", "execID") or ""


def _facts(raw: Texts, account: Account, transaction_type: str, notes: tuple[str, ...]) -> Facts:
    sec_type = fields.required(raw, "assetCategory")
    moment, text = _moment(raw, account)
    signed, side = fields.number(raw, "quantity"), fields.side_of(raw, "buySell")
    if not signed or (signed > 0) is not (side is Side.BUY):
        raise Refused(Reason.BAD_SIDE if signed else Reason.BAD_NUMBER, "quantity")
    price, multiplier = fields.number(raw, "tradePrice", "price"), fields.positive_or_none(raw, "multiplier")
    fields.check_value(signed.copy_abs(), price, multiplier)
    amount = fields.turned(fields.optional_number(raw, "ibCommission", "commission"))
    commission, commission_currency = fields.fee(amount, fields.text_of(raw, "ibCommissionCurrency", "commissionCurrency"))
    return Facts(
        broker_trade_id=fields.broker_id(raw, "tradeID"),
        flex_order_id=fields.broker_id(raw, "ibOrderID", "orderID"),
        transaction_id=fields.broker_id(raw, "transactionID"),
        brokerage_order_id=fields.text_of(raw, "brokerageOrderID"),
        order_ref=fields.text_of(raw, "orderReference"),
        transaction_type=transaction_type,
        conid=fields.conid_of(raw, "conid"),
        symbol=fields.required(raw, "symbol"),
        sec_type=sec_type,
        underlying_symbol=fields.text_of(raw, "underlyingSymbol"),
        fx_rate_to_base=fields.positive_or_none(raw, "fxRateToBase"),
        multiplier=multiplier,
        expiry=fields.day_of(raw, "expiry"),
        strike=fields.positive_or_none(raw, "strike"),
        put_call=_put_call(raw),
        executed_at=moment.at,
        executed_at_text=text,
        is_time_ambiguous=moment.is_ambiguous,
        trade_day=fields.day_of(raw, "tradeDate") or times.trade_day(moment.at, account.trade_day_zone, sec_type),
        report_date=fields.day_of(raw, "reportDate"),
        side=side,
        quantity=signed.copy_abs(),
        price=price,
        exchange=fields.text_of(raw, "exchange"),
        currency=fields.currency_of(raw),
        commission=commission,
        commission_currency=commission_currency,
        taxes=fields.turned(fields.optional_number(raw, "taxes", "tax")),
        broker_realized_pnl=fields.optional_number(raw, "fifoPnlRealized"),
        notes=notes,
        open_close=_open_close(raw, notes),
    )


def _cancel(raw: Texts, account: Account, source: Source, kind: CancelKind, observed_at: datetime) -> Cancel:
    signed, price = fields.number(raw, "quantity"), fields.number(raw, "tradePrice", "price")
    if not signed:
        raise Refused(Reason.BAD_NUMBER, "quantity")
    transaction_id = fields.broker_id(raw, "transactionID")
    orig_transaction_id = fields.broker_id(raw, "origTransactionID")
    orig_trade_id = fields.broker_id(raw, "origTradeID")
    if transaction_id is None and orig_transaction_id is None and orig_trade_id is None:
        raise Refused(Reason.NO_IDENTITY, "transactionID, origTransactionID, origTradeID")
    report_date = fields.day_of(raw, "reportDate")
    return Cancel(
        account_id=account.account_id,
        account_code=account.code,
        event_key=_event_key(transaction_id, orig_trade_id, signed, price, report_date),
        kind=kind,
        source=source,
        transaction_id=transaction_id,
        orig_transaction_id=orig_transaction_id,
        orig_trade_id=orig_trade_id,
        conid=fields.broker_id(raw, "conid"),
        signed_quantity=signed,
        price=price,
        commission=fields.turned(fields.optional_number(raw, "ibCommission", "commission")),
        executed_at=_moment(raw, account)[0].at,
        report_date=report_date,
        observed_at=observed_at,
        raw=raw,
    )


def _event_key(
    transaction_id: int | None, orig_trade_id: int | None, signed: Decimal, price: Decimal, report_date: date | None
) -> str:
    if transaction_id is not None:
        return f"tx:{transaction_id}"
    return f"cancel:{orig_trade_id or ''}:{plain(signed)}:{plain(price)}:{'' if report_date is None else report_date.isoformat()}"


def _moment(raw: Texts, account: Account) -> tuple[Moment, str]:
    text = fields.text_of(raw, "dateTime")
    if text is None:
        text = f"{fields.required(raw, 'tradeDate')};{fields.required(raw, 'tradeTime')}"
    return times.flex_time(text, account.flex_time_zone), text


def _put_call(raw: Texts) -> str | None:
    value = fields.text_of(raw, "putCall")
    return value if value in ("P", "C") else None


def _open_close(raw: Texts, notes: tuple[str, ...]) -> str | None:
    stated = fields.text_of(raw, "openCloseIndicator")
    if stated is not None:
        return stated
    coded = [code for code in notes if code in ("O", "C")]
    return coded[0] if len(coded) == 1 else None
