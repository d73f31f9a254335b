"""Documents, parameters and named statements: what is written, what is refused."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from types import MappingProxyType
from uuid import UUID

import pytest

from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import Json, Statement, call_text, copy_line, encode, load_queries, parameter, parse_queries, statement


class Side(StrEnum):
    LONG = "LONG"


class Level(IntEnum):
    HIGH = 3


class Rate(Enum):
    HALF = Decimal("0.50")


@dataclass
class Thing:
    name: str = "x"


NAIVE = datetime(2026, 2, 11, 14, 30)  # noqa: DTZ001 -- refused below


def test_every_declared_type_has_one_written_form():
    document = {
        "decimal": Decimal("1E+3"),
        "small": Decimal("1E-10"),
        "uuid": UUID(int=1),
        "at": datetime(2026, 2, 11, 9, 30, tzinfo=timezone(timedelta(hours=-5))),
        "date": date(2026, 2, 11),
        "bytes": b"\x00\xff",
        "enums": [Side.LONG, Level.HIGH, Rate.HALF],
        "proxy": MappingProxyType({"a": (1, True, None)}),
        "text": 'é"\\\n',
    }
    assert encode(document) == (
        '{"decimal":"1000","small":"0.0000000001","uuid":"00000000-0000-0000-0000-000000000001",'
        '"at":"2026-02-11T14:30:00.000000+00:00","date":"2026-02-11","bytes":"00ff","enums":["LONG",3,"0.50"],'
        '"proxy":{"a":[1,true,null]},"text":"é\\"\\\\\\n"}'
    )


@pytest.mark.parametrize("value", [1.5, [0.0], {"k": float("nan")}, Thing(), NAIVE, {1: 2}, object(), {"s"}, time(1)])
def test_types_nobody_declared_are_refused(value):
    with pytest.raises(TypeError):
        encode(value)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_a_decimal_that_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match="not finite"):
        encode(Decimal(value))


def test_a_text_that_is_json_already_goes_in_as_it_stands_and_is_checked_like_any_other():
    assert encode({"rows": [Json('{"a":"it\'s"}'), "text"]}) == '{"rows":[{"a":"it\'s"},"text"]}'
    with pytest.raises(Rejected, match="text_invalid"):
        encode([Json('"\\u0000"')])


def test_an_empty_document_is_a_document():
    assert (encode({}), encode([]), encode(None)) == ("{}", "[]", "null")


@pytest.mark.parametrize("name", ["load", "Room.load", "room.load(x)", "room.load; drop", "a.b.c", "room.", ""])
def test_a_function_is_called_by_schema_and_name_only(name):
    with pytest.raises(ValueError, match=r"schema\.function"):
        call_text(name, {})


def test_parameters_have_the_text_postgres_reads():
    assert parameter(None) is None
    assert parameter(True) == "true"
    assert parameter(Decimal("1E-9")) == "0.000000001"
    assert parameter(b"\x01") == "\\x01"
    assert parameter(timedelta(days=-1, seconds=1)) == "-1 days 1 seconds 0 microseconds"
    assert parameter(time(9, 30)) == "09:30:00"
    assert parameter([Side.LONG, None, 'a"b', [1, 2]]) == '{"LONG",NULL,"a\\"b",{"1","2"}}'


@pytest.mark.parametrize("value", [1.0, {"a": 1}, NAIVE, Thing(), {1}])
def test_a_parameter_of_a_type_nobody_declared_is_refused(value):
    with pytest.raises(TypeError):
        parameter(value)


def test_a_row_for_copy_escapes_what_separates():
    assert copy_line(("a\tb\nc\\", None, Decimal("1.0"))) == "a\\tb\\nc\\\\\t\\N\t1.0"


def test_parameters_are_numbered_in_order_and_repeated_by_number():
    made = statement("select :b, :a, :b from x where y = any(:a::int[])")
    assert made.numbered == "select $1, $2, $1 from x where y = any($2::int[])"
    assert made.values({"a": [1], "b": "x"}) == ["x", '{"1"}']


@pytest.mark.parametrize("given", [{}, {"a": 1, "c": 2}, {"a": 1, "b": 2, "c": 3}])
def test_missing_and_unknown_parameters_are_named(given):
    with pytest.raises(TypeError, match="missing or unknown parameters"):
        statement("select :a, :b").values(given)


QUERIES = """-- The room's statements.

-- name: find_book
-- Finds one book by id.
select * from ledger.books
where book_id = :book_id;

-- name: count_books
-- Counts all books.
select count(*) as n from ledger.books
"""


def test_a_queries_file_is_read_by_name_with_its_purpose():
    found = parse_queries(QUERIES)
    assert list(found) == ["find_book", "count_books"]
    assert found["find_book"] == Statement(
        name="find_book", purpose="Finds one book by id.", text="select * from ledger.books\nwhere book_id = :book_id"
    )
    assert found["find_book"].parameters == ("book_id",)


def test_a_statement_may_say_that_it_is_planned_once():
    text = "-- name: one, planned once\n-- p\nselect 1\n-- name: two\n-- p\nselect 2"
    assert {name: one.is_planned_once for name, one in parse_queries(text).items()} == {"one": True, "two": False}


@pytest.mark.parametrize(
    "text",
    [
        "-- name: a, planned twice\n-- purpose\nselect 1",
        "-- name: a b\n-- purpose\nselect 1",
        "-- name: twice\n-- p\nselect 1\n-- name: twice\n-- p\nselect 2",
        "-- name: bare\nselect 1",
        "-- name: empty\n-- purpose\n",
        "-- name:\n-- purpose\nselect 1",
    ],
)
def test_a_malformed_queries_file_names_its_fault(text):
    with pytest.raises(ValueError, match=r"queries\.sql"):
        parse_queries(text)


def test_every_rooms_queries_can_be_read():
    from pathlib import Path

    import fillbook

    rooms = sorted(path.parent.name for path in Path(fillbook.__file__).parent.glob("*/queries.sql"))
    for room in rooms:
        assert load_queries(f"fillbook.{room}")
