"""TWS and IB Gateway: the only module that imports the socket's client library. It reads; no code here can send an order.

A fetch makes its own event loop, connection and library objects and leaves nothing behind, so that it may run in any thread
of a server. Which library is a setting: ``ib_insync``, or ``ib_async`` in its place; never both in one environment, they share
a package name underneath. Source: ibkr.md 9.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import threading
import warnings
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from fillbook.ibkr import times, tws_frames
from fillbook.ibkr.allowlist import Account, AllowList
from fillbook.ibkr.model import PositionRow, Refusal, Row, Window
from fillbook.ibkr.sources import Fetched, PositionsSnapshot, Span, Target
from fillbook.ibkr.tws_rules import CLIENT_ID_MAX, CONNECT_TIMEOUT_SECONDS_MAX, TwsTarget, Waits
from fillbook.ibkr.tws_talk import Answer, Opening, Talk
from fillbook.runtime import logs
from fillbook.runtime.clock import Clock
from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.values import frozen

LIBRARIES: Final = ("ib_insync", "ib_async")
_log = logs.get("ibkr.tws")
_importing = threading.Lock()


def client_module(name: str) -> Any:
    """Return the client library, imported in a way that works in any thread; raises ``ImportError`` where it is not installed.

    It asks for the thread's event loop while it is imported, and a request thread has none: one is lent to it.
    """
    with _importing:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                if name == "ib_insync":
                    import ib_insync as library
                else:
                    library = importlib.import_module(name)
        finally:
            asyncio.set_event_loop(None)
            loop.close()
        # its lines repeat whole frames; what matters of them is logged here
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        return library


@frozen
class _Heard:
    """What one conversation brought."""

    talk: Talk
    answer: Answer
    asked_at: datetime
    version: str

    def of(self, message: int) -> Iterator[tuple[tuple[str, ...], datetime]]:
        return ((one.fields, one.at) for one in self.talk.tapped if one.message == message)

    @property
    def error_class(self) -> str | None:
        return None if self.answer is Answer.END else self.answer.value

    @property
    def error_detail(self) -> str | None:
        return None if self.answer is Answer.END else self.talk.trouble or None


class Tws:
    """The socket as ``runs`` (``ExecutionSource``) and ``positions`` (``PositionSource``) see it; safe to share by threads.

    ``targets``: where it may dial. ``client_ids``: the pool; a target's own id is tried first, then the others in order.
    """

    def __init__(
        self,
        *,
        targets: Sequence[TwsTarget],
        client_ids: Sequence[int],
        clock: Clock,
        library: str = "ib_insync",
        waits: Waits | None = None,
    ) -> None:
        if library not in LIBRARIES:
            raise ValueError(f"the library is one of {', '.join(LIBRARIES)}")
        if not all(1 <= one <= CLIENT_ID_MAX for one in client_ids):
            raise ValueError(f"a client id is 1 to {CLIENT_ID_MAX}")
        self._targets = {(one.host, one.port): one for one in targets}
        self._client_ids = tuple(client_ids)
        self._clock, self._library, self._waits = clock, library, waits or Waits()

    def fetch(self, target: Target, window: Window) -> Fetched:
        """Ask once for the executions of a window.

        Raises ``Unavailable`` when nothing usable came, ``Rejected`` for a target that is not ours or out of range.
        A frame that cannot be read is a refusal; a commission frame that cannot is told in the error class.
        """
        place = self._place(target)
        heard = self._run(target, lambda talk: talk.executions(window.from_at))
        rows, refusals, count, unread = _executions(heard, target.allow_list, place)
        if heard.answer is not Answer.END and not rows and not refusals:
            raise Unavailable(heard.answer.value, heard.talk.trouble)
        return Fetched(
            rows=rows,
            refusals=refusals,
            fetched_count=count,
            library_dropped_count=heard.talk.dropped,
            is_end_seen=heard.answer is Answer.END,
            covered=_covered(_served(heard, target.allow_list), place, window, heard.asked_at),
            asked_at=heard.asked_at,
            error_class=heard.error_class or ("commission_unreadable" if unread else None),
            error_detail=heard.error_detail or unread,
            client_version=heard.version,
        )

    def fetch_positions(self, target: Target) -> PositionsSnapshot:
        """Ask once for all positions. Raises as ``fetch``; an answer without its end is no answer, which is not flat."""
        self._place(target)
        heard = self._run(target, lambda talk: talk.positions())
        rows, refusals = _positions(heard, target.allow_list)
        if heard.answer is not Answer.END and not rows and not refusals:
            raise Unavailable(heard.answer.value, heard.talk.trouble)
        return PositionsSnapshot(
            rows=rows,
            refusals=refusals,
            accounts=tuple(account.account_id for account in _served(heard, target.allow_list)),
            as_of=heard.asked_at,
            is_end_seen=heard.answer is Answer.END,
            error_class=heard.error_class,
            error_detail=heard.error_detail,
            client_version=heard.version,
        )

    def _place(self, target: Target) -> TwsTarget:
        place = self._targets.get((target.host, target.port))
        if place is None:
            raise Rejected("target_unknown", field="host")
        if not 1 <= target.client_id <= CLIENT_ID_MAX:
            raise Rejected("client_id_invalid", field="client_id")  # 0 would bind orders entered by hand
        if not 1 <= target.connect_timeout_seconds <= CONNECT_TIMEOUT_SECONDS_MAX:
            raise Rejected("connect_timeout_invalid", field="connect_timeout_seconds")  # 0 would wait for ever
        return place

    def _run(self, target: Target, ask: Callable[[Talk], Coroutine[Any, Any, Answer]]) -> _Heard:
        library = client_module(self._library)
        heard = asyncio.run(self._talked(library, target, ask))
        if heard.answer is Answer.REQUEST_FAILED:
            raise Unavailable(heard.answer.value, heard.talk.trouble)
        return heard

    async def _talked(self, library: Any, target: Target, ask: Callable[[Talk], Coroutine[Any, Any, Answer]]) -> _Heard:
        talk: Talk | None = None
        asked_at: datetime | None = None
        answer = Answer.DEADLINE
        try:
            async with asyncio.timeout(self._waits.run):
                talk = await self._opened(library, target)
                asked_at = self._clock.now()
                answer = await ask(talk)
        except TimeoutError as error:
            if talk is None or asked_at is None:
                raise Unavailable(answer.value, "before the gateway was ready") from error
        finally:
            if talk is not None:
                await talk.close()
        _log.info("tws_answered", answer=answer.value, frames=len(talk.tapped), dropped=talk.dropped)
        version = f"{self._library} {library.__version__}, server {talk.server_version}"
        return _Heard(talk=talk, answer=answer, asked_at=asked_at, version=version)

    async def _opened(self, library: Any, target: Target) -> Talk:
        """Connect with the first client id that is free."""
        opening, trouble = Opening.CLIENT_ID_BUSY, ""
        for client_id in dict.fromkeys((target.client_id, *self._client_ids)):
            talk = Talk(library, self._clock, self._waits)
            opening = Opening.SILENT
            try:
                opening = await talk.open(target.host, target.port, client_id, target.connect_timeout_seconds)
            finally:
                if opening is not Opening.READY:
                    await talk.close()
            if opening is Opening.READY:
                return talk
            trouble = talk.trouble
            _log.warning("tws_not_opened", opening=opening.value, client_id=client_id, text=trouble)
            if opening is not Opening.CLIENT_ID_BUSY:
                break
        raise Unavailable(opening.value, trouble)


def _executions(
    heard: _Heard, allow_list: AllowList, place: TwsTarget
) -> tuple[tuple[Row, ...], tuple[Refusal, ...], int, str | None]:
    """Rows and refusals of the frames, how many were executions, and the text of a commission frame nobody could read."""
    rows: list[Row] = []
    refusals: list[Refusal] = []
    count, unread = 0, None
    version = heard.talk.server_version
    for frame, at in heard.of(tws_frames.EXECUTION):
        count += 1
        row = tws_frames.execution(frame, at, allow_list, server_version=version, bare_zone=place.bare_time_zone)
        refusals.append(row) if isinstance(row, Refusal) else rows.append(row)
    for frame, at in heard.of(tws_frames.COMMISSION):
        report = tws_frames.commission(frame, at, allow_list)
        if isinstance(report, Refusal):
            unread = f"{report.reason}: {report.raw}"
            _log.warning("tws_commission_unreadable", reason=report.reason.value, raw=report.raw)
        else:
            rows.append(report)
    return tuple(rows), tuple(refusals), count, unread


def _positions(heard: _Heard, allow_list: AllowList) -> tuple[tuple[PositionRow, ...], tuple[Refusal, ...]]:
    """One row per account and instrument: a later frame of one account text replaces the earlier; segments add up."""
    by_text: dict[tuple[str, int], PositionRow] = {}
    refusals: dict[str, Refusal] = {}
    for frame, _ in heard.of(tws_frames.POSITION):
        row = tws_frames.position(frame, allow_list)
        if isinstance(row, Refusal):
            refusals[row.raw] = row
        else:
            by_text[row.raw["acctNumber"].strip(), row.conid] = row
    return tuple(_added_up(by_text.values())), tuple(refusals.values())


def _added_up(rows: Iterable[PositionRow]) -> Iterator[PositionRow]:
    groups: dict[tuple[int, int], list[PositionRow]] = {}
    for row in rows:
        groups.setdefault((row.account_id, row.conid), []).append(row)
    for key in sorted(groups):
        first, *others = groups[key]
        yield first if not others else _summed(first, others)


def _summed(first: PositionRow, others: Sequence[PositionRow]) -> PositionRow:
    quantity = sum((one.quantity for one in others), start=first.quantity)
    return replace(first, quantity=quantity, average_cost=None)  # two averages are not one


def _served(heard: _Heard, allow_list: AllowList) -> list[Account]:
    """The accounts of the desk that this gateway manages, ascending."""
    found = (allow_list.find(text) for text in heard.talk.accounts)
    served = {account.account_id: account for account in found if account is not None}
    return [served[key] for key in sorted(served)]


def _covered(accounts: Sequence[Account], place: TwsTarget, window: Window, asked_at: datetime) -> tuple[Span, ...]:
    """What the answer really covers: from the gateway's midnight less its reach, since a filter does not extend it."""
    today = asked_at.astimezone(ZoneInfo(place.time_zone)).date()
    from_at = max(window.from_at, times.start_of_day(today - timedelta(days=place.reach_days), place.time_zone))
    if from_at >= asked_at:
        return ()
    covered = Window(from_at=from_at, to_at=asked_at)
    return tuple(Span(account_id=account.account_id, covered=covered) for account in accounts)
