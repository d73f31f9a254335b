"""The house rules hold over the whole work tree, and each rule is able to object."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from infra.door import tidy
from infra.door.tidy import Rule, Source

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    return tidy.sources(ROOT)


def test_the_whole_tree_keeps_every_rule(sources: list[Source]) -> None:
    """File by file: the trees of all files at once would be searched for garbage again and again."""
    found: dict[Rule, list[str]] = {rule: [] for rule in tidy.RULES}
    for source in sources:
        looked_at = replace(source)
        for rule in tidy.RULES:
            found[rule] += rule(looked_at)
    told = [f"{rule.__name__}: {line}" for rule, lines in found.items() for line in lines]
    if told:
        pytest.fail("\n".join(told), pytrace=False)


def test_the_tree_that_is_looked_at_is_the_projects_own(sources: list[Source]) -> None:
    paths = {source.path for source in sources}
    assert {"infra/dev.py", "infra/functions.yaml", "shared/fillbook/money.py", "requirements.txt"} <= paths
    assert not any(path.startswith((".venv/", "build/", ".fillbook/")) for path in paths)


def test_without_git_the_same_files_are_looked_at(sources: list[Source], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    others = {path for path in tidy.listed(ROOT) if (ROOT / path).suffix in {".py", ".sql", ".md", ".yaml"}}
    assert others == {source.path for source in sources if Path(source.path).suffix in {".py", ".sql", ".md", ".yaml"}}


DOC = '"""Why."""\n'
SPECIMENS = [
    (tidy.module_docstrings, "infra/x.py", "import re\n"),
    (tidy.module_docstrings, "shared/fillbook/signal/__init__.py", ""),
    (tidy.sizes, "infra/x.py", DOC + "\n" * 400),
    (tidy.sizes, "infra/x.py", DOC + "def f():\n" + "    a = 1\n" * 60),
    (tidy.sizes, "functions/x/main.py", DOC + "\n" * 50),
    (tidy.environment, "shared/fillbook/ledger/x.py", DOC + "import os\nos.environ['A']\n"),
    (tidy.environment, "functions/x/main.py", DOC + "from os import getenv\n"),
    (tidy.clock, "shared/fillbook/ledger/x.py", DOC + "datetime.now(UTC)\n"),
    (tidy.clock, "shared/fillbook/ledger/x.py", DOC + "datetime.datetime.utcnow()\n"),
    (tidy.clock, "shared/fillbook/ledger/x.py", DOC + "date.today()\n"),
    (tidy.clock, "shared/fillbook/ledger/x.py", DOC + "time.monotonic()\n"),
    (tidy.clock, "functions/x/main.py", DOC + "from time import time_ns\n"),
    (tidy.floats, "shared/fillbook/ledger/x.py", DOC + "a = 0.5\n"),
    (tidy.floats, "shared/fillbook/ledger/x.py", DOC + "a = float(b)\n"),
    (tidy.floats, "shared/fillbook/ledger/x.py", DOC + "def f(a: list[float]): ...\n"),
    (tidy.floats, "shared/fillbook/ledger/x.py", DOC + "def f() -> float | None: ...\n"),
    (tidy.sole_importers, "shared/fillbook/ledger/x.py", DOC + "import pg8000.native\n"),
    (tidy.sole_importers, "functions/x/main.py", DOC + "from pandas import DataFrame\n"),
    (tidy.sole_importers, "infra/local/x.py", DOC + "import exchange_calendars\n"),
    (tidy.shells, "functions/x/main.py", DOC + "def y(request): ...\n"),
    (tidy.shells, "functions/x/main.py", DOC + "def x(request): ...\nx(1)\n"),
    (tidy.shells, "functions/x/main.py", DOC + "def x(request):\n    if request:\n        return 1\n"),
    (tidy.queries, "shared/fillbook/signal/queries.sql", "select * from ledger.positions"),
    (tidy.queries, "shared/fillbook/signal/queries.sql", "insert into outbox.events values (1)"),
    (tidy.queries, "shared/fillbook/snapshot/queries.sql", "select 1 from signal.plans"),
    (tidy.sql_clock, "shared/fillbook/signal/queries.sql", "update signal.plans set closed_at = now()"),
    (tidy.sql_clock, "infra/database/migrations/0001_x.sql", "create table x (at timestamptz default current_timestamp)"),
    (tidy.statements, "shared/fillbook/ledger/x.py", DOC + "a = 'select 1 from ledger.books'\n"),
    (tidy.values, "shared/fillbook/ledger/model.py", DOC + "@dataclass(frozen=True)\nclass A: ...\n"),
    (tidy.values, "shared/fillbook/ledger/model.py", DOC + "@dataclass\nclass A: ...\n"),
    (tidy.test_names, "tests/unit/x/test_x.py", DOC + "def test_booking(): ...\n"),
    (tidy.names, "shared/fillbook/ledger/utils.py", DOC),
    (tidy.names, "functions/x/helper.py", DOC),
    (tidy.leftovers, "infra/x.py", "# " + "TO" + "DO: later\n"),
    (tidy.leftovers, "infra/docs/x.md", "see /" + "home/me/notes\n"),
    (tidy.leftovers, "requirements.txt", "--ind" + "ex-url https://somewhere\n"),
    (tidy.leftovers, "infra/x.py", "https://files.python" + "hosted.org/x\n"),
    (tidy.lock_of_pages, "infra/page/package-lock.json", '{"resolved": "https://somewhere"}'),
]


@pytest.mark.parametrize(("rule", "path", "text"), SPECIMENS)
def test_each_rule_objects_to_its_specimen(rule: Rule, path: str, text: str) -> None:
    findings = list(rule(Source(path=path, text=text)))
    assert findings
    assert all(finding.startswith(f"{path}:") for finding in findings)


def test_every_rule_has_a_specimen() -> None:
    assert {rule for rule, _, _ in SPECIMENS} == set(tidy.RULES)


ALLOWED = [
    (tidy.environment, tidy.CONFIG, DOC + "import os\nos.environ\n"),
    (tidy.clock, tidy.CLOCK, DOC + "datetime.now(UTC)\n"),
    (tidy.clock, "shared/fillbook/ledger/x.py", DOC + "clock.now()\nclock.monotonic()\n"),
    (tidy.floats, "shared/fillbook/ledger/x.py", DOC + "isinstance(value, float)\n"),
    (tidy.queries, "shared/fillbook/signal/queries.sql", "select v.a from ledger.v_positions v join ledger.trades t on true"),
    (tidy.queries, "shared/fillbook/signal/queries.sql", "-- from ledger.positions\nselect * from signal.plans"),
    (tidy.queries, "shared/fillbook/snapshot/queries.sql", "select 1 from metrics.snapshot_days"),
    (tidy.sql_clock, "infra/database/migrations/0001_x.sql", "-- not now()\nselect clock_timestamp()"),
    (tidy.values, "shared/fillbook/ledger/model.py", DOC + "@dataclass(frozen=True, slots=True, kw_only=True)\nclass A: ...\n"),
]


@pytest.mark.parametrize(("rule", "path", "text"), ALLOWED)
def test_a_rule_leaves_alone_what_is_right(rule: Rule, path: str, text: str) -> None:
    assert list(rule(Source(path=path, text=text))) == []
