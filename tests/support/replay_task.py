"""Tasks of the replay job that are killed on their way: ``replay_task.py URL``, then a line ``MESSAGE BEFORE|AFTER`` for each.

Every line is a process of its own (forked, so that it need not import anything): it claims the run that waits, walks its
pages and kills itself at that message to the database, before it is sent or when its answer is there. What it ended with is
printed. A process that comes to the end of the run kills itself there.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import UTC, datetime
from typing import Any

from fillbook.replay import jobs
from fillbook.replay.jobs import Task
from fillbook.replay.runs import Desk
from fillbook.replay.service import Limits
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from fillbook.runtime.tx import Tx
from tests.support.servers import database_config

PAGE_ROWS = 7
exchange = Tx._exchange


def die() -> None:
    """As ``kill -9`` does it."""
    os.kill(os.getpid(), signal.SIGKILL)


def walk_and_die(url: str, message: int, place: str) -> None:
    """One task, as the job starts it, up to its end."""
    left = [message]

    def counted(tx: Tx, *args: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 and place == "BEFORE":
            die()
        answer = exchange(tx, *args, **options)
        if left[0] == 0:
            die()
        return answer

    Tx._exchange = counted  # type: ignore[method-assign]
    desk = Desk(db=Database.open(database_config(url), application_name="killed"), code_version="code 1")
    task = Task(desk=desk, clock=FixedClock(datetime(2026, 2, 20, 12, 0, tzinfo=UTC)), limits=Limits(), page_rows=PAGE_ROWS)
    jobs.work_off(task)
    die()


def main(url: str) -> None:
    """A process for each line; its exit status on a line of its own."""
    for line in sys.stdin:
        message, place = line.split()
        pid = os.fork()
        if pid == 0:
            walk_and_die(url, int(message), place)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)  # noqa: T201 -- read by the test


if __name__ == "__main__":
    main(sys.argv[1])
