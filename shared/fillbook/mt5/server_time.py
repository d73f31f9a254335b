"""A broker's server clock and UTC: one rule per server, applied both ways, measured on new servers and checked for ever after.

A rule says: UTC = the wall time minus ``shift_minutes``, read in ``zone_name``. Most FX servers follow New York + 7 h, so that
their day ends with New York's; they change on *American* dates. Some follow Europe/Athens, some never change (UTC + n).

Twice a year a rule alone is not enough. In autumn an hour of the server clock comes twice; which pass a deal belongs to is
told by the tickets (``second_passes``). In spring an hour does not come at all (``is_skipped``): a time in it means that the
rule is wrong.
Source: section 6 of the specification.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fillbook.mt5.model import ServerRule
from fillbook.mt5.words import ZoneState

NEW_YORK: Final = ("America/New_York", 420)
EU: Final = ("Europe/Athens", 0)
FIXED_ZONE: Final = "UTC"
STEP_MINUTES: Final = 15
SHIFT_MINUTES_MAX: Final = 24 * 60
OFFSET_MINUTES_MAX: Final = 15 * 60
"""No wall clock on earth is further from UTC than 14 h; a measurement beyond is no clock."""
MISSES_MAX: Final = 3
"""Misses in a row after which a rule no longer fits."""

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 -- the server clock is a wall clock: it has no zone
_MILLISECOND: Final = timedelta(milliseconds=1)
_MINUTE: Final = timedelta(minutes=1)


class RuleInvalid(ValueError):
    """A clock rule that cannot be applied: an unknown zone, or a shift of more than a day."""


@lru_cache(256)
def zone(name: str) -> ZoneInfo:
    """Return the zone of a name; raises ``RuleInvalid``."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise RuleInvalid("unknown zone") from None


def check(rule: ServerRule) -> None:
    """Raise ``RuleInvalid`` for a rule that an operator must not enter."""
    zone(rule.zone_name)
    if abs(rule.shift_minutes) > SHIFT_MINUTES_MAX:
        raise RuleInvalid("shift of more than a day")


def to_utc(rule: ServerRule, msc: int, *, is_second_pass: bool = False) -> datetime:
    """The instant of a server time. ``is_second_pass`` counts in the repeated hour alone."""
    return (
        _local(rule, msc)
        .replace(tzinfo=zone(rule.zone_name), fold=int(is_second_pass and is_repeated(rule, msc)))
        .astimezone(UTC)
    )


def to_server(rule: ServerRule, at: datetime) -> int:
    """The server time of an instant, in milliseconds; both passes of the repeated hour have the same."""
    wall = at.astimezone(zone(rule.zone_name)).replace(tzinfo=None) + timedelta(minutes=rule.shift_minutes)
    return (wall - _EPOCH) // _MILLISECOND


def clock_date(msc: int) -> date:
    """The date on the server clock: the venue's own day."""
    return (_EPOCH + msc * _MILLISECOND).date()


def is_repeated(rule: ServerRule, msc: int) -> bool:
    """Whether this server time comes twice."""
    return _change(rule, msc) < timedelta(0)


def is_skipped(rule: ServerRule, msc: int) -> bool:
    """Whether this server time never comes."""
    return _change(rule, msc) > timedelta(0)


def second_passes(rule: ServerRule, deals: Iterable[tuple[int, int]]) -> frozenset[int]:
    """The tickets, of one account's ``(ticket, server time)``, that fall into the second pass of a repeated hour.

    Tickets rise with time. So a deal is in the second pass if a smaller ticket has a later clock in that hour, and so is every
    larger ticket of that hour from then on. A deal of the second pass with nothing later before it counts as of the first.
    """
    hours: dict[int, list[tuple[int, int]]] = {}
    for ticket, msc in deals:
        if is_repeated(rule, msc):
            hours.setdefault(_repetition(rule, msc), []).append((ticket, msc))
    found: set[int] = set()
    for passed in hours.values():
        latest, is_second = 0, False
        for ticket, msc in sorted(passed):
            is_second = is_second or msc < latest
            latest = max(latest, msc)
            if is_second:
                found.add(ticket)
    return frozenset(found)


# --- which rule a server follows --------------------------------------------------------------------------------------


def measured(server: str, server_time_msc: int, as_of: datetime) -> ServerRule | None:
    """The provisional rule of a new server, from one answer: New York + 7 h if that fits today, else a fixed offset.

    None when the two times are further apart than any clock: nothing can be said.
    """
    offset = offset_minutes(server_time_msc, as_of)
    if abs(offset) > OFFSET_MINUTES_MAX:
        return None
    usual = ServerRule(server=server, zone_name=NEW_YORK[0], shift_minutes=NEW_YORK[1])
    if offset == _expected_minutes(usual, as_of):
        return usual
    return ServerRule(server=server, zone_name=FIXED_ZONE, shift_minutes=offset)


def compared(rule: ServerRule, server_time_msc: int, as_of: datetime) -> ServerRule:
    """The rule after one more measurement: a hit forgets the misses before it, the third miss in a row is a mismatch.

    Ask once per server and run. Nothing is corrected here, and a mismatch stays until an operator says what holds.
    """
    if offset_minutes(server_time_msc, as_of) == _expected_minutes(rule, as_of):
        return rule if rule.zone_mismatch_polls == 0 else replace(rule, zone_mismatch_polls=0)
    misses = rule.zone_mismatch_polls + 1
    state = ZoneState.MISMATCH if misses >= MISSES_MAX else rule.zone_state
    return replace(rule, zone_mismatch_polls=misses, zone_state=state)


def offset_minutes(server_time_msc: int, as_of: datetime) -> int:
    """How far the server clock is ahead of UTC, to the quarter of an hour."""
    ahead = _EPOCH + server_time_msc * _MILLISECOND - as_of.astimezone(UTC).replace(tzinfo=None)
    return round(ahead / (STEP_MINUTES * _MINUTE)) * STEP_MINUTES


def _expected_minutes(rule: ServerRule, at: datetime) -> int:
    return offset_minutes(to_server(rule, at), at)


def _local(rule: ServerRule, msc: int) -> datetime:
    """The wall time in the rule's zone, without a zone."""
    return _EPOCH + msc * _MILLISECOND - rule.shift_minutes * _MINUTE


def _change(rule: ServerRule, msc: int) -> timedelta:
    """How the offset from UTC changes at this wall time: back where it repeats, forward where it is skipped, else not at all."""
    local = _local(rule, msc).replace(tzinfo=zone(rule.zone_name))
    first, second = local.utcoffset(), local.replace(fold=1).utcoffset()
    assert first is not None
    assert second is not None
    return second - first


def _repetition(rule: ServerRule, msc: int) -> int:
    """A number for the repetition a server time belongs to: the day in the rule's zone, whose clock changes at most once."""
    return _local(rule, msc).toordinal()
