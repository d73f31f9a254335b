"""What an operator enters: a fact (a missing opening, a correction by ticket), the end of a fact, a split.

Operator facts are facts: they are parked like a broker's where they do not fit, and a correction is the next revision of
the same ticket. Text becomes numbers here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from fillbook.calendar import CalendarError, calendar
from fillbook.ledger import bookstore, service
from fillbook.ledger.model import Adjustment, Direction, Fill, Outcome, Side
from fillbook.money import ONE, NumberError, parse
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Rejected

_RATIO = re.compile(r"([1-9]\d{0,5}):([1-9]\d{0,5})")


def fill_of(given: Mapping[str, Any], now: datetime) -> Fill:
    """A fill of ``source=operator`` from texts by name; raises ``Rejected`` naming the field."""
    executed_at = instant_of(given["executed_at"], "executed_at")
    fees = _number(given, "fees")
    try:
        return Fill(
            source="operator",
            account_key=given["by"],
            source_id=given["ticket"],
            source_revision=given["revision"],
            instrument=given["instrument"],
            ticker=given["ticker"] or given["instrument"],
            contract_name=given["contract_name"] or given["ticker"] or given["instrument"],
            side=Side(given["side"].upper()),
            quantity=_required(given, "quantity"),
            price=_required(given, "price"),
            multiplier=_number(given, "multiplier") or ONE,
            currency=given["currency"] or "USD",
            fx_rate=_number(given, "fx_rate"),
            fees=fees,
            fees_currency=given["fees_currency"],
            fees_rate=_number(given, "fees_rate"),
            position_effect=given["effect"],
            direction=None if given["direction"] is None else Direction(given["direction"]),
            lot_ref=given["lot_ref"],
            cash_style=given["cash_style"],
            executed_at=executed_at,
            venue_order=given["venue_order"],
            session_date=_session_date(given["session_date"], executed_at),
            reason=given["reason"],
            meta={"entered_by": given["by"]},
            origin="live",
            cause="first" if given["revision"] == 1 else "revision",
            received_at=now,
        )
    except ValueError as error:
        raise Rejected("side_invalid", "BUY or SELL", field="side") from error


def enter(db: Database, book_id: str, fill: Fill, now: datetime) -> dict[str, Any]:
    """Book an operator's fact; returns what became of it."""
    (outcome,) = service.run(db, lambda tx: service.book_fills(tx, book_id, [fill], now))
    return _told(outcome)


def bust(db: Database, book_id: str, fill_id: str, now: datetime, *, by: str, reason: str) -> dict[str, Any]:
    """End a fact by its fill id: the current revision again, with ``is_bust``. ``Rejected('fill_unknown')`` when not held."""
    with db.transaction(read_only=True) as tx:
        current = bookstore.current_fill(tx, book_id, fill_id)
    if current is None:
        raise Rejected("fill_unknown", field="fill")
    gone = replace(current.fill, is_bust=True, cause="bust", reason=reason, meta={"entered_by": by}, received_at=now)
    return enter(db, book_id, gone, now)


def split_of(given: Mapping[str, Any], _now: datetime) -> Adjustment:
    """A split from texts: ``ratio`` as ``4:1``, ``effective`` an ISO instant with its zone."""
    ratio = _RATIO.fullmatch(given["ratio"])
    if ratio is None:
        raise Rejected("ratio_invalid", "like 4:1", field="ratio")
    return Adjustment(
        book_id=given["book"],
        instrument=given["instrument"],
        ratio_num=int(ratio[1]),
        ratio_den=int(ratio[2]),
        effective_at=instant_of(given["effective"], "effective"),
        is_void=given["void"],
        entered_by=given["by"],
        reason=given["reason"],
    )


def split(db: Database, adjustment: Adjustment, now: datetime) -> bool:
    """Enter or undo a split; False when it stands like that already."""
    return service.run(db, lambda tx: service.adjust(tx, adjustment, now))


def optional_instant(text: str | None, name: str) -> datetime | None:
    """An instant of a verb's argument, or None when it was not given; ``Rejected('instant_invalid')`` naming it."""
    return None if text is None else instant_of(text, name)


def _told(outcome: Outcome) -> dict[str, Any]:
    return {
        "fill_id": outcome.fill_id,
        "status": outcome.status,
        "reason": outcome.reason,
        "actions": [
            {
                "action_id": version.action.action_id,
                "version": version.version,
                "state": version.state,
                "action_type": version.action.action_type,
                "quantity": version.action.quantity,
                "price": version.action.price,
                "realized_pnl": version.action.realized_pnl,
                "position_quantity_after": version.action.position_quantity_after,
            }
            for version in outcome.actions
        ],
    }


def _number(given: Mapping[str, Any], name: str) -> Decimal | None:
    if given[name] is None:
        return None
    try:
        return parse(given[name])
    except NumberError as error:
        raise Rejected(error.reason, name, field=name) from error


def _required(given: Mapping[str, Any], name: str) -> Decimal:
    number = _number(given, name)
    if number is None:
        raise Rejected(f"{name}_missing", field=name)
    return number


def instant_of(text: str, name: str) -> datetime:
    """An ISO instant with its zone, in UTC; ``Rejected('instant_invalid')``."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise Rejected("instant_invalid", "ISO with a zone, like 2026-06-10T13:30Z", field=name) from error
    if instant.tzinfo is None:
        raise Rejected("instant_invalid", "an instant needs its zone", field=name)
    return instant.astimezone(UTC)


def _session_date(text: str | None, executed_at: datetime) -> date:
    try:
        return calendar().trading_day(executed_at) if text is None else date.fromisoformat(text)
    except (ValueError, CalendarError) as error:
        raise Rejected("session_date_invalid", field="session_date") from error
