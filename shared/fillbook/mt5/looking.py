"""What of an account's trades and book is not as its deals say, seen in one snapshot, without a lock: what a rebuild has to do.

Problem. A rebuild of a hundred thousand deals finds nearly always that nothing differs, and reading every fill of the book and
every trade under the account's lock to see that took most of its time. Observations. Only whoever holds the account writes it,
and that is who looks. A fact says the same if its hash is the same. Choice. Ranges of positions are derived from their deals
again, trades compared as they are, fills by the hash of their content. What differs, and what is not simple (a deal of several
revisions, one in an hour that comes twice), is left to the batches of ``rebuilding``, which lock, read whole and decide.
Source: mt5 specification, 15.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from fillbook.ledger import service as ledger
from fillbook.mt5 import booking, closing, columns, fills
from fillbook.mt5.booking import QUERIES
from fillbook.mt5.clocks import ServerClock
from fillbook.mt5.deals import Stored
from fillbook.mt5.fills import Terms, Wanted
from fillbook.mt5.model import Deal, SymbolFacts, Trade
from fillbook.mt5.records import Claimed
from fillbook.mt5.standing import standing
from fillbook.mt5.trades import derive
from fillbook.runtime.db import Tx

RANGE_POSITIONS: Final = 1_000

Deals = dict[int, list[Stored]]


def differing(tx: Tx, claimed: Claimed) -> list[int]:
    """The positions of an account that are not as their deals say, or that cannot be told to be so here."""
    look = _Look(tx, claimed)
    ranges = tx.query(QUERIES["position_ranges"], account_id=UUID(claimed.account_id), size=RANGE_POSITIONS)
    return [one for row in ranges for one in sorted(look.of_range(row["least"], row["most"]))]


class _Look:
    """One account, range by range."""

    def __init__(self, tx: Tx, claimed: Claimed) -> None:
        self._tx, self._account = tx, claimed.account
        self._id = UUID(claimed.account_id)
        self._clock = ServerClock(claimed.rule)
        self._symbols: dict[str, SymbolFacts] = {}
        self._asked: set[str] = set()

    def of_range(self, least: int, most: int) -> set[int]:
        """Those of a range."""
        deals, left = self._deals(least, most)
        trades = self._trades(least, most)
        self._ask({one.deal.symbol for of in deals.values() for one in of} | {row.symbol for of in trades.values() for row in of})
        terms = standing(self._account, None, self._symbols).terms
        told: dict[int, Wanted] = {}
        for position_id in (deals.keys() | trades.keys()) - left:
            if not self._is_derived(position_id, deals.get(position_id, ()), trades.get(position_id, ()), terms, told):
                left.add(position_id)
                told.pop(position_id, None)
        return left if terms is None else left | self._not_booked(terms, told, deals)

    def _is_derived(
        self, position_id: int, deals: Sequence[Stored], rows: Sequence[Trade], terms: Terms | None, told: dict[int, Wanted]
    ) -> bool:
        """Whether a position's trades are those that its deals make; notes in ``told`` what its book should hold."""
        account = self._account
        one = derive(account.account_id, position_id, deals, rows, None, self._clock, account.currency_digits)
        if one.gone:
            return False
        if terms is not None and one.episodes:
            told[position_id] = fills.wanted(terms, one.episodes)
        before = {(row.position_id, row.episode): row for row in rows}
        return not closing.changed(rows, (booking.marked(row, before, told) for row in one.trades))

    def _not_booked(self, terms: Terms, told: Mapping[int, Wanted], deals: Deals) -> set[int]:
        """Positions of which the book holds anything else than it should."""
        owners = {fill_id: position_id for position_id in told for fill_id in fills.ids_of(terms, deals.get(position_id, ()))}
        held = ledger.held(self._tx, self._account.book_id, owners, "episode") if owners else {}
        wrong: set[int] = set()
        for position_id, wanted in told.items():
            for fill in wanted.fills:
                known = held.pop(fill.fill_id, None)
                is_same = (
                    known is not None
                    and not known.is_bust
                    and known.word == str(fill.meta["episode"])
                    and known.content == ledger.content_of(fill)
                )
                if not is_same:
                    wrong.add(position_id)
        return wrong | {owners[fill_id] for fill_id, known in held.items() if not known.is_bust}

    # --- what is stored ---

    def _deals(self, least: int, most: int) -> tuple[Deals, set[int]]:
        """Deals by position, in order; positions with one that has several revisions, or lies in an hour that comes twice."""
        found: Deals = {}
        left: set[int] = set()
        for row in self._rows("deals_of_range", least, most):
            ticket, position_id, revision, newest, withdrawn, order_id, msc, kind, entry, reason, symbol = row[:11]
            magic, comment, read_at, *numbers = row[11:]
            volume, price, profit, commission, swap, fee = map(Decimal, numbers)
            if revision != 1 or newest != 1 or withdrawn or self._clock.repeats(msc):
                left.add(position_id)
            deal = Deal(
                deal_ticket=ticket,
                order_id=order_id,
                position_id=position_id,
                time_msc=msc,
                deal_type=kind,
                entry=entry,
                reason=reason,
                symbol=symbol,
                volume=volume,
                price=price,
                profit=profit,
                commission=commission,
                swap=swap,
                fee=fee,
                magic=magic,
                comment=comment,
            )
            stored = Stored(deal=deal, revision=1, withdrawn=False, first_read_at=columns.instant(read_at))
            found.setdefault(position_id, []).append(stored)
        return found, left

    def _trades(self, least: int, most: int) -> dict[int, list[Trade]]:
        found: dict[int, list[Trade]] = {}
        for row in self._rows("trades_of_range", least, most):
            trade = columns.trade_of(row)
            found.setdefault(trade.position_id, []).append(trade)
        return found

    def _rows(self, name: str, least: int, most: int) -> Sequence[Any]:
        (row,) = self._tx.query(QUERIES[name], account_id=self._id, least=least, most=most)
        return row["rows"] or ()

    def _ask(self, names: set[str]) -> None:
        """Learn what is known of further symbols."""
        new = sorted(names - self._asked)
        if new:
            rows = self._tx.query(QUERIES["symbols_known"], server=self._account.server, symbols=new)
            self._symbols |= {row["symbol"]["symbol"]: columns.symbol_of(row["symbol"]) for row in rows}
            self._asked.update(new)
