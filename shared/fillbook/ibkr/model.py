"""Nouns of the room: what the broker said, what follows from all of it, what a run asked for and got.

Everything is frozen and pure. Numbers are exact Decimals, instants aware UTC; ``None`` means *unknown*, never zero. An
adapter knows one outside system and hands over these values; it decides nothing about what they mean together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import date, datetime
from decimal import Decimal

from fillbook.ibkr.words import (
    AnomalyKind,
    CancelKind,
    CancelState,
    Confidence,
    IdKind,
    MatchKind,
    PayloadKind,
    Reason,
    Role,
    RunSource,
    RunState,
    Side,
    Source,
    State,
    TradeStatus,
)
from fillbook.values import frozen

Texts = Mapping[str, str]

# --- what the broker said ---------------------------------------------------------------------------------------------


@frozen
class RawRow:
    """One row as an adapter read it: names to texts, nothing interpreted. ``intake.read`` makes a value or a refusal of it.

    ``raw`` holds no request id and no statement header. Flex: the element's attributes without ``acctAlias``; TWS: the
    names of ``tws_row.EXECUTION_FIELDS`` or ``COMMISSION_FIELDS``, and ``bareTimeZone`` where the target accepts bare times.
    ``observed_at``: the statement's whenGenerated, or the frame's arrival. ``account_text``: the statement's account, for
    a row that names none.
    """

    source: Source
    kind: PayloadKind = PayloadKind.EXECUTION
    raw: Texts
    observed_at: datetime
    account_text: str = ""


@frozen
class Facts:
    """What one execution row says. ``quantity`` > 0, ``commission`` and ``taxes`` positive = cost, never converted.

    ``multiplier`` None = contract size unknown. ``notes``: the broker's codes. Names are those of ``ibkr.trade_executions``.
    """

    broker_trade_id: int | None = None
    flex_order_id: int | None = None
    ib_perm_id: int | None = None
    ib_order_id: int | None = None
    client_id: int | None = None
    transaction_id: int | None = None
    brokerage_order_id: str | None = None
    order_ref: str | None = None
    transaction_type: str
    conid: int
    symbol: str
    sec_type: str
    underlying_symbol: str | None = None
    fx_rate_to_base: Decimal | None = None
    multiplier: Decimal | None = None
    expiry: date | None = None
    strike: Decimal | None = None
    put_call: str | None = None
    executed_at: datetime
    executed_at_text: str
    is_time_ambiguous: bool = False
    trade_day: date
    report_date: date | None = None
    side: Side
    quantity: Decimal
    price: Decimal
    cum_quantity: Decimal | None = None
    exchange: str | None = None
    liquidity: str | None = None
    currency: str
    commission: Decimal | None = None
    commission_currency: str | None = None
    taxes: Decimal | None = None
    broker_realized_pnl: Decimal | None = None
    notes: tuple[str, ...] = ()
    open_close: str | None = None

    @property
    def signed_quantity(self) -> Decimal:
        """Quantity with the sign of its side: bought is positive."""
        return self.quantity if self.side is Side.BUY else -self.quantity


@frozen
class Sighting:
    """One execution row as parsed. ``payload_hash`` = sha256 over the sorted ``raw``: the same text is one sighting."""

    account_id: int
    account_code: str
    ib_exec_id: str
    id_kind: IdKind
    source: Source
    observed_at: datetime
    facts: Facts
    raw: Texts
    payload_hash: bytes

    @property
    def transaction_id(self) -> int | None:
        """The broker's id of this very booking; a rebook of one execution has another."""
        return self.facts.transaction_id


@frozen
class CommissionReport:
    """Frame 59: names an execution, no account. ``account_id`` is filled in by ``intake.assign_commissions``.

    ``commission`` keeps the socket's sign (positive = cost); the sentinel of an unset number is None.
    """

    ib_exec_id: str
    commission: Decimal | None
    commission_currency: str | None
    broker_realized_pnl: Decimal | None
    observed_at: datetime
    raw: Texts
    payload_hash: bytes
    account_id: int | None = None


@frozen
class Cancel:
    """A row that voids another (``broker_events``): opposite quantity, blank exec id. Its own commission stays here."""

    account_id: int
    account_code: str
    event_key: str
    kind: CancelKind
    source: Source
    transaction_id: int | None = None
    orig_transaction_id: int | None = None
    orig_trade_id: int | None = None
    conid: int | None = None
    signed_quantity: Decimal
    price: Decimal
    commission: Decimal | None = None
    executed_at: datetime
    report_date: date | None = None
    observed_at: datetime
    raw: Texts


@frozen
class Refusal:
    """A row that could not be understood; kept in quarantine with its text, never dropped and never guessed.

    ``source``: ``statement``, ``confirmation``, ``tws``. ``account_code``: the text of the row, '' where it names none.
    ``detail``: the field or a sentence, no secret. ``raw``: the row's texts as one JSON object, or the frame's fields as a list.
    """

    source: str
    account_code: str
    reason: Reason
    detail: str
    raw: str

    @property
    def is_policy(self) -> bool:
        """Rows of accounts that are not on the list are left out on purpose: a run is complete without them."""
        return self.reason is Reason.ACCOUNT_NOT_ALLOWED


Row = Sighting | Cancel | CommissionReport

# --- spans and positions ----------------------------------------------------------------------------------------------


@frozen
class Window:
    """A span of time that is asked for or covered, from inclusive, to exclusive; both aware UTC, from < to."""

    from_at: datetime
    to_at: datetime


@frozen
class PositionRow:
    """One open position as the broker states it; ``quantity`` signed, ``average_cost`` in units of price.

    The socket's own figure contains the contract size: its adapter divides by ``multiplier``.
    """

    account_id: int
    conid: int
    symbol: str
    sec_type: str
    currency: str
    quantity: Decimal
    average_cost: Decimal | None = None
    mark_price: Decimal | None = None
    multiplier: Decimal | None = None
    raw: Texts = field(default_factory=dict)


# --- what follows from it ---------------------------------------------------------------------------------------------


@frozen
class ExecIdentity:
    """What an execution id says about itself (``execid.parse``)."""

    ib_exec_id: str
    exec_id_base: str
    exec_revision: int
    settled_key: str
    combo_key: str | None
    is_correctable: bool
    has_fifth_part: bool


@frozen
class Execution:
    """One row of ``trade_executions``: who it is, what it says, and whether it counts.

    ``sources``: all that sighted it. ``payload_hash``, ``raw``, ``observed_at`` are those of the sighting that speaks.
    ``trade_id`` and ``exec_role`` are given by ``parents.resolve``; empty and standalone until then.
    """

    execution_id: str
    account_id: int
    identity: ExecIdentity
    id_kind: IdKind
    facts: Facts
    state: State
    correction_group: int = 0
    supersedes_execution_id: str | None = None
    voided_by_event_id: str | None = None
    sources: tuple[Source, ...]
    payload_hash: bytes
    raw: Texts
    observed_at: datetime
    trade_id: str = ""
    exec_role: Role = Role.STANDALONE

    @property
    def ib_exec_id(self) -> str:
        """The broker's id of the row."""
        return self.identity.ib_exec_id

    @property
    def is_canonical(self) -> bool:
        """Whether it counts."""
        return self.state in (State.LIVE, State.ANOMALY)

    @property
    def slot(self) -> tuple[str, int]:
        """(exec_id_base, correction_group): at most one canonical row each, and one fill of the book."""
        return (self.identity.exec_id_base, self.correction_group)


@frozen
class EventState:
    """What became of a cancel; ``ib_exec_id`` is the row it was applied to."""

    event_id: str
    event_key: str
    state: CancelState
    ib_exec_id: str | None = None


@frozen
class Anomaly:
    """Something that needs a person; one per account, kind and subject, reopened in place."""

    account_id: int
    kind: AnomalyKind
    subject: str
    details: Mapping[str, str | int | None] = field(default_factory=dict)


@frozen
class Trade:
    """What the canonical executions of one order come to. ``total_value`` exact, ``avg_price`` rounded to 12 decimals.

    ``keys``: every key that leads here. ``commission`` None: one is missing or currencies differ.
    """

    trade_id: str
    account_id: int
    match_kind: MatchKind
    confidence: Confidence
    keys: tuple[str, ...]
    ib_perm_id: int | None = None
    ib_order_id: int | None = None
    flex_order_id: int | None = None
    client_id: int | None = None
    conid: int | None = None
    order_ref: str | None = None
    symbol: str | None = None
    sec_type: str | None = None
    side: Side | None = None
    exchange: str | None = None
    currency: str | None = None
    trade_day: date | None = None
    is_combo: bool = False
    status: TradeStatus = TradeStatus.UNKNOWN
    order_quantity: Decimal | None = None
    total_quantity: Decimal
    total_value: Decimal | None = None
    avg_price: Decimal | None = None
    commission: Decimal | None = None
    commission_currency: str | None = None
    missing_commission_count: int = 0
    execution_count: int = 0
    canonical_count: int = 0
    first_executed_at: datetime | None = None
    last_executed_at: datetime | None = None


@frozen
class Coverage:
    """What a run covered of one account; ``earliest_seen_at`` and ``latest_seen_at`` are of the executions it saw."""

    account_id: int
    covered: Window | None
    earliest_seen_at: datetime | None = None
    latest_seen_at: datetime | None = None
    is_complete: bool


@frozen
class SyncMetrics:
    """What one run did. fetched = inserted + updated + unchanged + merged + cancel rows + quarantined, always.

    ``partitions``: outbox partitions the caller relays after the commit; no figure.
    """

    run_id: str
    source: RunSource
    state: RunState
    window_start: datetime
    window_end: datetime
    fetched_executions_count: int = 0
    inserted_executions_count: int = 0
    updated_executions_count: int = 0
    unchanged_executions_count: int = 0
    merged_sightings_count: int = 0
    cancel_rows_count: int = 0
    quarantined_rows_count: int = 0
    skipped_rows_count: int = 0
    library_dropped_count: int = 0
    canonical_changes_count: int = 0
    touched_trades_count: int = 0
    voided_executions_count: int = 0
    anomalies_count: int = 0
    missing_commissions_count: int = 0
    covered: tuple[Coverage, ...] = ()
    error_class: str | None = None
    partitions: tuple[int, ...] = ()

    @property
    def adds_up(self) -> bool:
        """Whether every fetched row is accounted for exactly once."""
        known = self.inserted_executions_count + self.updated_executions_count + self.unchanged_executions_count
        other = self.merged_sightings_count + self.cancel_rows_count + self.quarantined_rows_count
        return self.fetched_executions_count == known + other
