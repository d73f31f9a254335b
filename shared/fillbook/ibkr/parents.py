"""Which executions are one trade: connected components over the keys that executions of an account share.

Permanent ids and statement order ids join; combo keys join only while their executions span two instruments, because one
instrument filled in many pieces is no combo. A label or the composite of client, order id, instrument, side and day is
weaker: a row with nothing better joins the one component that carries the same, and where several do, it stays among its
like and an anomaly says so. Everything is decided from all rows that share a key. Source: ibkr.md 6.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

from fillbook.ibkr import ids
from fillbook.ibkr.allowlist import Account
from fillbook.ibkr.model import Anomaly, Execution, Trade
from fillbook.ibkr.trades import summarize
from fillbook.ibkr.words import ORDER_ID_UNSET, AnomalyKind, MatchKind
from fillbook.values import frozen

ACTIVITY_TYPES: Final = frozenset({"BookTrade", "FracShare"})
"""Rows of no order: expiries, assignments, exercises, fractions."""

Key = tuple[int, int, str]
"""Strength (index of ``MatchKind``), number where the key has one, text; the smallest names the trade."""

_KINDS: Final = tuple(MatchKind)


@frozen(kw_only=False)
class Resolution:
    """Trades of the rows given, the rows with their trade and role, and old trades that gave all their rows away.

    ``merged``: emptied trade id -> its heir. ``examined``: (kind, subject) pairs that were looked at.
    """

    trades: tuple[Trade, ...]
    executions: tuple[Execution, ...]
    merged: Mapping[str, str]
    anomalies: tuple[Anomaly, ...]
    examined: frozenset[tuple[AnomalyKind, str]]


def resolve(
    account: Account,
    executions: Iterable[Execution],
    order_sizes: Mapping[int, Decimal] | None = None,
    former: Mapping[str, str] | None = None,
) -> Resolution:
    """Put rows of one account together. Give every row that shares a key with another one given, superseded and voided too.

    ``order_sizes``: perm id -> quantity of the order, where known. ``former``: ib_exec_id -> trade id it stood in before.
    """
    rows = sorted(executions, key=lambda execution: execution.ib_exec_id)
    keys = _Keys(account, rows)
    components, ambiguous = _components(rows, keys)
    trades: list[Trade] = []
    placed: list[Execution] = []
    anomalies = [_ambiguous(account, key) for key in ambiguous]
    for members in components:
        named = sorted({key for row in members for key in keys.of(row)})
        trade_id = ids.trade_id(account.code, named[0][2])
        kind = _KINDS[named[0][0]]
        summary = summarize(account.account_id, trade_id, kind, [key[2] for key in named], members, order_sizes or {})
        trades.append(summary.trade)
        placed += [replace(row, trade_id=trade_id, exec_role=summary.roles[row.ib_exec_id]) for row in members]
        anomalies += summary.anomalies
    examined = {(kind, key[2]) for row in rows for key in keys.all_of(row) for kind in _EXAMINED}
    return Resolution(
        trades=tuple(trades),
        executions=tuple(placed),
        merged=_merged(placed, former or {}, {trade.trade_id for trade in trades}),
        anomalies=tuple(anomalies),
        examined=frozenset(examined),
    )


_EXAMINED: Final = (AnomalyKind.AMBIGUOUS_PARENT, AnomalyKind.COMBO_QUANTITY_DIFFERS, AnomalyKind.OVERFILLED)


class _Keys:
    """The keys of every row; combo keys count only where the rows sharing one span two or more instruments."""

    def __init__(self, account: Account, rows: Sequence[Execution]) -> None:
        self._prefixes = account.trusted_ref_prefixes
        conids: dict[str, set[int]] = {}
        for row in rows:
            for text in combo_keys(row):
                conids.setdefault(text, set()).add(row.facts.conid)
        self._active = {text for text, spanned in conids.items() if len(spanned) > 1}
        self._hard = {row.ib_exec_id: self._hard_of(row) for row in rows}
        self._soft = {row.ib_exec_id: self._soft_of(row) for row in rows}

    def hard(self, row: Execution) -> tuple[Key, ...]:
        """Keys that join."""
        return self._hard[row.ib_exec_id]

    def soft(self, row: Execution) -> tuple[Key, ...]:
        """Keys a row carries that only those without a better one follow, the strongest first."""
        return self._soft[row.ib_exec_id]

    def of(self, row: Execution) -> tuple[Key, ...]:
        """The keys a row stands under: its hard ones, else its strongest soft one, else its own id."""
        return self.hard(row) or self.soft(row)[:1] or (_key(MatchKind.SINGLE, f"single:{row.ib_exec_id}"),)

    def all_of(self, row: Execution) -> tuple[Key, ...]:
        """Every key that was looked at for a row."""
        return (*self.hard(row), *self.soft(row), _key(MatchKind.SINGLE, f"single:{row.ib_exec_id}"))

    def _hard_of(self, row: Execution) -> tuple[Key, ...]:
        found = []
        perm_id, order_id = row.facts.ib_perm_id, flex_order(row)
        if perm_id is not None and perm_id > 0:
            found.append(_key(MatchKind.PERM_ID, f"perm:{perm_id}", perm_id))
        if order_id is not None:
            found.append(_key(MatchKind.FLEX_ORDER_ID, f"flex:{order_id}", order_id))
        found += [_key(MatchKind.COMBO, text) for text in combo_keys(row) if text in self._active]
        return tuple(found)

    def _soft_of(self, row: Execution) -> tuple[Key, ...]:
        found = []
        label, order_id = row.facts.order_ref, row.facts.ib_order_id
        if label is not None and label.startswith(self._prefixes):
            found.append(_key(MatchKind.ORDER_REF, f"ref:{label}"))
        if order_id is not None and 0 < order_id != ORDER_ID_UNSET:
            facts = row.facts
            client = "" if facts.client_id is None else facts.client_id
            text = f"order:{client}:{order_id}:{facts.conid}:{facts.side}:{facts.trade_day.isoformat()}"
            found.append(_key(MatchKind.COMPOSITE, text))
        return tuple(found)


def combo_keys(row: Execution) -> tuple[str, ...]:
    """The keys that legs of one combo share."""
    found = []
    if row.identity.combo_key is not None:
        found.append(f"combo:{row.identity.combo_key}")
    if row.facts.brokerage_order_id is not None:
        found.append(f"brokerage:{row.facts.brokerage_order_id}")
    return tuple(found)


def flex_order(row: Execution) -> int | None:
    """The statement's order id; rows of no order repeat their transaction id there, which joins nothing."""
    facts = row.facts
    if facts.transaction_type in ACTIVITY_TYPES or facts.flex_order_id == facts.transaction_id:
        return None
    return facts.flex_order_id


def _key(kind: MatchKind, text: str, value: int = 0) -> Key:
    return (_KINDS.index(kind), value, text)


def _components(rows: Sequence[Execution], keys: _Keys) -> tuple[list[list[Execution]], list[str]]:
    """Rows joined by what they share, and soft keys that several components carry."""
    union = _Union()
    carriers: dict[str, set[str]] = {}
    for row in rows:
        hard = keys.hard(row)
        for key in hard[1:]:
            union.join(hard[0][2], key[2])
    for row in rows:
        hard = keys.hard(row)
        for key in keys.soft(row) if hard else ():
            carriers.setdefault(key[2], set()).add(union.root(hard[0][2]))
    ambiguous: set[str] = set()
    members: dict[str, list[Execution]] = {}
    for row in rows:
        own = keys.of(row)[0][2]
        if not keys.hard(row):
            roots = carriers.get(own, set())
            if len(roots) == 1:
                own = min(roots)
            elif roots:
                ambiguous.add(own)
        members.setdefault(union.root(own), []).append(row)
    return [members[root] for root in sorted(members)], sorted(ambiguous)


class _Union:
    """Union-find over key texts; the root of a set is its smallest text, so that order plays no part."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def root(self, text: str) -> str:
        parent = self._parent
        top = text
        while (above := parent.get(top, top)) != top:
            top = above
        while text != top:
            text, parent[text] = parent.get(text, text), top
        return top

    def join(self, one: str, other: str) -> None:
        low, high = sorted((self.root(one), self.root(other)))
        if low != high:
            self._parent[high] = low


def _merged(placed: Sequence[Execution], former: Mapping[str, str], kept: set[str]) -> dict[str, str]:
    """Trades that lost all their rows, each with the trade that took them (the smallest id where they went apart)."""
    heirs: dict[str, str] = {}
    for row in placed:
        old = former.get(row.ib_exec_id)
        if old is not None and old not in kept:
            heirs[old] = min(heirs.get(old, row.trade_id), row.trade_id)
    return heirs


def _ambiguous(account: Account, key: str) -> Anomaly:
    return Anomaly(account_id=account.account_id, kind=AnomalyKind.AMBIGUOUS_PARENT, subject=key)
