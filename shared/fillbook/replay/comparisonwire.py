"""The documents of comparisons and gap reports: parameters read, use case asked, answer written; names as in replay.md 1 and 8.

Nothing here knows HTTP: the function hands in the parameters by name and sends what comes back. An unknown parameter is refused
like a wrong one, because a misspelt ``date`` would compare something else.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final

from fillbook.calendar import NEW_YORK
from fillbook.replay import comparisonstore as store
from fillbook.replay.buckets import bucket_of
from fillbook.replay.comparing import compare_runs
from fillbook.replay.gaps import document
from fillbook.replay.gapstore import gap_reports
from fillbook.replay.model import Comparison, Divergence, Scope, Totals
from fillbook.replay.parity import check_parity
from fillbook.replay.runs import Desk
from fillbook.replay.service import Limits
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Rejected
from fillbook.signal.receipt import milliseconds, normal_ticker
from fillbook.signal.rules import sentence_of

NAME_MAX: Final = 64
PAGE: Final = 100
PAGE_MAX: Final = 1_000
_TOTALS: Final = ("decided", "entries", "adds", "trims", "exits")


def compare(db: Database, given: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Answer of ``POST /timed/admin/replay-compare``: ``a`` and ``b``, each a run or ``live``; ``date`` narrows to one day."""
    _only(given, {"a", "b", "date"})
    sides = [_text(given, name) for name in ("a", "b")]
    found = compare_runs(db, sides[0], sides[1], day=_date(given.get("date")), now=now)
    return {"ok": True, **_comparison(found), "first": divergence_document(found.divergences[0]) if found.divergences else None}


def divergences(db: Database, run: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Answer of ``GET …/{id}/divergences``: the run's last comparison, its differences by pages (``limit``, ``after``)."""
    _only(given, {"limit", "after"})
    limit, place = _limit(given.get("limit")), _place(given.get("after"))
    with db.transaction(read_only=True) as tx:
        record = store.run_row(tx, run)
        last = None if record is None else store.last_comparison(tx, str(record["run_id"]))
        if last is None:
            raise Rejected("not_compared", "no comparison of this run", status=404)
        rows = store.divergences_after(tx, str(last["comparison_id"]), place, limit + 1)
    shown = [_row_document(row) for row in rows[:limit]]
    more = len(rows) > limit
    return {
        "ok": True,
        "comparisonId": str(last["comparison_id"]),
        "a": last["a"],
        "b": last["b"],
        "identical": last["identical"],
        "totals": {side: _renamed(totals) for side, totals in last["totals"].items()},
        "positions": _positions(last["positions"]),
        "tickers": last["tickers"],
        "divergent": last["divergent"],
        "recordedAt": milliseconds(last["recorded_at"]),
        "divergences": shown,
        "hasMore": more,
        "after": _cursor(shown[-1]) if more else None,
    }


def gaps(db: Database, given: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Answer of ``GET /timed/admin/replay-gaps`` for one session date (``date``, ``ticker``, ``scriptVersion``)."""
    _only(given, {"date", "ticker", "scriptVersion"})
    day = _date(given.get("date")) or now.astimezone(NEW_YORK).date()
    ticker = given.get("ticker")
    scope = Scope(
        date_from=day,
        date_to=day,
        ticker=None if ticker is None else normal_ticker(_text(given, "ticker")),
        script_version=_text(given, "scriptVersion", "2.5.0"),
    )
    with db.transaction(read_only=True) as tx:
        reports = gap_reports(tx, scope, now)
    return {"ok": True, **document(reports)}


def parity(desk: Desk, given: Mapping[str, Any], now: datetime, *, limits: Limits, deadline: float) -> dict[str, Any]:
    """Answer of ``POST /timed/admin/replay-parity``: comparisons with live, of ``date`` or of what is due."""
    _only(given, {"date"})
    found = check_parity(desk, _date(given.get("date")), now, limits=limits, deadline=deadline)
    return {
        "ok": True,
        "days": [
            {**_comparison(one), "first": divergence_document(one.divergences[0]) if one.divergences else None} for one in found
        ],
    }


def divergence_document(one: Divergence) -> dict[str, Any]:
    """One difference as people and machines read it; ``says`` is the rule's sentence on either side, where it has one."""
    detail = dict(one.detail or {})
    says = [
        sentence_of(one.rule, value, limit) if one.rule is not None else None
        for value, limit in zip(detail.get("values", ()), detail.get("limits", ()), strict=False)
    ]
    return {
        "ticker": one.ticker,
        "bucket": bucket_of(one.ts),
        "ts": one.ts,
        "receiptId": one.receipt_id,
        "field": one.field,
        "a": one.value_a,
        "b": one.value_b,
        "cause": one.cause,
        "rule": one.rule,
        "says": says,
        "detail": detail,
        "laterCount": one.later_count,
    }


def _row_document(row: Mapping[str, Any]) -> dict[str, Any]:
    receipt_id = row["receipt_id"]
    return divergence_document(Divergence(**{**row, "receipt_id": None if receipt_id is None else str(receipt_id)}))


def _comparison(found: Comparison) -> dict[str, Any]:
    return {
        "comparisonId": found.comparison_id,
        "a": found.a,
        "b": found.b,
        "identical": found.identical,
        "totals": {"a": _totals(found.totals_a), "b": _totals(found.totals_b)},
        "positions": _positions(found.positions),
        "tickers": found.tickers,
        "divergent": len(found.divergences),
    }


def _totals(totals: Totals) -> dict[str, Any]:
    return _renamed({"realized_pnl": totals.realized_pnl, **{name: getattr(totals, name) for name in _TOTALS}})


def _renamed(totals: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: totals[name] for name in _TOTALS}, "realizedPnl": totals["realized_pnl"]}


def _positions(counts: Mapping[str, int]) -> dict[str, int]:
    return {
        "equal": counts["equal"],
        "leftOnly": counts["left_only"],
        "rightOnly": counts["right_only"],
        "different": counts["different"],
    }


# --- parameters -------------------------------------------------------------------------------------------------------


def _only(given: Mapping[str, Any], known: set[str]) -> None:
    for name in given:
        if name not in known:
            raise Rejected("param", "unknown parameter", field=str(name)[:NAME_MAX])


def _text(given: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = given.get(name, default)
    if not isinstance(value, str) or not 0 < len(value) <= NAME_MAX:
        raise Rejected("param", "a text is needed", field=name)
    return value


def _date(value: Any) -> date | None:
    if value is None:
        return None
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise Rejected("param", "a date is YYYY-MM-DD", field="date") from None


def _limit(value: Any) -> int:
    if value is None:
        return PAGE
    text = str(value)
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(PAGE_MAX)) or int(text) > PAGE_MAX or not int(text):
        raise Rejected("param", f"1 to {PAGE_MAX}", field="limit")
    return int(text)


def _cursor(shown: Mapping[str, Any]) -> str:
    place = [bool(shown["detail"].get("figuresOnly")), shown["ts"], shown["ticker"]]
    return urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def _place(value: Any) -> tuple[bool, int, str] | None:
    if not value:
        return None
    try:
        figures, ts, ticker = json.loads(urlsafe_b64decode(str(value)[:256] + "=="))
    except ValueError:
        raise Rejected("param", "not a cursor of ours", field="after") from None
    if not (isinstance(figures, bool) and type(ts) is int and isinstance(ticker, str)):
        raise Rejected("param", "not a cursor of ours", field="after")
    return figures, ts, ticker
