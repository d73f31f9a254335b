"""The end of a run, in one transaction: state, counts, coverage, cursors, and the events that tell of trouble and its end.

Three runs in a row that covered nothing completely are announced once (``sync_failed``, class ``cursor_stalled``); the next
complete run of the account announces that it is over. Source: ibkr.md 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from fillbook.ibkr import ids, store
from fillbook.ibkr.allowlist import Account, AllowList
from fillbook.ibkr.model import SyncMetrics
from fillbook.ibkr.tally import counts_of
from fillbook.ibkr.words import AnomalyKind, RunSource
from fillbook.outbox.model import Event, event_id
from fillbook.outbox.service import enqueue, partitions_of
from fillbook.runtime.db import Call, Database, Tx
from fillbook.values import frozen

STALLED_RUNS: Final = 3
CURSOR_STALLED: Final = "cursor_stalled"
_DAY_BEFORE: Final = timedelta(days=1)
_DAYS_AFTER: Final = timedelta(days=4)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


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
    """Write the end of a run; returns the figures with the partitions of its own events added."""

    def work(tx: Tx) -> tuple[int, ...]:
        accounts = {account.account_id: account for account in ending.allowed.accounts}
        for account_id in sorted(accounts.keys() & {one.account_id for one in metrics.covered}):
            # every writer of an account's anomalies and events holds its lock
            tx.query(store.QUERIES["lock_account"], account_id=account_id)
        tx.call(Call("ibkr.end_run", _document(tx, metrics, ending, accounts)))
        events = _alerts(tx, metrics, ending, accounts)
        enqueue(tx, events)
        return partitions_of(events)

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
    complete = [one.account_id for one in metrics.covered if one.is_complete]
    others = [one.account_id for one in metrics.covered if not one.is_complete]
    events: list[Event] = []
    if others:
        asked = {"source": metrics.source.value, "account_ids": others}
        stalled = {row["account_id"] for row in tx.query(store.QUERIES["stalled"], **asked)} - _open(tx, metrics, others)
        for account_id in sorted(stalled):
            open_alert(tx, accounts[account_id], metrics, ending.now)
            data = {"error_class": CURSOR_STALLED, "failures": STALLED_RUNS}
            events.append(_event(accounts[account_id], "sync_failed", metrics, ending.now, data))
    recovered = sorted(_open(tx, metrics, complete)) if complete else []
    if recovered:
        tx.execute(
            store.QUERIES["close_alerts"],
            now=ending.now,
            kind=AnomalyKind.CURSOR_STALLED.value,
            subject=metrics.source.value,
            account_ids=recovered,
        )
        events += [_event(accounts[account_id], "sync_recovered", metrics, ending.now, {}) for account_id in recovered]
    return events


def _open(tx: Tx, metrics: SyncMetrics, account_ids: Sequence[int]) -> set[int]:
    rows = tx.query(
        store.QUERIES["open_alerts"],
        kind=AnomalyKind.CURSOR_STALLED.value,
        subject=metrics.source.value,
        account_ids=list(account_ids),
    )
    return {row["account_id"] for row in rows}


def open_alert(tx: Tx, account: Account, metrics: SyncMetrics, now: datetime) -> None:
    """Note that trouble with a source was announced, so that its end can be."""
    kind, subject = AnomalyKind.CURSOR_STALLED, metrics.source.value
    row = {
        "id": ids.anomaly_id(account.code, kind, subject),
        "account_id": account.account_id,
        "kind": kind,
        "subject": subject,
        "details": {},
    }
    tx.send(Call("ibkr.open_anomalies", {"run_id": metrics.run_id, "now": now, "rows": [row]}))


def _event(account: Account, event_type: str, metrics: SyncMetrics, now: datetime, data: dict[str, Any]) -> Event:
    return Event(
        event_id=event_id(account.book_id, event_type, f"{metrics.source}:{metrics.run_id}", 1),
        event_type=event_type,
        book_id=account.book_id,
        aggregate_key=f"sync/{account.book_id}/{metrics.source}",
        aggregate_version=(now - _EPOCH) // timedelta(microseconds=1),
        occurred_at=now,
        recorded_at=now,
        data={"account": account.code, "source": metrics.source.value, "run_id": metrics.run_id, **data},
    )
