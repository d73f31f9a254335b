"""What a reader of published days may ask, understood whole before anything is read; nothing malformed is guessed at.

Every route has its row in ``ROUTES``: the parameters it knows, those it needs, and how much it shows. A parameter that is
unknown, repeated or malformed is ``Rejected('bad_parameter')`` naming it: a malformed date is never "the latest". Source:
snapshot specification, 5.5.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import date, datetime
from typing import Final

from fillbook.instants import instant_of
from fillbook.runtime.errors import Rejected
from fillbook.snapshot import paging
from fillbook.snapshot.model import Side
from fillbook.snapshot.paging import Place
from fillbook.values import frozen

INTERNAL: Final = "/v1/internal/trades/snapshot"
LATEST: Final = "/v1/trades/latest"
TRADE_DATES: Final = "/v1/trades/dates"
DAILY: Final = "/v1/metrics/daily"
KPIS: Final = "/v1/metrics/kpis"
FILLS: Final = "/v1/metrics/kpis/fills"
KPI_HISTORY: Final = "/v1/metrics/kpi-history"
SERIES: Final = "/v1/metrics/series"
EXTREMES: Final = "/v1/metrics/extremes"
ASSETS: Final = "/v1/metrics/portfolio-assets"
DATES: Final = "/v1/metrics/dates"
VERSIONS: Final = "/v1/metrics/versions"
RESTATEMENTS: Final = "/v1/metrics/restatements"
FRESHNESS: Final = "/v1/metrics/freshness"

NAME_LENGTH_MAX: Final = 100
SYMBOL_LENGTH_MAX: Final = 32
VERSION_MAX: Final = 1_000_000
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@frozen
class Route:
    """What a route takes.

    ``limit`` is (usual, largest); ``key``: texts in the key of its cursor; ``of_days``: it is about many days.
    """

    known: frozenset[str]
    needed: frozenset[str] = frozenset()
    limit: tuple[int, int] | None = None
    key: int = 0
    of_days: bool = False


def _route(
    known: str = "", needed: str = "", limit: tuple[int, int] | None = None, key: int = 0, *, of_days: bool = False
) -> Route:
    more = {"limit"} if limit else set()
    names = frozenset(known.split()) | frozenset(needed.split()) | more | ({"cursor"} if key else set())
    return Route(known=names, needed=frozenset(needed.split()), limit=limit, key=key, of_days=of_days)


ROUTES: Final[Mapping[str, Route]] = {
    LATEST: _route("date version"),
    TRADE_DATES: _route(limit=(50, 400), key=1, of_days=True),
    DAILY: _route("date"),
    KPIS: _route("date"),
    FILLS: _route("date", "kpi", limit=(200, 1_000), key=2),
    KPI_HISTORY: _route("from to", "kpi", limit=(100, 400), of_days=True),
    SERIES: _route("date from to", "kpi", limit=(500, 5_000), key=1),
    EXTREMES: _route("date side", "kpi", limit=(10, 50)),
    ASSETS: _route("date symbol", limit=(200, 2_000), key=2),
    DATES: _route(limit=(50, 400), key=1, of_days=True),
    VERSIONS: _route("date", limit=(50, 400), key=1),
    RESTATEMENTS: _route("date", limit=(200, 1_000), key=3),
    FRESHNESS: _route(of_days=True),
}
INSTANTS: Final = frozenset({SERIES})
"""Routes whose ``from`` and ``to`` are instants; elsewhere they are dates."""


@frozen
class Ask:
    """A question. ``asked``: what was asked but for how much and from where, which a cursor and an ETag belong to."""

    route: str
    asked: Mapping[str, str]
    limit: int
    from_date: date | None = None
    to_date: date | None = None
    date: date | None = None
    version: int | None = None
    kpi: str | None = None
    side: Side | None = None
    symbol: str | None = None
    from_at: datetime | None = None
    to_at: datetime | None = None
    after: Place | None = None

    @property
    def fingerprint(self) -> str:
        """The whole question as a short text: equal questions have equal answers of one version."""
        place = () if self.after is None else self.after.key
        return paging.fingerprint({**self.asked, "limit": str(self.limit), "cursor": "\n".join(place)})


def understood(route: str, given: Mapping[str, list[str]]) -> Ask:
    """Read the parameters of a route; raises ``Rejected('bad_parameter')`` 400."""
    rules = ROUTES[route]
    one = _single(given, rules)
    asked = {"route": route, **{name: text for name, text in one.items() if name not in ("limit", "cursor")}}
    usual, largest = rules.limit or (1, 1)
    first, last = _range(route, one)
    is_time = isinstance(first, datetime) or isinstance(last, datetime)
    ask = Ask(
        route=route,
        asked=asked,
        limit=_whole(one["limit"], "limit", largest) if "limit" in one else usual,
        date=day(one["date"], "date") if "date" in one else None,
        version=_whole(one["version"], "version", VERSION_MAX) if "version" in one else None,
        kpi=_name(one["kpi"], "kpi", NAME_LENGTH_MAX) if "kpi" in one else None,
        side=_side(one["side"]) if "side" in one else None,
        symbol=_name(one["symbol"], "symbol", SYMBOL_LENGTH_MAX) if "symbol" in one else None,
        from_at=first if isinstance(first, datetime) else None,
        to_at=last if isinstance(last, datetime) else None,
        from_date=None if is_time else first,
        to_date=None if is_time else last,
        after=paging.read(one["cursor"], asked, rules.key) if "cursor" in one else None,
    )
    if ask.after is not None and not rules.of_days and (ask.after.date is None or ask.date not in (None, ask.after.date)):
        raise refused("cursor")
    return ask


def refused(name: str) -> Rejected:
    """The refusal of a parameter, naming it."""
    return Rejected("bad_parameter", f"parameter {name}", field=name)


def day(text: str, name: str) -> date:
    """A calendar date, ``YYYY-MM-DD`` and in no other form."""
    try:
        if _DATE.fullmatch(text) is None:
            raise ValueError("form")
        return date.fromisoformat(text)
    except ValueError:
        raise refused(name) from None


def _single(given: Mapping[str, list[str]], rules: Route) -> dict[str, str]:
    for name, values in given.items():
        if name not in rules.known:
            raise refused("unknown")
        if len(values) != 1:
            raise refused(name)
    for name in sorted(rules.needed - given.keys()):
        raise refused(name)
    return {name: values[0] for name, values in given.items()}


def _range(route: str, one: Mapping[str, str]) -> tuple[date | None, date | None]:
    read = _instant if route in INSTANTS else day
    first = read(one["from"], "from") if "from" in one else None
    last = read(one["to"], "to") if "to" in one else None
    if first is not None and last is not None and first > last:
        raise refused("from")
    return first, last


def _instant(text: str, name: str) -> datetime:
    try:
        return instant_of(text)
    except ValueError:
        raise refused(name) from None


def _whole(text: str, name: str, largest: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= largest):
        raise refused(name)
    return int(text)


def _name(text: str, name: str, longest: int) -> str:
    """A stored name: in the form in which names are stored; what can be none of them is refused."""
    found = unicodedata.normalize("NFC", text).strip()
    if not 0 < len(found) <= longest or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in found):
        raise refused(name)
    return found


def _side(text: str) -> Side:
    if text not in tuple(Side):
        raise refused("side")
    return Side(text)
