"""The lives of one position, from its deals alone: what opened, what closed, what only cost, and what must be missing.

Problem. A position is never told, only its deals are; some of them may not be read yet; a netting reversal ends one life and
begins the next in a single deal. Observations. In order of UTC time and ticket each deal names the side it acts on, so a deal
of the other side belongs to another life. A running volume below zero proves that openings are missing, and how much at
least. A reversal can be split only where the running volume is fully known.
Choice. One walk, one rule per effect. What is missing is a figure (``missing``), never an invented deal; parts of a
reversal that cannot be split are marked, not guessed away. Source: mt5 specification, 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

from fillbook.money import CONTEXT, ZERO
from fillbook.mt5.deals import Effect, Stored, effect_of, is_cancelled, money_of, opposite, side_of
from fillbook.mt5.model import Deal
from fillbook.mt5.words import TradeSide
from fillbook.values import frozen

ToUtc = Callable[[int, int], datetime]
"""(milliseconds on the server clock, deal ticket) -> the instant; the ticket decides in the repeated hour."""


@frozen(kw_only=False)
class Leg:
    """What one deal did to one life: all of it, or of a reversing deal ``part`` 1 (the close) or 2 (the open).

    ``effect`` is OPENS, CLOSES or COSTS; a cost has volume 0. ``average``: the broker's entry average when this leg closed,
    None where entries are missing. ``is_certain`` False: a part of a reversal whose running volume is not fully known.
    """

    stored: Stored
    part: int
    effect: Effect
    at: datetime
    volume: Decimal
    profit: Decimal
    commission: Decimal
    swap: Decimal
    fee: Decimal
    average: Decimal | None = None
    is_certain: bool = True

    @property
    def deal(self) -> Deal:
        """The deal as it stands."""
        return self.stored.deal

    @property
    def net(self) -> Decimal:
        """Its money."""
        return self.profit + self.commission + self.swap + self.fee


@frozen(kw_only=False)
class Episode:
    """One life of a position on one side. ``opened`` = Σ IN, ``closed`` = Σ OUT; ``missing`` must have been opened besides.

    ``is_certain`` False: a reversal at its begin or end could not be split, so its volumes are bounds.
    """

    position_id: int
    number: int
    side: TradeSide
    legs: tuple[Leg, ...]
    opened: Decimal
    closed: Decimal
    missing: Decimal
    is_certain: bool

    @property
    def is_complete(self) -> bool:
        """Whether every entry is known."""
        return self.is_certain and not self.missing and bool(self.opened)

    @property
    def volume(self) -> Decimal:
        """What was opened, as far as it is proven."""
        return self.opened + self.missing

    @property
    def open_volume(self) -> Decimal:
        """What is left of it; never below zero."""
        return self.opened + self.missing - self.closed

    @property
    def last_deal_msc(self) -> int:
        """Server clock of its last deal, costs included."""
        return max(leg.deal.time_msc for leg in self.legs)


class _Life:
    """An episode while it is walked; ``running`` is its open volume, ``average`` the broker's entry average."""

    __slots__ = ("average", "closed", "is_certain", "legs", "missing", "number", "opened", "running", "side")

    def __init__(self, number: int, side: TradeSide) -> None:
        self.number = number
        self.side = side
        self.legs: list[Leg] = []
        self.opened = self.closed = self.missing = self.running = ZERO
        self.average: Decimal | None = None
        self.is_certain = True

    @property
    def is_over(self) -> bool:
        """Whether it is proven to have ended."""
        return not self.running and not self.missing and self.is_certain and bool(self.legs)

    @property
    def is_known(self) -> bool:
        """Whether its running volume is proven."""
        return self.is_certain and not self.missing

    def open(self, leg: Leg) -> None:
        """Take an opening; the average moves by volume."""
        price, volume = leg.stored.deal.price, leg.volume
        if not self.running or self.average is None:
            self.average = price
        elif price != self.average:
            self.average = (self.average * self.running + price * volume) / (self.running + volume)
        self.opened += volume
        self.running += volume
        self.legs.append(leg)

    def close(self, leg: Leg) -> None:
        """Take a closing; below zero something is missing."""
        self.closed += leg.volume
        self.running -= leg.volume
        if self.running < 0:
            self.missing -= self.running
            self.running = ZERO
        self.legs.append(leg)

    def frozen(self, position_id: int) -> Episode:
        """The episode; where openings are missing no entry average was ever known."""
        legs = self.legs
        if not self.is_known:
            legs = [leg if leg.average is None else _without_average(leg) for leg in legs]
        return Episode(position_id, self.number, self.side, tuple(legs), self.opened, self.closed, self.missing, self.is_certain)


def episodes(deals: Iterable[Stored], to_utc: ToUtc, currency_digits: int) -> tuple[Episode, ...]:
    """The lives of one position, oldest first. Withdrawn deals and movements of cash are passed over.

    ``currency_digits``: to these the close's share of a reversal's commission and fee is rounded, half to even.
    """
    walk = _Walk(Decimal(1).scaleb(-currency_digits))
    ordered = [(to_utc(one.deal.time_msc, one.deal.deal_ticket), one.deal.deal_ticket, one) for one in deals if _counts(one)]
    if len(ordered) > 1:
        ordered.sort(key=_order)
    with localcontext(CONTEXT):
        for at, _, one in ordered:
            walk.take(one, at)
    if not ordered:
        return ()
    position_id = ordered[0][2].deal.position_id
    return tuple(life.frozen(position_id) for life in walk.end())


class _Walk:
    """The walk over the ordered deals; ``early``: costs before anything moved."""

    __slots__ = ("early", "lives", "step")

    def __init__(self, step: Decimal) -> None:
        self.step = step
        self.lives: list[_Life] = []
        self.early: list[Leg] = []

    def take(self, one: Stored, at: datetime) -> None:
        """Take the next deal."""
        deal, effect = one.deal, effect_of(one.deal)
        if effect is Effect.COSTS:
            leg = Leg(one, 1, effect, at, ZERO, deal.profit, deal.commission, deal.swap, deal.fee)
            (self.lives[-1].legs if self.lives else self.early).append(leg)
        elif effect is Effect.OPENS:
            life = self._life(side_of(deal), opens=True)
            life.open(Leg(one, 1, effect, at, deal.volume, deal.profit, deal.commission, deal.swap, deal.fee))
        elif effect is Effect.CLOSES:
            self._close(self._life(opposite(side_of(deal))), one, at)
        else:
            self._reverse(one, at)

    def end(self) -> list[_Life]:
        """The lives; of a position with nothing but costs one that never moved."""
        if self.early:
            if not self.lives:
                self._begin(side_of(self.early[0].deal))
            self.lives[0].legs[:0] = self.early
        return self.lives

    def _life(self, side: TradeSide, *, opens: bool = False) -> _Life:
        """The life that a deal on ``side`` acts on; one that ended takes no further opening."""
        if self.lives:
            life = self.lives[-1]
            if life.side is side and not (opens and life.is_over):
                return life
        return self._begin(side)

    def _begin(self, side: TradeSide) -> _Life:
        life = _Life(len(self.lives) + 1, side)
        self.lives.append(life)
        return life

    def _close(self, life: _Life, one: Stored, at: datetime) -> None:
        deal, average = one.deal, life.average if life.is_known and life.running else None
        life.close(Leg(one, 1, Effect.CLOSES, at, deal.volume, deal.profit, deal.commission, deal.swap, deal.fee, average))

    def _reverse(self, one: Stored, at: datetime) -> None:
        """Close the running volume and open the rest; where the former is not fully known, both parts are bounds."""
        deal = one.deal
        life = self._life(opposite(side_of(deal)), opens=True)
        is_certain = life.is_known and ZERO < life.running <= deal.volume
        if is_certain and life.running == deal.volume:
            self._close(life, one, at)
            return
        closes = min(life.running, deal.volume)
        commission, fee = (self._share(amount, closes, deal.volume) for amount in (deal.commission, deal.fee))
        average = life.average if is_certain else None
        life.close(Leg(one, 1, Effect.CLOSES, at, closes, deal.profit, commission, deal.swap, fee, average, is_certain))
        following = self._begin(side_of(deal))
        rest = (deal.commission - commission, deal.fee - fee)
        following.open(Leg(one, 2, Effect.OPENS, at, deal.volume - closes, ZERO, rest[0], ZERO, rest[1], None, is_certain))
        if not is_certain:
            life.is_certain = following.is_certain = False

    def _share(self, amount: Decimal, volume: Decimal, whole: Decimal) -> Decimal:
        return (amount * volume / whole).quantize(self.step, ROUND_HALF_EVEN) if amount else ZERO


def _counts(one: Stored) -> bool:
    if one.withdrawn or effect_of(one.deal) is Effect.CASH:
        return False
    return not is_cancelled(one.deal) or bool(money_of(one.deal))


def _order(item: tuple[datetime, int, Stored]) -> tuple[datetime, int]:
    return item[0], item[1]


def _without_average(leg: Leg) -> Leg:
    return Leg(
        leg.stored, leg.part, leg.effect, leg.at, leg.volume, leg.profit, leg.commission, leg.swap, leg.fee, None, leg.is_certain
    )
