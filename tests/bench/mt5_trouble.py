"""Accounts that answer slowly or never: what they take from the others.

A service that never answers is waited for thirty seconds, and once more; to see ten thousand accounts through that takes minutes.
Where a figure says 1:10, it was measured at a tenth of the accounts with a tenth of the sessions, and every wait took a tenth of
its time: the accounts of five minutes stay as they are, what our own code takes counts ten times as much. Nothing else is scaled.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from fillbook.runtime.sql import statement
from tests.bench.mt5_broker import Account, Brokers, brokers
from tests.bench.mt5_place import ENDS, House, Place, Ran
from tests.bench.report import Stage, publish

PATIENCE_SECONDS, SCALE = 30, 10
FLEET, FLEET_SILENT = 1_000, {True: 1_000, False: 200}
SILENT_SHARE, SILENT_FEW = 0.05, 0.01
SESSIONS_SILENT, SESSIONS_SLOW, SESSIONS_TAIL = 200, 120, 100
WINDOW, SHARD = 20, 40
SLOW_SECONDS, INLINE_SECONDS, INLINE_ACCOUNTS, INLINE_GOAL = 3.5, 2.15, 25, 12.45
SLOW_ROUNDS = 4
PER_FIVE_MINUTES, HEALTHY = 10_000, 1.2
SEED = 4
ENDED = statement(
    "select max(completed_at) as at from mt5.sync_logs where run_id = :run_id::uuid and account_id <> all (:silent::uuid[])"
)
FORGET = statement("delete from mt5.service_breakers")
CALM = statement(
    "update mt5.trading_accounts set sync_failure_count = 0, last_error_code = null, last_connection_error = null,"
    " connection_status = 'connected' where sync_failure_count > 0"
)
DUE = statement("update mt5.account_sync_state set next_due_at = '-infinity'")


def measure(here: Place, latency: float, *, is_large: bool) -> None:
    """Publish the stage."""
    stage = Stage(name="accounts, slow and silent")
    with brokers(here.clock, here.now(), count=1) as found:
        _many_silent(stage, here, found, latency, FLEET_SILENT[is_large])
    with brokers(here.clock, here.now()) as found:
        found.grow(max(FLEET, _slow_accounts(found)) if is_large else INLINE_ACCOUNTS, here.now())
        if is_large:
            _few_silent(stage, here.house("few_silent", found), found, latency)
            _slow(stage, here, found)
        _inline(stage, here, found)
    patience = PATIENCE_SECONDS / SCALE
    stage.note(
        f"1:{SCALE}: {FLEET_SILENT[is_large]:,} accounts, {SESSIONS_SILENT // SCALE} sessions,"
        f" silent ones waited for {patience:g} s twice, {latency / SCALE:g} ms a call;"
        f" a few silent ones: {latency:g} ms a call, {patience:g} s twice"
    )
    stage.note(
        "a silent account holds its own place alone: idle places take the next shard of the run and instance; the last silent"
        " ones are waited for alone, and a worker whose instance lends no session waits although another's shards are queued"
    )
    publish(stage)


def _settings(shard: int, window: int = WINDOW) -> dict[str, str]:
    patience = str(PATIENCE_SECONDS // SCALE)
    return {
        "MT5_REQUEST_TIMEOUT_SECONDS": patience,
        "MT5_CONNECT_TIMEOUT_SECONDS": patience,
        "MT5_SHARD_ACCOUNTS_MAX": str(shard),
        "MT5_SHARD_WINDOW": str(window),
    }


def _slow_accounts(found: Brokers) -> int:
    """As many as the servers need for full shards."""
    servers = {server for broker in found.all for server in broker.servers}
    return -(-SESSIONS_SLOW // WINDOW * SLOW_ROUNDS // len(servers)) * SHARD * len(servers)


def _chosen(house: House, share: float) -> list[Account]:
    linked = [one for one in house.brokers.accounts if one.name in house.accounts]
    return random.Random(SEED).sample(linked, round(len(linked) * share))


def _run(stage: Stage, house: House, work: Callable[[], Ran], silent: Sequence[Account]) -> Ran:
    """A run with nothing left of what the one before found."""
    with house.db.transaction() as tx:
        for text in (FORGET, CALM, DUE):
            tx.execute(text)
    before = house.runs_by_account()
    ran = work()
    others = house.check(ran.run_id, before, silent=len(silent))
    if others:
        ends = house.query(ENDS, run_id=ran.run_id)
        stage.note(f"{others} of the accounts that answer were not synced beside {len(silent)} silent ones: {ends}")
    house.dismiss()
    return ran


def _healthy_seconds(house: House, ran: Ran, silent: Sequence[Account]) -> float:
    """From the call to the end of the last account that answers."""
    ids = [house.accounts[one.name] for one in silent]
    (row,) = house.query(ENDED, run_id=ran.run_id, silent=ids)
    at: datetime = row["at"]
    return (at - ran.begun_at).total_seconds()


def _few_silent(stage: Stage, house: House, found: Brokers, latency: float) -> None:
    """One of a hundred is silent: when the others have ended, with shards as they are cut by default, and with large ones."""
    _settle(house, found.accounts[:FLEET])
    silent = _chosen(house, SILENT_FEW)
    house.serve(sessions=SESSIONS_TAIL // len(found.all))
    for what, workers, settings in (
        (f"shards of {SHARD}, 5 processes, 20 in flight", 5, _settings(SHARD)),
        ("shards of 250, 4 processes, 25 in flight", 4, _settings(250, 25)),
    ):

        def work(workers: int = workers, settings: Mapping[str, str] = settings) -> Ran:
            return house.sharded(workers, **settings)

        found.answer_after(latency)
        alone = _healthy_seconds(house, _run(stage, house, work, ()), ())
        found.hang(silent)
        beside = _healthy_seconds(house, _run(stage, house, work, silent), silent)
        label = f"{len(silent)} silent of {FLEET:,}, {what}"
        stage.add(f"{label}: the healthy ones, nobody silent", [alone], "s")
        stage.add(f"{label}: the healthy ones", [beside], "s")
        stage.at_most(f"{label}: the healthy ones, beside silent ones / alone", [beside / alone], HEALTHY)
    found.answer_after(0)


def _many_silent(stage: Stage, here: Place, found: Brokers, latency: float, count: int) -> None:
    """One of twenty is silent, at 200 sessions (1:10): one process of ten, twenty in flight."""
    found.grow(count, here.now())
    held = 2 * PATIENCE_SECONDS * SILENT_SHARE + 2 * latency / 1000 * (1 - SILENT_SHARE)
    label = f"5 % silent, {SESSIONS_SILENT} sessions, 1:{SCALE}"
    house = here.house("silent", found)
    found.answer_after(0)
    _settle(house, found.accounts[:count])
    house.serve(sessions=SESSIONS_SILENT // SCALE)
    for what, work in (
        (f"shards of {SHARD}", lambda: house.sharded(1, **_settings(SHARD))),
        ("shards of 500", lambda: house.sharded(1, **_settings(500))),
        ("tasks of the job", lambda: house.task(**_settings(500))),
    ):
        silent = _chosen(house, SILENT_SHARE)
        found.answer_after(latency / SCALE)
        found.hang(silent)
        ran = _run(stage, house, work, silent)
        if count == FLEET:
            stage.at_least(f"{label}, {what}", [ran.per_five_minutes], PER_FIVE_MINUTES, "accounts/5 min")
        else:  # of so few accounts the last one's waiting is most of it
            stage.add(f"{label}, {what}", [ran.per_five_minutes], "accounts/5 min")
    stage.add(f"limit: {label}, sessions always busy", [SESSIONS_SILENT / held * 300], "accounts/5 min")


def _settle(house: House, accounts: Sequence[Account]) -> None:
    """Link, read for the first time, and once more, which leaves digests."""
    house.link(accounts)
    for _ in range(2):
        house.sharded(5)
    house.dismiss()


def _slow(stage: Stage, here: Place, found: Brokers) -> None:
    """3.5 s an account at 120 sessions: as many accounts as fill every session so many times."""
    house = here.house("slow", found)
    processes = SESSIONS_SLOW // WINDOW
    found.answer_after(0)
    _settle(house, _full_shards(found, SHARD, processes * SLOW_ROUNDS))
    house.serve(sessions=SESSIONS_SLOW // len(found.all))
    found.answer_after(SLOW_SECONDS / 2 * 1000)
    before = house.runs_by_account()
    ran = house.sharded(processes)
    house.check(ran.run_id, before)
    label = f"{SLOW_SECONDS} s an account, {SESSIONS_SLOW} sessions"
    stage.at_least(f"{label}, {ran.accounts} accounts", [ran.per_five_minutes], PER_FIVE_MINUTES, "accounts/5 min")
    stage.add(f"limit: {label}, always busy", [SESSIONS_SLOW / SLOW_SECONDS * 300], "accounts/5 min")
    house.dismiss()


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
