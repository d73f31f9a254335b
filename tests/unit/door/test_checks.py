"""The order of the checks: static tools report themselves, pytest has the last line, the worst status counts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from infra.door import checks

Answer = Callable[..., SimpleNamespace]


def answering(stdout: str = "", returncode: int = 0, error: Exception | None = None) -> Answer:
    """A stand-in for ``subprocess.run``."""

    def run(*_: Any, **__: Any) -> SimpleNamespace:
        if error is not None:
            raise error
        return SimpleNamespace(stdout=stdout, stderr="", returncode=returncode)

    return run


def test_the_audit_counts_what_it_could_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    packages = [
        {"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1"}]},
        {"name": "b", "version": "2", "vulns": []},
        {"name": "c", "skip_reason": "not found"},
    ]
    monkeypatch.setattr(checks.subprocess, "run", answering(json.dumps({"dependencies": packages}), 1))
    assert checks.audit() == "pip-audit: 1 known vulnerabilities in 2 packages\n  a 1: PYSEC-1"


@pytest.mark.parametrize(
    "answer",
    [
        answering(error=subprocess.TimeoutExpired("pip-audit", 10)),
        answering(error=OSError("no such program")),
        answering("not json", 1),
        answering("{}", 1),
        answering('{"dependencies": [{"name": "c", "skip_reason": "not found"}]}'),
    ],
)
def test_an_audit_without_an_index_says_that_it_was_skipped(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.subprocess, "run", answer)
    assert checks.audit().startswith("pip-audit: skipped: ")


def test_a_tool_speaks_only_when_it_objects(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(checks.subprocess, "run", answering("a thousand words"))
    assert checks.run_tool(checks.Tool("quiet", ["quiet"]))
    monkeypatch.setattr(checks.subprocess, "run", answering("line 7 is wrong", 1))
    assert not checks.run_tool(checks.Tool("loud", ["loud"]))
    out = capsys.readouterr().out
    assert "quiet: ok" in out
    assert "thousand" not in out
    assert "loud: FAILED" in out
    assert "line 7 is wrong" in out


@pytest.mark.parametrize(
    ("static_failed", "tests", "status"), [(False, 0, 0), (True, 0, 1), (False, 1, 1), (True, 2, 2), (False, 5, 5)]
)
def test_the_worst_part_decides(static_failed: bool, tests: int, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "run_static", lambda: static_failed)
    monkeypatch.setattr(checks, "pytest", lambda *_: tests)
    assert checks.test([]) == status
    assert checks.check([]) in {status, 1}
    assert bool(checks.check([])) is bool(status)


def test_named_tests_run_without_the_static_part(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(checks, "run_static", lambda: pytest.fail("not asked for"))
    monkeypatch.setattr(checks, "pytest", lambda arguments: seen.append(list(arguments)) or 0)
    assert checks.test(["tests/unit/money", "-q"]) == 0
    assert seen == [["tests/unit/money", "-q"]]


def test_check_takes_no_arguments() -> None:
    assert checks.check(["--fast"]) == 2
