"""The read API at 100,000 positions: each route at 1, 4 and 20 readers, against its own statements bare on the same server.

The book changes before each answer of one reader, who is never sent what was made before. Readers at once look at the same, which
changes before each answer of the first of them; or each has a view of its own, nothing is shared, and all of them change it.
Bare: the statements of the route in one look, texts as they come, no document made. Readers and statements take turns. A reader
keeps its connection and asks as soon as it has its answer; latencies are of whole answers. Beside them stands the processor time
that an answer takes from the function and from the database: that hardly depends on what else the machine does. At 1,000,000
actions each route is asked by one reader: more days of as much, so that what is asked about a day or a page costs the same.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import requests

from fillbook.calendar import NEW_YORK
from tests.bench import api_bare
from tests.bench.api_place import OPENED_AT, OWN, Place, place
from tests.bench.processor import at_once
from tests.bench.report import Stage, percentile, publish

POSITIONS = (117_000, 334_000)
READERS = (4, 20)
CALLS, WARM_UPS = 200, 5
BARE_CALLS, CROWD_CALLS, LARGER_CALLS = 40, 80, 20
"""How often at most, where no percentile is held to a goal: statements bare, twenty readers, a larger book."""
P95_MS, DETAIL_MS, UNCHANGED_MS = 200.0, 50.0, 20.0
BARE_RATIO, FLAT_RATIO = 3.0, 1.5
ROWS_PER_SECOND, MEMORY_MB = 20_000, 200.0
MEASURED = 4
"""Up to so many readers at once the goals hold."""


def run(argv: list[str]) -> int:
    """``bench api [--positions N[,N]] [--calls N]``: of a second size only how much more an answer costs there."""
    given = dict(zip(argv[::2], argv[1::2], strict=False))
    sizes = tuple(int(word) for word in given["--positions"].split(",")) if "--positions" in given else POSITIONS
    calls = int(given.get("--calls", CALLS))
    stage = Stage(name="api")
    made: list[float] = []
    with place(sizes[0]) as where:
        made.append(where.made_seconds)
        paths = routes(where)
        cost = {name: measure(stage, where, name, path, calls) for name, path in paths.items()}
        for name in ("a page of 200", "one position"):
            unchanged(stage, where, name, paths[name], calls)
        for what in ("trades.csv", "trades.json", "actions.csv", "lots.csv"):
            export(stage, where, what)
        goal = f"the function's memory at most, exports included ({MEMORY_MB:g} MB above an idle one's 60)"
        stage.at_most(goal, [where.memory_mb], MEMORY_MB + 60, "MB")
    for positions in sizes[1:]:
        with place(positions) as where:
            made.append(where.made_seconds)
            for name, path in routes(where).items():
                larger(stage, where, name, path, min(calls, LARGER_CALLS), cost[name], positions)
    stage.note(" and ".join(f"{size:,} positions, {size * 3 - 1_000 + size // 100:,} versions of actions" for size in sizes))
    stage.note(f"the places were made in {' and in '.join(f'{seconds:,.0f} s' for seconds in made)}")
    stage.note(
        "positions are opened every 134 s, day and night, 1,000 of all ages stay open, 158 of these are marked every 5 min"
    )
    stage.note("sums and worth of days were kept the night before; what was executed today is added up with each answer")
    stage.note("a page far down is the 20th of 1,000, read as of what was known on the first, which is what is known now")
    stage.note("processor time: of the function, of the database; four views of their own are answered within twice their sum")
    stage.note(f"two processes at once do {at_once():.2f} times what one does alone: so much of two cores there is for everybody")
    stage.note("readers at once look at the same unless they are said to have views of their own")
    publish(stage)
    return 0


def routes(where: Place) -> dict[str, str]:
    """What is asked, by name."""
    session = requests.Session()
    since = (where.now - timedelta(days=1)).isoformat().replace("+00:00", "Z")
    middle, today = where.now - timedelta(days=30), where.now.astimezone(NEW_YORK)
    execution = where.get(session, "/timed/ledger/actions?limit=1").json()["actions"][0]["action_id"]
    ever = f"from={max(OPENED_AT, where.now - timedelta(days=399)):%Y-%m-%d}&to={where.now:%Y-%m-%d}"
    around = f"since={middle:%Y-%m-%d}&until={middle + timedelta(days=2):%Y-%m-%d}"
    first = where.get(session, "/timed/trades?limit=1000").json()
    cursor = first["next_cursor"]
    following = cursor
    for _ in range(19):
        if following is not None:
            cursor = following
            following = where.get(session, f"/timed/trades?limit=1000&cursor={cursor}").json()["next_cursor"]
    known = (where.now - timedelta(days=20)).isoformat().replace("+00:00", "Z")
    return {
        "a page of 200": "/timed/trades",
        "with lots and actions": "/timed/trades?include=lots,actions",
        "open ones": "/timed/trades?status=open",
        "of a ticker": "/timed/trades?ticker=T77",
        "active since yesterday": f"/timed/trades?since={since}",
        "active on two days": f"/timed/trades?{around}",
        "winners": "/timed/trades?outcome=win",
        "a reason": "/timed/trades?reason=tp_hit",
        "a reason (nobody has)": "/timed/trades?reason=nobody",
        "a page far down": f"/timed/trades?cursor={cursor}",
        "as known 20 days ago": f"/timed/trades?known_as_of={known}",
        "flat": "/timed/ledger/trades",
        "executions": "/timed/ledger/actions",
        "executions of a ticker": "/timed/ledger/actions?ticker=T77",
        "summary": "/timed/ledger/summary",
        "summary of today": f"/timed/ledger/summary?since={today:%Y-%m-%d}",
        "summary by ticker": "/timed/ledger/summary?group_by=ticker",
        "summary by day": "/timed/ledger/summary?group_by=day",
        "summary by reason, a month": f"/timed/ledger/summary?group_by=reason&since={middle:%Y-%m-%d}",
        "calendar of a month": "/timed/calendar",
        "calendar of all": f"/timed/calendar?{ever}",
        "account, its minutes": "/timed/portfolio",
        "account, 30 days": "/timed/portfolio?range=30d",
        "account, 90 days": "/timed/portfolio?range=90d",
        "account, ever": "/timed/portfolio?range=all",
        "activity": "/timed/activity",
        "activity of a ticker": "/timed/activity?ticker=T77",
        "marks": "/timed/marks/T77",
        "health": "/timed/health",
        "board": "/timed/lanes",
        "session": "/timed/session",
        "audit": "/timed/audit",
        "health of syncs": "/api/v1/sync/health",
        "why": f"/timed/why/{execution}",
        "one position": f"/timed/ledger/trades/{first['trades'][-1]['position_id']}?include=history,evidence",
    }


def measure(stage: Stage, where: Place, name: str, path: str, calls: int) -> float:
    """One route: by itself against its bare statements, then with more readers; the processor time of an answer in ms."""
    session = requests.Session()
    asked = api_bare.statements(where, path)
    ours: list[float] = []
    statements: list[float] = []
    function: list[float] = []
    database: list[float] = []
    for number in range(-WARM_UPS, calls):
        where.change()
        before = where.busy_ms
        took = timed(lambda: where.get(session, path))
        after = where.busy_ms
        if number < BARE_CALLS:
            statements.append(timed(lambda: api_bare.run(where, asked)))
        if number >= 0:
            ours.append(took)
            function.append(after[0] - before[0])
            database.append(after[1] - before[1])
    limit = DETAIL_MS if name == "one position" else P95_MS
    stage.at_most(f"{name}: one reader, p95", [percentile(ours, 0.95)], limit, "ms")
    for readers in READERS:
        asks = calls if readers <= MEASURED else min(calls, CROWD_CALLS)
        p95 = [percentile(crowded(where, path, readers, asks), 0.95)]
        if readers <= MEASURED:
            stage.at_most(f"{name}: {readers} readers, p95", p95, limit, "ms")
            alone = [percentile(crowded(where, path, readers, asks, of_their_own=True), 0.95)]
            stage.at_most(f"{name}: {readers} readers with views of their own, p95", alone, limit, "ms")
        else:
            stage.add(f"{name}: {readers} readers, p95", p95, "ms")
    ratios = [one / other for one, other in zip(ours, statements[WARM_UPS:], strict=False)]
    stage.at_most(f"{name}: answer ÷ its statements bare", ratios, BARE_RATIO)
    stage.add(f"{name}: processor time of the function", function, "ms")
    return stage.add(f"{name}: processor time of the database", database, "ms") + percentile(function, 0.5)


def larger(stage: Stage, where: Place, name: str, path: str, calls: int, before: float, positions: int) -> None:
    """One route over a larger book: its latency, and its processor time against that over the first one."""
    session = requests.Session()
    took: list[float] = []
    spent: list[float] = []
    for number in range(-WARM_UPS, calls):
        where.change()
        start = sum(where.busy_ms)
        one = timed(lambda: where.get(session, path))
        if number >= 0:
            took.append(one)
            spent.append(sum(where.busy_ms) - start)
    stage.add(f"{name}, {positions:,} positions: one reader, p95", [percentile(took, 0.95)], "ms")
    crowd = crowded(where, path, max(READERS), min(calls, CROWD_CALLS))
    stage.add(f"{name}, {positions:,} positions: {max(READERS)} readers, p95", [percentile(crowd, 0.95)], "ms")
    ratio = [percentile(spent, 0.5) / before]
    stage.at_most(f"{name}, {positions:,} positions: processor time ÷ that of the first size", ratio, FLAT_RATIO)


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def crowded(where: Place, path: str, readers: int, calls: int, *, of_their_own: bool = False, **headers: str) -> list[float]:
    """Latencies of ``calls`` answers, asked by some readers at once; with an ``If-None-Match`` nothing changes meanwhile."""
    lock = threading.Lock()
    found: list[float] = []

    def read(number: int) -> None:
        session = requests.Session()
        for _ in range(max(1, calls // readers)):
            if not headers and (of_their_own or number == 0):
                where.change()
            took = timed(lambda: where.get(session, path, OWN[number] if of_their_own else None, **headers))
            with lock:
                found.append(took)

    with ThreadPoolExecutor(readers) as pool:
        list(pool.map(read, range(readers)))
    return found


def unchanged(stage: Stage, where: Place, name: str, path: str, calls: int) -> None:
    """An answer that its readers hold already: they are told so after one look at what changed."""
    session = requests.Session()
    held = {"If-None-Match": where.get(session, path).headers["ETag"]}
    took: list[float] = []
    spent: list[float] = []
    for number in range(-WARM_UPS, calls):
        before = sum(where.busy_ms)
        one = timed(lambda: where.get(session, path, **held))
        if number >= 0:
            took.append(one)
            spent.append(sum(where.busy_ms) - before)
    if where.get(session, path, **held).status_code != 304:
        raise RuntimeError(f"{path}: answered whole, though nothing changed")
    stage.at_most(f"304 of {name}: one reader, p95", [percentile(took, 0.95)], UNCHANGED_MS, "ms")
    p95 = [percentile(crowded(where, path, MEASURED, calls, **held), 0.95)]
    stage.at_most(f"304 of {name}: {MEASURED} readers, p95", p95, UNCHANGED_MS, "ms")
    stage.add(f"304 of {name}: processor time of function and database", spent, "ms")


def export(stage: Stage, where: Place, what: str) -> None:
    """A file of as many rows as a file may have."""
    session = requests.Session()
    until = (min(where.now, OPENED_AT + timedelta(days=50 if what.startswith("actions") else 150))).strftime("%Y-%m-%d")
    path = f"/timed/export/{what}?until={until}"
    rates, spent, count = [], [], 0
    for _ in range(2):
        before, start = where.busy_ms, time.perf_counter()
        content = where.get(session, path).content
        seconds, after = time.perf_counter() - start, where.busy_ms
        count = json.loads(content)["count"] if what.endswith("json") else content.count(b"\r\n") - 1
        rates.append(count / seconds)
        spent.append((after[0] - before[0]) * 1000 / count)
    stage.at_least(f"{what} of {count:,} rows", rates, ROWS_PER_SECOND, "rows/s")
    stage.add(f"{what}: processor time of the function, a row", spent, "µs")
