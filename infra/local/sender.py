"""The sender outside our house: posts receipts to the webhook minute by minute, on the desk clock of the day they belong to.

Like a real sender it repeats what was not accepted; unlike one it never gives a receipt up silently: what is still
refused after ``TRIES_MAX`` is counted and shown. It keeps the pipeline full but never so far behind that a receipt
would be judged too old, because the desk clock only moves on when the functions have nearly caught up.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import aiohttp

from fillbook.runtime.sql import encode
from infra.local.receipts import Document

IN_FLIGHT_MAX = 24
BACKLOG_MINUTES_MAX = 5
OLDEST_SECONDS_MAX = 600  # of desk time; a receipt is too old to be traded after 900
RECEIPTS_TOPIC = "signals"
TRIES_MAX = 240
HTTP_NOT_FOUND = 404
RETRY_SECONDS = 0.25
CATCH_UP_SECONDS = 0.02
CATCH_UP_LOOKS_MAX = 3_000
REQUEST_SECONDS = 10
AFTER_CLOSE = timedelta(seconds=1)
LEAP = timedelta(minutes=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The running desk as its sender sees it; URLs without a trailing slash."""

    ingest_url: str
    ingest_token: str
    control_url: str


@dataclass(slots=True, kw_only=True)
class Sent:
    """What came of the posts: answers by status, refusals by reason, repeats."""

    total: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    repeats: int = 0
    given_up: int = 0


class Control:
    """The desk's control panel: its clock and its message backlog."""

    def __init__(self, session: aiohttp.ClientSession, desk: Desk) -> None:
        self._session = session
        self._url = f"{desk.control_url}/_control"

    async def set_clock(self, at: datetime) -> None:
        """Stop the desk clock at ``at``."""
        await self._ask("POST", "/clock", {"desk_at": at.isoformat(), "paused": True})

    async def follow_the_wall(self) -> None:
        """Let the desk clock be the real time again."""
        await self._ask("POST", "/clock", {"realtime": True})

    async def run_schedule(self, name: str) -> bool:
        """Run a schedule now; False where the desk has none of this name."""
        try:
            await self._ask("POST", "/scheduler/run", {"job": name})
        except aiohttp.ClientResponseError as error:
            if error.status != HTTP_NOT_FOUND:
                raise
            return False
        return True

    async def backlog(self) -> tuple[int, float]:
        """Messages published but not yet acknowledged, over all subscriptions, and desk seconds the oldest receipt waits."""
        stats = list((await self._ask("GET", "/pubsub"))["subscriptions"].values())
        waiting = (float(one["oldest_seconds"]) for one in stats if one["topic"] == RECEIPTS_TOPIC)
        return sum(int(one["depth"]) for one in stats), max(waiting, default=0.0)

    async def _ask(self, method: str, path: str, document: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request to the panel, repeated while its process is being started again."""
        for tried in range(1, TRIES_MAX + 1):
            try:
                async with self._session.request(method, self._url + path, json=document) as answer:
                    answer.raise_for_status()
                    found: dict[str, Any] = await answer.json()
                    return found
            except (aiohttp.ClientConnectionError, TimeoutError):
                if tried == TRIES_MAX:
                    raise
                await asyncio.sleep(RETRY_SECONDS)
        raise AssertionError("unreachable")


async def send_minutes(
    desk: Desk, minutes: Iterable[Sequence[Document]], *, total: int, progress: Callable[[int, int, str], None]
) -> Sent:
    """Send every minute's receipts on its own time; ``total`` is the number of receipts, for the progress bar."""
    sent = Sent()
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT_MAX)
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        control = Control(session, desk)
        clock_at = datetime.min.replace(tzinfo=UTC)
        for receipts in minutes:
            closed_at = datetime.fromtimestamp(max(r["time_close"] for r in receipts) / 1000, UTC)
            # a clock that leaps over a gap in the points must find nothing under way: it would be stale at once
            is_leap = closed_at - clock_at > LEAP
            await _catch_up(control, 0 if is_leap else len(receipts) * BACKLOG_MINUTES_MAX)
            await control.set_clock(closed_at + AFTER_CLOSE)
            clock_at = closed_at
            await asyncio.gather(*(_send(session, desk, receipt, sent) for receipt in receipts))
            progress(sent.total, total, closed_at.strftime("%Y-%m-%d %H:%M UTC"))
        await _catch_up(control, 0)
    return sent


async def _catch_up(control: Control, backlog_max: int) -> None:
    """Wait until no more than ``backlog_max`` messages wait and none for too long; bounded, then the sender goes on anyway.

    The age matters by itself: one ticker held up by a worker that was killed waits alone while all others flow.
    """
    for _ in range(CATCH_UP_LOOKS_MAX):
        waiting, oldest_seconds = await control.backlog()
        if waiting <= backlog_max and oldest_seconds <= OLDEST_SECONDS_MAX:
            return
        await asyncio.sleep(CATCH_UP_SECONDS)


async def _send(session: aiohttp.ClientSession, desk: Desk, receipt: Document, sent: Sent) -> None:
    """Post one receipt until it is answered with something else than a 5xx."""
    body = encode_receipt(receipt)
    headers = {"Authorization": f"Bearer {desk.ingest_token}", "Content-Type": "application/json"}
    sent.total += 1
    for _ in range(TRIES_MAX):
        try:
            async with session.post(desk.ingest_url, data=body, headers=headers) as answer:
                if answer.status < 500:
                    sent.statuses[answer.status] += 1
                    if answer.status != 202:
                        sent.refusals[str((await answer.json()).get("reason"))] += 1
                    return
        except (aiohttp.ClientError, TimeoutError):
            pass
        sent.repeats += 1
        await asyncio.sleep(RETRY_SECONDS)
    sent.given_up += 1


def encode_receipt(receipt: Document) -> bytes:
    """The JSON a sender would post: Decimals as plain numbers."""
    return _numbers(receipt).encode()


def _numbers(value: Any) -> str:
    match value:
        case Decimal():
            return format(value, "f")
        case dict():
            return "{" + ",".join(f"{encode(key)}:{_numbers(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ",".join(map(_numbers, value)) + "]"
        case _:
            return encode(value)
