"""The relay: takes committed events to Pub/Sub, in order per aggregate, at least once, from any number of processes.

Whole partitions are leased, not rows, so that two relays never publish one aggregate side by side. Between lease and
finalise no transaction is open. Whoever lost the lease finalises nothing: the event may go out twice, which the
consumers' inbox absorbs; it never goes out of order, because each relay walks an aggregate in id order and stops at its
first failure. Leases and budgets run on real time, backoffs on desk time (architecture, section 6).

The relay refuses to decide: it does not skip, merge or rewrite events. Only a refusal that Pub/Sub calls permanent takes
an event out of line, parked with its reason for an operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import groupby
from typing import Self
from uuid import UUID, uuid4

from fillbook.outbox import store
from fillbook.outbox.store import Claimed, Failed, Outcome, Parked, Published, Row
from fillbook.runtime import clock, logs
from fillbook.runtime.clock import Clock
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.runtime.pubsub import OutMessage, Publish
from fillbook.values import frozen

REQUESTS_MAX = 8
PUBLISH_SECONDS_MAX = 10.0
EXTEND_SECONDS = 10.0
BUSY_PAUSE_SECONDS = 0.05
OWN_BUDGET_SECONDS = 2.0
SWEEP_BUDGET_SECONDS = 50.0

_log = logs.get("outbox")


@frozen
class RelayReport:
    """What one run did; ``is_drained`` is False when rows were left because the budget ended or others held them."""

    published: int = 0
    failed: int = 0
    parked: int = 0
    is_drained: bool = True

    def plus(self, outcomes: Sequence[Outcome]) -> RelayReport:
        """Return the report with ``outcomes`` counted."""
        return replace(
            self,
            published=self.published + sum(isinstance(one, Published) for one in outcomes),
            failed=self.failed + sum(isinstance(one, Failed) for one in outcomes),
            parked=self.parked + sum(isinstance(one, Parked) for one in outcomes),
        )

    def document(self) -> dict[str, object]:
        """Return the report for an answer."""
        return {
            "published": self.published,
            "failed": self.failed,
            "parked": self.parked,
            "is_drained": self.is_drained,
        }


def relay(
    db: Database,
    publish: Publish,
    *,
    now_from: Clock,
    budget_seconds: float,
    partitions: Sequence[int] | None = None,
    claimed: Claimed | None = None,
) -> RelayReport:
    """Publish due events until none is left or ``budget_seconds`` of real time are over.

    With ``partitions`` only those are looked at, and one that another relay holds is asked for again every 50 ms; without,
    held partitions are left to their holder. ``claimed`` is what the caller leased already. Raises ``Unavailable`` when the
    database is.
    """
    with _Run(db, publish, now_from, clock.monotonic() + budget_seconds) as run:
        return _loop(run, partitions, claimed)


def _loop(run: _Run, partitions: Sequence[int] | None, claimed: Claimed | None) -> RelayReport:
    while run.has_time:
        run.take(run.claim(partitions) if claimed is None else claimed)
        claimed = None
        if run.rows:
            run.drain()
        elif run.busy == 0 or partitions is None:
            return run.report
        else:
            clock.sleep(min(BUSY_PAUSE_SECONDS, max(0.0, run.deadline - clock.monotonic())))
        if partitions is not None and run.took_all:
            return run.report
    return replace(run.report, is_drained=False)


def relay_own(
    db: Database, publish: Publish, partitions: Sequence[int], *, now_from: Clock, claimed: Claimed | None = None
) -> None:
    """Publish what this request has just committed, in at most 2 s; whatever goes wrong, the sweeper will do it.

    ``claimed`` is the answer of the claim that rode with the commit: what it leased goes out at once. What it did not get
    (another relay held the partition) is asked for as without it. Nothing is raised: the data is committed, and the caller's
    answer must not depend on Pub/Sub.
    """
    if not partitions:
        return
    try:
        relay(db, publish, now_from=now_from, budget_seconds=OWN_BUDGET_SECONDS, partitions=partitions, claimed=claimed)
    except Exception as error:  # noqa: BLE001 -- by design: after the commit no failure may reach the caller
        _log.warning("outbox_relay_inline_failed", error=type(error).__name__)


def sweep(db: Database, publish: Publish, *, now_from: Clock, budget_seconds: float = SWEEP_BUDGET_SECONDS) -> RelayReport:
    """Publish everything due, delete what has expired, and log age and depth of what is left (also when 0)."""
    deadline = clock.monotonic() + budget_seconds
    report = relay(db, publish, now_from=now_from, budget_seconds=budget_seconds)
    purged_events = purged_inbox = 0
    is_full = True
    while is_full and clock.monotonic() < deadline:
        events, received = store.purge(db, now_from.now())
        purged_events, purged_inbox = purged_events + events, purged_inbox + received
        is_full = store.PURGE_ROWS_MAX in (events, received)
    with db.transaction(read_only=True) as tx:
        left = store.backlog(tx, now_from.now())
    _log.info(
        "outbox_swept",
        outbox_oldest_unpublished_seconds=left.oldest_unpublished_seconds,
        depth=left.depth,
        parked_total=left.parked,
        published=report.published,
        failed=report.failed,
        parked=report.parked,
        purged_events=purged_events,
        purged_inbox=purged_inbox,
    )
    return report


class _Run:
    """One run of the relay: its token, its deadline and the rows in hand."""

    def __init__(self, db: Database, publish: Publish, now_from: Clock, deadline: float) -> None:
        self._db = db
        self._publish = publish
        self._now_from = now_from
        self._token: UUID = uuid4()
        self.deadline = deadline
        self.report = RelayReport()
        self.rows: tuple[Row, ...] = ()
        self.busy = 0
        self.took_all = False
        self._held = 0
        self._threads: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._threads is not None:
            self._threads.shutdown()

    @property
    def has_time(self) -> bool:
        return clock.monotonic() < self.deadline

    def claim(self, partitions: Sequence[int] | None) -> Claimed:
        """Lease partitions and read their rows."""
        return store.claim(self._db, uuid4(), self._now_from.now(), partitions=partitions)

    def take(self, claimed: Claimed) -> None:
        """Take the rows of leased partitions in hand."""
        self._token = claimed.token
        self.rows, self.busy = claimed.rows, claimed.busy
        self.took_all = bool(claimed.rows) and claimed.busy == 0 and len(claimed.partitions) < store.PARTITIONS_MAX
        if claimed.partitions and not claimed.rows:  # published by its former holder between the lease and the read
            self._finish([], "release")

    def drain(self) -> None:
        """Publish the rows in hand and those that follow in the same partitions; the lease is released at the end."""
        while self.rows:
            outcomes = self._publish_rows()
            per_partition = [len(list(group)) for _, group in groupby(sorted(row.partition_no for row in self.rows))]
            goes_on = self.has_time and max(per_partition) >= store.ROWS_MAX
            self.rows = self._finish(outcomes, "read" if goes_on else "release")

    def _finish(self, outcomes: Sequence[Outcome], step: str) -> tuple[Row, ...]:
        self._held, rows = store.finish(self._db, self._token, self._now_from.now(), outcomes, step)
        self.report = self.report.plus(outcomes)
        return rows

    def _publish_rows(self) -> list[Outcome]:
        """Publish all rows, aggregate by aggregate, ≤ 8 requests at once; finalise and extend the lease meanwhile."""
        aggregates: dict[str, list[Row]] = {}
        for row in self.rows:
            aggregates.setdefault(row.aggregate_key, []).append(row)
        if len(aggregates) == 1 and self.deadline - clock.monotonic() < store.LEASE_SECONDS - PUBLISH_SECONDS_MAX:
            return self._publish_aggregate(self.rows)
        if self._threads is None:  # kept for the run: each thread keeps its connection to Pub/Sub
            self._threads = ThreadPoolExecutor(REQUESTS_MAX, thread_name_prefix="relay")
        outcomes: list[Outcome] = []
        under_way: set[Future[list[Outcome]]] = {
            self._threads.submit(self._publish_aggregate, rows) for rows in aggregates.values()
        }
        while under_way:
            done, under_way = wait(under_way, timeout=EXTEND_SECONDS)
            outcomes += [outcome for future in done if not future.cancelled() for outcome in future.result()]
            if under_way:
                self._finish(outcomes, "extend")
                outcomes = []
                if not self._held:  # somebody else publishes these now; what has not begun need not go out twice
                    for future in under_way:
                        future.cancel()
        return outcomes

    def _publish_aggregate(self, rows: Sequence[Row]) -> list[Outcome]:
        """Publish one aggregate's rows in order, one request per topic; stop at the first failure."""
        outcomes: list[Outcome] = []
        for topic, run in groupby(rows, key=lambda row: row.topic):
            waiting = list(run)
            done = self._publish_request(topic, waiting)
            outcomes += done
            if len(done) < len(waiting) or isinstance(done[-1], Failed):
                break
        return outcomes

    def _publish_request(self, topic: str, rows: list[Row]) -> list[Outcome]:
        seconds = min(PUBLISH_SECONDS_MAX, self.deadline - clock.monotonic())
        if seconds <= 0:
            return []
        try:
            ids = self._publish.publish(topic, [message_of(row) for row in rows], timeout_seconds=seconds)
        except Rejected as refusal:
            if len(rows) == 1:
                _log.error("outbox_event_parked", event_id=rows[0].event_id, event_type=rows[0].event_type, reason=refusal.reason)
                return [Parked(id=rows[0].id, error=refusal.reason)]
            return self._publish_singly(topic, rows)
        except Unavailable as failure:
            return [Failed(id=row.id, error=failure.reason) for row in rows]
        except Exception as bug:  # noqa: BLE001 -- one aggregate's bug must not stop the others; it waits and is told
            _log.failed("outbox_publish_bug", bug, event_id=rows[0].event_id)
            return [Failed(id=row.id, error=f"bug_{type(bug).__name__}") for row in rows]
        if len(ids) != len(rows):
            return [Failed(id=row.id, error="publish_answer_invalid") for row in rows]
        return [Published(id=row.id, message_id=message_id) for row, message_id in zip(rows, ids, strict=True)]

    def _publish_singly(self, topic: str, rows: list[Row]) -> list[Outcome]:
        """Find out which message of a refused request is the bad one; order is kept, the first failure stops."""
        outcomes: list[Outcome] = []
        for row in rows:
            outcomes += self._publish_request(topic, [row])
            if not outcomes or outcomes[-1].id != row.id or isinstance(outcomes[-1], Failed):
                break
        return outcomes


def message_of(row: Row) -> OutMessage:
    """Return the message of an event: the envelope as stored, its keys as attributes, ordered by aggregate."""
    attributes = {
        "event_id": row.event_id,
        "event_type": row.event_type,
        "schema_version": str(row.schema_version),
        "aggregate_version": row.aggregate_version,
    }
    if row.traceparent is not None:
        attributes["traceparent"] = row.traceparent
    return OutMessage(data=row.payload.encode("utf-8"), attributes=attributes, ordering_key=row.aggregate_key)
