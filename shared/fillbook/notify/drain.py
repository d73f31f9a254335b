"""Sending what waits in a channel: one drainer per channel, one message per execution, nothing stranded.

A turn is one transaction: record the last answer, look at what waits, claim the next request or give the channel back.
The request goes out between two transactions. Whoever stores a message while the channel is leased returns at once; the
last turn holds the channel's row until it is given back, so that either it sees the message or the storer gets the lease.

A message that is alone in its channel takes two transactions: it is claimed in the one that stores it (``telling.py``), and
the one that records its answer gives the channel back when nothing came meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID, uuid4

from fillbook.notify import accounts, outcomes
from fillbook.notify.answers import Verdict
from fillbook.notify.looking import look
from fillbook.notify.model import Operation, Request, Row, State
from fillbook.notify.outcomes import Moment, Sending, noted
from fillbook.notify.pacing import OUT_OF_ORDER, Kind, Queue, Step, plan
from fillbook.notify.patience import Patience
from fillbook.notify.store import (
    Lease,
    Settled,
    Turn,
    claim_call,
    lease_call,
    release_call,
    rest_call,
    settle_call,
    turn_call,
    turn_of,
)
from fillbook.notify.talk import Desk, Notices, Talk, log, pace_of, speak
from fillbook.runtime import clock
from fillbook.runtime.db import Call, Tx
from fillbook.runtime.errors import Unavailable
from fillbook.values import frozen

T = TypeVar("T")

RECORD_PAUSES_MILLISECONDS = (200, 1000, 3000)
"""Real time between tries to record an answer while the database is away; all within the lease."""


@frozen
class Report:
    """How a drain ended: ``idle``, ``waiting``, ``budget``, ``busy``, ``paused`` or ``disabled``; ``until`` = next due."""

    channel_id: str
    reason: str
    requests: int = 0
    until: datetime | None = None


@frozen
class Decision:
    """What a turn decided: an end, a claimed request, a search, a settlement without request, or a wait.

    ``introduces``: before its first message a channel asks which Discord channel its webhook belongs to, because the
    limit of messages is that channel's, over all its webhooks.
    """

    turn: Turn | None = None
    end: str | None = None
    until: datetime | None = None
    sending: Sending | None = None
    attempt_id: UUID | None = None
    rows: tuple[Row, ...] = ()
    settled: Settled | None = None
    introduces: bool = False
    error: Exception | None = None


def drain(desk: Desk, channel_id: str, patience: Patience) -> Report:
    """Send what waits in ``channel_id`` until nothing is due, patience ends, or another drainer holds the channel."""
    return Drain(desk, Lease(channel_id=channel_id, token=uuid4()), patience).run()


class Drain:
    """One drainer of one channel: its lease, its patience and what it has done."""

    def __init__(self, desk: Desk, lease: Lease, patience: Patience) -> None:
        self._desk = desk
        self._lease = lease
        self._patience = patience
        self._requests = 0
        self._has_asked = False

    @property
    def lease(self) -> Lease:
        """What it holds, or will."""
        return self._lease

    def begin(self, idle: Turn, rows: Sequence[Row], now: datetime) -> Decision | None:
        """Return the claim of the one new message of a channel in which nothing else waits; None: go the usual way."""
        if len(rows) != 1 or rows[0].channel_id != idle.channel.channel_id:
            return None
        try:
            decision = self._choose(replace(idle, queue=Queue(rows=tuple(rows), creates=1)), now, is_leaving=False)
        except Exception as error:  # noqa: BLE001 -- the event must be stored whatever is wrong with sending; the usual way tells
            log.failed("drain_failed", error, channel=idle.channel.channel_id)
            return None
        return decision if decision.sending is not None and decision.sending.rows[0].is_create else None

    def claim_call(self, decision: Decision, now: datetime, *, are_stored_as_sending: bool = False) -> Call | None:
        """Return the claim of a decision to send; None for any other."""
        turn, sending = decision.turn, decision.sending
        if turn is None or sending is None or decision.attempt_id is None:
            return None
        limits = accounts.counted(turn.limits, turn.channel, sending.request.operation, now).values()
        rows = () if are_stored_as_sending else sending.rows
        about = [row.subject_key for row in sending.rows]
        return claim_call(self._lease, now, decision.attempt_id, sending.request, rows=rows, about=about, limits=limits)

    def run(self, begun: Decision | None = None) -> Report:
        """Drain until an end is decided; ``begun`` is a claim that was committed already. Raises what a turn could not decide."""
        settled: Settled | None = None
        is_first, is_leaving = begun is None, False
        while True:
            decision = begun or self._turn(settled, is_first=is_first, is_leaving=is_leaving)
            begun, is_first = None, False
            if decision.error is not None:
                raise decision.error
            if decision.end is not None:
                return Report(
                    channel_id=self._lease.channel_id, reason=decision.end, requests=self._requests, until=decision.until
                )
            settled, is_leaving = self._act(decision)
            if settled is not None and _was_alone(decision, settled):
                if self._rests(settled):
                    return Report(channel_id=self._lease.channel_id, reason="idle", requests=self._requests)
                settled = None

    def _act(self, decision: Decision) -> tuple[Settled | None, bool]:
        """Do what the turn decided; return what is to be recorded, and whether to leave at the next turn."""
        if decision.sending is not None and decision.turn is not None and decision.attempt_id is not None:
            self._requests += 1
            return self._send(decision.turn, decision.sending, decision.attempt_id), False
        if decision.settled is not None:
            return decision.settled, False
        if decision.turn is not None and (decision.rows or decision.introduces):
            if decision.introduces:
                self._has_asked = True
                return None, Talk(self._desk, self._lease, decision.turn, self._patience).ask_webhook(()) is None
            talk = Talk(self._desk, self._lease, decision.turn, self._patience.of_a_search)
            return None, not look(talk, decision.rows)
        return None, decision.until is not None and not self._patience.wait(decision.until)

    def _send(self, turn: Turn, sending: Sending, attempt_id: UUID) -> Settled:
        notices = Notices(ops_webhook_id=turn.ops_webhook_id, waiting=turn.queue.creates)
        spoken = speak(self._desk, attempt_id, sending, turn.channel, turn.limits, notices=notices)
        if spoken.judgement.verdict is not Verdict.ASK_WEBHOOK:
            return spoken.settled
        talk = Talk(self._desk, self._lease, turn, self._patience)
        talk.limits = dict(spoken.limits)
        talk.write(replace(spoken.settled, rows=()))
        verdict = talk.ask_webhook([row.subject_key for row in sending.rows]) or Verdict.FAILED
        judgement = replace(spoken.judgement, verdict=verdict)
        moment = Moment(now=self._desk.clock.now(), dice=self._desk.dice(), can_look=False)
        return Settled(rows=outcomes.settle_rows(sending, judgement, moment))

    # --- a turn -------------------------------------------------------------------------------------------------------

    def _turn(self, settled: Settled | None, *, is_first: bool, is_leaving: bool) -> Decision:
        """Record, look, decide, claim or release: one transaction."""
        is_answer = settled is not None and settled.attempt_id is not None
        return self._recorded(lambda tx: self._decide(tx, settled, is_first, is_leaving), is_answer=is_answer)

    def _rests(self, settled: Settled) -> bool:
        """Record the answer to a message that was alone and give the channel back in one message; False: others came."""
        now = self._desk.clock.now()
        calls = (settle_call(self._lease, now, settled), rest_call(self._lease, now))
        _, rest = self._recorded(lambda tx: tx.finish(*calls), is_answer=True)
        return bool(rest["rested"])

    def _recorded(self, work: Callable[[Tx], T], *, is_answer: bool) -> T:
        """Run one transaction; an answer of Discord is worth several tries."""
        for pause in RECORD_PAUSES_MILLISECONDS if is_answer else ():
            try:
                return self._desk.db.run(work)
            except Unavailable:
                log.warning("record_postponed", channel=self._lease.channel_id)
                clock.sleep(pause / 1000)
        return self._desk.db.run(work)

    def _decide(self, tx: Tx, settled: Settled | None, is_first: bool, is_leaving: bool) -> Decision:
        now = self._desk.clock.now()
        calls = [lease_call(self._lease, now)] if is_first else []
        if settled is not None:
            calls.append(settle_call(self._lease, now, settled))
        answers: tuple[Any, ...] = tx.call(*calls, turn_call(self._lease, now))
        turn = turn_of(answers[-1])
        if turn is None:
            return Decision(end="busy")
        try:
            decision = self._choose(turn, now, is_leaving=is_leaving)
        except Exception as error:  # noqa: BLE001 -- the record of the last answer must commit before a bug is told
            decision = Decision(end="failed", error=error)
        claim = self.claim_call(decision, now)
        if decision.end is not None:
            tx.send(release_call(self._lease, now))
        elif claim is not None:
            tx.send(claim)
        return decision

    def _choose(self, turn: Turn, now: datetime, *, is_leaving: bool) -> Decision:
        channel = turn.channel
        if channel.status == accounts.DISABLED:
            return Decision(end="disabled")
        if channel.status == accounts.PAUSED and channel.status_reason != accounts.RATE_LIMITED:
            return Decision(end="paused")
        pace = pace_of(self._desk, turn.limits, channel, now)
        repaired = self._repaired(turn, Moment(now=now, dice=self._desk.dice(), can_look=pace.can_look))
        if repaired is not None:
            return Decision(turn=turn, settled=repaired)
        step = plan(now, turn.limits, turn.queue, channel, pace)
        if step.is_digest != channel.is_digest:
            return Decision(turn=turn, settled=Settled(channel=replace(channel, is_digest=step.is_digest)))
        return self._follow(step, turn, now, is_leaving=is_leaving)

    def _follow(self, step: Step, turn: Turn, now: datetime, *, is_leaving: bool) -> Decision:
        if step.kind is Kind.IDLE:
            return Decision(end="idle")
        if self._patience.is_over():
            return Decision(end="budget", until=step.until)
        if step.kind is Kind.WAIT:
            return Decision(end="waiting" if is_leaving else None, until=step.until, turn=turn)
        if is_leaving and step.kind is Kind.LOOK:
            return Decision(end="waiting", until=now)
        if step.kind is Kind.SETTLE:
            rows = tuple(outcomes.resend(row, now) for row in step.rows)
            return Decision(turn=turn, settled=self._decided(rows, step.rows, now))
        if step.kind is Kind.LOOK:
            return Decision(turn=turn, rows=step.rows)
        if turn.channel.discord_channel_id is None and not self._has_asked:
            return Decision(turn=turn, introduces=True)
        return Decision(turn=turn, sending=_sending(step, turn, now), attempt_id=uuid4())

    def _repaired(self, turn: Turn, moment: Moment) -> Settled | None:
        """Rows whose drainer is gone become open or pending; rows that waited too long become dead."""
        stuck = [self._recovered(row, turn, moment) for row in turn.stuck]
        expired = [outcomes.dead(row, outcomes.EXPIRED) for row in turn.expired if outcomes.is_expired(row, moment.now)]
        if not stuck and not expired:
            return None
        before = (*turn.stuck, *(row for row in turn.expired if outcomes.is_expired(row, moment.now)))
        return self._decided((*stuck, *expired), before, moment.now)

    def _recovered(self, row: Row, turn: Turn, moment: Moment) -> Row:
        answered = turn.answered.get(row.subject_key)
        if answered is None or not row.is_create:
            return outcomes.abandoned(row, moment)
        message_id, embed_index = answered
        return outcomes.adopted(row, message_id, embed_index, turn.channel.webhook_id, outcomes.UNSEEN, moment.now)

    def _decided(self, rows: Sequence[Row], before: Sequence[Row], now: datetime) -> Settled:
        dead = [row for row, old in zip(rows, before, strict=True) if row.deaths > old.deaths]
        for row in dead:
            log.error("message_dead", channel=row.channel_id, subject_key=row.subject_key, reason=row.dead_reason)
        return Settled(rows=tuple(rows), events=tuple(accounts.dead_events(dead, now)))


def _was_alone(decision: Decision, settled: Settled) -> bool:
    """Whether a request carried all that waited and nothing is left to decide about its answer."""
    turn, sending = decision.turn, decision.sending
    return (
        turn is not None
        and sending is not None
        and not turn.channel.is_digest
        and len(turn.queue.rows) <= len(sending.rows)
        and settled.attempt_id is not None
        and settled.channel is None
        and all(row.state is State.POSTED for row in settled.rows)
    )


def _sending(step: Step, turn: Turn, now: datetime) -> Sending:
    operation = step.operation or Operation.CREATE
    rows = tuple(noted(row, OUT_OF_ORDER) if row.subject_key in step.late else row for row in step.rows)
    request = Request(
        operation=operation,
        channel_id=turn.channel.channel_id,
        message_id=rows[0].message_id if operation is Operation.EDIT else None,
        embeds=tuple(row.wanted.to_json(row.notes) for row in rows),
    )
    return Sending(request=request, rows=rows, claimed_at=now, webhook_id=turn.channel.webhook_id)
