"""How the cost of each kind of work grows with its size: half, once, twice and four times as much, by processor time.

Each kind is done at four sizes in turn, round by round; a size is measured in processor seconds of our process and of the server
process that served it, so that other work on the machine falsifies little. The exponent is the slope of the straight line through
the logarithms of size and time, per round: 1 where twice as much takes twice as long, 0 where size costs nothing. What a kind
needs to begin (processes, books that are made again, accounts that are linked) is made beforehand and not counted.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction

from tests.bench import growth_broker, growth_ledger, growth_reading
from tests.bench.growth_place import Works
from tests.bench.report import Stage, publish, show

SHARES = (Fraction(1, 2), Fraction(1), Fraction(2), Fraction(4))
ROUNDS = 3
LINEAR, FLAT = 1.05, 0.1
Begin = Callable[[Sequence[int]], AbstractContextManager[Works]]
Times = dict[int, list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of work; ``size`` is once as much of ``unit``. ``is_alone``: its sizes are measured one after the other."""

    begin: Begin
    size: int
    unit: str
    goal: float = LINEAR
    is_alone: bool = False

    @property
    def sizes(self) -> tuple[int, ...]:
        """The four sizes, ascending."""
        return tuple(int(self.size * share) for share in SHARES)


KINDS = {
    "booking": Kind(begin=growth_ledger.booking, size=1_000, unit="executions"),
    "ingest": Kind(begin=growth_broker.ingest, size=2_500, unit="executions"),
    "rebuild": Kind(begin=growth_ledger.rebuilding, size=6_000, unit="fills"),
    "replay": Kind(begin=growth_ledger.replaying, size=10, unit="tickers"),
    "snapshot": Kind(begin=growth_ledger.receiving, size=15, unit="series of 400 points"),
    "accounts": Kind(begin=growth_broker.accounts, size=200, unit="accounts"),
    "api": Kind(begin=growth_reading.reading, size=40_000, unit="positions", goal=FLAT, is_alone=True),
}
"""By the stage whose work it is."""


def run(argv: Sequence[str]) -> int:
    """``bench growth [--stages NAME[,NAME]] [--runs N] [--scale N]``: the scale (``2``, ``1/10``) multiplies every size.

    What only some stages came to is shown and not kept.
    """
    given = dict(zip(argv[::2], argv[1::2], strict=False))
    names = given.get("--stages", ",".join(KINDS)).split(",")
    if set(names) - set(KINDS):
        sys.stdout.write(f"stages are {', '.join(KINDS)}\n")
        return 1
    rounds, scale = int(given.get("--runs", ROUNDS)), Fraction(given.get("--scale", 1))
    stage = Stage(name="growth")
    for name in names:
        kind = KINDS[name]
        for what, times in measured(kind, [int(size * scale) for size in kind.sizes], rounds).items():
            tell(stage, what, kind, times)
    stage.note(
        "processor seconds of our process and of the server's that served it; exponent: the slope through the logarithms of four"
        " sizes, for each round; beside it the last doubling alone"
    )
    (publish if names == list(KINDS) else show)(stage)
    return 0


def measured(kind: Kind, sizes: Sequence[int], rounds: int) -> dict[str, Times]:
    """The processor seconds of each work at each size, one round after the other; works are warmed up with the smallest size."""
    groups = [[size] for size in sizes] if kind.is_alone else [list(sizes)]
    found: dict[str, Times] = {}
    for group in groups:
        with kind.begin(group) as works:
            for what, work in works.items():
                times = found.setdefault(what, {})
                work(group[0])
                for _ in range(rounds):
                    for size in group:
                        times.setdefault(size, []).append(work(size))
    return found


def tell(stage: Stage, what: str, kind: Kind, times: Mapping[int, Sequence[float]]) -> None:
    """The cost of one of each size, and the exponents."""
    for size, taken in times.items():
        label = f"{what}, {size:,} {kind.unit}"
        if kind.goal == FLAT:
            stage.add(label, [seconds * 1e3 for seconds in taken], "ms of processor")
        else:
            stage.add(label, [seconds / size * 1e6 for seconds in taken], "µs of processor each")
    rounds = range(min(map(len, times.values())))
    exponents = [slope({size: taken[turn] for size, taken in times.items()}) for turn in rounds]
    stage.at_most(f"growth of {what}", exponents, kind.goal, "exponent")
    last = sorted(times)[-2:]
    stage.add(
        f"growth of {what}, the last doubling", [slope({size: times[size][turn] for size in last}) for turn in rounds], "exponent"
    )


def slope(times: Mapping[int, float]) -> float:
    """The exponent of size that time goes by: the least-squares slope through the logarithms."""
    sizes, taken = [math.log(size) for size in times], [math.log(seconds) for seconds in times.values()]
    return statistics.linear_regression(sizes, taken).slope
