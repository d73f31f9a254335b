"""``infra/dev.py fuzz [PARSER …] [--seconds N] [--seed S] [--keep]``: looks for bytes that break a parser, and keeps them."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.fuzz import cases
from tests.fuzz.cases import Case
from tests.fuzz.engine import Places, Search, atheris_python, reached, with_atheris, with_hypothesis
from tests.fuzz.findings import Findings, broken_by, shortened
from tests.fuzz.parsers import PARSERS, Parser

SECONDS, SECONDS_MAX = 60, 24 * 3600
CORPUS_BYTES_MAX, CORPUS_MAX = 2_048, 60


def run(argv: Sequence[str]) -> int:
    """Search; the exit status is 1 when something new was found."""
    options = _options(argv)
    python = None if options.blind else atheris_python()
    if python is None:
        why = "" if options.blind else ": atheris cannot be had here"
        _say(f"hypothesis searches, without seeing which branches are taken{why}")
    _say(f"--seed {options.seed}")
    new = [_searched(name, python, options) for name in options.parsers or PARSERS]
    return int(any(new))


def _options(argv: Sequence[str]) -> argparse.Namespace:
    listed = "\n".join(f"  {name:<9} {parser.purpose}" for name, parser in PARSERS.items())
    parser = argparse.ArgumentParser(prog="fuzz", epilog=listed, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parsers", nargs="*", metavar="PARSER", help="which (default: each in turn)")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for each parser")
    parser.add_argument("--seed", type=int, default=secrets.randbits(31), help="the same seed begins the same search")
    parser.add_argument(
        "--keep", action="store_true", help="make the kept corpus the fewest inputs that reach all that is reached"
    )
    parser.add_argument("--blind", action="store_true", help="search with hypothesis although atheris can be had")
    given = parser.parse_args(argv)
    unknown = sorted(set(given.parsers) - PARSERS.keys())
    if unknown or not 1 <= given.seconds <= SECONDS_MAX:
        parser.error(f"no parser {', '.join(unknown)}" if unknown else f"--seconds is 1 to {SECONDS_MAX}")
    return given


def _searched(name: str, python: Path | None, options: argparse.Namespace) -> bool:
    """Search one parser and say what came of it; True when something new was found."""
    parser, places, known = PARSERS[name], Places(name), cases.found(name)
    places.plant([*parser.seeds, *cases.corpus(name), *(one.data for one in known)])
    search = _search(name, parser, places, python, options)
    found = [Case(data=_shortest(parser, was, data), was=was, now=None) for was, data in Findings(places.found).found]
    new = [one for one in found if one.was not in {case.was for case in known}]
    if new or options.keep:
        cases.keep_found(name, [_as_now(parser, one) for one in (*known, *new)])
    lines, fewest = reached(name, places)
    if options.keep:
        cases.keep_corpus(name, [one for one in fewest if len(one) <= CORPUS_BYTES_MAX][:CORPUS_MAX])
    _say(
        f"{name}: {search.runs} inputs in {options.seconds} s by {search.engine} ({search.rate}/s), "
        f"{search.branches} branches, {lines}, {len(found)} findings, {len(new)} of them new"
    )
    for one in found:
        _say(f"  {one.was}: {one.data[:100]!r}")
    return bool(new)


def _search(name: str, parser: Parser, places: Places, python: Path | None, options: argparse.Namespace) -> Search:
    if python is None:
        return with_hypothesis(parser, places, seconds=options.seconds, chosen=options.seed)
    return with_atheris(python, name, parser, places, seconds=options.seconds, chosen=options.seed)


def _as_now(parser: Parser, case: Case) -> Case:
    """The case with what becomes of it, once it breaks nothing any more."""
    return replace(case, now=None if broken_by(parser.check, case.data) else parser.check(case.data))


def _shortest(parser: Parser, was: str, data: bytes) -> bytes:
    """The input, shortened where trying is cheap and harmless."""
    if was.startswith(("Died", "Slow", "MemoryError")):
        return data
    return shortened(data, lambda shorter: broken_by(parser.check, shorter) == was)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
