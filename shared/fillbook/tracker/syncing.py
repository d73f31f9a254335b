"""How well the desk follows its brokers: per account what was fetched last, what it covered, and what waits for a person.

A source is ``failing`` when its last run failed, broke off or was abandoned, ``late`` when its last complete run is older
than its schedule can explain (the socket rests on Saturdays, statements from Saturday to Tuesday), ``never`` before its
first complete run, else ``ok``. What linked MT5 accounts answer to the same questions is in ``linked.py``.
Sources: ibkr.md 10-13, tracker.md 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from fillbook.calendar import NEW_YORK, CalendarError, calendar
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.tracker import filters, linked, paging, store
from fillbook.tracker.brokers import accounts_of, told
from fillbook.tracker.model import single
from fillbook.tracker.route import Given, Route, Source
from fillbook.tracker.syncing_model import SyncCoverage, SyncHealth, SyncRuns
from fillbook.tracker.wire import answer, instants

Document = dict[str, Any]
LATE_AFTER: Mapping[str, timedelta] = {"tws": timedelta(hours=26), "flex": timedelta(hours=75)}
LOOK_BACK = timedelta(days=40)
_COVERED = {"settled": "proven", "provisional": "provisional", "gap": "gap"}


def sync_health(db: Database, key: DeskKey, given: Given, now: datetime) -> SyncHealth:
    """Per account of IBKR: its sources with their last runs, open anomalies, quarantined rows and breaks, whether its book is
    opened; under ``mt5`` the linked accounts.
    """
    single(given, frozenset())
    with store.look(db, key, None) as seen:
        accounts = accounts_of(seen, None)
        ids = list(accounts)
        runs = seen.tx.query(store.QUERIES["last_runs"], accounts=ids, since=now - LOOK_BACK)
        cursors = seen.tx.query(store.QUERIES["cursors"], accounts=ids)
        anomalies = seen.tx.query(store.QUERIES["open_anomalies"], accounts=ids)
        quarantine = seen.tx.query(store.QUERIES["open_quarantine"])
        breaks = seen.rows("open_breaks")
        mt5 = linked.health(seen, key, now)
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
    told_all = answer(now, newest, seen.books, count=len(found), accounts=found, quarantine_unassigned=unassigned, mt5=mt5)
    return cast("SyncHealth", told_all)


def _source(last: Mapping[str, Any], cursors: Sequence[Mapping[str, Any]], now: datetime) -> Document:
    reach = [one for one in cursors if (one["account_id"], one["source"]) == (last["account_id"], last["source"])]
    document = told({name: value for name, value in last.items() if name not in ("account_id", "last_complete_at")})
    fetched = (last["counts"] or {}).get("fetched_executions_count")
    return document | {
        "state": source_state(last, now),
        "run_state": last["state"],
        "lag_seconds": None if last["last_complete_at"] is None else round((now - last["last_complete_at"]).total_seconds()),
        "has_found_nothing": last["state"] == "complete" and fetched == 0,
        **instants("last_complete", last["last_complete_at"]),
        **instants("high_water", reach[0]["high_water_at"] if reach and last["kind"] == "executions" else None),
    }


def source_state(last: Mapping[str, Any], now: datetime) -> str:
    """How a source of an account is followed, in one word, from its last run."""
    if last["state"] != "complete":
        return "failing"
    if last["last_complete_at"] is None:
        return "never"
    return "late" if now - last["last_complete_at"] > LATE_AFTER[last["source"]] else "ok"


def _break(row: Mapping[str, Any]) -> Document:
    return {"kind": row["kind"], "cause": row["cause"], "count": row["count"], **instants("oldest", row["oldest_at"])}


def sync_runs(db: Database, key: DeskKey, given: Given, now: datetime, *, account: str) -> SyncRuns:
    """Runs of an account, newest first: the window asked, what was covered, counts, error class, how long it took."""
    limit, after = filters.runs(given)
    identity = filters.path_account(account)
    with store.look(db, key, None) as seen:
        if isinstance(identity, UUID):
            (linked_id,) = linked.own(seen, key, now, identity)
            rows = linked.runs(seen, key, linked_id, limit, after)
        else:
            (number,) = accounts_of(seen, identity)
            rows = _runs(seen, number, limit, after)
    shown = rows[:limit]
    has_more = len(rows) > limit
    found = answer(
        now,
        max((ended for _, ended, _ in shown if ended is not None), default=None),
        seen.books,
        count=len(shown),
        has_more=has_more,
        items=[document for _, _, document in shown],
        next_cursor=paging.written(shown[-1][0], filters.RUNS_OF_ACCOUNT) if has_more else None,
    )
    return cast("SyncRuns", found)


def _runs(seen: store.Seen, account_id: int, limit: int, after: paging.Place | None) -> list[linked.Run]:
    rows = seen.tx.query(
        store.QUERIES["account_runs"],
        account_id=account_id,
        after_at=None if after is None else after.at,
        after_id=None if after is None else after.id,
        limit=limit + 1,
    )
    return [
        (
            paging.Place(at=row["started_at"], id=row["run_id"]),
            row["finished_at"],
            told(row) | {"duration_seconds": _seconds(row)},
        )
        for row in rows
    ]


def _seconds(row: Mapping[str, Any]) -> int | None:
    return None if row["finished_at"] is None else round((row["finished_at"] - row["started_at"]).total_seconds())


def sync_coverage(db: Database, key: DeskKey, given: Given, now: datetime) -> SyncCoverage:
    """Per account and day, oldest first: proven (settled), provisional, gap, closed (a gap without a session), unknown;
    and the last run that proved or reached the day. Days of linked accounts are those of their server. ``has_more``: linked
    accounts were left out, because their days are too many for one answer; ask for one of them.
    """
    query = filters.coverage(given, now.astimezone(NEW_YORK).date())
    wanted = query.account_id
    with store.look(db, key, None) as seen:
        numbers = [] if isinstance(wanted, UUID) else list(accounts_of(seen, wanted))
        rows = seen.tx.query(store.QUERIES["coverage_days"], accounts=numbers, from_day=query.from_day, to_day=query.to_day)
        mine = [] if isinstance(wanted, int) else linked.own(seen, key, now, wanted)
        more_days, has_more = linked.coverage(seen, key, mine, query.from_day, query.to_day)
    days = [
        {
            "account_id": str(row["account_id"]),
            "day": row["day"].isoformat(),
            "state": _day_state(row["day"], row["state"]),
            "run_id": None if row["run_id"] is None else str(row["run_id"]),
        }
        for row in rows
    ]
    days += more_days
    return cast("SyncCoverage", answer(now, None, seen.books, count=len(days), has_more=has_more, days=days))


def _day_state(day: date, state: str | None) -> str:
    covered = _COVERED.get(state or "", "unknown")
    if covered in ("proven", "provisional"):
        return covered
    try:
        return covered if calendar().session(day) is not None else "closed"
    except CalendarError:
        return covered


ROUTES: tuple[Route, ...] = (
    Route(
        path="/api/v1/accounts/{account}/sync-runs",
        purpose="Runs of an account, newest first.",
        use_case=sync_runs,
        answer=SyncRuns,
        parameters=(filters.ACCOUNT_IN_PATH, *filters.RUN_PARAMETERS),
        sources=frozenset({Source.IBKR, Source.MT5}),
    ),
    Route(
        path="/api/v1/sync/health",
        purpose="How well the desk follows its brokers, by source and account.",
        use_case=sync_health,
        answer=SyncHealth,
        sources=frozenset({Source.IBKR, Source.MT5, Source.LEDGER, Source.MINUTE}),
    ),
    Route(
        path="/api/v1/sync/coverage",
        purpose="Each account and day: whether all of it was read, and the run that says so.",
        use_case=sync_coverage,
        answer=SyncCoverage,
        parameters=filters.COVERAGE_PARAMETERS,
        sources=frozenset({Source.IBKR, Source.MT5, Source.MINUTE}),
    ),
)
