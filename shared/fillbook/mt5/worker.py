"""What ``account_sync`` and ``account_sync_shard`` do for each of their routes, and a task of the job.

Callers are told apart by the account their identity token names. The scheduler's slots are its own; a tenant may only be named by
the function that serves tenants; a refused login is only tried again for an operator. Source: section 1 of the specification.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from flask import Request, Response

from fillbook.instants import instant_of
from fillbook.mt5 import answers, asked, job, shards
from fillbook.mt5.answers import Reply
from fillbook.mt5.asked import Asked
from fillbook.mt5.desk import RealTime
from fillbook.mt5.grounds import AsksFirst, Grounds, Speaks
from fillbook.mt5.rebuilding import Rederived, rebuild, rebuild_server
from fillbook.mt5.runs import Caller, Runs
from fillbook.mt5.settings import AccountSyncJobConfig, Mt5Config
from fillbook.mt5.words import SyncType
from fillbook.outbox.service import quarantine
from fillbook.runtime import clock as process_clock
from fillbook.runtime import logs
from fillbook.runtime.auth import identity_for
from fillbook.runtime.clock import Clock, clock_for
from fillbook.runtime.cloud_run import NoJobs, cloud_run_for
from fillbook.runtime.config import ConfigError
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Conflict, Rejected, Unavailable
from fillbook.runtime.http import Refusal, Refused, answer, push, read_body
from fillbook.runtime.pubsub import PushMessage, publisher_for

SYNC, SHARD = "account_sync", "account_sync_shard"
CONCURRENCY: Final = 4
SCHEDULER, TRACKER, OPERATOR = "cloud-scheduler", "fb-trade-tracker", "fb-operator"
"""Accounts of the manifest (a contract test compares them)."""
IDENTITY: Final = "fb-account-sync"
TENANT_HEADER, SCHEDULED_HEADER = "X-Fillbook-Tenant", "X-CloudScheduler-ScheduleTime"
TENANT_MAX: Final = 64
BODY_BYTES_MAX: Final = 16_384


def grounds_for(config: Mt5Config, db: Database, name: str) -> Grounds:
    """What a process stands on; nothing is connected yet. Only ``account_sync`` may start the job."""
    clock = clock_for(config)
    return Grounds(
        db=db,
        publisher=publisher_for(config),
        clock=clock,
        time=RealTime(clock),
        config=config,
        speaks=speaks_for(config, clock),
        log=logs.get(name),
        jobs=cloud_run_for(config, config.fillbook_region, account=IDENTITY) if name == SYNC else NoJobs(),
    )


def speaks_for(config: Mt5Config, clock: Clock) -> Callable[[AsksFirst, Callable[[str, float], None]], Speaks]:
    """How MT5 services are spoken to: with the keys of the settings, bounded and repeated as they say."""

    def speaks(before_call: AsksFirst, after_429: Callable[[str, float], None]) -> Speaks:
        from fillbook.mt5.mt5_calls import Hooks  # requests costs 60 ms that a start need not pay
        from fillbook.mt5.mt5_service import Keys, Mt5Service

        return Mt5Service(
            Keys(api_key=config.mt5_service_api_key, by_instance=config.api_keys),
            now=clock,
            bearer=_bearer(config),
            hooks=Hooks(before_call=before_call, after_429=after_429),
            request_seconds=config.mt5_request_timeout_seconds,
            connect_seconds=config.mt5_connect_timeout_seconds,
            retries_max=config.mt5_retry_max,
        )

    return speaks


def _bearer(config: Mt5Config) -> Callable[[], Mapping[str, str]] | None:
    audience = config.mt5_service_audience
    if audience is None:
        return None
    identity = identity_for(config, account=IDENTITY)
    return lambda: identity.header(audience)


def refusal(refused: Refusal) -> object:
    """The error body of the contract."""
    return answers.refused(refused.reason)


# --- account_sync -----------------------------------------------------------------------------------------------------


def sync_routes(grounds: Callable[[], Grounds], check: Callable[[Request], str]) -> dict[str, Callable[..., Response]]:
    """Routes of ``account_sync``; ``check`` returns the caller's e-mail or refuses."""
    post = sync_handler(grounds, check)
    return {
        "POST /mt5/sync": post,
        "POST /": post,
        "GET /mt5/sync/status": _answered(grounds, check, _status),
        "POST /mt5/rebuild": _answered(grounds, check, _rebuild),
    }


def sync_handler(grounds: Callable[[], Grounds], check: Callable[[Request], str]) -> Callable[..., Response]:
    """A POST on whatever path: the same call."""
    return _answered(grounds, check, _sync)


class _Execution:
    """One call: its id, which the scheduler's slot may settle, and when it came (monotonic seconds)."""

    __slots__ = ("begun", "run_id")

    def __init__(self) -> None:
        self.run_id, self.begun = str(uuid.uuid4()), process_clock.monotonic()

    def broken(self, error: str) -> Reply:
        milliseconds = round((process_clock.monotonic() - self.begun) * 1000)
        return Reply(status=500, document=answers.broken(self.run_id, error, milliseconds))


def _sync(grounds: Grounds, caller: Caller, request: Request, execution: _Execution) -> Reply:
    wanted = asked.read(read_body(request, BODY_BYTES_MAX))
    _check_rights(wanted, caller)
    runs = Runs(grounds, caller, execution.begun, execution.run_id)
    try:
        return runs.sync(wanted)
    finally:
        execution.run_id = runs.run_id


def _status(grounds: Grounds, caller: Caller, request: Request, execution: _Execution) -> Reply:
    run_id = request.args.get("run_id")
    wanted = None if run_id is None else asked.uuid_text(run_id, "run_id")
    return Runs(grounds, caller, execution.begun).status(wanted)


def _rebuild(grounds: Grounds, caller: Caller, request: Request, execution: _Execution) -> Reply:
    """Make accounts again from their deals, as long as there is time; ``after`` of the answer asks for the rest."""
    wanted = asked.read_rebuild(read_body(request, BODY_BYTES_MAX))
    if _account(caller.email) != OPERATOR:
        raise Rejected("forbidden", "only an operator rebuilds", status=403)
    now, deadline = grounds.clock.now(), execution.begun + grounds.config.mt5_run_budget_seconds
    if wanted.account_id is not None:
        done = Rederived(rebuilt=(rebuild(grounds.db, wanted.account_id, now),))
    else:
        done = rebuild_server(
            grounds.db,
            wanted.server or "",
            now,
            symbol=wanted.symbol,
            after=wanted.after,
            may_go_on=lambda: grounds.time.monotonic() < deadline,
        )
    grounds.relay(number for one in done.rebuilt for number in one.partitions)
    document = answers.rebuilt(execution.run_id, done)
    grounds.log.info("rebuilt", execution_id=execution.run_id, accounts=len(done.rebuilt), busy=list(done.busy), after=done.after)
    return Reply(status=200, document=document)


def _answered(
    grounds: Callable[[], Grounds],
    check: Callable[[Request], str],
    work: Callable[[Grounds, Caller, Request, _Execution], Reply],
) -> Callable[..., Response]:
    """A handler that answers what went wrong in the contract's words; refusals are shaped by the edge."""

    def handle(request: Request) -> Response:
        execution = _Execution()
        try:
            caller = _caller(request, check(request))
            reply = work(grounds(), caller, request, execution)
        except (Rejected, Conflict):
            raise
        except ConfigError as error:
            logs.get(SYNC).error("not_configured", execution_id=execution.run_id, problems=dict(error.problems))
            reply = execution.broken("configuration")
        except Unavailable as error:
            is_database = error.reason.startswith("database_")
            logs.get(SYNC).failed("run_unavailable", error, execution_id=execution.run_id, reason=error.reason)
            reply = execution.broken("database_unavailable" if is_database else "internal")
        except Exception as error:  # noqa: BLE001 -- the contract wants an execution id with whatever broke
            logs.get(SYNC).failed("run_broke", error, execution_id=execution.run_id)
            reply = execution.broken("internal")
        headers = {} if reply.retry_after_seconds is None else {"Retry-After": str(reply.retry_after_seconds)}
        return answer(reply.status, reply.document, headers)

    return handle


def _caller(request: Request, email: str) -> Caller:
    tenant_id = request.headers.get(TENANT_HEADER)
    if tenant_id is not None and (_account(email) != TRACKER or not 0 < len(tenant_id) <= TENANT_MAX):
        raise Rejected("tenant_not_allowed", "only the function that serves tenants names one", status=403)
    return Caller(email=email, tenant_id=tenant_id, scheduled_at=_scheduled_at(request))


def _scheduled_at(request: Request) -> datetime | None:
    text = request.headers.get(SCHEDULED_HEADER)
    try:
        return instant_of(text) if text else None
    except ValueError:
        raise Rejected("slot_invalid", "the schedule time is no instant with a zone") from None


def _check_rights(wanted: Asked, caller: Caller) -> None:
    account = _account(caller.email)
    if wanted.sync_type is SyncType.SCHEDULED and account != SCHEDULER:
        raise Rejected("forbidden", "slots are the scheduler's", status=403)
    if wanted.force and account != OPERATOR:
        raise Rejected("forbidden", "only an operator forces", status=403)
    if wanted.task is not None and account not in (SCHEDULER, OPERATOR):
        raise Rejected("forbidden", "only the scheduler and operators maintain", status=403)


def _account(email: str) -> str:
    return email.partition("@")[0]


# --- account_sync_shard -----------------------------------------------------------------------------------------------


def shard_routes(grounds: Callable[[], Grounds], check: Callable[[Request], str]) -> dict[str, Callable[..., Response]]:
    """Routes of ``account_sync_shard``: messages, and those that twenty attempts could not work."""

    def work(message: PushMessage) -> None:
        ground, begun = grounds(), process_clock.monotonic()
        shards.work(ground, shards.read(message.data), begun + ground.config.mt5_run_budget_seconds)

    def bury(message: PushMessage) -> None:
        shards.bury(grounds(), shards.read(message.data))

    def put_aside(refused: Refused) -> None:
        ground = grounds()
        ground.db.run(lambda tx: quarantine(tx, SHARD, reason=refused.reason, body=refused.body, now=ground.clock.now()))

    return {
        "POST /": push(work, verify=check, quarantine=put_aside),
        "POST /dead": push(bury, verify=check, quarantine=put_aside),
    }


def work_task(config: AccountSyncJobConfig, db: Database) -> Mapping[str, Any]:
    """A task of the job, told by the platform which of how many it is."""
    done = job.work_off(
        grounds_for(config, db, SHARD),
        execution=config.cloud_run_execution,
        index=config.cloud_run_task_index,
        count=config.cloud_run_task_count,
        slot_run_id=config.mt5_job_run_id,
    )
    return answers.finished(done)
