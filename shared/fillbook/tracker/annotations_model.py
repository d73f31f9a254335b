"""The shapes of a user's words about trades, as they are sent, stored and shown."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from fillbook.tracker.shapes import Frame, Instant, Milliseconds, Page

Notes = Annotated[str, Field(max_length=10_000)]
Tag = Annotated[str, Field(min_length=1, max_length=40)]
Tags = Annotated[list[Tag], Field(max_length=20)]
Strategy = Annotated[str, Field(max_length=100)]
Version = Annotated[int, Field(ge=1, description="What If-Match has to say")]


class OtherWords(TypedDict):
    """Words that came to a trade from another one; they are changed under the id they hang on."""

    subject_id: str
    notes: str | None
    tags: list[str]
    version: Version
    updated_ts: Milliseconds
    updated_at: Instant


class PositionWords(TypedDict):
    """What a user said about a position; ``notes_version`` null: nothing yet."""

    notes: str | None
    tags: list[str]
    notes_version: Version | None
    other_words: NotRequired[list[OtherWords]]


class TradeWords(PositionWords):
    """What a user said about a broker's trade."""

    strategy: str | None
    is_hidden: bool


class PositionNotes(TypedDict):
    """Words about a position as they are sent; what is not named stays, null clears."""

    notes: NotRequired[Notes | None]
    tags: NotRequired[Tags | None]


class TradeNotes(PositionNotes):
    """Words about a broker's trade as they are sent."""

    strategy: NotRequired[Strategy | None]
    is_hidden: NotRequired[bool | None]


class Annotation(TypedDict):
    """A stored row: who said what about which subject, and where it is shown; ``trade_id`` null: nowhere now."""

    kind: Literal["position", "ibkr_trade", "mt5_trade"]
    book_id: str | None
    subject_id: str
    trade_id: str | None
    ticker: str | None
    is_detached: bool
    notes: str | None
    tags: list[str]
    strategy: str | None
    is_hidden: bool
    hidden_ts: Milliseconds | None
    hidden_at: Instant | None
    version: Version
    updated_ts: Milliseconds
    updated_at: Instant
    updated_by: str


class AnnotationAnswer(Frame):
    """The row as it is stored now."""

    annotation: Annotation


class AnnotationPage(Page):
    """A page of words, last changed first."""

    notes: list[Annotation]
