"""The supervisor with real processes: bundles, environments, restarts, refusals, and nothing left behind."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from infra.local.desk import LocalCloud
from infra.local.home import ROOT, AlreadyRunning
from infra.local.readiness import StartFailed
from tests.e2e.conftest import cluster
from tests.support.local_desk import BROKEN, ECHO, descendants, echo_desk, is_alive, let_go, manifest, started, work_tree
from tests.support.waiting import WAIT_SECONDS, wait_until

__all__ = ["cluster"]  # a database that was made and migrated once, shared with the end-to-end tests

GROUP_ROLES = "signal_reader"
DESK_START = datetime(2026, 2, 3, 15, 0, tzinfo=UTC)


def told(cloud: LocalCloud) -> dict[str, Any]:
    with urllib.request.urlopen(cloud.url("echo") + "/", timeout=WAIT_SECONDS) as answer:
        document: dict[str, Any] = json.loads(answer.read())
        return document


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[LocalCloud]:
    """A desk of the test's own, which it may stop."""
    with echo_desk(tmp_path, desk_start=DESK_START) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A desk for all tests that leave it running, whatever they kill."""
    with started(echo_desk(tmp_path_factory.mktemp("shared"), desk_start=DESK_START)) as cloud:
        yield cloud


def deliveries(desk: LocalCloud) -> tuple[int, int]:
    """Messages that arrived, and that did not, since the message process began."""
    figures = desk.control.pubsub()["subscriptions"]["t-echo"]
    return figures["delivered"], figures["failed"]


def test_a_function_runs_from_its_bundle_with_the_settings_of_its_entry_and_no_others(shared: LocalCloud) -> None:
    document = told(shared)
    bundle = str(shared.home.path / "build" / "echo")
    assert document["money"].startswith(bundle)
    assert document["folder"] == bundle
    given = document["env"]
    assert {name for name in given if name.startswith(("FILLBOOK", "ECHO", "DISCORD", "INGEST", "DESK"))} == {
        "FILLBOOK_ENV",
        "FILLBOOK_LOCAL_URL",
        "FILLBOOK_DESK_CLOCK",
        "FILLBOOK_OIDC_AUDIENCE",
        "FILLBOOK_OIDC_CALLERS",
        "ECHO_WORD",
    }
    assert given["THREADS"] == "4"
    assert "THREADED_TIMEOUT_ENABLED" not in given
    assert "HOME" not in given


def test_a_published_message_reaches_the_function_and_a_schedule_calls_it(shared: LocalCloud) -> None:
    delivered, _ = deliveries(shared)
    shared.control.publish("t", [{"data": "YQ=="}])
    assert shared.control.wait_idle(WAIT_SECONDS)
    assert deliveries(shared)[0] == delivered + 1
    assert shared.control.run_job("tick") == 200
    assert shared.clock.now() == DESK_START


def test_a_killed_function_comes_back_by_itself_and_loses_no_message(shared: LocalCloud) -> None:
    before, restarts = told(shared)["pid"], shared.figures()["echo"]["restarts"]
    delivered, failed = deliveries(shared)
    shared.kill("echo")
    shared.control.publish("t", [{"data": "YQ=="}])
    shared.wait_until_up("echo")
    assert shared.control.wait_idle(WAIT_SECONDS)
    assert told(shared)["pid"] != before
    assert shared.figures()["echo"]["restarts"] == restarts + 1
    assert deliveries(shared) == (delivered + 1, failed)


def test_a_function_whose_worker_dies_answers_again(shared: LocalCloud) -> None:
    restarts = shared.figures()["echo"]["restarts"]
    with pytest.raises((http.client.HTTPException, OSError)):
        urllib.request.urlopen(shared.url("echo") + "/die", timeout=WAIT_SECONDS)
    shared.wait_until_up("echo")
    assert told(shared)["parent"] == shared.pid("echo")
    assert shared.figures()["echo"]["restarts"] == restarts  # the server replaced its worker itself


def test_a_message_process_killed_with_a_backlog_delivers_it_afterwards(shared: LocalCloud) -> None:
    shared.control.pause()
    shared.control.publish("t", [{"data": "YQ=="}, {"data": "Yg=="}])
    shared.kill("pubsub")
    shared.wait_until_up("pubsub")
    assert shared.control.wait_idle(WAIT_SECONDS)
    assert deliveries(shared) == (2, 0)


def test_a_process_killed_to_stay_down_stays_down_until_it_is_revived(shared: LocalCloud) -> None:
    shared.kill("echo", stay_down=True)
    time.sleep(0.3)
    assert shared.pid("echo") is None
    shared.revive("echo")
    assert told(shared)["env"]["ECHO_WORD"] == "hello"
    shared.restart("echo")
    assert told(shared)["pid"]


def test_the_run_file_says_what_runs_where_and_is_private(desk: LocalCloud, tmp_path: Path) -> None:
    path = tmp_path / "home" / "run.json"
    document = json.loads(path.read_text())
    assert document["pid"] == os.getpid()
    assert document["functions"] == {"echo": desk.url("echo")}
    assert document["control_url"] == desk.control.url
    assert document["pids"]["echo"] == desk.pid("echo")
    assert document["operator_env"]["FILLBOOK_LOCAL_URL"] == desk.control.url
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    desk.stop()
    assert "pid" not in json.loads(path.read_text())


def test_stopping_leaves_no_process_and_no_port_and_tells_how_each_ended(desk: LocalCloud) -> None:
    ports = json.loads((desk.home.path / "run.json").read_text())["ports"]
    processes = descendants(os.getpid()) - {os.getpid()}
    pids = [desk.pid(name) for name in ("echo", "pubsub", "discord")]
    assert set(pids) <= processes
    figures = desk.stop()
    assert not any(is_alive(pid) for pid in pids if pid)
    let_go(ports.values())
    assert all(one["peak_bytes"] > 10_000_000 for name, one in figures.items() if name != "postgres"), figures
    assert {name: one["exit"] for name, one in figures.items()} == {"echo": 0, "pubsub": 0, "discord": 0, "postgres": None}


def test_a_second_start_keeps_ports_secrets_and_clock(tmp_path: Path) -> None:
    with echo_desk(tmp_path, desk_start=DESK_START) as first:
        url, secrets = first.url("echo"), first.secrets
        first.clock.step(60)
    with started(echo_desk(tmp_path)) as second:
        assert (second.url("echo"), second.secrets) == (url, secrets)
        assert second.clock.now() == datetime(2026, 2, 3, 15, 1, tzinfo=UTC)


def test_a_second_runner_of_the_same_folder_is_refused_and_harms_nothing(shared: LocalCloud) -> None:
    with pytest.raises(AlreadyRunning, match="Ctrl-C"), echo_desk(shared.home.path.parent):
        pass
    assert told(shared)["pid"]


def test_a_function_that_dies_while_starting_is_named_with_its_last_words(tmp_path: Path) -> None:
    root = work_tree(tmp_path / "tree", echo=ECHO, broken=BROKEN)
    cloud = LocalCloud(tmp_path / "home", manifest=manifest("echo", "broken"), root=root)
    with pytest.raises(StartFailed, match=r"broken ended with status 1 while starting[\s\S]*the last words of a function"):
        cloud.start()
    assert not cloud.is_started
    with socket.socket() as probe:
        ports = json.loads((tmp_path / "home" / "run.json").read_text())["ports"]
        probe.bind(("127.0.0.1", ports["echo"]))


def test_the_database_is_migrated_comes_back_after_kill_9_at_the_same_address_and_keeps_its_data(tmp_path: Path) -> None:
    with started(echo_desk(tmp_path, roles=GROUP_ROLES)) as cloud:
        assert told(cloud)["env"]["FILLBOOK_DATABASE_URL"].startswith("postgresql://echo@127.0.0.1:")
        url = cloud.place.database_url
        run_sql(cloud, "create table public.kept as select 7 as seven")
        cloud.kill("postgres")
        cloud.wait_until_up("postgres")
        assert cloud.place.database_url == url
        wait_until(lambda: run_sql(cloud, "select seven from public.kept") == "7", lambda: "the data is gone")
        assert run_sql(cloud, "select rolcanlogin from pg_roles where rolname = 'echo'") == "t"
        assert cloud.figures()["postgres"]["restarts"] == 1
        assert cloud.figures()["postgres"]["peak_bytes"] > 10_000_000


def run_sql(cloud: LocalCloud, text: str) -> str:
    from infra.local.postgres import binaries

    command = [str(binaries() / "psql"), "-Atqc", text, cloud.place.database_url]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_runner_that_is_killed_leaves_no_process_and_no_port_behind(
    tmp_path: Path, cluster: Path, number: signal.Signals
) -> None:
    (tmp_path / "home").mkdir()
    subprocess.run(["cp", "-a", cluster, tmp_path / "home" / "pgdata"], check=True)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'shared'}"}
    command = [sys.executable, "-m", "tests.support.local_desk", str(tmp_path), GROUP_ROLES]
    with (tmp_path / "errors").open("wb") as errors:
        runner = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert runner.stdout is not None
    try:
        assert runner.stdout.readline() == "started\n", (tmp_path / "errors").read_text()
        document = json.loads((tmp_path / "home" / "run.json").read_text())
        everything = descendants(runner.pid)
        assert set(document["pids"].values()) <= everything
        assert len(everything) >= 6  # a function is a master and a worker, a database more than one process
    finally:
        runner.send_signal(number)
        runner.wait()
        runner.stdout.close()
    wait_until(lambda: not any(is_alive(pid) for pid in everything), lambda: [pid for pid in everything if is_alive(pid)])
    let_go(document["ports"].values())
    with started(echo_desk(tmp_path, roles=GROUP_ROLES)) as again:
        assert told(again)["pid"]
