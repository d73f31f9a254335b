"""From the log of an instance's requests to what a cloud would bill for them: pure.

An instance is in work from the begin of a request to its end, however many others it serves meanwhile; each such stretch is
charged in steps of 100 ms, and what begins within a step that is paid already belongs to the same stretch. That is what Cloud
Run's billing by requests says. A scheduled call stands alone in a cloud, where schedules are a minute apart at least; beside
others, as a fast desk clock brings it about, it would be counted too low: each is charged by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

STEP_NS = 100_000_000
SECOND_NS = 1_000_000_000
SCHEDULE = "schedule:"
Tally = dict[str, dict[str, float]]
"""Who called -> requests, seconds of all of them, billed_seconds, bytes_in, bytes_out, failed (5xx)."""


class Request(NamedTuple):
    """One line of the log; instants in epoch nanoseconds."""

    begun: int
    ended: int
    caller: str
    bytes_in: int
    bytes_out: int
    status: int


def parsed(lines: Iterable[str]) -> list[Request]:
    """The requests of a log; what is no line of it (the end of a file that is being written) is left out."""
    found = []
    for line in lines:
        parts = line.split()
        if len(parts) == 6 and all(part.isdigit() for part in (*parts[:2], *parts[3:])):
            found.append(Request(int(parts[0]), int(parts[1]), parts[2], int(parts[3]), int(parts[4]), int(parts[5])))
    return found


def billed_seconds(requests: Iterable[Request]) -> float:
    """How long one instance is in work for these requests, in steps of 100 ms."""
    steps, paid_until = 0, 0
    for one in sorted(requests):
        begin = max(one.begun, paid_until)
        if one.ended >= begin:
            added = max(math.ceil((one.ended - begin) / STEP_NS), 1 if one.begun >= paid_until else 0)
            steps, paid_until = steps + added, begin + added * STEP_NS
    return steps * STEP_NS / SECOND_NS


def tallied(requests: Sequence[Request]) -> Tally:
    """Counts by caller; of those that share an instance each bears the part of its time that its own seconds are."""
    found: Tally = {}
    for one in requests:
        counts = found.setdefault(one.caller, dict.fromkeys(("requests", "seconds", "bytes_in", "bytes_out", "failed"), 0.0))
        counts["requests"] += 1
        counts["seconds"] += max(one.ended - one.begun, 0) / SECOND_NS
        counts["bytes_in"] += one.bytes_in
        counts["bytes_out"] += one.bytes_out
        counts["failed"] += one.status >= 500
    together = [one for one in requests if not one.caller.startswith(SCHEDULE)]
    busy, seconds = billed_seconds(together), sum(one.ended - one.begun for one in together) / SECOND_NS
    for caller, counts in found.items():
        if caller.startswith(SCHEDULE):
            counts["billed_seconds"] = sum(billed_seconds([one]) for one in requests if one.caller == caller)
        else:
            counts["billed_seconds"] = busy * counts["seconds"] / seconds if seconds else busy
    return found
