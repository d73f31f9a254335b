"""What may be said about a trade: bounds, clearing, and which version was seen."""

from __future__ import annotations

from typing import Any

import pytest

from fillbook.runtime.errors import Rejected
from fillbook.tracker.remarks import OF_POSITION, OF_TRADE, Remark, changes, version_seen


def test_what_is_named_changes_null_clears_and_the_rest_stays() -> None:
    before = Remark(notes="n", tags=("a",), strategy="s", is_hidden=True)
    assert before.with_changes(changes({"notes": None, "tags": None, "strategy": None, "is_hidden": None}, OF_TRADE)) == Remark()
    assert before.with_changes(changes({"tags": ["b", "a", "b "]}, OF_TRADE)) == Remark(
        notes="n", tags=("b", "a"), strategy="s", is_hidden=True
    )
    assert before.with_changes(changes({"notes": " \n\t"}, OF_TRADE)).notes is None
    assert before.with_changes(changes({"strategy": ""}, OF_TRADE)).strategy is None
    assert changes({"notes": " kept as written \n"}, OF_POSITION) == {"notes": " kept as written \n"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"), ({"is_hidden": True}, "unknown"), ({"notes": []}, "notes"), ({"tags": {}}, "tags"), ({"tags": [1]}, "tags"),
        ({"tags": ["\u202e"]}, "tags"), ({"tags": ["a"] * 21}, "tags"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(body: dict[str, Any], field: str) -> None:
    with pytest.raises(Rejected) as refused:
        changes(body, OF_POSITION)
    assert (refused.value.reason, refused.value.field, refused.value.status) == ("body_invalid", field, 400)


@pytest.mark.parametrize(("header", "version"), [("1", 1), ('"12"', 12), ('W/"3"', 3), (" 7 ", 7), ("2147483647", 2147483647)])
def test_a_version_is_read_as_it_is_shown_or_quoted(header: str, version: int) -> None:
    assert version_seen(header) == version


@pytest.mark.parametrize("header", ["", "*", "0", "-1", "1.0", "2147483648", "1, 2", "x" * 100, "\u0661"])
def test_a_header_that_is_no_version_is_refused(header: str) -> None:
    with pytest.raises(Rejected) as refused:
        version_seen(header)
    assert (refused.value.status, refused.value.field) == (400, "If-Match")


def test_a_change_without_the_version_seen_is_refused() -> None:
    with pytest.raises(Rejected) as refused:
        version_seen(None)
    assert refused.value.status == 428
