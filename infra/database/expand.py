"""Expand, then contract: finds in migration files what the code of the release before would not survive.

A migration runs while the old code serves and before the new code does, so it may add and may not take away: what old
statements name stays, what old rows leave out is not demanded, and no table that is in use is locked for longer than a moment.
Taking away is a second step, in a later migration, after no deployed code needs it; it says so in the comment before it:

    -- second step of 0031: nothing has read this column since 2026-12-03, when trade_tracker was deployed without it
    alter table metrics.publications drop column is_torn;

The rules read text and not meaning: that a function changed in place still takes the documents of the old code is shown by
traffic (``tests/integration/reliability/test_migrated_under_traffic.py``), not here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infra.database.script import Statement, is_outside_transaction, statements

MARK = re.compile(r"second step of (\d{4}): (.{20,})")
NAME = r"(?:if exists )?(?:only )?([a-z0-9_.%]+)"

GRANDFATHERED = {
    "0003": "walls only on tables that it makes itself, in a loop that the rules do not see through",
    "0004": "walls only on tables that it makes itself, in a loop that the rules do not see through",
    "0007": "keys were made again while the only databases were those of tests: no old code was served",
    "0009": "indexes for the ledger's past, before there was a first release",
    "0010": "breaks got their columns and rights before any broker was connected",
    "0011": "an index was replaced by a narrower one before the first message was told",
    "0013": "the room of jobs was empty when its columns came",
    "0014": "pages of executions got other indexes before there were pages",
    "0015": "an index on tables that were still empty",
    "0016": "keys follow their newest index (decision 0012), before the first release",
    "0017": "walls on its own tables, and a right taken back in the file that granted it",
    "0018": "indexes for pages, on tables that had come one step before",
    "0019": "an index for gaps, on a table that had come two steps before",
    "0020": "an index for the other side of a close-by, before the first account was linked",
    "0023": "indexes on comparisons, which had come one step before",
    "0027": "columns and their checks, before the first account was linked",
    "0028": "an index on broker trades, before the first note could be written",
    "0029": "keys follow their newest index (decision 0012), before the page was served",
    "0030": "walls on its own tables, and an index before the page was served",
    "0031": "indexes for the lanes' history and the messages' page, before the page was served",
    "0032": "indexes of stamps, before the page was served",
    "0033": "an index on publications, of which there are four a day",
    "0034": "keys follow their newest index (decision 0012), made beside this rule and before anything was deployed",
}
"""Number of a migration that broke the rule before it was made -> why that did no harm. Nothing is added to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is looked for in a statement's words, and why old code or traffic would not survive it."""

    pattern: re.Pattern[str]
    why: str


def _rule(pattern: str, why: str) -> Rule:
    return Rule(pattern=re.compile(pattern), why=why)


LOCKED = "reads or writes the whole table under a lock that stops everybody"
RULES = (
    _rule(
        r"\bdrop (table|schema|view|materialized view|function|procedure|type|domain|sequence|owned)\b",
        "old code still asks for it",
    ),
    _rule(r"\bdrop (column|constraint|trigger|policy|default|identity|expression)\b", "old code still counts on it"),
    _rule(r"\brename\b|\bset schema\b", "old code knows it by the old name"),
    _rule(r"\balter column [a-z0-9_%]+ (set data )?type\b", f"old code sends and reads the old type; {LOCKED}"),
    _rule(
        r"\badd (constraint [a-z0-9_%]+ )?(unique|primary key|exclude)\b(?! using index)",
        f"{LOCKED}: build it concurrently first",
    ),
    _rule(
        r"\badd (constraint [a-z0-9_%]+ )?(check|foreign key)\b(?!.*\bnot valid\b)",
        f"{LOCKED}: add it `not valid`, validate later",
    ),
    _rule(r"\badd column (if not exists )?(?=[^,]*\bnot null\b)(?![^,]*\bdefault\b)", "old code does not fill it"),
    _rule(
        r"\badd column [^;]*(\bdefault (gen_random_uuid|clock_timestamp|random|nextval|uuidv7)\b|\bgenerated always as\b)",
        f"rewrites every row: {LOCKED}",
    ),
    _rule(r"\badd column [^,]*\b(unique|primary key)\b", f"{LOCKED}: build the index concurrently first"),
    _rule(r"\b(enable|force) row level security\b|\bas restrictive\b", "old code may no longer see or write its rows"),
    _rule(r"\bdetach partition\b", "old code still reads what is in it"),
    _rule(r"^(truncate|delete from|update)\b", "changes rows while others work on them: let the code do it, in pages"),
    _rule(r"^(lock|cluster|vacuum full)\b|^reindex (?!.*\bconcurrently\b)", LOCKED),
    _rule(r"^refresh materialized view (?!concurrently)", "nobody can read it meanwhile"),
    _rule(r"^create (or replace )?(constraint )?trigger\b", "old code's writes do something else from now on"),
    _rule(r"^revoke (?!.*\bfrom public$)", "old code still uses the right"),
    _rule(r"^alter type [a-z0-9_.]+ (rename|drop)\b|^alter domain [a-z0-9_.]+ add\b", "old code sends the old values"),
)
NOT_NULL = re.compile(r"\balter column ([a-z0-9_]+) set not null\b")
INDEX = re.compile(r"^create (?:unique )?index (concurrently )?(?:if not exists )?([a-z0-9_]+) on (?:only )?([a-z0-9_.]+)")


def problems(folder: Path) -> list[str]:
    """A sentence for each step of a file that takes away without being marked, in order; grandfathered files aside."""
    files = sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    numbers = [path.name[:4] for path in files]
    found: list[str] = []
    before = ""
    for path in files:
        text = path.read_text("utf-8")
        if path.name[:4] not in GRANDFATHERED:
            found += [
                f"{path.name}:{problem}" for problem in contracting(text, before=before, number=path.name[:4], known=numbers)
            ]
        before += text.lower()
    return found


def contracting(text: str, *, before: str = "", number: str = "9999", known: list[str] | None = None) -> Iterator[str]:
    """``LINE: sentence`` for each contracting step of one file; ``before``: the text of all earlier files, in small letters."""
    listed = list(statements(text))
    made = _made(listed)
    is_outside = is_outside_transaction(text)
    for one in listed:
        if is_outside and " index concurrently " not in f" {one.words} ":
            yield f"{one.line}: only indexes are made and dropped outside a transaction"
        for why in _why(one, made, before, text, is_outside=is_outside):
            complaint = _excuse(one, number, known)
            if complaint is not None:
                yield f"{one.line}: {one.words[:80]}: {complaint or why}"


def _made(listed: list[Statement]) -> set[str]:
    """The tables and materialized views that a file makes itself: nobody has used them yet."""
    pattern = re.compile(r"^create (?:table|materialized view) (?:if not exists )?([a-z0-9_.]+)")
    return {match[1] for one in listed if (match := pattern.match(one.words))}


def _why(one: Statement, made: set[str], before: str, text: str, *, is_outside: bool) -> Iterator[str]:
    if re.match(r"create (or replace )?(function|procedure|view)\b", one.words):
        return  # what a body does, it does when it is called; a view that loses a column is refused by Postgres
    target = re.match(rf"(?:alter table|truncate|delete from|update|create trigger .* on) {NAME}", one.words)
    if target is not None and target[1] in made:
        return
    index = INDEX.match(one.words)
    if index is not None:
        yield from _about_index(index, made, text, is_outside=is_outside)
    for rule in RULES:
        if rule.pattern.search(one.words):
            yield rule.why
    for match in NOT_NULL.finditer(one.words):
        if not _is_proven(match[1], before):
            yield "old code may leave it out, and every row is read under a lock: validate a check of an earlier migration first"


def _about_index(index: re.Match[str], made: set[str], text: str, *, is_outside: bool) -> Iterator[str]:
    concurrently, name, table = index.groups()
    if table in made:
        return
    if not concurrently:
        yield "nobody can write while it is built: make it concurrently, in a file outside a transaction"
    elif not is_outside:
        yield "concurrently is refused inside a transaction"
    elif not re.search(rf"drop index concurrently if exists [a-z0-9_.]*\b{name}\b", text.lower()):
        yield "what a broken attempt left is not dropped first, so that it cannot be run again"


def _is_proven(column: str, before: str) -> bool:
    """Whether an earlier migration added a check that the column is not null, and validated it."""
    checks = re.findall(rf"add constraint ([a-z0-9_]+) check \(\s*{column} is not null\s*\) not valid", before)
    return any(re.search(rf"validate constraint {name}\b", before) for name in checks)


def _excuse(one: Statement, number: str, known: list[str] | None) -> str | None:
    """None when the step is marked as a second one with a reason; else why the mark does not count, empty without a mark."""
    mark = MARK.search(one.remarks)
    if mark is None:
        return ""
    if mark[1] >= number or (known is not None and mark[1] not in known):
        return f"there is no earlier migration {mark[1]} whose second step this could be"
    return None
