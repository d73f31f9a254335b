"""Which of two that say the same stays: one rule per part of a document, for whoever builds one and whoever takes one.

Source: snapshot specification, 5.3. Rules that name a reason to prefer one do not depend on the order in which they came; only
where nothing speaks for either does the later one stay.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from itertools import groupby
from typing import Any, Final, TypeVar

from fillbook.snapshot.model import Asset, Extreme, Kpi, Point
from fillbook.values import frozen

T = TypeVar("T")

_TRUST: Final = {"live": 4, "ledger": 3, "stale": 2}
_OTHER, _NONE = 1, 0


@frozen
class Resolved:
    """What stays, in the room's order, and the name of each item that went."""

    kept: tuple[Any, ...]
    gone: tuple[str, ...]


def kpis(found: Sequence[Kpi]) -> Resolved:
    """One row per name: the one with a number, then the later one."""
    kept, gone = _resolved(found, lambda one: one.kpi, lambda one: one.value_num is not None)
    return Resolved(kept=tuple(sorted(kept, key=row_order)), gone=tuple(one.kpi for one in gone))


def points(found: Sequence[Point]) -> Resolved:
    """One point per (KPI, millisecond): live, ledger, stale, any other source, none; then the later one."""
    kept, gone = _resolved(found, point_order, _trust)
    return Resolved(kept=tuple(sorted(kept, key=point_order)), gone=tuple(f"{one.kpi} {one.t.isoformat()}" for one in gone))


def extremes(found: Sequence[Extreme]) -> Resolved:
    """One item per (KPI, side, trade, contract), that of the lower rank; ranks closed up to 1..n. Ranks are unique per side."""
    in_order = sorted(found, key=extreme_order)
    kept, gone = _resolved(in_order[::-1], _trade, lambda _: 0)
    return Resolved(
        kept=tuple(_closed_up(sorted(kept, key=extreme_order))),
        gone=tuple(f"{one.kpi} {one.side} {one.contract_name}" for one in gone),
    )


def assets(found: Sequence[Asset]) -> Resolved:
    """One asset per (trade, contract): the one with a symbol, then the later one."""
    kept, gone = _resolved(found, asset_order, lambda one: one.symbol is not None)
    return Resolved(kept=tuple(sorted(kept, key=asset_order)), gone=tuple(f"{one.trade_id} {one.contract_name}" for one in gone))


def row_order(one: Kpi) -> tuple[int, str]:
    """Rows by sort order, then name."""
    return one.sort_order, one.kpi


def point_order(one: Point) -> tuple[Any, ...]:
    """Points by KPI and time."""
    return one.kpi, one.t


def extreme_order(one: Extreme) -> tuple[Any, ...]:
    """Extremes by KPI, side and rank."""
    return one.kpi, one.side, one.rank


def asset_order(one: Asset) -> tuple[int, str]:
    """Assets by trade and contract."""
    return one.trade_id, one.contract_name


def _trade(one: Extreme) -> tuple[Any, ...]:
    return one.kpi, one.side, one.trade_id, one.contract_name


def _trust(one: Point) -> int:
    return _NONE if one.src is None else _TRUST.get(one.src, _OTHER)


def _resolved(found: Sequence[T], key: Callable[[T], Hashable], worth: Callable[[T], int]) -> tuple[list[T], list[T]]:
    """Of the items with one key the one of greatest worth stays, of equal ones the later."""
    kept: dict[Hashable, T] = {}
    gone: list[T] = []
    for one in found:
        name = key(one)
        former = kept.get(name)
        if former is None or worth(one) >= worth(former):
            kept[name] = one
        if former is not None:
            gone.append(one if kept[name] is former else former)
    return list(kept.values()), gone


def _closed_up(in_order: Sequence[Extreme]) -> list[Extreme]:
    made: list[Extreme] = []
    for _, side in groupby(in_order, key=lambda one: (one.kpi, one.side)):
        made += [one if one.rank == rank else ranked(one, rank) for rank, one in enumerate(side, 1)]
    return made


def ranked(one: Extreme, rank: int) -> Extreme:
    """The same item at another rank."""
    return dataclasses.replace(one, rank=rank)
