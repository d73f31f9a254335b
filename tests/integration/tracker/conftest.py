"""The Trade Tracker over a real database with a few known figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from fillbook.ledger import service
from fillbook.ledger.model import Book, Mark, Side
from fillbook.runtime.db import Database
from fillbook.tracker import api, exports, wire
from infra.door.page import build
from tests.support.tracker_desk import BOOKED_AT, KEYS, NOW, fill


@pytest.fixture(autouse=True)
def _answers_hold_what_json_has_words_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number with decimals, an instant, a set: the serializer would write them, each in its own way."""
    for module in (api, exports):
        monkeypatch.setattr(module, "written", _written)


def _written(document: object) -> bytes:
    _look_at(document)
    return wire.written(document)


def _look_at(value: object) -> None:
    if isinstance(value, dict):
        assert all(type(name) is str for name in value), value
        for one in value.values():
            _look_at(one)
    elif isinstance(value, list | tuple):
        for one in value:
            _look_at(one)
    else:
        assert value is None or isinstance(value, str | int | UUID), value


@pytest.fixture
def booked(db: Database) -> Database:
    """One position open (two lots, one trim), one closed, one mark."""
    fills = [
        fill("ZZTA", 1, Side.BUY, "10", "100"),
        fill("ZZTA", 2, Side.BUY, "10", "110"),
        fill("ZZTA", 3, Side.SELL, "5", "120"),
        fill("ZZTB", 4, Side.BUY, "1", "50"),
        fill("ZZTB", 5, Side.SELL, "1", "40"),
    ]
    with db.transaction() as tx:
        service.open_book(tx, Book(book_id="live", start_cash=Decimal(100000)), BOOKED_AT - timedelta(milliseconds=1))
        service.book_fills(tx, "live", fills, BOOKED_AT)
        mark = Mark(instrument="ZZTA", price=Decimal("115.00"), bid=None, ask=None, marked_at=NOW, source="signal")
        service.mark(tx, "live", [mark], NOW)
    return db


@pytest.fixture
def client(database_url: str, function_app: Callable[..., FlaskClient], tmp_path: Path) -> FlaskClient:
    """The function on a paused clock, ten minutes after the desk's start, reading with the tracker's own rights."""
    clock = tmp_path / "clock.json"
    clock.write_text(json.dumps({"desk_at": NOW.isoformat(), "real_at": 0, "speed": 1.0, "paused": True}))
    build(Path(__file__).resolve().parents[3])
    settings = {
        "FILLBOOK_ENV": "local",
        "FILLBOOK_DATABASE_URL": f"{database_url}?role=tracker_reader",
        "FILLBOOK_DESK_CLOCK": str(clock),
        "DESK_KEYS": KEYS,
    }
    return function_app("trade_tracker", settings)
