"""Every function starts from its bundle with its own requirements alone, on the manifest's memory and concurrency."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.door.lock import LOCK
from infra.local.postgres import PostgresServer
from infra.manifest import Function
from tests.support.campaigns import IS_FULL, tell
from tests.support.environments import installed, linked, plain_environment
from tests.support.every_function import MANIFEST, SIGNER, Door, doors, known, right_headers, settings, usual_body
from tests.support.served import serving
from tests.support.servers import TEMPLATE
from tests.support.topics import topics

pytestmark = [pytest.mark.slow, pytest.mark.bundles]

STARTS_AT_ONCE = 2
MEBIBYTE = 1024 * 1024
ROUNDS_MAX = 3
"""On a busy machine a budget of seconds may run out (503), and callers come again: how fast it is, is not what is seen here."""
PROBE = "import {}; print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM:')))"
# a route that reads, or does little with what these callers send; a function that joins takes its first route
CHOSEN = {
    "execution_sync": "/api/v1/quarantine",
    "discord_notifier": "/tick",
    "replay_worker": "/timed/admin/replay-runs",
    "snapshot_api": "/v1/metrics/dates",
    "trade_tracker": "/timed/trades",
}


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was seen of one function: statuses of a stranger and of its own callers at once, and how much memory it held."""

    stranger: int
    callers: list[int]
    peak_bytes: int
    told: str


def door_of(function: Function) -> Door:
    """The route that is asked: one with a credential."""
    found = [door for door in doors() if door.function == function and door.route.caller != "none"]
    path = CHOSEN.get(function.name, found[0].route.path)
    return next(door for door in sorted(found, key=lambda door: door.route.method) if door.route.path == path)


def see(function: Function, bundle: Path, python: Path, values: dict[str, str], log: Path) -> Seen:
    """Start one function, ask as a stranger, then as many callers at once as one instance works on; end it."""
    door = door_of(function)
    headers = {"Content-Type": "application/json", **right_headers(door)}
    environment = plain_environment(**settings(function, values), THREADS=str(function.threads), FUNCTION_TARGET=function.name)
    with serving([str(python), "-P", "-m", "functions_framework"], environment, bundle, log) as served:
        stranger, _ = served.ask(door.route.method, door.path, {"Content-Type": "application/json"}, usual_body(door))
        callers: list[int] = []
        for _ in range(ROUNDS_MAX):
            callers = served.ask_at_once(function.concurrency, door.route.method, door.path, headers, usual_body(door))
            if 503 not in callers:
                break
        return Seen(stranger=stranger, callers=callers, peak_bytes=served.peak_bytes(), told=served.told())


@pytest.fixture(scope="module")
def pythons(bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A Python per function whose environment was empty before its requirements came; equal requirements share one."""
    folder, made, found = tmp_path_factory.mktemp("environments"), {}, {}
    for name in MANIFEST.functions:
        requirements = bundles / name / LOCK
        text = requirements.read_text("utf-8")
        if text not in made:
            made[text] = installed(folder / name, requirements) if IS_FULL else linked(folder / name, text)
        found[name] = made[text]
    return found


@pytest.fixture(scope="module")
def database(postgres: PostgresServer, _superuser: Callable[[str], None]) -> Iterator[str]:
    _superuser(f"create database own_requirements template {TEMPLATE} strategy = file_copy")
    yield postgres.url(database="own_requirements")
    _superuser("drop database own_requirements with (force)")


@pytest.fixture(scope="module")
def seen(
    bundles: Path, pythons: dict[str, Path], database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Seen]]]:
    folder = tmp_path_factory.mktemp("served")
    with topics() as there, ThreadPoolExecutor(STARTS_AT_ONCE) as pool:
        there.certificates = SIGNER.certificates()
        values = known(database, there, folder) | {"PUBLISH_BUDGET_SECONDS": "2"}
        yield {
            name: pool.submit(see, function, bundles / name, pythons[name], values, folder / f"{name}.log")
            for name, function in MANIFEST.functions.items()
        }


@pytest.fixture(scope="module")
def connector_bytes(pythons: dict[str, Path]) -> int:
    """What the way to Cloud SQL holds, which no database of the tests is reached by: imported alone, against nothing imported."""
    python = str(pythons["outbox_relay"])

    def peak(module: str) -> int:
        command = [python, "-P", "-c", PROBE.format(module)]
        return int(subprocess.run(command, env=plain_environment(), capture_output=True, text=True, check=True).stdout) * 1024

    return peak("google.cloud.sql.connector") - peak("sys")


@pytest.mark.parametrize("name", MANIFEST.functions)
def test_a_function_answers_from_its_bundle_with_its_own_requirements_alone(name: str, seen: dict[str, Future[Seen]]) -> None:
    found = seen[name].result()
    assert found.stranger == 401
    assert len(found.callers) == MANIFEST.functions[name].concurrency
    assert [status for status in found.callers if not 200 <= status < 300] == [], found.told


@pytest.mark.parametrize("name", MANIFEST.functions)
def test_its_memory_holds_as_many_callers_as_one_instance_works_on(
    name: str, seen: dict[str, Future[Seen]], connector_bytes: int
) -> None:
    function = MANIFEST.functions[name]
    beside = connector_bytes if function.database_roles else 0
    needed = (seen[name].result().peak_bytes + beside) / MEBIBYTE
    tell(f"{name}: {needed:.0f} of {function.memory_mb} MiB, the connector's {beside / MEBIBYTE:.0f} among them")
    assert beside > 0 or not function.database_roles
    assert needed < function.memory_mb
