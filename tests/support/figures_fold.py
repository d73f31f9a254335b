"""Results of a range a second time: the actions of a book folded one by one, in plain Python with exact fractions.

Written from the definitions (tracker.md 4.2) and not from the statements: who opened what, who closed it, what each part brought.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from typing import Any

from fillbook.calendar import NEW_YORK, calendar
from fillbook.ledger.model import ActionVersion
from fillbook.money import plain

Word = Callable[[ActionVersion, ActionVersion], str | None]
"""The group of an action, given its position's entry."""
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def _band(score: str | None) -> str | None:
    if score is None:
        return None
    low = min(int(Decimal(score)) // 10, 9) * 10
    return f"{low}-{low + 10}"


def trading_day(version: ActionVersion) -> str:
    """The trading day that counts an action."""
    return calendar().trading_day(version.action.executed_at).isoformat()


WORDS: dict[str | None, Word] = {
    None: lambda one, entry: None,
    "ticker": lambda one, entry: one.action.ticker,
    "direction": lambda one, entry: str(one.action.direction.value),
    "day": lambda one, entry: trading_day(one),
    "weekday": lambda one, entry: WEEKDAYS[datetime.fromisoformat(trading_day(one)).weekday()],
    "reason": lambda one, entry: one.action.reason,
    "trigger_reason": lambda one, entry: entry.action.meta.get("trigger_reason"),
    "score_band": lambda one, entry: _band(entry.action.meta.get("rank")),
}
MICROSECOND = timedelta(microseconds=1)
BY_DAY = frozenset({"day", "weekday", "reason"})


def fold(actions: Sequence[ActionVersion], since: datetime, until: datetime, by: str | None) -> dict[tuple[str, str | None], Any]:
    """Results by (currency, group), written as the API writes them."""
    entries = {one.action.position_id: one for one in actions if one.action.action_type == "ENTRY"}
    acted: dict[tuple[str, str | None], list[ActionVersion]] = {}
    for one in actions:
        if since <= one.action.executed_at < until:
            word = WORDS[by](one, entries[one.action.position_id])
            acted.setdefault((one.action.currency, word), []).append(one)
    return {place: _results(place[0], mine, entries, by) for place, mine in acted.items()}


def _results(currency: str, mine: list[ActionVersion], entries: dict[str, ActionVersion], by: str | None) -> dict[str, Any]:
    kinds = [one.action.action_type.value for one in mine]
    exits = [one for one in mine if one.action.action_type == "EXIT"]
    results = [one.action.position_realized_pnl_after for one in exits]
    parts = [part.realized_pnl for one in mine for part in one.action.closings]
    closings = [one.action.realized_pnl for one in mine if one.action.action_type in ("TRIM", "EXIT")]
    wins, losses = [r for r in results if r is not None and r > 0], [r for r in results if r is not None and r < 0]
    holds = [one.action.executed_at - entries[one.action.position_id].action.executed_at for one in exits]
    new_york = (lambda one: one.action.executed_at.astimezone(NEW_YORK).date()) if by in BY_DAY else (lambda one: None)
    trades = len({(one.action.position_id, new_york(one)) for one in mine})
    gross_win = None if None in parts else sum((p for p in parts if p > 0), Decimal(0))
    gross_loss = None if None in parts else sum((p for p in parts if p < 0), Decimal(0))
    return {
        "currency": currency,
        "trades": trades,
        "open": trades - len(exits),
        "closed": len(exits),
        "entries": kinds.count("ENTRY"),
        "adds": kinds.count("ADD_ENTRY"),
        "trims": kinds.count("TRIM"),
        "exits": kinds.count("EXIT"),
        "wins": len(wins),
        "losses": len(losses),
        "flats": sum(r == 0 for r in results),
        "pending": results.count(None),
        "win_rate_percent": str(_rounded(Fraction(100 * len(wins), len(wins) + len(losses)), 2)) if wins or losses else None,
        "realized_pnl": None if None in closings else plain(sum(closings, Decimal(0))),
        "fees": _sum([one.action.fees for one in mine]),
        "gross_win": None if gross_win is None else plain(gross_win),
        "gross_loss": None if gross_loss is None else plain(gross_loss),
        "profit_factor": _ratio(gross_win, None if gross_loss is None else -gross_loss, 4),
        "avg_win": _ratio(sum(wins, Decimal(0)), len(wins), 2),
        "avg_loss": _ratio(sum(losses, Decimal(0)), len(losses), 2),
        "expectancy": None if None in results else _ratio(sum(results, Decimal(0)), len(results), 2),
        "best": None if not [r for r in results if r is not None] else plain(max(r for r in results if r is not None)),
        "worst": None if not [r for r in results if r is not None] else plain(min(r for r in results if r is not None)),
        "avg_hold_seconds": int(_rounded(Fraction(sum(hold // MICROSECOND for hold in holds), 10**6 * len(holds)), 0))
        if holds
        else None,
    }  # fmt: skip


def _sum(parts: list[Decimal | None]) -> str | None:
    return None if None in parts else plain(sum(parts, Decimal(0)))  # type: ignore[arg-type]


def _ratio(amount: Decimal | None, by: Decimal | int | None, digits: int) -> str | None:
    if amount is None or not by:
        return None
    return plain(_rounded(Fraction(amount) / Fraction(by), digits))


def _rounded(value: Fraction, digits: int) -> Decimal:
    with localcontext(prec=60):
        exact = Decimal(value.numerator) / Decimal(value.denominator)
        return exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN)
