"""What the function does for each of its paths: store and drain a push, keep what was given up, drain on the minute.

A push is acknowledged once its event is stored; whatever happens while draining afterwards is logged and left to the
next push or tick, so a storm at Discord cannot dead-letter healthy events.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from flask import Request, Response

from fillbook.instants import instant_of
from fillbook.notify import reconcile, runs, service
from fillbook.notify.drain import drain
from fillbook.notify.judging import UNDER_WAY
from fillbook.notify.model import Speaker
from fillbook.notify.pacing import DICE_MAX
from fillbook.notify.patience import Budget, Impatient, Patience
from fillbook.notify.routing import Settings
from fillbook.notify.talk import Desk
from fillbook.notify.telling import tell
from fillbook.outbox.model import derived_id
from fillbook.runtime.bodies import parse_json_object
from fillbook.runtime.clock import Clock
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Rejected
from fillbook.runtime.http import CronCall, Refused, answer, read_body
from fillbook.runtime.places import Places
from fillbook.runtime.pubsub import PushMessage

NAME = "discord_notifier"
CONCURRENCY = 8
WAITING = 24
PUSH_SECONDS = 20
TICK_SECONDS = 50
DEAD_LETTER = "dead_letter"
ASK_BYTES_MAX = 4096
HOURS_MAX = 31 * 24
DAY_HOURS = 24


class Notifier:
    """The function's use cases over one database, one adapter and one clock."""

    def __init__(self, db: Database, speaker: Speaker, clock: Clock, settings: Settings) -> None:
        self.desk = Desk(db=db, speaker=speaker, clock=clock, settings=settings, dice=lambda: random.randint(0, DICE_MAX))

    def configure(self, channels: Sequence[Mapping[str, Any]]) -> Notifier:
        """Make the configured channels known to the database; returns itself."""
        service.configure(self.desk.db, channels, self._now())
        return self

    def receive(self, message: PushMessage) -> None:
        """Store a pushed event and send what waits in its channels; raises ``Rejected`` for what is quarantined."""
        tell(self.desk, message.data, Budget(self.desk.clock, PUSH_SECONDS))

    def bury(self, message: PushMessage) -> None:
        """Keep an event that Pub/Sub gave up."""
        service.quarantine(self.desk.db, DEAD_LETTER, message.data, self._now())

    def refuse(self, refused: Refused) -> None:
        """Keep an event that can never be told."""
        service.quarantine(self.desk.db, refused.reason, refused.body, self._now())

    def tick(self, call: CronCall) -> Mapping[str, Any]:
        """Do the minute's work, ``drain``, or the hour's, ``reconcile``: queue a proof of the last hours and begin it."""
        budget = Budget(self.desk.clock, TICK_SECONDS)
        task = call.body.get("task")
        if task not in ("drain", "reconcile"):
            raise Rejected("task_unknown", field="task")
        if task == "reconcile":
            self._queue_scheduled(call)
        service.fade(self.desk.db, self._now())
        self.drain_round(Impatient(budget))
        proof = reconcile.work(self.desk, budget)
        return {"ok": True, "task": task, "proof": proof, "channels": self.drain_round(budget)}

    def ask_proof(self, request: Request) -> Response:
        """Queue a proof for ``trade_tracker``: ``{since, until, repair}`` -> 202 with its id; the ticks work it."""
        body = parse_json_object(read_body(request, ASK_BYTES_MAX))
        since, until, repair = _instant(body, "since"), _instant(body, "until"), body.get("repair", True)
        if not isinstance(repair, bool):
            raise Rejected("repair_invalid", field="repair")
        run_id, _ = runs.ask(self.desk.db, since=since, until=until, repair=repair, requested_by="trade_tracker", now=self._now())
        return answer(202, {"ok": True, "run_id": run_id})

    def _queue_scheduled(self, call: CronCall) -> None:
        """Queue one run per slot: the Scheduler may call twice. What was booked in the last minute is still on its way."""
        hours = call.body.get("hours", 2)
        if not isinstance(hours, int) or isinstance(hours, bool) or not 1 <= hours <= HOURS_MAX:
            raise Rejected("hours_invalid", field="hours")
        now = self._now()
        until = (call.slot or now) - UNDER_WAY
        run_id = derived_id("reconcile", hours, call.slot.isoformat()) if call.slot is not None else None
        runs.ask(
            self.desk.db,
            since=until - timedelta(hours=hours),
            until=until,
            repair=True,
            requested_by="schedule",
            now=now,
            run_id=run_id,
        )
        if hours >= DAY_HOURS:
            service.purge(self.desk.db, now)

    def drain_round(self, budget: Patience) -> Mapping[str, str]:
        """Drain every channel in turn, none waiting while another could send, until nothing is due within the budget."""
        names = service.all_channels(self.desk.settings.has_lanes)
        while True:
            reports = [drain(self.desk, name, Impatient(budget)) for name in names]
            waits = [report.until for report in reports if report.until is not None]
            if budget.is_over() or not waits or not budget.wait(min(waits)):
                return {report.channel_id: report.reason for report in reports}

    def _now(self) -> datetime:
        return self.desk.clock.now()


def places() -> Places:
    """Calls at work, and in line."""
    return Places(CONCURRENCY, waiting=WAITING)


def _instant(body: Mapping[str, Any], name: str) -> datetime:
    try:
        return instant_of(str(body.get(name)))
    except ValueError:
        raise Rejected("instant_invalid", field=name) from None
