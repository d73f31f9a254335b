"""The webhook: latency at constant rates and the most requests a second, beside handlers that do nothing.

Three processes of the same framework with the same threads, in turn: ours from its bundle; one that only publishes the body
(the empty handler of the chain); one that only answers. Publishing goes to a real local Pub/Sub each. What ours adds to the
second is token, parsing, validation, canonical form and the log; goals are set against that one.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from fillbook.signal.receipt import instant
from infra.local.desk import LocalCloud
from tests.bench.load import Target, as_fast_as, at_rate
from tests.bench.nulls import EMPTY, INGEST, work_tree
from tests.bench.report import Stage, percentile, publish
from tests.support.receipts import R_TS, body, encoded

ROUNDS = 5
RATES = (50, 150)
SECONDS = 2.0
HANDS = 16
TICKERS = 400
ANSWER_MS = 300.0
RATIO = 1.5
OURS, PUBLISHES, EMPTY_ONE = "signal_ingest", "handler that only publishes", "handler that only answers"
FUNCTION = "signal_ingest"
Samples = dict[tuple[str, str], list[float]]


def run(argv: list[str]) -> int:
    """``bench webhook [--runs N]``."""
    rounds = int(argv[argv.index("--runs") + 1]) if "--runs" in argv else ROUNDS
    stage = Stage(name="webhook")
    bodies = [encoded(body(ticker=f"ZE{number}")) for number in range(TICKERS)]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        targets = dict(_targets(Path(folder), stack))
        samples, pooled = _measure(targets, bodies, rounds)
    _tell(stage, samples, pooled)
    stage.note(f"constant rates are open loop: latency from the instant a request was due; {HANDS} hands in the closed loop")
    stage.note("load generator, functions and Pub/Sub share the machine's cores; every answer was 202")
    stage.note("what ours adds: token, strict parsing, validation, canonical form and its hash, a line of log")
    publish(stage)
    return 0


def _targets(folder: Path, stack: ExitStack) -> Iterator[tuple[str, Target]]:
    roots: dict[str, Path | None] = {OURS: None, PUBLISHES: None, EMPTY_ONE: None}
    roots[PUBLISHES] = work_tree(folder / "publishes", {FUNCTION: INGEST})
    roots[EMPTY_ONE] = work_tree(folder / "empty", {FUNCTION: EMPTY})
    for number, (name, root) in enumerate(roots.items()):
        start = instant(R_TS + 61_000)
        options = {} if root is None else {"root": root}
        cloud = stack.enter_context(LocalCloud(folder / f"desk{number}", functions=[FUNCTION], desk_start=start, **options))
        yield name, webhook_of(cloud)


def webhook_of(cloud: LocalCloud) -> Target:
    """The webhook of a running desk with its token."""
    headers = {"Authorization": f"Bearer {cloud.secrets['ingest_token']}", "Content-Type": "application/json"}
    return Target(url=f"{cloud.url(FUNCTION)}/timed/ingest", headers=headers)


def _measure(targets: Mapping[str, Target], bodies: list[bytes], rounds: int) -> tuple[Samples, Samples]:
    """Each round's percentiles in ms and requests a second by (what, whose); and all latencies of all rounds in ms."""
    samples: Samples = {}
    pooled: Samples = {}
    endless = itertools.cycle(bodies)
    for target in targets.values():
        as_fast_as(target, bodies, HANDS, 1.0)
    for _ in range(rounds):
        for rate in RATES:
            for name, target in targets.items():
                answers = at_rate(target, list(itertools.islice(endless, int(rate * SECONDS))), rate)
                if {one.status for one in answers} != {202}:
                    raise RuntimeError(f"{name} refused: {sorted({one.status for one in answers})}")
                times = [one.seconds * 1000 for one in answers]
                pooled.setdefault((f"{rate}/s", name), []).extend(times)
                for share in (0.5, 0.95, 0.99):
                    samples.setdefault((f"{rate}/s: p{share * 100:g}", name), []).append(percentile(times, share))
        for name, target in targets.items():
            samples.setdefault(("rate", name), []).append(as_fast_as(target, bodies, HANDS, SECONDS))
    return samples, pooled


def _tell(stage: Stage, samples: Samples, pooled: Samples) -> None:
    for rate in RATES:
        for name in (OURS, PUBLISHES, EMPTY_ONE):
            for share in ("p50", "p99"):
                stage.add(f"{name}, {rate}/s: {share}", samples[f"{rate}/s: {share}", name], "ms")
        stage.at_most(f"{rate}/s: p95 of all answers", [percentile(pooled[f"{rate}/s", OURS], 0.95)], ANSWER_MS, "ms")
        for share in ("p50", "p99"):
            stage.at_most(f"{rate}/s: {share} / only publishing", _ratios(samples, f"{rate}/s: {share}", PUBLISHES), RATIO)
        stage.add(f"{rate}/s: p50 / only answering", _ratios(samples, f"{rate}/s: p50", EMPTY_ONE), "×")
    for name in (OURS, PUBLISHES, EMPTY_ONE):
        stage.add(f"{name}, as fast as it can", samples["rate", name], "requests/s")
    stage.add("requests/s / only publishing", _ratios(samples, "rate", PUBLISHES), "×")
    stage.add("requests/s / only answering", _ratios(samples, "rate", EMPTY_ONE), "×")


def _ratios(samples: Samples, what: str, other: str) -> list[float]:
    return [ours / theirs for ours, theirs in zip(samples[what, OURS], samples[what, other], strict=True)]
