"""The plan of a chaos run: a pure value of seed and size, with a hash by which two runs can be told to be the same.

Kinds are dealt like cards: every kind that a day can hold comes before any comes again, so a run of any length strikes as widely
as it can. Slow kinds – a connection that hangs for its whole patience – are in the first deck alone.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from random import Random
from typing import Any, Final

from infra.chaos import days
from infra.chaos.days import Moment, Season
from infra.chaos.kinds import KINDS, Kind

FAULTS_A_DAY: Final = 45
FAULTS_A_MOMENT_MAX: Final = 9
SLOW_A_DAY_MAX: Final = 2
ASIDE_MAX: Final = 200
"""Kinds that found no room on a day; so many, and the day has none left."""
PLACES: Final = (0, 6, 12, 18, 24)
"""Tickers of the invented day that are awake from the opening on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong at a moment; ``options`` as drawn, by name."""

    kind: str
    moment: str
    options: tuple[tuple[str, Any], ...]

    @property
    def given(self) -> dict[str, Any]:
        """The options as a mapping."""
        return dict(self.options)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayPlan:
    """One session: its moments, and the faults in the order in which they are put on."""

    day: date
    is_last: bool
    moments: tuple[Moment, ...]
    faults: tuple[Fault, ...]

    def at(self, moment: Moment) -> tuple[Fault, ...]:
        """The faults of a moment."""
        return tuple(fault for fault in self.faults if fault.moment == moment.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeasonPlan:
    """One desk's life."""

    name: str
    days: tuple[DayPlan, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that a run does by its own will."""

    seed: int
    seasons: tuple[SeasonPlan, ...]

    @property
    def days(self) -> tuple[DayPlan, ...]:
        """All days, in order."""
        return tuple(day for season in self.seasons for day in season.days)

    @property
    def injected(self) -> Counter[str]:
        """How often each kind strikes."""
        return Counter(fault.kind for day in self.days for fault in day.faults)

    @property
    def digest(self) -> str:
        """SHA-256 of the plan as sorted JSON."""
        text = json.dumps(asdict(self), sort_keys=True, default=str, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def drawn(seed: int, number: int, *, faults: int = FAULTS_A_DAY, bars: int | None = None, only: Sequence[str] = ()) -> Plan:
    """The plan of ``number`` days with so many faults each; ``only``: families or kinds, where not all are wanted.

    Raises ``ValueError`` where nothing could be drawn.
    """
    if number < 1 or faults < 0:
        raise ValueError("a run has at least one day, and no fewer than no faults")
    dealer = _Dealer(Random(f"chaos {seed}"), _wanted(only))
    seasons = days.chosen(number, seed)
    return Plan(seed=seed, seasons=tuple(_season(season, dealer, faults, bars) for season in seasons))


def _wanted(only: Sequence[str]) -> Mapping[str, Kind]:
    found = {name: kind for name, kind in KINDS.items() if not only or name in only or kind.family in only}
    if not found:
        raise ValueError(f"no such kind; families: {', '.join(sorted({kind.family for kind in KINDS.values()}))}")
    return found


def _season(season: Season, dealer: _Dealer, faults: int, bars: int | None) -> SeasonPlan:
    plans = []
    for day in season.days:
        known = days.moments(day, bars=bars)
        plans.append(DayPlan(day=day, is_last=day == season.days[-1], moments=known, faults=tuple(dealer.deal(known, faults))))
    return SeasonPlan(name=season.name, days=tuple(plans))


class _Dealer:
    """Draws faults for one day after the other."""

    def __init__(self, chance: Random, kinds: Mapping[str, Kind]) -> None:
        self._chance, self._kinds = chance, kinds
        self._deck: list[Kind] = []
        self._decks = 0

    def deal(self, known: tuple[Moment, ...], number: int) -> list[Fault]:
        """So many faults, by the order of their moments."""
        room = Counter({moment.name: FAULTS_A_MOMENT_MAX for moment in known})
        dealt: list[Fault] = []
        aside: list[Kind] = []
        slow = 0
        while len(dealt) < number and len(aside) < ASIDE_MAX:
            kind = self._next()
            places = [moment.name for moment in known if room[moment.name] and set(moment.groups) & set(kind.at)]
            if not places or (kind.is_slow and slow >= SLOW_A_DAY_MAX):
                aside.append(kind)  # its turn comes on a later day
                continue
            place = self._chance.choice(places)
            room[place] -= 1
            slow += kind.is_slow
            options = tuple((name, self._chance.choice(found)) for name, found in kind.options.items())
            dealt.append(Fault(kind=kind.name, moment=place, options=options))
        self._deck += reversed(aside)
        order = {moment.name: number for number, moment in enumerate(known)}
        return sorted(dealt, key=lambda fault: order[fault.moment])

    def _next(self) -> Kind:
        if not self._deck:
            self._deck = list(self._new_deck())
            self._chance.shuffle(self._deck)
            self._decks += 1
        return self._deck.pop()

    def _new_deck(self) -> Iterator[Kind]:
        quick = [kind for kind in self._kinds.values() if not kind.is_slow]
        return iter(self._kinds.values() if not self._decks or not quick else quick)
