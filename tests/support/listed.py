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
    """Names of the test functions of a file, by its syntax; one of a class as ``TestClass::test_name``, imported classes too."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    named = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    for group in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        named |= {f"{group.name}::{node.name}": node for node in group.body if isinstance(node, ast.FunctionDef)}
    found = {name for name, node in named.items() if node.name.startswith("test_")}
    for node in (node for node in tree.body if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests.e2e.")):
        taken = {alias.name for alias in node.names}
        found |= {name for name in names_in(f"{str(node.module).replace('.', '/')}.py") if name.partition("::")[0] in taken}
    return frozenset(found)


def listed(document: Path) -> dict[str, list[Named]]:
    """Number -> its tests as (file, name)."""
    _, *parts = _HEADING.split(document.read_text("utf-8"))
    return {number: _TEST.findall(text) for number, text in zip(parts[::2], parts[1::2], strict=True)}


def missing(document: Path) -> list[Named | str]:
    """Lines of the list that name no test that exists."""
    found = [pair for tests in listed(document).values() for pair in tests]
    others = ["a line that is no test"] if document.read_text("utf-8").count("\n- ") != len(found) else []
    return [*others, *(pair for pair in found if not (ROOT / pair[0]).exists() or pair[1] not in names_in(pair[0]))]
