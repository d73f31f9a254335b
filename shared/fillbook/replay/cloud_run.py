"""Starting the job: Cloud Run's REST call. On this machine, which has no Cloud Run, threads of the function's own process walk.

A job that cannot be started is no failure of the call that made its runs: they wait, and the next start takes them along.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from fillbook.replay.settings import ReplayWorkerConfig
from fillbook.runtime import logs

API: Final = "https://run.googleapis.com/v2"
SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
SECONDS: Final = (3, 10)
TASKS_HERE_MAX: Final = 2

_log = logs.get("replay_worker")


def starter(config: ReplayWorkerConfig, work_off: Callable[[], object]) -> Callable[[int], None]:
    """Return what starts a number of tasks; failures are logged. ``work_off`` is what a task does."""

    def start(tasks: int) -> None:
        if config.replay_job is not None:
            _run_job(config.replay_job, tasks)
        elif config.fillbook_env == "local":
            for _ in range(min(tasks, TASKS_HERE_MAX)):
                threading.Thread(target=_watched, args=(work_off,), name="replay-task", daemon=True).start()
        else:
            _log.warning("replay_job_not_configured", tasks=tasks)

    return start


def _watched(work_off: Callable[[], object]) -> None:
    try:
        work_off()
    except Exception as error:  # noqa: BLE001 -- a thread's failure would be seen by nobody; its run's lease runs out
        _log.failed("replay_task_failed", error)


def _run_job(job: str, tasks: int) -> None:
    import requests

    headers = {"Authorization": f"Bearer {_access_token()}"}
    try:
        answer = requests.post(f"{API}/{job}:run", json={"overrides": {"taskCount": tasks}}, headers=headers, timeout=SECONDS)
        answer.raise_for_status()
    except requests.RequestException as error:
        _log.warning("replay_job_not_started", error=type(error).__name__, tasks=tasks)
        return
    _log.info("replay_job_started", tasks=tasks)


def _access_token() -> str:
    import google.auth
    import google.auth.transport.requests

    credentials: Any = google.auth.default(scopes=[SCOPE])[0]
    credentials.refresh(google.auth.transport.requests.Request())
    return str(credentials.token)
