"""When a failed delivery is tried again: backoff on the desk clock, with both feet on the real one.

Google's backoff is a length of time, and here time is the desk clock's: stepping the clock by 30 s makes a retry of 30 s
due. Two things keep that honest while the clock runs hundreds of times faster or stands still:

* the *floor*: an outage (a process restarting, a database coming back) lasts in real time. At 300 × a backoff of 5 s is
  over in 16 ms and twenty attempts would burn before anything could recover, so a retry also waits a short real time,
  0.1 s doubling to 3 s (twenty attempts then span at least 45 real seconds);
* the *ceiling*: a backoff never lasts longer in real time than it would on the wall clock, so a clock that was
  stopped or set back holds nothing up for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from infra.local.wiring import RETRY_FLOOR_SECONDS_MAX

DOUBLINGS_MAX = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A retry's times: desk time (UTC) and real times (monotonic seconds)."""

    desk_at: datetime
    floor_at: float
    ceiling_at: float

    def is_due(self, desk_now: datetime, monotonic: float) -> bool:
        """Whether the retry may go out now."""
        return monotonic >= self.floor_at and (desk_now >= self.desk_at or monotonic >= self.ceiling_at)


def backoff_seconds(failures: int, least: float, most: float) -> float:
    """Exponential: ``least`` after the first failure, doubling, at most ``most``."""
    return min(most, least * 2.0 ** min(max(failures - 1, 0), DOUBLINGS_MAX))


def due_after(failures: int, *, least: float, most: float, floor: float, desk_now: datetime, monotonic: float) -> Due:
    """When the try after ``failures`` (≥ 1) failed ones is due; all lengths in seconds."""
    wait = backoff_seconds(failures, least, most)
    real = backoff_seconds(failures, floor, RETRY_FLOOR_SECONDS_MAX)
    return Due(desk_at=desk_now + timedelta(seconds=wait), floor_at=monotonic + real, ceiling_at=monotonic + max(wait, real))
