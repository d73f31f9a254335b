"""The two jobs of a Flex statement: ask for it, fetch it and take it in. Each says what is to be done next.

Between the two stands one row of ``flex_requests``; a row that has no reference yet is sent by whichever of the two jobs works
it. Codes of the service are a table (``flexrules.py``); pacing, pauses and a disabled token are shared by all instances under
the row lock of ``flex_tokens``. No call is made while a transaction is open. Source: ibkr.md 8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

from fillbook.ibkr import flexrules, flexstore, ids
from fillbook.ibkr.flexrules import Class
from fillbook.ibkr.flexstore import Request, Slot
from fillbook.ibkr.model import SyncMetrics
from fillbook.ibkr.runs import import_statement_once
from fillbook.ibkr.sources import FlexAnswer, FlexBody, FlexService, StatementDocument
from fillbook.runtime import clock
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.values import frozen

BROKEN: Final = frozenset(
    {
        "flex_too_large",
        "flex_not_xml",
        "flex_doctype",
        "flex_not_statement",
        "flex_truncated",
        "flex_statement_incomplete",
    }
)
"""Reasons of documents that may be whole the next time; another refusal needs another query."""
OnTaken = Callable[[StatementDocument, SyncMetrics], None]


@frozen
class StatementAsk:
    """A statement to be asked for: the days are inclusive, 1 to 365 of them."""

    query_id: str
    from_date: date
    to_date: date


class Next(StrEnum):
    """What becomes of the job: succeeded, queued again without using an attempt, or failed for good."""

    DONE = "done"
    DEFER = "defer"
    FAILED = "failed"


@frozen
class FollowUp:
    """A ``flex.fetch`` job to be queued, payload ``{"request_id": request_id}``, not before ``not_before``."""

    request_id: str
    not_before: datetime


@frozen
class Step:
    """What a job came to.

    ``not_before``: DEFER, when to try again. ``error_class``: DEFER and FAILED, a slug. ``follow_ups``: jobs to be queued in the
    transaction that ends this one, whatever ``next_step`` is (a halved window leaves its second half to another request).
    ``trouble``: a slug to be announced now as ``sync_failed`` (locked out, token disabled); told by the one call that found
    out, also when the job is only deferred. ``metrics``: of the run that took the statement in; its ``partitions`` are relayed.
    """

    next_step: Next
    request_id: str
    not_before: datetime | None = None
    error_class: str | None = None
    follow_ups: tuple[FollowUp, ...] = ()
    trouble: str | None = None
    metrics: SyncMetrics | None = None


def request_statement(db: Database, service: FlexService, ask: StatementAsk, *, job_id: str, now: datetime) -> Step:
    """Work a ``flex.request`` job: send the request; DONE names the fetch to be queued 20 s later.

    The same ``job_id`` is the same request, so that a deferred or repeated job sends on where it was. Raises ``Unavailable``
    for what the contract does not know (an attempt is used) and ``Rejected('flex_days_invalid')`` for days out of range.
    """
    if not 1 <= (ask.to_date - ask.from_date).days + 1 <= flexrules.DAYS_MAX:
        raise Rejected("flex_days_invalid", field="to_date")
    made = Request(
        request_id=ids.flex_request_id(job_id),
        token_name=service.token_name,
        query_id=ask.query_id,
        from_date=ask.from_date,
        to_date=ask.to_date,
        state="new",
        not_before=now,
    )
    flexstore.make_requests(db, (made,), service.fingerprint, now)
    request = flexstore.read(db, made.request_id) or made
    if request.state == "new":
        return _send(db, service, request, now)
    if request.state == "failed":
        return Step(next_step=Next.FAILED, request_id=request.request_id, error_class="flex_request_failed")
    follow_ups = (_fetch_of(request),) if request.state == "requested" else ()
    return Step(next_step=Next.DONE, request_id=request.request_id, follow_ups=follow_ups)


def fetch_statement(
    db: Database,
    service: FlexService,
    request_id: str,
    *,
    job_id: str | None,
    now: datetime,
    on_taken: OnTaken | None = None,
) -> Step:
    """Work a ``flex.fetch`` job: fetch the statement (or first send a request that is still to be sent) and take it in.

    ``accounts.configure_accounts`` comes before it. A request that was fetched before is DONE without a call. ``on_taken`` may
    read on in the document (its positions) before it is removed; what it raises leaves the request to be fetched again. Raises
    ``Unavailable`` for what the contract does not know, broken documents included (an attempt is used, nothing is written of
    them), and ``Rejected('flex_request_unknown')``; a document that a changed query must cure is FAILED.
    """
    request = flexstore.read(db, request_id)
    if request is None:
        raise Rejected("flex_request_unknown", field="request_id")
    if request.state == "fetched":
        return Step(next_step=Next.DONE, request_id=request_id)
    if request.state == "failed":
        return Step(next_step=Next.FAILED, request_id=request_id, error_class="flex_request_failed")
    if request.not_before > now:
        return Step(next_step=Next.DEFER, request_id=request_id, not_before=request.not_before, error_class="flex_not_ready")
    if request.state == "new" or request.reference_code is None or request.statement_url is None:
        sent = _send(db, service, request, now)
        own = [one for one in sent.follow_ups if one.request_id == request_id]
        return replace(sent, next_step=Next.DEFER, not_before=own[0].not_before, follow_ups=()) if own else sent
    slot = flexstore.take_slot(db, service.token_name, service.fingerprint, now)
    if slot.reason:
        return _kept_waiting(db, request, slot, now)
    started = timedelta(seconds=clock.monotonic())
    answer = service.fetch(request.statement_url, request.reference_code)
    after = _later(now, started)
    if answer.document is None:
        return _refused(db, service, request, answer, after)
    return _take_in(db, request, answer.document, job_id=job_id, now=after, on_taken=on_taken)


def _send(db: Database, service: FlexService, request: Request, now: datetime) -> Step:
    slot = flexstore.take_slot(db, service.token_name, service.fingerprint, now)
    if slot.reason:
        return _kept_waiting(db, request, slot, now)
    started = timedelta(seconds=clock.monotonic())
    answer = service.send(request.query_id, request.from_date, request.to_date)
    after = _later(now, started)
    if answer.reference_code is None:
        return _refused(db, service, request, answer, after)
    sent = replace(
        request,
        state="requested",
        reference_code=answer.reference_code,
        statement_url=answer.statement_url,
        not_before=after + flexrules.FETCH_AFTER,
        error_body=None,
    )
    flexstore.write(db, sent, after)
    return Step(next_step=Next.DONE, request_id=request.request_id, follow_ups=(_fetch_of(sent),))


def _fetch_of(request: Request) -> FollowUp:
    return FollowUp(request_id=request.request_id, not_before=request.not_before)


def _later(now: datetime, started: timedelta) -> datetime:
    """``now`` after a call: pauses begin when the answer came."""
    return now + timedelta(seconds=clock.monotonic()) - started


def _kept_waiting(db: Database, request: Request, slot: Slot, now: datetime) -> Step:
    if slot.is_disabled:
        return _failed(db, request, slot.reason, now)
    return Step(next_step=Next.DEFER, request_id=request.request_id, not_before=slot.wait_until, error_class=slot.reason)


def _failed(db: Database, request: Request, error_class: str, now: datetime) -> Step:
    flexstore.write(db, replace(request, state="failed"), now)
    return Step(next_step=Next.FAILED, request_id=request.request_id, error_class=error_class)


# --- what the service said instead ------------------------------------------------------------------------------------


def _refused(db: Database, service: FlexService, request: Request, answer: FlexAnswer, now: datetime) -> Step:
    code, kind = answer.error_code, flexrules.class_of(answer.error_code)
    if code is None or kind is Class.UNKNOWN:
        text = flexrules.clipped(answer.error_text)
        flexstore.write(db, replace(request, error_code=_code(request, code), error_body=text), now)
        raise Unavailable(answer.failure or "flex_code_unknown", "" if code is None else f"code {code}")
    told = replace(
        request,
        error_code=_code(request, code),
        error_body=flexrules.noted(request.error_body, code, answer.error_text),
    )
    if kind is Class.NOT_READY:
        return _not_ready(db, service, told, code, now)
    if kind is Class.REQUEST_WRONG:
        return _wrong(db, request, told, code, now)
    is_news = flexstore.punish(db, service.token_name, service.fingerprint, kind, code, now)
    if kind is Class.TOKEN_UNUSABLE:
        return _failed(db, told, "flex_token_disabled", now)
    is_locked_out = kind is Class.LOCKED_OUT
    until = now + (flexrules.PAUSE_LOCKED_OUT if is_locked_out else flexrules.PAUSE_TOO_MANY)
    flexstore.write(db, replace(told, not_before=until), now)
    return Step(
        next_step=Next.DEFER,
        request_id=request.request_id,
        not_before=until,
        error_class="flex_locked_out" if is_locked_out else "flex_too_many_requests",
        trouble="flex_locked_out" if is_locked_out and is_news else None,
    )


def _code(request: Request, code: int | None) -> int | None:
    """The code to be noted: a reference that was invalid once stays noted, so that it is asked for anew only once."""
    return flexrules.REFERENCE_INVALID if request.error_code == flexrules.REFERENCE_INVALID else code


def _wrong(db: Database, request: Request, told: Request, code: int, now: datetime) -> Step:
    is_second = request.error_code == flexrules.REFERENCE_INVALID
    if code != flexrules.REFERENCE_INVALID or request.reference_code is None or is_second:
        return _failed(db, told, "flex_request_refused", now)
    anew = replace(told, state="new", reference_code=None, statement_url=None, not_before=now + flexrules.CALL_GAP)
    flexstore.write(db, anew, now)
    return Step(
        next_step=Next.DEFER, request_id=request.request_id, not_before=anew.not_before, error_class="flex_reference_invalid"
    )


def _not_ready(db: Database, service: FlexService, told: Request, code: int, now: datetime) -> Step:
    deferrals = told.deferrals + 1
    if deferrals > flexrules.DEFERRALS_MAX:
        return _failed(db, told, "flex_never_ready", now)
    at = now + timedelta(seconds=flexrules.defer_seconds(deferrals))
    later = replace(told, deferrals=deferrals, not_before=at)
    step = Step(next_step=Next.DEFER, request_id=told.request_id, not_before=at, error_class="flex_not_ready")
    is_third = code == flexrules.TOO_LARGE and flexrules.streak(told.error_body, code) >= flexrules.TOO_LARGE_STREAK
    half = flexrules.halves(told.from_date, told.to_date) if is_third else None
    if half is None:
        flexstore.write(db, later, now)
        return step
    first = replace(
        later, to_date=half.to_date, state="new", reference_code=None, statement_url=None, error_code=None, error_body=None
    )
    rest = replace(
        first,
        request_id=ids.flex_request_id(told.request_id, half.rest[0].isoformat()),
        from_date=half.rest[0],
        to_date=half.rest[1],
        deferrals=0,
    )
    flexstore.split(db, first, rest, service.fingerprint, now)
    return replace(step, follow_ups=(_fetch_of(rest),))


def _take_in(
    db: Database, request: Request, document: FlexBody, *, job_id: str | None, now: datetime, on_taken: OnTaken | None
) -> Step:
    try:
        head = document.check()
        metrics = import_statement_once(db, document, request_id=request.request_id, now=now, job_id=job_id)
        if on_taken is not None:
            on_taken(document, metrics)
    except Rejected as error:
        is_broken = error.reason in BROKEN
        # of a document that only lacks columns its text would be a page of trades: the reason says it all
        text = flexrules.clipped(document.head) if is_broken else flexrules.clipped(f"{error.reason}: {error.detail}")
        noted = replace(request, error_body=text)
        if not is_broken:
            return _failed(db, noted, error.reason, now)
        flexstore.write(db, noted, now)
        raise Unavailable(error.reason, error.detail) from error
    finally:
        document.close()
    flexstore.note_taken(db, request.request_id, sha256=head.sha256, byte_count=head.byte_count, run_id=metrics.run_id, now=now)
    return Step(next_step=Next.DONE, request_id=request.request_id, metrics=metrics)
