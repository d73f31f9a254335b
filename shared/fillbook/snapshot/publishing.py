"""One day, published: read, built, checked, sent, verified, recorded. Or refused, kept for later, left as it is.

The steps are those of section 4.2 of the snapshot specification. Network and database never mix: what is about to be sent is
recorded before it is sent, what came of it after. Between the two anything may die: the next run finds the lease over, sends the
same content again, and the receiver says that it has it already.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date
from typing import Any, Final

from fillbook.calendar import calendar
from fillbook.outbox.service import enqueue, partitions_of
from fillbook.runtime import clock as process_clock
from fillbook.runtime import logs
from fillbook.runtime.clock import Clock
from fillbook.runtime.db import Database, Tx
from fillbook.runtime.errors import Unavailable
from fillbook.snapshot import checks, days, document, publications, source, telling
from fillbook.snapshot.asked import Asked
from fillbook.snapshot.model import Snapshot, Source, Stage, Status, WorkDay
from fillbook.snapshot.outcomes import DayResult, Target
from fillbook.snapshot.publications import Lease, LeaseLost, Publication, Standing
from fillbook.snapshot.sources import Fallback, FallbackKind, Receiver, ReceiverEnd, Sending, SentKind, StoredKind
from fillbook.values import frozen

FALLBACK_SECONDS: Final = 60
"""What is left of a day's time for the fallback when the API stays silent."""
LEASE_MARGIN_SECONDS: Final = 10
IN_PARTS: Final = "; readers past the API may be shown the day in parts"

_log = logs.get("snapshot")
_REFUSED: Final[Mapping[SentKind, Status]] = {
    SentKind.CONFLICT: Status.CONFLICT,
    SentKind.REFUSED: Status.REFUSED_RECEIVER,
    SentKind.MISCONFIGURED: Status.REFUSED_RECEIVER,
}
_FALLEN_BACK: Final[Mapping[FallbackKind, Status]] = {
    FallbackKind.STORED: Status.PUBLISHED_FALLBACK,
    FallbackKind.CONFLICT: Status.CONFLICT,
}


@frozen
class Ground:
    """What publishing stands on. ``clock``: desk time; ``relay``: publishes what was committed.

    ``refreshing``: the same database with the time that a refresh may take; None: the views are somebody else's to refresh.
    """

    db: Database
    refreshing: Database | None
    names: source.ViewNames
    clock: Clock
    receiver: Receiver
    fallback: Fallback | None
    relay: Callable[[tuple[int, ...]], None]


@frozen
class Errand:
    """One day of a call. ``prepare`` puts it on the work list and refreshes, at most once per block of days."""

    run_id: str
    asked: Asked
    date: date
    deadline: float
    prepare: Callable[[], None]


def publish_day(ground: Ground, errand: Errand) -> DayResult:
    """Publish one session; every ending is a result but bugs, which are raised after the lease was given back."""
    lease = Lease(report_date=errand.date, run_id=errand.run_id, token=str(uuid.uuid4()))
    run = _Run(ground, errand, lease)
    try:
        if not errand.asked.dry_run and not publications.take_lease(ground.db, lease):
            return run.ended(Status.BUSY)
        try:
            return run.work()
        finally:
            if not errand.asked.dry_run:
                run.give_back()
    except Unavailable as error:
        _log.error("snapshot_source_unavailable", run_id=errand.run_id, date=errand.date, reason=error.reason)
        return run.ended(Status.SOURCE_UNAVAILABLE)


class _Run:
    """The day in hand: what is known of it so far, and the lease that lets it go on."""

    def __init__(self, ground: Ground, errand: Errand, lease: Lease) -> None:
        self._ground = ground
        self._errand = errand
        self._lease = lease
        self._phases: dict[str, int] = {}
        self._result = DayResult(date=errand.date, status=Status.BUSY)
        self._publication = Publication(run_id=errand.run_id, asked=errand.asked, started_at=ground.clock.now(), finished_at=None)
        self._snapshot: Snapshot | None = None
        self._is_recorded = False

    # --- the steps ----------------------------------------------------------------------------------------------------

    def work(self) -> DayResult:
        """Steps 3 to 10."""
        try:
            if self._is_duplicate():
                return self.ended(Status.DUPLICATE)
            with self._phase("refresh"):
                self._errand.prepare()
            found, before = self._read()
            snapshot, is_sound = self._build(found, before)
            if self._errand.asked.dry_run:
                return self.ended(Status.DRY_RUN if is_sound else self._result.status)
            if not is_sound:
                return self._finish()
            if self._is_unchanged(snapshot, before):
                return self._finish()
            return self._send(self._sending(snapshot))
        except LeaseLost:
            self._result = replace(self._result, status=Status.BUSY, detail="the lease was lost")
            return self._finish() if self._is_recorded else self.ended(Status.BUSY)

    def _is_duplicate(self) -> bool:
        with self._ground.db.transaction(read_only=True) as tx:
            return publications.is_duplicate(tx, self._errand.asked, self._errand.date)

    def _read(self) -> tuple[Source, Standing]:
        with self._phase("read"):
            if not self._errand.asked.dry_run:
                self._renew()
            found = source.read(self._ground.db, self._ground.names, days.plan(self._errand.date, self._ground.clock.now()))
            self._result = replace(self._result, stage=found.day.stage)
            with self._ground.db.transaction(read_only=True) as tx:
                expected = publications.expected_kpis(tx) if self._ground.names.is_ours else ()
                return found, publications.standing(tx, found.day, calendar(), expected)

    def _build(self, found: Source, before: Standing) -> tuple[Snapshot, bool]:
        """Step 5, and whether what came out may be sent."""
        with self._phase("build"):
            provenance = self._provenance(found, before)
            headline = f"Fillbook metrics for {self._errand.date.isoformat()}"
            snapshot, dropped, problems = document.built(found, headline=headline, summary="", provenance=provenance)
            problems = (*problems, *checks.validated(snapshot, found))[:100]
            forced = set(self._errand.asked.force)
            guards = () if problems else checks.guarded(snapshot, found, before.history)
            refused = tuple((guard.value, text) for guard, text in guards if guard not in forced)
            self._snapshot = snapshot
            self._publication = replace(
                self._publication,
                watermark=snapshot.watermark,
                remembered=None if problems else checks.remembered(snapshot, found),
            )
            self._result = replace(
                self._result,
                status=Status.REFUSED_VALIDATION if problems else Status.REFUSED_GUARD,
                updated_at=snapshot.updated_at,
                counts=document.counts(snapshot),
                dropped=dropped,
                content_sha256=None if problems else document.content_sha256(snapshot),
                problems=problems,
                guards=refused,
                detail=problems[0].code if problems else refused[0][0] if refused else "",
            )
            return snapshot, not problems and not refused

    def _provenance(self, found: Source, before: Standing) -> dict[str, Any]:
        watermark = found.watermark
        books = [] if watermark is None else sorted(watermark.ledger_seq)
        return {
            "books": books,
            "views_refreshed_at": None if watermark is None else publications.instant(watermark.refreshed_at),
            "run_id": self._errand.run_id,
            "excluded": {} if watermark is None else dict(watermark.excluded),
            "late_actions": self._late_actions(found.day, books, before),
            "forced": [guard.value for guard in self._errand.asked.force],
        }

    def _late_actions(self, day: WorkDay, books: list[str], before: Standing) -> list[dict[str, Any]]:
        """What was recorded after a day was final: the cause of a restatement. Before that, everything is on time."""
        good = before.good
        if good is None or good.stage is not Stage.FINAL or good.recorded_until is None or not books:
            return []
        with self._ground.db.transaction(read_only=True) as tx:
            return publications.late_actions(tx, day, books, good.recorded_until)

    def _sending(self, snapshot: Snapshot) -> Sending:
        return Sending(
            run_id=self._errand.run_id,
            body=document.encoded(snapshot, sha256=self._result.content_sha256),
            snapshot=snapshot,
            content_sha256=self._result.content_sha256 or "",
            forced=self._errand.asked.force,
        )

    def _is_unchanged(self, snapshot: Snapshot, before: Standing) -> bool:
        """Step 6: the API has this content, proven by the last sending, and by reading back where that is asked for."""
        sent = before.sent
        if sent is None or not sent.is_proven or sent.content_sha256 != self._result.content_sha256:
            return False
        self._result = replace(self._result, status=Status.UNCHANGED, version=sent.version)
        return not self._errand.asked.verify or self._is_shown(self._sending(snapshot))

    def _is_shown(self, sending: Sending) -> bool:
        """Read back; only other content is a reason to send again."""
        with self._phase("verify"):
            self._renew()
            shown = self._ground.receiver.stored(sending, deadline=self._errand.deadline)
        if shown.kind is StoredKind.OTHER:
            return False
        self._result = replace(self._result, verified=shown.kind is StoredKind.SAME, detail=shown.detail)
        return True

    def _send(self, sending: Sending) -> DayResult:
        """Steps 7 to 10. From here on the end is recorded whatever it is."""
        self._renew()
        publications.record_sending(self._ground.db, self._publication, self._result, sending.body)
        self._is_recorded = True
        with self._phase("send"):
            reserve = 0 if self._ground.fallback is None else FALLBACK_SECONDS
            end = self._ground.receiver.send(sending, before_attempt=self._renew, deadline=self._errand.deadline - reserve)
        self._result = replace(
            self._result,
            attempts=end.attempts,
            http_status=end.http_status,
            remote_request_id=end.remote_request_id,
            detail=end.detail,
        )
        if end.kind is SentKind.STORED:
            self._stored(end)
        elif end.kind is SentKind.UNREACHED:
            self._result = replace(self._result, status=Status.KEPT, target=Target.NONE, version=None)
            self._fall_back(sending)
        else:
            self._result = replace(self._result, status=_REFUSED[end.kind], target=Target.API)
        return self._finish()

    def _stored(self, end: ReceiverEnd) -> None:
        status = Status.PUBLISHED if end.verified else Status.PUBLISHED_UNVERIFIED
        self._result = replace(self._result, status=status, target=Target.API, version=end.version, verified=end.verified)

    def _fall_back(self, sending: Sending) -> None:
        """Write past the silent API, within the lease and the day's time."""
        fallback = self._ground.fallback
        if fallback is None:
            return
        with self._phase("fallback"):
            self._renew()
            held_until = process_clock.monotonic() + publications.LEASE_SECONDS - LEASE_MARGIN_SECONDS
            end = fallback.write(sending.body, sending.snapshot, deadline=min(self._errand.deadline, held_until))
        status = _FALLEN_BACK.get(end.kind, Status.KEPT)
        self._result = replace(
            self._result,
            status=status,
            target=Target.NONE if status is Status.KEPT else Target.D1,
            verified=end.verified if status is Status.PUBLISHED_FALLBACK else None,
            is_torn=end.is_torn,
            detail=f"{self._result.detail}; fallback {end.kind}: {end.detail}{IN_PARTS if end.is_torn else ''}",
        )

    # --- the end ------------------------------------------------------------------------------------------------------

    def ended(self, status: Status) -> DayResult:
        """An end that leaves no trace."""
        self._result = replace(self._result, status=status, phase_ms=dict(self._phases))
        self._summary()
        return self._result

    def _finish(self) -> DayResult:
        """Step 10: row, equity, event and lease in one transaction."""
        now = self._ground.clock.now()
        with self._phase("record"):
            self._result = replace(self._result, phase_ms=dict(self._phases))
            events = telling.ended(self._errand.run_id, self._result, self._snapshot, now)
            with self._ground.db.transaction() as tx:
                publications.record(tx, publications.finished(self._publication, now), self._result)
                self._keep_equity(tx)
                enqueue(tx, events)
                publications.release_lease(tx, self._lease)
        self._result = replace(self._result, phase_ms=dict(self._phases))
        self._ground.relay(partitions_of(events))
        self._summary()
        return self._result

    def _keep_equity(self, tx: Tx) -> None:
        """A final day's equity is history for the days after it; one that is not known is none."""
        is_final = self._result.stage is Stage.FINAL and self._result.ending.event == "snapshot_published"
        if not is_final or self._snapshot is None or not self._ground.names.is_ours:
            return
        values = {row.kpi: row.value_num for row in self._snapshot.rows}
        equity = values.get("Equity")
        if equity is not None:
            digest = self._result.content_sha256 or ""
            source.put_equity(
                tx, self._errand.date, equity=equity, daily_return=values.get("Daily return"), content_sha256=digest
            )

    def give_back(self) -> None:
        """Free the day; where the database is away the lease ends it."""
        with suppress(Unavailable), self._ground.db.transaction() as tx:
            publications.release_lease(tx, self._lease)

    def _renew(self) -> None:
        publications.renew_lease(self._ground.db, self._lease)

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        """Measure a phase, and write its line."""
        begun = process_clock.monotonic()
        try:
            yield
        finally:
            milliseconds = round((process_clock.monotonic() - begun) * 1000)
            self._phases[name] = milliseconds
            _log.info("snapshot_phase", run_id=self._errand.run_id, date=self._errand.date, phase=name, ms=milliseconds)

    def _summary(self) -> None:
        told = {name: value for name, value in self._result.document().items() if name not in ("date", "problems", "guards")}
        _log.info(
            "snapshot_day",
            run_id=self._errand.run_id,
            date=self._errand.date,
            trigger=self._errand.asked.trigger,
            slot=self._errand.asked.slot,
            guards=[name for name, _ in self._result.guards],
            problem_codes=sorted({problem.code for problem in self._result.problems}),
            **told,
        )
