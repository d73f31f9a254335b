"""Check 27: nobody enters a route without the credential the manifest names for it, and nothing is shown or kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fillbook.runtime.clock import real_epoch_seconds
from tests.integration.reliability.conftest import Query
from tests.support.every_function import (
    CALLER,
    DESK_KEY,
    INGEST_TOKEN,
    INTERNAL_TOKEN,
    METRICS_KEY,
    Desk,
    Door,
    audience,
    doors,
    identity,
    right_headers,
    slug_of,
    usual_body,
)
from tests.support.signer import Signer
from tests.support.topics import Topics

GUARDED = [door for door in doors() if door.route.caller != "none"]
BY_IDENTITY = list(doors("oidc", "admin"))
OTHER_KEY = Signer("another-key")
FORGED = {
    "X-CloudScheduler": "true",
    "X-CloudScheduler-ScheduleTime": "2026-02-03T15:16:00Z",
    "X-Serverless-Authorization": "Bearer trust-me",
    "X-Goog-Authenticated-User-Email": f"accounts.google.com:{CALLER}",
    "From": "noreply@google.com",
    "User-Agent": "APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)",
}
WRONG_HEADERS: dict[str, Callable[[str], dict[str, str]]] = {
    "nothing": lambda _name: {},
    "a forged push or schedule": lambda _name: FORGED,
    "no scheme": lambda _name: {"Authorization": INGEST_TOKEN},
    "basic": lambda _name: {"Authorization": "Basic ZGVzazpkZXNr"},
    "nonsense": lambda _name: {"Authorization": "Bearer nonsense"},
    "an empty bearer": lambda _name: {"Authorization": "Bearer "},
    "two tokens": lambda _name: {"Authorization": f"Bearer {INGEST_TOKEN} {DESK_KEY}x"},
    "a token of no text": lambda _name: {"Authorization": "Bearer \xff\xfe\xfd"},
    "a token without signature": lambda name: {
        "Authorization": identity(name)["Authorization"].rpartition(".")[0] + ".SIGNATURE_REMOVED_BY_GOOGLE"
    },
    "a very long token": lambda _name: {"Authorization": "Bearer " + "x" * 60_000},
}
TABLES = (
    "signal.receipts", "signal.quarantine", "ledger.fills", "ledger.audits", "outbox.events", "outbox.inbox", "outbox.quarantine",
    "notify.messages", "notify.reconcile_runs", "ibkr.jobs", "ibkr.quarantine", "ibkr.order_sizes", "metrics.snapshot_versions",
)  # fmt: skip
KEYS_OF_OTHERS = {
    "ingest_token": INGEST_TOKEN,
    "desk_key": DESK_KEY,
    "internal_token": INTERNAL_TOKEN,
    "metrics_key": METRICS_KEY,
}
WRONG_CLAIMS: dict[str, tuple[int, dict[str, Any]]] = {
    "another audience": (401, {"audience": "https://somebody-else.test"}),
    "expired": (401, {"issued": real_epoch_seconds() - 7200}),
    "not yet": (401, {"issued": real_epoch_seconds() + 7200}),
    "another issuer": (401, {"iss": "https://accounts.example.com"}),
    "an address nobody verified": (403, {"email_verified": False}),
    "another caller": (403, {"email": "someone@else.example"}),
}


def looked_at(query: Query) -> dict[str, int]:
    """How many rows every table holds that a caller could make grow."""
    return {table: query(f"select count(*) as n from {table}")[0]["n"] for table in TABLES}


def refused(answer: Any) -> tuple[int, str]:
    """Status and reason of an answer that tells nothing else."""
    reason = slug_of(answer.get_json())
    assert reason is not None
    assert len(answer.get_data()) < 200, "an answer to a stranger says one word"
    return answer.status_code, reason


def turned_away(door: Door) -> set[tuple[int, str]]:
    """How a route turns away whoever shows nothing that it knows; a reader of metrics who goes on asking is told to wait."""
    if door.route.caller == "internal_token":
        return {(401, "token_missing")}
    return {(401, "unauthorized")} | ({(429, "too_many_requests")} if door.route.caller == "metrics_key" else set())


def test_every_route_but_the_page_asks_for_something() -> None:
    assert {str(door) for door in doors("none")} == {
        "trade_tracker GET /",
        "trade_tracker GET /app/{view:path}",
        "trade_tracker GET /assets/{name:path}",
        "trade_tracker GET /favicon.ico",
        "trade_tracker GET /robots.txt",
    }


@pytest.mark.parametrize("wrong", WRONG_HEADERS)
def test_a_stranger_is_refused_on_every_route(every: Desk, published: Topics, query: Query, wrong: str) -> None:
    before = looked_at(query)
    for door in GUARDED:
        answer = every.call(door, headers=WRONG_HEADERS[wrong](door.function.name), data=usual_body(door))
        assert refused(answer) in turned_away(door), door
    assert looked_at(query) == before
    assert published.messages == {}


def test_the_credential_of_another_route_opens_nothing(every: Desk, published: Topics, query: Query) -> None:
    before = looked_at(query)
    for door in GUARDED:
        for kind, key in KEYS_OF_OTHERS.items():
            if kind != door.route.caller:
                answer = every.call(door, headers={"Authorization": f"Bearer {key}"}, data=usual_body(door))
                assert refused(answer) in turned_away(door), (door, kind)
        if door.route.caller not in ("oidc", "admin"):
            answer = every.call(door, headers=identity(door.function.name), data=usual_body(door))
            assert refused(answer) in turned_away(door), door
    assert (looked_at(query), published.messages) == (before, {})


@pytest.mark.parametrize("wrong", WRONG_CLAIMS)
def test_an_identity_with_one_wrong_claim_is_refused_on_every_route(every: Desk, query: Query, wrong: str) -> None:
    status, claims = WRONG_CLAIMS[wrong]
    before = looked_at(query)
    for door in BY_IDENTITY:
        answer = every.call(door, headers=identity(door.function.name, **claims), data=usual_body(door))
        assert refused(answer)[0] == status, door
    assert looked_at(query) == before


def test_an_identity_for_one_function_is_worth_nothing_at_another(every: Desk) -> None:
    for door in BY_IDENTITY:
        for other in {one.function.name for one in BY_IDENTITY} - {door.function.name}:
            assert every.call(door, headers=identity(other), data=usual_body(door)).status_code == 401, (door, other)


def test_a_token_signed_by_somebody_else_or_altered_is_refused(every: Desk) -> None:
    for door in BY_IDENTITY:
        forged = OTHER_KEY.sign(audience=audience(door.function.name), issued=real_epoch_seconds(), email=CALLER)
        genuine = identity(door.function.name)["Authorization"]
        head, _, rest = genuine.partition(".")
        for header in (f"Bearer {forged}", f"{genuine[:-6]}AAAAAA", f"{head}.e30.{rest.rpartition('.')[2]}"):
            answer = every.call(door, headers={"Authorization": header}, data=usual_body(door))
            assert refused(answer) == (401, "unauthorized"), door


def test_without_configured_callers_and_keys_every_route_is_closed(every: Desk, published: Topics, query: Query) -> None:
    before = looked_at(query)
    closed = every.with_settings(FILLBOOK_OIDC_CALLERS="", INGEST_TOKENS="", DESK_KEYS="[]", METRICS_KEYS="[]")
    tokenless = closed.with_settings(INTERNAL_TOKEN="")  # whoever shows it to others does not start without one
    for door in GUARDED:
        headers = {
            "oidc": identity(door.function.name),
            "admin": identity(door.function.name),
            "ingest_token": {"Authorization": "Bearer "},
            "desk_key": {"Authorization": f"Bearer {DESK_KEY}"},
            "internal_token": {"X-Internal-Token": INTERNAL_TOKEN},
            "metrics_key": {"Authorization": f"Bearer {METRICS_KEY}"},
        }[door.route.caller]
        desk = tokenless if door.route.caller == "internal_token" else closed
        answer = desk.call(door, headers=headers, data=usual_body(door))
        assert refused(answer)[0] == (403 if door.route.caller in ("oidc", "admin") else 503), door
    nobody = every.with_settings(FILLBOOK_OIDC_AUDIENCE="")
    for door in BY_IDENTITY:
        assert nobody.call(door, headers={}, data=usual_body(door)).status_code == 401, door
    assert (looked_at(query), published.messages) == (before, {})


def test_an_expired_desk_key_and_the_book_of_another_open_nothing(every: Desk) -> None:
    for door in doors("desk_key"):
        old = every.call(door, headers={"Authorization": f"Bearer old-{DESK_KEY}"})
        assert refused(old) == (401, "unauthorized"), door
    for door in doors("desk_key"):
        if door.route.path == "/timed/health" or door.route.method != "GET":
            continue
        for book in ("ibkr:U1", "replay:x", "live%00", "*"):
            answer = every.client(door.function).get(f"{door.path}?books={book}", headers={"Authorization": f"Bearer {DESK_KEY}"})
            assert answer.status_code in (400, 404), (door, book)
            assert "trades" not in answer.get_json()


UNKNOWN = (
    "action_unknown",
    "run_unknown",
    "not_compared",
    "job_unknown",
    "quarantine_unknown",
    "trade_unknown",
    "account_unknown",
    "no_snapshot",
)


def test_the_right_caller_is_let_in_everywhere(every: Desk, published: Topics) -> None:
    """Else the tests above would pass on a desk that refuses everybody."""
    published.behaviour = "ok"
    for door in GUARDED:
        answer = every.call(door, headers=right_headers(door), data=usual_body(door))
        told = answer.get_json(silent=True) or {}
        assert answer.status_code not in (401, 403, 405, 500), (door, json.dumps(told))
        reason = slug_of(told)
        assert answer.status_code != 404 or reason in UNKNOWN, (door, json.dumps(told))
