"""Accounts that answer slowly or never: what they take from the others.

A service that never answers is waited for thirty seconds, and once more; to see a fleet of ten thousand through that would take
minutes. Where a figure says 1:10, both the fleet and that patience are a tenth (and a shard is a tenth of 500 accounts), which
leaves sessions, accounts a second and everything else as they are; where it tells seconds, it tells them as measured.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from fillbook.runtime.sql import statement
from tests.bench.mt5_broker import Account, Brokers, brokers
from tests.bench.mt5_place import House, Place, Ran
from tests.bench.report import Stage, publish

FLEET, PATIENCE_SECONDS, RETRIES = 10_000, 30, 2
SHARES = {True: 10, False: 30}
SILENT_SHARE, SILENT_FEW = 0.05, 0.01
SESSIONS_SILENT, SESSIONS_SLOW, SESSIONS_TAIL = 200, 120, 100
WINDOW = 20
SLOW_SECONDS, INLINE_SECONDS, INLINE_ACCOUNTS, INLINE_GOAL = 3.5, 2.15, 25, 12.45
SLOW_ROUNDS, SLOW_SHARDS = {True: 4, False: 1}, (50, 40)
PER_FIVE_MINUTES, HEALTHY = 10_000, 1.2
SEED = 4
ENDED = statement(
    "select max(completed_at) as at from mt5.sync_logs where run_id = :run_id::uuid and account_id <> all (:silent::uuid[])"
)
SHARDS = statement(
    "select count(*) filter (where account_ids && :silent::uuid[])::integer as held from mt5.sync_shards"
    " where run_id = :run_id::uuid"
)
FORGET = statement("delete from mt5.service_breakers")


def measure(here: Place, latency: float, *, is_large: bool) -> None:
    """Publish the stage."""
    stage = Stage(name="accounts, slow and silent")
    share = SHARES[is_large]
    with brokers(here.clock, here.now()) as found:
        found.grow(max(FLEET // share, _slow_accounts(found, SLOW_ROUNDS[is_large])), here.now())
        house = here.house("trouble", found)
        house.link(found.accounts[: FLEET // share])
        for _ in range(2):
            house.sharded(5)
        found.answer_after(latency)
        _few_silent(stage, house, found, latency)
        _many_silent(stage, house, found, latency, share)
        _slow(stage, here, found, SLOW_ROUNDS[is_large])
        _inline(stage, here, found)
    stage.note(f"1:{share}: {FLEET // share:,} accounts, of which some are never answered, waited for {_patience(share)} s twice")
    stage.note(
        "a worker of shards takes one message at a time and keeps it until its last account has ended: with shards of 50 a silent"
        " account holds up the twenty places of its process, with larger ones it holds one of them"
    )
    publish(stage)


def _patience(share: int) -> int:
    return max(PATIENCE_SECONDS // share, 1)


def _settings(share: int, shard: int, window: int = WINDOW) -> dict[str, str]:
    patience = str(_patience(share))
    return {
        "MT5_REQUEST_TIMEOUT_SECONDS": patience,
        "MT5_CONNECT_TIMEOUT_SECONDS": patience if int(patience) < 5 else "5",
        "MT5_SHARD_ACCOUNTS_MAX": str(shard),
        "MT5_SHARD_WINDOW": str(window),
    }


def _slow_accounts(found: Brokers, rounds: int) -> int:
    """As many as the servers need for full shards."""
    servers = {server for broker in found.all for server in broker.servers}
    return -(-SESSIONS_SLOW // WINDOW * rounds // len(servers)) * max(SLOW_SHARDS) * len(servers)


def _chosen(house: House, share: float) -> list[Account]:
    linked = [one for one in house.brokers.accounts if one.name in house.accounts]
    return random.Random(SEED).sample(linked, round(len(linked) * share))


def _run(house: House, workers: int, settings: Mapping[str, str], silent: Sequence[Account]) -> Ran:
    """A run with nothing left of what the one before said of the service."""
    with house.db.transaction() as tx:
        tx.execute(FORGET)
    before = house.runs_by_account()
    ran = house.sharded(workers, **settings)
    house.check(ran.run_id, before, silent=len(silent))
    return ran


def _healthy_seconds(house: House, ran: Ran, silent: Sequence[Account]) -> float:
    """From the call to the end of the last account that answers."""
    ids = [house.accounts[one.name] for one in silent]
    (row,) = house.query(ENDED, run_id=ran.run_id, silent=ids)
    at: datetime = row["at"]
    return (at - ran.begun_at).total_seconds()


def _few_silent(stage: Stage, house: House, found: Brokers, latency: float) -> None:
    """One of a hundred is silent: when the others have ended, with shards as they are cut by default, and with large ones."""
    silent = _chosen(house, SILENT_FEW)
    house.serve(sessions=SESSIONS_TAIL // len(found.all))
    for what, workers, settings in (
        ("shards of 50, 5 processes, 20 in flight", 5, _settings(10, 50)),
        ("shards of 250, 4 processes, 25 in flight", 4, _settings(10, 250, 25)),
    ):
        found.answer_after(latency)
        alone = _healthy_seconds(house, _run(house, workers, settings, ()), ())
        found.hang(silent)
        beside = _healthy_seconds(house, _run(house, workers, settings, silent), silent)
        _forget_failures(house)
        label = f"{len(silent)} silent of {len(house.accounts):,}"
        stage.add(f"{label}, {what}: the healthy ones, nobody silent", [alone], "s")
        stage.add(f"{label}, {what}: the healthy ones", [beside], "s")
        stage.at_most(f"{label}, {what}: the healthy ones, beside silent ones / alone", [beside / alone], HEALTHY)
        house.dismiss()
    found.answer_after(latency)


def _many_silent(stage: Stage, house: House, found: Brokers, latency: float, share: int) -> None:
    """One of twenty is silent, at 200 sessions: ten processes, twenty in flight each."""
    silent = _chosen(house, SILENT_SHARE)
    house.serve(sessions=SESSIONS_SILENT // len(found.all))
    found.hang(silent)
    workers = SESSIONS_SILENT // WINDOW
    ran = _run(house, workers, _settings(share, max(500 // share, 1)), silent)
    stage.at_least(f"5 % silent, 1:{share}, shards of 500", [ran.per_five_minutes], PER_FIVE_MINUTES, "accounts/5 min")
    held = RETRIES * _patience(share) * SILENT_SHARE + (1 - SILENT_SHARE) * 2 * latency / 1000
    stage.add(
        f"limit: 5 % silent, 1:{share}, {SESSIONS_SILENT} sessions always busy", [SESSIONS_SILENT / held * 300], "accounts/5 min"
    )
    _forget_failures(house)
    house.dismiss()
    ran = _run(house, 1, _settings(PATIENCE_SECONDS, 50), silent)
    ids = [house.accounts[one.name] for one in silent]
    (shards,) = house.query(SHARDS, run_id=ran.run_id, silent=ids)
    # a shard with a silent account is held as long as that one: as many tries, thirty seconds each
    more = shards["held"] * RETRIES * (PATIENCE_SECONDS - _patience(PATIENCE_SECONDS))
    rate = workers * ran.accounts / (ran.seconds + more) * 300
    stage.at_least("5 % silent, shards of 50, as of 30 s of patience", [rate], PER_FIVE_MINUTES, "accounts/5 min")
    _forget_failures(house)
    house.dismiss()
    found.answer_after(latency)


def _forget_failures(house: House) -> None:
    """What silent accounts left: they are asked again like all others."""
    with house.db.transaction() as tx:
        tx.execute(
            statement(
                "update mt5.trading_accounts set sync_failure_count = 0, last_error_code = null, last_connection_error = null,"
                " connection_status = 'connected' where sync_failure_count > 0"
            )
        )


def _slow(stage: Stage, here: Place, found: Brokers, rounds: int) -> None:
    """3.5 s an account at 120 sessions: as many accounts as fill every session so many times."""
    for size in SLOW_SHARDS:
        house = here.house(f"slow_{size}", found)
        processes = SESSIONS_SLOW // WINDOW
        house.link(_full_shards(found, size, processes * rounds))
        house.serve(sessions=SESSIONS_SLOW // len(found.all))
        found.answer_after(0)
        settings = {"MT5_SHARD_ACCOUNTS_MAX": str(size), "MT5_INLINE_ACCOUNTS_MAX": "0"}
        for _ in range(2):
            house.sharded(processes, **settings)
        found.answer_after(SLOW_SECONDS / 2 * 1000)
        before = house.runs_by_account()
        ran = house.sharded(processes, **settings)
        house.check(ran.run_id, before)
        label = f"{SLOW_SECONDS} s an account, {SESSIONS_SLOW} sessions, shards of {size}"
        stage.at_least(f"{label}, {ran.accounts} accounts", [ran.per_five_minutes], PER_FIVE_MINUTES, "accounts/5 min")
        house.dismiss()
    most = SESSIONS_SLOW / SLOW_SECONDS * 300
    stage.add(f"limit: {SLOW_SECONDS} s an account, {SESSIONS_SLOW} sessions always busy", [most], "accounts/5 min")


def _full_shards(found: Brokers, size: int, count: int) -> list[Account]:
    """Accounts that make ``count`` full shards, in turn of the servers."""
    servers: dict[str, list[Account]] = {}
    for one in found.accounts:
        servers.setdefault(one.server, []).append(one)
    chosen: list[Account] = []
    for number in range(count):
        accounts: list[Account] = servers[sorted(servers)[number % len(servers)]]
        chosen += accounts[:size]
        del accounts[:size]
    return chosen


def _inline(stage: Stage, here: Place, found: Brokers) -> None:
    """The specification's example: 25 accounts of 2.15 s each, in batches of ten."""
    house = here.house("inline_25", found)
    house.link(found.accounts[:INLINE_ACCOUNTS])
    found.answer_after(0)
    for _ in range(2):
        house.inline()
    found.answer_after(INLINE_SECONDS / 2 * 1000)
    before: dict[str, Any] = house.runs_by_account()
    ran = house.inline()
    house.check(ran.run_id, before)
    stage.at_most(f"{INLINE_ACCOUNTS} accounts, {INLINE_SECONDS} s each, inline", [ran.seconds], INLINE_GOAL, "s")
    found.answer_after(0)
    house.dismiss()
