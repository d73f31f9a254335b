"""The webhook keeps its contract: whatever a generator makes of the document, the answer is one it announces, never a 500."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from fillbook.signal.receipt import instant
from tests.support.functions import FunctionApps
from tests.support.receipts import R_TS, body, encoded
from tests.support.topics import Topics, topics
from tests.support.webhook_api import SLUGS, webhook_document

SCHEMA = schemathesis.openapi.from_dict(webhook_document())
PLAIN, WITH_TOKEN = (SCHEMA[path]["POST"] for path in ("/timed/ingest", "/timed/ingest/{token}"))
# A body of the right shape may still be refused: for its age, for a ticker that is none, for a number of 300 digits.
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
BEARER = {"Authorization": "Bearer a-token-for-the-contract"}


CHANGES = st.dictionaries(st.sampled_from(sorted(body())), st.none() | st.booleans() | st.integers() | st.text(), max_size=3)


@pytest.fixture
def published() -> Iterator[Topics]:
    with topics() as kept:
        yield kept


@pytest.fixture
def webhook(function_app: FunctionApps, published: Topics, tmp_path: Path) -> FlaskClient:
    clock = {"desk_at": instant(R_TS + 60_000).isoformat(), "real_at": 0, "speed": 1, "paused": True}
    (tmp_path / "clock.json").write_text(json.dumps(clock))
    return function_app(
        "signal_ingest",
        {
            "INGEST_TOKENS": "a-token-for-the-contract",
            "FILLBOOK_PROJECT": "fillbook-local",
            "FILLBOOK_LOCAL_URL": published.url,
            "FILLBOOK_DESK_CLOCK": str(tmp_path / "clock.json"),
        },
    )


def send(webhook: FlaskClient, case: Any, headers: dict[str, str]) -> Any:
    data = case.body if isinstance(case.body, bytes) else json.dumps(case.body, default=str).encode()
    query = {name: str(value) for name, value in dict(case.query or {}).items()}
    answer = webhook.post(case.formatted_path, data=data, query_string=query, headers=headers, content_type=case.media_type)
    case.validate_response(answer, checks=CHECKS)
    return answer


@settings(max_examples=60)
@given(case=PLAIN.as_strategy())
def test_a_generated_body_of_a_known_sender_is_answered_as_announced(webhook: FlaskClient, case: Any) -> None:
    assert send(webhook, case, BEARER).status_code in {202, 400, 413}


@settings(max_examples=30)
@given(case=WITH_TOKEN.as_strategy())
def test_a_generated_request_of_an_unknown_sender_is_refused(webhook: FlaskClient, case: Any) -> None:
    assert send(webhook, case, {}).status_code == 401


@settings(max_examples=60)
@given(
    changes=st.dictionaries(st.sampled_from(sorted(body())), st.none() | st.booleans() | st.integers() | st.text(), max_size=3)
)
def test_a_receipt_with_fields_replaced_is_accepted_or_refused_by_a_named_reason(
    webhook: FlaskClient, changes: dict[str, Any]
) -> None:
    answer = webhook.post("/timed/ingest", data=encoded({**body(), **changes}), headers=BEARER)
    told = answer.get_json()
    assert (answer.status_code, told.get("reason")) == (202, None) or (answer.status_code == 400 and told["reason"] in SLUGS)


def test_the_document_announces_every_reason_and_only_numbers_for_numbers() -> None:
    document = webhook_document()
    receipt = document["components"]["schemas"]["Receipt"]
    assert receipt["required"] == ["ticker", "ts", "price"]
    assert receipt["properties"]["price"] == {"type": "number", "exclusiveMinimum": 0, "maximum": 10_000_000}
    assert receipt["properties"]["htf_score"] == {"anyOf": [{"type": "number", "minimum": -50, "maximum": 50}, {"type": "null"}]}
    assert set(receipt["properties"]["state"]["anyOf"][0]["enum"]) == {
        "HTF_BULL_LTF_BULL",
        "HTF_BEAR_LTF_BEAR",
        "HTF_BULL_LTF_PULLBACK",
        "HTF_BEAR_LTF_PULLBACK",
    }
