"""The fake MT5 service for the bench: several processes of it, each a service instance with its share of the accounts.

One Python process answers a call in about a millisecond of its own, so that a bench of thousands of accounts would measure the
fake alone; what it spends is told beside ours. Accounts are made by their number, the same for every run.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from infra.local.mt5_world import API_KEY
from infra.local.ports import free_port
from tests.bench.processor import own_seconds

BROKERS = 2
SERVERS = 2
FIRST_LOGIN = 20_000_001
DAYS, CLOSED = 20, 2
ADDED_AT_ONCE = 500
ANSWER_SECONDS = 120
START_SECONDS = 20.0
ZONE, SHIFT_MINUTES = "UTC", 180
SEED = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account at a broker: its id in paths, its instance."""

    name: str
    login: int
    server: str
    instance_key: str
    url: str


@dataclass(slots=True, kw_only=True)
class Broker:
    """One process of the fake service; ``key`` is its instance."""

    key: str
    url: str
    pid: int
    accounts: list[Account] = field(default_factory=list)

    @property
    def servers(self) -> tuple[str, ...]:
        """Servers that its accounts are at."""
        return tuple(f"Bench-{self.key}-{number}" for number in range(1, SERVERS + 1))

    def ask(self, method: str, path: str, **document: Any) -> Any:
        """Call its admin API."""
        body = json.dumps(document, default=str).encode() if method == "POST" else None
        request = urllib.request.Request(f"{self.url}/_fake/{path}", body, method=method)
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
            return json.load(answer)

    def add(self, accounts: Sequence[tuple[Account, list[dict[str, Any]]]]) -> None:
        """Add accounts with what they did so far."""
        documents = [
            {"id": one.name, "login": one.login, "server": one.server, "mode": "hedging", "commission_per_lot": "3.5"}
            | {"operations": operations}
            for one, operations in accounts
        ]
        for start in range(0, len(documents), ADDED_AT_ONCE):
            self.ask("POST", "accounts", accounts=documents[start : start + ADDED_AT_ONCE])
        self.accounts += [one for one, _ in accounts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Brokers:
    """All processes together."""

    all: tuple[Broker, ...]
    at: datetime

    @property
    def accounts(self) -> list[Account]:
        """Every account there is, those of all brokers in turn."""
        return sorted((account for broker in self.all for account in broker.accounts), key=lambda account: account.login)

    def grow(self, count: int, now: datetime) -> None:
        """So many more accounts, in turn at each broker: a deposit, two closed positions and an open one."""
        first = len(self.accounts)
        for place, broker in enumerate(self.all):
            numbers = range(first + place, first + count, len(self.all))
            broker.add([(self.account(broker, number), history(number, now)) for number in numbers])

    def account(self, broker: Broker, number: int) -> Account:
        """The ``number``-th account, which is at this broker."""
        return Account(
            name=f"bench-{number:06d}",
            login=FIRST_LOGIN + number,
            server=broker.servers[number // len(self.all) % SERVERS],
            instance_key=broker.key,
            url=broker.url,
        )

    def trade(self, positions: int, seed: int) -> int:
        """Let every account open and close so many positions now; the number of deals."""
        return sum(int(one.ask("POST", "fleet/trade", positions=positions, seed=seed)["deals"]) for one in self.all)

    def answer_after(self, milliseconds: float) -> None:
        """Every call takes so long from now on, and all of them are answered."""
        for one in self.all:
            one.ask("DELETE", "faults")
            if milliseconds:
                one.ask("POST", "faults", fault="latency", ms=milliseconds)

    def hang(self, accounts: Sequence[Account]) -> None:
        """These accounts are never answered."""
        for one in self.all:
            names = [account.name for account in accounts if account.instance_key == one.key]
            if names:
                one.ask("POST", "faults", fault="hang", account=names)

    def spent(self) -> float:
        """Processor seconds of all of them so far."""
        return sum(own_seconds(one.pid) for one in self.all)

    def calls(self) -> int:
        """Calls answered so far."""
        return sum(int(one.ask("GET", "calls")["total"]) for one in self.all)


def history(number: int, now: datetime) -> list[dict[str, Any]]:
    """What an account did in the last twenty days; nothing of it within the last three."""
    chance, begins = random.Random(f"{SEED} {number}"), now - timedelta(days=DAYS)
    done: list[dict[str, Any]] = [{"kind": "deposit", "at": begins, "amount": "10000"}]
    hours = sorted(chance.sample(range(1, (DAYS - 3) * 24), 2 * CLOSED + 1))
    for turn, hour in enumerate(hours):
        at = begins + timedelta(hours=hour)
        if turn % 2:
            done.append({"kind": "close", "at": at, "position": f"p{turn - 1}"})
        else:
            volume = f"{chance.randint(1, 100) / 100:.2f}"
            opened = {"symbol": chance.choice(("EURUSD", "GBPUSD")), "side": chance.choice(("buy", "sell")), "volume": volume}
            done.append({"kind": "open", "at": at, "ref": f"p{turn}", **opened})
    return done


@contextmanager
def brokers(clock: Path, now: datetime, count: int = BROKERS) -> Iterator[Brokers]:
    """Processes of the fake that tell the time by ``clock``, without accounts."""
    with ExitStack() as stack:
        yield Brokers(all=tuple(stack.enter_context(_broker(f"s{number}", clock)) for number in range(count)), at=now)


@contextmanager
def _broker(key: str, clock: Path) -> Iterator[Broker]:
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "infra.local.mt5",
        "--empty",
        "--port",
        str(port),
        "--clock",
        str(clock),
        "--api-key",
        API_KEY,
    ]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "MT5_SERVICE_API_KEY": API_KEY}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        broker = Broker(key=key, url=f"http://127.0.0.1:{port}", pid=process.pid)
        _wait(broker)
        for name in broker.servers:
            broker.ask("POST", "servers", name=name, zone_name=ZONE, shift_minutes=SHIFT_MINUTES)
        yield broker
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def _wait(broker: Broker) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with suppress(OSError):
            broker.ask("GET", "clock")
            return
        time.sleep(0.02)
    raise TimeoutError(broker.url)
