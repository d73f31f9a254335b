"""The functions that own what an admin asks for, over HTTP: with our own identity, to fixed addresses, once and for ten seconds.

What an owner refuses as the asker's mistake is passed on in its own slug; whatever else goes wrong is the owner's failure and
names it. Nothing is asked twice: a call that was not answered may have been done. Source: tracker.md 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from fillbook.runtime import clock
from fillbook.runtime.auth import Identity, identity_for
from fillbook.runtime.bodies import parse_json_object
from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.runtime.sql import encode
from fillbook.tracker.admin import OwnerFailed, Told
from fillbook.tracker.settings import OWNERS, TradeTrackerConfig

IDENTITY: Final = "fb-trade-tracker"
"""The service account of the manifest (a contract test compares them)."""
CONNECT_SECONDS: Final = 2.0
LEAST_SECONDS: Final = 0.1
ANSWER_SECONDS: Final = 10.0
ANSWER_BYTES_MAX: Final = 1024 * 1024
RETRY_AFTER_SECONDS_MAX: Final = 3_600
PASSED_ON: Final = frozenset({400, 404, 409, 413, 422, 429})
"""Refusals that are about what was asked for. Others (401, 403) say that we may not ask: that is no asker's fault."""
_SLUG = re.compile(r"[a-z][a-z0-9_]{0,63}")
_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


class HttpOwners:
    """Asks owners; ``ask`` as ``admin.Owners`` says. ``seconds`` is for everything: identity, connecting, the whole answer."""

    def __init__(self, config: TradeTrackerConfig, identity: Identity, *, seconds: float = ANSWER_SECONDS) -> None:
        """Nobody is asked for anything yet."""
        self._urls = {owner: getattr(config, f"{owner}_url") for owner in OWNERS}
        self._audiences = {owner: getattr(config, f"{owner}_audience") for owner in OWNERS}
        self._identity = identity
        self._seconds = seconds

    def ask(self, owner: str, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Told:
        """Post a document to a path of an owner."""
        import requests  # costs a start 60 ms that a process without admin actions need not pay

        ends = clock.monotonic() + self._seconds
        url = self._urls[owner]
        if url is None:
            raise OwnerFailed(owner, f"{owner.upper()}_URL is not set")
        try:
            sent = {**headers, **self._identity.header(self._audiences[owner] or url), "Content-Type": "application/json"}
            return self._asked(owner, f"{url}{path}", encode(body).encode(), sent, ends)
        except requests.RequestException as error:
            raise OwnerFailed(owner, type(error).__name__) from error
        except Unavailable as error:
            raise OwnerFailed(owner, error.reason) from error

    def _asked(self, owner: str, url: str, body: bytes, headers: Mapping[str, str], ends: float) -> Told:
        from urllib3.util.retry import Retry

        from fillbook.runtime.outgoing import read_bounded, session

        left = max(ends - clock.monotonic() - CONNECT_SECONDS, LEAST_SECONDS)
        with (
            session(Retry(total=0), pool_size=1) as http,
            http.post(
                url, data=body, headers=dict(headers), timeout=(CONNECT_SECONDS, left), stream=True, allow_redirects=False
            ) as response,
        ):
            rest = max(ends - clock.monotonic(), LEAST_SECONDS)
            answer = read_bounded(response, seconds=rest, bytes_max=ANSWER_BYTES_MAX)
            return _judged(owner, response.status_code, response.headers.get("Retry-After"), answer)


def owners_for(config: TradeTrackerConfig) -> HttpOwners:
    """The owners of a configuration; nobody is asked for anything yet."""
    return HttpOwners(config, identity_for(config, account=IDENTITY))


def _judged(owner: str, status: int, retry_after: str | None, answer: bytes) -> Told:
    """The document of an answer, or what it means that there is none."""
    document = _document(answer)
    if 200 <= status < 300 and document is not None:
        return Told(status=status, document=document)
    if status in PASSED_ON and document is not None:
        reason, field = document.get("reason", document.get("error")), document.get("field")
        raise Rejected(
            reason if isinstance(reason, str) and _SLUG.fullmatch(reason) else "refused",
            f"{owner} answered {status}",
            field=field if isinstance(field, str) and _FIELD.fullmatch(field) else None,
            status=status,
            retry_after_seconds=_seconds(retry_after),
        )
    raise OwnerFailed(owner, f"HTTP {status}")


def _document(answer: bytes) -> Mapping[str, Any] | None:
    try:
        return parse_json_object(answer) if answer.strip() else None
    except Rejected:
        return None


def _seconds(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit() and len(text) <= 6):
        return None
    return min(int(text), RETRY_AFTER_SECONDS_MAX)
