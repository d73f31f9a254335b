"""The door: what a fill becomes before it is journal, and what never becomes one."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from fillbook.ledger import service
from fillbook.ledger.intake import check_adjustment, check_fill, check_mark
from fillbook.ledger.model import Mark, Side
from fillbook.runtime.errors import Rejected
from tests.support.ledger import DAY, make_book, make_fill, make_split

LIVE = make_book()


def test_a_fill_of_base_currency_gets_its_rates_and_its_fee_currency() -> None:
    fill = check_fill(make_fill("a", "BUY", 1, 100, fees="1"), LIVE)
    assert (fill.fx_rate, fill.fees_rate, fill.fees_currency) == (1, 1, "USD")


def test_a_fill_that_is_exact_already_is_the_same_object() -> None:
    exact = make_fill("a", "BUY", 1, 100, fx_rate="1", fees_rate="1", fees_currency="USD")
    assert check_fill(exact, LIVE) is exact


def test_numbers_are_rounded_half_even_to_their_columns_once() -> None:
    fill = check_fill(make_fill("a", "BUY", "0.12345678905", "273.16999999999996", fees="0.000000005"), LIVE)
    assert (fill.quantity, fill.price, fill.fees) == (Decimal("0.1234567890"), Decimal("273.1700000000"), 0)


def test_instants_of_other_zones_become_utc() -> None:
    eastern = DAY.astimezone(timezone(timedelta(hours=-5)))
    fill = check_fill(make_fill("a", "BUY", 1, 100, executed_at=eastern), LIVE)
    assert (fill.executed_at, str(fill.executed_at.tzinfo)) == (DAY, "UTC")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"currency": "usd"}, "currency_invalid"),
        ({"fees_currency": "EURO"}, "fees_currency_invalid"),
        ({"fx_rate": "0.9"}, "fx_rate_invalid"),
        ({"currency": "EUR", "fx_rate": "0"}, "fx_rate_not_positive"),
        ({"multiplier": "0"}, "multiplier_not_positive"),
        ({"multiplier": "99999999999"}, "number_overflow"),
        ({"currency": "XXX"}, "currency_unknown"),
        ({"fees": 0.5}, "number_invalid"),
        ({"source": "mail"}, "source_invalid"),
        ({"position_effect": "maybe"}, "position_effect_invalid"),
        ({"cash_style": "credit"}, "cash_style_invalid"),
        ({"origin": "dream"}, "origin_invalid"),
        ({"cause": "luck"}, "cause_invalid"),
        ({"reason": "Not a slug"}, "reason_invalid"),
        ({"source_revision": 0}, "source_revision_invalid"),
        ({"source_revision": True}, "source_revision_invalid"),
        ({"replaces_fill_id": "x"}, "replaces_fill_id_invalid"),
        ({"instrument": ""}, "instrument_invalid"),
        ({"ticker": "T" * 65}, "ticker_invalid"),
        ({"lot_ref": ""}, "lot_ref_invalid"),
        ({"lot_picks": [("a", "0")]}, "lot_picks_not_positive"),
        ({"executed_at": datetime(2026, 2, 3)}, "instant_invalid"),  # noqa: DTZ001 -- that is the point
        ({"session_date": DAY}, "session_date_invalid"),
        ({"meta": {"score": 1.5}}, "meta_invalid"),
        ({"meta": {"a": {"b": {"c": Decimal(1)}}}}, "meta_invalid"),
        ({"meta": {"text": "x" * 17_000}}, "meta_too_large"),
        ({"meta": {"text": "a\x00"}}, "text_invalid"),
        ({"meta": {"text": "\ud800"}}, "text_invalid"),
    ],
)
def test_what_is_malformed_is_refused_by_name(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(Rejected) as refused:
        check_fill(make_fill("a", "BUY", 1, 100, **options), LIVE)
    assert refused.value.reason == reason


def test_a_side_that_is_only_text_is_refused() -> None:
    fill = make_fill("a", "BUY", 1, 100)
    object.__setattr__(fill, "side", "BUY")
    with pytest.raises(Rejected, match="side_invalid"):
        check_fill(fill, LIVE)
    assert Side("BUY") is Side.BUY


def test_a_hedging_book_needs_the_direction() -> None:
    with pytest.raises(Rejected, match="direction_required"):
        check_fill(make_fill("a", "BUY", 1, 100), make_book("mt5:s:1", netting="hedge"))


@pytest.mark.parametrize("ratio", [(0, 1), (1, 0), (1, 1), (-2, 1), (2_000_000, 1)])
def test_a_split_needs_two_different_whole_numbers(ratio: tuple[int, int]) -> None:
    with pytest.raises(Rejected, match="ratio_invalid"):
        check_adjustment(make_split("live", ratio, 1))


def test_a_mark_is_exact_and_aware() -> None:
    row = check_mark(Mark(instrument="AMD", price=Decimal("1.00000000005"), marked_at=DAY, source="test"))
    assert (row["price"], row["bid"]) == (Decimal("1.0000000000"), None)
    with pytest.raises(Rejected, match="number_invalid"):
        check_mark(Mark(instrument="AMD", price=Decimal("NaN"), marked_at=DAY, source="test"))


@pytest.mark.parametrize("count", [0, 5_001])
def test_a_call_holds_1_to_5000_fills(count: int) -> None:
    with pytest.raises(Rejected, match="fills_count_invalid"):
        service.book_fills(None, "live", [make_fill("a", "BUY", 1, 1)] * count, DAY)  # type: ignore[arg-type]


def test_a_call_holds_at_most_500_instruments() -> None:
    fills = [make_fill("a", "BUY", 1, 1, instrument=f"I{number}") for number in range(501)]
    with pytest.raises(Rejected, match="instruments_count_invalid"):
        service.book_fills(None, "live", fills, DAY)  # type: ignore[arg-type]
