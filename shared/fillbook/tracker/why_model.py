"""Why an execution was booked, and what came of it, on the wire: a chain of links, those that are missing named."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from fillbook.tracker.shapes import Amount, Frame, Instant, Milliseconds

LinkName = Literal["receipt", "signal", "lane", "intent", "fill", "action", "closing", "event", "message", "kpi"]
LinkState = Literal["found", "missing", "not_yet", "not_applicable"]


class Block(TypedDict):
    """A rule that stood in the way, with what it compared."""

    code: str
    text: str
    value: Any
    limit: Any


class Facts(TypedDict):
    """What a link says; each has its own, those it has not are left out."""

    book_id: NotRequired[str]
    ticker: NotRequired[str]
    source: NotRequired[str]
    source_id: NotRequired[str]
    script_version: NotRequired[str]
    payload_hash: NotRequired[str]
    result: NotRequired[str]
    repairs: NotRequired[list[str]]
    bar_ts: NotRequired[Milliseconds]
    bar_at: NotRequired[Instant]
    lane: NotRequired[str]
    computed_lane: NotRequired[str]
    rule: NotRequired[str | None]
    reason: NotRequired[str | None]
    reason_text: NotRequired[str | None]
    direction: NotRequired[str | None]
    score: NotRequired[Amount | None]
    badges: NotRequired[list[str]]
    inputs: NotRequired[dict[str, Any]]
    compared: NotRequired[list[list[Any]]]
    block_reasons: NotRequired[list[Block]]
    profile: NotRequired[str]
    kind: NotRequired[str]
    refused_by: NotRequired[list[str]]
    version: NotRequired[int | None]
    posted_version: NotRequired[int | None]
    state: NotRequired[str]
    cause: NotRequired[str]
    action_type: NotRequired[str]
    position_id: NotRequired[str]
    executed_ts: NotRequired[Milliseconds]
    executed_at: NotRequired[Instant]
    qty: NotRequired[Amount | None]
    price: NotRequired[Amount | None]
    value: NotRequired[Amount | None]
    fees: NotRequired[Amount | None]
    pnl_realized: NotRequired[Amount | None]
    lot_price: NotRequired[Amount | None]
    currency: NotRequired[str]
    event_type: NotRequired[str]
    published_ts: NotRequired[Milliseconds | None]
    published_at: NotRequired[Instant | None]
    channel: NotRequired[str]
    message_id: NotRequired[str | None]
    url: NotRequired[str | None]
    date: NotRequired[str]
    stage: NotRequired[str | None]
    display: NotRequired[str]
    unit: NotRequired[str | None]


class Link(TypedDict):
    """A link of the chain; ``gap_ms`` is the time since the one before that has a time, ``note`` says why one is not there."""

    link: LinkName
    state: LinkState
    id: str | None
    ts: Milliseconds | None
    at: Instant | None
    gap_ms: int | None
    note: str | None
    facts: Facts


class Why(Frame):
    """The chain of a version of an execution, from what was received to the published figures."""

    action_id: str
    book_id: str
    position_id: str
    ticker: str
    version: int
    versions: int
    is_whole: bool
    missing: list[LinkName]
    chain: list[Link]
