"""The embedded server: made, started, stopped, killed, left behind by a crash; and pools that survive it (reliability 2, 12)."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fillbook.runtime.db import Call, Database
from fillbook.runtime.errors import Unavailable
from fillbook.runtime.sql import statement
from infra.local import postgres as runner
from infra.local.postgres import PostgresError, PostgresServer
from tests.integration.runtime.conftest import run_script
from tests.support.rooms import ROOM
from tests.support.servers import database_config
from tests.support.waiting import WAIT_SECONDS


@pytest.fixture
def server(tmp_path):
    """A durable server of this test alone."""
    with PostgresServer(tmp_path / "pgdata") as server:
        yield server


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def await_end(pid):
    deadline = time.monotonic() + WAIT_SECONDS
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_running(pid)


def shown(server, name):
    return server.run("psql", "-Atc", f"show {name}").strip()


def test_a_durable_server_keeps_its_promises_in_its_settings(server):
    assert [shown(server, name) for name in ("fsync", "synchronous_commit", "full_page_writes")] == ["on"] * 3
    assert shown(server, "max_connections") == "100"
    assert shown(server, "server_encoding") == "UTF8"
    assert server.run("psql", "-Atc", "select current_user").strip() == "postgres"


def test_the_server_never_runs_as_root(server):
    inside = Path(f"/proc/{server.pid}/status").read_text()
    if os.geteuid() == 0:
        assert Path(f"/proc/{server.pid}/uid_map").read_text().split()[0] == "1000" or "Uid:\t0" not in inside


def test_tcp_and_socket_lead_to_the_same_server(server):
    for url in (server.url(), server.socket_url()):
        database = Database.open(database_config(url), application_name="both")
        with database.transaction() as tx:
            assert tx.query(statement("select current_setting('port')::int as port")) == [{"port": server.port}]
        database.close()


def test_a_server_that_does_not_listen_has_only_its_socket(tmp_path):
    with PostgresServer(tmp_path / "quiet", listen=False, fsync=False) as server:
        assert server.url() == server.socket_url()
        assert shown(server, "listen_addresses") == ""


def test_stopping_is_orderly_and_starting_again_keeps_the_data(server):
    server.run("psql", "-qc", "create table kept (n int)", "-c", "insert into kept values (1)")
    pid = server.pid
    server.stop()
    assert not is_running(pid)
    assert server.pid is None
    assert "database system is shut down" in server.log_path.read_text()
    server.start()
    assert server.run("psql", "-Atc", "select n from kept").strip() == "1"


def test_a_killed_server_recovers_what_was_committed(server):
    server.run("psql", "-qc", "create table kept (n int)", "-c", "insert into kept values (1)")
    server.kill()
    assert (server.data_dir / "postmaster.pid").exists()  # left behind by the kill
    server.start()
    assert server.run("psql", "-Atc", "select n from kept").strip() == "1"


def test_a_pid_file_whose_number_belongs_to_someone_else_is_no_obstacle(server):
    server.kill()
    pid_file = server.data_dir / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    server.start()
    assert shown(server, "port") == str(server.port)


def test_two_servers_on_one_folder_are_refused(server):
    with pytest.raises(PostgresError, match="another server"):
        PostgresServer(server.data_dir).start()
    assert shown(server, "port") == str(server.port)


def test_a_server_that_cannot_start_says_why(tmp_path):
    server = PostgresServer(tmp_path / "bad", fsync=False, settings={"shared_buffers": "nonsense"})
    with pytest.raises(PostgresError, match="shared_buffers"):
        server.start()
    assert server.pid is None


def test_no_server_outlives_a_runner_that_was_killed(tmp_path):
    code = f"""
import sys, time
from pathlib import Path
from infra.local.postgres import PostgresServer
server = PostgresServer(Path({str(tmp_path / "orphan")!r}), fsync=False)
server.start()
print(server.pid, server.socket_dir, flush=True)
time.sleep(60)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "."}
    )
    assert process.stdout is not None
    pid, socket_dir = process.stdout.readline().split()
    assert is_running(pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert await_end(pid)
    Path(socket_dir).rmdir()


def test_leftover_socket_folders_are_short_enough_for_a_socket(server):
    assert len(f"{server.socket_dir}/.s.PGSQL.{server.port}") <= 107


def test_without_user_namespaces_root_becomes_nobody(monkeypatch):
    monkeypatch.setattr(runner.shutil, "which", lambda name: None)
    monkeypatch.setattr(runner.os, "geteuid", lambda: 0)
    assert runner._not_root() == ([], "nobody")
    monkeypatch.setattr(runner.os, "geteuid", lambda: 1000)
    assert runner._not_root() == ([], None)


def test_functions_recover_by_themselves_after_kill_9_of_postgres_under_load(server):
    run_script(server.url(), ROOM)
    port = server.port
    database = Database.open(database_config(server.url()), application_name="load", pool_size=4)
    acknowledged, refused = [], []

    def write(number):
        for half in (2 * number, 2 * number + 1):  # a caller that tries again, as a redelivery would
            try:
                database.call(Call("room.keep", {"id": half}))
                acknowledged.append(half)
            except Unavailable:
                refused.append(half)
        if number == 150:
            server.kill()
            server.start(port=port)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(300)))
    with database.transaction() as tx:
        stored = {row["id"] for row in tx.query(statement("select id from room.kept"))}
    assert refused
    assert set(acknowledged) <= stored
    assert stored - set(acknowledged) <= set(refused)  # a commit whose answer was lost, and nothing else
    assert database.call(Call("room.echo", [1])) == ([1],)
    database.close()


def test_a_read_only_database_makes_callers_come_back(server):
    run_script(server.url(), ROOM)
    database = Database.open(database_config(server.url()), application_name="failover")
    server.run("psql", "-qc", "alter system set default_transaction_read_only = on", "-c", "select pg_reload_conf()")
    database.call(Call("room.echo", [1]))
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline and shown(server, "default_transaction_read_only") != "on":
        time.sleep(0.01)
    with pytest.raises(Unavailable):
        database.call(Call("room.keep", {"id": 1}))
    server.run("psql", "-qc", "set default_transaction_read_only = off", "-c", "alter system reset default_transaction_read_only")
    database.close()


def test_a_server_out_of_connections_is_unavailable_and_recovers(tmp_path):
    with PostgresServer(
        tmp_path / "full", fsync=False, settings={"max_connections": "5", "superuser_reserved_connections": "3"}
    ) as server:
        server.run("psql", "-qc", "create role app login")
        url = server.url("app")
        holders = [Database.open(database_config(url), application_name="holder") for _ in range(2)]
        for holder in holders:
            with holder.transaction() as tx:
                tx.query(statement("select 1 as a"))
        late = Database.open(database_config(url), application_name="late")
        with pytest.raises(Unavailable, match="53300"):
            late.call(Call("room.echo", [1]))
        for holder in holders:
            holder.close()
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            try:
                with late.transaction() as tx:
                    assert tx.query(statement("select 1 as a")) == [{"a": 1}]
                break
            except Unavailable:  # the server needs a moment to see the others leave
                time.sleep(0.01)
        else:
            pytest.fail("never recovered")
        late.close()
