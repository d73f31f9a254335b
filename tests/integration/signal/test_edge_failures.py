"""When things break between two messages: kill -9, a lost answer, a database that is away, a rule that raises."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from fillbook.runtime.db import Database
from fillbook.runtime.errors import Unavailable
from fillbook.signal import deciding
from tests.conftest import database_config
from tests.support.proxy import Proxy
from tests.support.signal_live import LiveDesk, digest, wipe

D = Decimal
Query = Callable[..., list[dict[str, Any]]]

KILLED = """
import os, signal, sys
from fillbook.runtime.db import Database, Tx
from fillbook.runtime.sql import statement
from tests.conftest import database_config
from tests.support.signal_live import LiveDesk

def die(tx):
    tx.query(statement("select 1 as one"))  # everything queued is written, nothing is committed
    os.kill(os.getpid(), signal.SIGKILL)

assert Tx.commit
Tx.commit = die
LiveDesk(Database.open(database_config(sys.argv[1]), application_name="killed"), None).send()
"""


def test_scenario_12_killed_after_booking_before_commit_leaves_nothing(
    desk: LiveDesk, query: Query, database_url: str, request: pytest.FixtureRequest
) -> None:
    """The redelivery gives the ids of an undisturbed run."""
    undisturbed = desk.send()
    expected = digest(query)
    wipe(query)
    for _ in range(2):
        killed = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(KILLED), f"{database_url}?role=signal_worker"],
            cwd=request.config.rootpath,
            env={"PYTHONPATH": f"{request.config.rootpath}:{request.config.rootpath / 'shared'}", "PATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        assert killed.returncode == -9, killed.stderr
        assert desk.count("signal.receipts") == desk.count("ledger.fills") == desk.count("outbox.events") == 0
    assert desk.send() == undisturbed
    assert digest(query) == expected


@pytest.fixture
def proxy(postgres: Any) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", postgres.port) as between:
        yield between


@pytest.fixture
def far_desk(desk: LiveDesk, proxy: Proxy, database_url: str, query: Query) -> Iterator[LiveDesk]:
    """The desk behind the proxy; the database is warm."""
    db = Database.open(database_config(proxy.url(f"{database_url}?role=signal_worker")), application_name="far")
    far = LiveDesk(db, query)
    far.send("Q", minutes=-1)
    proxy.reset()
    yield far
    db.close()


def test_a_receipt_without_a_booking_costs_two_round_trips(far_desk: LiveDesk, proxy: Proxy) -> None:
    far_desk.send("Q")
    assert proxy.trips == 2


def test_a_receipt_with_a_booking_costs_three_round_trips(far_desk: LiveDesk, proxy: Proxy) -> None:
    for minutes, price, action in ((0, "100.40", "ENTRY"), (20, "102.10", "TRIM"), (40, "97.00", "EXIT")):
        proxy.reset()
        far_desk.send(minutes=minutes, price=D(price))
        assert (proxy.trips, far_desk.types()[-1]) == (3, action)


def test_a_refused_entry_takes_no_lock_of_the_book(far_desk: LiveDesk, proxy: Proxy) -> None:
    off = far_desk.with_strategy(book_executions=False)
    off.send()
    assert (proxy.trips, far_desk.refused_by()) == (2, ["L0"])


def test_duplicates_late_and_stale_receipts_cost_two_round_trips(far_desk: LiveDesk, proxy: Proxy) -> None:
    far_desk.send(minutes=5)
    for minutes, age_seconds, result in ((5, 1, "duplicate"), (4, 1, "late"), (6, 901, "stale")):
        proxy.reset()
        assert far_desk.send(minutes=minutes, age_seconds=age_seconds).result == result
        assert proxy.trips == 2


def test_an_answer_lost_at_the_commit_is_settled_by_the_redelivery(far_desk: LiveDesk, proxy: Proxy, query: Query) -> None:
    far_desk.send()
    proxy.lose_answers = True
    with pytest.raises(Unavailable):
        far_desk.send(minutes=20, price=D("102.10"))
    proxy.lose_answers = False
    far_desk.send(minutes=20, price=D("102.10"))
    assert far_desk.types() == ["ENTRY", "TRIM"]


def test_a_database_that_is_away_is_asked_for_again_and_nothing_is_acknowledged(
    far_desk: LiveDesk, proxy: Proxy, desk: LiveDesk
) -> None:
    """Reliability check 12."""
    proxy.refuse = True
    proxy.kill()
    for _ in range(3):
        with pytest.raises(Unavailable):
            far_desk.send()
    assert desk.types() == []
    proxy.refuse = False
    assert far_desk.send().lane == "enter_now"


def test_a_read_only_database_is_unavailable(desk: LiveDesk, query: Query, database_url: str) -> None:
    name = database_url.rpartition("/")[2]
    query(f"do $$ begin execute 'alter database {name} set default_transaction_read_only = on'; end $$")
    with pytest.raises(Unavailable):
        desk.send()


def test_a_held_ticker_is_unavailable_after_the_lock_timeout(
    open_database: Any, db: Database, desk: LiveDesk, query: Query
) -> None:
    desk.send()
    impatient = LiveDesk(open_database("signal_worker", lock_timeout_seconds=0.05), query)
    from fillbook.runtime.sql import statement

    with db.transaction() as tx:
        tx.query(statement("select 1 as one from signal.ticker_states for update"))
        with pytest.raises(Unavailable, match="database_contended"):
            impatient.send(minutes=1)
        assert desk.count("signal.receipts") == 1
        assert impatient.send("Q").result == "decided", "other tickers are not held up"


def test_a_rule_that_raises_stores_nothing_and_the_next_receipt_flows(desk: LiveDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario 13 at the use case; the function's answers are tested with the function."""
    monkeypatch.setattr(deciding, "decide", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        desk.send()
    monkeypatch.undo()
    assert desk.count("signal.receipts") == desk.count("signal.ticker_states") == 0
    assert desk.send(minutes=1).lane == "enter_now"
