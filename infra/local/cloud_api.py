"""The HTTP face of the local cloud: Google's endpoints of Pub/Sub, jobs and tokens, and the control panel under ``/_control``.

Loopback only. Publishing needs no token here, as nothing else can reach the port; the control panel is ours alone and has no
counterpart in the cloud. Refusals of the Google endpoints have Google's JSON error shape.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from infra.local.deskclock import ClockError, DeskClockFile
from infra.local.faults import FaultError
from infra.local.jobs import Jobs
from infra.local.message_store import StoreError
from infra.local.publish_request import BODY_BYTES_MAX, Refused, parse
from infra.local.pubsub import PubSub
from infra.local.scheduler import Scheduler
from infra.local.tokens import Tokens

WAIT_SECONDS_MAX = 600.0
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class CloudApi:
    """Routes of one local cloud; ``app()`` is what aiohttp serves."""

    def __init__(self, pubsub: PubSub, scheduler: Scheduler, jobs: Jobs, tokens: Tokens, clock: DeskClockFile) -> None:
        self._pubsub, self._scheduler, self._tokens, self._clock = pubsub, scheduler, tokens, clock
        self._jobs = jobs

    def app(self) -> web.Application:
        """The application."""
        app = web.Application(client_max_size=BODY_BYTES_MAX + 1, middlewares=[_loopback_only, _google_errors])
        app.add_routes(
            [
                web.post("/v1/projects/{project}/topics/{topic}:publish", self._publish),
                web.post("/v2/projects/{project}/locations/{region}/jobs/{job}:run", self._run_cloud_job),
                web.get("/oauth2/v1/certs", self._certificates),
                web.post("/token", self._token),
                web.get("/_control", self._status),
                web.get("/_control/clock", self._clock_get),
                web.post("/_control/clock", self._clock_post),
                web.get("/_control/pubsub", self._pubsub_status),
                web.get("/_control/pubsub/idle", self._idle),
                web.post("/_control/pubsub/faults", self._faults),
                web.post("/_control/pubsub/reset", self._reset),
                web.post("/_control/pubsub/{verb:pause|resume}", self._pause),
                web.get("/_control/jobs", self._jobs_status),
                web.get("/_control/scheduler", self._scheduler_status),
                web.post("/_control/scheduler/run", self._run_job),
                web.post("/_control/scheduler/{verb:pause|resume}", self._pause_jobs),
            ]
        )
        return app

    async def _publish(self, request: web.Request) -> web.Response:
        topic, faults = request.match_info["topic"], self._pubsub.faults
        hang = faults.value(topic, "hang_seconds", 0)
        if hang:
            await asyncio.sleep(hang)
        if faults.strikes(topic, "refuse"):
            raise Refused(503, "The service is currently unavailable.")
        messages = parse(await request.read())
        if request.match_info["project"] != self._pubsub.wiring.project:
            raise Refused(404, f"Requested project not found (project={request.match_info['project']}).")
        try:
            ids = await self._pubsub.publish(topic, messages)
        except KeyError as error:
            raise Refused(404, f"Resource not found (resource={topic}).") from error
        except StoreError as error:
            raise Refused(503, "The service is currently unavailable.") from error
        if faults.strikes(topic, "lose_answer"):
            raise Refused(503, "The service is currently unavailable.")
        return _json({"messageIds": ids})

    async def _run_cloud_job(self, request: web.Request) -> web.Response:
        return _json(self._jobs.run(request.match_info["job"], request.headers.get("Authorization"), await _object(request)))

    async def _jobs_status(self, _request: web.Request) -> web.Response:
        return _json({"executions": self._jobs.document(), "spent_seconds": self._jobs.spent_seconds})

    async def _certificates(self, _request: web.Request) -> web.Response:
        answer = _json(self._tokens.certificates())
        answer.headers["Cache-Control"] = "public, max-age=3600"
        return answer

    async def _token(self, request: web.Request) -> web.Response:
        wanted = await _object(request)
        email, audience = wanted.get("email"), wanted.get("audience")
        if not isinstance(email, str) or not isinstance(audience, str) or not email or not audience:
            raise Refused(400, "email and audience are needed, as text.")
        return _json({"token": self._tokens.token(email, audience)})

    async def _status(self, _request: web.Request) -> web.Response:
        return _json({"clock": self._clock_document(), "project": self._pubsub.wiring.project})

    async def _clock_get(self, _request: web.Request) -> web.Response:
        return _json(self._clock_document())

    async def _clock_post(self, request: web.Request) -> web.Response:
        try:
            self._clock.apply(await _object(request))
        except ClockError as error:
            raise Refused(400, str(error)) from error
        self._scheduler.tick()
        self._pubsub.pump()
        return _json(self._clock_document())

    def _clock_document(self) -> dict[str, Any]:
        return self._clock.setting().document() | {"now": self._clock.now().isoformat(timespec="microseconds")}

    async def _pubsub_status(self, _request: web.Request) -> web.Response:
        return _json(self._pubsub.document())

    async def _idle(self, request: web.Request) -> web.Response:
        timeout, settle = _seconds(request, "timeout_seconds", 30), _seconds(request, "settle_seconds", 0)
        idle = await self._pubsub.wait_idle(timeout, settle)
        depths = {name: one.depth for name, one in self._pubsub.deliveries.items() if one.depth}
        return _json({"idle": idle, "depths": depths})

    async def _faults(self, request: web.Request) -> web.Response:
        try:
            self._pubsub.faults.turn(await _object(request))
        except FaultError as error:
            raise Refused(400, str(error)) from error
        return _json({"faults": self._pubsub.faults.document()})

    async def _reset(self, _request: web.Request) -> web.Response:
        self._pubsub.faults.reset()
        return _json({"faults": []})

    async def _pause(self, request: web.Request) -> web.Response:
        name = (await _object(request)).get("subscription", "*")
        chosen = [one for key, one in self._pubsub.deliveries.items() if name in ("*", key)]
        if not chosen:
            raise Refused(404, f"Resource not found (resource={name}).")
        for delivery in chosen:
            delivery.paused = request.match_info["verb"] == "pause"
        self._pubsub.pump()
        return _json({"subscriptions": {one.config.name: {"paused": one.paused} for one in chosen}})

    async def _scheduler_status(self, _request: web.Request) -> web.Response:
        return _json({"jobs": self._scheduler.document(), "busy": self._scheduler.busy})

    async def _run_job(self, request: web.Request) -> web.Response:
        name = (await _object(request)).get("job", "")
        if name not in self._scheduler.names():
            raise Refused(404, f"Resource not found (resource={name}).")
        answer = await self._scheduler.run_now(name)
        return _json({"job": name, "status": answer.status, "reason": answer.reason})

    async def _pause_jobs(self, request: web.Request) -> web.Response:
        name = (await _object(request)).get("job", "*")
        chosen = [one for one in self._scheduler.names() if name in ("*", one)]
        if not chosen:
            raise Refused(404, f"Resource not found (resource={name}).")
        for one in chosen:
            self._scheduler.pause(one, request.match_info["verb"] == "pause")
        return _json({"jobs": chosen})


@web.middleware
async def _loopback_only(request: web.Request, handler: Any) -> web.StreamResponse:
    """Refuse what a web page of somebody else may make a browser send to this machine, by its Origin or by a foreign name."""
    names = [urlsplit(f"//{request.host}").hostname]
    if "Origin" in request.headers:
        names.append(urlsplit(request.headers["Origin"]).hostname)
    if not LOOPBACK.issuperset(names):
        return _json(Refused(403, "Only this machine may ask.").document(), status=403)
    answer: web.StreamResponse = await handler(request)
    return answer


@web.middleware
async def _google_errors(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        answer: web.StreamResponse = await handler(request)
        return answer
    except Refused as refused:
        return _json(refused.document(), status=refused.code)
    except web.HTTPRequestEntityTooLarge:
        text = f"Request payload size exceeds the limit: {BODY_BYTES_MAX} bytes."
        return _json(Refused(400, text).document(), status=400)
    except web.HTTPNotFound:
        return _json(Refused(404, "Not found.").document(), status=404)


async def _object(request: web.Request) -> dict[str, Any]:
    body = await request.read()
    try:
        document = json.loads(body) if body else {}
    except ValueError as error:
        raise Refused(400, "Invalid JSON payload received.") from error
    if not isinstance(document, dict):
        raise Refused(400, "Invalid JSON payload received. Root element must be an object.")
    return document


def _seconds(request: web.Request, name: str, default: float) -> float:
    try:
        value = float(request.query.get(name, default))
    except ValueError as error:
        raise Refused(400, f"{name} must be a number.") from error
    if not 0 <= value <= WAIT_SECONDS_MAX:
        raise Refused(400, f"{name} must be from 0 to {WAIT_SECONDS_MAX:g}.")
    return value


def _json(document: Any, status: int = 200) -> web.Response:
    body = json.dumps(document, separators=(",", ":")).encode()
    return web.Response(body=body, status=status, content_type="application/json")
