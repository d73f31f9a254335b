"""One request to Discord with everything around it: allowed, claimed, sent with no transaction open, recorded.

No path sends without a row in the delivery log: the attempt is committed before the request leaves. The record needs the
lease; what Discord said is kept in the log in any case. Drain, search and reconciliation all go through here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

from fillbook.notify import accounts, outcomes
from fillbook.notify.answers import Judgement, Verdict, classify
from fillbook.notify.limits import GLOBAL_SCOPE, Limit, earliest, webhook_scope
from fillbook.notify.model import Answer, Channel, ChannelRow, Operation, Request, Row, Speaker, State
from fillbook.notify.outcomes import Moment, Sending
from fillbook.notify.pacing import DICE_MAX, Pace
from fillbook.notify.patience import Patience
from fillbook.notify.routing import Settings
from fillbook.notify.store import Lease, Settled, Turn, claim_call, settle_call
from fillbook.runtime import logs
from fillbook.runtime.clock import Clock
from fillbook.runtime.db import Call, Database
from fillbook.values import frozen

log = logs.get("notify")


@frozen
class Desk:
    """What the sending side works with; ``dice`` throws 0..1000."""

    db: Database
    speaker: Speaker
    clock: Clock
    settings: Settings
    dice: Callable[[], int]


@frozen
class Spoken:
    """What came of one request: the judgement, what has to be written, and limits and channel as they are now."""

    judgement: Judgement
    settled: Settled
    limits: Mapping[str, Limit]
    channel: ChannelRow
    at: datetime


def pace_of(desk: Desk, limits: Mapping[str, Limit], channel: ChannelRow, now: datetime) -> Pace:
    """Return the knobs and abilities a plan depends on."""
    return Pace(
        digest_threshold=desk.settings.digest_threshold,
        can_look=accounts.can_look(limits, channel, desk.speaker.can_read, now),
    )


def speak(
    desk: Desk, attempt_id: UUID, sending: Sending, channel: ChannelRow, limits: Mapping[str, Limit], *, notices: Notices
) -> Spoken:
    """Send a claimed request and work out what has to be written; nothing is written here."""
    answer = desk.speaker.send(sending.request)
    return conclude(desk, attempt_id, sending, answer, None, channel, limits, notices=notices)


@frozen
class Notices:
    """What events may be written about a channel: none about ops itself, nor when ops shares the broken webhook."""

    ops_webhook_id: str | None
    waiting: int = 0


def conclude(
    desk: Desk,
    attempt_id: UUID,
    sending: Sending,
    answer: Answer,
    judged: Judgement | None,
    channel: ChannelRow,
    limits: Mapping[str, Limit],
    *,
    notices: Notices,
) -> Spoken:
    """Work out rows, limits, channel and events after ``answer``; ``judged`` overrides how it is read."""
    now, dice = desk.clock.now(), desk.dice()
    request = sending.request
    strikes = accounts.known_limit(limits, webhook_scope(channel), now).strikes
    bans = accounts.known_limit(limits, GLOBAL_SCOPE, now).strikes
    judgement = judged or classify(request, answer, strikes=strikes, bans=bans)
    account = accounts.settle_accounts(limits, channel, request, answer, judgement, now=now, dice=dice)
    rows: tuple[Row, ...] = ()
    if request.operation in (Operation.CREATE, Operation.EDIT) and sending.rows:
        can_look = accounts.can_look({**limits, **account.limits}, channel, desk.speaker.can_read, now)
        rows = outcomes.settle_rows(sending, judgement, Moment(now=now, dice=dice, can_look=can_look))
    dead = [row for row, before in zip(rows, sending.rows, strict=False) if row.deaths > before.deaths]
    events = accounts.dead_events(dead, now)
    if account.channel.status == accounts.DISABLED and channel.status != accounts.DISABLED:
        log.error("discord_channel_disabled", channel=channel.channel_id, reason=judgement.reason)
        if channel.channel_id != Channel.OPS and channel.webhook_id != notices.ops_webhook_id:
            events.append(accounts.disabled_event(account.channel, notices.waiting, now))
    _say(sending, answer, judgement, dead)
    settled = Settled(
        attempt_id=attempt_id,
        answer=answer,
        message_id=judgement.message_id or request.message_id,
        wait=_seconds(judgement.wait) if judgement.wait else None,
        error=None if judgement.verdict is Verdict.DONE else judgement.reason or judgement.verdict.value,
        rows=rows,
        limits=tuple(account.limits.values()),
        channel=account.channel if account.channel != channel else None,
        events=tuple(events),
    )
    return Spoken(judgement=judgement, settled=settled, limits={**limits, **account.limits}, channel=account.channel, at=now)


def _seconds(wait: timedelta) -> Decimal:
    return Decimal(wait // timedelta(milliseconds=1)) / 1000


def _say(sending: Sending, answer: Answer, judgement: Judgement, dead: Sequence[Row]) -> None:
    fields = {
        "channel": sending.request.channel_id,
        "operation": sending.request.operation.value,
        "subject_key": sending.rows[0].subject_key if sending.rows else None,
        "subjects": len(sending.rows),
        "attempt": sending.rows[0].attempts + 1 if sending.rows else None,
        "http_status": answer.status,
        "wait_seconds": _seconds(judgement.wait) if judgement.wait else None,
    }
    if judgement.verdict is Verdict.BANNED:
        log.error("discord_banned", **fields)
    elif judgement.verdict is Verdict.DONE:
        log.info("discord_request", **fields)
    else:
        log.warning("discord_request", verdict=judgement.verdict.value, reason=judgement.reason, error=answer.error, **fields)
    for row in dead:
        log.error("message_dead", channel=row.channel_id, subject_key=row.subject_key, reason=row.dead_reason)


class Talk:
    """A leased channel and what is known of it, for procedures of several requests (search, proof, repair)."""

    def __init__(self, desk: Desk, lease: Lease, turn: Turn, patience: Patience) -> None:
        self.desk = desk
        self.lease = lease
        self.channel = turn.channel
        self.limits = dict(turn.limits)
        self.patience = patience
        self.creates_waiting = turn.queue.creates > 0
        self._notices = Notices(ops_webhook_id=turn.ops_webhook_id, waiting=turn.queue.creates)

    def call(self, *calls: Call) -> tuple[object, ...]:
        """Run calls in a transaction of their own."""
        results: tuple[object, ...] = self.desk.db.run(lambda tx: tx.call(*calls))
        return results

    def say(
        self, request: Request, *, rows: Sequence[Row] = (), about: Sequence[str] = (), is_old: bool = False
    ) -> Spoken | None:
        """Wait for the allowance, then claim, send and record one request. None: no patience left, nothing was sent."""
        if not self._is_allowed(request.operation, is_old=is_old):
            return None
        attempt_id, now = uuid4(), self.desk.clock.now()
        reserved = accounts.counted(self.limits, self.channel, request.operation, now)
        self.call(claim_call(self.lease, now, attempt_id, request, rows=rows, about=about, limits=reserved.values()))
        sending = Sending(request=request, rows=tuple(rows), claimed_at=now, webhook_id=self.channel.webhook_id)
        spoken = speak(self.desk, attempt_id, sending, self.channel, self.limits, notices=self._notices)
        if spoken.judgement.verdict is Verdict.ASK_WEBHOOK:
            self._record(replace(spoken, settled=replace(spoken.settled, rows=())))
            return self._judged_by_webhook(spoken, sending)
        self._record(spoken)
        return spoken

    def _judged_by_webhook(self, spoken: Spoken, sending: Sending) -> Spoken | None:
        """A 404 without a code: when the webhook answers, it is the message that is gone."""
        verdict = self.ask_webhook([row.subject_key for row in sending.rows])
        if verdict is None:
            return None
        judgement = Judgement(verdict=verdict, reason=spoken.judgement.reason)
        moment = Moment(now=self.desk.clock.now(), dice=self.desk.dice(), can_look=False)
        if not sending.rows:
            return replace(spoken, judgement=judgement)
        rows = outcomes.settle_rows(sending, judgement, moment)
        settled = Settled(rows=rows)
        self.write(settled)
        return replace(spoken, judgement=judgement, settled=settled)

    def ask_webhook(self, about: Sequence[str]) -> Verdict | None:
        """Return what a message that was not found means: gone, the channel gone, or failed; None without patience."""
        asked = self.say(Request(operation=Operation.HOOK, channel_id=self.channel.channel_id), about=about)
        if asked is None:
            return None
        table = {Verdict.DONE: Verdict.MESSAGE_GONE, Verdict.CHANNEL_GONE: Verdict.CHANNEL_GONE}
        return table.get(asked.judgement.verdict, Verdict.FAILED)

    def write(self, settled: Settled) -> None:
        """Record a decision made without a request."""
        self.call(settle_call(self.lease, self.desk.clock.now(), settled))

    def _record(self, spoken: Spoken) -> None:
        self.limits, self.channel = dict(spoken.limits), spoken.channel
        self.call(settle_call(self.lease, spoken.at, spoken.settled))

    def _is_allowed(self, operation: Operation, *, is_old: bool) -> bool:
        while True:
            now = self.desk.clock.now()
            at = earliest(now, self.limits, self.channel, operation, creates_waiting=self.creates_waiting, is_old=is_old)
            if at <= now:
                # whether a disabled channel's webhook answers again is the one thing that may be asked of it
                is_open = self.channel.status != accounts.DISABLED or operation is Operation.HOOK
                return is_open and not self.patience.is_over()
            if self.patience.is_over() or not self.patience.wait(at):
                return False


def is_done(row: Row) -> bool:
    """Whether the row shows what it wants to."""
    return row.state is State.POSTED and row.posted_hash == row.wanted_hash


def throw_of(number: int) -> int:
    """Bring any number into the range of the dice."""
    return number % (DICE_MAX + 1)
