"""Rows as a person reads them in a terminal: which columns, under which titles, and a broker's text shown but never obeyed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

SHOWN_MAX: Final = 120
HEALTH: Final = (
    ("server", "server"),
    ("login_number", "login"),
    ("account_name", "name"),
    ("is_active", "active"),
    ("connection_status", "state"),
    ("balance", "balance"),
    ("equity", "equity"),
    ("currency", "ccy"),
    ("lag_seconds", "lag s"),
    ("successes_24h", "ok 24h"),
    ("failures_24h", "failed"),
    ("cash_state", "cash"),
    ("backfill_pct", "past %"),
    ("last_error_code", "last error"),
    ("account_id", "account"),
)
RESULTS: Final = (
    ("server", "server"),
    ("login_number", "login"),
    ("account_name", "name"),
    ("status", "status"),
    ("error_code", "code"),
    ("duration_ms", "ms"),
    ("account_id", "account"),
    ("error_message", "error"),
)

REBUILT: Final = (
    ("trades_changed", "trades changed"),
    ("cash_changed", "cash changed"),
    ("sums", "kept sums"),
    ("account_id", "account"),
)


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[tuple[str, str]]) -> str:
    """The rows under the titles of the columns, a line each."""
    cells = [[title for _, title in columns], *([_cell(row.get(name)) for name, _ in columns] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(columns))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells)


def _cell(value: object) -> str:
    text = "-" if value is None else "yes" if value is True else "no" if value is False else str(value)
    # a broker's text is shown, never obeyed: no control character reaches the terminal
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:SHOWN_MAX]
