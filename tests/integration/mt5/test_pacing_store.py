"""Pacing across processes: what two connections do at once is never more than one of them may do alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from fillbook.mt5 import pacing_store, tokens
from fillbook.mt5.breaker import Evidence, Kind, Row, Rules
from fillbook.mt5.words import BreakerState, Code
from fillbook.runtime.db import Database, Tx
from tests.conftest import OpenDatabase

NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
EPOCH = NOW.timestamp()
RULES = Rules()
KEY = "broker:Alpha-Live"

Query = Callable[..., list[dict[str, Any]]]


def at_once(open_database: OpenDatabase, count: int, work: Callable[[Tx, int], Any], processes: int = 2) -> list[Any]:
    """Do ``work`` in ``count`` transactions of each of some processes, all begun at the same time."""
    barrier = threading.Barrier(processes, timeout=60)

    def process(number: int) -> list[Any]:
        database = open_database(pool_size=1)
        barrier.wait()
        found = []
        for _ in range(count):
            with database.transaction() as tx:
                found.append(work(tx, number))
        return found

    with ThreadPoolExecutor(processes) as pool:
        return [one for found in pool.map(process, range(processes)) for one in found]


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_two_processes_that_reserve_at_once_never_get_more_than_the_bucket_holds(
    open_database: OpenDatabase, query: Query
) -> None:
    given = at_once(
        open_database, 10, lambda tx, number: pacing_store.reserve(tx, "default", {}, size=75, wanted=10, now=EPOCH + number / 10)
    )
    assert sum(one.tokens for one in given) == 75
    assert sorted(one.tokens for one in given) == [0] * 12 + [5] + [10] * 7
    assert query("select sum(spent)::int as spent from mt5.rate_tokens") == [{"spent": 75}]


def test_what_was_not_used_comes_back_at_once_and_what_was_used_sixty_seconds_later(db: Database) -> None:
    def reserve(moves: dict[int, int], seconds: float) -> tokens.Reserved:
        with db.transaction() as tx:
            return pacing_store.reserve(tx, "default", moves, size=10, wanted=10, now=EPOCH + seconds)

    block = tokens.Block(reserve({}, 0))
    assert all(block.take(EPOCH + second) for second in (0, 1, 1))
    assert reserve({}, 2).tokens == 0
    assert reserve(block.moves(), 2).tokens == 7
    assert reserve({}, 60.9).tokens == 0
    assert reserve({}, 60.9).next_at == EPOCH + 61
    assert reserve({}, 61).tokens == 1
    assert reserve({}, 62).tokens == 2


def test_instances_do_not_share_their_tokens(db: Database) -> None:
    with db.transaction() as tx:
        assert pacing_store.reserve(tx, "one", {}, size=10, wanted=10, now=EPOCH).tokens == 10
        assert pacing_store.reserve(tx, "two", {}, size=10, wanted=10, now=EPOCH).tokens == 10


def test_a_429_empties_the_bucket_for_everybody_until_it_is_over(db: Database) -> None:
    with db.transaction() as tx:
        pacing_store.pause(tx, "default", until=EPOCH + 20)
        pacing_store.pause(tx, "default", until=EPOCH + 20)
        assert pacing_store.reserve(tx, "default", {}, size=80, wanted=10, now=EPOCH + 19.9).tokens == 0
        assert pacing_store.reserve(tx, "default", {}, size=80, wanted=10, now=EPOCH + 20).tokens == 10


def test_a_token_that_was_forgotten_meanwhile_is_taken_back_from_nobody(db: Database, query: Query) -> None:
    with db.transaction() as tx:
        assert (
            pacing_store.reserve(tx, "default", {int(EPOCH): -10, int(EPOCH) + 1: 2}, size=80, wanted=10, now=EPOCH + 1).tokens
            == 10
        )
    assert query("select sum(spent)::int as spent, count(*)::int as seconds from mt5.rate_tokens") == [
        {"spent": 12, "seconds": 2}
    ]


# --- breakers ---------------------------------------------------------------------------------------------------------


def error(started: float = 0, token: int | None = None) -> Evidence:
    return Evidence(
        kind=Kind.OWN_ERROR, started_at=NOW + timedelta(seconds=started), code=Code.BROKER_UNAVAILABLE, probe_token=token
    )


def good(started: float = 0, token: int | None = None) -> Evidence:
    return Evidence(kind=Kind.GOOD, started_at=NOW + timedelta(seconds=started), probe_token=token)


def learn(tx: Tx, *evidence: Evidence, key: str = KEY, seconds: float = 1) -> pacing_store.Learned:
    now = NOW + timedelta(seconds=seconds)
    return pacing_store.learn(tx, {key: evidence}, one_server_keys=frozenset({key}), now=now, rules=RULES)


def test_errors_of_two_processes_add_up_and_the_opening_is_told_once(open_database: OpenDatabase, query: Query) -> None:
    found = at_once(open_database, 3, lambda tx, _: learn(tx, error()))
    assert [len(one.changes) for one in found].count(1) == 1
    [opened] = [change for one in found for change in one.changes]
    assert opened.is_opening
    [row] = query("select state::text as state, consecutive, recent, last_error_code from mt5.service_breakers")
    assert row == {"state": "open", "consecutive": 6, "recent": "! ! ! ! ! !", "last_error_code": "broker_unavailable"}


def test_a_row_survives_the_way_there_and_back(db: Database) -> None:
    with db.transaction() as tx:
        learned = learn(tx, good(0.25), *[error(1)] * 5)
    with db.transaction() as tx:
        assert pacing_store.breakers(tx, [KEY, "service:unknown"]) == learned.rows
    [row] = learned.rows
    assert (row.state, row.success_started_at) == (BreakerState.OPEN, NOW + timedelta(seconds=0.25))


def test_of_all_processes_one_gets_the_probe_and_its_success_closes_for_all(open_database: OpenDatabase, db: Database) -> None:
    with db.transaction() as tx:
        learn(tx, *[error()] * 5)
        assert pacing_store.claim_probe(tx, KEY, now=NOW + timedelta(seconds=60), rules=RULES) is None
    later = NOW + timedelta(seconds=61)
    claims = at_once(open_database, 1, lambda tx, _: pacing_store.claim_probe(tx, KEY, now=later, rules=RULES), processes=4)
    [probe] = [one for one in claims if one is not None]
    assert (probe.state, probe.probe_token) == (BreakerState.HALF_OPEN, 1)
    with db.transaction() as tx:
        [change] = learn(tx, good(61, probe.probe_token), seconds=62).changes
        assert not change.is_opening
        after = pacing_store.claim_probe(tx, KEY, now=later, rules=RULES)
    assert after is not None
    assert (after.state, after.probe_token) == (BreakerState.CLOSED, 1)


def test_a_probe_that_fails_is_no_second_opening(db: Database) -> None:
    with db.transaction() as tx:
        learn(tx, *[error()] * 5)
        probe = pacing_store.claim_probe(tx, KEY, now=NOW + timedelta(seconds=61), rules=RULES)
        assert probe is not None
        failed = learn(tx, error(61, probe.probe_token), seconds=62)
    assert failed.changes == ()
    assert (failed.rows[0].state, failed.rows[0].cooldown_seconds) == (BreakerState.OPEN, 120)


def test_a_key_nobody_knows_needs_no_probe(db: Database) -> None:
    with db.transaction() as tx:
        assert pacing_store.claim_probe(tx, KEY, now=NOW, rules=RULES) == Row(key=KEY)
        nothing = pacing_store.learn(tx, {}, one_server_keys=frozenset(), now=NOW, rules=RULES)
    assert nothing == pacing_store.Learned(rows=(), changes=())


def test_keys_in_opposite_orders_do_not_lock_each_other_out(open_database: OpenDatabase, query: Query) -> None:
    keys = ["broker:A", "broker:B", "service:default"]

    def both(tx: Tx, number: int) -> object:
        told = {key: [good()] for key in (keys if number else reversed(keys))}
        return pacing_store.learn(tx, told, one_server_keys=frozenset(), now=NOW, rules=RULES)

    at_once(open_database, 15, both)
    assert query(
        "select count(*)::int as n from mt5.service_breakers where recent = '+ + + + + + + + + + + + + + + + + + + +'"
    ) == [{"n": 3}]


# --- sessions ---------------------------------------------------------------------------------------------------------


def claim(tx: Tx, holder: str, wanted: int, *, most: int = 10, lease: int = 240) -> frozenset[int]:
    return pacing_store.claim_slots(tx, "default", holder, sessions_max=most, wanted=wanted, lease_seconds=lease)


def test_processes_that_claim_at_once_share_the_sessions_and_never_one_of_them(open_database: OpenDatabase) -> None:
    holders = [str(uuid4()) for _ in range(4)]
    found = at_once(open_database, 3, lambda tx, number: claim(tx, holders[number], 2), processes=4)
    slots = [slot for one in found for slot in one]
    assert sorted(slots) == list(range(1, 11))  # one that another is just taking is passed over, not waited for


def test_a_lease_that_ran_out_is_free_for_others_and_lost_to_its_holder(db: Database) -> None:
    first, second = str(uuid4()), str(uuid4())
    with db.transaction() as tx:
        assert len(claim(tx, first, 10, lease=0)) == 10
    with db.transaction() as tx:
        assert pacing_store.renew_slots(tx, "default", first, sessions_max=10, lease_seconds=240) == frozenset()
        assert len(claim(tx, second, 4)) == 4
        assert pacing_store.release_slots(tx, "default", first, count=10) == 6
        assert len(pacing_store.renew_slots(tx, "default", second, sessions_max=10, lease_seconds=240)) == 4


def test_sessions_are_given_back_and_others_take_them(db: Database) -> None:
    first, second = str(uuid4()), str(uuid4())
    with db.transaction() as tx:
        assert claim(tx, first, 20) == set(range(1, 11))
        assert claim(tx, second, 1) == frozenset()
        assert pacing_store.release_slots(tx, "default", first, count=3) == 3
        assert claim(tx, second, 20) == {8, 9, 10}


def test_a_service_with_fewer_sessions_than_before_is_asked_by_fewer(db: Database) -> None:
    first, second = str(uuid4()), str(uuid4())
    with db.transaction() as tx:
        claim(tx, first, 10)
        assert len(pacing_store.renew_slots(tx, "default", first, sessions_max=4, lease_seconds=240)) == 4
        pacing_store.release_slots(tx, "default", first, count=10)
        assert claim(tx, second, 10, most=4) == {1, 2, 3, 4}
