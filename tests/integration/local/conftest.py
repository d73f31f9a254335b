"""Fixtures of the local cloud's tests: a receiver, and message processes that end with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from infra.local.deskclock import DeskClockFile
from infra.local.ports import free_port
from infra.local.wiring import Wiring
from tests.support.local_cloud import MessageProcess, Receiver

DESK_START = datetime(2026, 2, 3, 15, 0, tzinfo=UTC)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.close()


@pytest.fixture
def start_messages(tmp_path: Path) -> Iterator[Callable[..., MessageProcess]]:
    """``start_messages(subscription, …, jobs=…, retry_floor_seconds=0)``: a running process at 10:00 New York, stopped."""
    started: list[MessageProcess] = []

    def start(*subscriptions: Any, **options: Any) -> MessageProcess:
        topics = tuple(dict.fromkeys(["t", "dead", *(one.topic for one in subscriptions)]))
        wiring = Wiring(project="p", topics=topics, subscriptions=subscriptions, **{"retry_floor_seconds": 0.0, **options})
        DeskClockFile(tmp_path / "clock.json").apply({"desk_at": DESK_START.isoformat(), "paused": True})
        port = free_port()
        process = MessageProcess(tmp_path, wiring, port)
        started.append(process)
        process.start()
        return process

    yield start
    for process in started:
        process.kill()
