"""The price list ``infra/cloud/prices.yaml``, read once and held against its form: the one place that knows what anything costs.

It refuses a list that prices a measure twice, one it does not know, a negative or non-finite number, and one that leaves out a
measure that costs something. It fetches nothing: a list is as old as its date says.
"""

from __future__ import annotations

from collections import Counter
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from infra.cost.model import UNPRICED, Measure

PATH = Path(__file__).resolve().parents[1] / "cloud" / "prices.yaml"

Positive = Annotated[Decimal, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Price(_Strict):
    """One line: ``usd`` for every ``per`` units beyond the first ``free`` of a month."""

    service: Annotated[str, Field(min_length=2, max_length=40)]
    measure: Measure
    unit: Annotated[str, Field(min_length=2, max_length=40)]
    per: Positive
    usd: NotNegative
    free: NotNegative
    region: Annotated[str, Field(pattern=r"^(global|[a-z]+-[a-z]+[0-9]+)$")]

    @property
    def one(self) -> Decimal:
        """Dollars of one unit."""
        return self.usd / self.per


class DatabaseSize(_Strict):
    """An instance of Cloud SQL."""

    vcpu: Positive
    gib: Positive
    storage_gib: Positive
    copies: Annotated[int, Field(ge=1, le=2)]
    """2: one stands by in another zone, at the same price."""


class Standing(_Strict):
    """What stands there and the cloud program does not say."""

    artifact_gib: NotNegative
    d1_plan: bool


class PriceList(_Strict):
    """All lines, the day they were read and where."""

    currency: Literal["USD"]
    region: str
    source: Literal["public price list"]
    as_of: date
    prices: Annotated[tuple[Price, ...], Field(min_length=1)]
    standing: Standing

    @model_validator(mode="after")
    def _each_measure_once(self) -> Self:
        found = Counter(price.measure for price in self.prices)
        doubled = sorted(name for name, count in found.items() if count > 1)
        missing = sorted(set(Measure) - UNPRICED - set(found))
        unknown = sorted(set(found) & UNPRICED)
        if doubled or missing or unknown:
            raise ValueError(f"priced twice: {doubled}, without a price: {missing}, on no list: {unknown}")
        return self

    def of(self, measure: Measure) -> Price | None:
        """The line of a measure; None for what is counted alone."""
        return next((price for price in self.prices if price.measure is measure), None)


def parse(text: str) -> PriceList:
    """A price list from its text; pydantic's ``ValidationError``, or ``yaml.YAMLError``, when it is none."""
    return PriceList.model_validate(yaml.safe_load(text))


@cache
def load() -> PriceList:
    """The project's own list."""
    return parse(PATH.read_text("utf-8"))
