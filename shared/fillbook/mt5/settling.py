"""The one transaction of an account: load what stands around its answers, decide, tell the ledger, write, with events and log.

Everything or nothing, and no network inside. Each try is made anew, because a race that was lost is run again from the start. The
rows are decided by ``closing`` and ``bookkeeping``, the ledger is told by ``booking``; here they meet in their order.
Source: mt5 specification, 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Final
from uuid import UUID

from fillbook.ledger import service as ledger
from fillbook.mt5 import booking, bookkeeping, closing, store, unchanged
from fillbook.mt5.bookkeeping import Ended
from fillbook.mt5.clocks import rule_of
from fillbook.mt5.closing import Settled
from fillbook.mt5.desk import Time
from fillbook.mt5.fills import instrument_of
from fillbook.mt5.heard import Answers, Late, Needs, emptied
from fillbook.mt5.model import ServerRule, Trade
from fillbook.mt5.records import AccountUpdate, AccountWork, Loaded
from fillbook.mt5.remaking import BATCH_POSITIONS
from fillbook.mt5.server_time import compared
from fillbook.mt5.standing import fixed, standing
from fillbook.mt5.terms import Terms
from fillbook.mt5.words import ConnectionStatus, ZoneState
from fillbook.mt5.worked import Worked
from fillbook.outbox.model import Event
from fillbook.outbox.service import enqueue, partitions_of
from fillbook.runtime.db import Tx

_MARGIN: Final = timedelta(hours=1)
"""By so much two accounts' transactions may overlap, and their clocks differ."""


class Closing:
    """One account's transaction; made anew for every try."""

    def __init__(
        self, tx: Tx, heard: Answers, terms: Terms, time: Time, clocked: Iterable[str], *, are_told: bool = False
    ) -> None:
        """``are_told``: positions that had to be told again have been."""
        self._tx, self._heard, self._terms, self._time = tx, heard, terms, time
        self._clocked, self._are_told = clocked, are_told
        self._now = time.now()
        self._events: list[Event] = []
        self._partitions: set[int] = set()

    def run(self, *, is_last: bool) -> tuple[Worked | Needs | Late, str | None]:
        """Load, decide, write; also returns the server whose clock was looked at. ``Needs``, ``Late``: nothing was written."""
        heard = self._heard
        if not heard.has_data:
            return self._fail(), None
        loaded, also = self._load()
        if len(also) > BATCH_POSITIONS:
            return Late(positions=also, facts=closing.symbols(loaded, heard)[0]), None
        rule, server = self._rule(loaded)
        settled = closing.settle(loaded, heard, rule, self._now, again=self._is_hourly(loaded), also=also)
        if not is_last and (settled.needs.positions or settled.needs.symbols):
            return settled.needs, None
        if rule != loaded.rule:
            store.write_rule(self._tx, rule, loaded.rule)
            if rule.zone_state is ZoneState.MISMATCH and loaded.rule.zone_state is not ZoneState.MISMATCH:
                self._tell(loaded, "clock_rule_mismatch_found", "clock", {"server": rule.server})
        trades = self._book(loaded, settled, also)
        self._events += bookkeeping.found(loaded.account, settled, self._terms, self._now)
        return self._write(loaded, settled, trades), server

    # --- reading ---

    def _load(self) -> tuple[Loaded, frozenset[int]]:
        """What stands around the answers; positions that are told although their deals did not change.

        A deal that is loaded may lie in a repeated hour of its own, of which every ticket must be known.
        """
        heard, claimed = self._heard, self._heard.claimed
        also = set() if self._are_told else self._late_positions()
        told = closing.told(heard)
        first = also if len(also) <= BATCH_POSITIONS else set()
        wanted = closing.wanted(heard, first, told=told)
        loaded = store.load_account(self._tx, claimed.account_id, claimed.lease_token, wanted)
        if not self._are_told:
            also |= self._valued_positions(loaded)
        if len(also) > BATCH_POSITIONS:
            return loaded, frozenset(also)
        again = closing.wanted(heard, also, (one.deal.time_msc for one in loaded.deals), told)
        if again != wanted:
            loaded = store.load_account(self._tx, claimed.account_id, claimed.lease_token, again)
        return loaded, frozenset(also)

    def _valued_positions(self, loaded: Loaded) -> set[int]:
        """Positions whose fills may have been told while nobody had said what a lot of their symbol is, and somebody has now.

        That this account is told now shows in the answers. That another of its server was told meanwhile shows in when; it
        matters only where the run before left something waiting, as one does whose question was not answered.
        """
        heard, account = self._heard, loaded.account
        known = {name for name, fact in loaded.symbols.items() if fact.is_valued}
        told = {fact.symbol for fact in heard.facts if fact.is_valued} - known
        is_waiting = heard.claimed.state.state_digest is None and account.last_sync_at is not None
        names = told | known if is_waiting else told
        books = {instrument_of(account.server, name): name for name in names}
        unvalued = {books[one] for one in ledger.unvalued(self._tx, account.book_id, books)}
        if not unvalued:
            return set()
        rows = self._tx.query(
            booking.QUERIES["positions_valued"],
            account_id=UUID(account.account_id),
            server=account.server,
            told=sorted(told & unvalued),
            known=sorted(known & unvalued) if is_waiting else [],
            since=(account.last_sync_at or self._now) - _MARGIN,
        )
        return {row["position_id"] for row in rows}

    def _late_positions(self) -> set[int]:
        """Every position, where the book is opened only now and history may be there already."""
        claimed, info = self._heard.claimed, self._heard.info
        account = claimed.account
        is_opening = standing(account, info, {}).is_opening
        if not is_opening or account.last_sync_at is None:
            return set()
        rows = self._tx.query(booking.QUERIES["all_positions"], account_id=UUID(account.account_id))
        return {row["position_id"] for row in rows}

    def _rule(self, loaded: Loaded) -> tuple[ServerRule, str | None]:
        """The clock rule that holds now: measured for a new server, compared once per server and run."""
        heard, head = self._heard, self._heard.head
        if head is None or not heard.has_told_clock or head.server_time_msc is None:
            return loaded.rule, None
        server = loaded.account.server
        if not loaded.is_rule_measured and loaded.rule.zone_state is ZoneState.PROVISIONAL:
            return rule_of(replace(heard.claimed, rule=loaded.rule, is_rule_measured=False), head), server
        if server in self._clocked:
            return loaded.rule, server
        return compared(loaded.rule, head.server_time_msc, head.as_of), server

    def _is_hourly(self, loaded: Loaded) -> bool:
        return unchanged.is_new_hour(loaded.account.last_successful_sync_at, self._now)

    # --- the ledger ---

    def _book(self, loaded: Loaded, settled: Settled, also: frozenset[int]) -> tuple[Trade, ...]:
        """Tell the book; returns the trades with the state of their fills."""
        tx, heard, account, now = self._tx, self._heard, loaded.account, self._now
        stands = standing(account, heard.info, settled.symbols)
        if stands.has_changed:
            detail = {"error_class": "margin_mode_or_currency_changed"}
            if unchanged.is_new_hour(account.last_successful_sync_at, now):
                self._tell(loaded, "contract_error_found", "book", detail)
        if stands.terms is None:
            return booking.unmarked(loaded, settled)
        if stands.is_opening:
            booking.open_book(tx, account, stands.terms, now)
        told = booking.tell(tx, loaded, settled, heard, stands.terms, also, now)
        self._partitions.update(told.partitions)
        if heard.view is not None and heard.positions is not None and heard.head is not None:
            age = timedelta(milliseconds=heard.head.cache_age_ms)
            at = min(settled.clock.nearest(heard.view.at_msc, heard.head.as_of - age), now)
            booking.mark(tx, account, heard.positions, at, now)
            if heard.has_history and (self._is_hourly(loaded) or settled.gaps_closed):
                self._partitions.update(booking.compare(tx, loaded, settled, heard, stands.terms, told, at, now))
        return told.trades

    def _tell(self, loaded: Loaded, kind: str, subject: str, data: dict[str, str]) -> None:
        self._events.append(bookkeeping.event(loaded.account, self._terms, self._now, kind, subject, data))

    # --- writing ---

    def _write(self, loaded: Loaded, settled: Settled, trades: tuple[Trade, ...]) -> Worked:
        heard, account = self._heard, loaded.account
        state = replace(settled.state, state_digest=unchanged.digest(loaded, settled, heard))
        if heard.is_kept:
            update = _kept_update(loaded, heard)
            ended = None
        else:
            ended = bookkeeping.ended(account, state, heard, self._terms, self._now, ms=self._ms())
            state, update = ended.state, ended.update
            self._events += ended.events
        work = AccountWork(
            account_id=account.account_id,
            lease_token=heard.claimed.lease_token,
            run_id=self._terms.run_id,
            account=_fixed(update, loaded),
            state=state,
            deals=settled.versions,
            trades=closing.changed(loaded.trades, trades),
            trades_removed=settled.removed,
            cash_operations=settled.operations,
            cash_removed=settled.operations_removed,
            cash_check=settled.proven.check_row,
            missed=settled.proven.missed,
            gaps_opened=settled.gaps_opened,
            gaps_closed=settled.gaps_closed,
            symbols=settled.learned,
            outcome=None if ended is None else ended.outcome,
        )
        return self._sent(work, ended)

    def _fail(self) -> Worked:
        """Nothing came that could be stored: log row and bookkeeping alone."""
        heard, claimed = self._heard, self._heard.claimed
        loaded = store.load_account(self._tx, claimed.account_id, claimed.lease_token, closing.wanted(emptied(heard)))
        state = replace(loaded.state, state_digest=None)
        ended = bookkeeping.ended(loaded.account, state, heard, self._terms, self._now, ms=self._ms())
        self._events += ended.events
        work = AccountWork(
            account_id=claimed.account_id,
            lease_token=claimed.lease_token,
            run_id=self._terms.run_id,
            account=ended.update,
            state=ended.state,
            outcome=ended.outcome,
        )
        return self._sent(work, ended)

    def _sent(self, work: AccountWork, ended: Ended | None) -> Worked:
        """Write, with the events, and commit."""
        enqueue(self._tx, self._events)
        self._partitions.update(partitions_of(self._events))
        applied = store.apply_account(self._tx, work, self._now)
        heard = self._heard
        outcome = None if ended is None else ended.outcome
        return Worked(
            account_id=work.account_id,
            status=None if ended is None else ended.status,
            trades_synced=applied.trades_changed,
            error_message=None if outcome is None else outcome.error_message,
            error_code=None if outcome is None else outcome.error_code,
            attempts=bookkeeping.attempts_of(heard),
            steps=bookkeeping.steps_of(heard),
            started_at=heard.started_at,
            completed_at=self._now,
            duration_ms=self._ms(),
            failures=() if ended is None else ended.failures,
            has_answered=heard.has_data,
            partitions=tuple(sorted(self._partitions)),
        )

    def _ms(self) -> int:
        return max(int((self._time.monotonic() - self._heard.started) * 1000), 0)


def _fixed(update: AccountUpdate, loaded: Loaded) -> AccountUpdate:
    """A book's method and currency are fixed."""
    return update if update.info is None else replace(update, info=fixed(loaded.account, update.info))


def _kept_update(loaded: Loaded, heard: Answers) -> AccountUpdate:
    """While a large window is read: what is known of the account stays, and what its book was opened with is noted."""
    account = loaded.account
    return AccountUpdate(
        info=heard.info,
        info_at=None,
        positions_at=None,
        last_sync_at=None,
        last_successful_sync_at=None,
        sync_failure_count=account.sync_failure_count,
        last_error_code=None,
        last_connection_error=None,
        connection_status=account.connection_status if account.last_sync_at else ConnectionStatus.UNKNOWN,
    )
