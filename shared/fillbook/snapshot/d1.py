"""The only module that speaks to Cloudflare D1: a day is written in one batch, read back, and written again if it must be.

Nothing is raised for what the outside does, no redirect is followed, and the token stands in a header alone: no text of an
exception and no word of an answer but its codes leaves this module. A batch is not trusted to be a transaction; what counts is
what a look at the tables shows. An end that leaves a day in parts, or perhaps does, says so. Source: snapshot specification, 4.7;
decisions 0040 and 0050.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from pydantic import SecretStr
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from fillbook.runtime import clock, outgoing
from fillbook.runtime.errors import Unavailable
from fillbook.runtime.sql import load_queries
from fillbook.runtime.watched import CALL, Watchdog, WatchedAdapter
from fillbook.snapshot.d1_batch import Day, Look, Seen, TooLarge, Unreadable, day_of, judged
from fillbook.snapshot.model import Snapshot
from fillbook.snapshot.sources import FallbackEnd, FallbackKind
from fillbook.values import frozen

API_BASE: Final = "https://api.cloudflare.com/client/v4"
USER_AGENT: Final = "Fillbook/0.1 (+https://fillbook.example)"
CONNECT_SECONDS: Final = 5.0
CALL_SECONDS: Final = 30.0
CALLS_MAX: Final = 10
BATCHES_MAX: Final = 3
LOOKS_MAX: Final = 2
"""Read-backs of one batch, where the first one does not answer."""
PAUSE_SECONDS: Final = (1.0, 2.0)
"""Before the second batch and the third."""
WAIT_SECONDS: Final = 1.0
"""After a 429 that does not say how long."""
WAIT_SECONDS_MAX: Final = 60.0
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
STATUS_OK: Final = 200
AGAIN: Final = frozenset({408, 425, 429})
"""Statuses under 500 after which trying again may help; every other one is final."""
WAIT: Final = frozenset({429, 503})
_LOCAL_HOSTS: Final = ("127.0.0.1", "localhost")
_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)
_ENDS: Final = {Seen.SAME: FallbackKind.STORED, Seen.NEWER: FallbackKind.CONFLICT}
Rows = list[Mapping[str, Any]]


@frozen
class _Told:
    """What a call told: rows and changes by statement, or the slug of what went wrong.

    ``is_final``: trying again cannot help. ``is_unsent``: nothing of it left. ``wait_seconds``: for so long it asked to be left
    alone.
    """

    rows: tuple[Rows, ...] = ()
    changes: tuple[int | None, ...] = ()
    problem: str = ""
    is_final: bool = False
    is_unsent: bool = False
    wait_seconds: float | None = None


class _Over(Exception):
    """There is no time or no call left; the text is a slug."""


class D1:
    """One database with one token. Safe to share between threads: a session each day, no state."""

    def __init__(
        self,
        token: SecretStr,
        *,
        account_id: str,
        database_id: str,
        api_base: str = API_BASE,
        is_local: bool = False,
        call_seconds: float = CALL_SECONDS,
        pause_seconds: tuple[float, float] = PAUSE_SECONDS,
    ) -> None:
        """``is_local`` lets in http on this machine. Raises ``ValueError``, naming no value, for an address that is none."""
        if not (_ID.fullmatch(account_id) and _ID.fullmatch(database_id)):
            raise ValueError("account and database are ids of letters, digits and hyphens")
        self._url = f"{_checked(api_base, is_local=is_local)}/accounts/{account_id}/d1/database/{database_id}/query"
        self._token = token
        self._call_seconds = call_seconds
        self._pauses = pause_seconds

    def write(self, body: bytes, snapshot: Snapshot, *, deadline: float) -> FallbackEnd:
        """Write the whole day or leave the old one; read back and write again, at most three times in all."""
        try:
            day = day_of(body, snapshot, load_queries("fillbook.snapshot", "d1.sql"))
        except TooLarge as error:
            return FallbackEnd(kind=FallbackKind.REFUSED, attempts=0, detail=str(error))
        with _session() as session:
            talk = _Talk(session, self._url, self._token, self._call_seconds, deadline)
            return self._written(day, talk)

    def _written(self, day: Day, talk: _Talk) -> FallbackEnd:
        work = _Work(day, talk)
        end = FallbackEnd(kind=FallbackKind.FAILED, attempts=0)
        for attempt in range(1, BATCHES_MAX + 1):
            try:
                if attempt > 1:
                    talk.wait(self._pauses[attempt - 2])
                end = work.tried(attempt)
            except _Over as over:
                detail = "; ".join(one for one in (end.detail, str(over)) if one)
                end = FallbackEnd(kind=FallbackKind.FAILED, attempts=max(end.attempts, talk.batches), detail=detail)
                break
            if end.kind is not FallbackKind.FAILED:
                break
        return replace(end, is_torn=work.is_torn)


class _Work:
    """The batches of one day: the whole of it first, later what a look showed to differ.

    ``is_torn``: parts of this day stand beside parts of another, as far as is known: from when a batch may have come until a
    look shows otherwise.
    """

    def __init__(self, day: Day, talk: _Talk) -> None:
        self._day, self._talk = day, talk
        self._batch = day.whole()
        self.is_torn = False

    def tried(self, attempt: int) -> FallbackEnd:
        """One batch and the look at what it did. Raises ``_Over``."""
        told = self._talk.post(self._batch.body, self._batch.count, is_batch=True)
        if told.is_final or told.is_unsent:
            kind = FallbackKind.REFUSED if told.is_final else FallbackKind.FAILED
            return FallbackEnd(kind=kind, attempts=attempt, detail=told.problem)
        if not told.problem and told.changes[0] == 0:
            self.is_torn = False
            return FallbackEnd(kind=FallbackKind.CONFLICT, attempts=attempt, detail="a newer day stands there")
        self.is_torn = True
        kind, detail = self._looked()
        detail = "; ".join(one for one in (told.problem, detail) if one)
        return FallbackEnd(kind=kind, attempts=attempt, detail=detail, verified=kind is FallbackKind.STORED)

    def _looked(self) -> tuple[FallbackKind, str]:
        """What the tables show; nobody's answer is no success."""
        problem = ""
        for _ in range(LOOKS_MAX):
            told = self._talk.post(self._day.read.body, self._day.read.count)
            if told.is_final:
                return FallbackKind.REFUSED, told.problem
            if told.problem:
                problem = f"not read back: {told.problem}"
                continue
            try:
                look = judged(self._day, told.rows)
            except Unreadable:
                problem = "not read back: answer_unknown"
                continue
            self._learn(look)
            return _ENDS.get(look.seen, FallbackKind.FAILED), look.detail
        self._batch = self._day.whole()
        return FallbackKind.FAILED, problem

    def _learn(self, look: Look) -> None:
        self.is_torn = look.seen is Seen.TORN
        self._batch = self._day.rest(look.tables)


class _Talk:
    """The calls of one day: so many, and none beyond the deadline."""

    def __init__(self, session: requests.Session, url: str, token: SecretStr, call_seconds: float, deadline: float) -> None:
        self._session, self._url, self._token = session, url, token
        self._call_seconds, self._deadline = call_seconds, deadline
        self._calls = 0
        self.batches = 0

    def post(self, body: bytes, count: int, *, is_batch: bool = False) -> _Told:
        """Post a batch of ``count`` statements, and again after a wait that was asked for. Raises ``_Over``."""
        self.batches += is_batch
        while True:
            told = self._once(body, count)
            if told.wait_seconds is None:
                return told
            if told.wait_seconds > WAIT_SECONDS_MAX:
                raise _Over(told.problem)
            self.wait(told.wait_seconds)

    def wait(self, seconds: float) -> None:
        """Wait, if the deadline lets it."""
        if clock.monotonic() + seconds >= self._deadline:
            raise _Over("no time left")
        clock.sleep(seconds)

    def _once(self, body: bytes, count: int) -> _Told:
        seconds = min(self._call_seconds, self._deadline - clock.monotonic())
        if seconds <= 0:
            raise _Over("no time left")
        if self._calls >= CALLS_MAX:
            raise _Over("no call left")
        self._calls += 1
        headers = {
            "Authorization": f"Bearer {self._token.get_secret_value()}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": USER_AGENT,
        }
        with Watchdog(seconds) as watchdog:
            try:
                with self._session.post(
                    self._url,
                    data=body,
                    headers=headers,
                    stream=True,
                    allow_redirects=False,
                    timeout=(min(CONNECT_SECONDS, seconds), seconds),
                ) as response:
                    answer = outgoing.read_bounded(response, seconds=seconds, bytes_max=ANSWER_BYTES_MAX)
                    told = _told(response.status_code, response.headers.get("Retry-After"), answer, count)
            except (Unavailable, requests.RequestException, HTTPError, OSError, ValueError) as error:
                is_unsent = not CALL.is_sending
                return _Told(problem="unreachable" if is_unsent else _slug(error, watchdog.has_bitten), is_unsent=is_unsent)
        return _Told(problem="timeout") if watchdog.has_bitten else told


def _session() -> requests.Session:
    policy = Retry(total=0, read=False, redirect=False)
    made = outgoing.session(policy, pool_size=1)
    for scheme in ("http://", "https://"):
        made.mount(scheme, WatchedAdapter(max_retries=policy, pool_connections=1, pool_maxsize=1))
    return made


def _checked(api_base: str, *, is_local: bool) -> str:
    try:
        parts = urlsplit(api_base.strip())
        host = (parts.hostname or "").lower()
        is_odd = parts.username is not None or parts.password is not None or parts.query or parts.fragment or not host
    except ValueError:
        raise ValueError("the address of the API cannot be read") from None
    if is_odd or not (parts.scheme == "https" or (is_local and parts.scheme == "http" and host in _LOCAL_HOSTS)):
        raise ValueError("the address of the API is not https without query and user")
    return api_base.strip().rstrip("/")


# --- what came --------------------------------------------------------------------------------------------------------


def _told(status: int, retry_after: str | None, body: bytes, count: int) -> _Told:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if status != STATUS_OK:
        slug = " ".join([f"http_{status}", *_codes(document)])
        if status in WAIT and (status != 503 or retry_after is not None):
            return _Told(problem=slug, wait_seconds=_seconds(retry_after))
        return _Told(problem=slug, is_final=status < 500 and status not in AGAIN)
    if not isinstance(document, dict):
        return _Told(problem="not_json")
    if document.get("success") is not True:
        return _Told(problem=" ".join(["failure", *_codes(document)]))
    results = document.get("result")
    if not isinstance(results, list) or len(results) != count:
        return _Told(problem="answer_unknown")
    if not all(isinstance(one, dict) and one.get("success") is True and isinstance(one.get("results"), list) for one in results):
        return _Told(problem="failure")
    return _Told(rows=tuple(one["results"] for one in results), changes=_changes(results))


def _changes(results: Sequence[Mapping[str, Any]]) -> tuple[int | None, ...]:
    found = [one["meta"].get("changes") if isinstance(one.get("meta"), dict) else None for one in results]
    return tuple(one if type(one) is int else None for one in found)


def _codes(document: object) -> list[str]:
    """The numbers of the errors; their words may repeat what was sent."""
    errors = document.get("errors") if isinstance(document, dict) else None
    listed = errors if isinstance(errors, list) else []
    return [str(one["code"]) for one in listed[:3] if isinstance(one, dict) and type(one.get("code")) is int]


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after is not None and re.fullmatch(r"[0-9]{1,6}", retry_after.strip()) else WAIT_SECONDS


def _slug(error: Exception, is_late: bool) -> str:
    """What kept an answer from coming, without the words it came with."""
    if isinstance(error, Unavailable):
        return error.reason
    return "timeout" if is_late or isinstance(error, requests.Timeout) else "broken_off"
