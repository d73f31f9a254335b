"""The bridge to the ledger: an account's book is opened, told its fills, given marks, and compared with complete snapshots.

Everything happens in the transaction of the rows it comes from. Only positions whose deals changed, or that were never booked,
are told; what the book holds already is compared first, so that telling again tells nothing. Calls carry fewer fills than
the ledger takes, and when there is more than one the locks of all instruments are taken first. Source: mt5 specification, 10.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

from fillbook.ledger import reconcile
from fillbook.ledger import service as ledger
from fillbook.ledger.model import Book, Fill
from fillbook.ledger.statement import EVERYTHING, StatedCash
from fillbook.ledger.words import INSTRUMENTS_MAX, LotMethod, Netting
from fillbook.mt5 import fills, reconciling
from fillbook.mt5.closing import Settled
from fillbook.mt5.deals import Stored
from fillbook.mt5.fills import Terms, Wanted
from fillbook.mt5.heard import Answers
from fillbook.mt5.model import Account, Info, OpenPosition, Trade
from fillbook.mt5.records import Loaded
from fillbook.mt5.standing import standing
from fillbook.mt5.trades import Derived
from fillbook.mt5.words import CashBucket, CashState, DealType, IdentityQuality, LedgerState, TradeStatus
from fillbook.runtime.db import Tx
from fillbook.runtime.errors import Conflict
from fillbook.runtime.sql import load_queries
from fillbook.values import frozen

QUERIES: Final = load_queries("fillbook.mt5", "accounts.sql")
CALL_FILLS: Final = 1_000


@frozen
class Told:
    """What the ledger was told. ``trades``: the rows with the state of their fills; ``partitions`` of the outbox."""

    trades: tuple[Trade, ...]
    partitions: tuple[int, ...] = ()


def open_book(tx: Tx, account: Account, terms: Terms, now: datetime) -> None:
    """Open the account's book: its method is fixed from here on."""
    book = Book(
        book_id=account.book_id,
        tenant_id=account.tenant_id,
        lot_method=LotMethod.SPECIFIC if terms.is_hedging else LotMethod.FIFO,
        netting=Netting.HEDGE if terms.is_hedging else Netting.NET,
        base_currency=terms.currency,
    )
    ledger.open_book(tx, book, now)


# --- fills ------------------------------------------------------------------------------------------------------------


def tell(tx: Tx, loaded: Loaded, settled: Settled, heard: Answers, terms: Terms, also: Iterable[int], now: datetime) -> Told:
    """Tell the book what changed. ``also``: positions that are told although their deals did not change."""
    before = {(row.position_id, row.episode): row for row in loaded.trades}
    asked = settled.touched | set(also)
    told: dict[int, Wanted] = {}
    for one in settled.derived:
        rows = [before.get((row.position_id, row.episode)) for row in one.trades]
        is_new = any(row is None or row.ledger_state is LedgerState.NONE for row in rows)
        if one.position_id in asked or (is_new and one.episodes):
            told[one.position_id] = fills.wanted(terms, one.episodes)
    for pair in heard.paired:
        row = before.get((pair.ticket, 1))
        if row is None or row.ledger_state is LedgerState.NONE or row.net_pnl != pair.profit + pair.swap + pair.commission:
            told[pair.ticket] = fills.wanted_of_pair(terms, pair, settled.clock, now)
    partitions = book(tx, loaded.account.book_id, terms, told, of_positions(settled.stored.values(), told), now) if told else ()
    return Told(trades=tuple(marked(row, before, told) for row in settled.trades), partitions=partitions)


def unmarked(loaded: Loaded, settled: Settled) -> tuple[Trade, ...]:
    """The rows where nothing may be told: the state of their fills is what it was."""
    before = {(row.position_id, row.episode): row for row in loaded.trades}
    return tuple(marked(row, before, {}) for row in settled.trades)


def retell(
    tx: Tx, loaded: Loaded, stored: Iterable[Stored], derived: Sequence[Derived], now: datetime, info: Info | None = None
) -> tuple[tuple[Trade, ...], tuple[int, ...]]:
    """Tell positions that were derived again; returns their trades with the state of their fills, and outbox partitions.

    ``info``: what the account says of itself now, of which its book may have to be opened.
    """
    before = {(row.position_id, row.episode): row for row in loaded.trades}
    trades = [row for one in derived for row in one.trades]
    stands = standing(loaded.account, info, loaded.symbols)
    if stands.terms is None:
        return tuple(marked(row, before, {}) for row in trades), ()
    terms = stands.terms
    if stands.is_opening:
        open_book(tx, loaded.account, terms, now)
    told = {one.position_id: fills.wanted(terms, one.episodes) for one in derived if one.episodes or one.gone}
    partitions = book(tx, loaded.account.book_id, terms, told, of_positions(stored, told), now) if told else ()
    return tuple(marked(row, before, told) for row in trades), partitions


def of_positions(stored: Iterable[Stored], told: Iterable[int]) -> list[Stored]:
    """The stored deals of the positions told, withdrawn and cancelled ones too."""
    asked = set(told)
    return [one for one in stored if one.deal.position_id in asked]


def marked(row: Trade, before: Mapping[tuple[int, int], Trade], told: Mapping[int, Wanted]) -> Trade:
    """A row with the state of its fills: told now, or as it was."""
    wanted, state = told.get(row.position_id), row.ledger_state
    if wanted is None:
        known = before.get((row.position_id, row.episode))
        state = state if known is None else known.ledger_state
    elif row.identity_quality is not IdentityQuality.SNAPSHOT:
        state = LedgerState.HELD if row.episode in wanted.held else LedgerState.BOOKED
    return row if row.ledger_state is state else replace(row, ledger_state=state)


def book(
    tx: Tx, book_id: str, terms: Terms, told: Mapping[int, Wanted], deals: Sequence[Stored], now: datetime
) -> tuple[int, ...]:
    """Compare what positions should be in the book with what it holds, and book the difference; returns outbox partitions."""
    wanted = [fill for one in told.values() for fill in one.fills]
    pairs = told.keys() - {one.deal.position_id for one in deals}
    keys = (*fills.ids_of(terms, deals), *fills.fill_ids(terms, pairs))
    instruments = {fill.instrument for fill in wanted}
    instruments |= {fills.instrument_of(terms.server, one.deal.symbol) for one in deals if one.deal.symbol}
    state = ledger.lock(tx, book_id, sorted(instruments), book_row=True, fill_keys=keys, may_move=True)
    known = {
        fill_id: max(versions, key=lambda version: version.current_rank).fill
        for fill_id, versions in state.journal.items()
        if versions
    }
    new = fills.telling(wanted, known, fills.revisions_of(deals))
    partitions: set[int] = set()
    calls = list(_batches(new))
    for batch in calls:
        for outcome in ledger.book_fills(tx, book_id, batch, now, state=state if len(calls) == 1 else None):
            partitions.update(outcome.partitions)
    return tuple(sorted(partitions))


def _batches(new: Sequence[Fill]) -> Iterator[list[Fill]]:
    """Cut into calls without changing the order."""
    batch: list[Fill] = []
    instruments: set[str] = set()
    for fill in new:
        if len(batch) == CALL_FILLS or (fill.instrument not in instruments and len(instruments) == INSTRUMENTS_MAX):
            yield batch
            batch, instruments = [], set()
        batch.append(fill)
        instruments.add(fill.instrument)
    if batch:
        yield batch


# --- marks and statements ---------------------------------------------------------------------------------------------


def mark(tx: Tx, account: Account, positions: Sequence[OpenPosition], at: datetime, now: datetime) -> None:
    """Keep what the snapshot's positions were worth."""
    found = reconciling.marks(account.server, positions, at)
    if found:
        ledger.mark(tx, account.book_id, found, now)


def compare(
    tx: Tx, loaded: Loaded, settled: Settled, heard: Answers, terms: Terms, told: Told, at: datetime, now: datetime
) -> tuple[int, ...]:
    """Have the book compared with a complete snapshot; comes last, it takes the book's row. Returns outbox partitions."""
    assert heard.positions is not None
    statement = reconciling.statement(
        terms,
        loaded.account.book_id,
        heard.positions,
        at,
        complete=True,
        cash=_cash(tx, settled, heard, terms, loaded),
        known_causes=_causes(loaded, settled, terms, told),
    )
    try:
        return reconcile.reconcile(tx, statement, now).partitions
    except Conflict:
        return ()  # the service told something else of the same instant; the next hour's snapshot says more


def _cash(tx: Tx, settled: Settled, heard: Answers, terms: Terms, loaded: Loaded) -> StatedCash | None:
    """Cash is stated where the money adds up and every instrument is of the account's currency."""
    state = settled.state
    is_sound = state.cash_state is CashState.OK and state.opening_balance is not None and state.history_floor_msc is not None
    if not is_sound or heard.info is None or settled.versions or heard.at_msc is None:
        return None
    credit = [int(DealType.CREDIT)] + ([int(DealType.BONUS)] if loaded.rule.bonus_bucket is CashBucket.CREDIT else [])
    (row,) = tx.query(
        QUERIES["book_cash"],
        account_id=UUID(loaded.account.account_id),
        floor_msc=state.history_floor_msc,
        until_msc=heard.at_msc,
        credit_types=credit,
    )
    missing = [name for name in row["symbols"] or () if name not in terms.symbols]
    if missing:
        return None
    assert state.opening_balance is not None
    return reconciling.stated_cash(
        terms, row["symbols"] or (), heard.info.balance, state.opening_balance, row["movements"], row["below_floor"]
    )


def _causes(loaded: Loaded, settled: Settled, terms: Terms, told: Told) -> Mapping[str, str]:
    """Why the book may differ from the snapshot, as far as only the room can know."""
    causes: dict[str, str] = {}
    for row in told.trades:
        name = fills.instrument_of(terms.server, row.symbol)
        if row.ledger_state is LedgerState.HELD:
            causes[name] = "held_reversal"
        elif row.identity_quality is IdentityQuality.SNAPSHOT:
            causes.setdefault(name, "deals_pending")
        elif row.status is TradeStatus.CLOSE_PENDING:
            causes.setdefault(name, "close_pending")
    left = {(gap.from_msc, gap.opened_at) for gap in loaded.gaps} - {(gap.from_msc, gap.opened_at) for gap in settled.gaps_closed}
    if left or settled.gaps_opened:
        causes[EVERYTHING] = "history_gap"
    return causes
