"""``infra/dev.py bench [STAGE …]``: measures against baselines in the same run and writes ``infra/docs/benchmarks.md``."""

from __future__ import annotations

import importlib
import sys

STAGES = {
    "booking": "booked executions one by one and batched, against a bare durable insert and pgbench",
    "decide": "the strategy alone: decisions per second and core",
    "receipts": "receipts at the door and at the worker: processor time, latency, rate, round trips",
    "webhook": "the webhook: requests per second and latency, against an empty handler",
    "ibkr": "broker executions: first import, booked, again, one correction, against a row at a time",
    "ingest": "broker executions against a loop over rows and COPY: first, unchanged, a thousandth corrected",
    "accounts": "MT5 accounts in five minutes: shards and inline runs, against batches of ten; what one costs; dispatch",
    "rebuild": "a book from its journal again, against beancount and RP2 booking the same history",
    "replay": "a stored day decided again, against nautilus_trader and backtesting.py on the same bars",
    "snapshot": "a published day: read, sent, stored, proven; past the API; against a job of the classic kind",
    "api": "the read API at 100,000 positions: each route at 1, 4 and 20 readers, files, against its statements bare",
    "page": "the page in Chromium: how soon it shows data, and what a thousand cards keep busy",
    "ibkr_flex": "a statement of 50,000 rows parsed: processor time and memory, against expat alone",
    "e2e": "webhook to Discord: latency at a constant rate, against the same chain with empty handlers",
    "growth": "how each kind of work grows with its size: exponents by processor time",
    "load": "each door under a rising constant rate: its knee, twice as much, and how soon it is as before",
    "coldstart": "cold start of each function against a bare hello world",
}
MODULES = {"accounts": "mt5", "load": "knee"}
"""Where a stage is not in a module of its name."""


def run(argv: list[str]) -> int:
    """Run the named stages, or all; the exit status says whether they ran, never whether a goal was reached."""
    is_value = [False, *(word.startswith("--") for word in argv)]
    words = [word for word, of_option in zip(argv, is_value, strict=False) if not of_option and not word.startswith("-")]
    names, unknown = [word for word in words if word in STAGES], [word for word in words if word not in STAGES]
    if unknown or "--help" in argv:
        sys.stdout.write(
            "bench [STAGE …] [--runs N]; e2e also [--rate N[,N]] [--seconds N], rebuild also [--fills N],\n"
            "ibkr also [--executions N[,N]], ingest also [--fills N],\n"
            "accounts also [--accounts N[,N]] [--latency MS] [--only PART[,PART]],\n"
            "growth also [--stages NAME[,NAME]] [--scale N], replay also [--tickers N], api also [--positions N] [--calls N],\n"
            "load also [--only DOOR[,DOOR]] [--rate-max N],\n"
            "snapshot also [--rows N[,N]] [--sessions N] [--trades N] [--only PART[,PART]]\n"
            + "".join(f"  {name:<10} {what}\n" for name, what in STAGES.items())
        )
        return 2 if unknown else 0
    options = [word for word, of_option in zip(argv, is_value, strict=False) if of_option or word.startswith("-")]
    for name in names or STAGES:
        module = importlib.import_module(f"tests.bench.{MODULES.get(name, name)}")
        if module.run(options):
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
