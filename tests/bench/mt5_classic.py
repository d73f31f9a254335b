"""The baseline of ``accounts``: what is usually written first. Batches of ten threads that all wait for the slowest of them.

Three calls in series an account (info, positions, history), 100 ms of pause between batches, one statement a row, one commit an
account, no retry, nothing compared with what is stored. It checks no identity, counts no pages and proves nothing: in its favour.
It runs as a program of its own: accounts as JSON on stdin, one JSON line with what it took.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import requests

from fillbook.runtime.db import Settings, driver_connection
from tests.support.servers import database_config

BATCH, PAUSE_SECONDS = 10, 0.1
TABLES = """
create schema if not exists classic;
create table if not exists classic.accounts (
    id text primary key, balance numeric, equity numeric, margin numeric, free_margin numeric, profit numeric,
    last_sync_at timestamptz);
create table if not exists classic.positions (
    account_id text, ticket bigint, symbol text, volume numeric, open_price numeric, current_price numeric, profit numeric,
    swap numeric, primary key (account_id, ticket));
create table if not exists classic.deals (
    account_id text, ticket bigint, position_id bigint, symbol text, volume numeric, price numeric, profit numeric,
    commission numeric, swap numeric, primary key (account_id, ticket));
create table if not exists classic.sync_logs (
    id uuid primary key, account_id text, status text, started_at timestamptz, duration_ms integer, error text);
"""
ACCOUNT = """insert into classic.accounts values (%s, %s, %s, %s, %s, %s, now()) on conflict (id) do update
 set balance = excluded.balance, equity = excluded.equity, margin = excluded.margin, free_margin = excluded.free_margin,
     profit = excluded.profit, last_sync_at = excluded.last_sync_at"""
POSITION = """insert into classic.positions values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict (account_id, ticket) do update
 set volume = excluded.volume, current_price = excluded.current_price, profit = excluded.profit, swap = excluded.swap"""
DEAL = """insert into classic.deals values (%s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict (account_id, ticket) do update
 set profit = excluded.profit, commission = excluded.commission, swap = excluded.swap"""
LOG = "insert into classic.sync_logs values (%s, %s, %s, now(), %s, %s)"
MONEY_FIELDS = ("balance", "equity", "margin", "free_margin", "profit")
POSITION_FIELDS = ("ticket", "symbol", "volume", "open_price", "current_price", "profit", "swap")
DEAL_FIELDS = ("ticket", "position_id", "symbol", "volume", "price", "profit", "commission", "swap")
Account = dict[str, str]


class Classic:
    """Each thread of the pool has a session and a connection of its own."""

    def __init__(self, database_url: str, api_key: str, at: datetime, timeout_seconds: float) -> None:
        self._url, self._key, self._timeout = database_url, api_key, timeout_seconds
        self._days = {"from_date": f"{at - timedelta(days=2):%Y-%m-%d}", "to_date": f"{at + timedelta(days=2):%Y-%m-%d}"}
        self._own = threading.local()

    def _mine(self) -> tuple[requests.Session, Any]:
        if not hasattr(self._own, "session"):
            self._own.session = requests.Session()
            self._own.connection = driver_connection(database_config(self._url), Settings(application_name="classic"))
        return self._own.session, self._own.connection

    def sync(self, account: Account) -> bool:
        """One account; whether it was stored."""
        session, connection = self._mine()
        begun = time.perf_counter()
        cursor = connection.cursor()
        try:
            info = self._get(session, account, "info")["data"]
            positions = self._get(session, account, "positions")["positions"]
            deals = self._get(session, account, "history", **self._days, limit=1000, offset=0)["deals"]
        except requests.RequestException as error:
            cursor.execute(LOG, (uuid.uuid4(), account["id"], "failed", _ms(begun), type(error).__name__))
            connection.commit()
            return False
        cursor.execute(ACCOUNT, (account["id"], *(Decimal(str(info[name])) for name in MONEY_FIELDS)))
        for one in positions:
            cursor.execute(POSITION, (account["id"], *(one[name] for name in POSITION_FIELDS)))
        for one in deals:
            cursor.execute(DEAL, (account["id"], *(one[name] for name in DEAL_FIELDS)))
        cursor.execute(LOG, (uuid.uuid4(), account["id"], "success", _ms(begun), None))
        connection.commit()
        return True

    def _get(self, session: requests.Session, account: Account, name: str, **params: Any) -> Any:
        headers = {"X-API-Key": self._key, "X-Account-Scope": account["id"], "X-Request-Id": uuid.uuid4().hex}
        url = f"{account['url']}/api/mt5/account/{account['id']}/{name}"
        answer = session.get(url, params=params, headers=headers, timeout=self._timeout)
        answer.raise_for_status()
        return json.loads(answer.content, parse_float=Decimal)

    def run(self, accounts: Sequence[Account]) -> int:
        """All accounts, batch by batch; how many were stored."""
        stored = 0
        with ThreadPoolExecutor(BATCH) as pool:
            for start in range(0, len(accounts), BATCH):
                if start:
                    time.sleep(PAUSE_SECONDS)
                stored += sum(pool.map(self.sync, accounts[start : start + BATCH]))
        return stored


def _ms(begun: float) -> int:
    return round((time.perf_counter() - begun) * 1000)


def main() -> None:
    """``python -m tests.bench.mt5_classic DATABASE_URL API_KEY INSTANT TIMEOUT_SECONDS``, accounts on stdin."""
    url, key, at, timeout = sys.argv[1:]
    accounts: list[Account] = json.load(sys.stdin)
    connection = driver_connection(database_config(url), Settings(application_name="classic"))
    for text in TABLES.split(";")[:-1]:
        connection.cursor().execute(text)
    connection.commit()
    classic = Classic(url, key, datetime.fromisoformat(at), float(timeout))
    begun, spent = time.perf_counter(), time.process_time()
    stored = classic.run(accounts)
    took = {"seconds": time.perf_counter() - begun, "cpu": time.process_time() - spent}
    sys.stdout.write(json.dumps(took | {"stored": stored}) + "\n")


if __name__ == "__main__":
    main()
