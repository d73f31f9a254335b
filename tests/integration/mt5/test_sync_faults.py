"""What goes wrong with one account: statuses, counters, texts, due times, events; and that nothing wrong is ever stored."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fillbook.mt5.model import Snapshot, Target
from fillbook.mt5.records import NEVER, StaleLease
from fillbook.mt5.words import ContractKind, SyncStatus
from fillbook.runtime import clock
from fillbook.runtime.sql import statement
from fillbook.runtime.tx import Tx
from fillbook.runtime.wire import Wire
from tests.integration.mt5.test_sync_scenarios import both
from tests.support.mt5_syncing import Syncing, traded

V1, V0 = ContractKind.V1, ContractKind.V0


def ready(syncing: Syncing, kind: ContractKind = V1) -> str:
    """An account that was synced once."""
    account = syncing.account()
    syncing.speak(kind)
    traded(syncing)
    syncing.good(account)
    return account


@both
def test_4_info_and_history_are_stored_when_positions_fail(syncing: Syncing, kind: ContractKind) -> None:
    account = ready(syncing, kind)
    succeeded_at = syncing.row(account)["last_successful_sync_at"]
    syncing.does("a", "close", position="two", price="1.10100")
    if kind is V1:
        syncing.fake.fault("incomplete", part="positions", endpoint="snapshot")
    else:
        syncing.fake.fault("status", endpoint="positions", code=503)
    (worked,) = syncing.run(account)
    row = syncing.row(account)
    assert (worked.status, worked.has_answered) == (SyncStatus.PARTIAL, True)
    assert row["sync_failure_count"] == 1
    assert row["last_successful_sync_at"] == succeeded_at
    assert row["last_sync_at"] == syncing.now
    assert [one["status"] for one in syncing.trades(account)] == ["closed", "closed"]
    assert Decimal(syncing.fake.truth("a")["balance"]) == Decimal(str(row["balance"]))
    code, attempts = ("incomplete", 1) if kind is V1 else ("service_unavailable", 2)
    log = syncing.logs(account)[-1]
    assert (log["status"], log["error_code"], log["attempts"]) == ("partial", code, attempts)
    assert log["error_message"].startswith("Failed to fetch positions: ")
    assert log["steps"]["positions"]["outcome"] == "failed"
    assert log["steps"]["history"]["outcome"] == "ok"


def test_5_nothing_is_stored_when_every_step_times_out_and_all_is_well_after(syncing: Syncing) -> None:
    account = ready(syncing)
    before = syncing.versions()
    syncing.service = _impatient(syncing)
    syncing.fake.fault("hang")
    (worked,) = syncing.run(account)
    assert (worked.status, worked.error_code, worked.attempts) == (SyncStatus.FAILED, "timeout", 2)
    assert worked.error_message == (
        "Failed to fetch account info: Connection timeout; Failed to fetch positions: Connection timeout; "
        "Failed to fetch history: Connection timeout"
    )
    row = syncing.row(account)
    assert (row["sync_failure_count"], row["connection_status"]) == (1, "error")
    assert syncing.versions() == before
    syncing.fake.clear_faults()
    syncing.good(account)
    row = syncing.row(account)
    assert (row["sync_failure_count"], row["last_connection_error"], row["connection_status"]) == (0, None, "connected")


def _impatient(syncing: Syncing) -> Any:
    return syncing.service_of(request_seconds=1.0)


class _Broken:
    """A service object whose code breaks on one account."""

    def __init__(self, inner: Any, login: int) -> None:
        self._inner, self._login = inner, login

    def snapshot(self, target: Target, **options: Any) -> Snapshot:
        if target.login == self._login:
            clock.sleep(0.03)
            raise ZeroDivisionError
        return self._inner.snapshot(target, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_6_a_crash_is_its_own_accounts_outcome(syncing: Syncing) -> None:
    accounts = [syncing.account(name) for name in "abc"]
    for name in "abc":
        syncing.does(name, "deposit", amount="10.00")
    syncing.later(minutes=5)
    sync = syncing.sync_of(service=_Broken(syncing.service, 10_000_002))
    worked = [syncing.one(sync, claimed) for claimed in syncing.claimed(accounts)]
    assert [one.status for one in worked] == [SyncStatus.SUCCESS, SyncStatus.FAILED, SyncStatus.SUCCESS]
    log = syncing.logs(accounts[1])[-1]
    assert (log["error_code"], log["error_message"]) == ("internal", "Internal error")
    assert log["duration_ms"] >= 30
    assert [type(error) for error in syncing.crashes] == [ZeroDivisionError]
    assert syncing.row(accounts[1])["sync_failure_count"] == 1


@both
def test_7_a_dropped_call_is_tried_once_again_and_a_refused_key_never(syncing: Syncing, kind: ContractKind) -> None:
    account = ready(syncing, kind)
    syncing.service = _impatient(syncing)
    endpoint = "snapshot" if kind is V1 else "info"
    syncing.fake.fault("hang", endpoint=endpoint, count=1)
    worked = syncing.good(account)
    assert worked.attempts == 2
    syncing.fake.forget_calls()
    syncing.fake.fault("status", code=401)
    (worked,) = syncing.run(account)
    assert (worked.status, worked.error_code, worked.attempts) == (SyncStatus.FAILED, "service_unauthorized", 1)
    assert len(syncing.fake.calls()) == 1


@both
def test_8_a_pause_that_the_service_asks_for_is_kept(syncing: Syncing, kind: ContractKind) -> None:
    account = ready(syncing, kind)
    endpoint = "snapshot" if kind is V1 else "info"
    syncing.fake.fault("status", endpoint=endpoint, code=429, retry_after=2, count=1)
    syncing.waits.clear()
    worked = syncing.good(account)
    assert worked.attempts == 2
    assert max(syncing.waits) >= 2
    assert syncing.row(account)["sync_failure_count"] == 0


def test_a_pause_that_is_too_long_defers_the_account_and_notes_nothing(syncing: Syncing) -> None:
    account = ready(syncing)
    before, row = syncing.versions(), syncing.row(account)
    syncing.fake.fault("status", endpoint="deals", code=429, retry_after=300)
    (worked,) = syncing.run(account)
    assert (worked.status, worked.error_code) == (None, "rate_limited")
    assert syncing.versions() == before
    after = syncing.row(account)
    assert {name for name in row if row[name] != after[name]} == {"lease_run_id", "lease_token", "lease_until"}
    assert len(syncing.logs(account)) == 1


@both
def test_21_a_list_that_is_not_whole_closes_nothing(syncing: Syncing, kind: ContractKind) -> None:
    account = ready(syncing, kind)
    syncing.fake.fault("error_as_empty", what="positions")
    (worked,) = syncing.run(account)
    assert (worked.status, worked.error_code) == (SyncStatus.PARTIAL, "incomplete")
    assert [one["status"] for one in syncing.trades(account)] == ["closed", "open"]
    assert syncing.events() == ["contract_error_found"]


@pytest.mark.parametrize(
    ("kind", "endpoint"), [(V1, "snapshot"), (V1, "deals"), (V1, "symbols"), (V0, "info"), (V0, "positions"), (V0, "history")]
)
def test_22_an_answer_about_another_account_discards_everything(syncing: Syncing, kind: ContractKind, endpoint: str) -> None:
    account = ready(syncing, kind)
    syncing.does("a", "open", symbol="XAUUSD", side="buy", volume="0.10", price="4010.00")
    before, state = syncing.versions(), syncing.row(account)
    syncing.fake.fault("wrong_login", endpoint=endpoint, login=99)
    (worked,) = syncing.run(account)
    assert (worked.status, worked.error_code, worked.attempts) == (SyncStatus.FAILED, "identity_mismatch", 1)
    assert syncing.versions() == before
    row = syncing.row(account)
    for name in ("balance", "equity", "history_until_msc", "info_at", "last_successful_sync_at"):
        assert row[name] == state[name]
    assert syncing.events() == ["identity_mismatch_found"]
    syncing.fake.clear_faults()
    syncing.good(account)
    syncing.check_truth(account, "a")


def test_failures_in_a_row_are_waited_out_and_told_at_three_and_at_each_doubling(syncing: Syncing) -> None:
    account = ready(syncing)
    syncing.fake.fault("status", code=500)
    waits, told = [], []
    for _ in range(6):
        syncing.run(account)
        (row,) = syncing.query("select next_due_at from mt5.account_sync_state")
        waits.append((row["next_due_at"] - syncing.now.replace(second=0)).total_seconds() / 60)
        told.append(syncing.events().count("sync_failed"))
    steps = (5, 10, 20, 40, 60, 60)
    assert all(step * 0.9 - 5 <= wait <= step * 1.1 for step, wait in zip(steps, waits, strict=True)), waits
    assert told == [0, 0, 1, 1, 1, 2]
    syncing.fake.clear_faults()
    syncing.good(account)
    assert syncing.events() == ["sync_failed", "sync_failed", "sync_recovered"]
    syncing.good(account)
    assert syncing.events().count("sync_recovered") == 1


def test_three_refused_logins_stop_the_account_until_its_credentials_change(syncing: Syncing) -> None:
    account = ready(syncing)
    syncing.fake.fault("auth_failed")
    for _ in range(3):
        (worked,) = syncing.run(account)
        assert worked.error_code == "auth_failed"
    row = syncing.row(account)
    assert (row["connection_status"], row["auth_failure_count"], row["next_due_at"]) == ("needs_reauth", 3, "infinity")
    assert syncing.events() == ["sync_failed", "account_needs_reauth"]
    assert NEVER.year == 9999
    syncing.fake.clear_faults()
    syncing.good(account)
    row = syncing.row(account)
    assert (row["connection_status"], row["auth_failure_count"]) == ("connected", 0)


def test_a_degraded_service_is_asked_for_info_and_positions_alone(syncing: Syncing) -> None:
    account = ready(syncing)
    syncing.degraded = frozenset({"default"})
    syncing.fake.forget_calls()
    (worked,) = syncing.run(account)
    assert (worked.status, worked.error_code, worked.failures) == (SyncStatus.PARTIAL, "service_degraded", ())
    assert {call.endpoint for call in syncing.fake.calls()} == {"snapshot"}
    row = syncing.row(account)
    assert (row["sync_failure_count"], row["connection_status"]) == (0, "degraded")
    syncing.degraded = frozenset()
    syncing.good(account)


def test_a_wrong_server_clock_is_told_at_the_third_miss_and_changes_nothing(syncing: Syncing) -> None:
    account = ready(syncing)
    syncing.fake.fault("clock_offset", minutes=60)
    for _ in range(3):
        syncing.run(account)
    (rule,) = syncing.query("select * from mt5.servers")
    assert (rule["zone_name"], rule["zone_state"], rule["zone_mismatch_polls"]) == ("America/New_York", "mismatch", 3)
    assert syncing.events().count("clock_rule_mismatch_found") == 1


def test_a_stale_tokens_write_is_refused(syncing: Syncing) -> None:
    account = ready(syncing)
    syncing.does("a", "close", position="two", price="1.10100")
    syncing.later(minutes=5)
    sync = syncing.sync_of()
    (claimed,) = syncing.claimed([account])
    close = sync.fetch(claimed, clock.monotonic() + 60)  # tries, and writes
    assert close().status is SyncStatus.SUCCESS
    with syncing.db.transaction() as tx:
        tx.execute(statement("update mt5.account_sync_state set lease_until = null, last_run_id = null"))
    other = syncing.sync_of()
    (mine,) = syncing.claimed([account])
    before = syncing.versions()
    late = other.fetch(claimed, clock.monotonic() + 60)()
    assert (late.status, late.error_code) == (SyncStatus.SKIPPED, "leased")
    assert syncing.versions() == before
    assert StaleLease(account).reason == "stale_lease"
    assert syncing.one(other, mine).status is SyncStatus.SUCCESS


class _Cut(BaseException):
    """The process ends here."""


def test_a_process_killed_at_any_message_leaves_nothing_half_written(syncing: Syncing, monkeypatch: pytest.MonkeyPatch) -> None:
    account = syncing.account(commission_per_lot="1.00")
    traded(syncing)
    left = [-1]
    exchange = Tx._exchange

    def cut(tx: Tx, *args: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise _Cut
        return exchange(tx, *args, **options)

    monkeypatch.setattr(Tx, "_exchange", cut)
    killed = 0
    for number in range(1, 40):
        sync = syncing.sync_of()
        (claimed,) = syncing.claimed([account])
        before = syncing.versions()
        left[0] = number
        try:
            ended = sync.fetch(claimed, clock.monotonic() + 60)()
        except _Cut:
            killed += 1
            assert syncing.versions() == before
            assert syncing.logs(account) == []
            with syncing.db.transaction() as tx:
                tx.execute(statement("update mt5.account_sync_state set lease_until = null, last_run_id = null"))
            continue
        assert ended.status is SyncStatus.SUCCESS
        break
    left[0] = -1
    assert killed >= 5
    syncing.check_truth(account, "a")
    syncing.check_money(account)
    syncing.check_lots(account)
    assert len(syncing.logs(account)) == 1


def test_unchanged_accounts_share_a_statement_and_ten_new_deals_cost_few(
    syncing: Syncing, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = [syncing.account(name) for name in ("a", "b", "c", "d", "e", "f")]
    for name in "abcdef":
        syncing.does(name, "deposit", amount="100000.00")
    for account in accounts:
        syncing.good(account)
    counts: list[int] = []
    exchange = Wire.exchange

    def counted(wire: Wire, message: bytes, *args: Any, **options: Any) -> Any:
        results = exchange(wire, message, *args, **options)
        counts.extend(1 for one in results if one.tag not in ("BEGIN", "COMMIT", "ROLLBACK"))
        return results

    syncing.later(minutes=5)
    sync = syncing.sync_of()
    held = syncing.claimed(accounts)
    monkeypatch.setattr(Wire, "exchange", counted)
    worked = [syncing.one(sync, claimed) for claimed in held]
    sync.flush()
    assert all(one.is_unchanged for one in worked)
    assert sum(counts) / len(accounts) <= 0.5
    monkeypatch.undo()
    for number in range(5):
        syncing.does("a", "open", symbol="EURUSD", side="buy", volume="0.10", price="1.1", ref=f"n{number}")
        syncing.does("a", "close", position=f"n{number}", price="1.101")
    syncing.later(minutes=5)
    syncing.good(accounts[0])  # symbols are known from here on
    for number in range(5, 10):
        syncing.does("a", "open", symbol="EURUSD", side="buy", volume="0.10", price="1.1", ref=f"n{number}")
        syncing.does("a", "close", position=f"n{number}", price="1.101")
    syncing.later(minutes=5)
    sync = syncing.sync_of()
    (claimed,) = syncing.claimed([accounts[0]])
    counts.clear()
    monkeypatch.setattr(Wire, "exchange", counted)
    assert syncing.one(sync, claimed).trades_synced == 5
    assert len(counts) <= 8 + 2, counts  # the ledger's load and apply
