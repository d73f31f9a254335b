"""What is generated is what the manifest and the library say today; nobody edited it by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.door import builds, generated, sessions
from infra.manifest import load

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def outputs() -> dict[Path, str]:
    return generated.outputs(load())


def test_no_generated_file_has_drifted(outputs: dict[Path, str]) -> None:
    drifted = [str(path) for path, text in outputs.items() if path.read_text("utf-8") != text]
    assert drifted == [], "run: python3 infra/dev.py table"


def test_flags_of_a_function_that_is_gone_are_gone(outputs: dict[Path, str]) -> None:
    assert set((ROOT / builds.DEPLOY).iterdir()) == {path for path in outputs if path.parent == ROOT / builds.DEPLOY}


def test_the_readme_without_its_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="functions: begin"):
        generated.readme("# Fillbook\n", load())


def test_the_session_table_is_what_the_library_says() -> None:
    known = (sessions.FOLDER / "XNYS.csv").read_text("utf-8")
    first, last = 2025, 2027  # three years show whether the form drifted; the whole table takes the library a second
    rows = [line for line in known.splitlines()[1:] if first <= int(line[:4]) <= last]
    assert sessions.table("XNYS", first, last).splitlines()[1:] == rows
