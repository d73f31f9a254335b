"""Messages about lanes: an advisory stage of a ticker, told only when switched on and never as an execution."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from fillbook.money import NumberError, parse
from fillbook.notify.envelope import Envelope
from fillbook.notify.facts import pick
from fillbook.notify.fit import fit
from fillbook.notify.model import Embed, Field
from fillbook.notify.text import UNKNOWN, amount, cut, escape
from fillbook.notify.wording import Color
from fillbook.runtime.errors import Rejected
from fillbook.signal import rules

BUCKET = timedelta(minutes=15)
TICKER_UNITS_MAX = 80
NO_EXECUTION = "no execution"
EXIT_PENDING = "exit pending, position still open"


def bucket_of(instant: datetime) -> datetime:
    """Return the start of the 15-minute bucket of event time."""
    return instant - timedelta(minutes=instant.minute % 15, seconds=instant.second, microseconds=instant.microsecond)


def lane_subject(event: Envelope) -> str:
    """Return the one subject per ticker, lane and bucket; raises ``Rejected('event_invalid')`` without ticker or lane."""
    bucket = bucket_of(event.occurred_at).strftime("%Y%m%dT%H%MZ")
    ticker, lane = _need(event.data, "ticker")[:64], _need(event.data, "lane", "to", "to_lane")[:32]
    return f"lane/{event.book_id or '-'}/{ticker}/{lane}/{bucket}"


def render_lane(event: Envelope) -> Embed:
    """Return the embed of one lane move: from where to where, at which price, why, and that nothing was executed."""
    data = event.data
    ticker = cut(escape(_need(data, "ticker")), TICKER_UNITS_MAX)
    lane = escape(_need(data, "lane", "to", "to_lane"))
    before = escape(pick(data, "from_lane", "from", "previous_lane") or UNKNOWN)
    badges = data.get("badges") or ()
    notes = [NO_EXECUTION]
    if isinstance(badges, list | tuple) and "exit_pending" in badges:
        notes.append(EXIT_PENDING)
    reason = pick(data, "reason")
    fields = [Field(name="price", value=_price(data))]
    if reason is not None:
        fields.append(Field(name="reason", value=escape(reason) or UNKNOWN))
        words = escape(rules.reason_words(reason))
        notes = [words, *notes] if words else notes
    embed = Embed(
        title=f"{ticker}: {before} → {lane}",
        description=" · ".join(notes),
        color=int(Color.INFO),
        timestamp=event.occurred_at,
        fields=tuple(fields),
        footer=f"subject {escape(lane_subject(event))}",
    )
    return fit(embed, ("description", "reason"))


def _need(data: Mapping[str, Any], *names: str) -> str:
    value = pick(data, *names)
    if value is None:
        raise Rejected("event_invalid", f"{names[0]} is missing", field=names[0])
    return value


def _price(data: Mapping[str, Any]) -> str:
    value = data.get("price")
    try:
        return amount(None if value is None else parse(value))
    except NumberError as error:
        raise Rejected("event_invalid", "price is malformed", field="price") from error
