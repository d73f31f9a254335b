"""A body becomes a receipt: hashes, ids, what is normalised, what a worker reads back."""

from __future__ import annotations

from decimal import Decimal
from uuid import NAMESPACE_URL, uuid5

import pytest

from fillbook.runtime.errors import Rejected
from fillbook.signal.decision_input import SCHEMA_VERSION, OtherVersion, decision_input, receipt_from_decision_input
from fillbook.signal.receipt import from_canonical, instant, milliseconds, normal_ticker, parse, published
from tests.support.receipts import Q_HASH, R_HASH, R_TS, body, encoded, text_of

NOW = instant(R_TS + 60_000)


@pytest.mark.parametrize(("name", "digest"), [("R", R_HASH), ("Q", Q_HASH)])
def test_the_examples_have_the_hashes_of_the_specification(name: str, digest: str) -> None:
    parsed = parse(text_of(name).encode(), now=NOW)
    assert parsed.receipt.payload_hash == digest
    namespace = uuid5(NAMESPACE_URL, "https://fillbook/ids/1")
    assert parsed.receipt.receipt_id == str(uuid5(namespace, f'["receipt","{parsed.receipt.ticker}",{R_TS},"{digest}"]'))
    assert parsed.bucket == R_TS


def test_a_worker_reads_back_what_the_door_accepted() -> None:
    parsed = parse(text_of("R").encode(), now=NOW)
    assert from_canonical(parsed.canonical) == parsed.receipt
    assert published(parsed.canonical, ("nan_null",)).repairs == ("nan_null",)


def test_the_spelling_of_a_body_does_not_change_its_receipt() -> None:
    """Order of keys, white space, zeros at the end of numbers, the token: none of it is content."""
    document = body("R")
    spelled = encoded(dict(reversed(document.items()))).replace(b"100.4,", b"1.00400e2 ,").replace(b"27.4", b"27.400")
    first, second = parse(encoded(document), now=NOW), parse(spelled, now=NOW)
    assert first.canonical == second.canonical
    assert first.receipt == second.receipt


def test_minus_zero_is_zero() -> None:
    plus, minus = (parse(encoded(body("R", htf_score=Decimal(zero))), now=NOW) for zero in ("0", "-0.0"))
    assert plus.canonical == minus.canonical


def test_unknown_fields_are_kept() -> None:
    parsed = parse(encoded(body("R", tomorrow={"a": [1, None, "é"]})), now=NOW)
    assert '"tomorrow":{"a":[1,null,"é"]}'.encode() in parsed.canonical


def test_the_ticker_is_normalised_for_the_desk_and_kept_as_sent() -> None:
    parsed = parse(encoded(body("R", ticker=" nyse:brk.b")), now=NOW)
    assert parsed.receipt.ticker == "BRK-B"
    assert b'"ticker":" nyse:brk.b"' in parsed.canonical
    assert from_canonical(parsed.canonical).ticker == "BRK-B"


@pytest.mark.parametrize("text", ["", ":", "A:B:C", "NYSE:", "-A", "A B", "É", "ß", "A" * 25, "A\nB", "A/B", "１"])
def test_what_is_no_ticker_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="ticker_invalid"):
        normal_ticker(text)


@pytest.mark.parametrize(
    ("after_open_ms", "known"), [(1, True), (86_400_000, True), (86_400_001, False), (0, False), (-60_000, False)]
)
def test_a_close_counts_within_a_day_after_the_open(after_open_ms: int, known: bool) -> None:
    receipt = parse(encoded(body("R", time_close=R_TS + after_open_ms)), now=NOW).receipt
    assert receipt.time_close == (R_TS + after_open_ms if known else None)


def test_the_alias_of_the_day_change_is_read() -> None:
    assert parse(text_of("R").encode(), now=NOW).day_change_percent == Decimal("1.41")
    renamed = body("R", day_change_pct=None, change_pct=Decimal("-2.5"))
    assert parse(encoded(renamed), now=NOW).day_change_percent == Decimal("-2.5")


def test_a_published_receipt_is_not_asked_about_its_age() -> None:
    old = parse(text_of("R").encode(), now=NOW)
    with pytest.raises(Rejected, match="ts_too_old"):
        parse(old.canonical, now=instant(R_TS + 8 * 86_400_000))
    assert from_canonical(old.canonical).ts == R_TS


@pytest.mark.parametrize("broken", [b"", b"[]", b"{}", b'{"ticker":"A","ts":1770131700000}', b"\xff", b'{"a":NaN}'])
def test_what_is_no_receipt_is_refused_by_the_worker_too(broken: bytes) -> None:
    with pytest.raises(Rejected):
        from_canonical(broken)


def test_instants_are_exact_to_the_millisecond() -> None:
    assert milliseconds(instant(1_770_131_700_123)) == 1_770_131_700_123
    assert instant(1_770_131_700_123).isoformat() == "2026-02-03T15:15:00.123000+00:00"


def test_the_decision_input_is_a_tenth_of_the_body() -> None:
    for name in ("R", "Q"):
        parsed = parse(text_of(name).encode(), now=NOW)
        assert len(decision_input(parsed.receipt)) < 480


def test_a_decision_input_of_another_version_is_refused_by_name() -> None:
    receipt = from_canonical(parse(text_of("R").encode(), now=NOW).canonical)
    row = decision_input(receipt)
    keys = {"receipt_id": receipt.receipt_id, "payload_hash": receipt.payload_hash, "ticker": receipt.ticker, "ts": receipt.ts}
    assert row.startswith(f"[{SCHEMA_VERSION},")
    assert receipt_from_decision_input(row, **keys) == receipt
    with pytest.raises(OtherVersion):
        receipt_from_decision_input(f"[{SCHEMA_VERSION + 1}," + row.partition(",")[2], **keys)
