"""Runs one Python program so that it never outlives the local cloud: ``python -P child.py PARENT MODULE [ARGUMENT …]``.

The kernel is asked to kill this process when the thread that started it is gone, and, since such a wish is not inherited,
every process it forks (a server's workers) asks the same for itself. So a kill -9 of the runner leaves no process and no
port behind. The module runs in this very process, as ``python -m MODULE`` would run it, a path ending in ``.py`` as
``python PATH`` would, or of ``MODULE:NAME`` the callable is called; standard library only, and by path, so that nothing of ours
is importable by the program.
"""

import ctypes
import importlib
import os
import runpy
import signal
import sys

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def tie(parent: int) -> None:
    """Die with ``parent``; leave at once when it is gone already. Does nothing where the kernel knows no such wish."""
    if LIBC is None:
        return
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def tie_forks() -> None:
    """Make every process forked from this one (and from those) die with the one it was forked from."""
    forking: list[int] = []

    def remember() -> None:
        forking[:] = [os.getpid()]

    os.register_at_fork(before=remember, after_in_child=lambda: tie(forking[0]))


def main() -> None:
    """Tie this process and its forks to their parents, then become the module."""
    tie(int(sys.argv[1]))
    tie_forks()
    sys.argv = sys.argv[2:]
    module, _, name = sys.argv[0].partition(":")
    if name:
        getattr(importlib.import_module(module), name)()
    elif module.endswith(".py"):
        runpy.run_path(module, run_name="__main__")
    else:
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
