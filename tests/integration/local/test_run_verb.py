"""The verb ``run`` as a person uses it: the desk's own functions from their bundles, one desk at a time, Ctrl-C ends it all."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fillbook.runtime.config import DatabaseConfig
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from infra.local.control import ClockControl, Control
from infra.local.home import ROOT
from infra.local.plan import audience
from infra.local.summary import Operator
from infra.manifest import load
from tests.e2e.conftest import bundles, cluster
from tests.support import runbook, runbook_door
from tests.support.local_desk import descendants, is_alive, let_go
from tests.support.waiting import wait_until

__all__ = ["bundles", "cluster"]  # fixtures of whole desks, shared with the end-to-end tests

pytestmark = [pytest.mark.slow, pytest.mark.bundles]
MANIFEST = load()
BUSY_TRIES_MAX, BUSY_SECONDS = 120, 0.5
VERB = [sys.executable, "-c", "import sys; from infra.local.cloud import run; sys.exit(run(sys.argv[1:]))"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A runner that said it is running."""

    process: subprocess.Popen[str]
    home: Path
    said: str
    environment: dict[str, str]

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.home / "run.json").read_text())
        return found

    def second(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another runner of the same folder, to its end."""
        command = [*VERB, *arguments]
        return subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, bundles: Path, cluster: Path) -> Iterator[Run]:
    """The desk of a folder in which one ran before: its database is migrated, its bundles are written."""
    home = tmp_path_factory.mktemp("desk")
    for made, name in ((cluster, "pgdata"), (bundles, "build")):
        subprocess.run(["cp", "-a", made, home / name], check=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("FILLBOOK", "DISCORD", "INGEST"))}
    environment |= {"FILLBOOK_HOME": str(home), "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'shared'}", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [*VERB, "--no-demo"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("Running."):
            break
    yield Run(process=process, home=home, said="".join(said), environment=environment)
    if process.poll() is None:
        process.kill()
    process.wait()
    process.stdout.close()


def status_of(url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers or {}), timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_every_function_of_the_manifest_answers_and_the_addresses_are_told(running: Run) -> None:
    assert running.process.poll() is None, running.said
    urls = running.document["functions"]
    assert list(urls) == list(MANIFEST.functions)
    assert all(status_of(f"{url}/favicon.ico") for url in urls.values())
    for told in (running.document["tracker_url"], running.document["discord_url"], "/timed/ingest/"):
        assert told in running.said


def test_a_call_without_a_token_is_refused_and_one_of_the_scheduler_is_not(running: Run) -> None:
    url = running.document["functions"]["outbox_relay"]
    assert status_of(url + "/", b"{}") == 401
    wanted = {
        "email": "cloud-scheduler@fillbook-local.iam.gserviceaccount.com",
        "audience": audience(MANIFEST.functions["outbox_relay"]),
    }
    asked = urllib.request.Request(running.document["control_url"] + "/token", json.dumps(wanted).encode())
    with urllib.request.urlopen(asked, timeout=60) as answer:
        token = json.loads(answer.read())["token"]
    headers = {"Authorization": f"Bearer {token}", "X-CloudScheduler-ScheduleTime": "2026-02-03T15:00:00Z"}
    assert status_of(url + "/", b"{}", headers | {"X-CloudScheduler-JobName": "outbox-relay"}) == 200


def test_the_line_that_is_printed_syncs_the_demo_accounts(running: Run) -> None:
    told = re.search(r"curl -sX POST -H 'Authorization: (Bearer [^']+)' (http://127\.0\.0\.1:\d+/mt5/sync)", running.said)
    assert told is not None, running.said
    request = urllib.request.Request(told[2], b"", {"Authorization": told[1]})
    with urllib.request.urlopen(request, timeout=120) as answer:
        document = json.loads(answer.read())
    assert (document["success"], document["totalAccounts"], document["failureCount"]) == (True, 25, 0)


def test_every_schedule_of_the_manifest_runs(running: Run) -> None:
    for schedule in MANIFEST.schedules:
        request = urllib.request.Request(
            running.document["control_url"] + "/_control/scheduler/run", json.dumps({"job": schedule.name}).encode()
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert json.loads(answer.read())["status"] in (200, 202, 204), schedule.name


def test_every_local_command_of_the_runbook_runs_and_shows_what_the_runbook_says(running: Run, tmp_path: Path) -> None:
    environment = runbook_door.surroundings(running.document["operator_env"], str(tmp_path / "fillbook.dump"), "restored")
    wrong = []
    for command in runbook.of_kind(runbook.LOCAL):
        for _ in range(BUSY_TRIES_MAX):  # a notifier at work keeps its channel, and says so
            status, said = runbook_door.run(command.text, environment)
            if "channel_busy" not in said:
                break
            time.sleep(BUSY_SECONDS)
        if status or command.shows(said):
            wrong.append(f"line {command.line}: {command.text} ended with {status}, lacks {command.shows(said)}: {said[:2000]}")
    assert wrong == []


def test_every_statement_of_the_runbook_is_answered_as_its_reader(running: Run) -> None:
    config = DatabaseConfig.from_environment(running.document["operator_env"])
    with closing(Database.open(config, application_name="runbook", pool_size=1)) as database:
        for command in runbook.of_kind(runbook.SQL):
            with database.transaction(read_only=True) as tx:
                tx.query(statement(command.text))


def test_a_second_runner_is_refused_with_a_sentence(running: Run) -> None:
    second = running.second("--no-demo")
    assert second.returncode == 1
    assert f"another desk runs from {running.home} (process {running.process.pid})" in second.stdout
    assert running.process.poll() is None


def let_it_finish(document: dict[str, Any]) -> None:
    """Wait until nothing is on its way: a notifier in the middle of a backlog outlasts the grace and is killed, as it may be."""
    control = Control(document["control_url"])
    with closing(Operator(document["operator_env"])) as operator:
        ClockControl(control).run(speed=20)  # the channels' own pace, which is Discord's, in less of our time
        wait_until(lambda: operator.untold() == 0, lambda: f"{operator.untold()} untold")
    control.pause_jobs()
    assert control.wait_idle(settle_seconds=0.5), control.pubsub()


def test_ctrl_c_ends_everything_with_one_line_per_process(running: Run) -> None:
    let_it_finish(running.document)
    document, everything = running.document, descendants(running.process.pid)
    begun = time.monotonic()
    running.process.send_signal(signal.SIGINT)
    said, _ = running.process.communicate(timeout=120)
    assert running.process.returncode == 0, said
    for name in (*MANIFEST.functions, "pubsub", "discord", "postgres"):
        assert len(re.findall(rf"^  {name} .*restarts 0  exit 0", said, re.MULTILINE)) == 1, said
    assert not any(is_alive(pid) for pid in everything)
    assert time.monotonic() - begun < 60  # bounded, not measured
    let_go(document["ports"].values())
