"""Check 21: clocks ten minutes off, either way, or stepping back: no window skipped, nothing twice, no lease negative."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from fillbook.mt5.desk import RealTime
from fillbook.mt5.mt5_calls import Hooks
from fillbook.mt5.mt5_service import Keys, Mt5Service
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from fillbook.signal.receipt import instant
from infra.database.roles import login_role_statement
from tests.integration.reliability.conftest import Query
from tests.support.ibkr import exec_id, tws
from tests.support.ibkr_world import WORKER_GROUPS as IBKR_GROUPS
from tests.support.ibkr_world import Socket
from tests.support.ibkr_world import World as BrokerWorld
from tests.support.mt5_syncing import Syncing
from tests.support.mt5_world import WORKER_GROUPS as MT5_GROUPS
from tests.support.receipts import R_TS, body
from tests.support.signal_live import LiveDesk, digest, wipe

ROOT = Path(__file__).resolve().parents[3]
MINUTE_MS = 60_000
SKEWS = (600, -600, 600, 0, -600, -600, 600)
MOVES = ((0, "100.40"), (1, "100.60"), (20, "102.10"), (25, "103.00"), (26, "102.90"), (40, "102.00"), (41, "101.90"))


class Off:
    """A clock that differs from another one by some seconds."""

    def __init__(self, right: FixedClock) -> None:
        self.right, self.seconds = right, 0.0

    def now(self) -> datetime:
        return self.right.now() + timedelta(seconds=self.seconds)


def as_worker(db: Database, open_database: Any, groups: tuple[str, ...], name: str) -> Database:
    with db.transaction() as tx:
        tx.execute(statement(login_role_statement(name, groups)))
    opened: Database = open_database(name, pool_size=4)
    return opened


@pytest.fixture
def syncing(db: Database, open_database: Any, query: Query) -> Iterator[Syncing]:
    made = Syncing(as_worker(db, open_database, MT5_GROUPS, "clock_mt5"), open_database("desk_operator"), query)
    with made.fake:
        yield made


def test_check_21_workers_whose_clocks_are_off_decide_each_minute_once_and_alike(desk: LiveDesk, query: Query) -> None:
    day = [body(minutes=minutes, price=Decimal(price)) for minutes, price in MOVES]
    for document in day:
        desk.take(document)
    right = digest(query)
    assert desk.types()[0] == "ENTRY"
    assert len(desk.types()) > 1
    wipe(query)
    for number, (document, (minutes, _)) in enumerate(zip(day, MOVES, strict=True)):
        close = instant(R_TS + minutes * MINUTE_MS + MINUTE_MS)
        told = [
            desk.take(document, now=close + timedelta(seconds=1 + SKEWS[(number + other) % len(SKEWS)])).result
            for other in range(3)
        ]
        assert told == ["decided", "duplicate", "duplicate"], "whichever worker, and whatever its clock says, comes second"
    assert digest(query) == right


def test_check_21_a_desk_clock_that_is_off_or_steps_back_skips_no_deal_of_an_account(syncing: Syncing) -> None:
    off = Off(syncing.fake.clock)
    keys = Keys(api_key=SecretStr(syncing.fake.api_key))
    syncing.time = RealTime(off)
    syncing.service = Mt5Service(keys, now=off, hooks=Hooks(jitter=lambda: 0.0, sleep=lambda _: None))
    account = syncing.account()
    syncing.does("a", "deposit", amount="10000.00")
    syncing.good(account)
    read_until = 0
    for number, seconds in enumerate(SKEWS):
        off.seconds = seconds
        syncing.does("a", "open", symbol="EURUSD", side="buy", volume="0.10", price="1.10000", ref=f"p{number}")
        syncing.good(account, minutes=1)
        assert syncing.count("deals", account) == 2 + number, "seen by the run that follows it"
        assert syncing.row(account)["history_until_msc"] >= read_until, "the watermark never falls"
        read_until = syncing.row(account)["history_until_msc"]
    off.seconds = 0
    syncing.good(account)
    assert syncing.gaps(account) == []
    syncing.check_truth(account, "a")
    syncing.check_money(account)


def test_check_21_windows_of_the_brokers_socket_overlap_though_the_desk_clock_steps(
    db: Database, open_database: Any, query: Query
) -> None:
    world = BrokerWorld(as_worker(db, open_database, IBKR_GROUPS, "clock_ibkr"), query)
    rows = [tws(exec_id(number)) for number in range(len(SKEWS))]
    covered: list[datetime] = []
    right = world.now
    for number, seconds in enumerate(SKEWS):
        source = Socket(rows[: number + 1])
        world.now = right + timedelta(minutes=number, seconds=seconds)
        world.sync(source)
        (window,) = source.windows
        assert not covered or window.from_at < min(covered), "what lies between two runs is asked for by the later one"
        covered.append(window.to_at)
    assert len(world.executions()) == len(world.fills()) == len(SKEWS), "each once"


COMPARED = re.compile(r"\b(?:lease_until|lease_expires_at|held\.expires_at)\s*(?:<=?|>=?)\s*(\S+)")
GIVEN = re.compile(r"\b(?:lease_until|lease_expires_at)\s*=\s*(?!null\b|case\b|excluded\b)(\S+)")


def test_check_21_a_lease_is_given_and_ended_by_the_servers_own_clock_whatever_a_callers_says() -> None:
    """So that none is negative, and none ends early, because somebody's clock is off."""
    texts = [path.read_text("utf-8") for path in (ROOT / "shared").rglob("*.sql")]
    texts.append((ROOT / "infra" / "database" / "schema.sql").read_text("utf-8"))
    found = [clock for text in texts for pattern in (COMPARED, GIVEN) for clock in pattern.findall(text)]
    assert len(found) > 30
    assert {clock.rstrip(",;)") for clock in found} == {"clock_timestamp("}
