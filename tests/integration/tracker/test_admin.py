"""The admin actions: who may, what goes out to whom with which identity, and what is said when an owner does not do it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr

from fillbook.ibkr.accounts import configure_accounts
from fillbook.runtime.auth import Identity
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Rejected
from fillbook.tracker.admin import OwnerFailed
from fillbook.tracker.owners import HttpOwners
from fillbook.tracker.settings import TradeTrackerConfig
from tests.support.bridge import served
from tests.support.functions import FunctionApps
from tests.support.ibkr import CONFIGS
from tests.support.mt5_linked import LinkedDesk, Query
from tests.support.tracker_owners import NAMES, RUN, SIGNER, Script, audience, script
from tests.support.tracker_words import ACCOUNT_KEY, ADMIN_KEY, OLD_KEY, READ_KEY, THEIR_KEY, send, tracker

NOW = datetime(2026, 2, 4, 22, 0, tzinfo=UTC)
REPLAYS, COMPARE, SYNC, PROOF = (f"/timed/admin/{name}" for name in ("replay-runs", "replay-compare", "sync", "reconciliation"))
DAY = {"since": "2026-02-03", "until": "2026-02-04T00:00:00-05:00"}
BODIES: dict[str, dict[str, Any]] = {
    REPLAYS: {"date": "2026-02-03"},
    COMPARE: {"left": "live", "right": RUN},
    SYNC: {"account_id": "1"},
    PROOF: DAY,
}


@pytest.fixture
def owners() -> Iterator[Script]:
    """All four owners as one script, and the local cloud."""
    with script() as kept:
        yield kept


@pytest.fixture
def client(owners: Script, database_url: str, function_app: Callable[..., FlaskClient], tmp_path: Path) -> FlaskClient:
    """The function, told where the owners are."""
    return tracker(function_app, database_url, tmp_path, NOW, **owners.settings())


@pytest.fixture
def accounts(db: Database, open_database: Any, query: Query) -> str:
    """IBKR's accounts 1 and 2, and a linked one; its id."""
    configure_accounts(db, CONFIGS, NOW)
    return LinkedDesk(open_database("mt5_writer"), open_database("desk_operator"), query).link(50123456)


def test_a_replay_is_ordered_with_our_identity_and_the_askers_key(client: FlaskClient, owners: Script, capfd: Any) -> None:
    order = {"date": "2026-02-03", "ticker": "AMD", "profile": "tt-2026-02", "cleanSlate": True}
    status, answer = send(client, "POST", REPLAYS, order, headers={"Idempotency-Key": "once-1"})
    assert (status, answer["run_id"], answer["runs"]) == (202, RUN, [RUN])
    ((path, headers, body),) = owners.came
    assert (path, body, headers["Idempotency-Key"]) == ("/timed/admin/replay-runs", order, "once-1")
    assert "X-Fillbook-Tenant" not in headers
    from google.auth import jwt

    claims = jwt.decode(headers["Authorization"].removeprefix("Bearer "), certs=SIGNER.certificates())
    assert (claims["aud"], claims["email"]) == (
        audience("replay_worker"),
        "fb-trade-tracker@fillbook-local.iam.gserviceaccount.com",
    )
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line["message"] == "owner_asked"]
    assert (line["owner"], line["key_id"], line["ended"], line["path"]) == ("replay_worker", "admin", "done", path)
    assert not any(headers["Authorization"][7:] in json.dumps(one) or ADMIN_KEY in json.dumps(one) for one in lines)


def test_an_account_is_synced_by_its_own_function(client: FlaskClient, owners: Script, accounts: str) -> None:
    status, answer = send(client, "POST", SYNC, {"account_id": accounts})
    assert (status, answer["platform"], answer["run_id"], answer["job_id"]) == (202, "mt5", RUN, None)
    status, answer = send(client, "POST", SYNC, {"account_id": "1"})
    assert (status, answer["platform"], answer["run_id"], answer["job_id"], answer["is_new"]) == (202, "ibkr", None, RUN, True)
    linked, job, statement = owners.came
    assert (linked[0], linked[2], linked[1]["X-Fillbook-Tenant"]) == (
        "/mt5/sync",
        {"account_id": accounts, "wait": False},
        "desk",
    )
    assert (job[0], job[2]) == ("/api/v1/jobs", {"job_type": "trades.sync", "payload": {}})
    assert (statement[0], statement[2]) == ("/api/v1/jobs", {"job_type": "flex.request", "payload": {"kind": "statement"}})
    assert "X-Fillbook-Tenant" not in job[1]
    for account, key in (("3", ADMIN_KEY), (RUN, ADMIN_KEY), (accounts, THEIR_KEY), ("1", ACCOUNT_KEY), (accounts, ACCOUNT_KEY)):
        status, answer = send(client, "POST", SYNC, {"account_id": account}, key)
        assert (status, answer["error"]["code"]) == (404, "account_unknown"), (account, key)
    assert len(owners.came) == 3, "what does not exist for the key is asked of nobody"


def test_a_proof_is_asked_for_a_range(client: FlaskClient, owners: Script) -> None:
    status, answer = send(client, "POST", PROOF, DAY | {"repair": False})
    assert (status, answer["run_id"]) == (202, RUN)
    ((path, _, body),) = owners.came
    assert (path, body) == (
        "/reconcile", {"since": "2026-02-03T05:00:00+00:00", "until": "2026-02-04T05:00:00+00:00", "repair": False},
    )  # fmt: skip
    assert send(client, "POST", PROOF, {"since": 1770094800000, "until": 1770181200000})[0] == 202
    assert owners.came[1][2] == body | {"repair": True}


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        (REPLAYS, {}, "body invalid: body"),
        (REPLAYS, {"date": "2026-02-03", "target": "live"}, "body invalid: unknown"),
        (COMPARE, {"left": "live"}, "body invalid: right"),
        (COMPARE, {"left": "live", "right": "x" * 65}, "body invalid: right"),
        (COMPARE, {"left": "live", "right": RUN, "date": "2026-02-30"}, "parameter invalid: date"),
        (SYNC, {"account_id": 1}, "body invalid: account_id"),
        (SYNC, {"account_id": "x"}, "parameter invalid: account_id"),
        (SYNC, {"account_id": "1", "force": True}, "body invalid: unknown"),
        (PROOF, {"since": "2026-02-03"}, "body invalid: until"),
        (PROOF, DAY | {"until": "2026-02-03"}, "body invalid: until"),
        (PROOF, DAY | {"until": "2026-03-07"}, "body invalid: until"),
        (PROOF, DAY | {"since": "yesterday"}, "parameter invalid: since"),
        (PROOF, DAY | {"since": True}, "body invalid: since"),
        (PROOF, DAY | {"repair": "yes"}, "body invalid: repair"),
    ],
)
def test_what_cannot_be_understood_goes_to_nobody(client: FlaskClient, owners: Script, path: str, body: Any, told: str) -> None:
    status, answer = send(client, "POST", path, body)
    assert (status, answer["error"]["message"]) == (400, told)
    assert owners.came == []


def test_only_admins_order_anything(client: FlaskClient, owners: Script) -> None:
    for path, body in BODIES.items():
        for key, status in ((None, 401), ("wrong", 401), (OLD_KEY, 401), (READ_KEY, 403)):
            assert send(client, "POST", path, body, key)[0] == status
        assert send(client, "POST", path, body, headers={"Idempotency-Key": "a b"})[0] in (400, 404)
        assert client.get(path, headers={"Authorization": f"Bearer {ADMIN_KEY}"}).status_code == 405
    assert owners.came == []


@pytest.mark.parametrize(
    ("answer", "status", "code", "field"),
    [
        ((400, {"ok": False, "reason": "no_session", "field": "date"}), 400, "no_session", "date"),
        ((404, {"ok": False, "reason": "run_unknown"}), 404, "run_unknown", None),
        ((409, {"ok": False, "reason": "too_many_runs"}), 409, "too_many_runs", None),
        ((429, {"success": False, "error": "too_soon"}), 429, "too_soon", None),
        ((400, {"ok": False, "reason": "<b>", "field": "a b"}), 400, "refused", None),
        ((401, {"ok": False, "reason": "unauthorized"}), 502, "owner_failed", "replay_worker"),
        ((403, {"ok": False, "reason": "forbidden"}), 502, "owner_failed", "replay_worker"),
        ((500, {"ok": False, "reason": "internal"}), 502, "owner_failed", "replay_worker"),
        ((503, "<html>"), 502, "owner_failed", "replay_worker"),
        ((202, "not json"), 502, "owner_failed", "replay_worker"),
        ((202, {"ok": True}), 502, "owner_failed", "replay_worker"),
        ((400, "not json"), 502, "owner_failed", "replay_worker"),
    ],
)
def test_a_refusal_is_passed_on_and_a_failure_names_the_owner(
    client: FlaskClient, owners: Script, answer: Any, status: int, code: str, field: str | None
) -> None:
    owners.answers[REPLAYS] = answer
    owners.headers = {"Retry-After": "7"}
    given = client.post(REPLAYS, json={"date": "2026-02-07"}, headers={"Authorization": f"Bearer {ADMIN_KEY}"})
    error = given.get_json()["error"]
    assert (given.status_code, error["code"]) == (status, code)
    assert error["message"] == code.replace("_", " ") + (f": {field}" if field else "")
    assert given.headers.get("Retry-After") == ("7" if status < 500 else None)
    assert len(owners.came) == 1, "nothing is asked twice"


def caller(owners: Script, seconds: float = 0.4, **urls: str | None) -> HttpOwners:
    """The adapter with a short patience."""
    given = {f"{name}_url": owners.url for name in NAMES} | urls
    config = TradeTrackerConfig(fillbook_env="local", fillbook_database_url=SecretStr("postgresql://x@127.0.0.1/x"), **given)
    token = SIGNER.sign(audience="x", issued=time.time())
    return HttpOwners(config, Identity(lambda _: token), seconds=seconds)


@pytest.mark.parametrize("behaviour", ["hang", "drip", "huge", "redirect"])
def test_a_silent_slow_endless_or_wandering_owner_fails_in_time(owners: Script, behaviour: str) -> None:
    owners.behaviour = behaviour
    begun = time.monotonic()
    with pytest.raises(OwnerFailed) as failed:
        caller(owners).ask("discord_notifier", "/reconcile", {}, {})
    assert time.monotonic() - begun < 20  # bounded, not measured
    assert (failed.value.status, failed.value.owner, len(owners.came)) == (502, "discord_notifier", 1)


def test_an_owner_that_is_down_or_not_set_fails(owners: Script) -> None:
    for url in ("http://127.0.0.1:1", None):
        with pytest.raises(OwnerFailed, match="replay_worker"):
            caller(owners, replay_worker_url=url).ask("replay_worker", REPLAYS, {}, {})
    with pytest.raises(Rejected):
        caller(owners, account_sync_url=None).ask("account_sync", "/mt5/sync", {}, {})
    assert owners.came == []


@pytest.mark.parametrize("url", ["http://10.0.0.1", "ftp://127.0.0.1", "https://a@b", "https://x/?a=b", "x"])
def test_an_address_that_is_not_safe_is_no_setting(url: str) -> None:
    with pytest.raises(ValueError, match="must be https"):
        TradeTrackerConfig(
            fillbook_env="cloud", fillbook_database_url=SecretStr("postgresql://x@127.0.0.1/x"), replay_worker_url=url
        )


CALLER = "fb-trade-tracker@fillbook-local.iam.gserviceaccount.com"
SOCKET = {"IBKR_TWS_TARGETS": '[{"host": "127.0.0.1", "port": 9, "time_zone": "UTC", "reach_days": 0}]'}
STATEMENTS = {
    "IBKR_FLEX_TOKEN": "t0ken",
    "IBKR_FLEX_QUERY_IDS": "statement:1",
    "IBKR_FLEX_SEND_URL": "http://127.0.0.1:9/send",
    "IBKR_FLEX_ALLOWED_HOSTS": "127.0.0.1",
}
MT5 = {"MT5_SERVICE_URL": "http://127.0.0.1:9", "MT5_SERVICE_API_KEY": "k"}
CHANNELS = {
    f"DISCORD_{name}_WEBHOOK": f"https://discord.com/api/webhooks/12345678901234567{number}/{name[0].lower() * 68}"
    for number, name in enumerate(("EXECUTIONS", "OPS"))
}
PUBLISHED = "/v1/projects/fillbook-local/topics/mt5-shards:publish"


def real(function_app: FunctionApps, owners: Script, database_url: str, tmp_path: Path, name: str, **settings: str) -> Any:
    """A function itself, with its own rights, called by those it knows; its url within the block."""
    common = {
        "FILLBOOK_DATABASE_URL": f"{database_url}?role={name}",
        "FILLBOOK_PROJECT": "fillbook-local",
        "FILLBOOK_LOCAL_URL": owners.url,
        "FILLBOOK_OIDC_AUDIENCE": audience(name),
        "FILLBOOK_OIDC_CALLERS": CALLER,
        "FILLBOOK_DESK_CLOCK": str(tmp_path / "clock.json"),
    }
    return served(function_app(name, common | settings))


@pytest.mark.parametrize(
    ("sources", "jobs"),
    [(SOCKET, ["trades.sync"]), (STATEMENTS, ["flex.request"]), (SOCKET | STATEMENTS, ["flex.request", "trades.sync"]), ({}, [])],
    ids=["socket", "statements", "both", "neither"],
)
@pytest.mark.usefixtures("accounts")
def test_the_real_execution_sync_reads_an_account_from_the_sources_it_has(
    owners: Script,
    database_url: str,
    function_app: FunctionApps,
    tmp_path: Path,
    query: Query,
    sources: dict[str, str],
    jobs: list[str],
) -> None:
    known = {"IBKR_ACCOUNTS": '[{"id": 1, "code": "U1234567", "base_currency": "USD"}]'}
    with real(function_app, owners, database_url, tmp_path, "execution_sync", **known, **sources) as url:
        client = tracker(function_app, database_url, tmp_path, NOW, **owners.settings() | {"EXECUTION_SYNC_URL": url})
        status, answer = send(client, "POST", SYNC, {"account_id": "1"})
        rows = query("select job_type, id::text as id, requested_by from ibkr.jobs order by job_type")
        assert [row["job_type"] for row in rows] == jobs
        if not jobs:
            assert (status, answer["error"]["code"]) == (409, "no_source")
            return
        assert (status, {one["job_id"] for one in answer["jobs"]}) == (202, {row["id"] for row in rows})
        assert {row["requested_by"] for row in rows} == {CALLER}
        again = send(client, "POST", SYNC, {"account_id": "1"})[1]
        assert ([one["is_new"] for one in again["jobs"]], again["job_id"]) == ([False] * len(jobs), answer["job_id"])


def test_the_real_account_sync_and_notifier_take_our_orders(
    owners: Script, database_url: str, function_app: FunctionApps, tmp_path: Path, query: Query, accounts: str
) -> None:
    owners.answers[PUBLISHED] = (200, {"messageIds": ["1"]})
    with (
        real(function_app, owners, database_url, tmp_path, "account_sync", **MT5) as mt5,
        real(function_app, owners, database_url, tmp_path, "discord_notifier", **CHANNELS) as notifier,
    ):
        urls = {"ACCOUNT_SYNC_URL": mt5, "DISCORD_NOTIFIER_URL": notifier}
        client = tracker(function_app, database_url, tmp_path, NOW, **owners.settings() | urls)
        status, answer = send(client, "POST", SYNC, {"account_id": accounts})
        assert status == 202, answer
        (run,) = query("select run_id::text as id from mt5.sync_runs")
        assert answer["run_id"] == run["id"]
        status, answer = send(client, "POST", PROOF, DAY | {"repair": False})
        assert status == 202, answer
        (proof,) = query("select run_id::text as id, is_repairing, requested_by from notify.reconcile_runs")
        assert (answer["run_id"], proof["is_repairing"], proof["requested_by"]) == (proof["id"], False, "trade_tracker")
        assert send(client, "POST", PROOF, DAY | {"until": "2026-02-03"})[0] == 400


def test_the_real_replay_worker_takes_our_orders(
    owners: Script, database_url: str, function_app: FunctionApps, tmp_path: Path, query: Query
) -> None:
    settings = owners.settings()
    own = {
        "FILLBOOK_DATABASE_URL": f"{database_url}?role=replay_worker",
        "FILLBOOK_PROJECT": "fillbook-local",
        "FILLBOOK_LOCAL_URL": owners.url,
        "FILLBOOK_OIDC_AUDIENCE": audience("replay_worker"),
        "FILLBOOK_OIDC_CALLERS": "fb-trade-tracker@fillbook-local.iam.gserviceaccount.com",
        "FILLBOOK_DESK_CLOCK": str(tmp_path / "clock.json"),
        "DESK_KEYS": "[]",
    }
    with served(function_app("replay_worker", own)) as url:
        client = tracker(function_app, database_url, tmp_path, NOW, **settings | {"REPLAY_WORKER_URL": url})
        status, answer = send(client, "POST", REPLAYS, {"date": "2026-02-03", "name": "again", "cleanSlate": True})
        assert status == 202
        (run,) = query("select run_id, name, created_by from replay.v_runs")
        assert (str(run["run_id"]), run["name"]) == (answer["run_id"], "again")
        assert run["created_by"] == "fb-trade-tracker@fillbook-local.iam.gserviceaccount.com"
        assert send(client, "POST", REPLAYS, {"date": "2026-02-07"})[1]["error"]["code"] == "no_session"
        status, answer = send(client, "POST", COMPARE, {"left": "live", "right": "again"})
        assert (status, answer["error"]["code"]) == (409, "run_not_begun")
        query("update replay.run_records set status = 'done' returning 1")
        status, answer = send(client, "POST", COMPARE, {"left": "live", "right": "again", "date": "2026-02-03"})
        assert (status, answer["identical"], answer["date"], answer["left"]["label"]) == (200, True, "2026-02-03", "live")
        assert (answer["right"]["name"], answer["trades"], answer["first_divergence"]) == ("again", [], None)
        assert send(client, "POST", COMPARE, {"left": "live", "right": "nobody"})[1]["error"]["code"] == "run_unknown"
