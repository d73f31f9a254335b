"""Law P12 on Postgres: what the statements answer for T and K is the fold of the journal of then, every column of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from fillbook.ledger import asof
from fillbook.ledger.asof import Held, Selection
from fillbook.ledger.model import Book, Position
from fillbook.ledger.moment import Moment, moment
from fillbook.money import ZERO
from fillbook.runtime.db import Database
from tests.support.ledger import MemoryWorld, StoredWorld, at, make_book
from tests.support.ledger_histories import METHODS
from tests.support.ledger_moments import Call, folded, moments, tell, told

NUMBERS = count(1)
some = settings(max_examples=max(10, settings().max_examples // 8))
SAME = [name for name in Held.__dataclass_fields__ if name in Position.__dataclass_fields__]


def told_twice(db: Database, method: str, netting: str, calls: list[Call]) -> tuple[StoredWorld, MemoryWorld]:
    book: Book = make_book(f"ibkr:E{next(NUMBERS)}", method, netting)
    stored, memory = StoredWorld(db, book), MemoryWorld(book)
    tell(stored, calls)
    tell(memory, calls)
    assert stored.chain_head == memory.chain_head
    return stored, memory


def check(stored: StoredWorld, memory: MemoryWorld, moment: Moment) -> None:
    expected = folded(stored.book, memory.memory, moment.as_of, moment.known_as_of)
    with stored.db.transaction(read_only=True, isolation="repeatable read") as tx:
        known = asof.books(tx, [stored.book.book_id], moment)
        found = asof.positions(tx, known, moment, Selection(rows_max=100))
        unfolded = asof.unfold_all(tx, known, moment, [held.place for held in found])
    positions = {place[1]: one.position for place, one in unfolded.items()}
    lots = {lot.lot_id: lot for one in unfolded.values() for lot in one.lots}
    assert positions == expected.positions
    assert lots == expected.lots
    assert len(found) == len(positions)
    for held in found:
        want = positions[held.position_id]
        assert {name: getattr(held, name) for name in SAME} == {name: getattr(want, name) for name in SAME}
        bases = [lot.basis for lot in lots.values() if lot.position_id == held.position_id]
        assert held.opening_basis == (None if None in bases else sum(filter(None, bases), ZERO))
    order = [(held.opened_at, held.position_id) for held in found]
    assert order == sorted(order, reverse=True)


@some
@given(data=st.data(), method=st.sampled_from(METHODS), netting=st.sampled_from(["net", "hedge"]))
def test_p12_the_stored_book_at_any_moment_is_the_fold_of_the_journal_of_then(
    db: Database, data: st.DataObject, method: str, netting: str
) -> None:
    calls = data.draw(told(hedge=netting == "hedge"))
    stored, memory = told_twice(db, method, netting, calls)
    for as_of, known_as_of in data.draw(st.lists(moments(calls), min_size=3, max_size=6)):
        check(stored, memory, Moment(as_of=as_of, known_as_of=known_as_of))


@some
@given(data=st.data(), method=st.sampled_from(METHODS), netting=st.sampled_from(["net", "hedge"]))
def test_any_choice_of_positions_at_any_moment_is_that_part_of_all_of_them(
    db: Database, data: st.DataObject, method: str, netting: str
) -> None:
    calls = data.draw(told(hedge=netting == "hedge"))
    stored, _ = told_twice(db, method, netting, calls)
    minutes = st.none() | st.integers(-1, 61)
    for as_of, known_as_of in data.draw(st.lists(moments(calls), min_size=2, max_size=4)):
        then = Moment(as_of=as_of, known_as_of=known_as_of)
        since, until = (None if minute is None else at(minute) for minute in data.draw(st.tuples(minutes, minutes)))
        chosen = Selection(
            status=data.draw(st.sampled_from(["all", "open", "closed"])),
            ticker=data.draw(st.sampled_from([None, None, "AMD"])),
            instrument=data.draw(st.sampled_from([None, None, "NVDA"])),
            direction=data.draw(st.sampled_from([None, None, "SHORT"])),
            since=since,
            until=until,
            rows_max=data.draw(st.sampled_from([1, 2, 100])),
        )
        with stored.db.transaction(read_only=True, isolation="repeatable read") as tx:
            known = asof.books(tx, [stored.book.book_id], then)
            every = asof.positions(tx, known, then, Selection(rows_max=100))
            told_of = asof.stories(tx, then, [held.place for held in every])
            found = asof.positions(tx, known, then, chosen)
        active = {place: [booked.action.executed_at for booked in story] for place, story in told_of.items()}
        wanted = [held for held in every if is_chosen(held, active[held.place], chosen)]
        assert found == wanted[: chosen.rows_max]


def is_chosen(held: Held, active: list[datetime], chosen: Selection) -> bool:
    """What ``Selection`` says, in words of its own; ``active`` are the instants of the position's actions."""
    since, until = chosen.since or min(active), chosen.until or max(active) + timedelta(seconds=1)
    return (
        chosen.status in ("all", "open" if held.is_open else "closed")
        and chosen.ticker in (None, held.ticker)
        and chosen.instrument in (None, held.instrument)
        and chosen.direction in (None, held.direction.value)
        and any(since <= instant < until for instant in active)
    )


@some
@given(data=st.data(), method=st.sampled_from(METHODS), netting=st.sampled_from(["net", "hedge"]))
def test_p12_now_known_now_is_what_the_projections_and_their_views_hold(
    db: Database, data: st.DataObject, method: str, netting: str
) -> None:
    calls = data.draw(told(hedge=netting == "hedge"))
    stored, memory = told_twice(db, method, netting, calls)
    now = moment(None, None, at(90))
    check(stored, memory, now)
    with db.transaction(read_only=True, isolation="repeatable read") as tx:
        known = asof.books(tx, [stored.book.book_id], now)
        found = asof.positions(tx, known, now, Selection(rows_max=100))
        unfolded = asof.unfold_all(tx, known, now, [held.place for held in found])
    positions = sorted((one.position for one in unfolded.values()), key=lambda one: (one.opened_at, one.position_id))
    assert [(one, one.lots) for one in positions] == [
        (with_notional(position, one), position.lots) for position, one in zip(stored.positions, positions, strict=True)
    ]
    assert known[stored.book.book_id].seq == memory.memory.head.seq


def with_notional(position: Position, other: Position) -> Position:
    """``notional_open`` is no column."""
    return replace(position, notional_open=other.notional_open)
