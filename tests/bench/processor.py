"""Processor time of running processes, from the kernel's own account: it hardly depends on what else the machine does."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

LOOP = """
import time
end, rounds = time.perf_counter() + 1, 0
while time.perf_counter() < end:
    sum([one * one for one in range(1_000)])
    rounds += 1
print(rounds)
"""
TICK = os.sysconf("SC_CLK_TCK")
# fields of /proc/PID/stat after the name; a backend of Postgres leads a session of its own, so its parent tells whose it is
PARENT, GROUP, FIRST_TIME, LAST_TIME = 1, 2, 11, 15


def spent_seconds(leaders: Mapping[str, int]) -> dict[str, float]:
    """Processor seconds so far of each named process (name → pid) with its group and children, ended ones included."""
    used = dict.fromkeys(leaders, 0.0)
    names = {pid: name for name, pid in leaders.items()}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = path.read_text().rpartition(")")[2].split()
            name = names.get(int(fields[GROUP])) or names.get(int(fields[PARENT]))
            if name is not None:
                used[name] += sum(map(int, fields[FIRST_TIME:LAST_TIME])) / TICK
    return used


def running_seconds(pid: int) -> float:
    """Processor seconds so far of one process, to the nanosecond."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def own_seconds(pid: int) -> float:
    """Processor seconds so far of one process with all its threads, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[FIRST_TIME : FIRST_TIME + 2])) / TICK


def whole_seconds(pid: int) -> float:
    """Processor seconds so far of a process and all that came from it, their threads included, to the nanosecond."""
    found = 0.0
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += int((task / "schedstat").read_text().split()[0]) / 1e9
            found += sum(whole_seconds(int(child)) for child in (task / "children").read_text().split())
    return found


def at_once(number: int = 2) -> float:
    """How many times the work of one process so many do at once, for a second each; cores that share their units do less."""

    def done(processes: int) -> int:
        begun = [subprocess.Popen([sys.executable, "-c", LOOP], stdout=subprocess.PIPE) for _ in range(processes)]
        return sum(int(one.communicate()[0]) for one in begun)

    alone = done(1)
    return done(number) / alone
