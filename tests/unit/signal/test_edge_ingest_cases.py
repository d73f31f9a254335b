"""Scenarios 3 to 7 of the specification: every recorded body gets its answer, and only accepted ones go on."""

from __future__ import annotations

from typing import Any

import pytest

from fillbook.signal.receipt import instant
from tests.support.doors import TOKEN, Entrance
from tests.support.receipts import ingest_cases

CASES = ingest_cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['scenario']}: {case['name']}")
def test_a_body_is_answered_as_the_specification_says(case: dict[str, Any]) -> None:
    entrance = Entrance(instant(case["now_ms"]))
    reply = entrance.post(case["body"].encode(), content_type=case["content_type"], content_encoding=case.get("content_encoding"))
    assert reply.status == case["status"], reply.document
    assert reply.document.get("reason") == case.get("reason")
    assert reply.document.get("field") == case.get("field")
    if case["status"] != 202:
        assert entrance.messages.signals == []
        [kept] = entrance.messages.quarantined
        assert (kept.attributes["reason"], kept.attributes["field"]) == (case["reason"], case.get("field", ""))
        assert kept.data == case["body"].encode()[:65_536]
        return
    assert reply.document["ok"] is True
    assert reply.document["repairs"] == case.get("repairs", [])
    assert len(entrance.messages.signals) == case.get("published", True)
    assert entrance.messages.quarantined == []
    if "ticker" in case:
        assert reply.document["ticker"] == entrance.messages.signals[0].ordering_key == case["ticker"]


def test_every_slug_of_the_specification_is_met() -> None:
    slugs = set(
        "json_invalid json_duplicate_key json_limits text_invalid content_type encoding number_invalid ticker_missing ts_missing "
        "price_missing ticker_invalid ts_not_milliseconds ts_too_old ts_future type range enum".split()
    )
    assert {case["reason"] for case in CASES if "reason" in case} == slugs


def test_stray_commas_and_the_token_change_nothing_about_the_receipt() -> None:
    """Scenario 4: the repaired body is the receipt of the clean one."""
    by_name = {case["name"]: case for case in CASES}
    entrance = Entrance(instant(by_name["plain text"]["now_ms"]))
    clean, repaired, with_token = (
        entrance.post(text.encode()).document["receiptId"]
        for text in (
            by_name["plain text"]["body"],
            by_name["stray commas in a list"]["body"],
            by_name["plain text"]["body"].replace("{", '{"token":"' + TOKEN + '",', 1),
        )
    )
    assert clean == repaired == with_token


def test_repairs_may_be_switched_off() -> None:
    from fillbook.signal.receipt import Limits

    case = next(case for case in CASES if case["name"] == "NaN in an optional number")
    entrance = Entrance(instant(case["now_ms"]), limits=Limits(repairs=()))
    assert entrance.post(case["body"].encode()).document == {"ok": False, "reason": "json_invalid"}
