"""Long histories of one account: read for the first time, derived, made again from what is stored."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from fillbook.mt5.clocks import ServerClock
from fillbook.mt5.deals import Stored, standing
from fillbook.mt5.model import Deal, DealVersion, ServerRule
from fillbook.mt5.trades import derive
from fillbook.mt5.words import ZoneState
from fillbook.runtime.sql import statement
from tests.bench.mt5_broker import FIRST_LOGIN, SHIFT_MINUTES, ZONE, Account, Broker, brokers
from tests.bench.mt5_place import House, Place
from tests.bench.report import Stage

FIRST_DEALS, FIRST_SECONDS, FIRST_TIMES = 2_350, 3.0, {True: 3, False: 1}
DEALS = {True: 100_000, False: 2_000}
WHOLE = 100_000
DERIVE_SECONDS, DERIVE_TIMES, REBUILD_SECONDS, MEMORY_MIB = 3.0, 3, 10.0, 512
RUNS_MAX = 20
OTHERS = 100
SPACE = timedelta(seconds=20)
STORED = statement("select count(*)::integer as n from mt5.deals where account_id = :account_id::uuid")
PROVEN = statement(
    "select count(*)::integer as n from mt5.account_sync_state"
    " where account_id = :account_id::uuid and cash_state = 'ok' and page_cursor is null and history_until_msc is not null"
)


def measure(stage: Stage, here: Place, *, is_large: bool) -> None:
    """Add the figures."""
    count = DEALS[is_large]
    with brokers(here.clock, here.now(), count=1) as found:
        (broker,) = found.all
        house = here.house("histories", found)
        _first_read(stage, house, broker, FIRST_TIMES[is_large])
        _derivation(stage, WHOLE)
        _long(stage, here.house("long", found), broker, count)
    stage.note(
        f"histories: one account, trades opened and closed {SPACE.seconds} s apart, answered at once; booked in the ledger"
    )


def operations(deals: int, now: datetime) -> list[dict[str, Any]]:
    """A deposit, then trades opened and closed; the last may stay open. Exactly ``deals`` deals, the last a minute ago."""
    at = now - timedelta(minutes=1) - SPACE * deals
    done: list[dict[str, Any]] = [{"kind": "deposit", "at": at, "amount": "1000000"}]
    for number in range(deals - 1):
        at += SPACE
        price = f"1.1{number % 97:04d}"
        if number % 2:
            done.append({"kind": "close", "at": at, "position": "one", "price": price})
        else:
            done.append(
                {"kind": "open", "at": at, "symbol": "EURUSD", "side": "buy", "volume": "0.10", "price": price, "ref": "one"}
            )
    return done


def _account(broker: Broker, number: int, deals: int, now: datetime) -> Account:
    made = Account(
        name=f"long-{number}",
        login=FIRST_LOGIN - 1 - number,
        server=broker.servers[0],
        instance_key=broker.key,
        url=broker.url,
    )
    broker.add([(made, operations(deals, now))])
    return made


def long_accounts(broker: Broker, count: int, deals: int, now: datetime) -> list[Account]:
    """So many more accounts with a history of so many deals, numbered beyond those of this module."""
    return [_account(broker, OTHERS + number, deals, now) for number in range(count)]


def _first_read(stage: Stage, house: House, broker: Broker, times: int) -> None:
    accounts = [_account(broker, number, FIRST_DEALS, house.place.now()) for number in range(1, times + 1)]
    house.link(accounts)
    sync = house.child("sync")
    took, spent = [], []
    for one in accounts:
        answer = sync.ask("sync", body={"account_id": house.accounts[one.name]})
        _check(house, one, FIRST_DEALS)
        took.append(answer["seconds"])
        spent.append(answer["cpu"])
    stage.at_most(f"first read of {FIRST_DEALS:,} deals", took, FIRST_SECONDS, "s")
    stage.add(f"first read of {FIRST_DEALS:,} deals, processor time of the worker", spent, "s")
    house.dismiss()


def _check(house: House, one: Account, deals: int) -> None:
    """Every deal is stored, the money proven, or the figures mean nothing."""
    for text, wanted in ((STORED, deals), (PROVEN, 1)):
        (row,) = house.query(text, account_id=house.accounts[one.name])
        if row["n"] != wanted:
            raise AssertionError((row["n"], wanted))


def _derivation(stage: Stage, count: int) -> None:
    """Deals in memory to trades in memory, position by position, as a rebuild does."""
    account_id = "6b3c0f0e-0000-5000-8000-000000000001"
    rule = ServerRule(server="Bench", zone_name=ZONE, shift_minutes=SHIFT_MINUTES, zone_state=ZoneState.CONFIRMED)
    versions = _versions(count)
    took = []
    for _ in range(DERIVE_TIMES):
        begun = time.process_time()
        clock = ServerClock(rule, {})
        positions: dict[int, list[Stored]] = {}
        for one in standing(versions).values():
            positions.setdefault(one.deal.position_id, []).append(one)
        trades = [
            trade for key, deals in positions.items() for trade in derive(account_id, key, deals, (), None, clock, 2).trades
        ]
        took.append(time.process_time() - begun)
        if len(trades) != count // 2:
            raise AssertionError(len(trades))
    stage.at_most(f"pure derivation of {count:,} deals", took, DERIVE_SECONDS, "s of processor")


def _versions(count: int) -> Sequence[DealVersion]:
    at = datetime(2026, 1, 15, tzinfo=UTC)
    first_msc = 1_765_000_000_000
    return [
        DealVersion(
            deal=Deal(
                deal_ticket=1_000_000 + number,
                position_id=5_000_000 + number // 2,
                order_id=9_000_000 + number,
                time_msc=first_msc + 20_000 * number,
                deal_type=number % 2,
                entry=number % 2,
                reason=0,
                symbol="EURUSD",
                volume=Decimal("0.10"),
                price=Decimal(f"1.1{number % 97:04d}"),
                profit=Decimal(number % 41 - 20) / 10 if number % 2 else Decimal(0),
                commission=Decimal("-0.35"),
                swap=Decimal(0),
                fee=Decimal(0),
            ),
            revision=1,
            recorded_at=at,
        )
        for number in range(count)
    ]


def _long(stage: Stage, house: House, broker: Broker, deals: int) -> None:
    """A history of many pages: read over several runs, then made again from what is stored, which changes nothing."""
    one = _account(broker, 0, deals, house.place.now())
    house.link([one])
    began, runs, spent, memory = time.perf_counter(), 0, 0.0, 0.0
    while not house.query(PROVEN, account_id=house.accounts[one.name])[0]["n"]:
        ran = house.inline()
        runs, spent, memory = runs + 1, spent + ran.workers, max(memory, ran.mb)
        if runs > RUNS_MAX:
            raise AssertionError("the history is never whole")
    seconds = time.perf_counter() - began
    _check(house, one, deals)
    stage.add(f"first read of {deals:,} deals, {runs} runs", [seconds], "s")
    stage.add(f"first read of {deals:,} deals, processor time of the worker", [spent], "s")
    stage.add(f"first read of {deals:,} deals, peak memory", [memory], "MiB")
    house.dismiss()
    before = house.place.spent()
    answer = house.child("sync").ask("rebuild", account_id=house.accounts[one.name])
    if answer["changed"]:
        raise AssertionError(answer)
    if deals == WHOLE:
        stage.at_most(f"rebuild of one account with {deals:,} deals", [answer["seconds"]], REBUILD_SECONDS, "s")
    else:
        stage.add(f"rebuild of one account with {deals:,} deals", [answer["seconds"]], "s")
    stage.add(f"rebuild of {deals:,} deals, processor time of its process", [answer["cpu"]], "s")
    stage.add(f"rebuild of {deals:,} deals, processor time of Postgres", [house.place.spent() - before], "s")
    stage.at_most(f"rebuild of {deals:,} deals, peak memory", [answer["mb"]], MEMORY_MIB, "MiB")
    house.dismiss()
