"""Peak memory of a running process and everything it started, read from the kernel's own records (Linux)."""

from __future__ import annotations

from pathlib import Path

KIBIBYTE = 1024


def peak_bytes(pid: int) -> int:
    """The largest resident size that any process of the tree below ``pid`` ever had; 0 where the kernel does not tell."""
    peak, waiting = 0, [pid]
    while waiting:
        one = Path(f"/proc/{waiting.pop()}")
        try:
            status = (one / "status").read_text(encoding="ascii", errors="replace")
            for task in (one / "task").iterdir():
                waiting += map(int, (task / "children").read_text(encoding="ascii").split())
        except OSError:  # ended in between
            continue
        sizes = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")]
        peak = max(peak, *sizes, 0) if sizes else peak
    return peak * KIBIBYTE
