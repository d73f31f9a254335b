"""Taking in one batch of rows of one account, in the caller's transaction: three messages, whatever the number of rows.

Lock and ask what is new; if nothing, stop and write nothing. Else read all that the new rows touch, decide again from
everything known (``settle``, ``resolve``), tell the ledger what changed, and write one document that rides with the commit.
Source: ibkr.md 10.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from fillbook.ibkr import columns, store
from fillbook.ibkr.allowlist import Account
from fillbook.ibkr.booking import tell
from fillbook.ibkr.corrections import Settlement, settle
from fillbook.ibkr.fills import Slot, is_told
from fillbook.ibkr.model import Anomaly, Cancel, CommissionReport, Execution, Row, Sighting
from fillbook.ibkr.parents import Resolution, resolve
from fillbook.ibkr.store import Payload, Surroundings
from fillbook.ibkr.words import AnomalyKind, State
from fillbook.runtime.db import Call, Tx
from fillbook.values import frozen

NOT_A_POSITION = "CASH"


@frozen
class Taken:
    """What one batch changed. ``inserted``, ``updated``: rows sighted in it, by ib_exec_id; ``partitions``: to relay."""

    inserted: frozenset[str] = frozenset()
    updated: frozenset[str] = frozenset()
    unpaid: frozenset[str] = frozenset()
    canonical_changes: int = 0
    touched_trades: int = 0
    voided: int = 0
    anomalies: int = 0
    partitions: tuple[int, ...] = ()


def take_in(
    tx: Tx, account: Account, rows: Sequence[Row], *, run_id: str, now: datetime, ambiguous: Sequence[Anomaly] = ()
) -> Taken:
    """Take rows of ``account`` in; ``ambiguous`` are anomalies the run found by itself (commissions nobody can place)."""
    payloads, cancels = _distinct(rows)
    sighted = {one.ib_exec_id for one in payloads if isinstance(one, Sighting)}
    found = store.news(tx, account, payloads, cancels)
    document = store.apply_document(account, run_id, now, found)
    if found.is_empty:
        if ambiguous and found.unpaid:
            document["anomalies"] = store.anomaly_rows(account, _unpaid(ambiguous, found.unpaid))
            tx.send(Call("ibkr.apply", document))
        return Taken(unpaid=found.unpaid & sighted)
    around = store.surroundings(tx, account, found)
    settled = settle(around.sightings, around.reports, around.cancels)
    rest = [one for name, one in around.executions.items() if name not in {row.ib_exec_id for row in settled.executions}]
    former = {name: one.trade_id for name, one in around.executions.items()}
    resolved = resolve(account, [*settled.executions, *rest], around.order_sizes, former)
    changed = _Changes(around, resolved)
    unpaid = {one.ib_exec_id for one in resolved.executions if one.is_canonical and one.facts.commission is None}
    early = _before_opening(found.begins_at, around, resolved) if found.is_opened else {}
    _fill(document, account, settled, resolved, changed, [*_unpaid(ambiguous, unpaid), *early.values()])
    partitions: tuple[int, ...] = ()
    if found.has_quarantine:
        tx.send(store.resolve_quarantine(found))
    if found.is_opened:
        before = [one for one in around.executions.values() if one.ib_exec_id not in early]
        after = [one for one in resolved.executions if one.ib_exec_id not in early]
        match_kinds = {trade.trade_id: trade.match_kind for trade in resolved.trades}
        telling, partitions = tell(tx, account, before, after, around.booked, match_kinds, now)
        document["booked"] = [columns.booked_row(one) for one in telling.booked]
    tx.send(Call("ibkr.apply", document))
    return Taken(
        inserted=frozenset(sighted & changed.inserted),
        updated=frozenset(sighted & changed.updated),
        unpaid=frozenset((unpaid | (found.unpaid - around.families)) & sighted),
        canonical_changes=changed.canonical,
        touched_trades=len(changed.touched),
        voided=changed.voided,
        anomalies=len(document["anomalies"]),
        partitions=partitions,
    )


def _before_opening(begins_at: datetime | None, around: Surroundings, resolved: Resolution) -> dict[str, Anomaly]:
    """Rows that the opening balance holds already, because they turned up after it: kept and shown, never booked on top of it.

    What was told before stays told, also where a statement's row takes the place of inner pieces. Currencies are no positions
    at the broker, so no opening balance holds them.
    """
    if begins_at is None:
        return {}
    known = {one.identity.settled_key for one in around.executions.values() if one.slot in around.booked}
    return {
        one.ib_exec_id: Anomaly(
            account_id=one.account_id,
            kind=AnomalyKind.BEFORE_OPENING,
            subject=one.ib_exec_id,
            details={"executed_at": one.facts.executed_at.isoformat(), "begins_at": begins_at.isoformat()},
        )
        for one in resolved.executions
        if is_told(one)
        and one.facts.sec_type != NOT_A_POSITION
        and one.facts.executed_at <= begins_at
        and one.slot not in around.booked
        and one.identity.settled_key not in known
    }


def _distinct(rows: Iterable[Row]) -> tuple[list[Payload], list[Cancel]]:
    """Each text once, seen last; each cancel once, seen first; in the order of their keys, so that locks are taken alike."""
    payloads: dict[tuple[str, bytes], Payload] = {}
    cancels: dict[str, Cancel] = {}
    for row in rows:
        if isinstance(row, Cancel):
            kept = cancels.get(row.event_key)
            cancels[row.event_key] = row if kept is None or row.observed_at < kept.observed_at else kept
        else:
            key = (row.ib_exec_id, row.payload_hash)
            known = payloads.get(key)
            payloads[key] = row if known is None or row.observed_at > known.observed_at else known
    return [payloads[key] for key in sorted(payloads)], [cancels[key] for key in sorted(cancels)]


def _unpaid(ambiguous: Iterable[Anomaly], unpaid: Iterable[str]) -> list[Anomaly]:
    waiting = set(unpaid)
    return [one for one in ambiguous if one.subject in waiting]


class _Changes:
    """The rows as they are decided now, compared with the rows as stored."""

    def __init__(self, around: Surroundings, resolved: Resolution) -> None:
        stored = around.executions
        self.inserted: set[str] = set()
        self.updated: set[str] = set()
        self.written: list[Execution] = []
        self.moved: list[Execution] = []
        self.cleared: list[str] = []
        self.touched: set[str] = set(resolved.merged)
        self.voided = 0
        for one in resolved.executions:
            before = stored.get(one.ib_exec_id)
            if before is None:
                self.inserted.add(one.ib_exec_id)
                self.written.append(one)
            elif replace(one, raw={}, trade_id=before.trade_id, exec_role=before.exec_role) != before:
                self.updated.add(one.ib_exec_id)
                self.written.append(one)
            elif (one.trade_id, one.exec_role) != (before.trade_id, before.exec_role):
                self.moved.append(one)
            else:
                continue
            self.touched |= {one.trade_id} if before is None else {one.trade_id, before.trade_id}
            self.voided += one.state is State.VOIDED and (before is None or before.state is not State.VOIDED)
            if before is not None and before.is_canonical and (not one.is_canonical or one.slot != before.slot):
                self.cleared.append(before.execution_id)
        self.canonical = _canonical_changes(stored.values(), resolved.executions)


def _canonical_changes(before: Iterable[Execution], after: Iterable[Execution]) -> int:
    """(base, group) pairs that had a canonical row and now have another or none."""
    now: Mapping[Slot, str] = {one.slot: one.ib_exec_id for one in after if one.is_canonical}
    return sum(one.is_canonical and now.get(one.slot) != one.ib_exec_id for one in before)


def _fill(
    document: dict[str, Any],
    account: Account,
    settled: Settlement,
    resolved: Resolution,
    changed: _Changes,
    ambiguous: Sequence[Anomaly],
) -> None:
    """Put what follows from the new rows into the document, every list in the order of its keys."""
    trades = [trade for trade in resolved.trades if trade.trade_id in changed.touched]
    trades.sort(key=lambda trade: trade.trade_id)
    keys = [row for trade in trades for row in columns.key_rows(trade)]
    document["event_states"] = [columns.event_state_row(state) for state in settled.events]
    document["emptied"] = [{"id": old, "merged_into": heir} for old, heir in sorted(resolved.merged.items())]
    document["trades"] = [columns.trade_row(trade) for trade in trades]
    document["keys"] = sorted(keys, key=lambda row: str(row["key"]))
    document["cleared"] = sorted(changed.cleared)
    written = sorted(changed.written, key=lambda one: one.ib_exec_id)
    document["executions"] = [columns.execution_row(one) for one in written]
    document["moved"] = [
        {"id": one.execution_id, "trade_id": one.trade_id, "exec_role": one.exec_role}
        for one in sorted(changed.moved, key=lambda one: one.ib_exec_id)
    ]
    document["anomalies"] = store.anomaly_rows(account, [*settled.anomalies, *resolved.anomalies, *ambiguous])
    looked_at = {(AnomalyKind.BEFORE_OPENING, one.ib_exec_id) for one in resolved.executions}
    document["examined"] = store.examined_rows(settled.examined | resolved.examined | looked_at)


def of_account(rows: Iterable[Row]) -> dict[int, list[Row]]:
    """Rows by account, ascending; commission reports that nobody owns are left out."""
    by_account: dict[int, list[Row]] = {}
    for row in rows:
        if isinstance(row, CommissionReport) and row.account_id is None:
            continue
        by_account.setdefault(int(row.account_id or 0), []).append(row)
    return {account_id: by_account[account_id] for account_id in sorted(by_account)}
