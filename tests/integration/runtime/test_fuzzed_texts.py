"""Against the real server: any storable text comes back as it went, by every road, and desynchronises nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fillbook.runtime.db import Call
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import statement

anything = st.text() | st.lists(st.sampled_from(["'", "\\", "\x00", "\ud83d", "😀", "$$", ";", "''"])).map("".join)
BOTH = statement("select :one::text as one, (:two::text[])[1] as two")


@pytest.fixture
def open_room(through, proxy):
    through.call(Call("room.echo", {}))
    return through, proxy


@settings(max_examples=100)
@given(texts=st.lists(anything, min_size=1, max_size=3))
def test_any_text_survives_or_is_refused(open_room, texts):
    room, proxy = open_room
    storable = all("\x00" not in text and not any(0xD800 <= ord(char) < 0xE000 for char in text) for text in texts)
    with room.transaction() as tx:
        if storable:
            assert tx.call(Call("room.echo", texts)) == (texts,)
            assert tx.query(BOTH, one=texts[0], two=texts) == [{"one": texts[0], "two": texts[0]}]
        else:
            with pytest.raises(Rejected):
                tx.call(Call("room.echo", texts))
        assert tx.call(Call("room.echo", ["next"])) == (["next"],)
    assert proxy.connections == 1


@settings(max_examples=30)
@given(rows=st.lists(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])), max_size=5))
def test_copied_lines_keep_their_text(open_room, rows):
    from fillbook.runtime.sql import copy_line

    room, _ = open_room
    with room.transaction() as tx:
        tx.execute(statement("create temp table t (n int, note text) on commit drop"))
        tx.copy_in("copy t from stdin", (copy_line((n, note)) for n, note in enumerate(rows)))
        found = tx.query(statement("select note from t order by n"))
    assert [row["note"] for row in found] == rows
