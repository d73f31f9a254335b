"""End to end: from the instant a webhook is due until Discord has the body, beside the same chain with empty handlers.

Every receipt books: on each session date ten tickers enter and are stopped out, as many as the strategy's limits allow a day.
The receipts of a date are one burst at the constant rate; between bursts both desks come to rest and their clocks move to
the next date. During a burst the desk clock runs fast, so that Discord's windows (5 in 2 s, 30 in 60 s) leave the order of
things alone and what is measured is the chain, not the waiting that Discord asks for. Schedules pause: no drain helps out.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from fillbook.calendar import Session, calendar
from fillbook.runtime.sql import statement
from fillbook.signal.receipt import instant
from infra.local.control import Control
from infra.local.desk import POSTGRES, PUBSUB, LocalCloud
from infra.local.deskclock import DeskClockFile
from infra.local.fakes import DISCORD
from tests.bench.load import at_rate
from tests.bench.nulls import CHAIN, STORING, TABLE, work_tree
from tests.bench.processor import spent_seconds
from tests.bench.report import Stage, percentile, publish
from tests.bench.webhook import webhook_of
from tests.support.receipts import MINUTE_MS, R_TS, body, encoded

RATE, SECONDS, ROUNDS = 20, 30, 5
ENTRIES = 10  # a session date, by the strategy's limits
SPEED = 300.0  # desk seconds in one second while a burst runs
WARM_SPEED = 30.0  # a cold start may take seconds: a receipt older than 900 s of desk time would not be traded any more
FUNCTIONS = tuple(CHAIN)
PROCESSES = (*FUNCTIONS, PUBSUB, DISCORD, POSTGRES)
P50, P99, ANSWER = 2.0, 3.0, 1.5
SETTLE_SECONDS = 20.0
STOP = Decimal("96.90")
TICKER = re.compile(r"ZE\d+")
DAY_MINUTES = 24 * 60
ACTIONS = statement("select count(*) as n from ledger.v_actions where book_id = 'live'")
COMMITS = statement("select xact_commit as n from pg_stat_database where datname = current_database()")
STATISTICS_SECONDS = 1.5  # backends tell their counts at most once a second
LEGS = statement(
    "select extract(epoch from r.processed_at - r.received_at) as door_to_worker,"
    " extract(epoch from m.created_at - r.processed_at) as worker_to_notifier,"
    " extract(epoch from t.started_at - m.created_at) as notifier_to_request,"
    " extract(epoch from t.finished_at - t.started_at) as request_to_answer"
    " from signal.receipts r join ledger.fills f on f.book_id = 'live' and f.source_id like r.receipt_id || '#%'"
    " join ledger.v_actions a on a.book_id = 'live' and a.fill_id = f.fill_id"
    " join notify.messages m on m.channel_id = 'executions' and m.subject_key = 'live/' || a.action_id"
    " join notify.attempt_subjects s on s.channel_id = m.channel_id and s.subject_key = m.subject_key"
    " join notify.attempts t on t.attempt_id = s.attempt_id and t.http_status = 200"
)


@dataclass(slots=True)
class Lane:
    """One running chain: its desk, and how far its Discord's log was read."""

    cloud: LocalCloud
    read_to: int = 0
    told: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    sent: int = 0
    messages: int = 0


def run(argv: list[str]) -> int:
    """``bench e2e [--rate 20[,100]] [--seconds N] [--runs N]``."""
    rates = [int(rate) for rate in _option(argv, "--rate", str(RATE)).split(",")]
    seconds, rounds = int(_option(argv, "--seconds", str(SECONDS))), int(_option(argv, "--runs", str(ROUNDS)))
    stage = Stage(name="e2e")
    sessions = iter(calendar().sessions(instant(R_TS).date(), calendar().last_day))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        lanes = [stack.enter_context(_lane(Path(folder), name)) for name in ("ours", "null", "storing")]
        with lanes[2].database.transaction() as tx:
            for text in TABLE:
                tx.execute(statement(text))
        first = next(sessions)
        warm = [Lane(cloud) for cloud in lanes]
        for lane in warm:
            _burst(lane, first, RATE, WARM_SPEED)  # connections, caches and the first lines of code
        for rate in rates:
            ours, null, storing = (Lane(lane.cloud, read_to=lane.read_to) for lane in warm)
            before, commits = _used(lanes), _commits(lanes[0])
            _rounds(stage, (ours, null, storing), sessions, rate, max(1, round(rate * seconds / (2 * ENTRIES * rounds))), rounds)
            _effort(stage, rate, before, _used(lanes), [one.sent for one in (ours, null, storing)])
            stage.add(f"{rate}/s, transactions in Postgres", [(_commits(lanes[0]) - commits) / ours.sent], "a receipt")
        actions = int(lanes[0].database.run(lambda tx: tx.query(ACTIONS), read_only=True)[0]["n"])
        _legs(stage, lanes[0], rates[-1])
        figures = lanes[0].figures()
    stage.note(f"{actions:,} executions booked; processes restarted: {sum(one['restarts'] for one in figures.values())}")
    stage.note(f"each burst: the {2 * ENTRIES} receipts of a date; desk clock {SPEED:g} times as fast; schedules paused")
    stage.note(
        "what ours adds to the null chain: two transactions before the request leaves (receipt, lanes, booking and the events'"
        " lease; inbox, message, claim and the delivery log), both flushed, two that record afterwards; tokens, validation"
    )
    publish(stage)
    return 0


def _option(argv: list[str], name: str, default: str) -> str:
    return argv[argv.index(name) + 1] if name in argv else default


def _lane(folder: Path, name: str) -> LocalCloud:
    handlers = {"null": CHAIN, "storing": STORING}
    options: dict[str, Any] = {"root": work_tree(folder / f"{name} tree", handlers[name])} if name in handlers else {}
    return LocalCloud(folder / name, functions=list(FUNCTIONS), desk_start=instant(R_TS), **options)


def _rounds(stage: Stage, lanes: Sequence[Lane], sessions: Iterator[Session], rate: int, dates: int, rounds: int) -> None:
    """Alternate the chains, ``dates`` bursts each a round; report what each took, and its ratio to the null chain."""
    ours, null, _ = lanes
    samples: dict[str, tuple[list[float], ...]] = {}
    for _ in range(rounds):
        days = [next(sessions) for _ in range(dates)]
        for side, lane in enumerate(lanes):
            told, answers = len(lane.told), len(lane.answers)
            for day in days:
                _burst(lane, day, rate)
            for name, times, share in (
                ("p50", lane.told[told:], 0.5),
                ("p99", lane.told[told:], 0.99),
                ("webhook p50", lane.answers[answers:], 0.5),
            ):
                samples.setdefault(name, ([], [], []))[side].append(percentile(times, share) * 1000)
    for name, (mine, empty, kept) in samples.items():
        stage.add(f"{rate}/s: {name}", mine, "ms")
        stage.add(f"{rate}/s: {name}, null chain", empty, "ms")
        stage.add(f"{rate}/s: {name}, chain that only stores", kept, "ms")
    for name, goal in (("p50", P50), ("p99", P99), ("webhook p50", ANSWER)):
        mine, empty, kept = samples[name]
        stage.at_most(f"{rate}/s: {name} / null chain", [a / b for a, b in zip(mine, empty, strict=True)], goal)
        stage.add(f"limit: {rate}/s: {name}, only storing / null chain", [a / b for a, b in zip(kept, empty, strict=True)], "×")
    stage.at_most(f"{rate}/s: messages / receipts", [ours.messages / ours.sent], 1.0)
    stage.note(
        f"{rate}/s: {len(ours.told):,} of {ours.sent:,} executions told, in {ours.messages:,} messages; null {len(null.told):,}"
    )


def _burst(lane: Lane, day: Session, rate: float, speed: float = SPEED) -> None:
    """Send one date's receipts and wait until Discord has been told of all of them."""
    cloud, minutes = lane.cloud, (day.date - instant(R_TS).date()).days * DAY_MINUTES
    cloud.control.pause_jobs()
    cloud.clock.set(instant(R_TS + (minutes + 1) * MINUTE_MS) + timedelta(seconds=1), paused=False, speed=speed)
    tickers = [f"ZE{minutes // DAY_MINUTES:04d}{number}" for number in range(ENTRIES)]
    moved = R_TS + (minutes - 15) * MINUTE_MS
    entries = [encoded(body(minutes=minutes, ticker=one, trigger_ts=moved, sector=None)) for one in tickers]
    exits = [encoded(body(minutes=minutes + 1, ticker=one, trigger_ts=moved, sector=None, price=STOP)) for one in tickers]
    answers = at_rate(webhook_of(cloud), [*entries, *exits], rate)
    if {one.status for one in answers} != {202}:
        raise RuntimeError(f"refused: {sorted({one.status for one in answers})}")
    told = _told(lane, tickers)
    for one, ticker in zip(answers, tickers * 2, strict=True):
        if told[ticker]:
            lane.told.append(told[ticker].pop(0) - one.sent_at)
    lane.answers += [one.seconds for one in answers]
    lane.sent += len(answers)
    cloud.control.wait_idle(SETTLE_SECONDS)
    cloud.clock.pause()


def _told(lane: Lane, tickers: Sequence[str]) -> dict[str, list[float]]:
    """When (epoch seconds) Discord had each ticker's messages, oldest first; waits for two of each."""
    setting = DeskClockFile(lane.cloud.home.clock).setting()
    discord, told = Control(lane.cloud.place.discord_url), {ticker: [] for ticker in tickers}
    until = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < until and any(len(times) < 2 for times in told.values()):
        time.sleep(0.05)
        for request in discord.get(f"/_control/requests?after={lane.read_to}"):
            if request["status"] is None:
                break
            lane.read_to = request["request_id"]
            if (request["operation"], request["webhook"], request["status"]) != ("create", "executions", 200):
                continue
            lane.messages += 1
            at = setting.real_at + (datetime.fromisoformat(request["at"]) - setting.desk_at).total_seconds() / setting.speed
            for embed in request["body"]["embeds"]:
                told[TICKER.search(embed["title"])[0]].append(at)
    return told


def _legs(stage: Stage, cloud: LocalCloud, rate: int) -> None:
    """Where our time goes, from the instants that the rooms themselves recorded on the desk clock."""
    rows = cloud.database.run(lambda tx: tx.query(LEGS), read_only=True)
    for leg in ("door_to_worker", "worker_to_notifier", "notifier_to_request", "request_to_answer"):
        times = [float(row[leg]) / SPEED * 1000 for row in rows if row[leg] is not None]
        stage.add(f"{rate}/s, ours: {leg.replace('_', ' ')}, p50", [percentile(times, 0.5)], "ms")


def _used(lanes: Sequence[LocalCloud]) -> list[dict[str, float]]:
    """Processor seconds of every process of each desk so far."""
    leaders = [{name: lane.pid(name) for name in PROCESSES} for lane in lanes]
    return [spent_seconds({name: pid for name, pid in one.items() if pid is not None}) for one in leaders]


def _commits(cloud: LocalCloud) -> int:
    """Transactions that the desk's database has committed so far, as far as its backends have told."""
    time.sleep(STATISTICS_SECONDS)
    return int(cloud.database.run(lambda tx: tx.query(COMMITS), read_only=True)[0]["n"])


def _effort(
    stage: Stage, rate: int, before: Sequence[dict[str, float]], after: Sequence[dict[str, float]], sent: Sequence[int]
) -> None:
    """Processor milliseconds a receipt of each process, ours and null: a figure that other work leaves alone."""
    spent = [
        {name: (two[name] - one[name]) / count * 1000 for name in two}
        for one, two, count in zip(before[:2], after[:2], sent[:2], strict=True)
    ]
    for name in spent[0]:
        stage.add(f"{rate}/s, processor time of {name}", [spent[0][name]], "ms a receipt")
        if name in spent[1]:
            stage.add(f"{rate}/s, processor time of {name}, null chain", [spent[1][name]], "ms a receipt")
    stage.add(f"{rate}/s, processor time / null chain", [sum(spent[0].values()) / sum(spent[1].values())], "×")
