"""What the replay function answers of one day, two runs and where they part, as its client reads it."""

from __future__ import annotations

from fillbook.replay.buckets import BUCKET_MS

OPEN = 1_770_042_600_000
"""The first bucket of 2026-02-02."""
DAY = {
    "date": "2026-02-02",
    "grade": "thin",
    "bucketsExpected": 78,
    "bucketsPresent": 78,
    "tickersSeen": 2,
    "unseen": ["ZZTC"],
    "minutesExpected": 1170,
    "minutesPresent": 1100,
    "byResult": {"decided": 1098, "late": 2},
    "quarantined": 1,
    "tickers": [
        {"ticker": "ZZTA", "missing": [[OPEN, OPEN + BUCKET_MS]]},
        {"ticker": "ZZTC", "missing": [[OPEN, OPEN + 77 * BUCKET_MS]]},
    ],
}
SIDE = {"decided": 390, "entries": 2, "adds": 0, "trims": 1, "exits": 2, "realizedPnl": "12.5"}
DIVERGENCE = {
    "ticker": "ZZTB",
    "bucket": OPEN,
    "ts": OPEN + 60_000,
    "receiptId": "r",
    "field": "computed_lane",
    "a": "enter_now",
    "b": "flip_watch",
    "cause": "config",
    "rule": "G12",
    "says": ["Reward to risk 1.3 must be at least 1.2.", "Reward to risk 1.3 must be at least 1.5."],
    "detail": {"key": "entry.rr.base", "keys": {"entry.rr.base": ["1.2", "1.5"]}},
    "laterCount": 7,
}
COMPARISON = {
    "a": "run-1",
    "b": "run-2",
    "identical": False,
    "totals": {"a": SIDE, "b": {**SIDE, "entries": 1}},
    "positions": {"equal": 1, "leftOnly": 1, "rightOnly": 0, "different": 0},
    "tickers": 2,
    "divergent": 1,
}
