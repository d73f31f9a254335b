"""The verb ``cost``: what a local day used and what a month of such days would cost, for this desk and for 10,000 accounts.

``cost`` or ``cost --day [DATE]`` prices a day that the desk kept (the newest); ``cost --fleet`` first measures two fleets of MT5
accounts on a desk of its own, which takes minutes, and keeps what it found beside the days; ``--json`` prints one document.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from infra.cost import days, kept, prices, report
from infra.cost import fleet as fleets
from infra.cost.growth import projected
from infra.cost.model import times
from infra.cost.prices import PriceList
from infra.cost.pricing import billed
from infra.cost.standing import DAYS, deployed, example, sized
from infra.door.operators import home as home_folder
from infra.local import meter
from infra.manifest import Manifest, load

ACCOUNTS = 10_000
TICKS_A_DAY = 288
FLEET_FILE = "fleet.json"
FLEET_SCHEDULE = "mt5-sync"
NO_DAY = "no day was counted yet; play one: python3 infra/dev.py run --once"
NO_FLEET = "10,000 accounts: unknown here; measure two smaller fleets: python3 infra/dev.py cost --fleet"


def run(argv: list[str]) -> int:
    """``cost``; 2 when there is no such day."""
    parser = argparse.ArgumentParser(
        prog="infra/dev.py cost", description="what a local day used, and a month of such days costs"
    )
    parser.add_argument(
        "--day", nargs="?", type=date.fromisoformat, const=None, metavar="DATE", help="a counted day (the newest)"
    )
    parser.add_argument("--fleet", action="store_true", help="measure two fleets of MT5 accounts first")
    parser.add_argument("--accounts", type=int, default=ACCOUNTS, help=f"size of the fleet that is computed ({ACCOUNTS:,})")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    given = parser.parse_args(argv)
    folder = home_folder() / "usage"
    if given.fleet:
        folder.mkdir(parents=True, exist_ok=True)
        meter.write(folder / FLEET_FILE, fleets.measure(_say))
    path = newest(folder) if given.day is None else meter.kept_path(folder, given.day)
    if path is None or not path.exists():
        sys.stderr.write(f"{NO_DAY}\n")
        return 2
    measured = meter.read(folder / FLEET_FILE) if (folder / FLEET_FILE).exists() else None
    told = Told(meter.read(path), measured, given.accounts)
    sys.stdout.write(json.dumps(told.document()) + "\n" if given.json else told.text())
    return 0


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def newest(folder: Path) -> Path | None:
    """The newest day that was kept."""
    found = sorted(folder.glob("[0-9]*.json"))
    return found[-1] if found else None


class Told:
    """A kept day, and a measured fleet where there is one, with their bills."""

    def __init__(self, day: Mapping[str, Any], fleet: Mapping[str, Any] | None, accounts: int) -> None:
        self._day, self._fleet, self._accounts = day, fleet, accounts
        self._manifest: Manifest = load()
        self._prices: PriceList = prices.load()

    def document(self) -> dict[str, Any]:
        """Everything, for programs."""
        found: dict[str, Any] = {
            "day": self._day["day"],
            "desk": kept.priced(self._day, self._manifest, self._prices),
            "fleet": None,
        }
        if self._fleet is not None:
            bill, how = self._large()
            found["fleet"] = {
                "accounts": self._accounts,
                "measured_accounts": sorted(map(int, self._fleet["sizes"])),
                "is_measured": False,
                "month": report.dollars(bill.net),
                "exponents": {what: {name: one.exponent for name, one in counts.items()} for what, counts in how.items()},
            }
        return found

    def text(self) -> str:
        """Everything, for a person."""
        counts = self._day["counts"]
        bill, unknown = kept.month(counts, self._manifest, self._prices)
        idle, _ = kept.month(counts, self._manifest, self._prices, sessions=0)
        lines = [*report.told_of_day(self._day["day"], self._day, self._manifest), ""]
        title = f"A month of this desk: {days.SESSIONS} such days, {DAYS} days of schedules at what their calls took"
        lines += report.told_of_bill(title, bill, self._prices, billed(days.day(counts, self._manifest), self._prices))
        lines.append(f"  idle month  {idle.net:,.2f} {self._prices.currency}: nobody trades, the clockwork goes on")
        if unknown:
            lines.append(f"  unknown     schedules that were not called that day, not in it: {', '.join(unknown)}")
        lines.append("")
        if self._fleet is None:
            lines.append(NO_FLEET)
        else:
            large, how = self._large()
            sizes = sorted(map(int, self._fleet["sizes"]))
            lines += [*report.told_of_growth(how, sizes, self._accounts), ""]
            title = (
                f"A month of this desk with {self._accounts:,} MT5 accounts, COMPUTED: {TICKS_A_DAY} ticks a day, all due in each"
            )
            lines += report.told_of_bill(title, large, self._prices)
            more = (large.net - bill.net) / self._accounts
            lines.append(f"  an account  {more:,.4f} {self._prices.currency} a month")
        lines += ["", *self._notes()]
        return "\n".join(lines) + "\n"

    def _large(self) -> tuple[Any, Mapping[str, Mapping[str, Any]]]:
        assert self._fleet is not None
        sizes = {int(count): counts for count, counts in self._fleet["sizes"].items()}
        tick, how = projected(sizes, self._accounts)
        fleet = days.day(tick, self._manifest)
        busy = days.exactly(tick.get("database", {}).get("processor_seconds", 0.0)) / fleets.STEP_SECONDS
        bill, _ = kept.month(
            self._day["counts"],
            self._manifest,
            self._prices,
            size=sized(deployed(example()), busy),
            further=times(fleet, TICKS_A_DAY * DAYS),
            without=(FLEET_SCHEDULE,),
        )
        return bill, how

    def _notes(self) -> list[str]:
        list_ = self._prices
        elsewhere = sorted({price.service for price in list_.prices if price.region not in ("global", list_.region)})
        region = f" Quoted for another region than {list_.region}: {', '.join(elsewhere)}." if elsewhere else ""
        return [
            f"Prices: {list_.source} as of {list_.as_of}, {list_.currency}, without tax (infra/cloud/prices.yaml).{region}",
            "Services are billed while a request is in work, jobs by the task (decision 0063). Not counted here and not in it:",
            "further cold starts, calls that functions make to Discord, brokers and services, builds, support.",
        ]
