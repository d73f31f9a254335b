"""What the environment tells ``execution_sync``: accounts, targets, client ids, the statements to ask for.

Accounts come from here only, never from broker data: a row of any other account is left out. Everything malformed is
reported by name at the first call, never with a value. Source: ibkr.md 11.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator

from fillbook.ibkr.allowlist import Account, AccountConfig
from fillbook.ibkr.handlers import Outside, Socket, Statements
from fillbook.ibkr.payloads import Defaults
from fillbook.ibkr.tws_rules import CLIENT_ID_MAX, TwsTarget, Waits
from fillbook.ibkr.worker import Worker
from fillbook.ledger.model import LotMethod
from fillbook.runtime.clock import Clock
from fillbook.runtime.config import DatabaseConfig, OidcConfig, PubSubConfig
from fillbook.runtime.db import Database
from fillbook.runtime.pubsub import Publish

ACCOUNTS_MAX: Final = 200
TARGETS_MAX: Final = 20
FLEX_HOSTS: Final = (".interactivebrokers.com",)
STATEMENT_KINDS: Final = frozenset({"statement", "confirmation"})
_ACCOUNT: Final = frozenset(
    {
        "id",
        "code",
        "is_enabled",
        "aliases",
        "base_currency",
        "lot_method",
        "flex_time_zone",
        "trade_day_zone",
        "trusted_ref_prefixes",
    }
)
_TARGET: Final = frozenset({"host", "port", "time_zone", "accepts_bare_times", "reach_days"})


class ExecutionSyncConfig(DatabaseConfig, OidcConfig, PubSubConfig):
    """Settings of ``execution_sync``; the names of ``ibkr.md`` 11 in small letters."""

    ibkr_accounts: str = Field(min_length=2)
    ibkr_tws_targets: str = "[]"
    ibkr_tws_client_ids: tuple[int, ...] = (11, 12, 13)
    ibkr_tws_library: str = Field(default="ib_insync", pattern=r"^ib_(insync|async)$")
    ibkr_flex_query_ids: tuple[str, ...] = ()
    ibkr_flex_token: SecretStr | None = None
    ibkr_flex_send_url: str | None = None
    ibkr_flex_allowed_hosts: tuple[str, ...] = FLEX_HOSTS
    ibkr_flex_body_bytes_max: int = Field(default=128 * 1024 * 1024, ge=1024, le=512 * 1024 * 1024)
    ibkr_run_deadline_seconds: int = Field(default=240, ge=1, le=280)

    @field_validator("ibkr_accounts")
    @classmethod
    def _accounts_can_be_read(cls, text: str) -> str:
        read_accounts(text)
        return text

    @field_validator("ibkr_tws_targets")
    @classmethod
    def _targets_can_be_read(cls, text: str) -> str:
        read_targets(text)
        return text

    @field_validator("ibkr_tws_client_ids")
    @classmethod
    def _client_ids_are_ours(cls, numbers: tuple[int, ...]) -> tuple[int, ...]:
        if not numbers or len(set(numbers)) != len(numbers) or not all(1 <= number <= CLIENT_ID_MAX for number in numbers):
            raise ValueError(f"is a list of different numbers from 1 to {CLIENT_ID_MAX}; 0 would bind orders entered by hand")
        return numbers

    @field_validator("ibkr_flex_query_ids")
    @classmethod
    def _queries_are_named(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        read_queries(entries)
        return entries

    @property
    def accounts(self) -> tuple[AccountConfig, ...]:
        """The allow-list."""
        return read_accounts(self.ibkr_accounts)

    @property
    def targets(self) -> tuple[TwsTarget, ...]:
        """Where a run may dial; the first is the default."""
        return read_targets(self.ibkr_tws_targets)

    @property
    def queries(self) -> dict[str, str]:
        """Kind of statement -> query id."""
        return read_queries(self.ibkr_flex_query_ids)

    @property
    def defaults(self) -> Defaults:
        """What a payload that says nothing means."""
        return Defaults(
            targets=tuple((target.host, target.port) for target in self.targets),
            client_id=self.ibkr_tws_client_ids[0],
            queries=tuple(self.queries) if self.ibkr_flex_token is not None else (),
        )

    def worker(self, db: Database, publisher: Publish, clock: Clock) -> Worker:
        """Return what serves the routes, with the doors that are configured."""
        return Worker(
            db=db,
            publisher=publisher,
            clock=clock,
            configs=self.accounts,
            defaults=self.defaults,
            outside=Outside(socket=self._socket(clock), statements=self._statements(db)),
        )

    def _socket(self, clock: Clock) -> Socket | None:
        """The socket's adapter, imported here by whoever is about to speak; None without a target."""
        if not self.targets:
            return None
        from fillbook.ibkr.tws import Tws

        return Tws(
            targets=self.targets,
            client_ids=self.ibkr_tws_client_ids,
            clock=clock,
            library=self.ibkr_tws_library,
            waits=Waits(run=self.ibkr_run_deadline_seconds),
        )

    def _statements(self, db: Database) -> Statements | None:
        """The web service's adapter, imported likewise; None without a token or without a query."""
        if self.ibkr_flex_token is None or not self.queries:
            return None
        from fillbook.ibkr.flex import SEND_URL, Flex
        from fillbook.ibkr.statements import FlexStatements

        service = Flex(
            self.ibkr_flex_token,
            allowed_hosts=self.ibkr_flex_allowed_hosts,
            is_local=self.fillbook_env == "local",
            body_bytes_max=self.ibkr_flex_body_bytes_max,
            send_url=self.ibkr_flex_send_url or SEND_URL,
        )
        return FlexStatements(db=db, service=service, queries=self.queries)


def read_accounts(text: str) -> tuple[AccountConfig, ...]:
    """``IBKR_ACCOUNTS``: a JSON list of ``{id, code, …}``; raises ``ValueError`` without any value of it."""
    return tuple(_account(entry) for entry in _entries(text, _ACCOUNT, ("id", "code"), ACCOUNTS_MAX))


def read_targets(text: str) -> tuple[TwsTarget, ...]:
    """``IBKR_TWS_TARGETS``: a JSON list of ``{host, port, …}``; raises ``ValueError``."""
    entries = _entries(text, _TARGET, ("host", "port"), TARGETS_MAX)
    for entry in entries:
        _zone(entry.get("time_zone", "UTC"))
    return tuple(
        _typed(TwsTarget, entry, {"host": str, "port": int, "accepts_bare_times": bool, "reach_days": int}) for entry in entries
    )


def read_queries(entries: tuple[str, ...]) -> dict[str, str]:
    """``IBKR_FLEX_QUERY_IDS``: ``statement:123456,confirmation:234567``; raises ``ValueError``."""
    found: dict[str, str] = {}
    for entry in entries:
        kind, _, number = entry.partition(":")
        if kind not in STATEMENT_KINDS or kind in found or not (number.isascii() and number.isdigit()):
            raise ValueError("is a list like statement:123456,confirmation:234567")
        found[kind] = number
    return found


def _entries(text: str, known: frozenset[str], required: tuple[str, ...], most: int) -> list[dict[str, Any]]:
    try:
        entries = json.loads(text)
    except ValueError:
        raise ValueError("is no JSON") from None
    if not isinstance(entries, list) or len(entries) > most:
        raise ValueError(f"is no list of at most {most} objects")
    for entry in entries:
        if not isinstance(entry, dict) or set(entry) - known or not set(required) <= set(entry):
            raise ValueError(f"holds an entry that is no object of {', '.join(sorted(known))} with {' and '.join(required)}")
    return entries


def _account(entry: Mapping[str, Any]) -> AccountConfig:
    given = dict(entry)
    aliases = given.pop("aliases", {})
    aliases = dict.fromkeys(aliases, "") if isinstance(aliases, list) else aliases
    own = {"is_enabled": given.pop("is_enabled", True), "lot_method": given.pop("lot_method", "FIFO")}
    given["account_id"] = given.pop("id")
    given["trusted_ref_prefixes"] = tuple(given.get("trusted_ref_prefixes", ()))
    for name in ("flex_time_zone", "trade_day_zone"):
        _zone(given.get(name, "UTC"))
    if not isinstance(aliases, dict) or own["lot_method"] not in LotMethod.__members__.values():
        raise ValueError("holds an account with aliases that are none, or a lot method nobody knows")
    account = _typed(Account, given, {"account_id": int, "code": str, "base_currency": str})
    return AccountConfig(account=account, aliases=aliases, **own)


def _typed(make: Callable[..., Any], entry: Mapping[str, Any], kinds: Mapping[str, type]) -> Any:
    if any(type(entry[name]) is not kind for name, kind in kinds.items() if name in entry):
        raise ValueError("holds an entry with a value of the wrong type")
    return make(**entry)


def _zone(name: object) -> None:
    try:
        ZoneInfo(str(name))
    except (KeyError, ValueError, OSError):
        raise ValueError("holds a time zone nobody knows") from None
