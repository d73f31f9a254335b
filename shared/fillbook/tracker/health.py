"""Is the desk well: ages of the newest rows with what they may be, what waits, what failed, and what the last audit said.

An answer is 200 while the function and its database work, however unwell the desk is: ``status`` and ``reasons`` say that. Ages
are for the reader's own clock. Source: tracker.md 4.5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast

from fillbook.calendar import TradingCalendar, calendar
from fillbook.runtime.clock import monotonic
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.sql import load_queries
from fillbook.tracker import built, days, freshness, linked, session, store
from fillbook.tracker.brokers import accounts_of
from fillbook.tracker.health_model import Ages, Health, SyncSource
from fillbook.tracker.model import single
from fillbook.tracker.route import Given, Route
from fillbook.tracker.store import Row, Seen
from fillbook.tracker.syncing import LOOK_BACK, source_state
from fillbook.tracker.wire import answer, instants, milliseconds

QUERIES: Final = load_queries("fillbook.tracker", "health.sql")
FAILING: Final = frozenset({"failing", "needs_login"})


def health(db: Database, key: DeskKey, given: Given, now: datetime) -> Health:
    """The desk's condition; raises ``Unavailable`` when the database is away."""
    single(given, frozenset())
    exchange = calendar()
    started = monotonic()
    with store.look(db, key, None) as seen:
        (row,) = seen.tx.query(QUERIES["ages"], books=seen.book_ids)
        channels = seen.tx.query(QUERIES["channels"], now=now)
        audits = seen.tx.query(QUERIES["audits"], books=seen.book_ids)
        due, _, _, _ = freshness.due(now, exchange)
        days = seen.tx.query(QUERIES["latest_day"], due=due, books=seen.book_ids)
        sources = [*_numbered(seen, now), *_linked(seen, key, now)]
    latency_ms = round((monotonic() - started) * 1000)
    content: dict[str, Any] = {
        "database": {"ok": True, "latency_ms": latency_ms},
        "ages": _ages(row, audits, now, exchange),
        "outbox": {"depth": int(row["outbox_depth"]), "parked": int(row["outbox_parked"])},
        "messages": {"pending": int(row["messages_pending"]), "dead": int(row["messages_dead"])},
        "dead_letters": {
            "messages": int(row["messages_dead"]),
            "events": int(row["outbox_parked"]),
            "deliveries": row["deliveries_quarantined"],
            "receipts": row["receipts_quarantined"],
            "broker_rows": row["rows_quarantined"],
        },
        "channels": [_still(channel) for channel in channels],
        "sources": sources,
        "snapshot": freshness.snapshot(days, now, exchange),
        "audit": _audited([one for one in audits if one["ran_at"] is not None]),
        "migrations": {
            "expected": built.MIGRATION,
            "applied": row["migration"],
            "ok": row["migration"] is not None and row["migration"] >= built.MIGRATION,
        },
        "build": built.build(),
        **_hours(row["last_execution_at"], now, exchange),
        "clock": {"is_simulated": session.is_simulated(now)},
    }
    reasons = list(_reasons(content))
    status = "down" if not content["migrations"]["ok"] else "degraded" if reasons else "ok"
    return cast("Health", answer(now, seen.recorded_at, seen.books, status=status, reasons=reasons, **content))


def _ages(row: Row, audits: Sequence[Row], now: datetime, exchange: TradingCalendar) -> Ages:
    """Of audits and anchors the book that lies farthest behind."""
    newest = {
        "last_receipt": row["last_receipt_at"],
        "last_execution": row["last_execution_at"],
        "newest_mark": row["newest_mark_at"],
        "outbox_oldest": row["outbox_oldest_at"],
        "last_delivery": row["last_delivery_at"],
        "last_audit": min((one["ran_at"] for one in audits if one["ran_at"] is not None), default=None),
        "last_chain_anchor": min((one["anchored_at"] for one in audits if one["anchored_at"] is not None), default=None),
    }
    return cast("Ages", {name: freshness.age(name, at, now, exchange) for name, at in newest.items()})


def _still(channel: Row) -> dict[str, Any]:
    is_paused = channel["status"] == "active"
    return {
        "channel_id": channel["channel_id"],
        "status": "paused" if is_paused else channel["status"],
        "status_reason": channel["paused_reason"] if is_paused else channel["status_reason"],
        **instants("until", channel["paused_until"]),
    }


def _numbered(seen: Seen, now: datetime) -> Iterator[SyncSource]:
    """The sources of IBKR: over its accounts the last runs of each."""
    accounts = list(accounts_of(seen, None))
    runs = seen.tx.query(store.QUERIES["last_runs"], accounts=accounts, since=now - LOOK_BACK) if accounts else []
    for source in sorted({run["source"] for run in runs}):
        mine = [run for run in runs if run["source"] == source]
        states = [source_state(run, now) for run in mine]
        successes = [run["last_complete_at"] for run in mine if run["last_complete_at"] is not None]
        yield _source(f"ibkr:{source}", len({run["account_id"] for run in mine}), states, successes)


def _linked(seen: Seen, key: DeskKey, now: datetime) -> Iterator[SyncSource]:
    """Linked accounts, where there are any; switched off, they are not followed."""
    rows = seen.tx.query(linked.QUERIES["linked_states"], tenant_id=key.tenant_id)
    mine = [row for row in rows if key.sees(row["book_id"]) and row["is_active"]]
    if mine:
        successes = [row["last_successful_sync_at"] for row in mine if row["last_successful_sync_at"] is not None]
        yield _source("mt5", len(mine), [linked.state(row, now) for row in mine], successes)


def _source(name: str, accounts: int, states: Sequence[str], successes: Sequence[datetime]) -> SyncSource:
    failing = sum(state in FAILING for state in states)
    ok = sum(state == "ok" for state in states)
    told = {
        "source": name,
        "accounts": accounts,
        "ok": ok,
        "late": len(states) - failing - ok,
        "failing": failing,
        **instants("newest_success", max(successes, default=None)),
        **instants("oldest_success", min(successes, default=None)),
    }
    return cast("SyncSource", told)


def _audited(audits: Sequence[Row]) -> dict[str, Any]:
    state = "none yet" if not audits else "clean" if not any(row["exit"] for row in audits) else "findings"
    books = [{"book_id": row["book_id"], "exit": row["exit"], **instants("ran", row["ran_at"])} for row in audits]
    return {"state": state, "books": books}


def _hours(newest: datetime | None, now: datetime, exchange: TradingCalendar) -> dict[str, Any]:
    """The session a screen calls today, and the day of the newest execution: what it shows while today has none."""
    today = days.current(now, exchange)
    active = today if newest is None else min(today, days.current(newest, exchange), key=lambda one: one.date)
    return {
        "session": {
            "date": today.date.isoformat(),
            "day_start_ts": milliseconds(days.midnight(today.date)),
            "phase": exchange.phase(now),
        },
        "activity": {"date": active.date.isoformat(), "day_start_ts": milliseconds(days.midnight(active.date))},
    }


def _reasons(told: Mapping[str, Any]) -> Iterator[str]:
    """What is not well, in words that do not change."""
    if not told["migrations"]["ok"]:
        yield "migrations_behind"
    for name, age in told["ages"].items():
        if age["state"] in ("late", "stale"):
            yield f"{name}_{age['state']}"
    for name, count in told["dead_letters"].items():
        if count:
            yield f"dead_letters_{name}"
    if told["channels"]:
        yield "channels_standing_still"
    for source in told["sources"]:
        if source["failing"] or source["late"]:
            yield f"sync_{source['source'].replace(':', '_')}_{'failing' if source['failing'] else 'late'}"
    if told["snapshot"]["latest_date"] is not None and told["snapshot"]["state"] in ("late", "stale"):
        yield f"snapshot_{told['snapshot']['state']}"
    if told["audit"]["state"] == "findings":
        yield "audit_findings"


ROUTES: Final = (Route(path="/timed/health", purpose="Is the desk well, and what is not.", use_case=health, answer=Health),)
