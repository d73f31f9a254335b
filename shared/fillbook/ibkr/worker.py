"""What ``execution_sync`` does for each of its routes, and the same work as a job that empties the queue.

Whoever asks only enqueues: a push, the minute's tick and the job all claim from the same queue under the same lease, so the
work is done once whoever comes. A job's failure is the job's, never the message's: it waits for its back-off in the queue,
not in Pub/Sub. Source: ibkr.md 11.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Final

from flask import Request, Response

from fillbook.ibkr import accounts, desk, jobs, orders, payloads
from fillbook.ibkr.allowlist import AccountConfig
from fillbook.ibkr.handlers import HANDLERS, Done, Failed, NotReady, Outcome, Outside
from fillbook.ibkr.jobs import Job, Left
from fillbook.ibkr.payloads import Defaults, Requested
from fillbook.ibkr.words import Reason
from fillbook.outbox.relay import relay_own
from fillbook.runtime import clock as process_clock
from fillbook.runtime import logs
from fillbook.runtime.bodies import parse_json_object
from fillbook.runtime.clock import Clock
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Conflict, Rejected, Unavailable
from fillbook.runtime.http import CronCall, Refused, answer, cron, push, read_body
from fillbook.runtime.pubsub import Publish, PushMessage
from fillbook.values import frozen

NAME: Final = "execution_sync"
SCHEDULED: Final = "X-CloudScheduler-ScheduleTime"
CONCURRENCY: Final = 4
BODY_BYTES_MAX: Final = 65_536
TICK_JOBS_MAX: Final = 5
TICK_SECONDS: Final = 45
"""A tick claims no further job after it: what it claims last may take the run's whole deadline."""
SOON: Final = timedelta(seconds=60)
WAIT_SECONDS: Final = 1
WAIT_MAX: Final = timedelta(minutes=10)


@frozen
class Worker:
    """One per process; shares database, publisher and doors between the function's threads."""

    db: Database
    publisher: Publish
    clock: Clock
    configs: tuple[AccountConfig, ...]
    defaults: Defaults
    outside: Outside

    # --- routes ----------------------------------------------------------------------------------------------------------

    @staticmethod
    def routes(worker: Callable[[], Worker], check: Callable[[Request], str]) -> dict[str, Callable[..., Response]]:
        """Every route of the function; ``check`` returns the caller's e-mail or refuses, ``worker`` is made by the first call."""

        def pushed(work: Callable[[Worker, PushMessage], object]) -> Callable[..., Response]:
            return push(lambda m: work(worker(), m), verify=check, quarantine=lambda refused: worker().refuse(refused))

        def asked(work: Callable[..., Response]) -> Callable[..., Response]:
            return lambda request, **parameters: work(worker(), request, check(request), **parameters)

        return {
            "POST /api/v1/jobs": asked(Worker.post_job),
            "GET /api/v1/jobs/{job_id}": asked(Worker.get_job),
            "GET /api/v1/quarantine": asked(Worker.list_quarantine),
            "POST /api/v1/quarantine/{quarantine_id}/accept": asked(Worker.accept),
            "POST /pubsub/jobs": pushed(Worker.receive),
            "POST /pubsub/orders-processed": pushed(Worker.take_orders),
            "POST /pubsub/dead": pushed(Worker.bury),
            "POST /cron/jobs": cron(lambda call: worker().tick(call), verify=check),
        }

    def post_job(self, request: Request, caller: str) -> Response:
        """Enqueue: ``{job_type, payload}`` -> 202 with the job that waits."""
        body = parse_json_object(read_body(request, BODY_BYTES_MAX))
        try:
            requested = payloads.asked(body, self.defaults)
        except Rejected as error:
            if SCHEDULED not in request.headers:
                raise
            # a schedule of something that is not configured here (no gateway, no confirmations) is no trouble
            logs.get(NAME).info("schedule_not_configured", reason=error.reason, field=error.field)
            return answer(200, {"ok": False, "reason": error.reason})
        queued = jobs.enqueue_once(self.db, requested, requested_by=caller, now=self.clock.now())
        self._relay(queued.partitions)
        logs.get(NAME).info("job_enqueued", job_id=queued.job_id, job_type=requested.job_type, is_new=queued.is_new)
        return answer(202, {"job_id": queued.job_id, "is_new": queued.is_new, "state": queued.state})

    def get_job(self, _request: Request, _caller: str, job_id: str) -> Response:
        """State of a job, what its runs counted, why it failed."""
        return answer(200, jobs.find(self.db, job_id))

    def list_quarantine(self, _request: Request, _caller: str) -> Response:
        """Rows that wait for a decision."""
        return answer(200, {"items": desk.open_rows(self.db)})

    def accept(self, request: Request, caller: str, quarantine_id: str) -> Response:
        """Accept a row: ``{reason}`` -> what was decided, by whom and when."""
        body = parse_json_object(read_body(request, BODY_BYTES_MAX))
        return answer(200, desk.accept(self.db, quarantine_id, body.get("reason"), decided_by=caller, now=self.clock.now()))

    def receive(self, message: PushMessage) -> None:
        """Work the job a message names. One that another holds, or that waits longer, is done by whoever claims it."""
        job_id = desk.job_of(message.data)
        now = self.clock.now()
        job = jobs.claim(self.db, now, job_id=job_id)
        if job is not None:
            self.work(job)
            return
        due = jobs.waits_until(self.db, job_id)
        if due is not None and now < due <= now + SOON:
            raise Unavailable("job_not_due", retry_after_seconds=max(int((due - now).total_seconds()), 1))

    def take_orders(self, message: PushMessage) -> None:
        """Store what the order system tells and enqueue both syncs."""
        told = orders.read(message.data)
        now = self.clock.now()
        accounts.configure_accounts(self.db, self.configs, now)
        taken = orders.take(self.db, told, self._syncs(), received_at=message.publish_time, now=now)
        self._relay(taken.partitions)
        logs.get(NAME).info(
            "orders_taken", event_id=str(told.event_id), is_new=taken.is_new, trades=taken.trades_count, jobs=list(taken.job_ids)
        )

    def bury(self, message: PushMessage) -> None:
        """Keep a message that was given up, and give up the job it names."""
        job_id = desk.job_named(message.data)
        if job_id is not None:
            jobs.give_up(self.db, job_id, Reason.DEAD_LETTER, self.clock.now())
        desk.keep_message(self.db, message.data, Reason.DEAD_LETTER, _topic(message), self.clock.now())
        logs.get(NAME).error("message_given_up", message_id=message.message_id, job_id=job_id)

    def refuse(self, refused: Refused) -> None:
        """Keep a message that stays wrong."""
        reason = Reason.ACCOUNT_NOT_ALLOWED if refused.reason == Reason.ACCOUNT_NOT_ALLOWED else Reason.BAD_MESSAGE
        topic = "push" if refused.message is None else _topic(refused.message)
        desk.keep_message(self.db, refused.body, reason, topic, self.clock.now(), detail=refused.reason)

    def tick(self, _call: CronCall) -> Mapping[str, object]:
        """The minute's work: take back what a crash left, then at most five due jobs."""
        started = process_clock.monotonic()
        reaped = self.reap()
        worked = 0
        while worked < TICK_JOBS_MAX and process_clock.monotonic() - started < TICK_SECONDS:
            job = jobs.claim(self.db, self.clock.now())
            if job is None:
                break
            self.work(job)
            worked += 1
        return {"ok": True, "reaped": reaped, "worked": worked}

    # --- work ------------------------------------------------------------------------------------------------------------

    def work_until_empty(self) -> int:
        """Work all that waits, also what waits for its time, then return how many jobs that were (the Cloud Run job)."""
        worked = 0
        while True:
            self.reap()
            job = jobs.claim(self.db, self.clock.now())
            if job is not None:
                self.work(job)
                worked += 1
                continue
            due = jobs.next_due(self.db)
            if due is None or due - self.clock.now() > WAIT_MAX:
                return worked
            process_clock.sleep(WAIT_SECONDS)

    def reap(self) -> int:
        """Take back jobs whose lease ran out."""
        count, partitions = jobs.reap(self.db, self.clock.now())
        self._relay(partitions)
        return count

    def work(self, job: Job) -> Left:
        """Do a claimed job and leave it as it went; whatever it raises is the job's, not the caller's."""
        log, now = logs.get(NAME), self.clock.now()
        try:
            accounts.configure_accounts(self.db, self.configs, now)
            done = HANDLERS[job.job_type](self.db, self.outside, job, now)
        except (Rejected, Conflict) as error:
            left = jobs.fail(self.db, job, error.reason, self.clock.now(), is_final=True)
            log.warning("job_failed", job_id=job.job_id, job_type=job.job_type, reason=error.reason, detail=error.detail)
        except Unavailable as error:
            left = jobs.fail(self.db, job, error.reason, self.clock.now(), is_final=False)
            log.warning("job_unavailable", job_id=job.job_id, job_type=job.job_type, reason=error.reason, state=left.state)
        except Exception as error:  # noqa: BLE001 -- a bug must not hold a lease; it is logged with its trace
            left = jobs.fail(self.db, job, "internal", self.clock.now(), is_final=False)
            log.failed("job_broke", error, job_id=job.job_id, job_type=job.job_type)
        else:
            left = self._leave(job, done)
            log.info("job_worked", job_id=job.job_id, job_type=job.job_type, state=left.state, is_held=left.is_held)
        self._relay(left.partitions)
        return left

    def _leave(self, job: Job, done: Outcome) -> Left:
        now = self.clock.now()
        follow = [(one.requested, one.not_before) for one in done.follow]
        match done:
            case NotReady():
                return jobs.defer(self.db, job, done.until, done.reason, now, follow=follow, trouble=done.trouble)
            case Failed():
                return jobs.fail(self.db, job, done.error_class, now, is_final=True, follow=follow)
            case Done():
                self._relay(done.partitions)
                return jobs.finish(self.db, job, now, follow)

    def _syncs(self) -> list[Requested]:
        types = (payloads.JOB_TYPE_POSITIONS_SYNC, payloads.JOB_TYPE_TRADES_SYNC)
        return [payloads.read(job_type, {}, self.defaults) for job_type in types] if self.defaults.targets else []

    def _relay(self, partitions: Iterable[int]) -> None:
        wanted = tuple(partitions)
        if wanted:
            relay_own(self.db, self.publisher, wanted, now_from=self.clock)


def _topic(message: PushMessage) -> str:
    """The topic of a subscription named ``<topic>-<function>``."""
    return message.subscription.rpartition("/")[2].removesuffix(f"-{NAME}")[:64] or "push"
