"""Counts what a local desk uses, day by day: requests, processor time, memory, rows, bytes, from what really ran.

Each figure is read where it arises: requests from the logs in front of the functions (``served.py``), processor time and memory
of processes from the kernel, messages from the local Pub/Sub, tasks from the local jobs, rows and bytes from Postgres' own
statistics, log bytes from the logs' sizes. All of them only rise, so a day is what two readings differ by. It belongs to the date
that the desk clock shows in New York when it is read: a demo day is one day, however fast its clock ran. What cannot be read (a
foreign server's statistics, a process that is down) is not there; nothing is guessed. A day is kept as a file; ``infra/cost``
prices it and stores both in ``ops.cost_days``, where the page finds them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fillbook.calendar import NEW_YORK
from fillbook.runtime.errors import FillbookError
from fillbook.runtime.sql import Statement
from infra.local.control import ControlError
from infra.local.deskclock import DeskClockFile
from infra.local.processor import spent_seconds
from infra.local.requestlog import parsed, tallied

if TYPE_CHECKING:
    from infra.local.desk import LocalCloud

Counts = dict[str, dict[str, float]]
"""What (``function NAME``, ``calls NAME CALLER``, ``topic NAME``, ``subscription NAME``, ``job NAME``, ``database``) -> count ->
how much."""
PEAK, SIZE = "peak_bytes", "size_bytes"
STATISTICS = Statement(
    name="statistics",
    purpose="what the server counts of this database, since it was made",
    text="select tup_inserted + tup_updated + tup_deleted as rows_written, tup_fetched as rows_read,"
    " xact_commit + xact_rollback as transactions, pg_database_size(datname) as size_bytes,"
    " (select wal_bytes::bigint from pg_catalog.pg_stat_wal) as log_ahead_bytes"
    " from pg_catalog.pg_stat_database where datname = current_database()",
)


class Meter:
    """The meter of one running local cloud; ``settle`` it from time to time, and before the desk clock goes to another day."""

    def __init__(self, cloud: LocalCloud) -> None:
        self._cloud = cloud
        self._read_until: dict[Path, int] = {}
        self._calls: Counts = {}
        self._last: Counts = {}
        with _whatever_is_down():
            self._last = self._database()  # what migrations wrote is no part of a day

    def settle(self) -> tuple[date, dict[str, Any]]:
        """Add what was used since the last time to the day that the desk clock shows; the day and all that is kept of it."""
        clock = DeskClockFile(self._cloud.home.clock)
        now = clock.now()
        day = now.astimezone(NEW_YORK).date()
        counts = self.counts()
        fresh, self._last = risen(counts, self._last), counts
        path = kept_path(self._cloud.home.usage, day)
        before = read(path) if path.exists() else {"counts": {}}
        kept = {
            "day": day.isoformat(),
            "counted_until": now.astimezone(UTC).isoformat(),
            "is_simulated": bool(before.get("is_simulated")) or abs((now - datetime.now(UTC)).total_seconds()) > 60,
            "counts": together(before["counts"], fresh),
        }
        write(path, kept)
        return day, kept

    def counts(self) -> Counts:
        """All that was counted so far; of what cannot be asked now, what was known before."""
        found: Counts = {}
        for part in (self._processes, self._requests, self._messages, self._jobs, self._database):
            with _whatever_is_down():
                found |= part()
        return {**self._last, **found}

    def _processes(self) -> Counts:
        found: Counts = {}
        for one in self._cloud.keeper.all():
            one.measure()
            name = self._cloud.function_of(one.program.name)
            if name is None:
                continue
            counts = found.setdefault(f"function {name}", dict.fromkeys(("starts", "processor_seconds", "log_bytes", PEAK), 0.0))
            counts["starts"] += one.starts
            counts["processor_seconds"] += one.processor_seconds
            counts["log_bytes"] += one.program.log.stat().st_size if one.program.log.exists() else 0
            counts[PEAK] = max(counts[PEAK], one.peak_bytes)
        return found

    def _requests(self) -> Counts:
        for path in sorted(self._cloud.home.requests.glob("*.log")):
            name = self._cloud.function_of(path.stem)
            with path.open(encoding="ascii", errors="replace") as log:
                log.seek(self._read_until.get(path, 0))
                text = log.read()
            whole = text[: text.rfind("\n") + 1]
            self._read_until[path] = self._read_until.get(path, 0) + len(whole)
            told = {f"calls {name} {caller}": counts for caller, counts in tallied(parsed(whole.splitlines())).items()}
            self._calls = together(self._calls, told)
        return self._calls

    def _messages(self) -> Counts:
        document = self._cloud.control.pubsub()
        topics = {
            f"topic {name}": {"messages": float(count), "bytes": float(document["charged_bytes"][name])}
            for name, count in document["published"].items()
        }
        pushes = {
            f"subscription {name}": {"pushes": float(one["pushed"]), "bytes": float(one["charged_bytes"])}
            for name, one in document["subscriptions"].items()
        }
        return topics | pushes

    def _jobs(self) -> Counts:
        spent = self._cloud.control.get("/_control/jobs")["spent_seconds"]
        return {f"job {name}": {"task_seconds": float(seconds)} for name, seconds in spent.items()}

    def _database(self) -> Counts:
        with self._cloud.database.transaction(read_only=True) as tx:
            (row,) = tx.query(STATISTICS)
        counts = {name: float(value) for name, value in row.items() if value is not None}
        pid = self._cloud.pid("postgres")
        return {"database": counts | ({} if pid is None else {"processor_seconds": spent_seconds(pid)})}


@contextmanager
def _whatever_is_down() -> Iterator[None]:
    """What cannot be asked now is counted when it can: all counts only rise."""
    with suppress(ControlError, FillbookError, OSError, RuntimeError, KeyError):
        yield


def risen(now: Mapping[str, Mapping[str, float]], before: Mapping[str, Mapping[str, float]]) -> Counts:
    """What was counted in between. A count that fell began anew (its process did): all of it is. A peak stays itself."""
    return {
        what: {name: _risen(name, value, before.get(what, {}).get(name, 0.0)) for name, value in counts.items()}
        for what, counts in now.items()
    }


def _risen(name: str, value: float, before: float) -> float:
    if name == SIZE:
        return max(value - before, 0.0)  # what a vacuum gives back is paid on
    return value if name == PEAK or value < before else value - before


def together(one: Mapping[str, Mapping[str, float]], other: Mapping[str, Mapping[str, float]]) -> Counts:
    """Both added; of peaks the higher."""
    found: Counts = {what: dict(counts) for what, counts in one.items()}
    for what, counts in other.items():
        mine = found.setdefault(what, {})
        for name, value in counts.items():
            join: Callable[..., float] = max if name == PEAK else _sum
            mine[name] = join(mine.get(name, 0.0), value)
    return found


def _sum(one: float, other: float) -> float:
    return one + other


def kept_path(folder: Path, day: date) -> Path:
    """Where a day is kept."""
    return folder / f"{day.isoformat()}.json"


def read(path: Path) -> dict[str, Any]:
    """A kept day."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Keep a day, whole or not at all."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(document, indent=1, sort_keys=True), encoding="utf-8")
    fresh.replace(path)
