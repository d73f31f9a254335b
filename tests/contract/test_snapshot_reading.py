"""Readers of published days are answered as the document says: whatever a generator asks, and each route in full, never a 500."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from fillbook.snapshot.filters import ROUTES
from infra.manifest import load
from tests.support.functions import FunctionApps
from tests.support.snapshot_api import Api, day_document, set_clock
from tests.support.snapshot_api import settings as environment
from tests.support.snapshot_reading import reading_document

SCHEMA = schemathesis.openapi.from_dict(reading_document())
OPERATIONS = {route: SCHEMA[route]["GET"] for route in ROUTES}
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ANY_QUESTION = st.one_of(*[one.as_strategy() for one in OPERATIONS.values()])
ANY_WRONG_ONE = st.one_of(
    *[one.as_strategy(generation_mode=GenerationMode.NEGATIVE) for route, one in OPERATIONS.items() if ROUTES[route].known]
)
EXAMPLES = 25
"""Below the burst that a reader may ask in."""


@pytest.fixture
def api(function_app: FunctionApps, database_url: str, tmp_path: Path) -> Api:
    client = function_app("snapshot_api", environment(database_url, tmp_path))
    made = Api(client, at=lambda now: set_clock(tmp_path, now))
    for number in (1, 2):
        made.post(day_document(number=number, updated_at=f"2026-02-11T21:0{number}:00.000Z"))
    return made


def send(api: Api, case: Any) -> Any:
    query = {name: str(value) for name, value in dict(case.query or {}).items()}
    answer = api.client.get(case.formatted_path, query_string=query, headers={"Authorization": "Bearer metrics-key-of-a-reader"})
    case.validate_response(answer, checks=CHECKS)
    return answer


@settings(max_examples=EXAMPLES)
@given(case=ANY_QUESTION)
def test_a_generated_question_about_published_days_is_answered_as_announced(api: Api, case: Any) -> None:
    assert send(api, case).status_code in {200, 400, 404, 410, 429}


@settings(max_examples=EXAMPLES)
@given(case=ANY_WRONG_ONE)
def test_a_generated_question_that_breaks_the_document_is_answered_as_announced(api: Api, case: Any) -> None:
    assert send(api, case).status_code in {200, 400, 404, 410, 429}


def test_every_route_answers_in_full_as_the_document_says(api: Api) -> None:
    for route, operation in OPERATIONS.items():
        query = {"kpi": "Daily PnL"} if "kpi" in ROUTES[route].needed else {}
        assert send(api, operation.Case(query=query)).status_code == 200, route


def test_the_document_has_every_reading_route_of_the_manifest() -> None:
    routes = load().functions["snapshot_api"].routes
    assert {route.path for route in routes if route.caller == "metrics_key"} == set(ROUTES)
