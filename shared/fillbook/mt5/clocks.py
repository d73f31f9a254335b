"""One account's server clock: a rule, and which tickets fell into the second pass of a repeated hour; made for many deals.

A rule's offset can only change at a quarter of an hour of its zone, so one conversion serves every deal of a quarter.
Source: mt5 specification, 6.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from fillbook.mt5.model import Head, ServerRule, Window
from fillbook.mt5.records import Claimed
from fillbook.mt5.server_time import is_repeated, measured, second_passes, to_utc
from fillbook.mt5.windows import HOUR_MSC
from fillbook.mt5.words import ZoneState

_QUARTER_MSC: Final = 15 * 60 * 1000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class ServerClock:
    """(milliseconds on the server clock, deal ticket) -> the instant. ``clocks``: ticket to server time, of every deal that the
    account has in the repeated hours it is asked about.
    """

    def __init__(self, rule: ServerRule, clocks: Mapping[int, int] | None = None) -> None:
        self.rule = rule
        self._shift_msc = rule.shift_minutes * 60_000
        self._known: dict[int, tuple[int, int | None]] = {}
        self._second = second_passes(rule, (clocks or {}).items())

    def __call__(self, msc: int, ticket: int) -> datetime:
        """The instant of a deal."""
        first, second = self._offsets(msc)
        offset = first if second is None or ticket not in self._second else second
        return _EPOCH + (msc - offset) * _MILLISECOND

    def nearest(self, msc: int, to: datetime) -> datetime:
        """The instant of a server time that is no deal's: of two passes the one nearer to what else is known of it."""
        return min(
            (_EPOCH + (msc - offset) * _MILLISECOND for offset in self._offsets(msc) if offset is not None),
            key=lambda at: abs(at - to),
        )

    def repeats(self, msc: int) -> bool:
        """Whether this server time comes twice."""
        return self._offsets(msc)[1] is not None

    def repeated_spans(self, times_msc: Iterable[int]) -> tuple[Window, ...]:
        """Spans that surely hold the repeated hours which these times fall into; of them every ticket must be known."""
        hours = {msc // HOUR_MSC for msc in times_msc if self.repeats(msc)}
        return tuple(Window(from_msc=(hour - 2) * HOUR_MSC, to_msc=(hour + 3) * HOUR_MSC) for hour in sorted(hours))

    def _offsets(self, msc: int) -> tuple[int, int | None]:
        """Server time less UTC, in milliseconds: in the first pass, and in the second where there is one."""
        quarter = (msc - self._shift_msc) // _QUARTER_MSC
        found = self._known.get(quarter)
        if found is None:
            start = quarter * _QUARTER_MSC + self._shift_msc
            second = self._offset(start, is_second=True) if is_repeated(self.rule, start) else None
            found = self._known[quarter] = (self._offset(start, is_second=False), second)
        return found

    def _offset(self, msc: int, *, is_second: bool) -> int:
        return msc - (to_utc(self.rule, msc, is_second_pass=is_second) - _EPOCH) // _MILLISECOND


def rule_of(claimed: Claimed, head: Head) -> ServerRule:
    """The rule that holds for an answer: what is known, or, of a server that nobody measured, what the answer shows."""
    if claimed.is_rule_measured or head.server_time_msc is None or claimed.rule.zone_state is not ZoneState.PROVISIONAL:
        return claimed.rule
    found = measured(claimed.rule.server, head.server_time_msc, head.as_of)
    return claimed.rule if found is None else replace(found, bonus_bucket=claimed.rule.bonus_bucket)
