"""So many tasks of the replay job at once: ``replay_crowd.py URL TASKS``, each a process of its own that works off what waits.

The processes are forked, so that they need not import anything. Status 0 when all of them came to their end.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

from fillbook.replay import jobs
from fillbook.replay.jobs import Task
from fillbook.replay.runs import Desk
from fillbook.replay.service import Limits
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from tests.support.servers import database_config


def work_off(url: str) -> None:
    """One task, as the job starts it."""
    desk = Desk(db=Database.open(database_config(url), application_name="crowd"), code_version="code 1")
    jobs.work_off(Task(desk=desk, clock=FixedClock(datetime(2026, 2, 20, 12, 0, tzinfo=UTC)), limits=Limits(), page_rows=20))


def main(url: str, tasks: int) -> int:
    """Fork, wait, tell whether all is well."""
    pids = []
    for _ in range(tasks):
        pid = os.fork()
        if pid == 0:
            work_off(url)
            os._exit(0)
        pids.append(pid)
    ended = [os.waitpid(pid, 0)[1] for pid in pids]
    return int(any(ended))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
