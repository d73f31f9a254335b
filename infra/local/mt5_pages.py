"""Windows, limits and cursors of the fake MT5 service: which deals a page holds, and what it says of the others.

Contract v1: start inclusive, end exclusive, on the server clock, at most 1000 a page, the next one by an opaque cursor. The
three-endpoint service: UTC dates or instants, ``limit`` and ``offset``. A cursor carries its whole state, so a service that was
started again goes on from it; ``generation`` is how all of them expire.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, TypeVar

from infra.local.mt5_answers import View, deal_row, page_v0, trade_row
from infra.local.mt5_faults import Fault
from infra.local.mt5_model import Deal
from infra.local.mt5_shapes import Document
from infra.local.mt5_truth import trades

ROWS_MAX: Final = 1000
T = TypeVar("T")


class Refused(Exception):
    """A request the service does not understand; answered 400 with ``code``."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A page that is asked for. ``window`` names what is paged; ``after``: the place of the last row before it."""

    window: str
    from_msc: int = 0
    to_msc: int = 0
    position_id: int | None = None
    limit: int = ROWS_MAX
    offset: int = 0
    after: tuple[int, int] | None = None
    utc: tuple[datetime, datetime] | None = None

    @property
    def page(self) -> int:
        """Its number, from 1."""
        return self.offset // self.limit + 1


def _whole(query: Mapping[str, str], name: str, code: str, usual: int | None = None) -> int:
    text = query.get(name)
    if text is None and usual is not None:
        return usual
    try:
        return int(str(text))
    except ValueError as error:
        raise Refused(code, f"{name} must be an integer") from error


def _limit(query: Mapping[str, str]) -> int:
    limit = _whole(query, "limit", "INVALID_LIMIT", ROWS_MAX)
    if not 1 <= limit <= ROWS_MAX:
        raise Refused("INVALID_LIMIT", f"limit must be from 1 to {ROWS_MAX}")
    return limit


def asked_v1(query: Mapping[str, str], generation: int) -> Asked:
    """Read a request of ``deals``; raises ``Refused``."""
    limit, cursor = _limit(query), query.get("cursor")
    if "position_id" in query:
        position_id = _whole(query, "position_id", "INVALID_POSITION")
        asked = Asked(window=f"p{position_id}", position_id=position_id, limit=limit)
    else:
        bounds = [_whole(query, name, "INVALID_WINDOW") for name in ("from_msc", "to_msc")]
        if bounds[0] > bounds[1]:
            raise Refused("INVALID_WINDOW", "from_msc is after to_msc")
        asked = Asked(window=f"{bounds[0]}-{bounds[1]}", from_msc=bounds[0], to_msc=bounds[1], limit=limit)
    if not cursor:
        return asked
    try:
        window, offset, msc, ticket, made = json.loads(base64.urlsafe_b64decode(cursor.encode()))
    except ValueError as error:
        raise Refused("INVALID_CURSOR", "the cursor is none of ours") from error
    if window != asked.window or made != generation:
        raise Refused("INVALID_CURSOR", "the cursor has expired" if window == asked.window else "the cursor is of another window")
    return Asked(
        window=window, from_msc=asked.from_msc, to_msc=asked.to_msc, position_id=asked.position_id, limit=limit, offset=offset,
        after=(msc, ticket),
    )  # fmt: skip


def asked_v0(query: Mapping[str, str]) -> Asked:
    """Read a request of ``history``: UTC dates (the last one whole) or instants with a zone; raises ``Refused``."""
    bounds = [_instant(query, name, is_end=name == "to_date") for name in ("from_date", "to_date")]
    offset = _whole(query, "offset", "INVALID_OFFSET", 0)
    if bounds[0] > bounds[1] or offset < 0:
        raise Refused("INVALID_WINDOW", "from_date is after to_date, or offset below zero")
    return Asked(window="utc", limit=_limit(query), offset=offset, utc=(bounds[0], bounds[1]))


def _instant(query: Mapping[str, str], name: str, *, is_end: bool) -> datetime:
    text = query.get(name, "")
    try:
        if len(text) == len("2026-01-05"):
            day = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
            return day + timedelta(days=1) if is_end else day
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused("INVALID_DATE", f"{name} must be a date or an instant") from error
    if at.tzinfo is None:
        raise Refused("INVALID_DATE", f"{name} needs a time zone")
    return at.astimezone(UTC)


def visible(view: View, asked: Asked, late_seconds: float) -> list[Deal]:
    """Return all deals of what is asked that history shows, in its order."""
    book, at = view.account.book, view.at
    if asked.position_id is not None:
        found = book.life(asked.position_id, at)
    elif asked.utc is not None:
        # A day more on either side, since the server clock is hours away from UTC and may stand still for one of them.
        begins, ends = asked.utc
        clock, day = view.account.terms.clock, 86_400_000
        found = book.between(clock.msc(begins) - day, clock.msc(ends) + day, at)
        found = [deal for deal in found if begins <= deal.at < ends]
    else:
        found = book.between(asked.from_msc, asked.to_msc, at)
    if late_seconds:
        found = [deal for deal in found if deal.at <= at - timedelta(seconds=late_seconds)]
    return found


def page_of(rows: Sequence[T], start: int, limit: int, drifts: Sequence[Fault]) -> tuple[list[T], int]:
    """Return the rows of a page and the total it states, as it is after what drifted between two pages."""
    total, page = len(rows), list(rows[start : start + limit])
    for fault in drifts:
        if fault.options["how"] == "order":
            page.reverse()
        else:  # a deal came in front: everything moves back by one
            page, total = list(rows[max(start - 1, 0) : max(start - 1, 0) + limit]), total + 1
    return page, total


def page_v1(view: View, asked: Asked, rows: Sequence[Deal], drifts: Sequence[Fault], generation: int) -> Document:
    """Return a page of deals of contract v1."""
    start = asked.offset
    if asked.after is not None:  # by place, not by number: what came in front meanwhile changes the total alone
        start = next((at for at, deal in enumerate(rows) if (deal.time_msc, deal.ticket) > asked.after), len(rows))
    page, total = page_of(rows, start, asked.limit, drifts)
    cursor = None
    if page and start + asked.limit < len(rows):
        last = rows[start + asked.limit - 1]
        state: list[Any] = [asked.window, start + asked.limit, last.time_msc, last.ticket, generation]
        cursor = base64.urlsafe_b64encode(json.dumps(state).encode()).decode()
    told = [deal_row(deal, view.shape, is_v1=True) for deal in page]
    return {"complete": True, "total": total, "next_cursor": cursor, "deals": told}


def history_v0(view: View, asked: Asked, late_seconds: float, drifts: Sequence[Fault]) -> Document:
    """Return a page of history of the three-endpoint service, as deals or as closed trades."""
    if view.shape.history == "deals":
        page, total = page_of(visible(view, asked, late_seconds), asked.offset, asked.limit, drifts)
        return page_v0([deal_row(deal, view.shape, is_v1=False) for deal in page], "deals", total, asked.limit, asked.offset)
    assert asked.utc is not None
    begins, ends = asked.utc
    until = view.at - timedelta(seconds=late_seconds)
    closed = sorted(
        (
            (trade.close_time, trade.ticket, trade)
            for trade in trades(view.account.book.told(view.at), view.account.terms.digits)
            if trade.status == "closed" and trade.close_time is not None and begins <= trade.close_time < min(ends, until)
        ),
        key=lambda one: one[:2],
    )
    shown, total = page_of([trade for _, _, trade in closed], asked.offset, asked.limit, drifts)
    told = page_v0([trade_row(trade, view.account.terms) for trade in shown], "trades", total, asked.limit, asked.offset)
    return {"period": {"from": begins.isoformat(), "to": ends.isoformat()}, **told, "summary": {}}
