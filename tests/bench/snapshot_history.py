"""A year of sessions published one after the other by the job, and what readers then wait for."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from itertools import cycle

import requests

from fillbook.snapshot import days as trading_days
from tests.bench.report import Stage, percentile
from tests.bench.snapshot_place import KEYS, ROOT, Place, opened, spread
from tests.support.snapshot_shapes import DAY

RATE, MEMORY_MB = 2.0, 20.0
LATEST_MS, SERIES_MS, UNCHANGED_MS = 60.0, 20.0, 5.0
SAMPLE_SECONDS = 0.2
CHILD = """
import json, sys, threading, time
from pathlib import Path
told, argv, every = sys.argv[1], sys.argv[3:], float(sys.argv[2])
sizes, over = [], threading.Event()
def watch():
    while not over.wait(every):
        lines = Path("/proc/self/status").read_text().splitlines()
        sizes.append(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024)
threading.Thread(target=watch, daemon=True).start()
import main
from fillbook.snapshot import publisher
began = time.perf_counter()
status = publisher.work_job(main.worker, argv)
taken = time.perf_counter() - began
over.set()
Path(told).write_text(json.dumps({"status": status, "seconds": taken, "cpu": time.process_time(), "mb": sizes}))
"""


def backfill(stage: Stage, where: Place, *, sessions: int) -> None:
    """Publish the last ``sessions`` sessions up to the day that stands in the tables."""
    first = DAY - timedelta(days=2 * sessions + 10)
    wanted = list(trading_days.sessions(first, DAY))[-sessions:]
    with opened(where.url) as db:
        spread(db, wanted)
    told = where.folder / "backfill.json"
    span = ["--from", wanted[0].isoformat(), "--to", wanted[-1].isoformat(), "--no-refresh"]
    command = [sys.executable, "-c", CHILD, str(told), str(SAMPLE_SECONDS), *span]
    with (where.folder / "backfill.log").open("w+") as log:
        folder = ROOT / "functions" / "snapshot_publisher"
        subprocess.run(command, cwd=folder, env=where.job_settings, stdout=log, check=True)
        log.seek(0)
        found = json.loads(told.read_text())
        if found["status"] != 0:
            raise AssertionError(f"the job ended with {found['status']}: {log.read()[-1500:]}")
    settled = found["mb"][len(found["mb"]) // 5 :] or [0.0]
    stage.at_least(f"backfill of {sessions} sessions, a second", [sessions / found["seconds"]], RATE, "sessions")
    stage.add("backfill: processor time of a session", [found["cpu"] / sessions * 1000], "ms")
    stage.at_most(
        "backfill: memory, highest less lowest after the first fifth", [max(settled) - min(settled)], 2 * MEMORY_MB, "MB"
    )
    stage.add("backfill: memory at its highest", [max(found["mb"], default=0.0)], "MB")


def readers(stage: Stage, where: Place, *, runs: int) -> None:
    """One reader after the other, each with a key of its own turn."""
    keys = cycle(KEYS)
    with requests.Session() as session:

        def asked(path: str, status: int, headers: Mapping[str, str]) -> tuple[float, requests.Response]:
            given = {"Authorization": f"Bearer {next(keys)}", "Accept-Encoding": "gzip", **headers}
            began = time.perf_counter()
            answer = session.get(where.api_url + path, headers=given, timeout=60)
            taken = (time.perf_counter() - began) * 1000
            if answer.status_code != status:
                raise AssertionError(answer.text[:200])
            return taken, answer

        def measured(path: str, status: int, headers: Mapping[str, str]) -> list[float]:
            return [asked(path, status, headers)[0] for _ in range(runs + 3)][3:]

        latest = "/v1/trades/latest"
        tag = asked(latest, 200, {})[1].headers["ETag"]
        series = f"/v1/metrics/series?kpi=KPI%2000&date={DAY}&limit=500"
        for name, path, status, headers, goal in (
            ("latest", latest, 200, {}, LATEST_MS),
            ("series of 500 points", series, 200, {}, SERIES_MS),
            ("not modified", latest, 304, {"If-None-Match": tag}, UNCHANGED_MS),
        ):
            taken = measured(path, status, headers)
            stage.add(f"reader: {name}", taken, "ms")
            stage.at_most(f"reader: {name}, p95", [percentile(taken, 0.95)], goal, "ms")
