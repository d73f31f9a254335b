"""The local Scheduler over real sockets: headers, identity, retries, coalescing, pause, run now, catching up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from google.auth import jwt

from infra.local.deskclock import DeskClockFile
from infra.local.wiring import Job
from tests.support.local_cloud import MessageProcess, Receiver

Start = Callable[..., MessageProcess]


def job(receiver: Receiver, **options: Any) -> Job:
    basis: dict[str, Any] = {
        "name": "relay",
        "url": receiver.url + "/tick",
        "audience": "https://relay",
        "email": "cloud-scheduler@p",
        "cron": "* * * * *",
        "time_zone": "America/New_York",
        "body": '{"task": "drain"}',
    }
    return Job(**{**basis, **options})


def slots(receiver: Receiver) -> list[str]:
    return [push.headers["x-cloudscheduler-scheduletime"] for push in receiver.pushes]


def status(messages: MessageProcess) -> dict[str, Any]:
    found: dict[str, Any] = messages.control.get("/_control/scheduler")["jobs"]["relay"]
    return found


def test_a_schedule_calls_as_cloud_scheduler_calls(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(jobs=(job(receiver),))
    messages.clock.step(60)
    (push,) = receiver.wait_for(1)
    assert push.path == "/tick"
    assert push.body == b'{"task": "drain"}'
    headers = push.headers
    assert headers["x-cloudscheduler"] == "true"
    assert headers["x-cloudscheduler-jobname"] == "relay"
    assert headers["x-cloudscheduler-scheduletime"] == "2026-02-03T15:01:00Z"
    claims = jwt.decode(headers["authorization"][7:], certs=messages.control.get("/oauth2/v1/certs"), audience="https://relay")
    assert claims["email"] == "cloud-scheduler@p"


def test_a_failing_job_is_tried_three_more_times_with_backoff(receiver: Receiver, start_messages: Start) -> None:
    receiver.answer = lambda _push: 500
    messages = start_messages(jobs=(job(receiver, cron="0 * * * *"),))
    messages.clock.set(datetime(2026, 2, 3, 16, 0, tzinfo=UTC))
    for attempt, wait in enumerate((5, 10, 20), start=1):
        messages.wait_until(lambda attempt=attempt: status(messages)["failed"] == attempt)
        messages.clock.step(wait)
    messages.wait_until(lambda: not status(messages)["running"])
    assert slots(receiver) == ["2026-02-03T16:00:00Z"] * 4
    messages.clock.step(600)
    assert status(messages)["failed"] == 4


def test_attempts_of_one_job_never_overlap_and_missed_slots_become_one(receiver: Receiver, start_messages: Start) -> None:
    gate = threading.Event()
    receiver.answer = lambda _push: 204 if gate.wait(10) else 500
    messages = start_messages(jobs=(job(receiver),))
    messages.clock.step(60)
    receiver.wait_for(1)
    for _ in range(5):
        messages.clock.step(60)
    assert len(receiver.pushes) == 1
    gate.set()
    receiver.wait_for(2)
    messages.wait_until(lambda: status(messages)["ok"] == 2)
    assert slots(receiver) == ["2026-02-03T15:01:00Z", "2026-02-03T15:06:00Z"]
    assert receiver.at_once_max == 1


def test_a_clock_set_back_starts_the_day_again(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(jobs=(job(receiver, cron="30 17 * * 1-5"),))
    messages.clock.set(datetime(2026, 2, 3, 23, 0, tzinfo=UTC))
    messages.wait_until(lambda: status(messages)["ok"] == 1)
    messages.clock.set(datetime(2026, 2, 2, 14, 0, tzinfo=UTC))
    messages.clock.set(datetime(2026, 2, 2, 22, 31, tzinfo=UTC))
    messages.wait_until(lambda: status(messages)["ok"] == 2)
    assert slots(receiver) == ["2026-02-03T22:30:00Z", "2026-02-02T22:30:00Z"]


def test_a_job_can_be_paused_and_run_by_hand(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(jobs=(job(receiver),))
    messages.control.pause_jobs("relay")
    messages.clock.step(600)
    assert messages.control.run_job("relay") == 204
    assert slots(receiver) == ["2026-02-03T15:10:00Z"]
    messages.control.resume_jobs("relay")
    messages.clock.step(30)
    assert len(receiver.pushes) == 1
    messages.clock.step(30)
    receiver.wait_for(2)
    assert slots(receiver)[1] == "2026-02-03T15:11:00Z"


def test_a_slot_missed_while_the_process_was_down_is_made_up_for_once(receiver: Receiver, start_messages: Start) -> None:
    messages = start_messages(jobs=(job(receiver, cron="*/15 * * * *"),))
    messages.clock.step(900)
    messages.wait_until(lambda: status(messages)["ok"] == 1)
    assert messages.stop() == 0
    DeskClockFile(messages.home / "clock.json").apply({"step_seconds": 2_000})
    messages.start()
    receiver.wait_for(2)
    messages.wait_until(lambda: status(messages)["ok"] == 1)
    assert slots(receiver) == ["2026-02-03T15:15:00Z", "2026-02-03T15:45:00Z"]


def test_a_job_that_hangs_is_cut_off_at_its_deadline(receiver: Receiver, start_messages: Start) -> None:
    gate = threading.Event()
    receiver.answer = lambda _push: 204 if gate.wait(10) else 500
    messages = start_messages(jobs=(job(receiver, deadline_seconds=0.2, retries=0),))
    messages.clock.step(60)
    messages.wait_until(lambda: status(messages)["failed"] == 1)
    gate.set()
    assert status(messages)["last_reason"] == "deadline"
