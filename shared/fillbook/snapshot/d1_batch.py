"""A published day as statements for D1, and what a look at D1 says of it. Pure: no call is made here.

The parts of the document are sent as they were published, cut out of its bytes and never written anew; the database takes the
rows out of them (``d1.sql``). A read-back brings the archive's texts, which are held against ours by SHA-256, and of each
table how many rows it has and how many of them say in every column what the archive says: counts and sums would not see two
errors that cancel out, nor another text of the same length. A batch after a look carries what differs and no more, so that a
database that stops at the same place every time still comes to hold the day. Source: snapshot specification, 4.7; decision 0050.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from hashlib import sha256
from itertools import chain, groupby
from typing import Any, Final

from fillbook.runtime.sql import Statement
from fillbook.snapshot.model import Snapshot
from fillbook.values import frozen

PARAMETERS_MAX: Final = 100
STATEMENT_BYTES_MAX: Final = 100_000
VALUE_BYTES_MAX: Final = 2_000_000
"""Of one text, and of one row."""
PART_BYTES_MAX: Final = 1_500_000
"""Of a table's JSON in one statement; more is split over several."""
PARTS: Final[Mapping[str, tuple[str, int]]] = {
    "kpis": ("rows", 0),
    "points": ("overlay.seriesByKpi", 1),
    "extremes": ("overlay.extremes.byKpi", 2),
    "assets": ("overlay.portfolioAssets", 0),
}
"""By table: where its rows stand in the document, and how many names lead to a list of them."""
_INSIDE: Final = frozenset({"overlay", "overlay.extremes"})
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z", re.ASCII)
_SCAN: Final[Callable[[str, int], tuple[Any, int]]] = json.JSONDecoder(parse_float=str, parse_int=str).raw_decode
Query = tuple[str, tuple[str, ...]]
"""A statement and its parameters."""
Leaf = tuple[tuple[str, ...], str]
"""An item's text and the names that lead to its list."""


class TooLarge(ValueError):
    """The day does not fit D1's limits; the text says which."""


class Unreadable(ValueError):
    """D1's answer has not the shape that the statements give."""


class Seen(StrEnum):
    """What D1 holds of a day."""

    SAME = "same"
    OTHER = "other"
    """Another day or none; nothing of this one was written."""
    TORN = "torn"
    """The archive is of this day's time, and not all of the day is there."""
    NEWER = "newer"


@frozen
class Batch:
    """Statements as they are posted."""

    body: bytes
    count: int


@frozen
class Look:
    """What a look showed: in words what differs, and the tables that would have to be written."""

    seen: Seen
    detail: str = ""
    tables: tuple[str, ...] = tuple(PARTS)


@frozen
class Day:
    """A day on its way: the statements that write it, the batch that looks at it, and what that must show.

    ``deletes`` and ``inserts``: by table; ``texts``: of the archive, by column; ``digests``: SHA-256 of its two documents;
    ``counts``: rows by table.
    """

    updated_at: str
    archive: Query
    deletes: Mapping[str, Query]
    inserts: Mapping[str, tuple[Query, ...]]
    read: Batch
    texts: Mapping[str, str]
    digests: Mapping[str, bytes]
    counts: Mapping[str, int]

    def whole(self) -> Batch:
        """Everything: the archive, what goes, what takes its place."""
        return _posted([self.archive, *self.deletes.values(), *chain(*self.inserts.values())])

    def rest(self, tables: Sequence[str]) -> Batch:
        """The archive and these tables, one after the other: wherever it stops, those before it are done."""
        return _posted([self.archive, *chain(*((self.deletes[name], *self.inserts[name]) for name in tables))])


def day_of(body: bytes, snapshot: Snapshot, statements: Mapping[str, Statement]) -> Day:
    """Return the batches of the document ``body``, which says what ``snapshot`` says. Raises ``TooLarge``, and ``ValueError``
    when the bytes are no document of the snapshot's day.
    """
    document = body.decode()
    found: dict[str, str] = {}
    _members(document, 0, "", found)
    heads = {name: str(_SCAN(found[name], 0)[0]) for name in ("date", "updated_at", "headline", "summary")}
    key = (heads["date"], heads["updated_at"])
    if key[0] != snapshot.date.isoformat() or _TIME.fullmatch(key[1]) is None:
        raise ValueError("the bytes are not the snapshot's")
    archive = (statements["write_archive"].text, (*key, heads["headline"], heads["summary"], found["rows"], found["overlay"]))
    deletes = {name: (statements[f"delete_{name}"].text, key) for name in PARTS}
    inserts = {
        name: tuple((statements[f"insert_{name}"].text, (*key, part)) for part in _split(found[path], depth))
        for name, (path, depth) in PARTS.items()
    }
    read: list[Query] = [(statements[f"read_{name}"].text, key[:1]) for name in ("archive", *PARTS)]
    check_limits([archive, *deletes.values(), *chain(*inserts.values())], read)
    counts = zip(PARTS, (snapshot.rows, snapshot.points, snapshot.extremes, snapshot.assets), strict=True)
    return Day(
        updated_at=key[1],
        archive=archive,
        deletes=deletes,
        inserts=inserts,
        read=_posted(read),
        texts={name: heads[name] for name in ("updated_at", "headline", "summary")},
        digests={"rows_json": _digest(found["rows"]), "overlay_json": _digest(found["overlay"])},
        counts={name: len(items) for name, items in counts},
    )


def check_limits(*batches: Sequence[Query]) -> None:
    """Hold every statement against D1's limits; raises ``TooLarge``. A row is at most what its statement carries."""
    for statement, parameters in (query for batch in batches for query in batch):
        if len(statement.encode()) > STATEMENT_BYTES_MAX:
            raise TooLarge("statement_too_long")
        if len(parameters) > PARAMETERS_MAX:
            raise TooLarge("too_many_parameters")
        if sum(len(one.encode()) for one in parameters) > VALUE_BYTES_MAX:
            raise TooLarge("day_too_large")


def judged(day: Day, results: Sequence[Sequence[Mapping[str, Any]]]) -> Look:
    """Say what the rows of the read batch show. Raises ``Unreadable``."""
    try:
        archives, *tables = results
        if not archives:
            return Look(seen=Seen.OTHER, detail="no such day")
        [archive] = archives
        stored_at = str(archive["updated_at"])
        if _TIME.fullmatch(stored_at) and stored_at > day.updated_at:
            return Look(seen=Seen.NEWER, detail="a newer day stands there")
        is_other = any(archive[name] != text for name, text in day.texts.items())
        if is_other or any(_digest(archive[name]) != digest for name, digest in day.digests.items()):
            return Look(seen=Seen.TORN if stored_at == day.updated_at else Seen.OTHER, detail="the archive differs")
        wrong = tuple(
            name
            for (name, count), [row] in zip(day.counts.items(), tables, strict=True)
            if (row["stored"], row["same"]) != (count, count)
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(type(error).__name__) from None
    return Look(seen=Seen.TORN, detail=f"{', '.join(wrong)} differ", tables=wrong) if wrong else Look(seen=Seen.SAME)


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


def _posted(batch: Sequence[Query]) -> Batch:
    entries = [{"sql": statement, "params": parameters} for statement, parameters in batch]
    body = json.dumps({"batch": entries}, ensure_ascii=False, separators=(",", ":")).encode()
    return Batch(body=body, count=len(batch))


# --- cutting a document without writing it anew -----------------------------------------------------------------------


def _members(text: str, at: int, prefix: str, found: dict[str, str]) -> int:
    """Note the text of every member of the object at ``at``, and of those inside ``_INSIDE``; returns where it ends."""
    at = _after(text, at, "{")
    while text[at] != "}":
        key, at = _SCAN(text, at)
        begins = _after(text, _past(text, at), ":")
        path = f"{prefix}{key}"
        if path in _INSIDE and text[begins] == "{":
            at = _members(text, begins, f"{path}.", found)
        else:
            _, at = _SCAN(text, begins)
        found[path] = text[begins:at]
        at = _past(text, at)
        at = _after(text, at, ",") if text[at] == "," else at
    return at + 1


def _leaves(text: str, depth: int, names: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """The items of a part, each as it is written."""
    if depth:
        members: dict[str, str] = {}
        _members(text, 0, "", members)
        for key, inner in members.items():
            yield from _leaves(inner, depth - 1, (*names, key))
        return
    at = _after(text, 0, "[")
    while text[at] != "]":
        _, end = _SCAN(text, at)
        yield names, text[at:end]
        at = _past(text, end)
        at = _after(text, at, ",") if text[at] == "," else at


def _past(text: str, at: int) -> int:
    """Where white space ends."""
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _after(text: str, at: int, mark: str) -> int:
    """Where what follows ``mark`` begins."""
    at = _past(text, at)
    if text[at] != mark:
        raise ValueError(f"no {mark} where one must stand")
    return _past(text, at + 1)


def _split(text: str, depth: int) -> Iterator[str]:
    """The part as it is, or its items over several parts of at most ``PART_BYTES_MAX``."""
    if len(text.encode()) <= PART_BYTES_MAX:
        yield text
        return
    taken: list[Leaf] = []
    size = 2  # the outer brackets
    for names, item in _leaves(text, depth):
        more = len(item.encode()) + 1 + sum(len(_quoted(name).encode()) + 6 for name in names)
        if taken and size + more > PART_BYTES_MAX:
            yield _joined(taken)
            taken, size = [], 2
        taken.append((names, item))
        size += more
    yield _joined(taken)


def _joined(leaves: Sequence[Leaf]) -> str:
    if not leaves[0][0]:
        return "[" + ",".join(item for _, item in leaves) + "]"
    groups = groupby(leaves, key=lambda leaf: leaf[0][0])
    members = (f"{_quoted(name)}:{_joined([(names[1:], item) for names, item in group])}" for name, group in groups)
    return "{" + ",".join(members) + "}"


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)
