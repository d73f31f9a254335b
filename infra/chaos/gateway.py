"""What the broker's gateway knows on a chaos day: the demo's book, with fills that are corrected and fills that come late.

Its positions are the truth at once; what is late is only told late. A gateway that was killed forgets it all and tells the demo's
day until it is told again: an original after its correction, as a real one does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final

from fillbook.calendar import NEW_YORK
from infra.local import tws_book, walking
from infra.local.desk import LocalCloud
from infra.local.fakes import TWS_CONTROL
from infra.local.plan import TWS_ACCOUNT
from infra.local.tws_knobs import COMMISSION, EXECUTION, Frame

_EXEC_ID, _SHARES, _PRICE, _COMMISSION_OF = 14, 19, 20, 2
LAST_OF_DAY: Final = time(23, 59)
TOLD_LATE_HOUR: Final = 20
"""New York: what comes late is told from then on, after the positions of the day were compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """A fill whose price the broker changes by so many cents at an instant."""

    fill: int
    cents: int
    at: datetime


class Gateway:
    """The twists of the day that is played."""

    def __init__(self) -> None:
        self._day: date | None = None
        self.corrections: list[Corrected] = []
        self.late: set[int] = set()

    def begin(self, cloud: LocalCloud, day: date) -> None:
        """A new day: what was twisted is history, and the stand-in serves its own day again."""
        if self.corrections or self.late:
            walking.ask(cloud, TWS_CONTROL, "reset", {})
        self._day, self.corrections, self.late = day, [], set()

    def tell(self, cloud: LocalCloud, now: datetime) -> None:
        """Have the stand-in serve what is known at an instant. Nothing twisted: it serves its own day."""
        if self.corrections or self.late:
            executions, positions = self.book(now)
            walking.ask(cloud, TWS_CONTROL, "plan", {"executions": executions, "positions": positions})

    def book(self, now: datetime) -> tuple[list[list[str]], list[list[str]]]:
        """Executions (with commissions) and positions, as frames."""
        plain = tws_book.demo((TWS_ACCOUNT,), now)
        local = now.astimezone(NEW_YORK)
        frames = [list(frame) for frame in plain.executions]
        if local.date() != self._day:
            return frames, [list(frame) for frame in plain.positions]
        names = self._names()
        held_back = {names[at] for at in self.late if at < len(names)} if local.hour < TOLD_LATE_HOUR else set()
        told = [frame for frame in frames if _named(frame) not in held_back]
        for one in self.corrections:
            if one.at <= now and one.fill < len(names) and names[one.fill] not in held_back:
                told += _corrected(frames, names[one.fill], one.cents)
        return told, [list(frame) for frame in plain.positions]

    def _names(self) -> list[str]:
        """Execution ids of the whole day: a fill keeps its place whenever it is asked for."""
        assert self._day is not None
        end = datetime.combine(self._day, LAST_OF_DAY, NEW_YORK)
        return [frame[_EXEC_ID] for frame in tws_book.demo((TWS_ACCOUNT,), end).executions if frame[0] == EXECUTION]

    def expected(self, now: datetime) -> Iterator[tuple[str, Decimal, Decimal]]:
        """Execution id, shares and price of all that must stand at the end: a correction in place of what it corrects."""
        frames, _ = self.book(now)
        found = {frame[_EXEC_ID]: frame for frame in frames if frame[0] == EXECUTION}
        for name, frame in found.items():
            if not (name.endswith(".01") and f"{name[:-2]}02" in found):
                yield name, Decimal(frame[_SHARES]), Decimal(frame[_PRICE])


def _named(frame: Sequence[str]) -> str | None:
    at = {EXECUTION: _EXEC_ID, COMMISSION: _COMMISSION_OF}.get(frame[0])
    return None if at is None else frame[at]


def _corrected(frames: Sequence[Frame], name: str, cents: int) -> list[list[str]]:
    """The second revision of a fill, and its commission."""
    found: list[list[str]] = []
    fresh = f"{name[:-2]}02"
    for frame in frames:
        if _named(frame) == name:
            changed: list[Any] = list(frame)
            changed[_EXEC_ID if frame[0] == EXECUTION else _COMMISSION_OF] = fresh
            if frame[0] == EXECUTION:
                changed[_PRICE] = str(Decimal(frame[_PRICE]) + Decimal(cents) / 100)
            found.append(changed)
    return found
