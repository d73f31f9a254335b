"""Check 1: a worker is killed with -9 at many points of its conversation with the database, then redelivered to."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from fillbook.calendar import calendar
from fillbook.ledger import audit
from fillbook.runtime.db import Database
from fillbook.signal.receipt import instant
from tests.integration.reliability.conftest import Query
from tests.support.blade import Blade
from tests.support.campaigns import chance, small_or_full
from tests.support.receipts import body
from tests.support.servers import database_config
from tests.support.signal_live import LiveDesk, digest, wipe

KILLS = small_or_full(40, 200)
RECEIPTS = small_or_full(50, 220)  # a worker may be done before the last byte of its last answer has passed
SEED = 1
ANSWER_SECONDS = 60
LINGER_SECONDS = 0.4
MINUTES_OF_A_DAY = 24 * 60
# minutes after R's time and the price then: an entry, nothing, a trim, nothing, an exit
STORY = ((0, "100.40"), (5, "100.60"), (20, "102.10"), (22, "102.00"), (40, "97.00"))
MOVED = ("signal.receipts", "signal.decisions", "ledger.fills", "ledger.execution_actions", "ledger.marks", "outbox.events")


def days() -> list[dict[str, Any]]:
    """Session days of one story each, until there are enough receipts."""
    found, day = [], 0
    while len(found) < RECEIPTS:
        if calendar().session(instant(body()["ts"] + day * MINUTES_OF_A_DAY * 60_000).date()) is not None:
            for minutes, price in STORY:
                later = body(minutes=day * MINUTES_OF_A_DAY + minutes, price=Decimal(price))
                found.append(later | {"trigger_ts": later["trigger_ts"] + day * MINUTES_OF_A_DAY * 60_000})
        day += 1
    return found[:RECEIPTS]


@pytest.fixture
def blade(postgres: Any) -> Iterator[Blade]:
    with Blade("127.0.0.1", postgres.port) as between:
        yield between


def counts(query: Query) -> tuple[int, ...]:
    (row,) = query("select " + ", ".join(f"(select count(*) from {table}) as n{n}" for n, table in enumerate(MOVED)))
    return tuple(row.values())


def worker(url: str, document: dict[str, Any]) -> int:
    """A worker of its own that processes one receipt; its process id. It says by its status whether it got to the end."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            LiveDesk(Database.open(database_config(url), application_name="killed", pool_size=1), lambda _text: []).take(document)
            status = 0
            time.sleep(LINGER_SECONDS)  # a kill at the last byte finds the worker still there, however busy the machine is
        finally:
            os._exit(status)
    return pid


def killed_at(point: int, blade: Blade, url: str, document: dict[str, Any]) -> int:
    """Process one receipt in a worker that is killed when ``point`` bytes have passed; how it ended."""
    is_known = threading.Event()
    victims: list[int] = []

    def strike() -> None:
        is_known.wait()
        os.kill(victims[0], signal.SIGKILL)

    blade.arm(point, strike)
    victims.append(worker(url, document))
    is_known.set()
    return ended(victims[0])


def ended(pid: int) -> int:
    """How a worker ended: its status, or minus the signal; one that hangs is a failure."""
    alarm = threading.Timer(ANSWER_SECONDS, lambda: os.kill(pid, signal.SIGABRT))
    alarm.start()
    _, status = os.waitpid(pid, 0)
    alarm.cancel()
    return os.waitstatus_to_exitcode(status)


@pytest.mark.slow
def test_a_worker_killed_at_two_hundred_points_and_redelivered_leaves_the_books_of_an_undisturbed_run(
    blade: Blade, desk: LiveDesk, query: Query, database_url: str, db: Database
) -> None:
    url, sent = blade.url(f"{database_url}?role=signal_worker"), days()
    desk.take(sent[0])  # a first receipt fills caches on both sides; the conversations measured are the usual ones
    wipe(query)
    points, after = [], [counts(query)]
    for document in sent:
        blade.arm(None)
        far = Database.open(database_config(url), application_name="measured", pool_size=1)
        LiveDesk(far, query).take(document)
        points.append(blade.points()[:-1])
        far.close()
        after.append(counts(query))
    calm = digest(query)
    assert [row["action_type"] for row in desk.actions()].count("ENTRY") == RECEIPTS // len(STORY)
    wipe(query)

    dice, killed, stayed = chance(SEED), 0, 0
    for number, document in enumerate(sent):
        status = killed_at(dice.choice(points[number]), blade, url, document)
        assert status in (0, -signal.SIGKILL), f"the worker saw its end coming: {status}"
        killed += status != 0
        found = counts(query)
        assert found in (after[number], after[number + 1]), f"half a receipt after kill {number}"
        stayed += found == after[number + 1]
        desk.take(document)
        assert counts(query) == after[number + 1]
    assert killed >= KILLS
    assert 0 < stayed < RECEIPTS, "kills before and after the commit, both"
    assert digest(query) == calm
    assert audit.audit(db, "live", instant(sent[-1]["ts"])).exit == 0
