"""Operator verbs find the running local desk, and leave a person's own settings alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from infra.door import operators

RUNNING = {"pid": os.getpid(), "operator_env": {"FILLBOOK_ENV": "local", "FILLBOOK_PROJECT": "fillbook-local"}}


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    """What was started, with rooms ``ledger`` and ``notify`` having verbs and a local desk running."""
    for room in ("ledger", "notify"):
        (tmp_path / "rooms" / room).mkdir(parents=True)
        (tmp_path / "rooms" / room / "__main__.py").touch()
    (tmp_path / "run.json").write_text(json.dumps(RUNNING))
    monkeypatch.setattr(operators, "ROOMS", tmp_path / "rooms")
    monkeypatch.setenv("FILLBOOK_HOME", str(tmp_path))
    calls: list[tuple[list[str], dict[str, str]]] = []

    def record(command: list[str], *, env: dict[str, str], check: bool) -> SimpleNamespace:
        calls.append((command, env))
        return SimpleNamespace(returncode=20)

    monkeypatch.setattr(operators.subprocess, "run", record)
    return calls


def test_a_verb_is_handed_to_its_room_and_its_status_comes_back(started: list[tuple[list[str], dict[str, str]]]) -> None:
    assert operators.run(["ledger", "audit", "--json"]) == 20
    command, environ = started[0]
    assert command[1:] == ["-m", "fillbook.ledger", "audit", "--json"]
    assert environ["FILLBOOK_PROJECT"] == "fillbook-local"


def test_a_persons_own_settings_win(started: list[tuple[list[str], dict[str, str]]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILLBOOK_ENV", "cloud")
    operators.run(["ledger", "audit"])
    assert started[0][1]["FILLBOOK_ENV"] == "cloud"


def test_without_a_room_the_rooms_are_listed(
    started: list[tuple[list[str], dict[str, str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert operators.run([]) == 0
    assert operators.run(["weather", "report"]) == 2
    assert "ledger, notify" in capsys.readouterr().out
    assert started == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"pid": 999999999, "operator_env": {"A": "1"}}'])
def test_a_desk_that_does_not_run_lends_no_settings(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)
    assert operators.local_settings(tmp_path / "run.json") == {}
    assert operators.local_settings(tmp_path / "none.json") == {}
