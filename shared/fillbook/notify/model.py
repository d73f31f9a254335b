"""Nouns of the room: what is told, where, in which state the telling is, and what one request and its answer are.

Everything is frozen and pure. A message here is the *wanted* content of one subject in one channel; the row adds how far
the sending has come. The room refuses to decide, to compute P&L, or to touch a position: it repeats what was stored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Any, Protocol, Self
from uuid import UUID

from fillbook.values import frozen

CONSUMER = "discord_notifier"
"""The name under which the inbox and the quarantine know this consumer."""


class Channel(StrEnum):
    """The channels of the desk; the value is ``notify.channels.channel_id``."""

    EXECUTIONS = "executions"
    OPS = "ops"
    LANES = "lanes"


class SubjectKind(StrEnum):
    """What a message is about."""

    EXECUTION = "execution"
    OPS = "ops"
    LANE = "lane"


class Priority(IntEnum):
    """Who goes first when a channel has more than it may send (lower is earlier)."""

    EXIT = 0
    TRIM = 1
    NORMAL = 2


class State(StrEnum):
    """How far the telling is (section 6 of the specification)."""

    PENDING = "pending"
    SENDING = "sending"
    POSTED = "posted"
    AMBIGUOUS = "ambiguous"
    DEAD = "dead"
    SUPPRESSED = "suppressed"
    MUTED = "muted"
    REMOVED = "removed"


class Operation(StrEnum):
    """What a request does; ``list`` and ``hook`` are reads and logged as ``get``."""

    CREATE = "create"
    EDIT = "edit"
    DELETE = "delete"
    GET = "get"
    HOOK = "hook"
    LIST = "list"

    @property
    def is_read(self) -> bool:
        """Whether the request changes nothing (reads have their own allowance)."""
        return self in (Operation.GET, Operation.HOOK, Operation.LIST)

    @property
    def logged_as(self) -> str:
        """The value of ``notify.attempts.operation``."""
        return "get" if self.is_read else self.value


# --- content ----------------------------------------------------------------------------------------------------------


@frozen
class Field:
    """One named value of an embed."""

    name: str
    value: str
    is_inline: bool = True


@frozen
class Embed:
    """The whole content of one message of ours; ``timestamp`` is when it happened, never when it was sent."""

    title: str
    description: str
    color: int
    timestamp: datetime
    fields: tuple[Field, ...]
    footer: str

    def to_json(self, notes: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return Discord's shape; ``notes`` (``resent``, ``out of order``) follow the footer and are no content."""
        return {
            "title": self.title,
            "description": self.description,
            "color": self.color,
            "timestamp": timestamp_text(self.timestamp),
            "fields": [{"name": item.name, "value": item.value, "inline": item.is_inline} for item in self.fields],
            "footer": {"text": " · ".join((self.footer, *notes))},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read a stored or returned embed; missing parts are empty. Raises ``ValueError`` for what is no embed of ours."""
        try:
            return cls(
                title=str(document.get("title") or ""),
                description=str(document.get("description") or ""),
                color=int(document.get("color") or 0),
                timestamp=datetime.fromisoformat(document["timestamp"]).astimezone(UTC),
                fields=tuple(
                    Field(name=str(item["name"]), value=str(item["value"]), is_inline=bool(item.get("inline", False)))
                    for item in document.get("fields") or ()
                ),
                footer=str((document.get("footer") or {}).get("text") or ""),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError("not an embed of ours") from error

    def content_hash(self) -> str:
        """Return the sha256 of the canonical JSON: equal exactly when nothing has to be sent."""
        text = json.dumps(self.to_json(), ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        return hashlib.sha256(text.encode("utf-8")).hexdigest()


def timestamp_text(instant: datetime) -> str:
    """Write an instant as Discord takes it: UTC, ``Z``, a fraction only when there is one."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds" if instant.microsecond else "seconds").replace("+00:00", "Z")


@frozen
class Suspect:
    """One create whose fate is open: claimed at ``since``, given up at ``until``; the message was made in between, if at all.

    Both are desk time. In real time a request ends within seconds; an accelerated desk clock may leap by minutes meanwhile,
    or be set back, so the end is kept and never guessed.
    """

    since: datetime
    until: datetime


# --- one subject in one channel ---------------------------------------------------------------------------------------


@frozen
class Row:
    """One stored message: what a channel should show about a subject, and how far the sending has come.

    Times are aware UTC, desk time. ``wanted_version`` orders the events of a subject; ``wanted_seq`` is the event's
    aggregate version, which also orders events of two actions of one aggregate. ``group_key`` is the position (or the
    subject itself): inside a group messages keep their order. ``memory`` is what an ops message remembers between
    events. The transport: ``first_failed_at`` starts the hold of the group, ``suspects`` are the creates that may
    have made a copy, ``looked_at`` when they were last searched for, ``is_created_unknown`` an accepted create whose
    id is not known, ``is_solo`` keeps it out of digests, ``deaths`` counts dead letters.
    """

    channel_id: str
    subject_key: str
    subject_kind: SubjectKind
    group_key: str
    priority: Priority
    order_at: datetime
    order_seq: int
    wanted_version: int
    wanted_seq: int
    wanted: Embed
    wanted_hash: str
    created_at: datetime
    book_id: str | None = None
    action_id: UUID | None = None
    position_id: UUID | None = None
    replaces_action_id: UUID | None = None
    memory: Mapping[str, Any] | None = None
    replaced_by: str | None = None
    quiet_at: datetime | None = None
    state: State = State.PENDING
    message_id: str | None = None
    embed_index: int | None = None
    webhook_id: str | None = None
    posted_version: int | None = None
    posted_hash: str | None = None
    posted_at: datetime | None = None
    attempts: int = 0
    next_attempt_at: datetime | None = None
    pending_since: datetime | None = None
    first_failed_at: datetime | None = None
    claimed_at: datetime | None = None
    maybe_created: bool = False
    is_created_unknown: bool = False
    suspects: tuple[Suspect, ...] = ()
    looked_at: datetime | None = None
    blind_resends: int = 0
    is_solo: bool = False
    notes: tuple[str, ...] = ()
    dead_reason: str | None = None
    deaths: int = 0

    @property
    def is_create(self) -> bool:
        """Whether nothing of this subject stands in the channel yet, so that the next request creates it."""
        return self.message_id is None


@frozen
class ChannelRow:
    """A channel as stored; ``discord_channel_id`` is learned from Discord's answers."""

    channel_id: str
    kind: str
    webhook_id: str | None
    thread_id: str | None
    discord_channel_id: str | None
    guild_id: str | None
    status: str
    status_reason: str | None
    is_digest: bool
    event_seq: int = 0

    @property
    def place(self) -> str | None:
        """The Discord channel or thread whose messages can be listed, once known."""
        return self.thread_id or self.discord_channel_id


# --- one request and its answer ---------------------------------------------------------------------------------------


@frozen
class Request:
    """One request to Discord in our words; the adapter knows URL, token and headers.

    ``embeds`` is the complete content for create and edit. ``place``, ``after``, ``before`` and ``limit`` belong to list.
    """

    operation: Operation
    channel_id: str
    message_id: str | None = None
    embeds: tuple[Mapping[str, Any], ...] = ()
    place: str | None = None
    after: int | None = None
    before: int | None = None
    limit: int = 100

    def content_hash(self) -> str:
        """Return the sha256 of what is sent, for the delivery log (the log keeps no content)."""
        text = json.dumps([self.operation, self.message_id, list(self.embeds)], ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8")).hexdigest()


class Failure(StrEnum):
    """How a request ended without a complete answer."""

    NOT_SENT = "not_sent"
    NO_ANSWER = "no_answer"
    TORN = "torn"


@frozen
class Answer:
    """What came back: status, headers in lower case and parsed JSON, or how it failed. ``excerpt`` holds no token."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    document: Any = None
    failure: Failure | None = None
    error: str | None = None
    excerpt: str = ""


class Speaker(Protocol):
    """Says one request to Discord and never raises for what Discord does."""

    @property
    def can_read(self) -> bool:
        """Whether messages of a channel can be listed (a read token is configured)."""
        ...

    def send(self, request: Request) -> Answer:
        """Send ``request`` once, bounded in time and size."""
        ...
