"""One execution as it is told: the ledger's stored row, read from an event or from ``ledger.v_actions``.

Both sources become the same frozen value, so that what was sent and what the ledger says can be rendered by the same
function and compared. Parsing is strict once, here; a row that lacks what identifies or values it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from fillbook.instants import in_utc, instant_of
from fillbook.money import NumberError, parse
from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

BOOK_ID = re.compile(
    r"(live|replay:[A-Za-z0-9._~-]{1,64}|ibkr:[A-Za-z0-9._~-]{1,64}|mt5:[A-Za-z0-9._~-]{1,64}:[A-Za-z0-9._~-]{1,64})"
)
VERSION_MAX = 2**31 - 1
COUNT_DIGITS_MAX = 9
SILENT_CAUSES = frozenset({"commission", "settled", "enrichment"})
"""Causes that edit values without a mark: what happened did not change, only what is known about it."""


class Telling(StrEnum):
    """Which of the three execution events this is."""

    BOOKED = "execution_booked"
    CORRECTED = "execution_corrected"
    BUSTED = "execution_busted"


@frozen
class LotPart:
    """The part of one lot that a closing action took."""

    quantity: Decimal
    price: Decimal
    realized_pnl: Decimal | None


@frozen
class Change:
    """One column that a correction changed; values as the event gives them."""

    column: str
    before: Any
    after: Any


@frozen
class Execution:
    """The columns of ``ledger.v_actions`` that a message tells. NULL is ``None``; amounts are in ``currency``.

    ``lots`` are at most the first 50 of ``lot_count`` parts, in the order of the closing.
    """

    book_id: str
    action_id: UUID
    version: int
    position_id: UUID
    action_type: str
    ticker: str
    direction: str
    executed_at: datetime
    quantity: Decimal
    price: Decimal
    value: Decimal | None
    fees: Decimal | None
    currency: str
    realized_pnl: Decimal | None
    position_quantity_after: Decimal | None
    position_vwap_after: Decimal | None
    unrealized_pnl_after: Decimal | None
    position_realized_pnl_after: Decimal | None
    lots: tuple[LotPart, ...] = ()
    lot_count: int = 0
    reason: str | None = None
    origin: str = "live"
    cause: str = "first"
    telling: Telling = Telling.BOOKED
    changes: tuple[Change, ...] = ()
    replaces_action_id: UUID | None = None

    @property
    def is_closing(self) -> bool:
        """Whether this action takes from lots (TRIM, EXIT) and so has a realized figure."""
        return self.action_type in ("TRIM", "EXIT")

    @property
    def is_gain(self) -> bool:
        """Whether every figure this action is judged by is known and above zero."""
        if not self.is_closing:
            return True
        judged = [self.realized_pnl, self.position_realized_pnl_after] if self.action_type == "EXIT" else [self.realized_pnl]
        return all(figure is not None and figure > 0 for figure in judged)

    @property
    def is_marked(self) -> bool:
        """Whether the title says ``(corrected)``."""
        return self.telling is Telling.CORRECTED and self.cause not in SILENT_CAUSES


def from_event(telling: Telling, book_id: str | None, data: Mapping[str, Any]) -> Execution:
    """Read an event's ``data``; raises ``Rejected('event_invalid', field=…)`` when it does not say what must be told.

    A bust repeats its values in ``before``, a correction in ``after``; columns at the top level win where they are known.
    """
    nested = data.get("before" if telling is Telling.BUSTED else "after")
    row: dict[str, Any] = dict(nested) if isinstance(nested, Mapping) else {}
    row.update({name: value for name, value in data.items() if value is not None or name not in row})
    before, after = _mapping(data.get("before")), _mapping(data.get("after")) or row
    changed = data.get("changed") or ()
    changes = tuple(
        Change(column=str(column), before=before.get(str(column)), after=after.get(str(column)))
        for column in (changed if isinstance(changed, list | tuple) else ())
    )
    return from_row(book_id, row, telling=telling, changes=changes)


def from_row(
    book_id: str | None, row: Mapping[str, Any], *, telling: Telling = Telling.BOOKED, changes: tuple[Change, ...] = ()
) -> Execution:
    """Read a row with the column names of ``ledger.v_actions``; numbers may be text or Decimal, times text or datetime."""
    lots = _lots(row.get("lots") or ())
    return Execution(
        book_id=_book(book_id),
        action_id=_uuid(row, "action_id"),
        version=_version(row),
        position_id=_uuid(row, "position_id"),
        action_type=_one_of(row, "action_type", ("ENTRY", "ADD_ENTRY", "TRIM", "EXIT")),
        ticker=_text(row, "ticker"),
        direction=_one_of(row, "direction", ("LONG", "SHORT")),
        executed_at=_instant(row, "executed_at"),
        quantity=_number(row, "quantity"),
        price=_number(row, "price"),
        value=_optional(row, "value"),
        fees=_optional(row, "fees"),
        currency=_currency(row),
        realized_pnl=_optional(row, "realized_pnl"),
        position_quantity_after=_optional(row, "position_quantity_after"),
        position_vwap_after=_optional(row, "position_vwap_after"),
        unrealized_pnl_after=_optional(row, "unrealized_pnl_after"),
        position_realized_pnl_after=_optional(row, "position_realized_pnl_after"),
        lots=lots,
        lot_count=max(len(lots), _count(row, "lot_count")),
        reason=None if row.get("reason") is None else str(row["reason"]),
        origin=str(row.get("origin") or "live"),
        cause=str(row.get("cause") or "first"),
        telling=telling,
        changes=changes,
        replaces_action_id=None if row.get("replaces_action_id") is None else _uuid(row, "replaces_action_id"),
    )


# --- one column each --------------------------------------------------------------------------------------------------


def _invalid(name: str) -> Rejected:
    return Rejected("event_invalid", f"{name} is missing or malformed", field=name)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _book(book_id: str | None) -> str:
    if book_id is None or not BOOK_ID.fullmatch(book_id):
        raise _invalid("book_id")
    return book_id


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise _invalid(name)
    return value


def _one_of(row: Mapping[str, Any], name: str, allowed: Iterable[str]) -> str:
    value = _text(row, name)
    if value not in allowed:
        raise _invalid(name)
    return value


def _currency(row: Mapping[str, Any]) -> str:
    value = _text(row, "currency")
    if not re.fullmatch(r"[A-Z]{3}", value):
        raise _invalid("currency")
    return value


def _uuid(row: Mapping[str, Any], name: str) -> UUID:
    try:
        return UUID(str(row[name]))
    except (KeyError, ValueError) as error:
        raise _invalid(name) from error


def _version(row: Mapping[str, Any]) -> int:
    try:
        version = int(str(row["version"]))
    except (KeyError, ValueError) as error:
        raise _invalid("version") from error
    if not 1 <= version <= VERSION_MAX:
        raise _invalid("version")
    return version


def _count(row: Mapping[str, Any], name: str) -> int:
    value = row.get(name)
    if value is None:
        return 0
    text = "" if isinstance(value, bool) else str(value)
    if not (text.isascii() and text.isdigit()) or len(text) > COUNT_DIGITS_MAX:
        raise _invalid(name)
    return int(text)


def _instant(row: Mapping[str, Any], name: str) -> datetime:
    value = row.get(name)
    try:
        return in_utc(value) if isinstance(value, datetime) else instant_of(_text(row, name))
    except ValueError as error:
        raise _invalid(name) from error


def _number(row: Mapping[str, Any], name: str) -> Decimal:
    number = _optional(row, name)
    if number is None:
        raise _invalid(name)
    return number


def _optional(row: Mapping[str, Any], name: str) -> Decimal | None:
    value = row.get(name)
    if value is None:
        return None
    try:
        return parse(value)
    except NumberError as error:
        raise _invalid(name) from error


def _lots(rows: Any) -> tuple[LotPart, ...]:
    if not isinstance(rows, list | tuple) or not all(isinstance(row, Mapping) for row in rows):
        raise _invalid("lots")
    return tuple(
        LotPart(
            quantity=_number(row, "quantity"),
            price=_number(row, "lot_price" if row.get("lot_price") is not None else "price"),
            realized_pnl=_optional(row, "realized_pnl"),
        )
        for row in rows
    )
