"""Pushes of the local Pub/Sub, over real sockets: envelope, identity, order, acknowledgement, flow, retries, dead letters."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

import pytest
from google.auth import jwt

from tests.support.local_cloud import MessageProcess, Push, Receiver

Start = Callable[..., MessageProcess]


def test_a_message_arrives_in_the_envelope_that_google_sends(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(receiver.subscription())
    (message_id,) = messages.publish("hello", key="AMD", schema="receipt.v1")
    (push,) = receiver.wait_for(1)
    moment = "2026-02-03T15:00:00.000Z"
    assert push.envelope == {
        "message": {
            "data": "aGVsbG8=",
            "attributes": {"schema": "receipt.v1"},
            "messageId": message_id,
            "message_id": message_id,
            "publishTime": moment,
            "publish_time": moment,
            "orderingKey": "AMD",
        },
        "subscription": "projects/p/subscriptions/s",
        "deliveryAttempt": 1,
    }
    assert push.headers["content-type"] == "application/json"


def test_the_delivery_attempt_is_told_only_where_dead_lettering_is_set(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(receiver.subscription(dead_letter_topic=None))
    messages.publish("hello")
    (push,) = receiver.wait_for(1)
    assert "deliveryAttempt" not in push.envelope


def test_a_push_carries_a_token_that_google_auth_accepts(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(receiver.subscription(audience="https://worker", email="pubsub-push@x.iam.gserviceaccount.com"))
    messages.publish("hello")
    (push,) = receiver.wait_for(1)
    token = push.headers["authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, certs=messages.control.get("/oauth2/v1/certs"), audience="https://worker")
    assert claims["iss"] == "https://accounts.google.com"
    assert claims["email"] == "pubsub-push@x.iam.gserviceaccount.com"
    assert claims["email_verified"] is True


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_these_answers_acknowledge(receiver: Receiver, start_messages: Start, status: int) -> None:
    receiver.answer = lambda _push: status
    messages = start_messages(receiver.subscription())
    messages.publish("hello")
    assert messages.control.wait_idle()
    assert len(receiver.pushes) == 1


@pytest.mark.parametrize("status", [203, 206, 301, 400, 404, 409, 429, 500, 503, None])
def test_any_other_answer_is_a_redelivery_after_the_backoff(
    receiver: Receiver, start_messages: Start, status: int | None
) -> None:
    receiver.answer = lambda _push: status
    messages = start_messages(receiver.subscription(retry_min_seconds=5, retry_max_seconds=30))
    messages.publish("hello")
    messages.wait_until(lambda: messages.figures()["retrying"] == 1)
    seen = len(receiver.pushes)
    messages.clock.step(4.9)
    assert messages.figures()["retrying"] == 1
    assert len(receiver.pushes) == seen
    receiver.answer = lambda _push: 204
    messages.clock.step(0.2)
    assert messages.control.wait_idle()
    assert receiver.pushes[-1].envelope["deliveryAttempt"] == 2


def test_the_backoff_doubles_to_its_most_on_desk_time(receiver: Receiver, start_messages: Start) -> None:
    receiver.answer = lambda _push: 500
    messages = start_messages(receiver.subscription(retry_min_seconds=5, retry_max_seconds=30))
    messages.publish("hello")
    for attempt, wait in enumerate((5, 10, 20, 30, 30), start=1):
        messages.wait_until(lambda attempt=attempt: messages.figures()["failed"] == attempt)
        messages.clock.step(wait - 0.1)
        assert messages.figures()["failed"] == attempt
        messages.clock.step(0.1)
    messages.wait_until(lambda: messages.figures()["failed"] == 6)


def test_of_one_key_one_is_in_flight_and_the_order_holds_under_retries(receiver: Receiver, start_messages: Start) -> None:
    failed: set[str] = set()
    overlaps: list[str] = []
    active: set[str] = set()
    lock = threading.Lock()

    def answer(push: Push) -> int:
        key = push.envelope["message"]["orderingKey"]
        with lock:
            if key in active:
                overlaps.append(push.text)
            active.add(key)
        try:
            if push.text.endswith("3") and push.text not in failed:
                failed.add(push.text)
                return 500
            return 204
        finally:
            with lock:
                active.discard(key)

    receiver.answer = answer
    messages = start_messages(receiver.subscription())
    for number in range(8):
        for key in ("a", "b", "c"):
            messages.publish(f"{key}{number}", key=key)
    messages.wait_until(lambda: messages.figures()["retrying"] == 3)
    assert {text for text in receiver.texts if text[1] > "3"} == set()
    messages.clock.step(10)
    assert messages.control.wait_idle()
    assert overlaps == []
    for key in ("a", "b", "c"):
        assert [text for text in receiver.texts if text[0] == key] == [f"{key}{n}" for n in (0, 1, 2, 3, 3, 4, 5, 6, 7)]


def test_other_keys_flow_while_one_waits(receiver: Receiver, start_messages: Start) -> None:
    receiver.answer = lambda push: 500 if push.envelope["message"]["orderingKey"] == "bad" else 204
    messages = start_messages(receiver.subscription())
    messages.publish("poison", "behind", key="bad")
    messages.publish("one", "two", "three", key="good")
    messages.wait_until(lambda: messages.figures()["delivered"] == 3)
    assert messages.figures()["depth"] == 2
    assert "behind" not in receiver.texts


def test_never_more_in_flight_than_the_receiver_has_threads(receiver: Receiver, start_messages: Start) -> None:
    gate = threading.Event()
    receiver.answer = lambda _push: 204 if gate.wait(10) else 500
    messages = start_messages(receiver.subscription(ordered=False, in_flight_max=3))
    messages.publish(*"abcdefgh")
    receiver.wait_for(3)
    assert messages.figures()["in_flight"] == 3
    assert messages.figures()["depth"] == 8
    gate.set()
    assert messages.control.wait_idle()
    assert receiver.at_once_max == 3


def test_a_silent_receiver_is_given_up_at_the_ack_deadline(receiver: Receiver, start_messages: Start) -> None:
    gate = threading.Event()
    receiver.answer = lambda _push: 204 if gate.wait(10) else 500
    messages = start_messages(receiver.subscription(ack_deadline_seconds=0.2))
    messages.publish("hello")
    messages.wait_until(lambda: messages.figures()["failed"] == 1)
    assert messages.figures()["last_errors"][0]["reason"] == "deadline"
    gate.set()
    messages.clock.step(10)
    assert messages.control.wait_idle()


def test_after_twenty_attempts_a_message_moves_to_the_dead_letter_topic(receiver: Receiver, start_messages: Start) -> None:
    receiver.answer = lambda push: 204 if push.path == "/dead" or push.text == "next" else 500
    dead = receiver.subscription(name="dead-s", topic="dead", url=receiver.url + "/dead", dead_letter_topic=None)
    messages = start_messages(receiver.subscription(retry_min_seconds=1, retry_max_seconds=1, attempts_max=20), dead)
    (message_id,) = messages.publish("poison", key="AMD", schema="receipt.v1")
    messages.publish("next", key="AMD")
    for attempt in range(1, 20):
        messages.wait_until(lambda attempt=attempt: messages.figures()["failed"] == attempt)
        messages.clock.step(1)
    assert messages.control.wait_idle()
    live = [push for push in receiver.pushes if push.path == "/"]
    assert [push.envelope["deliveryAttempt"] for push in live if push.text == "poison"] == list(range(1, 21))
    assert live[-1].text == "next"
    (buried,) = [push for push in receiver.pushes if push.path == "/dead"]
    message = buried.envelope["message"]
    assert (buried.text, message["orderingKey"]) == ("poison", "AMD")
    assert message["messageId"] != message_id
    assert message["attributes"] == {
        "schema": "receipt.v1",
        "CloudPubSubDeadLetterSourceDeliveryCount": "20",
        "CloudPubSubDeadLetterSourceSubscription": "s",
        "CloudPubSubDeadLetterSourceSubscriptionProject": "p",
        "CloudPubSubDeadLetterSourceTopicPublishTime": "2026-02-03T15:00:00.000Z",
    }
    assert messages.figures()["dead"] == 1


def test_a_function_that_is_being_started_again_costs_no_attempt(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(receiver.subscription(attempts_max=2))
    receiver.close()
    messages.publish("hello")
    messages.wait_until(lambda: messages.figures()["in_flight"] == 1)
    time.sleep(0.2)  # several polls of the closed door
    receiver.open()
    assert messages.control.wait_idle()
    assert [push.envelope["deliveryAttempt"] for push in receiver.pushes] == [1]
    assert messages.figures()["failed"] == 0


def test_an_outage_in_real_time_does_not_burn_the_attempts_of_a_fast_clock(receiver: Receiver, start_messages: Start) -> None:
    receiver.answer = lambda _push: 503
    messages = start_messages(receiver.subscription(retry_min_seconds=5, retry_max_seconds=30), retry_floor_seconds=0.1)
    messages.clock.run(speed=100_000)
    begun = time.monotonic()
    messages.publish("hello")
    messages.wait_until(lambda: messages.figures()["failed"] >= 2)
    time.sleep(0.3)  # eight hours on the desk
    failed = messages.figures()["failed"]
    assert failed <= 1 + (time.monotonic() - begun) / 0.1, "one at once, then one in each floor that has passed"
    receiver.answer = lambda _push: 204
    assert messages.control.wait_idle()
    assert messages.figures()["dead"] == 0


def test_a_paused_subscription_keeps_everything_until_it_is_resumed(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(receiver.subscription())
    messages.control.pause("s")
    messages.publish("a", "b")
    messages.clock.step(60)
    figures = messages.figures()
    assert (figures["depth"], figures["pushed"], figures["oldest_seconds"]) == (2, 0, 60.0)
    assert not messages.control.wait_idle(0.05)
    messages.control.resume("s")
    assert messages.control.wait_idle()
    assert receiver.texts == ["a", "b"]


def test_every_subscription_of_a_topic_gets_its_own_copy(receiver: Receiver, start_messages: Start) -> None:
    second = receiver.subscription(name="s2", url=receiver.url + "/second", ordered=False)
    messages = start_messages(receiver.subscription(), second)
    messages.publish("a")
    assert messages.control.wait_idle()
    assert sorted(push.path for push in receiver.pushes) == ["/", "/second"]
    assert len({push.envelope["message"]["messageId"] for push in receiver.pushes}) == 1


def test_a_topic_without_subscriptions_accepts_and_forgets(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(receiver.subscription())
    assert len(messages.publish("a", topic="dead")) == 1
    assert messages.control.pubsub()["published"] == {"t": 0, "dead": 1}
    assert json.loads(json.dumps(messages.figures()))["depth"] == 0
