"""Is the desk well: ages of the newest rows, what waits, what failed, and what the last audit said."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fillbook.calendar import calendar
from fillbook.runtime.clock import monotonic
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.tracker import store
from fillbook.tracker.trades import day_of, day_start
from fillbook.tracker.wire import answer, instants, milliseconds


def health(db: Database, key: DeskKey, now: datetime, *, is_simulated: bool) -> dict[str, Any]:
    """The desk's condition; raises ``Unavailable`` when the database is away."""
    started = monotonic()
    with store.look(db, key, None) as seen:
        (ages,) = seen.rows("ages")
        channels = seen.tx.query(store.QUERIES["channels"])
        audits = seen.rows("audits")
    latency_ms = round((monotonic() - started) * 1000)
    exchange = calendar()
    session = day_of(now, exchange)
    newest = ages["last_execution_at"]
    active = session if newest is None else min(session, day_of(newest, exchange), key=lambda one: one.date)
    is_degraded = bool(ages["messages_dead"] or ages["outbox_parked"] or channels or any(row["exit"] for row in audits))
    waiting_since = ages["outbox_oldest_at"]
    return answer(
        now,
        seen.recorded_at,
        seen.books,
        status="degraded" if is_degraded else "ok",
        database={"ok": True, "latency_ms": latency_ms},
        ages={
            **instants("last_receipt", ages["last_receipt_at"]),
            **instants("last_execution", ages["last_execution_at"]),
            **instants("newest_mark", ages["newest_mark_at"]),
            **instants("last_delivery", ages["last_delivery_at"]),
        },
        outbox={
            "depth": int(ages["outbox_depth"]),
            "parked": int(ages["outbox_parked"]),
            "oldest_unpublished_seconds": 0 if waiting_since is None else round((now - waiting_since).total_seconds()),
        },
        messages={"pending": ages["messages_pending"], "dead": ages["messages_dead"]},
        channels=channels,
        audit={
            "state": "none yet" if not audits else "clean" if not any(row["exit"] for row in audits) else "findings",
            "books": [{"book_id": row["book_id"], "exit": row["exit"], **instants("ran", row["ran_at"])} for row in audits],
        },
        session={
            "date": session.date,
            "day_start_ts": milliseconds(day_start(session)),
            "phase": exchange.phase(now),
        },
        # the day of the newest execution: what a screen shows while today has none
        activity={"date": active.date, "day_start_ts": milliseconds(day_start(active))},
        clock={"is_simulated": is_simulated},
    )
