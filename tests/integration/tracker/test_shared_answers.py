"""One making for all who may see the same: told by a change that no tag knows of, which only a new making can show."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from fillbook.ledger import service
from fillbook.ledger.model import Side
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from infra.door.page import build
from tests.support.tracker_desk import BOOKED_AT, KEY, NOW, entry, fill

SAME, WIDER, MIGHTIER, FOREIGN = "same-key", "wider-key", "mightier-key", "foreign-key"
ASKED = "/timed/trades?status=open&include=lots"
BEHIND_THE_TAGS = (
    "set local session_replication_role = replica",
    "update ledger.positions set ticker = 'ZZTX' where instrument = 'ZZTA'",
)


@pytest.fixture
def client(database_url: str, function_app: Callable[..., FlaskClient], tmp_path: Path) -> FlaskClient:
    """The function, asked with keys that may see the same, more, or what is another desk's."""
    clock = tmp_path / "clock.json"
    clock.write_text(json.dumps({"desk_at": NOW.isoformat(), "real_at": 0, "speed": 1.0, "paused": True}))
    build(Path(__file__).resolve().parents[3])
    keys = [
        entry("desk", KEY),
        entry("same", SAME, expires_at="2027-01-01T00:00:00Z"),
        entry("wider", WIDER, books=["live", "ibkr:*"]),
        entry("mightier", MIGHTIER, scopes=["admin"]),
        entry("foreign", FOREIGN, tenant_id="other"),
    ]
    settings = {
        "FILLBOOK_ENV": "local",
        "FILLBOOK_DATABASE_URL": f"{database_url}?role=tracker_reader",
        "FILLBOOK_DESK_CLOCK": str(clock),
        "DESK_KEYS": json.dumps(keys),
    }
    return function_app("trade_tracker", settings)


def tickers(client: FlaskClient, key: str, path: str = ASKED, **headers: str) -> list[str]:
    """The tickers of an answer."""
    told: dict[str, Any] = client.get(path, headers={"Authorization": f"Bearer {key}", **headers}).get_json()
    return [trade["ticker"] for trade in told["trades"]]


@pytest.mark.usefixtures("booked")
def test_an_answer_is_made_once_for_keys_that_see_the_same_and_again_for_every_other(client: FlaskClient, db: Database) -> None:
    assert tickers(client, KEY) == ["ZZTA"]
    with db.transaction() as tx:
        for text in BEHIND_THE_TAGS:
            tx.execute(statement(text))
    assert [tickers(client, key) for key in (KEY, SAME)] == [["ZZTA"], ["ZZTA"]]
    assert [tickers(client, key) for key in (WIDER, MIGHTIER)] == [["ZZTX"], ["ZZTX"]]
    assert tickers(client, KEY, f"{ASKED}&limit=10") == ["ZZTX"]
    told = client.get(ASKED, headers={"Authorization": f"Bearer {FOREIGN}"}).get_json()
    assert told.get("trades") == [] or told["error"]["code"] == "book_unknown"


@pytest.mark.usefixtures("booked")
def test_a_change_that_a_tag_knows_of_is_shown_to_all_at_once(client: FlaskClient, db: Database) -> None:
    assert tickers(client, KEY) == tickers(client, SAME) == ["ZZTA"]
    with db.transaction() as tx:
        service.book_fills(tx, "live", [fill("ZZTC", 6, Side.BUY, "1", "10")], BOOKED_AT)
    assert sorted(tickers(client, SAME)) == sorted(tickers(client, KEY)) == ["ZZTA", "ZZTC"]


@pytest.mark.usefixtures("booked")
def test_whoever_cannot_read_gzip_is_sent_the_same_answer_plain(client: FlaskClient) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    packed = client.get(ASKED, headers={**headers, "Accept-Encoding": "gzip"})
    plain = client.get(ASKED, headers={**headers, "Accept-Encoding": "identity"})
    assert (packed.headers["Content-Encoding"], plain.headers.get("Content-Encoding")) == ("gzip", None)
    assert (packed.headers["ETag"], packed.headers["Vary"]) == (plain.headers["ETag"], plain.headers["Vary"])
    assert plain.get_json()["count"] == 1
    assert gzip.decompress(packed.data) == plain.data


@pytest.mark.usefixtures("booked")
def test_what_is_refused_is_refused_to_each_and_never_kept(client: FlaskClient) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    for _ in range(2):
        answer = client.get("/timed/trades?status=neither", headers=headers)
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "parameter_invalid")
