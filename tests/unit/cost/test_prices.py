"""The price list is whole, dated and strict: what it does not say is not priced by guess."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from pydantic import ValidationError

from infra.cost import prices
from infra.cost.model import UNPRICED, Measure
from infra.manifest import load

TEXT = prices.PATH.read_text("utf-8")


def test_the_projects_list_prices_every_measure_that_costs_something_once_and_says_of_when() -> None:
    found = prices.load()
    assert {price.measure for price in found.prices} == set(Measure) - UNPRICED
    assert (found.source, found.currency, found.region) == ("public price list", "USD", load().region)
    assert all(price.one >= 0 for price in found.prices)


def test_the_list_names_no_host() -> None:
    assert not re.search(r"https?:|www\.|\.(com|org|io|dev)\b", TEXT)


BROKEN: dict[str, Callable[[str], str]] = {
    "a measure priced twice": lambda text: text.replace("measure: gib_seconds", "measure: vcpu_seconds", 1),
    "a measure that nobody counts": lambda text: text.replace("measure: requests", "measure: prayers", 1),
    "a measure that is on no list": lambda text: text.replace("measure: log_bytes", "measure: rows_read", 1),
    "a price below nothing": lambda text: text.replace('usd: "0.40"', 'usd: "-0.40"', 1),
    "a price that is no number": lambda text: text.replace('usd: "0.40"', 'usd: "NaN"', 1),
    "a price for no units": lambda text: text.replace("per: 1000000", "per: 0", 1),
    "a line with a word too many": lambda text: text.replace("unit: request,", "unit: request, note: cheap,", 1),
    "a list without its day": lambda text: re.sub(r"as_of: .*", "", text),
    "another source": lambda text: text.replace("public price list", "a friend", 1),
    "images of less than nothing": lambda text: text.replace("artifact_gib: 2", "artifact_gib: -2", 1),
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN.keys())
def test_a_list_that_is_not_well_formed_is_refused(change: Callable[[str], str]) -> None:
    changed = change(TEXT)
    assert changed != TEXT
    with pytest.raises(ValidationError):
        prices.parse(changed)
