"""``check`` and ``test``: what must hold before a change is kept, in one order for people and for CI.

The static tools run side by side and stay silent unless they object. Tests come last, so that the last line of the output
is pytest's own; the exit status is the worst of all parts. It refuses to skip a tool: one that cannot start is a failure,
except the audit of known vulnerabilities, which needs an index and says when it was skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
AUDIT_SECONDS = 10
WORKERS = "4"
FAST_WORKERS = "3"
"""Of the fast half, which waits for nothing: each more would only import everything once more."""

# the contract tests that look at files only: tidiness, manifest, documents, lock, bundles
HOUSE_TESTS = tuple(f"tests/contract/test_{name}.py" for name in ("tidy", "manifest", "generated", "lock", "documents"))
FAST_TESTS = ("tests/unit", "tests/property", *HOUSE_TESTS)
NOT_FAST = "not slow and not browser and not bundles"


class Tool(NamedTuple):
    """One static tool: how to start it."""

    name: str
    command: Sequence[str]


def static_tools() -> list[Tool]:
    """The static part of the house rules; the longest first, because they start in this order on two cores."""
    return [
        Tool("mypy --strict", [f"{BIN}/mypy", "shared/fillbook", "infra", "functions"]),
        Tool("import-linter", [f"{BIN}/lint-imports", "--no-logo"]),
        Tool("page", [sys.executable, "-m", "infra.door.page_checks"]),
        Tool("ruff check", [f"{BIN}/ruff", "check", "--quiet", "."]),
        Tool("ruff format", [f"{BIN}/ruff", "format", "--check", "--quiet", "."]),
    ]


def check(argv: list[str]) -> int:
    """The fast half, meant to run before every commit; takes no arguments."""
    if argv:
        print("check takes no arguments")
        return 2
    failed = run_static()
    tests = pytest([*FAST_TESTS, "-m", NOT_FAST, "--hypothesis-profile=quick", "-p", "no:schemathesis"], FAST_WORKERS)
    print("check: " + ("something above needs you" if failed or tests else "all good"))
    return 1 if failed else tests


def test(argv: list[str]) -> int:
    """Everything, as CI runs it; with arguments only what they name, handed to pytest, without the static part."""
    failed = False if argv else run_static()
    tests = pytest(argv or ["tests"])
    if failed:
        print("test: a static tool objected before the tests ran; its words stand above them", flush=True)
    return tests or int(failed)


def run_static() -> bool:
    """Run the static tools two at a time; print one line each and the words of those that object. True = some objected."""
    with ThreadPoolExecutor(int(WORKERS)) as pool:
        audit_result = pool.submit(audit)
        failed = [not passed for passed in pool.map(run_tool, static_tools())]
        print(audit_result.result(), flush=True)
    return any(failed)


def run_tool(tool: Tool) -> bool:
    """Run one tool to its end; its output is shown only when it fails."""
    began = time.monotonic()
    done = subprocess.run(tool.command, cwd=ROOT, capture_output=True, text=True, check=False)
    verdict = "ok" if done.returncode == 0 else "FAILED"
    print(f"{tool.name}: {verdict} ({time.monotonic() - began:.1f} s)", flush=True)
    if done.returncode != 0:
        print(done.stdout + done.stderr, flush=True)
    return done.returncode == 0


def pytest(arguments: Sequence[str], workers: str = WORKERS) -> int:
    """Run pytest on so many workers; a file's tests stay on one worker, so a module's servers start once. Returns its status."""
    is_alone = any(word.startswith(("-n", "--pdb", "-s")) for word in arguments)
    # files are taken in the order of tests/conftest.py: slow ones first
    parallel = [] if is_alone else ["-n", workers, "--dist", "loadfile", "--no-loadscope-reorder"]
    # byte code is kept even where the machine would rather not: else each worker, in each run, rewrites every test anew
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "pytest", *parallel, *arguments]
    sys.stdout.flush()
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def audit() -> str:
    """One line about known vulnerabilities of the locked packages; never a failure, because it needs an index that answers.

    A finding belongs to the person who reads it: it appears without any change of ours, so it must not break a build.
    """
    command = [f"{BIN}/pip-audit", "--requirement", "requirements.txt", "--require-hashes", "--disable-pip", "--format=json"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=AUDIT_SECONDS, check=False)
        packages = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return f"pip-audit: skipped: no answer from the index within {AUDIT_SECONDS} s"
    except (OSError, ValueError, KeyError):
        return "pip-audit: skipped: no index with vulnerability data could be reached"
    audited = [package for package in packages if "skip_reason" not in package]
    if not audited:
        return "pip-audit: skipped: the index in use holds no vulnerability data"
    found = [f"  {package['name']} {package['version']}: {bug['id']}" for package in audited for bug in package["vulns"]]
    return "\n".join([f"pip-audit: {len(found)} known vulnerabilities in {len(audited)} packages", *found])
