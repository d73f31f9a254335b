"""One process's part in a run: accounts worked by a crew under leases, breakers, sessions and rate limits, and what came of them.

    instances asked once -> sessions lent -> accounts drawn, worked, closed -> flushed, breakers told, the rest handed back

Everything of the database happens in the thread that runs it. Source: section 2 of the specification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from types import TracebackType
from typing import Final, Self

from fillbook.mt5 import answers, crashes, pacing_store, runstore, skipping, store
from fillbook.mt5.accounts import AccountSync, Terms
from fillbook.mt5.breaker import Row, broker_key, service_key
from fillbook.mt5.breakers import Breakers
from fillbook.mt5.crew import Answer, Chore, Crew, Ended, Outcome, Rules
from fillbook.mt5.desk import Desk
from fillbook.mt5.duetimes import due_until
from fillbook.mt5.grounds import QUERIES, Grounds
from fillbook.mt5.health import Found, Standing, ask_once
from fillbook.mt5.limits import Limits
from fillbook.mt5.model import Instance
from fillbook.mt5.pacing import Fits, Pace, account_budget
from fillbook.mt5.records import Claimed
from fillbook.mt5.runrecords import Result, Run
from fillbook.mt5.sessions import RENEW_SECONDS, WAIT_SECONDS, Sessions
from fillbook.mt5.supply import Supply, Ticket
from fillbook.mt5.telling import breaker_changed
from fillbook.mt5.tokens import published_limit
from fillbook.mt5.words import Code, SyncStatus
from fillbook.mt5.worked import Worked
from fillbook.outbox.service import enqueue, partitions_of
from fillbook.runtime.db import Tx
from fillbook.runtime.errors import Unavailable
from fillbook.values import frozen

HEARTBEAT_SECONDS: Final = 15
TELL_SECONDS: Final = 5
COUNT_SECONDS: Final = 1
Groups = Iterable[tuple[str, str]]
"""Pairs of instance and server."""
Mine = Callable[[str], bool]
"""Whether an account is one of those in question."""


@frozen
class Course:
    """How a part is worked. ``size``: accounts in flight at most; ``deadline``: monotonic; ``slot``: due times count from it;
    ``active_accounts``: exact as far as it matters (``counted_accounts_max``).
    """

    slot: datetime
    active_accounts: int
    deadline: float
    size: int

    @property
    def due_before(self) -> datetime:
        """Up to when an account is due."""
        return due_until(self.slot)


@frozen
class Brought:
    """What came of accounts. ``results``: in the order in which they ended; ``left``: not come to; ``paused``: their service
    asked for a pause; ``held``: another worker of the same run is at them; ``done``: worked before in the same run.
    """

    results: tuple[Result, ...] = ()
    left: tuple[str, ...] = ()
    paused: int = 0
    held: tuple[str, ...] = ()
    done: tuple[str, ...] = ()


def _everybody(_: str) -> bool:
    return True


def _untold(_: str) -> None:
    """Nobody waits for an account's end."""


class Part:
    """Used once, by one thread, as a context: leaving it gives back whatever it still holds."""

    def __init__(self, grounds: Grounds, run: Run, course: Course) -> None:
        self._grounds, self.run, self._course = grounds, run, course
        self._db, self._time, self._log = grounds.db, grounds.time, grounds.log
        self._desk = Desk()
        self._fits = Fits(course.deadline, margin_seconds=grounds.config.mt5_commit_margin_seconds)
        self._limits = Limits(grounds.db, self._desk)
        self._speaker = grounds.speaks(self._limits.before_call, self._limits.after_429)
        self._skips = skipping.Skips(grounds, run)
        self._deferred: list[Claimed] = []
        self._paused: list[Claimed] = []
        self._partitions: set[int] = set()
        self._results: dict[str, Result] = {}
        self.instances: Mapping[str, Instance] = {}
        self.found: dict[str, Found] = {}
        self.asked = frozenset[str]()
        self._sessions = Sessions(grounds.db, {}, wanted=0)
        self._breakers = self._made_breakers((), {})
        self._sync = self._made_sync()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None or not issubclass(kind, Unavailable):  # without a database nothing can be given back: leases end
            self._sessions.release()
            self._limits.settle()
            self._grounds.relay(self._partitions)

    # --- before any account ---

    def begin(self, groups: Groups) -> frozenset[str]:
        """Ask the instances of these groups and borrow sessions of them; the keys of those that lend none for a minute."""
        wanted = set(groups)
        self.instances = self._grounds.instances()
        served = self._served()
        self._breakers = self._made_breakers(self._rows(wanted), served)
        self.asked = frozenset(instance for instance, _ in wanted)
        for key in sorted(self.asked & self.instances.keys()):
            self.found[key] = self._asked(self.instances[key])
        maxima = {key: one.sessions(self.instances[key]) for key, one in self.found.items() if not self.is_shut(key)}
        self._sessions = Sessions(self._db, maxima, wanted=self._course.size)
        self._sync = self._made_sync()
        return self._sessions.wait(self._time, min(self._time.monotonic() + WAIT_SECONDS, self._fits.deadline))

    def meet(self, groups: Groups) -> None:
        """Look at the breakers of further groups, of instances that were asked before."""
        self._breakers.met(self._rows(set(groups)))

    def sessions(self) -> int:
        """How many accounts may be in flight now, at all instances that were asked."""
        return sum(map(self._sessions.limit, self.asked))

    def is_shut(self, instance_key: str) -> bool:
        """Whether an instance's accounts are not tried at all: it is unhealthy, or may not be asked."""
        found = self.found.get(instance_key)
        return found is None or found.standing is Standing.UNHEALTHY

    def _served(self) -> dict[str, int]:
        with self._db.transaction(read_only=True) as tx:
            pairs = tx.query(QUERIES["groups_of_accounts"])
        servers: dict[str, int] = {}
        for pair in pairs:
            servers[pair["instance_key"]] = servers.get(pair["instance_key"], 0) + 1
        return servers

    def _rows(self, groups: set[tuple[str, str]]) -> tuple[Row, ...]:
        keys = {key for instance, server in groups for key in (service_key(instance), broker_key(server))}
        with self._db.transaction(read_only=True) as tx:
            return pacing_store.breakers(tx, sorted(keys))

    def _made_breakers(self, rows: Iterable[Row], served: Mapping[str, int]) -> Breakers:
        return Breakers(rows, rules=self._grounds.config.breaker_rules, servers=served, claim=self._probed)

    def _probed(self, key: str, now: datetime) -> Row | None:
        rules = self._grounds.config.breaker_rules
        return self._db.run(lambda tx: pacing_store.claim_probe(tx, key, now=now, rules=rules))

    def _asked(self, instance: Instance) -> Found:
        key, config = instance.instance_key, self._grounds.config
        self._limits.publish(key, instance.rate_per_minute)
        deadline = min(self._time.monotonic() + config.mt5_account_budget_seconds, self._fits.deadline)
        self._limits.begin(deadline)
        row = self._breakers.row(service_key(key))
        now = self._time.now()
        found = ask_once(self._speaker, instance, row, rules=config.breaker_rules, now=now, deadline=deadline)
        told = None if found.health is None else found.health.requests_per_minute
        self._limits.publish(key, published_limit(instance.rate_per_minute, told, found.contract(instance)))
        if instance.rate_per_minute is None and found.code is not Code.BREAKER_OPEN:
            self._limits.count(key, self._time.monotonic() + COUNT_SECONDS)
        if found.standing is not Standing.HEALTHY:
            code = None if found.code is None else found.code.value
            self._log.warning(
                "service_not_healthy", execution_id=self.run.run_id, instance=key, standing=found.standing.value, code=code
            )
        return found

    # --- the accounts ---

    def work(self, supply: Supply, pace: Pace, after: Callable[[str], None] = _untold) -> None:
        """Work the accounts of a supply until it is empty or time is over; ``after`` is called with each as it has ended."""
        rules = Rules[Ticket, Worked](
            pace=pace, fits=self._fits, limit=self._sessions.limit, budget=self._budget, is_success=_is_success
        )
        pool = ThreadPoolExecutor(self._course.size, thread_name_prefix="mt5-account")
        crew = Crew[Ticket, Worked](
            self._fetched,
            rules=rules,
            pool=pool,
            desk=self._desk,
            time=self._time,
            gate=self,
            chores=self._chores(),
        )
        try:
            for ended in crew.run(supply):
                self._note(ended)
                after(ended.account.account_id)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # what still hangs ends with its own call, and writes nothing

    def skip(self, accounts: Iterable[str], code: Code, lease_token: int | None = None) -> None:
        """Note accounts that are not tried; ``lease_token`` of the one that is claimed."""
        for account_id in accounts:
            self._results[account_id] = self._skips.add(account_id, code, lease_token)

    def _made_sync(self) -> AccountSync:
        return AccountSync(
            self._db, self._speaker, terms=self._terms(), desk=self._desk, time=self._time, on_crash=self._log_crash
        )

    def _terms(self) -> Terms:
        degraded = frozenset(key for key, one in self.found.items() if one.standing is Standing.DEGRADED)
        return Terms(
            run_id=self.run.run_id,
            sync_type=self.run.sync_type,
            slot=self._course.slot,
            active_accounts=self._course.active_accounts,
            instances=self.instances,
            degraded=degraded,
            limits=self._grounds.limits,
        )

    def _fetched(self, ticket: Ticket, deadline: float) -> Callable[[], Worked]:
        self._limits.begin(deadline)
        return self._sync.fetch(ticket.claimed, deadline)

    def _budget(self, ticket: Ticket) -> float:
        return account_budget(ticket.claimed.account.last_error_code, self._grounds.config.mt5_account_budget_seconds)

    def ask(self, account: Ticket, now: datetime, *, is_last: bool) -> Answer:
        """Whether an account may begin: what its breakers say (the crew's gate)."""
        return self._breakers.ask(account, now, is_last=is_last)

    def left(self, account: Ticket, now: datetime) -> None:
        """Nothing yet: what an account proved is known when it is closed, before the next one begins."""

    def _note(self, ended: Ended[Ticket, Worked]) -> None:
        claimed, now = ended.account.claimed, self._time.now()
        match ended.outcome:
            case Outcome.WORKED:
                assert ended.result is not None
                self._note_worked(ended.account, ended.result, now)
            case Outcome.CRASHED:
                self._note_crash(ended.account, ended, now)
            case Outcome.SKIPPED:
                self._results[claimed.account_id] = self._skips.add(claimed.account_id, Code.BREAKER_OPEN, claimed.lease_token)
            case Outcome.DEFERRED:
                self._breakers.left(ended.account, now)
                self._deferred.append(claimed)
        if self._breakers.is_urgent:
            self._tell_breakers()

    def _note_worked(self, ticket: Ticket, worked: Worked, now: datetime) -> None:
        self._breakers.ended(ticket, worked.failures, has_answered=worked.has_answered, now=now)
        self._partitions.update(worked.partitions)
        if worked.status is None:
            self._paused.append(ticket.claimed)
            return
        self._results[worked.account_id] = answers.result_of(worked)
        if worked.status is not SyncStatus.SUCCESS:
            self._log.warning(
                "account_not_synced",
                execution_id=self.run.run_id,
                account_id=worked.account_id,
                server=ticket.server,
                status=worked.status.value,
                code=None if worked.error_code is None else worked.error_code.value,
                detail=worked.error_message,
                attempts=worked.attempts,
                duration_ms=worked.duration_ms,
            )

    def _log_crash(self, claimed: Claimed, error: BaseException) -> None:
        self._log.failed("account_broke", error, execution_id=self.run.run_id, account_id=claimed.account_id)

    def _note_crash(self, ticket: Ticket, ended: Ended[Ticket, Worked], now: datetime) -> None:
        """What escaped even the account's own edge is its failure all the same, with its real times."""
        crash, claimed = ended.crash, ticket.claimed
        assert crash is not None
        assert ended.started_at is not None
        self._log_crash(claimed, crash)
        if crashes.is_nobodys_fault(crash):
            self._breakers.left(ticket, now)
            self._deferred.append(claimed)
            return
        worked = crashes.note(
            self._db, claimed, self._terms(), started_at=ended.started_at, duration_ms=round(ended.seconds * 1000), now=now
        )
        if worked is None:
            self._breakers.left(ticket, now)
            return
        self._note_worked(ticket, worked, now)

    # --- beside them and after them ---

    def _chores(self) -> Sequence[Chore]:
        return (
            Chore(every_seconds=self._grounds.config.mt5_flush_ms / 1000, do=self._flush),
            Chore(every_seconds=TELL_SECONDS, do=self._tell),
            Chore(every_seconds=HEARTBEAT_SECONDS, do=self._beat),
            Chore(every_seconds=RENEW_SECONDS, do=self._sessions.keep),
        )

    def _beat(self) -> None:
        runstore.heartbeat(self._db, self.run.run_id)

    def _flush(self) -> None:
        for account_id in self._sync.flush():
            self._results.pop(account_id, None)  # another run has it meanwhile, and tells of it

    def _tell(self) -> None:
        self._tell_breakers()
        self._skips.flush()
        self._grounds.relay(self._partitions)
        self._partitions.clear()

    def _tell_breakers(self) -> None:
        news, now = self._breakers.take(), self._time.now()
        if not news.evidence:
            return

        def learn(tx: Tx) -> tuple[pacing_store.Learned, tuple[int, ...]]:
            rules = self._grounds.config.breaker_rules
            learned = pacing_store.learn(tx, news.evidence, one_server_keys=news.one_server_keys, now=now, rules=rules)
            events = [breaker_changed(change, now) for change in learned.changes]
            enqueue(tx, events)
            return learned, partitions_of(events)

        learned, partitions = self._db.run(learn)
        self._breakers.stored(learned.rows, now)
        self._partitions.update(partitions)
        for change in learned.changes:
            name = "breaker_opened" if change.is_opening else "breaker_closed"
            self._log.warning(name, execution_id=self.run.run_id, breaker=change.after.key, code=change.after.last_error_code)

    def settled(self, supply: Supply, mine: Mine = _everybody) -> Brought:
        """What came of accounts that have ended, or will not be worked any more: all of it is written down then, and what was
        claimed in vain is handed back. Each account is told once.
        """
        self._flush()
        missed = [one for one in supply.unclaimed if mine(one.account_id)]
        leased = [one for one in missed if one.reason == "leased"]
        self.skip((one.account_id for one in leased if one.lease_run_id != self.run.run_id), Code.LEASED)
        self._skips.flush()
        self._tell_breakers()
        stopped = [one for one in self._deferred if mine(one.account_id)]
        paused = [one for one in self._paused if mine(one.account_id)]
        unused = [one for one in supply.unused if mine(one.account_id)]
        store.hand_back(self._db, [*unused, *stopped, *paused])
        self._deferred = [one for one in self._deferred if not mine(one.account_id)]
        self._paused = [one for one in self._paused if not mine(one.account_id)]
        return Brought(
            results=tuple(self._results.pop(one) for one in [*filter(mine, self._results)]),
            left=(*(one.account_id for one in stopped), *filter(mine, supply.left)),
            paused=len(paused),
            held=tuple(one.account_id for one in leased if one.lease_run_id == self.run.run_id),
            done=tuple(one.account_id for one in missed if one.reason == "done"),
        )


def _is_success(worked: Worked) -> bool:
    return worked.status is SyncStatus.SUCCESS
