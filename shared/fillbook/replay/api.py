"""The routes of ``replay_worker``: who calls, what is asked, one use case, one answer.

A caller is a desk key with scope ``admin``, or an identity token of one of ours. A key that stands in the URL is refused before
anything else is looked at, because platforms keep URLs. Source: replay.md 1, 7, 8, 9.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from flask import Request, Response

from fillbook.replay import answers, catchup, comparisonwire, jobs, planning, runs
from fillbook.replay.asked import asked
from fillbook.replay.buckets import BucketNotInDay
from fillbook.replay.calls import Explained, process
from fillbook.replay.settings import ReplayWorkerConfig
from fillbook.runtime import clock as process_clock
from fillbook.runtime import logs
from fillbook.runtime.auth import OidcVerifier, bearer, verifier_for
from fillbook.runtime.bodies import parse_json_object
from fillbook.runtime.clock import Clock, clock_for
from fillbook.runtime.cloud_run import NoJobs, StartsJob, cloud_run_for
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey, desk_keys, key_holder
from fillbook.runtime.errors import Rejected
from fillbook.runtime.http import answer, read_body
from fillbook.values import frozen

Handler = Callable[..., Response]
LIVE: Final = "live"
IDENTITY: Final = "fb-replay-worker"
"""The service account of the manifest (a contract test compares them)."""
BODY_BYTES_MAX: Final = 65_536
REQUEST_SECONDS: Final = 50  # of 55: what is left is for the commit and the answer
KEY_NAMES: Final = frozenset({"key", "token", "desk_key", "deskkey", "authorization", "access_token", "apikey", "api_key"})

_log = logs.get("replay_worker")


@frozen
class Worker:
    """What the routes need of their process; ``jobs``: what starts the job's tasks."""

    desk: runs.Desk
    config: ReplayWorkerConfig
    clock: Clock
    keys: tuple[DeskKey, ...]
    verifier: OidcVerifier
    jobs: StartsJob = NoJobs()

    @property
    def target(self) -> catchup.Target:
        """Whether live may be caught up; plans are signed with what only this function's instances share."""
        secret = hashlib.sha256(b"replay plan" + self.config.desk_keys.get_secret_value().encode()).digest()
        return catchup.Target(is_enabled=self.config.replay_live_target_enabled, secret=secret)


def worker_for(config: ReplayWorkerConfig, db: Database) -> Worker:
    """What a process needs; nothing is connected yet."""
    return Worker(
        desk=runs.desk_for(config, db),
        config=config,
        clock=clock_for(config),
        keys=desk_keys(config.desk_keys.get_secret_value()),
        verifier=verifier_for(config),
        jobs=cloud_run_for(config, config.fillbook_region, account=IDENTITY),
    )


def routes(worker: Callable[[], Worker]) -> Mapping[str, Handler]:
    """Method and path -> handler."""

    def admin(use_case: Callable[..., Response]) -> Handler:
        def handler(request: Request, **path: str) -> Response:
            here = worker()
            try:
                return use_case(here, request, caller(here, request), **path)
            except Explained as conflict:
                return _explained(conflict)
            except BucketNotInDay as refusal:
                facts = {"firstBucket": refusal.first, "lastBucket": refusal.last}
                return answer(400, {"ok": False, "reason": refusal.reason, "field": refusal.field, **facts})

        return handler

    return {
        "POST /timed/admin/replay-ingest": admin(ingest),
        "POST /timed/admin/replay-runs": admin(start_runs),
        "GET /timed/admin/replay-runs": admin(list_runs),
        "GET /timed/admin/replay-runs/{run}": admin(show_run),
        "POST /timed/admin/replay-runs/{run}/cancel": admin(cancel_run),
        "POST /timed/admin/replay-runs/{run}/pin": admin(pin_run),
        "POST /timed/admin/replay-runs/{run}/unpin": admin(unpin_run),
        "DELETE /timed/admin/replay-runs/{run}": admin(delete_run),
        "GET /timed/admin/replay-runs/{run}/divergences": admin(divergences),
        "POST /timed/admin/replay-compare": admin(compare),
        "GET /timed/admin/replay-gaps": admin(gaps),
        "POST /timed/admin/replay-parity": admin(check_parity),
    }


def caller(here: Worker, request: Request) -> str:
    """Who calls; ``Rejected`` 400 ``key_in_url``, 401 ``unauthorized``, 403 for an identity that is none of ours."""
    if KEY_NAMES & {name.lower() for name in request.args}:
        raise Rejected("key_in_url", "a key in a URL is known to whoever keeps URLs")
    authorization = request.headers.get("Authorization")
    if bearer(authorization).count(".") == 2:
        return here.verifier.check(request)
    try:
        return key_holder(authorization, here.keys, here.clock.now(), scope="admin").id
    except Rejected as refusal:
        raise Rejected("unauthorized", refusal.detail, status=401) from refusal


def ingest(here: Worker, request: Request, who: str) -> Response:
    """One call of the bucket route, or its plan."""
    begun = process_clock.monotonic()
    now = here.clock.now()
    call = asked(request.args.to_dict(flat=False), _body(request), now, profile=here.config.replay_default_profile)
    if call.dry_run:
        planned = catchup.plan(here.desk, call, here.target, now) if call.target == LIVE else planning.plan(here.desk, call, now)
        return answer(200, planned)
    limits, deadline = here.config.limits(), begun + REQUEST_SECONDS
    if call.target == LIVE:
        done = catchup.catch_up(here.desk, call, here.target, created_by=who, now=now, limits=limits, deadline=deadline)
    else:
        done = process(here.desk, call, created_by=who, now=now, limits=limits, deadline=deadline)
    elapsed = round((process_clock.monotonic() - begun) * 1000)
    document = answers.bucket_answer(done, date=call.date.isoformat(), ticker=call.ticker, elapsed_ms=elapsed)
    _log.info("replay_page", run_id=done.run.run_id, rows=done.rows, skipped=done.skipped, elapsed_ms=elapsed)
    return answer(200, document)


def start_runs(here: Worker, request: Request, who: str) -> Response:
    """Make runs of days or ranges and start the job."""
    now = here.clock.now()
    given = _body(request)
    document = jobs.start(here.desk, given, here.config, created_by=who, now=now)
    tasks = len(document["runs"]) if document["sweep"] else here.config.replay_tasks_default
    jobs.start_tasks(here.desk, here.jobs, tasks, tasks_max=here.config.replay_tasks_max)
    return answer(202, {"ok": True, "runs": document["runs"]})


def list_runs(here: Worker, request: Request, _who: str) -> Response:
    """Runs, the youngest first."""
    return answer(200, jobs.listing(here.desk, request.args.to_dict(flat=False)))


def show_run(here: Worker, _request: Request, _who: str, run: str) -> Response:
    """One run."""
    return answer(200, jobs.shown(here.desk, run))


def cancel_run(here: Worker, request: Request, _who: str, run: str) -> Response:
    """Stop a run after its current page; a body says nothing, and must be one that may be read."""
    _body(request)
    runs.cancel(here.desk, jobs.run_id(here.desk, run), here.clock.now())
    return answer(200, {"ok": True})


def pin_run(here: Worker, request: Request, _who: str, run: str) -> Response:
    """Keep a run and its book whatever its age; a body says nothing."""
    return _pinned(here, request, run, pinned=True)


def unpin_run(here: Worker, request: Request, _who: str, run: str) -> Response:
    """Let a run go with its age again."""
    return _pinned(here, request, run, pinned=False)


def _pinned(here: Worker, request: Request, run: str, *, pinned: bool) -> Response:
    _body(request)
    run_id = jobs.run_id(here.desk, run)
    runs.pin(here.desk, run_id, pinned=pinned)
    return answer(200, {"ok": True, "runId": run_id, "pinned": pinned})


def delete_run(here: Worker, _request: Request, _who: str, run: str) -> Response:
    """Remove a run and its book."""
    runs.delete(here.desk, jobs.run_id(here.desk, run))
    return answer(200, {"ok": True})


def divergences(here: Worker, request: Request, _who: str, run: str) -> Response:
    """What the last comparison of a run found."""
    return answer(200, comparisonwire.divergences(here.desk.db, run, _once(request)))


def compare(here: Worker, request: Request, _who: str) -> Response:
    """Compare two runs, or a run with live."""
    return answer(200, comparisonwire.compare(here.desk.db, {**_once(request), **_body(request)}, here.clock.now()))


def gaps(here: Worker, request: Request, _who: str) -> Response:
    """How whole a day is."""
    return answer(200, comparisonwire.gaps(here.desk.db, _once(request), here.clock.now()))


def check_parity(here: Worker, request: Request, _who: str) -> Response:
    """The day that live decided, decided again and compared; what the schedule calls."""
    begun = process_clock.monotonic()
    given = {**_once(request), **_body(request)}
    document = comparisonwire.parity(
        here.desk, given, here.clock.now(), limits=here.config.limits(), deadline=begun + REQUEST_SECONDS
    )
    return answer(200, document)


def _explained(conflict: Explained) -> Response:
    headers = {} if conflict.retry_after_seconds is None else {"Retry-After": str(conflict.retry_after_seconds)}
    _log.warning("request_conflict", reason=conflict.reason, detail=conflict.detail)
    return answer(409, {"ok": False, "reason": conflict.reason, **conflict.facts}, headers)


def _body(request: Request) -> Mapping[str, Any]:
    return parse_json_object(read_body(request, BODY_BYTES_MAX))


def _once(request: Request) -> dict[str, str]:
    """Parameters of the query; ``Rejected('param_twice')`` for one that is sent twice."""
    given = request.args.to_dict(flat=False)
    for name, values in given.items():
        if len(values) > 1:
            raise Rejected("param_twice", field=name)
    return {name: values[0] for name, values in given.items()}
