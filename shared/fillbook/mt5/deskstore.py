"""What an operator may change: linking, labels, targets, contract sizes, clock rules; and removing an account for good."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from fillbook.mt5 import ids
from fillbook.mt5.model import SymbolFacts
from fillbook.mt5.words import CashBucket
from fillbook.runtime.db import Call, Tx
from fillbook.values import frozen

RETRY_CONSTRAINTS: Final = frozenset({"trading_accounts_pk", "trading_accounts_identity_uq"})
"""Two who link the same account at once: the second one, again, finds it."""


@frozen
class Link:
    """An account to be linked. ``base_url``: of an instance that may not be known yet; ``has_new_credentials``: try again.

    ``backfill_target`` None: 30 days before linking; 1970-01-01: inception.
    """

    tenant_id: str
    server: str
    login: int
    broker_name: str
    account_name: str | None = None
    instance_key: str = "default"
    base_url: str | None = None
    service_account_id: str | None = None
    backfill_target: date | None = None
    has_new_credentials: bool = False


@frozen
class Linked:
    """A linked account; ``is_new`` False: it was linked before, and is active again."""

    account_id: str
    book_id: str
    is_new: bool


def link_account(tx: Tx, link: Link, now: datetime) -> Linked:
    """Link an account, or link it again: the same row, active and due at once. No watermark and no time of a sync is set.

    Raises ``ConstraintViolated`` with ``trading_accounts_instance_fk`` for an unknown instance without ``base_url``.
    """
    account_id = ids.account_id(link.tenant_id, link.server, link.login)
    document = {
        "account_id": account_id,
        "tenant_id": link.tenant_id,
        "server": link.server,
        "login": link.login,
        "broker_name": link.broker_name,
        "account_name": link.account_name,
        "instance_key": link.instance_key,
        "base_url": link.base_url,
        "service_account_id": link.service_account_id,
        "book_id": ids.book_id(link.server, link.login),
        "spare_book_id": ids.book_id(link.server, link.login, account_id),
        "backfill_target": link.backfill_target,
        "has_new_credentials": link.has_new_credentials,
        "now": now,
    }
    (answer,) = tx.call(Call("mt5.link_account", document))
    return Linked(**answer)


def deactivate_account(tx: Tx, account_id: str, now: datetime) -> bool:
    """Stop syncing an account; False: there is none."""
    return _is_found(tx, "mt5.deactivate_account", {"account_id": account_id, "now": now})


def rename_account(tx: Tx, account_id: str, account_name: str | None, now: datetime) -> bool:
    """Give an account another label; False: there is none."""
    return _is_found(tx, "mt5.rename_account", {"account_id": account_id, "account_name": account_name, "now": now})


def set_backfill_target(tx: Tx, account_id: str, target: date | None, now: datetime) -> bool:
    """Say how far back an account is to be read; its reading of the past is taken up again. False: there is none."""
    return _is_found(tx, "mt5.set_backfill_target", {"account_id": account_id, "backfill_target": target, "now": now})


def set_symbol(tx: Tx, facts: SymbolFacts, now: datetime) -> None:
    """Enter what the service does not know of a symbol."""
    document = {
        "server": facts.server,
        "symbol": facts.symbol,
        "symbol_norm": facts.symbol_norm,
        "contract_size": None if facts.contract_size is None else Decimal(facts.contract_size),
        "digits": facts.digits,
        "currency_profit": facts.currency_profit,
        "now": now,
    }
    tx.call(Call("mt5.set_symbol", document))


def confirm_clock(tx: Tx, server: str, *, zone_name: str, shift_minutes: int, bonus_bucket: CashBucket | None = None) -> bool:
    """Confirm a server's clock rule, or enter another; False: there is no such server. Times already derived stay."""
    document = {"server": server, "zone_name": zone_name, "shift_minutes": shift_minutes, "bonus_bucket": bonus_bucket}
    return _is_found(tx, "mt5.confirm_clock", document)


def remove_account(tx: Tx, account_id: str, tenant_id: str, reason: str, now: datetime) -> tuple[str, Mapping[str, int]]:
    """Remove an inactive account with everything read of it; its book stays. Outcome and rows removed by table.

    ``removed``, ``not_found``, ``active`` (deactivate it first) or ``leased`` (it is being synced). A trace stays in
    ``mt5.account_removals``.
    """
    document = {"account_id": account_id, "tenant_id": tenant_id, "reason": reason, "now": now}
    (answer,) = tx.call(Call("mt5.remove_account", document))
    return answer["outcome"], answer["row_counts"]


def _is_found(tx: Tx, function: str, document: Mapping[str, Any]) -> bool:
    (answer,) = tx.call(Call(function, document))
    return bool(answer["is_found"])
