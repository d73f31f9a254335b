"""A cursor says where a page ended and what was known, and belongs to one question."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fillbook.runtime.errors import Rejected
from fillbook.tracker import listing, paging

AT = datetime(2026, 2, 3, 15, 1, 2, 345678, tzinfo=UTC)
PLACE = paging.Place(at=AT, id=UUID(int=7), book_id="live")
QUESTION = {"list": "trades", "ticker": "ZZTA"}
INSTANTS = st.datetimes(timezones=st.just(UTC))


def code(text: str, question: dict[str, str] = QUESTION) -> tuple[str, int, str | None]:
    """How a cursor is refused."""
    with pytest.raises(Rejected) as refused:
        paging.read(text, question, "cursor")
    return refused.value.reason, refused.value.status, refused.value.field


def made(*told: Any) -> str:
    """A cursor that nobody gave out."""
    return base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("=")


@given(st.builds(paging.Place, at=INSTANTS, id=st.uuids(), book_id=st.text(max_size=40)), st.none() | INSTANTS)
def test_a_cursor_is_read_as_it_was_written(place: paging.Place, known_as_of: datetime | None) -> None:
    text = paging.written(place, QUESTION, known_as_of)
    if "\x00" in place.book_id or not _is_storable(place.book_id):
        assert code(text)[0] == "text_invalid"
    else:
        assert paging.read(text, QUESTION, "cursor") == paging.Cursor(place=place, known_as_of=known_as_of)


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def test_a_cursor_of_another_list_filter_book_or_clock_is_refused() -> None:
    text = paging.written(PLACE, QUESTION, AT)
    for other in ({"list": "actions"}, {"ticker": "ZZTB"}, {"books": "ibkr:U1"}, {"known_as_of": "1770131700000"}):
        assert code(text, QUESTION | other) == ("cursor_mismatch", 400, "cursor")


def test_a_cursor_of_an_older_version_is_gone() -> None:
    assert code(made(1, AT.isoformat(), str(PLACE.id), "0123456789abcdef")) == ("cursor_expired", 410, "cursor")


_AT, _ID = AT.isoformat(), str(PLACE.id)
_MADE = [
    (), ("2",), (2, "x"), (0,), (3, _AT, _ID, "", "", None), (2, "2026-02-03T15:00:00", _ID, "", "", None),
    (2, _AT, "7", "", "", None), (2, _AT, _ID, None, "", None), (2, _AT, _ID, "", "", "yesterday"),
]  # fmt: skip
NO_CURSORS = ["", "nothing", "!" * 20, "x" * 2_000, *(made(*told) for told in _MADE)]


@pytest.mark.parametrize("text", NO_CURSORS)
def test_a_text_that_is_no_cursor_is_refused_by_name(text: str) -> None:
    assert code(text) == ("parameter_invalid", 400, "cursor")


def test_limit_and_cursor_are_no_part_of_the_question() -> None:
    first = listing.read({"ticker": "ZZTA", "limit": "2"}, "trades", 200, 1_000)
    text = first.cursor(PLACE, AT)
    second = listing.read({"ticker": "ZZTA", "limit": "500", "cursor": text}, "trades", 200, 1_000)
    assert (second.place, second.after) == (PLACE, paging.Cursor(place=PLACE, known_as_of=AT))
    assert (first.place, first.limit, second.limit, first.books) == (None, 2, 500, ("live",))


@pytest.mark.parametrize(
    ("one", "name"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"books": ""}, "books"),
        ({"books": "live,,x"}, "books"),
        ({"books": ",".join("abcdefghijk")}, "books"),
        ({"since": "2026-02-03", "until": "2026-02-03"}, "until"),
        ({"since": "yesterday"}, "since"),
        ({"as_of": "2026-02-03"}, "as_of"),
        ({"known_as_of": "2026-02-03T15:00:00"}, "known_as_of"),
        ({"cursor": "x"}, "cursor"),
    ],
)
def test_a_common_parameter_that_is_wrong_is_named(one: dict[str, str], name: str) -> None:
    with pytest.raises(Rejected) as refused:
        listing.read(one, "trades", 200, 1_000)
    assert (refused.value.reason, refused.value.field) == ("parameter_invalid", name)


def test_a_date_is_its_midnight_in_new_york_and_a_range_is_half_open() -> None:
    asked = listing.read({"since": "2026-02-03", "until": "1770181200000"}, "trades", 200, 1_000)
    assert asked.since == datetime(2026, 2, 3, 5, tzinfo=UTC)
    assert asked.until == asked.since + timedelta(days=1)
    assert not asked.is_past
