"""A statement, or a part of its ``with``, can be counted by its own text."""

from __future__ import annotations

import pytest

from fillbook.runtime.sql import counted, statement

_PARTS = "with page as (\n  select 1 where :since\n), lots as (\n  select 2 from page\n)\n"
ASKED = statement(f"{_PARTS}select :other from page", name="asked")


def test_a_part_is_counted_by_what_stands_before_its_end_and_asks_for_nothing_after_it() -> None:
    whole, page, lots = counted(ASKED), counted(ASKED, "page"), counted(ASKED, "lots")
    assert page.text == "with page as (\n  select 1 where :since\n) select count(*) as count from page"
    assert lots.text.endswith("select 2 from page\n) select count(*) as count from lots")
    assert (whole.parameters, page.parameters, lots.parameters) == (("since", "other"), ("since",), ("since",))
    assert page.name == "asked_counted"


def test_a_part_that_is_not_there_cannot_be_counted() -> None:
    with pytest.raises(ValueError, match="substring"):
        counted(ASKED, "nothing")
