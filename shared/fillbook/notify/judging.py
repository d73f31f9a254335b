"""What one subject's message must be, what it is, and how it is mended. Pure: the table of findings of section 11.

The ledger's row decides, never what we meant to send. A repair is always a wish on the stored row; the drain sends it, so
order, pacing and the delivery log hold for repairs as for everything else. Only copies and strangers are deleted directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from fillbook.notify.execution import Execution
from fillbook.notify.model import Channel, Embed, Row, State, SubjectKind
from fillbook.notify.outcomes import UNSEEN
from fillbook.notify.pacing import priority_of
from fillbook.notify.proof import Difference, compare, expected_embed
from fillbook.notify.render import Style
from fillbook.notify.search import footer_key
from fillbook.notify.wishes import at_rest, execution_key
from fillbook.notify.wording import BUSTED_MARK, CORRECTED_MARK, MERGED_MARK
from fillbook.values import frozen

MISSING = "missing"
WRONG = "wrong"
DOUBLE = "double"
ORPHAN = "orphan"
UNVERIFIABLE = "unverifiable"
SILENT = frozenset({State.SUPPRESSED, State.MUTED})
UNDER_WAY = timedelta(minutes=1)
"""How long an execution may be on its way from the ledger to its channel's queue."""
QUEUED_MAX = timedelta(hours=1)
"""How long it may wait there, for Discord's limits and whoever came before; the next hourly proof still looks for it."""


@frozen
class Subject:
    """One action with everything known of it: the current row, its last void version, the stored message.

    ``booked_at``: when the ledger was told that version. ``companions``: the subjects on record in that message, in the order
    of their embeds, this one among them.
    """

    book_id: str
    action_id: UUID
    at: datetime
    current: Execution | None = None
    void: Execution | None = None
    row: Row | None = None
    sequence: int = 0
    booked_at: datetime | None = None
    companions: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The subject of its message."""
        return execution_key(self.book_id, self.action_id)


@frozen
class Finding:
    """One thing that is not as it must be."""

    kind: str
    subject_key: str
    book_id: str | None = None
    action_id: UUID | None = None
    message_id: str | None = None
    differences: tuple[Difference, ...] = ()
    note: str | None = None
    is_repaired: bool = False

    def said(self) -> str:
        """Return the finding as one line for the message's row."""
        fields = ", ".join(difference.field for difference in self.differences)
        return f"{self.kind}: {fields or self.note or 'no message'}"[:200]

    def document(self, channel_id: str, now: datetime) -> dict[str, Any]:
        """Write the finding for the database."""
        return {
            "kind": self.kind,
            "channel_id": channel_id,
            "subject_key": self.subject_key,
            "book_id": self.book_id,
            "action_id": self.action_id,
            "message_id": self.message_id,
            "differences": [{"field": item.field, "expected": item.expected, "found": item.found} for item in self.differences],
            "note": self.note,
            "repaired_at": now if self.is_repaired else None,
        }


def needs_reading(subject: Subject) -> bool:
    """Whether the message has to be fetched to judge the subject."""
    return subject.row is not None and subject.row.message_id is not None


def is_silent(subject: Subject) -> bool:
    """Whether the subject is not told by rule: suppressed history, muted books, and history nobody has stored yet."""
    if subject.row is None:
        return subject.current is None or subject.current.origin == "history"
    return subject.row.message_id is None and (subject.row.state in SILENT or subject.current is None)


def is_on_its_way(subject: Subject, began: datetime) -> bool:
    """Whether its channel has not taken the ledger's version of it, and need not have when a proof ``began``."""
    execution, row = subject.current or subject.void, subject.row
    if execution is None or subject.booked_at is None or (row is not None and row.posted_version == execution.version):
        return False
    is_queued = row is not None and row.state in (State.PENDING, State.SENDING) and row.wanted_version == execution.version
    return subject.booked_at > began - (QUEUED_MAX if is_queued else UNDER_WAY)


def without_message(subject: Subject, can_look: bool) -> Finding | None:
    """Judge a subject that has no message on record."""
    if is_silent(subject):
        return None
    row = subject.row
    if row is not None and row.state is State.AMBIGUOUS and (row.is_created_unknown or not can_look):
        claimed = f"claimed {row.claimed_at.isoformat()}" if row.claimed_at else "claimed at an unknown time"
        return _finding(subject, UNVERIFIABLE, note=f"{claimed}, footer {row.wanted.footer}")
    note = "no row" if row is None else f"{row.state.value}{f' ({row.dead_reason})' if row.dead_reason else ''}"
    return _finding(subject, MISSING, note=note)


def gone(subject: Subject) -> Finding | None:
    """Judge a subject whose message Discord does not know any more."""
    if subject.current is None:
        return None
    return _finding(subject, MISSING, note="deleted on Discord (10008)")


def unverifiable(subject: Subject, note: str) -> Finding:
    """Judge a subject whose message could not be read."""
    return _finding(subject, UNVERIFIABLE, note=note)


def with_message(subject: Subject, message: Mapping[str, Any], style: Style, place: str | None) -> Finding | None:
    """Judge a subject whose message was read, against the ledger's row."""
    found = embed_of(subject, message)
    execution = subject.current or subject.void
    if execution is None:
        return _finding(subject, ORPHAN, note="the action is unknown")
    if subject.current is None and (found is None or not found.title.startswith((BUSTED_MARK, MERGED_MARK))):
        return _finding(subject, ORPHAN, note="the action is void")
    if found is None:
        return _finding(subject, WRONG, (Difference(field="footer", expected=subject.key, found="no embed of this action"),))
    differences = compare(_expected(execution, subject.row, style), found)
    embeds = message.get("embeds") or ()
    if subject.companions[:1] == (subject.key,) and len(embeds) > len(subject.companions):
        differences.append(Difference(field="embeds", expected=str(len(subject.companions)), found=str(len(embeds))))
    if message.get("content"):
        differences.append(Difference(field="content", expected="", found=str(message["content"])[:100]))
    if place is not None and message.get("channel_id") not in (None, place):
        differences.append(Difference(field="channel_id", expected=place, found=str(message.get("channel_id"))))
    return _finding(subject, WRONG, tuple(differences)) if differences else None


def _expected(execution: Execution, row: Row | None, style: Style) -> Embed:
    """Return what must stand there. Which columns a correction changed only its event said: that field is kept as told."""
    was_marked = row is not None and row.replaces_action_id is not None and row.wanted.title.endswith(CORRECTED_MARK)
    embed = expected_embed(execution, style, was_marked=was_marked)
    told = [item for item in row.wanted.fields if item.name == "corrected"] if row is not None else []
    if not told or row is None or not embed.title.endswith(CORRECTED_MARK) or row.wanted.footer != embed.footer:
        return embed
    return replace(embed, fields=(*embed.fields, *told))


def embed_of(subject: Subject, message: Mapping[str, Any]) -> Embed | None:
    """Return the subject's embed in a message, found by its footer."""
    for document in message.get("embeds") or ():
        try:
            embed = Embed.from_json(document)
        except ValueError:
            continue
        if footer_key(embed.footer) == subject.key:
            return embed
    return None


def _finding(subject: Subject, kind: str, differences: tuple[Difference, ...] = (), note: str | None = None) -> Finding:
    return Finding(
        kind=kind,
        subject_key=subject.key,
        book_id=subject.book_id,
        action_id=subject.action_id,
        message_id=subject.row.message_id if subject.row else None,
        differences=differences,
        note=note,
    )


# --- repairs ----------------------------------------------------------------------------------------------------------


def repaired(subject: Subject, finding: Finding, style: Style, now: datetime) -> Row | None:
    """Return the stored row as it must be so that the drain mends the finding; None when there is nothing to write."""
    execution = subject.current or subject.void
    if execution is None or finding.kind == UNVERIFIABLE:
        return None
    row = subject.row or _new_row(subject, execution, style, now)
    embed = _expected(execution, row, style)
    wish = replace(
        row,
        group_key=str(execution.position_id),
        position_id=execution.position_id,
        priority=priority_of(execution.action_type),
        order_at=execution.executed_at,
        wanted=embed,
        wanted_hash=embed.content_hash(),
        wanted_version=execution.version,
        wanted_seq=max(row.wanted_seq, subject.sequence),
        replaced_by=None,
    )
    if finding.kind == MISSING:
        if row.state in (State.PENDING, State.SENDING, State.AMBIGUOUS) and row.is_create:
            return wish
        if row.message_id != finding.message_id:
            return at_rest(wish, now)  # told since it was looked for: a second message would stand for good
        cleared = replace(wish, message_id=None, embed_index=None, posted_version=None, posted_hash=None)
        return at_rest(cleared, now)
    return at_rest(replace(wish, posted_hash=UNSEEN), now)


def _new_row(subject: Subject, execution: Execution, style: Style, now: datetime) -> Row:
    embed = expected_embed(execution, style, was_marked=False)
    return Row(
        channel_id=Channel.EXECUTIONS.value,
        subject_key=subject.key,
        subject_kind=SubjectKind.EXECUTION,
        group_key=str(execution.position_id),
        priority=priority_of(execution.action_type),
        order_at=execution.executed_at,
        order_seq=subject.sequence,
        wanted_version=execution.version,
        wanted_seq=subject.sequence,
        wanted=embed,
        wanted_hash=embed.content_hash(),
        created_at=now,
        book_id=subject.book_id,
        action_id=subject.action_id,
        position_id=execution.position_id,
        next_attempt_at=now,
        pending_since=now,
    )
