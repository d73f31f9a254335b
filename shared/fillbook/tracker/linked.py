"""Linked MT5 accounts as a reader may see them: what they hold, how well they are followed, their runs and covered days.

A reader sees the accounts of the key's tenant whose book the key names; row-level security walls the tenants apart below that.
An account is ``paused`` when it is switched off, ``needs_login`` when the broker refused its login too often, ``failing`` when
its last run did not bring everything, ``late`` when its last success is older than ten minutes though it was due five minutes
ago (or never was one), else ``ok``. Logins are shown by their last three digits; the book's name is the ledger's and stays
whole. Sources: mt5.md 4, 9; tracker.md 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from fillbook.calendar import calendar
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import load_queries
from fillbook.tracker import days, paging, store
from fillbook.tracker.wire import MONEY_DECIMALS, instants, percent, text

QUERIES = load_queries("fillbook.tracker", "linked.sql")
Document = dict[str, Any]
Run = tuple[paging.Place, datetime | None, Document]
"""A run of an account: where it stands among the others, when it ended, what is told of it."""
FRESH_FOR = timedelta(minutes=10)
TICK = timedelta(minutes=5)
STATES = ("needs_login", "failing", "late", "ok", "paused")
"""Worst first: what waits for a person stands at the top."""
HEALTH_ACCOUNTS_MAX = 500
COVERAGE_ROWS_MAX = 2_250
LOGIN_DIGITS_SHOWN = 3
_BALANCES = ("balance", "equity", "margin", "free_margin", "credit", "floating_profit")


def own(seen: store.Seen, key: DeskKey, now: datetime, only: UUID | None = None) -> list[UUID]:
    """The linked accounts that exist for a key, by id, or the one asked for; 404 ``account_unknown`` when it does not.

    From here on the room's views count from ``now``.
    """
    _tell_time(seen, now)
    rows = seen.tx.query(QUERIES["linked_books"], tenant_id=key.tenant_id, account_id=only)
    mine = [row["account_id"] for row in rows if key.sees(row["book_id"])]
    if only is not None and not mine:
        raise Rejected("account_unknown", "no such account for this key", field="account_id", status=404)
    return mine


def _tell_time(seen: store.Seen, now: datetime) -> None:
    seen.tx.query(QUERIES["desk_now"], now=now.isoformat())


def accounts(seen: store.Seen, key: DeskKey, ids: Sequence[UUID], now: datetime) -> list[tuple[Document, datetime | None]]:
    """Some accounts, by id, each with when it was last synced; ``closed_today`` counts from New York midnight of the session."""
    today = days.midnight(days.current(now, calendar()).date)
    rows = seen.tx.query(QUERIES["linked_accounts"], tenant_id=key.tenant_id, accounts=list(ids), day_start=today)
    return [(_account(row, now), row["last_sync_at"]) for row in rows]


def _account(row: Mapping[str, Any], now: datetime) -> Document:
    return {
        "account_id": str(row["account_id"]),
        "platform": row["platform"],
        "label": label(row),
        "broker_name": row["broker_name"],
        "server": row["server"],
        "login_masked": masked(row["login_number"]),
        "book_id": row["book_id"],
        "is_active": row["is_active"],
        "state": state(row, now),
        "connection_status": row["connection_status"],
        "balances": None if row["info_at"] is None else _balances(row),
        "open_positions": row["open_positions"],
        "close_pending": row["close_pending"],
        "closed_today": row["closed_today"],
        **instants("positions", row["positions_at"]),
        **instants("last_sync", row["last_sync_at"]),
        **instants("last_deal", row["last_deal_at"]),
        **_following(row),
        "cash_state": row["cash_state"],
        "backfill_state": row["backfill_state"],
        "backfill_floor": None if row["backfill_floor"] is None else row["backfill_floor"].isoformat(),
        "backfill_percent": str(Decimal(row["backfill_pct"]).quantize(MONEY_DECIMALS)),
    }


def _balances(row: Mapping[str, Any]) -> Document:
    return {
        "currency": row["currency"],
        **{name: text(row[name]) for name in _BALANCES},
        "margin_level_percent": text(row["margin_level"]),
        **instants("", row["info_at"]),
    }


def _following(row: Mapping[str, Any]) -> Document:
    code, words = row["last_error_code"], row["last_connection_error"]
    return {
        **instants("last_success", row["last_successful_sync_at"]),
        "lag_seconds": row["lag_seconds"],
        "failures_in_a_row": row["sync_failure_count"],
        "last_error": None if code is None and words is None else {"class": code, "text": words},
        **instants("next_due", row["next_due_at"]),
    }


def state(row: Mapping[str, Any], now: datetime) -> str:
    """How an account is followed, in one word. An account that is due seldom is not late before it was due."""
    if not row["is_active"]:
        return "paused"
    if row["connection_status"] == "needs_reauth":
        return "needs_login"
    if row["sync_failure_count"] > 0:
        return "failing"
    due = row["next_due_at"]
    is_overdue = due is None or now > due + TICK
    return "late" if is_overdue and not _is_fresh(row, now) else "ok"


def _is_fresh(row: Mapping[str, Any], now: datetime) -> bool:
    last = row["last_successful_sync_at"]
    return last is not None and last > now - FRESH_FOR


def masked(login: int) -> str:
    """A login by its last three digits; one that has no more shows none."""
    digits = str(login)
    return "•••" + (digits[-LOGIN_DIGITS_SHOWN:] if len(digits) > LOGIN_DIGITS_SHOWN else "")


def label(row: Mapping[str, Any]) -> str:
    """What to call an account: its name or its broker, and its masked login; a login written into the name is masked too."""
    login = row["login_number"]
    name = row["account_name"] or row["broker_name"]
    return f"{name.replace(str(login), masked(login))} {masked(login)}"


def health(seen: store.Seen, key: DeskKey, now: datetime) -> Document:
    """How the fleet is followed: accounts by state, the share of active ones fresher than ten minutes, the worst ones first."""
    _tell_time(seen, now)
    rows = [row for row in seen.tx.query(QUERIES["linked_states"], tenant_id=key.tenant_id) if key.sees(row["book_id"])]
    words = {row["account_id"]: state(row, now) for row in rows}
    worst = sorted(words, key=lambda account_id: (STATES.index(words[account_id]), account_id))[:HEALTH_ACCOUNTS_MAX]
    told = seen.tx.query(QUERIES["linked_health"], tenant_id=key.tenant_id, accounts=worst) if worst else []
    by_id = {row["account_id"]: row for row in told}
    active = [row for row in rows if row["is_active"]]
    fresh = sum(_is_fresh(row, now) for row in active)
    successes = [row["last_successful_sync_at"] for row in active if row["last_successful_sync_at"] is not None]
    return {
        "count": len(rows),
        "has_more": len(rows) > HEALTH_ACCOUNTS_MAX,
        "states": {word: sum(one == word for one in words.values()) for word in STATES},
        "fleet": {
            "active_accounts": len(active),
            "fresh_accounts": fresh,
            "fresh_percent": percent(Decimal(fresh), Decimal(len(active))),
            **instants("oldest_success", min(successes, default=None)),
        },
        "accounts": [_health(by_id[one], words[one]) for one in worst],
    }


def _health(row: Mapping[str, Any], word: str) -> Document:
    return {
        "account_id": str(row["account_id"]),
        "label": label(row),
        "book_id": row["book_id"],
        "state": word,
        **instants("last_sync", row["last_sync_at"]),
        **_following(row),
        "cash_state": row["cash_state"],
        "runs_24h": {
            "success": int(row["successes_24h"]),
            "partial": int(row["partials_24h"]),
            "failed": int(row["failures_24h"]),
            "skipped": int(row["skips_24h"]),
        },
    }


def runs(seen: store.Seen, key: DeskKey, account_id: UUID, limit: int, after: paging.Place | None) -> list[Run]:
    """Logged runs of an account, newest first, from the place after which a page begins; one more than ``limit``."""
    rows = seen.tx.query(
        QUERIES["linked_runs"],
        tenant_id=key.tenant_id,
        account_id=account_id,
        after_at=None if after is None else after.at,
        after_id=None if after is None else after.id,
        limit=limit + 1,
    )
    return [(paging.Place(at=row["started_at"], id=row["id"]), row["completed_at"], _run(row)) for row in rows]


def _run(row: Mapping[str, Any]) -> Document:
    return {
        "run_id": str(row["run_id"]),
        "source": "mt5",
        "kind": row["sync_type"],
        "state": row["status"],
        **instants("started", row["started_at"]),
        **instants("finished", row["completed_at"]),
        "is_complete": row["status"] == "success",
        "window": _window(row["steps"].get("history", {})),
        "counts": {"trades_synced": row["trades_synced"], "attempts": row["attempts"]},
        "error_class": row["error_code"],
        "error_text": row["error_message"],
        "duration_ms": row["duration_ms"],
        "duration_seconds": round(Decimal(row["duration_ms"]) / 1000),
    }


def _window(history: Mapping[str, Any]) -> Document | None:
    """What a run asked of history and what it covered, by the wall clock of the account's server; null: none was read.

    ``covered_to`` null: the window did not come whole. ``until``: the watermark, before which all is read and the money adds up.
    """
    if "from_msc" not in history:
        return None
    return {
        "clock": "server",
        "requested_from": server_time(history["from_msc"]),
        "requested_to": server_time(history["to_msc"]),
        "covered_to": server_time(history["covered_to_msc"]),
        "past_from": server_time(history["past_from_msc"]),
        "until_before": server_time(history["until_before_msc"]),
        "until": server_time(history["until_msc"]),
    }


def server_time(msc: int | None) -> str | None:
    """A wall time without a zone: what the server showed is told, not what instant that was."""
    if msc is None:
        return None
    return (
        (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=msc)).replace(tzinfo=None).isoformat(timespec="milliseconds")
    )


def coverage(
    seen: store.Seen, key: DeskKey, ids: Sequence[UUID], from_day: date, to_day: date
) -> tuple[Iterator[Document], bool]:
    """The days of some accounts by account and day, and whether accounts were left out because they are too many."""
    many = COVERAGE_ROWS_MAX // ((to_day - from_day).days + 1)
    rows = seen.tx.query(
        QUERIES["linked_coverage"], tenant_id=key.tenant_id, accounts=list(ids[:many]), from_day=from_day, to_day=to_day
    )
    days = (
        {
            "account_id": str(row["account_id"]),
            "day": row["day"].isoformat(),
            "state": row["state"],
            "run_id": None if row["run_id"] is None else str(row["run_id"]),
        }
        for row in rows
    )
    return days, len(ids) > many
