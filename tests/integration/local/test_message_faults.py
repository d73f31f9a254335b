"""The fault knobs of the local Pub/Sub: each does what it says, for its target only, and can be repeated by its seed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from infra.local.control import ControlError
from tests.support.local_cloud import MessageProcess, Receiver
from tests.support.waiting import WAIT_SECONDS

Start = Callable[..., MessageProcess]


def test_every_message_can_be_delivered_five_times(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(receiver.subscription())
    messages.control.faults("s", duplicate=5)
    messages.publish("a", "b")
    assert messages.control.wait_idle()
    assert receiver.texts == ["a"] * 5 + ["b"] * 5


def test_the_copies_can_go_out_at_once(receiver: Receiver, start_messages: Start) -> None:
    everybody = threading.Barrier(8, timeout=WAIT_SECONDS)
    receiver.answer = lambda _push: 204 if everybody.wait() >= 0 else None  # none is answered before the last is there
    messages = start_messages(receiver.subscription())
    messages.control.faults("s", duplicate=8, at_once=1)
    messages.publish("a")
    assert messages.control.wait_idle()
    assert receiver.at_once_max == 8


def test_a_dropped_acknowledgement_brings_the_message_again(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(receiver.subscription(retry_min_seconds=1))
    messages.control.faults("s", drop_ack=1, count=2)
    messages.publish("a")
    for failures in (1, 2):
        messages.wait_until(lambda failures=failures: messages.figures()["failed"] == failures)
        messages.clock.step(2)
    assert messages.control.wait_idle()
    assert receiver.texts == ["a", "a", "a"]


def test_reordering_ignores_the_keys_and_loses_nothing(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(receiver.subscription(in_flight_max=1))
    messages.control.pause()
    texts = [str(number) for number in range(20)]
    messages.publish(*texts)
    messages.control.faults("s", reorder=1, seed=7)
    messages.control.resume()
    assert messages.control.wait_idle()
    assert receiver.texts != texts
    assert sorted(receiver.texts) == sorted(texts)
    receiver.pushes.clear()
    messages.control.no_faults()
    messages.publish(*texts)
    assert messages.control.wait_idle()
    assert receiver.texts == texts


def test_a_delay_holds_deliveries_back(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(receiver.subscription())
    messages.control.faults("s", delay_seconds=0.2)
    begun = time.monotonic()
    messages.publish("a")
    assert messages.control.wait_idle()
    assert receiver.pushes[0].started_at - begun >= 0.2


def test_a_refused_publish_keeps_nothing(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(receiver.subscription())
    messages.control.faults("t", refuse=1, count=1)
    with pytest.raises(ControlError, match=r"503.*UNAVAILABLE"):
        messages.publish("a")
    messages.publish("b")
    assert messages.control.wait_idle()
    assert receiver.texts == ["b"]


def test_a_lost_answer_keeps_the_message_so_that_a_careful_publisher_doubles_it(
    receiver: Receiver, start_messages: Start
) -> None:
    messages = start_messages(receiver.subscription())
    messages.control.faults("t", lose_answer=1, count=1)
    with pytest.raises(ControlError, match="503"):
        messages.publish("a")
    messages.publish("a")
    assert messages.control.wait_idle()
    assert receiver.texts == ["a", "a"]


def test_a_hanging_publish_hangs(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(receiver.subscription())
    messages.control.faults("t", hang_seconds=120, count=1)
    with ThreadPoolExecutor(1) as publisher:
        hanging = publisher.submit(messages.publish, "a")
        messages.wait_until(lambda: messages.control.pubsub()["faults"][0]["left"] == 0)
        messages.publish("b")
        assert messages.control.wait_idle()
        assert receiver.texts == ["b"]
        assert not hanging.done()
        messages.kill()
        with pytest.raises(ControlError):
            hanging.result()


def test_an_unknown_knob_is_refused_by_name(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(receiver.subscription())
    with pytest.raises(ControlError, match=r"400.*unknown knob sabotage"):
        messages.control.faults("s", sabotage=1)
