"""What proves a book, on the wire."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from fillbook.tracker.shapes import Amount, Frame, Instant, Milliseconds


class Invariant(TypedDict):
    """Something a book must hold; ``state`` by the last audit."""

    number: int
    name: str
    state: Literal["held", "violated", "unknown"]
    findings: int


class Finding(TypedDict):
    """A violation that the last audit found."""

    invariant: int
    name: str
    ids: str
    detail: str


class Warned(TypedDict):
    """What the last audit noticed without holding it against the book."""

    kind: str
    ids: str
    detail: str


class Compared(TypedDict):
    """A comparison of a book with a statement of its broker."""

    as_of_ts: Milliseconds
    as_of_at: Instant
    recorded_ts: Milliseconds
    recorded_at: Instant
    source: str
    version: int
    result: Literal["matched", "breaks", "inconclusive"]
    reason: str | None
    breaks_found: int
    breaks_open: int
    breaks_resolved: int


class Anchor(TypedDict):
    """The end of a book's chain on a date, as it was posted too."""

    anchored_on: str
    seq: int
    chain_head: str
    recorded_ts: Milliseconds
    recorded_at: Instant


class BookAudit(TypedDict):
    """The last audit of a book, its comparisons and anchors, newest first; ``exit`` 0 is clean, null: never audited."""

    book_id: str
    exit: int | None
    ran_ts: Milliseconds | None
    ran_at: Instant | None
    seq: int | None
    code_version: str | None
    invariants: list[Invariant]
    findings: list[Finding]
    warnings: list[Warned]
    reconciliation: Compared | None
    reconciliations: list[Compared]
    chain_anchors: list[Anchor]


class BreakGroup(TypedDict):
    """Open differences of a kind and cause, by how many sessions they have been open."""

    book_id: str
    kind: str
    cause: str
    age: Literal["0", "1", "2-5", "6+"]
    count: int
    oldest_ts: Milliseconds
    oldest_at: Instant


class OpenBreak(TypedDict):
    """An open difference between a book and its broker; ``sessions``: its age."""

    break_id: str
    book_id: str
    kind: str
    instrument: str | None
    ticker: str | None
    direction: str | None
    currency: str | None
    expected: Amount | None
    actual: Amount | None
    difference: Amount | None
    cause: str
    note: str | None
    sessions: int
    first_seen_ts: Milliseconds
    first_seen_at: Instant
    last_seen_ts: Milliseconds
    last_seen_at: Instant


class Audits(Frame):
    """Per book what proves it; open differences in groups and one by one, oldest first, as many as are shown."""

    count: int
    has_more: bool
    audits: list[BookAudit]
    break_groups: list[BreakGroup]
    breaks: list[OpenBreak]
