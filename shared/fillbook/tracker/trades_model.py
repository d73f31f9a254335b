"""The shapes of positions, their lots and executions, listed and one by one. Source: tracker.md 3, 4.1; ledger.md 12."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from fillbook.tracker.annotations_model import PositionWords
from fillbook.tracker.shapes import Amount, Frame, Instant, Milliseconds, Page, Percent

Direction = Literal["LONG", "SHORT"]
ActionType = Literal["ENTRY", "ADD_ENTRY", "TRIM", "EXIT"]
MessageState = Literal[
    "proven", "posted", "pending", "ambiguous", "dead", "missing", "wrong", "double", "orphan", "unverifiable", "suppressed",
    "muted", "removed", "none",
]  # fmt: skip


class Lot(TypedDict):
    """A lot, in today's units; ``cost_basis`` of the whole lot, fees included, ``value`` without them."""

    lot_id: str
    ts: Milliseconds
    at: Instant
    qty: Amount
    price: Amount
    value: Amount | None
    remaining_qty: Amount
    cost_basis: Amount | None
    unrealized_pnl: Amount | None
    status: Literal["OPEN", "CLOSED"]


class LotAlone(Lot):
    """A lot by itself, with what names its position."""

    position_id: str
    book_id: str
    ticker: str
    direction: Direction
    currency: str


class Lots(Page):
    """Lots by themselves, those of the newest position first."""

    known_as_of_ts: Milliseconds
    known_as_of_at: Instant
    lots: list[LotAlone]


class ClosedLot(TypedDict):
    """The part of a lot that an execution closed, in today's units."""

    lot_id: str
    qty: Amount
    lot_price: Amount
    pnl_realized: Amount | None


class Message(TypedDict):
    """What became of an execution's message; ``url`` null: Discord never named its server."""

    state: MessageState
    message_id: str | None
    url: str | None
    posted_ts: Milliseconds | None
    posted_at: Instant | None


class Execution(TypedDict):
    """What a fill did to a position, as executed; ``message`` null: of another moment."""

    action_id: str
    version: int
    ts: Milliseconds
    at: Instant
    action_type: ActionType
    qty: Amount
    price: Amount
    value: Amount | None
    fees: Amount | None
    pnl_realized: Amount | None
    lots: list[ClosedLot]
    qty_after: Amount
    vwap_after: Amount | None
    reason: str | None
    reason_text: str | None
    message: Message | None


class Trade(PositionWords):
    """A position; ``instrument``: what it holds as its book names it, by which marks are asked for.

    ``lane`` and ``is_defend`` null: of another moment. ``outcome`` null: open.
    """

    position_id: str
    trade_id: str
    book_id: str
    ticker: str
    contract_name: str
    instrument: str
    direction: Direction
    status: Literal["OPEN", "CLOSED"]
    outcome: Literal["WIN", "LOSS", "FLAT", "PENDING"] | None
    currency: str
    total_qty: Amount
    opened_qty: Amount
    entry_price: Amount | None
    cost_basis: Amount | None
    current_price: Amount | None
    price_ts: Milliseconds | None
    price_at: Instant | None
    price_state: Literal["fresh", "stale", "missing"]
    unrealized_pnl: Amount | None
    realized_pnl: Amount | None
    fees: Amount | None
    return_percent: Percent | None
    day_change_percent: Percent | None
    day_direction: Literal["up", "down", "flat", "unknown"]
    trimmed_percent: Percent | None
    lane: str | None
    is_defend: bool | None
    first_entry_ts: Milliseconds
    first_entry_at: Instant
    last_action_ts: Milliseconds
    last_action_at: Instant
    action_count: int
    is_corrected: bool
    lots: NotRequired[list[Lot]]
    execution_actions: NotRequired[list[Execution]]


class Trades(Page):
    """A page of positions, newest entry first."""

    known_as_of_ts: Milliseconds
    known_as_of_at: Instant
    trades: list[Trade]


class EventLot(TypedDict):
    """A lot that an event opened or closed a part of, as executed."""

    lot_id: str | None
    qty: Amount
    price: Amount
    pnl_realized: Amount | None


class FlatEvent(TypedDict):
    """An action of the flat shape: the columns of ``ledger.v_trade_events``."""

    event_id: str
    trade_id: str
    book_id: str
    tenant_id: str
    ts: Milliseconds
    type: ActionType
    price: Amount
    qty: Amount
    value: Amount | None
    pnl_realized: Amount | None
    reason: str | None
    meta_json: dict[str, Any]
    lot_id: str | None
    lots: list[EventLot] | None
    qty_pct_delta: Amount | None
    qty_pct_total: Amount | None


class FlatTrade(TypedDict):
    """A position of the flat shape: the columns of ``ledger.v_trades``; ``trimmed_pct`` is 0 to 1, ``pnl_pct`` in points."""

    trade_id: str
    book_id: str
    tenant_id: str
    ticker: str
    direction: Direction
    entry_ts: Milliseconds
    exit_ts: Milliseconds | None
    trim_ts: Milliseconds | None
    created_at: Milliseconds
    updated_at: Milliseconds
    entry_price: Amount | None
    total_qty: Amount
    cost_basis: Amount | None
    status: Literal["OPEN", "TP_HIT_TRIM", "WIN", "LOSS", "FLAT", "CLOSED"]
    exit_price: Amount | None
    exit_reason: str | None
    trim_price: Amount | None
    trimmed_pct: Amount
    pnl: Amount | None
    pnl_pct: Amount | None
    rank: str | None
    rr: str | None
    script_version: str | None
    lots: list[Lot]
    execution_actions: list[FlatEvent]


class FlatTrades(Page):
    """A page of positions in the flat shape, newest entry first."""

    known_as_of_ts: Milliseconds
    known_as_of_at: Instant
    trades: list[FlatTrade]


class Action(TypedDict):
    """An execution by itself, as executed, with what its position was right after it."""

    action_id: str
    version: int
    book_id: str
    position_id: str
    ticker: str
    direction: Direction
    ts: Milliseconds
    at: Instant
    session_date: str
    action_type: ActionType
    qty: Amount
    price: Amount
    value: Amount | None
    fees: Amount | None
    cash_effect: Amount | None
    currency: str
    pnl_realized: Amount | None
    qty_after: Amount
    vwap_after: Amount | None
    cost_basis_after: Amount | None
    realized_pnl_after: Amount | None
    is_flat_after: bool
    reason: str | None
    reason_text: str | None
    origin: str
    recorded_ts: Milliseconds
    recorded_at: Instant


class Actions(Page):
    """A page of executions, newest first."""

    known_as_of_ts: Milliseconds
    known_as_of_at: Instant
    actions: list[Action]


class Closing(ClosedLot):
    """A part of a lot that an action closed."""

    action_id: str
    ts: Milliseconds
    at: Instant


class OwnMessage(Message):
    """A message of an execution, with the versions wanted and posted."""

    action_id: str
    channel_id: str
    wanted_version: int
    posted_version: int | None
    proven_ts: Milliseconds | None
    proven_at: Instant | None


class Version(TypedDict):
    """A version of an action: from when until when it was known, and what made it; VOID: it did not happen after all."""

    action_id: str
    version: int
    state: Literal["BOOKED", "VOID"]
    known_from_ts: Milliseconds
    known_from_at: Instant
    known_to_ts: Milliseconds | None
    known_to_at: Instant | None
    cause: str
    action_type: ActionType
    ts: Milliseconds
    at: Instant
    qty: Amount
    price: Amount
    value: Amount | None
    fees: Amount | None
    pnl_realized: Amount | None
    qty_after: Amount
    vwap_after: Amount | None
    realized_pnl_after: Amount | None
    reason: str | None


class Evidence(TypedDict):
    """The fact behind an action: the fill as its source told it, under the source's own ids."""

    action_id: str
    fill_id: str
    version: int
    source: str
    account_key: str
    source_id: str
    source_revision: int
    is_bust: bool
    venue_order: str
    side: Literal["BUY", "SELL"]
    qty: Amount
    price: Amount
    fees: Amount | None
    fees_currency: str | None
    executed_ts: Milliseconds
    executed_at: Instant
    received_ts: Milliseconds
    received_at: Instant
    recorded_ts: Milliseconds
    recorded_at: Instant
    origin: str
    cause: str
    content_hash: str


class TradeDetail(Frame):
    """One position with everything that is kept of it."""

    known_as_of_ts: Milliseconds
    known_as_of_at: Instant
    trade: Trade
    lots: list[Lot]
    actions: list[Execution]
    events: list[FlatEvent]
    closings: list[Closing]
    messages: list[OwnMessage]
    versions: NotRequired[list[Version]]
    evidence: NotRequired[list[Evidence]]
