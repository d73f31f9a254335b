"""How much may be sent: sliding windows, Discord's own headers and every pause, as rows of ``notify.limits``. Pure.

5 requests in 2 s of a webhook, 30 in 60 s of a Discord channel over everything written there, 2 reads a second. A send
counts from the moment its answer was there, so no delay on the way can bring two requests closer together than the
window allows. The state is stored, so it holds on every instance; a channel's lease makes one writer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from fillbook.notify.model import ChannelRow, Operation
from fillbook.values import frozen

WEBHOOK_WINDOW = (5, timedelta(seconds=2))
CHANNEL_WINDOW = (30, timedelta(seconds=60))
READ_WINDOW = (2, timedelta(seconds=1))
MARGIN = timedelta(milliseconds=50)
RECENT_MAX = 30
OTHERS_SHARE = 10
"""Edits, deletions and repairs of the last 60 s while creates are waiting."""
DIGEST_SPACING = timedelta(seconds=2)
STEPPED_BACK = timedelta(hours=1)
"""A limit set later than this after now was written before the desk clock was set back; it says nothing any more."""

GLOBAL_SCOPE = "global"


@frozen
class Sent:
    """One request of the recent past: when its answer was there, and whether it created."""

    at: datetime
    operation: str


@frozen
class Limit:
    """One row of ``notify.limits``; times are desk time."""

    scope: str
    set_at: datetime
    paused_until: datetime | None = None
    remaining: int | None = None
    reset_at: datetime | None = None
    recent: tuple[Sent, ...] = ()
    reason: str | None = None
    strikes: int = 0
    operations: tuple[str, ...] = ()


def webhook_scope(channel: ChannelRow) -> str:
    """Return the scope of the webhook's own window and pauses."""
    return f"webhook:{channel.webhook_id}"


def channel_scope(channel: ChannelRow) -> str:
    """Return the scope of the Discord channel, shared by every webhook that posts there (ours while it is unknown)."""
    return f"channel:{channel.discord_channel_id or channel.channel_id}"


def reads_scope(channel: ChannelRow) -> str:
    """Return the scope of reads."""
    return f"bucket:{channel.webhook_id}:reads"


def listing_scope(channel: ChannelRow) -> str:
    """Return the scope of listing messages with the read token, which can be refused while the webhook works."""
    return f"bucket:{channel.webhook_id}:listing"


def old_edits_scope(channel: ChannelRow) -> str:
    """Return the scope of the pause on edits of messages older than an hour."""
    return f"bucket:{channel.webhook_id}:old-edits"


def bucket_scope(channel: ChannelRow, bucket: str) -> str:
    """Return the scope of one of Discord's buckets; equal names of two webhooks are different buckets."""
    return f"bucket:{channel.webhook_id}:{bucket[:80]}"


def _window_end(recent: Iterable[Sent], window: tuple[int, timedelta], now: datetime) -> datetime:
    count, span = window
    instants = sorted(sent.at for sent in recent if sent.at <= now + span)
    return instants[-count] + span + MARGIN if len(instants) >= count else now


def earliest(
    now: datetime,
    limits: Mapping[str, Limit],
    channel: ChannelRow,
    operation: Operation,
    *,
    creates_waiting: bool = False,
    is_digest: bool = False,
    is_old: bool = False,
) -> datetime:
    """Return the first instant, not before ``now``, at which ``operation`` may be sent in ``channel``."""
    known = {scope: limit for scope, limit in limits.items() if limit.set_at <= now + STEPPED_BACK}
    found = [now, *(_pause_end(limit, channel, operation, now, is_old=is_old) for limit in known.values())]
    if operation.is_read:
        reads = known.get(reads_scope(channel))
        return max(*found, _window_end(reads.recent, READ_WINDOW, now) if reads else now)
    webhook, shared = known.get(webhook_scope(channel)), known.get(channel_scope(channel))
    if webhook:
        found.append(_window_end(webhook.recent, WEBHOOK_WINDOW, now))
    if shared:
        found.append(_window_end(shared.recent, CHANNEL_WINDOW, now))
        others = [sent for sent in shared.recent if sent.operation != Operation.CREATE]
        creates = [sent.at for sent in shared.recent if sent.operation == Operation.CREATE and sent.at <= now + DIGEST_SPACING]
        if operation is not Operation.CREATE and creates_waiting:
            found.append(_window_end(others, (OTHERS_SHARE, CHANNEL_WINDOW[1]), now))
        if operation is Operation.CREATE and is_digest and creates:
            found.append(max(creates) + DIGEST_SPACING)
    return max(found)


def _pause_end(limit: Limit, channel: ChannelRow, operation: Operation, now: datetime, *, is_old: bool) -> datetime:
    only_for = {
        old_edits_scope(channel): operation is Operation.EDIT and is_old,
        reads_scope(channel): operation.is_read,
        listing_scope(channel): operation is Operation.LIST,
    }
    if not only_for.get(limit.scope, True):
        return now
    ends = [now]
    if limit.paused_until is not None:
        ends.append(limit.paused_until)
    is_ours = not limit.operations or operation.value in limit.operations
    if limit.remaining == 0 and limit.reset_at is not None and is_ours:
        ends.append(limit.reset_at)
    return max(ends)


def remember(limit: Limit, sent: Sent) -> Limit:
    """Return ``limit`` with one more send; only as many as the widest window counts are kept."""
    return replace(limit, recent=tuple(sorted((*limit.recent, sent), key=lambda item: item.at)[-RECENT_MAX:]), set_at=sent.at)
