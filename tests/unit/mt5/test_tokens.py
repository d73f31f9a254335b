"""Rate tokens: how many there are, when they come back, and how a process takes them one by one."""

from __future__ import annotations

import pytest

from fillbook.mt5 import tokens
from fillbook.mt5.tokens import Block, Reserved
from fillbook.mt5.words import ContractKind
from tests.support.mt5_tokens import Table


@pytest.mark.parametrize(
    ("set_here", "told", "contract", "limit"),
    [
        (60, 200, ContractKind.V1, 60),
        (None, 200, ContractKind.V0, 200),
        (None, None, ContractKind.V0, 100),
        (None, None, ContractKind.V1, None),
    ],
)
def test_a_limit_is_what_is_set_else_what_is_told_else_that_of_the_contract(
    set_here: int | None, told: int | None, contract: ContractKind, limit: int | None
) -> None:
    assert tokens.published_limit(set_here, told, contract) == limit


@pytest.mark.parametrize(("limit", "size"), [(100, 80), (1, 1), (2, 1), (99, 79), (1000, 800)])
def test_a_bucket_holds_eighty_percent_rounded_down(limit: int, size: int) -> None:
    assert tokens.bucket(limit) == size


@pytest.mark.parametrize(("size", "block"), [(80, 10), (800, 10), (79, 9), (8, 1), (1, 1)])
def test_tokens_are_reserved_in_blocks_of_ten_fewer_of_a_small_bucket(size: int, block: int) -> None:
    assert tokens.block(size) == block


def test_a_spent_token_returns_sixty_seconds_later() -> None:
    spent = {100: 80}
    assert tokens.given(spent, 80, 10, 160.9).tokens == 0
    assert tokens.given(spent, 80, 10, 160.9).next_at == 161
    assert tokens.given(spent, 80, 10, 161.0).tokens == 10


def test_a_block_stands_in_the_last_second_of_its_life_until_it_is_accounted_for() -> None:
    reserved = tokens.given({}, 80, 10, 100.7)
    assert reserved == Reserved(tokens=10, held_second=105, next_at=100.7)
    block = Block(reserved)
    assert [block.take(at) for at in (100.8, 101.2, 105.99, 106.0)] == [True, True, True, False]
    assert block.moves() == {100: 1, 101: 1, 105: 1 - 10}


def test_a_block_holds_no_more_than_it_got() -> None:
    block = Block(Reserved(tokens=2, held_second=105, next_at=0))
    assert [block.take(100.0) for _ in range(3)] == [True, True, False]
    assert block.moves() == {100: 2, 105: -2}


@pytest.mark.parametrize(("asked", "until"), [(None, 1060), (2, 1002), (0, 1001), (86_400, 1900)])
def test_a_service_that_said_429_is_left_alone_as_long_as_it_asks_within_reason(asked: int | None, until: float) -> None:
    assert tokens.pause_until(1000.0, asked) == until
    second = tokens.pause_second(until)
    assert tokens.given({second: tokens.EMPTIED}, 80, 10, until - 0.01).tokens == 0
    assert tokens.given({second: tokens.EMPTIED}, 80, 10, until).tokens == 10


def test_ten_calls_cost_one_reservation_and_the_bucket_is_the_limit() -> None:
    table = Table(80)
    allowance = table.allowance()
    assert all(allowance.take(1000.5) for _ in range(80))
    assert table.reservations == 8
    assert not allowance.take(1000.5)


def test_whoever_finds_no_token_waits_for_it_until_the_deadline_but_not_in_vain() -> None:
    table = Table(5)
    allowance = table.allowance()
    assert [allowance.take(1030.0) for _ in range(6)] == [True] * 5 + [False]
    assert table.at == 1000
    assert allowance.take(1090.0)
    assert table.at == pytest.approx(1061)


def test_what_a_process_did_not_use_is_given_back_at_the_end() -> None:
    table = Table(80)
    allowance = table.allowance()
    assert allowance.take(1001.0)
    assert sum(table.taken.values()) == 10
    allowance.settle()
    assert {second: count for second, count in table.taken.items() if count} == {1000: 1}


def test_after_a_429_no_process_takes_a_token_until_it_may() -> None:
    table = Table(80)
    ours, theirs = table.allowance(), table.allowance()
    assert ours.take(1001.0)
    ours.refused(20)
    assert not ours.take(1019.9)
    assert not theirs.take(1019.9)
    assert ours.take(1025.0)
    assert table.at == pytest.approx(1020)


def test_a_reservation_that_fails_leaves_the_old_block_where_it_stood() -> None:
    table = Table(10)
    allowance = table.allowance()
    assert all(allowance.take(1001.0) for _ in range(10))

    def fail(*_: object, **__: object) -> Reserved:
        raise RuntimeError("no database")

    working, table.reserve = table.reserve, fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        allowance.take(1001.0)
    table.reserve = working  # type: ignore[method-assign]
    assert not allowance.take(1060.0)
    assert allowance.take(1100.0)
    assert table.at == pytest.approx(1066)
