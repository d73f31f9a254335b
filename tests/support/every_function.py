"""Every function of the manifest in this process, called as its own callers call it: pushes, schedules, senders, readers.

What is asked of one edge is asked of all of them; a function that joins the manifest joins these tests without a word here,
unless it wants a setting that nobody wanted before (then ``settings`` fails by name).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from fillbook.runtime.clock import real_epoch_seconds
from fillbook.signal.receipt import instant
from infra.manifest import Function, Route, load
from tests.support.functions import FunctionApps
from tests.support.receipts import R_TS, text_of
from tests.support.signer import Signer
from tests.support.topics import Topics, envelope

MANIFEST = load()
SIGNER = Signer()
CALLER = "cloud-scheduler@desk.example"
OPERATOR = "fb-operator@desk.example"
INGEST_TOKEN = "ingest-token-of-these-tests"
DESK_KEY = "desk-key-of-these-tests"
ADMIN_KEY = "admin-key-of-these-tests"
INTERNAL_TOKEN = "internal-token-of-these-tests"
METRICS_KEY = "metrics-key-of-these-tests"
NOW = instant(R_TS + 61_000)
WEBHOOK = "https://discord.com/api/webhooks/12345678901234567{number}/{token}"
NOBODYS_ID = "00000000-0000-4000-8000-000000000000"
PARAMETERS = {"view": "board", "name": "nothing.js", "token": "not-the-token"}
"""All others are ids, of nobody."""
OPERATORS = ("/mt5/rebuild",)
"""Of routes that ask for an identity those that are a person's alone."""
# what a person sends; the bodies of schedules, pushes and charts follow from the manifest
BODIES = {
    "execution_sync POST /api/v1/jobs": {"job_type": "trades.sync", "payload": {}},
    "execution_sync POST /api/v1/quarantine/{quarantine_id}/accept": {"reason": "looked at"},
    "account_sync POST /mt5/rebuild": {"server": "Nowhere-Live"},
    "replay_worker POST /timed/admin/replay-compare": {"a": NOBODYS_ID, "b": "live"},
    "trade_tracker POST /timed/admin/replay-compare": {"left": NOBODYS_ID, "right": "live"},
    "trade_tracker POST /timed/admin/replay-runs": {"date": "2026-02-03"},
    "trade_tracker POST /timed/admin/sync": {"account_id": NOBODYS_ID},
    "trade_tracker POST /timed/admin/reconciliation": {"since": "2026-02-03", "until": "2026-02-04"},
    "trade_tracker POST /timed/ledger/trades/{trade_id}/notes": {"notes": "seen"},
    "trade_tracker POST /api/v1/trades/{trade_id}/notes": {"notes": "seen"},
    "trade_tracker PATCH /timed/ledger/trades/{trade_id}/notes": {"notes": "seen"},
    "trade_tracker PATCH /api/v1/trades/{trade_id}/notes": {"notes": "seen"},
}


@dataclass(frozen=True, kw_only=True)
class Door:
    """One route of one function."""

    function: Function
    route: Route

    @property
    def path(self) -> str:
        """The path with its parameters filled in."""
        return re.sub(r"\{(\w+)(:path)?\}", lambda found: PARAMETERS.get(found[1], NOBODYS_ID), self.route.path)

    def __str__(self) -> str:
        return f"{self.function.name} {self.route.method} {self.route.path}"


def doors(*callers: str) -> Iterator[Door]:
    """All routes that ask for one of these credentials; without any named: all routes."""
    for function in MANIFEST.functions.values():
        for route in function.routes:
            if not callers or route.caller in callers:
                yield Door(function=function, route=route)


def audience(name: str) -> str:
    """What an identity token for the function must be made for."""
    return f"https://{name}.test"


def desk_keys() -> str:
    """``DESK_KEYS``: a reader of the live book, one whose time is over, and one who may change and order."""

    def entry(name: str, key: str, scope: str, **more: str) -> dict[str, Any]:
        digest = hashlib.sha256(key.encode()).hexdigest()
        return {"id": name, "sha256": digest, "scopes": [scope], "tenant_id": "desk", "books": ["live"], **more}

    return json.dumps(
        [
            entry("desk", DESK_KEY, "read"),
            entry("old", f"old-{DESK_KEY}", "read", expires_at="2026-01-01T00:00:00Z"),
            entry("admin", ADMIN_KEY, "admin"),
        ]
    )


def metrics_keys() -> str:
    """``METRICS_KEYS`` with one reader."""
    digest = hashlib.sha256(METRICS_KEY.encode()).hexdigest()
    return json.dumps([{"id": "reader", "sha256": digest, "scopes": ["metrics:read"]}])


def known(database_url: str, topics: Topics, folder: Path) -> dict[str, str]:
    """Every setting any function may ask for, by name."""
    clock = folder / "clock.json"
    clock.write_text(json.dumps({"desk_at": NOW.isoformat(), "real_at": 0, "speed": 1, "paused": True}))
    return {
        "FILLBOOK_ENV": "local",
        "FILLBOOK_LOCAL_URL": topics.url,
        "FILLBOOK_DESK_CLOCK": str(clock),
        "FILLBOOK_PROJECT": "fillbook-local",
        "FILLBOOK_DATABASE_URL": database_url,
        "FILLBOOK_OIDC_CALLERS": f"{CALLER},{OPERATOR}",
        "INGEST_TOKENS": INGEST_TOKEN,
        "PUBLISH_BUDGET_SECONDS": "1",
        "DESK_KEYS": desk_keys(),
        "INTERNAL_TOKEN": INTERNAL_TOKEN,
        "METRICS_KEYS": metrics_keys(),
        "SNAPSHOT_API_URL": topics.url,  # which knows no such path: a day is refused at once
        "IBKR_ACCOUNTS": '[{"id": 1, "code": "U1234567"}]',
        "IBKR_TWS_TARGETS": '[{"host": "127.0.0.1", "port": 1}]',
        "MT5_SERVICE_URL": "http://127.0.0.1:1",
        "MT5_SERVICE_API_KEY": "mt5-service-key-of-these-tests",
        "DISCORD_EXECUTIONS_WEBHOOK": WEBHOOK.format(number=1, token="e" * 68),
        "DISCORD_OPS_WEBHOOK": WEBHOOK.format(number=2, token="o" * 68),
        "DISCORD_API_BASE": f"{topics.url}/api/v10",
    }


def settings(function: Function, values: Mapping[str, str], **changes: str) -> dict[str, str]:
    """The function's own environment out of ``values``; a secret nobody knows a value for is a KeyError."""
    given = {name: value for name, value in values.items() if name in function.settings}
    if function.database_roles and "FILLBOOK_DATABASE_URL" in given:
        separator = "&" if "?" in given["FILLBOOK_DATABASE_URL"] else "?"
        given["FILLBOOK_DATABASE_URL"] += f"{separator}role={function.name}"
    if "FILLBOOK_OIDC_AUDIENCE" in function.settings:
        given["FILLBOOK_OIDC_AUDIENCE"] = audience(function.name)
    missing = [name for name in function.secrets if name not in given]
    if missing:
        raise KeyError(f"{function.name} wants {missing}: give them a value here")
    return given | changes


def identity(function: str, **claims: Any) -> dict[str, str]:
    """The header of a caller whom the function knows; ``claims`` make it wrong."""
    claims = {"audience": audience(function), "issued": real_epoch_seconds(), "email": CALLER} | claims
    return {"Authorization": f"Bearer {SIGNER.sign(**claims)}"}


def slug_of(told: Mapping[str, Any]) -> str | None:
    """The word of a refusal in either of the shapes that contracts ask for: ``reason``, ``error``, or ``error.code``."""
    error = told.get("error", told.get("reason"))
    return error.get("code") if isinstance(error, dict) else error


def right_headers(door: Door) -> dict[str, str]:
    """What the right caller of a route shows."""
    match door.route.caller:
        case "oidc" | "admin":
            return identity(door.function.name, email=OPERATOR if door.route.path in OPERATORS else CALLER)
        case "ingest_token":
            return {"Authorization": f"Bearer {INGEST_TOKEN}"}
        case "desk_key":
            if door.route.method == "GET":
                return {"Authorization": f"Bearer {DESK_KEY}"}
            return {"Authorization": f"Bearer {ADMIN_KEY}", "If-Match": "1"}
        case "internal_token":
            return {"X-Internal-Token": INTERNAL_TOKEN}
        case "metrics_key":
            return {"Authorization": f"Bearer {METRICS_KEY}"}
        case _:
            return {}


def usual_body(door: Door) -> bytes | None:
    """A body that the route takes for good, as far as its kind is known from the manifest; reads have none."""
    if door.route.method == "GET":
        return None
    for schedule in MANIFEST.schedules:
        if (schedule.function, schedule.path) == (door.function.name, door.route.path):
            return json.dumps(dict(schedule.body)).encode()
    for subscription in MANIFEST.subscriptions:
        if (subscription.function, subscription.path) == (door.function.name, door.route.path):
            return json.dumps(envelope(b"{}")).encode()
    if str(door) in BODIES:
        return json.dumps(BODIES[str(door)]).encode()
    return text_of("R").encode() if door.route.caller == "ingest_token" else b"{}"


class Desk:
    """Clients of every function, made on first use."""

    def __init__(self, apps: FunctionApps, values: Mapping[str, str]) -> None:
        self._apps, self.values = apps, dict(values)
        self._clients: dict[str, FlaskClient] = {}

    def client(self, function: Function) -> FlaskClient:
        """The function's client."""
        if function.name not in self._clients:
            self._clients[function.name] = self._apps(function.name, settings(function, self.values))
        return self._clients[function.name]

    def with_settings(self, **changes: str) -> Desk:
        """Another desk with other settings."""
        return Desk(self._apps, self.values | changes)

    def call(self, door: Door, *, headers: Mapping[str, str], data: bytes | None = None, **options: Any) -> Any:
        """One request to a route."""
        options.setdefault("content_type", "application/json" if data is not None else None)
        client = self.client(door.function)
        return client.open(door.path, method=door.route.method, headers=dict(headers), data=data, **options)
