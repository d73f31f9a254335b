"""How a fleet's counts grow, from two sizes that were measured, and what a larger fleet would use: pure.

A count of a tick has a part that every tick has and a part that every account adds; two sizes tell both. Where the larger fleet
took more than its share (the exponent of its growth is above 1), the count is taken to go on growing by that exponent: of both
the higher. What was measured and what was computed is never mixed: a projection names its two sizes and its exponents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from fillbook.values import frozen
from infra.cost.days import Counts


@frozen
class Grown:
    """One count of a tick at both measured sizes and at the size that was asked for; ``exponent`` None: there was none of it."""

    small: float
    large: float
    exponent: float | None
    projected: float


def grown(small: float, large: float, sizes: tuple[int, int], accounts: int) -> Grown:
    """The count at so many accounts; ``ValueError`` unless the sizes rise."""
    few, many = sizes
    if not 0 < few < many:
        raise ValueError(f"two sizes that rise, not {sizes}")
    each = (large - small) / (many - few)
    line = max(small + each * (accounts - few), 0.0) if each > 0 else large
    if small <= 0 or large <= 0:
        return Grown(small=small, large=large, exponent=None, projected=line)
    exponent = math.log(large / small) / math.log(many / few)
    power = large * (accounts / many) ** exponent if exponent > 1 else 0.0
    return Grown(small=small, large=large, exponent=exponent, projected=max(line, power))


def projected(measured: Mapping[int, Counts], accounts: int) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, Grown]]]:
    """The counts of a tick of so many accounts, and how each was come by; ``measured``: two sizes -> counts of a tick."""
    (few, small), (many, large) = sorted(measured.items())
    how = {
        what: {
            name: grown(small.get(what, {}).get(name, 0.0), value, (few, many), accounts)
            for name, value in counts.items()
            if name != "peak_bytes"
        }
        for what, counts in large.items()
    }
    return {what: {name: one.projected for name, one in found.items()} for what, found in how.items()}, how
