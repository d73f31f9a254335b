"""How a stage is measured and told: alternating rounds, ratios inside one run, a table, one JSON line, one page of results.

Absolute figures depend on the machine and are reported only. A verdict is the median of per-round ratios of ours and the
baseline, which alternate round by round, so that a machine that slows down slows both.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "infra" / "docs" / "benchmarks.md"
RESULTS = ROOT / ".fillbook" / "bench"
HEAD = (
    "# Benchmarks",
    "",
    "Written by `python3 infra/dev.py bench`. Ratios compare ours with a baseline in the same run; the verdict is the median of",
    "the per-round ratios, the span is minimum to maximum. Absolute figures hold for the machine named under each stage only.",
    "What the gaps to missed goals are made of is in [benchmarks-gaps.md](benchmarks-gaps.md).",
    "",
    "`accounts` measures ticks over fleets of MT5 accounts at a service that takes 100 ms a call: accounts of five minutes,",
    "worked inline and in shards, beside batches of ten (three calls in series, a statement a row, no retry). *Slow and silent*:",
    "what accounts that take seconds, or never answer, take from the others. *What one costs*: processor time, statements, round",
    "trips and log of one account, unchanged and with ten new deals; long histories read, derived and made again; the dispatcher",
    "over a million accounts. A run counts only if every account was noted exactly once and its money was proven.",
    "",
)
PACKAGES = ("functions-framework", "pg8000", "pydantic", "requests")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of a stage: what, the value with its unit, the goal if there is one, and whether it is reached."""

    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    goal: str = ""
    is_reached: bool | None = None

    def row(self) -> str:
        """The figure as a table row."""
        span = "" if self.low is None or self.high is None else f"{_short(self.low)}–{_short(self.high)}"
        verdict = {True: "reached", False: "**missed**", None: ""}[self.is_reached]
        return f"| {self.name} | {_short(self.value)} {self.unit} | {span} | {self.goal} | {verdict} |"


@dataclass(slots=True, kw_only=True)
class Stage:
    """A named set of figures with the words that explain them."""

    name: str
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, samples: Sequence[float], unit: str) -> float:
        """Report the median of ``samples`` with minimum and maximum; return the median."""
        middle = statistics.median(samples)
        self.figures.append(Figure(name=name, value=middle, unit=unit, low=min(samples), high=max(samples)))
        return middle

    def at_least(self, name: str, samples: Sequence[float], goal: float, unit: str = "×") -> None:
        """Report samples, per-round ratios unless a unit says otherwise, whose median should be ``goal`` or more."""
        self._ratio(name, samples, f"≥ {goal}", statistics.median(samples) >= goal, unit)

    def at_most(self, name: str, samples: Sequence[float], goal: float, unit: str = "×") -> None:
        """Report samples whose median should be ``goal`` or less."""
        self._ratio(name, samples, f"≤ {goal}", statistics.median(samples) <= goal, unit)

    def _ratio(self, name: str, samples: Sequence[float], goal: str, is_reached: bool, unit: str = "×") -> None:
        middle = statistics.median(samples)
        self.figures.append(
            Figure(name=name, value=middle, unit=unit, low=min(samples), high=max(samples), goal=goal, is_reached=is_reached)
        )

    def note(self, text: str) -> None:
        """Say what a reader of the figures must know (a peer that is absent, what a round holds)."""
        self.notes.append(text)

    def document(self) -> dict[str, Any]:
        """The stage as JSON."""
        figures = [{slot: getattr(figure, slot) for slot in Figure.__slots__} for figure in self.figures]
        return {"stage": self.name, "figures": figures, "notes": self.notes, "machine": machine()}


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def machine() -> dict[str, Any]:
    """What the figures were measured on: versions and cores, no names of machines."""
    packages = {name: version(name) for name in PACKAGES}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
        "load": round(os.getloadavg()[0], 1),
        "flush_ms": round(flush_milliseconds(), 3),
        **packages,
    }


def flush_milliseconds(seconds: float = 2.0) -> float:
    """The median time of one fsync of a small write, in ms: what a durable commit costs at least."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "flush"
    times: list[float] = []
    with path.open("wb", buffering=0) as file:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            file.write(b"x" * 8192)
            start = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - start)
    path.unlink()
    return statistics.median(times) * 1000


def alternate(rounds: int, *works: Callable[[], float]) -> list[list[float]]:
    """Run all measurements ``rounds`` times in turn after one unmeasured warm-up each; return a list of each one's results."""
    for work in works:
        work()
    results: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for result, work in zip(results, works, strict=True):
            result.append(work())
    return results


def percentile(samples: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the samples lie (nearest rank)."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def show(stage: Stage) -> dict[str, Any]:
    """Print the stage as a table and one JSON line; return what was told."""
    document = stage.document()
    sys.stdout.write("\n".join((section(document), json.dumps(document, ensure_ascii=False), "")))
    sys.stdout.flush()
    return document


def publish(stage: Stage) -> None:
    """Show the stage, keep it, and rewrite the page of results."""
    document = show(stage)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{stage.name}.json").write_text(json.dumps(document))
    write_page()


def write_page() -> None:
    """Rewrite ``infra/docs/benchmarks.md`` from the page itself and the stages that ran here."""
    stages = read_page()
    for path in sorted(RESULTS.glob("*.json")):
        document = json.loads(path.read_text())
        stages[document["stage"]] = section(document)
    head = "\n".join(HEAD)
    PAGE.write_text(head + "\n" + "\n".join(stages[name] for name in sorted(stages)))


def read_page() -> dict[str, str]:
    """The sections that stand on the page, by stage."""
    if not PAGE.exists():
        return {}
    parts = PAGE.read_text().split("\n## ")[1:]
    return {part.split("\n", 1)[0]: "## " + part.rstrip("\n") + "\n" for part in parts}


def section(document: dict[str, Any]) -> str:
    """One stage of the page."""
    on = document["machine"]
    where = f"{on['date']} · {on['cores']} cores · Python {on['python']} · {on['system']} · one flush {on['flush_ms']} ms"
    if "load" in on:
        where += f" · {on['load']:g} processes wanted a core"
    rows = [Figure(**figure).row() for figure in document["figures"]]
    notes = [f"- {note}" for note in document["notes"]]
    table = ["| figure | median | span | goal | |", "|---|---|---|---|---|", *rows]
    return "\n".join([f"## {document['stage']}", "", where, "", *table, *(["", *notes] if notes else []), ""])
