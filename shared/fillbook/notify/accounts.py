"""What an answer makes of the limits and of the channel, and which events tell the operator. Pure.

Every request counts from the moment its answer was there. A pause is written to every scope it may have been meant for;
a success takes back only counters, never a pause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from fillbook.notify.answers import Judgement, Verdict, seconds_of
from fillbook.notify.limits import (
    GLOBAL_SCOPE,
    STEPPED_BACK,
    Limit,
    Sent,
    bucket_scope,
    channel_scope,
    listing_scope,
    old_edits_scope,
    reads_scope,
    remember,
    webhook_scope,
)
from fillbook.notify.model import Answer, Channel, ChannelRow, Operation, Request, Row, State
from fillbook.outbox.model import Event, derived_id
from fillbook.values import frozen

JITTER_MILLISECONDS_MAX = 250
DIGITS_MAX = 9
SHOWN_AS_PAUSED = timedelta(minutes=15)
REFUSED_READS_WAIT = timedelta(hours=1)

ACTIVE = "active"
PAUSED = "paused"
DISABLED = "disabled"
RATE_LIMITED = "rate_limited"
BANNED = "banned"
READS_REFUSED = "read_token_refused"

Known = Mapping[str, Limit]


def known_limit(limits: Known, scope: str, now: datetime) -> Limit:
    """Return the limit of ``scope``, fresh when there is none or when it was set before the desk clock went back."""
    found = limits.get(scope)
    if found is None or found.set_at > now + STEPPED_BACK:
        return Limit(scope=scope, set_at=now)
    return found


def window_scopes(channel: ChannelRow, operation: Operation) -> tuple[str, ...]:
    """Return the scopes whose sliding windows count ``operation``."""
    return (reads_scope(channel),) if operation.is_read else (webhook_scope(channel), channel_scope(channel))


def counted(limits: Known, channel: ChannelRow, operation: Operation, at: datetime) -> dict[str, Limit]:
    """Return the window limits with one request of the instant ``at``."""
    sent = Sent(at=at, operation=operation.value)
    return {scope: remember(known_limit(limits, scope, at), sent) for scope in window_scopes(channel, operation)}


@frozen
class Accounts:
    """The limits that changed, and the channel as it is."""

    limits: Mapping[str, Limit]
    channel: ChannelRow


def settle_accounts(
    limits: Known, channel: ChannelRow, request: Request, answer: Answer, judgement: Judgement, *, now: datetime, dice: int
) -> Accounts:
    """Return limits and channel after ``answer``; ``limits`` are those before the request was claimed."""
    changed = counted(limits, channel, request.operation, now)
    bucket = _bucket(limits, channel, request.operation, answer, now)
    if bucket is not None:
        changed[bucket.scope] = bucket
    pause = judgement.wait + timedelta(milliseconds=JITTER_MILLISECONDS_MAX) * dice / 1000
    for scope, reason in _paused_scopes(channel, request.operation, judgement):
        base = changed.get(scope) or known_limit(limits, scope, now)
        changed[scope] = replace(base, paused_until=now + pause, reason=reason, strikes=base.strikes + 1, set_at=now)
    if judgement.verdict is Verdict.DONE:
        changed |= _forgiven({**limits, **changed}, channel, request.operation, now)
    after = _channel(channel, request, judgement)
    if channel_scope(after) != channel_scope(channel) and channel_scope(channel) in changed:
        changed[channel_scope(after)] = replace(changed[channel_scope(channel)], scope=channel_scope(after))
    return Accounts(limits=changed, channel=after)


def _paused_scopes(channel: ChannelRow, operation: Operation, judgement: Judgement) -> list[tuple[str, str]]:
    if judgement.verdict is Verdict.BANNED:
        return [(GLOBAL_SCOPE, BANNED)]
    if judgement.verdict is Verdict.OLD_EDITS_LIMITED:
        return [(old_edits_scope(channel), RATE_LIMITED)]
    if judgement.verdict is Verdict.RATE_LIMITED:
        scopes = (GLOBAL_SCOPE,) if judgement.is_global else window_scopes(channel, operation)
        return [(scope, RATE_LIMITED) for scope in scopes]
    return []


def _forgiven(limits: Known, channel: ChannelRow, operation: Operation, now: datetime) -> dict[str, Limit]:
    found = {}
    for scope in (GLOBAL_SCOPE, *window_scopes(channel, operation)):
        limit = limits.get(scope)
        if limit is not None and limit.strikes and (limit.paused_until is None or limit.paused_until <= now):
            found[scope] = replace(limit, strikes=0, reason=None, set_at=now)
    return found


def _bucket(limits: Known, channel: ChannelRow, operation: Operation, answer: Answer, now: datetime) -> Limit | None:
    name = answer.headers.get("x-ratelimit-bucket")
    remaining = answer.headers.get("x-ratelimit-remaining", "")
    reset_after = seconds_of(answer.headers.get("x-ratelimit-reset-after"))
    if not name or not (remaining.isascii() and remaining.isdigit()) or len(remaining) > DIGITS_MAX or reset_after is None:
        return None
    known = known_limit(limits, bucket_scope(channel, name), now)
    return replace(
        known,
        remaining=min(int(remaining), 1_000_000),
        reset_at=now + reset_after,
        operations=tuple(sorted({*known.operations, operation.value})),
        set_at=now,
    )


def _channel(channel: ChannelRow, request: Request, judgement: Judgement) -> ChannelRow:
    if judgement.verdict is Verdict.CHANNEL_GONE:
        return replace(channel, status=DISABLED, status_reason=judgement.reason, event_seq=channel.event_seq + 1)
    if judgement.wait > SHOWN_AS_PAUSED:
        return replace(channel, status=PAUSED, status_reason=RATE_LIMITED)
    if judgement.verdict is not Verdict.DONE:
        return channel
    learned = _learned(channel, request, judgement)
    if learned.status == PAUSED and learned.status_reason == RATE_LIMITED:
        return replace(learned, status=ACTIVE, status_reason=None)
    return learned


def _learned(channel: ChannelRow, request: Request, judgement: Judgement) -> ChannelRow:
    document = judgement.document if isinstance(judgement.document, Mapping) else {}
    place, guild = document.get("channel_id"), document.get("guild_id")
    is_hook = request.operation is Operation.HOOK
    is_known = isinstance(place, str) and place.isdigit() and (is_hook or channel.thread_id is None)
    return replace(
        channel,
        discord_channel_id=place if is_known and request.operation is not Operation.LIST else channel.discord_channel_id,
        guild_id=guild if is_hook and isinstance(guild, str) and guild.isdigit() else channel.guild_id,
    )


def reads_refused(limits: Known, channel: ChannelRow, now: datetime) -> Limit:
    """Return the limit that says: the read token was refused, so for an hour nobody looks."""
    base = known_limit(limits, listing_scope(channel), now)
    return replace(base, paused_until=now + REFUSED_READS_WAIT, reason=READS_REFUSED, set_at=now)


def can_look(limits: Known, channel: ChannelRow, has_token: bool, now: datetime) -> bool:
    """Whether messages of the channel can be listed now."""
    limit = known_limit(limits, listing_scope(channel), now)
    return has_token and (limit.paused_until is None or limit.paused_until <= now)


# --- events -----------------------------------------------------------------------------------------------------------


def dead_events(rows: Sequence[Row], now: datetime) -> list[Event]:
    """Return a ``message_dead`` for every dead row, except about the ops channel: it cannot tell of itself."""
    return [_dead_event(row, now) for row in rows if row.state is State.DEAD and row.channel_id != Channel.OPS]


def _dead_event(row: Row, now: datetime) -> Event:
    return Event(
        event_id=derived_id("event", None, "message_dead", f"{row.channel_id}/{row.subject_key}", row.deaths),
        event_type="message_dead",
        aggregate_key=f"notify/{row.channel_id}/{row.subject_key}",
        aggregate_version=row.deaths,
        occurred_at=now,
        recorded_at=now,
        data={
            "channel_id": row.channel_id,
            "reason": row.dead_reason,
            "subject_key": row.subject_key,
            "wanted_version": row.wanted_version,
            "attempts": row.attempts,
            "remedy": f"dead --list, then replay --reason {row.dead_reason}",
        },
    )


def disabled_event(channel: ChannelRow, waiting: int, now: datetime) -> Event:
    """Return the ``channel_disabled`` event of a channel that Discord refuses."""
    return Event(
        event_id=derived_id("event", None, "channel_disabled", channel.channel_id, channel.event_seq),
        event_type="channel_disabled",
        aggregate_key=f"notify/{channel.channel_id}",
        aggregate_version=channel.event_seq,
        occurred_at=now,
        recorded_at=now,
        data={
            "channel_id": channel.channel_id,
            "reason": channel.status_reason,
            "waiting": waiting,
            "remedy": f"repair the webhook, then enable --channel {channel.channel_id}",
        },
    )
