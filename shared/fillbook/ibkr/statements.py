"""The Flex jobs as the queue sees them: which days to ask for, what a step means, and the positions a statement brings along.

The steps themselves (``flexjobs.py``) know the web service; here stands what they mean for the job, and that the open
positions of a settled statement are compared with the book as of the end of its last day. Source: ibkr.md 8, 10, 13.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from fillbook.ibkr import flexjobs, payloads, positions, store, times
from fillbook.ibkr.allowlist import Account, AllowList
from fillbook.ibkr.flexjobs import Next, StatementAsk, Step
from fillbook.ibkr.handlers import Done, Failed, Follow, NotReady
from fillbook.ibkr.jobs import Job
from fillbook.ibkr.model import PositionRow
from fillbook.ibkr.payloads import FLEX_DAYS_MAX, LOOKBACK_DAYS, Requested
from fillbook.ibkr.sources import Chunk, FlexAnswer, FlexBody, FlexService, PositionsSnapshot, StatementHead
from fillbook.ibkr.words import OVERLAP_DAYS, RunSource, Source
from fillbook.runtime.db import Database
from fillbook.values import frozen

STATEMENT: Final = "statement"
_ZONE: Final = ZoneInfo("America/New_York")
_DAY: Final = timedelta(days=1)


@frozen
class FlexStatements:
    """The web service behind ``handlers.Statements``; ``queries``: kind of statement -> query id."""

    db: Database
    service: FlexService
    queries: Mapping[str, str]

    def request(self, job: Job, now: datetime) -> Done | NotReady | Failed:
        """Ask for the days of the payload, or for what is not covered yet up to yesterday (confirmations: today)."""
        kind = job.payload["kind"]
        if "from_date" in job.payload:
            days = (date.fromisoformat(job.payload["from_date"]), date.fromisoformat(job.payload["to_date"]))
            older: list[tuple[date, date]] = []
        else:
            *older, days = windows(kind, self._reached(), now)
        ask = StatementAsk(query_id=self.queries[kind], from_date=days[0], to_date=days[1])
        step = flexjobs.request_statement(self.db, self.service, ask, job_id=job.job_id, now=now)
        more = [Follow(requested=_days(kind, first, last), not_before=now) for first, last in older]
        return outcome(step, now, more if step.next_step is Next.DONE else ())

    def fetch(self, job: Job, now: datetime) -> Done | NotReady | Failed:
        """Fetch a statement, take it in, and have its positions compared."""
        watched = _Watched(self.service)
        step = flexjobs.fetch_statement(self.db, watched, job.payload["request_id"], job_id=job.job_id, now=now)
        told = outcome(step, now)
        if isinstance(told, Done) and watched.document is not None:
            return Done(follow=told.follow, partitions=(*told.partitions, *self._compare(watched.document, job, now)))
        return told

    def _reached(self) -> list[datetime | None]:
        with self.db.transaction(read_only=True) as tx:
            return [row["high_water_at"] for row in tx.query(store.QUERIES["high_waters"], source=RunSource.FLEX.value)]

    def _compare(self, document: _Aside, job: Job, now: datetime) -> tuple[int, ...]:
        with self.db.transaction(read_only=True) as tx:
            allowed = store.allow_list(tx)
        partitions = set(positions.open_waiting(self.db, now))
        for snapshot, name in document.snapshots(allowed):
            run_id = positions.begin_statement_positions(self.db, now, job.job_id)
            metrics = positions.take_positions(self.db, snapshot, RunSource.FLEX, allowed, run_id=run_id, name=name, now=now)
            partitions.update(metrics.partitions)
        return tuple(sorted(partitions))


def windows(kind: str, reached: Sequence[datetime | None], now: datetime) -> list[tuple[date, date]]:
    """The days to ask for, oldest first, at most 365 each: from the lookback or from what is covered, less an overlap."""
    today = now.astimezone(_ZONE).date()
    if kind != STATEMENT:
        return [(today, today)]
    last = today - _DAY
    first = last - _DAY * (LOOKBACK_DAYS - 1)
    known = [at.astimezone(_ZONE).date() for at in reached if at is not None]
    if known:
        first = min(first, min(known) - _DAY * OVERLAP_DAYS)
    found: list[tuple[date, date]] = []
    while last >= first:
        begin = max(first, last - _DAY * (FLEX_DAYS_MAX - 1))
        found.insert(0, (begin, last))
        last = begin - _DAY
    return found


def outcome(step: Step, now: datetime, more: Sequence[Follow] = ()) -> Done | NotReady | Failed:
    """What a step means for its job."""
    follow = [
        Follow(
            requested=Requested(job_type=payloads.JOB_TYPE_FLEX_FETCH, payload={"request_id": one.request_id}),
            not_before=one.not_before,
        )
        for one in step.follow_ups
    ]
    partitions = () if step.metrics is None else step.metrics.partitions
    match step.next_step:
        case Next.DEFER:
            return NotReady(
                until=step.not_before or now, reason=step.error_class or "not_ready", trouble=step.trouble, follow=tuple(follow)
            )
        case Next.FAILED:
            return Failed(error_class=step.error_class or "flex_failed", follow=tuple(follow))
        case Next.DONE:
            return Done(follow=(*follow, *more), partitions=partitions)


def _days(kind: str, first: date, last: date) -> Requested:
    payload = {"kind": kind, "from_date": first.isoformat(), "to_date": last.isoformat()}
    return Requested(job_type=payloads.JOB_TYPE_FLEX_REQUEST, payload=payload)


class _Aside:
    """A document that keeps the positions which pass through it."""

    def __init__(self, inner: FlexBody) -> None:
        self._inner = inner
        self._head: StatementHead | None = None
        self._positions: list[PositionRow] = []
        self._is_read = False

    @property
    def head(self) -> str:
        return self._inner.head

    def close(self) -> None:
        self._inner.close()

    def check(self) -> StatementHead:
        self._head = self._inner.check()
        return self._head

    def chunks(self, allow_list: AllowList) -> Iterator[Chunk]:
        self._positions.clear()
        for chunk in self._inner.chunks(allow_list):
            self._positions += chunk.positions
            yield chunk
        self._is_read = True

    def snapshots(self, allowed: AllowList) -> Iterator[tuple[PositionsSnapshot, str]]:
        """What the accounts held at the end of the last day, by that instant; a part without such a section said nothing."""
        if not self._is_read or self._head is None or self._head.source is not Source.STATEMENT:
            return
        ends: dict[datetime, dict[Account, datetime]] = {}
        for span in self._head.spans:
            account = allowed.find(span.account_code)
            if account is not None and span.states_positions:
                end = times.start_of_day(span.to_date + _DAY, account.flex_time_zone)
                ends.setdefault(end, {})[account] = span.generated_at
        for end, accounts in sorted(ends.items()):
            asked = {account.account_id for account in accounts}
            rows = {(row.account_id, row.conid): row for row in self._positions if row.account_id in asked}
            snapshot = PositionsSnapshot(rows=tuple(rows.values()), accounts=tuple(sorted(asked)), as_of=end, is_end_seen=True)
            # a statement written anew may say something else of the same instant: it is another statement
            yield snapshot, f"flex {max(accounts.values()):%Y-%m-%dT%H:%M:%SZ}"


class _Watched:
    """The service, its documents set aside."""

    def __init__(self, inner: FlexService) -> None:
        self._inner = inner
        self.document: _Aside | None = None

    @property
    def token_name(self) -> str:
        return self._inner.token_name

    @property
    def fingerprint(self) -> str:
        return self._inner.fingerprint

    def send(self, query_id: str, from_date: date, to_date: date) -> FlexAnswer:
        return self._inner.send(query_id, from_date, to_date)

    def fetch(self, statement_url: str, reference_code: str) -> FlexAnswer:
        answer = self._inner.fetch(statement_url, reference_code)
        if answer.document is None:
            return answer
        self.document = _Aside(answer.document)
        return FlexAnswer(document=self.document)
