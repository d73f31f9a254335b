"""Cloud Run jobs of the local cloud: who may start one, what its tasks are told, and how often they are tried."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from infra.local.jobs import AUDIENCE, Jobs
from infra.local.publish_request import Refused
from infra.local.tokens import Tokens
from infra.local.wiring import CloudJob, Wiring, read

STARTER = "fb-starter@p.iam.gserviceaccount.com"
PROGRAM = """\
import os
from pathlib import Path


def work() -> None:
    told = [os.environ[f"CLOUD_RUN_TASK_{name}"] for name in ("INDEX", "COUNT", "ATTEMPT")]
    told += [os.environ["SLOT"], os.environ["OWN"]]
    with Path("told.txt").open("a") as file:
        file.write(" ".join(told) + "\\n")
    if os.environ["SLOT"] == "breaks-once" and told[2] == "0":
        raise SystemExit(3)
"""


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return Tokens(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def job(tmp_path: Path) -> CloudJob:
    (tmp_path / "main.py").write_text(PROGRAM)
    return CloudJob(
        name="a-job",
        project="p",
        region="r",
        callers=(STARTER,),
        entry="main:work",
        folder=str(tmp_path),
        environment={"PYTHONPATH": str(tmp_path), "OWN": "set"},
        log=str(tmp_path / "log"),
        tasks_max=3,
    )


def asked(tasks: int, slot: str = "s") -> dict[str, Any]:
    return {"overrides": {"taskCount": tasks, "containerOverrides": [{"env": [{"name": "SLOT", "value": slot}]}]}}


def executed(job: CloudJob, tokens: Tokens, body: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Start the job and wait for its end: the operation, and the tasks as the control panel tells them."""

    async def run() -> tuple[dict[str, Any], list[dict[str, Any]]]:
        jobs = Jobs((job,), tokens)
        operation = jobs.run("a-job", f"Bearer {tokens.token(STARTER, AUDIENCE)}", body)
        end = time.monotonic() + 20
        while {task["status"] for task in jobs.document()[0]["tasks"]} & {"waiting", "running"} and time.monotonic() < end:
            await asyncio.sleep(0.02)
        await jobs.stop()
        return operation, jobs.document()[0]["tasks"]

    return asyncio.run(run())


def test_an_execution_has_its_tasks_and_each_is_told_which_it_is(job: CloudJob, tokens: Tokens) -> None:
    operation, tasks = executed(job, tokens, asked(2))
    assert operation["metadata"]["name"].startswith("projects/p/locations/r/jobs/a-job/executions/a-job-")
    assert [(task["status"], task["attempts"]) for task in tasks] == [("succeeded", 1)] * 2
    told = sorted((Path(job.folder) / "told.txt").read_text().splitlines())
    assert told == ["0 2 0 s set", "1 2 0 s set"]


def test_a_task_that_breaks_is_tried_once_more(job: CloudJob, tokens: Tokens) -> None:
    _, (task,) = executed(job, tokens, asked(1, "breaks-once"))
    assert (task["status"], task["attempts"], task["exit_status"]) == ("succeeded", 2, 0)
    assert [line.split()[2] for line in (Path(job.folder) / "told.txt").read_text().splitlines()] == ["0", "1"]


@pytest.mark.parametrize(
    ("email", "audience", "name", "body", "code"),
    [
        (None, AUDIENCE, "a-job", asked(1), 401),
        (STARTER, "https://elsewhere", "a-job", asked(1), 401),
        ("fb-other@p.iam.gserviceaccount.com", AUDIENCE, "a-job", asked(1), 403),
        (STARTER, AUDIENCE, "no-job", asked(1), 404),
        (STARTER, AUDIENCE, "a-job", asked(4), 400),
        (STARTER, AUDIENCE, "a-job", {"overrides": []}, 400),
    ],
)
def test_only_who_may_starts_what_there_is(
    job: CloudJob, tokens: Tokens, email: str | None, audience: str, name: str, body: dict[str, Any], code: int
) -> None:
    authorization = None if email is None else f"Bearer {tokens.token(email, audience)}"

    async def run() -> None:
        Jobs((job,), tokens).run(name, authorization, body)

    with pytest.raises(Refused) as refused:
        asyncio.run(run())
    assert refused.value.code == code


def test_the_wiring_keeps_jobs_from_others_eyes(job: CloudJob, tmp_path: Path) -> None:
    path = tmp_path / "wiring.json"
    wiring = Wiring(project="p", topics=(), cloud_jobs=(job,))
    wiring.write(path)
    assert read(path) == wiring
    assert path.stat().st_mode & 0o077 == 0
