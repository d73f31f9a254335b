"""What a book must have been at T as known at K: the journal rows of then, folded; and what its history says of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hypothesis import strategies as st

from fillbook.ledger.booking import InstrumentState, fold
from fillbook.ledger.memory import MemoryBook
from fillbook.ledger.model import Adjustment, Book, Fill, FillVersion, Lot, Position, RowState
from fillbook.ledger.unfolding import Booked
from tests.support.ledger import MemoryWorld, StoredWorld, at
from tests.support.ledger_histories import Split, batches, deliveries

World = MemoryWorld | StoredWorld
INSTRUMENTS = ("AMD", "NVDA")


@dataclass(frozen=True, slots=True)
class Undone:
    """A split that is undone again."""

    split: Split


Call = list[Fill] | Split | Undone


@dataclass(frozen=True, slots=True)
class Then:
    """Positions and all their lots at a moment."""

    positions: dict[str, Position]
    lots: dict[str, Lot]


@st.composite
def told(draw: st.DrawFn, *, size: int = 8, hedge: bool = False) -> list[Call]:
    """A history in calls: any order and batching, with up to three splits entered, and maybe undone, in between."""
    calls: list[Call] = list(draw(batches(draw(deliveries(size, hedge=hedge)))))
    for _ in range(draw(st.integers(0, 3))):
        split = Split(draw(st.sampled_from([(2, 1), (1, 7), (3, 2)])), draw(st.integers(0, 8)))
        place = draw(st.integers(0, len(calls)))
        calls.insert(place, split)
        if draw(st.booleans()):
            calls.insert(draw(st.integers(place + 1, len(calls))), Undone(split))
    return calls


def tell(world: World, calls: Sequence[Call]) -> None:
    """Deliver call by call, a minute apart from the twentieth minute on; what is not delivered keeps its minute."""
    for number, call in enumerate(calls):
        now = at(20 + number)
        if isinstance(call, list):
            world.deliver(call, now)
            continue
        split = call.split if isinstance(call, Undone) else call
        for instrument in INSTRUMENTS:
            world.split(split.ratio, split.minute, is_void=isinstance(call, Undone), instrument=instrument, now=now)


def moments(calls: Sequence[Call]) -> st.SearchStrategy[tuple[datetime, datetime]]:
    """(T, K): T at, before and after the instants of fills and splits; K exactly at a recording, just before one, or between."""
    known = st.builds(
        lambda number, less: at(20 + number) - timedelta(microseconds=less),
        st.integers(0, len(calls)),
        st.sampled_from([0, 0, 1]),
    )
    return st.tuples(st.builds(at, st.sampled_from([-1, 0, 1, 2, 2.5, 3, 4, 5, 6, 7, 8, 9])), known)


def folded(book: Book, memory: MemoryBook, as_of: datetime, known_as_of: datetime) -> Then:
    """The journal rows recorded by K and executed by T, folded from the beginning: the law's right side."""
    current = _current(memory, known_as_of)
    result = Then({}, {})
    for instrument in INSTRUMENTS:
        journal: list[tuple[tuple[datetime, str, str, str], Fill | Adjustment]] = [
            ((*fill.key, ""), fill) for fill in current if fill.instrument == instrument and fill.executed_at <= as_of
        ]
        journal += [
            ((split.effective_at, "", "", split.adjustment_id), split)
            for split in splits(memory, as_of, known_as_of)
            if split.instrument == instrument
        ]
        journal.sort(key=lambda entry: entry[0])
        found = fold(InstrumentState(book.netting, book.base_currency), [entry for _, entry in journal], book.lot_method)
        result.positions.update(found.positions)
        result.lots.update(found.lots)
    return result


def _current(memory: MemoryBook, known_as_of: datetime) -> list[Fill]:
    found: list[Fill] = []
    for versions in memory.journal.values():
        known: list[FillVersion] = [version for version in versions if version.recorded_at <= known_as_of]
        if known:
            last = max(known, key=lambda version: version.current_rank).fill
            found += [] if last.is_bust else [last]
    return found


def splits(memory: MemoryBook, as_of: datetime, known_as_of: datetime) -> list[Adjustment]:
    """The splits in force at T as known at K."""
    found = []
    for versions in memory.adjustments.values():
        known = [version for version in versions if version.recorded_at <= known_as_of]
        if known and not known[-1].adjustment.is_void and known[-1].adjustment.effective_at <= as_of:
            found.append(known[-1].adjustment)
    return found


def booked(memory: MemoryBook, as_of: datetime, known_as_of: datetime) -> Iterator[list[Booked]]:
    """Per position its actions at T as history knew them at K, in booking order."""
    fills = {version.seq: version.fill for versions in memory.journal.values() for version in versions}
    groups: dict[str, list[Booked]] = {}
    for row in sorted(memory.versions, key=lambda version: version.action.order):
        after = memory.superseded.get((row.action.action_id, row.version))
        is_known = row.recorded_at <= known_as_of and (after is None or after.recorded_at > known_as_of)
        if is_known and row.state is RowState.BOOKED and row.action.executed_at <= as_of:
            one = Booked(action=row.action, fill=fills[row.fill_seq], version=row.version, known_from=row.recorded_at)
            groups.setdefault(row.action.position_id, []).append(one)
    yield from groups.values()


def of_instrument(found: Iterable[Adjustment], instrument: str) -> list[Adjustment]:
    """Those of one instrument."""
    return [split for split in found if split.instrument == instrument]
