"""One account, alone: its service is asked in a pool thread, what it said is closed by one transaction of the run's own thread.

    lease (held by the caller) -> service calls -> pure work -> one transaction

An account whose answer is what is stored already costs a share of one statement: it is noted with up to 49 others (``flush``).
For any other the owner of the connection tries the transaction once the windows are read; where it finds that lives of positions
or symbols are wanted it writes nothing, the thread asks for them, and the closing piece does the same again with all of it.
Whatever goes wrong inside an account ends as its own outcome; only an unreachable database leaves. Source: mt5 specification, 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from fillbook.ledger import service as ledger
from fillbook.mt5 import bookkeeping, store, unchanged
from fillbook.mt5.desk import Desk, DeskClosed, Time
from fillbook.mt5.faults import TEXTS
from fillbook.mt5.fetching import Fetching, Service
from fillbook.mt5.heard import Answers, Late, Needs, emptied
from fillbook.mt5.records import Claimed, StaleLease, Unchanged
from fillbook.mt5.remaking import Remaking, cut
from fillbook.mt5.server_time import compared
from fillbook.mt5.settling import Closing
from fillbook.mt5.terms import Limits, Terms
from fillbook.mt5.words import Code, SyncStatus
from fillbook.mt5.worked import Worked
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
        self._partitions: dict[str, set[int]] = {}

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
            clocks=self._time,
            keep=lambda heard, is_last: self._desk.write(partial(self._kept, heard, is_last=is_last)),
        )
        heard = fetching.first(is_degraded=instance.instance_key in self._terms.degraded)
        if heard.is_deferred and not heard.is_mismatch:
            return partial(self._deferred, heard)
        same = unchanged.row(heard, self._terms, self._time.now(), ms=self._ms(heard), is_clocked=self._is_clocked(heard))
        if same is not None:
            return partial(self._note_unchanged, same)
        heard = fetching.opened()
        if heard.has_history:
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
            worked = self._close(replace(emptied(heard), crash=type(error).__name__), is_last=True)
        except StaleLease:
            return self._stale(heard)
        assert isinstance(worked, Worked)
        return worked

    # --- one transaction ----------------------------------------------------------------------------------------------

    def _tried(self, heard: Answers) -> Worked | Needs:
        return self._close(heard, is_last=False)

    def _kept(self, heard: Answers, *, is_last: bool) -> Needs | None:
        """Write the pages of a large window that came so far, with the place where it goes on."""
        closed = self._close(heard, is_last=is_last)
        return closed if isinstance(closed, Needs) else None

    def _close(self, heard: Answers, *, is_last: bool) -> Worked | Needs:
        """The transaction; not ``is_last``: where more is wanted nothing is written."""
        result, server = self._closing(heard, is_last=is_last)
        if isinstance(result, Late):
            self._tell_again(heard, result)
            result, server = self._closing(heard, is_last=is_last, are_told=True)
        assert not isinstance(result, Late)
        if server is not None:
            self._clocked.add(server)
        if isinstance(result, Worked):
            also = self._partitions.pop(result.account_id, set())
            return replace(result, partitions=tuple(sorted(also.union(result.partitions)))) if also else result
        return result

    def _closing(self, heard: Answers, *, is_last: bool, are_told: bool = False) -> tuple[Worked | Needs | Late, str | None]:
        def work(tx: Tx) -> tuple[Worked | Needs | Late, str | None]:
            return Closing(tx, heard, self._terms, self._time, self._clocked, are_told=are_told).run(is_last=is_last)

        return ledger.run(self._db, work)

    def _tell_again(self, heard: Answers, late: Late) -> None:
        """In batches, before what makes them due is noted: a run that ends in between leaves them due."""
        remaking = Remaking(
            claimed=heard.claimed, run_id=self._terms.run_id, now=self._time.now(), info=heard.info, facts=late.facts
        )
        partitions = self._partitions.setdefault(heard.claimed.account_id, set())
        for positions in cut(late.positions):
            _, told = ledger.run(self._db, partial(remaking.batch, positions=positions))
            partitions.update(told)

    def _is_clocked(self, heard: Answers) -> bool:
        """Whether this run has nothing to learn from an answer about its server's clock."""
        claimed, head = heard.claimed, heard.head
        if head is None or not heard.has_told_clock or head.server_time_msc is None or claimed.account.server in self._clocked:
            return True
        return claimed.is_rule_measured and compared(claimed.rule, head.server_time_msc, head.as_of) == claimed.rule

    def _ms(self, heard: Answers) -> int:
        return max(int((self._time.monotonic() - heard.started) * 1000), 0)
