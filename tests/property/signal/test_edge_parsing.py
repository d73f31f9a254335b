"""Laws of the door: one content one text, nothing but refusals, and a decision input that says what the body says."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fillbook.runtime.errors import Rejected
from fillbook.signal import document
from fillbook.signal.canonical import canonical
from fillbook.signal.decision_input import decision_input, receipt_from_decision_input
from fillbook.signal.model import FLAG_NAMES, STATES, ZONES
from fillbook.signal.payload import canonical_bytes
from fillbook.signal.receipt import ParsedReceipt, from_canonical, instant, parse
from tests.support.receipts import R_TS, body, encoded, text_of

NOW = instant(R_TS + 60_000)
R = text_of("R").encode()

TEXTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), max_size=12)
NUMBERS = st.decimals(min_value=-(10**9), max_value=10**9, allow_nan=False, places=6).map(lambda number: number / 10)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(TEXTS.filter(lambda name: name != "token"), VALUES, max_size=6).filter(
    lambda value: _depth(value) <= 8
)


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def outcome_of(sent: bytes) -> ParsedReceipt | Rejected:
    try:
        return parse(sent, now=NOW)
    except Rejected as refusal:
        return refusal


@given(DOCUMENTS, TEXTS)
def test_the_walk_with_limits_writes_the_canonical_form(fields: dict[str, Any], token: str) -> None:
    text = canonical_bytes(fields)
    assert text.decode() == canonical(fields)
    assert canonical_bytes({**fields, "token": token}) == text


@given(DOCUMENTS)
def test_a_canonical_text_is_its_own_canonical_form(fields: dict[str, Any]) -> None:
    text = canonical_bytes(fields)
    assert canonical_bytes(document.read(text.decode(), ()).fields) == text
    assert canonical_bytes(document.read(encoded(fields).decode(), ()).fields) == text


@given(st.binary(max_size=200) | TEXTS.map(str.encode))
def test_whatever_arrives_is_parsed_or_refused(junk: bytes) -> None:
    assert isinstance(outcome_of(junk), ParsedReceipt | Rejected)


@given(st.data())
def test_a_receipt_with_a_stretch_replaced_is_parsed_or_refused(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(R)))
    length = data.draw(st.integers(0, 12))
    junk = data.draw(
        st.sampled_from([b"", b",", b"[", b"]", b"{", b'"', b"NaN", b"\\", b"1e999", b"\\u0000", b"\xff", b"-", b":"])
    )
    spoiled = R[:start] + junk + R[start + length :]
    accepted = outcome_of(spoiled)
    if isinstance(accepted, Rejected):
        return
    assert parse(accepted.canonical, now=NOW).receipt == accepted.receipt
    assert document.token_in_text(spoiled) is None


@given(VALUES, st.sampled_from(sorted(body("R"))))
def test_any_value_in_any_field_is_accepted_or_refused_with_that_fields_name(value: Any, name: str) -> None:
    accepted = outcome_of(encoded({**body("R"), name: value}))
    if isinstance(accepted, Rejected):
        assert accepted.field is None or accepted.field.partition(".")[0] == name
        return
    assert from_canonical(accepted.canonical) == accepted.receipt


@given(DOCUMENTS)
def test_repairs_touch_nothing_inside_strings(fields: dict[str, Any]) -> None:
    spoiled = encoded({**fields, "list": [1, "a,,b NaN,]", 2]}).replace(b"[1,", b"[,1,,NaN,")
    read = document.read(spoiled.decode())
    assert read.fields["list"] == [1, None, "a,,b NaN,]", 2]
    assert read.repairs == ("nan_null", "array_comma")


MAYBE_PRICE = st.none() | st.decimals(min_value="0.01", max_value=9_999, places=2)
LEVELS = st.lists(
    st.fixed_dictionaries(
        {"price": MAYBE_PRICE, "label": st.none() | TEXTS, "type": st.sampled_from(["ATR_FIB", "GAP", None])},
        optional={"multiplier": st.none() | NUMBERS, "timeframe": st.sampled_from(["W", "D", "240"]), "confidence": MAYBE_PRICE},
    ),
    max_size=5,
)
FIELDS = {
    "time_close": st.none() | st.integers(R_TS - 5, R_TS + 90_000_000),
    "script_version": st.none() | TEXTS,
    "sector": st.none() | TEXTS,
    "htf_score": st.none() | st.decimals(-50, 50, places=2),
    "ltf_score": st.none() | st.decimals(-50, 50, places=2),
    "state": st.none() | st.sampled_from(STATES),
    "completion": st.none() | st.decimals(0, 1, places=4),
    "phase_pct": st.none() | st.decimals(0, 1, places=4),
    "phase_zone": st.none() | st.sampled_from(ZONES),
    "trigger_ts": st.none() | st.integers(0, R_TS),
    "trigger_price": MAYBE_PRICE,
    "trigger_reason": st.none() | TEXTS,
    "trigger_dir": st.sampled_from([None, "", "BULL", "BEAR"]),
    "triggers": st.none() | st.lists(st.sampled_from(["A_BULL", "B_LONG", "C_BEAR", "D_SHORT", "E", ""]), max_size=5),
    "sl": MAYBE_PRICE,
    "tp": MAYBE_PRICE,
    "tp_levels": st.none() | LEVELS,
    "flags": st.none() | st.dictionaries(st.sampled_from(FLAG_NAMES), st.none() | st.booleans()),
    "daily_ema_cloud": st.none() | st.fixed_dictionaries({"upper": st.none() | NUMBERS, "position": st.none() | TEXTS}),
    "ichimoku_d": st.none() | st.fixed_dictionaries({"position": st.sampled_from(["above", "below", None])}),
    "tf_tech": st.none()
    | st.dictionaries(
        st.sampled_from(["W", "D", "4H", "1H", "30", "10"]), st.fixed_dictionaries({"ema": st.just({"stack": Decimal(-2)})})
    ),
    "rsi": st.none() | st.just({"divergence": {"type": "bullish"}}),
    "td_sequential": st.none() | st.fixed_dictionaries({"boost": st.none() | NUMBERS}),
}


@given(st.fixed_dictionaries(FIELDS), st.decimals(min_value="0.0001", max_value=9_999_999, places=4))
def test_the_decision_input_says_what_a_fresh_decode_of_the_body_says(fields: dict[str, Any], price: Decimal) -> None:
    canonical_body = parse(encoded({**body("R"), **fields, "price": price}), now=NOW).canonical
    fresh = from_canonical(canonical_body)
    row = receipt_from_decision_input(
        decision_input(fresh), receipt_id=fresh.receipt_id, payload_hash=fresh.payload_hash, ticker=fresh.ticker, ts=fresh.ts
    )
    assert row == fresh
    # Equal numbers may still be written differently; a rule that looks at decimals must not see a difference.
    assert [str(value) for value in row if not isinstance(value, frozenset)] == [
        str(value) for value in fresh if not isinstance(value, frozenset)
    ]


@given(st.text(max_size=30))
def test_json_that_python_reads_is_read_the_same(text: str) -> None:
    try:
        expected = json.loads(text)
    except (ValueError, RecursionError):
        return
    if isinstance(expected, dict):
        assert document.read(text, ()).fields.keys() == expected.keys()
