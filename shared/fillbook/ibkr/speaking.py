"""One row out of all its sightings: which text gives the facts, what the others may add, and what they contradict.

Only the best source present speaks. What it leaves open is filled from the others; a null of a later text never erases.
The socket keeps the time of execution, because it states a zone, unless the two differ by more than a minute. Source:
ibkr.md 5.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from fillbook.ibkr.cancels import SightingKey, key_of, rank, speaking
from fillbook.ibkr.model import Anomaly, CommissionReport, Facts, Sighting
from fillbook.ibkr.words import SOURCE_RANK, AnomalyKind, Source
from fillbook.values import frozen

_FILLED_IN: Final = (
    "broker_trade_id",
    "flex_order_id",
    "ib_perm_id",
    "ib_order_id",
    "client_id",
    "transaction_id",
    "brokerage_order_id",
    "order_ref",
    "underlying_symbol",
    "fx_rate_to_base",
    "multiplier",
    "expiry",
    "strike",
    "put_call",
    "report_date",
    "cum_quantity",
    "exchange",
    "liquidity",
    "taxes",
    "broker_realized_pnl",
    "open_close",
)
_TIME_TOLERANCE: Final = timedelta(seconds=60)
_FOLD: Final = timedelta(hours=1)


@frozen(kw_only=False)
class Spoken:
    """A row as it stands: its facts, the sighting that speaks, the event key when every text of the source is cancelled."""

    sighting: Sighting
    facts: Facts
    sources: tuple[Source, ...]
    voided_by: str | None
    anomalies: tuple[Anomaly, ...]


def spoken(sightings: Sequence[Sighting], reports: Sequence[CommissionReport], voided: Mapping[SightingKey, str]) -> Spoken:
    """Put the sightings of one row together; the result is the same in whatever order they are given."""
    winner = speaking(sightings, voided)
    voided_by = voided.get(key_of(winner))
    others = [one for one in sightings if one is not winner and (voided_by is not None or key_of(one) not in voided)]
    others.sort(key=rank, reverse=True)
    others.sort(key=lambda one: SOURCE_RANK[one.source])
    facts = _with_commission(_filled(winner.facts, [one.facts for one in others]), reports)
    anomalies = []
    socket = next((one for one in others if one.source is Source.TWS), None)
    if winner.source is not Source.TWS and socket is not None:
        facts, differs = _timed(facts, socket.facts)
        if differs:
            details = {"flex": winner.facts.executed_at_text, "tws": socket.facts.executed_at_text}
            anomalies.append(_anomaly(winner, AnomalyKind.TIME_DIFFERS, details))
    other = _contradicting(winner, sightings)
    if other is not None:
        details = {winner.source.value: _economics(winner), other.source.value: _economics(other)}
        anomalies.append(_anomaly(winner, AnomalyKind.SOURCES_DIFFER, details))
    sources = tuple(sorted({one.source for one in sightings}, key=lambda source: SOURCE_RANK[source]))
    return Spoken(winner, facts, sources, voided_by, tuple(anomalies))


def _filled(facts: Facts, others: Sequence[Facts]) -> Facts:
    given: dict[str, Any] = {}
    for name in _FILLED_IN:
        if getattr(facts, name) is None:
            value = next((getattr(other, name) for other in others if getattr(other, name) is not None), None)
            if value is not None:
                given[name] = value
    if facts.commission is None:
        paid = next((other for other in others if other.commission is not None), None)
        if paid is not None:
            given |= {"commission": paid.commission, "commission_currency": paid.commission_currency}
    if not facts.notes:
        given["notes"] = next((other.notes for other in others if other.notes), ())
    return replace(facts, **given)


def _with_commission(facts: Facts, reports: Sequence[CommissionReport]) -> Facts:
    ordered = sorted(reports, key=lambda report: (report.observed_at, report.payload_hash), reverse=True)
    paid = next((report for report in ordered if report.commission is not None), None)
    if facts.commission is None and paid is not None:
        facts = replace(facts, commission=paid.commission, commission_currency=paid.commission_currency)
    if facts.broker_realized_pnl is None:
        gain = next((report.broker_realized_pnl for report in ordered if report.broker_realized_pnl is not None), None)
        facts = facts if gain is None else replace(facts, broker_realized_pnl=gain)
    return facts


def _timed(facts: Facts, socket: Facts) -> tuple[Facts, bool]:
    """The facts with the time that counts, and whether the two contradict each other."""
    apart = abs(facts.executed_at - socket.executed_at)
    settles_fold = facts.is_time_ambiguous and not socket.is_time_ambiguous and abs(apart - _FOLD) <= _TIME_TOLERANCE
    if apart > _TIME_TOLERANCE and not settles_fold:
        return facts, True
    timed = replace(
        facts,
        executed_at=socket.executed_at,
        executed_at_text=socket.executed_at_text,
        is_time_ambiguous=socket.is_time_ambiguous,
    )
    return timed, False


def _economics(one: Sighting) -> str:
    return f"{one.facts.side} {one.facts.quantity:f} at {one.facts.price:f}"


def _contradicting(winner: Sighting, sightings: Sequence[Sighting]) -> Sighting | None:
    """The first text of another source that says another price, quantity or side than every text of the one that speaks."""

    def told(one: Sighting) -> tuple[object, ...]:
        return (one.facts.side, one.facts.quantity, one.facts.price)

    # a text that the speaking source took back (cancelled, rebooked) explains an older copy of the same
    known = {told(one) for one in sightings if one.source is winner.source}
    others = [one for one in sightings if one.source is not winner.source and told(one) not in known]
    return min(others, key=lambda one: (SOURCE_RANK[one.source], one.payload_hash), default=None)


def _anomaly(one: Sighting, kind: AnomalyKind, details: Mapping[str, str | int | None]) -> Anomaly:
    return Anomaly(account_id=one.account_id, kind=kind, subject=one.ib_exec_id, details=details)
