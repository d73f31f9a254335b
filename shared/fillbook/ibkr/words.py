"""The room's words and limits: enums equal to the checks of its tables, slugs of refusals and anomalies."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

PARSER_VERSION: Final = 1
"""Raised whenever a row's texts are read differently; kept beside every payload."""

CHUNK_ROWS_MAX: Final = 5_000
ORDER_ID_UNSET: Final = 2_147_483_647
PNL_UNSET_TEXT: Final = "1.7976931348623157E308"
OVERLAP_DAYS: Final = 2
LOOKBACK_DAYS_MAX: Final = 30
RAW_TEXT_MAX: Final = 64 * 1024


class Source(StrEnum):
    """Where a row was read; the earlier member of ``SOURCE_RANK`` speaks."""

    STATEMENT = "statement"
    CONFIRMATION = "confirmation"
    TWS = "tws"

    @property
    def is_flex(self) -> bool:
        """Whether the row settles what the socket said."""
        return self is not Source.TWS


SOURCE_RANK: Final[Mapping[Source, int]] = {Source.STATEMENT: 0, Source.CONFIRMATION: 1, Source.TWS: 2}


class RunSource(StrEnum):
    """Which of the two doors a run used."""

    TWS = "tws"
    FLEX = "flex"


class PayloadKind(StrEnum):
    """What a stored text is: an execution row, or a commission report of the socket."""

    EXECUTION = "execution"
    COMMISSION = "commission"


class IdKind(StrEnum):
    """What ``ib_exec_id`` was made of."""

    BROKER = "broker"
    TRANSACTION = "transaction"
    TRADE = "trade"


class Side(StrEnum):
    """What was done; the side carries the sign of a quantity."""

    BUY = "BUY"
    SELL = "SELL"


class State(StrEnum):
    """live and anomaly count (they are canonical); superseded and voided are kept and do not."""

    LIVE = "live"
    SUPERSEDED = "superseded"
    VOIDED = "voided"
    ANOMALY = "anomaly"


class Role(StrEnum):
    """How an execution takes part in its trade."""

    STANDALONE = "standalone"
    LEG = "leg"
    COMBO_SUMMARY = "combo_summary"


class CancelKind(StrEnum):
    """Rows that void another row."""

    CANCEL = "cancel"
    FRACTION_CANCEL = "fraction_cancel"


class CancelState(StrEnum):
    """parked: its row has not come; ambiguous: more than one row could be meant, so none is voided."""

    PARKED = "parked"
    APPLIED = "applied"
    AMBIGUOUS = "ambiguous"


class MatchKind(StrEnum):
    """The strongest key that holds a trade together, strongest first."""

    PERM_ID = "perm_id"
    FLEX_ORDER_ID = "flex_order_id"
    COMBO = "combo"
    ORDER_REF = "order_ref"
    COMPOSITE = "composite"
    SINGLE = "single"


class Confidence(StrEnum):
    """How sure it is that the executions of a trade belong to one order."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class TradeStatus(StrEnum):
    """What became of the order as far as executions tell; they alone never prove it complete."""

    UNKNOWN = "unknown"
    PARTIAL = "partial"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    ASSIGNED = "assigned"
    EXERCISED = "exercised"


class RunState(StrEnum):
    """complete: the end was seen and nothing is open; partial: what was good is stored; failed: nothing is stored."""

    RUNNING = "running"
    COMPLETE = "complete"
    PARTIAL = "partial"
    FAILED = "failed"
    ABANDONED = "abandoned"


class Reason(StrEnum):
    """Why a row is in quarantine."""

    NO_IDENTITY = "no_identity"
    BAD_NUMBER = "bad_number"
    BAD_SIDE = "bad_side"
    BAD_FRAME = "bad_frame"
    BAD_TIME = "bad_time"
    BAD_TEXT = "bad_text"
    TIME_WITHOUT_ZONE = "time_without_zone"
    UNKNOWN_ZONE = "unknown_zone"
    TIME_IN_GAP = "time_in_gap"
    ACCOUNT_NOT_ALLOWED = "account_not_allowed"
    UNKNOWN_TRANSACTION_TYPE = "unknown_transaction_type"
    MISSING_FIELD = "missing_field"
    MIXED_SIGN = "mixed_sign"
    BAD_MESSAGE = "bad_message"
    DEAD_LETTER = "dead_letter"


class AnomalyKind(StrEnum):
    """What needs a person; every one of them keeps counting until that person decides."""

    TIME_DIFFERS = "time_differs"
    SOURCES_DIFFER = "sources_differ"
    CANCEL_PARKED = "cancel_parked"
    CANCEL_AMBIGUOUS = "cancel_ambiguous"
    REVISION_MISMATCH = "revision_mismatch"
    SETTLED_QUANTITY_MISMATCH = "settled_quantity_mismatch"
    NOT_SETTLED = "not_settled"
    ID_SHARED = "id_shared"
    AMBIGUOUS_PARENT = "ambiguous_parent"
    COMBO_QUANTITY_DIFFERS = "combo_quantity_differs"
    OVERFILLED = "overfilled"
    COMMISSION_AMBIGUOUS = "commission_ambiguous"
    CURSOR_STALLED = "cursor_stalled"
    SYNC_FAILED = "sync_failed"
    BEFORE_OPENING = "before_opening"
