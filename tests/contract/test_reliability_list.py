"""All thirty-four reliability checks are listed, each with tests or a verb that exist, and the page says what the list says."""

from __future__ import annotations

import re

import pytest

from infra.dev import VERBS
from infra.door import reliability
from infra.door.reliability import Check
from tests.support.listed import ROOT, missing, names_in

LISTED = reliability.load_list()
CALLED = re.compile(r"^test_check_(\d+)_")


def test_the_list_has_the_thirty_four_checks_of_the_specification_in_order() -> None:
    assert [one.number for one in LISTED] == list(range(1, 35))
    assert len({one.check for one in LISTED}) == 34


@pytest.mark.parametrize("one", LISTED, ids=lambda one: str(one.number))
def test_a_check_has_a_pass_mark_and_something_that_shows_it(one: Check) -> None:
    assert one.check
    assert one.mark
    assert one.tests or one.command
    assert len(set(one.tests)) == len(one.tests)
    files = [test.partition("::")[::2] for test in one.tests]
    assert [path for path, _ in files if not (ROOT / path).exists()] == []
    assert [name for path, name in files if name not in names_in(path)] == []
    assert {command[0] for command in (one.command, one.full_command) if command} <= set(VERBS)


def test_every_test_that_calls_itself_a_check_is_on_the_list() -> None:
    paths = [path for path in (ROOT / "tests").rglob("test_*.py") if b"\ndef test_check_" in path.read_bytes()]
    files = [str(path.relative_to(ROOT)) for path in paths]
    called = {(int(found[1]), f"{path}::{name}") for path in files for name in names_in(path) if (found := CALLED.match(name))}
    assert called - {(one.number, test) for one in LISTED for test in one.tests} == set()


def test_the_page_is_what_the_list_and_the_kept_results_say() -> None:
    results = reliability.load_results()
    assert results.keys() <= {one.number for one in LISTED}
    assert reliability.PAGE.read_text("utf-8") == reliability.page(LISTED, results), "run: python3 infra/dev.py table"
    assert missing(reliability.PAGE) == []
