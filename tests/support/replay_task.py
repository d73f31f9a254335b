"""A task of the replay job that is killed on its way: ``replay_task.py URL PAGES PLACE``.

It walks ``PAGES`` pages of the run that waits and then kills itself inside the next one: before anything is written (0), after
everything is written and before the commit (1), right after the commit (2).
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import UTC, datetime
from typing import Any

from fillbook.replay import jobs, service, store
from fillbook.replay.jobs import Task
from fillbook.replay.runs import Desk
from fillbook.replay.service import Limits
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from tests.support.servers import database_config

PAGE_ROWS = 7


def die(*_: Any, **__: Any) -> None:
    """As ``kill -9`` does it."""
    os.kill(os.getpid(), signal.SIGKILL)


def main(url: str, pages: int, place: int) -> None:
    """Walk, then die."""
    desk = Desk(db=Database.open(database_config(url), application_name="killed"), code_version="code 1")
    task = Task(desk=desk, clock=FixedClock(datetime(2026, 2, 20, 12, 0, tzinfo=UTC)), limits=Limits(), page_rows=PAGE_ROWS)
    token = "00000000-0000-4000-8000-00000000000a"
    run_id = desk.db.run(lambda tx: store.claim(tx, token, task.clock.now(), lease_seconds=90, attempts_max=3))
    assert run_id is not None
    walker = jobs._Walker(task, run_id, token)
    for _ in range(pages):
        walker._step()
    if place == 0:
        service.write_page = die  # type: ignore[assignment]
    elif place == 1:
        written = service.write_page

        def write_and_die(tx: Any, *rest: Any) -> None:
            written(tx, *rest)
            tx.call(*())
            tx.query(store.QUERIES["runs_active"])  # what was queued is sent
            die()

        service.write_page = write_and_die  # type: ignore[assignment]
    walker._step()
    die()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
