"""From deals to trades: one row per episode of a position, from its deals, an open position of a snapshot, the rows before.

Problem. Deals and snapshots come at different times, late, cached, incomplete; a trade must neither be closed because it is
not seen nor reopened because an old answer still shows it. Observations. Deals are facts and only lack their end;
a snapshot is a view of one moment and may be older than the last deal. So deals decide volumes, and a snapshot speaks only of
what happened after them: what an open trade is worth, whether it is still there, whether deals must be missing.
Choice. Everything is derived again from all deals of the position; of the row before only what a snapshot said is carried
on. Absence makes ``close_pending``, never ``closed``. Source: mt5 specification, 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal, localcontext
from enum import IntEnum
from typing import Any, Final

from fillbook.money import CONTEXT, ZERO
from fillbook.mt5.deals import Effect, Stored
from fillbook.mt5.episodes import Episode, ToUtc, episodes
from fillbook.mt5.figures import closed, figures
from fillbook.mt5.ids import trade_id
from fillbook.mt5.model import OpenPosition, PairedTrade, Trade, Window
from fillbook.mt5.symbols import normalized
from fillbook.mt5.words import IdentityQuality, TradeStatus
from fillbook.values import frozen

PENDING_READ_POLLS: Final = 3
PENDING_ALARM_POLLS: Final = 12


@frozen
class View:
    """A complete, identity-checked snapshot. ``at_msc``: the moment it shows, server time minus cache age, server clock."""

    at_msc: int
    positions: Mapping[int, OpenPosition]

    @classmethod
    def of(cls, at_msc: int, positions: Iterable[OpenPosition]) -> View:
        """The view of an answer's rows."""
        return cls(at_msc=at_msc, positions={each.position_id: each for each in positions})


class Urgency(IntEnum):
    """How urgently a position's whole life is wanted; an account reads the lowest first, at most ``POSITION_READS_MAX``."""

    NOW = 0
    PENDING = 1
    AGAIN = 2


@frozen
class Derived:
    """What became of one position. ``gone``: episodes stored before that no longer exist.

    ``gap``: deals must be missing in this span (cause ``position_volume``). ``agrees``: whether snapshot and deals hold the
    same volume, None where they cannot be compared. ``is_stale``: absent for so many polls that a person should look.
    """

    position_id: int
    trades: tuple[Trade, ...]
    episodes: tuple[Episode, ...] = ()
    gone: tuple[int, ...] = ()
    reading: Urgency | None = None
    gap: Window | None = None
    agrees: bool | None = None
    is_stale: bool = False


def derive(
    account_id: str,
    position_id: int,
    deals: Iterable[Stored],
    before: Sequence[Trade],
    view: View | None,
    to_utc: ToUtc,
    currency_digits: int,
) -> Derived:
    """The trades of one position. ``deals``: all that are stored of it; ``before``: its rows as they stand.

    ``view`` None: positions were not read completely, nothing is known of presence or absence.
    """
    lives = episodes(deals, to_utc, currency_digits)
    rows = {row.episode: row for row in before}
    if not lives:
        return _without_deals(account_id, position_id, before, view, to_utc)
    with localcontext(CONTEXT):
        found = [_Row(account_id, life, rows.get(life.number), None, is_last=False).made() for life in lives[:-1]]
        last = _Row(account_id, lives[-1], rows.get(len(lives)), view, is_last=True)
        found.append(last.made())
    is_unproven = any(not life.is_complete for life in lives)
    changed = any(rows.get(row.episode) is None or _is_news(rows[row.episode], row) for row in found)
    is_open_before = any(row.status is not TradeStatus.CLOSED for row in found[:-1])
    return Derived(
        position_id=position_id,
        trades=tuple(found),
        episodes=lives,
        gone=_gone(before, found),
        reading=_urgency(found[-1], last.gap is not None or is_open_before, is_unproven, changed),
        gap=last.gap,
        agrees=last.agrees,
        is_stale=last.is_stale,
    )


def paired_trade(account_id: str, pair: PairedTrade, to_utc: ToUtc) -> Trade:
    """The trade of a service that tells entry and exit as one row: no partial closes, no fee, its ticket for a key."""
    return Trade(
        account_id=account_id,
        position_id=pair.ticket,
        episode=1,
        id=trade_id(account_id, pair.ticket, 1),
        ticket=pair.ticket,
        symbol=pair.symbol,
        symbol_norm=normalized(pair.symbol),
        side=pair.side,
        volume=pair.volume,
        open_volume=ZERO,
        open_price=pair.open_price,
        close_price=pair.close_price,
        open_time=to_utc(pair.open_msc, pair.ticket),
        close_time=to_utc(pair.close_msc, pair.ticket),
        profit=pair.profit,
        swap=pair.swap,
        commission=pair.commission,
        realized_profit=pair.profit,
        realized_swap=pair.swap,
        net_pnl=pair.profit + pair.swap + pair.commission,
        status=TradeStatus.CLOSED,
        comment=pair.comment,
        magic=pair.magic,
        identity_quality=IdentityQuality.PAIRED,
        source_trade_id=str(pair.ticket),
        last_deal_msc=pair.close_msc,
    )


def to_read(derived: Iterable[Derived], limit: int, *, again: bool) -> tuple[int, ...]:
    """Positions whose whole life is to be read in this run, most urgent first; ``again``: also those read before in vain."""
    wanted = [
        (one.reading, one.trades[-1].pending_polls if one.trades else 0, one.position_id)
        for one in derived
        if one.reading is not None and (again or one.reading is not Urgency.AGAIN)
    ]
    return tuple(position_id for _, _, position_id in sorted(wanted)[:limit])


def _urgency(last: Trade, has_gap: bool, is_unproven: bool, changed: bool) -> Urgency | None:
    if has_gap or (is_unproven and changed):
        return Urgency.NOW
    if last.pending_polls >= PENDING_READ_POLLS:
        return Urgency.PENDING
    return Urgency.AGAIN if is_unproven else None


def _is_news(before: Trade, row: Trade) -> bool:
    """Whether deals have come since; only then is an incomplete life worth reading at once."""
    return (before.last_deal_msc, before.entry_complete) != (row.last_deal_msc, row.entry_complete)


class _Row:
    """One episode becoming a row; ``gap``, ``agrees`` and ``is_stale`` are known when it is made."""

    __slots__ = ("account_id", "agrees", "before", "gap", "is_last", "is_stale", "last_msc", "life", "shown", "view")

    def __init__(self, account_id: str, life: Episode, before: Trade | None, view: View | None, *, is_last: bool) -> None:
        self.account_id = account_id
        self.life = life
        self.before = before
        self.view = view
        self.is_last = is_last
        self.shown = None if view is None else view.positions.get(life.position_id)
        self.last_msc = life.last_deal_msc
        self.gap: Window | None = None
        self.agrees: bool | None = None
        self.is_stale = False

    def made(self) -> Trade:
        """The row."""
        values = figures(self.life)
        more = ZERO if self.life.is_complete else self._unproven()
        open_volume = self.life.open_volume + more
        values["volume"] = self.life.volume + more
        values["open_volume"] = open_volume
        values["last_deal_msc"] = self.last_msc
        if self.before is not None:
            values["ledger_state"] = self.before.ledger_state
        if self._speaks():
            self._compare(open_volume)
        if open_volume:
            values |= self._open()
        else:
            values |= closed(self.life, self.before)
        known = None if self.before is None else self.before.id
        return Trade(
            account_id=self.account_id,
            id=known or trade_id(self.account_id, self.life.position_id, self.life.number),
            **values,
        )

    def _speaks(self) -> bool:
        """Whether the snapshot is later than everything known of the row."""
        return self.view is not None and self.view.at_msc > self.last_msc and _is_fresh(self.view, self.before)

    def _compare(self, open_volume: Decimal) -> None:
        stated = ZERO if self.shown is None else self.shown.volume
        if self.shown is None:
            self.agrees = None if open_volume else True
            return
        self.agrees = self.shown.side is self.life.side and stated == open_volume
        if not self.agrees and self.view is not None:
            self.gap = Window(from_msc=self.last_msc, to_msc=self.view.at_msc)

    def _unproven(self) -> Decimal:
        """What a snapshot proves beyond the deals of an incomplete life: this one, or the one the row was made of."""
        life, before, shown, view = self.life, self.before, self.shown, self.view
        is_closed = before is not None and before.status is TradeStatus.CLOSED
        if shown is not None and view is not None and shown.side is life.side and _is_fresh(view, before):
            if not is_closed or view.at_msc > self.last_msc:
                return self._bounded(shown.volume - _balance(life, view.at_msc) - life.missing)
        elif self.is_last and before is not None and not is_closed and before.side is life.side and _was_shown(before):
            known = ZERO if before.last_deal_msc is None else _opened(life, before.last_deal_msc)
            return self._bounded(before.volume - known - life.missing)
        return ZERO

    def _bounded(self, more: Decimal) -> Decimal:
        floor = ZERO if self.life.is_certain else -self.life.open_volume
        return max(more, floor)

    def _open(self) -> dict[str, Any]:
        before = self.before if self.before is not None and self.before.status is not TradeStatus.CLOSED else None
        carried: dict[str, Any] = _carried(before)
        if not self.is_last:
            return carried | {"status": TradeStatus.CLOSE_PENDING}
        if not self._speaks():
            is_pending = before is not None and before.status is TradeStatus.CLOSE_PENDING and before.snapshot_msc is not None
            if before is not None and is_pending and (before.snapshot_msc or 0) > self.last_msc:
                return carried | {"status": TradeStatus.CLOSE_PENDING, "pending_polls": before.pending_polls}
            return carried | {"status": TradeStatus.OPEN}
        assert self.view is not None
        if self.shown is None:
            polls = _polls(before, self.view.at_msc)
            self.is_stale = polls == PENDING_ALARM_POLLS and (before is None or before.pending_polls < polls)
            return carried | {
                "status": TradeStatus.CLOSE_PENDING,
                "pending_polls": polls,
                "snapshot_msc": self.view.at_msc,
            }
        if self.shown.side is not self.life.side:
            return carried | {"status": TradeStatus.OPEN}
        return {"status": TradeStatus.OPEN, **_stated(self.shown, self.view.at_msc)}


def _is_fresh(view: View, before: Trade | None) -> bool:
    """An answer older than one already taken says nothing."""
    return before is None or before.snapshot_msc is None or view.at_msc >= before.snapshot_msc


def _was_shown(before: Trade) -> bool:
    return before.snapshot_msc is not None and (not before.entry_complete or before.identity_quality is IdentityQuality.SNAPSHOT)


def _polls(before: Trade | None, at_msc: int) -> int:
    """Polls that did not see the position; the same cached answer again is no poll."""
    if before is None or before.status is not TradeStatus.CLOSE_PENDING:
        return 1
    return before.pending_polls + (before.snapshot_msc is None or at_msc > before.snapshot_msc)


def _balance(life: Episode, at_msc: int) -> Decimal:
    """Σ IN − Σ OUT up to a moment of the server clock."""
    result = ZERO
    for leg in life.legs:
        if leg.deal.time_msc <= at_msc:
            result += leg.volume if leg.effect is Effect.OPENS else -leg.volume
    return result


def _opened(life: Episode, until_msc: int) -> Decimal:
    return sum((leg.volume for leg in life.legs if leg.effect is Effect.OPENS and leg.deal.time_msc <= until_msc), ZERO)


def _stated(shown: OpenPosition, at_msc: int) -> dict[str, Any]:
    """What an open trade has from the snapshot."""
    return {
        "ticket": shown.ticket,
        "stop_loss": shown.stop_loss,
        "take_profit": shown.take_profit,
        "current_price": shown.price_current,
        "profit": shown.profit,
        "swap": shown.swap,
        "snapshot_msc": at_msc,
    }


def _carried(before: Trade | None) -> dict[str, Any]:
    """What the row before had from a snapshot."""
    if before is None:
        return {"profit": None, "swap": None}
    return {
        "ticket": before.ticket,
        "stop_loss": before.stop_loss,
        "take_profit": before.take_profit,
        "current_price": before.current_price,
        "profit": before.profit,
        "swap": before.swap,
        "snapshot_msc": before.snapshot_msc,
    }


def _without_deals(account_id: str, position_id: int, before: Sequence[Trade], view: View | None, to_utc: ToUtc) -> Derived:
    """A position that only snapshots know (or a paired row, which stays as it is)."""
    row = next((one for one in before if one.episode == 1 and one.identity_quality is not IdentityQuality.DEALS), None)
    shown = None if view is None else view.positions.get(position_id)
    is_stale = False
    if row is not None and row.identity_quality is IdentityQuality.PAIRED:
        return Derived(position_id=position_id, trades=(row,), gone=_gone(before, (row,)))
    reading = None if row is None and shown is None else Urgency.NOW if row is None else Urgency.AGAIN
    if view is not None and _is_fresh(view, row):
        if shown is not None:
            row = _seen(account_id, shown, view.at_msc, to_utc)
        elif row is not None:
            polls = _polls(row, view.at_msc)
            is_stale = polls == PENDING_ALARM_POLLS and row.pending_polls < polls
            reading = Urgency.PENDING if polls >= PENDING_READ_POLLS else reading
            row = replace(row, status=TradeStatus.CLOSE_PENDING, pending_polls=polls, snapshot_msc=view.at_msc)
    trades = () if row is None else (row,)
    return Derived(position_id=position_id, trades=trades, gone=_gone(before, trades), reading=reading, is_stale=is_stale)


def _gone(before: Iterable[Trade], after: Iterable[Trade]) -> tuple[int, ...]:
    kept = {row.episode for row in after}
    return tuple(sorted(row.episode for row in before if row.episode not in kept))


def _seen(account_id: str, shown: OpenPosition, at_msc: int, to_utc: ToUtc) -> Trade:
    return Trade(
        account_id=account_id,
        position_id=shown.position_id,
        episode=1,
        id=trade_id(account_id, shown.position_id, 1),
        symbol=shown.symbol,
        symbol_norm=normalized(shown.symbol),
        side=shown.side,
        volume=shown.volume,
        open_volume=shown.volume,
        open_price=shown.price_open,
        close_price=None,
        open_time=to_utc(shown.time_msc, shown.ticket),
        close_time=None,
        status=TradeStatus.OPEN,
        comment=shown.comment,
        magic=shown.magic,
        identity_quality=IdentityQuality.SNAPSHOT,
        **_stated(shown, at_msc),
    )
