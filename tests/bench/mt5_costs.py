"""What one account costs: processor time of the worker and of Postgres, statements, round trips, bytes of log.

Unchanged accounts and accounts with ten new deals in turn, in shards of 40 worked by one process, at a service that answers at
once. Statements are counted by the server (a message may hold several), round trips by a proxy on the way, both in runs of their
own: counting costs time. What a run and a shard need once is in it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from tests.bench.mt5_broker import brokers
from tests.bench.mt5_histories import long_accounts
from tests.bench.mt5_place import LOG_PREFIX, ROLE, House, Place, Ran
from tests.bench.report import Stage
from tests.support.proxy import Proxy

ACCOUNTS = {True: 400, False: 100}
POSITIONS = 5
DEALS = 2 * POSITIONS
CPU_MS = {"unchanged": 12, "ten new deals": 40}
ROW_CPU_MS = 2.5
BUSY, BUSY_DEALS = {True: 40, False: 10}, 999
STATEMENTS = {"unchanged": 0.5, "ten new deals": 8}
MEMORY_MIB = 512
STATEMENT = re.compile(r"LOG:  (?:statement|execute [^:]*): (.*)", re.DOTALL)
LITERAL = re.compile(r"'(?:[^']|'')*'")
COMMENT = re.compile(r"--[^\n]*")
ROOM = re.compile(r"\b(mt5|ledger|outbox)\.")
FRAMES = ("begin", "commit", "rollback", "set ")


def measure(stage: Stage, here: Place, *, is_large: bool, rounds: int) -> None:
    """Add the figures."""
    count = ACCOUNTS[is_large]
    with brokers(here.clock, here.now(), count=1) as found:
        found.grow(count, here.now())
        house = here.house("costs", found)
        house.link(found.accounts)
        for _ in range(2):
            house.sharded(1)
        runs: dict[str, list[Ran]] = {name: [] for name in CPU_MS}
        for turn in range(rounds):
            for name, ran in runs.items():
                ran.append(_worked(house, name, turn))
        for name, ran in runs.items():
            _tell(stage, name, ran)
        house.dismiss()
        counted = _counted(house, rounds)
        for name, (statements, trips) in counted.items():
            _tell_counted(stage, name, count, statements, trips)
        house.dismiss()
    _busy(stage, here, count=BUSY[is_large], rounds=rounds)
    stage.note(
        f"costs: {count} accounts in shards of 40, one process; ten new deals: five trades opened and closed, booked on"
        " lots in the ledger, with their events; statements without begin and commit"
    )


def _busy(stage: Stage, here: Place, *, count: int, rounds: int) -> None:
    """Accounts that do nothing either, with as many deals in their window as a page holds."""
    with brokers(here.clock, here.now(), count=1) as found:
        house = here.house("busy", found)
        house.link(long_accounts(found.all[0], count, BUSY_DEALS, here.now()))
        for _ in range(2):
            house.sharded(1)
        runs = [_worked(house, "unchanged", turn) for turn in range(rounds)]
        house.dismiss()
    name = f"unchanged, {BUSY_DEALS} deals in the window"
    both = [one.each(one.workers + one.postgres) for one in runs]
    stage.at_most(f"{name}: processor time, worker and Postgres", both, CPU_MS["unchanged"], "ms an account")
    stage.add(f"{name}: processor time of the worker alone", [one.each(one.workers) for one in runs], "ms an account")


def _worked(house: House, name: str, turn: int, url: str | None = None) -> Ran:
    if name != "unchanged":
        made = house.brokers.trade(POSITIONS, seed=turn)
        if made != DEALS * len(house.accounts):
            raise AssertionError(made)
    before = house.runs_by_account()
    ran = house.sharded(1, url=url)
    house.check(ran.run_id, before)
    return ran


def _tell(stage: Stage, name: str, runs: list[Ran]) -> None:
    both = [one.each(one.workers + one.postgres) for one in runs]
    stage.at_most(f"{name}: processor time, worker and Postgres", both, CPU_MS[name], "ms an account")
    workers = [one.each(one.workers) for one in runs]
    if name == "unchanged":
        stage.at_most(f"{name}: processor time of the worker alone", workers, ROW_CPU_MS, "ms an account")
    else:
        stage.add(f"{name}: processor time of the worker alone", workers, "ms an account")
    stage.add(f"{name}: processor time of Postgres alone", [one.each(one.postgres) for one in runs], "ms an account")
    stage.add(f"{name}: write-ahead log", [one.wal_bytes / one.accounts for one in runs], "bytes an account")
    stage.at_most(f"{name}: peak memory of the worker", [one.mb for one in runs], MEMORY_MIB, "MiB")


def _counted(house: House, turn: int) -> dict[str, tuple[Counter[str], int]]:
    """Statements by room, and round trips, of a run of each kind."""
    server = house.place.server
    server.run("psql", "-q", "-c", f"alter database {house.name} set log_statement = 'all'")
    found = {}
    with Proxy("127.0.0.1", server.port) as proxy:
        url = proxy.url(server.url(ROLE, house.name))
        house.sharded(1, url=url)  # connections are made, certificates and types are known
        for name in CPU_MS:
            start = server.log_path.stat().st_size
            proxy.reset()
            _worked(house, name, turn, url)
            with server.log_path.open("rb") as log:
                log.seek(start)
                found[name] = statements(log.read().decode()), proxy.trips
    server.run("psql", "-q", "-c", f"alter database {house.name} reset log_statement")
    return found


def statements(log: str) -> Counter[str]:
    """Statements in a server's log by the room they name first; what frames a transaction is none."""
    found: Counter[str] = Counter()
    for entry in log.split(LOG_PREFIX):
        told = STATEMENT.match(entry)
        plain = COMMENT.sub("", LITERAL.sub("''", told[1])) if told else ""
        for text in plain.split(";"):
            words = text.strip().lower()
            if words and not words.startswith(FRAMES):
                room = ROOM.search(words)
                found[room[1] if room else "none"] += 1
    return found


def _tell_counted(stage: Stage, name: str, count: int, found: Mapping[str, int], trips: int) -> None:
    own = sum(number for room, number in found.items() if room not in ("ledger", "outbox"))
    stage.at_most(f"{name}: statements without the ledger's and the outbox's", [own / count], STATEMENTS[name], "an account")
    for room in ("ledger", "outbox"):
        stage.add(f"{name}: statements, {room}", [found.get(room, 0) / count], "an account")
    stage.add(f"{name}: round trips to the database", [trips / count], "an account")
