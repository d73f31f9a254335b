"""How an account's run ended: status, counters, texts, when it is due again, and what people are to hear of it. Pure.

    3 of 3 steps -> success · 1 or 2 -> partial · none -> failed · a service that said it is degraded is no failure of the account

Source: mt5 specification, 2 (table of outcomes), 3.3 and 4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fillbook.calendar import is_fx_week
from fillbook.mt5.closing import Settled
from fillbook.mt5.duetimes import (
    ALARM_FAILURES,
    DICE_MAX,
    Activity,
    Logins,
    after_failure,
    after_success,
    counted_logins,
    is_told,
    needs_reauth,
)
from fillbook.mt5.faults import TEXTS
from fillbook.mt5.heard import Answers, Read
from fillbook.mt5.ids import log_id
from fillbook.mt5.model import Account, AccountState, StepFailure
from fillbook.mt5.records import NEVER, AccountUpdate, Gap, Outcome
from fillbook.mt5.terms import Terms
from fillbook.mt5.words import ERROR_TEXT_MAX, Code, ConnectionStatus, Step, SyncStatus
from fillbook.outbox.model import Event, event_id
from fillbook.values import frozen

_FETCHING: Final[Mapping[Step, str]] = {
    Step.INFO: "Failed to fetch account info",
    Step.POSITIONS: "Failed to fetch positions",
    Step.HISTORY: "Failed to fetch history",
}
_CONTRACT: Final = frozenset({Code.CONTRACT_ERROR, Code.INCOMPLETE, Code.PAGE_DRIFT})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@frozen
class Ended:
    """The end of an account's run as rows. ``failures``: what breakers may learn from; ``state`` with due time and logins."""

    status: SyncStatus
    outcome: Outcome
    update: AccountUpdate
    state: AccountState
    failures: tuple[StepFailure, ...]
    events: tuple[Event, ...]


def ended(account: Account, state: AccountState, heard: Answers, terms: Terms, now: datetime, *, ms: int) -> Ended:
    """The end of a run. ``state``: as history and trades leave it; ``ms``: how long it took."""
    failures = tuple(heard.failures[step] for step in Step if step in heard.failures)
    status = _status(heard)
    is_degraded = all(failure.code is Code.SERVICE_DEGRADED for failure in failures) and heard.crash is None
    count = 0 if status is SyncStatus.SUCCESS else account.sync_failure_count + (not is_degraded)
    logins = counted_logins(
        Logins(failures=state.auth_failure_count, credentials_version=state.auth_credentials_version),
        account.credentials_version,
        has_answered=status in (SyncStatus.SUCCESS, SyncStatus.PARTIAL),
        codes=[failure.code for failure in failures],
    )
    is_barred = needs_reauth(logins, account.credentials_version, terms.limits.auth_failures_max)
    code = Code.INTERNAL if heard.crash is not None else failures[0].code if failures else None
    message = error_message(heard, failures)
    if is_barred:
        due = NEVER
    elif status is SyncStatus.SUCCESS or (is_degraded and failures):
        due = due_after_success(account.account_id, state, terms)
    else:
        due = after_failure(terms.slot, max(count, 1), dice(terms.run_id, account.account_id), terms.limits.backoff)
    connection = _connection(status, is_barred=is_barred)
    outcome = Outcome(
        log_id=log_id(terms.run_id, account.account_id),
        sync_type=terms.sync_type,
        started_at=heard.started_at,
        completed_at=now,
        status=status,
        duration_ms=ms,
        error_code=code,
        error_message=message,
        attempts=attempts_of(heard),
        steps=steps_of(heard, state.history_until_msc),
    )
    return Ended(
        status=status,
        outcome=outcome,
        update=_update(heard, now, status, count, code, message, connection),
        state=replace(
            state,
            next_due_at=due,
            auth_failure_count=logins.failures,
            auth_credentials_version=logins.credentials_version,
        ),
        failures=tuple(failure for failure in failures if failure.code is not Code.SERVICE_DEGRADED),
        events=_events(account, heard, terms, now, count=count, code=code, status=status, is_barred=is_barred),
    )


def _status(heard: Answers) -> SyncStatus:
    if heard.crash is not None or heard.is_mismatch:
        return SyncStatus.FAILED
    came = (heard.info is not None) + (heard.positions is not None) + heard.has_history
    return (SyncStatus.FAILED, SyncStatus.PARTIAL, SyncStatus.PARTIAL, SyncStatus.SUCCESS)[came]


def _connection(status: SyncStatus, *, is_barred: bool) -> ConnectionStatus:
    if is_barred:
        return ConnectionStatus.NEEDS_REAUTH
    if status is SyncStatus.SUCCESS:
        return ConnectionStatus.CONNECTED
    return ConnectionStatus.DEGRADED if status is SyncStatus.PARTIAL else ConnectionStatus.ERROR


def _update(
    heard: Answers,
    now: datetime,
    status: SyncStatus,
    count: int,
    code: Code | None,
    message: str | None,
    connection: ConnectionStatus,
) -> AccountUpdate:
    info = heard.info if heard.has_data else None
    return AccountUpdate(
        info=info,
        info_at=None if info is None else now,
        positions_at=now if heard.has_data and heard.positions is not None else None,
        last_sync_at=now,
        last_successful_sync_at=now if status is SyncStatus.SUCCESS else None,
        sync_failure_count=count,
        last_error_code=code,
        last_connection_error=message,
        connection_status=connection,
    )


def error_message(heard: Answers, failures: Iterable[StepFailure]) -> str | None:
    """Our own words for what failed, step by step; None when nothing did."""
    if heard.crash is not None:
        return TEXTS[Code.INTERNAL]
    text = "; ".join(f"{_FETCHING[failure.step]}: {failure.text}" for failure in failures)
    return text[:ERROR_TEXT_MAX] or None


def attempts_of(heard: Answers) -> int:
    """The most tries that any step needed."""
    tried = [note.attempts for note in heard.notes.values()] + [failure.attempts for failure in heard.failures.values()]
    return max(tried, default=1)


def steps_of(heard: Answers, until_msc: int | None = None) -> dict[str, Any]:
    """Outcome, code, milliseconds, attempts and rows of each step that was tried; of history also what was asked and covered.

    ``until_msc``: the watermark that the run leaves; None: it leaves the one before.
    """
    steps: dict[str, Any] = {}
    for step in Step:
        note, failure = heard.notes.get(step), heard.failures.get(step)
        if note is not None or failure is not None:
            steps[step.value] = {
                "outcome": "ok" if failure is None else "failed",
                "code": None if failure is None else failure.code.value,
                "ms": 0 if note is None else note.ms,
                "attempts": max(1 if note is None else note.attempts, 1 if failure is None else failure.attempts),
                "rows": 0 if note is None else note.rows,
            }
    if heard.history is not None and Step.HISTORY.value in steps:
        steps[Step.HISTORY.value] |= _spans(heard, heard.history, until_msc)
    return steps


def _spans(heard: Answers, read: Read, until_msc: int | None) -> dict[str, Any]:
    """What was read of history, in milliseconds on the server clock; ``covered_to_msc`` null: not whole, or no clock was told."""
    before = heard.claimed.state.history_until_msc
    return {
        "from_msc": read.window.from_msc,
        "to_msc": read.window.to_msc,
        "covered_to_msc": read.reading.proven_msc if heard.has_history else None,
        "past_from_msc": heard.chunks[-1].window.from_msc if heard.chunks else None,
        "until_before_msc": before,
        "until_msc": before if until_msc is None else until_msc,
    }


def due_after_success(account_id: str, state: AccountState, terms: Terms) -> datetime:
    """When an account that answered is due again."""
    return after_success(
        terms.slot,
        Activity(
            has_open_positions=state.has_open_positions,
            last_deal_at=state.last_deal_at,
            is_venue_closed=not is_fx_week(terms.slot),
        ),
        active_accounts=terms.active_accounts,
        adaptive_above=terms.limits.adaptive_above,
        cadence=terms.limits.cadence,
        shard=int(account_id[:4], 16),
    )


def dice(run_id: str, account_id: str) -> int:
    """0 to 1000, even over accounts, the same whenever the run is told again."""
    return int.from_bytes(hashlib.sha256(f"{run_id}{account_id}".encode()).digest()[:4]) % (DICE_MAX + 1)


# --- what people are to hear ------------------------------------------------------------------------------------------


def _events(
    account: Account,
    heard: Answers,
    terms: Terms,
    now: datetime,
    *,
    count: int,
    code: Code | None,
    status: SyncStatus,
    is_barred: bool,
) -> tuple[Event, ...]:
    """Trouble is told at the third failure in a row and at each doubling; contract errors also at the first, strangers always."""
    told: list[Event] = []
    error = {"error_class": "failed" if code is None else code.value, "failures": count}
    if status is SyncStatus.SUCCESS:
        if account.sync_failure_count >= ALARM_FAILURES:
            told.append(event(account, terms, now, "sync_recovered", "", {"failures": account.sync_failure_count}))
        return tuple(told)
    if count > account.sync_failure_count and is_told(count):
        told.append(event(account, terms, now, "sync_failed", "", error))
    if heard.is_mismatch:
        told.append(event(account, terms, now, "identity_mismatch_found", "", error))
    is_news = count == 1 or is_told(count)
    for failure in heard.failures.values():
        if failure.code in _CONTRACT and is_news:
            detail = {"error_class": failure.code.value, "step": failure.step.value, "error": failure.text}
            told.append(event(account, terms, now, "contract_error_found", failure.step.value, detail))
    if is_barred and account.connection_status is not ConnectionStatus.NEEDS_REAUTH:
        told.append(event(account, terms, now, "account_needs_reauth", "", error))
    return tuple(told)


def found(account: Account, settled: Settled, terms: Terms, now: datetime) -> tuple[Event, ...]:
    """What the answers themselves show: gaps that opened and closed, closes that do not come, deals of unknown kinds."""
    told = [_gap_event(account, terms, now, "history_gap_found", gap) for gap in settled.gaps_opened]
    told += [_gap_event(account, terms, now, "history_gap_closed", gap) for gap in settled.gaps_closed]
    for position_id in settled.stale:
        told.append(event(account, terms, now, "close_pending_stale", str(position_id), {"position_id": str(position_id)}))
    for deal in settled.odd:
        detail = {"error_class": "deal_type_unknown", "deal_ticket": str(deal.deal_ticket), "deal_type": deal.deal_type}
        told.append(event(account, terms, now, "contract_error_found", f"deal:{deal.deal_ticket}", detail))
    return tuple(told)


def _gap_event(account: Account, terms: Terms, now: datetime, kind: str, gap: Gap) -> Event:
    name = f"{gap.cause.value}:{gap.from_msc}:{int((gap.opened_at - _EPOCH) / timedelta(milliseconds=1))}"
    detail = {"gap_id": name, "cause": gap.cause.value, "from_msc": str(gap.from_msc), "to_msc": str(gap.to_msc)}
    return event(account, terms, now, kind, name, detail)


def event(account: Account, terms: Terms, now: datetime, kind: str, subject: str, data: Mapping[str, Any]) -> Event:
    """An event about an account, or with ``subject`` about something of it; once per run."""
    return Event(
        event_id=event_id(account.book_id, kind, f"{account.account_id}:{subject}:{terms.run_id}", 1),
        event_type=kind,
        book_id=account.book_id,
        aggregate_key=f"mt5/{account.account_id}/{subject}" if subject else f"mt5/{account.account_id}",
        aggregate_version=(now - _EPOCH) // timedelta(microseconds=1),
        occurred_at=now,
        recorded_at=now,
        data={
            "account": f"{account.server}:{account.login}",
            "account_id": account.account_id,
            "run_id": terms.run_id,
            **data,
        },
    )
