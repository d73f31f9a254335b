"""Load on a webhook: at a constant rate whatever the answers do, or as fast as a number of hands can.

At a constant rate a request is sent when its time has come, answered or not, and its latency counts from that time: a server
that stalls is charged for everybody who would have come meanwhile (no coordinated omission). Only what the timer itself is
late, up to ``TIMER_SECONDS``, is not the server's fault and not counted. How late each request left is told, so that a load that
could not keep its own times is not taken for a measurement.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import aiohttp

TIMER_SECONDS = 0.002
REQUEST_SECONDS = 20.0
KEEP_ALIVE_SECONDS = 1.5  # servers close a silent connection after two
LEAD_SECONDS = 0.05
PRIORITY = -10


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to post, and with which headers."""

    url: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: a GET without a body, else a POST."""

    url: str
    headers: Mapping[str, str]
    body: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One request: when its time had come (epoch seconds), how long the answer took from then (s), the status (0: none).

    ``late_seconds``: how late it left; ``retry_after``: what the answer says of coming back.
    """

    sent_at: float
    seconds: float
    status: int
    late_seconds: float = 0.0
    retry_after: str | None = None


def at_rate(target: Target, bodies: Sequence[bytes], rate: float) -> list[Answered]:
    """Post one body every ``1 / rate`` seconds; return the answers in the order of the bodies."""
    return asyncio.run(_at_rate(target, bodies, rate))


def as_fast_as(target: Target, bodies: Sequence[bytes], hands: int, seconds: float) -> float:
    """Let ``hands`` senders post one body after the other for a while; return accepted requests per second."""
    return asyncio.run(_as_fast_as(target, bodies, hands, seconds))


async def _at_rate(target: Target, bodies: Sequence[bytes], rate: float) -> list[Answered]:
    calls = [Call(url=target.url, headers=target.headers, body=body) for body in bodies]
    return await _at(calls, [number / rate for number in range(len(calls))])


async def _at(calls: Sequence[Call], offsets: Sequence[float]) -> list[Answered]:
    async with _session() as session:
        begin = time.time() + LEAD_SECONDS

        async def one(call: Call, offset: float) -> Answered:
            due = begin + offset
            await asyncio.sleep(due - time.time())
            begun = time.time()
            sent_at = begun if begun - due < TIMER_SECONDS else due
            status, retry_after = await _ask(session, call)
            late = max(begun - due, 0.0)
            return Answered(
                sent_at=sent_at, seconds=time.time() - sent_at, status=status, late_seconds=late, retry_after=retry_after
            )

        return await asyncio.gather(*(one(call, offset) for call, offset in zip(calls, offsets, strict=True)))


async def _as_fast_as(target: Target, bodies: Sequence[bytes], hands: int, seconds: float) -> float:
    accepted = 0
    async with _session() as session:
        begun = time.perf_counter()

        async def hand(first: int) -> None:
            nonlocal accepted
            number = first
            while time.perf_counter() - begun < seconds:
                status = await _post(session, target, bodies[number % len(bodies)])  # awaited first: += would read before it
                accepted += status == 202
                number += hands

        await asyncio.gather(*map(hand, range(hands)))
        return accepted / (time.perf_counter() - begun)


def _session() -> aiohttp.ClientSession:
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS)
    return aiohttp.ClientSession(connector=connector, timeout=timeout)


async def _post(session: aiohttp.ClientSession, target: Target, body: bytes) -> int:
    async with session.post(target.url, data=body, headers=target.headers) as answer:
        await answer.read()
        return answer.status


async def _ask(session: aiohttp.ClientSession, call: Call) -> tuple[int, str | None]:
    method = "GET" if call.body is None else "POST"
    try:
        async with session.request(method, call.url, data=call.body, headers=call.headers) as answer:
            await answer.read()
            return answer.status, answer.headers.get("Retry-After")
    except (aiohttp.ClientError, TimeoutError, OSError):
        return 0, None


class Generator:
    """A process of its own that does nothing but ask; its priority is raised where that is allowed."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), _prepare)

    def at(self, calls: Sequence[Call], offsets: Sequence[float]) -> list[Answered]:
        """Send each call when its offset (s from the start) has come; return the answers in the order of the calls."""
        return self._pool.submit(_in_its_time, list(calls), list(offsets)).result()

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown()


def _prepare() -> None:
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)


def _in_its_time(calls: Sequence[Call], offsets: Sequence[float]) -> list[Answered]:
    gc.collect()
    gc.disable()
    try:
        return asyncio.run(_at(calls, offsets))
    finally:
        gc.enable()
