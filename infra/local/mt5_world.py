"""What the fake MT5 service knows: instances, servers with their clocks and prices, accounts; and who called.

Everything is made by ``add_*`` and named by text; an account belongs to one instance and one server. No socket is opened here.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from infra.local.mt5_answers import Account, Told
from infra.local.mt5_broker import Book
from infra.local.mt5_draft import Given
from infra.local.mt5_model import EXCHANGE, HEDGING, NETTING, ClockRule, Done, Symbol, Terms, symbols
from infra.local.mt5_shapes import Shape

API_KEY: Final = "fake-mt5-key"
DEFAULT: Final = "default"
CONTRACTS: Final = ("both", "v1", "v0")
MODES: Final = {"netting": NETTING, "exchange": EXCHANGE, "hedging": HEDGING}
CALLS_MAX: Final = 200_000
SPAN_SECONDS: Final = 60.0


@dataclass(slots=True, kw_only=True)
class Instance:
    """One running service, on a port of its own. Limits None: not published, and not kept."""

    name: str
    api_key: str = API_KEY
    contract: str = "both"
    requests_per_minute: int | None = None
    sessions: int | None = None
    audience: str | None = None
    port: int = 0
    recent: deque[float] = field(default_factory=deque)
    busy: Counter[str] = field(default_factory=Counter)
    busy_max: int = 0
    terminal: str = ""
    terminal_free_at: float = 0.0

    def __post_init__(self) -> None:
        if self.contract not in CONTRACTS:
            raise ValueError(f"contract is one of {', '.join(CONTRACTS)}")

    def is_over(self, now: float) -> bool:
        """Count a call; whether it is more than the published limit allows in 60 real seconds."""
        if self.requests_per_minute is None:
            return False
        while self.recent and now - self.recent[0] >= SPAN_SECONDS:
            self.recent.popleft()
        if len(self.recent) >= self.requests_per_minute:
            return True
        self.recent.append(now)
        return False


@dataclass(slots=True, kw_only=True)
class Server:
    """A broker's server. ``moving``: prices of symbols that nobody has set, by instant; ``pulse``: what changes when they do."""

    name: str
    clock: ClockRule = field(default_factory=ClockRule)
    bonus_is_credit: bool = False
    symbols: dict[str, Symbol] = field(default_factory=symbols)
    prices: dict[str, Decimal] = field(default_factory=dict)
    moving: Callable[[Symbol, datetime], Decimal] | None = None
    pulse: Callable[[datetime], int] = lambda _: 0
    version: int = 0

    def quote(self, symbol: str, at: datetime) -> Decimal | None:
        """Return the market's price; None: what was last paid."""
        if symbol in self.prices or self.moving is None:
            return self.prices.get(symbol)
        return self.moving(self.symbols[symbol], at)


@dataclass(slots=True, kw_only=True)
class Entry:
    """One call. Times are real seconds of a clock that only grows; ``ended_at`` None: not answered yet, or never."""

    at: float
    desk_at: datetime
    instance: str
    server: str
    account: str
    endpoint: str
    target: str
    status: int
    fault: str | None
    request_id: str
    headers: frozenset[str]
    ended_at: float | None = None

    def document(self) -> dict[str, Any]:
        """Return it as the admin API shows it."""
        told = {name: getattr(self, name) for name in self.__slots__}
        return told | {"desk_at": self.desk_at.isoformat(), "headers": sorted(self.headers)}


class Calls:
    """Who called: the last 200,000 calls, and sums over all of them."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=CALLS_MAX)
        self.total, self.in_flight, self.in_flight_max = 0, 0, 0

    def begin(self, entry: Entry) -> None:
        """Note a call that came."""
        self.entries.append(entry)
        self.total += 1
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)

    def end(self, entry: Entry, now: float) -> None:
        """Note that it was answered, or that the caller has gone."""
        entry.ended_at = now
        self.in_flight -= 1

    def clear(self) -> None:
        """Forget all but who is being answered now."""
        self.entries.clear()
        self.total, self.in_flight_max = self.in_flight, self.in_flight

    def most_in(self, seconds: float = SPAN_SECONDS, instance: str | None = None) -> int:
        """Return the largest number of calls in any span of real ``seconds`` (half open)."""
        found, recent = 0, deque[float]()
        for entry in self.entries:
            if instance is None or entry.instance == instance:
                recent.append(entry.at)
                while entry.at - recent[0] >= seconds:
                    recent.popleft()
                found = max(found, len(recent))
        return found

    def summary(self) -> dict[str, Any]:
        """Return what the admin API shows: by account and endpoint, in flight, spacing, header names."""
        by_account: dict[str, Counter[str]] = {}
        for entry in self.entries:
            by_account.setdefault(entry.account, Counter())[entry.endpoint] += 1
        gaps = [after - before for before, after in _pairs(entry.at for entry in self.entries)]
        names: set[str] = set().union(*(entry.headers for entry in self.entries)) if self.entries else set()
        return {
            "total": self.total, "in_flight": self.in_flight, "in_flight_max": self.in_flight_max,
            "accounts": {name: dict(counts) for name, counts in by_account.items()},
            "endpoints": dict(Counter(entry.endpoint for entry in self.entries)),
            "statuses": {str(status): count for status, count in Counter(entry.status for entry in self.entries).items()},
            "most_in_60_seconds": self.most_in(),
            "spacing_seconds": {"least": min(gaps, default=None), "most": max(gaps, default=None)},
            "header_names": sorted(names),
        }  # fmt: skip


def _pairs(times: Iterator[float]) -> Iterator[tuple[float, float]]:
    before: float | None = None
    for at in times:
        if before is not None:
            yield before, at
        before = at


class World:
    """All of it."""

    def __init__(self, now: Callable[[], datetime], *, api_key: str = API_KEY) -> None:
        self.now, self._api_key = now, api_key
        self.reset()

    def reset(self) -> None:
        """Forget accounts, servers, instances but the default one, and calls."""
        self.instances = {DEFAULT: Instance(name=DEFAULT, api_key=self._api_key)}
        self.servers: dict[str, Server] = {}
        self.accounts: dict[str, Account] = {}
        self.calls = Calls()
        self.cursors = 0

    def add_instance(self, name: str, **values: Any) -> Instance:
        """Add a service instance, or change one; raises ``ValueError``."""
        known = self.instances.get(name)
        if known is None:
            self.instances[name] = known = Instance(name=name, **{"api_key": self._api_key, **values})
        for field_name, value in values.items():
            if field_name not in ("api_key", "contract", "requests_per_minute", "sessions", "audience"):
                raise ValueError(f"unknown field {field_name}")
            setattr(known, field_name, value)
        known.__post_init__()
        return known

    def add_server(
        self, name: str, *, zone_name: str = "America/New_York", shift_minutes: int = 420, bonus_is_credit: bool = False
    ) -> Server:
        """Add a server with its clock rule (default: New York + 7 h), or put another in its place."""
        made = Server(name=name, clock=ClockRule(zone_name=zone_name, shift_minutes=shift_minutes))
        made.clock.msc(self.now())  # raises for a zone that nobody knows
        made.bonus_is_credit = bonus_is_credit
        self.servers[name] = made
        return made

    def add_symbol(self, server: str, name: str, contract_size: Decimal, digits: int, currency_profit: str = "USD") -> None:
        """Add a symbol to a server."""
        self._server(server).symbols[name] = Symbol(
            name=name, contract_size=contract_size, digits=digits, currency_profit=currency_profit
        )

    def set_prices(self, server: str, prices: Mapping[str, Any]) -> None:
        """Set what symbols cost from now on; no deal follows, floating results do."""
        one = self._server(server)
        one.prices |= {name: Given(prices).number(name) for name in prices}
        one.version += 1

    def add_account(self, **given: Any) -> Account:
        """Add an account; every field of ``_ACCOUNT`` may be given. Raises ``ValueError`` for others and for a known id."""
        unknown = given.keys() - _ACCOUNT.keys()
        if unknown:
            raise ValueError(f"unknown field: {', '.join(sorted(unknown))}")
        known = {**_ACCOUNT, **given}
        login = int(known["login"] or 10_000_001 + len(self.accounts))
        identity = str(known["id"] or f"svc-{login}")
        if identity in self.accounts:
            raise ValueError(f"account {identity} exists")
        if known["instance"] not in self.instances:
            raise ValueError(f"unknown instance {known['instance']!r}")
        server = self._server(known["server"])
        terms = Terms(
            clock=server.clock, margin_mode=MODES[known["mode"]], currency=known["currency"], digits=int(known["digits"]),
            commission_per_lot=Given(known).number("commission_per_lot"), leverage=int(known["leverage"]),
            bonus_is_credit=server.bonus_is_credit, symbols=server.symbols,
        )  # fmt: skip
        book: Told = (known["book"] or _book_of(server, int(known["first_ticket"]), int(known["first_order"])))(terms)
        self.accounts[identity] = account = Account(
            id=identity, login=login, server=server.name, instance=known["instance"],
            name=str(known["name"] or f"Account {login}"), terms=terms, book=book, shape=Shape(**known["shape"]),
            overrides=_overrides(known["overrides"]),
        )  # fmt: skip
        for operation in known["operations"]:
            self.operate(identity, **operation)
        return account

    def change_account(self, account_id: str, *, shape: Mapping[str, str] | None = None, overrides: Any = None) -> Account:
        """Tell an account in another shape, or other figures of its info."""
        account = self.account(account_id)
        if shape is not None:
            account.shape = Shape(**shape)
        if overrides is not None:
            account.overrides = _overrides(overrides)
        account.kept.clear()
        return account

    def operate(self, account_id: str, kind: str, at: datetime | str | None = None, **given: Any) -> Done:
        """Carry out one operation, now or at an instant; raises ``ValueError`` where it is impossible."""
        book = self.account(account_id).book
        if not isinstance(book, Book):
            raise ValueError(f"{account_id} trades by itself")  # noqa: TRY004 - of the account, not of a type
        when = datetime.fromisoformat(at) if isinstance(at, str) else at
        return book.operate(kind, self.now() if when is None else when, **given)

    def account(self, account_id: str) -> Account:
        """Return an account; raises ``ValueError`` where there is none."""
        if account_id not in self.accounts:
            raise ValueError(f"unknown account {account_id!r}")
        return self.accounts[account_id]

    def _server(self, name: str) -> Server:
        if name not in self.servers:
            raise ValueError(f"unknown server {name!r}")
        return self.servers[name]


def _book_of(server: Server, first_ticket: int, first_order: int) -> Callable[[Terms], Told]:
    return lambda terms: Book(terms, quote=server.quote, first_ticket=first_ticket, first_order=first_order)


def _overrides(given: Mapping[str, Any]) -> dict[str, Decimal]:
    if given.keys() - {"equity", "margin", "margin_free", "margin_level", "profit"}:
        raise ValueError("only equity, margin, margin_free, margin_level and profit can be told otherwise")
    return {name: Given(given).number(name) for name in given}


_ACCOUNT: Final[Mapping[str, Any]] = {
    "id": None,
    "login": None,
    "server": "",
    "instance": DEFAULT,
    "name": None,
    "mode": "hedging",
    "currency": "USD",
    "digits": 2,
    "leverage": 100,
    "commission_per_lot": Decimal(0),
    "first_ticket": 1_000_001,
    "first_order": 5_000_001,
    "shape": {},
    "overrides": {},
    "operations": (),
    "book": None,
}
