"""What an answer to a post means, and what is done then: the table of section 4.6 of the snapshot specification, pure.

A receiver may have stored a day without saying so, and may say so without having stored it. Hence an answer is only a hint of
what to look at next, never the end of it, except where asking again or writing round it would be wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from typing import Any, Final

from fillbook.values import frozen

ATTEMPTS_MAX: Final = 4
BROKEN_ATTEMPTS_MAX: Final = 3
"""A receiver may answer 500 for ever to one payload."""
REPAIRS_MAX: Final = 2
"""Posts again after a 200 that left something else behind."""
WAITS_SECONDS: Final = (1.0, 2.0, 4.0)
JITTER: Final = 0.5
WAIT_SECONDS_MAX: Final = 60.0


class Heard(StrEnum):
    """What came back from one post."""

    TAKEN = "taken"
    """200 and it says that it took this date; still to be verified."""
    NOT_SENT = "not_sent"
    AMBIGUOUS = "ambiguous"
    BROKEN = "broken"
    """500: ambiguous too, with a limit of its own."""
    WAIT = "wait"
    CONFLICT = "conflict"
    REFUSED = "refused"
    MISCONFIGURED = "misconfigured"


_BY_STATUS: Final[Mapping[int, Heard]] = {
    409: Heard.CONFLICT,
    **dict.fromkeys((400, 413, 415, 422), Heard.REFUSED),
    **dict.fromkeys((401, 403, 404, 405), Heard.MISCONFIGURED),
    408: Heard.AMBIGUOUS,
    429: Heard.WAIT,
    500: Heard.BROKEN,
}


@frozen
class Answer:
    """One post and what came of it. ``document`` is None where the answer was no JSON object; ``wait_seconds``: as told."""

    heard: Heard
    status: int | None = None
    document: Mapping[str, Any] | None = None
    request_id: str | None = None
    wait_seconds: float | None = None
    detail: str = ""


def heard(
    status: int, document: Mapping[str, Any] | None, day: date, *, retry_after: str | None = None, request_id: str | None = None
) -> Answer:
    """Read an answer that came; what did not come is ``NOT_SENT`` or ``AMBIGUOUS`` by the adapter's word."""
    waits = seconds_of(retry_after)
    kind = _BY_STATUS.get(status, Heard.REFUSED if 400 <= status < 500 else Heard.AMBIGUOUS)
    if status == 200 and document is not None and document.get("ok") is True and document.get("date") == day.isoformat():
        kind = Heard.TAKEN
    elif 300 <= status < 400:
        kind = Heard.MISCONFIGURED
    elif status == 503 and waits is not None:
        kind = Heard.WAIT
    return Answer(
        heard=kind, status=status, document=document, request_id=request_id, wait_seconds=waits, detail=f"HTTP {status}"
    )


def seconds_of(retry_after: str | None) -> float | None:
    """Whole seconds of a Retry-After; None where there is none, or a date (which this desk's receivers never send)."""
    text = (retry_after or "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) <= 6 else None


def may_try_again(kind: Heard, attempts: int, broken: int, repairs: int) -> bool:
    """Whether another post is allowed after ``attempts``; ``broken`` of them answered 500, ``repairs`` left something else."""
    if attempts >= ATTEMPTS_MAX:
        return False
    if kind is Heard.BROKEN:
        return broken < BROKEN_ATTEMPTS_MAX
    if kind is Heard.TAKEN:
        return repairs <= REPAIRS_MAX
    return kind in (Heard.NOT_SENT, Heard.AMBIGUOUS, Heard.WAIT)


def pause_seconds(answer: Answer, attempts: int, chance: float) -> float:
    """How long to wait before the next post: as told where that is bearable, else 1, 2, 4 s and up to half more or less.

    ``chance`` is in [0, 1).
    """
    if answer.heard is Heard.WAIT and answer.wait_seconds is not None and answer.wait_seconds <= WAIT_SECONDS_MAX:
        return answer.wait_seconds
    base = WAITS_SECONDS[min(attempts, len(WAITS_SECONDS)) - 1]
    return base * (1 - JITTER + 2 * JITTER * chance)
