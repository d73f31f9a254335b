"""``reliability [NUMBER …] [--full]``: runs what shows the reliability checks, keeps the results, writes the page of them.

The list (``tests/cases/reliability/checks.toml``) says of each check its pass mark and what shows it: tests, or a verb of the
door. What came of them last is kept beside it, with the date, the size and the commit that ran; the page is written from both
and from nothing else. A result stays until the check is run again, however old its commit. It refuses to judge: a check has
passed when all its tests did, and a test that nobody could run is told as skipped, never as passed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from infra.door import checks

ROOT = Path(__file__).resolve().parents[2]
LIST = ROOT / "tests" / "cases" / "reliability" / "checks.toml"
RESULTS = LIST.with_name("results.json")
PAGE = ROOT / "infra" / "docs" / "reliability.md"
GENERATED = (RESULTS, PAGE)
USAGE = "reliability [NUMBER …] [--full]: run the checks with these numbers, or all; --full at the sizes of the specification"
INTRO = """\
# Reliability: what must hold, and what shows it

Written by `python3 infra/dev.py reliability`, which runs the checks whose numbers it is given, or all; small, or with `--full`
at the sizes of the specification (hours). The list is `tests/cases/reliability/checks.toml`; what came of each check last is kept
beside it. A result names the commit that ran (`+`: with changes not committed yet) and stays until the check is run again.

Every check runs on a real local Postgres and, where processes are named, on the local cloud's real processes. "Same state" is an
ordered export of a room's tables, compared row by row. A check has passed when all its tests have; what was skipped is counted
apart.
"""


class Check(NamedTuple):
    """One line of the list: what is done, what must come of it, and what shows that; ``command`` is a verb of the door."""

    number: int
    check: str
    mark: str
    tests: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    full_command: tuple[str, ...] = ()
    full_environment: tuple[tuple[str, str], ...] = ()


class Result(NamedTuple):
    """What came of a check: its tests or commands counted; ``size`` is small or full, ``commit`` abbreviated."""

    passed: int
    failed: int
    skipped: int
    seconds: float
    date: str
    commit: str
    size: str

    @property
    def verdict(self) -> str:
        """One word; a check of which nothing ran has not passed."""
        if self.failed:
            return "failed"
        return "passed" if self.passed else "skipped"


class Ran(NamedTuple):
    """One test with its parameters, or one command: passed, failed or skipped, in how many seconds."""

    outcome: str
    seconds: float


def run(argv: list[str]) -> int:
    """Run the checks and write what came of them; 1 when one failed, 2 when the words make no sense."""
    known = {one.number: one for one in load_list()}
    words = [word for word in argv if word != "--full"]
    if any(not word.isdecimal() or int(word) not in known for word in words):
        print(USAGE, file=sys.stderr)
        return 2
    chosen = [known[int(word)] for word in words] or list(known.values())
    size = "full" if "--full" in argv else "small"
    commit, date = commit_now(), datetime.now(UTC).date().isoformat()
    found = {number: summed(ran, date, commit, size) for number, ran in outcomes(chosen, size).items()}
    kept = load_results() | found
    write(kept)
    for number, result in sorted(found.items()):
        print(f"{number:>3}  {told(result)}")
    return int(any(result.verdict == "failed" for result in found.values()))


def load_list(path: Path = LIST) -> tuple[Check, ...]:
    """The list, in its order; ``TypeError`` for a field that no check has."""
    read = tomllib.loads(path.read_text("utf-8"))["checks"]
    return tuple(Check(**{name: _frozen(value) for name, value in one.items()}) for one in read)


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return tuple(sorted(value.items())) if isinstance(value, dict) else value


def load_results(path: Path = RESULTS) -> dict[int, Result]:
    """What each check came to last; empty while nothing ran."""
    if not path.exists():
        return {}
    return {int(number): Result(**result) for number, result in json.loads(path.read_text("utf-8")).items()}


def write(results: Mapping[int, Result]) -> None:
    """Keep the results, one line each, and write the page."""
    lines = [f'  "{number}": {json.dumps(results[number]._asdict())}' for number in sorted(results)]
    RESULTS.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    PAGE.write_text(page(load_list(), results), "utf-8")


def outcomes(chosen: Sequence[Check], size: str) -> dict[int, list[Ran]]:
    """Run everything that shows these checks; tests that want one environment run together, each test once."""
    environments = {one.number: one.full_environment if size == "full" else () for one in chosen}
    found: dict[int, list[Ran]] = {one.number: [] for one in chosen}
    for environment in dict.fromkeys(environments.values()):
        together = [one for one in chosen if environments[one.number] == environment]
        tests = list(dict.fromkeys(test for one in together for test in one.tests))
        ran = run_tests(tests, dict(environment) | ({"FILLBOOK_FULL": "1"} if size == "full" else {})) if tests else {}
        for one in together:
            for test in one.tests:  # one that pytest did not come to has not passed
                found[one.number] += ran.get(test) or [Ran("failed", 0.0)]
    for one in chosen:
        if command := (one.full_command if size == "full" else ()) or one.command:
            found[one.number].append(run_command(command))
    return found


def run_tests(tests: Sequence[str], environment: Mapping[str, str]) -> dict[str, list[Ran]]:
    """Run tests as ``test`` does; each with what became of it, once for each of its parameters."""
    kept = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        told_to = Path(folder) / "tests.xml"
        os.environ.update(environment)
        try:
            checks.pytest([*tests, "-q", "-rs", f"--junitxml={told_to}"])
        finally:
            os.environ.clear()
            os.environ.update(kept)
        return read_outcomes(told_to.read_text("utf-8"), tests) if told_to.exists() else {}


def read_outcomes(document: str, tests: Sequence[str]) -> dict[str, list[Ran]]:
    """What pytest's own report (JUnit's form) says of these tests."""
    names = {_reported(test): test for test in tests}
    found: dict[str, list[Ran]] = {}
    for case in ET.fromstring(document).iter("testcase"):  # noqa: S314 - the report of our own process
        name = names.get((str(case.get("classname")), str(case.get("name")).partition("[")[0]))
        if name is not None:
            kinds = {part.tag for part in case}
            outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
            found.setdefault(name, []).append(Ran(outcome, float(case.get("time") or 0)))
    return found


def _reported(test: str) -> tuple[str, str]:
    """How a report names a test: its module and class with dots, then its function."""
    path, *names = test.split("::")
    return ".".join([path.removesuffix(".py").replace("/", "."), *names[:-1]]), names[-1]


def run_command(command: Sequence[str]) -> Ran:
    """Run one verb of the door to its end; its output is its own."""
    began = time.monotonic()
    done = subprocess.run([sys.executable, str(ROOT / "infra" / "dev.py"), *command], cwd=ROOT, check=False)
    return Ran("failed" if done.returncode else "passed", time.monotonic() - began)


def summed(ran: Sequence[Ran], date: str, commit: str, size: str) -> Result:
    """The result of a check whose parts came to this."""
    count = {kind: sum(one.outcome == kind for one in ran) for kind in ("passed", "failed", "skipped")}
    return Result(**count, seconds=round(sum(one.seconds for one in ran), 1), date=date, commit=commit, size=size)


def commit_now() -> str:
    """The commit of the work tree, abbreviated; ``+`` behind it when something else than our own output differs from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    try:
        head = git("rev-parse", "--short=8", "HEAD").strip()
        changed = {line[3:] for line in git("status", "--porcelain").splitlines()}
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed - {str(path.relative_to(ROOT)) for path in GENERATED} else "")


def page(listed: Sequence[Check], results: Mapping[int, Result]) -> str:
    """The page: an overview, then each check with its pass mark, its command, its last result and its tests."""
    overview = ["| check | last result |", "|---|---|"]
    overview += [f"| {one.number} · {_cell(one.check)} | {told(results.get(one.number))} |" for one in listed]
    return "\n".join([INTRO, *overview, "", *(section(one, results.get(one.number)) for one in listed)])


def section(one: Check, result: Result | None) -> str:
    """One check of the page."""
    lines = [f"## {one.number} · {one.check}", "", f"Pass mark: {one.mark}.", ""]
    lines += [f"Shown by `python3 infra/dev.py reliability {one.number}`; last result: {told(result)}.", ""]
    if one.command:
        full = f", in full `python3 infra/dev.py {' '.join(one.full_command)}`" if one.full_command else ""
        lines += [f"It runs `python3 infra/dev.py {' '.join(one.command)}`{full}.", ""]
    lines += [f"- `{test}`" for test in one.tests]
    return "\n".join([*lines, ""] if one.tests else lines)


def told(result: Result | None) -> str:
    """A result in words."""
    if result is None:
        return "not run"
    verdict = "**failed**" if result.verdict == "failed" else result.verdict
    counts = [f"{result.passed} passed"]
    counts += [f"{count} {word}" for count, word in ((result.failed, "failed"), (result.skipped, "skipped")) if count]
    return f"{verdict}: {', '.join(counts)} in {result.seconds:g} s, {result.size}, {result.date}, `{result.commit}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
