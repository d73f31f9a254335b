"""What every list of the read API may be asked: books, range, the two clocks, how many, and from where on.

Parameters stand beside the code that reads them. The two clocks and a cursor go together so: the first page fixes what was
known (``known_as_of``), the cursor carries it, and every later page is read as of that knowledge. Source: tracker.md 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from fillbook.tracker import paging
from fillbook.tracker.model import BOOKS_MAX, books, clock, instant, refused, whole
from fillbook.tracker.parameter import Parameter
from fillbook.values import frozen

_INSTANTS = ["2026-02-03", "2026-02-03T15:16:00Z", "1770131700000"]
_CLOCKS = ["2026-02-03T15:16:00Z", "1770131700000"]

BOOKS = Parameter(
    name="books",
    schema={"type": "string", "minLength": 1, "examples": ["live", "all", "live,ibkr:U1"]},
    purpose=f"Up to {BOOKS_MAX} books by their names with commas between, or `all`: every book of the key except replays. `live`"
    " when left out.",
)
SINCE = Parameter(
    name="since",
    schema={"type": "string", "examples": _INSTANTS},
    purpose="Active at or after: an instant with its zone, epoch milliseconds, or a New York date (its midnight).",
)
UNTIL = Parameter(name="until", schema={"type": "string", "examples": _INSTANTS}, purpose="Active before; forms as of `since`.")
AS_OF = Parameter(
    name="as_of",
    schema={"type": "string", "examples": _CLOCKS},
    purpose="As it stood then: an instant with its zone or epoch milliseconds, not of the future.",
)
KNOWN_AS_OF = Parameter(
    name="known_as_of",
    schema={"type": "string", "examples": _CLOCKS},
    purpose="As it was known then; forms as of `as_of`.",
)
CURSOR = Parameter(
    name="cursor",
    schema={"type": "string", "minLength": 1, "maxLength": paging.CURSOR_LENGTH_MAX},
    purpose="`next_cursor` of the page before; everything else must be asked as it was there, `limit` apart.",
)
RANGE = (SINCE, UNTIL)
CLOCKS = (AS_OF, KNOWN_AS_OF)
ON_EVERY_PAGE = frozenset({"cursor", "limit"})


def limit(default: int, largest: int) -> Parameter:
    """How many rows a page has."""
    schema = {"type": "integer", "minimum": 1, "maximum": largest, "default": default}
    return Parameter(name="limit", schema=schema, purpose=f"How many at most; {default} when left out.")


def parameters(default: int, largest: int) -> tuple[Parameter, ...]:
    """All of them, of a list with such pages."""
    return (BOOKS, *RANGE, *CLOCKS, limit(default, largest), CURSOR)


@frozen
class Common:
    """The common parameters, understood.

    ``books`` None: every book of the key except replays. [``since``, ``until``) is half-open. ``as_of`` and ``known_as_of`` as
    they were asked for, None is now. ``after``: where the page before ended and what was known on the first. ``question``: all
    that a cursor belongs to.
    """

    books: tuple[str, ...] | None
    since: datetime | None
    until: datetime | None
    as_of: datetime | None
    known_as_of: datetime | None
    limit: int
    after: paging.Cursor | None
    question: Mapping[str, str]

    @property
    def is_past(self) -> bool:
        """Whether another moment than now was asked for."""
        return self.as_of is not None or self.known_as_of is not None

    @property
    def place(self) -> paging.Place | None:
        """The place after which the page begins."""
        return None if self.after is None else self.after.place

    def cursor(self, last: paging.Place, known_as_of: datetime | None) -> str:
        """The cursor of the next page; ``known_as_of`` is that of this one, so that it stays what it was on the first."""
        return paging.written(last, self.question, known_as_of)


def read(one: Mapping[str, str], name: str, default: int, largest: int) -> Common:
    """Understand the common parameters among those given once (``model.single``) to the list ``name``.

    Raises ``Rejected``: ``parameter_invalid`` naming the one that is wrong, and as ``paging.read``.
    """
    question = asked(one, name)
    since, until = (instant(one[end], end) if end in one else None for end in ("since", "until"))
    if since is not None and until is not None and since >= until:
        raise refused("until")
    return Common(
        books=books(one),
        since=since,
        until=until,
        as_of=clock(one, "as_of"),
        known_as_of=clock(one, "known_as_of"),
        limit=whole(one.get("limit", str(default)), "limit", largest),
        after=paging.read(one["cursor"], question, "cursor") if "cursor" in one else None,
        question=question,
    )


def asked(one: Mapping[str, str], name: str) -> dict[str, str]:
    """What a cursor belongs to: the list and everything that was asked of it but how much and from where."""
    return {"list": name} | {parameter: text for parameter, text in one.items() if parameter not in ON_EVERY_PAGE}
