"""Laws of delivery (P2, P3, P4, P10): order, batching and repetition change nothing; a correction is another history."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fillbook.ledger import rebuild
from fillbook.ledger.model import AdjustmentVersion, FillVersion
from tests.support.ledger import MemoryWorld
from tests.support.ledger_histories import (
    METHODS,
    Split,
    batches,
    broker_book,
    delivered,
    deliveries,
    facts,
    half,
    prices,
    quantities,
    quarter,
)


@quarter
@given(data=st.data(), method=st.sampled_from(METHODS))
def test_p2_any_order_and_any_batching_give_the_same_state(data: st.DataObject, method: str) -> None:
    history = data.draw(deliveries())
    expected = delivered(history, method)
    world = MemoryWorld(broker_book(method))
    for batch in data.draw(batches(history)):
        world.deliver(batch)
    assert world.state_hash == expected.state_hash
    assert world.parked == expected.parked


@quarter
@given(data=st.data(), method=st.sampled_from(METHODS))
def test_p2_a_split_entered_at_any_moment_gives_the_same_state(data: st.DataObject, method: str) -> None:
    history = data.draw(deliveries(8))
    split = Split(data.draw(st.sampled_from([(2, 1), (1, 7), (3, 2)])), data.draw(st.integers(0, 8)))
    expected = delivered([*history, split], method)
    early = data.draw(st.integers(0, len(history)))
    order = [*data.draw(st.permutations(history))]
    assert delivered([*order[:early], split, *order[early:]], method).state_hash == expected.state_hash


@half
@given(data=st.data())
def test_p3_delivering_any_subset_again_changes_nothing(data: st.DataObject) -> None:
    history = data.draw(deliveries())
    world = delivered(history)
    before = (world.state_hash, world.chain_head, len(world.events))
    again = data.draw(st.lists(st.sampled_from(history), max_size=20))
    for fill in again:
        assert [outcome.status for outcome in world.deliver([fill])] == ["duplicate"]
    assert (world.state_hash, world.chain_head, len(world.events)) == before


@quarter
@given(data=st.data(), method=st.sampled_from(METHODS))
def test_p4_replaying_the_journal_gives_both_hashes_again(data: st.DataObject, method: str) -> None:
    history = data.draw(deliveries())
    world = MemoryWorld(broker_book(method))
    for batch in data.draw(batches(history)):
        world.deliver(batch)
    world.split((4, 1), data.draw(st.integers(0, 8)))
    rows: list[FillVersion | AdjustmentVersion] = [row for versions in world.memory.journal.values() for row in versions]
    rows += [row for versions in world.memory.adjustments.values() for row in versions]
    again = rebuild.replay(world.memory.head, sorted(rows, key=lambda row: row.seq))
    assert again.head.chain_head == world.memory.head.chain_head
    assert again.versions == world.memory.versions
    assert again.positions == world.memory.positions
    assert again.updated_seq == world.memory.updated_seq
    assert again.lots == world.memory.lots
    assert again.parked == world.parked


@quarter
@given(data=st.data(), method=st.sampled_from(METHODS))
def test_p2_p4_p11_hold_in_hedging_books_too(data: st.DataObject, method: str) -> None:
    history = data.draw(deliveries(hedge=True))
    expected, world = MemoryWorld(broker_book(method, "hedge")), MemoryWorld(broker_book(method, "hedge"))
    expected.deliver(history)
    for batch in data.draw(batches(history)):
        world.deliver(batch)
    assert (world.state_hash, world.parked) == (expected.state_hash, expected.parked)
    rows = [row for versions in world.memory.journal.values() for row in versions]
    again = rebuild.replay(world.memory.head, sorted(rows, key=lambda row: row.seq))
    assert again.head.chain_head == world.memory.head.chain_head
    opened = [(position.instrument, position.direction) for position in world.positions if position.status == "OPEN"]
    assert len(opened) == len(set(opened))


@half
@given(data=st.data(), method=st.sampled_from(METHODS))
def test_p10_a_bust_is_a_history_without_the_fill(data: st.DataObject, method: str) -> None:
    history = data.draw(facts())
    gone = data.draw(st.sampled_from(history))
    world = delivered([*history, replace(gone, is_bust=True, cause="bust")], method)
    assert world.state_hash == delivered([fill for fill in history if fill is not gone], method).state_hash


@half
@given(data=st.data(), method=st.sampled_from(METHODS))
def test_p10_a_correction_is_a_history_with_the_corrected_fill(data: st.DataObject, method: str) -> None:
    history = data.draw(facts())
    wrong = data.draw(st.sampled_from(history))
    right = replace(wrong, price=data.draw(prices), quantity=data.draw(quantities))
    world = delivered([*history, replace(right, source_revision=2, cause="revision")], method)
    expected = delivered([right if fill is wrong else fill for fill in history], method)
    assert world.state_hash == expected.state_hash
