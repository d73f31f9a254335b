"""Which message goes next, or what to wait for. Pure: limits and rows in, one step out.

Exits before trims before the rest, booking order inside a position, digests when many wait, edits in their share. Every
step respects ``limits``; nothing here sends, stores or reads a clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from fillbook.notify.fit import TOTAL_UNITS_MAX, embed_units
from fillbook.notify.limits import Limit, earliest
from fillbook.notify.model import ChannelRow, Operation, Priority, Row, State
from fillbook.values import frozen

DIGEST_EMBEDS_MAX = 8
DIGEST_UNTIL = 3
HOLD_MAX = timedelta(minutes=10)
OUT_OF_ORDER = "out of order"
RESENT = "resent"
OLD_MESSAGE = timedelta(hours=1)

LADDER = tuple(timedelta(seconds=seconds) for seconds in (0, 5, 30, 120, 600, 1800, 7200, 21600))
DICE_MAX = 1000
BACKOFF_MAX = timedelta(hours=7)
"""No next attempt lies further ahead; one that seems to was written before the desk clock was set back, and is due."""
EXPIRES_AFTER = timedelta(hours=48)
LOOK_AFTER = timedelta(seconds=10)
RESEND_AFTER = timedelta(seconds=30)


# --- the ladder -------------------------------------------------------------------------------------------------------


def next_try(failures: int, now: datetime, dice: int) -> datetime | None:
    """Return when try ``failures + 1`` is due after the ``failures``-th failed, ``None`` when that was the last.

    ``dice`` in 0..1000 moves the step by up to 10 % either way.
    """
    if failures >= len(LADDER):
        return None
    return now + LADDER[failures] * (10_000 + 2 * dice - DICE_MAX) / 10_000


def is_due(row: Row, now: datetime) -> bool:
    """Whether the row's own ladder allows a try."""
    at = row.next_attempt_at
    return at is not None and (at <= now or at > now + BACKOFF_MAX)


# --- which message ----------------------------------------------------------------------------------------------------


class Kind(StrEnum):
    """What the drain does next."""

    SEND = "send"
    LOOK = "look"
    SETTLE = "settle"
    WAIT = "wait"
    IDLE = "idle"


@frozen
class Queue:
    """What waits in one channel. ``rows`` are the unposted rows of the foremost positions and the foremost edits.

    ``siblings`` are the rows that share a message with an edit; ``creates`` counts every unposted row of the channel.
    """

    rows: tuple[Row, ...] = ()
    siblings: tuple[Row, ...] = ()
    creates: int = 0
    next_at: datetime | None = None


@frozen
class Step:
    """One step: rows to send with their operation, rows to look for, or an instant to wait for."""

    kind: Kind
    operation: Operation | None = None
    rows: tuple[Row, ...] = ()
    late: frozenset[str] = frozenset()
    until: datetime | None = None
    is_digest: bool = False


@frozen
class Pace:
    """The knobs and abilities a plan depends on; ``can_look``: the messages of the channel can be listed."""

    digest_threshold: int = 10
    can_look: bool = False


def digest_mode(channel: ChannelRow, creates: int, threshold: int) -> bool:
    """Whether posts carry several embeds: from above the threshold until at most three wait."""
    return creates > DIGEST_UNTIL if channel.is_digest else creates > threshold


def plan(now: datetime, limits: Mapping[str, Limit], queue: Queue, channel: ChannelRow, pace: Pace) -> Step:
    """Return the next step of a channel (section 9 of the specification)."""
    is_digest = digest_mode(channel, queue.creates, pace.digest_threshold)
    waits = [queue.next_at] if queue.next_at is not None else []
    open_fate = [row for row in queue.rows if row.state is State.AMBIGUOUS and is_due(row, now)]
    unanswered = [row for row in open_fate if not row.is_created_unknown]
    if unanswered and not pace.can_look:
        return Step(kind=Kind.SETTLE, rows=tuple(unanswered), is_digest=is_digest)
    creates, late = sendable(queue.rows, now)
    if pace.can_look:
        looks = open_fate + [row for row in creates if needs_look(row)]
        creates = without_groups(creates, {row.group_key for row in looks})
        if looks:
            at = earliest(now, limits, channel, Operation.LIST)
            if at <= now:
                return Step(kind=Kind.LOOK, rows=tuple(looks[:DIGEST_EMBEDS_MAX]), is_digest=is_digest)
            waits.append(at)
    if creates:
        at = earliest(now, limits, channel, Operation.CREATE, is_digest=is_digest)
        if at <= now:
            batch = digest_batch(creates) if is_digest else creates[:1]
            chosen = late & {row.subject_key for row in batch}
            return Step(kind=Kind.SEND, operation=Operation.CREATE, rows=tuple(batch), late=chosen, is_digest=is_digest)
        waits.append(at)
    return _edit(queue, now, limits, channel, waits, is_digest=is_digest)


def needs_look(row: Row) -> bool:
    """Whether a copy may stand in the channel already and was not looked for since the last failure."""
    return row.maybe_created and row.looked_at is None


def without_groups(rows: Sequence[Row], groups: set[str]) -> list[Row]:
    """Leave out whole positions, so that nobody passes the one that has to be looked for."""
    return [row for row in rows if row.group_key not in groups]


def _edit(
    queue: Queue,
    now: datetime,
    limits: Mapping[str, Limit],
    channel: ChannelRow,
    waits: Sequence[datetime],
    *,
    is_digest: bool,
) -> Step:
    found = [at for at in waits if at > now]
    for row in edits_due(queue.rows, now):
        is_old = row.posted_at is not None and now - row.posted_at > OLD_MESSAGE
        at = earliest(now, limits, channel, Operation.EDIT, creates_waiting=queue.creates > 0, is_old=is_old)
        if at <= now:
            same = [item for item in queue.siblings if item.message_id == row.message_id]
            same.sort(key=lambda item: item.embed_index or 0)
            return Step(kind=Kind.SEND, operation=Operation.EDIT, rows=tuple(same) or (row,), is_digest=is_digest)
        found.append(at)
    if not found:
        return Step(kind=Kind.IDLE, is_digest=is_digest)
    return Step(kind=Kind.WAIT, until=min(found), is_digest=is_digest)


def edits_due(rows: Sequence[Row], now: datetime) -> list[Row]:
    """Return the rows whose posted message must be edited now, oldest first."""
    due = [row for row in rows if row.state is State.PENDING and not row.is_create and is_due(row, now)]
    return sorted(due, key=lambda row: (row.next_attempt_at or now, row.order_at, row.order_seq, row.subject_key))


def sendable(rows: Sequence[Row], now: datetime) -> tuple[list[Row], frozenset[str]]:
    """Return the creates that may go out now in the order of section 9, and which of them pass an earlier one.

    Positions with a pending EXIT come first, then TRIM, then the rest, older ones first; inside a position the booking
    order. One that is retrying (or whose fate is open) holds the later ones of its position for at most ten minutes.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.is_create and row.state in (State.PENDING, State.SENDING, State.AMBIGUOUS):
            groups.setdefault(row.group_key, []).append(row)
    ranked: list[tuple[tuple[int, datetime, datetime, int, str], list[Row]]] = []
    late: set[str] = set()
    for key, members in groups.items():
        members.sort(key=lambda row: (row.order_at, row.order_seq, row.subject_key))
        ready, passing = _ready(members, now)
        late |= passing
        if ready:
            rank = min(row.priority for row in members if row.state is State.PENDING)
            first = ready[0]
            ranked.append(((int(rank), first.created_at, first.order_at, first.order_seq, key), ready))
    ranked.sort(key=lambda item: item[0])
    return [row for _, ready in ranked for row in ready], frozenset(late)


def _ready(members: Sequence[Row], now: datetime) -> tuple[list[Row], set[str]]:
    ready: list[Row] = []
    late: set[str] = set()
    has_passed = False
    for row in members:
        if row.state is State.PENDING and is_due(row, now):
            ready.append(row)
            if has_passed:
                late.add(row.subject_key)
        elif row.is_created_unknown:
            continue
        elif row.first_failed_at is not None and now - row.first_failed_at >= HOLD_MAX:
            has_passed = True
        else:
            break
    return ready, late


def digest_batch(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of one digest: at most eight whole embeds within the limit of a message; a solo row goes alone."""
    if rows[0].is_solo:
        return [rows[0]]
    batch: list[Row] = []
    used = 0
    for row in rows:
        size = embed_units(row.wanted)
        if row.is_solo or len(batch) == DIGEST_EMBEDS_MAX or used + size > TOTAL_UNITS_MAX:
            break
        batch.append(row)
        used += size
    return batch


def priority_of(action_type: str) -> Priority:
    """Return who goes first: exits, then trims, then the rest."""
    return {"EXIT": Priority.EXIT, "TRIM": Priority.TRIM}.get(action_type, Priority.NORMAL)
