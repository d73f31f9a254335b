"""Flex documents for tests: the sample folder in place, documents of rows, and the jobs as a desk would work them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from fillbook.ibkr.accounts import configure_accounts
from fillbook.ibkr.allowlist import Account, AccountConfig
from fillbook.ibkr.flex import Flex
from fillbook.ibkr.flex_statement import StatementFile
from fillbook.ibkr.flexjobs import Next, StatementAsk, Step, fetch_statement, request_statement
from fillbook.ibkr.model import SyncMetrics
from fillbook.ibkr.runs import import_statement_once
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from infra.local import flex_document
from infra.local.flex import FlexFake

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "ibkr"
DAY = date(2026, 1, 5)
WRITTEN_AT = datetime(2026, 1, 6, 6, 0, tzinfo=UTC)
CODES = ("U1234567", "U7654321", "DU1234567", "DU7654321")
SAMPLE_CONFIGS = tuple(
    AccountConfig(account=Account(account_id=number, code=code), aliases={"U1234567F": "F"} if code == "U1234567" else {})
    for number, code in enumerate(CODES, 1)
)


def sample(name: str) -> bytes:
    """A file of the sample folder; the test is skipped where the folder is absent."""
    path = SAMPLES / name
    if not path.exists():
        pytest.skip(f"the sample data of room ibkr is not here ({name})")
    return path.read_bytes()


def write(path: Path, body: bytes) -> StatementFile:
    """A document on disk."""
    path.write_bytes(body)
    return StatementFile(path)


def statement(
    rows: Iterable[Mapping[str, str]],
    *,
    account: str = "U1234567",
    kind: str = "AF",
    days: tuple[date, date] = (DAY, DAY),
    **options: Any,
) -> bytes:
    """The bytes of a document of one account."""
    part = flex_document.statement(rows, account=account, days=days, generated_at=WRITTEN_AT, **options)
    return b"".join(flex_document.response(part, kind=kind))


class FlexDesk:
    """A desk with a fake service: jobs are worked one step at a time on a clock that stands still between them."""

    def __init__(self, db: Database, fake: FlexFake, clock: FixedClock, directory: Path, **options: Any) -> None:
        self.db, self.fake, self.clock, self.directory = db, fake, clock, directory
        self.options: dict[str, Any] = {"send_seconds": 2.0, "fetch_seconds": 5.0, **options}
        configure_accounts(db, SAMPLE_CONFIGS, clock.now())

    @property
    def service(self) -> Flex:
        """The adapter with the token the desk knows."""
        token = self.options.get("token", self.fake.token)
        others = {name: value for name, value in self.options.items() if name != "token"}
        return Flex(SecretStr(token), send_url=self.fake.send_url, is_local=True, directory=self.directory, **others)

    def ask(self, job_id: str = "job-1", query: str = "7", days: tuple[date, date] = (DAY, DAY)) -> Step:
        """Work a flex.request job."""
        ask = StatementAsk(query_id=query, from_date=days[0], to_date=days[1])
        return request_statement(self.db, self.service, ask, job_id=job_id, now=self.clock.now())

    def fetch(self, request_id: str, **options: Any) -> Step:
        """Work a flex.fetch job."""
        return fetch_statement(self.db, self.service, request_id, job_id=None, now=self.clock.now(), **options)

    def step_to(self, at: datetime | None) -> None:
        """Let the clock run up to an instant."""
        assert at is not None
        self.clock.step(max(0.0, (at - self.clock.now()).total_seconds()) + 0.001)

    def asked(self, job_id: str = "job-1", **options: Any) -> str:
        """Ask, and let the clock run to the fetch; returns the request id."""
        step = self.ask(job_id, **options)
        assert step.next_step is Next.DONE, step
        self.step_to(step.follow_ups[0].not_before)
        return step.request_id

    def until_done(self, request_id: str, tries: int = 60) -> tuple[Step, list[str]]:
        """Work the fetch until it is no longer deferred; returns the last step and the reasons of the deferrals."""
        waits: list[str] = []
        for _ in range(tries):
            step = self.fetch(request_id)
            if step.next_step is not Next.DEFER:
                return step, waits
            waits.append(step.error_class or "")
            self.step_to(step.not_before)
        raise AssertionError(f"never done: {waits}")

    def steps(self) -> list[str]:
        """Which calls came, in order."""
        return [entry["step"] for entry in self.fake.requests()]


def imported(db: Database, document: StatementFile, now: datetime) -> SyncMetrics:
    """Take a document in, as a job would."""
    metrics = import_statement_once(db, document, request_id=None, now=now)
    assert metrics.adds_up, metrics
    return metrics
