"""One bounded call to an MT5 service and what may follow it: whole answers or a named fault, second tries, pauses.

A call is bounded as a whole (header and dripping body included), follows no redirect, keeps no cookie and goes out over TLS
unless the service is on this machine. It is made again as section 3.3 of the specification allows and no more. Which paths and
headers there are is the business of ``mt5_service.py``; nothing that was sent or came leaves this module in an error.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final, TypeVar
from urllib.parse import urlencode, urlsplit

from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.exceptions import TimeoutError as TooSlow
from urllib3.util.timeout import Timeout

from fillbook.mt5 import faults
from fillbook.mt5.faults import CallFailed, ContractError, Fault, Retries
from fillbook.mt5.words import ANSWER_BYTES_MAX, Code, Step
from fillbook.runtime import clock, outgoing
from fillbook.runtime.errors import Unavailable
from fillbook.runtime.watched import Watchdog, watched_pools
from fillbook.values import frozen

T = TypeVar("T")

REQUEST_SECONDS: Final = 30.0
CONNECT_SECONDS: Final = 5.0
JITTER_SECONDS: Final = (0.2, 1.0)
HOSTS_MAX: Final = 8
CONNECTIONS_MAX: Final = 100
_HEADERS: Final = {"Accept-Encoding": "gzip, deflate"}


@frozen
class Hooks:
    """What the adapter tells others of its calls, and what it asks of chance and time.

    ``before_call(instance_key)`` is called before every request and may wait (a token of the rate limit);
    ``after_429(instance_key, seconds)`` when the service itself, not its broker, asked for a pause. ``jitter`` gives seconds.
    """

    before_call: Callable[[str], None] = lambda _: None
    after_429: Callable[[str, float], None] = lambda _, __: None
    jitter: Callable[[], float] = lambda: random.uniform(*JITTER_SECONDS)
    sleep: Callable[[float], None] = clock.sleep


@frozen
class Answer:
    """What came over the wire."""

    status: int
    body: bytes
    retry_after: str | None


class Calls:
    """Calls to services, from all threads of a process over the same open connections."""

    def __init__(
        self, hooks: Hooks, *, request_seconds: float = REQUEST_SECONDS, connect_seconds: float = CONNECT_SECONDS
    ) -> None:
        self._hooks = hooks
        self._request_seconds = request_seconds
        self._connect_seconds = connect_seconds
        self._pools = watched_pools(hosts=HOSTS_MAX, connections=CONNECTIONS_MAX)

    def tried(self, steps: Sequence[Step], left: Retries, deadline: float, once: Callable[[], T]) -> tuple[T, int]:
        """Do it, and again as far as that is allowed; the result and the attempts made. Raises ``ServiceFailure``."""
        attempts = 0
        while True:
            attempts += 1
            try:
                return once(), attempts
            except CallFailed as error:
                fault = error.fault
            if not self.waits(steps, fault, left, deadline):
                raise faults.failed(steps[0], fault, attempts) from None

    def waits(self, steps: Sequence[Step], fault: Fault, left: Retries, deadline: float) -> bool:
        """Wait before another try, if there may be one and it fits the deadline."""
        seconds = max(self._hooks.jitter(), float(fault.retry_after_seconds or 0))
        if clock.monotonic() + seconds >= deadline or not left.take(steps, fault):
            return False
        self._hooks.sleep(seconds)
        return True

    def get(self, url: str, params: Mapping[str, Any], headers: Callable[[], Mapping[str, str]], deadline: float) -> Answer:
        """GET once. Whatever happens on the way becomes ``CallFailed``, without the words it came with."""
        seconds = min(self._request_seconds, deadline - clock.monotonic())
        if seconds <= 0:
            raise CallFailed(Fault(code=Code.TIMEOUT, where="no time left"))
        with Watchdog(seconds) as watchdog:
            try:
                timeout = Timeout(connect=min(self._connect_seconds, seconds), read=seconds)
                answer = self._got(f"{url}?{urlencode(params)}" if params else url, {**_HEADERS, **headers()}, timeout, seconds)
            except (Unavailable, HTTPError, OSError, ValueError) as error:
                raise _broken(error, is_late=watchdog.has_bitten) from None
        if watchdog.has_bitten:  # a body without a length ends where the socket was shut
            raise CallFailed(Fault(code=Code.TIMEOUT))
        return answer

    def _got(self, url: str, headers: Mapping[str, str], timeout: Timeout, seconds: float) -> Answer:
        """One answer as it came; a connection whose answer was not read to its end is not used again."""
        response = self._pools.urlopen("GET", url, redirect=False, headers=headers, timeout=timeout, preload_content=False)
        try:
            body = outgoing.bounded(response, seconds=seconds, bytes_max=ANSWER_BYTES_MAX)
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return Answer(status=response.status, body=body, retry_after=response.headers.get("Retry-After"))


@lru_cache(256)
def address(base_url: str) -> str:
    """The base of an instance's addresses: https, or http on this machine, and nothing but host, port and path.

    It comes from a row: a number in place of a name must be one of the open net, so that no row makes us call a neighbour.
    """
    try:
        parts = urlsplit(base_url)
        host = parts.hostname or ""
        number = _number(host)
        is_odd = parts.username is not None or parts.password is not None or parts.query or parts.fragment or not host
        is_here = host == "localhost" or (number is not None and number.is_loopback)
        is_open = number is None or number.is_global
        is_safe = (parts.scheme in ("http", "https") and is_here) or (parts.scheme == "https" and is_open)
    except ValueError:
        is_odd, is_safe = True, False
    if is_odd or not is_safe:
        raise CallFailed(Fault(code=Code.INVALID_REQUEST, where="service address"))
    return base_url.rstrip("/")


def _number(host: str) -> IPv4Address | IPv6Address | None:
    """A host that is a number, in any spelling that a resolver would take for one; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return ip_address(socket.inet_aton(host))
    except OSError:
        return None


def _broken(error: Exception, *, is_late: bool) -> CallFailed:
    """What kept an answer from coming."""
    if isinstance(error, Unavailable) and error.reason == "answer_too_large":
        return ContractError("body too large")
    is_late = is_late or (isinstance(error, TooSlow) and not isinstance(error, NewConnectionError))
    is_late = is_late or (isinstance(error, Unavailable) and error.reason == "answer_too_slow")
    return CallFailed(Fault(code=Code.TIMEOUT if is_late else Code.CONNECTION))
