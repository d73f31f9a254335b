"""The door of the ledger: a fill is made exact and checked once; inside no one checks again.

Refused with ``Rejected``: numbers that are not finite or do not fit their column, texts that Postgres cannot store or that
are too long, unknown words, naive instants, prices at or below zero in a book that decides by itself, meta over 16 KiB.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

from fillbook.ledger import amounts
from fillbook.ledger.chain import encode
from fillbook.ledger.model import Adjustment, Book, Direction, Fill, LotPick, Mark, Netting, Side
from fillbook.ledger.words import (
    CASH_STYLES,
    DECISION_KINDS,
    EFFECTS,
    FILL_CAUSES,
    META_BYTES_MAX,
    ORIGINS,
    REASON_FORM,
    SOURCES,
    UNKNOWN_CURRENCY,
)
from fillbook.money import ONE, NumberError, parse
from fillbook.runtime.errors import Rejected

_BOOK_ID = re.compile(r"live|(?:replay|ibkr):[A-Za-z0-9._~-]{1,64}|mt5:[A-Za-z0-9._~-]{1,64}:[A-Za-z0-9._~-]{1,64}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TEXT_MAX: Mapping[str, int] = {"source_id": 256, "account_key": 128, "instrument": 160, "ticker": 64, "contract_name": 256}
_ORDER_MAX = 160
_REF_MAX = 128
_PICKS_MAX = 5_000
_REVISION_MAX = 2**31 - 1
_YEARS = (1970, 9999)

E = TypeVar("E", bound=StrEnum)


def check_book(book: Book) -> Book:
    """Return the book with exact numbers; raises ``Rejected`` (``book_id_invalid``, ``currency_invalid``, …)."""
    check_book_id(book.book_id)
    _currency(book.base_currency, "base_currency")
    _text(book.tenant_id, "tenant_id", 64)
    _text(book.calendar, "calendar", 16)
    return replace(book, start_cash=_number(book.start_cash, "start_cash", amounts.money))


def check_book_id(book_id: object) -> None:
    """Raise ``Rejected('book_id_invalid')`` unless the text names a book."""
    if not isinstance(book_id, str) or _BOOK_ID.fullmatch(book_id) is None:
        raise Rejected("book_id_invalid", field="book_id")


def check_fill(fill: Fill, book: Book) -> Fill:
    """Return the fill as the journal will hold it: numbers rounded to their columns, instants UTC, rates 1 where equal."""
    _check_words(fill, book)
    quantity = _positive(fill.quantity, "quantity", amounts.quantity)
    price = _number(fill.price, "price", amounts.price)
    if price <= 0 and book.kind in DECISION_KINDS:
        raise Rejected("price_not_positive", field="price")
    multiplier = None if fill.multiplier is None else _positive(fill.multiplier, "multiplier", amounts.multiplier)
    if multiplier is not None:
        _number(quantity * price * multiplier, "quantity", amounts.money)
    fees = None if fill.fees is None else _number(fill.fees, "fees", amounts.money)
    fees_currency = fill.fees_currency or (fill.currency if fees is not None else None)
    if fees_currency == UNKNOWN_CURRENCY:
        fees_currency = None
    executed_at, received_at = _instant(fill.executed_at, "executed_at"), _instant(fill.received_at, "received_at")
    exact: dict[str, Any] = {
        "quantity": quantity,
        "price": price,
        "multiplier": multiplier,
        "fees": fees,
        "fees_currency": fees_currency,
        "fx_rate": _rate(fill.fx_rate, "fx_rate", fill.currency, book.base_currency),
        "fees_rate": _rate(fill.fees_rate, "fees_rate", fees_currency, book.base_currency),
        "lot_picks": None if fill.lot_picks is None else _picks(fill.lot_picks),
        "executed_at": executed_at,
        "received_at": received_at,
    }
    changes = {name: value for name, value in exact.items() if value != getattr(fill, name)}
    # equal instants of another zone are equal, but the journal speaks UTC
    if fill.executed_at.tzinfo is not UTC or fill.received_at.tzinfo is not UTC:
        changes |= {"executed_at": executed_at, "received_at": received_at}
    return replace(fill, **changes) if changes else fill


def check_adjustment(adjustment: Adjustment) -> Adjustment:
    """Return the split with its instant in UTC; raises ``Rejected`` (``ratio_invalid``, …)."""
    ratio = (adjustment.ratio_num, adjustment.ratio_den)
    if not all(type(part) is int and 0 < part <= 1_000_000 for part in ratio) or ratio[0] == ratio[1]:
        raise Rejected("ratio_invalid", field="ratio")
    _text(adjustment.instrument, "instrument", _TEXT_MAX["instrument"])
    _text(adjustment.entered_by, "entered_by", 128)
    _text(adjustment.reason, "reason", 256)
    return replace(adjustment, effective_at=_instant(adjustment.effective_at, "effective_at"))


def check_mark(mark: Mark) -> dict[str, Any]:
    """Return the mark as a row for ``ledger.mark``."""
    _text(mark.instrument, "instrument", _TEXT_MAX["instrument"])
    _text(mark.source, "source", 64)
    return {
        "instrument": mark.instrument,
        "price": _number(mark.price, "price", amounts.price),
        "bid": None if mark.bid is None else _number(mark.bid, "bid", amounts.price),
        "ask": None if mark.ask is None else _number(mark.ask, "ask", amounts.price),
        "marked_at": _instant(mark.marked_at, "marked_at"),
        "source": mark.source,
    }


def _check_words(fill: Fill, book: Book) -> None:
    for name, limit in _TEXT_MAX.items():
        _text(getattr(fill, name), name, limit, may_be_empty=name == "account_key")
    _text(fill.venue_order, "venue_order", _ORDER_MAX, may_be_empty=True)
    if fill.lot_ref is not None:
        _text(fill.lot_ref, "lot_ref", _REF_MAX)
    if fill.reason is not None and REASON_FORM.fullmatch(fill.reason) is None:
        raise Rejected("reason_invalid", field="reason")
    if fill.replaces_fill_id is not None and _UUID.fullmatch(fill.replaces_fill_id) is None:
        raise Rejected("replaces_fill_id_invalid", field="replaces_fill_id")
    _one_of(fill.source, SOURCES, "source")
    _one_of(fill.position_effect, EFFECTS, "position_effect")
    _one_of(fill.cash_style, CASH_STYLES, "cash_style")
    _one_of(fill.origin, ORIGINS, "origin")
    _one_of(fill.cause, FILL_CAUSES, "cause")
    if type(fill.side) is not Side or not isinstance(fill.direction, Direction | None):
        raise Rejected("side_invalid", "side and direction are members of their enums", field="side")
    if book.netting is Netting.HEDGE and fill.direction is None:
        raise Rejected("direction_required", field="direction")
    if type(fill.source_revision) is not int or not 1 <= fill.source_revision <= _REVISION_MAX or type(fill.is_bust) is not bool:
        raise Rejected("source_revision_invalid", field="source_revision")
    _currency(fill.currency, "currency")
    if fill.multiplier is not None and fill.currency == UNKNOWN_CURRENCY:
        raise Rejected("currency_unknown", "a currency is unknown only together with the multiplier", field="currency")
    if fill.fees_currency is not None:
        _currency(fill.fees_currency, "fees_currency")
    if type(fill.session_date) is not date:
        raise Rejected("session_date_invalid", field="session_date")
    if fill.meta:
        _check_meta(fill.meta)


def _check_meta(meta: object) -> None:
    if not isinstance(meta, Mapping) or not _is_plain(meta, 0):
        raise Rejected("meta_invalid", "text, integers, booleans, null, lists and objects only", field="meta")
    text = encode(dict(meta))
    if len(text.encode("utf-8", "surrogatepass")) > META_BYTES_MAX:
        raise Rejected("meta_too_large", field="meta")
    if not _is_storable(text) or "\\u0000" in text:
        raise Rejected("text_invalid", field="meta")


def _is_plain(value: object, depth: int) -> bool:
    if value is None or isinstance(value, str | bool | int):
        return True
    if depth > 8:
        return False
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(item, depth + 1) for key, item in value.items())
    return isinstance(value, list | tuple) and all(_is_plain(item, depth + 1) for item in value)


def _is_storable(text: str) -> bool:
    if text.isascii():
        return "\x00" not in text
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _text(value: object, name: str, limit: int, *, may_be_empty: bool = False) -> None:
    if not isinstance(value, str) or len(value) > limit or not (value or may_be_empty):
        raise Rejected(f"{name}_invalid", field=name)
    if not _is_storable(value):
        raise Rejected("text_invalid", field=name)


def _one_of(value: object, words: tuple[str, ...], name: str) -> None:
    if value not in words:
        raise Rejected(f"{name}_invalid", field=name)


def _currency(value: object, name: str) -> None:
    if not isinstance(value, str) or _CURRENCY.fullmatch(value) is None:
        raise Rejected(f"{name}_invalid", field=name)


def _number(value: Decimal, name: str, to_column: Callable[[Decimal], Decimal]) -> Decimal:
    try:
        return to_column(value if type(value) is Decimal and value.is_finite() else parse(value))
    except NumberError as error:
        raise Rejected(error.reason, name, field=name) from error


def _positive(value: Decimal, name: str, to_column: Callable[[Decimal], Decimal]) -> Decimal:
    number = _number(value, name, to_column)
    if number <= 0:
        raise Rejected(f"{name}_not_positive", field=name)
    return number


def _rate(value: Decimal | None, name: str, currency: str | None, base_currency: str) -> Decimal | None:
    if currency == base_currency:
        if value is not None and value != 1:
            raise Rejected(f"{name}_invalid", "the currency is the base currency: the rate is 1", field=name)
        return ONE
    return None if value is None else _positive(value, name, amounts.rate)


def _instant(value: object, name: str) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None or not _YEARS[0] <= value.year < _YEARS[1]:
        raise Rejected("instant_invalid", "an aware instant is needed", field=name)
    return value if value.tzinfo is UTC else value.astimezone(UTC)


def _picks(picks: tuple[LotPick, ...]) -> tuple[LotPick, ...]:
    if len(picks) > _PICKS_MAX:
        raise Rejected("lot_picks_invalid", field="lot_picks")
    for pick in picks:
        _text(pick.lot, "lot_picks", _REF_MAX)
    return tuple(LotPick(lot=pick.lot, quantity=_positive(pick.quantity, "lot_picks", amounts.quantity)) for pick in picks)


check_text, check_currency, check_instant = _text, _currency, _instant
"""The same door for what is no fill: the lines of a broker's statement."""
