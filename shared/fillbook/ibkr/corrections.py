"""What counts: the state of every row of an account's families, from all sightings and cancels known, never from arrival order.

The problem: one fill may be sighted by two sources, corrected by a higher revision, cancelled, booked again under its own
id, or told first in inner pieces and then as one; and all of that may arrive in any order, in any number of runs. So no
state is ever carried forward: ``settle`` decides again from everything, and equal input gives equal output. What looks
like a correction but names another instrument, side or order, or counts up, is a second fill: both count, and an anomaly
asks a person. Source: ibkr.md 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from fillbook.ibkr import ids
from fillbook.ibkr.cancels import match
from fillbook.ibkr.execid import parse
from fillbook.ibkr.model import Anomaly, Cancel, CommissionReport, EventState, Execution, Sighting
from fillbook.ibkr.speaking import Spoken, spoken
from fillbook.ibkr.words import SOURCE_RANK, AnomalyKind, State
from fillbook.money import ZERO
from fillbook.values import frozen


@frozen(kw_only=False)
class Settlement:
    """The rows of the families given, what became of the cancels, and what needs a person.

    ``examined``: (kind, subject) pairs that were looked at; one that is not among ``anomalies`` is no longer so.
    """

    executions: tuple[Execution, ...]
    events: tuple[EventState, ...]
    anomalies: tuple[Anomaly, ...]
    examined: frozenset[tuple[AnomalyKind, str]]


def settle(sightings: Iterable[Sighting], reports: Iterable[CommissionReport] = (), cancels: Iterable[Cancel] = ()) -> Settlement:
    """Decide the rows of one account. Give whole families: every sighting of a settled key, every cancel that may mean one."""
    by_text = {(one.ib_exec_id, one.payload_hash): one for one in sorted(sightings, key=lambda one: one.observed_at)}
    seen = [by_text[key] for key in sorted(by_text)]
    last_first = sorted(cancels, key=lambda one: (SOURCE_RANK[one.source], one.observed_at), reverse=True)
    told = list({cancel.event_key: cancel for cancel in last_first}.values())
    matched = match(seen, told)
    reported: dict[str, list[CommissionReport]] = {}
    for report in reports:
        reported.setdefault(report.ib_exec_id, []).append(report)
    rows: dict[str, list[Sighting]] = {}
    for one in seen:
        rows.setdefault(one.ib_exec_id, []).append(one)
    voices = [spoken(of_row, reported.get(exec_id, []), matched.voided) for exec_id, of_row in rows.items()]
    anomalies = [anomaly for voice in voices for anomaly in voice.anomalies]
    executions, mismatches = _grouped(voices)
    executions, unequal = _settled(executions)
    anomalies += [*mismatches, *unequal, *_shared(executions), *_open_cancels(matched.states, told)]
    return Settlement(
        executions=tuple(sorted(executions, key=lambda execution: execution.ib_exec_id)),
        events=matched.states,
        anomalies=tuple(sorted(anomalies, key=lambda anomaly: (anomaly.kind, anomaly.subject))),
        examined=_examined(executions, matched.states),
    )


def _grouped(voices: Sequence[Spoken]) -> tuple[list[Execution], list[Anomaly]]:
    """Put the rows of each base into correction groups and let the highest revision of each rule."""
    bases: dict[str, list[Execution]] = {}
    for voice in voices:
        execution = _execution(voice)
        bases.setdefault(execution.identity.exec_id_base, []).append(execution)
    executions: list[Execution] = []
    anomalies: list[Anomaly] = []
    for of_base in bases.values():
        of_base.sort(key=lambda execution: (execution.identity.exec_revision, execution.ib_exec_id))
        groups: list[list[Execution]] = []
        for row in of_base:
            group = next((one for one in groups if _joins(one, row)), None)
            if group is None:
                groups.append([row])
            else:
                group.append(row)
        for number, group in enumerate(groups):
            executions += _ruled(group, number)
            if number:
                details = {"exec_id_base": group[0].identity.exec_id_base, "beside": groups[0][0].ib_exec_id}
                anomalies.append(_anomaly(group[0], AnomalyKind.REVISION_MISMATCH, group[0].ib_exec_id, details))
    return executions, anomalies


def _execution(voice: Spoken) -> Execution:
    one = voice.sighting
    return Execution(
        execution_id=ids.execution_id(one.account_code, one.ib_exec_id),
        account_id=one.account_id,
        identity=parse(one.ib_exec_id),
        id_kind=one.id_kind,
        facts=voice.facts,
        state=State.LIVE if voice.voided_by is None else State.VOIDED,
        voided_by_event_id=None if voice.voided_by is None else ids.event_id(one.account_code, voice.voided_by),
        sources=voice.sources,
        payload_hash=one.payload_hash,
        raw=one.raw,
        observed_at=one.observed_at,
    )


def _joins(group: Sequence[Execution], row: Execution) -> bool:
    """Whether a row corrects the group: same instrument, side and order, and not a second fill that counts up."""
    before, after = group[-1].facts, row.facts
    if (before.conid, before.side) != (after.conid, after.side):
        return False
    known = {one.facts.ib_perm_id for one in group if one.facts.ib_perm_id is not None}
    if after.ib_perm_id is not None and known - {after.ib_perm_id}:
        return False
    if before.cum_quantity is None or after.cum_quantity is None:
        return True
    return after.cum_quantity != before.cum_quantity + after.quantity


def _ruled(group: Sequence[Execution], number: int) -> list[Execution]:
    result = []
    for position, row in enumerate(group):
        state = row.state
        if position < len(group) - 1:
            state = State.SUPERSEDED
        elif state is State.LIVE and number:
            state = State.ANOMALY
        result.append(
            replace(
                row,
                state=state,
                correction_group=number,
                supersedes_execution_id=group[position - 1].execution_id if position else None,
            )
        )
    return result


def _settled(executions: Sequence[Execution]) -> tuple[list[Execution], list[Anomaly]]:
    """Let a statement's row of four parts take the place of the socket's inner pieces of five."""
    families: dict[str, list[Execution]] = {}
    for execution in executions:
        if execution.identity.is_correctable:
            families.setdefault(execution.identity.settled_key, []).append(execution)
    changed: dict[str, Execution] = {}
    anomalies: list[Anomaly] = []
    for key, family in families.items():
        pieces = [one for one in family if one.identity.has_fifth_part and not any(source.is_flex for source in one.sources)]
        whole = [one for one in family if not one.identity.has_fifth_part and any(source.is_flex for source in one.sources)]
        if not pieces or not whole:
            continue
        pieces.sort(key=lambda one: one.ib_exec_id)
        told, counted = _quantity(pieces), _quantity(whole)
        for piece in pieces:
            changed[piece.ib_exec_id] = replace(piece, state=State.SUPERSEDED)
        first = min(whole, key=lambda one: (one.identity.exec_revision, one.ib_exec_id))
        changed[first.ib_exec_id] = replace(first, supersedes_execution_id=pieces[0].execution_id)
        if any(one.is_canonical for one in whole) and told and told != counted:
            details = {"pieces": f"{told:f}", "statement": f"{counted:f}"}
            anomalies.append(_anomaly(first, AnomalyKind.SETTLED_QUANTITY_MISMATCH, key, details))
    return [changed.get(one.ib_exec_id, one) for one in executions], anomalies


def _quantity(executions: Iterable[Execution]) -> Decimal:
    return sum((one.facts.quantity for one in executions if one.is_canonical), ZERO)


def _shared(executions: Sequence[Execution]) -> list[Anomaly]:
    """One fill that came under two keys: two canonical rows of different bases with one of the broker's ids."""
    named: dict[str, list[Execution]] = {}
    for one in executions:
        if one.is_canonical:
            for subject in _shared_ids(one):
                named.setdefault(subject, []).append(one)
    return [
        _anomaly(rows[0], AnomalyKind.ID_SHARED, subject, {"ib_exec_ids": " ".join(sorted(one.ib_exec_id for one in rows))})
        for subject, rows in named.items()
        if len({one.identity.exec_id_base for one in rows}) > 1
    ]


def _shared_ids(one: Execution) -> list[str]:
    facts = one.facts
    named = (("tx", facts.transaction_id), ("trade", facts.broker_trade_id))
    return [f"{prefix}:{value}" for prefix, value in named if value is not None]


def _open_cancels(states: Sequence[EventState], cancels: Sequence[Cancel]) -> list[Anomaly]:
    by_key: Mapping[str, Cancel] = {cancel.event_key: cancel for cancel in cancels}
    found = []
    for state in states:
        kind = _CANCEL_KINDS.get(state.state)
        if kind is not None:
            cancel = by_key[state.event_key]
            details = {"orig_transaction_id": cancel.orig_transaction_id, "orig_trade_id": cancel.orig_trade_id}
            found.append(Anomaly(account_id=cancel.account_id, kind=kind, subject=state.event_key, details=details))
    return found


_CANCEL_KINDS = {"parked": AnomalyKind.CANCEL_PARKED, "ambiguous": AnomalyKind.CANCEL_AMBIGUOUS}
_ROW_KINDS = (AnomalyKind.TIME_DIFFERS, AnomalyKind.SOURCES_DIFFER, AnomalyKind.REVISION_MISMATCH)


def _examined(executions: Sequence[Execution], states: Sequence[EventState]) -> frozenset[tuple[AnomalyKind, str]]:
    pairs: set[tuple[AnomalyKind, str]] = set()
    for one in executions:
        pairs.update((kind, one.ib_exec_id) for kind in _ROW_KINDS)
        pairs.add((AnomalyKind.SETTLED_QUANTITY_MISMATCH, one.identity.settled_key))
        pairs.update((AnomalyKind.ID_SHARED, subject) for subject in _shared_ids(one))
        if one.facts.commission is not None:
            pairs.add((AnomalyKind.COMMISSION_AMBIGUOUS, one.ib_exec_id))
        if not one.is_canonical or any(source.is_flex for source in one.sources):
            pairs.add((AnomalyKind.NOT_SETTLED, one.ib_exec_id))
    for state in states:
        pairs.update((kind, state.event_key) for kind in _CANCEL_KINDS.values())
    return frozenset(pairs)


def _anomaly(one: Execution, kind: AnomalyKind, subject: str, details: Mapping[str, str | int | None]) -> Anomaly:
    return Anomaly(account_id=one.account_id, kind=kind, subject=subject, details=details)
