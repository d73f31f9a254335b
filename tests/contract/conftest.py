"""What a start of each function brings in, asked of a new interpreter once for all contract tests of the session."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.door import probe
from infra.local.home import ROOT
from tests.support.servers import made_once


@pytest.fixture(scope="session")
def started(common_folder: Path) -> Callable[[str], dict[str, Any]]:
    """``started(name)``: the answer of ``probe.ask`` for a function's folder in the work tree."""

    def ask(name: str) -> dict[str, Any]:
        def write(path: Path) -> None:
            path.write_text(json.dumps(probe.ask(ROOT / "functions" / name, name)), encoding="utf-8")

        told: dict[str, Any] = json.loads(made_once(common_folder, f"start-{name}.json", write).read_text(encoding="utf-8"))
        return told

    return ask
