"""One account, alone: its service is asked in a pool thread, what it said is closed by one transaction of the run's own thread.

    lease (held by the caller) -> service calls (``fetch``) -> pure work -> one transaction (the piece that ``fetch`` returns)

An account whose answer is what is stored already costs a share of one statement: it is noted with up to 49 others (``flush``).
Whatever goes wrong inside an account ends as its own outcome; only an unreachable database leaves. Source: mt5 specification, 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Protocol

from fillbook.mt5.desk import Desk, Time
from fillbook.mt5.duetimes import ADAPTIVE_ABOVE, AUTH_FAILURES_MAX, BACKOFF, Cadence
from fillbook.mt5.history import PAGES_MAX
from fillbook.mt5.model import Instance, Worked
from fillbook.mt5.records import Claimed
from fillbook.mt5.sources import ReadsAccount, ReadsSymbols
from fillbook.mt5.windows import Spans
from fillbook.mt5.words import PAGE_ROWS_MAX, SyncType
from fillbook.runtime.db import Database
from fillbook.values import frozen


@frozen
class Limits:
    """Settings of an account's work (``MT5_HISTORY_…``, ``MT5_PAGE…``, ``MT5_BACKOFF_MINUTES`` and so on)."""

    spans: Spans = Spans()
    page_limit: int = PAGE_ROWS_MAX
    pages_max: int = PAGES_MAX
    backoff: tuple[timedelta, ...] = BACKOFF
    auth_failures_max: int = AUTH_FAILURES_MAX
    adaptive_above: int = ADAPTIVE_ABOVE
    cadence: Cadence = Cadence()
    log_unchanged_max_accounts: int = 1_000
    flush_accounts_max: int = 50
    retries_max: int = 1


@frozen
class Terms:
    """What holds for every account of a run. ``slot``: due times count from it; ``active_accounts``: size of the fleet.

    ``instances``: by key; ``degraded``: keys of those that said so of themselves (info and positions only).
    """

    run_id: str
    sync_type: SyncType
    slot: datetime
    active_accounts: int
    instances: Mapping[str, Instance]
    degraded: frozenset[str] = frozenset()
    limits: Limits = Limits()


class Service(ReadsAccount, ReadsSymbols, Protocol):
    """What is asked of an MT5 service about one account."""


class AccountSync:
    """The work on accounts of one run; ``fetch`` is called by pool threads, everything else by the thread that made it."""

    def __init__(self, db: Database, service: Service, *, terms: Terms, desk: Desk, time: Time) -> None:
        """``time``: the run's clocks."""
        self._db, self._service, self._terms, self._desk, self._time = db, service, terms, desk, time

    def fetch(self, claimed: Claimed, deadline: float) -> Callable[[], Worked]:
        """In a pool thread: an account's calls until ``deadline`` (monotonic). Returns its closing piece, for the owner of the
        connection. Never raises but ``DeskClosed``.
        """
        raise NotImplementedError

    def flush(self) -> tuple[str, ...]:
        """Note the unchanged accounts that wait; returns those whose lease was lost meanwhile (nothing was noted of them).

        A chore of the crew (every 500 ms), and once more when it is done. It also runs when 50 wait.
        """
        raise NotImplementedError
