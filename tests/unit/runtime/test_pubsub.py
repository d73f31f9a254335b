"""The envelope is read strictly; publishing answers in time and says what kind of failure it was."""

import base64
import json
import threading

import pytest

from fillbook.runtime.config import PubSubConfig
from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.runtime.pubsub import OutMessage, Publisher, PushMessage, publisher_for
from tests.support.scripted import scripted


def body(**changes):
    inner = {"data": base64.b64encode(b"x").decode(), "messageId": "1", "publishTime": "2026-02-11T14:30:00Z"}
    envelope = {"message": {**inner, **changes.pop("message", {})}, "subscription": "projects/p/subscriptions/s", **changes}
    return json.dumps(envelope).encode()


def test_both_spellings_and_unknown_keys_are_read():
    message = PushMessage.parse(
        json.dumps(
            {
                "message": {"message_id": "1", "publish_time": "2026-02-11T14:30:00.123Z", "attributes": None, "new": 1},
                "subscription": "s",
                "deliveryAttempt": 2,
                "also": "new",
            }
        ).encode()
    )
    assert (message.data, message.attributes, message.ordering_key, message.delivery_attempt) == (b"", {}, "", 2)


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        (b"{", None),
        (b"[]", None),
        (b"{}", "message"),
        (body(message={"data": 5}), "message.data"),
        (body(message={"data": "a"}), "message.data"),
        (body(message={"attributes": {"a": 1}}), "message.attributes.a"),
        (body(message={"messageId": 7}), "message.messageId"),
        (body(message={"publishTime": "2026-02-11T14:30:00"}), "message.publishTime"),
        (body(subscription=None), "subscription"),
        (body(deliveryAttempt="2"), "deliveryAttempt"),
    ],
)
def test_a_malformed_envelope_is_refused_by_its_field(broken, field):
    with pytest.raises(Rejected, match="envelope_invalid") as caught:
        PushMessage.parse(broken)
    assert caught.value.field == field


OK = (200, '{"messageIds": ["11", "12"]}')
TWO = [OutMessage(data=b"a", attributes={"k": "v"}, ordering_key="AAPL"), OutMessage(data=b"b", ordering_key="AAPL")]


def test_there_are_as_many_connections_as_publishes_at_once_whoever_publishes():
    with scripted(*[OK] * 12) as (url, _):
        publisher = Publisher("p", base_url=url)
        for _ in range(4):  # one thread after the other
            thread = threading.Thread(target=publisher.publish, args=("t", TWO))
            thread.start()
            thread.join()
        assert len(publisher._idle) == 1


def test_messages_go_out_in_googles_shape_and_ids_come_back_in_order():
    with scripted(OK) as (url, seen):
        assert Publisher("p", base_url=url).publish("signals", TWO) == ["11", "12"]
    (path, payload, authorization) = seen[0]
    assert path == "/v1/projects/p/topics/signals:publish"
    assert payload == {
        "messages": [
            {"data": "YQ==", "attributes": {"k": "v"}, "orderingKey": "AAPL"},
            {"data": "Yg==", "attributes": {}, "orderingKey": "AAPL"},
        ]
    }
    assert authorization is None


def test_a_token_is_sent_where_there_is_one():
    with scripted(OK) as (url, seen):
        Publisher("p", base_url=url, token=lambda: "access").publish("t", TWO)
    assert seen[0][2] == "Bearer access"


def test_a_passing_trouble_is_tried_once_more():
    with scripted((503, "{}"), OK) as (url, seen):
        assert Publisher("p", base_url=url).publish("t", TWO) == ["11", "12"]
    assert len(seen) == 2


@pytest.mark.parametrize("status", [429, 500, 503, 401, 403, 404])
def test_what_may_pass_is_unavailable(status):
    with scripted((status, "{}")) as (url, seen), pytest.raises(Unavailable, match="pubsub_unavailable"):
        Publisher("p", base_url=url).publish("t", TWO)
    assert len(seen) <= 2


@pytest.mark.parametrize("status", [400, 413])
def test_what_is_refused_for_good_is_rejected(status):
    with scripted((status, "{}")) as (url, _), pytest.raises(Rejected, match="publish_refused"):
        Publisher("p", base_url=url).publish("t", TWO)


@pytest.mark.parametrize("text", ["nonsense", "{}", "[]", '{"messageIds": ["1"]}', '{"messageIds": "12"}'])
def test_an_answer_without_the_right_ids_is_no_success(text):
    with scripted((200, text)) as (url, _), pytest.raises(Unavailable):
        Publisher("p", base_url=url).publish("t", TWO)


def test_a_hanging_server_is_left_in_time():
    with scripted(("hang", "")) as (url, _), pytest.raises(Unavailable):
        Publisher("p", base_url=url).publish("t", TWO, timeout_seconds=0.2)


def test_a_dripping_server_is_left_in_time():
    with scripted(("drip", "x" * 400)) as (url, _), pytest.raises(Unavailable, match="answer_too_slow"):
        Publisher("p", base_url=url).publish("t", TWO, timeout_seconds=0.3)


def test_nobody_there_is_unavailable():
    with pytest.raises(Unavailable):
        Publisher("p", base_url="http://127.0.0.1:1").publish("t", TWO, timeout_seconds=0.2)


def test_mixed_ordering_keys_and_too_many_messages_are_our_own_fault():
    publisher = Publisher("p", base_url="http://127.0.0.1:1")
    with pytest.raises(ValueError, match="one ordering key"):
        publisher.publish("t", [OutMessage(data=b"", ordering_key="a"), OutMessage(data=b"", ordering_key="b")])
    with pytest.raises(ValueError, match="1000"):
        publisher.publish("t", [OutMessage(data=b"")] * 1001)
    with pytest.raises(ValueError, match="limit"):
        publisher.publish("t", [OutMessage(data=b"x" * 8_000_000)])
    assert publisher.publish("t", []) == []


def test_credentials_are_sought_only_in_the_cloud():
    local = PubSubConfig(fillbook_env="local", fillbook_local_url="http://127.0.0.1:9", fillbook_project="p")
    assert publisher_for(local)._token is None
    assert publisher_for(PubSubConfig(fillbook_env="cloud", fillbook_project="p"))._token is not None


def test_in_the_cloud_an_access_token_is_fetched_once_and_renewed_when_it_ends(monkeypatch):
    from google.auth import exceptions

    refreshed = []

    class Credentials:
        valid = False
        token = None

        def refresh(self, request):
            refreshed.append(request)
            self.valid, self.token = True, f"access-{len(refreshed)}"

    credentials = Credentials()
    monkeypatch.setattr("google.auth.default", lambda scopes: (credentials, "p"))
    token = publisher_for(PubSubConfig(fillbook_env="cloud", fillbook_project="p"))._token
    assert [token(), token()] == ["access-1", "access-1"]
    credentials.valid = False
    assert token() == "access-2"

    def away(request):
        raise exceptions.TransportError("metadata server")

    credentials.valid, credentials.refresh = False, away
    with pytest.raises(Unavailable, match="pubsub_unavailable"):
        token()
