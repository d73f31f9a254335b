"""Receipts for people without an indicator: recorded points made whole, and an invented day.

``labelled`` turns recorded points (scores and price only) into full receipts and names every invented field in
``generated``, so that nobody can take one for a real receipt. ``invented_day`` writes the demo day: a seeded walk per
invented ticker with the same rules for everything that hangs on the price. Both are pure: same input, same receipts.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

Document = dict[str, Any]

SCRIPT_VERSION = "2.5.0"
MINUTE_MS = 60_000
CENT = Decimal("0.01")
LEVELS = tuple(Decimal(text) for text in "0.236 0.382 0.5 0.618 0.786 1 1.236 1.382 1.618 1.786 2 2.236 2.618 3".split())
FLAGS = (
    "sq30_on sq30_release phase_dot phase_zone_change momentum_elite ema_cross_1h_13_48 st_flip_1h st_flip_30m st_flip_10m "
    "st_flip_3m buyable_dip_1h_13_48 sq10_release sq3_release ema_cross_10m_13_48 ema_cross_3m_13_48"
).split()
INVENTED = "phase_zone rr sl time_close tp tp_levels trigger_dir trigger_price trigger_tf trigger_ts triggers".split()
COLUMNS = frozenset("ticker ts ny_date price htf_score ltf_score completion phase_pct state trigger_reason active_flags".split())


class PointsRefused(ValueError):
    """A file of points that cannot be read; the text names the file, the line and the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """One run of a trigger on a ticker: everything generated is anchored at its first point."""

    key: tuple[str, str, int]
    started_ts: int
    anchor: Decimal
    range_percent: int = 2

    @property
    def atr(self) -> Decimal:
        """The stand-in for the daily average true range: a share of the anchor, at least a cent."""
        return max(CENT, cents(CENT * self.range_percent * self.anchor))


def cents(value: Decimal) -> Decimal:
    """Two decimals, half to even."""
    return value.quantize(CENT, rounding=ROUND_HALF_EVEN)


def read_points(path: Path) -> Iterator[Document]:
    """Yield the points of a CSV or CSV.gz file, numbers as Decimal; raise ``PointsRefused`` with the line that is wrong."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        missing = COLUMNS - set(reader.fieldnames or ())
        if missing:
            raise PointsRefused(f"{path.name}: columns missing: {', '.join(sorted(missing))}")
        for row in reader:
            try:
                yield _point(row)
            except (ArithmeticError, ValueError, TypeError) as error:
                raise PointsRefused(f"{path.name}, line {reader.line_num}: not a point ({error})") from error


def _point(row: Mapping[str, str]) -> Document:
    numbers = {name: Decimal(row[name]) for name in ("price", "htf_score", "ltf_score", "completion", "phase_pct")}
    texts = {name: row[name] for name in ("ticker", "ny_date", "state", "trigger_reason")}
    return texts | numbers | {"ts": int(row["ts"]), "active_flags": row["active_flags"].split("|")}


def labelled(points: Iterable[Mapping[str, Any]]) -> Iterator[Document]:
    """Complete recorded points, in their order, into receipts whose ``generated`` names what was invented."""
    cycles: dict[str, Cycle] = {}
    for point in points:
        side = side_of(point["state"])
        key = (point["ny_date"], point["trigger_reason"], side)
        cycle = cycles.get(point["ticker"])
        is_new = cycle is None or cycle.key != key
        if cycle is None or is_new:
            cycle = cycles[point["ticker"]] = Cycle(key=key, started_ts=point["ts"], anchor=point["price"])
        recorded = ("ts", "ticker", "htf_score", "ltf_score", "state", "completion", "phase_pct", "price", "trigger_reason")
        yield (
            {"script_version": SCRIPT_VERSION, "tf_hint": "1"}
            | {name: point[name] for name in recorded}
            | derived(cycle, point, is_first=is_new)
            | {"flags": {name: name in point["active_flags"] for name in FLAGS}, "generated": INVENTED}
        )


def side_of(state: str) -> int:
    """+1 for a bullish higher time frame, -1 otherwise."""
    return 1 if state.startswith("HTF_BULL") else -1


def derived(cycle: Cycle, point: Mapping[str, Any], *, is_first: bool) -> Document:
    """The fields that follow from price, phase and the running cycle."""
    side, price, reason = cycle.key[2], point["price"], cycle.key[1]
    stop = cents(cycle.anchor - side * Decimal("1.5") * cycle.atr)
    levels = [_level(number, side, cycle, multiplier) for number, multiplier in enumerate(LEVELS, 1)]
    target = next((level["price"] for level in levels if side * (level["price"] - price) > 0), None)
    direction = "BULL" if side > 0 else "BEAR"
    return {
        "time_close": point["ts"] + MINUTE_MS,
        "phase_zone": phase_zone(point["phase_pct"]),
        "trigger_ts": cycle.started_ts,
        "trigger_price": cycle.anchor,
        "trigger_dir": direction,
        "trigger_tf": "30" if "_30M_" in reason else "60" if "_1H_" in reason else "",
        "triggers": [f"{reason}_{direction}"] if is_first else [],
        "sl": stop,
        "tp": target,
        "tp_levels": levels,
        "rr": None if target is None else cents(side * (target - price) / max(abs(price - stop), price * CENT / 2)),
    }


def _level(number: int, side: int, cycle: Cycle, multiplier: Decimal) -> Document:
    return {
        "price": cents(cycle.anchor + side * multiplier * cycle.atr),
        "label": f"TP{number}",
        "source": "generated",
        "type": "ATR_FIB",
        "multiplier": multiplier,
        "timeframe": "D",
        "confidence": Decimal("0.75"),
    }


def phase_zone(phase: Decimal) -> str:
    """LOW below 0.35, MEDIUM below 0.70, HIGH below 0.90, else EXTREME."""
    for limit, zone in ((Decimal("0.35"), "LOW"), (Decimal("0.70"), "MEDIUM"), (Decimal("0.90"), "HIGH")):
        if phase < limit:
            return zone
    return "EXTREME"


def seed_of(*parts: object) -> int:
    """A stable 64-bit seed from any printable parts."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8], "big")
