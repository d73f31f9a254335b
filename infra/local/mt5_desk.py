"""The demo fleet on the local desk: its accounts are linked and synced as an operator links and syncs.

Nothing here knows a table: linking is the room's own function under the role of an operator, a sync is a call of ``account_sync``
with an identity token of the local cloud.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from fillbook.mt5 import deskstore
from fillbook.mt5.calls import AccountSyncFunction, OperatorConfig
from fillbook.runtime.db import Database, Tx
from infra.local import mt5_demo

ADDRESS, FLEET = "ACCOUNT_SYNC_URL", "MT5_DEMO_URL"
BROKERS = {mt5_demo.FX_SERVER: "Fillbook FX", mt5_demo.EXCHANGE_SERVER: "Fillbook Index"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What a sync of all accounts answered."""

    accounts: int
    synced: int


def has_fleet(environment: Mapping[str, str]) -> bool:
    """Whether the desk runs ``account_sync`` against the stand-in, which has the demo accounts."""
    return ADDRESS in environment and FLEET in environment


def link_fleet(environment: Mapping[str, str], *, now: datetime, since: date | None = None) -> int:
    """Link the demo accounts, which changes nothing when they are linked; how many. ``since``: how far back they are read."""
    config = _config(environment)
    database = Database.open(config, application_name="demo-link", pool_size=1)

    def link(tx: Tx) -> None:
        for wanted in links(config.mt5_service_url, since):
            deskstore.link_account(tx, wanted, now)

    try:
        database.run(link, retry_constraints=deskstore.RETRY_CONSTRAINTS)
    finally:
        database.close()
    return len(mt5_demo.ACCOUNTS)


def links(service_url: str | None, since: date | None) -> list[deskstore.Link]:
    """What an operator says of each account of the demo."""
    return [
        deskstore.Link(
            tenant_id="desk",
            server=server,
            login=login,
            broker_name=BROKERS[server],
            account_name=name,
            base_url=service_url,
            service_account_id=name,
            backfill_target=since,
        )
        for name, login, server in mt5_demo.ACCOUNTS
    ]


def sync_all(environment: Mapping[str, str]) -> Synced:
    """Sync every linked account now and wait for it."""
    _, document = AccountSyncFunction(_config(environment)).sync({})
    return Synced(accounts=document["totalAccounts"], synced=document["successCount"])


def curl(environment: Mapping[str, str]) -> str:
    """A line for a shell that syncs all accounts; its token lives for three quarters of an hour at least."""
    token = AccountSyncFunction(_config(environment)).header()["Authorization"]
    address = f"{environment[ADDRESS]}/mt5/sync"
    return f"curl -sX POST -H {shlex.quote(f'Authorization: {token}')} {shlex.quote(address)}"


def _config(environment: Mapping[str, str]) -> OperatorConfig:
    return OperatorConfig.from_environment({**environment, "FILLBOOK_ENV": "local"})
