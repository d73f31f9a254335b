"""When an answer is what is stored already, so that nothing but a heartbeat has to be written. Pure.

A digest of the whole answer is kept only where nothing waits: no gap, no close pending, no missing deal, no reading of the past,
no symbol that is still to be learned. Then an equal answer means an equal account. A gap below the floor is nothing that waits:
no further read of the present can close it. Source: mt5 specification, 2.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from fillbook.mt5 import bookkeeping, history, windows
from fillbook.mt5.cash import CashCheck
from fillbook.mt5.closing import Settled, open_gaps
from fillbook.mt5.heard import Answers
from fillbook.mt5.ids import log_id
from fillbook.mt5.records import Loaded, Outcome, Unchanged
from fillbook.mt5.standing import standing
from fillbook.mt5.terms import Terms
from fillbook.mt5.told import content, state_digest
from fillbook.mt5.trades import Urgency
from fillbook.mt5.words import BackfillState, CashResult, CashState, ConnectionStatus, GapCause, SyncStatus, TradeStatus

_URGENT: Final = frozenset({Urgency.NOW, Urgency.PENDING})
"""What was read before in vain is asked for again once an hour, and an hour's first answer is always taken in."""


def is_new_hour(last: datetime | None, now: datetime) -> bool:
    """Whether an hour of desk time has begun since."""
    return last is None or last.replace(minute=0, second=0, microsecond=0) != now.replace(minute=0, second=0, microsecond=0)


def _digest(heard: Answers) -> bytes | None:
    """Of an answer that came whole and in one piece."""
    read = heard.history
    if heard.failures or heard.info is None or heard.positions is None or read is None or heard.chunks or heard.lives:
        return None
    if not read.reading.is_whole or read.reading.is_resumed or read.was_kept:
        return None
    rows = content(read.deals, read.paired) if read.told is None else read.told.content
    return state_digest(heard.info, heard.positions, rows)


def row(heard: Answers, terms: Terms, now: datetime, *, ms: int, is_clocked: bool) -> Unchanged | None:
    """What is noted of an account that did not change; None: it did, or something waits."""
    claimed, account, state = heard.claimed, heard.claimed.account, heard.claimed.state
    digest = _digest(heard)
    is_quiet = (
        digest is not None
        and digest == state.state_digest
        and is_clocked
        and account.sync_failure_count == 0
        and account.connection_status is ConnectionStatus.CONNECTED
        and windows.backfill_state(state, account.backfill_target) in (BackfillState.DONE, BackfillState.BLOCKED)
        and state.cash_state in (CashState.OK, CashState.UNAVAILABLE)
        and not (state.has_open_positions and is_new_hour(account.last_successful_sync_at, now))
    )
    if not is_quiet or heard.history is None:
        return None
    check = CashCheck(result=CashResult.OK if state.cash_state is CashState.OK else CashResult.UNAVAILABLE)
    until = history.watermark(state, history.Proof(reading=heard.history.reading, check=check), now)
    outcome = Outcome(
        log_id=log_id(terms.run_id, account.account_id),
        sync_type=terms.sync_type,
        started_at=heard.started_at,
        completed_at=now,
        status=SyncStatus.SUCCESS,
        duration_ms=ms,
        attempts=bookkeeping.attempts_of(heard),
        steps=bookkeeping.steps_of(heard, until),
        is_logged=terms.active_accounts <= terms.limits.log_unchanged_max_accounts,
    )
    return Unchanged(
        account_id=claimed.account_id,
        lease_token=claimed.lease_token,
        next_due_at=bookkeeping.due_after_success(account.account_id, state, terms),
        outcome=outcome,
        history_until_msc=until,
    )


def digest(loaded: Loaded, settled: Settled, heard: Answers) -> bytes | None:
    """What is kept of an answer; None: something waits, the next one is to be taken in whatever it says."""
    if heard.is_kept:
        return None
    plain = replace(heard, lives={})
    left = {(row.position_id, row.episode): row for row in (*loaded.trades, *settled.trades)}
    for key in settled.removed:
        left.pop(key, None)
    waits = (
        any(gap.cause is not GapCause.FLOOR for gap in open_gaps(loaded, settled))
        or settled.proven.missed
        or (settled.proven.missed is None and loaded.missed)
        or settled.state.backfill_state not in (BackfillState.DONE, BackfillState.BLOCKED)
        or any(one.status is TradeStatus.CLOSE_PENDING for one in left.values())
        or any(one.agrees is False or (one.reading in _URGENT and not heard.is_paired) for one in settled.derived)
        or settled.needs.symbols
        or standing(loaded.account, heard.info, {}).has_changed
    )
    return None if waits else _digest(plain)
