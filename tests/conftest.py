"""Fixtures for everybody: a real Postgres per session, a fresh migrated database per test, functions called in-process.

``postgres`` the session's server · ``database_url`` a database of this test alone, as its owner · ``db`` the same as a
``Database`` · ``open_database(role)`` a ``Database`` that acts with a role's grants only · ``query(sql)`` rows of one
statement · ``function_app(name, env)`` a test client for a function's folder.
"""

from __future__ import annotations

import gc
import itertools
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, settings

from fillbook.runtime.db import Database, Settings, driver_connection
from fillbook.runtime.sql import statement
from infra.local.postgres import PostgresServer
from tests.support import rewriting
from tests.support.functions import FunctionApps
from tests.support.servers import TEMPLATE, database_config, files_in_memory, session_folder, start_server

settings.register_profile(
    "fillbook",
    max_examples=int(os.environ.get("FILLBOOK_EXAMPLES", "200")),
    deadline=None,
    derandomize="FILLBOOK_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.register_profile("quick", settings.get_profile("fillbook"), max_examples=20)  # `check`, before every commit
settings.register_profile("few", settings.get_profile("fillbook"), max_examples=50)
settings.load_profile("fillbook")

# rooms whose specification names no number for every day; the ledger's names 200, and nightly all have FILLBOOK_EXAMPLES
UNNAMED = tuple(f"tests/property/{room}/" for room in ("ibkr", "local", "mt5", "notify", "outbox", "runtime", "signal"))

JOURNEYS = "tests/browser/"
WHOLE_DESKS = (JOURNEYS, "tests/e2e/", "tests/integration/local/test_run_verb.py")
DESKS_AT_ONCE = 2
"""So many workers have a whole desk at a time: it mostly waits, for its processes, and the others have something to compute."""

_FOLDER = pytest.StashKey[Path]()
_NUMBERS = itertools.count(1)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Agree on the session's folder and a campaign's seed: the controller chooses them, xdist workers are told."""
    told = getattr(config, "workerinput", {}).get("fillbook_folder")
    config.stash[_FOLDER] = Path(told) if told else session_folder()
    if not told and config.option.basetemp is None:
        config.option.basetemp = files_in_memory(config.stash[_FOLDER])
    if "FILLBOOK_EXAMPLES" in os.environ and not config.option.hypothesis_seed:
        config.option.hypothesis_seed = os.environ.get("FILLBOOK_SEED") or str(secrets.randbits(32))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say with which seed a campaign was run."""
    if "FILLBOOK_EXAMPLES" in os.environ:
        seed = config.option.hypothesis_seed
        terminalreporter.write_line(f"laws: FILLBOOK_EXAMPLES={os.environ['FILLBOOK_EXAMPLES']} FILLBOOK_SEED={seed}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Of the whole suite's modules each xdist worker rewrites a share for all of them (decision 0065).

    Until all are collected nothing becomes garbage: whoever looked for some would look through ever more objects in vain.
    """
    if session.config.pluginmanager.hasplugin("dsession"):
        return  # the controller, which collects nothing
    gc.disable()
    told = getattr(session.config, "workerinput", None)
    if told is not None and session.config.args == ["tests"]:
        rewriting.share(session.config, int(told["workerid"].removeprefix("gw")), int(told["workercount"]))


def pytest_collection_finish() -> None:
    """What was collected stays until the end: it is not looked through again, nor copied by a fork."""
    gc.freeze()
    gc.enable()


def pytest_collectstart(collector: pytest.Collector) -> None:
    """A law takes its number of examples from the profile that holds when its module is imported, which is now."""
    if isinstance(collector, pytest.Module) and settings.get_current_profile_name() in ("fillbook", "few"):
        is_unnamed = collector.nodeid.startswith(UNNAMED) and "FILLBOOK_EXAMPLES" not in os.environ
        settings.load_profile("few" if is_unnamed else "fillbook")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests begin, so that the last minute is not one long test on one processor.

    Of them the journeys are the first and have the bundles written; whoever else needs those comes last and finds them.
    """
    slow, bundled = ({item.path for item in items if item.get_closest_marker(mark)} for mark in ("slow", "bundles"))

    def turn(item: pytest.Item) -> int:
        if item.nodeid.startswith(JOURNEYS):
            return 0
        return 3 if item.path not in slow else 2 if item.path in bundled else 1

    items.sort(key=turn)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker where the session's cluster is."""
    node.workerinput["fillbook_folder"] = str(node.config.stash[_FOLDER])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the session's folder, after the last worker has gone."""
    if not hasattr(config, "workerinput") and _FOLDER in config.stash:
        shutil.rmtree(config.stash[_FOLDER], ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out tests file by file; all journeys through the page go to one worker, because they share a desk and a browser.

    A file of whole desks waits while enough workers have one, as long as there is another.
    """
    from xdist.scheduler import LoadFileScheduling

    class OneDeskForAllJourneys(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return JOURNEYS if nodeid.startswith(JOURNEYS) else str(super()._split_scope(nodeid))

        def _assign_work_unit(self, node: Any) -> None:
            others = [units for one, units in self.assigned_work.items() if one is not node]
            under_way = ([scope for scope, tests in units.items() if not all(tests.values())] for units in others)
            if sum(any(scope.startswith(WHOLE_DESKS) for scope in scopes) for scopes in under_way) >= DESKS_AT_ONCE:
                other = next((scope for scope in self.workqueue if not scope.startswith(WHOLE_DESKS)), None)
                if other is not None:
                    self.workqueue.move_to_end(other, last=False)
            super()._assign_work_unit(node)

    return OneDeskForAllJourneys(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def common_folder(request: pytest.FixtureRequest) -> Path:
    """The folder of all workers of this session, for ``servers.made_once``."""
    return request.config.stash[_FOLDER]


@pytest.fixture(scope="session")
def postgres(common_folder: Path) -> Iterator[PostgresServer]:
    """The session's server; roles are shared by all its databases."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "only")
    server = start_server(common_folder, worker)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def _superuser(postgres: PostgresServer) -> Iterator[Callable[[str], None]]:
    """Run a statement outside any transaction on the server's own database."""
    connection = driver_connection(database_config(postgres.url()), Settings(application_name="tests"))
    yield connection.execute_simple
    connection.close()


@pytest.fixture
def template() -> str:
    """What ``database_url`` is copied from; a module that looks at the schema itself asks for the whole one."""
    return TEMPLATE


@pytest.fixture
def database_url(postgres: PostgresServer, _superuser: Callable[[str], None], template: str) -> Iterator[str]:
    """The URL of a database of this test alone, migrated to head, as its owner (superuser)."""
    name = f"test_{next(_NUMBERS)}"
    # files are copied as they are: half of what writing every block through the log costs, for a server that may forget
    _superuser(f"create database {name} template {template} strategy = file_copy")
    yield postgres.url(database=name)
    _superuser(f"drop database {name} with (force)")


class OpenDatabase(Protocol):
    """Opens a ``Database`` on the test's database; ``role`` is a group or login role whose grants alone apply."""

    def __call__(self, role: str | None = None, **options: Any) -> Database: ...


@pytest.fixture
def open_database(database_url: str) -> Iterator[OpenDatabase]:
    """Factory of databases that are closed after the test."""
    opened: list[Database] = []

    def open_as(role: str | None = None, **options: Any) -> Database:
        url = f"{database_url}?role={role}" if role else database_url
        database = Database.open(database_config(url), application_name="tests", **options)
        opened.append(database)
        return database

    yield open_as
    for database in opened:
        database.close()


@pytest.fixture
def db(open_database: OpenDatabase) -> Database:
    """The test's database as superuser, to set things up and to look at them."""
    return open_database()


@pytest.fixture
def query(db: Database) -> Callable[..., list[dict[str, Any]]]:
    """Run one statement (``:name`` parameters) in a transaction of its own and return its rows."""

    def run(text: str, **params: object) -> list[dict[str, Any]]:
        with db.transaction() as tx:
            return tx.query(statement(text), **params)

    return run


@pytest.fixture
def function_app() -> Iterator[FunctionApps]:
    """Load a function's folder as functions-framework does and return its werkzeug test client; all is undone after."""
    apps = FunctionApps()
    yield apps
    apps.restore()
