"""The wire rules of the read API: instants as pairs, decimals as text, unknown as null.

Of rows that are only told, the server's own texts are taken (``Tx.shown``): what is a text here and a text there is not made a
number on the way. Decision 0068.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any

from pydantic_core import to_json

from fillbook import money
from fillbook.ledger.moment import Moment

MONEY_DECIMALS = Decimal("0.01")
HUNDRED = Decimal(100)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_OFFSET_LENGTH = len("+00:00")


def written(document: object) -> bytes:
    """An answer as the bytes of its JSON, in a quarter of the time that the interpreter's encoder takes (decision 0084).

    Texts, whole numbers, truths, nulls, lists and objects of them: a number with decimals and an instant were made texts before.
    The serializer would write those its own way; that none comes here is held by types, and looked at in every test of a route.
    Raises ``ValueError`` for what nobody declared.
    """
    return to_json(document)


def text(value: Decimal | None) -> str | None:
    """A decimal as plain text without trailing zeros; null stays null."""
    return None if value is None else money.plain(value)


def number(value: str | None) -> Decimal | None:
    """A text that is reckoned with."""
    return None if value is None else Decimal(value)


def milliseconds(at: datetime | None) -> int | None:
    """Epoch milliseconds."""
    return None if at is None else (at - _EPOCH) // _MILLISECOND


def _in_utc(at: datetime) -> datetime:
    return at if at.tzinfo is UTC else at.astimezone(UTC)


@cache
def _pair(name: str) -> tuple[str, str]:
    prefix = f"{name}_" if name else ""
    return f"{prefix}ts", f"{prefix}at"


def instants(name: str, at: datetime | None) -> dict[str, Any]:
    """The pair ``<name>_ts`` (epoch ms) and ``<name>_at`` (ISO with ms); bare ``ts`` and ``at`` without one."""
    number, written = _pair(name)
    if at is None:
        return {number: None, written: None}
    at = _in_utc(at)
    return {number: (at - _EPOCH) // _MILLISECOND, written: at.isoformat(timespec="milliseconds")[:-_OFFSET_LENGTH] + "Z"}


def pair(at: str | None) -> tuple[int | None, str | None]:
    """Epoch milliseconds and ISO with milliseconds of an instant as the server writes it: ``2026-02-03 15:16:00.5+00``."""
    if at is None:
        return None, None
    fraction = (at[20:-3] + "00")[:3] if at[19] == "." else "000"
    return _minute(at[:16]) + int(at[17:19] + fraction), f"{at[:10]}T{at[11:19]}.{fraction}Z"


@lru_cache(8_192)
def _minute(written: str) -> int:
    """Epoch milliseconds of a minute of UTC; rows of a list share them."""
    return (datetime.fromisoformat(written).replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND


def as_written(at: datetime) -> str:
    """An instant as the server writes it, of a row that it did not write; such texts are ordered as their instants are."""
    bare = _in_utc(at).replace(tzinfo=None).isoformat(" ")
    return (bare.rstrip("0") if "." in bare else bare) + "+00"


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
    share = money.CONTEXT.divide(money.CONTEXT.multiply(HUNDRED, part), whole)
    return str(money.CONTEXT.quantize(share, MONEY_DECIMALS) + 0)


@lru_cache(8_192)
def share(part: str | None, whole: str | None) -> str | None:
    """``percent`` of two texts."""
    return None if part is None or whole is None else percent(Decimal(part), Decimal(whole))


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
