"""The push: one HTTP request per delivery, over kept connections, judged by its status alone.

Cloud Run stands between Pub/Sub and an instance: while no instance is up, a request waits at the front door for a new one.
Locally a refused connection means just that (the process is being started again), so the push waits for the door to
open for a while before it counts as a failed delivery. A connection that breaks without an answer is tried once more
at once, since a server may close an idle connection in the moment we pick it up; at-least-once allows it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import aiohttp

# Google takes 102 for an acknowledgement too; it is an interim answer, and the HTTP client here waits for the final one.
ACKNOWLEDGED = frozenset({200, 201, 202, 204})
DOOR_SECONDS = 10.0
DOOR_POLL_SECONDS = 0.05
KEEP_ALIVE_SECONDS = 1.5
ANSWER_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, or 0 with the reason why none came."""

    status: int
    reason: str = ""

    @property
    def is_ack(self) -> bool:
        """Whether Pub/Sub takes it for an acknowledgement."""
        return self.status in ACKNOWLEDGED


class Pusher:
    """A pool of kept connections for one event loop; ``close`` it."""

    def __init__(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS, use_dns_cache=True)
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), requote_redirect_url=False
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def post(self, url: str, body: bytes, headers: dict[str, str], deadline_seconds: float) -> Answer:
        """POST ``body`` within ``deadline_seconds`` of real time; never raises for what the other side does."""
        end = time.monotonic() + deadline_seconds
        door_closes = time.monotonic() + min(DOOR_SECONDS, deadline_seconds)
        broken = 0
        try:
            async with asyncio.timeout(deadline_seconds):
                while True:
                    try:
                        return await self._once(url, body, headers)
                    except aiohttp.ClientConnectorError as error:
                        if time.monotonic() >= door_closes:
                            return Answer(0, f"no instance: {error.os_error.strerror or error.os_error}")
                        await asyncio.sleep(min(DOOR_POLL_SECONDS, max(end - time.monotonic(), 0)))
                    except (aiohttp.ClientError, OSError) as error:
                        broken += 1
                        if broken > 1:
                            return Answer(0, f"broken: {type(error).__name__}")
        except TimeoutError:
            return Answer(0, "deadline")

    async def _once(self, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
            await answer.content.read(ANSWER_BYTES_MAX)
            return Answer(answer.status)
