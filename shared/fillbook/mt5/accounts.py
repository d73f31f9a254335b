"""One account, alone: its service is asked in a pool thread, what it said is closed by one transaction of the run's own thread.

    lease (held by the caller) -> service calls -> pure work -> one transaction

An account whose answer is what is stored already costs a share of one statement: it is noted with up to 49 others (``flush``).
For any other the owner of the connection tries the transaction once the windows are read; where it finds that lives of positions
or symbols are wanted it writes nothing, the thread asks for them, and the closing piece does the same again with all of it.
Whatever goes wrong inside an account ends as its own outcome; only an unreachable database leaves. Source: mt5 specification, 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from uuid import UUID

from fillbook.ledger import service as ledger
from fillbook.mt5 import booking, bookkeeping, closing, store, unchanged
from fillbook.mt5.bookkeeping import Ended
from fillbook.mt5.closing import Settled
from fillbook.mt5.desk import Desk, DeskClosed, Time
from fillbook.mt5.faults import TEXTS
from fillbook.mt5.fetching import Fetching, Service, rule_of
from fillbook.mt5.heard import Answers, Needs
from fillbook.mt5.model import ServerRule, Trade, Worked
from fillbook.mt5.records import AccountUpdate, AccountWork, Claimed, Loaded, StaleLease, Unchanged
from fillbook.mt5.server_time import compared
from fillbook.mt5.terms import Limits, Terms
from fillbook.mt5.words import Code, ConnectionStatus, SyncStatus, ZoneState
from fillbook.outbox.model import Event
from fillbook.outbox.service import enqueue, partitions_of
from fillbook.runtime.db import Database, Tx
from fillbook.runtime.errors import Unavailable

__all__ = ["AccountSync", "Limits", "Service", "Terms", "Worked"]


class AccountSync:
    """The work on accounts of one run; ``fetch`` is called by pool threads, everything else by the thread that made it."""

    def __init__(
        self,
        db: Database,
        service: Service,
        *,
        terms: Terms,
        desk: Desk,
        time: Time,
        on_crash: Callable[[Claimed, BaseException], None] | None = None,
    ) -> None:
        """``time``: the run's clocks. ``on_crash`` is told what broke inside an account, for the log; called by any thread."""
        self._db, self._service, self._terms, self._desk, self._time = db, service, terms, desk, time
        self._on_crash = on_crash
        self._clocked: set[str] = set()
        self._waiting: list[Unchanged] = []

    def fetch(self, claimed: Claimed, deadline: float) -> Callable[[], Worked]:
        """In a pool thread: an account's calls until ``deadline`` (monotonic). Returns its closing piece, for the owner of the
        connection. Raises ``DeskClosed`` and ``Unavailable`` alone.
        """
        started_at, started = self._time.now(), self._time.monotonic()
        try:
            return self._fetched(claimed, deadline)
        except (DeskClosed, Unavailable):
            raise
        except StaleLease:
            return partial(self._stale, Answers(claimed=claimed, started_at=started_at, started=started))
        except Exception as error:  # noqa: BLE001 - the edge of an account: its crash is its own
            return partial(self._crashed, Answers(claimed=claimed, started_at=started_at, started=started), error)

    def _fetched(self, claimed: Claimed, deadline: float) -> Callable[[], Worked]:
        instance = self._terms.instances[claimed.account.instance_key]
        fetching = Fetching(
            self._service,
            claimed,
            instance,
            self._terms.limits,
            deadline=deadline,
            time=self._time,
            keep=lambda heard: self._desk.write(partial(self._keep, heard)),
        )
        heard = fetching.first(is_degraded=instance.instance_key in self._terms.degraded)
        if heard.is_deferred and not heard.is_mismatch:
            return partial(self._deferred, heard)
        same = unchanged.row(heard, self._terms, self._time.now(), ms=self._ms(heard), is_clocked=self._is_clocked(heard))
        if same is not None:
            return partial(self._note_unchanged, same)
        if heard.has_history and heard.view is not None:
            closed = self._desk.write(partial(self._tried, heard))
            if isinstance(closed, Worked):
                return lambda: closed
            heard = fetching.more(closed)
        return partial(self._closed, heard)

    def flush(self) -> tuple[str, ...]:
        """Note the unchanged accounts that wait; returns those whose lease was lost meanwhile (nothing was noted of them).

        A chore of the crew (every 500 ms), and once more when it is done. It also runs when 50 wait.
        """
        waiting = self._waiting
        if not waiting:
            return ()
        held = store.flush_unchanged(self._db, self._terms.run_id, waiting, self._time.now())
        self._waiting = []
        return tuple(one.account_id for one in waiting if one.account_id not in held)

    # --- how an account ends ------------------------------------------------------------------------------------------

    def _note_unchanged(self, same: Unchanged) -> Worked:
        self._waiting.append(same)
        if len(self._waiting) >= self._terms.limits.flush_accounts_max:
            self.flush()
        outcome = same.outcome
        return Worked(
            account_id=same.account_id,
            status=SyncStatus.SUCCESS,
            attempts=outcome.attempts,
            steps=outcome.steps,
            started_at=outcome.started_at,
            completed_at=outcome.completed_at,
            duration_ms=outcome.duration_ms,
            has_answered=True,
            is_unchanged=True,
        )

    def _deferred(self, heard: Answers) -> Worked:
        """The service asked for a pause: nothing is noted, the account is as due as before."""
        return self._ended_without_rows(heard, None, Code.RATE_LIMITED)

    def _stale(self, heard: Answers) -> Worked:
        """Another worker has the account by now, and tells of it."""
        return self._ended_without_rows(heard, SyncStatus.SKIPPED, Code.LEASED)

    def _ended_without_rows(self, heard: Answers, status: SyncStatus | None, code: Code) -> Worked:
        return Worked(
            account_id=heard.claimed.account_id,
            status=status,
            error_code=code,
            error_message=TEXTS[code],
            attempts=bookkeeping.attempts_of(heard),
            steps=bookkeeping.steps_of(heard),
            started_at=heard.started_at,
            completed_at=self._time.now(),
            duration_ms=self._ms(heard),
            failures=tuple(heard.failures.values()),
        )

    def _closed(self, heard: Answers) -> Worked:
        """The last piece of an account; whatever breaks in it is the account's own."""
        try:
            worked = self._close(heard, is_last=True)
        except StaleLease:
            return self._stale(heard)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - the edge of an account
            return self._crashed(heard, error)
        assert isinstance(worked, Worked)
        return worked

    def _crashed(self, heard: Answers, error: Exception) -> Worked:
        """Our own code broke on this account: its answers are dropped, the failure is noted with its real times."""
        if self._on_crash is not None:
            self._on_crash(heard.claimed, error)
        try:
            worked = self._close(replace(_emptied(heard), crash=type(error).__name__), is_last=True)
        except StaleLease:
            return self._stale(heard)
        assert isinstance(worked, Worked)
        return worked

    # --- one transaction ----------------------------------------------------------------------------------------------

    def _tried(self, heard: Answers) -> Worked | Needs:
        return self._close(heard, is_last=False)

    def _keep(self, heard: Answers) -> None:
        """Write the pages of a large window that came so far, with the place where it goes on."""
        self._close(heard, is_last=True)

    def _close(self, heard: Answers, *, is_last: bool) -> Worked | Needs:
        """The transaction; not ``is_last``: where more is wanted nothing is written."""
        result, server = ledger.run(
            self._db, lambda tx: _Closing(tx, heard, self._terms, self._time, self._clocked).run(is_last=is_last)
        )
        if server is not None:
            self._clocked.add(server)
        return result

    def _is_clocked(self, heard: Answers) -> bool:
        """Whether this run has nothing to learn from an answer about its server's clock."""
        claimed, head = heard.claimed, heard.head
        if head is None or not heard.has_told_clock or head.server_time_msc is None or claimed.account.server in self._clocked:
            return True
        return claimed.is_rule_measured and compared(claimed.rule, head.server_time_msc, head.as_of) == claimed.rule

    def _ms(self, heard: Answers) -> int:
        return max(int((self._time.monotonic() - heard.started) * 1000), 0)


class _Closing:
    """One account's transaction; made anew for every try."""

    def __init__(self, tx: Tx, heard: Answers, terms: Terms, time: Time, clocked: Iterable[str]) -> None:
        self._tx, self._heard, self._terms, self._time = tx, heard, terms, time
        self._clocked = clocked
        self._now = time.now()
        self._events: list[Event] = []
        self._partitions: set[int] = set()

    def run(self, *, is_last: bool) -> tuple[Worked | Needs, str | None]:
        """Load, decide, write; also returns the server whose clock was looked at."""
        heard = self._heard
        if not heard.has_data:
            return self._fail(), None
        loaded, also = self._load()
        rule, server = self._rule(loaded)
        settled = closing.settle(loaded, heard, rule, self._now, again=self._is_hourly(loaded))
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
        also = self._late_positions()
        wanted = closing.wanted(heard, also)
        loaded = store.load_account(self._tx, claimed.account_id, claimed.lease_token, wanted)
        known = {
            name: fact for name, fact in loaded.symbols.items() if fact.contract_size is None or fact.currency_profit is None
        }
        became = [one.symbol for one in heard.facts if one.symbol in known and one.contract_size is not None]
        if became:
            rows = self._tx.query(
                booking.QUERIES["positions_of_symbols"], account_id=UUID(claimed.account_id), symbols=sorted(became)
            )
            also |= {row["position_id"] for row in rows}
        again = closing.wanted(heard, also, (one.deal.time_msc for one in loaded.deals))
        if again != wanted:
            loaded = store.load_account(self._tx, claimed.account_id, claimed.lease_token, again)
        return loaded, frozenset(also)

    def _late_positions(self) -> set[int]:
        """Every position, where the book is opened only now and history may be there already."""
        claimed, info = self._heard.claimed, self._heard.info
        account = claimed.account
        is_opening = booking.standing(account, info, {}).is_opening
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
        stands = booking.standing(account, heard.info, settled.symbols)
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
        loaded = store.load_account(self._tx, claimed.account_id, claimed.lease_token, closing.wanted(_emptied(heard)))
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


def _emptied(heard: Answers) -> Answers:
    """The answers without anything that came."""
    return Answers(
        claimed=heard.claimed,
        started_at=heard.started_at,
        started=heard.started,
        failures=heard.failures,
        notes=heard.notes,
    )


def _fixed(update: AccountUpdate, loaded: Loaded) -> AccountUpdate:
    """A book's method and currency are fixed."""
    return update if update.info is None else replace(update, info=booking.fixed(loaded.account, update.info))


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
