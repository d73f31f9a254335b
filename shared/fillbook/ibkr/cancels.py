"""Which sighting a cancel means. All cancels and sightings known are looked at together, so the order they came in is nothing.

By the original's transaction id; else by its trade id with opposite quantity and equal price among the sightings that
speak; fractions by instrument, time, price and quantity, paired in transaction order. No match: parked. More than one row
could be meant: ambiguous, and nothing is voided. Source: ibkr.md 5.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from fillbook.ibkr import ids
from fillbook.ibkr.model import Cancel, EventState, Sighting
from fillbook.ibkr.words import SOURCE_RANK, CancelKind, CancelState, Source
from fillbook.values import frozen

FRACTION_TYPE: Final = "FracShare"
_LAST: Final = 2**63

SightingKey = tuple[str, bytes]


def key_of(sighting: Sighting) -> SightingKey:
    """What tells sightings of one account apart: the row and the text."""
    return (sighting.ib_exec_id, sighting.payload_hash)


def rank(sighting: Sighting) -> tuple[int, datetime, bytes]:
    """Of sightings of one source the greatest speaks: transaction id, then observed time, then hash."""
    transaction_id = sighting.transaction_id
    return (-1 if transaction_id is None else transaction_id, sighting.observed_at, sighting.payload_hash)


@frozen(kw_only=False)
class Matched:
    """``voided``: cancelled sightings -> the event key that did it (the last one where there are several)."""

    voided: Mapping[SightingKey, str]
    states: tuple[EventState, ...]


def match(sightings: Sequence[Sighting], cancels: Iterable[Cancel]) -> Matched:
    """Decide every cancel of one account against all sightings it could mean."""
    matcher = _Matcher(sightings)
    ordered = sorted(cancels, key=_order)
    statements = {_alike(cancel): cancel.event_key for cancel in reversed(ordered) if cancel.source is Source.STATEMENT}
    absorbed = {
        c.event_key: statements[_alike(c)] for c in ordered if c.source is Source.CONFIRMATION and _alike(c) in statements
    }
    waiting = [cancel for cancel in ordered if cancel.event_key not in absorbed and not matcher.by_transaction(cancel)]
    for cancel in waiting:
        if cancel.kind is CancelKind.FRACTION_CANCEL:
            matcher.by_fraction(cancel)
        else:
            matcher.by_trade(cancel)
    decided = matcher.decided
    states = []
    for cancel in ordered:
        state, exec_id = decided[absorbed.get(cancel.event_key, cancel.event_key)]
        event_id = ids.event_id(cancel.account_code, cancel.event_key)
        states.append(EventState(event_id=event_id, event_key=cancel.event_key, state=state, ib_exec_id=exec_id))
    return Matched(matcher.voided, tuple(states))


def speaking(sightings: Iterable[Sighting], voided: Mapping[SightingKey, str]) -> Sighting:
    """The sighting that speaks for a row: of the best source present, not cancelled unless all are, the greatest by ``rank``."""
    best = min(SOURCE_RANK[sighting.source] for sighting in sightings)
    pool = [sighting for sighting in sightings if SOURCE_RANK[sighting.source] == best]
    alive = [sighting for sighting in pool if key_of(sighting) not in voided]
    return max(alive or pool, key=rank)


def _order(cancel: Cancel) -> tuple[int, str]:
    return (_LAST if cancel.transaction_id is None else cancel.transaction_id, cancel.event_key)


def _alike(cancel: Cancel) -> tuple[object, ...]:
    return (cancel.orig_trade_id, cancel.signed_quantity, cancel.price)


class _Matcher:
    """Collects what each cancel was decided to mean; later ones see what earlier ones took."""

    def __init__(self, sightings: Sequence[Sighting]) -> None:
        self.voided: dict[SightingKey, str] = {}
        self.decided: dict[str, tuple[CancelState, str | None]] = {}
        self._rows: dict[str, list[Sighting]] = {}
        self._by_transaction: dict[int, list[Sighting]] = {}
        self._by_trade: dict[int, set[str]] = {}
        self._fractions: dict[int, set[str]] = {}
        for sighting in sightings:
            self._rows.setdefault(sighting.ib_exec_id, []).append(sighting)
            facts = sighting.facts
            if facts.transaction_id is not None:
                self._by_transaction.setdefault(facts.transaction_id, []).append(sighting)
            if facts.broker_trade_id is not None:
                self._by_trade.setdefault(facts.broker_trade_id, set()).add(sighting.ib_exec_id)
            if facts.transaction_type == FRACTION_TYPE:
                self._fractions.setdefault(facts.conid, set()).add(sighting.ib_exec_id)

    def by_transaction(self, cancel: Cancel) -> bool:
        """True when the original's transaction id is known, whatever came of it."""
        meant = self._by_transaction.get(cancel.orig_transaction_id, []) if cancel.orig_transaction_id is not None else []
        rows = {sighting.ib_exec_id for sighting in meant}
        if not rows:
            return False
        self._decide(cancel, meant if len(rows) == 1 else [], rows)
        return True

    def by_trade(self, cancel: Cancel) -> None:
        """Match by trade id, opposite quantity and equal price among those that speak and stand."""
        rows = self._by_trade.get(cancel.orig_trade_id, set()) if cancel.orig_trade_id is not None else set()
        spoken = [self._standing(row) for row in rows]
        fitting = [one for one in spoken if one is not None and _trade_fits(one, cancel)]
        names = {one.ib_exec_id for one in fitting}
        self._decide(cancel, [twin for one in fitting for twin in self._twins(one)] if len(names) == 1 else [], names)

    def by_fraction(self, cancel: Cancel) -> None:
        """Match a fraction by content; the earliest original that stands is taken."""
        rows = self._fractions.get(cancel.conid, set()) if cancel.conid is not None else set()
        spoken = [self._standing(row) for row in rows]
        fitting = [one for one in spoken if one is not None and _fraction_fits(one, cancel)]
        if not fitting:
            self._decide(cancel, [], set())
            return
        first = min(fitting, key=lambda one: (one.transaction_id or _LAST, one.ib_exec_id))
        self._decide(cancel, self._twins(first), {first.ib_exec_id})

    def _standing(self, ib_exec_id: str) -> Sighting | None:
        one = speaking(self._rows[ib_exec_id], self.voided)
        return None if key_of(one) in self.voided else one

    def _twins(self, one: Sighting) -> list[Sighting]:
        """The sighting itself, and others of its row that show the same booking (one transaction id)."""
        same = [other for other in self._rows[one.ib_exec_id] if other.transaction_id == one.transaction_id is not None]
        return same or [one]

    def _decide(self, cancel: Cancel, meant: Sequence[Sighting], rows: set[str]) -> None:
        if meant:
            for sighting in meant:
                self.voided[key_of(sighting)] = cancel.event_key
            self.decided[cancel.event_key] = (CancelState.APPLIED, meant[0].ib_exec_id)
        else:
            self.decided[cancel.event_key] = (CancelState.AMBIGUOUS if rows else CancelState.PARKED, None)


def _trade_fits(one: Sighting, cancel: Cancel) -> bool:
    before = one.transaction_id is None or cancel.transaction_id is None or one.transaction_id < cancel.transaction_id
    facts = one.facts
    return before and facts.signed_quantity == -cancel.signed_quantity and facts.price == cancel.price


def _fraction_fits(one: Sighting, cancel: Cancel) -> bool:
    return _trade_fits(one, cancel) and one.facts.executed_at == cancel.executed_at
