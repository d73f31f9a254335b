"""account_sync and account_sync_shard as they are served: who may call, what is refused, what breaks and how it is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from fillbook.runtime.clock import real_epoch_seconds
from tests.support.mt5_runs import NOW, SERVER, Fleet
from tests.support.signer import Signer
from tests.support.topics import Topics, envelope, topics

SIGNER = Signer()
SCHEDULER, OPERATOR, TRACKER = (f"{name}@p.example" for name in ("cloud-scheduler", "fb-operator", "fb-trade-tracker"))
PUSH = "pubsub-push@p.example"
AUDIENCE = "https://{}.test"


class Served:
    """Both functions over the fleet's database and broker."""

    def __init__(self, fleet: Fleet, app: Callable[..., FlaskClient], topics: Topics, database_url: str, folder: Path) -> None:
        self.fleet, self.topics, self._app, self._url, self._folder = fleet, topics, app, database_url, folder
        self._clients: dict[str, FlaskClient] = {}

    def environment(self, name: str) -> dict[str, str]:
        """What a function is told."""
        clock = self._folder / "clock.json"
        clock.write_text(json.dumps({"desk_at": NOW.isoformat(), "real_at": 0, "speed": 1, "paused": True}))
        return {
            "FILLBOOK_DATABASE_URL": f"{self._url}?role={name}",
            "FILLBOOK_LOCAL_URL": self.topics.url,
            "FILLBOOK_DESK_CLOCK": str(clock),
            "FILLBOOK_PROJECT": "fillbook-local",
            "FILLBOOK_OIDC_AUDIENCE": AUDIENCE.format(name),
            "FILLBOOK_OIDC_CALLERS": ",".join((SCHEDULER, OPERATOR, TRACKER, PUSH)),
            "MT5_SERVICE_URL": self.fleet.fake.base_url,
            "MT5_SERVICE_API_KEY": "fake-mt5-key",
            "MT5_BATCH_DELAY_MS": "0",
        }

    def client(self, name: str = "account_sync", **changes: str) -> FlaskClient:
        """The function's client; ``changes`` of its environment make another one."""
        if changes:
            return self._app(name, self.environment(name) | changes)
        if name not in self._clients:
            self._clients[name] = self._app(name, self.environment(name))
        return self._clients[name]

    def post(
        self,
        body: Any = None,
        *,
        by: str | None = OPERATOR,
        path: str = "/mt5/sync",
        client: FlaskClient | None = None,
        **headers: str,
    ) -> Any:
        """One call of account_sync."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return (client or self.client()).post(path, data=data, headers=self.headers(by) | headers)

    def headers(self, by: str | None, name: str = "account_sync") -> dict[str, str]:
        """The identity of a caller."""
        if by is None:
            return {}
        token = SIGNER.sign(audience=AUDIENCE.format(name), issued=real_epoch_seconds(), email=by)
        return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def served(fleet: Fleet, function_app: Callable[..., FlaskClient], database_url: str, tmp_path: Path) -> Iterator[Served]:
    with topics() as told:
        told.certificates = SIGNER.certificates()
        yield Served(fleet, function_app, told, database_url, tmp_path)


def test_an_empty_body_syncs_everything_on_whatever_path_it_is_posted(served: Served) -> None:
    served.fleet.fleet(3)
    for path in ("/mt5/sync", "/", "/some/other/path"):
        answer = served.post(path=path)
        assert (answer.status_code, answer.json["totalAccounts"], answer.json["successCount"]) == (200, 3, 3), path


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        (b"{", "json_invalid"),
        (b"[]", "json_invalid"),
        ({"acount_id": None}, "key_unknown"),
        ({"account_id": "1"}, "value_invalid"),
        ({"account_id": 7}, "value_invalid"),
        ({"sync_type": "backfill"}, "value_invalid"),
        ({"wait": "no"}, "value_invalid"),
        ({"cursor": "not one"}, "value_invalid"),
        ({"task": "everything"}, "value_invalid"),
        ({"task": "maintenance", "wait": False}, "keys_contradict"),
    ],
)
def test_a_body_that_cannot_be_read_is_never_everything(served: Served, body: Any, slug: str) -> None:
    served.fleet.fleet(1)
    answer = served.post(body)
    assert (answer.status_code, answer.json) == (400, {"success": False, "error": slug})
    assert served.fleet.logs() == []
    assert served.fleet.query("select 1 from mt5.sync_runs") == []


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        (b"{", "json_invalid"),
        ({}, "keys_contradict"),
        ({"sever": SERVER}, "key_unknown"),
        ({"account_id": "1"}, "value_invalid"),
        ({"server": ""}, "value_invalid"),
        ({"server": "S\n"}, "value_invalid"),
        ({"server": SERVER, "after": "x"}, "value_invalid"),
        ({"symbol": "EURUSD"}, "keys_contradict"),
        ({"account_id": str(UUID(int=1)), "server": SERVER}, "keys_contradict"),
        ({"account_id": str(UUID(int=1)), "symbol": "EURUSD"}, "keys_contradict"),
    ],
)
def test_a_rebuild_that_cannot_be_read_is_none(served: Served, body: Any, slug: str) -> None:
    answer = served.post(body, path="/mt5/rebuild")
    assert (answer.status_code, answer.json) == (400, {"success": False, "error": slug})


def test_nothing_is_open_and_each_caller_has_its_own_rights(served: Served) -> None:
    ids = served.fleet.fleet(1)
    assert served.post(by=None).status_code == 401
    assert served.post(by="somebody@else.example").json == {"success": False, "error": "forbidden"}
    for body, by in (
        ({"sync_type": "scheduled"}, OPERATOR),
        ({"sync_type": "scheduled"}, TRACKER),
        ({"force": True}, TRACKER),
        ({"task": "maintenance"}, TRACKER),
    ):
        assert served.post(body, by=by).status_code == 403, body
        assert served.post({"account_id": ids[0]}, by=by, path="/mt5/rebuild").status_code == (403 if by != OPERATOR else 200)
    assert served.post({"account_id": ids[0]}, **{"X-Fillbook-Tenant": "desk"}).status_code == 403
    assert served.fleet.fake.world.calls.total == 0


def test_a_tenant_is_named_by_the_tracker_alone_and_sees_its_own(served: Served) -> None:
    served.fleet.fleet(1)
    theirs = served.fleet.link("guest", login=9_999, tenant_id="guest")
    answer = served.post(by=TRACKER, **{"X-Fillbook-Tenant": "guest"})
    assert [one["account_id"] for one in answer.json["syncResults"]] == [theirs]
    run_id = answer.json["executionId"]
    url = f"/mt5/sync/status?run_id={run_id}"
    mine = served.client().get(url, headers=served.headers(TRACKER) | {"X-Fillbook-Tenant": "guest"})
    assert (mine.status_code, mine.json["successCount"]) == (200, 1)
    other = served.client().get(url, headers=served.headers(TRACKER) | {"X-Fillbook-Tenant": "desk"})
    assert (other.status_code, other.json) == (404, {"success": False, "error": "run_unknown"})


def test_the_schedulers_call_opens_its_slot_and_a_repeat_is_a_duplicate(served: Served) -> None:
    served.fleet.fleet(2)
    due = {"X-CloudScheduler-ScheduleTime": "2026-01-15T10:30:00Z"}
    first = served.post({"sync_type": "scheduled"}, by=SCHEDULER, **due)
    again = served.post({"sync_type": "scheduled"}, by=SCHEDULER, **due)
    assert (first.status_code, again.status_code) == (200, 200)
    assert ("duplicate" in first.json, again.json["duplicate"]) == (False, True)
    assert again.json["executionId"] == first.json["executionId"]
    assert served.post({"task": "maintenance"}, by=SCHEDULER).json["success"] is True


def test_the_status_is_read_without_a_call_to_the_service(served: Served) -> None:
    served.fleet.fleet(2)
    none = served.client().get("/mt5/sync/status", headers=served.headers(OPERATOR))
    assert none.status_code == 404
    run_id = served.post({"sync_type": "scheduled"}, by=SCHEDULER).json["executionId"]
    calls = served.fleet.fake.world.calls.total
    for url in ("/mt5/sync/status", f"/mt5/sync/status?run_id={run_id}"):
        told = served.client().get(url, headers=served.headers(OPERATOR)).json
        assert (told["executionId"], told["status"], told["successCount"], told["freshPct"]) == (run_id, "finished", 2, "100.00")
    assert served.client().get("/mt5/sync/status", headers={}).status_code == 401
    assert served.fleet.fake.world.calls.total == calls


def test_refusals_of_one_account_have_their_status_and_header(served: Served) -> None:
    ids = served.fleet.fleet(1)
    assert served.post({"account_id": ids[0]}).status_code == 200
    soon = served.post({"account_id": ids[0]})
    assert (soon.status_code, soon.headers["Retry-After"]) == (429, "60")
    served.fleet.query("update mt5.account_sync_state set lease_until = clock_timestamp() + interval '1 min' returning 1")
    assert served.post({"account_id": ids[0]}).status_code == 409
    unknown = served.post({"account_id": "00000000-0000-4000-8000-000000000000"})
    assert (unknown.status_code, unknown.json["error"]) == (404, "not_found")


def test_scenario_36_a_missing_setting_is_told_by_name_in_one_line(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    served.fleet.fleet(1)
    client = served.client(MT5_SERVICE_URL="", MT5_SERVICE_API_KEY="")
    capsys.readouterr()
    answer = served.post(client=client)
    assert (answer.status_code, answer.json["error"], answer.json["success"]) == (500, "configuration", False)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"ERROR"' in line]
    (line,) = [line for line in lines if line["message"] == "not_configured"]
    assert line["execution_id"] == answer.json["executionId"]
    assert set(line["problems"]) == {"MT5_SERVICE_URL", "MT5_SERVICE_API_KEY"}
    assert served.fleet.fake.world.calls.total == 0
    assert served.fleet.logs() == []


def test_a_database_that_is_away_is_told_without_a_call_to_the_service(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    served.fleet.fleet(1)
    client = served.client(FILLBOOK_DATABASE_URL="postgresql://account_sync@127.0.0.1:1/none")
    answer = served.post(client=client)
    assert (answer.status_code, answer.json["error"]) == (500, "database_unavailable")
    assert list(answer.json) == ["success", "executionId", "error", "duration_ms"]
    assert answer.json["executionId"] in capsys.readouterr().out
    assert served.fleet.fake.world.calls.total == 0


def test_no_line_of_a_run_holds_a_balance_a_login_or_a_key(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    served.fleet.link("secretive", login=887_766_554)
    served.fleet.link("broken", login=887_766_555)
    served.fleet.fake.fault("status", code=401, account="broken")
    capsys.readouterr()
    assert served.post().json["successCount"] == 1
    out = capsys.readouterr().out
    for secret in ("887766554", "887766555", "fake-mt5-key", "10000"):
        assert secret not in out
    told = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert [line["message"] for line in told if "account_id" in line] == ["account_not_synced"]
    assert all("execution_id" in line for line in told if line["logger"] == "account_sync")


def test_shards_come_by_push_and_what_is_none_is_put_aside(served: Served) -> None:
    served.fleet.fleet(4)
    client = served.client("account_sync_shard")
    headers = served.headers(PUSH, "account_sync_shard")
    assert client.post("/", json=envelope(b"{}")).status_code == 401
    served.fleet.tick(mt5_inline_accounts_max=1)
    (message,) = served.fleet.take_shards()
    for _ in range(2):
        assert client.post("/", json=envelope(message), headers=headers).status_code == 204
    assert len(served.fleet.logs("success")) == 4
    inbox = served.fleet.query("select 1 from outbox.inbox where consumer = 'account_sync_shard'")
    assert len(inbox) == 1
    assert client.post("/", json=envelope(b'{"event_type": "other"}'), headers=headers).status_code == 204
    assert client.post("/dead", json=envelope(message), headers=headers).status_code == 204
    aside = served.fleet.query("select reason from outbox.quarantine where consumer = 'account_sync_shard'")
    assert [row["reason"] for row in aside] == ["event_type_unknown"]
    assert served.fleet.query("select 1 from mt5.sync_shards where state = 'dead'") == []


def test_the_service_is_asked_with_key_scope_and_request_id_in_both_languages(served: Served) -> None:
    served.fleet.fleet(1)
    for contract in ("v1", "v0"):
        served.fleet.fake.add_instance("default", contract=contract)
        served.fleet.fake.world.calls.clear()
        answer = served.post()
        assert answer.json["successCount"] == 1, contract
        entries = [one for one in served.fleet.fake.world.calls.entries if one.account]
        assert {one.server for one in entries} == {SERVER}
        for one in entries:
            assert {"x-api-key", "x-account-scope", "x-request-id"} <= {name.lower() for name in one.headers}, contract
