"""Accounts per five minutes: a tick over a fleet whose service takes 100 ms a call, beside batches of ten.

Baseline, inline runs and shards alternate over the same accounts, brokers and durable server. Measured is the tick that a fleet
has all day: accounts whose answer is what is stored. Reading a fleet for the first time is told apart. After each run every
account must have been worked and noted exactly once, with its money proven, or the figures mean nothing. What is spent beside
the wall clock (workers, server, the fake itself) says what bounded a figure; ``limit`` rows put it into accounts.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from infra.local.mt5_world import API_KEY
from tests.bench import mt5_costs, mt5_dispatch, mt5_histories, mt5_trouble
from tests.bench.mt5_broker import Account, brokers
from tests.bench.mt5_place import House, Place, Ran, place
from tests.bench.report import Stage, publish

SIZES = (25, 300, 1_000, 10_000)
LATENCY_MS = 100
LARGE = 1_000
INLINE_MAX = 300
CLASSIC_MAX = 1_000
BATCH, WINDOW = 10, 20
WORKERS = 5
CALLS = {"v1": 2, "v0": 3}
PER_FIVE_MINUTES = 10_000
RATIO, WALL, ROW_SECONDS = 10.0, 1.15, 0.3
MEMORY_MIB = 512
EXPONENT = 1.05
PARTS = ("rates", "trouble", "costs", "histories", "dispatch")


@dataclass(slots=True, kw_only=True)
class Fleet:
    """A size of fleet: its houses, and what was measured on it."""

    size: int
    accounts: Sequence[Account]
    v1: House
    v0: House | None
    rates: dict[str, list[float]] = field(default_factory=dict)
    ran: dict[str, list[Ran]] = field(default_factory=dict)


def run(argv: list[str]) -> int:
    """``bench accounts [--accounts N,N] [--latency MS] [--runs N] [--only PART,PART]``."""
    sizes = tuple(int(one) for one in _option(argv, "--accounts", ",".join(map(str, SIZES))).split(","))
    latency = float(_option(argv, "--latency", str(LATENCY_MS)))
    is_large = max(sizes) >= LARGE
    rounds = int(_option(argv, "--runs", "2" if is_large else "1"))
    parts = set(_option(argv, "--only", ",".join(PARTS)).split(","))
    if parts - set(PARTS):
        raise SystemExit(f"parts are {', '.join(PARTS)}")
    with place() as here:
        if "rates" in parts:
            _rates(here, sizes, latency, rounds)
        if "trouble" in parts:
            mt5_trouble.measure(here, latency, is_large=is_large)
        if parts & {"costs", "histories", "dispatch"}:
            stage = Stage(name="accounts, what one costs")
            if "costs" in parts:
                mt5_costs.measure(stage, here, is_large=is_large, rounds=rounds + 1)
            if "histories" in parts:
                mt5_histories.measure(stage, here, is_large=is_large)
            if "dispatch" in parts:
                mt5_dispatch.measure(stage, here, is_large=is_large)
            publish(stage)
    return 0


def _option(argv: list[str], name: str, default: str) -> str:
    return argv[argv.index(name) + 1] if name in argv else default


# --- rates --------------------------------------------------------------------------------------------------------------


def _rates(here: Place, sizes: Sequence[int], latency: float, rounds: int) -> None:
    stage = Stage(name="accounts")
    fleets = []
    for size in sizes:
        with brokers(here.clock, here.now()) as found:
            found.grow(size, here.now())
            fleet = _settled(stage, here, Fleet(size=size, accounts=found.accounts, v1=here.house(f"v1_{size}", found), v0=None))
            if size <= INLINE_MAX:
                fleet.v0 = here.house(f"v0_{size}", found)
                fleet.v0.serve(contract="v0")
                _settle(fleet.v0, fleet.accounts)
            found.answer_after(latency)
            for _ in range(rounds if size <= LARGE else 1):
                _round(fleet, here)
            for name, runs in fleet.ran.items():
                _tell(stage, fleet, name, runs, latency)
            _tell_ratios(stage, fleet)
            fleet.v1.dismiss()
            if fleet.v0 is not None:
                fleet.v0.dismiss()
        fleets.append(fleet)
    _growth(stage, fleets)
    cores = os.cpu_count()
    stage.note(
        f"{latency:g} ms a call at two processes of the fake service; baseline: batches of ten, three calls in series, 100 ms of"
        " pause, one statement a row, no retry, no proof; inline: one process, batches of ten; shards: 40 accounts a message,"
        " window 20 in each process"
    )
    stage.note(
        "a tick: two closed trades and an open one an account, prices stand still, nothing new; each run noted every account"
        " exactly once and proved its money"
    )
    stage.note(
        f"limit: what {cores} cores could give if nothing ever waited, from the processor time of all processes, the fake's own"
        " included; in flight at the row's 0.3 s an account"
    )
    publish(stage)


def _settled(stage: Stage, here: Place, fleet: Fleet) -> Fleet:
    first = _settle(fleet.v1, fleet.accounts)
    stage.add(f"{fleet.size:,}: first read of the fleet, shards", [first.per_five_minutes], "accounts/5 min")
    stage.add(f"{fleet.size:,}: first read, processor time of workers", [first.each(first.workers)], "ms an account")
    stage.add(f"{fleet.size:,}: first read, processor time of Postgres", [first.each(first.postgres)], "ms an account")
    return fleet


def _settle(house: House, accounts: Sequence[Account]) -> Ran:
    """Link and read for the first time, and once more, which leaves digests; the first run."""
    house.link(accounts)
    runs = []
    for _ in range(2):
        before = house.runs_by_account()
        runs.append(house.sharded(WORKERS))
        house.check(runs[-1].run_id, before)
    return runs[0]


def _round(fleet: Fleet, here: Place) -> None:
    """One run of each kind, in turn."""
    size = fleet.size
    v1, v0 = fleet.v1, fleet.v0
    works: dict[str, tuple[House, Callable[[], Ran]]] = {}
    if v0 is not None:
        works |= {"v0 inline": (v0, v0.inline), "v1 inline": (v1, v1.inline), "v0 shards": (v0, partial(v0.sharded, WORKERS))}
    if INLINE_MAX <= size <= CLASSIC_MAX:
        works["v1 shards, one process"] = (v1, partial(v1.sharded, 1))
    works["v1 shards"] = (v1, partial(v1.sharded, WORKERS))
    if size <= CLASSIC_MAX:
        fleet.rates.setdefault("baseline", []).append(_classic(v1, fleet.accounts, here))
    for name, (house, work) in works.items():
        before = house.runs_by_account()
        ran = work()
        house.check(ran.run_id, before)
        fleet.ran.setdefault(name, []).append(ran)
        fleet.rates.setdefault(name, []).append(ran.per_five_minutes)


def _classic(house: House, accounts: Sequence[Account], here: Place, timeout_seconds: int = 30) -> float:
    """Accounts in five minutes as the baseline works them."""
    command = [sys.executable, "-m", "tests.bench.mt5_classic", house.url, API_KEY, here.now().isoformat(), str(timeout_seconds)]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    given = json.dumps([{"id": one.name, "url": one.url} for one in accounts])
    done = subprocess.run(command, env=environment, input=given, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    if found["stored"] != len(accounts):
        raise AssertionError(found)
    return len(accounts) / float(found["seconds"]) * 300


def _tell(stage: Stage, fleet: Fleet, name: str, runs: Sequence[Ran], latency: float) -> None:
    label = f"{fleet.size:,}: {name}"
    rates = [one.per_five_minutes for one in runs]
    if name == "v1 shards" and fleet.size >= LARGE:
        stage.at_least(label, rates, PER_FIVE_MINUTES, "accounts/5 min")
    else:
        stage.add(label, rates, "accounts/5 min")
    if fleet.size < INLINE_MAX:
        return
    calls = CALLS[name[:2]]
    flight = BATCH if "inline" in name else WINDOW if "one process" in name else WINDOW * WORKERS
    waits = [one.seconds / (one.accounts * calls * latency / 1000 / flight) for one in runs]
    stage.add(f"{label}: wall / waiting for {calls} calls, {flight} in flight", waits, "×")
    if "inline" not in name:
        row = [one.seconds / (one.accounts * ROW_SECONDS / flight) for one in runs]
        stage.at_most(f"{label}: wall / (N × {ROW_SECONDS} s / {flight})", row, WALL)
    stage.add(f"{label}: processor time of workers", [one.each(one.workers) for one in runs], "ms an account")
    stage.add(f"{label}: processor time of Postgres", [one.each(one.postgres) for one in runs], "ms an account")
    stage.add(f"{label}: processor time of the fake", [one.each(one.brokers) for one in runs], "ms an account")
    cores = os.cpu_count() or 1
    all_of_it = [one.each(one.workers + one.postgres + one.brokers) for one in runs]
    stage.add(f"limit: {label}, all cores busy", [cores * 300_000 / each for each in all_of_it], "accounts/5 min")
    stage.at_most(f"{label}: peak memory of a worker", [max(one.mb for one in runs)], MEMORY_MIB, "MiB")


def _tell_ratios(stage: Stage, fleet: Fleet) -> None:
    base = fleet.rates.get("baseline")
    if base is None:
        return
    stage.add(f"{fleet.size:,}: baseline", base, "accounts/5 min")
    for name in fleet.ran:
        ratios = [ours / theirs for ours, theirs in zip(fleet.rates[name], base, strict=True)]
        if name == "v1 shards" and fleet.size >= LARGE:
            stage.at_least(f"{fleet.size:,}: {name} / baseline", ratios, RATIO)
        else:
            stage.add(f"{fleet.size:,}: {name} / baseline", ratios, "×")


def _growth(stage: Stage, fleets: Sequence[Fleet]) -> None:
    """How processor time of workers and server grows with the fleet."""
    large = [fleet for fleet in fleets if fleet.size >= INLINE_MAX]
    for small, big in itertools.pairwise(large):
        spent = [min(one.workers + one.postgres for one in fleet.ran["v1 shards"]) for fleet in (small, big)]
        exponent = math.log(spent[1] / spent[0]) / math.log(big.size / small.size)
        label = f"growth of a tick's processor time, {small.size:,} to {big.size:,} accounts (1 is linear)"
        stage.at_most(label, [exponent], EXPONENT, "exponent")
