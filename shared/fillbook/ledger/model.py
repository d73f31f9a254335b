"""Nouns of the ledger: what was told (fills, adjustments), what was booked (actions, closings), what follows (positions, lots).

Values only. Numbers are exact Decimals; ``None`` means *unknown*, which is never zero. Ids are uuid texts (``ids.py``),
instants aware UTC. Booking order inside a book and instrument is ``Fill.key``: executed_at, venue_order, fill_id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from fillbook.ledger.ids import adjustment_id, fill_id
from fillbook.ledger.words import ActionType, Direction, LotMethod, Netting, OutcomeStatus, PositionStatus, RowState, Side
from fillbook.money import ONE, ZERO
from fillbook.values import frozen

__all__ = [
    "Action",
    "ActionType",
    "ActionVersion",
    "Adjustment",
    "AdjustmentVersion",
    "Book",
    "BookHead",
    "Closing",
    "Direction",
    "Fill",
    "FillVersion",
    "Key",
    "Lot",
    "LotMethod",
    "LotPick",
    "Mark",
    "Netting",
    "Outcome",
    "OutcomeStatus",
    "Position",
    "PositionStatus",
    "RowState",
    "Side",
    "Totals",
]

Key = tuple[datetime, str, str]


@frozen
class Book:
    """A ledger of its own; ``calendar`` names the sessions that decide when its marks are stale."""

    book_id: str
    tenant_id: str = "desk"
    lot_method: LotMethod = LotMethod.FIFO
    netting: Netting = Netting.NET
    base_currency: str = "USD"
    start_cash: Decimal = ZERO
    calendar: str = "XNYS"

    @property
    def kind(self) -> str:
        """``live``, ``replay``, ``ibkr`` or ``mt5``: the part before the first colon."""
        return self.book_id.partition(":")[0]


@frozen
class BookHead:
    """A book with the end of its chain: ``seq`` and ``chain_head`` of the last row, and when that was recorded.

    ``is_locked`` says that the row was read under its lock, so that a booking may be computed from it.
    """

    book: Book
    seq: int
    chain_head: bytes
    last_recorded_at: datetime
    closed_seq: int | None = None
    is_locked: bool = False

    @property
    def is_closed(self) -> bool:
        """Whether the book was closed at or before this point of its chain."""
        return self.closed_seq is not None and self.seq >= self.closed_seq


@frozen
class LotPick:
    """For SPECIFIC: how much to take of a lot, named by its lot_id or by the lot_ref it was opened with."""

    lot: str
    quantity: Decimal


@frozen
class Fill:
    """The broker-neutral fact that is booked. ``fees`` are signed (cost > 0) in ``fees_currency``; None = not known yet.

    ``fx_rate``: base currency per unit of ``currency``; ``fees_rate``: the same per unit of ``fees_currency``.
    ``multiplier`` None = contract size unknown, then every money figure is unknown. ``fill_id`` is derived here.
    """

    source: str
    account_key: str = ""
    source_id: str
    source_revision: int = 1
    is_bust: bool = False
    instrument: str
    ticker: str
    contract_name: str
    side: Side
    quantity: Decimal
    price: Decimal
    multiplier: Decimal | None = ONE
    currency: str = "USD"
    fx_rate: Decimal | None = None
    fees: Decimal | None = None
    fees_currency: str | None = None
    fees_rate: Decimal | None = None
    position_effect: str = "auto"
    direction: Direction | None = None
    lot_ref: str | None = None
    lot_picks: tuple[LotPick, ...] | None = None
    cash_style: str = "full"
    executed_at: datetime
    venue_order: str = ""
    session_date: date
    reason: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    origin: str = "live"
    cause: str = "first"
    replaces_fill_id: str | None = None
    received_at: datetime
    fill_id: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fill_id", fill_id(self.source, self.account_key, self.source_id))

    @property
    def key(self) -> Key:
        """Booking order."""
        return (self.executed_at, self.venue_order, self.fill_id)

    @property
    def rank(self) -> tuple[int, bool]:
        """The revision that counts is the greatest (source_revision, is_bust)."""
        return (self.source_revision, self.is_bust)


@frozen
class FillVersion:
    """A fill as the journal holds it; ``booking_seq`` is the first seq of the call that wrote it."""

    fill: Fill
    version: int
    content_hash: bytes
    recorded_at: datetime
    seq: int = 0
    booking_seq: int = 0

    @property
    def current_rank(self) -> tuple[int, bool, int]:
        """The current version of a fill is the one with the greatest of these."""
        return (self.fill.source_revision, self.fill.is_bust, self.version)


@frozen
class Adjustment:
    """A split ``ratio_num:ratio_den`` of an instrument, entered by an operator, never inferred; ``is_void`` undoes it."""

    book_id: str
    instrument: str
    ratio_num: int
    ratio_den: int
    effective_at: datetime
    is_void: bool = False
    entered_by: str
    reason: str
    kind: str = "split"
    adjustment_id: str = field(init=False)

    def __post_init__(self) -> None:
        text = adjustment_id(self.book_id, self.instrument, self.effective_at, self.ratio_num, self.ratio_den)
        object.__setattr__(self, "adjustment_id", text)


@frozen
class AdjustmentVersion:
    """An adjustment as the journal holds it."""

    adjustment: Adjustment
    version: int
    recorded_at: datetime
    seq: int = 0
    booking_seq: int = 0


@frozen
class Lot:
    """What one opening fill holds: as executed (quantity … fx_rate), and today, split-adjusted (split_factor …).

    ``basis`` = value + s·fees. A lot whose fill is gone is VOID.
    """

    lot_id: str
    position_id: str
    fill_id: str
    action_id: str
    lot_ref: str | None
    opened_at: datetime
    venue_order: str
    status: PositionStatus
    quantity: Decimal
    price: Decimal
    multiplier: Decimal | None
    value: Decimal | None
    fees: Decimal | None
    fees_base: Decimal | None
    basis: Decimal | None
    fx_rate: Decimal | None
    split_factor: Decimal
    price_adjusted: Decimal
    quantity_adjusted: Decimal
    quantity_open: Decimal
    value_open: Decimal | None
    basis_open: Decimal | None
    fees_base_open: Decimal | None


@frozen
class Position:
    """One position, amounts in ``currency``, quantities and vwap in today's split-adjusted units.

    ``lots`` are its open lots in booking order. ``entry_notional``/``exit_notional`` = Σ quantity × price of all openings
    and closings, exact; ``value_opened`` = Σ value of all openings, ``value_initial`` that of the ENTRY (None: unknown).
    ``notional_open`` = Σ quantity_open × price_adjusted of ``lots``, exact and not a column: kept so that vwap needs no scan.
    """

    position_id: str
    instrument: str
    ticker: str
    contract_name: str
    direction: Direction
    status: PositionStatus
    currency: str
    multiplier: Decimal | None
    is_net: bool
    cash_style: str
    quantity_open: Decimal
    quantity_opened: Decimal
    quantity_closed: Decimal
    value_open: Decimal | None
    cost_basis: Decimal | None
    vwap: Decimal | None
    entry_vwap: Decimal
    exit_vwap: Decimal | None
    entry_notional: Decimal
    exit_notional: Decimal
    value_opened: Decimal | None
    value_initial: Decimal | None
    fees_total: Decimal | None
    realized_pnl: Decimal | None
    realized_pnl_gross: Decimal | None
    realized_pnl_base: Decimal | None
    split_factor: Decimal
    opened_at: datetime
    last_opened_at: datetime
    last_action_at: datetime
    closed_at: datetime | None
    first_action_id: str
    action_count: int
    open_lot_count: int
    lots: tuple[Lot, ...] = ()
    notional_open: Decimal = ZERO


@frozen
class Closing:
    """The part of a lot matched to a closing action: the only place where realized P&L is born."""

    lot_id: str
    ordinal: int
    quantity: Decimal
    lot_price: Decimal
    split_factor: Decimal
    close_value: Decimal | None
    lot_value: Decimal | None
    proceeds: Decimal | None
    lot_basis: Decimal | None
    realized_pnl_gross: Decimal | None
    realized_pnl: Decimal | None
    realized_pnl_base: Decimal | None


@frozen
class Action:
    """What a fill's leg was booked as, with the state of the position right after. As executed, never split-adjusted."""

    action_id: str
    fill_id: str
    leg: int
    position_id: str
    lot_id: str | None
    action_type: ActionType
    instrument: str
    ticker: str
    direction: Direction
    side: Side
    executed_at: datetime
    venue_order: str
    session_date: date
    quantity: Decimal
    price: Decimal
    multiplier: Decimal | None
    currency: str
    value: Decimal | None
    fees: Decimal | None
    cash_effect: Decimal | None
    realized_pnl: Decimal | None
    realized_pnl_gross: Decimal | None
    realized_pnl_base: Decimal | None
    position_quantity_after: Decimal
    position_quantity_opened_after: Decimal
    position_vwap_after: Decimal | None
    position_cost_basis_after: Decimal | None
    position_realized_pnl_after: Decimal | None
    unrealized_pnl_after: Decimal | None
    is_flat_after: bool
    reason: str | None
    meta: Mapping[str, Any]
    closings: tuple[Closing, ...] = ()

    @property
    def order(self) -> tuple[datetime, str, str, int]:
        """Booking order of actions: that of the fill, then the leg."""
        return (self.executed_at, self.venue_order, self.fill_id, self.leg)


@frozen
class ActionVersion:
    """One version of an action; ``cause_seq`` is the journal row that made it, ``fill_seq`` its fill's version."""

    action: Action
    version: int
    state: RowState
    fill_seq: int
    cause: str
    cause_seq: int
    recorded_at: datetime
    superseded_at: datetime | None = None
    seq: int
    booking_seq: int


@frozen
class Mark:
    """A price an instrument was seen at; one per 5-minute bucket is kept, the latest ``marked_at`` wins."""

    instrument: str
    price: Decimal
    bid: Decimal | None = None
    ask: Decimal | None = None
    marked_at: datetime
    source: str


@frozen
class Outcome:
    """What became of one fill: its new action versions (closings and ``*_after`` inside), and outbox partitions to relay."""

    fill_id: str
    status: OutcomeStatus
    reason: str | None = None
    actions: tuple[ActionVersion, ...] = ()
    partitions: tuple[int, ...] = ()


@frozen
class Totals:
    """Book-wide facts for admission: amounts keyed by currency (None: a part is unknown), counts of open positions.

    ``entries`` counts current ENTRY actions of the session date that was asked for.
    """

    start_cash: Decimal
    base_currency: str
    realized: Mapping[str, Decimal | None]
    cost_basis_open: Mapping[str, Decimal | None]
    open_long: int
    open_short: int
    entries: int
