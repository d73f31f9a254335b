"""What must hold before a figure counts: both sides say the same of a day, and readers never see half of one.

Days that are stored without being published, and those that grow, are apart from the published ones.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from datetime import date
from itertools import cycle
from typing import Any

import requests

from fillbook.snapshot import checks, document
from fillbook.snapshot.model import Snapshot
from tests.bench.snapshot_classic import Job
from tests.bench.snapshot_place import KEYS, Place, as_read, posted, publisher
from tests.support.snapshot_shapes import Shape, snapshot

STORED_DAY = date(2024, 1, 3)
SEEDS = itertools.count(1)


def versions(shape: Shape) -> Iterator[tuple[Snapshot, bytes]]:
    """One content after the other, all their points different."""
    for seed in SEEDS:
        made = snapshot(shape, day=STORED_DAY, seed=seed)
        yield made, document.encoded(made)


def check_equal(where: Place, day: date) -> None:
    """Gate: what we publish of the day says what the row path reads, value by value."""
    with publisher(where) as ground:
        found = as_read(ground.db, day)
        made, _, problems = document.built(found, headline="", summary="", provenance={})
        problems = (*problems, *checks.validated(made, found))
        ours = json.loads(document.encoded(made))
    job = Job(where.url, where.classic_url)
    theirs = job.document(day.isoformat())
    job.close()
    if problems or told(ours) != told(theirs):
        raise AssertionError(f"the documents differ, or are wrong: {problems[:3]}")


def told(found: dict[str, Any]) -> list[object]:
    """What both documents say, in one form."""
    overlay = found["overlay"]
    rows = [(row["kpi"], row["value"], row["sort_order"]) for row in found["rows"]]
    items = {
        (kpi, side, item["rank"]): {name: value for name, value in item.items() if name not in ("kpi", "side")}
        for kpi, sides in overlay["extremes"]["byKpi"].items()
        for side, listed in sides.items()
        for item in listed
    }
    return [rows, overlay["seriesByKpi"], items, overlay["portfolioAssets"]]


def check_whole(where: Place, shape: Shape, rounds: int = 6) -> None:
    """Gate: whoever reads while days take each other's place sees one of them in full."""
    made = versions(shape)
    known: dict[str, tuple[str, str]] = {}
    over = threading.Event()
    wrong: list[str] = []

    def marks(found: dict[str, Any]) -> tuple[str, tuple[str, str]]:
        series, extremes = found["overlay"]["seriesByKpi"], found["overlay"]["extremes"]["byKpi"]
        last_point, last_extreme = list(series.values())[-1][-1], list(extremes.values())[-1]["lo"][-1]
        return str(found["rows"][0]["value"]), (str(last_point["v"]), str(last_extreme["metric_raw"]))

    def look() -> None:
        with requests.Session() as session:
            for key in cycle(KEYS):
                if over.is_set():
                    return
                headers = {"Authorization": f"Bearer {key}"}
                path = f"/v1/trades/latest?date={STORED_DAY}"
                first, rest = marks(session.get(where.api_url + path, headers=headers, timeout=60).json())
                if known[first] != rest:
                    wrong.append(first)

    reader = threading.Thread(target=look)
    with requests.Session() as session:
        for number in range(rounds):
            _, body = next(made)
            first, rest = marks(json.loads(body))
            known[first] = rest
            posted(where, body, session)
            if number == 0:
                reader.start()
    over.set()
    reader.join()
    if wrong:
        raise AssertionError(f"{len(wrong)} answers were of no one day")
