"""``chaos``: simulated trading days of the whole local desk under every fault the specification names, drawn from one seed."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from infra.chaos.kinds import KINDS
from infra.chaos.plan import FAULTS_A_DAY, Plan, drawn
from infra.chaos.report import Told, text_of
from infra.chaos.run import play
from infra.door.operators import home

DAYS: Final = 24
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - the file system in memory, for folders of our own
FREE_BYTES_MIN: Final = 3 * 1024 * 1024 * 1024
"""A desk asks for every flush; where its files are in memory nobody waits for one. What dies is processes, never the machine."""


def run(argv: list[str]) -> int:
    """Play the days and print the report; the exit status is 0 only where everything holds."""
    parser = argparse.ArgumentParser(prog="infra/dev.py chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="another seed is another run (1)")
    parser.add_argument(
        "--days", type=int, default=DAYS, help=f"how many sessions ({DAYS}: both clock changes, half days, year end)"
    )
    parser.add_argument("--faults", type=int, default=FAULTS_A_DAY, help=f"faults a day ({FAULTS_A_DAY})")
    parser.add_argument("--bars", type=int, help="moments of a session at which receipts are sent (9, on half days 7)")
    parser.add_argument("--only", action="append", default=[], help="a kind or a family of kinds; may be repeated (all)")
    parser.add_argument("--folder", type=Path, help="where the desks live; kept (a temporary one, kept only if something fails)")
    parser.add_argument("--report", type=Path, help="where the report goes as JSON (.fillbook/chaos/seed-N-days-D.json)")
    parser.add_argument("--plan", action="store_true", help="print the plan and play nothing")
    given = parser.parse_args(argv)
    try:
        plan = drawn(given.seed, given.days, faults=given.faults, bars=given.bars, only=given.only)
    except ValueError as error:
        parser.error(str(error))
    if given.plan:
        _print_plan(plan)
        return 0
    folder = given.folder or _temporary()
    told = Told(command=f"python3 infra/dev.py chaos {' '.join(argv)}".strip(), plan=plan)
    report = given.report or home() / "chaos" / f"seed-{given.seed}-days-{given.days}.json"
    print(f"seed {plan.seed}: {len(plan.days)} days, {plan.injected.total()} faults of {len(plan.injected)} kinds", flush=True)
    try:
        play(plan, folder, told, lambda line: print(line, flush=True))
    finally:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(json.dumps(told.document(), indent=1), encoding="utf-8")
        print(f"{text_of(told)}\nreport   {report}", flush=True)
        if given.folder is None and told.is_proven:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"desks    {folder}", flush=True)
    return 0 if told.is_proven else 1


def _temporary() -> Path:
    """A new folder, in memory where there is much room."""
    has_room = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= FREE_BYTES_MIN
    return Path(tempfile.mkdtemp(prefix="fillbook-chaos-", dir=MEMORY if has_room else None))


def _print_plan(plan: Plan) -> None:
    for day in plan.days:
        print(day.day)
        for fault in day.faults:
            options = ", ".join(f"{name} {value}" for name, value in fault.options)
            checks = ",".join(map(str, KINDS[fault.kind].checks))
            print(f"  {fault.moment:<10} {fault.kind:<32} checks {checks:<8} {options}")
    print(f"plan {plan.digest}")


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
