"""Publishing over HTTP: Google's limits, refusals and error shape, and the endpoints beside it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.local_cloud import MessageProcess, Receiver

Start = Callable[..., MessageProcess]
TOPIC = "/v1/projects/p/topics/t:publish"


def call(messages: MessageProcess, path: str, body: bytes) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", messages.port, timeout=10)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_publish_answers_one_id_for_each_message(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(receiver.subscription())
    body = json.dumps({"messages": [{"data": "YQ==", "orderingKey": "k"}, {"attributes": {"a": "1"}, "orderingKey": "k"}]})
    status, answer = call(messages, TOPIC, body.encode())
    assert status == 200
    assert len(set(answer["messageIds"])) == 2
    assert messages.control.wait_idle()
    assert [push.envelope["message"]["messageId"] for push in receiver.pushes] == answer["messageIds"]
    assert "data" not in receiver.pushes[1].envelope["message"]


@pytest.mark.parametrize(
    ("path", "body", "status", "name"),
    [
        ("/v1/projects/p/topics/nowhere:publish", b'{"messages":[{"data":"YQ=="}]}', 404, "NOT_FOUND"),
        ("/v1/projects/other/topics/t:publish", b'{"messages":[{"data":"YQ=="}]}', 404, "NOT_FOUND"),
        ("/nothing", b"{}", 404, "NOT_FOUND"),
        (TOPIC, b"{", 400, "INVALID_ARGUMENT"),
        (TOPIC, b"[]", 400, "INVALID_ARGUMENT"),
        (TOPIC, b'{"messages":[]}', 400, "INVALID_ARGUMENT"),
        (TOPIC, b'{"messages":' + b"[" * 100_000, 400, "INVALID_ARGUMENT"),
        (TOPIC, json.dumps({"messages": [{"data": "YQ=="}] * 1001}).encode(), 400, "INVALID_ARGUMENT"),
        (TOPIC, b'{"messages":[{"data":"' + b"YWFh" * (2_700_000) + b'"}]}', 400, "INVALID_ARGUMENT"),
    ],
)
def test_a_bad_publish_is_refused_in_googles_shape(
    receiver: Receiver, start_messages: Start, path: str, body: bytes, status: int, name: str
) -> None:
    messages = start_messages(receiver.subscription())
    answered, answer = call(messages, path, body)
    assert answered == status
    assert set(answer) == {"error"}
    assert set(answer["error"]) == {"code", "message", "status"}
    assert (answer["error"]["code"], answer["error"]["status"]) == (status, name)
    assert messages.figures()["depth"] == 0


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}, {"Origin": "null"}])
def test_a_web_page_of_somebody_else_gets_nothing_through_a_browser(
    receiver: Receiver, start_messages: Start, headers: dict[str, str]
) -> None:
    messages = start_messages(receiver.subscription())
    connection = http.client.HTTPConnection("127.0.0.1", messages.port, timeout=10)
    connection.request("POST", "/token", b'{"email":"a@b","audience":"c"}', headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.status == 403
    assert b"token" not in body


def test_a_token_is_made_for_local_processes(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(receiver.subscription())
    token = messages.control.token("fb-x@p.iam.gserviceaccount.com", "https://other")
    assert token.count(".") == 2
    assert call(messages, "/token", b'{"email":"a"}')[0] == 400


def test_the_clock_is_set_stepped_and_refuses_nonsense(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(receiver.subscription())
    messages.clock.step(90)
    assert messages.clock.now().isoformat() == "2026-02-03T15:01:30+00:00"
    messages.clock.run(speed=50)
    assert messages.control.get("/_control/clock")["speed"] == 50
    for bad in (
        {},
        {"desk_at": "2026-02-03T15:00:00"},
        {"speed": 0},
        {"speed": True},
        {"hands": 2},
        {"realtime": True, "speed": 2},
    ):
        assert call(messages, "/_control/clock", json.dumps(bad).encode())[0] == 400
