"""From one event and what is stored to what must be stored: pure, so that order, duplicates and overtaking are provable.

Only a newer version replaces what a subject wants to say; a stale event changes nothing. A correction that overtakes the
first send leaves one message with the final values. An action that takes the place of another inherits its message, so
the message is edited and not doubled. A row that is being sent keeps its transport: the record notices the newer wish.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from datetime import datetime, timedelta
from typing import Any

from fillbook.instants import instant_of
from fillbook.notify import ops
from fillbook.notify.envelope import Envelope
from fillbook.notify.execution import Execution, Telling, from_event
from fillbook.notify.facts import pick
from fillbook.notify.fit import TooLarge
from fillbook.notify.lane import lane_subject, render_lane
from fillbook.notify.model import Channel, Row, State, SubjectKind
from fillbook.notify.pacing import priority_of
from fillbook.notify.render import Style, render_execution, render_unfitted
from fillbook.notify.routing import RESTATED_TYPE, Settings, channel_of, is_told
from fillbook.notify.wishes import (
    IN_FLIGHT,
    TOO_LARGE,
    UNTOLD,
    at_rest,
    execution_key,
    merge,
    standalone,
    take_over,
)
from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

BACKFILL_QUIET = timedelta(seconds=60)

RANGE_NAMES = (("first_executed_at", "first_at", "first"), ("last_executed_at", "last_at", "last"))

Key = tuple[str, str]


@frozen
class Question:
    """What must be read and locked before an event can be judged: exact rows and prefixes of subjects."""

    keys: tuple[Key, ...] = ()
    prefixes: tuple[Key, ...] = ()


@frozen
class Verify:
    """A range of a book whose messages have to be proven again."""

    book_id: str
    first_at: datetime
    last_at: datetime


@frozen
class Intake:
    """What to store: rows as they become, how the event was taken, a range to prove, rows that died on arrival."""

    channel_id: str
    subject_key: str
    version: int
    outcome: str
    rows: tuple[Row, ...] = ()
    verify: Verify | None = None
    dead: tuple[Row, ...] = field(default=())


Stored = Mapping[Key, Row]


def question(event: Envelope, now: datetime) -> Question:
    """Return what to read for ``event``; raises ``Rejected`` for what can never be told."""
    channel = channel_of(event)
    if channel is Channel.EXECUTIONS:
        execution = from_event(Telling(event.event_type), event.book_id, event.data)
        keys = [(Channel.EXECUTIONS.value, execution_key(execution.book_id, execution.action_id))]
        if execution.replaces_action_id is not None:
            keys.append((Channel.EXECUTIONS.value, execution_key(execution.book_id, execution.replaces_action_id)))
        if execution.origin == "history":
            keys.append((Channel.OPS.value, backfill_key(execution.book_id, now)))
        return Question(keys=tuple(keys))
    if channel is Channel.LANES:
        return Question(keys=((Channel.LANES.value, lane_subject(event)),))
    if channel is Channel.OPS:
        rule = ops.OPS_RULES[event.event_type]
        related = rule.settled_by(event) if rule.settled_by else ()
        resolved = rule.resolves(event) if rule.resolves else ()
        return Question(
            keys=tuple((Channel.OPS.value, key) for key in (rule.subject(event), *related)),
            prefixes=tuple((Channel.OPS.value, prefix) for prefix in resolved),
        )
    return Question()


def backfill_key(book_id: str, now: datetime) -> str:
    """Return the subject of a book's line about suppressed history in the hour of ``now``."""
    return f"backfill/{book_id}/{now.strftime('%Y%m%dT%HZ')}"


def decide(event: Envelope, stored: Stored, settings: Settings, now: datetime) -> Intake:
    """Judge ``event`` against the rows ``question`` asked for; nothing is sent and nothing is written here."""
    channel = channel_of(event)
    if channel is Channel.EXECUTIONS:
        return _execution(event, stored, settings, now)
    if channel is Channel.LANES:
        return _lane(event, stored, settings, now)
    if channel is Channel.OPS:
        return _ops(event, stored, now)
    return _restated(event)


# --- executions -------------------------------------------------------------------------------------------------------


def _execution(event: Envelope, stored: Stored, settings: Settings, now: datetime) -> Intake:
    execution = from_event(Telling(event.event_type), event.book_id, event.data)
    key = execution_key(execution.book_id, execution.action_id)
    existing = stored.get((Channel.EXECUTIONS.value, key))
    old = _replaced(execution, stored)
    made = Intake(channel_id=Channel.EXECUTIONS.value, subject_key=key, version=execution.version, outcome="stale")
    if existing is not None and not _is_newer(existing, execution.version, event.aggregate_version):
        return made
    wish = _wish(event, execution, settings, now)
    base, tombstones = existing, []
    if execution.replaces_action_id is not None:
        inherited, tombstone = take_over(wish, existing, old, event.aggregate_version)
        base, tombstones = inherited, [tombstone]
    silence = _silence(execution, base, settings)
    row = merge(base, wish, now, silence)
    rows = [row, *tombstones]
    if silence is State.SUPPRESSED:
        rows.append(_backfill(execution, stored, now))
    is_dead_on_arrival = row.dead_reason == TOO_LARGE and row.state is State.DEAD
    outcome = {State.SUPPRESSED: "suppressed", State.MUTED: "muted"}.get(row.state) or (
        "created" if existing is None and old is None else "updated"
    )
    return replace(made, outcome=outcome, rows=tuple(rows), dead=(row,) if is_dead_on_arrival else ())


def _is_newer(existing: Row, version: int, sequence: int) -> bool:
    if existing.replaced_by is not None:
        return sequence > existing.wanted_seq
    return version > existing.wanted_version


def _replaced(execution: Execution, stored: Stored) -> Row | None:
    if execution.replaces_action_id is None:
        return None
    return stored.get((Channel.EXECUTIONS.value, execution_key(execution.book_id, execution.replaces_action_id)))


def _wish(event: Envelope, execution: Execution, settings: Settings, now: datetime) -> Row:
    """Return the row as it would be if nothing stood in the channel yet."""
    style = Style(zone=settings.zone)
    dead_reason, state = None, State.PENDING
    try:
        embed = render_execution(execution, style)
    except TooLarge:
        embed, dead_reason, state = render_unfitted(execution, style), TOO_LARGE, State.DEAD
    return Row(
        channel_id=Channel.EXECUTIONS.value,
        subject_key=execution_key(execution.book_id, execution.action_id),
        subject_kind=SubjectKind.EXECUTION,
        group_key=str(execution.position_id),
        priority=priority_of(execution.action_type),
        order_at=execution.executed_at,
        order_seq=event.aggregate_version,
        wanted_version=execution.version,
        wanted_seq=event.aggregate_version,
        wanted=embed,
        wanted_hash=embed.content_hash(),
        created_at=now,
        book_id=execution.book_id,
        action_id=execution.action_id,
        position_id=execution.position_id,
        state=state,
        dead_reason=dead_reason,
        deaths=1 if dead_reason else 0,
        next_attempt_at=now,
        pending_since=now,
        replaces_action_id=execution.replaces_action_id,
    )


def _silence(execution: Execution, base: Row | None, settings: Settings) -> State | None:
    """Return the state of an execution that is not told. What was posted, or is on its way, is always corrected."""
    if base is not None and (base.message_id is not None or base.state not in UNTOLD):
        return None
    if not is_told(execution.book_id, settings.books):
        return State.MUTED
    return State.SUPPRESSED if execution.origin == "history" else None


def _backfill(execution: Execution, stored: Stored, now: datetime) -> Row:
    key = backfill_key(execution.book_id, now)
    existing = stored.get((Channel.OPS.value, key))
    memory = ops.backfill(existing.memory if existing else None, execution.book_id, execution.executed_at, now)
    row = _ops_row(key, memory, existing, now)
    if row.state is not State.PENDING or row.attempts:
        return row
    hour_end = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    return replace(row, next_attempt_at=min(hour_end, now + BACKFILL_QUIET))


# --- operations and lanes ---------------------------------------------------------------------------------------------


def _ops(event: Envelope, stored: Stored, now: datetime) -> Intake:
    rule = ops.OPS_RULES[event.event_type]
    key = rule.subject(event)
    existing = stored.get((Channel.OPS.value, key))
    memory = ops.fold(existing.memory if existing else None, rule, event, now)
    for related in rule.settled_by(event) if rule.settled_by else ():
        settled = stored.get((Channel.OPS.value, related))
        if settled is not None and settled.memory is not None:
            memory = ops.settle(memory, settled.memory)
    resolved = [
        _ops_row(row.subject_key, ops.resolve(row.memory or {}, event.occurred_at), row, now)
        for row in _open_rows(stored, rule, event, key)
    ]
    own = _posted_anew(key, memory, existing, now) if ops.is_repost_due(memory, now) else _ops_row(key, memory, existing, now)
    if resolved and rule.resolves_silently and existing is None:
        own = replace(own, state=State.SUPPRESSED, next_attempt_at=None)
    return Intake(
        channel_id=Channel.OPS.value,
        subject_key=key,
        version=own.wanted_version,
        outcome="suppressed" if own.state is State.SUPPRESSED else ("created" if existing is None else "updated"),
        rows=(own, *resolved),
    )


def _open_rows(stored: Stored, rule: ops.OpsRule, event: Envelope, own: str) -> list[Row]:
    prefixes = rule.resolves(event) if rule.resolves else ()
    return [
        row
        for (channel, key), row in sorted(stored.items())
        if channel == Channel.OPS.value
        and key != own
        and any(key.startswith(prefix) for prefix in prefixes)
        and row.memory is not None
        and row.memory.get("status") == ops.OPEN
    ]


def _posted_anew(key: str, memory: Mapping[str, Any], existing: Row | None, now: datetime) -> Row:
    row = _ops_row(key, ops.told_now(memory, now), existing, now)
    if row.state in IN_FLIGHT:
        return row
    return at_rest(replace(row, message_id=None, embed_index=None, posted_version=None, posted_hash=None), now)


def _ops_row(key: str, memory: Mapping[str, Any], existing: Row | None, now: datetime) -> Row:
    embed = ops.render_ops(key, memory)
    return standalone(Channel.OPS, SubjectKind.OPS, key, embed, existing, now, memory=memory)


def faded(row: Row, now: datetime) -> Row:
    """Return the row of a failing subject nobody has reported for a day."""
    return _ops_row(row.subject_key, ops.fade(row.memory or {}), row, now)


def _lane(event: Envelope, stored: Stored, settings: Settings, now: datetime) -> Intake:
    key = lane_subject(event)
    made = Intake(channel_id=Channel.LANES.value, subject_key=key, version=1, outcome="stale")
    if not settings.has_lanes:
        return replace(made, outcome="muted")
    if (Channel.LANES.value, key) in stored:
        return made
    embed = render_lane(event)
    row = standalone(
        Channel.LANES, SubjectKind.LANE, key, embed, None, now, book_id=event.book_id, sequence=event.aggregate_version
    )
    return replace(made, outcome="created", rows=(row,))


def _restated(event: Envelope) -> Intake:
    first, last = (pick(event.data, *names) for names in RANGE_NAMES)
    try:
        first_at, last_at = (instant_of(str(time)) for time in (first, last))
    except ValueError as error:
        raise Rejected("event_invalid", "the range is missing or has no zone", field="first_executed_at") from error
    if event.book_id is None:
        raise Rejected("event_invalid", "the book is missing", field="book_id")
    return Intake(
        channel_id=Channel.EXECUTIONS.value,
        subject_key=f"{RESTATED_TYPE}/{event.book_id}",
        version=event.aggregate_version,
        outcome="updated",
        verify=Verify(book_id=event.book_id, first_at=first_at, last_at=last_at),
    )
