"""Cloud Run's Jobs API, as far as we speak it: start an execution of a job with so many tasks.

One call, bounded, never inside a transaction. Nothing here waits for the execution. A call whose answer was lost may have started
one: what a job's tasks do must be harmless when it is done twice. In the cloud the caller is known by an access token (APIs of
the platform take no identity tokens), locally by an identity token that the local cloud signed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from fillbook.runtime import clock
from fillbook.runtime.auth import AccessToken, identity_for
from fillbook.runtime.config import PubSubConfig
from fillbook.runtime.errors import Unavailable
from fillbook.runtime.sql import encode

GOOGLE: Final = "https://run.googleapis.com"
SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
CALL_SECONDS: Final = 10
STATUS_OK: Final = 200
REASON: Final = "job_not_started"


class StartsJob(Protocol):
    """Starts executions of jobs elsewhere."""

    def run(self, job: str, *, tasks: int, environment: Mapping[str, str]) -> str:
        """Start an execution of so many tasks, with these settings; its name. Raises ``Unavailable('job_not_started')``."""
        ...


class NoJobs:
    """For processes that hand nothing to a job: shards, and a job's own tasks."""

    def run(self, job: str, *, tasks: int, environment: Mapping[str, str]) -> str:  # noqa: ARG002 - the port's names
        """Refuse."""
        raise Unavailable(REASON, "this process starts no job")


class CloudRun:
    """Starts jobs of one project and region; may be used by any thread."""

    def __init__(
        self, project: str, region: str, *, authorization: Callable[[], Mapping[str, str]], base_url: str = GOOGLE
    ) -> None:
        """``authorization``: the header that says who we are; raises ``Unavailable`` where that cannot be had."""
        self._jobs = f"{base_url}/v2/projects/{project}/locations/{region}/jobs"
        self._authorization = authorization

    def run(self, job: str, *, tasks: int, environment: Mapping[str, str]) -> str:
        """Start an execution and return its name; ``environment`` is set for its tasks beside what the job has.

        Raises ``Unavailable('job_not_started')``, also where the answer is lost or is none.
        """
        import requests  # 60 ms that a start need not pay

        from fillbook.runtime.outgoing import read_json, session

        settings = [{"name": name, "value": value} for name, value in sorted(environment.items())]
        body = encode({"overrides": {"taskCount": tasks, "containerOverrides": [{"env": settings}]}})
        headers = {"Content-Type": "application/json", **self._authorization()}
        deadline = clock.monotonic() + CALL_SECONDS
        try:
            with (
                session(pool_size=1) as http,
                http.post(
                    f"{self._jobs}/{job}:run",
                    data=body.encode(),
                    headers=headers,
                    timeout=(CALL_SECONDS / 4, CALL_SECONDS / 2),
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                if response.status_code != STATUS_OK:
                    raise Unavailable(REASON, f"status {response.status_code}")
                return _execution(read_json(response, seconds=max(deadline - clock.monotonic(), 0)))
        except requests.RequestException as error:
            raise Unavailable(REASON, type(error).__name__) from error


def _execution(operation: Any) -> str:
    """The short name of the execution that an operation stands for."""
    try:
        name = operation["metadata"]["name"]
        return str(name).rpartition("/executions/")[2]
    except (KeyError, TypeError) as error:
        raise Unavailable(REASON, "an answer without an execution") from error


def cloud_run_for(config: PubSubConfig, region: str, *, account: str) -> CloudRun:
    """Return what starts jobs; ``account``: the service account's short name (used locally; the cloud knows who we are)."""
    if config.fillbook_local_url is not None:
        identity = identity_for(config, account=account)
        return CloudRun(
            config.fillbook_project,
            region,
            authorization=lambda: identity.header(GOOGLE),
            base_url=config.fillbook_local_url,
        )
    token = AccessToken(SCOPE, REASON)
    return CloudRun(config.fillbook_project, region, authorization=lambda: {"Authorization": f"Bearer {token()}"})
