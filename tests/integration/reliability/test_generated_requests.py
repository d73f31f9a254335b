"""Check 25 by generated requests: every route of every function, as its document says and against it; 4xx, never 500, no row.

What has a document of its own is asked in ``tests/contract`` (``test_tracker_api``, ``test_webhook_api``,
``test_snapshot_reading``); here all others are, over one database, with the credentials of their right callers.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from tests.fuzz.messages import event
from tests.fuzz.messages import seeds as messages
from tests.integration.reliability.conftest import Query
from tests.support.campaigns import small_or_full
from tests.support.every_function import MANIFEST, Desk, Door, right_headers
from tests.support.function_documents import documented, function_document
from tests.support.topics import envelope

SCHEMAS = {name: schemathesis.openapi.from_dict(function_document(name)) for name in documented()}
OPERATIONS = [
    (Door(function=MANIFEST.functions[name], route=route), SCHEMAS[name][route.path][route.method])
    for name, routes in documented().items()
    for route in routes
]
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
PUSHES = [
    door
    for door, _ in OPERATIONS
    if (door.function.name, door.route.path) in {(s.function, s.path) for s in MANIFEST.subscriptions}
]
ODD = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        2**31,
        2**63,
        10**30,
        "",
        "²",
        "NaN",
        "1e60000000",
        "9" * 5_000,
        "0001-01-01T00:00:00+14:00",
        "\u202e",
        [],
        {},
    ]
)

COMMITTED = """select count(*) as n from generate_series(:first::bigint, :last::bigint) as x
                where pg_xact_status(x::text::xid8) = 'committed'"""


def asked(mode: GenerationMode) -> st.SearchStrategy[tuple[Door, Any]]:
    def of(door: Door, operation: Any) -> st.SearchStrategy[tuple[Door, Any]]:
        return operation.as_strategy(generation_mode=mode).map(lambda case: (door, case))  # type: ignore[no-any-return]

    can_be_wrong = [(door, one) for door, one in OPERATIONS if mode is GenerationMode.POSITIVE or door.route.method != "GET"]
    return st.sampled_from(can_be_wrong).flatmap(lambda pair: of(*pair))


class Asking:
    """Sends generated requests, and holds what was refused to have written nothing."""

    def __init__(self, every: Desk, query: Query) -> None:
        self.every, self.query = every, query
        for door, _ in OPERATIONS:  # what a function writes when it is first called is nobody's request
            every.call(door, headers=right_headers(door), data=b"{" if door.route.method == "POST" else None)

    def send(self, door: Door, case: Any) -> Any:
        query = {name: value if isinstance(value, str) else json.dumps(value) for name, value in dict(case.query or {}).items()}
        is_json = isinstance(case.body, dict | list | str | int | float | bool | None)
        data = json.dumps(case.body).encode() if door.route.method == "POST" and is_json else None
        before = self._next()
        answer = self.every.client(door.function).open(
            case.formatted_path,
            method=door.route.method,
            headers=right_headers(door),
            query_string=query,
            data=data,
            content_type="application/json",
        )
        if 400 <= answer.status_code < 500:
            (written,) = self.query(COMMITTED, first=before, last=self._next() - 1)
            assert written["n"] == 0, f"{door} refused and wrote"
        return answer

    def _next(self) -> int:
        """The number of the transaction that will be the next to write something."""
        (row,) = self.query("select pg_snapshot_xmax(pg_current_snapshot())::text as number")
        return int(row["number"])


@pytest.fixture
def asking(every: Desk, query: Query) -> Asking:
    return Asking(every, query)


@settings(max_examples=small_or_full(15, 3_000))
@given(chosen=asked(GenerationMode.POSITIVE))
def test_check_25_a_generated_request_to_any_function_is_answered_as_announced(asking: Asking, chosen: tuple[Door, Any]) -> None:
    door, case = chosen
    case.validate_response(asking.send(door, case), checks=CHECKS)


@settings(max_examples=small_or_full(15, 3_000))
@given(chosen=asked(GenerationMode.NEGATIVE))
def test_check_25_a_generated_request_that_breaks_the_document_is_refused_or_put_aside(
    asking: Asking, chosen: tuple[Door, Any]
) -> None:
    door, case = chosen
    case.validate_response(asking.send(door, case), checks=CHECKS)


@settings(max_examples=small_or_full(15, 3_000))
@given(
    data=st.data(), door=st.sampled_from(PUSHES), body=st.sampled_from([json.loads(one) for one in messages() if one[:1] == b"{"])
)
def test_check_25_a_message_with_any_odd_value_in_any_place_is_taken_or_put_aside(
    asking: Asking, data: st.DataObject, door: Door, body: dict[str, Any]
) -> None:
    """Never 500: that message would come again twenty times, and hold what is ordered behind it."""
    inner = body["data"] if isinstance(body.get("data"), dict) and body["data"] and data.draw(st.booleans()) else body
    changed = {**inner, data.draw(st.sampled_from(sorted(inner))): data.draw(ODD)}
    sent = json.dumps({**body, "data": changed} if inner is not body else changed).encode()
    answer = asking.every.call(door, headers=right_headers(door), data=json.dumps(envelope(sent)).encode())
    assert answer.status_code == 204, (str(door), sent[:400], answer.get_data()[:200])


def test_check_25_every_route_of_the_manifest_is_in_a_document() -> None:
    asked_here = {str(door) for door, _ in OPERATIONS}
    assert len(asked_here) == len(OPERATIONS) > 30
    assert event("execution_booked", {})
