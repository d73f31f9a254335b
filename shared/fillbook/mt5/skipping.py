"""Accounts that a run does not try: one log row and one entry each, their counters untouched."""

from __future__ import annotations

from typing import Final

from fillbook.mt5 import ids, store
from fillbook.mt5.faults import TEXTS
from fillbook.mt5.grounds import Grounds
from fillbook.mt5.records import Outcome, Skipped
from fillbook.mt5.runrecords import Result, Run
from fillbook.mt5.words import Code, SyncStatus

AT_ONCE: Final = 50


class Skips:
    """Collects skipped accounts and notes them together; used by the thread that owns the connection."""

    def __init__(self, grounds: Grounds, run: Run) -> None:
        self._grounds, self._run = grounds, run
        self._waiting: list[Skipped] = []

    def add(self, account_id: str, code: Code, lease_token: int | None = None) -> Result:
        """An account is not tried; ``lease_token`` of its claim, which ends with the note. Returns its entry."""
        now = self._grounds.time.now()
        outcome = Outcome(
            log_id=ids.log_id(self._run.run_id, account_id),
            sync_type=self._run.sync_type,
            started_at=now,
            completed_at=now,
            status=SyncStatus.SKIPPED,
            duration_ms=0,
            error_code=code,
            error_message=TEXTS[code],
            attempts=0,
        )
        self._waiting.append(Skipped(account_id=account_id, outcome=outcome, lease_token=lease_token))
        if len(self._waiting) >= AT_ONCE:
            self.flush()
        return Result(
            account_id=account_id,
            status=SyncStatus.SKIPPED,
            started_at=now,
            completed_at=now,
            duration_ms=0,
            trades_synced=0,
            error_message=TEXTS[code],
            error_code=code.value,
            attempts=0,
        )

    def flush(self) -> None:
        """Note what waits."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            store.skip_accounts(self._grounds.db, self._run.run_id, waiting, self._grounds.time.now())
