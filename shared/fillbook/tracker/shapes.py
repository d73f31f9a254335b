"""What every answer of the API is made of: its frame and the forms of decimals and instants on the wire.

The answers of a noun are TypedDicts in ``<noun>_model.py``: the type checker holds the use cases to them, the OpenAPI document
and the page's types are made from them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

Amount = Annotated[str, Field(pattern=r"^-?\d+(\.\d+)?$", description="A decimal as plain text, without exponent")]
Percent = Annotated[str, Field(pattern=r"^-?\d+\.\d+$", description="Points, as text")]
Milliseconds = Annotated[int, Field(description="Epoch milliseconds")]
Instant = Annotated[str, Field(description="ISO 8601, UTC, with milliseconds")]


class BookState(TypedDict):
    """A book of the answer: up to which row it was read."""

    seq: int


class Frame(TypedDict):
    """What every answer says: as of when, data as of when, which books at which sequence."""

    ok: bool
    as_of_ts: Milliseconds
    as_of_at: Instant
    data_as_of_ts: Milliseconds | None
    data_as_of_at: Instant | None
    books: dict[str, BookState]


class Page(Frame):
    """A page of a list."""

    count: int
    has_more: bool
    next_cursor: str | None
