"""Deals, positions and accounts, written as short as a test can say them; and an account kept in memory poll by poll.

``Desk`` does what a run does with the pure cores: merge what was read, derive the touched positions, tell the ledger's
in-memory book. The server clock of these tests is UTC unless a test says otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from fillbook.ledger.model import Book, Fill, LotMethod, Netting
from fillbook.mt5 import fills
from fillbook.mt5.cash import cash_operation
from fillbook.mt5.deals import Effect, Stored, effect_of, standing
from fillbook.mt5.fills import Terms
from fillbook.mt5.model import CashOperation, Deal, DealVersion, OpenPosition, SymbolFacts, Trade
from fillbook.mt5.revisions import merge
from fillbook.mt5.trades import Derived, View, derive
from fillbook.mt5.words import TradeSide, TradeStatus
from tests.support.ledger import MemoryWorld

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "mt5"
ACCOUNT = "6b3c0f0e-0000-5000-8000-000000000001"
START_MSC = 1_770_000_000_000
NOW = datetime(2026, 2, 2, 12, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ENTRIES = {"in": 0, "out": 1, "inout": 2, "out_by": 3}
_TYPES = {"buy": 0, "sell": 1}


def utc(time_msc: int, _ticket: int = 0) -> datetime:
    """A server clock that is UTC."""
    return _EPOCH + timedelta(milliseconds=time_msc)


def at(seconds: int) -> int:
    """Seconds after the start, on the server clock."""
    return START_MSC + seconds * 1000


def deal(
    ticket: int, position: int, side: str | int, entry: str, volume: object, price: object, second: int = 0, **given: Any
) -> Deal:
    """One deal; money as text, 0 where not said. ``side`` may be a type number."""
    money = {name: Decimal(str(given.pop(name, 0))) for name in ("profit", "commission", "swap", "fee")}
    options: dict[str, Any] = {"order_id": ticket + 100_000, "reason": 0, "symbol": "EURUSD", **money, **given}
    return Deal(
        deal_ticket=ticket,
        position_id=position,
        time_msc=options.pop("time_msc", at(second)),
        deal_type=side if isinstance(side, int) else _TYPES[side],
        entry=_ENTRIES[entry],
        volume=Decimal(str(volume)),
        price=Decimal(str(price)),
        **options,
    )


def cash(ticket: int, kind: int, amount: object, second: int = 0, **given: Any) -> Deal:
    """A movement of money."""
    return deal(ticket, given.pop("position", 0), kind, "in", 0, 0, second, symbol="", profit=amount, **given)


def shown(position: int, side: str, volume: object, price: object = "1.1", second: int = 0, **given: Any) -> OpenPosition:
    """An open position of a snapshot; floating profit 1.00 and swap 0 unless said."""
    options: dict[str, Any] = {
        "ticket": position,
        "price_current": Decimal("1.2"),
        "stop_loss": None,
        "take_profit": None,
        "swap": Decimal(0),
        "profit": Decimal(1),
        "symbol": "EURUSD",
        **given,
    }
    return OpenPosition(
        position_id=position,
        time_msc=at(second),
        side=TradeSide(side),
        volume=Decimal(str(volume)),
        price_open=Decimal(str(price)),
        **options,
    )


def view(second: int, *positions: OpenPosition) -> View:
    """A complete snapshot."""
    return View.of(at(second), positions)


def stored(*deals: Deal, **options: Any) -> tuple[Stored, ...]:
    """The deals as first read."""
    return tuple(standing(DealVersion(deal=each, recorded_at=NOW, **options) for each in deals).values())


def derived(
    deals: Sequence[Deal], before: Sequence[Trade] = (), seen: View | None = None, position: int | None = None, digits: int = 2
) -> Derived:
    """What becomes of the one position of these deals."""
    [found] = {each.position_id for each in deals} or {position or 1}
    return derive(ACCOUNT, found, stored(*deals), before, seen, utc, digits)


def trades(deals: Iterable[Deal], digits: int = 2) -> list[Trade]:
    """All rows of these deals, without any snapshot."""
    by_position: dict[int, list[Deal]] = {}
    for each in deals:
        if effect_of(each) is not Effect.CASH:
            by_position.setdefault(each.position_id, []).append(each)
    return [row for each in by_position.values() for row in derived(each, digits=digits).trades]


def recorded(name: str) -> dict[str, Any]:
    """A file of recorded data, numbers exact."""
    loaded: dict[str, Any] = json.loads((DATA / name).read_text(), parse_float=Decimal)
    return loaded


def recorded_deal(row: Mapping[str, Any]) -> Deal:
    """A row of the Python package as a deal."""
    return Deal(
        deal_ticket=row["ticket"],
        order_id=row["order"],
        position_id=row["position_id"],
        time_msc=row["time_msc"],
        deal_type=row["type"],
        entry=row["entry"],
        reason=row["reason"],
        symbol=row["symbol"],
        comment=row["comment"] or None,
        magic=row["magic"] or None,
        **{name: Decimal(row[name]) for name in ("volume", "price", "profit", "commission", "swap", "fee")},
    )


def facts(symbol: str, size: object = 100_000, currency: str | None = "USD") -> SymbolFacts:
    """What is known of a symbol."""
    return SymbolFacts(
        server="Broker-Live",
        symbol=symbol,
        symbol_norm=symbol,
        contract_size=None if size is None else Decimal(str(size)),
        digits=5,
        currency_profit=currency,
    )


def terms(*known: SymbolFacts, hedging: bool = True, currency: str = "USD") -> Terms:
    """An account."""
    given = known or (facts("EURUSD"),)
    return Terms(
        server="Broker-Live", login=7001, currency=currency, is_hedging=hedging, symbols={each.symbol: each for each in given}
    )


class Desk:
    """An account in memory: what it stores, and its book."""

    def __init__(self, account: Terms | None = None, digits: int = 2) -> None:
        self.terms = account or terms()
        self.digits = digits
        self.versions: list[DealVersion] = []
        self.rows: dict[tuple[int, int], Trade] = {}
        self.held: set[tuple[int, int]] = set()
        self.changed = 0
        self.derived: dict[int, Derived] = {}
        self.world = MemoryWorld(
            Book(
                book_id="mt5:Broker-Live:7001",
                lot_method=LotMethod.SPECIFIC if self.terms.is_hedging else LotMethod.FIFO,
                netting=Netting.HEDGE if self.terms.is_hedging else Netting.NET,
                base_currency=self.terms.currency,
            )
        )

    def poll(self, deals: Iterable[Deal] = (), seen: View | None = None, now: datetime = NOW, *, all_told: bool = False) -> None:
        """One run: ``deals`` were read, ``seen`` is its snapshot (None: positions failed)."""
        self.take(merge(self.stored, deals, now).versions, seen, all_told=all_told)

    def take(self, versions: Iterable[DealVersion], seen: View | None = None, *, all_told: bool = False) -> None:
        """Store revisions and derive what they touch, and what the snapshot may change."""
        new = list(versions)
        touched = {each.deal.position_id for each in new}
        touched |= {
            old.deal.position_id for each in new for old in self.versions if old.deal.deal_ticket == each.deal.deal_ticket
        }
        self.versions += new
        if all_told:
            touched |= {each.deal.position_id for each in self.versions}
        if seen is not None:
            touched |= set(seen.positions)
            touched |= {position for (position, _), row in self.rows.items() if row.status is not TradeStatus.CLOSED}
        for position in sorted(touched - {0}):
            self._derive(position, seen)
        self._tell(sorted(touched - {0}))

    @property
    def stored(self) -> dict[int, Stored]:
        """The deals as they stand."""
        return standing(self.versions)

    @property
    def operations(self) -> dict[int, CashOperation]:
        """Movements of money by ticket."""
        found = (cash_operation(ACCOUNT, each, utc) for each in self.stored.values())
        return {each.deal_ticket: each for each in found if each is not None}

    @property
    def trades(self) -> list[Trade]:
        """All rows, by key."""
        return [self.rows[key] for key in sorted(self.rows)]

    @property
    def known(self) -> dict[str, Fill]:
        """The ledger's current fill of each id."""
        return {
            identity: max(versions, key=lambda each: each.current_rank).fill
            for identity, versions in self.world.memory.journal.items()
        }

    def _of(self, position: int) -> list[Stored]:
        return [each for each in self.stored.values() if each.deal.position_id == position]

    def _derive(self, position: int, seen: View | None) -> None:
        before = [row for (of, _), row in self.rows.items() if of == position]
        found = derive(ACCOUNT, position, self._of(position), before, seen, utc, self.digits)
        self.derived[position] = found
        for number in found.gone:
            del self.rows[position, number]
            self.changed += 1
        for row in found.trades:
            if self.rows.get((position, row.episode)) != row:
                self.rows[position, row.episode] = row
                self.changed += 1

    def _tell(self, positions: Sequence[int]) -> None:
        wanted: list[Fill] = []
        touched: list[Stored] = []
        for position in positions:
            found = fills.wanted(self.terms, self.derived[position].episodes)
            self.held -= {key for key in self.held if key[0] == position}
            self.held |= {(position, number) for number in found.held}
            wanted += found.fills
            # a corrected deal may have left this position
            touched += [
                each
                for each in self.stored.values()
                if position in {v.deal.position_id for v in self._all(each.deal.deal_ticket)}
            ]
        ids = set(fills.ids_of(self.terms, touched))
        kept = {fill.fill_id: fill for fill in wanted}
        known = {identity: fill for identity, fill in self.known.items() if identity in ids or identity in kept}
        told = fills.telling(wanted, known, fills.revisions_of(touched))
        if told:
            self.world.deliver(told, NOW)

    def _all(self, ticket: int) -> list[DealVersion]:
        return [each for each in self.versions if each.deal.deal_ticket == ticket]
