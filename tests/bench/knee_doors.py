"""The doors that ``bench load`` asks, on one desk: the webhook, two push handlers behind the local Pub/Sub, the read API.

Receipts are all different: a minute of fifteen hundred tickers, then the next; the desk clock stands still a little later, so
that every one may be traded. Behind the webhook deliveries pause, and go on when it was measured: what was answered 202 must
then be decided. Executions are told with a desk clock that runs fast, so that the windows of Discord (30 messages a minute) are
not what is measured. The read API is asked with as many keys as readers that keep their rate; what one hasty key is told is
looked at beside.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from fillbook.ledger.audit import audit
from fillbook.runtime.sql import statement
from fillbook.signal.ingest import receipt_message
from fillbook.signal.receipt import instant, parse
from infra.local.desk import POSTGRES, LocalCloud
from infra.manifest import load
from tests.bench.load import Call, Generator
from tests.bench.webhook import webhook_of
from tests.support.notify_desk import executed
from tests.support.receipts import MINUTE_MS, R_TS, body, encoded
from tests.support.served import tree

INGEST, WORKER, NOTIFIER, TRACKER = "signal_ingest", "signal_worker", "discord_notifier", "trade_tracker"
TICKERS, MINUTES = 1_500, 40
MARK = "ZLTICKER"
ONE_KEY, ONE_KEY_RATE, ONE_KEY_CALLS = "a hasty one", 40, 160
KEYS = tuple(f"reader-{number}" for number in range(400))
SPEED = 300.0
SETTLE_SECONDS = 120.0
SILENT_SECONDS = 2.5  # servers close a silent connection after two
PATHS = (
    *("/timed/trades", "/timed/ledger/actions", "/timed/ledger/summary", "/timed/portfolio"),
    *("/timed/activity", "/timed/calendar", "/timed/session", "/timed/health"),
)
COMMITTED = {
    "signals": "select receipt_id as id, extract(epoch from pg_xact_commit_timestamp(xmin)) as at from signal.receipts",
    "events": "select event_id as id, extract(epoch from pg_xact_commit_timestamp(xmin)) as at from outbox.inbox"
    " where consumer = 'discord_notifier'",
}
UNTOLD = "select count(*) as n from notify.v_messages where subject_kind = 'execution' and posted_version is null"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one request: due when (epoch seconds), answered after how long, as it should be or refused."""

    due_at: float
    seconds: float
    late_seconds: float
    is_good: bool
    is_refused: bool = False
    is_told: bool = False


class Door(Protocol):
    """One way in. ``limit_ms``: the p99 beyond which it is too slow; ``memory_mb_max``, ``places``: what an instance has."""

    name: str
    limit_ms: float
    places: int
    memory_mb_max: int

    def begin(self) -> None:
        """Set the scene."""

    def send(self, offsets: Sequence[float]) -> list[Outcome]:
        """Ask at these instants (s from now); what became of each."""

    def settle(self) -> None:
        """Return when nothing is under way."""

    def end(self) -> dict[str, float]:
        """Let everything that was taken be done; what is wrong, by name, each 0 when all is well."""

    def sockets(self) -> int:
        """Connections that the function holds when its clients are gone."""

    def memory_mb(self) -> float:
        """The most it ever held."""

    def pushes_refused(self) -> int | None:
        """Pushes that were not acknowledged so far; None where nothing is pushed."""


@contextmanager
def desk(folder: Path) -> Iterator[LocalCloud]:
    """A desk of the four functions, whose database tells when it committed."""
    entry = {"scopes": ["read"], "tenant_id": "desk", "books": ["live"]}
    keys = [{"id": key, "sha256": hashlib.sha256(key.encode()).hexdigest(), **entry} for key in (*KEYS, ONE_KEY)]
    cloud = LocalCloud(
        folder,
        functions=[INGEST, WORKER, NOTIFIER, TRACKER],
        desk_start=instant(R_TS + MINUTES * MINUTE_MS),
        function_overrides={TRACKER: {"DESK_KEYS": json.dumps(keys)}},
    )
    with cloud:
        with (folder / "pgdata" / "postgresql.auto.conf").open("a") as settings:
            settings.write("track_commit_timestamp = on\n")
        cloud.restart(POSTGRES)
        cloud.control.pause_jobs()
        yield cloud


def doors(cloud: LocalCloud, generator: Generator) -> Iterator[Door]:
    """In this order: what is booked by the first is shown by the last."""
    receipts = _receipts()
    yield Webhook(cloud, generator, receipts)
    yield Worker(cloud, generator, receipts)
    yield ReadApi(cloud, generator)
    yield Told(cloud, generator)


def _receipts() -> Iterator[bytes]:
    for minute in range(MINUTES):
        text = encoded(body(minutes=minute, ticker=MARK, sector=None))
        yield from (text.replace(MARK.encode(), b"ZL%d" % number) for number in range(TICKERS))


class _OnDesk:
    """What the doors have in common: the desk, the process, what it holds."""

    limit_ms = 500.0

    def __init__(self, cloud: LocalCloud, generator: Generator, process: str) -> None:
        self.cloud, self.generator, self.process = cloud, generator, process
        self.name = process
        entry = load().functions[process]
        self.memory_mb_max, self.places = entry.memory_mb, entry.concurrency

    def begin(self) -> None:
        """Nothing to do."""

    def settle(self) -> None:
        """Nothing is left under way by what answers."""

    def sockets(self) -> int:
        """Sockets of its processes, when those of silent clients are closed."""
        time.sleep(SILENT_SECONDS)
        pid = self.cloud.pid(self.process)
        found = 0
        for one in tree(pid) if pid else ():
            for link in Path(f"/proc/{one}/fd").iterdir():
                with suppress(OSError):
                    found += link.readlink().name.startswith("socket:")
        return found

    def memory_mb(self) -> float:
        """As the kernel counts it."""
        return float(self.cloud.figures()[self.process]["peak_bytes"]) / 1024 / 1024

    def pushes_refused(self) -> int | None:
        """None."""
        return None

    def asked(self, calls: Sequence[Call], offsets: Sequence[float], good: int) -> list[Outcome]:
        """Ask over HTTP; ``good`` is the status of an answer as it should be."""
        return [
            Outcome(
                due_at=one.sent_at,
                seconds=one.seconds,
                late_seconds=one.late_seconds,
                is_good=one.status == good,
                is_refused=one.status in (503, 429),
                is_told=one.retry_after is not None,
            )
            for one in self.generator.at(calls, offsets)
        ]

    def count(self, text: str, **given: Any) -> int:
        """The one number of a statement."""
        return int(self.cloud.database.run(lambda tx: tx.query(statement(text), **given), read_only=True)[0]["n"])


class Webhook(_OnDesk):
    """``POST /timed/ingest``: the sender gives it three seconds."""

    def __init__(self, cloud: LocalCloud, generator: Generator, receipts: Iterator[bytes]) -> None:
        super().__init__(cloud, generator, INGEST)
        self._receipts = receipts
        self._taken: set[str] = set()

    def begin(self) -> None:
        """Deliveries pause."""
        self.cloud.control.pause()

    def send(self, offsets: Sequence[float]) -> list[Outcome]:
        """Every body is another receipt."""
        bodies = list(itertools.islice(self._receipts, len(offsets)))
        target = webhook_of(self.cloud)
        outcomes = self.asked([Call(url=target.url, headers=target.headers, body=one) for one in bodies], offsets, 202)
        now = self.cloud.clock.now()
        taken = (one for one, outcome in zip(bodies, outcomes, strict=True) if outcome.is_good)
        self._taken.update(str(parse(one, now=now).receipt.receipt_id) for one in taken)
        return outcomes

    def end(self) -> dict[str, float]:
        """All that was answered 202 is decided."""
        self.cloud.control.resume()
        self.cloud.control.wait_idle(SETTLE_SECONDS)
        rows = self.cloud.database.run(lambda tx: tx.query(statement(COMMITTED["signals"])), read_only=True)
        lost = self._taken - {str(row["id"]) for row in rows}
        return {"answered 202 and not decided": len(lost)}


class _Pushed(_OnDesk):
    """A push handler: messages are published, and answered when the database has committed what became of them."""

    topic = ""

    def __init__(self, cloud: LocalCloud, generator: Generator, process: str, messages: Iterator[tuple[str, bytes]]) -> None:
        super().__init__(cloud, generator, process)
        self._messages = messages
        self._sent: set[str] = set()
        self._url = f"{cloud.place.control_url}/v1/projects/{cloud.manifest.project_local}/topics/{self.topic}:publish"

    def send(self, offsets: Sequence[float]) -> list[Outcome]:
        """Every message is another one; those that Pub/Sub itself did not take were never sent."""
        chosen = list(itertools.islice(self._messages, len(offsets)))
        headers = {"Content-Type": "application/json"}
        calls = [Call(url=self._url, headers=headers, body=message) for _, message in chosen]
        answers = self.generator.at(calls, offsets)
        if {one.status for one in answers} != {200}:
            raise RuntimeError(f"Pub/Sub answered {sorted({one.status for one in answers})}")
        self._sent.update(key for key, _ in chosen)
        self.settle()
        committed = self.committed()
        return [
            Outcome(
                due_at=one.sent_at,
                seconds=committed.get(key, math.inf) - one.sent_at,
                late_seconds=one.late_seconds,
                is_good=key in committed,
            )
            for (key, _), one in zip(chosen, answers, strict=True)
        ]

    def settle(self) -> None:
        """Everything is acknowledged."""
        self.cloud.control.wait_idle(SETTLE_SECONDS)

    def end(self) -> dict[str, float]:
        """All that was published left its rows, and nothing was given up."""
        dead = sum(one["dead"] for one in self.cloud.control.pubsub()["subscriptions"].values())
        return {"published and not done": len(self._sent - self.committed().keys()), "messages given up": dead}

    def pushes_refused(self) -> int | None:
        """Of its subscription."""
        return int(self.cloud.control.pubsub()["subscriptions"][f"{self.topic}-{self.process}"]["failed"])

    def committed(self) -> dict[str, float]:
        """When (epoch seconds) each message's transaction was committed, by its id."""
        rows = self.cloud.database.run(lambda tx: tx.query(statement(COMMITTED[self.topic])), read_only=True)
        return {str(row["id"]): float(row["at"]) for row in rows}


class Worker(_Pushed):
    """``signal_worker``: a receipt is decided."""

    topic = "signals"

    def __init__(self, cloud: LocalCloud, generator: Generator, receipts: Iterator[bytes]) -> None:
        super().__init__(cloud, generator, WORKER, map(self._message, receipts))

    def _message(self, sent: bytes) -> tuple[str, bytes]:
        now = self.cloud.clock.now() if self._now is None else self._now
        self._now = now
        accepted = parse(sent, now=now)
        out = receipt_message(accepted, now)
        return str(accepted.receipt.receipt_id), _published(out.data, out.attributes, out.ordering_key)

    _now: datetime | None = None

    def end(self) -> dict[str, float]:
        """And the book is whole."""
        found = audit(self.cloud.database, "live", self.cloud.clock.now())
        return {**super().end(), "findings of the audit": len(found.findings)}


class Told(_Pushed):
    """``discord_notifier``: an execution is kept, and told as Discord's windows allow."""

    topic = "events"

    def __init__(self, cloud: LocalCloud, generator: Generator) -> None:
        super().__init__(cloud, generator, NOTIFIER, map(self._message, itertools.count()))

    def begin(self) -> None:
        """The desk clock runs fast."""
        self.cloud.clock.run(SPEED)

    def _message(self, number: int) -> tuple[str, bytes]:
        event = executed(f"load {number}", position=f"load {number}", ticker=f"ZE{number}")
        document = json.loads(event)
        return document["event_id"], _published(event, {}, document["aggregate_key"])

    def end(self) -> dict[str, float]:
        """And every execution is told, in as many messages as it takes."""
        until = time.monotonic() + SETTLE_SECONDS
        while self.count(UNTOLD) and time.monotonic() < until:
            self.cloud.control.run_job("discord-drain")
        return {**super().end(), "executions not told": self.count(UNTOLD)}


class ReadApi(_OnDesk):
    """``trade_tracker``: what a page asks, each reader within his rate."""

    def __init__(self, cloud: LocalCloud, generator: Generator) -> None:
        super().__init__(cloud, generator, TRACKER)
        self._keys, self._paths = itertools.cycle(KEYS), itertools.cycle(PATHS)

    def send(self, offsets: Sequence[float]) -> list[Outcome]:
        """One route after the other."""
        return self.asked([self._call(next(self._keys)) for _ in offsets], offsets, 200)

    def _call(self, key: str) -> Call:
        return Call(url=self.cloud.url(TRACKER) + next(self._paths), headers={"Authorization": f"Bearer {key}"})

    def end(self) -> dict[str, float]:
        """One key alone: beyond its rate it is told 429 and when to come back, and nothing else."""
        offsets = [number / ONE_KEY_RATE for number in range(ONE_KEY_CALLS)]
        seen = self.asked([self._call(ONE_KEY) for _ in offsets], offsets, 200)
        refused = [one for one in seen if one.is_refused]
        return {
            "one key at 40/s: neither answered nor refused": sum(not one.is_good and not one.is_refused for one in seen),
            "the same: refused without Retry-After, or never refused": sum(not one.is_told for one in refused)
            or int(not refused),
        }


def _published(data: bytes, attributes: Mapping[str, str], ordering_key: str) -> bytes:
    message = {"data": base64.b64encode(data).decode(), "attributes": dict(attributes), "orderingKey": ordering_key}
    return json.dumps({"messages": [message]}).encode()
