"""Where two decision logs part: both are walked by (ticker, ts), and of each ticker the first difference is kept.

A **line** is one decision with what was booked of it. Two lines differ in their outcome when one of ``FIELDS`` does; blocks
are compared by the rules that stand in the way, because under another profile the figures beside an equal block always
differ. Where no outcome of a ticker differs but a figure does (a score, a value beside a block), the first such line is the
ticker's difference: two logs are identical only when nothing differs at all. What follows a ticker's first difference is
counted and not explained, since it follows from it. Memory holds one line of each side and one difference per ticker. No
rule is judged here and none is named: why they part is ``causes``' question. Source: replay.md 8.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, NamedTuple

from fillbook.money import ZERO, plain
from fillbook.replay.model import Totals
from fillbook.values import frozen

RECEIPT: Final = "receipt"
QUANTITY: Final = "quantity"
SIZES: Final = (QUANTITY, "price", "realized")
_CLOSING: Final = frozenset({"TRIM", "EXIT"})


class Line(NamedTuple):
    """One decision of one book. ``blocks``, ``intents`` and ``actions`` are JSON texts, ``None`` where there are none.

    ``blocks``: ``[{rule, why, value, limit}, …]``; ``intents``: ``[{ordinal, kind, side, rule, …}, …]``; ``actions``, in the
    order in which they were booked: ``[[action_id, action_type, quantity, price, realized_pnl, position], …]``, numbers as
    text, ``position`` the action that opened it.
    """

    ticker: str
    ts: int
    receipt_id: str
    computed_lane: str
    lane: str
    reason: str
    score: str | None = None
    blocks: str | None = None
    intents: str | None = None
    actions: str | None = None

    @property
    def block_list(self) -> list[dict[str, Any]]:
        """The blocks as values."""
        return _parsed(self.blocks)

    @property
    def intent_list(self) -> list[dict[str, Any]]:
        """What was wanted, as values."""
        return _parsed(self.intents)

    @property
    def action_list(self) -> list[list[Any]]:
        """What was booked, as values."""
        return _parsed(self.actions)


@frozen
class Difference:
    """Where one ticker parts: the field with both values (``None``: nothing there), and how many lines differ after it.

    ``left`` and ``right`` are the lines themselves, ``None`` when a side has none at this ts. ``is_outcome`` is false when
    only figures differ.
    """

    ticker: str
    ts: int
    field: str
    value_a: Any
    value_b: Any
    left: Line | None
    right: Line | None
    is_outcome: bool = True
    later_count: int = 0

    @property
    def receipt_id(self) -> str | None:
        """The receipt, of the left side where it has one."""
        line = self.left or self.right
        return None if line is None else line.receipt_id


def compare(left: Iterable[Line], right: Iterable[Line]) -> list[Difference]:
    """The difference of every ticker that has one, outcomes first, by (ts, ticker): the first of them is where the runs part.

    Both logs ascend by (ticker, ts).
    """
    first: dict[str, Difference] = {}
    later: dict[str, int] = {}
    for one, other in pairs(left, right):
        if one == other:
            continue
        found = difference(one, other)
        before = first.get(found.ticker)
        if before is None or (found.is_outcome and not before.is_outcome):
            first[found.ticker] = found
            later[found.ticker] = 0
        elif found.is_outcome == before.is_outcome:
            later[found.ticker] += 1
    counted = [replace(one, later_count=later[one.ticker]) for one in first.values()]
    return sorted(counted, key=lambda one: (not one.is_outcome, one.ts, one.ticker))


class Tally:
    """What one side did, counted while its lines pass; of each position a digest of its actions is kept, nothing else."""

    def __init__(self) -> None:
        self.decided = 0
        self.counts: Counter[str] = Counter()
        self.realized: Decimal | None = ZERO
        self.positions: dict[str, str] = {}
        self.tickers: set[str] = set()

    def over(self, lines: Iterable[Line]) -> Iterator[Line]:
        """The lines, counted as they are taken."""
        for line in lines:
            self.decided += 1
            self.tickers.add(line.ticker)
            for action in line.action_list:
                self._count(action)
            yield line

    def _count(self, action: list[Any]) -> None:
        _, action_type, quantity, price, realized, position = action
        self.counts[action_type] += 1
        if action_type in _CLOSING:
            known = None if realized is None else Decimal(realized)
            self.realized = None if known is None or self.realized is None else self.realized + known
        chained = f"{self.positions.get(position, '')}|{action[0]}|{action_type}|{quantity}|{price}|{realized}"
        self.positions[position] = hashlib.sha256(chained.encode()).hexdigest()

    def totals(self) -> Totals:
        """The counts as a value."""
        counts = self.counts
        return Totals(
            decided=self.decided,
            entries=counts["ENTRY"],
            adds=counts["ADD_ENTRY"],
            trims=counts["TRIM"],
            exits=counts["EXIT"],
            realized_pnl=None if self.realized is None else plain(self.realized),
        )


def positions(a: Tally, b: Tally) -> dict[str, int]:
    """How many positions are ``equal``, ``left_only``, ``right_only``, ``different``; joined by the action that opened them."""
    shared = a.positions.keys() & b.positions.keys()
    equal = sum(a.positions[name] == b.positions[name] for name in shared)
    return {
        "equal": equal,
        "left_only": len(a.positions) - len(shared),
        "right_only": len(b.positions) - len(shared),
        "different": len(shared) - equal,
    }


def pairs(left: Iterable[Line], right: Iterable[Line]) -> Iterator[tuple[Line | None, Line | None]]:
    """Merge two logs by (ticker, ts); a side without a line there gives ``None``. ``ValueError`` when a log does not ascend."""
    lefts, rights = _ascending(left), _ascending(right)
    one, other = next(lefts, None), next(rights, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[:2] < other[:2]):
            yield one, None
            one = next(lefts, None)
        elif one is None or other[:2] < one[:2]:
            yield None, other
            other = next(rights, None)
        else:
            yield one, other
            one, other = next(lefts, None), next(rights, None)


def difference(left: Line | None, right: Line | None) -> Difference:
    """The first field in which two lines of one (ticker, ts) differ; ``ValueError`` when they do not."""
    if left is None or right is None or left.receipt_id != right.receipt_id:
        return _difference(RECEIPT, left, right, _receipt_id)
    for name, value_of in FIELDS:
        if value_of(left) != value_of(right):
            return _difference(name, left, right, value_of)
    for name, value_of in _FIGURES:
        if value_of(left) != value_of(right):
            return replace(_difference(name, left, right, value_of), is_outcome=False)
    raise ValueError(f"the lines of {left.ticker} at {left.ts} do not differ")


def _difference(name: str, left: Line | None, right: Line | None, value_of: Callable[[Line], Any]) -> Difference:
    line = left or right
    assert line is not None
    return Difference(
        ticker=line.ticker,
        ts=line.ts,
        field=name,
        value_a=None if left is None else value_of(left),
        value_b=None if right is None else value_of(right),
        left=left,
        right=right,
    )


def _ascending(lines: Iterable[Line]) -> Iterator[Line]:
    place: tuple[str, int] | None = None
    for line in lines:
        if place is not None and line[:2] <= place:
            raise ValueError(f"a log does not ascend at {line.ticker} {line.ts}")
        place = line[:2]
        yield line


# --- what is compared -------------------------------------------------------------------------------------------------


def _receipt_id(line: Line) -> str:
    return line.receipt_id


def _blocks(line: Line) -> list[list[str]]:
    return [[block["rule"], block["why"]] for block in line.block_list]


def _intents(line: Line) -> list[list[str]]:
    return [[intent["kind"], intent["side"], intent["rule"]] for intent in line.intent_list]


def _of_actions(place: int) -> Callable[[Line], list[Any]]:
    return lambda line: [action[place] for action in line.action_list]


def _parsed(text: str | None) -> list[Any]:
    return [] if text is None else json.loads(text)


Field = tuple[str, Callable[[Line], Any]]

FIELDS: Final[tuple[Field, ...]] = (
    (RECEIPT, _receipt_id),
    ("computed_lane", lambda line: line.computed_lane),
    ("lane", lambda line: line.lane),
    ("reason", lambda line: line.reason),
    ("blocks", _blocks),
    ("intent", _intents),
    ("action", _of_actions(1)),
    (QUANTITY, _of_actions(2)),
    ("price", _of_actions(3)),
    ("realized", _of_actions(4)),
    ("action", _of_actions(5)),  # the same, of another position
)
# Looked at where every outcome is equal: a figure that drifts is news as well.
_FIGURES: Final[tuple[Field, ...]] = (
    ("score", lambda line: line.score),
    ("blocks", lambda line: line.block_list),
    ("intent", lambda line: line.intent_list),
)
