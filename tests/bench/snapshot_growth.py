"""How time grows with size: the exponent between the smallest and the largest, 1 where twice as much takes twice as long."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tests.bench.report import Stage


def exponent(stage: Stage, what: str, times: Mapping[int, Sequence[float]], goal: float) -> None:
    """Report the median time at each size, and per round the exponent between the ends."""
    for rows, taken in times.items():
        stage.add(f"{what}, {rows:,} rows", taken, "ms")
    low, high = min(times), max(times)
    if low == high:
        return
    rounds = zip(times[low], times[high], strict=True)
    found = [math.log(large / small) / math.log(high / low) for small, large in rounds]
    stage.at_most(f"growth of {what}, {low:,} to {high:,} rows (1 is linear)", found, goal, "exponent")
