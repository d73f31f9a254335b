"""Law P12: as_of(T, K) = fold of the journal rows recorded by K and executed by T, over generated histories."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fillbook.ledger.model import Book
from fillbook.ledger.unfolding import unfold
from tests.support.ledger import MemoryWorld, at
from tests.support.ledger_histories import METHODS, broker_book
from tests.support.ledger_moments import Call, booked, folded, moments, of_instrument, splits, tell, told


def check(book: Book, calls: list[Call], data: st.DataObject) -> None:
    world = MemoryWorld(book)
    tell(world, calls)
    as_of, known_as_of = data.draw(moments(calls))
    expected = folded(book, world.memory, as_of, known_as_of)
    found = {}
    lots = {}
    for actions in booked(world.memory, as_of, known_as_of):
        in_force = of_instrument(splits(world.memory, as_of, known_as_of), actions[0].action.instrument)
        one = unfold(book, actions, in_force)
        found[one.position.position_id] = one.position
        lots.update((lot.lot_id, lot) for lot in one.lots)
    assert found == expected.positions
    assert lots == expected.lots


@given(data=st.data(), method=st.sampled_from(METHODS), calls=told())
def test_p12_history_at_any_moment_gives_the_fold_of_the_journal_of_then(
    data: st.DataObject, method: str, calls: list[Call]
) -> None:
    check(broker_book(method), calls, data)


@given(data=st.data(), method=st.sampled_from(METHODS), calls=told(hedge=True))
def test_p12_holds_in_hedging_books_too(data: st.DataObject, method: str, calls: list[Call]) -> None:
    check(broker_book(method, "hedge"), calls, data)


@given(method=st.sampled_from(METHODS), calls=told())
def test_p12_now_known_now_is_what_the_projections_hold(method: str, calls: list[Call]) -> None:
    world = MemoryWorld(broker_book(method))
    tell(world, calls)
    now = at(60)
    for actions in booked(world.memory, now, now):
        in_force = of_instrument(splits(world.memory, now, now), actions[0].action.instrument)
        one = unfold(world.book, actions, in_force)
        assert one.position == world.memory.positions[one.position.position_id]
        assert {lot.lot_id: lot for lot in one.lots} == {
            lot.lot_id: lot
            for lot in world.memory.lots.values()
            if lot.position_id == one.position.position_id and lot.status != "VOID"
        }
