"""The room's tables: who may do what, which partitions there are, which index a question uses, what expires."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from fillbook.runtime.db import Call, ConstraintViolated, DatabaseFailed
from fillbook.runtime.sql import statement
from fillbook.signal.model import LANES
from fillbook.signal.quarantine import SOURCES
from fillbook.signal.receipt import instant
from fillbook.signal.retention import expire
from fillbook.signal.store import RESULTS
from tests.support.receipts import MINUTE_MS, R_TS
from tests.support.servers import WHOLE_TEMPLATE
from tests.support.signal_live import LiveDesk

D = Decimal
Query = Callable[..., list[dict[str, Any]]]
APPEND_ONLY = ("receipts", "decisions", "lane_history", "stop_history", "state_snapshots")
BOOKED = ("decisions", "ticker_states", "lane_history", "plans", "stop_history", "state_snapshots")


@pytest.fixture
def template() -> str:
    """All months, not only those that tests write to."""
    return WHOLE_TEMPLATE


def refused(open_database: Any, role: str, text: str) -> str:
    """The sqlstate with which ``role`` is refused."""
    with pytest.raises(DatabaseFailed) as caught, open_database(role).transaction() as tx:
        tx.query(statement(text))
    return caught.value.sqlstate


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_history_cannot_be_changed_by_the_worker(desk: LiveDesk, open_database: Any, table: str) -> None:
    desk.send()
    column = {"receipts": "payload", "state_snapshots": "state"}.get(table, "rule")
    assert refused(open_database, "signal_worker", f"update signal.{table} set {column} = null") == "42501"
    assert refused(open_database, "signal_worker", f"delete from signal.{table}") == "42501"
    assert refused(open_database, "signal_worker", f"truncate signal.{table}") == "42501"


@pytest.mark.parametrize("table", ["ticker_states", "plans", "quarantine"])
def test_nothing_is_deleted_by_the_worker(open_database: Any, table: str) -> None:
    assert refused(open_database, "signal_worker", f"delete from signal.{table}") == "42501"


def test_readers_see_views_only(open_database: Any, query: Query) -> None:
    views = [row["n"] for row in query("select viewname as n from pg_catalog.pg_views where schemaname = 'signal' order by 1")]
    assert set("v_board v_lane_moves v_why v_blocked_now v_coverage v_freshness v_quarantine".split()) <= set(views)
    with open_database("signal_reader").transaction(read_only=True) as tx:
        filled = [view for view in views if tx.query(statement(f"select count(*) as n from signal.{view}")) != [{"n": 0}]]
    assert filled == ["v_lanes"], "the board's columns are data"
    for table in (*APPEND_ONLY, "ticker_states", "plans", "quarantine"):
        assert refused(open_database, "signal_reader", f"select * from signal.{table}") == "42501"


def stop_of(book: str) -> dict[str, Any]:
    return {
        "book_id": book,
        "position_id": "00000000-0000-5000-8000-000000000001",
        "ts": instant(R_TS),
        "old_stop": D(1),
        "new_stop": D(2),
        "rule": "S1",
        "receipt_id": "00000000-0000-5000-8000-000000000002",
    }


@pytest.mark.parametrize(
    ("role", "book", "may"),
    [
        ("signal_worker", "live", True),
        ("signal_worker", "replay:1", False),
        ("replay_writer", "live", False),
        ("replay_writer", "replay:1", True),
    ],
)
def test_live_and_replay_writers_never_meet(open_database: Any, role: str, book: str, may: bool) -> None:
    call = Call("signal.apply", {"stops": [stop_of(book)]})
    if may:
        open_database(role).call(call)
        return
    with pytest.raises(DatabaseFailed) as caught:
        open_database(role).call(call)
    assert caught.value.sqlstate == "42501"


def test_every_table_with_a_book_is_walled_by_forced_row_level_security(query: Query) -> None:
    rows = query(
        "select c.relname as name, c.relrowsecurity and c.relforcerowsecurity as walled from pg_catalog.pg_class c "
        "join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = 'book_id' "
        "where c.relnamespace = 'signal'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition"
    )
    assert {row["name"]: row["walled"] for row in rows} == dict.fromkeys(BOOKED, True)


def test_a_state_is_written_only_over_the_version_it_was_computed_from(desk: LiveDesk, query: Query) -> None:
    desk.send()
    [row] = query("select * from signal.ticker_states")
    stale = {name: row[name] for name in ("book_id", "ticker", "lane", "rule", "reason", "badges", "state", "last_ts")}
    stale |= {"version": 2, "loaded_version": 0, "blocks": [], "state": json.loads(json.dumps(row["state"], default=str))}
    with pytest.raises(ConstraintViolated, match="ticker_states_version"):
        desk.db.call(Call("signal.apply", {"states": [stale]}))


def test_partitions_reach_to_the_end_of_2030_and_the_default_ones_stay_empty(desk: LiveDesk, query: Query) -> None:
    for parent in ("receipts", "decisions"):
        names = [
            row["n"]
            for row in query(
                "select inhrelid::regclass::text as n from pg_catalog.pg_inherits where inhparent = cast(:parent as regclass) "
                "order by 1",
                parent=f"signal.{parent}",
            )
        ]
        assert names[0] == f"signal.{parent}_2026_01"
        assert names[-2:] == [f"signal.{parent}_2030_12", f"signal.{parent}_default"]
        assert len(names) == 61
    desk.send()
    assert desk.count("signal.receipts_2026_02") == desk.count("signal.decisions_2026_02") == 1
    assert desk.count("signal.receipts_default") == desk.count("signal.decisions_default") == 0


def test_enums_are_those_of_the_code(query: Query) -> None:
    def labels(name: str) -> tuple[str, ...]:
        rows = query(f"select unnest(enum_range(null::signal.{name}))::text as label")
        return tuple(row["label"] for row in rows)

    assert labels("lane") == LANES
    assert labels("receipt_result") == RESULTS
    assert labels("quarantine_source") == SOURCES


def test_a_bucket_is_five_minutes_of_utc(desk: LiveDesk, query: Query) -> None:
    desk.send("Q", minutes=4)
    assert query("select bucket_5m from signal.v_receipts") == [{"bucket_5m": instant(R_TS)}]
    assert query("select ticker, bucket_5m, receipts, decided from signal.v_coverage") == [
        {"ticker": "ZZTB", "bucket_5m": instant(R_TS), "receipts": 1, "decided": 1}
    ]


def test_the_views_say_why_and_why_not(desk: LiveDesk, query: Query) -> None:
    entered = desk.send()
    desk.send("Q")
    desk.send(minutes=1)
    [why] = query("select * from signal.v_why")
    assert (str(why["action_id"]), why["rule"], why["reason"], why["ticker"]) == (entered.action_ids[0], "D3", "E1", "ZZTA")
    blocked = query("select rule, why from signal.v_blocked_now where ticker = 'ZZTB' order by position")
    assert [(row["rule"], row["why"]) for row in blocked] == [("G03", "gate"), ("G11", "gate"), ("G12", "gate")]
    moves = query("select from_lane, lane, left_at from signal.v_lane_moves where ticker = 'ZZTA' order by seq")
    assert moves == [
        {"from_lane": None, "lane": "enter_now", "left_at": instant(R_TS + MINUTE_MS)},
        {"from_lane": "enter_now", "lane": "just_entered", "left_at": None},
    ]
    board = query(
        "select ticker, lane, previous_lane, position_id is not null as holds, day_change_percent from signal.v_board order by 1"
    )
    assert board == [
        {"ticker": "ZZTA", "lane": "just_entered", "previous_lane": "enter_now", "holds": True, "day_change_percent": D("1.41")},
        {"ticker": "ZZTB", "lane": "flip_watch", "previous_lane": None, "holds": False, "day_change_percent": D("-0.71")},
    ]
    assert query("select ticker, last_ts from signal.v_freshness order by 1")[0]["last_ts"] == instant(R_TS + MINUTE_MS)


def test_what_has_expired_goes_and_a_clock_that_runs_ahead_is_not_believed(
    desk: LiveDesk, query: Query, open_database: Any
) -> None:
    desk.send()
    keeper = open_database("desk_keeper")
    assert expire(keeper, instant(R_TS + 20 * 365 * 86_400_000)) == {"partitions": [], "quarantine": 0}
    month = 31 * 24 * 60
    desk.send("Q", minutes=14 * month)
    done = expire(keeper, instant(R_TS + 14 * month * MINUTE_MS))
    assert done["partitions"] == ["decisions_2026_01", "decisions_2026_02", "receipts_2026_01", "receipts_2026_02"]
    assert [row["ticker"] for row in query("select ticker from signal.receipts")] == ["ZZTB"]


HOT = {
    "lock": ("select * from signal.ticker_states where book_id = 'live' and ticker = 'ZZTA' for update", "ticker_states_pk"),
    "plan": ("select * from signal.plans where book_id = 'live' and ticker = 'ZZTA' and closed_at is null", "plans_one_open"),
    "sector": (
        "select count(*) from signal.plans where book_id = 'live' and sector = 'a' and closed_at is null",
        "plans_open_by_sector",
    ),
    "known": (
        "select 1 from signal.receipts where receipt_id = '00000000-0000-5000-8000-000000000001' and ts = '2026-02-03 15:15+00'",
        "receipts_2026_02_pkey",
    ),
    "decided": (
        "select 1 from signal.decisions where book_id = 'live' and ticker = 'ZZTA' and ts = '2026-02-03 15:15+00'",
        "decisions_2026_02_pkey",
    ),
    "moves": (
        "select max(seq) from signal.lane_history where book_id = 'live' and ticker = 'ZZTA'",
        "lane_history_pk",
    ),
    "bucket": (
        """select * from signal.receipts where bucket_5m = '2026-02-03 15:15+00' and ts >= '2026-02-03 15:15+00'
              and ts < '2026-02-03 15:20+00' order by ts, ticker, received_at, receipt_id""",
        "receipts_2026_02_bucket_5m_ts_ticker_received_at_receipt_id_idx",
    ),
}


FILLED = """do $$ begin
    insert into signal.ticker_states (book_id, ticker) select 'live', 'T' || n from generate_series(1, 2000) n;
    insert into signal.plans (book_id, position_id, ticker, side, plan, stop, cycles_used, sector, opened_at, profile,
                              config_digest)
        select 'live', gen_random_uuid(), 'T' || n, 'LONG', '{}', 1, '{}', 'S' || n % 50, '2026-02-03', 'p', 'd'
          from generate_series(1, 2000) n;
    insert into signal.decisions (book_id, ticker, ts, receipt_id, version, lane, computed_lane, rule, reason, badges, blocks,
                                  intents, trace, profile, config_digest, action_ids, recorded_at)
        select 'live', 'T' || n % 100, timestamptz '2026-02-03 14:30+00' + n / 100 * interval '1 minute', gen_random_uuid(), 1,
               'watch', 'watch', 'D8', 'default', '{}', '[]', '[]', '{}', 'p', 'd', '{}', '2026-02-03'
          from generate_series(1, 4000) n;
    insert into signal.receipts (receipt_id, ticker, ts, received_at, recorded_at, payload_hash, script_version, payload,
                                 decision_input, repairs, processed_at, result)
        select receipt_id, ticker, ts, ts, ts, repeat('0', 64), '1', '{}', '[]', '{}', ts, 'decided' from signal.decisions;
    insert into signal.lane_history (book_id, ticker, seq, lane, rule, reason, badges, blocks, price, entered_at, receipt_id,
                                     action_ids)
        select book_id, ticker, row_number() over (partition by ticker order by ts), lane, rule, reason, badges, blocks, 1, ts,
               receipt_id, action_ids from signal.decisions;
    analyze signal.ticker_states, signal.plans, signal.receipts, signal.decisions, signal.lane_history;
end $$"""


@pytest.mark.parametrize("name", HOT)
def test_every_read_of_the_hot_path_uses_its_index_and_one_partition(query: Query, name: str) -> None:
    query(FILLED)
    text, index = HOT[name]
    plan = "\n".join(str(next(iter(row.values()))) for row in query(f"explain (costs off) {text}"))
    assert index in plan
    assert "Seq Scan" not in plan
    assert "Append" not in plan, "one partition only"
