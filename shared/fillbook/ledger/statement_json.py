"""The door for statements as JSON: a file an operator hands over, or a stored one; strict, bounded, exact.

Numbers are texts or integers (a JSON fraction has already lost digits and is refused), instants ISO with their zone, and a
key nobody knows is refused. What passes is a ``Statement``; the book-dependent rules are ``statement.check_statement``'s.
"""

from __future__ import annotations

from datetime import UTC
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from fillbook.ledger.model import Direction
from fillbook.ledger.statement import (
    CURRENCIES_MAX,
    LINES_MAX,
    StatedCash,
    StatedPosition,
    StatedRealized,
    Statement,
)
from fillbook.money import NumberError, parse
from fillbook.runtime.errors import Rejected

STATEMENT_BYTES_MAX = 4 * 1024 * 1024
NUMBER_CHARACTERS_MAX = 64


def _exact(value: Any) -> Decimal:
    if isinstance(value, str) and len(value) > NUMBER_CHARACTERS_MAX:
        raise ValueError("too long for a number")
    try:
        return parse(value)
    except NumberError as error:
        raise ValueError('a decimal as text, like "100.25"') from error


Number = Annotated[Decimal, BeforeValidator(_exact)]
Text = Annotated[str, Field(min_length=1, max_length=160)]


class _Edge(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Position(_Edge):
    instrument: Text
    direction: Direction | None = None
    quantity: Number
    average_price: Number | None = None
    currency: Text
    opened_at: AwareDatetime | None = None


class _Cash(_Edge):
    currency: Text
    start: Number
    end: Number
    other_movements: Number = Decimal(0)


class _Realized(_Edge):
    instrument: Annotated[str, Field(max_length=160)] = ""
    direction: Direction | None = None
    currency: Text
    amount: Number


class _Statement(_Edge):
    book_id: Text
    as_of: AwareDatetime
    source: Text
    complete: bool
    account: Text | None = None
    since: AwareDatetime | None = None
    positions: Annotated[list[_Position], Field(max_length=LINES_MAX)] = []
    cash: Annotated[list[_Cash], Field(max_length=CURRENCIES_MAX)] = []
    realized: Annotated[list[_Realized], Field(max_length=LINES_MAX)] = []
    not_compared: Annotated[list[Text], Field(max_length=LINES_MAX)] = []
    known_causes: Annotated[dict[Text, Text], Field(max_length=LINES_MAX)] = {}


def read_statement(text: str | bytes) -> Statement:
    """A statement from JSON. Raises ``Rejected``: ``statement_too_large``, or ``statement_invalid`` naming the field."""
    if len(text) > STATEMENT_BYTES_MAX:
        raise Rejected("statement_too_large", f"at most {STATEMENT_BYTES_MAX} bytes", field="statement")
    try:
        given = _Statement.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "statement"
        raise Rejected("statement_invalid", f"{field}: {first['msg']}", field=field) from None
    return Statement(
        book_id=given.book_id,
        as_of=given.as_of.astimezone(UTC),
        source=given.source,
        complete=given.complete,
        account=given.account,
        since=None if given.since is None else given.since.astimezone(UTC),
        positions=tuple(StatedPosition(**_fields(line)) for line in given.positions),
        cash=tuple(StatedCash(**_fields(line)) for line in given.cash),
        realized=tuple(StatedRealized(**_fields(line)) for line in given.realized),
        not_compared=frozenset(given.not_compared),
        known_causes=given.known_causes,
    )


def _fields(line: BaseModel) -> dict[str, Any]:
    """The fields of a line by name; the nouns have the same names."""
    return {name: getattr(line, name) for name in type(line).model_fields}
