"""Cuts a file of SQL into its statements, with the comment that stands before each; a reader for rules, not for Postgres.

It knows what may hold a semicolon: line comments, quoted texts and names, dollar quotes. A body in dollar quotes stays in its
statement as it is. Block comments do not occur in this house (the driver's own reader stumbles over them) and are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

OUTSIDE = "-- outside a transaction"
KINDS = ("comment", "text", "name", "body", "block", "end", "other")
_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*)
      | (?P<text>'(?:[^']|'')*')
      | (?P<name>"(?:[^"]|"")*")
      | (?P<body>\$(?P<tag>[A-Za-z_]*)\$.*?\$(?P=tag)\$)
      | (?P<block>/\*)
      | (?P<end>;)
      | (?P<other>[^'";$/\-]+|.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement: its text as it stands, its words (comments and texts left out, one line), its remarks, its line."""

    text: str
    words: str
    remarks: str
    line: int


def is_outside_transaction(text: str) -> bool:
    """Whether a file asks to be run statement by statement, as `create index concurrently` must be."""
    return text.startswith(OUTSIDE)


def statements(text: str) -> Iterator[Statement]:
    """Yield the statements in order; ``ValueError`` for a block comment or a text that is never closed."""
    raw: list[str] = []
    words: list[str] = []
    remarks: list[str] = []
    begin = line = 1
    for token in _TOKEN.finditer(text):
        found = token.group()
        kind = next(name for name in KINDS if token.group(name) is not None)
        if kind == "block" or (kind == "other" and found in ("'", '"')):
            raise ValueError(f"line {line}: {found} is not read here")
        if kind == "comment" and not "".join(words).strip():
            remarks.append(found.removeprefix("--").strip())
        if kind == "end":
            if "".join(words).strip():
                yield _statement(raw, words, remarks, begin)
            raw, words, remarks = [], [], []
        else:
            raw.append(found)
            words.append({"comment": " ", "text": "''", "body": f" {found} "}.get(kind, found))
        if not "".join(words[:-1]).strip():  # the first word of a statement is where it begins
            begin = line + found[: len(found) - len(found.lstrip())].count("\n")
        line += found.count("\n")
    if "".join(words).strip():
        yield _statement(raw, words, remarks, begin)


def _statement(raw: list[str], words: list[str], remarks: list[str], line: int) -> Statement:
    plain = re.sub(r"--[^\n]*", " ", "".join(words))
    return Statement(
        text="".join(raw).strip(), words=" ".join(plain.split()).lower(), remarks=" ".join(" ".join(remarks).split()), line=line
    )
