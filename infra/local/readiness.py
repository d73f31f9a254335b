"""Waits until every process of a start answers on its port, or says which one did not and what it last wrote."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from infra.local.processes import Running, tail

POLL_SECONDS = 0.02
PROBE_SECONDS = 2.0


class StartFailed(RuntimeError):
    """A process ended or stayed silent while starting; the text ends with its last log lines."""


def answers(url: str) -> bool:
    """Whether an HTTP server answers at ``url``, with whatever status."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", parts.path or "/")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    else:
        return True
    finally:
        connection.close()


def wait_until_ready(
    addresses: Mapping[str, tuple[Running, str]],
    seconds: float,
    tell: Callable[[str, str], None],
    *,
    deaths_allowed: bool = False,
) -> None:
    """Wait for all of ``addresses`` (name → its life and a URL to ask). Raises StartFailed."""
    end = time.monotonic() + seconds
    missing = dict(addresses)
    while missing:
        for name, (running, url) in list(missing.items()):
            if answers(url):
                tell(name, url.rpartition("/")[0])
                del missing[name]
            elif (died := bool(running.deaths_in_a_row and not deaths_allowed)) or time.monotonic() >= end:
                what = f"ended with status {running.last_exit_status}" if died else f"is silent after {seconds:g} s"
                log = running.program.log
                raise StartFailed(f"{name} {what} while starting. The end of {log}:\n{tail(log)}")
        if missing:
            time.sleep(POLL_SECONDS)
