"""A fleet of MT5 accounts on a local cloud of real processes: linked, asked for over HTTP, compared with the broker's truth."""

from __future__ import annotations

import dataclasses
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar

from fillbook.mt5 import deskstore
from fillbook.mt5.worker import OPERATOR, SCHEDULED_HEADER, SCHEDULER
from fillbook.runtime.errors import Unavailable
from fillbook.runtime.sql import statement
from infra.local import plan
from infra.local.desk import HOST, LocalCloud
from infra.local.mt5_truth import same_trade
from infra.local.ports import free_port
from infra.local.readiness import wait_until_ready

START = datetime(2026, 2, 3, 21, 0, tzinfo=UTC)
SYNC, SHARD = "account_sync", "account_sync_shard"
SUBSCRIPTION = "mt5-shards-account_sync_shard"
CALL_SECONDS = 330
LOOK_SECONDS = 0.05
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a function answered; ``status`` 0: nothing."""

    status: int
    document: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Further:
    """A further instance of a function."""

    url: str
    log: Path


class FleetDesk:
    """A desk whose clock stands still, and accounts of its fake broker."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        self.accounts: dict[str, str] = {}
        """Id at the broker -> id of the linked account."""
        self._fleets = self._further = 0

    # --- the broker ---

    def broker(self, path: str, /, method: str = "POST", **body: Any) -> Any:
        """Ask or tell the fake's admin API something."""
        data = None if method == "GET" else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.cloud.place.mt5_url}/_fake/{path}", data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read(), parse_float=Decimal)

    def fault(self, knob: str, **rule: Any) -> None:
        """The broker does this from now on."""
        self.broker("faults", fault=knob, **rule)

    def begin(self, count: int, *, seed: int, **grown: Any) -> list[str]:
        """So many accounts at the broker, all before forgotten, linked for a new tenant and alone active; their ids there."""
        self._fleets += 1
        self.accounts = {}
        self.broker("reset")
        patiently(self._deactivate_all)
        if count:
            self.broker("fleet", count=count, seed=seed, **grown)
        for one in self.broker("accounts", "GET"):
            self.link(one, url=self.cloud.place.mt5_url)
        return list(self.accounts)

    def _deactivate_all(self) -> None:
        with self.cloud.database.transaction() as tx:
            tx.execute(statement("update mt5.trading_accounts set is_active = false"))

    def link(
        self,
        told: Mapping[str, Any],
        *,
        url: str,
        instance: str = "default",
        since: timedelta | None = None,
        tenant_id: str | None = None,
    ) -> None:
        """Link an account that the broker has, for the fleet's tenant unless told otherwise."""
        now = self.cloud.clock.now()
        wanted = deskstore.Link(
            tenant_id=tenant_id or f"fleet{self._fleets}",
            server=told["server"],
            login=told["login"],
            broker_name="Fleet",
            instance_key=instance,
            base_url=url,
            service_account_id=told["id"],
            backfill_target=None if since is None else (now - since).date(),
        )
        with self.cloud.database.transaction() as tx:
            self.accounts[told["id"]] = deskstore.link_account(tx, wanted, now).account_id

    def confirm_clock(self, server: str, *, zone_name: str, shift_minutes: int) -> None:
        """What an operator says of a server's clock."""
        with self.cloud.database.transaction() as tx:
            deskstore.confirm_clock(tx, server, zone_name=zone_name, shift_minutes=shift_minutes)

    # --- the functions ---

    def call(self, *, by: str = OPERATOR, slot: datetime | None = None, **body: Any) -> Reply:
        """A call of ``account_sync``."""
        function = self.cloud.manifest.functions[SYNC]
        token = self.cloud.control.token(plan.email(self.cloud.manifest, by), plan.audience(function))
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        headers |= {} if slot is None else {SCHEDULED_HEADER: slot.isoformat()}
        return post(f"{self.cloud.url(SYNC)}/mt5/sync", json.dumps(body).encode(), headers)

    def tick(self) -> Reply:
        """The scheduler's call for the slot that has come."""
        return self.call(by=SCHEDULER, slot=self.cloud.clock.now(), sync_type="scheduled")

    def more(self, function: str, count: int = 1, *, without: Collection[str] = ()) -> list[Further]:
        """Start further instances of a function beside the desk's own, as the platform would; ``without`` some settings."""
        own = self.cloud.keeper.get(function).program
        assert own.command[-2] == "--port"
        made, waiting = [], {}
        for _ in range(count):
            self._further += 1
            name, port = f"{own.name}-{self._further}", free_port()
            program = dataclasses.replace(
                own,
                name=name,
                command=[*own.command[:-1], str(port)],
                environment={key: value for key, value in own.environment.items() if key not in without},
                log=own.log.with_name(f"{name}.log"),
            )
            made.append(Further(url=f"http://{HOST}:{port}", log=program.log))
            waiting[name] = (self.cloud.keeper.start(program), f"{made[-1].url}/favicon.ico")
        wait_until_ready(waiting, 60, lambda _name, _where: None)
        return made

    def wait_for_run(self, run_id: str, seconds: float) -> dict[str, Any]:
        """Wait until a run is over; its row."""
        end = time.monotonic() + seconds
        while True:
            (row,) = self.rows("select *, status::text as state from mt5.sync_runs where run_id = :id::uuid", id=run_id)
            if row["state"] not in ("running", "deadline"):
                return row
            assert time.monotonic() < end, (row, self.cloud.logs(SHARD)[-3000:])
            time.sleep(LOOK_SECONDS)

    # --- what is stored ---

    def rows(self, text: str, **params: object) -> list[dict[str, Any]]:
        """Rows of a statement, also while the database comes back."""

        def ask() -> list[dict[str, Any]]:
            with self.cloud.database.transaction() as tx:
                return tx.query(statement(text), **params)

        return patiently(ask)

    def number(self, text: str, **params: object) -> int:
        """The one number of a statement."""
        (row,) = self.rows(text, **params)
        return int(next(iter(row.values())))

    def logs(self, run_id: str) -> list[dict[str, Any]]:
        """What a run noted of its accounts."""
        return self.rows(
            "select account_id::text as account_id, status::text as status, error_code, trades_synced, duration_ms"
            " from mt5.sync_logs where run_id = :id::uuid",
            id=run_id,
        )

    def untrue(self, names: Iterable[str] | None = None) -> list[str]:
        """Accounts whose balance or trades are not the broker's."""
        found: dict[str, dict[tuple[int, int], dict[str, Any]]] = {}
        for row in self.rows("select t.* from mt5.trades t join mt5.trading_accounts a on a.id = t.account_id and a.is_active"):
            found.setdefault(str(row["account_id"]), {})[row["position_id"], row["episode"]] = row
        balances = {
            str(row["id"]): row["balance"] for row in self.rows("select id, balance from mt5.trading_accounts where is_active")
        }
        wrong = []
        for name in self.accounts if names is None else names:
            account_id, truth = self.accounts[name], self.broker(f"truth/{name}", "GET")
            told = {(one["position_id"], one["episode"]): one for one in truth["trades"]}
            trades = found.get(account_id, {})
            is_true = trades.keys() == told.keys() and all(same_trade(one, told[key]) for key, one in trades.items())
            if not is_true or balances[account_id] != Decimal(truth["balance"]):
                wrong.append(name)
        return wrong

    def differences(self) -> int:
        """Episodes that the ledger values otherwise, those of a close-by apart (the broker may book it on one side alone)."""
        return self.number(
            "select count(*) from mt5.ledger_differences f where f.not_comparable is null and not exists (select from mt5.deals d"
            " where d.account_id = f.account_id and d.position_id = f.position_id and d.entry = 3)"
        )

    def calls(self) -> Sequence[Mapping[str, Any]]:
        """Calls that the broker had of accounts, oldest first (the first 10,000)."""
        return [one for one in self.broker("calls?after=0", "GET") if one["account"]]


def post(url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
    """One POST; a connection that breaks is an answer of status 0."""
    begun = time.monotonic()
    request = urllib.request.Request(url, body, dict(headers))
    try:
        status, told = _answered(request)
    except (OSError, HTTPException):  # also one that broke between head and body
        status, told = 0, b""
    try:
        document = json.loads(told or b"{}")
    except ValueError:
        document = {}
    return Reply(status=status, document=document if isinstance(document, dict) else {}, seconds=time.monotonic() - begun)


def _answered(request: urllib.request.Request) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(request, timeout=CALL_SECONDS) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def patiently(work: Callable[[], T], seconds: float = 60.0) -> T:
    """Do something with the database, again as long as it is away."""
    end = time.monotonic() + seconds
    while True:
        try:
            return work()
        except Unavailable:
            assert time.monotonic() < end, "the database did not come back"
            time.sleep(LOOK_SECONDS)
