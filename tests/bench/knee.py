"""Load: how much each door takes at a constant rate until it is late, and what becomes of twice as much.

A door is asked at a rate for some seconds, then at twice that rate, until the 99th percentile passes the door's limit, fewer
than 95 of 100 requests are answered in the same time, or one is refused; two more rates between the last good one and the first
bad one find the **knee**. It is then held for longer, and lowered if it does not hold. At twice the knee the same stream goes on
at the base rate without a pause: what is answered after the load shows how soon the door is as it was.

The load is open (``load.py``): it comes whatever the answers do, from a process of its own. A door of pushes is asked through the
local Pub/Sub: a message is answered when the database has committed what became of it, by the server's own clock.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.bench.knee_doors import Door, Outcome, desk, doors
from tests.bench.load import Generator
from tests.bench.report import ROOT, Stage, machine, percentile, publish

BASE_RATE, START_RATE, RATE_MAX = 20.0, 40.0, 5_000.0
BASE_SECONDS, STEP_SECONDS, KNEE_SECONDS, OVER_SECONDS, AFTER_SECONDS = 4.0, 3.0, 8.0, 6.0, 10.0
TRIES, BISECTIONS, LOWERED, LOWERINGS_MAX = 2, 2, 0.85, 3
ACHIEVED = 0.95
LATE_MS = 20.0
WINDOW = 20
"""Answers of a second at the base rate: as soon as all later windows are like before the load, the door has recovered."""
BACK_FACTOR, BACK_MS = 2.0, 10.0
RECOVERED_SECONDS = 5.0
PAGE = ROOT / "infra" / "docs" / "load.md"
BEGIN, END = "<!-- knees: begin -->", "<!-- knees: end -->"
COLUMNS = (
    "door",
    "knee, a second",
    "half of it: p50 / p95 / p99 / max, ms",
    "at it",
    "at twice: told to come back",
    "answered ÷ knee",
    "p99 of these, ms",
    "as before after, s",
    "memory, MB",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a rate came to: percentiles of the good answers in ms, shares of all requests."""

    rate: float
    p50: float
    p95: float
    p99: float
    most: float
    good: float
    refused: float
    achieved: float
    late: float

    def holds(self, limit_ms: float) -> bool:
        """Whether the door keeps up with this rate."""
        return self.good == 1.0 and self.p99 <= limit_ms and self.achieved >= ACHIEVED


def run(argv: list[str]) -> int:
    """``bench load [--only DOOR[,DOOR]] [--rate-max N]``."""
    given = dict(zip(argv[::2], argv[1::2], strict=False))
    only = given["--only"].split(",") if "--only" in given else None
    most = float(given.get("--rate-max", RATE_MAX))
    stage = Stage(name="load")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        generator = Generator()
        stack.callback(generator.close)
        cloud = stack.enter_context(desk(Path(folder)))
        chosen = (door for door in doors(cloud, generator) if only is None or door.name in only)
        rows = [measure(stage, door, most) for door in chosen]
    stage.note(
        f"knee: the highest rate at which every request is answered, p99 is within the door's limit and at least {ACHIEVED:.0%}"
        f" are answered in the time in which they come; {STEP_SECONDS:g} s a rate, the knee held for {KNEE_SECONDS:g} s"
    )
    stage.note("open loop: latencies count from the instant a request was due; percentiles of what was answered as it should be")
    stage.note(
        f"as before: medians of all later seconds within {BACK_FACTOR:g} times the base rate's; one process of each function,"
        " load, functions, Pub/Sub and database on the same cores"
    )
    publish(stage)
    if only is None:
        write_page(rows)
    return 0


def write_page(rows: Sequence[str]) -> None:
    """The table of knees, in the page that says what happens beyond them."""
    on = machine()
    where = f"{on['date']} · {on['cores']} cores · Python {on['python']} · {on['load']:g} processes wanted a core"
    table = [where, "", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|", *rows]
    head, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    PAGE.write_text("\n".join([f"{head}{BEGIN}", *table, f"{END}{rest.partition(END)[2]}"]), "utf-8")


def measure(stage: Stage, door: Door, rate_max: float) -> str:
    """One door, from its base to what it does at twice its knee; its row of the page."""
    door.begin()
    door.send(_evenly(BASE_RATE, 2.0))
    door.settle()
    base = step(door, BASE_RATE, BASE_SECONDS)
    sockets = door.sockets()
    knee = held(door, search(door, rate_max))
    half = step(door, knee.rate / 2, STEP_SECONDS)
    _tell(stage, door, "at 20/s", base)
    stage.add(f"{door.name}: knee", [knee.rate], "requests/s")
    _tell(stage, door, "at half the knee", half)
    _tell(stage, door, "at the knee", knee)
    over, back = beyond(stage, door, knee, base)
    door.settle()
    stage.at_most(f"{door.name}: memory at the peak", [door.memory_mb()], door.memory_mb_max, "MB")
    more = max(door.sockets() - sockets, 0)
    stage.at_most(f"{door.name}: connections held afterwards, more than before (a place keeps one)", [more], door.places, "")
    for what, number in door.end().items():
        stage.at_most(f"{door.name}: {what}", [number], 0, "")
    late = max(base.late, half.late, knee.late)
    stage.at_most(f"{door.name}: the load's own lateness, p99", [late], LATE_MS, "ms")
    if late > LATE_MS:
        stage.note(f"**{door.name} is not valid**: the load itself was late")
    cells = (
        f"`{door.name}`" + ("" if late <= LATE_MS else " (not valid: the load was late)"),
        f"{knee.rate:,.0f}",
        _cell(half),
        _cell(knee),
        f"{over.refused:.0%}",
        f"{over.good * over.rate / knee.rate:.2f}",
        f"{over.p99:,.0f}",
        f"{back:g}",
        f"{door.memory_mb():.0f} of {door.memory_mb_max}",
    )
    return f"| {' | '.join(cells)} |"


def search(door: Door, rate_max: float) -> float:
    """The highest rate that holds, to a quarter of the distance between two doublings."""
    good, rate = 0.0, START_RATE
    while rate <= rate_max and holds(door, rate):
        good, rate = rate, rate * 2
    bad = rate
    while not good and bad > 1:
        rate = bad / 2
        good = rate if holds(door, rate) else 0.0
        bad = bad if good else rate
    for _ in range(BISECTIONS):
        rate = (good + bad) / 2
        if holds(door, rate):
            good = rate
        else:
            bad = rate
    return good


def holds(door: Door, rate: float) -> bool:
    """Whether a rate holds, in one of two tries: a machine that stops for a moment is not a door's end."""
    return any(step(door, rate, STEP_SECONDS).holds(door.limit_ms) for _ in range(TRIES))


def held(door: Door, rate: float) -> Step:
    """The step at the knee, lowered until it holds for longer."""
    found = step(door, rate, KNEE_SECONDS)
    for _ in range(LOWERINGS_MAX):
        if found.holds(door.limit_ms):
            break
        found = step(door, found.rate * LOWERED, KNEE_SECONDS)
    return found


def step(door: Door, rate: float, seconds: float) -> Step:
    """Ask at a rate for a while, and let the door come to rest."""
    outcomes = door.send(_evenly(rate, seconds))
    door.settle()
    return _summed(outcomes, rate)


def beyond(stage: Stage, door: Door, knee: Step, base: Step) -> tuple[Step, float]:
    """Twice the knee, and what is answered after it: the step, and the seconds until all is as before."""
    over, after = _evenly(knee.rate * 2, OVER_SECONDS), [OVER_SECONDS + one for one in _evenly(BASE_RATE, AFTER_SECONDS)]
    refused_before = door.pushes_refused()
    outcomes = door.send([*over, *after])
    loaded, later = outcomes[: len(over)], outcomes[len(over) :]
    seen = _summed(loaded, knee.rate * 2)
    name = f"{door.name}: at twice the knee"
    stage.add(f"{name}, told to come back (503, 429)", [seen.refused * 100], "%")
    refused = [one for one in loaded if one.is_refused]
    if refused:
        stage.at_least(f"{name}, of these with Retry-After", [sum(one.is_told for one in refused) / len(refused) * 100], 100, "%")
        waits = [one.seconds * 1000 for one in refused]
        stage.add(f"{name}, refusals, p50", [percentile(waits, 0.5)], "ms")
        stage.add(f"{name}, refusals, p99", [percentile(waits, 0.99)], "ms")
    stage.at_most(f"{name}, neither answered nor refused", [max(round((1 - seen.good - seen.refused) * 100, 6), 0)], 0, "%")
    stage.add(f"{name}, answered per second ÷ the knee", [seen.good * len(over) / OVER_SECONDS / knee.rate], "×")
    stage.add(f"{name}, p50 of what is answered", [seen.p50], "ms")
    stage.add(f"{name}, p99 of what is answered", [seen.p99], "ms")
    if refused_before is not None:
        stage.add(f"{name}, pushes told to come back", [(door.pushes_refused() or 0) - refused_before], "")
    back = _recovered(later, base)
    stage.at_most(f"{door.name}: as before, after the load's end", [back], RECOVERED_SECONDS, "s")
    return seen, back


def _recovered(later: Sequence[Outcome], base: Step) -> float:
    """Seconds from the load's end until every later window is as before it; all that were looked at when the last one is not."""
    limit = max(base.p50 * BACK_FACTOR, base.p50 + BACK_MS)
    back = AFTER_SECONDS
    for number in range(len(later) // WINDOW - 1, -1, -1):
        window = later[number * WINDOW : (number + 1) * WINDOW]
        if not all(one.is_good for one in window) or percentile([one.seconds * 1000 for one in window], 0.5) > limit:
            break
        back = number * WINDOW / BASE_RATE
    return back


def _summed(outcomes: Sequence[Outcome], rate: float) -> Step:
    good = [one for one in outcomes if one.is_good]
    times = [one.seconds * 1000 for one in good] or [math.inf]
    first = min(one.due_at for one in outcomes)
    last = max((one.due_at + one.seconds for one in good), default=math.inf)
    return Step(
        rate=rate,
        p50=percentile(times, 0.5),
        p95=percentile(times, 0.95),
        p99=percentile(times, 0.99),
        most=max(times),
        good=len(good) / len(outcomes),
        refused=sum(one.is_refused for one in outcomes) / len(outcomes),
        achieved=len(good) / max(last - first, len(outcomes) / rate) / rate,
        late=percentile([one.late_seconds * 1000 for one in outcomes], 0.99),
    )


def _evenly(rate: float, seconds: float) -> list[float]:
    return [number / rate for number in range(round(rate * seconds))]


def _tell(stage: Stage, door: Door, name: str, seen: Step) -> None:
    for what, value in _percentiles(seen):
        if what == "p99":
            stage.at_most(f"{door.name}, {name}: {what}", [value], door.limit_ms, "ms")
        else:
            stage.add(f"{door.name}, {name}: {what}", [value], "ms")


def _cell(seen: Step) -> str:
    return " / ".join(f"{value:,.0f}" for _, value in _percentiles(seen))


def _percentiles(seen: Step) -> Iterator[tuple[str, float]]:
    yield from (("p50", seen.p50), ("p95", seen.p95), ("p99", seen.p99), ("max", seen.most))
