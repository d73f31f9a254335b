"""What holds for every account of a run: its id, its slot, the services it asks, the settings of an account's work."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from fillbook.mt5.duetimes import ADAPTIVE_ABOVE, AUTH_FAILURES_MAX, BACKOFF, Cadence
from fillbook.mt5.history import PAGES_MAX
from fillbook.mt5.model import Instance
from fillbook.mt5.windows import Spans
from fillbook.mt5.words import PAGE_ROWS_MAX, SyncType
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
    """What accounts of a run share. ``slot``: due times count from it; ``active_accounts``: size of the fleet.

    ``instances``: by key; ``degraded``: keys of those that said so of themselves (info and positions only).
    """

    run_id: str
    sync_type: SyncType
    slot: datetime
    active_accounts: int
    instances: Mapping[str, Instance]
    degraded: frozenset[str] = frozenset()
    limits: Limits = Limits()
