"""The read API at 100,000 positions: each route at 1, 4 and 20 readers, against its own statements bare on the same server.

Bare: the statements of the route's first page in one look, texts as they come, no document made. Readers and statements take
turns. A reader keeps its connection and asks as soon as it has its answer; latencies are of whole answers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import requests

from fillbook.calendar import calendar
from fillbook.runtime.deskkeys import DeskKey
from fillbook.tracker import executions, past, present, store, trade_query, trades
from tests.bench.api_place import Place, place
from tests.bench.report import Stage, percentile, publish

POSITIONS = 117_000
READERS = (1, 4, 20)
CALLS, WARM_UPS = 200, 5
P95_MS, DETAIL_MS, UNCHANGED_MS = 200.0, 50.0, 20.0
ROWS_PER_SECOND, MEMORY_MB = 20_000, 200.0
MEASURED = 4
"""Up to so many readers at once the goals hold."""
KEY = DeskKey(id="bench", sha256="0" * 64, scopes=frozenset({"read"}), tenant_id="desk", books=("live",))
Bare = Callable[[], None]


def run(argv: list[str]) -> int:
    """``bench api [--positions N] [--calls N]``."""
    given = dict(zip(argv[::2], argv[1::2], strict=False))
    positions, calls = int(given.get("--positions", POSITIONS)), int(given.get("--calls", CALLS))
    stage = Stage(name="api")
    with place(positions) as where:
        paths = routes(where)
        for name, path in paths.items():
            measure(stage, where, name, path, calls)
        unchanged(stage, where, paths["a page of 200"], calls)
        for what in ("trades.csv", "trades.json", "actions.csv"):
            export(stage, where, what)
        goal = f"the function's memory at most, exports included ({MEMORY_MB:g} MB above an idle one's 60)"
        stage.at_most(goal, [where.memory_mb], MEMORY_MB + 60, "MB")
    stage.note(
        f"{positions:,} positions, {positions * 3 - 1_000 + positions // 100:,} versions of actions, 1,000 open; six months"
    )
    stage.note("a page far down is the 95th, read as of what was known on the first, which is what is known now")
    publish(stage)
    return 0


def routes(where: Place) -> dict[str, str]:
    """What is asked, by name."""
    session = requests.Session()
    since = (where.now - timedelta(days=1)).isoformat().replace("+00:00", "Z")
    middle = where.now - timedelta(days=30)
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
        "winners (there are none)": "/timed/trades?outcome=win",
        "a reason (nobody has)": "/timed/trades?reason=tp_hit",
        "a page far down": f"/timed/trades?cursor={cursor}",
        "as known 20 days ago": f"/timed/trades?known_as_of={known}",
        "flat": "/timed/ledger/trades",
        "executions": "/timed/ledger/actions",
        "executions of a ticker": "/timed/ledger/actions?ticker=T77",
        "summary": "/timed/ledger/summary",
        "summary by ticker": "/timed/ledger/summary?group_by=ticker",
        "summary by reason, a month": f"/timed/ledger/summary?group_by=reason&since={middle:%Y-%m-%d}",
        "calendar of a month": "/timed/calendar",
        "calendar of all": f"/timed/calendar?from=2026-01-02&to={where.now:%Y-%m-%d}",
        "account, its minutes": "/timed/portfolio",
        "account, 30 days": "/timed/portfolio?range=30d",
        "account, ever": "/timed/portfolio?range=all",
        "activity": "/timed/activity",
        "activity of a ticker": "/timed/activity?ticker=T77",
        "marks": "/timed/marks/T77",
        "health": "/timed/health",
        "one position": f"/timed/ledger/trades/{first['trades'][-1]['position_id']}?include=history,evidence",
    }


def measure(stage: Stage, where: Place, name: str, path: str, calls: int) -> None:
    """One route: by itself against its bare statements, then with more readers."""
    ours: list[float] = []
    statements: list[float] = []
    session = requests.Session()
    for number in range(-WARM_UPS, calls):
        took = timed(lambda: where.get(session, path))
        bare = bare_ms(where, path)
        if number >= 0:
            ours.append(took)
            if bare is not None:
                statements.append(bare)
    limit = DETAIL_MS if name == "one position" else P95_MS
    stage.add(f"{name}: one reader, p50", [percentile(ours, 0.5)], "ms")
    stage.at_most(f"{name}: one reader, p95", [percentile(ours, 0.95)], limit, "ms")
    if statements:
        stage.add(f"{name}: its statements bare, p50", [percentile(statements, 0.5)], "ms")
        stage.add(f"{name}: answer ÷ statements", [one / other for one, other in zip(ours, statements, strict=True)], "×")
    for readers in READERS[1:]:
        took_each = crowded(where, path, readers, calls)
        p95 = [percentile(took_each, 0.95)]
        if readers <= MEASURED:
            stage.at_most(f"{name}: {readers} readers, p95", p95, limit, "ms")
        else:
            stage.add(f"{name}: {readers} readers, p95", p95, "ms")


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def crowded(where: Place, path: str, readers: int, calls: int) -> list[float]:
    """Latencies of ``calls`` answers, asked by some readers at once."""
    lock = threading.Lock()
    found: list[float] = []

    def read(count: int) -> None:
        session = requests.Session()
        for _ in range(count):
            took = timed(lambda: where.get(session, path))
            with lock:
                found.append(took)

    with ThreadPoolExecutor(readers) as pool:
        list(pool.map(read, [max(1, calls // readers)] * readers))
    return found


def bare_ms(where: Place, path: str) -> float | None:
    """How long the statements of a route take by themselves; None: it has other ones."""
    name, _, query = path.partition("?")
    given = {key: [value] for key, _, value in (pair.partition("=") for pair in query.split("&") if pair)}
    if name == "/timed/trades" and "known_as_of" not in given and "include" not in given:
        return timed(lambda: _trades(where, trade_query.trade_query(given)))
    if name == "/timed/ledger/actions":
        return timed(lambda: _actions(where, trade_query.action_query(given)))
    return None


def _trades(where: Place, query: trade_query.TradeQuery) -> None:
    with store.look(where.db, KEY, ["live"]) as seen:
        source = present.Present(seen)
        today = trades.day_start(trades.day_of(where.now, calendar()))
        asked = source._asked(query, None)
        seen.tx.texts(present.QUERIES["positions"], day_start=today, limit=query.common.limit + 1, **asked)


def _actions(where: Place, query: trade_query.ActionQuery) -> None:
    with past.look(where.db, KEY, query.common, where.now) as (seen, at, _):
        asked = executions._asked(seen, query, at)
        seen.tx.texts(present.QUERIES["executions"], limit=query.common.limit + 1, **asked)


def unchanged(stage: Stage, where: Place, path: str, calls: int) -> None:
    """An answer that the reader holds already."""
    session = requests.Session()
    key = next(where.keys)
    where.keys = iter(lambda: key, None)  # a tag is of a key's scope
    tag = where.get(session, path).headers.get("ETag")
    if tag is None:
        stage.note("answers about trades have no ETag yet")
        return
    took = [timed(lambda: where.get(session, path, **{"If-None-Match": tag})) for _ in range(min(calls, 50))]
    stage.at_most("304: one reader, p95", [percentile(took, 0.95)], UNCHANGED_MS, "ms")


def export(stage: Stage, where: Place, what: str) -> None:
    """A file of as many rows as a file may have."""
    session = requests.Session()
    until = "2026-03-10" if what.startswith("trades") else "2026-01-25"
    path = f"/timed/export/{what}?until={until}"
    rates, count = [], 0
    for _ in range(2):
        start = time.perf_counter()
        answer = where.get(session, path)
        count = answer.json()["count"] if what.endswith("json") else answer.text.count("\r\n") - 1
        rates.append(count / (time.perf_counter() - start))
    stage.at_least(f"{what} of {count:,} rows", rates, ROWS_PER_SECOND, "rows/s")
