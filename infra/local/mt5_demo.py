"""The demo fleet of the local cloud: 25 accounts on two servers, whose days depend on the date and the account alone.

Nothing is remembered. A month is worked out when somebody asks for it: it begins with the same balance, because the result of
the month before was taken out (or made up for) on its last trading day, and everything is closed by then. So a fake that was
killed and started again, or whose clock was moved, tells the same.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from infra.local.mt5_broker import Book, Reading
from infra.local.mt5_model import EPOCH, HEDGING, MILLISECOND, ZERO, Change, Deal, Symbol, Terms
from infra.local.mt5_world import Server, World

FX_SERVER: Final = "FillbookFX-Demo"
EXCHANGE_SERVER: Final = "FillbookIndex-Demo"
ACCOUNTS: Final = tuple(
    (f"demo-{place:02d}", 50_000_000 + place, FX_SERVER if place <= 13 else EXCHANGE_SERVER) for place in range(1, 26)
)
"""Id in the service's paths, login, server: what an operator links."""
BEGAN: Final = date(2020, 1, 1)
DEPOSIT: Final = Decimal(10_000)
MONTHS_KEPT: Final = 4
PULSE_SECONDS: Final = 300
"""How long a demo price stands still."""
FX: Final = ("EURUSD", "GBPUSD", "USDJPY", "XAUUSD")
INDICES: Final = ("US500", "GER40.c", "EURUSD")
Planned = tuple[datetime, str, dict[str, Any]]


def furnish(world: World) -> None:
    """Add the two servers and the 25 accounts."""
    servers = (world.add_server(FX_SERVER), world.add_server(EXCHANGE_SERVER, zone_name="Europe/Athens", shift_minutes=0))
    for server in servers:
        server.moving, server.pulse = price, pulse
    for place, (identity, login, server_name) in enumerate(ACCOUNTS, 1):
        server, mode = world.servers[server_name], "hedging"
        if server_name == EXCHANGE_SERVER:
            mode = "netting" if place % 3 else "exchange"

        def book(terms: Terms, place: int = place, identity: str = identity, server: Server = server) -> Diary:
            return Diary(terms, server, place, identity)

        world.add_account(
            id=identity, login=login, server=server_name, name=f"Demo account {place}", mode=mode,
            commission_per_lot=Decimal("3.5") if mode == "hedging" else Decimal("1.2"), book=book,
        )  # fmt: skip


def pulse(at: datetime) -> int:
    """Return what changes whenever demo prices do; they stand still from Friday night to Monday."""
    if at.weekday() >= 5:
        at = datetime.combine(at.date() - timedelta(days=at.weekday() - 4), time(21), UTC)
    return int(at.timestamp()) // PULSE_SECONDS


def price(symbol: Symbol, at: datetime) -> Decimal:
    """Return the demo price: about the base price, another one each day and a little another every five minutes."""
    return _price(symbol, pulse(at))


@lru_cache(maxsize=4096)
def _price(symbol: Symbol, number: int) -> Decimal:
    day = number * PULSE_SECONDS // 86_400
    moved = random.Random(f"{symbol.name} {day}").randint(-80, 80) + random.Random(f"{symbol.name} {number}").randint(-15, 15)
    return (symbol.base_price * (1 + Decimal(moved) / 10_000)).quantize(Decimal(1).scaleb(-symbol.digits))


class Diary:
    """An account month by month; a book for each that somebody asked for, the latest few kept."""

    def __init__(self, terms: Terms, server: Server, place: int, identity: str) -> None:
        self._terms, self._server, self._place, self._identity = terms, server, place, identity
        self._books: OrderedDict[tuple[int, int], Book] = OrderedDict()

    def _book(self, on: date) -> Book:
        key = (on.year, on.month)
        if key in self._books:
            self._books.move_to_end(key)
            return self._books[key]
        book = self._written(on.replace(day=1))
        self._books[key] = book
        if len(self._books) > MONTHS_KEPT:
            self._books.popitem(last=False)
        return book

    def _written(self, first: date) -> Book:
        is_first = first == BEGAN
        book = Book(self._terms, opening=ZERO if is_first else DEPOSIT, quote=self._server.quote)
        days = [day for day in _days(first) if day.weekday() < 5]
        if is_first:
            book.operate("deposit", _at(days[0], 1), amount=DEPOSIT, ticket=self._number(days[0], 990))
        make = _hedging_day if self._terms.margin_mode == HEDGING else _netting_day
        planned = [one for day in days for one in make(self, day, days[-1])]
        for at, kind, given in sorted(planned, key=lambda one: one[0]):
            book.operate(kind, at, **given)
        rest = book.balance - DEPOSIT
        if rest:
            kind = "withdraw" if rest > 0 else "deposit"
            number = self._number(days[-1], 991)
            book.operate(kind, _at(days[-1], 21, 30), amount=abs(rest), ticket=number, comment="month's result")
        return book

    def _number(self, on: date, number: int) -> int:
        return 1_000_000_000 + (on - BEGAN).days * 100_000 + self._place * 1_000 + number

    def numbers(self, on: date, number: int) -> dict[str, int]:
        """Return the numbers of a deal and its order; the same day has the same ones."""
        ticket = self._number(on, number)
        return {"ticket": ticket, "order": ticket + 2_000_000_000}

    def chance(self, on: date) -> random.Random:
        """Return what the day is thrown with."""
        return random.Random(f"{on} {self._identity}")

    # -- as a book --------------------------------------------------------------------------------------------------------

    def state(self, at: datetime) -> Reading:
        """Return the account as it stood at an instant."""
        return self._book(at.date()).state(at) if at.date() >= BEGAN else Reading(ZERO, ZERO)

    def version(self, at: datetime) -> tuple[int, ...]:
        """Return what differs whenever the account does."""
        return (at.year, at.month, self.state(at).index)

    def between(self, from_msc: int, to_msc: int, at: datetime) -> list[Deal]:
        """Return the deals of a window; only the months it touches are worked out."""
        day = timedelta(days=1)
        begins = max(_instant(from_msc).date() - day, BEGAN)
        ends = min(_instant(to_msc) + day, at).date()
        found: list[Deal] = []
        while begins <= ends:
            found += self._book(begins).between(from_msc, to_msc, at)
            begins = (begins.replace(day=1) + timedelta(days=32)).replace(day=1)
        return found

    def life(self, position_id: int, at: datetime) -> list[Deal]:
        """Return all deals of a position; its number says when it was opened."""
        on = BEGAN + timedelta(days=max(0, (position_id - 3_000_000_000) // 100_000))
        return self._book(on).life(position_id, at) if on <= at.date() else []

    def told(self, at: datetime) -> Sequence[Change]:
        """Return the changes of this month and the one before."""
        before = at.date().replace(day=1) - timedelta(days=1)
        return (
            [*(self._book(before).told(at) if before >= BEGAN else ()), *(self._book(at.date()).told(at))]
            if at.date() >= BEGAN
            else []
        )

    def price(self, symbol: str, at: datetime) -> Decimal:
        """Return what a symbol costs."""
        return self._server.quote(symbol, at) or self._terms.symbols[symbol].base_price


def _instant(msc: int) -> datetime:
    """The instant a server clock would show if it were UTC; bounded, since a window may be anything."""
    return EPOCH + min(max(msc, 0), 4_102_444_800_000) * MILLISECOND


def _days(first: date) -> Iterator[date]:
    day = first
    while day.month == first.month:
        yield day
        day += timedelta(days=1)


def _at(on: date, hour: int, minute: int = 0, *, chance: random.Random | None = None, spread: int = 0) -> datetime:
    at = datetime.combine(on, time(hour, minute), UTC)
    return at if chance is None else at + timedelta(milliseconds=chance.randint(0, spread * 60_000))


def _hedging_day(diary: Diary, on: date, last: date) -> Iterator[Planned]:
    """Three or four positions, one closed in two parts; now and then one stays over night and is charged swap."""
    chance = diary.chance(on)
    stays = chance.random() < 0.3 and on != last and on.weekday() < 4
    for number, symbol in enumerate(chance.sample(FX, chance.randint(3, 4))):
        volume = Decimal(chance.randint(5, 30)) / 100
        ids = diary.numbers(on, number * 10)
        position = {"position": ids["order"]}
        side = chance.choice(("buy", "sell"))
        yield _at(on, 7, chance=chance, spread=400), "open", {"symbol": symbol, "side": side, "volume": volume, **ids}
        if number == 1:
            part = (volume / 2).quantize(Decimal("0.01"))
            yield (
                _at(on, 14, chance=chance, spread=50),
                "partial_close",
                {**position, "volume": part, **diary.numbers(on, number * 10 + 1)},
            )
        closes = diary.numbers(on, number * 10 + 2)
        if number == 2 and stays:
            swap = {"swap": -Decimal(chance.randint(10, 200)) / 100, "order": ids["order"] + 5}
            yield _at(on, 22), "swap_reopen", {**position, **swap}
            yield _at(on + timedelta(days=1), 6, chance=chance, spread=50), "close", {**position, **closes}
        else:
            yield _at(on, 15, chance=chance, spread=300), "close", {**position, **closes}


def _netting_day(diary: Diary, on: date, _: date) -> Iterator[Planned]:
    """Two or three symbols: in by two, out by two; some turn around before they are closed."""
    chance = diary.chance(on)
    for number, symbol in enumerate(chance.sample(INDICES, chance.randint(2, 3))):
        whole = 1 if symbol != "EURUSD" else 10
        volume = Decimal(chance.randint(2, 6)) / whole
        ids = diary.numbers(on, number * 10)
        position = {"position": ids["order"]}
        side = chance.choice(("buy", "sell"))
        plan: list[tuple[int, str, dict[str, Any]]] = [
            (7, "open", {"symbol": symbol, "side": side, "volume": volume}),
            (9, "scale_in", {**position, "volume": volume}),
            (12, "partial_close", {**position, "volume": volume}),
        ]
        if chance.random() < 0.4:
            plan.append((14, "reverse", {**position, "volume": volume * 2}))
        plan.append((16, "close", position))
        for place, (hour, kind, given) in enumerate(plan):
            yield _at(on, hour, chance=chance, spread=100), kind, {**given, **diary.numbers(on, number * 10 + place)}
