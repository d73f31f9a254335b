"""A bundle is what is deployed: the same bytes each time, nothing more than needed, and it stands on its own."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import Any

import pytest

from infra.door import bundles, probe
from infra.door.bundles import Bundle
from infra.door.lock import LOCK, normal, parse

ROOT = Path(__file__).resolve().parents[2]
NAMES = bundles.names(ROOT)
OURS = frozenset({*sys.stdlib_module_names, bundles.PACKAGE, "infra", "main"})


@pytest.fixture(scope="module", params=NAMES)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundles.build(request.param, target=tmp_path_factory.mktemp("build") / request.param)


@pytest.fixture(scope="module")
def alone(bundle: Bundle) -> dict[str, Any]:
    """What a start of the bundle brings in where the work tree's own package is hidden."""
    return probe.ask(bundle.path, bundle.name, alone=True)


def test_there_is_a_bundle_for_every_function() -> None:
    assert sorted(path.name for path in (ROOT / "functions").iterdir() if path.is_dir()) == NAMES


def test_the_same_sources_give_the_same_bytes(bundle: Bundle, tmp_path: Path) -> None:
    again = bundles.build(bundle.name, target=tmp_path / "again")
    assert again.digest == bundle.digest
    assert [path.relative_to(tmp_path / "again") for path in bundles.files(again.path)] == [
        path.relative_to(bundle.path) for path in bundles.files(bundle.path)
    ]
    assert {path.stat().st_mtime for path in bundles.files(again.path)} == {bundles.EPOCH}


def test_byte_code_does_not_change_the_digest(bundle: Bundle) -> None:
    bundles.compile_bytecode(bundle.path)
    assert list(bundle.path.rglob("*.pyc"))
    assert bundles.digest(bundle.path) == bundle.digest


def test_a_bundle_stands_on_its_own(bundle: Bundle, alone: dict[str, Any]) -> None:
    assert alone["entry_point"]
    assert alone["package_files"]
    assert [path for path in alone["package_files"] if not path.startswith(str(bundle.path))] == []


def test_its_requirements_cover_what_its_shell_imports(bundle: Bundle, alone: dict[str, Any]) -> None:
    held = set(parse((bundle.path / LOCK).read_text("utf-8")))
    owners = packages_distributions()
    tops = {name.partition(".")[0] for name in alone["modules"]}
    foreign = {name for name in tops if name in owners and name not in sys.stdlib_module_names and name != "fillbook"}
    # editable installs and the interpreter's own start-up hooks are no requirement of a function
    assert {name for name in foreign if not {normal(owner) for owner in owners[name]} & held} <= {"_distutils_hack"}


def test_its_requirements_cover_what_any_of_its_lines_may_import_later(bundle: Bundle) -> None:
    held = frozenset(parse((bundle.path / LOCK).read_text("utf-8")))
    carried = {path for name in held for path in modules_of(name)}
    texts = [path.read_text("utf-8") for path in bundle.path.rglob("*.py")]
    assert {name for text in texts for name in imported(text) if not is_carried(name, carried)} == set()


def imported(text: str) -> Iterator[str]:
    """The modules that are neither ours nor the language's in a source's import statements, at whatever depth they stand."""
    yield from (name for name, is_sure in bundles.named(text) if is_sure and name.partition(".")[0] not in OURS)


@cache
def modules_of(package: str) -> frozenset[str]:
    """The files of an installed package; none when the lock pins it for other platforms alone."""
    try:
        return frozenset(str(path) for path in distribution(package).files or ())
    except PackageNotFoundError:
        return frozenset()


def is_carried(name: str, carried: set[str]) -> bool:
    """Whether one of these files is the module."""
    path = name.replace(".", "/")
    return bool({f"{path}.py", f"{path}/__init__.py"} & carried)


def test_its_requirements_are_pinned_lines_of_the_lock(bundle: Bundle) -> None:
    text = (bundle.path / LOCK).read_text("utf-8")
    assert set(text.splitlines()) <= set((ROOT / LOCK).read_text("utf-8").splitlines())
    assert len(re.findall(r"^[\w.-]+==", text, re.MULTILINE)) < 70


def test_a_function_without_database_carries_no_driver(bundle: Bundle) -> None:
    if bundle.name == "signal_ingest":
        assert not {"pg8000", "cloud-sql-python-connector"} & set(parse((bundle.path / LOCK).read_text("utf-8")))
        assert "fillbook.runtime.db" not in bundle.modules


def test_a_bundle_holds_no_operator_verbs_and_no_tests(bundle: Bundle) -> None:
    names = {path.name for path in bundles.files(bundle.path)}
    assert "__main__.py" not in names
    assert not any(name.startswith("test_") for name in names)


def test_an_import_of_something_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import fillbook.nowhere\n")
    with pytest.raises(FileNotFoundError, match=r"fillbook\.nowhere"):
        bundles.reached(tmp_path / "main.py", ROOT / "shared")


def test_an_import_inside_a_function_is_followed_and_a_name_is_not_taken_for_a_module(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("def f():\n    from fillbook.calendar import calendar\n    from fillbook import money\n")
    assert set(bundles.reached(tmp_path / "main.py", ROOT / "shared")) == {
        "fillbook",
        "fillbook.calendar",
        "fillbook.money",
        "fillbook.values",
    }
