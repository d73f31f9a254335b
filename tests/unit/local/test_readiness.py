"""What is said of a process that did not come up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.processes import Program, Running
from infra.local.readiness import StartFailed, wait_until_ready

NOBODY_LISTENS = "http://127.0.0.1:9/"


def test_a_process_that_died_and_is_being_started_again_is_told_with_the_status_it_died_of(tmp_path: Path) -> None:
    program = Program(name="broken", command=[sys.executable], environment={}, folder=tmp_path, log=tmp_path / "broken.log")
    program.log.write_text("its last words\n")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as again:
        running = Running(program, process=again, deaths_in_a_row=1, exit_status=None, last_exit_status=1)
        with pytest.raises(StartFailed, match=r"broken ended with status 1 while starting[\s\S]*its last words"):
            wait_until_ready({"broken": (running, NOBODY_LISTENS)}, 5, lambda _name, _where: None)
        again.kill()
