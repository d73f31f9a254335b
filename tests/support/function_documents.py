"""The routes of every function that publishes no document of its own, as OpenAPI documents made of the manifest; for tests alone.

``trade_tracker``, the webhook and the readers of ``snapshot_api`` have documents (``fillbook.tracker.openapi``, ``webhook_api``,
``snapshot_reading``). What the others are asked and what they may answer stands here, a line a route; a route of the manifest
that is in none of the four is an error (``documented``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from fillbook.snapshot import filters
from infra.manifest import Route, load

Schema = Mapping[str, Any]
MANIFEST = load()
WITH_OWN: Final = ("trade_tracker", "signal_ingest")
TEXT: Final[Schema] = {"type": "string"}
FLAG: Final[Schema] = {"type": "boolean"}
WHOLE: Final[Schema] = {"type": "integer"}
ID: Final[Schema] = {"type": "string", "format": "uuid"}
DAY: Final[Schema] = {"enum": ["2026-02-02", "2026-02-03", "2026-02-07", "0001-01-01", "9999-12-31"]}
INSTANTS: Final = ("2026-02-03T15:16:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")
INSTANT: Final[Schema] = {"type": "string", "format": "date-time"}
TICKER: Final[Schema] = {"type": "string", "pattern": "^[A-Z]{1,4}$"}
RUN: Final[Schema] = {"enum": ["a-run", "live", "00000000-0000-4000-8000-000000000000", "²", "\u202e"]}


def given(*required: str, **properties: Schema) -> Schema:
    """An object of these and nothing else."""
    return {"type": "object", "required": [*required], "properties": properties, "additionalProperties": False}


def told(*required: str) -> Schema:
    """An answer that says at least this."""
    return {"type": "object", "required": [*required]}


FLAT: Final = {
    "type": "object",
    "required": ["ok", "reason"],
    "properties": {"ok": {"const": False}, "reason": {"type": "string", "pattern": "^[a-z0-9_]+$"}},
}
OF_ACCOUNTS: Final = {"type": "object", "required": ["success", "error"], "properties": {"success": {"const": False}}}
OF_SNAPSHOTS: Final = {"type": "object", "required": ["error"], "properties": {"error": told("code", "message", "request_id")}}
OF_PUBLISHER: Final = told("ok", "run_id", "status", "results", "problems")
REFUSALS: Final[Mapping[str, Schema]] = {
    "account_sync": OF_ACCOUNTS,
    "snapshot_api": OF_SNAPSHOTS,
    "snapshot_publisher": OF_PUBLISHER,
}
BUCKET: Final = given(
    date=DAY, ticker=TICKER, scriptVersion=TEXT, bucket=WHOLE, limit=WHOLE, offset=WHOLE, cleanSlate=FLAG, after=TEXT, run=RUN,
    profile={"enum": ["tt-2026-02", "none"]}, session={"enum": ["regular", "all", "none"]}, inputs={"enum": ["all", "decided"]},
    start={"enum": ["empty", "live"]}, facts={"enum": ["own", "recorded"]}, dryRun=FLAG, target={"enum": ["run", "live"]},
    confirm=TEXT, plan={"enum": ["1.x", "1.é", "9" * 30 + ".x"]}, requireComplete=FLAG, acceptCode=FLAG,
)  # fmt: skip
RUNS: Final = given(
    **{"from": DAY, "to": DAY}, date=DAY, dates={"type": "array", "items": DAY, "maxItems": 2}, name=RUN, ticker=TICKER,
    profiles={"type": "array", "items": TEXT, "maxItems": 2}, tickers={"type": "array", "items": TICKER, "maxItems": 2},
    mode={"enum": ["full", "incremental"]}, session=TEXT, limit=WHOLE,
)  # fmt: skip
JOB: Final = given("job_type", job_type={"enum": ["trades.sync", "positions.sync", "flex.request", "flex.fetch"]}, payload={
    "type": "object",
    "properties": {"lookback_days": WHOLE, "host": TEXT, "port": WHOLE, "client_id": WHOLE, "kind": TEXT, "from_date": DAY,
                   "to_date": DAY, "request_id": ID},
})  # fmt: skip
PUSH: Final = given(
    "message", "subscription", subscription={"type": "string", "minLength": 1}, deliveryAttempt=WHOLE, message={
        "type": "object", "required": ["messageId", "publishTime"],
        "properties": {"data": {"enum": ["", "e30=", "bnVsbA==", "W10=", "eyJldmVudF90eXBlIjoic3luY19yZXF1ZXN0ZWQifQ=="]},
                       "attributes": {"type": "object", "additionalProperties": TEXT},
                       "messageId": {"type": "string", "minLength": 1}, "orderingKey": TEXT,
                       "publishTime": {"enum": [*INSTANTS]}},
    },
)  # fmt: skip
SYNC: Final = given(account_id=ID, sync_type={"enum": ["scheduled", "manual"]}, cursor=TEXT, wait=FLAG, force=FLAG)
REBUILD: Final = given(account_id=ID, server=TEXT, symbol=TEXT, after=ID)
PUBLISH: Final = given(
    "dry_run", "refresh", **{"from": DAY, "to": DAY}, date=DAY, slot={"enum": ["premarket", "watch", "none"]}, reason=TEXT,
    dry_run={"const": True},
    force={"type": "array", "items": {"enum": ["empty", "older", "none"]}, "maxItems": 2}, refresh={"const": False}, verify=FLAG,
)  # fmt: skip
OK: Final = told("ok")
# what a route is asked (body, parameters of the query), what it answers when it does it, and with which other statuses
ROUTES: Final[Mapping[str, tuple[Schema | None, Mapping[str, Schema], Schema | None, str]]] = {
    "replay_worker POST /timed/admin/replay-ingest": (BUCKET, {"date": DAY, "limit": WHOLE}, OK, "200 400 404 409"),
    "replay_worker POST /timed/admin/replay-runs": (RUNS, {}, told("ok", "runs"), "202 400 409"),
    "replay_worker GET /timed/admin/replay-runs": (None, {"limit": TEXT, "after": RUN}, told("ok", "runs"), "200 400 404"),
    "replay_worker GET /timed/admin/replay-runs/{run}": (None, {}, OK, "200 404"),
    "replay_worker POST /timed/admin/replay-runs/{run}/cancel": (given(), {}, OK, "200 400 404 409"),
    "replay_worker POST /timed/admin/replay-runs/{run}/pin": (given(), {}, OK, "200 400 404 409"),
    "replay_worker POST /timed/admin/replay-runs/{run}/unpin": (given(), {}, OK, "200 400 404 409"),
    "replay_worker DELETE /timed/admin/replay-runs/{run}": (None, {}, OK, "200 404 409"),
    "replay_worker GET /timed/admin/replay-runs/{run}/divergences": (None, {"limit": TEXT, "after": TEXT}, OK, "200 400 404"),
    "replay_worker POST /timed/admin/replay-compare": (given(a=RUN, b=RUN, date=DAY), {"a": RUN}, OK, "200 400 404 409"),
    "replay_worker GET /timed/admin/replay-gaps": (None, {"date": DAY, "ticker": TEXT, "scriptVersion": TEXT}, OK, "200 400"),
    "replay_worker POST /timed/admin/replay-parity": (given(date=DAY), {"date": DAY}, OK, "200 400 409"),
    "execution_sync POST /api/v1/jobs": (JOB, {}, told("job_id", "is_new", "state"), "202 400"),
    "execution_sync GET /api/v1/jobs/{job_id}": (None, {}, told("state"), "200 404"),
    "execution_sync GET /api/v1/quarantine": (None, {}, told("items"), "200"),
    "execution_sync POST /api/v1/quarantine/{quarantine_id}/accept": (given(reason=TEXT), {}, told("state"), "200 400 404 409"),
    "execution_sync POST /pubsub/jobs": (PUSH, {}, None, "204"),
    "execution_sync POST /pubsub/orders-processed": (PUSH, {}, None, "204"),
    "execution_sync POST /pubsub/dead": (PUSH, {}, None, "204"),
    "execution_sync POST /cron/jobs": (given(), {}, OK, "200 400"),
    "account_sync POST /mt5/sync": (SYNC, {}, told("success"), "200 400 403 404 409 429"),
    "account_sync POST /": (SYNC, {}, told("success"), "200 400 403 404 409 429"),
    "account_sync GET /mt5/sync/status": (None, {"run_id": TEXT}, told("success"), "200 400 404"),
    "account_sync POST /mt5/rebuild": (REBUILD, {}, told("success", "rebuilt", "busy", "after"), "200 400 403 404"),
    "account_sync_shard POST /": (PUSH, {}, None, "204"),
    "account_sync_shard POST /dead": (PUSH, {}, None, "204"),
    "signal_worker POST /": (PUSH, {}, None, "204"),
    "signal_worker POST /quarantine": (PUSH, {}, None, "204"),
    "signal_worker POST /dead": (PUSH, {}, None, "204"),
    "discord_notifier POST /": (PUSH, {}, None, "204"),
    "discord_notifier POST /dead": (PUSH, {}, None, "204"),
    "discord_notifier POST /tick": (given(task={"enum": ["drain", "reconcile"]}, hours=WHOLE), {}, OK, "200 400"),
    "discord_notifier POST /reconcile": (given(since=INSTANT, until=INSTANT, repair=FLAG), {}, told("ok", "run_id"), "202 400"),
    "desk_keeper POST /": (given(), {}, {"type": "object"}, "200 400"),
    "outbox_relay POST /": (given(), {}, told("published", "failed", "parked"), "200 400"),
    "snapshot_publisher POST /": (PUBLISH, {}, told("ok", "run_id", "status", "results"), "200 400 409 422"),
    "snapshot_api POST /v1/internal/trades/snapshot": (
        given("date", "updated_at", date=DAY, updated_at=INSTANT, rows={"type": "array", "items": {"type": "object"}}),
        {"force": TEXT}, told("ok"), "200 400 409 413 415 422 429",
    ),
    "snapshot_api GET /v1/internal/trades/snapshot": (None, {"date": DAY}, {"type": "object"}, "200 400 404"),
}  # fmt: skip


def documented() -> dict[str, list[Route]]:
    """Routes by function that this module documents; raises ``KeyError`` for one of the manifest that nobody documents."""
    found: dict[str, list[Route]] = {}
    for function in MANIFEST.functions.values():
        for route in function.routes:
            if function.name in WITH_OWN or route.path in filters.ROUTES:
                continue
            assert ROUTES[f"{function.name} {route.method} {route.path}"] is not None
            found.setdefault(function.name, []).append(route)
    return found


def function_document(name: str) -> dict[str, Any]:
    """OpenAPI 3.1 of a function's routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in documented()[name]:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(name, route)
    return {"openapi": "3.1.0", "info": {"title": name, "version": "1"}, "paths": paths}


def _operation(name: str, route: Route) -> dict[str, Any]:
    body, query, answer, statuses = ROUTES[f"{name} {route.method} {route.path}"]
    places = [
        {"name": one, "in": "path", "required": True, "schema": RUN if one == "run" else TEXT}
        for one in re.findall(r"\{(\w+)\}", route.path)
    ]
    parameters = [*places, *({"name": one, "in": "query", "schema": schema} for one, schema in query.items())]
    refusal = {"description": "no", "content": {"application/json": {"schema": REFUSALS.get(name, FLAT)}}}
    done = {"description": "done"} | ({} if answer is None else {"content": {"application/json": {"schema": answer}}})
    responses = {status: done if status < "300" else refusal for status in {*statuses.split(), "400", "413"}}
    operation: dict[str, Any] = {"parameters": parameters, "responses": responses}
    return operation if body is None else operation | {"requestBody": {"content": {"application/json": {"schema": body}}}}
