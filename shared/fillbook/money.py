"""Decimals only: parsing at the door, arithmetic in one context, quantization at the edges.

A float never enters: every parser refuses it. Amounts are computed with 60 digits and rounded half to even once, when
they become a column (ledger specification, section 2). Unknown is ``None``, never zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal, InvalidOperation, localcontext
from functools import lru_cache

CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)
ZERO = Decimal(0)
ONE = Decimal(1)

QUANTITY_STEP = Decimal("1e-10")
PRICE_STEP = Decimal("1e-10")
MONEY_STEP = Decimal("1e-8")
RATE_STEP = Decimal("1e-12")
DIGITS_MAX = 28
EXPONENT_MAX = 512
"""Of any number that is read from a text, every double among them: beyond it a few characters are written out as millions."""


class NumberError(ValueError):
    """A value that is no usable decimal; ``reason`` is a slug (``number_invalid``, ``number_overflow``)."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


def parse(value: object) -> Decimal:
    """Return ``value`` (Decimal, int or decimal text) as a finite Decimal; raise ``NumberError`` for anything else."""
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise NumberError("number_invalid", f"{type(value).__name__} is not a decimal")
    try:
        number = Decimal(value)
    except InvalidOperation as error:
        raise NumberError("number_invalid", "not a decimal number") from error
    if not number.is_finite():
        raise NumberError("number_invalid", "not finite")
    if abs(number.adjusted()) > EXPONENT_MAX:
        raise NumberError("number_overflow", "an exponent that no amount has")
    return number


@lru_cache(64)
def _exponent(step: Decimal) -> int:
    return int(step.as_tuple().exponent)


def quantize(value: Decimal, step: Decimal) -> Decimal:
    """Round half to even to ``step``; -0 becomes 0; more than 28 digits raises ``NumberError('number_overflow')``."""
    try:
        rounded = CONTEXT.quantize(value, step)
    except InvalidOperation as error:
        raise NumberError("number_overflow", "does not fit the column") from error
    if rounded.adjusted() - _exponent(step) >= DIGITS_MAX:
        raise NumberError("number_overflow", "more than 28 significant digits")
    return rounded or abs(rounded)


def to_money(value: Decimal) -> Decimal:
    """Quantize an amount of money to 8 decimals."""
    return quantize(value, MONEY_STEP)


def to_quantity(value: Decimal) -> Decimal:
    """Quantize a quantity to 10 decimals."""
    return quantize(value, QUANTITY_STEP)


def to_price(value: Decimal) -> Decimal:
    """Quantize a price to 10 decimals."""
    return quantize(value, PRICE_STEP)


def plain(value: Decimal) -> str:
    """Write a Decimal without exponent and without trailing zeros: ``100.40`` is ``100.4``, ``-0`` is ``0``."""
    if not value:
        return "0"
    text = str(value)  # half as long as format(value, "f"), and the same unless it needs an exponent
    if "E" in text:
        text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def floor_to_step(value: Decimal, step: Decimal) -> Decimal:
    """Round a positive quantity down to a multiple of ``step``."""
    with localcontext(CONTEXT):
        return (value / step).to_integral_value(rounding=ROUND_DOWN) * step


def vwap(parts: Sequence[tuple[Decimal, Decimal]]) -> Decimal | None:
    """Volume-weighted average price of ``(quantity, price)`` pairs, unrounded; ``None`` when the quantity is zero."""
    with localcontext(CONTEXT):
        quantity = sum((part[0] for part in parts), ZERO)
        return sum((part[0] * part[1] for part in parts), ZERO) / quantity if quantity else None


def total(parts: Sequence[Decimal | None]) -> Decimal | None:
    """Sum amounts of one currency; one unknown part makes the sum unknown."""
    result = ZERO
    for part in parts:
        if part is None:
            return None
        result = CONTEXT.add(result, part)
    return result
