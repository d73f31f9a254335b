"""How inputs are found: by atheris, which sees the branches an input takes, or where that cannot be had by hypothesis, blindly.

Atheris lives in an environment of its own under ``.fillbook`` like the peers of the benchmarks: it is no part of the lock. It
borrows the project's packages from the environment that runs this.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.bench.peers import PEERS, python_of
from tests.fuzz.findings import ROOT, Findings, broken_by
from tests.fuzz.parsers import Parser

WORK = ROOT / ".fillbook" / "fuzz"
ATHERIS: Final = "atheris==3.0.0"
INPUT_BYTES_MAX: Final = 8_192
HANG_SECONDS: Final = 30
BATCH: Final = 500
_REACHED: Final = re.compile(r"cov: (\d+) ft: ")
_FINAL: Final = re.compile(r"stat::(number_of_executed_units|average_exec_per_sec): +(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How a search went: inputs, and how many in a second. ``branches`` that were reached (0: unknown)."""

    engine: str
    runs: int
    rate: int
    branches: int = 0


def atheris_python() -> Path | None:
    """The Python that has atheris; None where it cannot be had."""
    PEERS.mkdir(parents=True, exist_ok=True)
    return python_of("atheris", ATHERIS)


def with_atheris(python: Path, name: str, parser: Parser, places: Places, *, seconds: int, chosen: int) -> Search:
    """Search for so many seconds from the inputs in ``places``."""
    places.dictionary(parser.words)
    options = [
        f"-max_total_time={seconds}",
        f"-seed={chosen}",
        f"-max_len={INPUT_BYTES_MAX}",
        f"-timeout={HANG_SECONDS}",
        f"-dict={places.words}",
        f"-artifact_prefix={places.died}/",
        "-rss_limit_mb=0",
        "-print_final_stats=1",
    ]
    told = _driver(python, name, places, [*options, str(places.corpus), str(places.seeds)])
    for path in sorted(places.died.iterdir()):
        Findings(places.found).note(f"Died of it ({path.name.partition('-')[0]})", path.read_bytes())
    counted, reached = dict(_FINAL.findall(told)), _REACHED.findall(told)
    if not counted or not reached:
        raise RuntimeError(f"atheris did not come to an end: {told[-2000:]}")
    runs, rate = (int(counted[stat]) for stat in ("number_of_executed_units", "average_exec_per_sec"))
    return Search(engine="atheris", runs=runs, rate=rate, branches=int(reached[-1]))


def _driver(python: Path, name: str, places: Places, options: list[str]) -> str:
    """Run the driver to its end and return what libFuzzer said."""
    borrowed = [str(ROOT), str(ROOT / "shared"), sysconfig.get_path("purelib")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(borrowed), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(python), "-m", "tests.fuzz.driver", name, str(places.found), *options]
    with places.log.open("w+") as log:
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=log, env=environment, cwd=ROOT, check=False)
        log.seek(0)
        return log.read()


def with_hypothesis(parser: Parser, places: Places, *, seconds: int, chosen: int) -> Search:
    """Search blindly: known inputs cut, spliced and sprinkled with the words of the language."""
    findings, known = Findings(places.found), places.inputs() or [b""]
    pieces = st.one_of(st.sampled_from(parser.words), st.binary(max_size=4))
    begun, runs = time.monotonic(), 0

    def spliced(left: bytes, right: bytes, at: int, until: int, inserted: list[bytes]) -> bytes:
        return (left[:at] + b"".join(inserted) + right[until:])[:INPUT_BYTES_MAX]

    some, place = st.sampled_from(known), st.integers(0, max(map(len, known)))
    inputs = st.one_of(st.binary(max_size=64), st.builds(spliced, some, some, place, place, st.lists(pieces, max_size=3)))
    while time.monotonic() - begun < seconds:

        @seed(chosen + runs)
        @settings(
            max_examples=BATCH, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
        )
        @given(inputs)
        def attempt(data: bytes) -> None:
            was = broken_by(parser.check, data)
            if was is not None:
                findings.note(was, data)

        attempt()
        runs += BATCH
    return Search(engine="hypothesis", runs=runs, rate=round(runs / max(time.monotonic() - begun, 1)))


class Places:
    """The folders of one parser under ``.fillbook``: they stay between runs, so that the next search goes on from there."""

    def __init__(self, name: str) -> None:
        base = WORK / name
        self.corpus, self.seeds, self.found, self.died = (base / part for part in ("corpus", "seeds", "found", "died"))
        for folder in (self.corpus, self.seeds, self.found, self.died):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in (self.seeds, self.found, self.died):
            for path in folder.iterdir():
                path.unlink()
        self.words, self.log = base / "words", base / "log"

    def plant(self, inputs: Iterable[bytes]) -> None:
        """What a search begins from."""
        for number, data in enumerate(inputs):
            (self.seeds / f"{number:04}").write_bytes(data)

    def inputs(self) -> list[bytes]:
        """Everything it begins from, whatever an earlier search left included."""
        return [path.read_bytes() for folder in (self.seeds, self.corpus) for path in sorted(folder.iterdir())]

    def dictionary(self, words: Iterable[bytes]) -> None:
        """The words of the language, in the form that libFuzzer reads."""
        lines = ["".join(f"\\x{byte:02x}" for byte in word) for word in words]
        self.words.write_text("".join(f'"{line}"\n' for line in lines), "ascii")


def reached(name: str, places: Places) -> tuple[str, list[bytes]]:
    """Of everything in ``places``: how many lines of the parser's modules are reached, and the fewest inputs that do."""
    data = places.log.with_name("lines")
    command = [sys.executable, "-m", "tests.fuzz.reach", name, str(data), str(places.seeds), str(places.corpus)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "shared")])}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    return told["lines"], [Path(path).read_bytes() for path in told["fewest"]]
