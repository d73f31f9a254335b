"""Load on a webhook: at a constant rate whatever the answers do, or as fast as a number of hands can.

At a constant rate a request is sent when its time has come, answered or not, and its latency counts from that time: a server
that stalls is charged for everybody who would have come meanwhile (no coordinated omission). Only what the timer itself is
late, up to ``TIMER_SECONDS``, is not the server's fault and not counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import aiohttp

TIMER_SECONDS = 0.002
REQUEST_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to post, and with which headers."""

    url: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One request: when its time had come (epoch seconds), how long the answer took from then (s), the status."""

    sent_at: float
    seconds: float
    status: int


def at_rate(target: Target, bodies: Sequence[bytes], rate: float) -> list[Answered]:
    """Post one body every ``1 / rate`` seconds; return the answers in the order of the bodies."""
    return asyncio.run(_at_rate(target, bodies, rate))


def as_fast_as(target: Target, bodies: Sequence[bytes], hands: int, seconds: float) -> float:
    """Let ``hands`` senders post one body after the other for a while; return accepted requests per second."""
    return asyncio.run(_as_fast_as(target, bodies, hands, seconds))


async def _at_rate(target: Target, bodies: Sequence[bytes], rate: float) -> list[Answered]:
    async with _session() as session:
        begin = time.time() + 0.05

        async def one(number: int, body: bytes) -> Answered:
            due = begin + number / rate
            await asyncio.sleep(due - time.time())
            begun = time.time()
            sent_at = begun if begun - due < TIMER_SECONDS else due
            return Answered(sent_at=sent_at, status=await _post(session, target, body), seconds=time.time() - sent_at)

        return await asyncio.gather(*(one(number, body) for number, body in enumerate(bodies)))


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
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)


async def _post(session: aiohttp.ClientSession, target: Target, body: bytes) -> int:
    async with session.post(target.url, data=body, headers=target.headers) as answer:
        await answer.read()
        return answer.status
