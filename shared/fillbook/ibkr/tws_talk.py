"""One conversation with a TWS or Gateway over the client library: connect, ask once, listen, hang up.

The library only moves the frames: what they say is taken from the raw texts it hands to its decoder, since its own objects
lose digits, early commissions, undecodable fills, and one of two accounts with one execution id. Its futures and exceptions
are not trusted to end a wait either (one of the two libraries waits for ever after error 321): every error frame is heard
here, and every wait has an end. No order message exists in this file. Source: ibkr.md 9.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from fillbook.ibkr import tws_frames
from fillbook.ibkr.tws_rules import BYTES_MAX, FRAMES_MAX, Meaning, Waits, meaning_of
from fillbook.runtime import logs
from fillbook.runtime.clock import Clock
from fillbook.values import frozen

_log = logs.get("ibkr.tws")
_TEXT_MAX = 200
_NO_REQUEST = -1


class Opening(StrEnum):
    """How an attempt to connect ended; the values are slugs of ``Unavailable``."""

    READY = "ready"
    CLIENT_ID_BUSY = "gateway_client_id_busy"
    REFUSED = "gateway_refused"
    CLOSED = "gateway_closed"
    WITHOUT_ACCOUNTS = "gateway_without_accounts"
    SILENT = "gateway_silent"


class Answer(StrEnum):
    """How an answer ended; the values but END are error classes of a run."""

    END = "end"
    REQUEST_FAILED = "gateway_request_failed"
    CONNECTION_LOST = "gateway_connection_lost"
    CONNECTIVITY_LOST = "gateway_connectivity_lost"
    NO_END = "gateway_no_end"
    DEADLINE = "gateway_deadline"


@frozen
class Tapped:
    """A frame as it came: its message id, its fields (the id first), when it arrived."""

    message: int
    fields: tuple[str, ...]
    at: datetime


class Talk:
    """One connection; made inside the running loop, used for one request, closed in any case.

    ``tapped``: the frames as they came; ``dropped``: how many of the answer the library did not return; ``trouble``: the
    last text that said why something went wrong.
    """

    def __init__(self, library: Any, clock: Clock, waits: Waits) -> None:
        self.tapped: list[Tapped] = []
        self.accounts: tuple[str, ...] = ()
        self.server_version = 0
        self.dropped = 0
        self.trouble = ""
        self._library, self._clock, self._waits = library, clock, waits
        self._changed = asyncio.Event()
        self._request_id: int = _NO_REQUEST
        self._is_busy = self._is_without_accounts = self._is_lost = self._is_failed = self._is_down = False
        self._is_broken_off = False
        self._outages = 0
        self._bytes = 0
        self._paid: set[str] = set()
        self._unpaid: set[str] = set()
        self._ib = library.IB()
        self._ib.RaiseRequestErrors = True
        self._ib.errorEvent += self._on_error
        self._ib.client.apiError += self._on_lost
        self._ib.client.apiEnd += self._on_end
        self._ib.client.conn.hasData += self._on_data
        self._tap()

    # -- connecting -------------------------------------------------------------------------------------------------------

    async def open(self, host: str, port: int, client_id: int, seconds: float) -> Opening:
        """Connect without the library's start-up requests; takes ``seconds`` (> 0) at most."""
        self._ib.wrapper.clientId = client_id
        connecting = asyncio.ensure_future(self._ib.client.connectAsync(host, port, client_id, seconds))
        connecting.add_done_callback(self._pulse)
        await self._until(lambda: connecting.done() or self._is_busy or self._is_without_accounts or self._is_lost, seconds)
        # what happened so far; from here on the library also tells of what we make it do
        has_ended, is_lost, trouble = connecting.done(), self._is_lost, self.trouble
        error = await _settled(connecting)
        if error is None:
            self.accounts = tuple(self._ib.client.getAccounts())
            self.server_version = int(self._ib.client.serverVersion())
            return Opening.READY
        if self._is_busy:
            return Opening.CLIENT_ID_BUSY
        if self._is_without_accounts:
            return Opening.WITHOUT_ACCOUNTS
        if has_ended and isinstance(error, OSError) and not isinstance(error, TimeoutError):
            return Opening.REFUSED
        self.trouble = trouble
        return Opening.CLOSED if is_lost and not has_ended else Opening.SILENT

    async def close(self) -> None:
        """Hang up; raises nothing."""
        transport = self._ib.client.conn.transport
        with suppress(OSError):  # the other side may have hung up first
            self._ib.client.disconnect()
        if transport is not None:
            transport.abort()
        await asyncio.sleep(0)

    # -- asking -----------------------------------------------------------------------------------------------------------

    async def executions(self, since: datetime) -> Answer:
        """Ask for the executions since an instant, all clients and accounts; then wait a little for missing commissions."""
        # the dash form is the one spelling that is UTC to every version; no other field of the filter is set
        asked = self._library.ExecutionFilter(time=since.astimezone(UTC).strftime("%Y%m%d-%H:%M:%S"))
        answer = await self._ask(lambda: self._start_executions(asked))
        if answer is Answer.END:
            await self._until(lambda: not self._unpaid or self._is_lost, self._waits.commissions)
        return answer

    async def positions(self) -> Answer:
        """Ask for the positions of all accounts."""
        return await self._ask(self._ib.reqPositionsAsync)

    def _start_executions(self, asked: Any) -> Awaitable[Any]:
        self._request_id = self._ib.client.getReqId()
        future: Awaitable[Any] = self._ib.wrapper.startReq(self._request_id)
        self._ib.client.reqExecutions(self._request_id, asked)
        return future

    async def _ask(self, start: Callable[[], Awaitable[Any]]) -> Answer:
        """Ask; where the gateway loses its own server meanwhile, wait for it to come back and ask once more."""
        answer = await self._asked(start)
        if answer is not Answer.CONNECTIVITY_LOST:
            return answer
        await self._until(lambda: not self._is_down or self._is_lost, self._waits.connectivity)
        if self._broken(self._outages) is not None:
            return answer
        _log.info("tws_asked_again")
        # a position of before the outage may be gone after it; an execution stays one
        self.tapped = [one for one in self.tapped if one.message != tws_frames.POSITION]
        return await self._asked(start)

    async def _asked(self, start: Callable[[], Awaitable[Any]]) -> Answer:
        outages, before = self._outages, len(self.tapped)
        broken = self._broken(outages)
        if broken is not None:
            return broken
        try:
            future = asyncio.ensure_future(start())
        except ConnectionError:
            return Answer.CONNECTION_LOST
        future.add_done_callback(self._pulse)
        await self._until(lambda: future.done() or self._is_failed or self._broken(outages) is not None, self._waits.end)
        returned = None if await _settled(future) is not None else future.result()
        if self._is_failed:
            return Answer.REQUEST_FAILED
        if returned is not None and self._outages == outages and not self._is_broken_off:
            self._count_dropped(before, len(returned))
            return Answer.END
        return self._broken(outages) or Answer.NO_END

    def _broken(self, outages: int) -> Answer | None:
        """What stands in the way of an answer, if anything; ``outages``: how many there were when it was asked for."""
        if self._is_lost:
            return Answer.CONNECTION_LOST
        return Answer.CONNECTIVITY_LOST if self._is_down or self._outages > outages else None

    def _count_dropped(self, before: int, returned: int) -> None:
        asked = str(self._request_id)
        answered = [one for one in self.tapped[before:] if one.message == tws_frames.EXECUTION and one.fields[1:2] == (asked,)]
        self.dropped = max(0, len(answered) - returned)

    # -- listening --------------------------------------------------------------------------------------------------------

    def _tap(self) -> None:
        handlers = self._ib.client.decoder.handlers
        kept = (tws_frames.EXECUTION, tws_frames.COMMISSION, tws_frames.POSITION, tws_frames.POSITION_END)
        for message in kept:
            handlers[message] = self._tapping(message, handlers[message])
        managed = handlers[tws_frames.MANAGED_ACCOUNTS]

        def on_accounts(fields: list[str]) -> None:
            self._is_without_accounts = not any(text.strip() for text in fields[2:])
            self._pulse()
            managed(fields)

        handlers[tws_frames.MANAGED_ACCOUNTS] = on_accounts

    def _tapping(self, message: int, handle: Callable[[list[str]], None]) -> Callable[[list[str]], None]:
        def tapping(fields: list[str]) -> None:
            if len(self.tapped) >= FRAMES_MAX:
                self._break_off("more frames than one answer may have")
                return
            self.tapped.append(Tapped(message=message, fields=tuple(fields), at=self._clock.now()))
            self._note(message, fields)
            self._pulse()
            handle(fields)  # may raise on what it cannot decode; the frame is kept by then

        return tapping

    def _note(self, message: int, fields: list[str]) -> None:
        if message == tws_frames.EXECUTION:
            name = tws_frames.exec_id_of(message, fields)
            if name and name not in self._paid:
                self._unpaid.add(name)
        elif message == tws_frames.COMMISSION:
            name = tws_frames.exec_id_of(message, fields)
            if name:
                self._paid.add(name)
                self._unpaid.discard(name)

    def _on_error(self, request_id: int, code: int, text: str, *_: object) -> None:
        meaning = meaning_of(code, is_of_request=request_id == self._request_id != _NO_REQUEST)
        shown = str(text)[:_TEXT_MAX]
        _log.info("tws_notice", code=code, meaning=meaning.value, text=shown)
        if meaning is Meaning.CLIENT_ID_BUSY:
            self._is_busy = True
        elif meaning is Meaning.REQUEST_FAILED:
            self._is_failed = True
        elif meaning is Meaning.CONNECTIVITY_LOST:
            self._is_down = True
            self._outages += 1
        elif meaning is Meaning.CONNECTIVITY_BACK:
            self._is_down = False
        if meaning is not Meaning.LOGGED:
            self.trouble = f"{code}: {shown}"
        self._pulse()

    def _on_lost(self, text: str) -> None:
        self._is_lost = True
        self.trouble = self.trouble or str(text)[:_TEXT_MAX]
        self._pulse()

    def _on_end(self) -> None:
        self._on_lost("the connection ended")

    def _on_data(self, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes > BYTES_MAX:
            self._break_off("more bytes than one answer may have")

    def _break_off(self, text: str) -> None:
        """Hang up on an answer without bounds: it has no end, even if one is already on its way."""
        self._is_broken_off = True
        transport = self._ib.client.conn.transport
        if transport is not None:
            transport.abort()
        self._on_lost(text)

    # -- waiting ----------------------------------------------------------------------------------------------------------

    def _pulse(self, *_: object) -> None:
        self._changed.set()

    async def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        """Wait until ``holds``, ``seconds`` at most; the caller looks at what came of it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()


async def _settled(task: asyncio.Future[Any]) -> BaseException | None:
    """Stop a task that is not done; returns its exception, or None if it had succeeded."""
    if not task.done():
        task.cancel()
    results = await asyncio.gather(task, return_exceptions=True)
    return results[0] if isinstance(results[0], BaseException) else None
