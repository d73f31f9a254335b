"""The table of the room's laws is whole, and each test that it names is there and is tried with generated examples."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAWS = 18
FOLDERS = ("tests/property/mt5", "tests/integration/mt5")
ROW = re.compile(r"^\| (\d+) [^|]+\|([^|]*)\|([^|]*)\|$", re.MULTILINE)
NAMED = re.compile(r"`(test_\w+\.py)` `(\w+)`")
ROWS = ROW.findall((ROOT / "infra/docs/mt5-laws.md").read_text("utf-8"))


def named_in(file: str, part: str) -> list[ast.FunctionDef]:
    """The tests of a file whose name begins with what the table says."""
    (path,) = [ROOT / folder / file for folder in FOLDERS if (ROOT / folder / file).exists()]
    found = ast.parse(path.read_text("utf-8")).body
    return [one for one in found if isinstance(one, ast.FunctionDef) and one.name.startswith(f"test_{part}_")]


def is_generated(test: ast.FunctionDef) -> bool:
    """Whether its examples are generated."""
    return any(ast.unparse(each).startswith(("given(", "worlds")) for each in test.decorator_list)


def test_every_law_has_its_row() -> None:
    assert [int(number) for number, *_ in ROWS] == list(range(1, LAWS + 1))


@pytest.mark.parametrize(("number", "pure", "rows"), ROWS, ids=[f"law {number}" for number, *_ in ROWS])
def test_a_law_is_tried_by_the_tests_that_its_row_names(number: str, pure: str, rows: str) -> None:
    named = {one: named_in(*one) for one in NAMED.findall(pure + rows)}
    assert named
    assert all(named.values())
    assert any(is_generated(test) for tests in named.values() for test in tests)
    assert any(re.search(rf"_{number}(_|$)", part) for _, part in named)
