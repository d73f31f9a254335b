"""How a call ended: a result per day, and what the whole of it means to a process, a person and the scheduler.

The table is section 4.10 of the snapshot specification. A repeat by the scheduler is asked for (500) only where it can help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final

from fillbook.snapshot.model import Counts, Dropped, Problem, Stage, Status
from fillbook.values import frozen

PROBLEMS_SHOWN_MAX: Final = 100


class Target(StrEnum):
    """Where a day was written."""

    API = "api"
    D1 = "d1"
    NONE = "none"


@frozen(kw_only=False)
class Ending:
    """What a status means: exit code of a process, HTTP status for a person and for the scheduler, event that tells it."""

    exit: int
    manual: int
    cron: int
    event: str | None = None


_DONE: Final = Ending(0, 200, 200)
_PUBLISHED: Final = Ending(0, 200, 200, "snapshot_published")

ENDINGS: Final[Mapping[Status, Ending]] = {
    Status.PUBLISHED: _PUBLISHED,
    Status.PUBLISHED_UNVERIFIED: _PUBLISHED,
    Status.PUBLISHED_FALLBACK: _PUBLISHED,
    Status.UNCHANGED: _DONE,
    Status.CLOSED: _DONE,
    Status.DUPLICATE: _DONE,
    Status.DRY_RUN: _DONE,
    Status.WATCHED: _DONE,
    Status.BAD_REQUEST: Ending(2, 400, 400),
    Status.CONFIGURATION: Ending(2, 500, 500),
    Status.VIEW_CONTRACT: Ending(3, 500, 500, "snapshot_publish_failed"),
    Status.REFUSED_GUARD: Ending(4, 422, 200, "snapshot_refused"),
    Status.REFUSED_VALIDATION: Ending(5, 422, 200, "snapshot_refused"),
    Status.KEPT: Ending(6, 503, 500, "snapshot_publish_failed"),
    Status.REFUSED_RECEIVER: Ending(7, 502, 200, "snapshot_refused"),
    Status.CONFLICT: Ending(7, 409, 200, "snapshot_refused"),
    Status.BUSY: Ending(8, 409, 200),
    Status.SOURCE_UNAVAILABLE: Ending(9, 503, 500),
    Status.NOT_STARTED: Ending(9, 503, 500),
    Status.PARTIAL: Ending(10, 200, 200),
}

SETTLED: Final = frozenset(status for status, ending in ENDINGS.items() if ending.exit == 0)
"""A second delivery of a scheduled call after one of these is a duplicate."""
GOOD: Final = frozenset({Status.PUBLISHED, Status.PUBLISHED_UNVERIFIED, Status.PUBLISHED_FALLBACK})
"""Somebody's readers show the day."""
STOPPERS: Final = frozenset({Status.VIEW_CONTRACT, Status.SOURCE_UNAVAILABLE, Status.CONFIGURATION})
"""What stops the other days of a range too: it would be the same with them."""


@frozen
class DayResult:
    """What became of one day. ``problems``: of validation, the view contract or the receiver; ``guards``: names and sentences.

    ``is_torn``: past the API its readers may be shown parts of this day beside parts of another, until it is published again.
    """

    date: date
    status: Status
    stage: Stage | None = None
    version: int | None = None
    content_sha256: str | None = None
    updated_at: datetime | None = None
    counts: Counts | None = None
    dropped: Dropped | None = None
    attempts: int = 0
    target: Target = Target.NONE
    verified: bool | None = None
    phase_ms: Mapping[str, int] = field(default_factory=dict)
    is_torn: bool = False
    problems: tuple[Problem, ...] = ()
    guards: tuple[tuple[str, str], ...] = ()
    http_status: int | None = None
    remote_request_id: str | None = None
    detail: str = ""

    @property
    def ending(self) -> Ending:
        """What it means."""
        return ENDINGS[self.status]

    def document(self) -> dict[str, Any]:
        """As the answer shows it."""
        return {
            "date": self.date.isoformat(),
            "status": self.status.value,
            "stage": None if self.stage is None else self.stage.value,
            "version": self.version,
            "content_sha256": self.content_sha256,
            "counts": counts_document(self.counts),
            "dropped": dropped_document(self.dropped),
            "attempts": self.attempts,
            "target": self.target.value,
            "verified": self.verified,
            "torn": self.is_torn,
            "phase_ms": dict(self.phase_ms),
            "problems": [problem_document(problem) for problem in self.problems[:PROBLEMS_SHOWN_MAX]],
            "guards": [{"guard": name, "message": text} for name, text in self.guards],
        }


@frozen
class Outcome:
    """What became of a call: its results in the order in which the days were worked."""

    run_id: str
    results: tuple[DayResult, ...]
    is_range: bool = False

    @property
    def status(self) -> Status:
        """The one word for all days: of several the one that most needs a repeat; ``partial`` where a range failed in part."""
        failed = [result.status for result in self.results if result.ending.exit]
        if not failed:
            return self.results[-1].status if self.results else Status.CLOSED
        if self.is_range and len(failed) < len(self.results):
            return Status.PARTIAL
        return max(failed, key=lambda status: ENDINGS[status].cron)

    @property
    def exit(self) -> int:
        """Exit code of a process."""
        return ENDINGS[self.status].exit

    def http_status(self, *, is_cron: bool) -> int:
        """Status of the answer."""
        ending = ENDINGS[self.status]
        return ending.cron if is_cron else ending.manual

    def document(self) -> dict[str, Any]:
        """The answer."""
        return {
            "ok": self.exit == 0,
            "run_id": self.run_id,
            "status": self.status.value,
            "results": [result.document() for result in self.results],
        }


def refusal(run_id: str, status: Status, problems: Sequence[Problem]) -> dict[str, Any]:
    """The answer to a call that was not begun: a wrong request, or a function that is not configured."""
    return {
        "ok": False,
        "run_id": run_id,
        "status": status.value,
        "results": [],
        "problems": [problem_document(problem) for problem in problems[:PROBLEMS_SHOWN_MAX]],
    }


def counts_document(counts: Counts | None) -> dict[str, int] | None:
    """Counts as JSON."""
    if counts is None:
        return None
    return {"kpis": counts.kpis, "series": counts.series, "extremes": counts.extremes, "assets": counts.assets}


def dropped_document(dropped: Dropped | None) -> dict[str, int] | None:
    """What was left out, as JSON."""
    return None if dropped is None else {"duplicates": dropped.duplicates, "null_points": dropped.null_points}


def problem_document(problem: Problem) -> dict[str, Any]:
    """A problem as JSON, without the value that stood there: an answer and a log line hold no view's text."""
    return {"path": problem.path, "code": problem.code, "message": problem.message}
