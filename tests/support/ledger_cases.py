"""Hand-worked cases of the ledger as data files: read, delivered step by step, every stated number compared exactly."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from fillbook.ledger.ids import fill_id
from fillbook.ledger.model import ActionVersion, Book, Fill, Outcome
from tests.support.ledger import make_book, make_fill

FOLDER = Path(__file__).resolve().parents[1] / "cases" / "ledger"
_WORDS = ("action_type", "direction", "currency", "status")


class World(Protocol):
    """What a case is delivered to."""

    def deliver(self, fills: Sequence[Fill]) -> list[Outcome]: ...

    def split(self, ratio: tuple[int, int], minute: float) -> None: ...

    @property
    def actions(self) -> list[ActionVersion]: ...


def names() -> list[str]:
    """All cases, by file name."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load(name: str) -> Mapping[str, Any]:
    """One case."""
    case: Mapping[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return case


def book_of(case: Mapping[str, Any]) -> Book:
    """The book a case is told on; ``ibkr`` would park what ``live`` refuses, so facts and decisions may meet here."""
    return make_book("live", **case.get("book", {}))


def play(case: Mapping[str, Any], world: World) -> dict[str, str]:
    """Deliver the steps one by one, checking the stated checkpoints; return the sources of the fills by their name."""
    sources: dict[str, str] = {}
    for number, step in enumerate(case["steps"], 1):
        given = dict(step)
        if "split" in given:
            world.split((given["split"][0], given["split"][1]), given["minute"])
        else:
            name = given.pop("fill")
            minute = given.pop("minute", number)
            sources[name] = given.get("source", "signal")
            world.deliver([make_fill(name, given.pop("side"), given.pop("quantity"), given.pop("price"), minute, **given)])
        expected = case.get("checkpoints", {}).get(str(number))
        if expected is not None:
            compare_actions(world.actions, expected)
    return sources


def compare_actions(found: Sequence[ActionVersion], expected: Sequence[Mapping[str, Any]]) -> None:
    """Every stated figure of every action equals, to the last digit."""
    assert len(found) == len(expected), [version.action.action_type for version in found]
    for version, figures in zip(found, expected, strict=True):
        for name, figure in figures.items():
            if name == "closings":
                closings = [(part.quantity, part.lot_price, part.realized_pnl) for part in version.action.closings]
                assert closings == [tuple(map(Decimal, row)) for row in figure], version.action
            elif name == "version":
                assert version.version == figure
            else:
                assert_equal(getattr(version.action, name), figure, name)


def assert_equal(found: object, expected: object, name: str) -> None:
    """One figure: numbers as Decimals, None as unknown, words as they are."""
    if isinstance(expected, str) and name not in _WORDS:
        expected = Decimal(expected)
    assert found == expected, f"{name}: {found} instead of {expected}"


def parked_of(case: Mapping[str, Any], sources: Mapping[str, str]) -> dict[str, str]:
    """fill_id -> reason, as the case states it."""
    return {fill_id(sources[name], "", name): reason for name, reason in case.get("parked", {}).items()}
