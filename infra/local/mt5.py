"""A fake MT5 service for the local cloud and for tests: both contracts over real HTTP, a broker behind it, faults on demand.

In tests: ``with Mt5Fake(clock=clock) as mt5:`` then ``mt5.add_server("Broker-Server")``, ``mt5.add_account(id="a", server=…)``,
``mt5.operate("a", "open", symbol="EURUSD", side="buy", volume="1.00")``, ``mt5.fault("latency", ms=100)``; give ``mt5.base_url``
and ``mt5.api_key`` to the adapter; ``mt5.truth("a")`` is what must come out. In the local cloud: ``python -m infra.local.mt5
--port N --clock FILE`` serves the demo fleet (``mt5_demo.py``), which depends on the date and the account alone. The admin API
is at ``/_fake`` (``mt5_admin.py``), for loopback alone. Binds to 127.0.0.1 only.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from fillbook.runtime.clock import Clock, DeskClock, SystemClock
from infra.local import mt5_demo, mt5_truth
from infra.local.mt5_admin import Admin
from infra.local.mt5_answers import Account, View, money
from infra.local.mt5_faults import Fault, Faults
from infra.local.mt5_fleet import Fleet
from infra.local.mt5_http import HOST, Connection
from infra.local.mt5_model import Done
from infra.local.mt5_service import Reply, Request, Service
from infra.local.mt5_twists import check
from infra.local.mt5_world import API_KEY, DEFAULT, Entry, Server, World
from infra.local.steppedclock import SteppedClock

PORT: Final = 8000
ADMIN: Final = "/_fake/"
BACKLOG: Final = 1024


class Mt5Fake:
    """The server, in a thread of its own. All methods may be called from any thread."""

    def __init__(
        self, *, clock: Clock | None = None, port: int = 0, api_key: str = API_KEY, real: Callable[[], float] = time.monotonic
    ) -> None:
        """``real``: seconds that only grow, for limits per minute and the list of calls."""
        self.clock = SteppedClock(clock or SystemClock())
        self.api_key = api_key
        self.lock = threading.RLock()
        self.world = World(self.clock.now, api_key=api_key)
        self.faults = Faults(self.clock.now, real)
        self.fleet = Fleet(self.world)
        self._service = Service(self.world, self.faults, real)
        self._admin = Admin(self)
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mt5", daemon=True)
        self._bound: dict[str, socket.socket] = {}
        self._serving: list[Future[None]] = []
        self._listeners: list[asyncio.Server] = []
        self._open: set[Connection] = set()

    # -- life -------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start serving; ``base_url`` is known afterwards."""
        self._thread.start()
        self._listen(DEFAULT, self._port)

    def stop(self) -> None:
        """Stop serving at once, hanging answers included."""
        for one in self._serving:
            one.result(timeout=10)
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _listen(self, instance: str, port: int = 0) -> None:
        """Bind at once, serve in a moment: the loop's own thread, which the admin API runs in, must not wait for itself."""
        sock = socket.create_server((HOST, port), backlog=BACKLOG)
        self.world.instances[instance].port = sock.getsockname()[1]
        self._bound[instance] = sock
        self._serving.append(asyncio.run_coroutine_threadsafe(self._serve(instance, sock), self._loop))

    async def _serve(self, instance: str, sock: socket.socket) -> None:
        def answer(method: str, target: str, headers: dict[str, str], body: bytes, peer: str) -> Reply:
            return self._answer(instance, method, target, headers, body, peer)

        self._listeners.append(await self._loop.create_server(lambda: Connection(answer, self._ended, self._open), sock=sock))

    async def _close(self) -> None:
        for listener in self._listeners:
            listener.close()
        for connection in list(self._open):
            connection.close()
        await asyncio.sleep(0)

    def _answer(self, instance: str, method: str, target: str, headers: dict[str, str], body: bytes, peer: str) -> Reply:
        with self.lock:
            if target.startswith(ADMIN):
                return self._admin.reply(method, target, headers, body, peer)
            return self._service.reply(Request(instance=instance, method=method, target=target, headers=headers))

    def _ended(self, reply: Reply) -> None:
        with self.lock:
            if reply.entry is not None:
                self._service.ended(reply.entry)

    # -- control, also behind /_fake ---------------------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:<port>`` of the default instance."""
        return self.url()

    def url(self, instance: str = DEFAULT) -> str:
        """Base URL of an instance."""
        return f"http://{HOST}:{self.world.instances[instance].port}"

    def add_instance(self, name: str, **values: Any) -> str:
        """Return the base URL of an instance, made when missing. ``values``: api_key, contract (both, v1, v0), audience,
        requests_per_minute and sessions (published, and kept); also for ``default``.
        """
        with self.lock:
            self.world.add_instance(name, **values)
        if name not in self._bound:
            self._listen(name)
        return self.url(name)

    def add_server(self, name: str, **values: Any) -> Server:
        """Add a server: zone_name, shift_minutes (default: New York + 7 h), bonus_is_credit."""
        with self.lock:
            return self.world.add_server(name, **values)

    def set_prices(self, server: str, **prices: Any) -> None:
        """Set what symbols cost from now on."""
        with self.lock:
            self.world.set_prices(server, prices)

    def add_account(self, **given: Any) -> Account:
        """Add an account (``mt5_world._ACCOUNT``); ``operations``: documents with a ``kind`` each."""
        with self.lock:
            return self.world.add_account(**given)

    def change_account(self, account_id: str, **changes: Any) -> Account:
        """Tell an account in another ``shape``, or with other ``overrides`` of its info."""
        with self.lock:
            return self.world.change_account(account_id, **changes)

    def operate(self, account_id: str, kind: str, at: datetime | str | None = None, **given: Any) -> Done:
        """Carry out an operation of the broker (``mt5_operations.py``), now or at an instant not before the last one."""
        with self.lock:
            return self.world.operate(account_id, kind, at, **given)

    def operate_all(self, account_id: str, operations: Iterable[Mapping[str, Any]]) -> list[Done]:
        """Carry out operations in order; those before one that is impossible stand."""
        return [self.operate(account_id, **operation) for operation in operations]

    def fault(self, knob: str, **rule: Any) -> Fault:
        """Queue a fault (``mt5_faults.KNOBS``): its options, scope (instance, server, account, endpoint) and limits (count, skip,
        seconds_long, probability, seed).
        """
        with self.lock:
            fault = self.faults.add(knob, **rule)
            try:
                check(fault)
            except ValueError:
                self.faults.rules.remove(fault)
                raise
            return fault

    def clear_faults(self) -> None:
        """Take all faults out of the queue."""
        with self.lock:
            self.faults.rules.clear()

    def expire_cursors(self) -> None:
        """Every cursor given out so far is answered 400 ``INVALID_CURSOR``."""
        with self.lock:
            self.world.cursors += 1

    def truth(self, account_id: str) -> dict[str, Any]:
        """Return the true state now, whatever faults hide: trades, cash operations, balance, credit and the other figures."""
        with self.lock:
            account, now = self.world.account(account_id), self.clock.now()
            view = View(account=account, shape=account.shape, at=now, as_of=now, login=account.login, server=account.server)
            changes = account.book.told(now)
            return {
                "account_id": account.id, "login": account.login, "server": account.server, "currency": account.terms.currency,
                "margin_mode": account.terms.margin_mode, **{name: str(amount) for name, amount in money(view).items()},
                "trades": [one.document() for one in mt5_truth.trades(changes, account.terms.digits)],
                "cash": mt5_truth.cash(changes),
            }  # fmt: skip

    def calls(self) -> list[Entry]:
        """Return the calls, oldest first (at most 200,000)."""
        with self.lock:
            return list(self.world.calls.entries)

    def summary(self) -> dict[str, Any]:
        """Return calls by account and endpoint, the largest number in flight, spacing, header names."""
        with self.lock:
            return self.world.calls.summary() | {"busy_max": {name: one.busy_max for name, one in self.world.instances.items()}}

    def forget_calls(self) -> None:
        """Empty the list of calls."""
        with self.lock:
            self.world.calls.clear()

    def reset(self) -> None:
        """Forget accounts, servers, faults and calls; instances stay with their ports and lose their limits."""
        with self.lock:
            ports = {name: one.port for name, one in self.world.instances.items()}
            self.faults.rules.clear()
            self.world.reset()
            for name, port in ports.items():
                self.world.add_instance(name).port = port


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM. The key comes by ``--api-key`` or the environment's ``MT5_SERVICE_API_KEY``."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.mt5", description="a fake MT5 service")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--api-key", default=os.environ.get("MT5_SERVICE_API_KEY") or API_KEY)
    parser.add_argument("--clock", type=Path, help="desk clock file; the system clock without it")
    parser.add_argument("--empty", action="store_true", help="without the demo fleet")
    options = parser.parse_args(arguments)
    fake = Mt5Fake(clock=DeskClock(options.clock) if options.clock else None, port=options.port, api_key=options.api_key)
    if not options.empty:
        mt5_demo.furnish(fake.world)
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    with fake:
        print(f"fake MT5 service: {fake.base_url}  admin {fake.base_url}/_fake", flush=True)
        done.wait()


if __name__ == "__main__":
    main()
