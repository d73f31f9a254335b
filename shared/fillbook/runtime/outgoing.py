"""Calls to the outside over HTTP: one retry policy per outside, no redirects, bounded answers.

A ``requests`` session follows up to one retry of what was certainly not processed (connection refused) unless its owner
mounts another policy. Answers are read against a byte limit and a deadline, because a read timeout alone bounds neither
size nor dripping. The HTTP library's own log lines name the address of each call, and addresses carry secrets (a token in the
query, a webhook's path): none of them passes, at whatever level a process logs.
"""

from __future__ import annotations

import json
import logging
from typing import Any, Literal

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from fillbook.runtime import clock
from fillbook.runtime.errors import Unavailable

ANSWER_BYTES_MAX = 1_048_576
CHUNK_BYTES = 16_384
ADDRESS_LOGGERS = ("urllib3.connectionpool", "urllib3.util.retry")
"""The loggers whose lines hold addresses; a filter stays where a level could be set anew by anybody."""


def _no_address(_: logging.LogRecord) -> Literal[False]:
    return False


def keep_addresses() -> None:
    """Let no line of the HTTP library pass that names an address; once for a process, again for nothing."""
    for name in ADDRESS_LOGGERS:
        logging.getLogger(name).addFilter(_no_address)


def session(retry: Retry | None = None, *, pool_size: int = 8) -> requests.Session:
    """Return a keep-alive session with ``retry`` mounted; proxies of the environment and redirects are ignored."""
    keep_addresses()
    made = requests.Session()
    made.trust_env = False
    made.max_redirects = 0
    policy = Retry(total=1, connect=1, read=0, status=0, redirect=0, other=0) if retry is None else retry
    adapter = HTTPAdapter(max_retries=policy, pool_connections=pool_size, pool_maxsize=pool_size)
    made.mount("http://", adapter)
    made.mount("https://", adapter)
    return made


def read_bounded(response: requests.Response, *, seconds: float, bytes_max: int = ANSWER_BYTES_MAX) -> bytes:
    """Read a streamed answer; raises ``Unavailable('answer_too_large' | 'answer_too_slow')``, ``requests.ConnectionError``."""
    try:
        return bounded(response.raw, seconds=seconds, bytes_max=bytes_max)
    except HTTPError as error:
        raise requests.ConnectionError(type(error).__name__) from error


def bounded(answer: Any, *, seconds: float, bytes_max: int = ANSWER_BYTES_MAX) -> bytes:
    """As ``read_bounded``, of the HTTP library's own answer; raises its errors."""
    deadline = clock.monotonic() + seconds
    parts: list[bytes] = []
    size = 0
    # the next bytes that have arrived: a larger read would wait for all of them, one drip after the other
    while chunk := answer.read1(CHUNK_BYTES, decode_content=True):
        size += len(chunk)
        if size > bytes_max:
            raise Unavailable("answer_too_large", f"more than {bytes_max} bytes")
        if clock.monotonic() > deadline:
            raise Unavailable("answer_too_slow", f"more than {seconds} s")
        parts.append(chunk)
    return b"".join(parts)


def read_json(response: requests.Response, *, seconds: float, bytes_max: int = ANSWER_BYTES_MAX) -> Any:
    """Read a streamed answer as JSON; raises ``Unavailable('answer_invalid')`` when it is none."""
    try:
        return json.loads(read_bounded(response, seconds=seconds, bytes_max=bytes_max))
    except (ValueError, RecursionError) as error:
        raise Unavailable("answer_invalid", type(error).__name__) from error
