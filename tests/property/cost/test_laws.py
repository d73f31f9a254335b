"""Laws of a bill: it is the sum of its functions, more never costs less, nothing costs nothing, free amounts are given once."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from infra.cost import days
from infra.cost.model import Measure, Usage, added
from infra.cost.prices import load as price_list
from infra.cost.pricing import billed
from infra.cost.standing import standing
from infra.manifest import load

PRICES = price_list()
EXACT = Decimal("0.0000000001")
PRICED = sorted(price.measure for price in PRICES.prices)
quantities = st.integers(0, 10**9).map(Decimal)
usages = st.dictionaries(
    st.tuples(st.sampled_from(["signal_worker", "trade_tracker", "desk"]), st.sampled_from(PRICED)), quantities, max_size=8
)
few = settings(max_examples=25, deadline=None)


def net(usage: Usage) -> Decimal:
    return billed(usage, PRICES).net.quantize(EXACT)


@few
@given(usages)
def test_a_bill_is_the_sum_of_what_each_owner_and_each_service_bears(usage: Usage) -> None:
    bill = billed(usage, PRICES)
    assert sum(bill.by_owner().values(), Decimal(0)).quantize(EXACT) == bill.net.quantize(EXACT)
    assert sum(bill.by_service().values(), Decimal(0)).quantize(EXACT) == bill.net.quantize(EXACT)
    assert 0 <= bill.net <= bill.gross


@few
@given(usages, usages)
def test_more_of_anything_never_costs_less_and_apart_never_more_than_together(one: Usage, other: Usage) -> None:
    both = net(added(one, other))
    assert both >= net(one)
    # free amounts are given once: whoever pays two bills has them twice
    assert both >= net(one) + net(other) - EXACT * len(one)


@few
@given(usages, st.sampled_from(["signal_worker", "trade_tracker"]))
def test_who_used_it_changes_nothing_of_the_whole(usage: Usage, owner: str) -> None:
    merged = added(*({(owner, measure): quantity} for (_, measure), quantity in usage.items()))
    assert abs(net(merged) - net(usage)) <= EXACT * 10


def test_without_any_use_a_month_costs_what_stands_there_and_nothing_else() -> None:
    manifest = load()
    used, unknown = days.month_of({}, manifest, PRICES)
    assert used == standing(PRICES, {})
    assert sorted(unknown) == sorted(one.name for one in manifest.schedules)
    assert billed({}, PRICES).net == 0


@few
@given(st.sampled_from(PRICED), quantities, quantities)
def test_a_free_amount_is_given_once_over_all_owners(measure: Measure, one: Decimal, other: Decimal) -> None:
    price = PRICES.of(measure)
    assert price is not None
    bill = billed({("signal_worker", measure): one, ("trade_tracker", measure): other}, PRICES)
    assert bill.net.quantize(EXACT) == (max(one + other - price.free, Decimal(0)) * price.one).quantize(EXACT)
