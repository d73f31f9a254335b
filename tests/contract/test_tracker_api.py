"""The read API keeps its contract: whatever a generator makes of its document, the answer is one it announces, never a 500."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from fillbook.runtime.db import Database
from fillbook.tracker.api import ROUTES
from fillbook.tracker.openapi import REFUSALS
from infra.manifest import load
from tests.support import tracker_world as world
from tests.support.functions import FunctionApps
from tests.support.tracker_contract import document
from tests.support.tracker_desk import entry

READ, ADMIN = "read-key-of-the-contract", "admin-key-of-the-contract"
SCHEMA = schemathesis.openapi.from_dict(document())
OPERATIONS = [SCHEMA[route.path][route.method] for route in ROUTES if route.asks == "db"]
ORDERS = [SCHEMA[route.path][route.method] for route in ROUTES if route.asks != "db"]
ANNOUNCED = [status_code_conformance, content_type_conformance, response_schema_conformance]
ANY_OPERATION = st.one_of(*[operation.as_strategy() for operation in OPERATIONS])
ANY_ORDER = st.one_of(*[operation.as_strategy() for operation in ORDERS])
CAN_BE_WRONG = [SCHEMA[route.path][route.method] for route in ROUTES if route.asks == "db" and route.parameters]
ANY_WRONG_ONE = st.one_of(*[one.as_strategy(generation_mode=GenerationMode.NEGATIVE) for one in CAN_BE_WRONG])


@pytest.fixture
def tracker(
    function_app: FunctionApps, database_url: str, tmp_path: Path, db: Database, open_database: Any, query: world.Query
) -> FlaskClient:
    world.filled(open_database, db, query)
    clock = {"desk_at": world.NOW.isoformat(), "real_at": 0, "speed": 1, "paused": True}
    (tmp_path / "clock.json").write_text(json.dumps(clock))
    books = ["live", "ibkr:*", "mt5:*", "replay:*"]
    keys = [entry("reader", READ, books=books), entry("admin", ADMIN, books=books, scopes=["admin"])]
    return function_app(
        "trade_tracker",
        {
            "FILLBOOK_DATABASE_URL": f"{database_url}?role=trade_tracker",
            "FILLBOOK_DESK_CLOCK": str(tmp_path / "clock.json"),
            "DESK_KEYS": json.dumps(keys),
        },
    )


def send(tracker: FlaskClient, case: Any, key: str | None, *, checks: list[Any]) -> Any:
    query = {name: value if isinstance(value, str) else json.dumps(value) for name, value in dict(case.query or {}).items()}
    headers = {name: str(value) for name, value in dict(case.headers or {}).items()}
    headers |= {} if key is None else {"Authorization": f"Bearer {key}"}
    has_body = case.method != "GET" and isinstance(case.body, dict | list | str | int | float | bool | None)
    answer = tracker.open(
        case.formatted_path,
        method=case.method,
        query_string=query,
        headers={name: value for name, value in headers.items() if name != "Content-Type"},
        data=json.dumps(case.body) if has_body else None,
    )
    case.validate_response(answer, checks=checks)
    return answer


@settings(max_examples=80)
@given(case=ANY_OPERATION)
def test_a_generated_question_is_answered_as_announced(tracker: FlaskClient, case: Any) -> None:
    send(tracker, case, ADMIN, checks=[not_a_server_error, *ANNOUNCED])


@settings(max_examples=50)
@given(case=ANY_WRONG_ONE)
def test_a_generated_question_that_breaks_the_document_is_answered_as_announced(tracker: FlaskClient, case: Any) -> None:
    send(tracker, case, ADMIN, checks=[not_a_server_error, *ANNOUNCED])


@settings(max_examples=20)
@given(case=ANY_ORDER)
def test_a_generated_order_to_an_owner_that_is_nowhere_is_answered_as_announced(tracker: FlaskClient, case: Any) -> None:
    assert send(tracker, case, ADMIN, checks=ANNOUNCED).status_code in {400, 404, 409, 422, 502}


@settings(max_examples=20)
@given(case=ANY_OPERATION)
def test_a_generated_question_of_a_stranger_is_refused(tracker: FlaskClient, case: Any) -> None:
    assert send(tracker, case, None, checks=ANNOUNCED).status_code == 401


def test_the_document_is_sent_as_it_is_made(tracker: FlaskClient) -> None:
    assert tracker.get("/openapi.json", headers={"Authorization": f"Bearer {READ}"}).get_json() == document()


def test_manifest_and_document_have_the_same_operations() -> None:
    routes = load().functions["trade_tracker"].routes
    told = {f"{method.upper()} {path}" for path, methods in document()["paths"].items() for method in methods}
    assert {f"{route.method} {route.path}" for route in routes if route.caller == "desk_key"} == told
    assert len(told) == len(ROUTES)


def test_every_refusal_that_a_route_names_is_described() -> None:
    assert {status for route in ROUTES for status in route.refusals} <= set(REFUSALS)


def test_every_answer_is_described_whole() -> None:
    for name, schema in document()["components"]["schemas"].items():
        assert schema.get("type") != "object" or "properties" in schema, name
        assert schema.get("description"), f"{name} says what it is"
    for route in ROUTES:
        assert route.purpose.endswith("."), route.operation
        assert route.answer is not dict, f"{route.operation} has an answer with a type"


def test_every_parameter_of_the_document_is_explained_and_none_is_named_twice() -> None:
    for route in ROUTES:
        assert len({one.name for one in route.parameters}) == len(route.parameters), route.operation
        assert all(one.purpose.strip() for one in (*route.parameters, *route.headers)), route.operation
