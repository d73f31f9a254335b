"""The fixed words and colours: titles by action and sign, reasons in plain words, severities of operations.

A word always accompanies a colour, and no word speaks of gain where the stored figure is not above zero: the reason of
such an action is told in its neutral form, also when the words come from a broker or a person.
"""

from __future__ import annotations

import re
from decimal import Decimal
from enum import IntEnum

from fillbook.notify.execution import Execution, Telling
from fillbook.signal import rules

GAIN_WORDS = re.compile(r"profit|target", re.IGNORECASE)
NEUTRAL_REASON = "closing rule reached"

CORRECTED_MARK = " (corrected)"
BUSTED_MARK = "BUSTED: "
MERGED_MARK = "MERGED: "


class Color(IntEnum):
    """Colours of embeds; red is kept for losses and errors."""

    LONG = 0x22C55E
    SHORT = 0xA855F7
    ADD = 0x0EA5E9
    TRIM_GAIN = 0xF59E0B
    LOSS = 0xEF4444
    FLAT = 0x8B92A0
    WIN = 0x16A34A
    VOID = 0x5C6475
    INFO = 0x3B82F6
    WARNING = 0xF59E0B
    ERROR = 0xEF4444


_TRIM = {
    1: ("Trimmed {subject}: gain", Color.TRIM_GAIN),
    -1: ("Reduced {subject}: loss", Color.LOSS),
    0: ("Trimmed {subject}: FLAT", Color.FLAT),
    None: ("Trimmed {subject}: P&L pending", Color.FLAT),
}
_EXIT = {
    1: ("Closed {subject}: WIN", Color.WIN),
    -1: ("Closed {subject}: LOSS", Color.LOSS),
    0: ("Closed {subject}: FLAT", Color.FLAT),
    None: ("Closed {subject}: P&L pending", Color.FLAT),
}
_ENTRY = {"LONG": ("Entered {subject}", Color.LONG), "SHORT": ("Entered {subject}", Color.SHORT)}


def sign(value: Decimal | None) -> int | None:
    """Return 1, 0 or -1; ``None`` stays unknown."""
    return None if value is None else (value > 0) - (value < 0)


def _pattern(execution: Execution) -> tuple[str, Color]:
    by_type = {
        "ENTRY": _ENTRY[execution.direction],
        "ADD_ENTRY": ("Added to {subject}", Color.ADD),
        "TRIM": _TRIM[sign(execution.realized_pnl)],
        "EXIT": _EXIT[sign(execution.position_realized_pnl_after)],
    }
    return by_type[execution.action_type]


def title_and_color(execution: Execution, ticker: str) -> tuple[str, Color]:
    """Return the title (``ticker`` already escaped) and colour of the action itself, without marks."""
    pattern, color = _pattern(execution)
    return pattern.replace("{subject}", f"{ticker} {execution.direction}"), color


def marked(title: str, execution: Execution) -> str:
    """Add what happened to the telling: ``(corrected)``, ``BUSTED:`` or ``MERGED:``."""
    if execution.telling is Telling.BUSTED:
        return (MERGED_MARK if execution.cause == "settled" else BUSTED_MARK) + title
    return title + CORRECTED_MARK if execution.is_marked else title


def verb(execution: Execution) -> str:
    """Say what was done at the venue: opening a LONG and closing a SHORT buys, the others sell."""
    return "Bought" if (execution.direction == "LONG") is not execution.is_closing else "Sold"


def reason_words(execution: Execution) -> tuple[str, str] | None:
    """Return (field value, plain words) of the reason, unescaped; neutral where the figures are not a gain."""
    reason = execution.reason
    if reason is None or not reason.strip():
        return None
    if execution.is_gain:
        return reason, rules.reason_words(reason)
    neutral = rules.reason_words(reason, neutral=True)
    words = NEUTRAL_REASON if GAIN_WORDS.search(neutral) else neutral
    return (words if GAIN_WORDS.search(reason) else reason), words
