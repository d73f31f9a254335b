"""What was acknowledged to a publisher is delivered, whatever is killed in between, and commits are shared."""

from __future__ import annotations

import base64
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from infra.local.wiring import Wiring
from tests.support.local_cloud import MessageProcess, Push, Receiver

Start = Callable[..., MessageProcess]


def test_messages_acknowledged_to_the_publisher_survive_kill_9(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(receiver.subscription())
    messages.control.pause()
    ids = messages.publish(*(str(number) for number in range(50)), key="a")
    messages.kill()
    messages.start()
    assert messages.control.wait_idle()
    assert receiver.texts == [str(number) for number in range(50)]
    assert [push.envelope["message"]["messageId"] for push in receiver.pushes] == ids


def test_a_push_in_flight_at_kill_9_comes_again(receiver: Receiver, start_messages: Start) -> None:
    gate = threading.Event()
    receiver.answer = lambda _push: 204 if gate.wait(10) else 500
    messages = start_messages(receiver.subscription())
    messages.publish("a")
    receiver.wait_for(1)
    messages.kill()
    gate.set()
    messages.start()
    assert messages.control.wait_idle()
    assert receiver.texts == ["a", "a"]


def test_the_count_of_failed_attempts_survives_a_restart(receiver: Receiver, start_messages: Start) -> None:
    receiver.answer = lambda _push: 500
    messages = start_messages(receiver.subscription())
    messages.publish("a")
    messages.wait_until(lambda: messages.figures()["failed"] == 1)
    assert messages.stop() == 0
    receiver.answer = lambda _push: 204
    messages.start()
    assert messages.control.wait_idle()
    assert [push.envelope["deliveryAttempt"] for push in receiver.pushes] == [1, 2]


def test_killed_again_and_again_under_load_nothing_acknowledged_is_lost_and_order_holds(
    receiver: Receiver, start_messages: Start
) -> None:
    messages = start_messages(receiver.subscription())
    sent: list[str] = []
    for life in range(4):
        for number in range(40):
            text = f"{life}.{number}"
            messages.publish(text, key="a")
            sent.append(text)
        messages.kill()
        messages.start()
    assert messages.control.wait_idle(60)
    assert set(receiver.texts) == set(sent)
    assert list(dict.fromkeys(receiver.texts)) == sent


def test_message_ids_are_never_given_twice(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(receiver.subscription())
    ids = messages.publish("a", "b")
    assert messages.control.wait_idle()
    messages.kill()
    messages.start()
    ids += messages.publish("c", "d")
    assert messages.control.wait_idle()
    assert len(set(ids)) == 4
    assert ids == sorted(ids, key=int)


def test_a_message_of_a_subscription_that_is_gone_is_dropped_at_the_next_start(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(receiver.subscription())
    messages.control.pause()
    messages.publish("a")
    assert messages.stop() == 0
    messages.write(Wiring(project="p", topics=("t", "dead"), retry_floor_seconds=0.0))
    messages.start()
    assert messages.control.wait_idle()
    assert messages.stop() == 0
    with sqlite3.connect(messages.home / "pubsub.sqlite") as file:
        assert file.execute("select count(*) from pending").fetchone() == (0,)
    file.close()


def test_an_acknowledged_message_leaves_the_file(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(receiver.subscription())
    messages.publish("a", "b", "c")
    assert messages.control.wait_idle()
    assert messages.stop() == 0
    with sqlite3.connect(messages.home / "pubsub.sqlite") as file:
        assert file.execute("select count(*) from pending").fetchone() == (0,)
    file.close()


def test_publishers_that_come_together_share_commits(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(receiver.subscription(in_flight_max=16))
    messages.control.pause()
    data = base64.b64encode(b"x" * 4000).decode()

    def publish(number: int) -> None:
        messages.control.publish("t", [{"data": data, "orderingKey": f"k{number % 30}"}], project="p")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(publish, range(400)))
    assert messages.control.pubsub()["commits"] < 400
    messages.control.resume()
    assert messages.control.wait_idle(60)
    assert len(receiver.pushes) == 400


def test_a_backlog_beyond_the_memory_limit_is_read_again_from_the_file(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(receiver.subscription(), memory_bytes_max=100_000)
    messages.control.pause()
    for number in range(20):
        data = base64.b64encode(bytes([number]) * 30_000).decode()
        messages.control.publish("t", [{"data": data, "orderingKey": "k"}], project="p")
    assert 0 < messages.control.pubsub()["memory_bytes"] <= 100_000
    seen: list[int] = []

    def answer(push: Push) -> int:
        seen.append(base64.b64decode(push.envelope["message"]["data"])[0])
        receiver.pushes.clear()
        return 204

    receiver.answer = answer
    messages.control.resume()
    assert messages.control.wait_idle(60)
    assert seen == list(range(20))
    assert messages.control.pubsub()["memory_bytes"] == 0
