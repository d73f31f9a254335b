"""How one account's part of a run ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from fillbook.mt5.model import StepFailure
from fillbook.mt5.words import Code, SyncStatus
from fillbook.values import frozen


@frozen
class Worked:
    """One account in one run, as it ended. ``status`` None: deferred (its service asked for a pause), nothing was noted of it.

    ``error_message``, ``error_code``: our own words, of the first step that failed. ``failures``: all of them, for the breakers;
    ``has_answered``: anything usable came. ``partitions``: of the outbox, to be relayed. ``is_unchanged``: noted with the next
    flush, not yet in the database. ``steps``: outcome, code, milliseconds, attempts and rows by step.
    """

    account_id: str
    status: SyncStatus | None
    trades_synced: int = 0
    error_message: str | None = None
    error_code: Code | None = None
    attempts: int = 1
    steps: Mapping[str, Any] = field(default_factory=dict)
    started_at: datetime
    completed_at: datetime
    duration_ms: int
    failures: tuple[StepFailure, ...] = ()
    has_answered: bool = False
    partitions: tuple[int, ...] = ()
    is_unchanged: bool = False
