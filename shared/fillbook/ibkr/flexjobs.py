"""The two jobs of a Flex statement: ask for it, fetch it and take it in. Each says what is to be done next.

Between the two stands one row of ``flex_requests``; a row that has no reference yet is sent by whichever of the two jobs works
it. Codes of the service are a table (``flexrules.py``); pacing, pauses and a disabled token are shared by all instances under
the row lock of ``flex_tokens``. No call is made while a transaction is open. Source: ibkr.md 8.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from fillbook.ibkr.model import SyncMetrics
from fillbook.ibkr.sources import FlexService
from fillbook.runtime.db import Database
from fillbook.values import frozen


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
    raise NotImplementedError


def fetch_statement(db: Database, service: FlexService, request_id: str, *, job_id: str, now: datetime) -> Step:
    """Work a ``flex.fetch`` job: fetch the statement (or first send a request that is still to be sent) and take it in.

    ``accounts.configure_accounts`` comes before it. A request that was fetched before is DONE without a call. Raises
    ``Unavailable`` for what the contract does not know, broken documents included (an attempt is used, nothing is written of
    them), and ``Rejected('flex_request_unknown')``; a document that a changed query must cure is FAILED.
    """
    raise NotImplementedError
