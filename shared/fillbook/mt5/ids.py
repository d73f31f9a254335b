"""Ids of the room's rows, derived from the content named, so that whoever links or reads again finds the same rows."""

from __future__ import annotations

import re
from typing import Final

from fillbook.ledger.ids import derived
from fillbook.mt5.words import PLATFORM

_UNSPEAKABLE: Final = re.compile(r"[^A-Za-z0-9._~-]")


def account_id(tenant_id: str, server: str, login: int) -> str:
    """Id of a linked account."""
    return derived("mt5_account", tenant_id, PLATFORM, server, str(login))


def trade_id(account: str, position_id: int, episode: int) -> str:
    """Id of one episode of a position."""
    return derived("mt5_trade", account, str(position_id), str(episode))


def book_id(server: str, login: int, account: str | None = None) -> str:
    """The ledger book of an account; ``account`` where that book is another tenant's: its first digits then follow."""
    suffix = "" if account is None else f"~{account[:8]}"
    return f"mt5:{_UNSPEAKABLE.sub('-', server)}:{login}{suffix}"


def log_id(run: str, account: str) -> str:
    """Id of the log row of an account in a run."""
    return derived("mt5_log", run, account)
