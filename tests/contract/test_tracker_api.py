"""The read API keeps its contract: whatever a generator makes of the document, the answer is one it announces, never a 500."""

from __future__ import annotations

import hashlib
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

from fillbook.ibkr.accounts import configure_accounts
from fillbook.runtime.db import Database
from infra.manifest import load
from tests.support.functions import FunctionApps
from tests.support.ibkr import CONFIGS
from tests.support.mt5_linked import NOW, LinkedDesk, Query, closed, trade
from tests.support.tracker_api import LINKED_ID, PATHS, tracker_document

KEY = "desk-key-of-the-contract"
SCHEMA = schemathesis.openapi.from_dict(tracker_document())
OPERATIONS = [SCHEMA[path]["GET"] for path in PATHS]
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ANY_OPERATION = st.one_of(*[operation.as_strategy() for operation in OPERATIONS])
HAVE_NO_PARAMETERS = {path for path, (_, names) in PATHS.items() if not names}
ANY_WRONG_ONE = st.one_of(
    *[one.as_strategy(generation_mode=GenerationMode.NEGATIVE) for one in OPERATIONS if one.path not in HAVE_NO_PARAMETERS]
)


@pytest.fixture
def tracker(
    function_app: FunctionApps, database_url: str, tmp_path: Path, db: Database, open_database: Any, query: Query
) -> FlaskClient:
    configure_accounts(db, CONFIGS, NOW)
    desk = LinkedDesk(open_database("mt5_writer"), open_database("desk_operator"), query)
    (account, other) = desk.link(50123456), desk.link(50123457)
    desk.sync(account, trades=[trade(account, 1), closed(trade(account, 2))])
    desk.fail(other, NOW)
    clock = {"desk_at": "2026-03-04T15:16:00+00:00", "real_at": 0, "speed": 1, "paused": True}
    (tmp_path / "clock.json").write_text(json.dumps(clock))
    entry = {"id": "desk", "sha256": hashlib.sha256(KEY.encode()).hexdigest(), "scopes": ["read"], "tenant_id": "desk"}
    return function_app(
        "trade_tracker",
        {
            "FILLBOOK_DATABASE_URL": f"{database_url}?role=tracker_reader",
            "FILLBOOK_DESK_CLOCK": str(tmp_path / "clock.json"),
            "DESK_KEYS": json.dumps([entry | {"books": ["live", "ibkr:*", "mt5:*"]}]),
        },
    )


def send(tracker: FlaskClient, case: Any, headers: dict[str, str]) -> Any:
    query = {name: value if isinstance(value, str) else json.dumps(value) for name, value in dict(case.query or {}).items()}
    answer = tracker.get(case.formatted_path, query_string=query, headers=headers)
    case.validate_response(answer, checks=CHECKS)
    return answer


@settings(max_examples=100)
@given(case=ANY_OPERATION)
def test_a_generated_question_of_a_reader_is_answered_as_announced(tracker: FlaskClient, case: Any) -> None:
    assert send(tracker, case, {"Authorization": f"Bearer {KEY}"}).status_code in {200, 400, 403, 404, 410}


@settings(max_examples=100)
@given(case=ANY_WRONG_ONE)
def test_a_generated_question_that_breaks_the_document_is_answered_as_announced(tracker: FlaskClient, case: Any) -> None:
    assert send(tracker, case, {"Authorization": f"Bearer {KEY}"}).status_code in {200, 400, 403, 404, 410}


@settings(max_examples=30)
@given(case=ANY_OPERATION)
def test_a_generated_question_of_a_stranger_is_refused(tracker: FlaskClient, case: Any) -> None:
    assert send(tracker, case, {}).status_code == 401


@pytest.mark.parametrize(
    ("path", "names", "query"),
    [
        ("/api/v1/accounts", {}, {}),
        ("/api/v1/accounts/{account}", {"account": LINKED_ID}, {}),
        ("/api/v1/accounts/{account}", {"account": "1"}, {}),
        ("/api/v1/accounts/{account}/sync-runs", {"account": LINKED_ID}, {}),
        ("/api/v1/sync/health", {}, {}),
        ("/api/v1/sync/coverage", {}, {"account_id": LINKED_ID}),
        ("/api/v1/trades", {}, {"platform": "mt5", "account_id": LINKED_ID, "status": "closed"}),
    ],
)
def test_the_answers_about_linked_accounts_are_as_the_document_says(
    tracker: FlaskClient, path: str, names: dict[str, str], query: dict[str, str]
) -> None:
    case = SCHEMA[path]["GET"].Case(path_parameters=names, query=query)
    assert send(tracker, case, {"Authorization": f"Bearer {KEY}"}).status_code == 200


def test_the_document_has_every_reading_route_of_the_manifest() -> None:
    routes = load().functions["trade_tracker"].routes
    assert {route.path for route in routes if route.caller == "desk_key"} == set(PATHS)
