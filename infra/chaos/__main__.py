"""``chaos``: simulated trading days of the whole local desk under every fault the specification names, drawn from one seed."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from infra.chaos.kinds import KINDS
from infra.chaos.plan import FAULTS_A_DAY, Plan, drawn
from infra.chaos.report import Told, text_of
from infra.chaos.run import play

DAYS: Final = 24
REPORT_FILE: Final = "chaos.json"


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
    parser.add_argument("--report", type=Path, help=f"where the report goes as JSON ({REPORT_FILE} in the folder)")
    parser.add_argument("--plan", action="store_true", help="print the plan and play nothing")
    given = parser.parse_args(argv)
    try:
        plan = drawn(given.seed, given.days, faults=given.faults, bars=given.bars, only=given.only)
    except ValueError as error:
        parser.error(str(error))
    if given.plan:
        _print_plan(plan)
        return 0
    folder = given.folder or Path(tempfile.mkdtemp(prefix="fillbook-chaos-"))
    told = Told(command=f"python3 infra/dev.py chaos {' '.join(argv)}".strip(), plan=plan)
    print(
        f"seed {plan.seed}: {len(plan.days)} days, {sum(plan.injected.values())} faults of {len(plan.injected)} kinds; {folder}",
        flush=True,
    )
    try:
        play(plan, folder, told, lambda line: print(line, flush=True))
    finally:
        report = given.report or folder / REPORT_FILE
        report.write_text(json.dumps(told.document(), indent=1), encoding="utf-8")
        print(text_of(told), flush=True)
    if told.is_proven and given.folder is None and given.report is not None:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if told.is_proven else 1


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
