"""Replay books written by the live path: the same receipts decided once more under another book, with a run's record beside it.

What a comparison reads is rows of the signal and ledger rooms; for its tests it does not matter who walked the receipts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

from fillbook.runtime.db import Database
from fillbook.signal.profile import Profile, load
from tests.support.signal_live import PROFILE, LiveDesk

Query = Callable[..., list[dict[str, Any]]]
NOW = datetime(2026, 2, 5, 12, tzinfo=UTC)
DAY = date(2026, 2, 3)


class ReplayBooks:
    """Books of runs in a test's database, written as its owner."""

    def __init__(self, db: Database, query: Query) -> None:
        self.db = db
        self.query = query

    def live(self, documents: Iterable[dict[str, Any]]) -> LiveDesk:
        """The live book after these receipts."""
        return self._decide(LiveDesk(self.db, self.query), documents)

    def run(self, documents: Iterable[dict[str, Any]], config: Profile | None = None, **record: Any) -> str:
        """A run that is done: its id."""
        run_id, config = str(uuid4()), config or load(PROFILE)
        self.query("truncate signal.receipts")  # receipts have no book: the same ones are stored again
        desk = LiveDesk(self.db, self.query).with_strategy(profile=config, book_id=f"replay:{run_id}")
        self._decide(desk, documents)
        self._record(run_id, config, record)
        return run_id

    @staticmethod
    def _decide(desk: LiveDesk, documents: Iterable[dict[str, Any]]) -> LiveDesk:
        for document in sorted(documents, key=lambda one: (one["ts"], one["ticker"])):
            desk.take(document)
        return desk

    def _record(self, run_id: str, config: Profile, given: dict[str, Any]) -> None:
        record = {"date_from": DAY, "date_to": DAY, "ticker": None, "name": None, "status": "done", "session": "regular", **given}
        self.query(
            "insert into replay.run_records (run_id, name, kind, book_id, date_from, date_to, ticker, script_version, session,"
            " inputs, start_from, facts, profile, config, config_digest, code_version, status, created_by, created_at) values"
            " (:run_id, :name, 'day', :book_id, :date_from, :date_to, :ticker, '2.5.0', :session, 'all', 'empty', 'own',"
            " :profile, :config::jsonb, :digest, 'c', :status::replay.run_status, 'tests', :now)",
            run_id=run_id,
            book_id=f"replay:{run_id}",
            profile=config.version,
            config=config.text,
            digest=config.digest,
            now=NOW,
            **record,
        )
