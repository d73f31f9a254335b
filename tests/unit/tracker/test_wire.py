"""An instant and a decimal are written the same whether they were made values on the way or stayed the server's texts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fillbook.money import plain
from fillbook.runtime.sql import encode
from fillbook.tracker.trades import reason_text
from fillbook.tracker.wire import as_written, instants, pair, percent, share, written

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANTS = st.integers(-(10**15), 7 * 10**15).map(lambda microseconds: EPOCH + timedelta(microseconds=microseconds))
AMOUNTS = st.one_of(st.none(), st.decimals(-10_000, 10_000, places=2))


class Word(StrEnum):
    """A word of a closed list."""

    OPEN = "open"


LETTERS = st.characters(exclude_characters="\x00", exclude_categories=["Cs"])
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.text(LETTERS), st.uuids(), st.dates(), st.sampled_from(Word)
)  # fmt: skip
NAMES = st.sampled_from(["a", "b", "é", '"', "\\"])
DOCUMENTS = st.recursive(
    LEAVES,
    lambda of: st.one_of(
        st.lists(of, max_size=3), st.lists(of, max_size=3).map(tuple), st.dictionaries(NAMES, of, max_size=3)
    ),
    max_leaves=12,
)  # fmt: skip


@given(document=DOCUMENTS)
def test_an_answer_is_written_as_a_document_that_is_stored(document: object) -> None:
    assert written(document) == encode(document).encode()


@pytest.mark.parametrize("value", [object(), "\ud800"])
def test_what_nobody_declared_is_not_written(value: object) -> None:
    with pytest.raises(ValueError, match="serializ"):
        written({"value": [value]})


@given(at=INSTANTS)
def test_an_instant_of_the_server_is_the_pair_that_its_value_is(at: datetime) -> None:
    assert pair(as_written(at)) == tuple(instants("", at).values())


@given(one=INSTANTS, other=INSTANTS)
def test_instants_as_the_server_writes_them_are_ordered_as_they_follow_each_other(one: datetime, other: datetime) -> None:
    near = one.replace(microsecond=other.microsecond)
    for left, right in ((one, other), (one, near), (one, one)):
        assert (as_written(left) >= as_written(right)) == (left >= right)
        assert datetime.fromisoformat(as_written(left)) == left


@given(part=AMOUNTS, whole=AMOUNTS)
def test_a_share_of_texts_is_that_of_their_numbers(part: Decimal | None, whole: Decimal | None) -> None:
    texts = [None if one is None else plain(one) for one in (part, whole)]
    assert share(*texts) == percent(part, whole)


def test_what_is_not_known_stays_unknown() -> None:
    assert pair(None) == (None, None)
    assert reason_text(None) is None
