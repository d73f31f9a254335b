"""A stretch of the demo day through all processes: proven when the wire doubles it, and the same when every process is killed.

The books that all are compared with are those of a desk whose every push comes many times: what it decided is computed again by
its replay, which knows no wire.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from threading import Timer

import pytest

from fillbook.calendar import calendar
from fillbook.replay import __main__ as replay
from infra.local import leases
from infra.local.desk import POSTGRES, LocalCloud
from infra.local.receipts import Document
from infra.local.summary import Summary
from tests.e2e.conftest import DAY, NewDesk, booked, desks, exported, minutes_of_the_day, play, prove, told_on_discord
from tests.support import day_fold
from tests.support.campaigns import small_or_full

pytestmark = [pytest.mark.bundles, pytest.mark.slow]

MINUTES = small_or_full(72, 240)
TICKERS = 5
DAY_MINUTES, LAST_MINUTES = 390, 5
EVENTFUL = "day 2"
"""Of a hundred days the one on which the first trim comes soonest, in the 70th minute, after five entries and an exit."""
FEW = ["signal_ingest", "signal_worker", "outbox_relay", "discord_notifier"]
OUTAGE_AT, OUTAGE_SECONDS = 40, 3
BACKOFF_SECONDS = 11
"""After its first failure a message comes again in ten seconds; a minute of the day is longer."""
VICTIMS = ("signal_worker", "discord_notifier", "pubsub", "signal_ingest", "postgres", "outbox_relay", "discord", "signal_worker")
SEED = 20260203
HASH = re.compile(r"  hash ([0-9a-f]+)")
LAST_BUCKET = re.compile(r"] (\d+)/\1 \d\d:\d\d New York  rows")


@pytest.fixture(scope="module")
def minutes() -> list[list[Document]]:
    """Few enough entries that no limit of the whole book binds: then every ticker's story is its own, in any order."""
    return minutes_of_the_day(MINUTES, tickers=TICKERS, seed=EVENTFUL)


@pytest.fixture(scope="module")
def doubled(
    minutes: list[list[Document]], tmp_path_factory: pytest.TempPathFactory, bundles: Path, cluster: Path
) -> Iterator[LocalCloud]:
    """A desk after the day, on a wire that delivers every message several times, at once too."""
    with desks(tmp_path_factory.mktemp("doubled"), bundles, cluster) as start:
        cloud = start(functions=[*FEW, "replay_worker"])
        cloud.control.faults(target="*", duplicate=4, at_once=1, count=400, seed=SEED)
        summary = play(cloud, minutes)
        assert summary.is_proven, summary.document()
        assert summary.executions >= 7
        assert summary.executions_by_type["ENTRY"] < 10
        assert {"ENTRY", "TRIM", "EXIT"} <= set(summary.executions_by_type)
        yield cloud


@pytest.fixture(scope="module")
def calm(doubled: LocalCloud) -> dict[str, str]:
    """The books of the day."""
    return exported(doubled.database)


def assert_proven(cloud: LocalCloud, summary: Summary, calm: dict[str, str], *, copies_max: int = 0) -> None:
    """The books of the day, every receipt decided, and on Discord each execution exactly once.

    A kill after Discord accepted may leave one visible copy (reliability check 3 allows it); none is missing, and one pass of
    the proof finds and removes what stands twice.
    """
    assert summary.is_proven, summary.document()
    assert summary.receipts == {"decided": MINUTES * TICKERS}
    assert exported(cloud.database) == calm
    told, once = told_on_discord(cloud), Counter(booked(cloud))
    assert set(told) == set(once)
    assert told.total() - once.total() <= copies_max, told
    if told != once:
        prove(cloud)
    assert told_on_discord(cloud) == once


def test_a_day_in_which_every_process_is_killed_ends_like_any_other(
    new_desk: NewDesk, minutes: list[list[Document]], calm: dict[str, str]
) -> None:
    cloud = new_desk("killed", functions=FEW)
    blows = dict(zip(sorted(random.Random(SEED).sample(range(10, MINUTES - 10), len(VICTIMS))), VICTIMS, strict=True))

    def kill(minute: int) -> None:
        if minute in blows:
            cloud.kill(blows[minute])
            # what the dead held, and what was held while the database died; a living one may lose its lease as well: see copies
            leases.end(cloud.database, *leases.ALL_OF_SIGNALS)

    summary = play(cloud, minutes, kill)
    assert_proven(cloud, summary, calm, copies_max=len(VICTIMS))


def test_a_day_sent_twice_reversed_and_duplicated_by_the_wire_is_the_same_day_and_so_is_its_replay(
    doubled: LocalCloud,
    minutes: list[list[Document]],
    calm: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    again = play(doubled, [list(reversed(minute)) for minute in minutes])
    assert_proven(doubled, again, calm)
    told = told_on_discord(doubled)
    run_again(doubled, monkeypatch, capsys)
    assert told_on_discord(doubled) == told


def run_again(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What the README says of a day again: bar, hash, where both profiles part; and the run is what live did."""
    for name, value in cloud.operator_environment.items():
        monkeypatch.setenv(name, value)
    assert replay.main(["run", "--date", DAY.isoformat(), "--run", "again", "--compare", "tt-2026-02-12"]) == 3
    told = capsys.readouterr().out
    assert replay.main(["run", "--date", DAY.isoformat(), "--run", "job", "--job"]) == 0
    assert HASH.findall(capsys.readouterr().out) == HASH.findall(told)[:1]
    ((task,),) = (execution["tasks"] for execution in cloud.control.jobs())
    assert task["exit_status"] in (0, None), cloud.logs("replay-worker-job")[-3000:]
    assert LAST_BUCKET.search(told)
    assert "  hash " in told
    assert "first difference: " in told
    assert replay.main(["compare", "again", "live"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "identical"


def test_a_database_that_stops_for_a_while_costs_nothing_but_time(
    new_desk: NewDesk, minutes: list[list[Document]], calm: dict[str, str]
) -> None:
    cloud = new_desk("outage", functions=FEW)

    held_until: list[datetime] = []

    def come_back() -> None:
        cloud.revive(POSTGRES)
        # of those whose end could not be written; twice published is taken once, and who tells since then keeps the channel
        leases.end(cloud.database, leases.PARTITIONS, leases.channels_held_at(held_until[0]))
        cloud.clock.step(BACKOFF_SECONDS)  # the sender holds the clock until what failed has come again

    back = Timer(OUTAGE_SECONDS, come_back)

    def break_off(minute: int) -> None:
        if minute == OUTAGE_AT:
            cloud.kill(POSTGRES, stay_down=True)
            held_until.append(datetime.now(UTC))
            back.start()

    summary = play(cloud, minutes, break_off)
    back.join()
    assert_proven(cloud, summary, calm)


def test_every_figure_of_the_day_is_a_fold_of_its_executions_and_no_two_views_disagree(doubled: LocalCloud) -> None:
    """The day goes on to its last bar; then it is looked at as of an hour of the session, at the close, a second later, when the
    summary was made, and before the next session.
    """
    summary = play(doubled, minutes_of_the_day(DAY_MINUTES, tickers=TICKERS, seed=EVENTFUL)[-LAST_MINUTES:])
    book, session = day_fold.read(doubled.database), calendar().session(DAY)
    assert session is not None
    made_at = datetime.fromisoformat(summary.clock.rpartition(" ")[2])
    closing = day_fold.every_figure_agrees(book, session.close_at)
    for at in (session.close_at + timedelta(seconds=1), made_at):
        assert day_fold.every_figure_agrees(book, at) == closing
    assert summary.unrealized_pnl == {"USD": closing["unrealized_pnl"]}
    assert summary.realized_pnl == {"USD": closing["realized_pnl"]}
    assert closing["open_positions"] > 0
    assert Decimal(closing["unrealized_pnl"]) != 0
    premarket = calendar().next_session(DAY).open_at - timedelta(minutes=90)
    tomorrow = day_fold.every_figure_agrees(book, premarket)
    assert (tomorrow["equity"], Decimal(tomorrow["day_pnl"])) == (closing["equity"], 0)
    for at in (session.open_at + timedelta(minutes=150), session.close_at - timedelta(seconds=1)):
        day_fold.every_figure_agrees(book, at, now=premarket)
