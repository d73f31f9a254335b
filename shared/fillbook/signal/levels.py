"""Target levels as one packed text: read on every receipt only as extremes, opened only when a plan is made.

Fourteen levels of six values are the greater part of a receipt; decoding them for every minute of every ticker would cost
more than all rules together. The packed form is compact JSON, a list of
``[price, label, type, multiplier, timeframe, confidence]`` with numbers as plain text, so that it is exact and needs no
escaping of its own. A level without a usable price is left out: it is no target.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from fillbook.money import plain


class Level(NamedTuple):
    """One target level as sent; ``multiplier`` is null unless the type is ATR_FIB."""

    price: Decimal
    label: str
    type: str | None
    multiplier: Decimal | None
    timeframe: str | None
    confidence: Decimal | None


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def pack(levels: Iterable[Mapping[str, Any]] | None) -> str | None:
    """Packed text of the ``tp_levels`` of a receipt (numbers as Decimal or int); ``None`` when there is no level."""
    rows = [
        [
            _text(level["price"]),
            str(level.get("label") or ""),
            level.get("type") or None,
            _text(level.get("multiplier")),
            level.get("timeframe") or None,
            _text(level.get("confidence")),
        ]
        for level in levels or ()
        if level.get("price") is not None
    ]
    return _encode(rows) if rows else None


def unpack(packed: str | None) -> tuple[Level, ...]:
    """The levels of a packed text, in the order they were sent."""
    if packed is None:
        return ()
    return tuple(
        Level(Decimal(price), label, kind, _number(multiplier), timeframe, _number(confidence))
        for price, label, kind, multiplier, timeframe, confidence in json.loads(packed)
    )


def _text(number: Decimal | int | None) -> str | None:
    return None if number is None else plain(Decimal(number))


def _number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
