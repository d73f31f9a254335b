"""The operator's verbs: changes are shown first and made with --yes, with the grants of an operator alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from fillbook.mt5 import __main__ as verbs
from fillbook.runtime.clock import real_epoch_seconds
from tests.support.bridge import served
from tests.support.mt5_runs import NOW, SERVER, Fleet
from tests.support.scripted import scripted
from tests.support.signer import Signer

Shown = Callable[..., tuple[int, str, str]]


@pytest.fixture
def op(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shown:
    """Run a verb as an operator; its exit code and what it printed."""
    clock = tmp_path / "clock.json"
    clock.write_text(json.dumps({"desk_at": NOW.isoformat(), "real_at": 0, "speed": 1.0, "paused": True}))
    for name, value in (
        ("FILLBOOK_ENV", "local"),
        ("FILLBOOK_DATABASE_URL", f"{database_url}?role=desk_operator"),
        ("FILLBOOK_DESK_CLOCK", str(clock)),
    ):
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = verbs.main(arguments)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


@pytest.fixture
def function(
    fleet: Fleet,
    database_url: str,
    function_app: Callable[..., FlaskClient],
    op: Shown,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[None]:
    """``account_sync`` served, and the token endpoint of the local cloud."""
    assert op
    signer = Signer()
    audience = "https://account-sync.test"
    token = signer.sign(audience=audience, issued=real_epoch_seconds(), email="fb-operator@p.example")
    with (
        scripted((200, json.dumps({"token": token}))) as (tokens, _),
        scripted((200, json.dumps(signer.certificates()))) as (certs, _),
    ):
        client = function_app(
            "account_sync",
            {
                "FILLBOOK_DATABASE_URL": f"{database_url}?role=account_sync",
                "FILLBOOK_LOCAL_URL": certs,
                "FILLBOOK_DESK_CLOCK": str(tmp_path / "clock.json"),
                "FILLBOOK_PROJECT": "fillbook-local",
                "FILLBOOK_OIDC_AUDIENCE": audience,
                "FILLBOOK_OIDC_CALLERS": "fb-operator@p.example",
                "MT5_SERVICE_URL": fleet.fake.base_url,
                "MT5_SERVICE_API_KEY": "fake-mt5-key",
            },
        )
        with served(client) as url:
            monkeypatch.setenv("ACCOUNT_SYNC_URL", url)
            monkeypatch.setenv("ACCOUNT_SYNC_AUDIENCE", audience)
            monkeypatch.setenv("FILLBOOK_LOCAL_URL", tokens)
            yield


def test_an_account_is_linked_only_with_yes_and_linked_again_without_another(fleet: Fleet, op: Shown) -> None:
    wanted = ("link", "New-Server", "4711", "--broker", "A Broker", "--name", "first", "--url", fleet.fake.base_url)
    code, out, err = op(*wanted)
    assert (code, out) == (0, "")
    assert "link New-Server 4711 (A Broker) for tenant desk" in err
    assert fleet.query("select 1 from mt5.trading_accounts") == []
    code, out, _ = op(*wanted, "--yes")
    assert (code, out.split(":")[0]) == (0, "linked")
    account_id = out.split()[2].rstrip(",")
    code, out, _ = op(*wanted, "--yes")
    assert out.startswith(f"linked again: account {account_id}")
    (row,) = fleet.query("select account_name, login_number from mt5.trading_accounts")
    assert (row["account_name"], row["login_number"]) == ("first", 4711)


def test_an_instance_that_nobody_named_is_refused(fleet: Fleet, op: Shown) -> None:
    assert fleet.accounts == {}
    code, _, err = op("link", "S", "1", "--broker", "B", "--instance", "nowhere", "--yes")
    assert (code, "instance_unknown" in err) == (1, True)


def test_what_an_operator_says_of_an_account_is_kept(fleet: Fleet, op: Shown) -> None:
    (account_id,) = fleet.fleet(1)
    assert op("rename", account_id, "main account", "--yes")[0] == 0
    assert op("backfill", account_id, "--since", "2025-06-01", "--yes")[0] == 0
    assert op("deactivate", account_id, "--yes")[:2] == (0, "done\n")
    row = fleet.row(account_id)
    assert (row["account_name"], str(row["backfill_target"]), row["is_active"]) == ("main account", "2025-06-01", False)
    nobody = "00000000-0000-4000-8000-000000000000"
    for verb in ("rename", "backfill", "deactivate"):
        code, _, err = op(verb, nobody, "--yes")
        assert (code, "not_found" in err) == (1, True)


def test_a_symbol_and_a_clock_rule_are_entered(fleet: Fleet, op: Shown) -> None:
    fleet.fleet(1)
    assert op("symbol", SERVER, "XAUUSD.x", "--size", "100", "--currency", "USD", "--digits", "2", "--yes")[0] == 0
    (row,) = fleet.query(
        "select symbol_norm, contract_size::text as size, currency_profit from mt5.symbols where symbol = 'XAUUSD.x'"
    )
    assert (row["symbol_norm"], row["size"], row["currency_profit"]) == ("XAUUSD", "100", "USD")
    assert op("clock", SERVER, "--zone", "America/New_York", "--shift", "420", "--yes")[0] == 0
    (rule,) = fleet.query(
        "select zone_name, shift_minutes, zone_state::text as state from mt5.servers where server = :s", s=SERVER
    )
    assert (rule["zone_name"], rule["shift_minutes"], rule["state"]) == ("America/New_York", 420, "confirmed")
    assert op("clock", "No-Server", "--zone", "UTC", "--yes")[0] == 1
    assert op("clock", SERVER, "--zone", "UTC", "--shift", "9999", "--yes")[0] == 2


@pytest.mark.usefixtures("function")
def test_a_corrected_clock_moves_what_a_server_traded_once_it_is_rebuilt(fleet: Fleet, op: Shown) -> None:
    ids = fleet.fleet(2)
    assert op("sync")[0] == 0
    before = {row["id"]: row["open_time"] for row in fleet.query("select id, open_time from mt5.account_trades")}
    code, out, _ = op("rebuild", ids[0], "--yes")
    assert (code, out.splitlines()[1].split()) == (0, ["0", "0", "right", ids[0]])
    assert op("clock", SERVER, "--zone", "America/New_York", "--shift", "480", "--yes")[0] == 0
    assert op("rebuild", "--server", SERVER)[0] == 0  # shown alone
    code, out, _ = op("rebuild", "--server", SERVER, "--yes")
    assert (code, sorted(line.split()[-1] for line in out.splitlines()[1:])) == (0, sorted(ids))
    after = {row["id"]: row["open_time"] for row in fleet.query("select id, open_time from mt5.account_trades")}
    assert before
    assert {after[one] - before[one] for one in before} == {timedelta(hours=-1)}
    assert op("rebuild", "--server", SERVER, "--symbol", "EURUSD", "--yes")[0] == 0
    assert op("rebuild", "--yes")[0] == op("rebuild", ids[0], "--symbol", "EURUSD", "--yes")[0] == 2
    assert op("deactivate", ids[0], "--yes")[0] == 0
    code, out, err = op("rebuild", ids[0], "--yes")
    assert (code, out, err.splitlines()[-1].split(": ")[1]) == (1, "", "account_inactive")


@pytest.mark.parametrize(
    "arguments",
    [
        ("symbol", "S", "X", "--size", "0", "--currency", "USD"),
        ("symbol", "S", "X", "--size", "NaN", "--currency", "USD"),
        ("clock", "S", "--zone", "Nowhere/Else"),
        ("rename", "not-an-id"),
        ("backfill", "00000000-0000-4000-8000-000000000000", "--since", "yesterday"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(op: Shown, arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as left:
        op(*arguments)
    assert left.value.code == 2


@pytest.mark.usefixtures("function")
def test_a_sync_is_asked_for_and_its_troubles_are_listed(fleet: Fleet, op: Shown) -> None:
    ids = fleet.fleet(3)
    code, out, _ = op("sync")
    assert (code, out.split(";")[0]) == (0, "3 accounts: 3 synced")
    fleet.fake.fault("status", code=401, account="a01")
    code, out, _ = op("sync")
    assert code == 1
    head, titles, *lines = out.splitlines()
    assert head.startswith("3 accounts: 2 synced, 1 failed")
    assert titles.split() == ["server", "login", "name", "status", "code", "ms", "account", "error"]
    assert [line.split()[:5] for line in lines] == [[SERVER, "1001", "-", "failed", "service_unauthorized"]]
    assert ids[1] in lines[0]
    code, out, _ = op("sync", ids[0], "--json")
    assert (code, json.loads(out)["successCount"]) == (0, 1)
    code, out, _ = op("sync", ids[0])
    assert (code, out.split(";")[0]) == (1, "too_soon")
    code, out, _ = op("sync", "--no-wait")
    assert out.startswith("handed on in 1 shards")


@pytest.mark.usefixtures("function")
def test_accounts_that_were_not_tried_are_no_success_and_the_breaker_that_keeps_them_is_named(fleet: Fleet, op: Shown) -> None:
    code, out, _ = op("sync")
    assert (code, out.split(";")[0]) == (0, "No active accounts to sync")
    fleet.fleet(1)
    fleet.query(
        "insert into mt5.service_breakers (key, state, opened_at, probe_at, last_error_code) values ('service:default', 'open',"
        " :now::timestamptz, :now::timestamptz + interval '1 min', 'connection') returning 1",
        now=NOW,
    )
    code, out, _ = op("sync")
    head, _, line, breaker = out.splitlines()
    assert (code, head.split(";")[0]) == (1, "1 accounts: 0 synced, 1 skipped")
    assert line.split()[:5] == [SERVER, "1000", "-", "skipped", "breaker_open"]
    assert breaker == "breaker service:default is open (connection); an account is tried again from 2026-01-15 10:31:20 UTC"


@pytest.mark.usefixtures("function")
def test_health_is_a_line_per_account_those_that_fail_first(fleet: Fleet, op: Shown) -> None:
    ids = fleet.fleet(2)
    fleet.fake.fault("status", code=401, account="a01")
    op("sync")
    code, out, _ = op("health")
    titles, first, second = out.splitlines()
    assert code == 0
    assert titles.split()[:3] == ["server", "login", "name"]
    assert (first.split()[-1], second.split()[-1]) == (ids[1], ids[0])
    assert "service_unauthorized" in first
    code, out, _ = op("health", ids[0], "--json")
    row: dict[str, Any] = json.loads(out)
    assert (row["account_id"], row["connection_status"]) == (ids[0], "connected")
    assert op("health", "00000000-0000-4000-8000-000000000000")[1] == "no account\n"


def test_a_function_that_is_not_there_is_away(fleet: Fleet, op: Shown) -> None:
    assert fleet.accounts == {}
    code, _, err = op("sync")
    assert (code, "function_unknown" in err) == (3, True)
