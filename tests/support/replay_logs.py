"""Decision logs of the desk in memory, as a comparison reads them from the database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from fillbook.money import plain
from fillbook.replay.causes import Compared, Told, explained
from fillbook.replay.compare import Line, compare
from fillbook.replay.model import Divergence
from fillbook.signal.explain import account_of, blocks_of, trace_of
from fillbook.signal.model import Decision, Receipt
from fillbook.signal.profile import Profile
from fillbook.signal.store import intents_of
from tests.support.signal_desk import Desk, Fill


class Log:
    """What one desk decided of some receipts, in the order of a log."""

    def __init__(self, receipts: Iterable[Receipt], config: Profile | None = None, **book_facts: Any) -> None:
        self.desk = Desk(book_facts=book_facts) if config is None else Desk(config, book_facts=book_facts)
        for incoming in receipts:
            self.desk.take(incoming)
        self.decisions = {(one.ticker, one.ts): one for one in sorted(self.desk.decisions, key=lambda one: (one.ticker, one.ts))}
        self.fills = {fill.action_id: fill for fill in self.desk.fills}

    def lines(self) -> list[Line]:
        return [self._line(one) for one in self.decisions.values()]

    def told(self, place: tuple[str, int]) -> Told | None:
        decision = self.decisions.get(place)
        if decision is None:
            return None
        trace = trace_of(decision)
        return Told(
            config_digest=self.desk.config.digest,
            config=_parsed(self.desk.config.text),
            compared=[Compared(*entry) for entry in trace["compared"]],
            account=account_of(decision.account),
            column=trace["inputs"].get("column"),
            is_whole=bool(decision.intents),
        )

    def _line(self, one: Decision) -> Line:
        actions = [self._action(self.fills[action_id]) for action_id in one.action_ids]
        intents = intents_of(one.intents, ())
        return Line(
            ticker=one.ticker,
            ts=one.ts,
            receipt_id=one.receipt_id,
            computed_lane=one.computed_lane,
            lane=one.lane,
            reason=one.reason,
            score=None if one.score is None else plain(one.score),
            blocks=json.dumps(blocks_of(one)) if one.blocks else None,
            intents=json.dumps(intents) if intents else None,
            actions=json.dumps(actions) if actions else None,
        )

    def _action(self, fill: Fill) -> list[Any]:
        realized = None if fill.realized is None else plain(fill.realized)
        ours = [one for one in self.desk.fills if one.ticker == fill.ticker and one.ts <= fill.ts]
        opened = next(one for one in reversed(ours) if one.action_type == "ENTRY")
        return [fill.action_id, fill.action_type, plain(fill.quantity), plain(fill.price), realized, opened.action_id]


def divergences(a: Log, b: Log, starts: Mapping[str, tuple[Any, Any]] | None = None) -> list[Divergence]:
    """Both logs compared and every difference explained; ``starts``: states before the first receipt, by ticker."""
    found = []
    for one in compare(a.lines(), b.lines()):
        place = (one.ticker, one.ts)
        found.append(explained(one, a.told(place), b.told(place), (starts or {}).get(one.ticker, (None, None)), None))
    return found


def _parsed(text: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return document
