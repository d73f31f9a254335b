"""What happened on the desk, on the wire: executions, corrections, lane moves, messages, publications, syncs, replays."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from fillbook.tracker.shapes import Amount, Instant, Milliseconds, Page

Kind = Literal["execution", "correction", "lane_move", "message", "snapshot", "sync", "replay"]


class Figures(TypedDict):
    """The figures and words of an item; each kind has its own, those it has not are left out."""

    action_type: NotRequired[str]
    direction: NotRequired[str]
    qty: NotRequired[Amount | None]
    price: NotRequired[Amount | None]
    value: NotRequired[Amount | None]
    fees: NotRequired[Amount | None]
    pnl_realized: NotRequired[Amount | None]
    pnl_before: NotRequired[Amount | None]
    currency: NotRequired[str]
    version: NotRequired[int | None]
    reason: NotRequired[str | None]
    reason_text: NotRequired[str | None]
    from_lane: NotRequired[str | None]
    lane: NotRequired[str]
    score: NotRequired[Amount | None]
    receipt_id: NotRequired[str]
    state: NotRequired[str]
    message_id: NotRequired[str | None]
    url: NotRequired[str | None]
    date: NotRequired[str]
    stage: NotRequired[str | None]
    target: NotRequired[str]
    source: NotRequired[str]
    error: NotRequired[str | None]
    rows: NotRequired[int]
    run_id: NotRequired[str]


class Item(TypedDict):
    """One thing that happened."""

    id: str
    kind: Kind
    ts: Milliseconds
    at: Instant
    book_id: str | None
    ticker: str | None
    title: str
    figures: Figures
    position_id: str | None
    action_id: str | None


class Activity(Page):
    """A page of what happened, newest first."""

    known_as_of_ts: Milliseconds
    known_as_of_at: Instant
    items: list[Item]
