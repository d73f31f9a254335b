"""What an answer of Discord means: a table from status, code and headers to one verdict. Pure.

The wait of a rate limit is never read shorter than Discord can have meant it: late is allowed, early never. An answer
that says failure, a missing answer and a torn answer are three different things, because only the last two leave open
whether the message stands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any

from fillbook.notify.model import Answer, Failure, Operation, Request
from fillbook.values import frozen

UNREADABLE_FIRST = timedelta(seconds=5)
UNREADABLE_MAX = timedelta(seconds=60)
BAN_WAITS = (timedelta(minutes=15), timedelta(minutes=30), timedelta(minutes=60))
OLD_EDITS_WAIT = timedelta(minutes=10)
WAIT_MAX = timedelta(days=365)
MILLISECONDS_RATIO = (500.0, 2000.0)

UNKNOWN_MESSAGE = 10008
OLD_EDITS = 30046
GONE_CODES = frozenset({10015, 10003, 50027})
GATEWAY_FAILURES = frozenset({500, 502, 503, 504})


class Verdict(StrEnum):
    """What became of a request."""

    DONE = "done"
    CREATED_UNKNOWN = "created_unknown"
    RATE_LIMITED = "rate_limited"
    OLD_EDITS_LIMITED = "old_edits_limited"
    BANNED = "banned"
    FAILED = "failed"
    NOT_SENT = "not_sent"
    NO_ANSWER = "no_answer"
    REJECTED = "rejected"
    CHANNEL_GONE = "channel_gone"
    MESSAGE_GONE = "message_gone"
    ASK_WEBHOOK = "ask_webhook"


@frozen
class Judgement:
    """A verdict with what it carries: the message id, the wait, the slug for the log and the dead letter."""

    verdict: Verdict
    message_id: str | None = None
    document: Any = None
    wait: timedelta = timedelta(0)
    is_global: bool = False
    reason: str = ""


def classify(request: Request, answer: Answer, *, strikes: int = 0, bans: int = 0) -> Judgement:
    """Judge ``answer`` to ``request``; ``strikes`` and ``bans``: how many 429 and bans were seen in a row before."""
    if answer.failure is not None and answer.status is None:
        verdict = Verdict.NOT_SENT if answer.failure is Failure.NOT_SENT else Verdict.NO_ANSWER
        return Judgement(verdict=verdict, reason=answer.error or answer.failure.value)
    status = answer.status or 0
    if 200 <= status < 300:
        return _success(request, answer)
    if status == 429:
        return _limited(answer, strikes, bans)
    if status in GATEWAY_FAILURES:
        return Judgement(verdict=Verdict.FAILED, reason=f"status_{status}")
    if 400 <= status < 500:
        return _refused(request, answer)
    return Judgement(verdict=Verdict.FAILED, reason=f"status_{status}")


def discord_code(answer: Answer) -> int | None:
    """Return the error code of Discord's body, when it has one."""
    code = answer.document.get("code") if isinstance(answer.document, Mapping) else None
    return code if isinstance(code, int) and not isinstance(code, bool) else None


# --- success ----------------------------------------------------------------------------------------------------------


def _success(request: Request, answer: Answer) -> Judgement:
    if request.operation is Operation.DELETE:
        return Judgement(verdict=Verdict.DONE)
    if request.operation is Operation.LIST:
        return _read(isinstance(answer.document, list), answer)
    if request.operation in (Operation.GET, Operation.HOOK):
        return _read(isinstance(answer.document, Mapping), answer)
    message_id = message_id_of(answer.document)
    if answer.failure is None and message_id is not None and _carries(request, answer.document):
        return Judgement(verdict=Verdict.DONE, message_id=message_id, document=answer.document)
    if request.operation is Operation.CREATE:
        return Judgement(verdict=Verdict.CREATED_UNKNOWN, reason="answer_unusable")
    return Judgement(verdict=Verdict.FAILED, reason="answer_unusable")


def _read(is_usable: bool, answer: Answer) -> Judgement:
    if answer.failure is None and is_usable:
        return Judgement(verdict=Verdict.DONE, document=answer.document)
    return Judgement(verdict=Verdict.FAILED, reason="answer_unusable")


def message_id_of(document: Any) -> str | None:
    """Return the id of a message document when it is a snowflake, else ``None``."""
    found = document.get("id") if isinstance(document, Mapping) else None
    return found if isinstance(found, str) and found.isdigit() and 15 <= len(found) <= 20 else None


def footers_of(document: Any) -> tuple[str, ...]:
    """Return the footer text of every embed of a message document."""
    embeds = document.get("embeds") if isinstance(document, Mapping) else None
    found = []
    for embed in embeds if isinstance(embeds, list) else []:
        footer = embed.get("footer") if isinstance(embed, Mapping) else None
        text = footer.get("text") if isinstance(footer, Mapping) else None
        found.append(text if isinstance(text, str) else "")
    return tuple(found)


def _carries(request: Request, document: Any) -> bool:
    return footers_of(document) == footers_of({"embeds": list(request.embeds)})


# --- rate limits ------------------------------------------------------------------------------------------------------


def _limited(answer: Answer, strikes: int, bans: int) -> Judgement:
    if "via" not in answer.headers:
        wait = BAN_WAITS[min(bans, len(BAN_WAITS) - 1)]
        return Judgement(verdict=Verdict.BANNED, wait=wait, is_global=True, reason="banned")
    wait = wait_of(answer.headers, answer.document, strikes)
    if discord_code(answer) == OLD_EDITS:
        return Judgement(verdict=Verdict.OLD_EDITS_LIMITED, wait=max(wait, OLD_EDITS_WAIT), reason="old_edits")
    body = answer.document if isinstance(answer.document, Mapping) else {}
    is_global = (
        body.get("global") is True
        or answer.headers.get("x-ratelimit-scope") == "global"
        or answer.headers.get("x-ratelimit-global", "").lower() == "true"
    )
    return Judgement(verdict=Verdict.RATE_LIMITED, wait=wait, is_global=is_global, reason="rate_limited")


def wait_of(headers: Mapping[str, str], document: Any, strikes: int = 0) -> timedelta:
    """Return how long a 429 asks to wait.

    The largest of ``Retry-After``, the body's ``retry_after`` and ``X-RateLimit-Reset-After``, all in seconds; only when
    the first two differ by a factor of 500 to 2,000 the larger is read as milliseconds. Nothing readable: 5 s, doubling
    with every strike to 60 s.
    """
    header = _seconds(headers.get("retry-after"))
    body = _seconds(document.get("retry_after") if isinstance(document, Mapping) else None)
    if header and body:
        low, high = sorted((header, body))
        if MILLISECONDS_RATIO[0] <= high / low <= MILLISECONDS_RATIO[1]:
            header, body = low, high / 1000
    known = [value for value in (header, body, _seconds(headers.get("x-ratelimit-reset-after"))) if value is not None]
    if not known:
        doubled: timedelta = UNREADABLE_FIRST * (1 << min(strikes, 8))
        return min(doubled, UNREADABLE_MAX)
    return min(timedelta(seconds=min(max(known), WAIT_MAX.total_seconds())) + timedelta(microseconds=1), WAIT_MAX)


def seconds_of(value: Any) -> timedelta | None:
    """Read a header's or body's seconds, rounded up; ``None`` when it says none."""
    seconds = _seconds(value)
    if seconds is None:
        return None
    return timedelta(seconds=min(seconds, WAIT_MAX.total_seconds())) + timedelta(microseconds=1)


def _seconds(value: Any) -> float | None:
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


# --- refusals ---------------------------------------------------------------------------------------------------------


def _refused(request: Request, answer: Answer) -> Judgement:
    status, code = answer.status, discord_code(answer)
    if request.operation is Operation.LIST:
        return Judgement(verdict=Verdict.REJECTED, reason=f"read_token_{status}")
    if code in GONE_CODES or status in (401, 403):
        return Judgement(verdict=Verdict.CHANNEL_GONE, reason=f"discord_{code or status}")
    if status == 404:
        return _not_found(request, code)
    return Judgement(verdict=Verdict.REJECTED, reason=f"rejected_{code or status}")


def _not_found(request: Request, code: int | None) -> Judgement:
    if request.operation in (Operation.CREATE, Operation.HOOK):
        return Judgement(verdict=Verdict.CHANNEL_GONE, reason=f"discord_{code or 404}")
    if code == UNKNOWN_MESSAGE:
        return Judgement(verdict=Verdict.MESSAGE_GONE, reason="message_gone")
    return Judgement(verdict=Verdict.ASK_WEBHOOK, reason="message_or_webhook_gone")
