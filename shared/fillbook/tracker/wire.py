"""The wire rules of the read API: instants as pairs, decimals as text, unknown as null."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import Any

from fillbook import money
from fillbook.ledger.moment import Moment

MONEY_DECIMALS = Decimal("0.01")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OFFSET_LENGTH = len("+00:00")


def text(value: Decimal | None) -> str | None:
    """A decimal as plain text without trailing zeros; null stays null."""
    return None if value is None else money.plain(value)


def milliseconds(at: datetime | None) -> int | None:
    """Epoch milliseconds."""
    if at is None:
        return None
    return int((at - _EPOCH).total_seconds() * 1000)


def _in_utc(at: datetime) -> datetime:
    return at if at.tzinfo is UTC else at.astimezone(UTC)


def instants(name: str, at: datetime | None) -> dict[str, Any]:
    """The pair ``<name>_ts`` (epoch ms) and ``<name>_at`` (ISO with ms); bare ``ts`` and ``at`` without one."""
    prefix = f"{name}_" if name else ""
    written = None if at is None else _in_utc(at).isoformat(timespec="milliseconds")[:-_OFFSET_LENGTH] + "Z"
    return {f"{prefix}ts": milliseconds(at), f"{prefix}at": written}


def exact(name: str, at: datetime) -> dict[str, Any]:
    """The pair of one of the two clocks. With microseconds where there are any: an answer can be asked for again by it."""
    pair = instants(name, at)
    if at.microsecond % 1000:
        pair[f"{name}_at"] = at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return pair


def percent(part: Decimal | None, whole: Decimal | None) -> str | None:
    """``part`` of ``whole`` in points with two decimals, null when unknown or of nothing."""
    if part is None or not whole:
        return None
    with localcontext(money.CONTEXT):
        return str((100 * part / whole).quantize(MONEY_DECIMALS) + 0)


def answer(at: datetime | Moment, data_as_of: datetime | None, books: Mapping[str, int], **content: Any) -> dict[str, Any]:
    """The frame of every answer: as of when, for the ledger known as of when, data as of when, which books at which sequence."""
    clocks = (
        instants("as_of", at) if isinstance(at, datetime) else exact("as_of", at.as_of) | exact("known_as_of", at.known_as_of)
    )
    return {
        "ok": True,
        **clocks,
        **instants("data_as_of", data_as_of),
        "books": {book_id: {"seq": seq} for book_id, seq in books.items()},
        **content,
    }
