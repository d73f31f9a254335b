"""Nouns of the room: what a service said of an account, what is stored of it, what follows from its deals.

Everything is frozen and pure. Volumes are lots, prices and money exact Decimals, ``None`` means *unknown*, never zero. A name
that ends in ``_msc`` is milliseconds on the **server clock** (the broker's wall time written as if it were an epoch); instants
of type ``datetime`` are aware UTC. Tickets, orders and positions are different sequences of numbers, each up to 2^63 - 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from fillbook.mt5.known import Told
from fillbook.mt5.words import (
    BackfillState,
    CashBucket,
    CashKind,
    CashState,
    Code,
    ConnectionStatus,
    ContractKind,
    EpochClock,
    HealthStatus,
    IdentityQuality,
    LedgerState,
    Step,
    TradeSide,
    TradeStatus,
    ZoneState,
)
from fillbook.runtime.errors import FillbookError
from fillbook.values import frozen

# --- who is asked -----------------------------------------------------------------------------------------------------


@frozen
class Instance:
    """One running MT5 service. ``rate_per_minute`` None: not set here (health may publish one)."""

    instance_key: str
    base_url: str
    contract: ContractKind = ContractKind.AUTO
    epoch_clock: EpochClock = EpochClock.SERVER
    sessions_max: int = 10
    rate_per_minute: int | None = None


@frozen
class ServerRule:
    """How a broker's server clock is read: UTC = the wall time minus ``shift_minutes``, read in ``zone_name``."""

    server: str
    zone_name: str
    shift_minutes: int
    zone_state: ZoneState = ZoneState.PROVISIONAL
    zone_mismatch_polls: int = 0
    bonus_bucket: CashBucket = CashBucket.BALANCE


@frozen
class Target:
    """One account as an adapter needs it. ``service_account_id``: its id in the service's paths, else the account's own.

    ``rule``: how its server's clock is read; the three-endpoint service, which tells times in UTC, cannot be read without it.
    """

    instance: Instance
    account_id: str
    service_account_id: str
    login: int
    server: str
    rule: ServerRule | None = None


@frozen
class Window:
    """Milliseconds on the server clock, start inclusive, end exclusive."""

    from_msc: int
    to_msc: int


# --- what the service said --------------------------------------------------------------------------------------------


@frozen
class Health:
    """An instance about itself. ``requests_per_minute``, ``sessions`` None: not published."""

    status: HealthStatus
    contract: ContractKind
    requests_per_minute: int | None = None
    sessions: int | None = None


@frozen
class Head:
    """What every answer about an account says of itself. ``None``: the three-endpoint service did not say.

    ``server_time_msc - cache_age_ms`` is the moment, on the server clock, that the answer describes. That service tells no server
    time: it is then reckoned from ``as_of`` by the account's clock rule, and proves nothing about that rule.
    """

    login: int | None
    server: str | None
    server_time_msc: int | None
    as_of: datetime
    cache_age_ms: int = 0


@frozen
class Info:
    """An account's money. ``margin_level`` in percent, None when margin is 0; ``margin_mode``, ``currency`` None: not said."""

    balance: Decimal
    equity: Decimal
    margin: Decimal
    margin_free: Decimal
    margin_level: Decimal | None
    credit: Decimal
    profit: Decimal
    leverage: int | None
    currency: str | None
    currency_digits: int | None
    margin_mode: int | None


@frozen
class OpenPosition:
    """One open position of a snapshot. ``position_id``: the identifier that never changes; ``ticket`` may. None: no stop set."""

    ticket: int
    position_id: int
    time_msc: int
    side: TradeSide
    volume: Decimal
    price_open: Decimal
    price_current: Decimal | None
    stop_loss: Decimal | None
    take_profit: Decimal | None
    swap: Decimal
    profit: Decimal
    symbol: str
    comment: str | None = None
    magic: int | None = None
    reason: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@frozen
class Deal:
    """One deal as the service tells it; ``deal_type`` and ``entry`` as numbers, since unknown ones are kept.

    ``position_id`` 0: a movement of money without a position. ``profit``, ``commission``, ``swap``, ``fee`` in account currency,
    negative = cost. ``extra``: fields we do not know. ``paired``: the row was an entry and its exit in one (see ``PairedTrade``).
    """

    deal_ticket: int
    order_id: int
    position_id: int
    time_msc: int
    deal_type: int
    entry: int
    reason: int | None
    symbol: str
    volume: Decimal
    price: Decimal
    profit: Decimal
    commission: Decimal
    swap: Decimal
    fee: Decimal
    magic: int | None = None
    comment: str | None = None
    external_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@frozen
class PairedTrade:
    """A closed trade as the three-endpoint service's ``trades`` list tells it: one row, no deals behind it."""

    ticket: int
    symbol: str
    side: TradeSide
    volume: Decimal
    open_price: Decimal
    close_price: Decimal
    open_msc: int
    close_msc: int
    profit: Decimal
    swap: Decimal
    commission: Decimal
    comment: str | None = None
    magic: int | None = None


@frozen
class StepFailure:
    """Why a step brought nothing. ``text``: our own words for the code, never the service's; ``attempts`` made.

    ``retry_after_seconds``: the service asked for a pause, rounded up. ``is_broker``: a code of the broker, not of the service.
    ``has_code``: the service named a code; an error without one may be either's.
    """

    step: Step
    code: Code
    text: str
    attempts: int = 1
    retry_after_seconds: int | None = None
    is_broker: bool = False
    has_code: bool = False


class ServiceFailure(FillbookError):
    """A call failed; ``failure`` says how. Raised by adapters and by ``contract``; never leaves the room."""

    def __init__(self, failure: StepFailure) -> None:
        super().__init__(failure.code.value, failure.text)
        self.failure = failure


@frozen
class Snapshot:
    """Info and positions. From v1 they come of one login; each may be a failure of its own.

    ``head`` None: neither came. A failure of both by one call is stated twice, once per step.
    """

    head: Head | None
    info: Info | StepFailure
    positions: tuple[OpenPosition, ...] | StepFailure
    attempts: int = 1


@frozen
class DealPage:
    """One page of a window (or of one position's life). ``total`` None: not said. ``next_cursor`` None: it was the last page.

    ``total`` is the same on every page; the three-endpoint service, whose counter is of a wider span, is held to it by the
    adapter (``page_drift``) and says none here. A page may be empty and not the last.
    Exactly one of ``deals`` and ``paired`` is filled; ``is_paired`` says which.
    ``told``: how its rows will be known again, where that is worth it and none of them was left out. ``later``: they were known,
    and not read; this reads them.
    """

    head: Head
    deals: tuple[Deal, ...] = ()
    paired: tuple[PairedTrade, ...] = ()
    is_paired: bool = False
    total: int | None = None
    next_cursor: str | None = None
    attempts: int = 1
    told: Told | None = None
    later: Callable[[], tuple[Deal, ...]] | None = None


@frozen
class SymbolFacts:
    """A symbol of a server. None: the service does not know."""

    server: str
    symbol: str
    symbol_norm: str
    contract_size: Decimal | None
    digits: int | None
    currency_profit: str | None

    @property
    def is_valued(self) -> bool:
        """Whether money can be made of a price."""
        return self.contract_size is not None and self.currency_profit is not None


# --- what is stored ---------------------------------------------------------------------------------------------------


@frozen
class Account:
    """A row of ``mt5.trading_accounts`` as far as a run reads it."""

    account_id: str
    tenant_id: str
    server: str
    login: int
    broker_name: str
    instance_key: str
    service_account_id: str | None
    book_id: str
    is_active: bool
    currency: str | None
    currency_digits: int
    margin_mode: int | None
    sync_failure_count: int
    connection_status: ConnectionStatus
    credentials_version: int
    backfill_target: date | None
    last_sync_at: datetime | None
    last_successful_sync_at: datetime | None
    last_error_code: Code | None = None


@frozen
class AccountState:
    """A row of ``mt5.account_sync_state``: how far an account's history is read and proven, and who works it now."""

    next_due_at: datetime
    lease_token: int
    last_run_id: str | None = None
    last_deal_at: datetime | None = None
    history_until_msc: int | None = None
    history_floor_msc: int | None = None
    page_from_msc: int | None = None
    page_to_msc: int | None = None
    page_cursor: str | None = None
    backfill_state: BackfillState = BackfillState.PENDING
    empty_chunks: int = 0
    cash_gap_runs: int = 0
    auth_failure_count: int = 0
    auth_credentials_version: int | None = None
    state_digest: bytes | None = None
    told: Told | None = None
    opening_balance: Decimal | None = None
    opening_proven: bool = False
    has_open_positions: bool = False
    cash_state: CashState = CashState.UNKNOWN


@frozen
class DealVersion:
    """A stored revision of a deal; the highest one counts, and it counts for nothing when ``withdrawn``."""

    deal: Deal
    revision: int = 1
    withdrawn: bool = False
    recorded_at: datetime


@frozen
class Trade:
    """One episode of a position: a row of ``mt5.trades``. ``id`` is uuid5 of its key (``ids.trade_id``).

    ``net_pnl`` = profit + commission + swap + fee over all deals, costs of the entry included; of an open trade what is realized
    so far and the costs. ``realized_profit``, ``realized_swap``: of the deals alone, while ``profit`` and ``swap`` of an open
    trade are the snapshot's.
    """

    account_id: str
    position_id: int
    episode: int
    id: str
    ticket: int
    symbol: str
    symbol_norm: str
    side: TradeSide
    volume: Decimal
    open_volume: Decimal
    open_price: Decimal | None
    close_price: Decimal | None
    open_time: datetime | None
    close_time: datetime | None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    current_price: Decimal | None = None
    profit: Decimal | None = None
    swap: Decimal | None = None
    commission: Decimal | None = None
    fee: Decimal | None = None
    realized_profit: Decimal = Decimal(0)
    realized_swap: Decimal = Decimal(0)
    net_pnl: Decimal | None = None
    status: TradeStatus
    comment: str | None = None
    magic: int | None = None
    close_reason: int | None = None
    entry_complete: bool = True
    identity_quality: IdentityQuality = IdentityQuality.DEALS
    source_trade_id: str | None = None
    pending_polls: int = 0
    snapshot_msc: int | None = None
    last_deal_msc: int | None = None
    ledger_state: LedgerState = LedgerState.NONE


@frozen
class CashOperation:
    """A movement of money without a position: a row of ``mt5.cash_operations``; ``amount`` signed, in account currency."""

    account_id: str
    deal_ticket: int
    kind: CashKind
    amount: Decimal
    occurred_at: datetime
    comment: str | None
