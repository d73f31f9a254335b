"""Processor time of a running process and everything it started, from the kernel's own account (Linux)."""

from __future__ import annotations

import os
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
FIRST_TIME, LAST_TIME = 11, 15
"""Own and ended children's user and system time among the fields of /proc/PID/stat after the name."""


def spent_seconds(pid: int) -> float:
    """Processor seconds so far of the tree below ``pid``, ended processes that were waited for included; 0.0 where it is gone."""
    spent, waiting = 0, [pid]
    while waiting:
        one = Path(f"/proc/{waiting.pop()}")
        try:
            fields = (one / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            for task in (one / "task").iterdir():
                waiting += map(int, (task / "children").read_text(encoding="ascii").split())
        except OSError:  # ended in between
            continue
        spent += sum(map(int, fields[FIRST_TIME:LAST_TIME]))
    return spent / TICK
