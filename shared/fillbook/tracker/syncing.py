"""How well the desk follows its brokers: per account what was fetched last, what it covered, and what waits for a person.

A source is ``failing`` when its last run failed, broke off or was abandoned, ``late`` when its last complete run is older
than its schedule can explain (the socket rests on Saturdays, statements from Saturday to Tuesday), ``never`` before its
first complete run, else ``ok``. Sources: ibkr.md 10-13, tracker.md 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from fillbook.calendar import NEW_YORK, CalendarError, calendar
from fillbook.runtime.db import Database
from fillbook.tracker import filters, paging, store
from fillbook.tracker.brokers import accounts_of, told
from fillbook.tracker.model import DeskKey, single
from fillbook.tracker.wire import answer, instants

Document = dict[str, Any]
LATE_AFTER: Mapping[str, timedelta] = {"tws": timedelta(hours=26), "flex": timedelta(hours=75)}
LOOK_BACK = timedelta(days=40)
_COVERED = {"settled": "proven", "provisional": "provisional", "gap": "gap"}


def sync_health(db: Database, key: DeskKey, given: Mapping[str, list[str]], now: datetime) -> Document:
    """Per account: its sources with their last runs, open anomalies, quarantined rows and breaks, whether its book is opened."""
    single(given, frozenset())
    with store.look(db, key, None) as seen:
        accounts = accounts_of(seen, None)
        ids = list(accounts)
        runs = seen.tx.query(store.QUERIES["last_runs"], accounts=ids, since=now - LOOK_BACK)
        cursors = seen.tx.query(store.QUERIES["cursors"], accounts=ids)
        anomalies = seen.tx.query(store.QUERIES["open_anomalies"], accounts=ids)
        quarantine = seen.tx.query(store.QUERIES["open_quarantine"])
        breaks = seen.rows("open_breaks")
    codes = {row["code"] for row in accounts.values()}
    found = [
        {
            "account_id": str(account_id),
            "code": row["code"],
            "book_id": row["book_id"],
            "is_enabled": row["is_enabled"],
            "is_opening_missing": row["opened_at"] is None,
            **instants("opened", row["opened_at"]),
            "sources": [_source(last, cursors, now) for last in runs if last["account_id"] == account_id],
            "anomalies": {one["kind"]: one["count"] for one in anomalies if one["account_id"] == account_id},
            "quarantine": {one["reason"]: one["count"] for one in quarantine if one["account_code"] == row["code"]},
            "breaks": [_break(one) for one in breaks if one["book_id"] == row["book_id"]],
        }
        for account_id, row in sorted(accounts.items())
    ]
    # rows of an account that is not configured belong to whoever may see every account of the broker
    strays = [one for one in quarantine if one["account_code"] not in codes and key.sees(f"ibkr:{one['account_code']}")]
    newest = max((row["finished_at"] for row in runs if row["finished_at"]), default=None)
    unassigned: dict[str, int] = {}
    for one in strays:
        unassigned[one["reason"]] = unassigned.get(one["reason"], 0) + one["count"]
    return answer(now, newest, seen.books, count=len(found), accounts=found, quarantine_unassigned=unassigned)


def _source(last: Mapping[str, Any], cursors: Sequence[Mapping[str, Any]], now: datetime) -> Document:
    reach = [one for one in cursors if (one["account_id"], one["source"]) == (last["account_id"], last["source"])]
    document = told({name: value for name, value in last.items() if name not in ("account_id", "last_complete_at")})
    fetched = (last["counts"] or {}).get("fetched_executions_count")
    return document | {
        "state": _state(last, now),
        "run_state": last["state"],
        "lag_seconds": None if last["last_complete_at"] is None else round((now - last["last_complete_at"]).total_seconds()),
        "has_found_nothing": last["state"] == "complete" and fetched == 0,
        **instants("last_complete", last["last_complete_at"]),
        **instants("high_water", reach[0]["high_water_at"] if reach and last["kind"] == "executions" else None),
    }


def _state(last: Mapping[str, Any], now: datetime) -> str:
    if last["state"] != "complete":
        return "failing"
    if last["last_complete_at"] is None:
        return "never"
    return "late" if now - last["last_complete_at"] > LATE_AFTER[last["source"]] else "ok"


def _break(row: Mapping[str, Any]) -> Document:
    return {"kind": row["kind"], "cause": row["cause"], "count": row["count"], **instants("oldest", row["oldest_at"])}


def sync_runs(db: Database, key: DeskKey, given: Mapping[str, list[str]], now: datetime, *, account: str) -> Document:
    """Runs of an account, newest first: the window asked, what was covered, counts, error class, how long it took."""
    limit, after = filters.runs(given)
    with store.look(db, key, None) as seen:
        (account_id,) = accounts_of(seen, filters.path_account(account))
        rows = seen.tx.query(
            store.QUERIES["account_runs"],
            account_id=account_id,
            after_at=None if after is None else after.at,
            after_id=None if after is None else after.id,
            limit=limit + 1,
        )
    shown = rows[:limit]
    has_more = len(rows) > limit
    last = paging.Place(at=shown[-1]["started_at"], id=shown[-1]["run_id"]) if has_more else None
    return answer(
        now,
        max((row["finished_at"] for row in shown if row["finished_at"]), default=None),
        seen.books,
        count=len(shown),
        has_more=has_more,
        items=[told(row) | {"duration_seconds": _seconds(row)} for row in shown],
        next=None if last is None else paging.written(last, {}),
    )


def _seconds(row: Mapping[str, Any]) -> int | None:
    return None if row["finished_at"] is None else round((row["finished_at"] - row["started_at"]).total_seconds())


def sync_coverage(db: Database, key: DeskKey, given: Mapping[str, list[str]], now: datetime) -> Document:
    """Per account and day, oldest first: proven (settled), provisional, gap, closed (a gap without a session), unknown;
    and the last run that proved or reached the day.
    """
    query = filters.coverage(given, now.astimezone(NEW_YORK).date())
    with store.look(db, key, None) as seen:
        accounts = accounts_of(seen, query.account_id)
        rows = seen.tx.query(
            store.QUERIES["coverage_days"], accounts=list(accounts), from_day=query.from_day, to_day=query.to_day
        )
    days = [
        {
            "account_id": str(row["account_id"]),
            "day": row["day"].isoformat(),
            "state": _day_state(row["day"], row["state"]),
            "run_id": None if row["run_id"] is None else str(row["run_id"]),
        }
        for row in rows
    ]
    return answer(now, None, seen.books, count=len(days), days=days)


def _day_state(day: date, state: str | None) -> str:
    covered = _COVERED.get(state or "", "unknown")
    if covered in ("proven", "provisional"):
        return covered
    try:
        return covered if calendar().session(day) is not None else "closed"
    except CalendarError:
        return covered
