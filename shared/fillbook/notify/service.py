"""Use cases of the room: store an event, keep a channel configured, let silent failures fade, forget old requests.

Storing is one transaction: inbox, subject, delivery. Its commit is what a push is acknowledged for; Discord's mood never
decides that. Sending is ``drain`` (``telling`` begins it with the storing); proving is ``reconcile``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from fillbook.notify import accounts
from fillbook.notify.envelope import Envelope
from fillbook.notify.intake import Intake, decide, faded, question
from fillbook.notify.model import CONSUMER, Channel, Row
from fillbook.notify.routing import Settings
from fillbook.notify.rows import rows_of
from fillbook.notify.store import apply_call, load_call, stored_of
from fillbook.outbox.service import quarantine as put_aside
from fillbook.outbox.service import receive_call
from fillbook.runtime import logs
from fillbook.runtime.db import Call, Database, Tx
from fillbook.values import frozen

QUIET_ROWS_MAX = 100
LOG_KEPT = timedelta(days=90)
PURGE_ROWS_MAX = 5000

log = logs.get("notify")


@frozen
class Stored:
    """How an event was taken; ``channels`` are those with something new to send."""

    is_new: bool
    outcome: str = "duplicate"
    channels: tuple[str, ...] = ()


@frozen
class Judged:
    """What an event makes of its subjects, before it is written."""

    event: Envelope
    intake: Intake
    at: datetime

    @property
    def stored(self) -> Stored:
        """How the event is taken."""
        channels = tuple(dict.fromkeys(row.channel_id for row in self.intake.rows))
        return Stored(is_new=True, outcome=self.intake.outcome, channels=channels)

    def call(self, rows: Sequence[Row] | None = None) -> Call:
        """Return the write; ``rows`` stand in for those of the intake when they go further at once."""
        events = accounts.dead_events(self.intake.dead, self.at)
        return apply_call(self.intake, self.event, self.intake.rows if rows is None else rows, events, self.at)


def store_calls(event: Envelope, now: datetime) -> tuple[Call, Call]:
    """Return the calls that ask whether ``event`` is new, and lock and read its subjects; raises as ``store``."""
    return receive_call(CONSUMER, event.event_id, now), load_call(question(event, now))


def judge(event: Envelope, documents: Sequence[Mapping[str, Any]], settings: Settings, now: datetime) -> Judged:
    """Judge a new event against what is stored; raises as ``store``."""
    intake = decide(event, stored_of(documents), settings, now)
    for row in intake.dead:
        log.error("message_dead", channel=row.channel_id, subject_key=row.subject_key, reason=row.dead_reason)
    return Judged(event=event, intake=intake, at=now)


def store(tx: Tx, event: Envelope, settings: Settings, now: datetime) -> Stored:
    """Store one event in the caller's transaction: one round trip to read, the write rides with the commit.

    Raises ``Rejected`` for what can never be told (malformed data, a replay book, an unknown type).
    """
    is_new, documents = tx.call(*store_calls(event, now))
    if not is_new:
        return Stored(is_new=False)
    judged = judge(event, documents, settings, now)
    tx.send(judged.call())
    return judged.stored


def take(db: Database, event: Envelope, settings: Settings, now: datetime) -> Stored:
    """Store one event and send nothing; raises ``Rejected`` for what belongs into quarantine."""
    stored = db.run(lambda tx: store(tx, event, settings, now))
    say_stored(event, stored)
    return stored


def say_stored(event: Envelope, stored: Stored) -> None:
    """Log how an event was taken."""
    log.info("event_stored", event_id=str(event.event_id), event_type=event.event_type, outcome=stored.outcome)


def quarantine(db: Database, reason: str, body: bytes, now: datetime) -> None:
    """Keep a message that will never be told, with its reason; the same again only counts."""
    db.run(lambda tx: put_aside(tx, CONSUMER, reason=reason, body=body, now=now))


def configure(db: Database, channels: Sequence[Mapping[str, Any]], now: datetime) -> None:
    """Make the configured channels known; another webhook than before makes a channel active again."""
    db.call(Call("notify.configure", [{**channel, "now": now} for channel in channels]))


def fade(db: Database, now: datetime) -> int:
    """Edit failing subjects that nobody reported for a day to ``no longer reported``; return how many."""

    def work(tx: Tx) -> int:
        (documents,) = tx.call(Call("notify.quiet", {"now": now, "rows_max": QUIET_ROWS_MAX}))
        rows = [faded(row, now) for row in rows_of(documents)]
        if rows:
            tx.send(apply_call(None, None, rows, [], now))
        return len(rows)

    return db.run(work)


def purge(db: Database, now: datetime) -> int:
    """Delete requests older than 90 days from the delivery log; return how many."""
    (gone,) = db.call(Call("notify.purge", {"before": now - LOG_KEPT, "rows_max": PURGE_ROWS_MAX}))
    return int(gone)


def all_channels(has_lanes: bool) -> tuple[str, ...]:
    """Return the channels to drain, executions first."""
    names = [Channel.EXECUTIONS.value, Channel.OPS.value]
    return (*names, Channel.LANES.value) if has_lanes else tuple(names)
