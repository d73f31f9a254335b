"""Law 11 for the row that comes by the thousand: read at once or field by field, it is the same deal or the same refusal."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fillbook.mt5 import reading
from fillbook.mt5.deal_rows import checked, deal_of
from fillbook.mt5.faults import ContractError
from fillbook.mt5.model import Deal
from fillbook.mt5.words import ID_MAX

USUAL: dict[str, Any] = {
    "ticket": "1", "order": "2", "position_id": "3", "type": 0, "entry": 1, "reason": 3, "symbol": "EURUSD", "volume": 0.1,
    "price": "1.10", "profit": -2, "commission": -0.35, "swap": 0.0, "fee": "0.00", "magic": 0, "comment": "",
    "external_id": None,
}  # fmt: skip
FIELDS = (*USUAL, "sl")
# whole numbers and amounts in every spelling, texts of every kind, and what is none of them
VALUES = st.one_of(
    st.sampled_from([None, True, False, "", " 1", "1 ", "+1", "-0", "01", "1.0", "1e3", "1_000", "٣", "NaN", "-1", "x\x00", "é"]),
    st.sampled_from([0, 1, -1, 2**15, ID_MAX, ID_MAX + 1, str(ID_MAX), str(ID_MAX + 1), "9" * 5_000, "x" * 1_025, "x" * 1_024]),
    st.sampled_from([[], {}]),
    st.integers(-(2**70), 2**70),
    st.integers(-(2**65), 2**65).map(str),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
)  # fmt: skip
ROWS = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3).flatmap(
    lambda other: st.sets(st.sampled_from(FIELDS), max_size=1).map(
        lambda gone: {name: value for name, value in {**USUAL, **other}.items() if name not in gone}
    )
)


def as_read(row: dict[str, Any]) -> dict[str, Any] | None:
    """The row as a document holds it."""
    try:
        read: dict[str, Any] = reading.parse(json.dumps({"row": row}).encode())["row"]
    except ContractError:
        return None
    return read


def read_by(read: Any, row: dict[str, Any]) -> Deal | str:
    try:
        deal: Deal = read(row, 7)
    except ContractError as error:
        return f"{error.where}: {error.fault.code}"
    return deal


@given(ROWS)
def test_a_row_read_at_once_is_the_row_read_field_by_field(row: dict[str, Any]) -> None:
    told = as_read(row)
    if told is not None:
        found, truth = read_by(deal_of, told), read_by(checked, told)
        assert found == truth
        assert repr(found) == repr(truth)  # numbers to the last digit, whole numbers no truths


def test_a_usual_row_is_a_deal() -> None:
    told = as_read(USUAL)
    assert told is not None
    assert deal_of(told, 7).deal_ticket == 1
