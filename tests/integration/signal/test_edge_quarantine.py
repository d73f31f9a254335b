"""Refused bodies: kept once, counted after that, shown to an operator, sent again when fixed (scenarios 5 and 45)."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest

from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.signal import quarantine
from fillbook.signal.__main__ import main
from fillbook.signal.quarantine import RefusedBody, listed, put_aside, redrive, resolve, shown
from fillbook.signal.receipt import instant
from fillbook.signal.retention import expire
from tests.support.doors import KeptMessages
from tests.support.receipts import R_TS, body, encoded, text_of
from tests.support.signal_live import LiveDesk
from tests.support.topics import topics

Query = Callable[..., list[dict[str, Any]]]
NOW = instant(R_TS + 61_000)
AT_ONCE, ROUNDS = 8, 40
BROKEN = text_of("R").encode()[:1500]


@pytest.fixture
def worker_db(open_database: Any) -> Database:
    db: Database = open_database("signal_worker")
    return db


@pytest.fixture
def operator_db(open_database: Any) -> Database:
    db: Database = open_database("desk_operator")
    return db


def refused(data: bytes, reason: str = "json_invalid", **more: Any) -> RefusedBody:
    return RefusedBody(source="ingest", reason=reason, body=data, **more)


def the_row(query: Query) -> dict[str, Any]:
    [row] = query("select * from signal.quarantine")
    return row


def test_scenario_5_the_same_body_twice_is_one_row_counted_twice(worker_db: Database, query: Query) -> None:
    assert [put_aside(worker_db, refused(BROKEN), NOW + timedelta(seconds=second)) for second in (0, 5)] == [1, 2]
    row = the_row(query)
    assert (row["count"], row["first_seen_at"], row["last_seen_at"]) == (2, NOW, NOW + timedelta(seconds=5))
    assert (row["source"], row["reason"], row["body"], row["body_bytes"]) == ("ingest", "json_invalid", BROKEN, 1500)


def test_the_same_bodies_from_eight_at_once_are_kept_once_and_counted_eight_times(open_database: Any, query: Query) -> None:
    """Neither of the table's two constraints makes a fault of whoever is a moment later."""
    db: Database = open_database("signal_worker", pool_size=AT_ONCE)
    together = Barrier(AT_ONCE)

    def put(number: int) -> int:
        together.wait(60)
        return put_aside(db, refused(BROKEN + b"%d" % number), NOW)

    with ThreadPoolExecutor(AT_ONCE) as crowd:
        for number in range(ROUNDS):
            assert sorted(crowd.map(put, [number] * AT_ONCE)) == list(range(1, AT_ONCE + 1))
    assert query("select count, count(*) as rows from signal.quarantine group by 1") == [{"count": AT_ONCE, "rows": ROUNDS}]


def test_another_reason_for_the_same_body_is_another_row(worker_db: Database, query: Query) -> None:
    put_aside(worker_db, refused(BROKEN), NOW)
    put_aside(worker_db, refused(BROKEN, "text_invalid"), NOW)
    assert len(query("select 1 as one from signal.quarantine")) == 2


def test_beyond_the_days_limit_bodies_are_only_counted(
    worker_db: Database, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "KEPT_A_DAY_MAX", 3)
    for number in range(5):
        put_aside(worker_db, refused(b"%d" % number, field="price", ticker="ZZTA"), NOW)
    put_aside(worker_db, refused(b"0"), NOW)
    put_aside(worker_db, refused(b"other", "type"), NOW)
    rows = query("select reason, body is null as only_counted, count from signal.quarantine order by reason, 2, 3")
    assert [tuple(row.values()) for row in rows] == [
        ("json_invalid", False, 1),
        ("json_invalid", False, 1),
        ("json_invalid", False, 2),
        ("json_invalid", True, 2),
        ("type", True, 1),
    ]
    put_aside(worker_db, refused(b"tomorrow"), NOW + timedelta(days=1))
    assert len(query("select 1 as one from signal.quarantine where body is not null")) == 4


def test_a_huge_body_is_kept_up_to_the_limit_and_hostile_attributes_are_cut(worker_db: Database, query: Query) -> None:
    put_aside(worker_db, refused(b"x" * 200_000, field="a\x00b\ud800" + "c" * 999, ticker="\x00"), NOW)
    row = the_row(query)
    assert (len(row["body"]), row["body_bytes"]) == (65_536, 200_000)
    assert row["field"].startswith("ab?c")
    assert (len(row["field"]), row["ticker"]) == (256, None)


def test_scenario_45_a_fixed_body_is_redriven_and_judged_like_any_receipt(
    desk: LiveDesk, operator_db: Database, query: Query
) -> None:
    """Within 900 s it is decided, later it is stale; the row is resolved with the receipt's id."""
    put_aside(desk.db, refused(BROKEN), NOW)
    row, sent = the_row(query), KeptMessages()
    done = redrive(operator_db, row["quarantine_id"], NOW, publisher=sent, body=text_of("R").encode())
    [message] = sent.signals
    assert (message.ordering_key, message.attributes["receipt_id"]) == ("ZZTA", done.receipt_id)
    assert desk.take(body(), now=instant(R_TS + 60_000) + timedelta(seconds=900)).result == "decided"
    assert the_row(query)["resolution"] == done.receipt_id
    assert the_row(query)["resolved_at"] == NOW
    assert listed(operator_db) == []
    put_aside(desk.db, refused(encoded(body("Q", sl="x")), "type", field="sl"), NOW)
    [waiting] = listed(operator_db)
    redrive(operator_db, waiting["quarantine_id"], NOW, publisher=sent, body=text_of("Q").encode())
    assert desk.take(body("Q"), age_seconds=901).result == "stale"


def test_a_body_that_was_given_up_is_redriven_as_it_is(worker_db: Database, operator_db: Database, query: Query) -> None:
    put_aside(worker_db, RefusedBody(source="dead_letter", reason="dead_letter", body=text_of("R").encode()), NOW)
    sent = KeptMessages()
    redrive(operator_db, the_row(query)["quarantine_id"], NOW, publisher=sent)
    assert len(sent.signals) == 1


def test_what_cannot_be_redriven_says_why_and_stays(
    worker_db: Database, operator_db: Database, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = KeptMessages()
    put_aside(worker_db, refused(BROKEN), NOW)
    known = the_row(query)["quarantine_id"]
    for quarantine_id, now, fixed, reason in (
        (uuid4(), NOW, None, "quarantine_unknown"),
        (known, NOW, None, "json_invalid"),
        (known, NOW, b"{}", "ticker_missing"),
        (known, NOW + timedelta(days=8), text_of("R").encode(), "ts_too_old"),
    ):
        with pytest.raises(Rejected, match=reason):
            redrive(operator_db, quarantine_id, now, publisher=sent, body=fixed)
    sent.failure = Unavailable("pubsub_unavailable")
    with pytest.raises(Unavailable):
        redrive(operator_db, known, NOW, publisher=sent, body=text_of("R").encode())
    assert (sent.signals, the_row(query)["resolved_at"]) == ([], None)
    resolve(operator_db, known, "the sender's fault", NOW)
    with pytest.raises(Rejected, match="already_resolved"):
        redrive(operator_db, known, NOW, publisher=KeptMessages(), body=text_of("R").encode())
    monkeypatch.setattr(quarantine, "KEPT_A_DAY_MAX", 0)
    put_aside(worker_db, refused(b"many", "type"), NOW)
    [counted] = listed(operator_db)
    with pytest.raises(Rejected, match="body_not_kept"):
        redrive(operator_db, counted["quarantine_id"], NOW, publisher=sent)


def test_a_resolved_body_that_comes_again_is_unresolved(worker_db: Database, operator_db: Database, query: Query) -> None:
    put_aside(worker_db, refused(BROKEN), NOW)
    resolve(operator_db, the_row(query)["quarantine_id"], "seen", NOW)
    put_aside(worker_db, refused(BROKEN), NOW)
    assert (the_row(query)["count"], the_row(query)["resolved_at"]) == (2, None)


def test_refused_bodies_are_forgotten_after_ninety_days(desk: LiveDesk, open_database: Any, query: Query) -> None:
    desk.send()
    put_aside(desk.db, refused(b"old"), NOW - timedelta(days=91))
    put_aside(desk.db, refused(b"young"), NOW - timedelta(days=89))
    assert expire(open_database("desk_keeper"), NOW)["quarantine"] == 1
    assert the_row(query)["body"] == b"young"


@pytest.fixture
def operator(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The environment of an operator's verb; Pub/Sub is a stand-in."""
    clock = {"desk_at": NOW.isoformat(), "real_at": 0, "speed": 1, "paused": True}
    (tmp_path / "clock.json").write_text(json.dumps(clock))
    with topics() as published:
        for name, value in {
            "FILLBOOK_ENV": "local",
            "FILLBOOK_DATABASE_URL": f"{database_url}?role=desk_operator",
            "FILLBOOK_PROJECT": "fillbook-local",
            "FILLBOOK_LOCAL_URL": published.url,
            "FILLBOOK_DESK_CLOCK": str(tmp_path / "clock.json"),
        }.items():
            monkeypatch.setenv(name, value)
        yield published


def test_an_operator_sees_fixes_and_resolves(
    operator: Any, worker_db: Database, operator_db: Database, query: Query, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_aside(worker_db, refused(BROKEN, ticker="ZZTA"), NOW)
    put_aside(worker_db, refused(b"junk", "text_invalid"), NOW)
    assert main(["quarantine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    broken = next(line.split()[0] for line in lines if "json_invalid ZZTA" in line)
    junk = next(line.split()[0] for line in lines if "text_invalid" in line)
    assert main(["quarantine", broken]) == 0
    assert BROKEN.decode()[:200] in capsys.readouterr().out
    assert main(["redrive", broken]) == 1
    assert "json_invalid" in capsys.readouterr().err
    assert main(["redrive", broken, "--body", str(tmp_path / "missing")]) == 2
    (tmp_path / "fixed.json").write_bytes(text_of("R").encode())
    assert main(["redrive", broken, "--body", str(tmp_path / "fixed.json")]) == 0
    receipt_id = json.loads(capsys.readouterr().out)["receipt_id"]
    assert shown(operator_db, UUID(broken))["resolution"] == receipt_id
    assert len(operator.data("signals")) == 1
    assert main(["quarantine", junk, "--resolve", "noise"]) == 0
    assert main(["quarantine", "--all", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()[1:]]
    assert {row["resolution"] for row in told} == {receipt_id, "noise"}
    operator.behaviour = 500
    put_aside(worker_db, refused(BROKEN), NOW)
    assert main(["redrive", broken, "--body", str(tmp_path / "fixed.json")]) == 3


def test_without_settings_the_verbs_say_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("FILLBOOK_ENV", "FILLBOOK_DATABASE_URL", "FILLBOOK_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    assert main(["quarantine"]) == 2
    assert "FILLBOOK_PROJECT" in capsys.readouterr().err


def test_the_clock_of_a_refusal_is_the_desks(worker_db: Database, query: Query) -> None:
    clock = FixedClock(datetime.fromisoformat("2026-07-03T10:00:00+00:00"))
    put_aside(worker_db, refused(BROKEN), clock.now())
    assert the_row(query)["first_seen_at"] == clock.now()
