"""Published days of any size for tests and benchmarks: values that pass every check, the same for the same seed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random

from fillbook.snapshot.model import KPI_VERSION, SCHEMA_VERSION, SOURCE, Asset, Extreme, Kind, Kpi, Point, Side, Snapshot, Stage

DAY = date(2026, 2, 11)
UPDATED_AT = datetime(2026, 2, 11, 21, 0, 4, 512_000, tzinfo=UTC)
KINDS = ((Kind.CURRENCY, "USD"), (Kind.PERCENT, "%"), (Kind.NUMBER, None), (Kind.RATIO, None), (Kind.DURATION, "s"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How many items a day has: ``series`` KPIs with ``minutes`` points each, ``sided`` KPIs with ``ranks`` on either side."""

    kpis: int = 25
    series: int = 15
    minutes: int = 400
    sided: int = 20
    ranks: int = 10
    assets: int = 200

    @property
    def rows(self) -> int:
        """Items in all."""
        return self.kpis + self.series * self.minutes + 2 * self.sided * self.ranks + self.assets


SMALL = Shape(kpis=5, series=3, minutes=4, sided=2, ranks=2, assets=3)
USUAL = Shape()
"""6,625 rows."""


def snapshot(
    shape: Shape = SMALL, *, day: date = DAY, updated_at: datetime = UPDATED_AT, seed: int = 0, stage: Stage = Stage.FINAL
) -> Snapshot:
    """A day of this shape."""
    random = Random(f"{seed} {day}")

    def amount(limit: int = 10_000_000) -> Decimal:
        return Decimal(random.randint(-limit, limit)) / 100

    names = [f"KPI {number:02}" for number in range(max(shape.kpis, shape.series, shape.sided))]
    begin = datetime(day.year, day.month, day.day, 14, 31, tzinfo=UTC)
    return Snapshot(
        date=day,
        updated_at=updated_at,
        headline=f"Fillbook metrics for {day}",
        summary="",
        rows=tuple(_row(number, name, amount()) for number, name in enumerate(names[: shape.kpis])),
        series=tuple(names[: shape.series]),
        points=tuple(
            Point(kpi=name, t=begin + timedelta(minutes=minute), v=amount(), src=random.choice(("ledger", "live", "stale")))
            for name in names[: shape.series]
            for minute in range(shape.minutes)
        ),
        extremes=tuple(
            _extreme(name, side, rank, random)
            for name in names[: shape.sided]
            for side in Side
            for rank in range(1, shape.ranks + 1)
        ),
        assets=tuple(
            Asset(trade_id=100 + number, symbol=f"S{number}", contract_name=f"S{number} 250321C{number}")
            for number in range(shape.assets)
        ),
        source=SOURCE,
        schema_version=SCHEMA_VERSION,
        kpi_version=KPI_VERSION,
        stage=stage,
    )


def _row(number: int, name: str, value: Decimal) -> Kpi:
    kind, unit = KINDS[number % len(KINDS)]
    if number == 3:
        return Kpi(
            kpi=name, value="—", value_num=None, kind=kind, unit=unit, sort_order=10 * (number + 1), missing_reason="no_losses"
        )
    text = {Kind.CURRENCY: f"${value:,.2f}", Kind.PERCENT: f"{value:.1f}%"}.get(kind, f"{value:.2f}")
    return Kpi(kpi=name, value=text, value_num=value, kind=kind, unit=unit, sort_order=10 * (number + 1))


def _extreme(kpi: str, side: Side, rank: int, random: Random) -> Extreme:
    def amount() -> Decimal:
        return Decimal(random.randint(-1_000_000, 1_000_000)) / 100

    trade = random.randint(1, 2**52)
    metric, pnl = amount(), amount()
    return Extreme(
        kpi=kpi,
        side=side,
        rank=rank,
        trade_id=trade,
        symbol=f"S{trade % 500}",
        contract_name=f"S{trade % 500} 250321C{trade % 90}",
        metric_raw=metric,
        metric_abs=abs(metric),
        individual_pnl=pnl,
        abs_individual_pnl=abs(pnl),
        percent_change=amount() / 100,
        cost_basis=amount(),
        qty=Decimal(random.randint(0, 100)),
        bid_price=None if rank == 2 else amount(),
        ask_price=amount(),
        mid_price=None if rank == 2 else amount(),
        mid_ts=UPDATED_AT,
        mid_mark_pnl=amount(),
        liquidity_drag=None if rank == 2 else amount(),
    )
