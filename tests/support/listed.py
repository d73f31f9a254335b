"""Documents that list tests by what they show: ``## NUMBER · words``, then a line ``- `file::test` `` for each."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
_HEADING: Final = re.compile(r"^## ([\w ]+) · ", re.MULTILINE)
_TEST: Final = re.compile(r"^- `(tests/[\w/]+\.py)::((?:Test\w+::)?test_\w+)`$", re.MULTILINE)
Named = tuple[str, str]


@cache
def names_in(path: str) -> frozenset[str]:
    """Names of the test functions that a file has or imports, by its syntax; one of a class as ``TestClass::test_name``."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    names |= {alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    methods = {
        f"{group.name}::{node.name}": node.name
        for group in tree.body
        if isinstance(group, ast.ClassDef)
        for node in group.body
        if isinstance(node, ast.FunctionDef)
    }
    named = {name: name for name in names} | methods
    return frozenset(shown for shown, name in named.items() if name.startswith("test_"))


def listed(document: Path) -> dict[str, list[Named]]:
    """Number -> its tests as (file, name)."""
    _, *parts = _HEADING.split(document.read_text("utf-8"))
    return {number: _TEST.findall(text) for number, text in zip(parts[::2], parts[1::2], strict=True)}


def missing(document: Path) -> list[Named | str]:
    """Lines of the list that name no test that exists."""
    found = [pair for tests in listed(document).values() for pair in tests]
    others = ["a line that is no test"] if document.read_text("utf-8").count("\n- ") != len(found) else []
    return [*others, *(pair for pair in found if not (ROOT / pair[0]).exists() or pair[1] not in names_in(pair[0]))]
