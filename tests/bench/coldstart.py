"""Cold start: from the spawn of a function's process to its first answer, against a bare hello world, in turn.

Every process gets its bundle and the settings it has on the local desk, so what is measured is what would be deployed. Two first
answers are timed. The *refusal* of a caller without a token is what the framework, our imports and the configuration cost. The
*work done* is the first 2xx of a caller with one: certificates fetched and a signature checked, the database connected, a body
validated, so whatever was left for the first request to import is paid there and seen.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.local import plan
from infra.local.desk import LocalCloud
from infra.local.ports import free_port
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
# what a function is asked: everything not named here is a POST to "/"
FIRST = {
    "signal_ingest": ("POST", "/timed/ingest"),
    "discord_notifier": ("POST", "/tick"),
    "execution_sync": ("POST", "/cron/jobs"),
    "trade_tracker": ("GET", "/timed/health"),
    "hello": ("GET", "/"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request of a caller; ``is_work`` when its answer must be a 2xx."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None
    is_work: bool


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
        "first answer: a caller without a token is refused; first work done: a 2xx, with token, database and body as they come"
    )
    stage.note("what the first work adds to the refusal: google-auth, cryptography, requests and certificates; pg8000; pydantic")
    publish(stage)
    return 0


def measure(stage: Stage, cloud: LocalCloud, name: str, hello: Path, runs: int) -> None:
    """Alternate a function with hello world; report time and memory as ratios."""
    function = cloud.manifest.functions[name]
    environment = plan.settings(cloud.manifest, function, cloud.place) | {"THREADS": "4"}
    bundle, nobody, somebody = cloud.home.bundles / name, refused(name), accepted(cloud, name, environment)
    ours, working, theirs = [], [], []
    start("hello", hello, {"THREADS": "4"}, refused("hello")), start(name, bundle, environment, somebody)
    for _ in range(runs):
        ours.append(start(name, bundle, environment, nobody))
        theirs.append(start("hello", hello, {"THREADS": "4"}, refused("hello")))
        working.append(start(name, bundle, environment, somebody))
    goal = WITH_DATABASE if function.database_roles else WITHOUT_DATABASE
    stage.add(f"{name}: spawn to answer", [one[0] * 1000 for one in ours], "ms")
    stage.at_most(f"{name} / hello", [a[0] / b[0] for a, b in zip(ours, theirs, strict=True)], goal)
    stage.add(f"{name} / hello, processor time", [a[2] / b[2] for a, b in zip(ours, theirs, strict=True)], "×")
    stage.add(f"{name} / hello, first work done", [a[0] / b[0] for a, b in zip(working, theirs, strict=True)], "×")
    stage.add(
        f"{name} / hello, first work done, processor time", [a[2] / b[2] for a, b in zip(working, theirs, strict=True)], "×"
    )
    stage.at_most(f"{name} / hello, memory", [a[1] / b[1] for a, b in zip(ours, theirs, strict=True)], MEMORY)
    stage.add(
        "hello: spawn to answer" if name == cloud.functions[0] else f"hello beside {name}", [t[0] * 1000 for t in theirs], "ms"
    )


def refused(name: str) -> Ask:
    """The first request of a caller whom the function does not know."""
    method, path = FIRST.get(name, ("POST", "/"))
    return Ask(method=method, path=path, headers={}, body=b"{}" if method == "POST" else None, is_work=False)


def accepted(cloud: LocalCloud, name: str, environment: Mapping[str, str]) -> Ask:
    """The first request of a caller of its own; the functions with a token of identity get one of the local cloud's."""
    ts = cloud.clock.now().timestamp()
    body = json.dumps({"price": 1.5, "ticker": "COLD", "ts": int(ts) * 1000}).encode()
    bearer = {"signal_ingest": cloud.secrets["ingest_token"], "trade_tracker": cloud.secrets["desk_key"]}.get(name)
    if bearer is None:
        caller = environment["FILLBOOK_OIDC_CALLERS"].partition(",")[0]
        bearer = cloud.control.token(caller, environment["FILLBOOK_OIDC_AUDIENCE"])
    if name == "signal_worker":
        inner = {"data": base64.b64encode(body).decode(), "messageId": "1", "publishTime": cloud.clock.now().isoformat()}
        body = json.dumps({"message": inner, "subscription": "projects/p/subscriptions/signals-signal-worker"}).encode()
    method, path = FIRST.get(name, ("POST", "/"))
    schedules = [each for each in cloud.manifest.schedules if (each.function, f"POST {each.path}") == (name, f"{method} {path}")]
    if schedules:
        body = json.dumps(dict(schedules[0].body)).encode()
    headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
    return Ask(method=method, path=path, headers=headers, body=body if method == "POST" else None, is_work=True)


def start(name: str, bundle: Path, environment: Mapping[str, str], ask: Ask) -> tuple[float, float, float]:
    """Start one process, wait for its first answer, end it; return seconds, resident MiB and processor seconds of its group."""
    port = free_port()
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
        first_answer(port, ask, begun + ANSWER_SECONDS)
        return time.perf_counter() - begun, resident(process.pid), spent_seconds({name: process.pid})[name]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def first_answer(port: int, ask: Ask, until: float) -> None:
    """Ask until there is an HTTP answer of our own code; raises ``RuntimeError`` when work was asked for and refused."""
    while time.perf_counter() < until:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(ask.method, ask.path, body=ask.body, headers=dict(ask.headers))
            response = connection.getresponse()
            said = response.read()
            if ask.is_work and not 200 <= response.status < 300:
                raise RuntimeError(f"{ask.method} {ask.path} was to be done and was answered {response.status} {said[:200]!r}")
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
