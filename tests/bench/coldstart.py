"""Cold start: from the spawn of a function's process to its first answer, against a bare hello world, in turn.

Every process gets its bundle and the settings it has on the local desk, so what is measured is what would be deployed. The
first answer counts whatever its status: a refusal passes through config, connections and the edge just like an answer.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from infra.local import plan
from infra.local.desk import LocalCloud
from tests.bench.processor import spent_seconds
from tests.bench.report import Stage, publish

RUNS = 7
ANSWER_SECONDS = 20.0
WITHOUT_DATABASE = 1.35
WITH_DATABASE = 1.6
MEMORY = 2.0
HELLO = '''"""Answers, and nothing else."""
import functions_framework


@functions_framework.http
def hello(request):
    return "hello"
'''
# the request that goes through config and, where there is one, the database
FIRST = {
    "signal_ingest": ("POST", "/timed/ingest"),
    "trade_tracker": ("GET", "/timed/health"),
    "hello": ("GET", "/"),
}


def run(argv: list[str]) -> int:
    """``bench coldstart [--runs N]``."""
    runs = int(argv[argv.index("--runs") + 1]) if "--runs" in argv else RUNS
    stage = Stage(name="coldstart")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "hello").mkdir()
        (home / "hello" / "main.py").write_text(HELLO)
        with LocalCloud(home / "desk") as cloud:
            for name in cloud.functions:
                measure(stage, cloud, name, home / "hello", runs)
    stage.note("spawn of the process to its first answer; hello world is the same framework with one line of code, in turn")
    stage.note(
        "what ours adds is the import of our own modules; the making of frozen, slotted dataclasses is a quarter to a third of it"
    )
    publish(stage)
    return 0


def measure(stage: Stage, cloud: LocalCloud, name: str, hello: Path, runs: int) -> None:
    """Alternate a function with hello world; report time and memory as ratios."""
    function = cloud.manifest.functions[name]
    environment = plan.settings(cloud.manifest, function, cloud.place) | {"THREADS": "4"}
    ours, theirs = [], []
    start("hello", hello, {"THREADS": "4"}), start(name, cloud.home.bundles / name, environment)
    for _ in range(runs):
        ours.append(start(name, cloud.home.bundles / name, environment))
        theirs.append(start("hello", hello, {"THREADS": "4"}))
    goal = WITH_DATABASE if function.database_roles else WITHOUT_DATABASE
    stage.add(f"{name}: spawn to answer", [one[0] * 1000 for one in ours], "ms")
    stage.at_most(f"{name} / hello", [a[0] / b[0] for a, b in zip(ours, theirs, strict=True)], goal)
    stage.add(f"{name} / hello, processor time", [a[2] / b[2] for a, b in zip(ours, theirs, strict=True)], "×")
    stage.at_most(f"{name} / hello, memory", [a[1] / b[1] for a, b in zip(ours, theirs, strict=True)], MEMORY)
    stage.add(
        "hello: spawn to answer" if name == cloud.functions[0] else f"hello beside {name}", [t[0] * 1000 for t in theirs], "ms"
    )


def start(name: str, bundle: Path, environment: Mapping[str, str]) -> tuple[float, float, float]:
    """Start one process, wait for its first answer, end it; return seconds, resident MiB and processor seconds of its group."""
    port = free_port()
    method, path = FIRST.get(name, ("POST", "/"))
    base = {key: os.environ[key] for key in ("PATH", "TZ", "LD_LIBRARY_PATH") if key in os.environ}
    base |= {"LANG": "C.UTF-8", "PYTHONPATH": str(bundle), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "functions_framework", "--target", name, "--source", str(bundle / "main.py")]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    begun = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=base | dict(environment),
        cwd=bundle,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        first_answer(port, method, path, begun + ANSWER_SECONDS)
        return time.perf_counter() - begun, resident(process.pid), spent_seconds({name: process.pid})[name]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def first_answer(port: int, method: str, path: str, until: float) -> None:
    """Ask until there is an HTTP answer of our own code."""
    while time.perf_counter() < until:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(method, path, body=b"{}" if method == "POST" else None)
            connection.getresponse().read()
            return
        except (ConnectionError, http.client.HTTPException, OSError):
            time.sleep(0.002)
        finally:
            connection.close()
    raise TimeoutError(f"no answer on port {port}")


def resident(group: int) -> float:
    """Resident memory in MiB of a process and its children."""
    total = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group:
                total += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return total / 2**20


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
