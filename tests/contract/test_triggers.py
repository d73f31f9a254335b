"""A change of a file starts a build of every function whose bundle holds it, and of no other."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.cloud import names
from infra.door import builds, bundles, page
from infra.manifest import load

ROOT = Path(__file__).resolve().parents[2]
TRIGGERS: list[dict[str, Any]] = yaml.safe_load((ROOT / builds.CLOUD / "triggers.yaml").read_text("utf-8"))
BY_BUNDLE = {one["substitutions"]["_FUNCTION"]: one for one in TRIGGERS}
PATTERNS_MAX = 100
MIGRATE = names.MIGRATE_ENTRY


@cache
def pattern(text: str) -> re.Pattern[str]:
    """A pattern of the platform: ``**`` crosses folders, ``*`` does not."""
    parts = {"**": ".*", "*": "[^/]*"}
    return re.compile("".join(parts.get(part) or re.escape(part) for part in re.split(r"(\*\*|\*)", text)))


def starts(bundle: str, path: str) -> bool:
    """Whether a change of ``path`` starts a build of ``bundle``."""
    return any(pattern(one).fullmatch(path) for one in BY_BUNDLE[bundle]["includedFiles"])


def test_there_is_one_trigger_per_function_and_one_of_the_migration() -> None:
    assert list(BY_BUNDLE) == [*load().functions, MIGRATE]
    assert len({one["name"] for one in TRIGGERS}) == len(TRIGGERS)
    for one in TRIGGERS:
        assert set(one) == {"name", "filename", "includedFiles", "substitutions"}
        assert one["filename"] == "cloudbuild.yaml"
        assert re.fullmatch(r"[a-z][a-z0-9-]{0,62}", one["name"])
        assert 1 <= len(one["includedFiles"]) <= PATTERNS_MAX


@pytest.mark.parametrize("name", load().functions)
def test_a_change_of_any_file_of_a_bundle_starts_its_build(name: str) -> None:
    shared = ROOT / "shared"
    modules = bundles.reached(ROOT / "functions" / name / "main.py", shared)
    carried = [path.relative_to(ROOT).as_posix() for path in bundles.package_files(modules, shared)]
    own = [f"functions/{name}/main.py", f"functions/{name}/requirements.txt", f"{builds.DEPLOY}/{name}.yaml"]
    with_all = ["infra/functions.yaml", "requirements.txt", "cloudbuild.yaml", builds.DOCKERFILE, "infra/door/bundles.py"]
    assert [path for path in (*carried, *own, *with_all) if not starts(name, path)] == []


def test_the_page_is_part_of_the_one_bundle_that_holds_it() -> None:
    assert [name for name in BY_BUNDLE if starts(name, "infra/page/src/views/Today.tsx")] == [page.FUNCTION]


def test_what_no_bundle_holds_starts_nothing() -> None:
    quiet = (
        "README.md",
        "infra/docs/runbook.md",
        "tests/unit/ledger/test_booking.py",
        "infra/local/desk.py",
        "infra/cloud/run.py",
    )
    assert [(name, path) for name in BY_BUNDLE for path in quiet if starts(name, path)] == []


def test_a_room_that_a_function_does_not_reach_does_not_start_its_build() -> None:
    assert starts("signal_worker", "shared/fillbook/ledger/booking.py")
    assert not starts("signal_worker", "shared/fillbook/mt5/trades.py")
    assert not starts("signal_ingest", "shared/fillbook/ledger/booking.py")
    assert not starts("signal_ingest", "functions/signal_worker/main.py")
    assert all(starts(name, "shared/fillbook/money.py") for name in load().functions)


def test_a_migration_alone_starts_the_migration_alone() -> None:
    new = "infra/database/migrations/9999_last.sql"
    assert [name for name in BY_BUNDLE if starts(name, new)] == [MIGRATE]
    assert all(starts(MIGRATE, path) for path in (*bundles.MIGRATION, "infra/database/requirements.txt", "requirements.txt"))
