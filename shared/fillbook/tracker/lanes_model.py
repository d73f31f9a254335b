"""The shapes of the board: lanes with their cards, and the moves between them."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from fillbook.tracker.shapes import Amount, Frame, Instant, Milliseconds, Page, Percent


class Words(TypedDict):
    """A rule or a reason, and what it says."""

    code: str
    text: str


class Card(TypedDict):
    """One ticker: where it stands and since when, why, why it is not traded, and the position the book has of it.

    ``position_id`` is of the ledger: the open one (``position_status`` OPEN), or the one that the receipt of an exit closed.
    """

    book_id: str
    ticker: str
    direction: Literal["LONG", "SHORT"] | None
    stage: str
    previous_stage: str | None
    moved_ts: Milliseconds
    moved_at: Instant
    moved: Literal["forward", "backward"] | None
    score: Amount | None
    price: Amount | None
    price_ts: Milliseconds | None
    price_at: Instant | None
    price_state: Literal["fresh", "stale", "missing"]
    day_change_percent: Percent | None
    day_direction: Literal["up", "down", "flat", "unknown"]
    badges: list[str]
    reasons: list[Words]
    block_reasons: list[Words]
    position_id: str | None
    position_status: Literal["OPEN", "CLOSED"] | None
    receipt_id: str | None


class Lane(TypedDict):
    """A column of the board. ``holds``: what the rules leave there; ``position``: whether any card's ticker has an open one."""

    key: str
    title: str
    stages: list[str]
    holds: Literal["no", "open", "closed"]
    position: bool
    count: int
    cards: list[Card]


class Lanes(Frame):
    """All lanes in their order; ``count`` is of all tickers, whatever is shown of them."""

    count: int
    lanes: list[Lane]


class Move(TypedDict):
    """A ticker's move from lane to lane, as shown; ``left`` null: it stands there now."""

    book_id: str
    ticker: str
    seq: int
    from_stage: str | None
    stage: str
    moved: Literal["forward", "backward"] | None
    ts: Milliseconds
    at: Instant
    left_ts: Milliseconds | None
    left_at: Instant | None
    rule: str
    rule_text: str
    reason: Words
    block_reasons: list[Words]
    badges: list[str]
    price: Amount
    score: Amount | None
    receipt_id: str
    action_ids: list[str]


class Moves(Page):
    """A page of moves, newest first."""

    moves: list[Move]
