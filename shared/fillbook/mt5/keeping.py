"""Retention: partitions of the log ahead, failures into the archive, old rows away, all in bounded batches.

Deals, trades and cash operations are a journal and stay for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from fillbook.runtime.db import Call, Database
from fillbook.values import frozen

PARTITIONS_AHEAD: Final = 7
ROWS_MAX: Final = 5_000
ACCOUNTS_MAX: Final = 200
TOKEN_SECONDS: Final = 120


@frozen
class Retention:
    """Days that are kept. ``archive_days``: failed and partial outcomes after their day of the log is dropped."""

    log_days: int = 30
    archive_days: int = 90
    run_days: int = 90
    figure_days: int = 400


@frozen
class Kept:
    """What one maintenance did. ``astray``: log rows outside every day's partition; ``is_whole`` False: time was over."""

    partitions_made: int = 0
    partitions_dropped: int = 0
    astray: int = 0
    failures_archived: int = 0
    runs: int = 0
    tokens: int = 0
    hours: int = 0
    checks: int = 0
    failures: int = 0
    is_whole: bool = True


def maintain(
    db: Database, now: datetime, retention: Retention | None = None, *, may_go_on: Callable[[], bool] = lambda: True
) -> Kept:
    """Keep the room's tables in bounds; a day's partition is dropped only when its failures are in the archive.

    ``may_go_on`` is asked before each batch; what is left waits for the next time. Running it again changes nothing.
    """
    keep = retention or Retention()
    log_before = _midnight(now - timedelta(days=keep.log_days))
    made = _call(db, "mt5.make_log_partitions", {"now": now, "days": PARTITIONS_AHEAD})
    archive = {"before": log_before, "rows_max": ROWS_MAX}
    archived, is_archived = _until_empty(db, "mt5.archive_failures", archive, may_go_on)
    dropped = _call(db, "mt5.drop_log_partitions", {"before": log_before})["dropped"] if is_archived else 0
    runs = {
        "runs_before": now - timedelta(days=keep.run_days),
        "tokens_before": int(now.timestamp()) - TOKEN_SECONDS,
        "rows_max": ROWS_MAX,
    }
    purged, is_purged = _until_empty(db, "mt5.purge_runs", runs, may_go_on)
    counts, is_counted = _per_account(db, now, keep, may_go_on)
    return Kept(
        partitions_made=made["made"],
        partitions_dropped=dropped,
        astray=made["astray"],
        failures_archived=archived.get("archived", 0),
        runs=purged.get("runs", 0),
        tokens=purged.get("tokens", 0),
        **counts,
        is_whole=is_archived and is_purged and is_counted,
    )


def _until_empty(
    db: Database, function: str, document: dict[str, Any], may_go_on: Callable[[], bool]
) -> tuple[dict[str, int], bool]:
    """Call a function that works in batches until it finds nothing; the sums, and whether that point was reached."""
    sums: dict[str, int] = {}
    while may_go_on():
        answer = _call(db, function, document)
        for name, count in answer.items():
            sums[name] = sums.get(name, 0) + count
        if not any(answer.values()):
            return sums, True
    return sums, False


def _per_account(db: Database, now: datetime, keep: Retention, may_go_on: Callable[[], bool]) -> tuple[dict[str, int], bool]:
    counts = dict.fromkeys(("hours", "checks", "failures"), 0)
    figures_before = now - timedelta(days=keep.figure_days)
    after: str | None = None
    while may_go_on():
        document = {
            "after": after,
            "hours_before": figures_before,
            "checks_before": figures_before,
            "failures_before": now - timedelta(days=keep.archive_days),
            "accounts_max": ACCOUNTS_MAX,
        }
        answer = _call(db, "mt5.purge_accounts", document)
        after = answer.pop("last")
        for name, count in answer.items():
            counts[name] += count
        if after is None:
            return counts, True
    return counts, False


def _call(db: Database, function: str, document: dict[str, Any]) -> dict[str, Any]:
    (answer,) = db.run(lambda tx: tx.finish(Call(function, document)))
    return dict(answer)


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)
