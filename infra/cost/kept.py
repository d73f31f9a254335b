"""The days that a desk keeps: settled from its meter, priced, and stored where the page finds them.

A day is kept as a file under the state folder and as a row of ``ops.cost_days`` with its price. In a cloud nobody writes that
table: there the bill itself is the truth, and the page says that it does not know. Source: decision 0063.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from typing import Any, Final

from fillbook.runtime.errors import FillbookError
from fillbook.runtime.sql import Statement, encode
from infra.cost import days, prices
from infra.cost.prices import PriceList
from infra.cost.pricing import Bill, billed
from infra.cost.report import document
from infra.local.desk import LocalCloud
from infra.local.meter import Meter
from infra.manifest import Manifest, load

KEEP: Final = Statement(
    name="keep_cost_day",
    purpose="the counts of a day and their price, in place of what was known of it before",
    text="insert into ops.cost_days as kept (day, source, document) values (:day, 'local meter', :document::jsonb)"
    " on conflict (day) do update set document = excluded.document, source = excluded.source",
)


def month(counts: Mapping[str, Mapping[str, float]], manifest: Manifest, list_: PriceList, **more: Any) -> tuple[Bill, list[str]]:
    """The bill of a month of such days, and the schedules that no call was measured of."""
    used, unknown = days.month_of(counts, manifest, list_, **more)
    return billed(used, list_), unknown


def priced(kept: Mapping[str, Any], manifest: Manifest | None = None, list_: PriceList | None = None) -> dict[str, Any]:
    """A kept day with its bill, as the page is told it."""
    manifest, list_ = manifest or load(), list_ or prices.load()
    bill, unknown = month(kept["counts"], manifest, list_)
    idle, _ = month(kept["counts"], manifest, list_, sessions=0)
    return document(kept, manifest, list_, bill, idle, unknown)


def settle(cloud: LocalCloud, meter: Meter) -> date:
    """Bring the day that the desk clock shows up to date, in its file and, where the database can be reached, in its table."""
    day, kept = meter.settle()
    with suppress(FillbookError, OSError), cloud.database.transaction() as tx:
        tx.execute(KEEP, day=day, document=encode(priced(kept)))
    return day
