"""Accounts are cut into shards whole, by instance and server; a supply claims them just ahead of need."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fillbook.mt5.dispatch import Load, cut
from fillbook.mt5.records import Claims, Unclaimed
from fillbook.mt5.runrecords import Due
from fillbook.mt5.supply import BLOCK, Supply

NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)


def due(number: int, instance: str = "default", server: str = "S") -> Due:
    at = NOW - timedelta(seconds=number)
    return Due(
        account_id=f"{number:08}", tenant_id="desk", server=server, instance_key=instance, shard=number % 1024, next_due_at=at
    )


groups = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["S", "T", "U"])), max_size=200)


@given(given=groups, size=st.integers(1, 20), first_no=st.integers(0, 50))
def test_shards_hold_every_account_once_in_its_order_and_none_mixes_servers(
    given: list[tuple[str, str]], size: int, first_no: int
) -> None:
    accounts = [due(number, *group) for number, group in enumerate(given)]
    load = Load()
    shards = list(cut("r", load.counted(accounts), size=size, first_no=first_no))
    by_id = {one.account_id: one for one in accounts}
    assert sorted(name for shard in shards for name in shard.account_ids) == sorted(by_id)
    assert [shard.shard_no for shard in shards] == list(range(first_no, first_no + len(shards)))
    for shard in shards:
        assert 1 <= len(shard.account_ids) <= size
        assert len({(by_id[name].instance_key, by_id[name].server) for name in shard.account_ids}) == 1
        assert list(shard.account_ids) == sorted(shard.account_ids)
    full = {group: given.count(group) for group in set(given)}
    assert len(shards) == sum(-(-count // size) for count in full.values())
    assert sum(load.due.values()) == len(accounts)
    assert all(len(load.sample(key)) <= 100 for key in load.due)


@given(count=st.integers(0, 60), drawn=st.integers(0, 60))
def test_a_supply_claims_no_block_before_it_is_needed_and_knows_what_is_left(count: int, drawn: int) -> None:
    ids = [f"{number:08}" for number in range(count)]
    blocks: list[int] = []

    def claim(block: list[str]) -> Claims:
        blocks.append(len(block))
        return Claims(unclaimed=tuple(Unclaimed(account_id=name, reason="done") for name in block))

    supply = Supply.of(ids, claim)
    assert blocks == []
    assert supply.left == tuple(ids)
    assert next(supply, None) is None
    assert all(size <= BLOCK for size in blocks)
    assert sum(blocks) == count
    assert [one.account_id for one in supply.unclaimed] == ids
    assert (supply.left, supply.unused) == ((), ())
    assert next(supply, None) is None, f"over for good, also after {drawn}"


def test_a_supply_asks_for_more_when_its_own_are_drawn_and_never_again_after_none() -> None:
    blocks: list[list[str]] = []
    further = [["b", "c"], [], ["never"]]

    def claim(block: list[str]) -> Claims:
        blocks.append(block)
        return Claims(unclaimed=tuple(Unclaimed(account_id=name, reason="done") for name in block))

    supply = Supply.of(["a"], claim, more=lambda: further.pop(0))
    assert next(supply, None) is None
    assert next(supply, None) is None
    assert (blocks, further) == ([["a"], ["b", "c"]], [["never"]])
