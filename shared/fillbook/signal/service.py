"""From receipt to execution: one receipt, one transaction, everything it causes or nothing of it.

``process`` locks the ticker, judges what the receipt is (decided, late, stale, conflict, duplicate), and lets the core
decide. Without a booking that is two round trips: load, then apply with the commit. An intent that passes an unlocked look
at the book costs one more: the book's row is locked, the limits are asked again under it, and the ledger books in the same
transaction. Lock order, always: the ticker's row → the ledger's instrument → the book's row. No rule lives here and no
network is called; what to publish afterwards is in the answer. Source: signals.md 2.1 and 6.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from fillbook.ledger import service as ledger
from fillbook.ledger.model import Book
from fillbook.ledger.state import LedgerState
from fillbook.outbox.service import Claimed, commit_claiming, event_rows, partitions_of
from fillbook.runtime.db import Database, Tx
from fillbook.runtime.errors import Rejected
from fillbook.signal import intents, store
from fillbook.signal.admission import admit
from fillbook.signal.deciding import mark_of, rows_of, settle
from fillbook.signal.lanes import might_ask
from fillbook.signal.model import Admission, Booked, Decision, Facts, Receipt, TickerState
from fillbook.signal.profile import Profile
from fillbook.signal.receipt import ParsedReceipt, instant
from fillbook.signal.sessions import session_date
from fillbook.signal.state import state_from_json
from fillbook.signal.store import CONFLICT, DECIDED, LATE, STALE, Loaded, Row
from fillbook.values import frozen

DUPLICATE: Final = "duplicate"


@frozen
class Strategy:
    """The book that is decided for and how: the profile, the age limit of a price, the knobs of signals.md 6."""

    profile: Profile
    book_id: str = "live"
    live_age_seconds_max: int = 900
    tickers_max: int = 2_000
    book_executions: bool = True
    lane_events: bool = False

    @property
    def vix_ticker(self) -> str | None:
        """The ticker whose price scales risk, where the profile asks for one."""
        return store.vix_ticker_of(self.profile)


@frozen
class Processed:
    """What became of a receipt: its result, the lane shown, the actions booked, the outbox partitions to relay.

    ``claimed`` is what of those partitions the transaction leased for its own relay.
    """

    result: str
    lane: str | None = None
    action_ids: tuple[str, ...] = ()
    partitions: tuple[int, ...] = ()
    claimed: Claimed | None = None


def process(
    db: Database, arrived: ParsedReceipt, *, received_at: datetime, strategy: Strategy, now: datetime, relays: bool = False
) -> Processed:
    """Store and, when its time has come, decide one receipt in one transaction; repeated when the server lost a race.

    ``relays``: the caller publishes afterwards, so the events' partitions are leased with the commit. Raises ``Rejected``
    (``too_many_tickers``, and what the ledger refuses of a decision) or ``Unavailable``; nothing is stored then.
    """
    work = _Work(arrived, received_at, strategy, now, relays=relays)
    return ledger.run(db, work.run)


class _Work:
    """One receipt on its way; holds only what was given, so that the transaction may run again."""

    def __init__(self, arrived: ParsedReceipt, received_at: datetime, strategy: Strategy, now: datetime, *, relays: bool) -> None:
        self.arrived = arrived
        self.receipt = arrived.receipt
        self.received_at = received_at
        self.strategy = strategy
        self.profile = strategy.profile
        self.now = now
        self.relays = relays
        self.session_date = session_date(self.receipt.ts, self.profile.trading)
        self.facts_document = store.facts_document(strategy.book_id, self.receipt.sector, strategy.vix_ticker)

    def run(self, tx: Tx) -> Processed:
        loaded, books = self._load(tx, may_ask=might_ask(self.receipt, self.profile))
        if loaded.is_known:
            return Processed(result=DUPLICATE)
        if loaded.tickers is not None and loaded.tickers >= self.strategy.tickers_max:
            raise Rejected("too_many_tickers", f"the book knows {loaded.tickers}")
        state = state_from_json(loaded.state, intents.position_facts(books.position(self.receipt.ticker), loaded.plan))
        result = self._judge(loaded, state)
        if result != DECIDED:
            seen = [store.seen_row(self.strategy.book_id, self.receipt)]
            tx.send(store.apply_call({"receipts": [self._receipt_row(result)], "seen": seen}))
            return Processed(result=result)
        return self._decide(tx, loaded, books, state)

    def _load(self, tx: Tx, *, may_ask: bool) -> tuple[Loaded, LedgerState]:
        """Lock the ticker, then the instrument; the book's facts come along when the receipt might ask for them."""
        book_id, receipt = self.strategy.book_id, self.receipt
        mine = store.load_call(book_id, receipt, facts=self.facts_document if may_ask else None)
        theirs = ledger.load_call(book_id, [receipt.ticker], with_totals=may_ask, session_date=self.session_date)
        loaded, books = tx.call(mine, theirs)
        if books["book"] is None:
            ledger.open_book(tx, Book(book_id=book_id, start_cash=self.profile.size.start_cash), self.now)
            loaded, books = tx.call(mine, theirs)
        return store.loaded_of(loaded), ledger.read_state(books)

    def _judge(self, loaded: Loaded, state: TickerState) -> str:
        if loaded.decided_by is not None:
            return CONFLICT
        if state.last_ts is not None and self.receipt.ts <= state.last_ts:
            return LATE
        price_at = instant(self.receipt.ts if self.receipt.time_close is None else self.receipt.time_close)
        if self.now - price_at > timedelta(seconds=self.strategy.live_age_seconds_max):
            return STALE
        return DECIDED

    def _decide(self, tx: Tx, loaded: Loaded, books: LedgerState, state: TickerState) -> Processed:
        ground = _LockedBook(self, tx, loaded, books)
        settled = settle(self.receipt, state, self.profile, ground)
        final = settled.final
        mark = mark_of(self.receipt, state, final)
        if mark is not None:
            ledger.mark(tx, self.strategy.book_id, [mark], self.now)
        events = [intents.lane_event(self.strategy.book_id, final, self.now)] if self._tells(final) else []
        rows = {"receipts": [self._receipt_row(DECIDED)], "states": [self._state_row(state, final)]}
        rows |= rows_of(self.strategy.book_id, self.receipt, state, loaded.plan, settled, self.profile, self.now)
        if events:
            rows["events"] = event_rows(events)
        tx.send(store.apply_call(rows))
        told = tuple(sorted({*ground.partitions, *partitions_of(events)}))
        claimed = commit_claiming(tx, told, self.now) if told and self.relays else None
        return Processed(result=DECIDED, lane=final.lane, action_ids=final.action_ids, partitions=told, claimed=claimed)

    def _tells(self, final: Decision) -> bool:
        return self.strategy.lane_events and self.strategy.book_id == "live" and final.lane != final.previous_lane

    def _receipt_row(self, result: str) -> Row:
        return store.receipt_row(self.arrived, received_at=self.received_at, now=self.now, result=result)

    def _state_row(self, before: TickerState, final: Decision) -> Row:
        return store.state_row(
            self.strategy.book_id,
            final,
            loaded_version=before.version,
            day_change=self.arrived.day_change_percent,
            now=self.now,
        )


class _LockedBook:
    """The ground of one live receipt: the book in the database, looked at first, locked only when something may be booked."""

    def __init__(self, work: _Work, tx: Tx, loaded: Loaded, books: LedgerState) -> None:
        self._work = work
        self._tx = tx
        self._loaded = loaded
        self._books = books
        self.partitions: tuple[int, ...] = ()

    def facts(self, _receipt: Receipt) -> Facts:
        assert self._loaded.surroundings is not None, "might_ask said no to a receipt that asks"
        return self._facts(self._books, self._loaded.surroundings)

    def book(self, receipt: Receipt, decision: Decision, *, asks: bool) -> tuple[list[Admission], list[Booked]]:
        """Lock the book, admit under the lock, book what is granted."""
        work, tx = self._work, self._tx
        call = ledger.load_call(
            work.strategy.book_id,
            [receipt.ticker],
            book_row=True,
            fill_keys=[intents.fill_id_of(receipt, intent) for intent in decision.intents],
            with_totals=asks,
            session_date=work.session_date,
        )
        # The book's row first, then a statement of its own for the facts: it must see what the lock waited for.
        document, facts_document = tx.call(call, store.facts_call(work.facts_document))
        books = ledger.read_state(document)
        facts = self._facts(books, store.surroundings_of(facts_document)) if asks else None
        admissions = [admit(intent, facts, work.profile) for intent in decision.intents]
        fills = intents.fills_of(decision, admissions, receipt, day=work.session_date, received_at=work.received_at)
        outcomes = ledger.book_fills(tx, work.strategy.book_id, fills, work.now, state=books) if fills else []
        self.partitions = tuple({number for outcome in outcomes for number in outcome.partitions})
        return admissions, intents.booked_of(decision, admissions, outcomes)

    def _facts(self, books: LedgerState, around: store.Surroundings) -> Facts:
        assert books.totals is not None
        return intents.facts_of(books.totals, around, book_executions=self._work.strategy.book_executions)
