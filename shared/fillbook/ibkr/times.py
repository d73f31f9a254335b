"""Broker time texts become instants, by their own words only: the host's zone plays no part.

A text either names its zone (an IANA name, a short name of our table, an offset that Flex writes as EST or EDT), or has a
form that fixes it (the dash form and epoch numbers are UTC), or takes the zone that configuration gives. Anything else is
refused with its reason: a time is never guessed. Source: ibkr.md 7.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fillbook.ibkr.words import Reason
from fillbook.values import frozen

_TEXT: Final = re.compile(
    r"(\d{4})-?(\d{2})-?(\d{2})(?:[ ]*([;,T-])[ ]*|[ ]+)(\d{2}):?(\d{2}):?(\d{2})(?:\.(\d+))?(?:[ ]+(\S+))?", re.ASCII
)
_DAY: Final = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})", re.ASCII)
_EPOCH: Final = re.compile(r"(\d{10})(\d{3})?(?:\.(\d+))?", re.ASCII)
_ZONE_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}", re.ASCII)
_YEARS: Final = range(1970, 9000)
# what short names mean at this broker; ambiguous ones (CST, IST) are left out, so that they are refused
_SHORT: Final = {
    "JST": timedelta(hours=9),
    "HKT": timedelta(hours=8),
    "SGT": timedelta(hours=8),
    "AEST": timedelta(hours=10),
    "AEDT": timedelta(hours=11),
    "EST": timedelta(hours=-5),
    "EDT": timedelta(hours=-4),
    "CDT": timedelta(hours=-5),
    "MST": timedelta(hours=-7),
    "MDT": timedelta(hours=-6),
    "PST": timedelta(hours=-8),
    "PDT": timedelta(hours=-7),
    "BST": timedelta(hours=1),
    "CEST": timedelta(hours=2),
    "MEST": timedelta(hours=2),
    "MESZ": timedelta(hours=2),
    "MEZ": timedelta(hours=1),
}
ROLLS_AT: Final = {"CASH": time(17), "FUT": time(18), "FOP": time(18)}
"""When the venue's next day begins, in the account's trade day zone."""


class TimeRefused(ValueError):
    """A text that is no instant; ``reason`` is the slug of the quarantine."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@frozen(kw_only=False)
class Moment:
    """An instant (UTC); ``is_ambiguous``: the local time occurs twice and the text does not say which, the first was taken."""

    at: datetime
    is_ambiguous: bool = False


@lru_cache(256)
def zone(name: str) -> tzinfo:
    """Return the zone of a name; raises ``TimeRefused('unknown_zone')``."""
    if name in ("UTC", "GMT", "Z"):
        return UTC
    if name in _SHORT:
        return timezone(_SHORT[name])
    try:
        if len(name) > 64 or _ZONE_NAME.fullmatch(name) is None:
            raise ZoneInfoNotFoundError
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise TimeRefused(Reason.UNKNOWN_ZONE, "zone") from error


def tws_time(text: str, bare_zone: str | None) -> Moment:
    """Read a socket time; without a zone it needs ``bare_zone`` (the target accepts bare times), else it is refused."""
    stripped = text.strip()
    epoch = _epoch(stripped)
    if epoch is not None:
        return epoch
    parts = _TEXT.fullmatch(stripped)
    if parts is None:
        raise TimeRefused(Reason.BAD_TIME, "time")
    named = parts[9]
    if named is not None:
        return _local(parts, zone(named))
    if parts[4] == "-":
        return _local(parts, UTC)
    if bare_zone is None:
        raise TimeRefused(Reason.TIME_WITHOUT_ZONE, "time")
    return _local(parts, zone(bare_zone))


@lru_cache(512)
def flex_time(text: str, flex_zone: str) -> Moment:
    """Read a statement's time in the account's zone, unless the text itself fixes the offset."""
    stripped = text.strip()
    epoch = _epoch(stripped)
    if epoch is not None:
        return epoch
    parts = _TEXT.fullmatch(stripped)
    if parts is None:
        raise TimeRefused(Reason.BAD_TIME, "dateTime")
    return _local(parts, zone(parts[9] or flex_zone))


@lru_cache(512)
def day(text: str) -> date | None:
    """Read a date of 1970 to 8999, with or without dashes, also at the head of a date and time; None where there is none."""
    parts = _DAY.match(text.strip())
    if parts is None or int(parts[1]) not in _YEARS:
        return None
    try:
        return date(int(parts[1]), int(parts[2]), int(parts[3]))
    except ValueError:
        return None


def trade_day(at: datetime, zone_name: str, sec_type: str) -> date:
    """The venue's day of an instant: its date in the zone, from the evening roll on the next weekday."""
    local = at.astimezone(zone(zone_name))
    result = local.date()
    rolls_at = ROLLS_AT.get(sec_type)
    if rolls_at is not None and local.time() >= rolls_at:
        result += timedelta(days=1)
        while result.weekday() >= 5:
            result += timedelta(days=1)
    return result


def start_of_day(on: date, zone_name: str) -> datetime:
    """The first instant (UTC) of a date in a zone."""
    return datetime.combine(on, time(), zone(zone_name)).astimezone(UTC)


def _epoch(text: str) -> Moment | None:
    parts = _EPOCH.fullmatch(text)
    if parts is None:
        return None
    microseconds = int(((parts[2] or "") + (parts[3] or "") + "000000")[:6])
    return Moment(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(parts[1]), microseconds=microseconds))


def _local(parts: re.Match[str], place: tzinfo) -> Moment:
    year, month, on, hour, minute, second = (int(parts[n]) for n in (1, 2, 3, 5, 6, 7))
    if second > 59:
        raise TimeRefused(Reason.BAD_TIME, "no such date or time")
    begun = _minute(year, month, on, hour, minute, place)
    within = timedelta(seconds=second, microseconds=int(((parts[8] or "") + "000000")[:6]))
    return Moment(begun.at + within, is_ambiguous=begun.is_ambiguous)


@lru_cache(512)
def _minute(year: int, month: int, on: int, hour: int, minute: int, place: tzinfo) -> Moment:
    """A minute of a place: clocks are changed on whole minutes, so all its seconds have one offset."""
    try:
        first = datetime(year, month, on, hour, minute, tzinfo=place)
    except ValueError as error:
        raise TimeRefused(Reason.BAD_TIME, "no such date or time") from error
    if year not in _YEARS:
        raise TimeRefused(Reason.BAD_TIME, "year")
    at = first.astimezone(UTC)
    if at.astimezone(place).replace(tzinfo=None) != first.replace(tzinfo=None):
        raise TimeRefused(Reason.TIME_IN_GAP, "the clock skipped this time")
    return Moment(at, is_ambiguous=first.utcoffset() != first.replace(fold=1).utcoffset())
