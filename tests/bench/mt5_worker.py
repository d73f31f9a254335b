"""A process of ``account_sync`` or ``account_sync_shard`` for the bench: told what to do line by line, as JSON on stdin.

It stands on what the function stands on (``grounds_for``, its own settings, a pool as large as the function's) and calls what the
function calls; only the web framework is missing, and what it publishes is handed back with the answer. Each answer tells the
seconds and processor seconds of that piece of work, and the process's peak memory so far.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from fillbook.mt5 import asked, job, rebuilding, runstore, shards
from fillbook.mt5.runs import Caller, Runs
from fillbook.mt5.settings import AccountSyncConfig, AccountSyncJobConfig, AccountSyncShardConfig, Mt5Config
from fillbook.mt5.worker import CONCURRENCY, SHARD, SYNC, grounds_for
from fillbook.outbox.model import MT5_SHARDS_TOPIC
from fillbook.runtime import clock
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Unavailable
from fillbook.runtime.pubsub import OutMessage

ROLES: dict[str, tuple[type[Mt5Config], str, int]] = {
    "sync": (AccountSyncConfig, SYNC, CONCURRENCY),
    "shard": (AccountSyncShardConfig, SHARD, 1),
    "job": (AccountSyncJobConfig, SHARD, 1),
}
STATEMENT_SECONDS = 600
OPERATOR, SCHEDULER = "fb-operator@desk.example", "cloud-scheduler@desk.example"


class Messages:
    """Stands where Pub/Sub would."""

    def __init__(self) -> None:
        self.shards: list[str] = []

    def publish(self, topic: str, messages: Sequence[OutMessage], *, timeout_seconds: float = 5) -> list[str]:
        """Keep the messages for workers of shards; the rest is nobody's here."""
        if topic == MT5_SHARDS_TOPIC:
            self.shards += [message.data.decode() for message in messages]
        return [str(number) for number, _ in enumerate(messages)]


class Worker:
    """What the process does, by name."""

    def __init__(self, role: str) -> None:
        kind, name, pool_size = ROLES[role]
        self.config = kind.from_environment()
        self.db = Database.open(self.config, application_name=name, pool_size=pool_size)
        self.messages = Messages()
        self.grounds = replace(grounds_for(self.config, self.db, name), publisher=self.messages)

    def answer(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Do what is wanted; what came of it, with what it took."""
        work = getattr(self, wanted.pop("do"))
        begun, spent = time.perf_counter(), time.process_time()
        found: dict[str, Any] = work(**wanted)
        found |= {"seconds": time.perf_counter() - begun, "cpu": time.process_time() - spent, "mb": peak_mb()}
        found["messages"], self.messages.shards = self.messages.shards, []
        return found

    def look(self) -> dict[str, Any]:
        """Nothing; one round trip, so that the connection is open."""
        with self.db.transaction(read_only=True) as tx:
            runstore.active(tx, count_max=1)
        return {}

    def sync(self, body: dict[str, Any], scheduled_at: str | None = None) -> dict[str, Any]:
        """A call of ``account_sync``."""
        slot = None if scheduled_at is None else datetime.fromisoformat(scheduled_at)
        caller = Caller(email=OPERATOR if slot is None else SCHEDULER, scheduled_at=slot)
        reply = Runs(self.grounds, caller, clock.monotonic()).sync(asked.read(json.dumps(body).encode()))
        document = dict(reply.document)
        document.pop("syncResults", None)
        return {"status": reply.status, "document": document}

    def shard(self, data: str) -> dict[str, Any]:
        """A message pushed to ``account_sync_shard``; ``again``: it would come again."""
        deadline = clock.monotonic() + self.config.mt5_run_budget_seconds
        try:
            shards.work(self.grounds, shards.read(data.encode()), deadline)
        except Unavailable as error:
            return {"again": error.reason}
        return {}

    def task(self, index: int, count: int, execution: str) -> dict[str, Any]:
        """A task of the job."""
        done = job.work_off(self.grounds, execution=execution, index=index, count=count)
        return {"run_id": done.run_id, "accounts": done.totals.total_accounts}

    def rebuild(self, account_id: str) -> dict[str, Any]:
        """An operator's rebuild of one account."""
        config = self.config
        db = Database.open(config, application_name="rebuild", pool_size=1, statement_timeout_seconds=STATEMENT_SECONDS)
        done = rebuilding.rebuild(db, account_id, self.grounds.clock.now())
        db.close()
        return {"changed": done.trades_changed + done.cash_changed}


def peak_mb() -> float:
    """Peak resident memory of this program alone."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main() -> None:
    """Answer lines until there are no more. Threads that wait for silent services do not keep the process."""
    answers = os.fdopen(os.dup(1), "w")
    with Path(os.devnull).open("w") as nowhere:
        sys.stdout = nowhere  # where the functions write their logs
        worker = Worker(sys.argv[1])
        for line in sys.stdin:
            answers.write(json.dumps(worker.answer(json.loads(line)), default=str) + "\n")
            answers.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
