"""Many accounts of the fake MT5 service from one seed, and single ones that trade at random in every way a broker knows.

``step`` does one random thing that is possible on a book; the same chance always does the same. ``Fleet`` grows thousands of
accounts of it and lets them trade on. ``burst`` and ``churn`` make the histories that scenarios ask for by number.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from infra.local.mt5_broker import Book
from infra.local.mt5_model import HEDGING, Position

if TYPE_CHECKING:
    from infra.local.mt5_world import World

SYMBOLS: Final = ("EURUSD", "GBPUSD", "USDJPY", "XAUUSD", "US500")
FIRST_LOGIN: Final = 20_000_001
_BASIS_POINTS: Final = 10_000
Operation = dict[str, Any]


def lots(chance: random.Random, most: int = 100) -> Decimal:
    """Return a volume from 0.01 lot on."""
    return Decimal(chance.randint(1, most)) / 100


def near(book: Book, symbol: str, at: datetime, chance: random.Random) -> Decimal:
    """Return a price within half a percent of the market's, in whole digits of the symbol."""
    price = book.price(symbol, at) * (1 + Decimal(chance.randint(-50, 50)) / _BASIS_POINTS)
    return price.quantize(Decimal(1).scaleb(-book.terms.symbols[symbol].digits))


# --- one thing at random ----------------------------------------------------------------------------------------------


def step(book: Book, at: datetime, chance: random.Random) -> Operation:
    """Do one random thing that is possible now and return what it was, with ``kind`` and ``at``."""
    makers = _possible(book)
    kind = chance.choice(sorted(makers))
    operation = makers[kind](book, at, chance)
    book.operate(kind, at, **operation)
    return {"kind": kind, "at": at, **operation}


def wander(book: Book, begins: datetime, steps: int, chance: random.Random) -> list[Operation]:
    """Do ``steps`` random things from an instant on, the first of them a deposit, some of them in one and the same second."""
    at, done = begins, [{"kind": "deposit", "at": begins, "amount": Decimal(10_000)}]
    book.operate("deposit", begins, amount=Decimal(10_000))
    for _ in range(steps - 1):
        at += timedelta(milliseconds=chance.choice((0, 0, 1, 250, 1_000, 60_000, 3_600_000, 40_000_000)))
        done.append(step(book, at, chance))
    return done


Maker = Callable[[Book, datetime, random.Random], Operation]


def _possible(book: Book) -> dict[str, Maker]:
    """What can be done to a book as it is. Trading is named more often than the rest happens."""
    found: dict[str, Maker] = {"deposit": _money, "withdraw": _money, "charge": _cost, "monthly_commission": _cost}
    is_hedging = book.terms.margin_mode == HEDGING
    if is_hedging or len(book.positions) < len(SYMBOLS):
        found |= {"open": _open}
    if book.positions:
        found |= {"close": _close, "swap_reopen": _swap}
        found |= {} if is_hedging else {"scale_in": _scale_in, "reverse": _reverse}
    if any(one.volume > Decimal("0.01") for one in book.positions.values()):
        found |= {"partial_close": _part}
    if is_hedging and _opposites(book):
        found |= {"close_by": _close_by}
    if book.ended:
        found |= {"late_cost": _late_cost}
    return found


def _money(_: Book, __: datetime, chance: random.Random) -> Operation:
    return {"amount": Decimal(chance.randint(1, 100_000)) / 100}


def _cost(_: Book, __: datetime, chance: random.Random) -> Operation:
    return {"amount": -Decimal(chance.randint(1, 1_000)) / 100}


def _open(book: Book, at: datetime, chance: random.Random) -> Operation:
    held = set() if book.terms.margin_mode == HEDGING else {one.symbol for one in book.positions.values()}
    symbol = chance.choice([name for name in SYMBOLS if name not in held])
    side = chance.choice(("buy", "sell"))
    return {"symbol": symbol, "side": side, "volume": lots(chance), "price": near(book, symbol, at, chance)}


def _any(book: Book, chance: random.Random) -> Position:
    return book.positions[chance.choice(sorted(book.positions))]


def _close(book: Book, at: datetime, chance: random.Random) -> Operation:
    one = _any(book, chance)
    return {"position": one.position_id, "price": near(book, one.symbol, at, chance)}


def _part(book: Book, at: datetime, chance: random.Random) -> Operation:
    one = chance.choice([one for _, one in sorted(book.positions.items()) if one.volume > Decimal("0.01")])
    volume = Decimal(chance.randint(1, int(one.volume * 100) - 1)) / 100
    return {"position": one.position_id, "volume": volume, "price": near(book, one.symbol, at, chance)}


def _scale_in(book: Book, at: datetime, chance: random.Random) -> Operation:
    return {**_close(book, at, chance), "volume": lots(chance)}


def _reverse(book: Book, at: datetime, chance: random.Random) -> Operation:
    one = _any(book, chance)
    fee = -Decimal(chance.randint(0, 99)) / 100  # an odd cent to be shared
    return {
        "position": one.position_id,
        "volume": one.volume + lots(chance),
        "price": near(book, one.symbol, at, chance),
        "fee": fee,
    }


def _swap(book: Book, _: datetime, chance: random.Random) -> Operation:
    return {"position": _any(book, chance).position_id, "swap": -Decimal(chance.randint(0, 500)) / 100}


def _opposites(book: Book) -> list[tuple[Position, Position]]:
    held = [one for _, one in sorted(book.positions.items())]
    return [(one, other) for one in held for other in held if one.symbol == other.symbol and one.side != other.side]


def _close_by(book: Book, _: datetime, chance: random.Random) -> Operation:
    one, other = chance.choice(_opposites(book))
    return {"position": one.position_id, "by": other.position_id, "result_on": chance.choice(("position", "by"))}


def _late_cost(book: Book, _: datetime, chance: random.Random) -> Operation:
    return {"position": chance.choice(sorted(book.ended)), "commission": -Decimal(chance.randint(1, 500)) / 100}


# --- histories by number ----------------------------------------------------------------------------------------------


def burst(book: Book, begins: datetime, *, positions: int = 32, together: int = 29, symbol: str = "XAUUSD") -> None:
    """Deposit, open ``positions`` a second apart, close ``together`` of them in one second at one price, then the rest."""
    book.operate("deposit", begins, amount=Decimal(10_000))
    price, at = book.price(symbol, begins), begins
    costs = {"commission": Decimal("-0.04")}
    for number in range(positions):
        at += timedelta(seconds=1)
        book.operate("open", at, symbol=symbol, side="buy", volume=Decimal("0.01"), price=price, ref=f"burst {number}", **costs)
    at += timedelta(minutes=10)
    for number in range(positions):
        when = at if number < together else at + timedelta(seconds=number)
        book.operate("close", when, position=f"burst {number}", price=price + 2, **costs)


def churn(book: Book, begins: datetime, deals: int, *, symbol: str = "EURUSD") -> None:
    """Make exactly ``deals`` deals: a deposit, then positions that are opened and closed again; the last may stay open."""
    book.operate("deposit", begins, amount=Decimal(10_000))
    chance, at = random.Random(deals), begins
    for number in range(deals - 1):
        at += timedelta(seconds=30)
        price = near(book, symbol, at, chance)
        if number % 2 == 0:
            book.operate("open", at, symbol=symbol, side="buy", volume=Decimal("0.10"), price=price, ref="churn")
        else:
            book.operate("close", at, position="churn", price=price)


# --- thousands --------------------------------------------------------------------------------------------------------


class Fleet:
    """Accounts of one seed on a world, on servers ``Fleet-1`` (hedging, New York + 7 h), ``Fleet-2`` (netting, UTC + 3 h), …"""

    def __init__(self, world: World) -> None:
        self._world = world

    def grow(
        self, *, seed: int = 1, count: int = 1000, servers: int = 2, steps: int = 8, days: int = 20, prefix: str = "fleet",
        instance: str = "default", shape: Mapping[str, str] | None = None,
    ) -> int:  # fmt: skip
        """Add ``count`` accounts ``<prefix>-000001`` … whose ``steps`` operations lie in the last ``days``; return how many."""
        now = self._world.now()
        for number in range(1, servers + 1):
            if f"Fleet-{number}" not in self._world.servers:
                zone_name, shift_minutes = ("America/New_York", 420) if number % 2 else ("UTC", 180)
                self._world.add_server(f"Fleet-{number}", zone_name=zone_name, shift_minutes=shift_minutes)
        for number in range(1, count + 1):
            server = number % servers + 1
            account = self._world.add_account(
                id=f"{prefix}-{number:06d}", login=FIRST_LOGIN + len(self._world.accounts), server=f"Fleet-{server}",
                instance=instance, mode="hedging" if server % 2 else "netting", commission_per_lot=Decimal("3.5"),
                first_ticket=1_000_000_000 + number * 10_000, first_order=3_000_000_000 + number * 10_000, shape=shape or {},
            )  # fmt: skip
            assert isinstance(account.book, Book)
            _past(account.book, now, steps, days, random.Random(f"{seed} {account.id}"))
        return count

    def trade(self, *, accounts: Sequence[str] | None = None, share: Any = 1, positions: int = 5, seed: int = 0) -> int:
        """Let accounts (default: all with a book) open and close ``positions`` each, now; return the number of deals."""
        now, deals = self._world.now(), 0
        for account_id in accounts or sorted(self._world.accounts):
            book, chance = self._world.account(account_id).book, random.Random(f"{seed} {account_id}")
            if not isinstance(book, Book) or chance.random() >= float(share):
                continue
            for _ in range(positions):
                opening = _open(book, now, chance) if "open" in _possible(book) else None
                if opening is not None:
                    made = book.operate("open", now, **opening)
                    book.operate("close", now, position=made.position_id, price=near(book, opening["symbol"], now, chance))
                    deals += 2
        return deals


def _past(book: Book, now: datetime, steps: int, days: int, chance: random.Random) -> None:
    begins = now - timedelta(days=days)
    times = sorted(begins + timedelta(seconds=chance.randint(1, days * 86_400 - 1)) for _ in range(steps - 1))
    book.operate("deposit", begins, amount=Decimal(10_000))
    for at in times:
        step(book, at, chance)
