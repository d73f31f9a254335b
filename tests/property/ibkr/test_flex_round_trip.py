"""Whatever a sound statement says comes out again: every text, every row, whatever characters and order."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from fillbook.ibkr.model import Sighting
from fillbook.runtime.errors import Rejected
from tests.support.ibkr import ALLOWED, exec_id, flex_raw
from tests.support.ibkr_flex import statement, write

# what XML can carry in an attribute without turning it into a blank
_TEXTS = st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cn", "Cc")), max_size=30)
_NUMBERS = st.decimals(min_value="0.00000001", max_value="9999999", places=8, allow_nan=False)


@st.composite
def _rows(draw: st.DrawFn) -> list[dict[str, str]]:
    rows = []
    for number in range(draw(st.integers(0, 6))):
        sign = draw(st.sampled_from(["", "-"]))
        texts = {"description": draw(_TEXTS), "orderReference": draw(_TEXTS), "transactionID": str(1 + number)}
        account = draw(st.sampled_from(["U1234567", "U7654321", "U1234567F"]))
        quantity, price = draw(_NUMBERS), draw(_NUMBERS)
        rows.append(flex_raw(exec_id(number), f"{sign}{quantity:f}", f"{price:f}", accountId=account, **texts))
    return draw(st.permutations(rows))


@given(_rows())
def test_a_statement_survives_the_round_trip(rows: list[dict[str, str]]) -> None:
    with TemporaryDirectory() as folder:
        document = write(Path(folder) / "statement.xml", statement(rows))
        document.check()
        chunks = list(document.chunks(ALLOWED))
    refused = [one for chunk in chunks for one in chunk.refusals]
    read = {row.ib_exec_id: row for chunk in chunks for row in chunk.rows if isinstance(row, Sighting)}
    assert len(read) + len(refused) == len(rows)
    for raw in rows:
        row = read.get(raw["ibExecID"])
        if row is None:  # a value that no ledger column holds is kept apart, never a sound one
            assert any(raw["ibExecID"] in one.raw and one.reason == "bad_number" for one in refused)
            continue
        assert dict(row.raw) == raw
        assert (f"{row.facts.signed_quantity:f}", f"{row.facts.price:f}") == (raw["quantity"], raw["tradePrice"])


@given(st.binary(max_size=400), st.integers(0, 2000))
def test_whatever_bytes_come_the_parser_refuses_or_reads(noise: bytes, at: int) -> None:
    sound = statement([flex_raw(exec_id(1))])
    with TemporaryDirectory() as folder:
        document = write(Path(folder) / "statement.xml", sound[:at] + noise + sound[at:])
        try:
            document.check()
        except Rejected:
            return
        assert sum(chunk.fetched_count for chunk in document.chunks(ALLOWED)) <= 2
