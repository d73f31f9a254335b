"""Books of some days for the laws of a day's figures, each from one seed: longs, shorts, reversals, corrections, marks with gaps.

Four instruments, of which one is a future of 50 units and one is traded in euros; fills from Friday to Tuesday, on the weekend
and after the close too; some commissions unknown, some facts told wrong first. Marks come at any second and sometimes not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from fillbook.ledger.model import Fill
from tests.support.ledger import make_fill
from tests.support.snapshot_desk import ny
from tests.support.snapshot_oracle import Seen

TERMS: dict[str, dict[str, Any]] = {
    "AMD": {},
    "NVDA": {},
    "ES": {"multiplier": "50", "cash_style": "margin"},
    "SAP": {"currency": "EUR", "fx_rate": "1.1"},
}
DAYS = ("2026-01-29", "2026-01-30", "2026-01-31", "2026-02-02", "2026-02-03")


@dataclass(frozen=True, slots=True)
class Told:
    """How a book was told, and the marks beside it."""

    deliveries: list[Fill]
    marks: list[Seen]


def history(rng: Random) -> Told:
    """A book of up to forty facts."""
    is_known = rng.random() < 0.8
    told: list[Fill] = []
    for number in range(rng.randint(4, 40)):
        instrument = rng.choice(list(TERMS))
        fees = None if not is_known and rng.random() < 0.1 else str(Decimal(rng.randint(-50, 300)) / 100)
        fill = _fill(f"x{number}", rng, instrument, fees)
        fate = rng.random()
        if fate < 0.1:
            told += [replace(fill, price=fill.price + 1), replace(fill, source_revision=2, cause="revision")]
        elif fate < 0.15:
            told += [fill, replace(fill, is_bust=True, cause="bust")]
        else:
            told.append(fill)
    if rng.random() < 0.3:
        rng.shuffle(told)
    else:
        told.sort(key=lambda fill: fill.executed_at)
    return Told(told, _marks(rng))


def _instant(rng: Random) -> datetime:
    minute = rng.randint(4 * 60, 19 * 60) if rng.random() < 0.2 else rng.randint(570, 960)
    at = ny(f"{rng.choice(DAYS)}T{minute // 60:02}:{minute % 60:02}")
    return at if rng.random() < 0.5 else at + timedelta(seconds=rng.randint(0, 59), microseconds=rng.choice([0, 1, 999_999]))


def _fill(name: str, rng: Random, instrument: str, fees: str | None) -> Fill:
    quantity = Decimal(rng.randint(1, 20)) if rng.random() < 0.7 else Decimal(rng.randint(1, 99_999)) / 10_000
    at = _instant(rng)
    return make_fill(
        name,
        rng.choice(["BUY", "SELL"]),
        quantity,
        Decimal(rng.randint(9_000, 11_000)) / 100,
        source="ibkr",
        instrument=instrument,
        fees=fees,
        executed_at=at,
        received_at=at,
        session_date=at.date(),
        **TERMS[instrument],
    )


def _marks(rng: Random) -> list[Seen]:
    """At most one per bucket, so that all of them are kept."""
    density = rng.choice([0.05, 0.5, 0.95])
    found = []
    for instrument in TERMS:
        if rng.random() < 0.1:
            continue
        for day in DAYS:
            for bucket in range(9 * 12, 17 * 12):
                if rng.random() < density:
                    price = Decimal(rng.randint(9_000, 11_000)) / 100
                    at = ny(f"{day}T{bucket // 12:02}:{bucket % 12 * 5:02}") + timedelta(seconds=rng.randint(0, 299))
                    spread = None if rng.random() < 0.01 else Decimal(rng.randint(0, 40)) / 100
                    bid, ask = (None, None) if spread is None else (price - spread, price + spread)
                    found.append(Seen(instrument, at, price, bid, ask))
    return found
