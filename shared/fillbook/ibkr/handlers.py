"""What each job does, as a table: job type -> handler. A handler runs outside any transaction and says how it went.

``Done``: the job did what it was asked, whatever the run found; ``NotReady``: the broker asks for patience, no attempt is
used; ``Failed``: it never will. It raises ``Unavailable`` for what trying again may mend and ``Rejected`` for what stays
wrong. Source: ibkr.md 11.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, Protocol

from fillbook.ibkr import payloads, positions, runs
from fillbook.ibkr.jobs import Job
from fillbook.ibkr.payloads import Requested
from fillbook.ibkr.sources import ExecutionSource, PositionSource
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Rejected
from fillbook.values import frozen


@frozen
class Follow:
    """A job that comes of another one, and when it may begin."""

    requested: Requested
    not_before: datetime


@frozen
class Done:
    """The job is finished; ``follow``: what comes of it, ``partitions``: to relay."""

    follow: tuple[Follow, ...] = ()
    partitions: tuple[int, ...] = ()


@frozen
class NotReady:
    """The outside asks to come again at ``until``; ``reason`` is a slug, ``trouble`` one that people hear now."""

    until: datetime
    reason: str
    follow: tuple[Follow, ...] = ()
    trouble: str | None = None


@frozen
class Failed:
    """The job is given up for good; ``error_class`` is a slug that people hear."""

    error_class: str
    follow: tuple[Follow, ...] = ()


Outcome = Done | NotReady | Failed


class Socket(ExecutionSource, PositionSource, Protocol):
    """TWS or IB Gateway (``tws.py``)."""


class Statements(Protocol):
    """The Flex web service, its tokens and its requests."""

    def request(self, job: Job, now: datetime) -> Outcome:
        """Ask for a statement to be written; the job that fetches it follows."""
        ...

    def fetch(self, job: Job, now: datetime) -> Outcome:
        """Fetch a statement and take it in."""
        ...


@frozen
class Outside:
    """The two doors to the broker; None: not configured."""

    socket: Socket | None = None
    statements: Statements | None = None


Handler = Callable[[Database, Outside, Job, datetime], Outcome]


def handle_trades_sync(db: Database, outside: Outside, job: Job, now: datetime) -> Done:
    """Fetch executions from the socket; accounts that waited for them are opened."""
    metrics = runs.sync_trades_once(
        db,
        _socket(outside),
        host=job.payload["host"],
        port=job.payload["port"],
        client_id=job.payload["client_id"],
        connect_timeout_seconds=job.payload["connect_timeout_seconds"],
        lookback_days=job.payload["lookback_days"],
        now=now,
        job_id=job.job_id,
    )
    return Done(partitions=tuple(sorted({*metrics.partitions, *positions.open_waiting(db, now)})))


def handle_positions_sync(db: Database, outside: Outside, job: Job, now: datetime) -> Done:
    """Fetch positions from the socket and have them compared with the book."""
    metrics = positions.sync_positions_once(
        db,
        _socket(outside),
        host=job.payload["host"],
        port=job.payload["port"],
        client_id=job.payload["client_id"],
        connect_timeout_seconds=job.payload["connect_timeout_seconds"],
        now=now,
        job_id=job.job_id,
    )
    return Done(partitions=metrics.partitions)


def handle_flex_request(_db: Database, outside: Outside, job: Job, now: datetime) -> Outcome:
    """Ask for a statement."""
    return _statements(outside).request(job, now)


def handle_flex_fetch(_db: Database, outside: Outside, job: Job, now: datetime) -> Outcome:
    """Fetch a statement that was asked for."""
    return _statements(outside).fetch(job, now)


HANDLERS: Final[Mapping[str, Handler]] = {
    payloads.JOB_TYPE_TRADES_SYNC: handle_trades_sync,
    payloads.JOB_TYPE_POSITIONS_SYNC: handle_positions_sync,
    payloads.JOB_TYPE_FLEX_REQUEST: handle_flex_request,
    payloads.JOB_TYPE_FLEX_FETCH: handle_flex_fetch,
}


def _socket(outside: Outside) -> Socket:
    if outside.socket is None:
        raise Rejected("tws_not_configured", field="IBKR_TWS_TARGETS")
    return outside.socket


def _statements(outside: Outside) -> Statements:
    if outside.statements is None:
        raise Rejected("flex_not_configured", field="IBKR_FLEX_TOKEN")
    return outside.statements
