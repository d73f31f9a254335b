"""Room snapshot on a local cloud of real processes: publishers of our views and of small ones, our API, and both fakes.

Three publishers run from one bundle, each before what it publishes to: the desk's own (our views, our API), ``small`` (copies of
W1's views that a test may spoil, our API) and ``lenient`` (the same copies, the lenient receiver). All may fall back to the D1.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import sqlite3
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import date, datetime
from typing import Any, Final

from fillbook.ledger.model import Fill
from fillbook.runtime.sql import encode, statement
from fillbook.snapshot import days, source
from fillbook.snapshot.model import Source
from fillbook.snapshot.publisher import SCHEDULED_HEADER, SCHEDULER
from infra.local import plan
from infra.local.desk import HOST, LocalCloud
from infra.local.lenient import POST_PATH
from infra.local.ports import free_port
from infra.local.processes import Running
from infra.local.readiness import answers, wait_until_ready
from infra.local.snapshot_targets import LENIENT, STATE_FILE
from tests.support.ledger import make_fill
from tests.support.mt5_fleet import Reply, post
from tests.support.snapshot_api import signature
from tests.support.snapshot_publishing import DAY, EVENING, ROLE, PublishDesk, new_york
from tests.support.waiting import wait_until

PUBLISHER, API = "snapshot_publisher", "snapshot_api"
OPERATOR: Final = "fb-operator"
READERS: Final = tuple(f"metrics-key-of-reader-{number}" for number in range(4))
"""A key may ask sixty times at once."""
SPOILT: Final = (
    (
        "alter table reports.kpi rename column display_value to shown",
        "alter table reports.kpi rename column shown to display_value",
    ),
    (
        "alter table reports.kpi alter column report_date type text",
        "alter table reports.kpi alter column report_date type date using report_date::date",
    ),
    (
        "alter table reports.series alter column ts type timestamp using ts at time zone 'UTC'",
        "alter table reports.series alter column ts type timestamptz using ts at time zone 'UTC'",
    ),
    (f"revoke select on reports.extremes from {ROLE}", f"grant select on reports.extremes to {ROLE}"),
    ("alter table reports.portfolio rename to held", "alter table reports.held rename to portfolio"),
    (
        "create materialized view reports.portfolio as select * from reports.held with no data",
        "drop materialized view reports.portfolio",
    ),
)
OTHER_VIEWS: Final = {f"MV_{name.upper()}_TABLE": f"reports.{name}" for name in ("kpi", "series", "extremes", "portfolio")} | {
    "SNAPSHOT_REFRESH": "off"
}


def reader_keys() -> dict[str, str]:
    """Settings of our API that let the readers in."""
    hashes = {key: hashlib.sha256(key.encode()).hexdigest() for key in READERS}
    return {"METRICS_KEYS": json.dumps([{"id": k[-8:], "sha256": h, "scopes": ["metrics:read"]} for k, h in hashes.items()])}


class SnapshotCloud:
    """A desk that holds W1 on 11 February 2026, its views refreshed at 16:30; nothing is published."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        cloud.control.pause_jobs()
        self.book = PublishDesk(lambda *_, **__: cloud.database, cloud.database, self.rows)
        self.addresses = {PUBLISHER: cloud.url(PUBLISHER)}
        self._lenient = f"http://{HOST}:{cloud.home.read_run()['ports'][LENIENT]}"
        secrets = cloud.place.secrets
        lenient = {
            "SNAPSHOT_API_URL": self._lenient,
            "INTERNAL_TOKEN": secrets["lenient_token"],
            "SNAPSHOT_READ_KEY": secrets["lenient_key"],
        }
        names = ["a.b; drop table x", "(select 1)", "a.b.c", '"A".b']
        wrong: dict[str, str | None] = {**dict(zip(OTHER_VIEWS, names, strict=False)), "CLOUDFLARE_API_TOKEN": None}
        waiting = self._more({"small": OTHER_VIEWS, "lenient": {**OTHER_VIEWS, **lenient}, "wrong": wrong})
        self.book.w1()
        source.put_days(cloud.database, days.standing(EVENING))
        source.refresh(cloud.database)
        self.book.make_foreign_views()
        wait_until_ready(waiting, 60, lambda _name, _where: None)
        self._tokens = {
            name: cloud.control.token(plan.email(cloud.manifest, name), plan.audience(cloud.manifest.functions[PUBLISHER]))
            for name in (OPERATOR, SCHEDULER)
        }

    def _more(self, wanted: Mapping[str, Mapping[str, str | None]]) -> dict[str, tuple[Running, str]]:
        """Start further publishers with settings of their own; None takes a setting away. Returns whom to wait for."""
        own, waiting = self.cloud.keeper.get(PUBLISHER).program, {}
        for name, changes in wanted.items():
            settings: dict[str, str | None] = {**own.environment, **changes}
            port = free_port()
            program = dataclasses.replace(
                own,
                name=f"{PUBLISHER}-{name}",
                command=[*own.command[:-1], str(port)],
                environment={key: value for key, value in settings.items() if value is not None},
                log=own.log.with_name(f"{PUBLISHER}-{name}.log"),
            )
            self.addresses[name] = f"http://{HOST}:{port}"
            waiting[program.name] = (self.cloud.keeper.start(program), f"{self.addresses[name]}/favicon.ico")
        return waiting

    # --- publishers ---

    def call(self, by: str = PUBLISHER, *, due: datetime | None = None, **body: Any) -> Reply:
        """A person's call of a publisher, or the schedule's that was due."""
        token = self._tokens[OPERATOR if due is None else SCHEDULER]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        headers |= {} if due is None else {SCHEDULED_HEADER: due.isoformat()}
        return post(f"{self.addresses[by]}/", json.dumps(body).encode(), headers)

    def publish(self, by: str, day: date | None = None, **body: Any) -> dict[str, Any]:
        """A person's call for one day, and its one result."""
        told = self.call(by, **body | ({} if day is None else {"date": day.isoformat()})).document
        assert len(told.get("results", ())) == 1, told
        result: dict[str, Any] = told["results"][0]
        return result

    def at(self, clock: str, day: date = DAY) -> datetime:
        """Set the desk clock by New York's."""
        now = new_york(clock, day)
        self.cloud.clock.set(now)
        return now

    def kill(self, name: str) -> None:
        """Kill -9 a further publisher; the keeper brings it back."""
        self.cloud.kill(f"{PUBLISHER}-{name}")

    def wait_until_up(self, name: str) -> None:
        """Wait until a further publisher answers again."""
        wait_until(lambda: answers(f"{self.addresses[name]}/favicon.ico"))

    def operator_environment(self, name: str) -> dict[str, str]:
        """The settings with which a person's verbs call this publisher."""
        return {**self.cloud.operator_environment, "SNAPSHOT_PUBLISHER_URL": self.addresses[name]}

    # --- what the small views show ---

    @contextmanager
    def altered(self, text: str, back: str) -> Iterator[None]:
        """The views another way for a while."""
        with self.cloud.database.transaction() as tx:
            tx.execute(statement(text))
        try:
            yield
        finally:
            with self.cloud.database.transaction() as tx:
                tx.execute(statement(back))

    @contextmanager
    def spoilt(self) -> Iterator[None]:
        """Everything of the contract broken at once: a column renamed, two of a wrong type, a view empty, one without a grant."""
        with ExitStack() as stack:
            for text, back in SPOILT:
                stack.enter_context(self.altered(text, back))
            yield

    def show(self, day: date, found: Source) -> None:
        """Have the small views show W1's day as it is here on another day, in place of what they showed of that."""
        back = DAY - day
        parts = {"kpi": found.kpis, "series": found.series, "extremes": found.extremes, "portfolio": found.portfolio}
        for name, rows in parts.items():
            self.rows(f"delete from reports.{name} where report_date = :day returning 1", day=day)
            moved = [{**row, "report_date": day} | ({"ts": row["ts"] - back} if "ts" in row else {}) for row in rows]
            rows_of = f"jsonb_populate_recordset(null::reports.{name}, :rows::jsonb)"
            self.rows(f"insert into reports.{name} select * from {rows_of} returning 1", rows=encode(moved))

    # --- the fakes ---

    def fault(self, target: str, **rule: Any) -> None:
        """Have a fake fail from now on; without a rule it is well again."""
        method, data = ("POST", json.dumps(rule).encode()) if rule else ("DELETE", None)
        request = urllib.request.Request(f"{self._base(target)}/_fault", data, method=method)
        urllib.request.urlopen(request, timeout=10).close()

    def well(self) -> None:
        """Both fakes are well, and know of no call."""
        for target in ("d1", "lenient"):
            self.fault(target)
            request = urllib.request.Request(f"{self._base(target)}/_calls", method="DELETE")
            urllib.request.urlopen(request, timeout=10).close()

    def calls(self, target: str, method: str | None = None) -> list[dict[str, Any]]:
        """What came to a fake, oldest first."""
        with urllib.request.urlopen(f"{self._base(target)}/_calls", timeout=10) as answer:
            return [one for one in json.load(answer) if method in (None, one["method"])]

    def _base(self, target: str) -> str:
        return self.cloud.place.d1_url if target == "d1" else self._lenient

    def in_file(self, text: str, *params: str) -> list[Any]:
        """Rows of the file behind D1 and the lenient receiver."""
        with closing(sqlite3.connect(self.cloud.home.path / STATE_FILE)) as file, file:
            return file.execute(text, params).fetchall()

    def everything_in_file(self) -> list[list[Any]]:
        """Every row of its five tables."""
        tables = [
            name for (name,) in self.in_file("select name from sqlite_master where name like 'metrics%' and type = 'table'")
        ]
        return [self.in_file(f"select * from {name} order by rowid") for name in sorted(tables)]

    # --- our API ---

    def ask(self, path: str, data: bytes | None = None, **headers: str) -> tuple[int, Any]:
        """Status and document of one request to our API."""
        request = urllib.request.Request(self.cloud.url(API) + path, data, {"Accept-Encoding": "gzip", **headers})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                raw = answer.read()
                return answer.status, json.loads(gzip.decompress(raw) if answer.headers["Content-Encoding"] else raw)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")

    def read(self, path: str, reader: int = 0) -> tuple[int, Any]:
        """Ask as a reader."""
        return self.ask(path, Authorization=f"Bearer {READERS[reader]}")

    def latest(self, day: date | None = None) -> dict[str, Any]:
        """The latest day, or another one, as readers see it."""
        status, found = self.read("/v1/trades/latest" + ("" if day is None else f"?date={day}"))
        assert status == 200, found
        shown: dict[str, Any] = found
        return shown

    def store(self, document: Mapping[str, Any]) -> tuple[int, Any]:
        """Send a document as a publisher does."""
        raw, secrets = json.dumps(document).encode(), self.cloud.place.secrets
        headers = {"X-Internal-Token": secrets["internal_token"], "X-Signature": signature(raw, secrets["signing_secret"])}
        return self.ask(POST_PATH, raw, **headers, **{"Content-Type": "application/json"})

    # --- the database ---

    def rows(self, text: str, **params: object) -> list[dict[str, Any]]:
        """Rows of a statement."""
        with self.cloud.database.transaction() as tx:
            return tx.query(statement(text), **params)

    def versions(self, day: date) -> list[int]:
        """Versions of a day that our API holds."""
        found = self.rows("select version from metrics.snapshot_versions where date = :day order by version", day=day)
        return [row["version"] for row in found]

    def events(self, day: date) -> list[str]:
        """Events about a day, in order."""
        text = """select event_type from outbox.events
                   where event_type like 'snapshot_%' and payload::jsonb->'data'->>'date' = :day order by id"""
        return [row["event_type"] for row in self.rows(text, day=day.isoformat())]

    def statuses(self, day: date) -> list[str]:
        """How the publications of a day stand, oldest first."""
        return self.book.statuses(day)

    @contextmanager
    def stuck(self, table: str, application: str, work: Callable[[], Any]) -> Iterator[None]:
        """While ``work`` is under way and ``application`` waits for a table that somebody else has, until the block ends."""
        waiting = "select 1 as n from pg_stat_activity where wait_event_type = 'Lock' and application_name = :name"
        thread = threading.Thread(target=work)
        with self.cloud.database.transaction() as tx:
            tx.execute(statement(f"lock table {table} in access exclusive mode"))
            thread.start()
            wait_until(lambda: bool(self.rows(waiting, name=application)))
            yield
        thread.join()


def sold(name: str, quantity: int, price: str, executed_at: datetime, *, side: str = "SELL") -> Fill:
    """A fill of the day that sells of W1's long AAPL."""
    return make_fill(
        name,
        side,
        quantity,
        price,
        instrument="AAPL",
        direction="LONG",
        fees="1",
        executed_at=executed_at,
        session_date=executed_at.date(),
        received_at=executed_at,
    )


def bought(name: str, quantity: int, price: str, executed_at: datetime) -> Fill:
    """A fill of the day that buys AAPL, long."""
    return sold(name, quantity, price, executed_at, side="BUY")


def kpi(document: Mapping[str, Any], name: str) -> tuple[str, Any]:
    """A figure of a day as readers see it: text and number."""
    (row,) = [one for one in document["rows"] if one["kpi"] == name]
    return row["value"], row["value_num"]


def posts(calls: Sequence[Mapping[str, Any]]) -> int:
    """How many of the calls sent a day."""
    return sum(one["method"] == "POST" for one in calls)
