"""Which accounts the desk lets in: configuration turned into one lookup, so that no broker text ever makes an account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from fillbook.values import frozen


@frozen
class Account:
    """One account of the desk. ``account_id`` is ours and comes from configuration, never from broker data."""

    account_id: int
    code: str
    base_currency: str = "USD"
    flex_time_zone: str = "America/New_York"
    trade_day_zone: str = "America/New_York"
    trusted_ref_prefixes: tuple[str, ...] = ()

    @property
    def book_id(self) -> str:
        """The ledger book of this account."""
        return f"ibkr:{self.code}"


@frozen
class AccountConfig:
    """An entry of ``IBKR_ACCOUNTS``. ``aliases``: other text the broker uses for it -> segment (``''``: the account itself)."""

    account: Account
    is_enabled: bool = True
    aliases: Mapping[str, str] = field(default_factory=dict)
    lot_method: str = "FIFO"


@frozen(kw_only=False)
class AllowList:
    """The texts that name an enabled account or one of its aliases; nothing else is let in."""

    by_text: Mapping[str, Account]

    @property
    def accounts(self) -> tuple[Account, ...]:
        """The enabled accounts, ascending by id."""
        return tuple(sorted({account.account_id: account for account in self.by_text.values()}.values(), key=_account_id))

    def find(self, text: str) -> Account | None:
        """The account a row names, or None: such a row is refused with ``account_not_allowed``."""
        return self.by_text.get(text.strip())

    @classmethod
    def of(cls, configs: tuple[AccountConfig, ...]) -> AllowList:
        """The allow-list of a configuration."""
        enabled = [config for config in configs if config.is_enabled]
        return cls({text: config.account for config in enabled for text in (config.account.code, *config.aliases)})


def _account_id(account: Account) -> int:
    return account.account_id
