"""Rows as documents: what the database functions return becomes frozen values, and back, column for column.

The names are the columns of the tables; a contract test holds them equal. Nothing is interpreted here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from fillbook.notify.limits import Limit, Sent
from fillbook.notify.model import ChannelRow, Embed, Priority, Row, State, SubjectKind, Suspect

MESSAGE_COLUMNS = tuple(field.name for field in fields(Row))
_INSTANTS = (
    "order_at",
    "created_at",
    "quiet_at",
    "posted_at",
    "next_attempt_at",
    "pending_since",
    "first_failed_at",
    "claimed_at",
    "looked_at",
)
_UUIDS = ("action_id", "position_id", "replaces_action_id")


def instant_of(value: Any) -> datetime | None:
    """Read a timestamptz of a document; None stays None."""
    return None if value is None else datetime.fromisoformat(value).astimezone(UTC)


def row_of(document: Mapping[str, Any]) -> Row:
    """Read one row of ``notify.messages``."""
    values = {name: document[name] for name in MESSAGE_COLUMNS}
    values |= {name: instant_of(document[name]) for name in _INSTANTS}
    values |= {name: None if document[name] is None else UUID(document[name]) for name in _UUIDS}
    return Row(
        **{
            **values,
            "subject_kind": SubjectKind(document["subject_kind"]),
            "priority": Priority(document["priority"]),
            "state": State(document["state"]),
            "wanted": Embed.from_json(document["wanted"]),
            "suspects": tuple(map(suspect_of, document["suspects"])),
            "notes": tuple(document["notes"]),
        }
    )


def suspect_of(document: Any) -> Suspect:
    """Read one open create: ``[since, until]``, or the claim alone as it was written before the end was kept."""
    since, until = document if isinstance(document, list) else (document, document)
    return Suspect(since=datetime.fromisoformat(since).astimezone(UTC), until=datetime.fromisoformat(until).astimezone(UTC))


def rows_of(documents: Sequence[Mapping[str, Any]] | None) -> tuple[Row, ...]:
    """Read several rows."""
    return tuple(row_of(document) for document in documents or ())


def row_document(row: Row) -> dict[str, Any]:
    """Write one row of ``notify.messages``."""
    document = {name: getattr(row, name) for name in MESSAGE_COLUMNS}
    suspects = [[suspect.since, suspect.until] for suspect in row.suspects]
    return {**document, "wanted": row.wanted.to_json(), "suspects": suspects, "notes": list(row.notes)}


def limit_of(document: Mapping[str, Any]) -> Limit:
    """Read one row of ``notify.limits``."""
    return Limit(
        scope=document["scope"],
        set_at=datetime.fromisoformat(document["set_at"]).astimezone(UTC),
        paused_until=instant_of(document["paused_until"]),
        remaining=document["remaining"],
        reset_at=instant_of(document["reset_at"]),
        recent=tuple(
            Sent(at=datetime.fromisoformat(at).astimezone(UTC), operation=operation) for at, operation in document["recent_sends"]
        ),
        reason=document["reason"],
        strikes=document["strikes"],
        operations=tuple(document["operations"]),
    )


def limit_document(limit: Limit) -> dict[str, Any]:
    """Write one row of ``notify.limits``."""
    return {
        "scope": limit.scope,
        "set_at": limit.set_at,
        "paused_until": limit.paused_until,
        "remaining": limit.remaining,
        "reset_at": limit.reset_at,
        "recent_sends": [[sent.at, sent.operation] for sent in limit.recent],
        "reason": limit.reason,
        "strikes": limit.strikes,
        "operations": list(limit.operations),
    }


def channel_of_document(document: Mapping[str, Any]) -> ChannelRow:
    """Read one row of ``notify.channels``."""
    return ChannelRow(
        channel_id=document["channel_id"],
        kind=document["kind"],
        webhook_id=document["webhook_id"],
        thread_id=document["thread_id"],
        discord_channel_id=document["discord_channel_id"],
        guild_id=document["guild_id"],
        status=document["status"],
        status_reason=document["status_reason"],
        is_digest=document["digest"],
        event_seq=document["event_seq"],
    )


def channel_document(channel: ChannelRow) -> dict[str, Any]:
    """Write what a drainer may change of a channel."""
    return {
        "status": channel.status,
        "status_reason": channel.status_reason,
        "digest": channel.is_digest,
        "event_seq": channel.event_seq,
        "discord_channel_id": channel.discord_channel_id,
        "guild_id": channel.guild_id,
    }
