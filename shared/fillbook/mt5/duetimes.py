"""When an account is due again: slots of five minutes, cadence of large fleets, back-off after failures, refused logins. Pure.

Due times count from the slot of a run, never from the end of its work, so that no account drifts. Sources: sections 2 and 4
of the specification.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from fillbook.mt5.words import Code
from fillbook.values import frozen

TICK: Final = timedelta(minutes=5)
DUE_MARGIN: Final = timedelta(seconds=60)
BACKOFF: Final = tuple(timedelta(minutes=minutes) for minutes in (5, 10, 20, 40, 60))
DICE_MAX: Final = 1000
STEPPED_BACK: Final = timedelta(hours=2)
"""No due time lies further ahead; one that seems to was written before the desk clock was set back, and is due."""
RECENT: Final = timedelta(hours=24)
IDLE: Final = timedelta(days=7)
ADAPTIVE_ABOVE: Final = 300
AUTH_FAILURES_MAX: Final = 3
ALARM_FAILURES: Final = 3


@frozen
class Cadence:
    """How often accounts of a large fleet are read: moving ones, idle ones, those that slept for a week or whose venue is closed.

    Each is a whole number of ticks.
    """

    active: timedelta = TICK
    idle: timedelta = timedelta(minutes=30)
    asleep: timedelta = timedelta(minutes=60)


@frozen
class Activity:
    """What an account did of late. ``last_deal_at`` None: its history was read and holds no deal.

    ``is_venue_closed``: outside the FX week (``calendar.is_fx_week``); servers have no calendar of their own (decision 0030).
    """

    has_open_positions: bool
    last_deal_at: datetime | None
    is_venue_closed: bool = False


@frozen
class Logins:
    """Refused logins in a row, and with which version of the account's credentials; kept in ``account_sync_state``."""

    failures: int = 0
    credentials_version: int | None = None


# --- slots ------------------------------------------------------------------------------------------------------------


def slot_of(instant: datetime) -> datetime:
    """The start of the five-minute slot of an aware UTC instant."""
    return instant - timedelta(minutes=instant.minute % 5, seconds=instant.second, microseconds=instant.microsecond)


def due_until(slot: datetime) -> datetime:
    """Accounts with ``next_due_at`` up to here are due in the slot: a little early is better than a whole tick late."""
    return slot + DUE_MARGIN


def is_due(next_due_at: datetime, slot: datetime) -> bool:
    """Whether an account is due in the slot."""
    return next_due_at <= due_until(slot) or next_due_at > slot + STEPPED_BACK


# --- the next due time ------------------------------------------------------------------------------------------------


def after_success(
    slot: datetime,
    activity: Activity,
    *,
    active_accounts: int,
    adaptive_above: int = ADAPTIVE_ABOVE,
    cadence: Cadence | None = None,
    shard: int = 0,
) -> datetime:
    """When an account that answered is due again: at each tick, or in a fleet above ``adaptive_above`` at its cadence.

    ``shard`` (any fixed number of the account) spreads accounts of one cadence evenly over the ticks: an account keeps its
    own tick within the cadence, so a first interval may be shorter, never longer.
    """
    every = interval(activity, slot, cadence or Cadence()) if active_accounts > adaptive_above else TICK
    ticks = max(every // TICK, 1)
    now_tick = int(slot.timestamp()) // int(TICK.total_seconds())
    ahead = (shard - now_tick) % ticks
    return slot + TICK * (ahead or ticks)


def interval(activity: Activity, now: datetime, cadence: Cadence) -> timedelta:
    """The cadence of an account; one that moves is read at every tick whatever its venue does."""
    since = None if activity.last_deal_at is None else now - activity.last_deal_at
    if activity.has_open_positions or (since is not None and since <= RECENT):
        return cadence.active
    if activity.is_venue_closed or since is None or since > IDLE:
        return cadence.asleep
    return cadence.idle


def after_failure(slot: datetime, failures: int, dice: int, ladder: Sequence[timedelta] = BACKOFF) -> datetime:
    """When an account is due after its ``failures``-th failure in a row (1 or more); the last step of the ladder repeats.

    ``dice`` in 0..1000 moves the step by up to 10 % either way. Raises ``ValueError`` outside.
    """
    if failures < 1 or not 0 <= dice <= DICE_MAX:
        raise ValueError("failures count from 1, dice run from 0 to 1000")
    step = ladder[min(failures, len(ladder)) - 1]
    return slot + step * (10_000 + 2 * dice - DICE_MAX) / 10_000


def is_told(failures: int) -> bool:
    """Whether the ``failures``-th failure in a row is an event: at 3, then at each doubling (6, 12, 24, …)."""
    times, rest = divmod(failures, ALARM_FAILURES)
    return rest == 0 and times > 0 and times & (times - 1) == 0


# --- refused logins ---------------------------------------------------------------------------------------------------


def counted_logins(before: Logins, credentials_version: int, *, has_answered: bool, codes: Sequence[Code]) -> Logins:
    """Refused logins in a row after a run.

    New credentials start anew; an answer ends the row; a run that ended neither way (a timeout) says nothing about the login.
    """
    known = before.failures if before.credentials_version == credentials_version else 0
    if has_answered:
        known = 0
    elif Code.AUTH_FAILED in codes:
        known += 1
    return Logins(failures=known, credentials_version=credentials_version)


def needs_reauth(logins: Logins, credentials_version: int, failures_max: int = AUTH_FAILURES_MAX) -> bool:
    """Whether an account is not asked any more until ``credentials_version`` rises (or an operator forces it)."""
    is_known = logins.credentials_version is not None and logins.credentials_version >= credentials_version
    return is_known and logins.failures >= failures_max
