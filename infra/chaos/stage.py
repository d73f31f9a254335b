"""The desk that a season is played on: started in a folder of its own, opened, asked, told, and looked at.

It holds what is running, what was sent and acknowledged, and what was seen of each fault; it decides nothing about faults.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final, TypeVar

from fillbook.mt5 import deskstore
from fillbook.runtime.errors import FillbookError
from fillbook.runtime.sql import statement
from infra.chaos import days
from infra.chaos.gateway import Gateway
from infra.chaos.statements import Statements
from infra.local import mt5_demo, mt5_desk, walking
from infra.local.control import ControlError
from infra.local.desk import POSTGRES, LocalCloud
from infra.local.processes import BACK_OFF_SECONDS

HTTP_SECONDS: Final = 30.0
PATIENCE_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.04
BACKOFF_STEP: Final = timedelta(seconds=11)
"""After its first failure a message comes again in ten seconds of desk time."""
BACKOFF_STEPS_MAX: Final = 45
"""So many of them stay below the fifteen minutes after which a price is no longer decided."""
SIGNALS: Final = "signals"
HOURLY_PROOF: Final = "discord-reconcile-hourly"
"""Hours pass in seconds here and a proof reads at Discord's pace: the daily one has the whole night."""
NIGHT_SPEED: Final = 20.0
NIGHT_JOBS: Final = ("outbox-relay", "ibkr-jobs", "discord-drain")
MT5_PLACES: Final = (0, 13)
"""Of the demo fleet: an account on New York's clock and one on that of Athens."""
OVERRIDES: Final = {
    "MT5_REQUEST_TIMEOUT_SECONDS": "2",
    "MT5_CONNECT_TIMEOUT_SECONDS": "2",
    "MT5_INLINE_ACCOUNTS_MAX": "1",
    "MT5_SHARD_ACCOUNTS_MAX": "1",
    "MT5_PAGE_LIMIT": "50",
}
"""Small enough that two accounts are worked in shards and pages, and that a service that hangs costs two seconds."""
FUNCTION_OVERRIDES: Final = {"execution_sync": {"IBKR_RUN_DEADLINE_SECONDS": "2", "IBKR_FLEX_BODY_BYTES_MAX": "2097152"}}
T = TypeVar("T")


class Answer:
    """What came back: ``status`` 0 where nothing did."""

    __slots__ = ("body", "status")

    def __init__(self, status: int, body: bytes = b"") -> None:
        self.status, self.body = status, body

    @property
    def document(self) -> dict[str, Any]:
        """The body as a JSON object; empty where it is none."""
        try:
            found = json.loads(self.body or b"{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def asked(url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, method: str | None = None) -> Answer:
    """One HTTP request; never raises for what the other side does."""
    named = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, body, named, method=method)  # noqa: S310 - our own loopback addresses
    try:
        with urllib.request.urlopen(request, timeout=HTTP_SECONDS) as answer:  # noqa: S310
            return Answer(answer.status, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read())
    except (OSError, HTTPException):
        return Answer(0)


def until(is_so: Callable[[], bool], told: str) -> None:
    """Wait, bounded, for something; ``walking.NeverSo`` with what was waited for."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > end:
            raise walking.NeverSo(told)
        time.sleep(LOOK_SECONDS)


def _is_told(work: Callable[[], object]) -> bool:
    try:
        work()
    except ControlError:
        return False
    return True


class Stage:
    """One season's desk. ``acknowledged``: receipt ids that the door took; ``seen``: by kind, faults that struck something."""

    def __init__(self, cloud: LocalCloud, first: date) -> None:
        self.cloud, self.first = cloud, first
        self.acknowledged: set[str] = set()
        self.refused: Counter[int] = Counter()
        self.seen: Counter[str] = Counter()
        self.healed: Counter[str] = Counter()
        self.killed: list[str] = []
        self.has_died = False
        self.gateway = Gateway()
        self.statements = Statements()
        self.mt5: dict[str, str] = {}

    # --- the desk itself ---

    def open(self) -> None:
        """Link and open all accounts while nothing is wrong: an opening balance is what was held at that instant."""
        begun = days.begins_at(self.first)
        self.cloud.control.pause_jobs(HOURLY_PROOF)
        self.set_clock(begun)
        self._link(begun)
        at = begun
        for name in ("ibkr-positions", "ibkr-trades", "ibkr-positions", "ibkr-statement"):
            self.run_job(name)
            at = walking.settle(self.cloud, at + timedelta(minutes=1))
            walking.walk_to(self.cloud, at)
        self._confirm_clocks()
        if self.number("select count(*) as n from ibkr.accounts where opened_at is not null") != 2:
            raise walking.NeverSo("the broker's accounts did not open")

    def _link(self, now: datetime) -> None:
        accounts = mt5_desk.links(self.cloud.place.mt5_url, now.date())
        for place in MT5_PLACES:
            wanted = accounts[place]
            with self.cloud.database.transaction() as tx:
                self.mt5[mt5_demo.ACCOUNTS[place][0]] = deskstore.link_account(tx, wanted, now).account_id

    def _confirm_clocks(self) -> None:
        """As an operator does: what a desk measured by itself is provisional, and knows no zone that it does not expect."""
        self.run_job("mt5-sync")
        self.rest(PATIENCE_SECONDS)
        with self.cloud.database.transaction() as tx:
            if not deskstore.confirm_clock(tx, mt5_demo.EXCHANGE_SERVER, zone_name="Europe/Athens", shift_minutes=0):
                raise walking.NeverSo(f"{mt5_demo.EXCHANGE_SERVER} was not measured")

    def run_job(self, name: str) -> int:
        """Run a schedule now; its status, 0 where the message service was away."""
        try:
            return self.cloud.control.run_job(name)
        except ControlError:
            return 0

    def tick(self, seconds: float) -> None:
        """A while of a night in which nothing is due but what waits: what sweeps every minute sweeps, while the clock goes on.

        It goes on by itself, since whoever reads at Discord's pace waits for it.
        """
        self.step_clock(seconds)
        self._instruct(lambda: self.cloud.clock.run(NIGHT_SPEED))
        for name in NIGHT_JOBS:
            self.run_job(name)
        self._instruct(self.cloud.clock.pause)

    def switch_jobs(self, *, on: bool) -> None:
        """Schedules run by themselves, or not."""
        control = self.cloud.control
        self._instruct(control.resume_jobs if on else control.pause_jobs)
        self._instruct(lambda: control.pause_jobs(HOURLY_PROOF))

    def set_clock(self, at: datetime) -> None:
        """Set the desk clock, and have the gateway tell what it knows by then."""
        self.gateway.tell(self.cloud, at)
        walking.set_clock(self.cloud, at)

    def step_clock(self, seconds: float) -> None:
        """Move the desk clock, also back; its process may be starting again."""
        self._instruct(lambda: self.cloud.clock.step(seconds))

    def _instruct(self, work: Callable[[], object]) -> None:
        """Tell the message service's process something, again while it is being started again."""
        until(lambda: _is_told(work), "the clock does not answer")

    # --- the database ---

    def patiently(self, work: Callable[[], T]) -> T:
        """Do something with the database, again while it is away."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return work()
            except FillbookError:
                if time.monotonic() > end:
                    raise
                time.sleep(LOOK_SECONDS)

    def rows(self, text: str, **params: object) -> list[dict[str, Any]]:
        """Rows of a statement."""

        def ask() -> list[dict[str, Any]]:
            with self.cloud.database.transaction(read_only=True) as tx:
                return tx.query(statement(text), **params)

        return self.patiently(ask)

    def number(self, text: str, **params: object) -> int:
        """The one number of a statement."""
        return int(next(iter(self.rows(text, **params)[0].values())))

    def execute(self, *texts: str) -> None:
        """Statements of the superuser, in one transaction."""

        def work() -> None:
            with self.cloud.database.transaction() as tx:
                for text in texts:
                    tx.execute(statement(text))

        self.patiently(work)

    # --- the outside ---

    def control(self, port: str, path: str, document: Mapping[str, Any] | None = None) -> Any:
        """The control API of a stand-in of the broker."""
        return walking.ask(self.cloud, port, path, document)

    def broker(self, path: str, document: Mapping[str, Any] | None = None, method: str | None = None) -> Any:
        """The admin API of the MT5 service; None where it is away."""
        body = None if document is None else json.dumps(document).encode()
        found = asked(f"{self.cloud.place.mt5_url}/_fake/{path}", body, method=method)
        return json.loads(found.body) if found.status == 200 else None

    def discord(self, path: str, document: Mapping[str, Any] | None = None, method: str | None = None) -> Any:
        """The control API of Discord; None where it is away."""
        body = None if document is None else json.dumps(document).encode()
        found = asked(f"{self.cloud.place.discord_url}/_control/{path}", body, method=method)
        return json.loads(found.body) if found.status == 200 else None

    def d1(self, path: str, document: Mapping[str, Any] | None = None, method: str | None = None) -> Any:
        """The control API of the stand-in for D1; None where it is away."""
        body = None if document is None else json.dumps(document).encode()
        found = asked(f"{self.cloud.place.d1_url}{path}", body, method=method)
        return json.loads(found.body) if found.status == 200 else None

    # --- waiting ---

    def decide_all(self) -> None:
        """Until every receipt is decided. The clock goes on a little, as it would, where something waits to be tried again."""
        steps, end = 0, time.monotonic() + PATIENCE_SECONDS
        while True:
            waiting, retrying = self._receipts_waiting()
            if not waiting:
                return
            if time.monotonic() > end:
                raise walking.NeverSo(f"{waiting} receipts are not decided, {retrying} of them wait to be tried again")
            if retrying == waiting and steps < BACKOFF_STEPS_MAX:
                steps += 1
                self.step_clock(BACKOFF_STEP.total_seconds())
            time.sleep(LOOK_SECONDS)

    def _receipts_waiting(self) -> tuple[int, int]:
        try:
            found = self.cloud.control.pubsub()["subscriptions"].values()
        except ControlError:
            return 1, 0
        chosen = [one for one in found if one["topic"].startswith(SIGNALS)]
        return sum(one["depth"] for one in chosen), sum(one["retrying"] for one in chosen)

    def rest(self, seconds: float) -> bool:
        """Until nothing is under way, at most so many real seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if walking.rests(self.cloud):
                return True
            time.sleep(LOOK_SECONDS)
        return False

    def wait_until_up(self, names: Sequence[str]) -> None:
        """Until these processes answer."""
        time.sleep(BACK_OFF_SECONDS)
        self.cloud.wait_until_up(*names, POSTGRES)


def started(home: Path, first: date, *, cluster: Path, bundles: Path) -> LocalCloud:
    """A desk, not yet started, whose clock stands at the dawn of a day."""
    copy_cluster(cluster, home / "pgdata")
    return LocalCloud(
        home,
        bundles=bundles,
        desk_start=days.begins_at(first),
        overrides=OVERRIDES,
        function_overrides=FUNCTION_OVERRIDES,
    )


def copy_cluster(made: Path, data: Path) -> None:
    """A migrated cluster, copied with its owner and rights."""
    if data.exists():
        return
    data.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", str(made), str(data)], check=True)
