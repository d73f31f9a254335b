"""Any text survives the way into the database and back; what cannot be stored is refused before it leaves."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fillbook.runtime.errors import Rejected
from fillbook.runtime.rows import converter, document
from fillbook.runtime.sql import call_text, encode, literal, parameter, statement

storable = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
nasty = st.lists(
    st.sampled_from(
        ["'", "''", "\\", "\\'", "$$", "--", "/*", ";", '"', "\n", "\r", "\u2028", "😀", "é", "\\u0000", ":a", "%s", "\x7f"]
    )
).map("".join)
texts = storable | nasty
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def parse_literal(quoted):
    """Read a literal as Postgres does with standard_conforming_strings on: nothing but the quote is special."""
    assert quoted[0] == quoted[-1] == "'"
    inner = quoted[1:-1]
    assert "'" not in inner.replace("''", "")
    return inner.replace("''", "'")


@given(texts)
def test_a_literal_reads_back_as_its_text_and_never_ends_early(text):
    assert parse_literal(literal(text)) == text


@given(values)
def test_a_document_is_json_that_reads_back_equal(value):
    text = encode(value)
    assert json.loads(text) == value
    assert document(text) == value


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_decimal_is_plain_text_of_the_same_value(number):
    (read,) = json.loads(encode([number]))
    assert Decimal(read) == number
    assert "E" not in read.upper()


@given(st.text(st.characters(categories=["Cs"]), min_size=1), texts, texts)
def test_lone_surrogates_are_refused_wherever_they_stand(surrogate, before, after):
    poison = f"{before}{surrogate}{after}"
    for value in (poison, [poison], {"k": {"deep": poison}}, {poison: 1}):
        with pytest.raises(Rejected, match="text_invalid"):
            encode(value)
    with pytest.raises(Rejected, match="text_invalid"):
        parameter(poison)


@given(texts, texts)
def test_nul_is_refused_and_its_written_form_is_not(before, after):
    with pytest.raises(Rejected, match="text_invalid"):
        encode({"k": f"{before}\x00{after}"})
    with pytest.raises(Rejected, match="text_invalid"):
        parameter(f"{before}\x00{after}")
    written = f"{before}\\u0000{after}"
    assert json.loads(encode(written)) == written


@given(st.lists(texts | st.none() | st.lists(texts, min_size=1, max_size=2), max_size=5))
def test_an_array_of_texts_reads_back_equal(items):
    written = parameter(items)
    assert written is not None
    assert converter(1009)(written) == items


@given(texts)
def test_a_call_holds_its_document_and_nothing_after_it(text):
    call = call_text("room.load", {"t": text})
    assert call.startswith("select room.load('")
    assert call.endswith("'::jsonb)")
    assert json.loads(parse_literal(call.removeprefix("select room.load(").removesuffix("::jsonb)"))) == {"t": text}


@given(
    st.lists(
        st.sampled_from(["':no'", '":no"', "$$:no$$", "$t$ :no $t$", "-- :no\n", "/* :no */", "a::text", "x[1:2]", "E'\\':no'"])
    )
)
def test_what_only_looks_like_a_parameter_is_none(pieces):
    text = "select " + ", ".join([*pieces, ":yes"])
    assert statement(text).parameters == ("yes",)
    assert statement(text).numbered == text.replace(":yes", "$1")
