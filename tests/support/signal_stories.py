"""Short stories for tests of the rules: a few receipts each, made of R, that bring one rule or one threshold to decide."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from fillbook.signal.model import Receipt
from tests.support.receipts import MINUTE_MS, R_TS, body
from tests.support.signal_desk import mirrored, receipt, receipt_from

D = Decimal
NEXT_DAY_0745 = 21 * 60 + 30
Story = list[Receipt]


def flags(**changes: bool) -> dict[str, bool]:
    """R's flags with some changed."""
    return {**body()["flags"], **changes}


def cloud(**changes: Any) -> dict[str, Any]:
    """R's daily cloud with some values changed."""
    return {**body()["daily_ema_cloud"], **changes}


def r(minutes: int = 0, **changes: Any) -> Receipt:
    """R ``minutes`` later; numbers as text become decimals."""
    decimals = {name: D(value) if _is_number(name, value) else value for name, value in changes.items()}
    return receipt(minutes=minutes, **decimals)


def _is_number(name: str, value: Any) -> bool:
    return isinstance(value, str) and name in {
        "price",
        "sl",
        "tp",
        "htf_score",
        "ltf_score",
        "phase_pct",
        "completion",
        "trigger_price",
    }


def setup(minutes: int = 0, **changes: Any) -> Receipt:
    """R as a setup near a flip (90 points, enters on E6)."""
    return r(minutes, **({"state": "HTF_BULL_LTF_PULLBACK", "ltf_score": "-4"} | changes))


def weak_setup(minutes: int = 0, **changes: Any) -> Receipt:
    """A setup with 30 points: setup_watch."""
    weak = {"htf_score": "3", "ltf_score": "-9", "phase_pct": "0.55", "completion": "0.9", "trigger_price": None}
    return setup(minutes, **(weak | changes))


def fresh(minutes: int = 0, **changes: Any) -> Receipt:
    """R with its trigger moved along."""
    return r(minutes, trigger_ts=R_TS + (minutes - 15) * MINUTE_MS, **changes)


def broken(minutes: int) -> Receipt:
    """P's move has broken: out of the corridor and 0.31 % behind its anchor."""
    return setup(minutes, ltf_score="-10.5", price="99.69")


def short(minutes: int = 0, **changes: Any) -> Receipt:
    """R mirrored, ``minutes`` later, its trigger moved along."""
    document = mirrored()
    moved = {name: document[name] + minutes * MINUTE_MS for name in ("ts", "time_close", "trigger_ts")}
    return receipt_from(document | moved | changes)


def wide(minutes: int = 0, **changes: Any) -> Receipt:
    """R with all distances four times as wide: ATR 8, TRIM 107.20, stop 86.80, tp_max 118.80, anchor 98.80."""
    start = D("100.40")
    document = body()
    stretched: dict[str, Any] = {name: start + (document[name] - start) * 4 for name in ("sl", "tp", "trigger_price")}
    stretched["tp_levels"] = [{**level, "price": start + (level["price"] - start) * 4} for level in document["tp_levels"]]
    return r(minutes, **(stretched | changes))


def adding(minutes: int = 31, price: str = "102.41", **changes: Any) -> Receipt:
    """A receipt on a wide P that may add: a new trigger and a near stop."""
    return wide(minutes, **({"price": price, "sl": "101.00", "trigger_ts": R_TS + (minutes - 5) * MINUTE_MS} | changes))


def bare(minutes: int, price: str) -> Receipt:
    """A price and nothing else."""
    return receipt_from({"ticker": "ZZTA", "ts": R_TS + minutes * MINUTE_MS, "price": D(price)})
