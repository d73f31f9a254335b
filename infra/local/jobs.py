"""Cloud Run jobs on this machine: an execution is started by the platform's own call and its tasks are processes of the bundle.

``POST /v2/projects/P/locations/R/jobs/JOB:run`` answers with the operation that Google answers with; a task is told by
``CLOUD_RUN_…`` which of how many it is, is tried again as the deployment says, and is killed when its time is over. Only the
accounts that the manifest names may start a job: their identity token stands for the platform's access control. Executions are
not kept: when this process ends its tasks end with it, and what they had not done is claimed by whoever comes next.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.auth import exceptions, jwt

from infra.local.publish_request import Refused
from infra.local.tokens import Tokens
from infra.local.wiring import CloudJob

AUDIENCE = "https://run.googleapis.com"
AT_ONCE = 4
"""Tasks at work at once, whatever an execution asks for: what two cores make sense of."""
EXECUTIONS_KEPT = 50
ENV_MAX = 50


@dataclass(slots=True, eq=False)
class Task:
    """One task of an execution and how it went."""

    index: int
    attempts: int = 0
    status: str = "waiting"
    exit_status: int | None = None
    pid: int | None = None

    def document(self) -> dict[str, Any]:
        """As the control panel tells it."""
        return {
            "index": self.index,
            "attempts": self.attempts,
            "status": self.status,
            "exit_status": self.exit_status,
            "pid": self.pid,
        }


@dataclass(slots=True, eq=False)
class Execution:
    """A started job."""

    name: str
    job: CloudJob
    settings: Mapping[str, str]
    tasks: list[Task] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """As the control panel tells it."""
        return {"execution": self.name, "job": self.job.name, "tasks": [task.document() for task in self.tasks]}


class Jobs:
    """The jobs of one local cloud; used by its event loop."""

    def __init__(self, jobs: tuple[CloudJob, ...], tokens: Tokens) -> None:
        self._jobs = {job.name: job for job in jobs}
        self._tokens = tokens
        self._room = asyncio.Semaphore(AT_ONCE)
        self._executions: list[Execution] = []
        self._running: set[asyncio.Task[None]] = set()
        self.spent_seconds: defaultdict[str, float] = defaultdict(float)
        """By job: how long its tasks have lived, those that are at work not yet counted."""

    def document(self) -> list[dict[str, Any]]:
        """Executions, oldest first."""
        return [execution.document() for execution in self._executions]

    def run(self, name: str, authorization: str | None, body: Mapping[str, Any]) -> dict[str, Any]:
        """Start an execution; the operation as Google tells it. Raises ``Refused`` (401, 403, 404, 400)."""
        job = self._jobs.get(name)
        email = self._email(authorization)
        if job is None:
            raise Refused(404, f"Resource '{name}' of kind 'JOB' does not exist.")
        if email not in job.callers:
            raise Refused(403, f"Permission 'run.jobs.runWithOverrides' denied on resource '{name}'.")
        tasks, settings = _overrides(body, job)
        execution = Execution(name=f"{name}-{uuid.uuid4().hex[:5]}", job=job, settings=settings)
        execution.tasks = [Task(index) for index in range(tasks)]
        self._executions = [*self._executions, execution][-EXECUTIONS_KEPT:]
        for task in execution.tasks:
            running = asyncio.create_task(self._work(execution, task))
            self._running.add(running)
            running.add_done_callback(self._running.discard)
        path = f"projects/{job.project}/locations/{job.region}"
        return {
            "name": f"{path}/operations/{uuid.uuid4()}",
            "metadata": {
                "@type": "type.googleapis.com/google.cloud.run.v2.Execution",
                "name": f"{path}/jobs/{name}/executions/{execution.name}",
                "job": name,
                "taskCount": tasks,
            },
            "done": False,
        }

    async def stop(self) -> None:
        """Kill every task; start no more."""
        for running in list(self._running):
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _email(self, authorization: str | None) -> str:
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refused(401, "Request is missing required authentication credential.")
        try:
            claims = jwt.decode(token, certs=self._tokens.certificates(), audience=AUDIENCE)  # type: ignore[no-untyped-call]
        except (ValueError, exceptions.GoogleAuthError) as error:
            raise Refused(401, "Request had invalid authentication credentials.") from error
        return str(claims.get("email", ""))

    async def _work(self, execution: Execution, task: Task) -> None:
        """One task to its end, tried again as often as the job says."""
        async with self._room:
            while task.attempts <= execution.job.retries_max and task.exit_status != 0:
                task.attempts, task.status = task.attempts + 1, "running"
                task.exit_status = await self._attempt(execution, task)
            task.status = "succeeded" if task.exit_status == 0 else "failed"

    async def _attempt(self, execution: Execution, task: Task) -> int:
        job = execution.job
        told = {
            "CLOUD_RUN_JOB": job.name,
            "CLOUD_RUN_EXECUTION": execution.name,
            "CLOUD_RUN_TASK_INDEX": str(task.index),
            "CLOUD_RUN_TASK_COUNT": str(len(execution.tasks)),
            "CLOUD_RUN_TASK_ATTEMPT": str(task.attempts - 1),
        }
        child = str(Path(__file__).with_name("child.py"))
        with Path(job.log).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", child, str(os.getpid()), job.entry,
                env={**job.environment, **execution.settings, **told},
                cwd=job.folder, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        task.pid = process.pid
        begun = time.monotonic()
        try:
            return await asyncio.wait_for(process.wait(), job.task_seconds)
        except TimeoutError:
            return -int(signal.SIGKILL)
        finally:
            task.pid = None
            self.spent_seconds[job.name] += time.monotonic() - begun
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()


def _overrides(body: Mapping[str, Any], job: CloudJob) -> tuple[int, dict[str, str]]:
    """How many tasks and which settings a call asks for; ``Refused`` 400."""
    overrides = body.get("overrides", {})
    containers = overrides.get("containerOverrides", [{}]) if isinstance(overrides, dict) else None
    tasks = overrides.get("taskCount", 1) if isinstance(overrides, dict) else None
    if not isinstance(tasks, int) or isinstance(tasks, bool) or not 1 <= tasks <= job.tasks_max:
        raise Refused(400, f"overrides.taskCount must be from 1 to {job.tasks_max}.")
    settings = containers[0].get("env", []) if isinstance(containers, list) and containers else []
    pairs = {str(one.get("name")): one.get("value") for one in settings if isinstance(one, dict)}
    if len(pairs) > ENV_MAX or not all(isinstance(value, str) for value in pairs.values()):
        raise Refused(400, "overrides.containerOverrides[0].env must be names and texts.")
    return tasks, {name: str(value) for name, value in pairs.items()}
