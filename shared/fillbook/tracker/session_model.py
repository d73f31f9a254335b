"""Who asks, and what time it is at the desk and at the exchange, on the wire."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from fillbook.tracker.shapes import Frame, Instant, Milliseconds


class KeySeen(TypedDict):
    """The key that asked."""

    id: str
    tenant_id: str
    scopes: list[str]
    books: list[str]
    expires_ts: Milliseconds | None
    expires_at: Instant | None


class BookSeen(TypedDict):
    """A book that exists for the key."""

    book_id: str
    kind: str
    currency: str
    is_closed: bool


class ExchangeDay(TypedDict):
    """A session of the exchange."""

    date: str
    open_ts: Milliseconds
    open_at: Instant
    close_ts: Milliseconds
    close_at: Instant
    is_half_day: bool


class Exchange(TypedDict):
    """The exchange now: the day to which what happens now belongs; ``today`` null where today has no session."""

    name: str
    time_zone: str
    phase: Literal["pre", "regular", "post", "closed"]
    trading_day: str
    today: ExchangeDay | None
    last: ExchangeDay
    next: ExchangeDay


class Versions(TypedDict):
    """What answers: the code, the shape of its answers, the schema that it needs."""

    build: str
    api: int
    migration: str


class Session(Frame):
    """Who asks, which books exist for it, and what time it is. ``server`` is the desk's clock."""

    server_ts: Milliseconds
    server_at: Instant
    is_simulated: bool
    key: KeySeen
    visible: list[BookSeen]
    exchange: Exchange
    versions: Versions
