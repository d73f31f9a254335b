"""A Flex document on disk, read in two passes by expat: first whether it is sound, then its rows, chunk by chunk.

Pass 1 refuses what must not be read at all: a document type or an entity, another root, a root that never closes, columns
that no execution row carries although booking needs them. Only then pass 2 makes values of rows. Nothing is kept but the rows
of one chunk, and a tag longer than ``TAG_BYTES_MAX`` is no row. Source: ibkr.md 8.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from xml.parsers import expat

from fillbook.ibkr import execid, fields, intake, times
from fillbook.ibkr.allowlist import AllowList
from fillbook.ibkr.fields import Refused
from fillbook.ibkr.model import Cancel, PositionRow, RawRow, Refusal, Row, Sighting, Texts
from fillbook.ibkr.sources import Chunk, StatementHead, StatementSpan
from fillbook.ibkr.times import TimeRefused
from fillbook.ibkr.words import CHUNK_ROWS_MAX, Source
from fillbook.runtime.errors import Rejected

BODY_BYTES_MAX: Final = 128 * 1024 * 1024
TAG_BYTES_MAX: Final = 1024 * 1024
CHUNK_BYTES_MAX: Final = 16 * 1024 * 1024
DEPTH_MAX: Final = 16
HEAD_BYTES: Final = 4096
BLOCK_BYTES: Final = 64 * 1024
ROOT: Final = "FlexQueryResponse"
DEFAULT_ZONE: Final = "America/New_York"

ROW_SOURCES: Final = {"Trade": Source.STATEMENT, "TradeConfirm": Source.CONFIRMATION}
"""The elements that may be executions; their level of detail decides."""
POSITIONS: Final = "OpenPositions"
SUMMARIES: Final = frozenset({"Order", "SymbolSummary", "AssetSummary", "Lot", "WashSale"})
"""Elements that repeat the money of executions under a name of their own."""
NEEDED: Final[tuple[tuple[tuple[str, ...], ...], ...]] = (
    (("accountId",),),
    (("conid",),),
    (("assetCategory",),),
    (("symbol",),),
    (("currency",),),
    (("quantity",),),
    (("tradePrice",), ("price",)),
    (("buySell",),),
    (("dateTime",), ("tradeDate", "tradeTime")),
    (("transactionType",),),
    (("ibExecID",), ("execID",), ("transactionID",), ("tradeID",)),
)
"""What execution rows need: of each line one of the groups of attributes, complete."""
_DROPPED: Final = "acctAlias"
_STATEMENT_NEEDS: Final = ("accountId", "fromDate", "toDate", "whenGenerated")
_MEMO_MAX: Final = 4096
_MEMO_TEXT_MAX: Final = 24


class StatementFile:
    """A Flex document at ``path``; the file belongs to this value and is removed by ``close``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._checked: StatementHead | None = None

    @property
    def head(self) -> str:
        """The first 4 KiB as text, for the note of a refused document."""
        with self._path.open("rb") as file:
            return file.read(HEAD_BYTES).decode("utf-8", "replace")

    def close(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)

    def check(self) -> StatementHead:
        """Pass 1. Raises ``Rejected``: ``flex_too_large``, ``flex_not_xml``, ``flex_doctype``, ``flex_not_statement``,
        ``flex_truncated``, ``flex_statement_incomplete``, ``flex_columns_missing`` (``detail`` names the columns).
        The result is kept: asking again reads nothing.
        """
        if self._checked is None:
            self._checked = self._survey()
        return self._checked

    def _survey(self) -> StatementHead:
        size = self._path.stat().st_size
        if size > BODY_BYTES_MAX:
            raise Rejected("flex_too_large", f"{size} bytes")
        survey = _Survey()
        digest = hashlib.sha256()
        for block in _read(self._path, survey):
            digest.update(block)
        missing = _missing(survey.shapes)
        if missing:
            raise Rejected("flex_columns_missing", f"the query must state {'; '.join(missing)}", field="query")
        return StatementHead(source=survey.source, spans=tuple(survey.spans), sha256=digest.digest(), byte_count=size)

    def chunks(self, allow_list: AllowList) -> Iterator[Chunk]:
        """Pass 2: rows sorted within a chunk by (account, executed_at, settled_key, revision, transaction id).

        A position row that cannot be read is a refusal and counted as fetched; one of an account that is not let in is
        skipped. Raises what ``check`` raises for a broken document.
        """
        harvest = _Harvest(allow_list)
        unread = 0
        for block in _read(self._path, harvest):
            unread += len(block)
            while harvest.is_full or unread > CHUNK_BYTES_MAX:
                yield harvest.take()
                unread = 0
        while not harvest.is_empty:
            yield harvest.take()


# --- reading ----------------------------------------------------------------------------------------------------------


class _Reader(ABC):
    """What expat tells, with the limits of a document; subclasses say what becomes of rows."""

    def __init__(self) -> None:
        self.depth = 0
        self.is_closed = False
        self.kind = ""
        self.statement: Mapping[str, str] | None = None

    def start(self, name: str, attributes: list[str]) -> None:
        """An element begins; ``attributes``: name, value, name, value, …"""
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise Rejected("flex_not_statement", "too deep")
        if self.depth == 1:
            if name != ROOT:
                raise Rejected("flex_not_statement", "the root is not a Flex query response")
            self.kind = dict(_pairs(attributes)).get("type", "")
        elif name == "FlexStatement":
            self.statement = dict(_pairs(attributes))
            self.begin(self.statement)
        elif self.statement is not None:
            self.row(name, attributes)

    def end(self, name: str) -> None:
        """An element ends."""
        self.depth -= 1
        if name == "FlexStatement":
            self.statement = None
        self.is_closed = self.depth == 0

    @abstractmethod
    def begin(self, statement: Mapping[str, str]) -> None:
        """A FlexStatement begins."""

    @abstractmethod
    def row(self, name: str, attributes: list[str]) -> None:
        """An element within a FlexStatement."""


def _read(path: Path, reader: _Reader) -> Iterator[bytes]:
    """Feed the file to ``reader``; yields each block after it was read."""
    parser = expat.ParserCreate()
    parser.ordered_attributes = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.EntityDeclHandler = _refuse_doctype
    fed = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            _feed(parser, block, is_final=False)
            fed += len(block)
            if fed - max(parser.CurrentByteIndex, 0) > TAG_BYTES_MAX:
                raise Rejected("flex_not_statement", "a tag is too long")
            yield block
    _feed(parser, b"", is_final=True)
    if not reader.is_closed:
        raise Rejected("flex_truncated", "the root is not closed")


def _feed(parser: expat.XMLParserType, block: bytes, *, is_final: bool) -> None:
    try:
        parser.Parse(block, is_final)
    except (expat.ExpatError, ValueError, LookupError) as error:  # the last: an encoding that there is not
        name = expat.ErrorString(error.code) if isinstance(error, expat.ExpatError) else "text"
        raise Rejected("flex_truncated" if is_final else "flex_not_xml", name) from None


def _refuse_doctype(*_: Any) -> None:
    raise Rejected("flex_doctype", "a document type or an entity is declared")


def _pairs(attributes: list[str]) -> Iterator[tuple[str, str]]:
    return zip(attributes[::2], attributes[1::2], strict=True)


def _is_execution(level: str | None) -> bool:
    """Whether a Trade or TradeConfirm is an execution; a query without the column has no other rows of that name."""
    return level in (None, "", "EXECUTION")


# --- pass 1 -----------------------------------------------------------------------------------------------------------


class _Survey(_Reader):
    """Spans of the statements, and which columns the execution rows carry."""

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[StatementSpan] = []
        self.shapes: dict[str, set[tuple[str, ...]]] = {name: set() for name in ROW_SOURCES}

    @property
    def source(self) -> Source:
        """What the document is: by its type, else by its rows."""
        is_confirmation = self.kind == "TCF" or (bool(self.shapes["TradeConfirm"]) and not self.shapes["Trade"])
        return Source.CONFIRMATION if is_confirmation else Source.STATEMENT

    def begin(self, statement: Mapping[str, str]) -> None:
        missing = [name for name in _STATEMENT_NEEDS if not statement.get(name, "").strip()]
        first, last = times.day(statement.get("fromDate", "")), times.day(statement.get("toDate", ""))
        generated_at = _generated_at(statement, DEFAULT_ZONE)
        if missing or first is None or last is None or generated_at is None or first > last:
            raise Rejected("flex_statement_incomplete", ", ".join(missing) or "fromDate, toDate, whenGenerated")
        account_code = statement["accountId"].strip()
        if not fields.is_storable(account_code):
            raise Rejected("flex_statement_incomplete", "accountId")
        span = StatementSpan(account_code=account_code, from_date=first, to_date=last, generated_at=generated_at)
        self.spans.append(span)

    def row(self, name: str, attributes: list[str]) -> None:
        if name in ROW_SOURCES:
            names = tuple(attributes[::2])
            shapes = self.shapes[name]
            if names in shapes:
                return
            level = attributes[attributes.index("levelOfDetail") + 1] if "levelOfDetail" in names else None
            if _is_execution(level):
                shapes.add(names)
        elif name == POSITIONS:
            self.spans[-1] = replace(self.spans[-1], states_positions=True)


def _generated_at(statement: Mapping[str, str], zone_name: str) -> datetime | None:
    try:
        return times.flex_time(statement.get("whenGenerated", ""), zone_name).at
    except TimeRefused:
        return None


def _missing(shapes: Mapping[str, set[tuple[str, ...]]]) -> list[str]:
    """Which lines of ``NEEDED`` no execution row fulfils; none when there is no execution row."""
    known = [set(names) for one in shapes.values() for names in one]
    if not known:
        return []
    return [
        " or ".join(" + ".join(group) for group in groups)
        for groups in NEEDED
        if not any(names.issuperset(group) for names in known for group in groups)
    ]


# --- pass 2 -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Gathered:
    rows: list[Row] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    positions: list[PositionRow] = field(default_factory=list)
    skipped: int = 0

    @property
    def size(self) -> int:
        return len(self.rows) + len(self.refusals) + len(self.positions)


class _Harvest(_Reader):
    """Rows as values, until they are taken."""

    def __init__(self, allow_list: AllowList) -> None:
        super().__init__()
        self._allowed = allow_list
        self._account_text = ""
        self._observed_at = datetime.min.replace(tzinfo=UTC)
        self._gathered = [_Gathered()]
        self._memo: dict[str, str] = {}

    @property
    def is_full(self) -> bool:
        """Whether a chunk is complete."""
        return len(self._gathered) > 1

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits, not even a count."""
        return not any(one.size or one.skipped for one in self._gathered)

    def take(self) -> Chunk:
        """The oldest chunk, sorted."""
        gathered = self._gathered.pop(0)
        if not self._gathered:
            self._gathered.append(_Gathered())
        return Chunk(
            rows=tuple(sorted(gathered.rows, key=_order)),
            refusals=tuple(gathered.refusals),
            positions=tuple(gathered.positions),
            fetched_count=len(gathered.rows) + len(gathered.refusals),
            skipped_count=gathered.skipped,
        )

    def begin(self, statement: Mapping[str, str]) -> None:
        self._account_text = statement["accountId"].strip()
        account = self._allowed.find(self._account_text)
        generated_at = _generated_at(statement, DEFAULT_ZONE if account is None else account.flex_time_zone)
        if generated_at is None:
            raise Rejected("flex_statement_incomplete", "whenGenerated")
        self._observed_at = generated_at

    def row(self, name: str, attributes: list[str]) -> None:
        source = ROW_SOURCES.get(name)
        gathered = self._gathered[-1]
        if source is not None:
            raw = self._texts(attributes)
            if not _is_execution(raw.get("levelOfDetail")):
                gathered.skipped += 1
                return
            row = RawRow(source=source, raw=raw, observed_at=self._observed_at, account_text=self._account_text)
            self._add(gathered, intake.read(row, self._allowed))
        elif name == "OpenPosition":
            self._position(gathered, self._texts(attributes))
        elif name in SUMMARIES:
            gathered.skipped += 1
        if gathered.size >= CHUNK_ROWS_MAX:
            self._gathered.append(_Gathered())

    def _texts(self, attributes: list[str]) -> dict[str, str]:
        """The row by name; short texts that come again and again are one object."""
        memo, texts = self._memo, attributes[1::2]
        raw = dict(zip(attributes[::2], map(memo.get, texts, texts), strict=True))
        if len(memo) < _MEMO_MAX:
            memo.update((text, text) for text in texts if len(text) <= _MEMO_TEXT_MAX)
        raw.pop(_DROPPED, None)
        return raw

    def _add(self, gathered: _Gathered, outcome: Row | Refusal) -> None:
        if isinstance(outcome, Refusal):
            gathered.refusals.append(outcome)
        else:
            gathered.rows.append(outcome)

    def _position(self, gathered: _Gathered, raw: Texts) -> None:
        account_text = raw.get("accountId", "").strip() or self._account_text
        account = self._allowed.find(account_text)
        if raw.get("levelOfDetail", "") not in ("", "SUMMARY") or account is None:
            gathered.skipped += 1
            return
        try:
            gathered.positions.append(_position_row(raw, account.account_id))
        except Refused as refused:
            gathered.refusals.append(intake.refusal("statement", account_text, refused.reason, refused.detail, raw))


def _position_row(raw: Texts, account_id: int) -> PositionRow:
    return PositionRow(
        account_id=account_id,
        conid=fields.conid_of(raw, "conid"),
        symbol=fields.required(raw, "symbol"),
        sec_type=fields.required(raw, "assetCategory"),
        currency=fields.currency_of(raw),
        quantity=fields.number(raw, "position"),
        average_cost=fields.optional_number(raw, "costBasisPrice"),
        mark_price=fields.optional_number(raw, "markPrice"),
        multiplier=fields.positive_or_none(raw, "multiplier"),
        raw=raw,
    )


def _order(row: Row) -> tuple[int, datetime, str, int, int]:
    if isinstance(row, Cancel):
        return (row.account_id, row.executed_at, "", 0, row.transaction_id or 0)
    if not isinstance(row, Sighting):
        raise TypeError("a document holds no commission reports")
    identity = execid.parse(row.ib_exec_id)
    moment = row.facts.executed_at
    return (row.account_id, moment, identity.settled_key, identity.exec_revision, row.transaction_id or 0)
