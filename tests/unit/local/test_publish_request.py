"""A publish request is read as Google reads it; what Google refuses is refused, with the place of the fault."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.publish_request import Incoming, Refused, charged_bytes, parse

AT = datetime(2026, 2, 3, 15, 0, 0, 123456, tzinfo=UTC)


def request(*messages: Any) -> bytes:
    return json.dumps({"messages": list(messages)}).encode()


@given(st.binary(min_size=1, max_size=300), st.booleans(), st.booleans())
def test_every_base64_that_google_takes_becomes_the_same_standard_text(data: bytes, url_safe: bool, padded: bool) -> None:
    text = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(data).decode()
    (message,) = parse(request({"data": text if padded else text.rstrip("=")}))
    assert base64.b64decode(message.data, validate=True) == data


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), st.text(st.characters(codec="utf-8"), max_size=50)
    ),
    st.text(st.characters(codec="utf-8"), max_size=50),
)
def test_a_body_in_push_form_holds_exactly_what_was_published(attributes: dict[str, str], key: str) -> None:
    incoming = Incoming(data="YQ==", attributes=attributes, ordering_key=key)
    message = json.loads(incoming.body("7", AT) + b"}")["message"]
    assert message["attributes"] == attributes
    assert message.get("orderingKey", "") == key
    assert message["publishTime"] == message["publish_time"] == "2026-02-03T15:00:00.123Z"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({}, "must have data"),
        ({"data": "", "attributes": {}}, "must have data"),
        ({"data": "a*b="}, "Base64"),
        ({"data": 7}, "TYPE_BYTES"),
        ({"data": "YQ==", "more": 1}, "Unknown field"),
        ({"data": "YQ==", "attributes": ["a"]}, "attributes"),
        ({"data": "YQ==", "attributes": {"a": 1}}, "TYPE_STRING"),
        ({"data": "YQ==", "attributes": {"": "x"}}, "empty key"),
        ({"data": "YQ==", "attributes": {"a" * 257: "x"}}, "too long"),
        ({"data": "YQ==", "attributes": {"a": "x" * 1025}}, "too long"),
        ({"data": "YQ==", "attributes": {f"a{n}": "x" for n in range(101)}}, "attributes"),
        ({"data": "YQ==", "orderingKey": "k" * 1025}, "too long"),
        ({"data": "YQ==", "orderingKey": 5}, "TYPE_STRING"),
        ({"data": "YQ==", "orderingKey": "\ud800"}, "UTF-8"),
        ("text", "Unknown field"),
    ],
)
def test_a_bad_message_is_refused_with_its_place(message: Any, said: str) -> None:
    with pytest.raises(Refused, match=said) as refused:
        parse(request({"data": "YQ=="}, message))
    assert refused.value.code == 400
    assert "messages[1]" in str(refused.value)
    assert refused.value.document()["error"]["status"] == "INVALID_ARGUMENT"


def test_all_messages_of_a_request_share_the_ordering_key() -> None:
    with pytest.raises(Refused, match="same ordering key"):
        parse(request({"data": "YQ==", "orderingKey": "a"}, {"data": "YQ=="}))


def test_a_thousand_messages_are_taken_and_one_more_is_not() -> None:
    assert len(parse(request(*[{"data": "YQ=="}] * 1000))) == 1000
    with pytest.raises(Refused, match="1001"):
        parse(request(*[{"data": "YQ=="}] * 1001))


def test_unknown_fields_of_the_request_are_refused_by_name() -> None:
    with pytest.raises(Refused, match='Unknown name "message"'):
        parse(b'{"message":[]}')


def test_a_request_is_charged_for_its_data_as_bytes_and_for_a_thousand_at_least() -> None:
    data = base64.b64encode(b"x" * 3_000).decode()
    body = Incoming(data=data, attributes={"a": "b"}).body("1", AT)
    around = len(Incoming(data="", attributes={"a": "b"}).body("1", AT)) + len('"data":"",')
    assert charged_bytes([body]) == 3_000 + around
    assert charged_bytes([body, body]) == 2 * (3_000 + around)
    assert charged_bytes([Incoming(attributes={"a": "b"}).body("1", AT)]) == 1_000
