"""Law 11, its second half: whatever else an answer becomes, it is an error or the same value, never another one.

An answer in any documented shape is changed in one place, in a way that nobody documented. What may be left out is known by name
(``OPTIONAL``): left out, it reads as unknown. All else must be refused, or be the value that it was.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any, Final

from hypothesis import assume, given
from hypothesis import strategies as st

from fillbook.mt5.faults import CallFailed
from fillbook.mt5.model import StepFailure
from tests.support.examples import share
from tests.support.mt5_answers import ANSWERS, COUNTED, LISTED, Answer
from tests.support.mt5_shapes import at_path, paths, wire

OPTIONAL: Final = frozenset(
    {"comment", "external_id", "magic", "reason", "leverage", "currency", "currency_digits", "margin_mode"}
)
"""Unknown where a service does not say it; in v1 the last three are required."""
FREE: Final = frozenset({"comment", "external_id", "currency", "symbol"})
"""Any text is a value of these."""
AMOUNTS: Final = frozenset(
    "volume price price_open price_current open_price current_price close_price sl tp swap profit commission fee balance equity"
    " margin margin_free free_margin margin_level credit".split()
)
NUMBERS: Final = AMOUNTS | frozenset(
    "ticket order position_id identifier login time_msc server_time_msc entry type reason magic total total_positions"
    " positions_count total_deals total_trades leverage currency_digits margin_mode".split()
)
SPELLINGS: Final[Mapping[str | None, Sequence[tuple[str, str]]]] = {
    None: (("free_margin", "margin_free"),),
    "positions": (("open_price", "price_open"), ("current_price", "price_current"), ("total_positions", "positions_count")),
    "deals": (("total", "total_deals"),),
    "trades": (("total_trades", "total"),),
}
"""By the list that a document holds."""
NO_VALUE: Final = (
    True,
    False,
    [],
    {},
    [1],
    {"value": 1},
    "?",
    "2026-05-06T14:30:00",
    "yesterday",
    Decimal("0.5"),
    -(2**70),
    2**70,
)
NO_NUMBER: Final = (
    "",
    " 1",
    "1 ",
    "+1",
    "01",
    "1_0",
    "1,5",
    "0x10",
    "\u0661",
    "NaN",
    "Infinity",
    "1e4000",
    "--1",
    "1.",
    ".5",
    "one",
)

NO_ANSWERS: Final = (b"", b"null", b"{}", b"[]", b"<html></html>", b"\xff\xfe{}", b"{" * 30, b'{"positions": null}')
few = share(4)  # eleven ways to break what one law says


def outcome(answer: Answer, body: bytes) -> Any:
    """What the bytes are read as; None where they are refused, or say that they are not all."""
    try:
        found = answer.read(body)
    except CallFailed:
        return None
    return None if isinstance(found, StepFailure) else found


def same(found: Any, truth: Any, *, unsaid: str | None = None) -> bool:
    """Whether it is the same value; ``unsaid``: a field that may be unknown instead. What nobody documented is not compared."""
    if isinstance(truth, tuple):
        return isinstance(found, tuple) and len(found) == len(truth) and all(map(_same_as(unsaid), found, truth))
    return _same_as(unsaid)(found, truth)


def _same_as(unsaid: str | None) -> Any:
    def check(found: Any, truth: Any) -> bool:
        names = {field.name for field in fields(truth)}
        if "extra" in names:
            found, truth = replace(found, extra={}), replace(truth, extra={})
        if unsaid in names and getattr(found, unsaid) is None:
            truth = replace(truth, **{unsaid: None})
        return bool(found == truth)

    return check


def check(answer: Answer, body: bytes, name: str | None = None) -> None:
    """The law: refused, or the same value. ``name``: a field that was left out."""
    found = outcome(answer, body)
    assert found is None or same(found, answer.truth, unsaid=name if name in OPTIONAL else None)


def check_refused(answer: Answer, document: Any) -> None:
    assert outcome(answer, wire(document)) is None


def changed(answer: Answer) -> dict[str, Any]:
    made: dict[str, Any] = copy.deepcopy(dict(answer.document))
    return made


def fields_of(answer: Answer, data: st.DataObject) -> tuple[dict[str, Any], Any, str]:
    """A copy, and one named field of it: its holder and its name."""
    document = changed(answer)
    named = [path for path in paths(document) if isinstance(path[-1], str)]
    path = data.draw(st.sampled_from(named))
    return document, at_path(document, path[:-1]), str(path[-1])


@few
@given(ANSWERS, st.data())
def test_law_11_a_field_left_out_or_null_is_unknown_where_it_may_be_and_refused_elsewhere(
    answer: Answer, data: st.DataObject
) -> None:
    document, holder, name = fields_of(answer, data)
    if data.draw(st.booleans()):
        del holder[name]
    else:
        holder[name] = None
    check(answer, wire(document), name)


@few
@given(ANSWERS, st.data())
def test_law_11_a_field_under_a_name_that_nobody_documented_is_not_read(answer: Answer, data: st.DataObject) -> None:
    document, holder, name = fields_of(answer, data)
    other = data.draw(st.sampled_from([name.upper(), name + "s", "_" + name, name.replace("_", ""), name + " ", name[:-1]]))
    assume(other not in holder)
    holder[other] = holder.pop(name)
    check(answer, wire(document), name)


@few
@given(ANSWERS, st.data(), st.sampled_from(NO_VALUE))
def test_law_11_a_value_of_another_kind_is_refused(answer: Answer, data: st.DataObject, value: Any) -> None:
    document, holder, name = fields_of(answer, data)
    is_text = isinstance(value, str) and name in FREE
    is_amount = type(value) in (Decimal, int) and name in AMOUNTS
    assume(not is_text and not is_amount and not (value == [] and holder[name] == []))
    assume(not (value == [] and name in (answer.rows, "rows") and not answer.counters))  # nothing there: a truth of its own
    holder[name] = value
    check(answer, wire(document))


@few
@given(ANSWERS, st.data(), st.sampled_from(NO_NUMBER))
def test_law_11_what_is_not_written_as_a_number_is_none(answer: Answer, data: st.DataObject, text: str) -> None:
    document, holder, name = fields_of(answer, data)
    assume(name in NUMBERS)
    holder[name] = text
    check(answer, wire(document))


@few
@given(ANSWERS, st.data(), st.sampled_from(["NaN", "Infinity", "-Infinity", "01", "1.", "+1", "'1'", "1e9999", "undefined"]))
def test_law_11_what_json_cannot_say_is_no_answer(answer: Answer, data: st.DataObject, text: str) -> None:
    document, holder, name = fields_of(answer, data)
    holder[name] = "\x02"
    body = wire(document).replace(b'"\\u0002"', text.encode())
    assert outcome(answer, body) is None


@few
@given(ANSWERS, st.data())
def test_law_11_a_key_that_comes_twice_is_refused_whichever_was_meant(answer: Answer, data: st.DataObject) -> None:
    document, holder, name = fields_of(answer, data)
    told = json.loads(wire(holder[name]), parse_float=Decimal)
    holder[name] = "\x02"
    first, second = wire(told), wire(data.draw(st.sampled_from([told, 0, None, "x"])))
    pair = first + b', "' + name.encode() + b'": ' + second
    assert outcome(answer, wire(document).replace(b'"\\u0002"', pair)) is None


@few
@given(ANSWERS, st.data())
def test_law_11_two_spellings_that_differ_are_refused(answer: Answer, data: st.DataObject) -> None:
    assume(answer.name.startswith("v0"))
    document = changed(answer)
    found = [
        (holder, one, other)
        for holder in [document, *(at_path(document, path) for path in paths(document))]
        if isinstance(holder, dict)
        for pair in SPELLINGS[answer.rows]
        for one, other in (pair, pair[::-1])
        if one in holder and other not in holder
    ]
    assume(found)
    holder, one, other = data.draw(st.sampled_from(found))
    holder[other] = holder[one] + 1
    check_refused(answer, document)


@few
@given(COUNTED, st.data())
def test_law_11_a_list_that_its_counter_does_not_count_is_refused(answer: Answer, data: st.DataObject) -> None:
    document = changed(answer)
    assert answer.rows is not None
    kind = data.draw(st.sampled_from(["more", "less", "without", "empty", "null", "object"]))
    listed = document[answer.rows]
    counter = data.draw(st.sampled_from(answer.counters))
    match kind:
        case "more":
            document[counter] += data.draw(st.integers(1, 5))
        case "less":
            assume(listed)
            document[counter] -= 1
        case "without":
            assume(listed)
            listed.pop(data.draw(st.integers(0, len(listed) - 1)))
        case "empty":
            assume(listed)
            document[answer.rows] = []
        case "null":
            document[answer.rows] = None
        case "object":
            document[answer.rows] = {"rows": listed}
    check_refused(answer, document)


@few
@given(LISTED, st.data())
def test_law_11_the_same_row_twice_is_one_row_and_two_of_one_key_are_refused(answer: Answer, data: st.DataObject) -> None:
    document = changed(answer)
    listed = document["positions"]["rows"] if answer.name == "v1 positions" else document.get(answer.rows or "")
    assert listed
    row = copy.deepcopy(data.draw(st.sampled_from(listed)))
    listed.append(row)
    check(answer, wire(document))
    row["profit"] = Decimal("0.12") if Decimal(str(row["profit"])) != Decimal("0.12") else Decimal("0.13")
    check_refused(answer, document)


@few
@given(ANSWERS, st.sampled_from(["success", "complete", "root", "list", "contract", "pages"]))
def test_law_11_an_answer_that_does_not_say_that_it_is_whole_is_refused(answer: Answer, kind: str) -> None:
    document: Any = changed(answer)
    is_v1 = answer.name.startswith("v1")
    match kind:
        case "success":
            assume(not is_v1)
            document["success"] = False
        case "complete":
            assume(is_v1)
            part = {"v1 info": "info", "v1 positions": "positions"}.get(answer.name)
            (document if part is None else document[part])["complete"] = False
        case "root":
            document = {"result": document}
        case "list":
            document = [document]
        case "contract":
            assume(is_v1)
            document["contract"] = "mt5/2"
        case "pages":
            assume("pagination" in document)
            document["pagination"]["has_more"] = True
    check_refused(answer, document)


@few
@given(ANSWERS, st.sampled_from(NO_ANSWERS))
def test_law_11_what_is_no_answer_at_all_is_refused(answer: Answer, body: bytes) -> None:
    assert outcome(answer, body) is None
