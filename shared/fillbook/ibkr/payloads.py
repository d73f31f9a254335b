"""What a job may be told: the overrides of each job type, their bounds, and the key under which the same work is the same job.

A caller never makes the desk dial anything: host and port together must be one of the configured targets. Unknown names and
values out of range are refused with the field. The effective payload (defaults filled in) is what is stored, and its hash is
the key. Source: ibkr.md 11.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any, Final
from uuid import UUID

from fillbook.ibkr.tws_rules import CLIENT_ID_MAX, CONNECT_TIMEOUT_SECONDS_MAX
from fillbook.ibkr.words import LOOKBACK_DAYS_MAX
from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

JOB_TYPE_TRADES_SYNC: Final = "trades.sync"
JOB_TYPE_POSITIONS_SYNC: Final = "positions.sync"
JOB_TYPE_FLEX_REQUEST: Final = "flex.request"
JOB_TYPE_FLEX_FETCH: Final = "flex.fetch"
CONNECT_TIMEOUT_SECONDS: Final = 10
LOOKBACK_DAYS: Final = 2
FLEX_DAYS_MAX: Final = 365
INVALID: Final = "invalid_payload"


@frozen
class Defaults:
    """What a payload that says nothing means.

    ``targets``: (host, port), the first is the default; ``queries``: configured kinds of statements (``statement``, …).
    """

    targets: tuple[tuple[str, int], ...]
    client_id: int
    queries: tuple[str, ...] = ()


@frozen
class Requested:
    """A job as it is asked for: effective payload, and the key of work that is the same."""

    job_type: str
    payload: Mapping[str, Any]

    @property
    def dedupe_key(self) -> str:
        """sha256 over type and effective payload."""
        text = json.dumps([self.job_type, self.payload], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def asked(body: Mapping[str, Any], defaults: Defaults) -> Requested:
    """Return what a request ``{job_type, payload}`` asks for; raises as ``read``."""
    _known(body, "job_type", "payload")
    return read(body.get("job_type"), body.get("payload"), defaults)


def read(job_type: object, payload: object, defaults: Defaults) -> Requested:
    """Return what is asked for; raises ``Rejected``: ``job_type_unknown``, ``invalid_payload`` with the field."""
    reader = _READERS.get(job_type) if isinstance(job_type, str) else None
    if reader is None:
        raise Rejected("job_type_unknown", field="job_type")
    given = {} if payload is None else payload
    if not isinstance(given, Mapping):
        raise Rejected(INVALID, "not an object", field="payload")
    return Requested(job_type=str(job_type), payload=reader(given, defaults))


def _socket(given: Mapping[str, Any], defaults: Defaults) -> dict[str, Any]:
    _known(given, "host", "port", "client_id", "connect_timeout_seconds", "lookback_days")
    if not defaults.targets:
        raise Rejected(INVALID, "no target is configured", field="host")
    host, port = given.get("host", defaults.targets[0][0]), given.get("port", defaults.targets[0][1])
    if not isinstance(host, str) or host not in {one for one, _ in defaults.targets}:
        raise Rejected(INVALID, "not a configured target", field="host")
    if type(port) is not int or (host, port) not in defaults.targets:
        raise Rejected(INVALID, "not a configured target", field="port")
    return {
        "host": host,
        "port": port,
        "client_id": _whole(given, "client_id", defaults.client_id, CLIENT_ID_MAX),
        "connect_timeout_seconds": _whole(given, "connect_timeout_seconds", CONNECT_TIMEOUT_SECONDS, CONNECT_TIMEOUT_SECONDS_MAX),
        "lookback_days": _whole(given, "lookback_days", LOOKBACK_DAYS, LOOKBACK_DAYS_MAX),
    }


def _flex_request(given: Mapping[str, Any], defaults: Defaults) -> dict[str, Any]:
    """``{kind, from_date?, to_date?}``: without dates the run goes from what is covered up to yesterday."""
    _known(given, "kind", "from_date", "to_date")
    kind = given.get("kind", "statement")
    if not isinstance(kind, str) or kind not in defaults.queries:
        raise Rejected(INVALID, "no query of this kind is configured", field="kind")
    first, last = _day(given, "from_date"), _day(given, "to_date")
    if (first is None) != (last is None):
        raise Rejected(INVALID, "both days or none", field="to_date" if last is None else "from_date")
    if first is not None and last is not None and not timedelta(0) <= last - first < timedelta(days=FLEX_DAYS_MAX):
        raise Rejected(INVALID, "1 to 365 days", field="to_date")
    days = {} if first is None or last is None else {"from_date": first.isoformat(), "to_date": last.isoformat()}
    return {"kind": kind, **days}


def _flex_fetch(given: Mapping[str, Any], _defaults: Defaults) -> dict[str, Any]:
    _known(given, "request_id")
    try:
        return {"request_id": str(UUID(given["request_id"]))}
    except (KeyError, ValueError, TypeError, AttributeError):
        raise Rejected(INVALID, "the id of a request", field="request_id") from None


def _known(given: Mapping[str, Any], *names: str) -> None:
    for name in sorted(map(str, given)):
        if name not in names:
            raise Rejected(INVALID, "unknown", field=name[:64])


def _whole(given: Mapping[str, Any], name: str, default: int, most: int) -> int:
    value = given.get(name, default)
    if type(value) is not int or not 1 <= value <= most:
        raise Rejected(INVALID, f"1 to {most}", field=name)
    return value


def _day(given: Mapping[str, Any], name: str) -> date | None:
    value = given.get(name)
    if value is None:
        return None
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise Rejected(INVALID, "a day as 2026-01-05", field=name) from None


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any], Defaults], dict[str, Any]]]] = {
    JOB_TYPE_TRADES_SYNC: _socket,
    JOB_TYPE_POSITIONS_SYNC: _socket,
    JOB_TYPE_FLEX_REQUEST: _flex_request,
    JOB_TYPE_FLEX_FETCH: _flex_fetch,
}
