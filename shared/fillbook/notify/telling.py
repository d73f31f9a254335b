"""A pushed event on the shortest way to Discord: stored and claimed in one transaction when its channel is idle.

Two messages to the database – read the subjects and take the channel; write the message, already ``sending``, with its
request in the delivery log – and after their one commit the request may leave. Taking the channel waits for nobody and is
refused when another drainer holds it or anything waits in it: then the event is stored first and the channel drained
afterwards, as ever. Nothing about sending can keep an event from being stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from uuid import uuid4

from fillbook.notify.drain import Decision, Drain, drain
from fillbook.notify.envelope import Envelope, parse_envelope
from fillbook.notify.model import State
from fillbook.notify.patience import Patience
from fillbook.notify.routing import channel_of
from fillbook.notify.service import Stored, judge, say_stored, store_calls, take
from fillbook.notify.store import Lease, idle_of, open_call, release_call
from fillbook.notify.talk import Desk, log
from fillbook.runtime.db import Tx


def tell(desk: Desk, body: bytes, patience: Patience) -> Stored:
    """Store one pushed event and send what waits in its channels; returns once the event is stored, whatever sending met.

    Raises ``Rejected`` for what belongs into quarantine, ``Unavailable`` when it could not be stored.
    """
    event = parse_envelope(body)
    channel = channel_of(event)
    if channel is None:
        return take(desk.db, event, desk.settings, desk.clock.now())
    drainer = Drain(desk, Lease(channel_id=channel.value, token=uuid4()), patience)
    stored, claimed = desk.db.run(lambda tx: _store_and_claim(tx, desk, event, drainer))
    if claimed is not None:
        _send(drainer, claimed)
    say_stored(event, stored)
    drain_all(desk, [name for name in stored.channels if claimed is None or name != channel.value], patience)
    return stored


def drain_all(desk: Desk, channels: Iterable[str], patience: Patience) -> None:
    """Drain channels one after the other; a failure is told and left to the next push or tick."""
    for name in channels:
        try:
            drain(desk, name, patience)
        except Exception as error:  # noqa: BLE001 -- the event is stored: its push is acknowledged whatever happens here
            log.failed("drain_failed", error, channel=name)


def _send(drainer: Drain, claimed: Decision) -> None:
    try:
        drainer.run(claimed)
    except Exception as error:  # noqa: BLE001 -- as in ``drain_all``
        log.failed("drain_failed", error, channel=drainer.lease.channel_id)


def _store_and_claim(tx: Tx, desk: Desk, event: Envelope, drainer: Drain) -> tuple[Stored, Decision | None]:
    """Store the event; when its channel was idle and its message may leave now, store that message as being sent."""
    now, lease = desk.clock.now(), drainer.lease
    is_new, documents, opened = tx.call(*store_calls(event, now), open_call(lease, now))
    idle = idle_of(opened)
    judged = judge(event, documents, desk.settings, now) if is_new else None
    decision = drainer.begin(idle, judged.intake.rows, now) if idle is not None and judged is not None else None
    if judged is not None:
        rows = judged.intake.rows
        tx.send(judged.call(rows if decision is None else [replace(row, state=State.SENDING, claimed_at=now) for row in rows]))
    claim = None if decision is None else drainer.claim_call(decision, now, are_stored_as_sending=True)
    if claim is not None:
        tx.send(claim)
    elif idle is not None:
        tx.send(release_call(lease, now))
    return Stored(is_new=False) if judged is None else judged.stored, decision
