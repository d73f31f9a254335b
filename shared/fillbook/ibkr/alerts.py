"""Trouble that people hear of, once, and its end: ``sync_failed`` and ``sync_recovered`` per account and kind of work.

An open anomaly remembers that trouble was announced, so that the first complete run afterwards can say that it is over. A
Flex failure, a socket failure and a positions failure are told apart (``subject``): the end of one is not the end of another.
Source: ibkr.md 10, 11.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fillbook.ibkr import ids, store
from fillbook.ibkr.allowlist import Account
from fillbook.ibkr.words import AnomalyKind, RunSource
from fillbook.outbox.model import Event, event_id
from fillbook.outbox.service import enqueue
from fillbook.runtime.db import Call, Tx

TWS: Final = "tws"
FLEX: Final = "flex"
POSITIONS: Final = "tws:positions"
SUBJECTS: Final[Mapping[str, str]] = {
    "trades.sync": TWS,
    "positions.sync": POSITIONS,
    "flex.request": FLEX,
    "flex.fetch": FLEX,
}
"""What the failure of a job of each type is about."""
SOURCES: Final[Mapping[str, RunSource]] = {
    "trades.sync": RunSource.TWS,
    "positions.sync": RunSource.TWS,
    "flex.request": RunSource.FLEX,
    "flex.fetch": RunSource.FLEX,
}
_KINDS: Final = [AnomalyKind.CURSOR_STALLED.value, AnomalyKind.SYNC_FAILED.value]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def fail_job(tx: Tx, job_type: str, error_class: str, *, cause: str, failures: int, now: datetime) -> list[Event]:
    """Announce, for every account it concerns, that a job was given up; the events are queued in the transaction."""
    accounts = concerned(tx, store.allow_list(tx).accounts, SOURCES[job_type])
    lock(tx, accounts)
    data = {"error_class": error_class, "failures": failures, "job_type": job_type}
    return announce(tx, accounts, SUBJECTS[job_type], data, cause=cause, run_id=None, now=now)


def concerned(tx: Tx, accounts: Sequence[Account], source: RunSource) -> list[Account]:
    """Those of ``accounts`` that a source has served before; where it never served any, all.

    Trouble told to an account that the source does not serve would never be over: no run of it could say so.
    """
    rows = tx.query(store.QUERIES["high_waters"], source=source.value)
    served = {row["account_id"] for row in rows if row["high_water_at"] is not None}
    return [account for account in accounts if not served or account.account_id in served]


def announce(
    tx: Tx,
    accounts: Sequence[Account],
    subject: str,
    data: Mapping[str, Any],
    *,
    cause: str,
    run_id: str | None,
    now: datetime,
    kind: AnomalyKind = AnomalyKind.SYNC_FAILED,
) -> list[Event]:
    """Announce trouble of ``accounts`` (the caller holds their locks) and remember it.

    ``cause`` (a run or job id) makes the event's id.
    """
    if not accounts:
        return []
    rows = [
        {
            "id": ids.anomaly_id(account.code, kind, subject),
            "account_id": account.account_id,
            "kind": kind,
            "subject": subject,
            "details": {"error_class": data["error_class"]},
        }
        for account in accounts
    ]
    tx.send(Call("ibkr.open_anomalies", {"run_id": run_id, "now": now, "rows": rows}))
    events = [_event(account, "sync_failed", subject, cause, now, data) for account in accounts]
    enqueue(tx, events)
    return events


def recover(tx: Tx, accounts: Sequence[Account], subject: str, *, run_id: str, now: datetime) -> list[Event]:
    """Announce that the trouble of those ``accounts`` is over that had any; the caller holds their locks."""
    told = open_alerts(tx, (account.account_id for account in accounts), subject)
    if not told:
        return []
    tx.execute(store.QUERIES["close_alerts"], now=now, kinds=_KINDS, subject=subject, account_ids=sorted(told))
    over = [account for account in accounts if account.account_id in told]
    events = [_event(account, "sync_recovered", subject, run_id, now, {}) for account in over]
    enqueue(tx, events)
    return events


def open_alerts(tx: Tx, account_ids: Iterable[int], subject: str) -> set[int]:
    """Accounts whose trouble was announced and is not over."""
    asked = sorted(account_ids)
    rows = tx.query(store.QUERIES["open_alerts"], kinds=_KINDS, subject=subject, account_ids=asked) if asked else []
    return {row["account_id"] for row in rows}


def lock(tx: Tx, accounts: Iterable[Account]) -> None:
    """Take the accounts' locks, ascending: every writer of an account's anomalies and events holds its own."""
    for account_id in sorted(account.account_id for account in accounts):
        tx.query(store.QUERIES["lock_account"], account_id=account_id)


def _event(account: Account, event_type: str, subject: str, cause: str, now: datetime, data: Mapping[str, Any]) -> Event:
    return Event(
        event_id=event_id(account.book_id, event_type, f"{subject}:{cause}", 1),
        event_type=event_type,
        book_id=account.book_id,
        aggregate_key=f"sync/{account.book_id}/{subject}",
        aggregate_version=(now - _EPOCH) // timedelta(microseconds=1),
        occurred_at=now,
        recorded_at=now,
        data={"account": account.code, "source": subject, "run_id": cause, **data},
    )
