"""Nouns of the fake MT5 service: clock rules, symbols, deals, positions, and what one operation of the broker changed.

Numbers of deal types and entries are those of the MQL5 reference. Money and volumes are Decimals, instants aware UTC, floored
to milliseconds, because that is all that the wire can say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

NETTING, EXCHANGE, HEDGING = 0, 1, 2
BUY, SELL, BALANCE, CREDIT, CHARGE, CORRECTION, BONUS, COMMISSION = range(8)
COMMISSION_MONTHLY, INTEREST, BUY_CANCELED, SELL_CANCELED, DIVIDEND, DIVIDEND_FRANKED, TAX = 9, 12, 13, 14, 15, 16, 17
IN, OUT, INOUT, OUT_BY = range(4)
ZERO: Final = Decimal(0)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND: Final = timedelta(milliseconds=1)
MONEY_FIELDS: Final = ("profit", "commission", "swap", "fee")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockRule:
    """How a server tells the time: the wall time of ``zone_name`` plus ``shift_minutes``.

    New York + 7 h, usual in FX, changes on US dates; ``Europe/Athens`` + 0 on European ones; ``UTC`` + n never.
    """

    zone_name: str = "America/New_York"
    shift_minutes: int = 420

    def msc(self, at: datetime) -> int:
        """Return milliseconds on the server clock: its wall time, written as if it were an epoch."""
        wall = at.astimezone(ZoneInfo(self.zone_name)).replace(tzinfo=UTC) + timedelta(minutes=self.shift_minutes)
        return (wall - EPOCH) // MILLISECOND


NEW_YORK_PLUS_7: Final = ClockRule()
EUROPE: Final = ClockRule(zone_name="Europe/Athens", shift_minutes=0)


def fixed(minutes: int) -> ClockRule:
    """Return the rule of a server that is always ``minutes`` ahead of UTC."""
    return ClockRule(zone_name="UTC", shift_minutes=minutes)


def utc_msc(at: datetime) -> int:
    """Return milliseconds since 1970 in UTC."""
    return (at - EPOCH) // MILLISECOND


def floored(at: datetime) -> datetime:
    """Return the instant in UTC without what is below a millisecond."""
    if at.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    at = at.astimezone(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def iso(at: datetime) -> str:
    """Return the instant as every answer spells it."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Symbol:
    """A symbol of a server. ``base_price``: where its demo prices are about."""

    name: str
    contract_size: Decimal
    digits: int
    currency_profit: str = "USD"
    base_price: Decimal = Decimal(100)


def symbols() -> dict[str, Symbol]:
    """Return what every server begins with."""
    told = (
        ("EURUSD", "100000", 5, "USD", "1.15830"),
        ("GBPUSD", "100000", 5, "USD", "1.31240"),
        ("AUDUSD", "100000", 5, "USD", "0.65120"),
        ("USDCHF", "100000", 5, "CHF", "0.80410"),
        ("USDJPY", "100000", 3, "JPY", "154.320"),
        ("XAUUSD", "100", 2, "USD", "4010.50"),
        ("US500", "1", 2, "USD", "6830.40"),
        ("GER40.c", "1", 2, "EUR", "23890.10"),
        ("SHIBUSD", "1000000", 8, "USD", "0.00001234"),
        ("TEST", "1", 2, "USD", "100.00"),
    )
    return {
        name: Symbol(name=name, contract_size=Decimal(size), digits=digits, currency_profit=currency, base_price=Decimal(price))
        for name, size, digits, currency, price in told
    }


RATES: Final[Mapping[str, Decimal]] = {
    "USD": Decimal(1),
    "EUR": Decimal("1.1583"),
    "GBP": Decimal("1.3124"),
    "CHF": Decimal("1.2436"),
    "JPY": Decimal("0.00648"),
}
"""What one unit of a currency is worth in dollars; they never move, so that every result can be worked out by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a broker needs of an account to carry out operations. ``commission_per_lot`` is what each deal costs, positive."""

    clock: ClockRule = NEW_YORK_PLUS_7
    margin_mode: int = HEDGING
    currency: str = "USD"
    digits: int = 2
    commission_per_lot: Decimal = ZERO
    leverage: int = 100
    bonus_is_credit: bool = False
    symbols: Mapping[str, Symbol] = field(default_factory=symbols)

    def rounded(self, amount: Decimal) -> Decimal:
        """Return money in whole last digits of the account's currency."""
        return amount.quantize(Decimal(1).scaleb(-self.digits))

    def rate(self, currency: str) -> Decimal:
        """Return what one unit of a currency is worth in the account's."""
        return RATES[currency] / RATES[self.currency]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deal:
    """One deal. ``at``: its time in UTC, ``time_msc`` on the server clock; ``appears_at``: from when on history shows it."""

    ticket: int
    order: int = 0
    position_id: int = 0
    at: datetime
    time_msc: int
    appears_at: datetime
    type: int
    entry: int = IN
    reason: int = 0
    symbol: str = ""
    volume: Decimal = ZERO
    price: Decimal = ZERO
    profit: Decimal = ZERO
    commission: Decimal = ZERO
    swap: Decimal = ZERO
    fee: Decimal = ZERO
    magic: int = 0
    comment: str = ""
    external_id: str = ""

    @property
    def amount(self) -> Decimal:
        """What it adds to the account."""
        return self.profit + self.commission + self.swap + self.fee


Move = tuple[int, Decimal, Decimal]
"""Ticket, volume (negative: out) and price of one deal in the life of a position on one side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A position of the terminal. ``price_open`` is the broker's running average, ``moves`` what it is made of.

    ``commission``: what its entries cost.
    """

    position_id: int
    ticket: int
    symbol: str
    side: int
    at: datetime
    time_msc: int
    update_msc: int
    moves: tuple[Move, ...]
    volume: Decimal
    price_open: Decimal
    swap: Decimal = ZERO
    commission: Decimal = ZERO
    stop_loss: Decimal = ZERO
    take_profit: Decimal = ZERO
    magic: int = 0
    comment: str = ""
    reason: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What an operation truly did to a trade or to the cash, for the truth; ``kind`` is one of ``mt5_truth.KINDS``.

    ``closes``: of a reversal, the volume that closed the running side; the rest of ``volume`` opened the other.
    ``changed``: of an edit, the fields that are different now.
    """

    kind: str
    ticket: int
    at: datetime
    position_id: int = 0
    position_ticket: int = 0
    symbol: str = ""
    side: int = BUY
    volume: Decimal = ZERO
    closes: Decimal = ZERO
    price: Decimal = ZERO
    profit: Decimal = ZERO
    commission: Decimal = ZERO
    swap: Decimal = ZERO
    fee: Decimal = ZERO
    comment: str = ""
    cash_kind: str = ""
    changed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one operation changed; playing all changes up to an instant gives the account at that instant.

    ``positions``: how those it touched look afterwards, None: gone. ``removed``: tickets of deals that are no more.
    """

    at: datetime
    deals: tuple[Deal, ...]
    removed: tuple[int, ...]
    positions: Mapping[int, Position | None]
    balance: Decimal
    credit: Decimal
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What an operation made: tickets of its deals, the order, the position."""

    tickets: tuple[int, ...] = ()
    order: int = 0
    position_id: int = 0

    def document(self) -> dict[str, object]:
        """Return it as the admin API shows it."""
        return {"tickets": list(self.tickets), "order": self.order, "position_id": self.position_id}
