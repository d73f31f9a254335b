"""The shapes of what is told about messages: what should stand on Discord, how each request went, what was found."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from fillbook.tracker.shapes import Amount, Frame, Instant, Milliseconds, Page

ChannelId = Literal["executions", "ops", "lanes"]
SubjectKind = Literal["execution", "ops", "lane"]
State = Literal[
    "proven", "posted", "pending", "sending", "ambiguous", "dead", "missing", "wrong", "double", "orphan", "unverifiable",
    "suppressed", "muted", "removed",
]  # fmt: skip
Operation = Literal["create", "edit", "delete", "get"]


class Message(TypedDict):
    """One subject in one channel: what it should say by version, what it says, and how far the telling is."""

    channel_id: ChannelId
    subject_key: str
    subject_kind: SubjectKind
    book_id: str | None
    action_id: str | None
    position_id: str | None
    title: str | None
    state: State
    dead_reason: str | None
    deaths: int
    wanted_version: int
    posted_version: int | None
    message_id: str | None
    url: str | None
    embed_index: int | None
    attempts: int
    maybe_created: bool
    blind_resends: int
    notes: list[str]
    verify_due: bool
    last_finding: str | None
    occurred_ts: Milliseconds
    occurred_at: Instant
    created_ts: Milliseconds
    created_at: Instant
    posted_ts: Milliseconds | None
    posted_at: Instant | None
    proven_ts: Milliseconds | None
    proven_at: Instant | None
    next_attempt_ts: Milliseconds | None
    next_attempt_at: Instant | None
    pending_since_ts: Milliseconds | None
    pending_since_at: Instant | None


class Messages(Page):
    """A page of messages, newest subject first."""

    messages: list[Message]


class Delivery(TypedDict):
    """One request to Discord for one subject. ``http_status`` null: no answer; ``response_excerpt`` for an admin key alone."""

    attempt_id: str
    channel_id: ChannelId
    subject_key: str
    subject_kind: SubjectKind
    book_id: str | None
    action_id: str | None
    position_id: str | None
    operation: Operation
    started_ts: Milliseconds
    started_at: Instant
    finished_ts: Milliseconds | None
    finished_at: Instant | None
    http_status: int | None
    discord_code: int | None
    wait_seconds: Amount | None
    message_id: str | None
    error: str | None
    response_excerpt: str | None


class Deliveries(Page):
    """A page of the delivery log, newest request first."""

    deliveries: list[Delivery]


class Channel(TypedDict):
    """A channel: how much waits, until when it rests (``paused_until``), and why it stands still (``status``)."""

    channel_id: ChannelId
    kind: ChannelId
    status: Literal["active", "paused", "disabled"]
    status_reason: str | None
    status_ts: Milliseconds | None
    status_at: Instant | None
    digest: bool
    pending: int
    ambiguous: int
    dead: int
    oldest_pending_ts: Milliseconds | None
    oldest_pending_at: Instant | None
    last_posted_ts: Milliseconds | None
    last_posted_at: Instant | None
    paused_until_ts: Milliseconds | None
    paused_until_at: Instant | None
    paused_reason: str | None


class Channels(Frame):
    """All channels."""

    count: int
    channels: list[Channel]


class Remedy(TypedDict):
    """What a person does about dead letters of a reason: in words, and the command."""

    text: str
    command: str


class DeadGroup(TypedDict):
    """Dead letters of one channel and reason."""

    channel_id: ChannelId
    reason: str
    count: int
    oldest_ts: Milliseconds
    oldest_at: Instant
    newest_ts: Milliseconds
    newest_at: Instant
    remedy: Remedy


class DeadLetters(Page):
    """Dead letters by reason, the oldest group first, and a page of them, newest first."""

    groups: list[DeadGroup]
    messages: list[Message]


class FieldDifference(TypedDict):
    """A field of a message that is not what the ledger says; null: it is not there."""

    field: str
    expected: str | None
    found: str | None


class Finding(TypedDict):
    """Something that a run found, field by field."""

    run_id: str
    ordinal: int
    kind: Literal["missing", "wrong", "double", "orphan", "unverifiable"]
    channel_id: ChannelId
    subject_key: str
    book_id: str | None
    action_id: str | None
    message_id: str | None
    differences: list[FieldDifference]
    note: str | None
    found_ts: Milliseconds
    found_at: Instant
    repaired_ts: Milliseconds | None
    repaired_at: Instant | None


class Counts(TypedDict):
    """What a run compared and found."""

    actions: int
    messages: int
    equal: int
    missing: int
    wrong: int
    double: int
    orphan: int
    unverifiable: int
    repaired: int


class Proof(TypedDict):
    """A run that compared what stands on Discord with the ledger: its window, what it counted, how it ended."""

    run_id: str
    channel_id: ChannelId
    status: Literal["queued", "running", "proven", "repaired", "open", "aborted"]
    reason: str | None
    is_repairing: bool
    requested_by: str
    since_ts: Milliseconds
    since_at: Instant
    until_ts: Milliseconds
    until_at: Instant
    queued_ts: Milliseconds
    queued_at: Instant
    started_ts: Milliseconds | None
    started_at: Instant | None
    finished_ts: Milliseconds | None
    finished_at: Instant | None
    counts: Counts


class Proofs(Page):
    """A page of runs, newest first, and what those on it found, newest first."""

    runs: list[Proof]
    findings: list[Finding]
    has_more_findings: bool
