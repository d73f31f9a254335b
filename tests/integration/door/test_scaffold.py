"""A new function and a new room pass the house rules as they are written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.door import bundles, probe, scaffold, tidy
from infra.manifest import Manifest, parse

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
CHECKED = ".mypy_cache"


def copied(folder: Path) -> Path:
    """The work tree as a newcomer would have it, in a repository of its own."""
    for source in tidy.sources(ROOT):
        if source.path.startswith(("infra/", "shared/", "functions/", ".", "README", "requirements")):
            target = folder / source.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / source.path, target)
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy to write to."""
    return copied(tmp_path)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that every test leaves as it is."""
    return copied(tmp_path_factory.mktemp("untouched"))


def manifest(root: Path) -> Manifest:
    return parse((root / "infra" / "functions.yaml").read_text("utf-8"))


def tool(root: Path, *command: str) -> str:
    """Run a static tool over the copy and return its words when it objects."""
    done = subprocess.run(
        [f"{BIN}/{command[0]}", *command[1:]],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": f"{root}/shared"},
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def complaints(root: Path, written: list[Path]) -> list[str]:
    """What the tidy rules say about the files that were written."""
    names = {str(path.relative_to(root)) for path in written}
    return [finding for source in tidy.sources(root) if source.path in names for rule in tidy.RULES for finding in rule(source)]


@pytest.mark.slow
def test_a_new_function_passes_the_checks_and_bundles(copy: Path) -> None:
    written = scaffold.new_function("night_owl", copy)
    assert complaints(copy, written) == []
    assert tool(copy, "ruff", "check", "functions/night_owl") == ""
    assert tool(copy, "ruff", "format", "--check", "functions/night_owl") == ""
    if (ROOT / CHECKED).is_dir():  # what the last check found out about modules whose content is the same here
        shutil.copytree(ROOT / CHECKED, copy / CHECKED)
    assert tool(copy, "mypy", "functions/night_owl") == ""
    entry = manifest(copy).functions["night_owl"]
    answer = probe.ask(copy / "functions" / "night_owl", "night_owl")
    assert answer["entry_point"]
    assert set(answer["settings"]) == entry.settings
    assert manifest(copy).callers("night_owl") == ("cloud-scheduler",)
    assert "| `night_owl` |" in (copy / "README.md").read_text("utf-8")
    bundle = bundles.build("night_owl", root=copy)
    assert probe.ask(bundle.path, "night_owl", alone=True)["entry_point"]


@pytest.mark.slow
def test_a_new_room_passes_the_checks_and_has_its_layer(copy: Path) -> None:
    written = scaffold.new_room("weather", copy)
    assert complaints(copy, written) == []
    assert tool(copy, "ruff", "check", "shared/fillbook/weather", "tests/unit/weather") == ""
    assert tool(copy, "ruff", "format", "--check", "shared/fillbook/weather", "tests/unit/weather") == ""
    assert tool(copy, "lint-imports", "--no-logo", "--no-cache", "--contract", "rooms") == ""
    assert tool(copy, "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/weather") == ""


@pytest.mark.parametrize("name", ["Night", "2nd", "a-b", "a__b", "x" * 25, "", "../x", "signal_ingest"])
def test_a_name_that_is_taken_or_unfit_is_refused_and_nothing_is_written(untouched: Path, name: str) -> None:
    before = (untouched / "infra" / "functions.yaml").read_bytes()
    (untouched / "functions" / "signal_ingest").mkdir(parents=True, exist_ok=True)
    with pytest.raises(ValueError, match=r"no name|taken"):
        scaffold.new_function(name, untouched)
    assert (untouched / "infra" / "functions.yaml").read_bytes() == before


@pytest.mark.parametrize("name", ["ledger", "money", "Weather"])
def test_a_room_that_exists_is_not_overwritten(untouched: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"no name|taken"):
        scaffold.new_room(name, untouched)
