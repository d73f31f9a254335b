"""Whether a receiver shows what was sent. What it does not keep is no difference; what it shows otherwise is one.

A receiver that keeps our additions must show the same content, letter by letter. Any other keeps names, display texts, points,
extremes and assets, and its numbers went through binary fractions: those are compared to fifteen digits. Pure. Source: snapshot
specification, 4.6.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from decimal import Decimal
from typing import Any, Final

from fillbook.snapshot import document
from fillbook.snapshot.model import EXTREME_NUMBERS, Snapshot

TOLERANCE: Final = Decimal("1e-15")
"""Of the larger number: what is lost where a number is kept as a binary fraction and told in its shortest form."""
_SHOWN_FIELDS: Final = ("kpi", "side", "rank", "trade_id", "symbol", "contract_name", "mid_ts")


def is_same(shown: Snapshot, sent: Snapshot) -> bool:
    """Equal time and equal content, as far as the receiver keeps it."""
    if shown.updated_at != sent.updated_at:
        return False
    if shown.schema_version is not None:
        return document.content(shown) == document.content(sent)
    return _said(shown) == _said(sent) and all(
        _is_close(one, other) for one, other in zip(_numbers(shown), _numbers(sent), strict=True)
    )


def _said(snapshot: Snapshot) -> list[Any]:
    """Everything but numbers, in the order of the document, and where numbers stand."""
    return [
        snapshot.date,
        snapshot.headline,
        snapshot.summary,
        *((row.kpi, row.value) for row in snapshot.rows),
        *((point.kpi, point.t, point.src) for point in snapshot.points),
        *(tuple(getattr(one, name) for name in _SHOWN_FIELDS) for one in snapshot.extremes),
        *(tuple(getattr(asset, field.name) for field in fields(asset)) for asset in snapshot.assets),
    ]


def _numbers(snapshot: Snapshot) -> Iterator[Decimal | None]:
    for point in snapshot.points:
        yield point.v
    for one in snapshot.extremes:
        for name in EXTREME_NUMBERS:
            yield getattr(one, name)


def _is_close(one: Decimal | None, other: Decimal | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= TOLERANCE * max(abs(one), abs(other))
