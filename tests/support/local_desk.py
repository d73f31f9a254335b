"""A small work tree with functions of its own, so that the supervisor can be tried without the desk's functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.local.desk import LocalCloud
from infra.local.home import ROOT
from infra.local.ports import is_free
from infra.manifest import Manifest, parse
from tests.support.waiting import wait_until

ECHO = '''"""Tells what it was given; dies, fails or hangs when asked to."""

import json
import os
import signal

import functions_framework
from fillbook import money


@functions_framework.http
def echo(request):
    """Answer with environment, origin of the package and process id."""
    if request.path == "/die":
        os.kill(os.getpid(), signal.SIGKILL)
    told = {"env": dict(os.environ), "money": money.__file__, "folder": os.getcwd(), "pid": os.getpid(), "parent": os.getppid()}
    return json.dumps(told)
'''

BROKEN = '''"""Cannot be imported."""

raise RuntimeError("no such setting: the last words of a function")
'''

FUNCTION = """
  {name}:
    purpose: a function of the tests
    trigger: pubsub
    routes: {{POST /: oidc}}
    timeout_seconds: 10
    memory_mb: 256
    concurrency: 4
    max_instances: 1
    min_instances: 0
    service_account: fb-{name}
    env: {{ECHO_WORD: hello}}
    database_roles: [{roles}]
"""

MANIFEST = """
project_local: fillbook-local
region: us-east4
python: "3.11"
database: {{max_connections: 200}}
identities: {{push: pubsub-push, schedule: cloud-scheduler, operator: fb-operator}}
functions: {functions}
topics: {{t: a topic, dead: its dead letters}}
subscriptions:
  - {{name: t-echo, topic: t, function: echo, path: /, ack_deadline_seconds: 10, retry_min_seconds: 5, retry_max_seconds: 30,
     ordering: true, attempts_max: 20, dead_letter_topic: dead}}
schedules:
  - {{name: tick, function: echo, path: /tick, cron: "* * * * *", time_zone: America/New_York, body: {{}}, retries: 3,
     deadline_seconds: 10}}
events: {{}}
roles: {{rooms: [outbox, ledger, signal, ibkr, mt5, snapshot, replay, notify, tracker], others: []}}
"""


def manifest(*names: str, roles: str = "") -> Manifest:
    """A manifest of functions with these names; ``echo`` is subscribed to topic ``t`` and called each minute."""
    return parse(MANIFEST.format(functions="".join(FUNCTION.format(name=name, roles=roles) for name in names)))


def work_tree(folder: Path, **sources: str) -> Path:
    """A work tree whose ``functions/<name>/main.py`` are ``sources``; package and lock are the project's own."""
    for name, source in sources.items():
        function = folder / "functions" / name
        function.mkdir(parents=True)
        (function / "main.py").write_text(source)
        (function / "requirements.txt").write_text("functions-framework\n")
    for shared in ("shared", "requirements.txt"):
        (folder / shared).symlink_to(ROOT / shared)
    return folder


def echo_desk(tmp_path: Path, *, roles: str = "", **options: Any) -> LocalCloud:
    """A desk with the one function ``echo``, not yet started; its state is in ``tmp_path/home``."""
    root = tmp_path / "tree"
    if not root.exists():
        work_tree(root, echo=ECHO)
    return LocalCloud(tmp_path / "home", manifest=manifest("echo", roles=roles), root=root, **options)


@contextmanager
def started(cloud: LocalCloud) -> Iterator[LocalCloud]:
    """A desk that runs in the block and is cut off after it, for whoever does not look at how it ends."""
    cloud.start()
    try:
        yield cloud
    finally:
        cloud.stop(grace_seconds=0)


def descendants(pid: int) -> set[int]:
    """The process ids below ``pid``, itself included."""
    found, waiting = set(), [pid]
    while waiting:
        one = waiting.pop()
        found.add(one)
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            waiting += map(int, task.read_text().split())
    return found


def let_go(ports: Iterable[int]) -> None:
    """Wait until each of the ports was seen free: as soon as it is, anybody on this machine may be given it."""
    left = set(ports)

    def is_none_left() -> bool:
        left.difference_update([port for port in left if is_free(port)])
        return not left

    wait_until(is_none_left, lambda: f"still taken: {left}")


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


if __name__ == "__main__":  # a runner to be killed: starts the desk in the folder named, says so, waits
    import sys
    import time

    with echo_desk(Path(sys.argv[1]), roles=sys.argv[2]):
        sys.stdout.write("started\n")
        sys.stdout.flush()
        time.sleep(600)
