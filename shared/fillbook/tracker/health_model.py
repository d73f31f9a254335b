"""Is the desk well, on the wire: when things last happened, how old they may be, what waits and what failed."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from fillbook.tracker.shapes import Frame, Instant, Milliseconds

AgeState = Literal["ok", "late", "stale", "none", "resting"]


class Answering(TypedDict):
    """How the database answered."""

    ok: bool
    latency_ms: int


class Age(TypedDict):
    """When something last happened, or what waits longest has waited since; null: never, or nothing waits.

    It is ``late`` after ``late_after_seconds`` and ``stale`` after ``stale_after_seconds``, or as many finished sessions as it
    lies behind; null: no age is too old. ``resting``: it counts within sessions alone, and there is none now.
    """

    ts: Milliseconds | None
    at: Instant | None
    state: AgeState
    late_after_seconds: int | None
    stale_after_seconds: int | None
    late_after_sessions: int | None
    stale_after_sessions: int | None


class Ages(TypedDict):
    """What is watched by its age."""

    last_receipt: Age
    last_execution: Age
    newest_mark: Age
    outbox_oldest: Age
    last_delivery: Age
    last_audit: Age
    last_chain_anchor: Age


class Outbox(TypedDict):
    """Events on their way out; ``parked`` could not be published."""

    depth: int
    parked: int


class Messages(TypedDict):
    """Messages on their way to Discord."""

    pending: int
    dead: int


class DeadLetters(TypedDict):
    """What a person has to look at, by where it lies."""

    messages: int
    events: int
    deliveries: int
    receipts: int
    broker_rows: int


class StandingStill(TypedDict):
    """A channel that does not post; ``until`` null: until somebody switches it on."""

    channel_id: str
    status: str
    status_reason: str | None
    until_ts: Milliseconds | None
    until_at: Instant | None


class SyncSource(TypedDict):
    """How the accounts of a source are followed; times are of their last successes."""

    source: str
    accounts: int
    ok: int
    late: int
    failing: int
    newest_success_ts: Milliseconds | None
    newest_success_at: Instant | None
    oldest_success_ts: Milliseconds | None
    oldest_success_at: Instant | None


class SnapshotFreshness(TypedDict):
    """Whether the published day is as far as it should be by now; ``stage`` null: the day that is due is not there."""

    state: Literal["fresh", "late", "stale", "closed"]
    due_date: str
    due_stage: str
    due_ts: Milliseconds
    due_at: Instant
    latest_date: str | None
    latest_stage: str | None
    latest_version: int | None


class BookAudited(TypedDict):
    """How the last audit of a book ended."""

    book_id: str
    exit: int
    ran_ts: Milliseconds
    ran_at: Instant


class Audited(TypedDict):
    """How the last audits ended."""

    state: Literal["none yet", "clean", "findings"]
    books: list[BookAudited]


class Migrations(TypedDict):
    """The schema that the code needs, and the one that is there."""

    expected: str
    applied: str | None
    ok: bool


class Hours(TypedDict):
    """The session a screen calls today."""

    date: str
    day_start_ts: Milliseconds
    phase: str


class ActiveDay(TypedDict):
    """The day of the newest execution."""

    date: str
    day_start_ts: Milliseconds


class DeskClock(TypedDict):
    """Whether the desk's clock shows another time than the wall."""

    is_simulated: bool


class Health(Frame):
    """The desk's condition; ``degraded`` names in ``reasons`` what is not well, ``down``: its schema is not the code's."""

    status: Literal["ok", "degraded", "down"]
    reasons: list[str]
    database: Answering
    ages: Ages
    outbox: Outbox
    messages: Messages
    dead_letters: DeadLetters
    channels: list[StandingStill]
    sources: list[SyncSource]
    snapshot: SnapshotFreshness
    audit: Audited
    migrations: Migrations
    build: str
    session: Hours
    activity: ActiveDay
    clock: DeskClock
