"""No function imports what it does not need: rooms by a table with reasons, libraries by who speaks with whom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.door import probe
from infra.manifest import load

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = load()
# every function: runtime, money, calendar, instants, values. A room is added here with its reason, or the import goes.
NEEDS: dict[str, dict[str, str]] = {
    "signal_ingest": {"signal": "parses the body", "outbox": "ids from content"},
    "signal_worker": {"signal": "decides", "ledger": "books", "outbox": "publishes its own events"},
    "execution_sync": {"ibkr": "fetches and stores", "ledger": "books", "outbox": "publishes its own events"},
    "account_sync": {"mt5": "reads and stores", "ledger": "books", "outbox": "publishes its own events"},
    "account_sync_shard": {"mt5": "reads and stores", "ledger": "books", "outbox": "publishes its own events"},
    "outbox_relay": {"outbox": "publishes"},
    "discord_notifier": {"notify": "tells", "outbox": "inbox and quarantine", "signal": "words of the reasons"},
    "desk_keeper": {"ledger": "audits", "signal": "retention", "outbox": "publishes what the audit announced"},
    "snapshot_publisher": {"snapshot": "reads, builds and sends", "outbox": "publishes its own events"},
    "replay_worker": {
        "replay": "runs days again",
        "signal": "decides",
        "ledger": "books",
        "outbox": "events of a live book that is caught up",
    },
    "snapshot_api": {"snapshot": "receives and shows", "outbox": "events of restated days"},
    "trade_tracker": {
        "tracker": "answers",
        "ledger": "reads its own history for another moment",
        "mt5": "the parts of a deal that turns a position",
        "outbox": "ids from content",
        "signal": "words of the reasons",
    },
}
FOUNDATION = {"runtime", "money", "calendar", "instants", "values"}
# loaded on first use, if ever; importing them at the start costs every cold start
LAZY = {
    "pg8000",
    "cryptography",
    "google.cloud.sql",
    "google.auth",
    "google.oauth2",
    "requests",
    "urllib3",
}
# what an import of main.py may bring beside the modules of functions_framework and pydantic: what there is, and a few more
MODULES_MAX = {
    "signal_ingest": 30,
    "signal_worker": 105,
    "execution_sync": 150,
    "account_sync": 150,
    "account_sync_shard": 150,
    "outbox_relay": 38,
    "discord_notifier": 86,
    "desk_keeper": 77,
    "replay_worker": 150,
    "snapshot_publisher": 80,
    "snapshot_api": 70,
    "trade_tracker": 132,
}
DEVELOPMENT = {"pytest", "hypothesis", "yaml", "alembic", "sqlalchemy", "aiohttp", "cronsim", "infra", "tests", "uv", "mypy"}
OTHER_ROOMS_LIBRARIES = {"ib_insync", "numpy", "pandas", "exchange_calendars", "grpc"}


def is_in(module: str, packages: set[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.fixture(scope="module", params=list(MANIFEST.functions))
def imported(request: pytest.FixtureRequest, started: Callable[[str], dict[str, Any]]) -> tuple[str, set[str]]:
    """A function's name and what its main.py brings in, in an interpreter of its own."""
    return request.param, set(started(request.param)["modules"])


def test_a_function_imports_its_rooms_and_no_other(imported: tuple[str, set[str]]) -> None:
    name, modules = imported
    rooms = {module.split(".")[1] for module in modules if module.startswith("fillbook.")}
    assert rooms - FOUNDATION == set(NEEDS[name])


def test_a_function_imports_nothing_of_development_and_of_rooms_it_is_not_in(imported: tuple[str, set[str]]) -> None:
    _, modules = imported
    assert sorted(module for module in modules if is_in(module, DEVELOPMENT | OTHER_ROOMS_LIBRARIES)) == []


def test_what_only_a_request_needs_is_not_imported_before_one_comes(imported: tuple[str, set[str]]) -> None:
    _, modules = imported
    assert sorted(module for module in modules if is_in(module, LAZY)) == []


def test_a_start_imports_no_more_modules_than_it_did(imported: tuple[str, set[str]], framework: set[str]) -> None:
    name, modules = imported
    assert len(modules - framework) <= MODULES_MAX[name], sorted(modules - framework)


def test_no_value_compiles_its_methods_at_the_start() -> None:
    """A class by ``@dataclass(frozen=True, …)`` costs a start 0.3 to 0.9 ms; ``fillbook.values.frozen`` makes the same."""
    dear = [path for path in (ROOT / "shared").rglob("*.py") if "@dataclass(frozen=True" in path.read_text("utf-8")]
    assert [path.name for path in dear] == ["values.py"]  # its docstring tells the difference


@pytest.fixture(scope="module")
def framework(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What a function that does nothing but declare its settings imports."""
    folder = tmp_path_factory.mktemp("hello")
    (folder / "main.py").write_text(
        "import functions_framework\nfrom pydantic import AwareDatetime, BaseModel, SecretStr\n", "utf-8"
    )
    return set(probe.ask(folder, "hello")["modules"])
