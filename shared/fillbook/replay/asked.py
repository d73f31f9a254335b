"""What a caller of the bucket route asks for: parameters of query and body, checked at the door, nowhere again.

The same name in both is refused, an unknown name is refused, a value that cannot be read is refused with its field. Which of
the pinned values were given is kept: what is not given is what the run has. Source: replay.md 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from fillbook.calendar import NEW_YORK
from fillbook.replay.cursors import Cursor, cursor_from
from fillbook.replay.model import FactsFrom, Inputs, SessionKind
from fillbook.runtime.errors import Rejected
from fillbook.signal.receipt import normal_ticker
from fillbook.values import frozen

OFFSET_LIMIT: Final = (25, 50)  # rows a call by offset: usual, most
CURSOR_LIMIT: Final = (500, 2_000)
SCRIPT_VERSION: Final = "2.5.0"
PROFILE: Final = "tt-2026-02"
NAMES: Final = frozenset(
    "date ticker scriptVersion bucket limit offset cleanSlate after run profile session inputs start facts dryRun target confirm "
    "plan requireComplete acceptCode".split()
)
PINNED: Final = ("scriptVersion", "profile", "session", "inputs", "start", "facts")
NUMBER_DIGITS_MAX: Final = 16
STARTS: Final = ("empty", "live")
TARGETS: Final = ("run", "live")

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_PROFILE: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
_SCRIPT: Final = re.compile(r"\*|[\x21-\x7e]{1,32}")


@frozen
class Asked:
    """One call. ``by_cursor``: it pages by ``after``, where ``None`` is the beginning. ``given`` names what was sent."""

    date: date
    ticker: str | None
    script_version: str
    profile: str
    session: SessionKind
    inputs: Inputs
    start: str
    facts: FactsFrom
    limit: int
    given: frozenset[str]
    run: str | None = None
    bucket: int | None = None
    offset: int | None = None
    by_cursor: bool = False
    after: Cursor | None = None
    clean_slate: bool = False
    dry_run: bool = False
    target: str = "run"
    confirm: str | None = None
    plan: str | None = None
    require_complete: bool = False
    accept_code: bool = False


def asked(query: Mapping[str, list[str]], body: Mapping[str, Any], now: datetime, *, profile: str = PROFILE) -> Asked:
    """Read a call; raises ``Rejected``: ``param_twice``, ``param`` with its field."""
    given = _merged(query, body)
    by_cursor = "after" in given
    usual, most = CURSOR_LIMIT if by_cursor else OFFSET_LIMIT
    offset = _number(given, "offset", 0, 2**53)
    clean_slate = _flag(given, "cleanSlate")
    if (by_cursor and offset is not None) or (clean_slate and (offset or given.get("after"))):
        raise refused("offset" if offset is not None else "after")
    today = now.astimezone(NEW_YORK).date()
    return Asked(
        date=_read(given, "date", _day, today),
        ticker=ticker_of(given.get("ticker")),
        script_version=_read(given, "scriptVersion", _matching(_SCRIPT), SCRIPT_VERSION),
        profile=_read(given, "profile", _matching(_PROFILE), profile),
        session=_read(given, "session", SessionKind, SessionKind.REGULAR),
        inputs=_read(given, "inputs", Inputs, Inputs.ALL),
        start=_read(given, "start", _one_of(STARTS), "empty"),
        facts=_read(given, "facts", FactsFrom, FactsFrom.OWN),
        limit=_number(given, "limit", 1, most) or usual,
        given=frozenset(given),
        run=_read(given, "run", run_name, None),
        bucket=_number(given, "bucket", 0, 2**53),
        offset=offset,
        by_cursor=by_cursor,
        after=cursor_from(given["after"]) if given.get("after") else None,
        clean_slate=clean_slate,
        dry_run=_flag(given, "dryRun"),
        target=_read(given, "target", _one_of(TARGETS), "run"),
        confirm=given.get("confirm"),
        plan=given.get("plan"),
        require_complete=_flag(given, "requireComplete"),
        accept_code=_flag(given, "acceptCode"),
    )


def run_name(text: str) -> str:
    """A run's id or name; ``ValueError`` when it can be neither."""
    return str(UUID(text)) if len(text) == 36 else _matching(_NAME)(text)


def is_id(run: str) -> bool:
    """Whether it names a run by its id."""
    return len(run) == 36 and run.count("-") == 4


def ticker_of(text: str | None) -> str | None:
    """A ticker in the desk's form; ``None``, empty and ``all`` are all tickers."""
    if text is None or text in ("", "all"):
        return None
    try:
        return normal_ticker(text)
    except Rejected as error:
        raise refused("ticker") from error


def refused(name: str) -> Rejected:
    """The refusal of one parameter."""
    return Rejected("param", f"{name} cannot be read", field=name)


def _merged(query: Mapping[str, list[str]], body: Mapping[str, Any]) -> dict[str, str]:
    """Both sources as texts; null is not given."""
    found: dict[str, str] = {}
    for name, values in query.items():
        if len(values) > 1 or name in body:
            raise Rejected("param_twice", field=name)
        found[name] = values[0]
    for name, value in body.items():
        if isinstance(value, bool):
            found[name] = str(int(value))
        elif isinstance(value, int | str):
            found[name] = str(value)
        elif value is not None:
            raise refused(name)
    for name in found:
        if name not in NAMES:
            raise Rejected("param", "no such parameter", field=name if name.isidentifier() else None)
    return found


def _read(given: Mapping[str, str], name: str, read: Callable[[str], Any], otherwise: Any) -> Any:
    if name not in given:
        return otherwise
    try:
        return read(given[name])
    except ValueError as error:
        raise refused(name) from error


def _number(given: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    text = given.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > NUMBER_DIGITS_MAX or not least <= int(text) <= most:
        raise refused(name)
    return int(text)


def _flag(given: Mapping[str, str], name: str) -> bool:
    text = given.get(name, "0")
    if text not in ("0", "1"):
        raise refused(name)
    return text == "1"


def _day(text: str) -> date:
    if len(text) != 10:
        raise ValueError("YYYY-MM-DD")
    return date.fromisoformat(text)


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if pattern.fullmatch(text) is None:
            raise ValueError("form")
        return text

    return read


def _one_of(words: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError("unknown word")
        return text

    return read
