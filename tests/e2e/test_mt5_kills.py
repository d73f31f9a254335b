"""Room mt5 killed with -9 at random points, functions and database, while they work; then the state of an undisturbed desk.

Two desks with one broker's history play the same rounds. In each round the fleet trades, and the scheduler's call is worked by
the function itself or by messages. On the second desk something is killed again and again while a round lasts; what the platform
would do follows: the call is repeated, the message comes again, and leases that a dead worker held are over.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from fillbook.mt5.worker import SCHEDULER
from fillbook.runtime.sql import statement
from infra.local.desk import POSTGRES, LocalCloud
from tests.e2e.conftest import BOOK, NewDesk
from tests.support.campaigns import chance, small_or_full, tell
from tests.support.mt5_fleet import SHARD, START, SYNC, FleetDesk, Reply, patiently

pytestmark = [pytest.mark.bundles, pytest.mark.slow]

SEED = 20260204
KILLS = small_or_full(6, 200)
ACCOUNTS = small_or_full(15, 30)
KILLS_PER_ROUND = small_or_full(3, 6)  # a message is given up after twenty attempts
ROUND = timedelta(minutes=90)
EVENTS_KEPT = timedelta(days=7)
"""A relay forgets older events, and only on the desk that is disturbed is it called by hand: all rounds are over before."""
ROUND_SECONDS = 240
VICTIMS = (SYNC, SHARD, POSTGRES)
WINDOW = {"MT5_SHARD_WINDOW": "4", "MT5_BATCH_SIZE": "4", "MT5_SHARD_ACCOUNTS_MAX": "8"}
"""Few at a time, so that a round lasts long enough to be struck in its middle."""
STILL_SECONDS = small_or_full(5, 1.5)
"""A kill waits for the account it is aimed at while accounts are finished: where none is, whoever stands is struck."""

WHEN = {
    "deals": "recorded_at",
    "trades": "updated_at,snapshot_msc",
    "cash_operations": "",
    "cash_checks": "checked_at",
    "history_gaps": "opened_at,closed_at,from_msc,to_msc",
    "symbols": "fetched_at",
    "trading_accounts": "info_at,positions_at,last_sync_at,last_successful_sync_at,updated_at",
    # what was read at which second decides which deals an answer held, and so its digest, and how far sums are kept
    "account_sync_state": "next_due_at,lease_run_id,lease_token,lease_until,history_until_msc,history_floor_msc,state_digest,"
    "sums_floor_msc,sums_until_msc,sums_amount,sums_bonus,sums_credit",
    "sync_hours": "hour,duration_ms_max,duration_ms_sum",
    # accounts are put off, and taken up by a continuation, as often as somebody dies at the wrong moment
    "sync_runs": "started_at,heartbeat_at,finished_at,duration_ms,shards_total,shards_done,deferred_count",
}
"""Tables of the room, and their columns that depend on when and in which process a row was written."""
STATE = {
    **{
        name: f"select (to_jsonb(t) - '{{{when}}}'::text[])::text as row from mt5.{name} t order by 1"
        for name, when in WHEN.items()
    },
    "sync_logs": "select run_id, account_id, status::text, error_code, trades_synced from mt5.sync_logs order by 1, 2",
    "events": """select event_type, book_id, aggregate_key, count(*) from outbox.events
                  where event_type <> 'mt5_sync_requested' group by 1, 2, 3 order by 1, 2, 3""",
    **{name: text for name, text in BOOK.items() if name in ("actions", "closings", "lots", "positions")},
}
WRONG_SUMS = """
select count(*) from mt5.account_sync_state s
 where s.sums_until_msc is not null
   and (s.sums_amount, s.sums_bonus, s.sums_credit) is distinct from
       (select (coalesce(sum(c.amount) filter (where c.deal_type not in (3, 6)), 0),
                coalesce(sum(c.amount) filter (where c.deal_type = 6), 0),
                coalesce(sum(c.amount) filter (where c.deal_type = 3), 0))
          from (select distinct on (d.deal_ticket) d.deal_type, d.withdrawn, d.profit + d.commission + d.swap + d.fee as amount
                  from mt5.deals d
                 where d.account_id = s.account_id and d.time_server_msc between s.sums_floor_msc and s.sums_until_msc
                 order by d.deal_ticket, d.revision desc) c
         where not c.withdrawn)
"""
"""Accounts whose kept sums are not those of their deals."""


@pytest.fixture
def fleets(new_desk: NewDesk, tmp_path: Path) -> tuple[FleetDesk, FleetDesk]:
    """Two desks with the same accounts at brokers with the same history."""

    def desk(name: str) -> FleetDesk:
        cloud = new_desk(name, functions=[SYNC, SHARD, "outbox_relay"], desk_start=START, overrides=WINDOW)
        cloud.control.pause_jobs()
        one = FleetDesk(cloud)
        one.begin(ACCOUNTS, seed=SEED, servers=3)
        one.fault("latency", ms=60, jitter=60)
        return one

    return desk("calm"), desk("killed")


def begin_round(desk: FleetDesk, number: int) -> None:
    """The fleet trades at the same instant on every desk."""
    desk.cloud.clock.set(START + number * ROUND)
    if number:
        desk.broker("fleet/trade", positions=2, seed=number, share="0.5")


def ask(desk: FleetDesk, number: int) -> Reply:
    """The scheduler's call for the round's slot: every other one leaves the work to messages."""
    body = {"wait": False} if number % 2 else {}
    return desk.call(by=SCHEDULER, slot=START + number * ROUND, sync_type="scheduled", **body)


def progress(desk: FleetDesk, number: int) -> tuple[str, int]:
    """How a round's run stands, and how many accounts it has finished."""
    (row,) = desk.rows(
        "select r.status::text as status, (select count(*) from mt5.sync_logs l where l.run_id = r.run_id) as done"
        " from (select 1) one left join mt5.sync_runs r on r.scheduled_for = :slot",
        slot=START + number * ROUND,
    )
    return row["status"] or "", int(row["done"])


def end_what_the_dead_held(desk: FleetDesk) -> None:
    """What some minutes do: leases and heartbeats of whoever died run out."""

    def work() -> None:
        with desk.cloud.database.transaction() as tx:
            for text in (
                "update mt5.account_sync_state set lease_until = clock_timestamp() where lease_until is not null",
                "update mt5.session_slots set lease_until = clock_timestamp() where holder is not null",
                "update mt5.sync_runs set heartbeat_at = heartbeat_at - interval '61 s' where status = 'running'",
            ):
                tx.execute(statement(text))

    patiently(work)


def disturbed(desk: FleetDesk, number: int, kills: int, dice: random.Random, struck: Counter[str]) -> None:
    """A round in which something is killed ``kills`` times; asked for until it is over."""
    begin_round(desk, number)
    end = time.monotonic() + ROUND_SECONDS
    with ThreadPoolExecutor(1) as caller:
        while True:
            asked: Future[Reply] = caller.submit(ask, desk, number)
            if kills:
                kills -= strike(desk, number, dice.choice(VICTIMS), dice.randrange(ACCOUNTS), struck)
            asked.result()
            status, _ = progress(desk, number)
            if status == "finished":
                return
            assert time.monotonic() < end, (status, desk.cloud.logs(SHARD)[-3000:])
            end_what_the_dead_held(desk)
            desk.cloud.control.run_job("outbox-relay")
            desk.cloud.clock.step(30)


def strike(desk: FleetDesk, number: int, victim: str, after: int, struck: Counter[str]) -> bool:
    """Kill a victim once a round has finished ``after`` accounts, if there is still something to disturb then."""
    (status, done), moved = progress(desk, number), time.monotonic()
    while status != "finished" and done < after and time.monotonic() < moved + STILL_SECONDS:
        time.sleep(0.02)
        before, (status, done) = done, progress(desk, number)
        moved = time.monotonic() if done > before else moved
    if status == "finished":
        return False
    kill(desk.cloud, victim)
    struck[victim] += 1
    struck["inside"] += 0 < done < ACCOUNTS
    return True


def kill(cloud: LocalCloud, victim: str) -> None:
    """Kill -9, and wait until it is back."""
    cloud.kill(victim)
    cloud.wait_until_up(victim)


def state(desk: FleetDesk) -> dict[str, list[tuple[str, ...]]]:
    """All the room holds and has booked, without its times."""
    return {name: [tuple(str(value) for value in row.values()) for row in desk.rows(text)] for name, text in STATE.items()}


def different(expected: list[tuple[str, ...]], found: list[tuple[str, ...]]) -> str:
    """How two lists of rows differ: how many rows, and an example of either side."""
    missing, more = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    return f"{len(expected)} and {len(found)} rows; {len(missing)} missing, {len(more)} more: {missing[:1]} {more[:1]}"


def test_two_hundred_kills_of_functions_and_database_leave_the_state_of_none(fleets: tuple[FleetDesk, FleetDesk]) -> None:
    calm, killed = fleets
    dice, struck, number, begun = chance(SEED), Counter[str](), 0, time.monotonic()
    while (left := KILLS - sum(struck[victim] for victim in VICTIMS)) > 0:
        begin_round(calm, number)
        answer = ask(calm, number)
        calm.wait_for_run(answer.document["executionId"], ROUND_SECONDS)
        disturbed(killed, number, min(left, KILLS_PER_ROUND), dice, struck)
        number += 1
    tell(f"{dict(struck)} in {number} rounds of {ACCOUNTS} accounts, {time.monotonic() - begun:.0f} s")
    assert struck["inside"] > 0, "no kill between the first and the last account"
    assert number * ROUND < EVENTS_KEPT
    expected, found = state(calm), state(killed)
    assert {name: different(rows, found[name]) for name, rows in expected.items() if found[name] != rows} == {}
    assert len(expected["sync_logs"]) == number * ACCOUNTS
    assert len(expected["deals"]) > ACCOUNTS
    assert killed.number("select count(*) from mt5.account_sync_state where sums_until_msc is not null") > 0
    assert killed.number(WRONG_SUMS) == 0
    assert killed.untrue() == []
    assert killed.differences() == 0
    assert killed.number("select count(*) from mt5.account_sync_state where lease_until > clock_timestamp()") == 0
