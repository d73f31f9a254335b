"""The room's documents against its database functions, its words against their enums, its names against the specification."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from fillbook.mt5 import columns, deskstore, keeping, runstore, store, words
from fillbook.mt5.model import AccountState, CashOperation, SymbolFacts, Window
from fillbook.mt5.records import (
    AccountUpdate,
    AccountWork,
    CashAsked,
    CashCheckRow,
    Gap,
    Outcome,
    Skipped,
    Unchanged,
    Wanted,
)
from fillbook.mt5.revisions import Missed
from fillbook.mt5.runrecords import Shard, Totals
from fillbook.runtime.db import Call
from tests.support.mt5_world import deal, info, link, trade, version

ROOM = Path(words.__file__).parent
SQL = "\n".join(path.read_text("utf-8") for path in sorted((ROOM.parents[2] / "infra/database/migrations").glob("*.sql")))
NOW = datetime(2026, 3, 4, tzinfo=UTC)
NOBODY = "00000000-0000-0000-0000-000000000000"


def function(name: str) -> str:
    """The body of a function as the last migration that made it wrote it."""
    bodies = re.findall(rf"create (?:or replace )?function mt5\.{name}\(.*?\$\$(.*?)\$\$", SQL, re.DOTALL)
    assert bodies, name
    return str(bodies[-1])


def keys_read(name: str) -> set[str]:
    """The keys of its document that a function reads."""
    return set(re.findall(r"document->>?'(\w+)'", function(name)))


def record_set(name: str, source: str) -> set[str]:
    """Columns of all record sets that a function reads out of one part of its document."""
    pattern = rf"jsonb_to_record(?:set)?\({re.escape(source)}\) as \w+\(\s*(.*?)\)"
    found = [" ".join(text.split()) for text in re.findall(pattern, function(name), re.DOTALL)]
    assert found, (name, source)
    return {part.split()[0] for text in found for part in text.split(", ")}


OUTCOME = Outcome(
    log_id=NOBODY,
    sync_type=words.SyncType.MANUAL,
    started_at=NOW,
    completed_at=NOW,
    status=words.SyncStatus.SUCCESS,
    duration_ms=1,
)
FACTS = SymbolFacts(server="S", symbol="X", symbol_norm="X", contract_size=Decimal(1), digits=2, currency_profit="USD")
GAP = Gap(from_msc=1, to_msc=2, opened_at=NOW, cause=words.GapCause.CASH)
UPDATE = AccountUpdate(
    info=info(),
    info_at=NOW,
    positions_at=NOW,
    last_sync_at=NOW,
    last_successful_sync_at=NOW,
    sync_failure_count=0,
    last_error_code=None,
    last_connection_error=None,
    connection_status=words.ConnectionStatus.CONNECTED,
)
WORK = AccountWork(
    account_id=NOBODY,
    lease_token=1,
    run_id=NOBODY,
    account=UPDATE,
    state=AccountState(next_due_at=NOW, lease_token=1),
    deals=[version(deal(1, 77))],
    trades=[trade(NOBODY, 77)],
    trades_removed=[(1, 1)],
    cash_operations=[
        CashOperation(
            account_id=NOBODY, deal_ticket=1, kind=words.CashKind.OTHER, amount=Decimal(1), occurred_at=NOW, comment=None
        )
    ],
    cash_check=CashCheckRow(checked_at=NOW, balance=Decimal(1), expected=None, gap=None, result=words.CashResult.OK),
    missed=[Missed(deal_ticket=1, first_missed_at=NOW, reads=1)],
    gaps_opened=[GAP],
    gaps_closed=[GAP],
    symbols=[FACTS],
    outcome=OUTCOME,
)
ROWS = (
    "deals",
    "trades",
    "trades_removed",
    "cash_operations",
    "cash_check",
    "missed",
    "gaps_opened",
    "gaps_closed",
    "symbols",
    "account",
    "state",
)


@pytest.mark.parametrize("key", ROWS)
def test_a_row_has_exactly_the_columns_its_record_set_reads(key: str) -> None:
    part = store.apply_document(WORK, NOW)[key]
    row = part[0] if isinstance(part, list) else part
    assert set(row) == record_set("apply_account", f"document->'{key}'")


def test_an_accounts_money_has_exactly_the_columns_it_is_read_with() -> None:
    money = store.apply_document(WORK, NOW)["account"]["info"]
    text = re.search(r"coalesce\(r\.info, '\{\}'\)\) as i\((.*?)\)\n", function("apply_account"), re.DOTALL)
    assert text is not None
    assert set(money) == {part.split()[0] for part in " ".join(text[1].split()).split(", ")}


def test_an_outcome_has_exactly_the_columns_it_is_logged_with() -> None:
    assert set(columns.outcome_row(NOBODY, OUTCOME)) == record_set("log_outcomes", "outcomes")


class Spy:
    """A database and its transaction in one: keeps the calls, and stops the room where an answer would be read."""

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {}

    def call(self, call: Call) -> list[Any]:
        self.documents[call.function.removeprefix("mt5.")] = call.document
        raise LookupError

    finish = call

    def run(self, work: Callable[[Any], Any], **_: Any) -> Any:
        return work(self)


SHARD = Shard(run_id=NOBODY, shard_no=0, instance_key="default", account_ids=(NOBODY,))
CALLS: dict[str, Callable[[Any], Any]] = {
    "claim": lambda spy: store.claim(spy, NOBODY, [NOBODY], lease_seconds=1),
    "claim_due": lambda spy: store.claim_due(spy, NOBODY, due_before=NOW, shards=(0, 1), rows_max=1, lease_seconds=1),
    "claim_by_hand": lambda spy: store.claim_by_hand(
        spy, NOBODY, run_id=NOBODY, tenant_id=None, now=NOW, lease_seconds=1, cooldown_seconds=1
    ),
    "load_account": lambda spy: store.load_account(
        spy, NOBODY, 1, Wanted(cash=CashAsked(at_msc=1), windows=[Window(from_msc=1, to_msc=2)])
    ),
    "apply_account": lambda spy: store.apply_account(spy, WORK, NOW),
    "check_sums": lambda spy: store.check_sums(spy, NOBODY, 1),
    "flush_unchanged": lambda spy: store.flush_unchanged(
        spy, NOBODY, [Unchanged(account_id=NOBODY, lease_token=1, next_due_at=NOW, outcome=OUTCOME)], NOW
    ),
    "skip_accounts": lambda spy: store.skip_accounts(spy, NOBODY, [Skipped(account_id=NOBODY, outcome=OUTCOME)], NOW),
    "open_run": lambda spy: runstore.open_run(spy, NOBODY, sync_type=words.SyncType.MANUAL, requested_by="x", now=NOW),
    "close_run": lambda spy: runstore.close_run(spy, NOBODY, words.RunStatus.FINISHED, Totals(), NOW),
    "add_shards": lambda spy: runstore.add_shards(spy, NOBODY, [SHARD], mode=words.RunMode.JOB, total_accounts=1),
    "begin_shard": lambda spy: runstore.begin_shard(spy, NOBODY, 0, 0, NOW),
    "leave_shard": lambda spy: runstore.close_shard(spy, SHARD, Totals(), NOW),
    "link_account": lambda spy: deskstore.link_account(spy, link(), NOW),
    "deactivate_account": lambda spy: deskstore.deactivate_account(spy, NOBODY, NOW),
    "rename_account": lambda spy: deskstore.rename_account(spy, NOBODY, "x", NOW),
    "set_backfill_target": lambda spy: deskstore.set_backfill_target(spy, NOBODY, None, NOW),
    "set_symbol": lambda spy: deskstore.set_symbol(spy, FACTS, NOW),
    "confirm_clock": lambda spy: deskstore.confirm_clock(spy, "S", zone_name="UTC", shift_minutes=0),
    "remove_account": lambda spy: deskstore.remove_account(spy, NOBODY, "desk", "x", NOW),
    "make_log_partitions": lambda spy: keeping.maintain(spy, NOW),
}
ROWS_OF = {"flush_unchanged": "document->'rows'", "skip_accounts": "document->'rows'", "add_shards": "document->'shards'"}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_says_exactly_what_its_function_reads(name: str) -> None:
    spy = Spy()
    with pytest.raises(LookupError):
        CALLS[name](spy)
    document = spy.documents[name]
    assert set(document) == keys_read(name)
    if name in ROWS_OF:
        (row,) = document[ROWS_OF[name].split("'")[1]]
        logged = set(columns.outcome_row(NOBODY, OUTCOME)) if name != "add_shards" else set()
        assert set(row) - logged == record_set(name, ROWS_OF[name]) - logged
    if name == "load_account":
        assert set(document["cash"]) == set(re.findall(r"asked->>?'(\w+)'", function("cash_sums")))
        assert set(document["windows"][0]) == record_set(name, "document->'windows'")


def test_batches_of_retention_say_exactly_what_their_functions_read() -> None:
    class Answers(Spy):
        def finish(self, call: Call) -> list[Any]:
            self.documents[call.function.removeprefix("mt5.")] = call.document
            ahead = {"make_log_partitions": {"made": 0, "astray": 0}, "drop_log_partitions": {"dropped": 0}}
            return [ahead.get(call.function.removeprefix("mt5."), {"last": None} if "accounts" in call.function else {})]

    spy: Any = Answers()
    keeping.maintain(spy, NOW)
    for name in ("archive_failures", "drop_log_partitions", "purge_runs", "purge_accounts"):
        assert set(spy.documents[name]) == keys_read(name), name


ENUMS: dict[str, type[StrEnum]] = {
    "contract_kind": words.ContractKind,
    "epoch_clock": words.EpochClock,
    "zone_state": words.ZoneState,
    "cash_bucket": words.CashBucket,
    "connection_status": words.ConnectionStatus,
    "backfill_state": words.BackfillState,
    "cash_state": words.CashState,
    "trade_side": words.TradeSide,
    "trade_status": words.TradeStatus,
    "identity_quality": words.IdentityQuality,
    "ledger_state": words.LedgerState,
    "cash_kind": words.CashKind,
    "cash_result": words.CashResult,
    "gap_cause": words.GapCause,
    "sync_type": words.SyncType,
    "run_mode": words.RunMode,
    "run_status": words.RunStatus,
    "shard_state": words.ShardState,
    "sync_status": words.SyncStatus,
    "breaker_state": words.BreakerState,
}


def test_an_enum_of_the_database_lists_the_words_of_python(query: Callable[..., list[dict[str, Any]]]) -> None:
    rows = query(
        "select t.typname::text as name, array_agg(e.enumlabel::text order by e.enumsortorder) as labels from pg_type t "
        "join pg_enum e on e.enumtypid = t.oid where t.typnamespace = 'mt5'::regnamespace group by 1"
    )
    assert {row["name"]: row["labels"] for row in rows} == {name: [word.value for word in kind] for name, kind in ENUMS.items()}


NAMES = """
service_instances_pk service_instances_sessions_ck service_instances_rate_ck servers_pk symbols_pk symbols_server_fk
trading_accounts_pk trading_accounts_identity_uq trading_accounts_tenant_uq trading_accounts_book_uq
trading_accounts_server_fk trading_accounts_instance_fk trading_accounts_active_ix trading_accounts_platform_ck
trading_accounts_login_ck trading_accounts_mode_ck trading_accounts_failures_ck trading_accounts_error_ck
account_sync_state_pk account_sync_state_account_fk account_sync_state_floor_ck account_sync_state_due_ix
account_sync_state_told_ck account_sync_state_sums_ck deals_pk
deals_account_fk deals_ids_ck deals_close_by_ix deals_entry_ck deals_volume_ck deals_position_ix deals_time_ix trades_pk
trades_id_uq trades_account_fk trades_live_ix trades_closed_ix trades_open_volume_ck trades_closed_ck trades_entry_ck
cash_operations_pk cash_operations_account_fk cash_checks_pk cash_checks_account_fk history_gaps_pk
history_gaps_account_fk sync_runs_alive_ix sync_runs_pk sync_runs_slot_uq sync_shards_pk sync_shards_run_fk sync_shards_size_ck
sync_logs_pk sync_logs_account_fk sync_logs_duration_ck sync_logs_recent_ix sync_failures_archive_pk
sync_failures_archive_account_fk sync_hours_pk sync_hours_account_fk sync_hours_sum_ck service_breakers_pk
rate_tokens_pk session_slots_pk missed_deals_pk missed_deals_account_fk missed_deals_reads_ck account_removals_pk
trades_account_page_ix trades_tenant_page_ix
"""


def test_constraints_and_indexes_have_the_names_of_the_specification(query: Callable[..., list[dict[str, Any]]]) -> None:
    rows = query(
        """
        select conname::text as name from pg_constraint k join pg_class c on c.oid = k.conrelid
         where c.relnamespace = 'mt5'::regnamespace and not c.relispartition and k.contype <> 't'
        union
        select c.relname::text from pg_class c where c.relnamespace = 'mt5'::regnamespace and c.relkind in ('i', 'I')
           and not c.relispartition
        """
    )
    assert sorted(row["name"] for row in rows) == sorted(NAMES.split())


def test_hot_tables_leave_room_on_their_pages(query: Callable[..., list[dict[str, Any]]]) -> None:
    rows = query(
        "select relname::text as name, reloptions::text as options from pg_class "
        "where relnamespace = 'mt5'::regnamespace and relkind = 'r' and reloptions is not null"
    )
    assert {row["name"]: row["options"] for row in rows} == {
        "trading_accounts": "{fillfactor=80}",
        "account_sync_state": "{fillfactor=70}",
        "trades": "{fillfactor=80}",
    }


def test_an_account_knows_its_shard(query: Callable[..., list[dict[str, Any]]]) -> None:
    (row,) = query(
        "select generation_expression as made from information_schema.columns "
        "where table_schema = 'mt5' and table_name = 'trading_accounts' and column_name = 'shard'"
    )
    assert "('x'::text || \"left\"((id)::text, 4))" in row["made"]


def test_statements_touch_only_tables_of_the_room() -> None:
    text = (ROOM / "queries.sql").read_text("utf-8")
    code = "\n".join(line.partition("--")[0] for line in text.splitlines())
    assert {schema for schema, _ in re.findall(r"\b(?:from|join|into|update)\s+(\w+)\.(\w+)", code)} == {"mt5"}
