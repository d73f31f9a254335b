"""The list of reliability checks names tests that exist, and every test that calls itself a check is on it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = ROOT / "infra" / "docs" / "reliability.md"
CHECKS = {*range(1, 18), *range(25, 28), *range(29, 32), 33}
HEADING = re.compile(r"^## (\d+) · ", re.MULTILINE)
TEST = re.compile(r"^- `(tests/[\w/]+\.py)::(test_\w+)`$", re.MULTILINE)
CALLED = re.compile(r"^test_check_(\d+)_")


@cache
def names_in(path: str) -> frozenset[str]:
    """Names of the test functions of a file, by its syntax."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))


def listed() -> dict[int, list[tuple[str, str]]]:
    """Check -> its tests as (file, name)."""
    _, *parts = HEADING.split(LIST.read_text("utf-8"))
    return {int(number): TEST.findall(text) for number, text in zip(parts[::2], parts[1::2], strict=True)}


def test_every_check_has_its_tests() -> None:
    assert {number for number, tests in listed().items() if tests} >= CHECKS


def test_every_line_of_the_list_is_a_test_that_exists() -> None:
    text = LIST.read_text("utf-8")
    found = [pair for tests in listed().values() for pair in tests]
    assert text.count("\n- ") == len(found), "a line that is no test"
    assert [pair for pair in found if not (ROOT / pair[0]).exists() or pair[1] not in names_in(pair[0])] == []


def test_every_test_that_calls_itself_a_check_is_on_the_list() -> None:
    files = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "tests").rglob("test_*.py"))]
    called = {(int(found[1]), name) for path in files for name in names_in(path) if (found := CALLED.match(name))}
    known = {(number, name) for number, tests in listed().items() for _, name in tests}
    assert called - known == set()
