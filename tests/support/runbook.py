"""The runbook's fenced blocks as commands: what is typed, what it shows, and of which kind it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infra.local.home import ROOT

RUNBOOK = ROOT / "infra" / "docs" / "runbook.md"
LOCAL, CLOUD, SQL = "console local", "console cloud", "sql local"
KINDS = (LOCAL, CLOUD, SQL)
FENCE = re.compile(r"^(?P<indent> *)```(?P<kind>[^\n`]*)\n(?P<body>.*?)^ *```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command of a block: its kind, its text, the lines it is said to show, and the document's line it stands in."""

    kind: str
    text: str
    shown: tuple[str, ...] = ()
    line: int

    def shows(self, output: str) -> list[str]:
        """The lines that are missing in ``output``; ``…`` stands for anything within the answer."""
        flat = " ".join(output.split())
        patterns = {one: ".*".join(re.escape(" ".join(part.split())) for part in one.split("…")) for one in self.shown}
        return [one for one, pattern in patterns.items() if re.search(pattern, flat) is None]


def commands(text: str) -> Iterator[Command]:
    """Every command in order; ``ValueError`` for a block of no kind and for a console block that begins without a command."""
    for block in FENCE.finditer(text):
        kind, first = block["kind"].strip(), text[: block.start()].count("\n") + 2
        if kind not in KINDS:
            raise ValueError(f"line {first - 1}: a block of the kind {kind!r}")
        lines = [(first + number, one.strip()) for number, one in enumerate(block["body"].splitlines()) if one.strip()]
        yield from _statements(lines) if kind == SQL else _typed(kind, lines)


def _typed(kind: str, lines: list[tuple[int, str]]) -> Iterator[Command]:
    if not lines[0][1].startswith("$ "):
        raise ValueError(f"line {lines[0][0]}: no command, it does not begin with a dollar sign")
    starts = [place for place, (_, one) in enumerate(lines) if one.startswith("$ ")]
    for begin, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        shown = tuple(one for _, one in lines[begin + 1 : end])
        yield Command(kind=kind, text=lines[begin][1][2:], shown=shown, line=lines[begin][0])


def _statements(lines: list[tuple[int, str]]) -> Iterator[Command]:
    for line, one in lines:
        if not one.endswith(";"):
            raise ValueError(f"line {line}: a statement is one line and ends with a semicolon")
        yield Command(kind=SQL, text=one.removesuffix(";"), line=line)


def of_kind(kind: str, path: Path = RUNBOOK) -> list[Command]:
    """The runbook's commands of one kind."""
    return [one for one in commands(path.read_text("utf-8")) if one.kind == kind]


def headings(text: str) -> set[str]:
    """What a link may name: every heading as it is anchored."""
    return {
        re.sub(r"[^\w\- ]", "", one).strip().lower().replace(" ", "-") for one in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
