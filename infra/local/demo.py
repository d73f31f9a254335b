"""Play a day through the real webhook: the invented demo day, or recorded points on their own days' time.

The desk clock is stopped at each bar's close and moved on as the functions keep up, so age limits, sessions, schedules
and pacing behave as on that day. After the last bar it walks on past the close until every execution is told.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path
from typing import Any, TextIO

import aiohttp

from fillbook.calendar import NEW_YORK, Session, calendar
from infra.door.operators import home as home_folder
from infra.local import mt5_desk
from infra.local.demo_day import invented_day, names_of
from infra.local.desk import LocalCloud
from infra.local.home import Home
from infra.local.receipts import COLUMNS, Document, PointsRefused, labelled, read_points
from infra.local.sender import Control, Desk, Sent, send_minutes
from infra.local.summary import Operator, Summary

TICKERS = 30
AFTER_THE_DAY_MINUTES_MAX = 240
KEEPER_AT = time_of_day(17, 45, 30)  # New York; the keeper's schedule is due half a minute before
PUBLISHED_AT = time_of_day(16, 30, 5)  # New York; the schedule that publishes the day is due five seconds before
PUBLISHED_LOOKS_MAX = 600
KEEPER_LOOKS_MAX = 300
KEEPER_LOOK_SECONDS = 0.1
BROKER_SCHEDULES = ("ibkr-positions", "ibkr-trades", "ibkr-positions", "ibkr-statement")
BROKER_MINUTES_MAX = 60
REPEATED_MINUTES = 30
BAR_WIDTH = 30


class Progress:
    """A progress bar on a terminal, a line every tenth elsewhere."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_terminal = out.isatty()
        self._last = -1

    def __call__(self, done: int, total: int, label: str) -> None:
        """Show ``done`` of ``total`` receipts; ``label`` says where the desk clock is."""
        share = done / total if total else 1.0
        if self._is_terminal:
            filled = int(share * BAR_WIDTH)
            self._out.write(f"\r  {'█' * filled}{'·' * (BAR_WIDTH - filled)} {done:>6,}/{total:,}  {label} ")
        elif int(share * 10) > self._last:
            self._last = int(share * 10)
            self._out.write(f"  {done:,}/{total:,} receipts  {label}\n")
        if done >= total and self._is_terminal:
            self._out.write("\n")
        self._out.flush()


def play_day(
    desk: Desk,
    environment: Mapping[str, str],
    *,
    day: date | None = None,
    tickers: int = TICKERS,
    seed: str = "fillbook",
    out: TextIO,
) -> Summary:
    """Play the invented day ``day`` (default: the last finished session); ``environment`` is the operator's."""
    exchange = calendar()
    session = exchange.last_finished(datetime.now(UTC)) if day is None else exchange.session(day)
    if session is None:
        raise ValueError(f"{day} is not a trading day of {exchange.name}")
    minutes = int((session.close_at - session.open_at) / timedelta(minutes=1))
    receipts = invented_day(session.open_at, minutes, tickers=tickers, seed=seed)
    if is_played(environment, session, tickers, minutes):
        out.write(
            f"The invented day {session.date} is in the book already; its last {REPEATED_MINUTES} minutes are sent again,\n"
        )
        out.write("as a sender that repeats itself would. Nothing may change. The desk clock is simulated.\n")
        receipts, minutes = itertools.islice(receipts, minutes - REPEATED_MINUTES, None), REPEATED_MINUTES
    else:
        out.write(
            f"Playing the invented day {session.date}: {tickers} tickers, {minutes} minutes. The desk clock is simulated.\n"
        )
    keeper_at = datetime.combine(session.date, KEEPER_AT, NEW_YORK)
    return play(desk, environment, receipts, tickers * minutes, out, since=session.open_at, keeper_at=keeper_at)


def is_played(environment: Mapping[str, str], session: Session, tickers: int, minutes: int) -> bool:
    """Whether the desk holds every receipt of the day from an earlier run."""
    operator = Operator(environment)
    try:
        return operator.stored(session.open_at, session.close_at, names_of(tickers)) >= tickers * minutes
    finally:
        operator.close()


def import_points(
    desk: Desk, environment: Mapping[str, str], path: Path, *, chosen: Callable[[Document], bool] | None = None, out: TextIO
) -> Summary:
    """Send the recorded points of ``path``, or those that are ``chosen``; what they lack is invented and named in ``generated``.

    A point becomes the same receipt whichever others are sent. Raises ``PointsRefused`` also where nothing is left.
    """
    receipts = sorted(filter(chosen, labelled(read_points(path))), key=lambda receipt: receipt["ts"])
    if not receipts:
        raise PointsRefused(f"{path.name}: no such points")
    out.write(f"Importing {len(receipts):,} recorded points on their own days' time. The desk clock is simulated.\n")
    minutes = (list(group) for _, group in itertools.groupby(receipts, key=lambda receipt: receipt["ts"]))
    return play(desk, environment, minutes, len(receipts), out)


def play(
    desk: Desk,
    environment: Mapping[str, str],
    minutes: Iterable[Sequence[Document]],
    total: int,
    out: TextIO,
    *,
    since: datetime | None = None,
    keeper_at: datetime | None = None,
) -> Summary:
    """Send ``minutes`` (``total`` receipts) on their own time, let the desk settle, and read back what came of it from ``since``
    (default: the first bar) on. With ``keeper_at`` the day ends with its publication and a sync of the MT5 accounts, then the
    desk clock goes on to that instant and the evening's audit is awaited.
    """
    started = time.monotonic()
    operator = Operator(environment)
    span: list[int] = []
    try:
        sent, ended_at = asyncio.run(_send_and_settle(desk, operator, _spanned(minutes, span), total, Progress(out), keeper_at))
        since = since or datetime.fromtimestamp(min(span) / 1000, UTC)
        until = datetime.fromtimestamp(max(span) / 1000, UTC) + timedelta(minutes=1)
        return Summary(
            since=since.isoformat(),
            until=until.isoformat(),
            clock=f"simulated, stopped at {ended_at.isoformat()}",
            sent=sent.total,
            accepted=sent.statuses[202],
            refused=dict(sent.refusals),
            repeats=sent.repeats,
            syncs_mt5=keeper_at is not None,
            **operator.figures(since, until),
            **operator.account(ended_at),
            snapshot=operator.snapshot(calendar().trading_day(since)) if keeper_at is not None else {},
            **operator.audit(),
            seconds=round(time.monotonic() - started, 1),
        )
    finally:
        operator.close()


def _spanned(minutes: Iterable[Sequence[Document]], span: list[int]) -> Iterator[Sequence[Document]]:
    """Pass the minutes on and note first and last bar."""
    for receipts in minutes:
        span[:] = [*span[:1], receipts[0]["ts"]] if span else [receipts[0]["ts"]]
        yield receipts


async def _send_and_settle(
    desk: Desk,
    operator: Operator,
    minutes: Iterable[Sequence[Document]],
    total: int,
    progress: Progress,
    keeper_at: datetime | None,
) -> tuple[Sent, datetime]:
    last_close: list[datetime] = []

    def watched() -> Iterator[Sequence[Document]]:
        for receipts in minutes:
            last_close[:] = [datetime.fromtimestamp(max(r["time_close"] for r in receipts) / 1000, UTC)]
            yield receipts

    sent = await send_minutes(desk, watched(), total=total, progress=progress)
    at = last_close[0]
    async with aiohttp.ClientSession() as session:
        control = Control(session, desk)
        at = await _settle(control, operator, at)
        if keeper_at is not None and operator.has_publisher:
            at = await _await_the_publication(control, operator, at, keeper_at.astimezone(NEW_YORK).date())
        if operator.has_broker:
            at = await _settle(control, operator, await _sync_the_broker(control, operator, at))
        if keeper_at is not None and mt5_desk.has_fleet(operator.environment):
            at = await _settle(control, operator, await _sync_the_fleet(control, operator, at))
        if keeper_at is not None:
            at = max(at, keeper_at.astimezone(UTC))
            await control.set_clock(at)
            await _await_the_keeper(operator, since=last_close[0])
            at = await _settle(control, operator, at)  # the clock's jump let the broker's schedules run too
    return sent, at


async def _await_the_publication(control: Control, operator: Operator, at: datetime, day: date) -> datetime:
    """Go on to the slot after the close, whose schedule publishes the day, and wait, bounded, until it has an end."""
    at = max(at, datetime.combine(day, PUBLISHED_AT, NEW_YORK).astimezone(UTC))
    await control.set_clock(at)
    for _ in range(PUBLISHED_LOOKS_MAX):
        if await asyncio.to_thread(operator.is_published, day):
            break
        await asyncio.sleep(KEEPER_LOOK_SECONDS)
    return await _settle(control, operator, at)  # its message goes to Discord too


async def _sync_the_broker(control: Control, operator: Operator, at: datetime) -> datetime:
    """Run the broker's schedules in turn and let the desk clock walk on until their executions are booked and told.

    Positions first: the executions that reach them open the account, and the positions after that are compared.
    """
    for name in BROKER_SCHEDULES:
        at += timedelta(minutes=1)
        await control.set_clock(at)
        if not await control.run_schedule(name):
            return at
        for _ in range(BROKER_MINUTES_MAX):
            if (await control.backlog())[0] == 0 and await asyncio.to_thread(operator.broker_jobs) == 0:
                break
            at += timedelta(minutes=1)
            await control.set_clock(at)
            await asyncio.sleep(0.2)
    return at


async def _sync_the_fleet(control: Control, operator: Operator, at: datetime) -> datetime:
    """Link the demo fleet of MT5 accounts and read its day. Linked before, it would be read at every fifth minute of the play."""
    at += timedelta(minutes=1)
    await control.set_clock(at)
    await asyncio.to_thread(mt5_desk.link_fleet, operator.environment, now=at, since=at.date())
    await asyncio.to_thread(mt5_desk.sync_all, operator.environment)
    return at


async def _settle(control: Control, operator: Operator, at: datetime) -> datetime:
    """Let the desk clock walk on, bounded, until nothing is under way: no message, no job, no execution untold."""
    for _ in range(AFTER_THE_DAY_MINUTES_MAX):
        is_quiet = (await control.backlog())[0] == 0 and await asyncio.to_thread(operator.broker_jobs) == 0
        if is_quiet and await asyncio.to_thread(operator.untold) == 0:
            break
        at += timedelta(minutes=1)
        await control.set_clock(at)
        await asyncio.sleep(0.1)
    return at


async def _await_the_keeper(operator: Operator, *, since: datetime) -> None:
    """Wait, bounded, until the evening's audit of the live book is stored; the summary shows whether it came."""
    for _ in range(KEEPER_LOOKS_MAX):
        if await asyncio.to_thread(operator.is_audited, since):
            return
        await asyncio.sleep(KEEPER_LOOK_SECONDS)


def told(summary: Summary, pages: Mapping[str, str]) -> str:
    """The summary for a person."""
    money = ", ".join(f"{realized} {currency} realized" for currency, realized in summary.realized_pnl.items())
    marks = ", ".join(f"{value} {currency} unrealized" for currency, value in summary.unrealized_pnl.items())
    types = ", ".join(f"{count} {name}" for name, count in sorted(summary.executions_by_type.items()))
    verdict = "clean" if summary.audit_exit == 0 else f"exit {summary.audit_exit}, {summary.audit_findings} findings"
    lines = [
        f"  receipts    {summary.accepted:,} accepted of {summary.sent:,} sent, {sum(summary.receipts.values()):,} stored",
        f"  executions  {summary.executions} ({types})",
        f"  messages    {summary.messages} on Discord",
        *(f"  broker      {book}: {one['executions']} executions, {one['told']} told" for book, one in summary.broker.items()),
        f"  MT5         {told_of_fleet(summary.mt5)}",
        *([f"  snapshot    {told_of_snapshot(summary.snapshot)}"] if summary.snapshot else []),
        f"  P&L         {money or 'nothing realized'}; {marks or 'nothing open'}",
        f"  audit       {verdict}",
        f"  took        {summary.seconds} s; the desk clock was {summary.clock}",
        *(f"  {name:<11} {url}" for name, url in pages.items()),
    ]
    return "\n".join(lines)


def told_of_snapshot(snapshot: Mapping[str, Any]) -> str:
    """What became of the day's publication."""
    if snapshot["stage"] is None:
        return f"{snapshot['date']} is not published"
    stands = f"{snapshot['stage']}, version {snapshot['version']}, {snapshot['rows']:,} rows, {snapshot['content_sha256'][:16]}"
    return f"{snapshot['date']} {snapshot['status']}: {stands}"


def told_of_fleet(fleet: Mapping[str, int]) -> str:
    """What became of the MT5 accounts."""
    stored = f"{fleet['deals']:,} deals, {fleet['trades']:,} trades"
    told_ones = f"{fleet['told']:,} of {fleet['executions']:,} executions told"
    return f"{fleet['synced']} of {fleet['accounts']} accounts synced: {stored}, {told_ones}"


def running(home: Home) -> tuple[Desk, dict[str, str]] | None:
    """The desk that runs from ``home`` and its operator's environment; None when none runs."""
    state = home.running()
    if state is None:
        return None
    return desk_at(state["functions"]["signal_ingest"], state["control_url"], home.secrets(), state["operator_env"])


def desk_at(
    ingest_url: str, control_url: str, secrets: Mapping[str, str], operator_environment: Mapping[str, str]
) -> tuple[Desk, dict[str, str]]:
    """A desk by its addresses, and the environment of an operator's command on it."""
    desk = Desk(ingest_url=f"{ingest_url}/timed/ingest", ingest_token=secrets["ingest_token"], control_url=control_url)
    return desk, dict(os.environ) | dict(operator_environment)


def run(argv: list[str]) -> int:
    """``demo``: play a day into the running desk; exit status 0 only if everything is proven."""
    parser = argparse.ArgumentParser(prog="infra/dev.py demo", description="play an invented day into the running desk")
    parser.add_argument("--date", type=date.fromisoformat, help="a trading day (default: the last finished one)")
    parser.add_argument("--tickers", type=int, default=TICKERS, help=f"how many (default {TICKERS})")
    parser.add_argument("--seed", default="fillbook", help="another seed is another day")
    given = parser.parse_args(argv)
    found = running(Home(home_folder()))
    if found is None:
        sys.stderr.write("no desk runs here; start one with: python3 infra/dev.py run --no-demo\n")
        return 2
    desk, environment = found
    summary = play_day(desk, environment, day=given.date, tickers=given.tickers, seed=given.seed, out=sys.stdout)
    return finish(summary, desk)


def import_receipts(argv: list[str]) -> int:
    """``import-receipts``: send recorded points; into the running desk, or into one started for the purpose."""
    parser = argparse.ArgumentParser(prog="infra/dev.py import-receipts", description="send recorded points through the webhook")
    parser.add_argument("file", type=Path, help="CSV or CSV.gz; columns: " + ", ".join(sorted(COLUMNS)))
    parser.add_argument("--from", dest="first", type=date.fromisoformat, default=date.min, help="first trading day (the file's)")
    parser.add_argument("--to", dest="last", type=date.fromisoformat, default=date.max, help="last trading day (the file's)")
    parser.add_argument("--tickers", type=lambda text: frozenset(text.split(",")), help="these alone, with commas between (all)")
    given = parser.parse_args(argv)
    home = Home(home_folder())

    def chosen(receipt: Document) -> bool:
        is_wanted = given.tickers is None or receipt["ticker"] in given.tickers
        return is_wanted and given.first <= trading_day_of(receipt) <= given.last

    try:
        found = running(home)
        if found is not None:
            return finish(import_points(*found, given.file, chosen=chosen, out=sys.stdout), found[0])
        sys.stdout.write("no desk runs here; starting one for the import\n")
        with LocalCloud(home.path) as cloud:
            desk, environment = desk_of(cloud)
            return finish(import_points(desk, environment, given.file, chosen=chosen, out=sys.stdout), desk)
    except (OSError, PointsRefused) as error:
        sys.stderr.write(f"{error}\n")
        return 2


def trading_day_of(receipt: Document) -> date:
    """The session date that a receipt's minute belongs to."""
    return calendar().trading_day(datetime.fromtimestamp(receipt["ts"] / 1000, UTC))


def desk_of(cloud: LocalCloud) -> tuple[Desk, dict[str, str]]:
    """The desk of a local cloud that was started by this process."""
    return desk_at(cloud.url("signal_ingest"), cloud.control.url, cloud.secrets, cloud.operator_environment)


def finish(summary: Summary, desk: Desk) -> int:
    """Give the desk its real time back, tell the summary and its JSON line; 0 only if everything is proven."""
    asyncio.run(_give_time_back(desk))
    sys.stdout.write(f"{told(summary, {})}\n{json.dumps(summary.document(), ensure_ascii=False)}\n")
    return 0 if summary.is_proven else 1


async def _give_time_back(desk: Desk) -> None:
    async with aiohttp.ClientSession() as session:
        await Control(session, desk).follow_the_wall()
