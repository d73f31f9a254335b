"""Patterns of a key's books in the database find what they find in the process."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from fillbook.runtime.deskkeys import DeskKey
from fillbook.tracker.scope import expressions

TEXTS = st.text(alphabet="liv:*?[]!-^.+\\$()|{}ae1 \n", max_size=8)
BOOKS = st.sampled_from(["live", "replay:1", "ibkr:U1", "mt5:", "mt5:Alpha-Demo:1", "a.b", "ibkr:U1\n"])


def key(*books: str) -> DeskKey:
    return DeskKey(id="k", sha256="0" * 64, scopes=frozenset({"read"}), tenant_id="desk", books=books, expires_at=None)


def test_what_keys_say_is_found_the_same() -> None:
    for pattern in ("live", "ibkr:*", "mt5:Alpha-*:?", "*", "replay:[!1]", "ibkr:U[12]", "a.b", "a+b"):
        for book in ("live", "ibkr:U1", "ibkr:U3", "mt5:", "mt5:Alpha-Demo:1", "replay:1", "replay:2", "a.b", "axb", "aab"):
            (expression,) = expressions([pattern])
            assert (re.search(expression, book) is not None) == key(pattern).sees(book), (pattern, book)


@given(
    pattern=st.text(alphabet="liveabk:*?.+$()|{}-^1", max_size=8),
    book=st.one_of(BOOKS, TEXTS).filter(lambda text: "\n" not in text),
)
def test_any_pattern_without_brackets_is_found_the_same(pattern: str, book: str) -> None:
    (expression,) = expressions([pattern])
    assert (re.search(expression, book) is not None) == key(pattern).sees(book)
