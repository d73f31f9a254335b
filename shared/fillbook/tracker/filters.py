"""What may be asked about broker accounts, their trades and runs: every parameter understood, or refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from fillbook.runtime.errors import Rejected
from fillbook.tracker import paging
from fillbook.tracker.listing import CURSOR, asked
from fillbook.tracker.model import choice, instant, refused, single, whole
from fillbook.tracker.parameter import Parameter, names
from fillbook.values import frozen

LIMIT_DEFAULT = 100
LIMIT_MAX = 500
SYMBOL_LENGTH_MAX = 64
COVERAGE_DAYS = 30
COVERAGE_DAYS_MAX = 400
ACCOUNT_ID_MAX = 2**63 - 1
TRADE_STATUSES = ("unknown", "partial", "filled", "cancelled", "expired", "assigned", "exercised")
LINKED_TRADE_STATUSES = ("open", "close_pending", "closed")
PLATFORMS = ("ibkr", "mt5")
FLAGS = ("true", "false")
EXECUTION_PARTS = frozenset({"raw", "history"})
INSTANT: Mapping[str, Any] = {"type": "string", "examples": ["2026-02-03", "2026-02-03T15:16:00Z", "1770131700000"]}
PLATFORM = Parameter(name="platform", schema={"enum": list(PLATFORMS)}, purpose="Whose accounts.")
ACCOUNT = Parameter(
    name="account_id",
    schema={"type": "string", "examples": ["1", "9223372036854775807", "0d6fd3a6-2f6b-5a53-9a4a-7f0c4f5a2b11"]},
    purpose="One account: a number of IBKR's, the id of a linked one.",
)
SYMBOL = Parameter(
    name="symbol",
    schema={"type": "string", "minLength": 1, "maxLength": SYMBOL_LENGTH_MAX, "examples": ["AAPL"]},
    purpose="As the broker writes it, or of the underlying.",
)
LIMIT = Parameter(
    name="limit",
    schema={"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
    purpose="How many at most.",
)
STATUS = Parameter(
    name="status",
    schema={"enum": [*TRADE_STATUSES, *LINKED_TRADE_STATUSES]},
    purpose="Of IBKR's trades one of the first seven, of linked ones one of the last three.",
)
HIDDEN = Parameter(name="include_hidden", schema={"enum": list(FLAGS)}, purpose="Trades that the user hid too.")
TRADE_PARAMETERS = (
    PLATFORM,
    ACCOUNT,
    STATUS,
    SYMBOL,
    Parameter(name="executed_from", schema=INSTANT, purpose="Executions reach beyond this instant; IBKR's only."),
    Parameter(name="executed_to", schema=INSTANT, purpose="Executions begin before this instant; IBKR's only."),
    Parameter(
        name="include_merged", schema={"enum": list(FLAGS)}, purpose="Trades that were merged into others too; IBKR's only."
    ),
    HIDDEN,
    LIMIT,
    CURSOR,
)
LINKED_TRADE_PARAMETERS = (PLATFORM, ACCOUNT, STATUS, SYMBOL, HIDDEN, LIMIT, CURSOR)
ACCOUNT_PARAMETERS = (PLATFORM, LIMIT, CURSOR)
EXECUTION_PARAMETERS = (
    Parameter(name="is_canonical", schema={"enum": list(FLAGS)}, purpose="Only rows that count, or only those that do not."),
    Parameter(
        name="include",
        schema={"enum": ["raw", "history", "raw,history"]},
        purpose="What the broker wrote (admin), and every text of a row.",
    ),
)
RUN_PARAMETERS = (LIMIT, CURSOR)
RUNS_OF_ACCOUNT = {"list": "sync_runs"}
COVERAGE_PARAMETERS = (
    ACCOUNT,
    Parameter(name="from", schema={"type": "string", "format": "date"}, purpose="The first day."),
    Parameter(name="to", schema={"type": "string", "format": "date"}, purpose="The last day; 400 at most."),
)
TRADE_ID = Parameter(name="trade_id", schema={"type": "string", "format": "uuid"}, purpose="A trade's id.")
ACCOUNT_IN_PATH = Parameter(name="account", schema=ACCOUNT.schema, purpose=ACCOUNT.purpose)


@frozen
class BrokerTradeQuery:
    """Which broker trades. A range means activity: a trade is in [from, to) if its executions reach into it."""

    account_id: int | None
    status: str | None
    symbol: str | None
    executed_from: datetime | None
    executed_to: datetime | None
    include_merged: bool
    include_hidden: bool
    limit: int
    after: paging.Place | None
    question: Mapping[str, str]


@frozen
class LinkedTradeQuery:
    """Which trades of linked accounts."""

    account_id: UUID | None
    status: str | None
    symbol: str | None
    include_hidden: bool
    limit: int
    after: paging.Place | None
    question: Mapping[str, str]


@frozen
class AccountQuery:
    """Which broker accounts; no platform: those of all."""

    platform: str | None
    limit: int
    after: paging.Place | None
    question: Mapping[str, str]


@frozen
class ExecutionQuery:
    """Which executions of a trade, with which parts."""

    is_canonical: bool | None
    parts: frozenset[str]


@frozen
class CoverageQuery:
    """Which days, both ends included."""

    account_id: int | UUID | None
    from_day: date
    to_day: date


def broker_trades(given: Mapping[str, list[str]]) -> BrokerTradeQuery:
    """Understand the parameters of a list of broker trades; raises ``Rejected`` naming the one that is wrong."""
    one = single(given, names(TRADE_PARAMETERS))
    question = asked(one, "broker_trades")
    executed_from = instant(one["executed_from"], "executed_from") if "executed_from" in one else None
    executed_to = instant(one["executed_to"], "executed_to") if "executed_to" in one else None
    if executed_from is not None and executed_to is not None and executed_from >= executed_to:
        raise refused("executed_to")
    return BrokerTradeQuery(
        account_id=account_id(one["account_id"]) if "account_id" in one else None,
        status=choice(one, "status", TRADE_STATUSES),
        symbol=_symbol(one),
        executed_from=executed_from,
        executed_to=executed_to,
        include_merged=choice(one, "include_merged", FLAGS) == "true",
        include_hidden=choice(one, "include_hidden", FLAGS) == "true",
        limit=whole(one.get("limit", str(LIMIT_DEFAULT)), "limit", LIMIT_MAX),
        after=paging.read(one["cursor"], question, "cursor").place if "cursor" in one else None,
        question=question,
    )


def linked_trades(given: Mapping[str, list[str]]) -> LinkedTradeQuery:
    """Understand the parameters of a list of trades of linked accounts; raises ``Rejected`` naming the one that is wrong."""
    one = single(given, names(LINKED_TRADE_PARAMETERS))
    question = asked(one, "linked_trades")
    chosen = any_account(one["account_id"]) if "account_id" in one else None
    if isinstance(chosen, int):
        raise refused("account_id")
    return LinkedTradeQuery(
        account_id=chosen,
        status=choice(one, "status", LINKED_TRADE_STATUSES),
        symbol=_symbol(one),
        include_hidden=choice(one, "include_hidden", FLAGS) == "true",
        limit=whole(one.get("limit", str(LIMIT_DEFAULT)), "limit", LIMIT_MAX),
        after=paging.read(one["cursor"], question, "cursor").place if "cursor" in one else None,
        question=question,
    )


def is_linked(given: Mapping[str, list[str]]) -> bool:
    """Whether a list of trades asks for linked accounts; ``platform`` is IBKR's unless it says otherwise."""
    return choice({"platform": given.get("platform", ["ibkr"])[0]}, "platform", PLATFORMS) == "mt5"


def accounts(given: Mapping[str, list[str]]) -> AccountQuery:
    """Which accounts, how many, and after which."""
    one = single(given, names(ACCOUNT_PARAMETERS))
    question = asked(one, "accounts")
    return AccountQuery(
        platform=choice(one, "platform", PLATFORMS),
        limit=whole(one.get("limit", str(LIMIT_DEFAULT)), "limit", LIMIT_MAX),
        after=paging.read(one["cursor"], question, "cursor").place if "cursor" in one else None,
        question=question,
    )


def _symbol(one: Mapping[str, str]) -> str | None:
    symbol = one.get("symbol")
    if symbol is not None and not (0 < len(symbol) <= SYMBOL_LENGTH_MAX and symbol.isprintable()):
        raise refused("symbol")
    return symbol


def executions(given: Mapping[str, list[str]]) -> ExecutionQuery:
    """Understand the parameters of a trade's executions."""
    one = single(given, names(EXECUTION_PARAMETERS))
    parts = frozenset(filter(None, one.get("include", "").split(",")))
    if not parts <= EXECUTION_PARTS:
        raise refused("include")
    flag = choice(one, "is_canonical", FLAGS)
    return ExecutionQuery(is_canonical=None if flag is None else flag == "true", parts=parts)


def runs(given: Mapping[str, list[str]]) -> tuple[int, paging.Place | None]:
    """How many runs, and after which."""
    one = single(given, names(RUN_PARAMETERS))
    limit = whole(one.get("limit", str(LIMIT_DEFAULT)), "limit", LIMIT_MAX)
    return limit, paging.read(one["cursor"], RUNS_OF_ACCOUNT, "cursor").place if "cursor" in one else None


def coverage(given: Mapping[str, list[str]], today: date) -> CoverageQuery:
    """The days asked for; the last thirty when none are named."""
    one = single(given, names(COVERAGE_PARAMETERS))
    to_day = day(one["to"], "to") if "to" in one else today
    try:
        from_day = day(one["from"], "from") if "from" in one else to_day - timedelta(days=COVERAGE_DAYS - 1)
    except OverflowError:
        raise refused("to") from None
    if not 0 <= (to_day - from_day).days < COVERAGE_DAYS_MAX:
        raise refused("to" if "to" in one else "from")
    chosen = any_account(one["account_id"]) if "account_id" in one else None
    return CoverageQuery(account_id=chosen, from_day=from_day, to_day=to_day)


def any_account(text: str) -> int | UUID:
    """An account's id: IBKR's is a number of the configuration, that of a linked MT5 account a UUID."""
    try:
        return UUID(text) if len(text) == 36 else account_id(text)
    except ValueError:
        raise refused("account_id") from None


def account_id(text: str) -> int:
    """An account's id; it is a number of the configuration."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and 0 < int(text) <= ACCOUNT_ID_MAX):
        raise refused("account_id")
    return int(text)


def day(text: str, name: str) -> date:
    """A date."""
    try:
        return date.fromisoformat(text) if len(text) == 10 else _not_a_date()
    except ValueError:
        raise refused(name) from None


def _not_a_date() -> date:
    raise ValueError("not a date")


def path_uuid(text: str, reason: str) -> UUID:
    """An id in a path; a text that is none names nothing: ``Rejected`` 404."""
    try:
        return UUID(text) if len(text) == 36 else _not_an_id()
    except ValueError:
        raise Rejected(reason, "no such id", status=404) from None


def _not_an_id() -> UUID:
    raise ValueError("not an id")


def path_account(text: str) -> int | UUID:
    """An account in a path; a text that is none names nothing: ``Rejected`` 404."""
    try:
        return any_account(text)
    except Rejected:
        raise Rejected("account_unknown", "no such account", status=404) from None
