"""Generated accounts of a broker: operations in order, the deals they make, and the truth that the operations themselves know.

``Broker`` keeps books the way a broker does, in integers and fractions, cents and hundredths of a lot; it knows nothing of
deals being read, and shares no code with what is tested. Netting averages its entries, hedging keeps every position apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from fillbook.mt5.model import Deal, OpenPosition
from tests.support.examples import share
from tests.support.mt5_deals import START_MSC, deal, shown

half, quarter = share(2), share(4)  # a history is derived several times in each example
_JPY = Fraction(1, 150)
_FIRST_TICKET = 50_001


@dataclass(slots=True)
class Life:
    """One life of a position as the broker keeps it: volumes in hundredths, prices in points, money in cents."""

    position: int
    number: int
    side: str
    symbol: str
    begun_msc: int
    opened: int = 0
    closed: int = 0
    entry: int = 0
    exit: int = 0
    average: Fraction = Fraction(0)
    cents: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("profit", "commission", "swap", "fee"), 0))
    ended_msc: int | None = None
    closings: int = 0
    has_no_rate: bool = False

    @property
    def open(self) -> int:
        """Hundredths of a lot that are left."""
        return self.opened - self.closed


def points(symbol: str) -> int:
    """Decimals of a symbol's price."""
    return 3 if symbol == "USDJPY" else 5


def price_of(symbol: str, amount: int) -> Decimal:
    """A price of so many points."""
    return Decimal(amount).scaleb(-points(symbol))


def lots(hundredths: int) -> Decimal:
    """A volume."""
    return Decimal(hundredths).scaleb(-2)


def money(cents: int) -> Decimal:
    """An amount in account currency."""
    return Decimal(cents).scaleb(-2)


class Broker:
    """An account; each operation appends its deals and changes the truth."""

    def __init__(self, *, hedging: bool) -> None:
        self.hedging = hedging
        self.now = START_MSC
        self.deals: list[Deal] = []
        self.lives: list[Life] = []
        self.balance = 0
        self.credit = 0
        self.cash: dict[int, int] = {}
        self._ticket = _FIRST_TICKET

    @property
    def open(self) -> list[Life]:
        """Lives with something left."""
        return [life for life in self.lives if life.open]

    def _deal(self, life: Life | None, side: str | int, entry: str, volume: int, points_: int, **cents: int) -> int:
        ticket = self._ticket
        self._ticket += 1
        symbol = life.symbol if life is not None else ""
        self.deals.append(
            deal(
                ticket,
                life.position if life is not None else 0,
                side,
                entry,
                lots(volume),
                price_of(symbol, points_),
                time_msc=self.now,
                symbol=symbol,
                **{name: money(amount) for name, amount in cents.items()},
            )
        )
        return ticket

    def _count(self, life: Life, **cents: int) -> None:
        for name, amount in cents.items():
            life.cents[name] += amount
            self.balance += amount

    def _profit(self, life: Life, price: int, volume: int) -> int:
        """Cents; of EURUSD a point of a hundredth of a lot is a cent, of USDJPY a yen."""
        gain = (price - life.average) * volume * (1 if life.side == "buy" else -1)
        exact = gain * _JPY * 100 if life.symbol == "USDJPY" else gain
        rounded = round(exact)
        if life.symbol == "USDJPY" and gain and not rounded:
            life.has_no_rate = True
        return rounded

    def _enter(self, life: Life, price: int, volume: int) -> None:
        life.average = (life.average * life.open + price * volume) / (life.open + volume)
        life.opened += volume
        life.entry += price * volume

    def _leave(self, life: Life, price: int, volume: int) -> None:
        life.closed += volume
        life.exit += price * volume
        life.closings += 1
        if not life.open:
            life.ended_msc = self.now

    # --- operations ---------------------------------------------------------------------------------------------------

    def enter(self, side: str, symbol: str, volume: int, price: int, commission: int) -> None:
        """Open a position, or in netting add to the one that is there (only its own side)."""
        held = next((life for life in self.open if life.symbol == symbol), None) if not self.hedging else None
        life = held or Life(self._ticket + 900_000, 1, side, symbol, self.now)
        if held is None:
            self.lives.append(life)
        self._enter(life, price, volume)
        self._count(life, commission=-commission)
        self._deal(life, life.side, "in", volume, price, commission=-commission)

    def leave(self, life: Life, volume: int, price: int, commission: int, swap: int) -> None:
        """Close a part, or all."""
        profit = self._profit(life, price, volume)
        self._leave(life, price, volume)
        self._count(life, profit=profit, commission=-commission, swap=swap)
        self._deal(life, _other(life.side), "out", volume, price, profit=profit, commission=-commission, swap=swap)

    def reverse(self, life: Life, rest: int, price: int, commission: int, fee: int) -> None:
        """Close all and open ``rest`` on the other side, in one deal."""
        closes = life.open
        whole = closes + rest
        profit = self._profit(life, price, closes)
        share = {name: round(Fraction(-cents * closes, whole)) for name, cents in (("commission", commission), ("fee", fee))}
        self._leave(life, price, closes)
        self._count(life, profit=profit, **share)
        following = Life(life.position, life.number + 1, _other(life.side), life.symbol, self.now)
        self.lives.append(following)
        self._enter(following, price, rest)
        self._count(following, commission=-commission - share["commission"], fee=-fee - share["fee"])
        self._deal(following, following.side, "inout", whole, price, profit=profit, commission=-commission, fee=-fee)

    def close_by(self, one: Life, other: Life) -> None:
        """Close two opposite positions against each other; the result sits on the first."""
        volume = min(one.open, other.open)
        price = int(other.average)
        profit = self._profit(one, price, volume)
        for life, cents in ((one, profit), (other, 0)):
            self._leave(life, price, volume)
            self._count(life, profit=cents)
            self._deal(life, _other(life.side), "out_by", volume, price, profit=cents)

    def cost(self, life: Life, cents: int, name: str) -> None:
        """A record without volume that names a position."""
        self._count(life, **{name: -cents})
        self._deal(life, life.side, "in", 0, 0, **{name: -cents})

    def move(self, kind: int, cents: int) -> None:
        """Money without a position; type 3 is credit."""
        if kind == 3:
            self.credit += cents
        else:
            self.balance += cents
        self.cash[self._deal(None, kind, "in", 0, 0, profit=cents)] = cents

    # --- what a snapshot would say ------------------------------------------------------------------------------------

    def positions(self) -> list[OpenPosition]:
        """The open positions now."""
        return [
            shown(life.position, life.side, lots(life.open), price_of(life.symbol, int(life.average)), symbol=life.symbol)
            for life in self.open
        ]


def _other(side: str) -> str:
    return "sell" if side == "buy" else "buy"


@st.composite
def brokers(draw: st.DrawFn, *, hedging: bool | None = None, size: int = 12, foreign: bool = True) -> Broker:
    """An account after some operations, beginning with a deposit."""
    broker = Broker(hedging=draw(st.booleans()) if hedging is None else hedging)
    broker.move(2, draw(st.integers(100_000, 2_000_000)))
    for _ in range(draw(st.integers(1, size))):
        broker.now += draw(st.sampled_from([0, 0, 1, 999, 1000, 60_000, 86_400_000]))
        _operate(draw, broker, foreign)
    return broker


def _operate(draw: st.DrawFn, broker: Broker, foreign: bool) -> None:
    names = ["enter", "enter", "move"]
    if broker.open:
        names += ["leave", "leave", "close", "close"]
        names += ["close_by"] if broker.hedging else ["reverse", "reverse"]
    if broker.lives:
        names.append("cost")
    name = draw(st.sampled_from(names))
    price = draw(st.integers(110_000, 110_400))
    commission = draw(st.sampled_from([0, 4, 7, 350]))
    if name == "enter":
        symbol = draw(st.sampled_from(["EURUSD", "USDJPY"])) if foreign and broker.hedging else "EURUSD"
        broker.enter(draw(st.sampled_from(["buy", "sell"])), symbol, draw(st.integers(1, 40)), price, commission)
    elif name == "move":
        broker.move(draw(st.sampled_from([2, 3, 4, 7, 12, 15, 17])), draw(st.integers(-5_000, 5_000)))
    elif name == "cost":
        life = draw(st.sampled_from(_latest(broker)))
        broker.cost(life, draw(st.integers(-300, 300)), draw(st.sampled_from(["commission", "swap", "fee"])))
    else:
        _close(draw, broker, name, price, commission)


def _close(draw: st.DrawFn, broker: Broker, name: str, price: int, commission: int) -> None:
    life = draw(st.sampled_from(broker.open))
    if name == "reverse":
        broker.reverse(life, draw(st.integers(1, 40)), price, commission, draw(st.sampled_from([0, 1, 5])))
    elif name == "close_by":
        others = [one for one in broker.open if one.symbol == life.symbol and one.side != life.side]
        if others:
            broker.close_by(life, draw(st.sampled_from(others)))
    else:
        volume = life.open if name == "close" else draw(st.integers(1, life.open))
        broker.leave(life, volume, price, commission, draw(st.sampled_from([0, 0, -55, 20])))


def _latest(broker: Broker) -> list[Life]:
    """The last life of each position: a cost names a position, so it is the last one's."""
    return list({life.position: life for life in broker.lives}.values())


@st.composite
def polls(draw: st.DrawFn, deals: Sequence[Deal]) -> list[list[Deal]]:
    """Any order, any split, and some deals told twice."""
    told = [*deals, *draw(st.lists(st.sampled_from(deals), max_size=4))]
    order: list[Deal] = draw(st.permutations(told))
    cuts = sorted(draw(st.sets(st.integers(0, len(order)), max_size=5)))
    return [list(order[start:end]) for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True)]


def truth(broker: Broker) -> dict[tuple[int, int], dict[str, Any]]:
    """What every row must say."""
    return {(life.position, life.number): _truth(life) for life in broker.lives}


def _truth(life: Life) -> dict[str, Any]:
    ended = life.ended_msc is not None
    rows: dict[str, Any] = {
        "side": life.side,
        "status": "closed" if ended else "open",
        "volume": lots(life.opened),
        "open_volume": lots(life.open),
        "open_price": _rounded(life.entry, life.opened, life.symbol),
        "close_price": _rounded(life.exit, life.closed, life.symbol) if life.closed else None,
        "commission": money(life.cents["commission"]),
        "fee": money(life.cents["fee"]),
        "realized_profit": money(life.cents["profit"]),
        "realized_swap": money(life.cents["swap"]),
        "net_pnl": money(sum(life.cents.values())),
        "entry_complete": True,
    }
    return rows


def _rounded(notional: int, volume: int, symbol: str) -> Decimal:
    """An average price to ten decimals, half to even."""
    scale = 10 - points(symbol)
    return Decimal(round(Fraction(notional, volume) * 10**scale)).scaleb(-10)
