"""The list of reliability checks names tests that exist, and every test that calls itself a check is on it."""

from __future__ import annotations

import re

from tests.support.listed import ROOT, listed, missing, names_in

LIST = ROOT / "infra" / "docs" / "reliability.md"
CHECKS = {*range(1, 18), 20, *range(22, 28), *range(29, 34)}
CALLED = re.compile(r"^test_check_(\d+)_")


def test_every_check_has_its_tests() -> None:
    assert {int(number) for number, tests in listed(LIST).items() if tests} >= CHECKS


def test_every_line_of_the_list_is_a_test_that_exists() -> None:
    assert missing(LIST) == []


def test_every_test_that_calls_itself_a_check_is_on_the_list() -> None:
    files = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "tests").rglob("test_*.py"))]
    called = {(int(found[1]), name) for path in files for name in names_in(path) if (found := CALLED.match(name))}
    known = {(int(number), name) for number, tests in listed(LIST).items() for _, name in tests}
    assert called - known == set()
