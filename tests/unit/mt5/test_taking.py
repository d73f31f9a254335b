"""The shards of one worker: taken when wanted, each over once, with its own accounts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fillbook.mt5.runrecords import Shard
from fillbook.mt5.taking import Hand

RUN = "00000000-0000-4000-8000-000000000001"


def shard(number: int, *account_ids: str) -> Shard:
    return Shard(run_id=RUN, shard_no=number, instance_key="default", account_ids=account_ids)


def numbers(found: list[object]) -> list[int]:
    return [one.shard.shard_no for one in found]  # type: ignore[attr-defined]


def test_a_hand_keeps_to_its_own_shard_where_nothing_is_taken() -> None:
    hand = Hand(shard(7, "a"), monotonic=lambda: 1.5)
    assert (hand.first.begun, hand.first.has("a"), hand.first.has("b")) == (1.5, True, False)
    assert hand.take() is None
    assert numbers([*hand.over()]) == []
    hand.ended("a")
    assert (numbers([*hand.over()]), hand.over(), hand.rest()) == ([7], [], [])


def test_an_account_that_is_named_by_two_shards_is_open_in_the_one_that_works_it() -> None:
    hand = Hand(shard(0, "a", "b"), monotonic=lambda: 0.0, take=iter([shard(1, "b", "c"), None]).__next__)
    hand.take()
    hand.missed(["b"])
    hand.ended("a")
    hand.ended("c")
    assert numbers([*hand.over()]) == [1]
    hand.ended("b")
    assert numbers([*hand.over()]) == [0]


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=6), data=st.data())
def test_each_shard_is_over_once_with_the_last_of_its_accounts_or_with_the_rest(sizes: list[int], data: st.DataObject) -> None:
    parts = [shard(number, *(f"{number}-{place}" for place in range(size))) for number, size in enumerate(sizes)]
    ahead = iter([*parts[1:], None])
    hand = Hand(parts[0], monotonic=lambda: 0.0, take=lambda: next(ahead))
    open_ = {part.shard_no: {*part.account_ids} for part in parts}
    taken, over = [0], list[int]()
    while True:
        in_flight = sorted(name for number in taken for name in open_[number])
        steps = [*in_flight, *(["take"] if len(taken) < len(parts) else [])]
        step = data.draw(st.sampled_from([*steps, "stop"]))
        if step == "stop":
            break
        if step == "take":
            part = hand.take()
            assert part is not None
            taken.append(part.shard_no)
            continue
        hand.ended(step)
        open_[int(step.split("-")[0])].discard(step)
        found = numbers([*hand.over()])
        assert all(not open_[number] for number in found)
        over += found
        assert sorted(over) == [number for number in taken if not open_[number]]
    assert sorted(over + numbers([*hand.rest()])) == taken
