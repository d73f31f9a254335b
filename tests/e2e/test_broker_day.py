"""A day of the broker through all processes: every execution in its book once and told once, whatever is killed or refuses."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from fillbook.runtime.sql import statement
from infra.local import leases, tws_book, walking
from infra.local.desk import POSTGRES, PUBSUB, LocalCloud
from infra.local.fakes import FLEX, TWS, TWS_CONTROL
from infra.local.plan import TWS_ACCOUNT
from tests.e2e.conftest import NewDesk, desks, exported, prove, told_on_discord
from tests.support import broker_days as days

pytestmark = [pytest.mark.bundles, pytest.mark.slow]

SEED = 20260203
PROOFS = "select count(*) as n from notify.v_reconcile_runs where status = 'proven'"
DOUBTS = "select count(*) as n from notify.v_findings"
VICTIMS = ("execution_sync", TWS, POSTGRES, FLEX, PUBSUB, "execution_sync", "discord_notifier", "execution_sync", FLEX, TWS)


def begin(start: NewDesk, name: str) -> LocalCloud:
    """A desk whose two accounts are open."""
    cloud = start(name, functions=days.DESK, desk_start=days.MORNING, function_overrides=days.DEADLINE)
    days.open_accounts(cloud)
    return cloud


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, bundles: Path, cluster: Path) -> dict[str, str]:
    """The books of the day when nothing disturbs it."""
    with desks(tmp_path_factory.mktemp("calm"), bundles, cluster) as start:
        cloud = begin(start, "calm")
        days.live(cloud, stride=3)
        assert_whole(cloud)
        assert walking.number(cloud, PROOFS) > 0
        assert walking.number(cloud, DOUBTS) == 0  # nobody was told that messages differ, on a day on which all went well
        return exported(cloud.database, days.PARTS)


def assert_whole(cloud: LocalCloud, *, copies_max: int = 0) -> None:
    """Every execution of the broker is in its book once and stands on Discord once; nothing is open; no order was sent.

    A notifier killed after Discord accepted may leave a copy: one pass of the proof removes it.
    """
    assert days.in_the_books(cloud) == days.served()
    once = Counter(live_executions(cloud))
    told = told_on_discord(cloud)
    assert set(told) == set(once)
    assert told.total() - once.total() <= copies_max
    if told != once:
        prove(cloud)
    assert told_on_discord(cloud) == once
    for part in ("anomalies", "quarantine", "breaks"):
        with cloud.database.transaction(read_only=True) as tx:
            assert tx.query(statement(days.PARTS[part])) == [], part
    assert walking.ask(cloud, TWS_CONTROL, "orders") == []


def live_executions(cloud: LocalCloud) -> list[str]:
    """The ids of all executions that are told: opening balances are history."""
    with cloud.database.transaction(read_only=True) as tx:
        rows = tx.query(statement("select action_id from ledger.v_actions where origin = 'live'"))
    return [str(row["action_id"]) for row in rows]


def test_a_day_in_which_everything_is_killed_and_every_push_comes_again_ends_like_the_undisturbed_day(
    new_desk: NewDesk, calm: dict[str, str]
) -> None:
    cloud = begin(new_desk, "killed")
    dice, victims = random.Random(SEED), list(VICTIMS)

    def disturb(step: int) -> None:
        if step % 2 == 0 and victims and step < days.STEPS:
            victim = victims.pop(0)
            cloud.clock.step(dice.randint(1, 600))  # the work of this moment is under way when the blow falls
            cloud.kill(victim)
            cloud.wait_until_up(victim, POSTGRES)
            leases.end_of(cloud.database, victim)
        cloud.control.faults(target="*", duplicate=4, at_once=1, count=200, seed=SEED)
        if step == days.STEPS:
            cloud.control.no_faults()

    days.live(cloud, disturb)
    assert victims == []
    assert_whole(cloud, copies_max=VICTIMS.count("discord_notifier") + VICTIMS.count(POSTGRES))
    assert exported(cloud.database, days.PARTS) == calm


TROUBLES: tuple[dict[str, object], ...] = (
    {"has_end": False},
    {"is_silent": True},
    {"drop_after": 1},
    {"busy_client_ids": [11, 12, 13]},
    {"outage_at": 2, "outage_count": 99},
    {"error_code": 321},
    {"busy_client_ids": [11]},
    {"outage_at": 1, "outage_code": 1102, "outage_count": 1},
)
FLEX_TROUBLES: tuple[tuple[str, dict[str, object]], ...] = (
    ("html", {"step": "send"}),
    ("code", {"step": "fetch", "code": 1019, "count": 2}),
    ("truncate", {"step": "fetch", "at": 900}),
    ("code", {"step": "send", "code": 1018}),
    ("entity_bomb", {"step": "fetch"}),
    ("reset", {"step": "any"}),
)


def test_a_day_in_which_the_gateway_and_the_statements_fail_in_every_way_ends_like_the_undisturbed_day(
    new_desk: NewDesk, calm: dict[str, str]
) -> None:
    cloud = begin(new_desk, "refused")
    quiet: dict[str, object] = walking.ask(cloud, TWS_CONTROL, "knobs")
    troubles, faults = list(TROUBLES), list(FLEX_TROUBLES)

    def disturb(step: int) -> None:
        is_over = not troubles or step % 2 == 1 or step == days.STEPS
        walking.gateway(cloud, **(quiet if is_over else quiet | troubles.pop(0)))
        if step % 3 == 1 and faults and step < days.STEPS:
            name, rule = faults.pop(0)
            walking.flex_fault(cloud, name, **rule)

    days.live(cloud, disturb)
    assert (troubles, faults) == ([], [])
    assert walking.number(cloud, "select count(*) as n from ibkr.sync_runs where state in ('partial', 'failed')") >= 5
    assert_whole(cloud)
    assert exported(cloud.database, days.PARTS) == calm


def test_a_run_killed_in_the_middle_is_abandoned_and_leaves_nothing_half_done(new_desk: NewDesk) -> None:
    cloud = begin(new_desk, "abandoned")
    cloud.control.pause_jobs()  # no run but the one that is killed
    cloud.control.wait_idle(settle_seconds=0.3)
    walking.walk_to(cloud, days.FIRST)
    before, cursors = exported(cloud.database, days.PARTS), high_waters(cloud)
    walking.gateway(cloud, delay_at=3, delay_seconds=1.5)
    noon = days.FIRST.replace(hour=17)
    walking.set_clock(cloud, noon)
    assert cloud.control.run_job("ibkr-trades") == 202
    under_way = "select count(*) as n from ibkr.sync_runs where state = 'running' and source = 'tws'"
    walking.wait_for(cloud, under_way, 1)
    cloud.kill("execution_sync")
    assert exported(cloud.database, days.PARTS) == before
    assert high_waters(cloud) == cursors
    assert walking.number(cloud, under_way) == 1
    cloud.wait_until_up("execution_sync")
    walking.gateway(cloud, delay_at=0)
    assert cloud.control.run_job("ibkr-jobs") == 200
    assert walking.number(cloud, under_way) == 1, "a lease that still runs is nobody else's"
    leases.end_of(cloud.database, "execution_sync")
    cloud.control.resume_jobs()
    walking.settle(cloud, noon)
    assert walking.number(cloud, "select count(*) as n from ibkr.sync_runs where state = 'abandoned'") == 1
    assert walking.number(cloud, "select count(*) as n from ibkr.sync_runs where state = 'running'") == 0
    assert high_waters(cloud) > cursors
    frames = tws_book.demo((TWS_ACCOUNT,), noon).executions
    names = Counter(f"{TWS_ACCOUNT} {frame[14]}" for frame in frames if frame[0] == "11")
    found = Counter({name: count for name, count in days.in_the_books(cloud).items() if name.startswith(TWS_ACCOUNT)})
    assert found == names


def high_waters(cloud: LocalCloud) -> list[str]:
    """Up to where each account's executions are known from each source."""
    text = "select account_id, source, high_water_at from ibkr.sync_cursors where source = 'tws' order by account_id"
    with cloud.database.transaction(read_only=True) as tx:
        return [str(sorted(row.items())) for row in tx.query(statement(text))]
