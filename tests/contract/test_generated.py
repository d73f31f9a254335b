"""What is generated is what the manifest and the library say today; nobody edited it by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from infra.door import generated, sessions
from infra.manifest import load

ROOT = Path(__file__).resolve().parents[2]


def test_no_generated_file_has_drifted() -> None:
    wanted = generated.outputs(load())
    assert len(wanted) >= 3
    drifted = [path.name for path, text in wanted.items() if path.read_text("utf-8") != text]
    assert drifted == [], "run: python3 infra/dev.py table"


def test_the_readme_without_its_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="functions: begin"):
        generated.readme("# Fillbook\n", load())


def test_the_build_goes_from_check_to_deploy_in_order() -> None:
    document = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text("utf-8"))
    assert [step["id"] for step in document["steps"]] == ["check", "test", "bundle", "build", "migrate", "deploy"]
    assert document["substitutions"]["_FUNCTION"] in load().functions


def test_every_deploy_line_carries_the_functions_own_limits() -> None:
    text = (ROOT / "cloudbuild.yaml").read_text("utf-8")
    for entry in load().functions.values():
        line = next(line for line in text.splitlines() if line.strip().startswith(f"{entry.name})"))
        assert f"name={entry.cloud_name};" in line
        assert f"--timeout={entry.timeout_seconds} " in line
        assert f"--max-instances={entry.max_instances} " in line
        assert f"--service-account={entry.service_account}@" in line
        assert not set(entry.secrets) & set(re.findall(r"[;^](\w+)=", line)), "a secret travels as a secret, not as a setting"


def test_only_functions_with_their_own_credential_are_open_to_the_internet() -> None:
    text = (ROOT / "cloudbuild.yaml").read_text("utf-8")
    public = set(re.findall(r"^ *(\w+)\) name=.* --allow-unauthenticated", text, re.MULTILINE))
    assert public == {"signal_ingest", "replay_worker", "snapshot_api", "trade_tracker"}


def test_a_setting_in_a_deploy_line_needs_no_quoting() -> None:
    for entry in load().functions.values():
        assert all(re.fullmatch(r"[\w./:*,@-]*", value) for value in entry.env.values() if value is not None)


def test_the_session_table_is_what_the_library_says() -> None:
    known = (sessions.FOLDER / "XNYS.csv").read_text("utf-8")
    first, last = 2025, 2027  # three years show whether the form drifted; the whole table takes the library a second
    rows = [line for line in known.splitlines()[1:] if first <= int(line[:4]) <= last]
    assert sessions.table("XNYS", first, last).splitlines()[1:] == rows
