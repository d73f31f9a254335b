"""``snapshot_publisher`` as a function and as a job: who calls, what is asked, one use case, one answer.

The scheduler's calls carry the instant they were due; a person's do not, and a person alone may force a guard. The job takes the
names of the body as options and ends with the outcome's exit code. Source: snapshot specification, 4.1 and 4.10.
"""

from __future__ import annotations

import argparse
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from flask import Request, Response

from fillbook.instants import instant_of
from fillbook.outbox.service import relay_own
from fillbook.runtime import logs
from fillbook.runtime.bodies import parse_json_object
from fillbook.runtime.clock import clock_for
from fillbook.runtime.config import ConfigError
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Rejected
from fillbook.runtime.http import answer, read_body
from fillbook.runtime.pubsub import publisher_for
from fillbook.snapshot.asked import asked
from fillbook.snapshot.model import Problem, Slot, Status
from fillbook.snapshot.outcomes import ENDINGS, Outcome, refusal
from fillbook.snapshot.publish import publish
from fillbook.snapshot.publisher_settings import SnapshotPublisherConfig
from fillbook.snapshot.publishing import Ground
from fillbook.snapshot.sources import Fallback, Receiver
from fillbook.values import frozen

NAME: Final = "snapshot_publisher"
CONCURRENCY: Final = 4
STATEMENT_SECONDS: Final = 30
SCHEDULER: Final = "cloud-scheduler"
"""The account of the manifest whose calls are the schedule's (a contract test compares them)."""
SCHEDULED_HEADER: Final = "X-CloudScheduler-ScheduleTime"
BODY_BYTES_MAX: Final = 16_384
JOB_ACTOR: Final = "job"
JOB_SECONDS: Final = 3_300
"""A task of the job may take an hour: ranges that no request would come to the end of."""

_log = logs.get(NAME)


@frozen
class Worker:
    """What a process needs; nothing is connected yet."""

    ground: Ground


def worker_for(config: SnapshotPublisherConfig, db: Database, refreshing: Database) -> Worker:
    """What a process publishes with, as its settings say; ``refreshing``: the same database with a refresh's time."""
    clock, publish_events = clock_for(config), publisher_for(config)
    ground = Ground(
        db=db,
        refreshing=refreshing if config.snapshot_refresh == "on" else None,
        names=config.views,
        clock=clock,
        receiver=receiver_for(config, clock.now),
        fallback=fallback_for(config),
        relay=lambda partitions: relay_own(db, publish_events, partitions, now_from=clock),
    )
    return Worker(ground=ground)


def receiver_for(config: SnapshotPublisherConfig, now: Callable[[], datetime]) -> Receiver:
    """The API by its address."""
    from fillbook.snapshot.receiver import Door, HttpReceiver  # requests costs 60 ms that a start need not pay

    door = Door(
        url=config.snapshot_api_url,
        endpoint=config.snapshot_endpoint,
        token=config.internal_token,
        signing_secret=config.signing_secret,
        read_key=config.snapshot_read_key,
    )
    return HttpReceiver(door, now=now)


def fallback_for(config: SnapshotPublisherConfig) -> Fallback | None:
    """The database behind the readers, where it is configured."""
    if config.cloudflare_api_token is None:
        return None
    from fillbook.snapshot.d1 import D1

    return D1(
        config.cloudflare_api_token,
        account_id=config.cf_account_id or "",
        database_id=config.cf_d1_database_id or "",
        api_base=config.d1_api_base,
        is_local=config.fillbook_env == "local",
    )


# --- the function -----------------------------------------------------------------------------------------------------


def routes(worker: Callable[[], Worker], check: Callable[[Request], str]) -> Mapping[str, Callable[[Request], Response]]:
    """Method and path -> handler; ``check`` returns the caller's e-mail or refuses, whatever else is configured."""

    def post(request: Request) -> Response:
        run_id = str(uuid.uuid4())
        is_cron = SCHEDULED_HEADER in request.headers
        try:
            caller = check(request)
            is_cron = is_cron or caller.partition("@")[0] == SCHEDULER
            outcome = _called(worker().ground, request, caller, run_id, is_cron=is_cron)
        except ConfigError as error:
            _log.error("not_configured", run_id=run_id, problems=dict(error.problems))
            wrong = [Problem(path=name, code="configuration", message=words) for name, words in error.problems.items()]
            return _refused(run_id, Status.CONFIGURATION, wrong)
        except Rejected as refused:
            if refused.status != 400:
                raise
            _log.warning("snapshot_call_refused", run_id=run_id, reason=refused.reason, field=refused.field)
            problem = Problem(path=refused.field or "", code=refused.reason, message="the call cannot be done as it stands")
            return _refused(run_id, Status.BAD_REQUEST, [problem])
        return answer(outcome.http_status(is_cron=is_cron), outcome.document())

    return {"POST /": post}


def _called(ground: Ground, request: Request, caller: str, run_id: str, *, is_cron: bool) -> Outcome:
    now = ground.clock.now()
    body = parse_json_object(read_body(request, BODY_BYTES_MAX))
    scheduled_at = (_scheduled_at(request) or now) if is_cron else None
    return publish(ground, asked(body, scheduled_at=scheduled_at, actor=caller, now=now), run_id=run_id)


def _scheduled_at(request: Request) -> datetime | None:
    text = request.headers.get(SCHEDULED_HEADER)
    if not text:
        return None
    try:
        return instant_of(text)
    except ValueError:
        raise Rejected("slot_invalid", "the schedule time is no instant with a zone") from None


def _refused(run_id: str, status: Status, problems: Sequence[Problem]) -> Response:
    return answer(ENDINGS[status].manual, refusal(run_id, status, problems))


# --- the job ----------------------------------------------------------------------------------------------------------


def work_job(worker: Callable[[], Worker], arguments: Sequence[str]) -> int:
    """Publish what the options say and return the exit code of section 4.10."""
    run_id = str(uuid.uuid4())
    given = job_parser().parse_args(arguments)
    try:
        ground = worker().ground
        call = asked(body_of(given), scheduled_at=None, actor=JOB_ACTOR, now=ground.clock.now())
        outcome = publish(ground, call, run_id=run_id, call_seconds=JOB_SECONDS)
    except ConfigError as error:
        _log.error("not_configured", run_id=run_id, problems=dict(error.problems))
        return ENDINGS[Status.CONFIGURATION].exit
    except Rejected as refused:
        _log.error("snapshot_call_refused", run_id=run_id, reason=refused.reason, field=refused.field)
        return ENDINGS[Status.BAD_REQUEST].exit
    _log.info("snapshot_job", run_id=run_id, status=outcome.status, days=len(outcome.results))
    return outcome.exit


def job_parser() -> argparse.ArgumentParser:
    """The options of the job and of the operator's verb: the names of the body."""
    parser = argparse.ArgumentParser(prog="snapshot publish", allow_abbrev=False)
    add_options(parser)
    return parser


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options that say what the body of a call says."""
    parser.add_argument("--date", metavar="DATE", help="one trading day (default: today in New York)")
    parser.add_argument("--from", dest="first", metavar="DATE", help="first day of a range")
    parser.add_argument("--to", dest="last", metavar="DATE", help="last day of a range")
    parser.add_argument("--slot", choices=[slot.value for slot in Slot])
    parser.add_argument("--force", action="append", metavar="GUARD", help="publish although this guard refuses; with --reason")
    parser.add_argument("--reason", metavar="TEXT", help="why a guard is forced; kept with the publication")
    parser.add_argument("--dry-run", action="store_true", help="build and check; nothing is sent or recorded")
    parser.add_argument("--no-refresh", action="store_true", help="publish what the views show now")
    parser.add_argument("--verify", action="store_true", help="read back even where nothing has changed")


def body_of(given: argparse.Namespace) -> dict[str, Any]:
    """The body that options stand for; what was not given is not in it."""
    named = {"date": given.date, "from": given.first, "to": given.last, "slot": given.slot, "force": given.force}
    body = {name: value for name, value in {**named, "reason": given.reason}.items() if value is not None}
    flags = {"dry_run": given.dry_run, "verify": given.verify}
    return body | {name: True for name, value in flags.items() if value} | ({"refresh": False} if given.no_refresh else {})
