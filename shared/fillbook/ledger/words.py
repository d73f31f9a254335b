"""The ledger's words and limits: enums equal to the database's, slugs, and how much one call may carry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

FILLS_MAX = 5_000
INSTRUMENTS_MAX = 500
OPEN_LOTS_MAX = 5_000
REFOLD_FILLS_MAX = 100_000
KNOCK_ON_EVENTS_MAX = 200
EVENT_LOTS_MAX = 50
META_BYTES_MAX = 16 * 1024
UNKNOWN_CURRENCY = "XXX"
REASON_FORM = re.compile(r"[a-z][a-z0-9_]{0,63}")
INVARIANTS: Mapping[int, str] = {
    1: "Σ open lots = position",
    2: "CLOSED or VOID means nothing open",
    3: "Σ closings = action quantity",
    4: "lot conserved",
    5: "realized = Σ closings",
    6: "position = Σ actions",
    7: "one OPEN",
    8: "every current fill is booked or parked",
    9: "order",
    10: "arithmetic",
    11: "cash truth",
    12: "one currency, one multiplier per position",
    13: "chain",
    14: "content",
    15: "announced",
    16: "rebuild = stored",
}
"""What an audit holds a book against, by number (ledger specification, 10)."""


class Direction(StrEnum):
    """Which way a position profits."""

    LONG = "LONG"
    SHORT = "SHORT"


class Side(StrEnum):
    """What was done; the side carries the sign of a quantity."""

    BUY = "BUY"
    SELL = "SELL"


class ActionType(StrEnum):
    """What was booked."""

    ENTRY = "ENTRY"
    ADD_ENTRY = "ADD_ENTRY"
    TRIM = "TRIM"
    EXIT = "EXIT"


class RowState(StrEnum):
    """VOID = this action no longer exists; its row keeps the last values for display."""

    BOOKED = "BOOKED"
    VOID = "VOID"


class PositionStatus(StrEnum):
    """Status of positions and of lots."""

    OPEN = "OPEN"
    CLOSED = "CLOSED"
    VOID = "VOID"


class LotMethod(StrEnum):
    """Which lots a closing takes (``methods.py``)."""

    FIFO = "FIFO"
    LIFO = "LIFO"
    HIFO = "HIFO"
    AVERAGE = "AVERAGE"
    SPECIFIC = "SPECIFIC"


class Netting(StrEnum):
    """``net``: at most one OPEN position per instrument; ``hedge``: one LONG and one SHORT."""

    NET = "net"
    HEDGE = "hedge"


BOOK_KINDS = ("live", "replay", "ibkr", "mt5")
DECISION_KINDS = ("live", "replay")
SOURCES = ("signal", "ibkr", "mt5", "operator")
EFFECTS = ("auto", "open", "close")
CASH_STYLES = ("full", "margin")
ORIGINS = ("live", "history")
FILL_CAUSES = ("first", "revision", "rebook", "restatement", "commission", "settled", "bust")
REASONS: Mapping[str, str] = {
    "opening_balance": "held before our history begins",
    "broker_execution": "executed at the broker",
    "operator_entry": "entered by an operator",
    "operator_correction": "corrected by an operator",
    "cash_in_lieu": "cash paid for a fraction",
}
"""Reasons of brokers and operators in plain words; the strategy's are in the signal room's catalogue."""


class OutcomeStatus(StrEnum):
    """What became of a fill in a call."""

    BOOKED = "booked"
    DUPLICATE = "duplicate"
    ENRICHED = "enriched"
    SUPERSEDED = "superseded"
    PARKED = "parked"
    CONFLICT = "conflict"
