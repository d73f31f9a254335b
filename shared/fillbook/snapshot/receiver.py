"""The API over HTTP: a day is posted, posted again as the answers allow, and read back before it counts as stored.

Two kinds of receiver answer here. Ours says in its answer what it stored (hash and counts) and tells the same on a GET of the
endpoint. Any other is asked through the public reader, and with a read key through the readers of its tables, because its
archive may be new while its tables are torn. Redirects are not followed; nothing that was sent or read leaves this module in a
detail. Source: snapshot specification, 4.6.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import random
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final
from urllib.parse import urlencode

import requests
from pydantic import SecretStr
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from fillbook.money import parse
from fillbook.runtime import clock, logs, outgoing
from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.runtime.watched import CALL, Watchdog, WatchedAdapter
from fillbook.snapshot import document, normalizer
from fillbook.snapshot.model import BadSnapshot, Guard, Side
from fillbook.snapshot.outcomes import counts_document
from fillbook.snapshot.readback import is_same
from fillbook.snapshot.sending import Answer, Heard, heard, may_try_again, pause_seconds
from fillbook.snapshot.sources import ReceiverEnd, Sending, SentKind, Stored, StoredKind
from fillbook.values import frozen

ATTEMPT_SECONDS: Final = 30.0
CONNECT_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 5.0
"""For one source of a reading back: four silent attempts and their looks must leave time for the fallback."""
ANSWER_BYTES_MAX: Final = 1_048_576
SNAPSHOT_BYTES_MAX: Final = 8_000_000
ROWS_READ_MAX: Final = 2_000
"""What a reader gives at most; a receiver that cuts its pages there is no torn one."""
EXTREMES_READ_MAX: Final = 50
PUBLIC_READER: Final = "/v1/trades/latest"
FORCED: Final[Mapping[Guard, str]] = {Guard.OLDER: "older", Guard.EMPTY_VIEW: "empty"}
"""Our guards that the API knows, by the names it knows them by."""
_KINDS: Final = {
    Heard.CONFLICT: SentKind.CONFLICT,
    Heard.REFUSED: SentKind.REFUSED,
    Heard.MISCONFIGURED: SentKind.MISCONFIGURED,
}

_log = logs.get("snapshot")


@frozen
class Door:
    """Where the API is and what opens it. ``url`` without a trailing slash; secrets stay masked."""

    url: str
    endpoint: str
    token: SecretStr
    signing_secret: SecretStr | None = None
    read_key: SecretStr | None = None


@frozen
class Pace:
    """How long things may take, in real seconds, and where waiting and chance come from."""

    attempt_seconds: float = ATTEMPT_SECONDS
    connect_seconds: float = CONNECT_SECONDS
    look_seconds: float = LOOK_SECONDS
    sleep: Callable[[float], None] = clock.sleep
    chance: Callable[[], float] = random.random


class HttpReceiver:
    """Port ``Receiver`` over HTTP; one session, used by all threads. ``now``: desk time."""

    def __init__(self, door: Door, *, now: Callable[[], datetime], pace: Pace | None = None) -> None:
        self._door = door
        self._now = now
        self._pace = pace or Pace()
        self._http = _session()

    # --- sending ------------------------------------------------------------------------------------------------------

    def send(self, sending: Sending, *, before_attempt: Callable[[], None], deadline: float) -> ReceiverEnd:
        """See ``sources.Receiver``."""
        attempts = broken = repairs = 0
        while True:
            before_attempt()
            attempts += 1
            answer = self._post(sending, deadline)
            _log.info("snapshot_attempt", run_id=sending.run_id, attempt=attempts, heard=answer.heard, status=answer.status)
            if answer.heard in _KINDS:
                return _end(_KINDS[answer.heard], answer, attempts)
            found = self._look(sending, answer, deadline)
            if found is not None and (found.kind is StoredKind.SAME or _is_uncheckable(answer, found)):
                return _stored(answer, found, attempts)
            broken += answer.heard is Heard.BROKEN
            repairs += answer.heard is Heard.TAKEN
            pause = pause_seconds(answer, attempts, self._pace.chance())
            if not may_try_again(answer.heard, attempts, broken, repairs) or clock.monotonic() + pause >= deadline:
                return _end(SentKind.UNREACHED, answer, attempts)
            self._pace.sleep(pause)

    def stored(self, sending: Sending, *, deadline: float) -> Stored:
        """See ``sources.Receiver``; the first source that can be read decides."""
        return self._by_endpoint(sending, deadline) or self._by_reader(sending, deadline)

    def _look(self, sending: Sending, answer: Answer, deadline: float) -> Stored | None:
        """What the receiver holds now; None where it cannot hold anything new."""
        if answer.heard in (Heard.NOT_SENT, Heard.WAIT):
            return None
        if answer.heard is Heard.TAKEN and answer.document is not None and "content_sha256" in answer.document:
            return _compared(answer.document, sending, dict(answer.document.get("counts") or {}).get("stored"))
        if answer.heard is Heard.TAKEN:
            return self._by_reader(sending, deadline)
        return self.stored(sending, deadline=deadline)

    def _post(self, sending: Sending, deadline: float) -> Answer:
        headers = {
            "Content-Type": "application/json",
            "X-Internal-Token": self._door.token.get_secret_value(),
            "X-Request-Id": sending.run_id,
        }
        if self._door.signing_secret is not None:
            headers["X-Signature"] = signature(self._door.signing_secret, sending.body)
        forced = [FORCED[guard] for guard in sending.forced if guard in FORCED]
        query = f"?force={','.join(forced)}" if forced else ""
        try:
            status, body, came = self._call(
                "POST",
                f"{self._door.endpoint}{query}",
                headers,
                seconds=min(self._pace.attempt_seconds, deadline - clock.monotonic()),
                bytes_max=ANSWER_BYTES_MAX,
                body=sending.body,
            )
        except _NotSent as error:
            return Answer(heard=Heard.NOT_SENT, detail=str(error))
        except _Lost as error:
            return Answer(heard=Heard.AMBIGUOUS, detail=str(error))
        told = _object(body)
        return heard(status, told, sending.snapshot.date, retry_after=came.get("Retry-After"), request_id=_request_id(told, came))

    # --- reading back -------------------------------------------------------------------------------------------------

    def _by_endpoint(self, sending: Sending, deadline: float) -> Stored | None:
        """Our API's own word; None where the receiver is another or does not answer."""
        headers = {"X-Internal-Token": self._door.token.get_secret_value()}
        found = self._read(self._door.endpoint, headers, deadline, date=sending.snapshot.date.isoformat())
        if found is None:
            return None
        status, told = found[0], _object(found[1])
        if status == 404 and told is not None and dict(told.get("error") or {}).get("code") == "no_snapshot":
            return Stored(kind=StoredKind.OTHER, detail="no such day")
        if status != 200 or told is None or "content_sha256" not in told:
            return None
        return _compared(told, sending, told.get("counts"))

    def _by_reader(self, sending: Sending, deadline: float) -> Stored:
        """What the public reader shows, compared as content; with a read key the tables' counts too."""
        day = sending.snapshot.date.isoformat()
        found = self._read(PUBLIC_READER, self._read_headers(), deadline, date=day)
        if found is None or found[0] != 200:
            return Stored(kind=StoredKind.UNREADABLE, detail="no reader answered")
        try:
            shown = normalizer.normalized(normalizer.parsed(found[1]), now=self._now())
        except (BadSnapshot, Rejected):
            return Stored(kind=StoredKind.UNREADABLE, detail="the reader shows no snapshot")
        if not is_same(shown.snapshot, sending.snapshot):
            return Stored(kind=StoredKind.OTHER, detail="the reader shows another content")
        if self._door.read_key is not None and not self._has_all_rows(sending, deadline):
            return Stored(kind=StoredKind.OTHER, detail="the tables do not hold what the archive holds")
        return Stored(kind=StoredKind.SAME)

    def _has_all_rows(self, sending: Sending, deadline: float) -> bool:
        """Whether each reader of the tables gives as many rows as were sent; one that cannot be read is not held against it."""
        for path, name, wanted in _expected(sending):
            found = self._read(path, self._read_headers(), deadline)
            told = None if found is None or found[0] != 200 else _object(found[1])
            if told is not None and isinstance(told.get(name), list) and len(told[name]) != min(wanted, ROWS_READ_MAX):
                return False
        return True

    def _read_headers(self) -> dict[str, str]:
        headers = {"Cache-Control": "no-cache"}
        if self._door.read_key is not None:
            headers["Authorization"] = f"Bearer {self._door.read_key.get_secret_value()}"
        return headers

    def _read(self, path: str, headers: Mapping[str, str], deadline: float, **query: str) -> tuple[int, bytes] | None:
        seconds = min(self._pace.look_seconds, deadline - clock.monotonic())
        address = f"{path}?{urlencode(query)}" if query else path
        try:
            status, body, _ = self._call("GET", address, headers, seconds=seconds, bytes_max=SNAPSHOT_BYTES_MAX)
        except (_NotSent, _Lost):
            return None
        return status, body

    # --- one call -----------------------------------------------------------------------------------------------------

    def _call(
        self, method: str, path: str, headers: Mapping[str, str], *, seconds: float, bytes_max: int, body: bytes | None = None
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """One request, bounded as a whole. Raises ``_NotSent`` or ``_Lost``, with a class name and nothing else."""
        if seconds <= 0:
            raise _NotSent("no time left")
        with Watchdog(seconds) as watchdog:
            try:
                with self._http.request(
                    method,
                    f"{self._door.url}{path}",
                    data=body,
                    headers={"Accept-Encoding": "gzip", **headers},
                    timeout=(min(self._pace.connect_seconds, seconds), seconds),
                    stream=True,
                    allow_redirects=False,
                ) as response:
                    came = outgoing.read_bounded(response, seconds=seconds, bytes_max=bytes_max)
                    status, told = response.status_code, response.headers
            except requests.TooManyRedirects as redirected:  # the session follows none, and says so by raising
                status, came = (302 if redirected.response is None else redirected.response.status_code), b""
                told = requests.structures.CaseInsensitiveDict()
            except (Unavailable, requests.RequestException, HTTPError, OSError, ValueError) as error:
                if not CALL.is_sending:
                    raise _NotSent(type(error).__name__) from None
                raise _Lost(type(error).__name__) from None
        if watchdog.has_bitten:
            raise _Lost("Timeout")
        return status, came, told


def signature(secret: SecretStr, body: bytes) -> str:
    """The HMAC of the exact bytes, lower-case hex."""
    return hmac.new(secret.get_secret_value().encode(), body, hashlib.sha256).hexdigest()


class _NotSent(Exception):
    """The request did not leave, or nobody took it."""


class _Lost(Exception):
    """The request left and no whole answer came."""


def _session() -> requests.Session:
    policy = Retry(total=0, read=False, redirect=False)
    made = outgoing.session(policy)
    adapter = WatchedAdapter(max_retries=policy)
    made.mount("http://", adapter)
    made.mount("https://", adapter)
    made.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return made


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body, parse_float=parse)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _request_id(told: Mapping[str, Any] | None, headers: Mapping[str, str]) -> str | None:
    found = headers.get("X-Request-Id") or (told or {}).get("request_id")
    return found[:64] if isinstance(found, str) and found.isprintable() else None


def _compared(told: Mapping[str, Any], sending: Sending, counts: Any) -> Stored:
    """Our API's word against what was sent: the hash of the content, and how many items it stored."""
    version = told.get("version")
    wanted = counts_document(document.counts(sending.snapshot))
    is_ours = told["content_sha256"] == sending.content_sha256 and (counts is None or counts == wanted)
    return Stored(
        kind=StoredKind.SAME if is_ours else StoredKind.OTHER,
        version=version if isinstance(version, int) else None,
        detail="" if is_ours else "another content is stored",
    )


def _expected(sending: Sending) -> Iterator[tuple[str, str, int]]:
    """Reader, name of its list, and how many items it must give."""
    snapshot = sending.snapshot
    day, counts = snapshot.date.isoformat(), document.counts(snapshot)
    yield f"/v1/metrics/kpis?{urlencode({'date': day})}", "items", counts.kpis
    yield f"/v1/metrics/portfolio-assets?{urlencode({'date': day, 'limit': ROWS_READ_MAX})}", "items", counts.assets
    points, extremes = _tally(point.kpi for point in snapshot.points), _tally((one.kpi, one.side) for one in snapshot.extremes)
    for kpi, number in points.items():
        yield f"/v1/metrics/series?{urlencode({'kpi': kpi, 'date': day, 'limit': ROWS_READ_MAX})}", "points", number
    for (kpi, side), number in extremes.items():
        asked = {"kpi": kpi, "side": Side(side).value, "date": day, "limit": EXTREMES_READ_MAX}
        yield f"/v1/metrics/extremes?{urlencode(asked)}", "items", min(number, EXTREMES_READ_MAX)


def _tally(names: Iterator[Any]) -> dict[Any, int]:
    found: dict[Any, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return found


def _is_uncheckable(answer: Answer, found: Stored) -> bool:
    """It says that it took the day, and nobody can be asked."""
    return answer.heard is Heard.TAKEN and found.kind is StoredKind.UNREADABLE


def _stored(answer: Answer, found: Stored, attempts: int) -> ReceiverEnd:
    end = _end(SentKind.STORED, answer, attempts)
    told = (answer.document or {}).get("version")
    version = found.version if found.version is not None else told if isinstance(told, int) else None
    return ReceiverEnd(
        kind=SentKind.STORED,
        attempts=attempts,
        http_status=end.http_status,
        remote_request_id=end.remote_request_id,
        version=version,
        verified=found.kind is StoredKind.SAME,
        detail=found.detail,
    )


def _end(kind: SentKind, answer: Answer, attempts: int) -> ReceiverEnd:
    told = dict((answer.document or {}).get("error") or {}).get("code") if answer.document else None
    code = f", {told}" if isinstance(told, str) and told.replace("_", "").isalnum() and len(told) <= 64 else ""
    return ReceiverEnd(
        kind=kind,
        attempts=attempts,
        http_status=answer.status,
        remote_request_id=answer.request_id,
        detail=f"{answer.heard}: {answer.detail}{code}",
    )
