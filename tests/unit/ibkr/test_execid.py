"""Execution ids: a table of shapes seen and shapes made up; parsing never raises, and the parts rebuild the text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fillbook.ibkr.execid import ingest_key, parse, venue_order
from fillbook.ibkr.words import IdKind

# text, base, revision, settled key, combo key (None: not correctable)
IDS = [
    ("0000e0d5.6543c1f2.01.02", "0000e0d5.6543c1f2.01", 2, "0000e0d5.6543c1f2.01", "0000e0d5.6543c1f2"),
    ("0000e0d5.6543c1f2.01.01", "0000e0d5.6543c1f2.01", 1, "0000e0d5.6543c1f2.01", "0000e0d5.6543c1f2"),
    ("0000e0d5.6543c1f2.01.10", "0000e0d5.6543c1f2.01", 10, "0000e0d5.6543c1f2.01", "0000e0d5.6543c1f2"),
    ("0000e0d5.6543c1f2.01.00", "0000e0d5.6543c1f2.01", 0, "0000e0d5.6543c1f2.01", "0000e0d5.6543c1f2"),
    ("0000e0d5.6543c1f2.01.999", "0000e0d5.6543c1f2.01", 999, "0000e0d5.6543c1f2.01", "0000e0d5.6543c1f2"),
    ("0000d323.69500070.02.01", "0000d323.69500070.02", 1, "0000d323.69500070.02", "0000d323.69500070"),
    ("CUSTHSFX.012f041f.01.01", "CUSTHSFX.012f041f.01", 1, "CUSTHSFX.012f041f.01", "CUSTHSFX.012f041f"),
    ("FXSMLCUS.00055001.01.01", "FXSMLCUS.00055001.01", 1, "FXSMLCUS.00055001.01", "FXSMLCUS.00055001"),
    ("00ec.1.a.3", "00ec.1.a", 3, "00ec.1.a", "00ec.1"),
    ("0000e183.69700040.03.01.02", "0000e183.69700040.03#02", 1, "0000e183.69700040.03", "0000e183.69700040"),
    ("0000e183.69700040.03.01.01", "0000e183.69700040.03#01", 1, "0000e183.69700040.03", "0000e183.69700040"),
    ("0000e183.69700040.03.02.01", "0000e183.69700040.03#01", 2, "0000e183.69700040.03", "0000e183.69700040"),
    ("0000e183.69700040.03.01.120", "0000e183.69700040.03#120", 1, "0000e183.69700040.03", "0000e183.69700040"),
    ("0000e183.69700040.03.xx.01", None, 0, None, None),
    ("0000e183.69700040.03.01.xx", None, 0, None, None),
    ("0000e0d5.6543c1f2.01.x1", None, 0, None, None),
    ("0000e0d5.6543c1f2.01", None, 0, None, None),
    ("0000e0d5.6543c1f2", None, 0, None, None),
    ("0000e0d5", None, 0, None, None),
    ("a.b.c.1.2.3", None, 0, None, None),
    ("a..c.1", None, 0, None, None),
    (".b.c.1", None, 0, None, None),
    ("a.b.c.", None, 0, None, None),
    ("a.b c.d.1", None, 0, None, None),
    ("a.b.c.-1", None, 0, None, None),
    ("a.b.c.+1", None, 0, None, None),
    ("a.b.c.1e2", None, 0, None, None),
    ("a.b.c.١", None, 0, None, None),
    ("a.b.c.12345678901234567890", None, 0, None, None),
    ("tx:35000000034", None, 0, None, None),
    ("trade:1908991474", None, 0, None, None),
    ("tx:1.2.3.4", None, 0, None, None),
    ("", None, 0, None, None),
    ("....", None, 0, None, None),
    ("\x00", None, 0, None, None),
    ("N/A", None, 0, None, None),
]


@pytest.mark.parametrize(("text", "base", "revision", "settled", "combo"), IDS)
def test_an_id_says_what_its_shape_says(text, base, revision, settled, combo):
    identity = parse(text)
    assert identity.exec_id_base == (text if base is None else base)
    assert identity.exec_revision == revision
    assert identity.settled_key == (text if settled is None else settled)
    assert identity.combo_key == combo
    assert identity.is_correctable is (base is not None)
    assert identity.has_fifth_part is ("#" in identity.exec_id_base)


PART = st.text("0123456789abcdefX", min_size=1, max_size=8)
DIGITS = st.text("0123456789", min_size=1, max_size=4)


@given(st.lists(PART, min_size=3, max_size=3), DIGITS, st.none() | DIGITS)
def test_base_revision_and_fifth_part_rebuild_the_text(parts, revision, fifth):
    text = ".".join([*parts, revision] + ([] if fifth is None else [fifth]))
    identity = parse(text)
    family, _, inner = identity.exec_id_base.partition("#")
    rebuilt = f"{family}.{identity.exec_revision:0{len(revision)}d}" + (f".{inner}" if identity.has_fifth_part else "")
    assert rebuilt == text


@given(st.text(max_size=60))
def test_parsing_never_raises(text):
    identity = parse(text)
    assert identity.ib_exec_id == text
    assert identity.exec_revision >= 0


def test_a_row_is_keyed_by_the_first_identity_that_is_usable():
    assert ingest_key("0000e0d5.6543c1f2.01.01", 5, 6) == ("0000e0d5.6543c1f2.01.01", IdKind.BROKER)
    for blank in ("", "N/A", "--", "  "):
        assert ingest_key(blank, 5, 6) == ("tx:5", IdKind.TRANSACTION)
        assert ingest_key(blank, None, 6) == ("trade:6", IdKind.TRADE)
        assert ingest_key(blank, None, None) is None


def test_fills_of_one_instant_sort_by_their_own_ids_as_numbers():
    assert venue_order("tx:9") < venue_order("tx:10") < venue_order("tx:35000000034")
    assert venue_order("0000e0d5.6543c1f2.01") == "0000e0d5.6543c1f2.01"
    assert venue_order("tx:x") == "tx:x"
