"""A generated statement of 50,000 rows parsed, both passes: processor time and peak memory above the start.

Each round is a process of its own, so that its peak is its own; the baseline is expat alone over the same file, which no parser
in this language can beat.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from infra.local import flex_document
from tests.bench.report import ROOT, Stage, publish

ROWS = 50_000
ROUNDS = 3
SECONDS_GOAL = 4.0
MEMORY_GOAL_MIB = 64.0
DAY = date(2026, 1, 5)
GENERATED_AT = datetime(2026, 1, 6, 6, 0, tzinfo=UTC)

_MEASURE = """
import json, resource, sys, time
from pathlib import Path
from xml.parsers import expat
from fillbook.ibkr.allowlist import Account, AccountConfig, AllowList
from fillbook.ibkr.flex_statement import StatementFile
what, path = sys.argv[1], Path(sys.argv[2])
allowed = AllowList.of(tuple(AccountConfig(account=Account(account_id=n, code=c)) for n, c in ((1, "U1234567"), (2, "U7654321"))))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, began = peak(), time.process_time()
rows = 0
if what == "ours":
    document = StatementFile(path)
    document.check()
    checked = time.process_time() - began
    for chunk in document.chunks(allowed):
        rows += len(chunk.rows)
else:
    checked = 0.0
    parser = expat.ParserCreate()
    parser.ordered_attributes = True
    parser.StartElementHandler = lambda name, attributes: None
    with path.open("rb") as file:
        parser.ParseFile(file)
spent = time.process_time() - began
print(json.dumps({"seconds": spent, "checked": checked, "memory": peak() - before, "rows": rows}))
"""


def write_statement(path: Path, rows: int = ROWS) -> int:
    """Write a statement of ``rows`` executions of two accounts; returns its size in bytes."""
    made = flex_document.trades(rows, ["U1234567", "U7654321"], DAY)
    part = flex_document.statement(made, account="U1234567", days=(DAY, DAY), generated_at=GENERATED_AT)
    with path.open("wb") as file:
        file.writelines(flex_document.response(part))
    return path.stat().st_size


def measure(path: Path, what: str) -> dict[str, Any]:
    """One round (``ours`` or ``expat``) in a process of its own: seconds of processor time, MiB above the start, rows."""
    answer = subprocess.run(
        [sys.executable, "-c", _MEASURE, what, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT / 'shared'}:{ROOT}", "PATH": ""},
        timeout=300,
    )
    document: dict[str, Any] = json.loads(answer.stdout)
    return document


def add_figures(stage: Stage, rounds: int = ROUNDS) -> None:
    """Measure and add the figures of parsing to a stage."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "statement.xml"
        size = write_statement(path)
        told = [(measure(path, "ours"), measure(path, "expat")) for _ in range(rounds)]
    ours, bare = [one[0] for one in told], [one[1] for one in told]
    if any(one["rows"] != ROWS for one in ours):
        raise AssertionError("rows are missing")
    seconds, memory = [one["seconds"] for one in ours], [one["memory"] for one in ours]
    ratios = [one["seconds"] / base["seconds"] for one, base in told]
    name = f"parse of {ROWS} rows ({size / 1e6:.0f} MB), both passes"
    stage.at_most(name, seconds, SECONDS_GOAL, "s")
    stage.add("the first pass alone", [one["checked"] for one in ours], "s")
    stage.add("expat alone over the file", [one["seconds"] for one in bare], "s")
    stage.add("parse against expat alone", ratios, "×")
    stage.at_most("peak memory above the start", memory, MEMORY_GOAL_MIB, "MiB")


def run(_: Sequence[str]) -> int:
    """The stage of its own."""
    stage = Stage(name="ibkr-parse")
    add_figures(stage)
    publish(stage)
    return 0
