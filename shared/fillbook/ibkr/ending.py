"""The end of a run, in one transaction: state, counts, coverage, cursors, and the events that tell of trouble and its end.

Three runs in a row that covered nothing completely are announced once (``sync_failed``, class ``cursor_stalled``); the next
complete run of the account announces that it is over. Source: ibkr.md 10.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any, Final

from fillbook.ibkr import alerts, ids, store
from fillbook.ibkr.allowlist import Account, AllowList
from fillbook.ibkr.model import SyncMetrics
from fillbook.ibkr.tally import counts_of
from fillbook.ibkr.words import AnomalyKind, RunSource
from fillbook.outbox.model import Event
from fillbook.outbox.service import partitions_of
from fillbook.runtime.db import Call, Database, Tx
from fillbook.values import frozen

STALLED_RUNS: Final = 3
CURSOR_STALLED: Final = "cursor_stalled"
_DAY_BEFORE: Final = timedelta(days=1)
_DAYS_AFTER: Final = timedelta(days=4)


@frozen
class Ending:
    """What the end of a run needs beyond its figures. ``settles``: (account id, first day, last day) a statement covers."""

    allowed: AllowList
    now: datetime
    error_class: str | None = None
    error_detail: str | None = None
    client_version: str = ""
    settles: tuple[tuple[int, date, date], ...] = ()


def end_run(db: Database, metrics: SyncMetrics, ending: Ending) -> SyncMetrics:
    """Write the end of a run; returns the figures with the partitions of its own events added.

    One that was called off meanwhile, because its job's lease had run out, ends nothing and tells nothing.
    """

    def work(tx: Tx) -> tuple[int, ...]:
        accounts = {account.account_id: account for account in ending.allowed.accounts}
        covered = {one.account_id for one in metrics.covered}
        alerts.lock(tx, [account for account in accounts.values() if account.account_id in covered])
        (answer,) = tx.call(Call("ibkr.end_run", _document(tx, metrics, ending, accounts)))
        return partitions_of(_alerts(tx, metrics, ending, accounts)) if answer["ended"] else ()

    own = db.run(work)
    return replace(metrics, partitions=tuple(sorted({*metrics.partitions, *own})))


def _document(tx: Tx, metrics: SyncMetrics, ending: Ending, accounts: dict[int, Account]) -> dict[str, Any]:
    return {
        "id": metrics.run_id,
        "source": metrics.source,
        "state": metrics.state,
        "now": ending.now,
        "counts": counts_of(metrics),
        "error_class": ending.error_class,
        "error_detail": ending.error_detail,
        "client_version": ending.client_version,
        "coverage": [
            {
                "account_id": one.account_id,
                "covered_from": None if one.covered is None else one.covered.from_at,
                "covered_to": None if one.covered is None else one.covered.to_at,
                "earliest_seen_at": one.earliest_seen_at,
                "latest_seen_at": one.latest_seen_at,
                "is_complete": one.is_complete,
                "settles_from": min(
                    (first for account_id, first, _ in ending.settles if account_id == one.account_id), default=None
                ),
                "settles_to": max((last for account_id, _, last in ending.settles if account_id == one.account_id), default=None),
            }
            for one in metrics.covered
        ],
        "anomalies": _unsettled(tx, metrics, ending, accounts),
    }


def _unsettled(tx: Tx, metrics: SyncMetrics, ending: Ending, accounts: dict[int, Account]) -> list[dict[str, Any]]:
    """Rows the socket told of days that a complete statement covers without them, whichever came first; they keep counting."""
    found: dict[str, dict[str, Any]] = {}
    asked = [("unsettled", *settled) for settled in ending.settles]
    if metrics.source is RunSource.TWS:
        asked += [("unsettled_late", *days) for days in _days_seen(metrics, accounts)]
    for name, account_id, from_day, to_day in asked:
        for row in tx.query(store.QUERIES[name], account_id=account_id, from_day=from_day, to_day=to_day):
            anomaly = ids.anomaly_id(accounts[account_id].code, AnomalyKind.NOT_SETTLED, row["ib_exec_id"])
            found[anomaly] = {
                "id": anomaly,
                "account_id": account_id,
                "kind": AnomalyKind.NOT_SETTLED,
                "subject": row["ib_exec_id"],
                "details": {"trade_day": row["trade_day"]},
            }
    return [found[key] for key in sorted(found)]


def _days_seen(metrics: SyncMetrics, accounts: dict[int, Account]) -> list[tuple[int, date, date]]:
    """Trade days that the rows of a run may belong to: an evening's fill of a currency belongs to the next weekday."""
    return [
        (one.account_id, one.earliest_seen_at.date() - _DAY_BEFORE, one.latest_seen_at.date() + _DAYS_AFTER)
        for one in metrics.covered
        if one.account_id in accounts and one.earliest_seen_at is not None and one.latest_seen_at is not None
    ]


def _alerts(tx: Tx, metrics: SyncMetrics, ending: Ending, accounts: dict[int, Account]) -> list[Event]:
    complete = [accounts[one.account_id] for one in metrics.covered if one.is_complete]
    incomplete = [accounts[one.account_id] for one in metrics.covered if not one.is_complete]
    others = [account.account_id for account in alerts.concerned(tx, incomplete, metrics.source)] if incomplete else []
    subject = metrics.source.value
    events: list[Event] = []
    if others:
        rows = tx.query(store.QUERIES["stalled"], source=subject, account_ids=others)
        stalled = {row["account_id"] for row in rows} - alerts.open_alerts(tx, others, subject)
        events += alerts.announce(
            tx,
            [accounts[account_id] for account_id in sorted(stalled)],
            subject,
            {"error_class": CURSOR_STALLED, "failures": STALLED_RUNS},
            cause=metrics.run_id,
            run_id=metrics.run_id,
            now=ending.now,
            kind=AnomalyKind.CURSOR_STALLED,
        )
    if complete:
        events += alerts.recover(tx, complete, subject, run_id=metrics.run_id, now=ending.now)
    return events
