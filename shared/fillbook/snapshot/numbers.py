"""Numbers of the room: Decimals to plain text and back, rounded by kind, shown to people, and read out of what people show.

No float is made on the way in either direction. A number *fits* when it is finite, below 10^15 and has at most 20 decimals;
everything that is published or taken fits, so writing it out costs a few dozen characters whatever exponent it came with.
Source: snapshot specification, 2.3 (rounding, display) and 5.2 (number from text).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import ROUND_DOWN, Context, Decimal, InvalidOperation
from functools import cache
from typing import Final

from fillbook.money import CONTEXT
from fillbook.snapshot.model import MISSING, NUMBER_LIMIT, Kind
from fillbook.values import frozen

DECIMALS_MAX: Final = 20
TEXT_MAX: Final = 64
"""Characters of a number's text; longer ones do not fit, and are not worth the work of reading them."""
BEYOND: Final = Decimal("Infinity")
"""What stands for a number too large or too long to be read: it fits nowhere."""

_STEPS: Final[Mapping[Kind, Decimal]] = {
    Kind.CURRENCY: Decimal("0.01"),
    Kind.PERCENT: Decimal("0.0001"),
    Kind.RATIO: Decimal("0.0001"),
    Kind.NUMBER: Decimal(1),
    Kind.DURATION: Decimal(1),
}
_LEAST: Final = -NUMBER_LIMIT
_WIDE: Final = Context(prec=15 + DECIMALS_MAX)
"""Holds every number that fits, digit by digit; what is cut off is what would not."""
_CENT, _TENTH, _ONE = Decimal("0.01"), Decimal("0.1"), Decimal(1)

# --- exact numbers ----------------------------------------------------------------------------------------------------


def decimal_of(text: str) -> Decimal:
    """The Decimal of a number's text, ``BEYOND`` where it is too long or its exponent has no place in a Decimal."""
    if len(text) > TEXT_MAX:
        return BEYOND
    try:
        return Decimal(text)
    except InvalidOperation:
        return BEYOND


def fits(value: Decimal, decimals: int = DECIMALS_MAX) -> bool:
    """Whether the number is finite, below 10^15 in size and has at most ``decimals`` decimals (trailing zeros are none)."""
    if not value.is_finite() or not _LEAST < value < NUMBER_LIMIT:
        return False
    return value == value.quantize(_steps(decimals), ROUND_DOWN, _WIDE)


@cache
def _steps(decimals: int) -> Decimal:
    return Decimal(1).scaleb(-decimals)


_WRITTEN: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def from_text(text: str) -> Decimal | None:
    """The number that a plain text such as ``5.5``, ``+1e3`` or ``-0.25`` is, else None: no groups, signs of money or blanks."""
    return decimal_of(text) if _WRITTEN.fullmatch(text) else None


def rounded(value: Decimal, kind: Kind) -> Decimal:
    """Round half to even: currency 2, percent and ratio 4, number and duration 0 decimals; a text's number stays as it is."""
    step = _STEPS.get(kind)
    return value if step is None else _stepped(value, step)


def _stepped(value: Decimal, step: Decimal) -> Decimal:
    result = CONTEXT.quantize(value, step)
    return result or result.copy_abs()


# --- shown to people --------------------------------------------------------------------------------------------------


def shown(value: Decimal | None, kind: Kind, unit: str | None = None) -> str:
    """The display text of a number: ``$1,234.56``, ``-$5.00``, ``72.3%``, ``1,234``, ``1.85``, ``1h 03m``; ``—`` for None."""
    return MISSING if value is None else _SHOWN[kind](value, unit)


def _currency(value: Decimal, unit: str | None) -> str:
    amount = _stepped(value, _CENT)
    sign = "-" if amount < 0 else ""
    return f"{sign}{'$' if unit in (None, 'USD') else f'{unit} '}{amount.copy_abs():,f}"


def _duration(value: Decimal, _: str | None) -> str:
    seconds = int(_stepped(value, _ONE))
    sign, seconds = "-" if seconds < 0 else "", abs(seconds)
    if seconds >= 3600:
        return f"{sign}{seconds // 3600}h {seconds // 60 % 60:02}m"
    return f"{sign}{seconds // 60}m {seconds % 60:02}s" if seconds >= 60 else f"{sign}{seconds}s"


_SHOWN: Final[Mapping[Kind, Callable[[Decimal, str | None], str]]] = {
    Kind.CURRENCY: _currency,
    Kind.PERCENT: lambda value, _: f"{_stepped(value, _TENTH):,f}%",
    Kind.RATIO: lambda value, _: f"{_stepped(value, _CENT):,f}",
    Kind.NUMBER: lambda value, _: f"{_stepped(value, _ONE):,f}",
    Kind.DURATION: _duration,
    Kind.TEXT: lambda value, _: f"{value:f}",
}

# --- read out of what people show -------------------------------------------------------------------------------------


@frozen
class Told:
    """What a display text says: its number (None: none), what that counts, and its unit."""

    number: Decimal | None = None
    kind: Kind = Kind.TEXT
    unit: str | None = None


_SIGNS: Final[Mapping[str, str]] = {
    "$": "USD",
    "€": "EUR",
    "£": "GBP",
    "¥": "JPY",
    "₹": "INR",
    "₩": "KRW",
    "₪": "ILS",
    "฿": "THB",
}
_CODES: Final = (
    "AED ARS AUD BRL CAD CHF CLP CNH CNY COP CZK DKK EUR GBP HKD HUF IDR ILS INR JPY KRW MXN MYR NOK NZD PHP PLN RON SAR SEK SGD "
    "THB TRY TWD USD ZAR"
).split()
_NOTHING: Final = frozenset({MISSING, "-", "n/a"})
_DIGITS: Final = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+"
_MONEY: Final = "|".join(map(re.escape, [*_SIGNS, *_CODES]))
_FORMS: Final = tuple(
    (re.compile(form), kind)
    for form, kind in (
        (rf"(?P<sign>[+-]?)(?P<digits>{_DIGITS}) ?%", Kind.PERCENT),
        (rf"(?P<sign>[+-]?)(?P<money>{_MONEY}) ?(?P<digits>{_DIGITS})", Kind.CURRENCY),
        (rf"(?P<money>{_MONEY}) ?(?P<sign>[+-])(?P<digits>{_DIGITS})", Kind.CURRENCY),
        (rf"(?P<sign>\()(?P<money>{_MONEY}) ?(?P<digits>{_DIGITS})\)", Kind.CURRENCY),
        (r"(?P<sign>[+-]?)(?P<seconds>[0-9]{1,9})s", Kind.DURATION),
        (r"(?P<sign>[+-]?)(?P<minutes>[0-9]{1,9})m (?P<seconds>[0-5]?[0-9])s", Kind.DURATION),
        (r"(?P<sign>[+-]?)(?P<hours>[0-9]{1,9})h (?P<minutes>[0-5]?[0-9])m", Kind.DURATION),
        (r"(?P<sign>[+-]?)(?P<hours>[0-9]{1,9}):(?P<minutes>[0-5][0-9]):(?P<seconds>[0-5][0-9])", Kind.DURATION),
        (rf"(?P<sign>[+-]?)(?P<digits>{_DIGITS})x", Kind.RATIO),
        (rf"(?P<sign>[+-]?)(?P<digits>{_DIGITS})", Kind.NUMBER),
        (r"(?P<sign>[+-]?)(?P<digits>(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][+-]?[0-9]+)", Kind.NUMBER),
    )
)


def is_nothing(text: str) -> bool:
    """Whether a display text says that there is no value: blank, ``—``, ``-`` or ``N/A``."""
    return not text or text.casefold() in _NOTHING


def told(text: str) -> Told:
    """The number a trimmed display text shows, by the forms of 5.2; every other text has none. It need not fit."""
    text = text.replace("\N{MINUS SIGN}", "-")
    for form, kind in _FORMS:
        found = form.fullmatch(text)
        if found is not None:
            return _TOLD.get(kind, _amount)(found.groupdict(), kind)
    return Told()


def _amount(parts: Mapping[str, str | None], kind: Kind) -> Told:
    number = decimal_of((parts["digits"] or "").replace(",", ""))
    money = parts.get("money")
    unit = "%" if kind is Kind.PERCENT else _SIGNS.get(money, money) if money else None
    return Told(number=_signed(number, parts), kind=kind, unit=unit)


def _seconds(parts: Mapping[str, str | None], kind: Kind) -> Told:
    hours, minutes, seconds = (int(parts.get(name) or 0) for name in ("hours", "minutes", "seconds"))
    return Told(number=_signed(Decimal(hours * 3600 + minutes * 60 + seconds), parts), kind=kind, unit="s")


def _signed(number: Decimal, parts: Mapping[str, str | None]) -> Decimal:
    return number.copy_negate() if number and parts["sign"] in ("-", "(") else number


_TOLD: Final = {Kind.DURATION: _seconds}
