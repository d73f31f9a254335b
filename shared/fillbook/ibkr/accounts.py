"""Configuration written down: which accounts are let in, and the ledger book of each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from fillbook.ibkr.allowlist import AccountConfig
from fillbook.ledger import service as ledger
from fillbook.ledger.model import Book, LotMethod, Netting
from fillbook.runtime.db import Call, Database, Tx
from fillbook.runtime.errors import Rejected


def configure_accounts(db: Database, configs: Sequence[AccountConfig], now: datetime) -> None:
    """Write the allow-list and open the books, once before each run; accounts that are not named are switched off.

    Raises ``Rejected('accounts_invalid')`` where two accounts share a code, an id or an alias, and ``Conflict('book_differs')``
    where a book was opened with another currency or lot method.
    """
    _check(configs)

    def work(tx: Tx) -> None:
        tx.call(Call("ibkr.configure", _document(configs, now)))
        for config in sorted(configs, key=lambda config: config.account.account_id):
            book = Book(
                book_id=config.account.book_id,
                lot_method=LotMethod(config.lot_method),
                netting=Netting.NET,
                base_currency=config.account.base_currency,
            )
            ledger.open_book(tx, book, now)

    ledger.run(db, work)


def _document(configs: Sequence[AccountConfig], now: datetime) -> dict[str, object]:
    return {
        "now": now,
        "accounts": [
            {
                "id": config.account.account_id,
                "code": config.account.code,
                "is_enabled": config.is_enabled,
                "base_currency": config.account.base_currency,
                "flex_time_zone": config.account.flex_time_zone,
                "trade_day_zone": config.account.trade_day_zone,
                "trusted_ref_prefixes": list(config.account.trusted_ref_prefixes),
            }
            for config in configs
        ],
        "aliases": [
            {"alias": alias, "account_id": config.account.account_id, "segment": segment}
            for config in configs
            for alias, segment in config.aliases.items()
        ],
    }


def _check(configs: Sequence[AccountConfig]) -> None:
    texts = [text for config in configs for text in (config.account.code, *config.aliases)]
    numbers = [config.account.account_id for config in configs]
    if len(set(texts)) != len(texts) or len(set(numbers)) != len(numbers):
        raise Rejected("accounts_invalid", "a code, alias or id stands twice", field="IBKR_ACCOUNTS")
