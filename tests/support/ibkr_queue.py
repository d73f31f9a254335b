"""The statement side of the function without its routes: jobs are queued, claimed and left as a worker leaves them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pydantic import SecretStr

from fillbook.ibkr import jobs, payloads
from fillbook.ibkr.allowlist import AccountConfig
from fillbook.ibkr.flex import Flex
from fillbook.ibkr.handlers import Outside
from fillbook.ibkr.payloads import Defaults
from fillbook.ibkr.statements import FlexStatements
from fillbook.ibkr.worker import Worker
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from infra.local.flex import FlexFake
from tests.support.ibkr import CONFIGS
from tests.support.ibkr_world import Query
from tests.support.publisher import FakePublisher

QUERIES = {"statement": "7", "confirmation": "8"}


class QueueDesk:
    """A worker whose only door is the fake web service, on a clock that stands still while a job is worked."""

    def __init__(
        self, db: Database, query: Query, fake: FlexFake, clock: FixedClock, configs: tuple[AccountConfig, ...] = CONFIGS
    ) -> None:
        self.db, self.query, self.fake, self.clock, self.configs = db, query, fake, clock, configs
        self.token = fake.token

    @property
    def worker(self) -> Worker:
        """The worker with the token the desk knows now."""
        service = Flex(
            SecretStr(self.token),
            send_url=self.fake.send_url,
            is_local=True,
            send_seconds=2.0,
            fetch_seconds=5.0,
        )
        return Worker(
            db=self.db,
            publisher=FakePublisher(),
            clock=self.clock,
            configs=self.configs,
            defaults=Defaults(targets=(), client_id=11, queries=tuple(QUERIES)),
            outside=Outside(statements=FlexStatements(db=self.db, service=service, queries=QUERIES)),
        )

    def ask(self, **payload: Any) -> str:
        """Queue a request for a statement; returns the job's id."""
        requested = payloads.read(payloads.JOB_TYPE_FLEX_REQUEST, payload, self.worker.defaults)
        return jobs.enqueue_once(self.db, requested, requested_by="a test", now=self.clock.now()).job_id

    def work(self) -> str:
        """Let the clock run to the next job and work it; returns its type and how it was left."""
        due = jobs.next_due(self.db)
        assert due is not None, "nothing waits"
        self.clock.step(max((due - self.clock.now()).total_seconds(), 0) + 0.001)
        job = jobs.claim(self.db, self.clock.now())
        assert job is not None
        return f"{job.job_type} {self.worker.work(job).state}"

    def work_all(self, most: int = 60) -> list[str]:
        """Work until nothing waits; the pace of the token makes no second wait, so none is added."""
        told = []
        for _ in range(most):
            if jobs.next_due(self.db) is None:
                return told
            told.append(self.work())
        raise AssertionError(f"still waiting after {told}")

    def state(self, job_id: str) -> tuple[Any, ...]:
        """State, attempts, deferrals and last error of a job."""
        (row,) = self.query("select state, attempts, deferrals, last_error from ibkr.jobs where id = :id", id=job_id)
        return tuple(row.values())

    def told(self) -> list[tuple[str, str, str | None]]:
        """What people heard of: event, account, class of the error; oldest first."""
        rows = self.query(
            "select event_type, payload::jsonb as payload from outbox.events where event_type like 'sync%' order by id"
        )
        return [
            (row["event_type"], row["payload"]["data"]["account"], row["payload"]["data"].get("error_class"))
            for row in rows
            if row["event_type"] != "sync_requested"
        ]

    def calls(self) -> list[str]:
        """Which calls came, in order."""
        return [entry["step"] for entry in self.fake.requests()]

    def later(self, **span: float) -> datetime:
        """Let the clock run."""
        self.clock.step(timedelta(**span).total_seconds())
        return self.clock.now()
