"""Lists as files: every row of a question, as the list shows it, streamed page by page out of one look at the desk.

Rows are counted before the first byte: what is too much is refused (413), nothing is cut off. CSV as the ledger writes it
(``ledger.csvtext``): formula cells inert, header = the fields of the list's row, lists inside a row as JSON.
Source: tracker.md 3.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from fillbook.calendar import NEW_YORK
from fillbook.ledger.csvtext import Sheet
from fillbook.ledger.moment import Moment
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.errors import Rejected
from fillbook.tracker import activity, annotated, executions, past, trades
from fillbook.tracker.activity_model import Activity, Item
from fillbook.tracker.annotations_model import PositionWords
from fillbook.tracker.listing import ON_EVERY_PAGE, Common
from fillbook.tracker.model import single
from fillbook.tracker.paging import Cursor, Place
from fillbook.tracker.parameter import Parameter, names
from fillbook.tracker.present import Present
from fillbook.tracker.route import Download, Given, Route, Weight
from fillbook.tracker.shapes import Amount, Instant, Percent
from fillbook.tracker.store import Seen
from fillbook.tracker.trade_query import (
    ACTION_PARAMETERS,
    TRADE_PARAMETERS,
    ActionQuery,
    TradeQuery,
    action_query,
    trade_query,
)
from fillbook.tracker.trades_model import Action, Actions, LotAlone, Lots, Trade, Trades
from fillbook.tracker.wire import answer, written
from fillbook.values import frozen

ROWS_MAX = 100_000
PAGE_ROWS = 2_000
PAGE_POSITIONS = 500
"""Of another moment: their lots have to be unfolded."""
WORDS = tuple(PositionWords.__annotations__)
FORMS = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")
Document = dict[str, Any]
Page = tuple[list[Document], Place | None]
"""The rows of a page, and where the next one begins (None: it was the last)."""


@frozen
class Look:
    """One look at the desk: what everything about an export is read with."""

    seen: Seen
    key: DeskKey
    source: Present | past.Past
    at: Moment


@frozen
class Shape:
    """How a file is written: what stands before the rows, some of them, what stands between two pages, and after the last."""

    head: bytes
    rows: Callable[[list[Document]], bytes]
    between: bytes = b""
    tail: bytes = b""


@frozen
class What:
    """A list that can be a file: its row, its parameters, how many rows it has and how a page of them is read.

    ``rows``: what the list is called in its document. ``ids``: fields that are UUIDs, and so never anybody's words.
    """

    name: str
    rows: str
    row: type
    document: type
    left_out: frozenset[str]
    ids: frozenset[str]
    parameters: tuple[Parameter, ...]
    query: Callable[..., Any]
    count: Callable[[Look, Any], int]
    page: Callable[[Look, Any], Page]

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields of a row in their order."""
        return tuple(name for name in _fields(self.row) if name not in self.left_out)

    @property
    def asked(self) -> tuple[Parameter, ...]:
        """The list's filters; a file is one page and has no parts."""
        return tuple(one for one in self.parameters if one.name not in ON_EVERY_PAGE | {"include"})


def _fields(row: type) -> dict[str, Any]:
    """The fields of a row with their types, a user's words last."""
    hints = get_type_hints(row, include_extras=True)
    return {name: hint for name, hint in hints.items() if name not in WORDS} | {
        name: hints[name] for name in WORDS if name in hints
    }


def _is_no_word(hint: Any) -> bool:
    """Whether a text of this type is never a word of somebody's: a number, an instant, one of some fixed ones."""
    if get_origin(hint) is Literal:
        return True
    return hint in (Amount, Percent, Instant, NoneType) or (is_union(hint) and all(_is_no_word(one) for one in get_args(hint)))


def is_union(hint: Any) -> bool:
    """Whether a type is one of several."""
    return get_origin(hint) in (Union, UnionType)


def exported(what: What, form: str, db: Database, key: DeskKey, given: Given, now: datetime) -> Download:
    """A list as a file; 413 ``narrow_the_range`` for more than 100,000 rows, and as the list."""
    query = what.query(given, parameters=what.asked)
    pieces = _pieces(what, form, db, key, query, now)
    first = next(pieces)
    return Download(file_name=_name(what, form, query.common, now), content_type=FORMS[form], pieces=_resumed(first, pieces))


def _resumed(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _pieces(what: What, form: str, db: Database, key: DeskKey, query: Any, now: datetime) -> Iterator[bytes]:
    """The file, its beginning first: by then everything that may be refused was."""
    with past.look(db, key, query.common, now) as (seen, at, source):
        look = Look(seen=seen, key=key, source=source, at=at)
        count = what.count(look, query)
        if count > ROWS_MAX:
            raise Rejected("narrow_the_range", f"more than {ROWS_MAX} rows", field="since", status=413)
        shape = _csv(what) if form == "csv" else _json(what, look, count)
        yield shape.head
        place: Place | None = None
        between = b""
        while True:
            rows, place = what.page(look, _from(query, place))
            if rows:
                yield between + shape.rows(rows)
                between = shape.between
            if place is None:
                break
        if shape.tail:
            yield shape.tail


def _from(query: Any, place: Place | None, limit: int = PAGE_ROWS) -> Any:
    after = None if place is None else Cursor(place=place, known_as_of=None)
    return replace(query, common=replace(query.common, limit=limit, after=after))


def _csv(what: What) -> Shape:
    hints = _fields(what.row)
    numbers = frozenset(name for name in what.columns if name in what.ids or _is_no_word(hints[name]))
    sheet = Sheet(name=what.name, columns=what.columns, numbers=numbers)

    def lines(rows: list[Document]) -> bytes:
        return "".join([sheet.line(list(map(row.get, sheet.columns))) for row in rows]).encode()

    return Shape(head=sheet.header.encode(), rows=lines)


def _json(what: What, look: Look, count: int) -> Shape:
    frame = written(answer(look.at, look.seen.recorded_at, look.seen.books, count=count, has_more=False, next_cursor=None))
    head = frame[:-1] + f',"{what.rows}":['.encode()
    return Shape(head=head, rows=lambda rows: written(rows)[1:-1], between=b",", tail=b"]}")


def _name(what: What, form: str, asked: Common, now: datetime) -> str:
    """``fillbook-<what>-<book>-<from>-<to>``: days of New York, both in the file; ``start`` where there is no beginning."""
    end = (asked.until or asked.as_of or now) - (timedelta(microseconds=1) if asked.until else timedelta())
    begin = "start" if asked.since is None else asked.since.astimezone(NEW_YORK).date().isoformat()
    book = _UNSAFE.sub("_", "all" if asked.books is None else "+".join(asked.books))[:64]
    return f"fillbook-{what.name}-{book}-{begin}-{end.astimezone(NEW_YORK).date().isoformat()}.{form}"


# --- what there is ----------------------------------------------------------------------------------------------------


def _count_positions(look: Look, query: TradeQuery) -> int:
    return look.source.count(query, trades.within(look.seen, look.key, query, look.source), ROWS_MAX + 1)


def _count_lots(look: Look, query: TradeQuery) -> int:
    within = trades.within(look.seen, look.key, query, look.source)
    if look.source.count(query, within, ROWS_MAX + 1) > ROWS_MAX:
        return ROWS_MAX + 1
    return look.source.count(query, within, ROWS_MAX + 1, lots=True)


def _page_of_positions(look: Look, query: TradeQuery) -> Page:
    rows, place = trades.chosen(look.seen, look.key, look.source, query, look.at)
    words = annotated.of_positions(look.seen, look.key, rows)
    if place is not None:
        trades.ahead(look.source, _from(query, place), look.at)
    return trades.plain_ones(rows, words, look.at, is_past=query.common.is_past), place


def _page_of_lots(look: Look, query: TradeQuery) -> Page:
    narrow = replace(query, common=replace(query.common, limit=PAGE_POSITIONS))
    rows, place = trades.chosen(look.seen, look.key, look.source, narrow, look.at)
    lots = look.source.lots(rows)
    if place is not None:
        trades.ahead(look.source, _from(query, place, PAGE_POSITIONS), look.at)
    found: list[Document] = []
    for row in rows:
        of = {name: row[column] for name, column in _OF_POSITION.items()} | {"position_id": row["position_id"]}
        found += [of | trades.lot(one, row) for one in lots.get((row["book_id"], row["position_id"]), [])]
    return found, place


def _count_actions(look: Look, query: ActionQuery) -> int:
    return executions.count(look.seen, query, look.at, ROWS_MAX + 1)


def _page_of_actions(look: Look, query: ActionQuery) -> Page:
    rows, has_more = executions.chosen(look.seen, query, look.at)
    place = executions.place_of(rows[-1]) if has_more else None
    if place is not None:
        executions.ahead(look.seen, _from(query, place), look.at)
    return [executions.execution(row) for row in rows], place


def _activity_query(given: Given, *, parameters: tuple[Parameter, ...]) -> activity.Asked:
    single(given, names(parameters))
    return activity.asked(given)


def _count_activity(look: Look, what: activity.Asked) -> int:
    return activity.count(look.seen, look.key, what, look.at.known_as_of, ROWS_MAX + 1)


def _page_of_activity(look: Look, what: activity.Asked) -> Page:
    found = activity.page(look.seen, look.key, what, look.at.known_as_of)
    shown = found[: what.common.limit]
    place = activity.place_of(shown[-1][1]) if len(found) > len(shown) else None
    return [dict(activity.item(kind, row)) for kind, row in shown], place


_OF_POSITION = {"book_id": "book_id", "ticker": "symbol", "direction": "direction", "currency": "currency"}
EVERYTHING = (
    What(
        name="trades",
        rows="trades",
        row=Trade,
        document=Trades,
        left_out=frozenset({"lots", "execution_actions"}),
        ids=frozenset({"position_id", "trade_id"}),
        parameters=TRADE_PARAMETERS,
        query=trade_query,
        count=_count_positions,
        page=_page_of_positions,
    ),
    What(
        name="lots",
        rows="lots",
        row=LotAlone,
        document=Lots,
        left_out=frozenset(),
        ids=frozenset({"lot_id", "position_id"}),
        parameters=TRADE_PARAMETERS,
        query=trade_query,
        count=_count_lots,
        page=_page_of_lots,
    ),
    What(
        name="actions",
        rows="actions",
        row=Action,
        document=Actions,
        left_out=frozenset(),
        ids=frozenset({"action_id", "position_id"}),
        parameters=ACTION_PARAMETERS,
        query=action_query,
        count=_count_actions,
        page=_page_of_actions,
    ),
    What(
        name="activity",
        rows="items",
        row=Item,
        document=Activity,
        left_out=frozenset(),
        ids=frozenset(),
        parameters=activity.PARAMETERS,
        query=_activity_query,
        count=_count_activity,
        page=_page_of_activity,
    ),
)


def _route(what: What, form: str) -> Route:
    def use_case(db: Database, key: DeskKey, given: Given, now: datetime) -> Download:
        return exported(what, form, db, key, given, now)

    return Route(
        path=f"/timed/export/{what.name}.{form}",
        purpose=f"The list of {what.name} as a file, without its pages.",
        use_case=use_case,
        answer=what.document if form == "json" else str,
        parameters=what.asked,
        weight=Weight.EXPORT,
        refusals=frozenset({413}),
        media=FORMS[form].partition(";")[0],
    )


ROUTES: tuple[Route, ...] = tuple(_route(what, form) for what in EVERYTHING for form in FORMS)
