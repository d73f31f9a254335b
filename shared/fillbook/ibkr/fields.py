"""One row's texts by name: each getter makes a value of one text or refuses the row with a reason.

Numbers are read by ``money`` and stay exact; ids that are no number are unknown, while their text stays in the row.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring as quote
from operator import itemgetter
from typing import Final

from fillbook.ibkr import times
from fillbook.ibkr.model import Texts
from fillbook.ibkr.words import Reason, Side
from fillbook.money import ONE, QUANTITY_STEP, NumberError, parse, quantize, to_money, to_price, to_quantity

_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_ID: Final = re.compile(r"[0-9]{1,18}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_UNSET_FROM: Final = Decimal("1e300")
_VALUE_MAX: Final = Decimal("1e19")
_ESCAPED: Final = re.compile(r'["\\\x00-\x1f]')
"""What a JSON text writes otherwise than it is."""
_BLANKS: Final = frozenset({"", "N/A", "n/a", "--"})
_SIDES: Final = {"BOT": Side.BUY, "BUY": Side.BUY, "SLD": Side.SELL, "SELL": Side.SELL}
_TEXT_MAX: Final = 256
_ORDINARY_DIGITS: Final = 15
_ORDINARY_DECIMALS: Final = 9
"""Digits before and behind the point that every column has room for: it holds 28, of them 8 or 10 behind the point."""


class Refused(ValueError):
    """A row that cannot be understood; ``reason`` is the slug of the quarantine, ``detail`` the field or a sentence."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def is_storable(text: str) -> bool:
    """Whether Postgres can hold the text: no U+0000, no lone surrogate."""
    if text.isascii():
        return "\x00" not in text
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def payload_hash(raw: Texts) -> bytes:
    """sha256 over the sorted texts: the same row is the same payload, wherever and whenever it is read."""
    # the JSON text of the sorted pairs: rows of one document have the same names, and hardly a text needs an escape
    form, values_of = _form(tuple(raw))
    values = values_of(raw)
    if _ESCAPED.search("".join(values)) is not None:
        values = tuple(quote(text)[1:-1] for text in values)
    return hashlib.sha256((form % values).encode()).digest()


@lru_cache(64)
def _form(names: tuple[str, ...]) -> tuple[str, Callable[[Texts], tuple[str, ...]]]:
    """The JSON text of a row with these names, a place for each value; and the values of a row in that order."""
    ordered = sorted(names)
    pairs = [f'[{quote(name).replace("%", "%%")},"%s"]' for name in ordered]
    if len(ordered) < 2:  # a getter of one name gives no tuple
        return f"[{','.join(pairs)}]", lambda raw: tuple(raw[name] for name in ordered)
    return f"[{','.join(pairs)}]", itemgetter(*ordered)


def text_of(raw: Texts, *names: str) -> str | None:
    """The first of the named texts that says something."""
    for name in names:
        value = raw.get(name)
        if value and (value := value.strip()) not in _BLANKS:
            return value
    return None


def required(raw: Texts, *names: str) -> str:
    """As ``text_of``; refused with ``missing_field`` where there is none, ``bad_text`` where it is absurdly long."""
    value = text_of(raw, *names)
    if value is None:
        raise Refused(Reason.MISSING_FIELD, names[0])
    if len(value) > _TEXT_MAX:
        raise Refused(Reason.BAD_TEXT, names[0])
    return value


def broker_id(raw: Texts, *names: str) -> int | None:
    """A broker's number above zero; anything else is unknown."""
    value = text_of(raw, *names)
    return int(value) or None if value is not None and _ID.fullmatch(value) else None


def number(raw: Texts, *names: str) -> Decimal:
    """A finite number; blank, NaN, infinite and unset ones are refused with ``bad_number``."""
    value = optional_number(raw, *names)
    if value is None:
        raise Refused(Reason.BAD_NUMBER, names[0])
    return value


def optional_number(raw: Texts, *names: str) -> Decimal | None:
    """A finite number, None where the text is blank or the socket's mark of an unset one; other texts are refused."""
    value = text_of(raw, *names)
    if value is None:
        return None
    try:
        return _finite(value)
    except NumberError as error:
        raise Refused(Reason.BAD_NUMBER, names[0]) from error


@lru_cache(2048)
def _finite(text: str) -> Decimal | None:
    """A number, None for the mark of an unset one; raises ``NumberError``. Costs, sizes and rates come again and again."""
    if _NUMBER.fullmatch(text) is None:
        raise NumberError("number_invalid", "not a number")
    result = parse(text)
    if abs(result) >= _UNSET_FROM:
        return None
    if abs(result) >= _VALUE_MAX or len(result.as_tuple().digits) > 40:
        raise NumberError("number_invalid", "out of range")
    return result or result.copy_abs()


def positive_or_none(raw: Texts, *names: str) -> Decimal | None:
    """A number above zero; blank and zero mean that there is none."""
    value = optional_number(raw, *names)
    return value if value is not None and value > 0 else None


def turned(value: Decimal | None) -> Decimal | None:
    """The other sign, digits untouched: the broker books a cost as a negative amount, we as a positive one."""
    return None if value is None else value.copy_negate() if value else value.copy_abs()


def fee(amount: Decimal | None, currency: str | None) -> tuple[Decimal | None, str | None]:
    """A commission with its currency; one without the other is unknown."""
    if amount is None or currency is None or _CURRENCY.fullmatch(currency) is None:
        return None, None
    return amount, currency


def side_of(raw: Texts, name: str) -> Side:
    """BOT, BUY, ``BUY (Ca.)`` are BUY; SLD, SELL are SELL; anything else is refused with ``bad_side``."""
    side = _SIDES.get(required(raw, name).upper().removesuffix("(CA.)").strip())
    if side is None:
        raise Refused(Reason.BAD_SIDE, name)
    return side


def currency_of(raw: Texts) -> str:
    """The currency of price and quantity."""
    value = required(raw, "currency")
    if _CURRENCY.fullmatch(value) is None:
        raise Refused(Reason.BAD_TEXT, "currency")
    return value


def conid_of(raw: Texts, name: str) -> int:
    """The instrument; a row without it cannot be booked."""
    value = broker_id(raw, name)
    if value is None:
        raise Refused(Reason.MISSING_FIELD, name)
    return value


def day_of(raw: Texts, *names: str) -> date | None:
    """A date, None where there is none."""
    value = text_of(raw, *names)
    return None if value is None else times.day(value)


def check_value(quantity: Decimal, price: Decimal, multiplier: Decimal | None) -> None:
    """Refuse what the ledger's columns cannot hold, so that one absurd row never stops the others."""
    if _is_ordinary(quantity, price, ONE if multiplier is None else multiplier):
        return
    try:
        if to_quantity(quantity) <= 0:
            raise Refused(Reason.BAD_NUMBER, "quantity")
        to_price(price)
        if multiplier is not None and quantize(multiplier, QUANTITY_STEP) <= 0:
            raise Refused(Reason.BAD_NUMBER, "multiplier")
        to_money(quantity * price * (multiplier or 1))
    except NumberError as error:
        raise Refused(Reason.BAD_NUMBER, "value") from error


def _is_ordinary(quantity: Decimal, price: Decimal, multiplier: Decimal) -> bool:
    """Whether the places of the first digits show that the values are far from every limit: then nothing need be rounded."""
    size, worth, factor = quantity.adjusted(), price.adjusted(), multiplier.adjusted()
    return (
        quantity > 0
        and multiplier > 0
        and -_ORDINARY_DECIMALS <= size <= _ORDINARY_DIGITS
        and -_ORDINARY_DECIMALS <= factor <= _ORDINARY_DIGITS
        and worth <= _ORDINARY_DIGITS
        and size + worth + factor <= _ORDINARY_DIGITS
    )
