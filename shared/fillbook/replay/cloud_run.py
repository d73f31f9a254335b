"""Starting the job: Cloud Run's REST call in the cloud, the same call to the local cloud on this machine.

A job that cannot be started is no failure of the call that made its runs: they wait, and the next start takes them along.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fillbook.replay.settings import ReplayWorkerConfig
from fillbook.runtime import logs

API: Final = "https://run.googleapis.com"
SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
SECONDS: Final = (3.0, 10.0)

_log = logs.get("replay_worker")


def starter(config: ReplayWorkerConfig) -> Callable[[int], None]:
    """Return what starts the job with a number of tasks; failures are logged."""

    def start(tasks: int) -> None:
        if config.replay_job is None:
            _log.warning("replay_job_not_configured", tasks=tasks)
            return
        import requests

        base = config.fillbook_local_url or API
        headers = {} if config.fillbook_local_url else {"Authorization": f"Bearer {_access_token()}"}
        try:
            answer = requests.post(
                f"{base}/v2/{config.replay_job}:run", json={"overrides": {"taskCount": tasks}}, headers=headers, timeout=SECONDS
            )
            answer.raise_for_status()
        except requests.RequestException as error:
            _log.warning("replay_job_not_started", error=type(error).__name__, tasks=tasks)
            return
        _log.info("replay_job_started", tasks=tasks)

    return start


def _access_token() -> str:
    import google.auth
    import google.auth.transport.requests

    credentials, _ = google.auth.default(scopes=[SCOPE])  # type: ignore[no-untyped-call]
    credentials.refresh(google.auth.transport.requests.Request())
    return str(credentials.token)
