"""What an answer makes of the rows that were sent. Pure: the table of section 8, one place for every verdict.

It says whether a try was used, whether a copy may stand in the channel, and when the next step is due. A message is
never sent again blindly more than once in its life, and a row that was only carried along (another embed of an edited
digest) goes back to where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from fillbook.notify.answers import Judgement, Verdict
from fillbook.notify.model import Operation, Request, Row, State, Suspect
from fillbook.notify.pacing import EXPIRES_AFTER, LOOK_AFTER, OUT_OF_ORDER, RESEND_AFTER, RESENT, next_try
from fillbook.notify.wishes import FOR_A_PERSON
from fillbook.values import frozen

SUSPECTS_MAX = 8
EXHAUSTED = "exhausted"
EXPIRED = "expired"
UNSEEN = "unseen"
"""The posted hash of a message whose id is known but not its content: it is edited to what is wanted."""


@frozen
class Sending:
    """One request and the rows it carries, as they were when it was claimed (before they became ``sending``)."""

    request: Request
    rows: tuple[Row, ...]
    claimed_at: datetime
    webhook_id: str | None = None


@frozen
class Moment:
    """When the answer was there, one throw of the dice (0..1000) for jitter, and whether messages can be listed."""

    now: datetime
    dice: int
    can_look: bool


@frozen
class _Case:
    sending: Sending
    judgement: Judgement
    moment: Moment
    index: int


def settle_rows(sending: Sending, judgement: Judgement, moment: Moment) -> tuple[Row, ...]:
    """Return the rows as they are after ``judgement`` of a create or an edit."""
    table = _CREATE if sending.request.operation is Operation.CREATE else _EDIT
    handle = table[judgement.verdict]
    return tuple(
        handle(row, _Case(sending=sending, judgement=judgement, moment=moment, index=index))
        for index, row in enumerate(sending.rows)
    )


# --- decisions without a request --------------------------------------------------------------------------------------


def noted(row: Row, *notes: str) -> Row:
    """Add footer notes, each once and in one order."""
    wanted = {*row.notes, *notes}
    return replace(row, notes=tuple(note for note in (RESENT, OUT_OF_ORDER) if note in wanted))


def dead(row: Row, reason: str) -> Row:
    """Return ``row`` as a dead letter: nobody tries again before a person or a newer version does."""
    return replace(
        row, state=State.DEAD, dead_reason=reason, deaths=row.deaths + 1, next_attempt_at=None, is_created_unknown=False
    )


def is_expired(row: Row, now: datetime) -> bool:
    """Whether a row that only ever met rate limits and pauses has waited too long."""
    return row.attempts == 0 and row.pending_since is not None and now - row.pending_since > EXPIRES_AFTER


def abandoned(row: Row, moment: Moment) -> Row:
    """Return a row whose drainer is gone: an unanswered create is open, an edit is simply tried again."""
    if row.is_create:
        return _open(row, row.claimed_at or moment.now, moment)
    if row.posted_hash == row.wanted_hash:
        return replace(row, state=State.POSTED)
    return _failed(row, moment)


def resend(row: Row, now: datetime) -> Row:
    """Return an unanswered create without read token: once more, said so, and then a person decides."""
    if row.blind_resends:
        return dead(row, FOR_A_PERSON)
    return replace(noted(row, RESENT), state=State.PENDING, blind_resends=1, next_attempt_at=now)


def adopted(row: Row, message_id: str, embed_index: int, webhook_id: str | None, posted_hash: str, now: datetime) -> Row:
    """Return a row whose message was found; what stands there differs from the wish when ``posted_hash`` does."""
    others = row.suspects if len(row.suspects) > 1 else ()
    found = replace(
        _at_rest(row),
        message_id=message_id,
        embed_index=embed_index,
        webhook_id=webhook_id,
        posted_version=row.wanted_version if posted_hash == row.wanted_hash else None,
        posted_hash=posted_hash,
        posted_at=now,
        suspects=others,
        maybe_created=bool(others),
    )
    if posted_hash == row.wanted_hash:
        return replace(found, state=State.POSTED)
    return replace(found, state=State.PENDING, next_attempt_at=now, pending_since=now)


def not_found(row: Row, moment: Moment) -> Row:
    """Return a row that was looked for in vain. One that Discord accepted for sure is never sent again: it stays open."""
    if row.state is State.PENDING:
        return replace(row, looked_at=moment.now)
    at = next_try(max(row.attempts, 1), moment.now, moment.dice)
    if row.is_created_unknown:
        return replace(row, attempts=row.attempts + 1, next_attempt_at=at)
    if at is None:
        return dead(row, EXHAUSTED)
    return replace(row, state=State.PENDING, next_attempt_at=at, pending_since=row.pending_since or moment.now, looked_at=None)


def not_looked(row: Row, moment: Moment) -> Row:
    """Return a row whose search failed: a try of the ladder is used, so that it ends somewhere."""
    at = next_try(row.attempts + 1, moment.now, moment.dice)
    if at is None and not row.is_created_unknown:
        return dead(row, EXHAUSTED)
    return replace(row, attempts=row.attempts + 1, next_attempt_at=at)


# --- one row after one answer -----------------------------------------------------------------------------------------


def _at_rest(row: Row) -> Row:
    return replace(
        row,
        attempts=0,
        next_attempt_at=None,
        pending_since=None,
        first_failed_at=None,
        is_solo=False,
        is_created_unknown=False,
        looked_at=None,
        dead_reason=None,
    )


def _posted(row: Row, case: _Case) -> Row:
    is_new = row.is_create
    return replace(
        _at_rest(row),
        state=State.POSTED,
        message_id=case.judgement.message_id,
        embed_index=case.index,
        webhook_id=case.sending.webhook_id,
        posted_version=row.wanted_version,
        posted_hash=row.wanted_hash,
        posted_at=case.moment.now if is_new else row.posted_at,
    )


def _back(row: Row, case: _Case) -> Row:
    if row.state is not State.PENDING:
        return row
    return replace(row, next_attempt_at=case.moment.now)


def _failed(row: Row, moment: Moment) -> Row:
    failures = row.attempts + 1
    at = next_try(failures, moment.now, moment.dice)
    tried = replace(
        row, state=State.PENDING, attempts=failures, first_failed_at=row.first_failed_at or moment.now, looked_at=None
    )
    return dead(tried, EXHAUSTED) if at is None else replace(tried, next_attempt_at=at)


def _open(row: Row, claimed_at: datetime, moment: Moment) -> Row:
    tried = replace(
        _suspected(row, claimed_at, moment),
        state=State.AMBIGUOUS,
        attempts=row.attempts + 1,
        first_failed_at=row.first_failed_at or moment.now,
        looked_at=None,
    )
    if not moment.can_look and row.blind_resends:
        return dead(tried, FOR_A_PERSON)
    return replace(tried, next_attempt_at=claimed_at + (LOOK_AFTER if moment.can_look else RESEND_AFTER))


def _suspected(row: Row, claimed_at: datetime, moment: Moment) -> Row:
    suspect = Suspect(since=claimed_at, until=moment.now)
    return replace(row, maybe_created=True, suspects=(*row.suspects, suspect)[-SUSPECTS_MAX:])


def _unknown_id(row: Row, case: _Case) -> Row:
    tried = replace(_open(replace(row, blind_resends=0), case.sending.claimed_at, case.moment), blind_resends=row.blind_resends)
    return replace(tried, is_created_unknown=True, next_attempt_at=case.sending.claimed_at + LOOK_AFTER)


def _no_answer(row: Row, case: _Case) -> Row:
    return _open(row, case.sending.claimed_at, case.moment)


def _failed_create(row: Row, case: _Case) -> Row:
    return _failed(_suspected(row, case.sending.claimed_at, case.moment), case.moment)


def _not_sent(row: Row, case: _Case) -> Row:
    return _failed(row, case.moment)


def _rejected_create(row: Row, case: _Case) -> Row:
    if len(case.sending.rows) > 1:
        return replace(row, is_solo=True, next_attempt_at=case.moment.now)
    return dead(row, case.judgement.reason)


def _retried_edit(row: Row, case: _Case) -> Row:
    return _failed(row, case.moment) if row.state is State.PENDING else row


def _rejected_edit(row: Row, case: _Case) -> Row:
    return dead(row, case.judgement.reason) if row.state is State.PENDING else row


def _gone(row: Row, case: _Case) -> Row:
    cleared = replace(
        row, message_id=None, embed_index=None, posted_version=None, posted_hash=None, suspects=(), maybe_created=False
    )
    return replace(
        cleared, state=State.PENDING, next_attempt_at=case.moment.now, pending_since=row.pending_since or case.moment.now,
        dead_reason=None,
    )  # fmt: skip


_Handler = Callable[[Row, _Case], Row]

_CREATE: Mapping[Verdict, _Handler] = {
    Verdict.DONE: _posted,
    Verdict.CREATED_UNKNOWN: _unknown_id,
    Verdict.RATE_LIMITED: _back,
    Verdict.OLD_EDITS_LIMITED: _back,
    Verdict.BANNED: _back,
    Verdict.FAILED: _failed_create,
    Verdict.NOT_SENT: _not_sent,
    Verdict.NO_ANSWER: _no_answer,
    Verdict.REJECTED: _rejected_create,
    Verdict.CHANNEL_GONE: _back,
    Verdict.MESSAGE_GONE: _failed_create,
    Verdict.ASK_WEBHOOK: _failed_create,
}
_EDIT: Mapping[Verdict, _Handler] = {
    Verdict.DONE: _posted,
    Verdict.CREATED_UNKNOWN: _retried_edit,
    Verdict.RATE_LIMITED: _back,
    Verdict.OLD_EDITS_LIMITED: _back,
    Verdict.BANNED: _back,
    Verdict.FAILED: _retried_edit,
    Verdict.NOT_SENT: _retried_edit,
    Verdict.NO_ANSWER: _retried_edit,
    Verdict.REJECTED: _rejected_edit,
    Verdict.CHANNEL_GONE: _back,
    Verdict.MESSAGE_GONE: _gone,
    Verdict.ASK_WEBHOOK: _retried_edit,
}
