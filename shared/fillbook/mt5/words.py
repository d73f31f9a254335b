"""The room's words and limits: enums equal to those of its tables, codes of failures, limits of every answer."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final

CONTRACT: Final = "mt5/1"
PLATFORM: Final = "MT5"
PAGE_ROWS_MAX: Final = 1_000
SYMBOLS_MAX: Final = 50
ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
DEPTH_MAX: Final = 20
DIGITS_MAX: Final = 15
"""Significant digits of a number on the wire; what is beyond is noise of a binary float."""
ID_MAX: Final = 2**63 - 1
POSITION_READS_MAX: Final = 20
"""Reads of one position's whole life per account and run."""
ERROR_TEXT_MAX: Final = 500


# --- the service and its answers --------------------------------------------------------------------------------------


class ContractKind(StrEnum):
    """Which language an instance speaks; ``auto`` asks once."""

    AUTO = "auto"
    V1 = "v1"
    V0 = "v0"


class EpochClock(StrEnum):
    """What an epoch in an answer of the three-endpoint service counts: the server's wall clock, or UTC."""

    SERVER = "server"
    UTC = "utc"


class HealthStatus(StrEnum):
    """What a service instance says of itself."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class Step(StrEnum):
    """What of an account is read in a run; each may fail for itself."""

    INFO = "info"
    POSITIONS = "positions"
    HISTORY = "history"


class Code(StrEnum):
    """Why a step failed, or an account was not tried; section 3.3 of the specification."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    SERVICE_UNAVAILABLE = "service_unavailable"
    BROKER_UNAVAILABLE = "broker_unavailable"
    SERVICE_ERROR = "service_error"
    SERVICE_DEGRADED = "service_degraded"
    RATE_LIMITED = "rate_limited"
    SERVICE_UNAUTHORIZED = "service_unauthorized"
    AUTH_FAILED = "auth_failed"
    INVALID_REQUEST = "invalid_request"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONTRACT_ERROR = "contract_error"
    IDENTITY_MISMATCH = "identity_mismatch"
    INCOMPLETE = "incomplete"
    PAGE_DRIFT = "page_drift"
    INTERNAL = "internal"
    BREAKER_OPEN = "breaker_open"
    SERVICE_UNHEALTHY = "service_unhealthy"
    LEASED = "leased"
    NEEDS_REAUTH = "needs_reauth"


class MarginMode(IntEnum):
    """How an account holds positions: one per symbol (netting, exchange) or many (hedging)."""

    NETTING = 0
    EXCHANGE = 1
    HEDGING = 2


class DealType(IntEnum):
    """What a deal is; numbers of the MQL5 reference. Anything else is kept and told as ``other``."""

    BUY = 0
    SELL = 1
    BALANCE = 2
    CREDIT = 3
    CHARGE = 4
    CORRECTION = 5
    BONUS = 6
    COMMISSION = 7
    COMMISSION_DAILY = 8
    COMMISSION_MONTHLY = 9
    COMMISSION_AGENT_DAILY = 10
    COMMISSION_AGENT_MONTHLY = 11
    INTEREST = 12
    BUY_CANCELED = 13
    SELL_CANCELED = 14
    DIVIDEND = 15
    DIVIDEND_FRANKED = 16
    TAX = 17


class Entry(IntEnum):
    """How a deal changes its position."""

    IN = 0
    OUT = 1
    INOUT = 2
    OUT_BY = 3


# --- what follows from them -------------------------------------------------------------------------------------------


class ZoneState(StrEnum):
    """How sure a server's clock rule is."""

    PROVISIONAL = "provisional"
    CONFIRMED = "confirmed"
    MISMATCH = "mismatch"


class CashBucket(StrEnum):
    """Where a server books a bonus."""

    BALANCE = "balance"
    CREDIT = "credit"


class ConnectionStatus(StrEnum):
    """An account at a glance."""

    UNKNOWN = "unknown"
    CONNECTED = "connected"
    DEGRADED = "degraded"
    ERROR = "error"
    NEEDS_REAUTH = "needs_reauth"


class BackfillState(StrEnum):
    """How far the reading of the past has come. ``blocked``: the service does not let it be read deeper; tried once an hour."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    BLOCKED = "blocked"


class CashState(StrEnum):
    """What the last cash check of an account found."""

    UNKNOWN = "unknown"
    OK = "ok"
    GAP = "gap"
    UNAVAILABLE = "unavailable"


class TradeSide(StrEnum):
    """Side of an episode."""

    BUY = "buy"
    SELL = "sell"


class TradeStatus(StrEnum):
    """``close_pending``: gone from a complete snapshot, but not closed by its deals."""

    OPEN = "open"
    CLOSE_PENDING = "close_pending"
    CLOSED = "closed"


class IdentityQuality(StrEnum):
    """What a trade was made of."""

    DEALS = "deals"
    SNAPSHOT = "snapshot"
    PAIRED = "paired"


class LedgerState(StrEnum):
    """Whether a trade's fills are in the book; ``held``: an INOUT whose running volume is not fully known."""

    NONE = "none"
    HELD = "held"
    BOOKED = "booked"


class CashKind(StrEnum):
    """What a movement of money without a position is."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    CREDIT = "credit"
    CHARGE = "charge"
    CORRECTION = "correction"
    BONUS = "bonus"
    COMMISSION = "commission"
    INTEREST = "interest"
    DIVIDEND = "dividend"
    TAX = "tax"
    OTHER = "other"


class CashResult(StrEnum):
    """Outcome of one cash check."""

    OK = "ok"
    GAP = "gap"
    REANCHORED = "reanchored"
    UNAVAILABLE = "unavailable"


class GapCause(StrEnum):
    """Why a span of history is not proven."""

    CASH = "cash"
    POSITION_VOLUME = "position_volume"
    DEAL_MISSING = "deal_missing"
    PAGES = "pages"
    FLOOR = "floor"


# --- runs -------------------------------------------------------------------------------------------------------------


class SyncType(StrEnum):
    """Who asked for a run."""

    SCHEDULED = "scheduled"
    MANUAL = "manual"
    BACKFILL = "backfill"


class RunMode(StrEnum):
    """Where a run's accounts are worked."""

    INLINE = "inline"
    FANNED_OUT = "fanned_out"
    JOB = "job"


class RunStatus(StrEnum):
    """State of a run."""

    RUNNING = "running"
    FINISHED = "finished"
    DEADLINE = "deadline"
    SKIPPED = "skipped"
    FAILED = "failed"


class ShardState(StrEnum):
    """State of a shard."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"


class SyncStatus(StrEnum):
    """How one account's run ended; what was not admitted for want of time has none."""

    SUCCESS = "success"
    PARTIAL = "partial"
    FAILED = "failed"
    SKIPPED = "skipped"


class BreakerState(StrEnum):
    """A circuit breaker's state."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
