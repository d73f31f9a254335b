"""What becomes of a stored row when its subject wants to say something new. Pure.

A row at rest starts a fresh ladder; a row on its way keeps its transport, because the record of its request notices the
newer wish by the hash. An action that takes another's place continues the other's row, and leaves a stone behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from fillbook.notify import ops
from fillbook.notify.model import Channel, Embed, Priority, Row, State, SubjectKind

IN_FLIGHT = frozenset({State.SENDING, State.AMBIGUOUS})
UNTOLD = frozenset({State.SUPPRESSED, State.MUTED, State.REMOVED})
TOO_LARGE = "too_large"
FOR_A_PERSON = "ambiguous_twice"


def execution_key(book_id: str, action_id: UUID) -> str:
    """Return the subject of an execution."""
    return f"{book_id}/{action_id}"


def merge(base: Row | None, wish: Row, now: datetime, silence: State | None) -> Row:
    """Return ``base`` with the wish of ``wish``; its transport changes only when it was at rest."""
    if base is None:
        return wish if silence is None else replace(wish, state=silence, dead_reason=None, next_attempt_at=None)
    merged = replace(
        base,
        group_key=wish.group_key,
        priority=wish.priority,
        order_at=wish.order_at,
        wanted_version=wish.wanted_version,
        wanted_seq=wish.wanted_seq,
        wanted=wish.wanted,
        wanted_hash=wish.wanted_hash,
        position_id=wish.position_id,
        replaces_action_id=wish.replaces_action_id or base.replaces_action_id,
        memory=wish.memory,
        quiet_at=wish.quiet_at,
        replaced_by=None,
    )
    if silence is not None:
        return replace(merged, state=silence)
    if base.state in IN_FLIGHT or (base.state is State.DEAD and base.dead_reason == FOR_A_PERSON):
        return merged
    if wish.state is State.DEAD:
        return replace(merged, state=State.DEAD, dead_reason=wish.dead_reason, deaths=base.deaths + 1, next_attempt_at=None)
    if base.state is State.PENDING:
        return merged
    return at_rest(merged, now)


def at_rest(row: Row, now: datetime) -> Row:
    """Return a row that rests as pending again, with a fresh ladder, unless it already shows what it wants to."""
    if row.message_id is not None and row.posted_hash == row.wanted_hash:
        return replace(row, state=State.POSTED, posted_version=row.wanted_version, next_attempt_at=None)
    return replace(
        row,
        state=State.PENDING,
        attempts=0,
        next_attempt_at=now,
        pending_since=now,
        first_failed_at=None,
        dead_reason=None,
    )


def take_over(wish: Row, existing: Row | None, old: Row | None, sequence: int) -> tuple[Row | None, Row]:
    """Return the row the new action continues (the old one's message and transport) and the stone left for the old."""
    old_key = execution_key(wish.book_id or "", wish.replaces_action_id) if wish.replaces_action_id else ""
    stone = replace(
        old or wish,
        subject_key=old_key,
        action_id=wish.replaces_action_id,
        wanted_version=old.wanted_version if old else 0,
        wanted_seq=max(sequence, old.wanted_seq if old else sequence),
        state=State.REMOVED,
        replaced_by=wish.subject_key,
        replaces_action_id=None,
        message_id=None,
        embed_index=None,
        posted_version=None,
        posted_hash=None,
        next_attempt_at=None,
        dead_reason=None,
        maybe_created=False,
        suspects=(),
    )
    if old is None or old.replaced_by is not None:
        return existing, stone
    if existing is not None and existing.message_id is not None:
        return existing, stone
    inherited = replace(old, subject_key=wish.subject_key, action_id=wish.action_id)
    return inherited, stone


def standalone(
    channel: Channel,
    kind: SubjectKind,
    key: str,
    embed: Embed,
    existing: Row | None,
    now: datetime,
    *,
    memory: Mapping[str, Any] | None = None,
    book_id: str | None = None,
    sequence: int | None = None,
) -> Row:
    """Return the row of a subject that is no execution: its versions simply count, and it is its own group."""
    version = existing.wanted_version + 1 if existing else 1
    wish = Row(
        channel_id=channel.value,
        subject_key=key,
        subject_kind=kind,
        group_key=key,
        priority=Priority.NORMAL,
        order_at=embed.timestamp,
        order_seq=version if sequence is None else sequence,
        wanted_version=version,
        wanted_seq=version,
        wanted=embed,
        wanted_hash=embed.content_hash(),
        created_at=now,
        book_id=book_id,
        memory=memory,
        quiet_at=ops.quiet_at(memory) if memory else None,
        next_attempt_at=now,
        pending_since=now,
    )
    return merge(existing, wish, now, None)
