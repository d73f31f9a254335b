"""What went wrong with a call, in the room's own codes: the one table of error bodies and statuses, and who may try again.

A service says in a handful of ways that it cannot answer. A code that we know decides, whatever the status; without one the
status does. Nothing of the service's text is kept: each code has a sentence of ours. Source: section 3.3 of the specification;
numbers are the terminal's (MQL5 reference, ``last_error``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from math import ceil
from typing import Any, Final

from fillbook.mt5.model import ServiceFailure, StepFailure
from fillbook.mt5.words import Code, Step
from fillbook.runtime.errors import FillbookError
from fillbook.values import frozen

RETRY_AFTER_SECONDS_MAX: Final = 30
"""A longer pause is not waited for inside a run: the account is deferred."""
PAUSE_SECONDS_MAX: Final = 86_400
STATUS_OK: Final = 200
TOO_MANY_REQUESTS: Final = 429


@frozen
class Fault:
    """A failed call. ``has_code``: the service named a code that we know; ``is_broker``: that code is the broker's.

    ``retry_after_seconds``: the pause the service asked for, rounded up. ``where``: the field that was wrong, in our words.
    """

    code: Code
    is_broker: bool = False
    has_code: bool = False
    retry_after_seconds: int | None = None
    where: str = ""


class CallFailed(FillbookError):
    """A call brought nothing usable; ``fault`` says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.code.value, fault.where)
        self.fault = fault


class ContractError(CallFailed):
    """An answer that the contract does not allow, or that does not prove itself whole. ``where`` names fields, never values."""

    def __init__(self, where: str, code: Code = Code.CONTRACT_ERROR) -> None:
        super().__init__(Fault(code=code, where=where))
        self.where = where

    def inside(self, place: str) -> ContractError:
        """The same error, told from one level further out."""
        return ContractError(f"{place}.{self.where}", self.fault.code)


TEXTS: Final[Mapping[Code, str]] = {
    Code.TIMEOUT: "Connection timeout",
    Code.CONNECTION: "Connection failed",
    Code.SERVICE_UNAVAILABLE: "Service unavailable",
    Code.BROKER_UNAVAILABLE: "Broker unavailable",
    Code.SERVICE_ERROR: "Service error",
    Code.SERVICE_DEGRADED: "Service degraded, not asked",
    Code.RATE_LIMITED: "Rate limit reached",
    Code.SERVICE_UNAUTHORIZED: "Service refused the API key",
    Code.AUTH_FAILED: "Broker refused the login",
    Code.INVALID_REQUEST: "Service refused the request",
    Code.FORBIDDEN: "Service denied access to the account",
    Code.NOT_FOUND: "Service does not know the account",
    Code.CONTRACT_ERROR: "Answer not understood",
    Code.IDENTITY_MISMATCH: "Answer is about another account",
    Code.INCOMPLETE: "Answer incomplete",
    Code.PAGE_DRIFT: "Pages changed while they were read",
    Code.INTERNAL: "Internal error",
    Code.BREAKER_OPEN: "Not tried: too many errors before",
    Code.SERVICE_UNHEALTHY: "Not tried: service unhealthy",
    Code.LEASED: "Not tried: being synced by another run",
    Code.NEEDS_REAUTH: "Not tried: login was refused before",
}
"""Our sentence for each code."""

_BROKER_DOWN: Final = (Code.BROKER_UNAVAILABLE, True)
_SERVICE_DOWN: Final = (Code.SERVICE_UNAVAILABLE, False)
_LOGIN_REFUSED: Final = (Code.AUTH_FAILED, True)
CODES: Final[Mapping[str, tuple[Code, bool]]] = {
    "BROKER_TIMEOUT": _BROKER_DOWN,
    "BROKER_UNAVAILABLE": _BROKER_DOWN,
    "MT5_DISCONNECTED": _BROKER_DOWN,
    "SERVICE_OVERLOADED": _SERVICE_DOWN,
    "MT5_INIT_FAILED": _SERVICE_DOWN,
    **dict.fromkeys(("-10003", "-10004", "-10005"), _SERVICE_DOWN),  # the terminal does not answer its own service
    "BROKER_RATE_LIMIT": (Code.RATE_LIMITED, True),
    "AUTH_FAILED": _LOGIN_REFUSED,
    "MT5_LOGIN_FAILED": _LOGIN_REFUSED,
    "-6": _LOGIN_REFUSED,
}
"""The service's codes: ours, and whether it speaks of the broker. ``INVALID_…`` of any kind is ``invalid_request``."""
INVALID_PREFIX: Final = "INVALID_"

STATUSES: Final[Mapping[int, Code]] = {
    400: Code.INVALID_REQUEST,
    401: Code.SERVICE_UNAUTHORIZED,
    403: Code.FORBIDDEN,
    404: Code.NOT_FOUND,
    TOO_MANY_REQUESTS: Code.RATE_LIMITED,
    500: Code.SERVICE_ERROR,
    502: Code.SERVICE_UNAVAILABLE,
    503: Code.SERVICE_UNAVAILABLE,
    504: Code.SERVICE_UNAVAILABLE,
}

RETRIED: Final = frozenset({Code.TIMEOUT, Code.CONNECTION, Code.SERVICE_UNAVAILABLE, Code.BROKER_UNAVAILABLE, Code.RATE_LIMITED})
FINAL: Final = frozenset({Code.SERVICE_UNAUTHORIZED, Code.AUTH_FAILED, Code.RATE_LIMITED})
"""After these the account's other steps are not asked in this run: the answer would be the same, or worse (a locked login)."""


def of_answer(status: int, document: object, *, retry_after: str | None = None, now: datetime) -> Fault:
    """The fault of an answer that is not 200. ``document``: its body if that was JSON; ``retry_after``: the header."""
    told = of_document(document)
    pauses = [one for one in (_pause_of_header(retry_after, now), told.retry_after_seconds if told else None) if one is not None]
    pause = max(pauses, default=None)
    if told is not None and told.has_code:
        return Fault(code=told.code, is_broker=told.is_broker, has_code=True, retry_after_seconds=pause)
    return Fault(code=_of_status(status), retry_after_seconds=pause)


def of_document(document: object) -> Fault | None:
    """What an error body says, None when it is none. Without a code that we know it is ``contract_error``."""
    if not isinstance(document, Mapping):
        return None
    error = document.get("error")
    if isinstance(error, Mapping):
        return _fault(error.get("code"), error.get("retry_after_seconds"))
    if "error_code" in document or "error_message" in document:
        return _fault(document.get("error_code"), None)
    if isinstance(error, str):
        return _fault(None, document.get("retry_after"))
    if isinstance(document.get("detail"), str | list) or isinstance(document.get("message"), str):
        return _fault(None, None)
    return None


def of_part(error: object) -> Fault:
    """The fault of ``{"complete": false, "error": …}``: the code if we know it, else ``incomplete``."""
    told = of_document({"error": error})
    return told if told is not None and told.has_code else Fault(code=Code.INCOMPLETE)


def failure(step: Step, fault: Fault, attempts: int = 1) -> StepFailure:
    """State a fault for a step."""
    return StepFailure(
        step=step,
        code=fault.code,
        text=f"{TEXTS[fault.code]} ({fault.where})" if fault.where else TEXTS[fault.code],
        attempts=attempts,
        retry_after_seconds=fault.retry_after_seconds,
        is_broker=fault.is_broker,
        has_code=fault.has_code,
    )


def of_failure(stated: StepFailure) -> Fault:
    """The fault that a step's failure states."""
    return Fault(
        code=stated.code,
        is_broker=stated.is_broker,
        has_code=stated.has_code,
        retry_after_seconds=stated.retry_after_seconds,
    )


def failed(step: Step, fault: Fault, attempts: int = 1) -> ServiceFailure:
    """The same as an exception."""
    return ServiceFailure(failure(step, fault, attempts))


class Retries:
    """What an account's run may still try again: each step once, and once after a timeout in all.

    One for each account and run, used by its thread alone; a call without one is a run of its own.
    """

    def __init__(self, per_step_max: int = 1) -> None:
        self._per_step_max = per_step_max
        self._taken: dict[Step, int] = {}
        self._has_timed_out = False

    def take(self, steps: Sequence[Step], fault: Fault) -> bool:
        """Whether the steps may be tried again after ``fault``; if so, that is used up."""
        if fault.code not in RETRIED or (fault.retry_after_seconds or 0) > RETRY_AFTER_SECONDS_MAX:
            return False
        is_timeout = fault.code is Code.TIMEOUT
        if (is_timeout and self._has_timed_out) or any(self._taken.get(step, 0) >= self._per_step_max for step in steps):
            return False
        self._taken.update({step: self._taken.get(step, 0) + 1 for step in steps})
        self._has_timed_out = self._has_timed_out or is_timeout
        return True


def _fault(code: object, pause: object) -> Fault:
    text = str(code).upper() if isinstance(code, str | int) and not isinstance(code, bool) else ""
    known = CODES.get(text)
    if known is None and text.startswith(INVALID_PREFIX):
        known = (Code.INVALID_REQUEST, False)
    seconds = _seconds(pause)
    if known is None:
        return Fault(code=Code.CONTRACT_ERROR, retry_after_seconds=seconds)
    return Fault(code=known[0], is_broker=known[1], has_code=True, retry_after_seconds=seconds)


def _of_status(status: int) -> Code:
    known = STATUSES.get(status)
    if known is not None:
        return known
    if 400 <= status < 500:
        return Code.INVALID_REQUEST
    return Code.SERVICE_ERROR if status >= 500 else Code.CONTRACT_ERROR


def _seconds(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or value < 0:
        return None
    return PAUSE_SECONDS_MAX if value > PAUSE_SECONDS_MAX else ceil(value)


def _pause_of_header(text: str | None, now: datetime) -> int | None:
    """Seconds, or a date of HTTP; anything else was not said."""
    if text is None:
        return None
    stripped = text.strip()
    if stripped.isascii() and stripped.isdigit():
        return _seconds(int(stripped[:9]))
    try:
        at: Any = parsedate_to_datetime(stripped)
    except ValueError:
        return None
    return _seconds(Decimal(max(0, ceil(((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds()))))
