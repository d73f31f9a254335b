"""The ledger of publications, leases of days and the bytes on their way: this half of the room's tables, and what it remembers.

A lease is real time and has a token; whoever lost it may go on writing here, because a row says what happened, but sends nothing
more. Source: snapshot specification, 4.2 and 4.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any, Final

from fillbook.calendar import TradingCalendar
from fillbook.runtime.db import Database, Tx
from fillbook.runtime.sql import encode, load_queries
from fillbook.snapshot import checks
from fillbook.snapshot.asked import Asked
from fillbook.snapshot.model import Stage, Status, WorkDay
from fillbook.snapshot.outcomes import GOOD, SETTLED, DayResult, counts_document, dropped_document, problem_document
from fillbook.values import frozen

LEASE_SECONDS: Final = 180
SENDING: Final = "sending"
SENT: Final = (SENDING, *sorted(GOOD), Status.KEPT, Status.CONFLICT, Status.REFUSED_RECEIVER)
"""How a publication stands that may have changed what a receiver holds."""
RECENT_SESSIONS: Final = 5
LATE_ACTIONS_MAX: Final = 100
KEPT_FOR: Final = timedelta(days=7)

_QUERIES = load_queries("fillbook.snapshot", "publications.sql")


class LeaseLost(Exception):
    """Another run has the day now."""


@frozen
class Lease:
    """The right to publish a day until it is over or lost."""

    report_date: date
    run_id: str
    token: str


@frozen
class LastSent:
    """What was sent last of a day; ``is_proven``: to the API, and verified there."""

    content_sha256: str | None
    version: int | None
    is_proven: bool


@frozen
class LastGood:
    """What readers show of a day. ``recorded_until``: how far the ledger went into it, None where that is not known."""

    stage: Stage | None
    recorded_until: datetime | None
    remembered: checks.Published | None


@frozen
class Standing:
    """How a day stands before it is published again."""

    sent: LastSent | None
    good: LastGood | None
    history: checks.History


@frozen
class Publication:
    """A row of the ledger, as far as its result does not say it."""

    run_id: str
    asked: Asked
    started_at: datetime
    finished_at: datetime | None
    watermark: Mapping[str, Any] | None = None
    remembered: checks.Published | None = None


# --- leases -----------------------------------------------------------------------------------------------------------


def take_lease(db: Database, lease: Lease) -> bool:
    """Take a day; False while another run has it."""
    with db.transaction() as tx:
        return bool(
            tx.query(
                _QUERIES["lease_take"],
                report_date=lease.report_date,
                run_id=lease.run_id,
                token=lease.token,
                seconds=LEASE_SECONDS,
            )
        )


def renew_lease(db: Database, lease: Lease) -> None:
    """Keep a day for another while; raises ``LeaseLost``."""
    with db.transaction() as tx:
        held = tx.query(_QUERIES["lease_renew"], report_date=lease.report_date, token=lease.token, seconds=LEASE_SECONDS)
    if not held:
        raise LeaseLost(lease.report_date.isoformat())


def release_lease(tx: Tx, lease: Lease) -> None:
    """Give a day back."""
    tx.execute(_QUERIES["lease_release"], report_date=lease.report_date, token=lease.token)


# --- reading ----------------------------------------------------------------------------------------------------------


def is_duplicate(tx: Tx, asked: Asked, day: date) -> bool:
    """Whether this very call of the scheduler has ended well for this day."""
    if asked.scheduled_at is None:
        return False
    slot = None if asked.slot is None else asked.slot.value
    found = tx.query(
        _QUERIES["settled_before"], scheduled_at=asked.scheduled_at, report_date=day, slot=slot, settled=sorted(SETTLED)
    )
    return bool(found[0]["is_settled"])


def unsettled(tx: Tx, since: date, until: date) -> tuple[date, ...]:
    """Days of [since, until] that readers may be shown in parts: torn past the API, or left by a publisher that died on its way.

    Days that somebody publishes now are not among them.
    """
    found = tx.query(_QUERIES["unsettled"], since=since, until=until, whole=[*sorted(GOOD), Status.CONFLICT], sending=SENDING)
    return tuple(row["report_date"] for row in found)


def standing(tx: Tx, day: WorkDay, calendar: TradingCalendar, expected: Sequence[str]) -> Standing:
    """What went before; ``expected``: names of KPIs that must be there, where they are known."""
    last = tx.query(_QUERIES["last_good"], report_date=day.report_date, good=sorted(GOOD))
    sent = tx.query(_QUERIES["last_sent"], report_date=day.report_date, sent=list(SENT))
    recent = tx.query(
        _QUERIES["recent_good"],
        stage=day.stage.value,
        since=_sessions_back(calendar, day.report_date, RECENT_SESSIONS),
        before=day.report_date,
        good=sorted(GOOD),
    )
    good = _last_good(last[0]) if last else None
    known = {row["report_date"]: checks.from_json(row["remembered"]) for row in recent}
    return Standing(
        sent=_last_sent(sent[0]) if sent else None,
        good=good,
        history=checks.History(
            last=None if good is None else good.remembered,
            previous=known.get(day.previous_date),
            recent=tuple(known.values()),
            expected=tuple(expected),
        ),
    )


def late_actions(tx: Tx, day: WorkDay, books: Sequence[str], after: datetime) -> list[dict[str, Any]]:
    """Actions of a day that were recorded after an instant, as JSON values, at most a hundred."""
    rows = tx.query(
        _QUERIES["late_actions"],
        books=list(books),
        since=day.window_start,
        until=day.window_end,
        after=after,
        limit=LATE_ACTIONS_MAX,
    )
    return [
        {**row, "action_id": str(row["action_id"])} | {name: instant(row[name]) for name in ("executed_at", "recorded_at")}
        for row in rows
    ]


def expected_kpis(tx: Tx) -> tuple[str, ...]:
    """Names of the catalog: what our own views always have a row of."""
    return tuple(row["kpi_name"] for row in tx.query(_QUERIES["expected_kpis"]))


def is_final(tx: Tx, day: date) -> bool:
    """Whether readers show the day as final."""
    found = tx.query(_QUERIES["has_stage"], report_date=day, stage=Stage.FINAL.value, good=sorted(GOOD))
    return bool(found[0]["is_there"])


# --- writing ----------------------------------------------------------------------------------------------------------


def record_sending(db: Database, publication: Publication, result: DayResult, body: bytes) -> None:
    """Write that these bytes are on their way, and keep them."""
    with db.transaction() as tx:
        _write(tx, publication, result, status=SENDING)
        tx.execute(
            _QUERIES["keep_bytes"],
            run_id=publication.run_id,
            report_date=result.date,
            body=body,
            recorded_at=publication.started_at,
        )


def record(tx: Tx, publication: Publication, result: DayResult) -> None:
    """Write how a publication ended."""
    _write(tx, publication, result, status=result.status.value)
    if publication.finished_at is not None:
        tx.execute(
            _QUERIES["forget_bytes"],
            run_id=publication.run_id,
            report_date=result.date,
            is_verified=bool(result.verified),
            kept_since=publication.finished_at - KEPT_FOR,
        )


def _write(tx: Tx, publication: Publication, result: DayResult, *, status: str) -> None:
    tx.execute(_QUERIES["record"], row=encode(publication_row(publication, result, status)))


def publication_row(publication: Publication, result: DayResult, status: str) -> dict[str, Any]:
    """The columns of a row that are written."""
    asked = publication.asked
    return {
        "run_id": publication.run_id,
        "report_date": result.date,
        "slot": asked.slot,
        "stage": result.stage,
        "trigger": asked.trigger,
        "scheduled_at": asked.scheduled_at,
        "started_at": publication.started_at,
        "finished_at": publication.finished_at,
        "status": status,
        "target": result.target,
        "content_sha256": result.content_sha256,
        "version": result.version,
        "updated_at": result.updated_at,
        "counts": counts_document(result.counts),
        "dropped": dropped_document(result.dropped),
        "phase_ms": dict(result.phase_ms),
        "attempts": result.attempts,
        "http_status": result.http_status,
        "remote_request_id": result.remote_request_id,
        "verified": result.verified,
        "is_torn": result.is_torn,
        "forced": [guard.value for guard in asked.force],
        "reason": asked.reason,
        "actor": asked.actor,
        "detail": result.detail[:300],
        "problems": [problem_document(problem) for problem in result.problems],
        "guards": [{"guard": name, "message": text} for name, text in result.guards],
        "watermark": publication.watermark,
        "remembered": None if publication.remembered is None else checks.to_json(publication.remembered),
    }


def instant(at: datetime) -> str:
    """An instant as documents show it: UTC milliseconds, cut."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def finished(publication: Publication, at: datetime) -> Publication:
    """The same, ended."""
    return replace(publication, finished_at=at)


def _last_sent(row: Mapping[str, Any]) -> LastSent:
    return LastSent(
        content_sha256=row["content_sha256"],
        version=row["version"],
        is_proven=row["status"] == Status.PUBLISHED and row["target"] == "api" and row["verified"] is True,
    )


def _last_good(row: Mapping[str, Any]) -> LastGood:
    until = (row["watermark"] or {}).get("last_recorded_at")
    return LastGood(
        stage=None if row["stage"] is None else Stage(row["stage"]),
        recorded_until=None if until is None else datetime.fromisoformat(until),
        remembered=None if row["remembered"] is None else checks.from_json(row["remembered"]),
    )


def _sessions_back(calendar: TradingCalendar, day: date, count: int) -> date:
    for _ in range(count):
        day = calendar.previous_session(day).date
    return day
