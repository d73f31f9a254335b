"""Kept cases: what a parser was broken by, with what it says now; and a small corpus that reaches most of it.

``tests/cases/fuzz/<parser>/found.jsonl`` has one object a line: ``input``, ``was`` (what it was broken by), ``now`` (what becomes
of it since it was mended; null until then). ``corpus.jsonl`` has one input a line. An input is a text of Latin-1: one character
a byte, so that any bytes can be read, compared and kept in a line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CASES: Final = Path(__file__).resolve().parents[1] / "cases" / "fuzz"
FOUND, CORPUS = "found.jsonl", "corpus.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An input that broke a parser."""

    data: bytes
    was: str
    now: str | None


def found(parser: str) -> list[Case]:
    """What broke a parser, oldest first."""
    rows = [json.loads(line) for line in _lines(CASES / parser / FOUND)]
    return [Case(data=row["input"].encode("latin-1"), was=row["was"], now=row["now"]) for row in rows]


def corpus(parser: str) -> list[bytes]:
    """Inputs that together reach what was ever reached, the shortest first."""
    return [json.loads(line).encode("latin-1") for line in _lines(CASES / parser / CORPUS)]


def keep_found(parser: str, cases: Iterable[Case]) -> None:
    """Write what broke a parser."""
    rows = [{"input": one.data.decode("latin-1"), "was": one.was, "now": one.now} for one in cases]
    _write(CASES / parser / FOUND, rows)


def keep_corpus(parser: str, inputs: Iterable[bytes]) -> None:
    """Write the corpus."""
    _write(CASES / parser / CORPUS, [one.decode("latin-1") for one in sorted(set(inputs), key=lambda one: (len(one), one))])


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines() if path.exists() else []


def _write(path: Path, rows: Sequence[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
