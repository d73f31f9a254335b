"""Scenario 25: killed at each step and run again, the day has one version and was told once; its lease ends by itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from fillbook.snapshot import checks, document, publications, publishing, source
from fillbook.snapshot.model import Status
from fillbook.snapshot.receiver import Door, HttpReceiver, Pace
from infra.local.lenient import POST_PATH
from tests.support.snapshot_publishing import DAY, PublishDesk
from tests.support.snapshot_receivers import OurApi

BEFORE, AFTER = "before", "after"
STEPS: list[tuple[str, Any, str, str]] = [
    ("with the lease in hand", publications, "take_lease", AFTER),
    ("with the work list written", source, "put_days", AFTER),
    ("with the views refreshed", source, "refresh", AFTER),
    ("with the day read", source, "read", AFTER),
    ("with the document built", document, "built", AFTER),
    ("with the guards asked", checks, "guarded", AFTER),
    ("before the sending is recorded", publications, "record_sending", BEFORE),
    ("with the bytes recorded", publications, "record_sending", AFTER),
    ("with the day stored by the API", HttpReceiver, "send", AFTER),
    ("inside the last transaction", publications, "record", AFTER),
    ("right before the last commit", publications, "release_lease", AFTER),
    ("with the end committed", publishing, "partitions_of", BEFORE),
]


@pytest.fixture
def template(w1_template: str) -> str:
    return w1_template


@pytest.fixture
def api() -> Iterator[OurApi]:
    with OurApi() as served:
        yield served


@pytest.fixture
def desk(open_database: Any, db: Any, query: Any, api: OurApi) -> PublishDesk:
    """The publisher before an API that lives in this process, whoever dies beside it."""
    door = Door(url=api.base_url, endpoint=POST_PATH, token=SecretStr("token"))
    made = PublishDesk(open_database, db, query)
    made.ground = replace(made.ground, receiver=HttpReceiver(door, now=made.clock.now, pace=Pace(attempt_seconds=10)))
    return made


def dies(where: Any, name: str, when: str) -> None:
    """From now on the process ends right before or after this call."""
    work: Callable[..., Any] = getattr(where, name)

    def deadly(*args: Any, **kwargs: Any) -> Any:
        if when == AFTER:
            work(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(where, name, deadly)


def killed(desk: PublishDesk, where: Any, name: str, when: str) -> int:
    """Publish in a process of its own that dies at a step; how it ended."""
    pid = os.fork()
    if pid == 0:
        try:
            dies(where, name, when)
            desk.call(refresh=name in ("put_days", "refresh"))
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize(("where", "name", "when"), [step[1:] for step in STEPS], ids=[step[0] for step in STEPS])
def test_scenario_25_a_publisher_that_was_killed_leaves_one_version_and_one_event(
    desk: PublishDesk, api: OurApi, where: Any, name: str, when: str
) -> None:
    if where is not source:
        desk.read_foreign_views()
    assert killed(desk, where, name, when) == -signal.SIGKILL
    is_done = desk.statuses() == ["published"]
    if not is_done:
        assert desk.publish(refresh=False).status is Status.BUSY
        desk.end_leases()
    again = desk.publish(refresh=False)
    assert again.status is (Status.UNCHANGED if is_done else Status.PUBLISHED)
    assert api.kept[DAY.isoformat()][2] == 1
    assert [event for event, _ in desk.events()] == ["snapshot_published"]
    assert (desk.leases(), desk.statuses()[-1]) == (0, "unchanged" if is_done else "published")
