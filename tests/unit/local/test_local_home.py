"""The state folder: one runner, private secrets made once, stable ports; and what a person is shown."""

from __future__ import annotations

import io
import json
import os
import socket
from pathlib import Path

import pytest

from infra.local.console import Console
from infra.local.home import AlreadyRunning, Home, desk_keys
from infra.local.ports import END, FIRST, free_port, is_free


def test_secrets_are_made_once_and_only_the_owner_may_read_them(tmp_path: Path) -> None:
    first = Home(tmp_path).secrets()
    assert Home(tmp_path).secrets() == first
    assert min(map(len, first.values())) >= 32
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_a_second_runner_of_the_same_folder_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.take()
    with pytest.raises(AlreadyRunning, match=str(os.getpid())):
        Home(tmp_path).take()
    home.release()
    second = Home(tmp_path)
    second.take()
    second.release()


def test_a_desk_runs_while_its_runner_holds_the_folder_whatever_the_file_says(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.running() is None
    home.write_run({"status": "running"})
    assert home.running() is None  # left behind by a runner that was killed
    home.take()
    assert Home(tmp_path).running() == {"status": "running"}
    home.release()
    assert home.running() is None


def test_ports_are_those_of_last_time_while_they_are_free(tmp_path: Path) -> None:
    home = Home(tmp_path)
    first = home.ports(["a", "b"], {})
    home.write_run({"ports": first})
    assert home.ports(["a", "b"], {}) == first
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first["a"]))
        taken.listen()
        assert not is_free(first["a"])
        second = home.ports(["a", "b"], {})
    assert second["a"] != first["a"]
    assert second["b"] == first["b"]


def test_a_wanted_port_that_is_taken_is_an_error_that_says_so(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port} is taken"):
            Home(tmp_path).ports(["trade_tracker"], {"trade_tracker": port})


def test_a_free_port_is_none_that_the_kernel_gives_to_whoever_connects_and_none_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        found = {free_port({taken.getsockname()[1]}) for _ in range(50)}
        assert taken.getsockname()[1] not in found
    assert all(FIRST <= port < END for port in found)
    assert len(found) > 45


def test_the_logs_of_the_run_before_are_kept_once(tmp_path: Path) -> None:
    home = Home(tmp_path)
    (home.logs / "x.log").write_text("first")
    home.turn_logs()
    (home.logs / "x.log").write_text("second")
    home.turn_logs()
    assert (home.logs / "x.log.1").read_text() == "second"
    assert not (home.logs / "x.log").exists()


def test_the_desk_key_itself_is_not_in_the_keys() -> None:
    (entry,) = json.loads(desk_keys("secret-key"))
    assert "secret-key" not in json.dumps(entry)
    assert entry["scopes"] == ["read", "admin"]


def test_the_console_prints_one_plain_line_per_process_when_it_is_no_terminal() -> None:
    out = io.StringIO()
    figures = {
        "signal_worker": {"restarts": 1, "exit": -9, "peak_bytes": 84 * 1024 * 1024},
        "postgres": {"restarts": 0, "exit": None, "peak_bytes": 0},
    }
    Console(out).processes(figures, {"signal_worker": 11700})
    assert [line.split() for line in out.getvalue().splitlines()] == [
        ["signal_worker", "pushes", "11,700", "restarts", "1", "exit", "-9", "peak", "84", "MiB"],
        ["postgres", "restarts", "0", "exit", "0"],
    ]
    assert "\033" not in out.getvalue()
