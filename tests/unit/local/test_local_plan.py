"""From the manifest to this machine: each function gets its settings and nobody else's, and the wiring names what exists."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from infra.local import plan
from infra.local.cloud import from_outside
from infra.local.wiring import Subscription, Wiring
from infra.manifest import load

MANIFEST = load()
PLACE = plan.Place(
    urls={name: f"http://127.0.0.1:{number}" for number, name in enumerate(MANIFEST.functions, start=9000)},
    control_url="http://127.0.0.1:8100",
    discord_url="http://127.0.0.1:8200",
    clock_path="/home/clock.json",
    database_url="postgresql://postgres@127.0.0.1:5433/fillbook",
    database_is_ours=True,
    secrets={"ingest_token": "ingest-secret", "desk_key": "desk-secret"},
    discord_webhooks={"executions": "https://discord.com/api/webhooks/1/e", "ops": "https://d/o", "lanes": "https://d/l"},
    discord_read_token="read-secret",
)


@pytest.mark.parametrize("name", MANIFEST.functions)
def test_a_function_gets_settings_of_its_own_entry_only(name: str) -> None:
    function = MANIFEST.functions[name]
    given = plan.settings(MANIFEST, function, PLACE)
    assert set(given) <= function.settings
    assert {"FILLBOOK_ENV", "FILLBOOK_LOCAL_URL", "FILLBOOK_DESK_CLOCK"} <= set(given)
    assert given["FILLBOOK_ENV"] == "local"
    assert {secret for secret in function.secrets if secret not in given} == set()


def test_a_secret_goes_to_the_function_that_names_it_and_to_no_other() -> None:
    environments = {name: json.dumps(plan.settings(MANIFEST, one, PLACE)) for name, one in MANIFEST.functions.items()}
    for secret, holders in (("ingest-secret", {"signal_ingest"}), ("read-secret", {"discord_notifier"})):
        assert {name for name, text in environments.items() if secret in text} == holders
    assert not any("desk-secret" in text for text in environments.values())
    digest = hashlib.sha256(b"desk-secret").hexdigest()
    assert {name for name, text in environments.items() if digest in text} == {"replay_worker", "trade_tracker"}


def test_what_speaks_to_the_mt5_service_is_told_where_the_fake_is_and_its_key() -> None:
    function = replace(MANIFEST.functions["outbox_relay"], env={"MT5_SERVICE_URL": None}, secrets=("MT5_SERVICE_API_KEY",))
    place = replace(PLACE, mt5_url="http://127.0.0.1:8000", secrets={**PLACE.secrets, "mt5_key": "mt5-secret"})
    given = plan.settings(MANIFEST, function, place)
    assert (given["MT5_SERVICE_URL"], given["MT5_SERVICE_API_KEY"]) == ("http://127.0.0.1:8000", "mt5-secret")
    assert "mt5-secret" not in json.dumps(plan.settings(MANIFEST, MANIFEST.functions["outbox_relay"], place))


def test_each_function_logs_in_as_itself_on_our_own_server() -> None:
    given = plan.settings(MANIFEST, MANIFEST.functions["signal_worker"], PLACE)
    assert given["FILLBOOK_DATABASE_URL"] == "postgresql://signal_worker@127.0.0.1:5433/fillbook"


def test_on_another_server_each_function_takes_its_role_on() -> None:
    url = "postgresql://me:word@db.example:6432/desk?sslmode=verify-full"
    place = replace(PLACE, database_url=url, database_is_ours=False)
    given = plan.settings(MANIFEST, MANIFEST.functions["signal_worker"], place)
    assert given["FILLBOOK_DATABASE_URL"] == f"{url}&role=signal_worker"


def test_callers_are_the_identities_that_the_wiring_pushes_and_schedules_with() -> None:
    wiring = plan.wiring(MANIFEST, PLACE.urls, retry_floor_seconds=0.1, chosen=MANIFEST.functions)
    for name, function in MANIFEST.functions.items():
        given = plan.settings(MANIFEST, function, PLACE)
        calls = [one for one in (*wiring.subscriptions, *wiring.jobs) if one.url.startswith(PLACE.urls[name] + "/")]
        assert {one.audience for one in calls} <= {given.get("FILLBOOK_OIDC_AUDIENCE")}
        assert {one.email for one in calls} <= set(given.get("FILLBOOK_OIDC_CALLERS", "").split(","))


def test_the_wiring_holds_every_topic_subscription_and_schedule_of_the_manifest() -> None:
    wiring = plan.wiring(MANIFEST, PLACE.urls, retry_floor_seconds=0.1, chosen=MANIFEST.functions)
    assert set(wiring.topics) == set(MANIFEST.topics)
    assert [one.name for one in wiring.subscriptions] == [one.name for one in MANIFEST.subscriptions]
    assert [one.name for one in wiring.jobs] == [one.name for one in MANIFEST.schedules]
    worker = next(one for one in wiring.subscriptions if one.name == "signals-signal_worker")
    assert worker.in_flight_max == MANIFEST.functions["signal_worker"].concurrency
    assert (worker.ordered, worker.attempts_max, worker.dead_letter_topic) == (True, 20, "signals-dead")


def test_only_chosen_functions_are_wired() -> None:
    wiring = plan.wiring(MANIFEST, PLACE.urls, retry_floor_seconds=0.1, chosen=["outbox_relay"])
    assert wiring.subscriptions == ()
    assert [one.name for one in wiring.jobs] == ["outbox-relay"]


def test_a_wiring_survives_its_file(tmp_path: Any) -> None:
    from infra.local.wiring import read

    wiring = plan.wiring(MANIFEST, PLACE.urls, retry_floor_seconds=0.1, chosen=MANIFEST.functions)
    wiring.write(tmp_path / "wiring.json")
    assert read(tmp_path / "wiring.json") == wiring


def test_pushes_reach_every_instance_of_a_function_and_as_many_at_once_as_all_of_them_take(tmp_path: Any) -> None:
    assert plan.further({"signal_worker": 3, "outbox_relay": 1}) == dict.fromkeys(
        ("signal_worker-2", "signal_worker-3"), "signal_worker"
    )
    more = {"signal_worker": ("http://127.0.0.1:9100", "http://127.0.0.1:9101")}
    wired = plan.wiring(MANIFEST, PLACE.urls, retry_floor_seconds=0.1, chosen=MANIFEST.functions, further=more)
    found = {one.name: one for one in wired.subscriptions}
    quarantine, alone = found["signals-quarantine-signal_worker"], found["events-discord_notifier"]
    assert quarantine.more_urls == ("http://127.0.0.1:9100/quarantine", "http://127.0.0.1:9101/quarantine")
    assert quarantine.in_flight_max == 3 * MANIFEST.functions["signal_worker"].concurrency
    assert (alone.more_urls, alone.in_flight_max) == ((), MANIFEST.functions["discord_notifier"].concurrency)


def test_a_wiring_refuses_topics_that_are_not_there_and_names_used_twice() -> None:
    one = Subscription(name="s", topic="t", url="http://x", audience="a", email="e")
    with pytest.raises(ValueError, match="unknown topic: t"):
        Wiring(project="p", topics=("other",), subscriptions=(one,))
    with pytest.raises(ValueError, match="subscription declared twice: s"):
        Wiring(project="p", topics=("t",), subscriptions=(one, one))


def test_a_real_webhook_from_outside_brings_the_real_discord_and_serves_every_channel() -> None:
    found = from_outside(MANIFEST, {"DISCORD_EXECUTIONS_WEBHOOK": "https://discord.com/api/webhooks/7/x", "PATH": "/bin"})
    assert found["DISCORD_API_BASE"] == "https://discord.com/api/v10"
    assert found["DISCORD_OPS_WEBHOOK"] == "https://discord.com/api/webhooks/7/x"
    assert "PATH" not in found
    given = plan.settings(MANIFEST, MANIFEST.functions["discord_notifier"], replace(PLACE, overrides=found))
    assert "127.0.0.1:8200" not in json.dumps(given)


def test_a_d1_of_ones_own_brings_its_address_and_takes_nothing_from_the_fake() -> None:
    function = MANIFEST.functions["snapshot_publisher"]
    place = replace(PLACE, d1_url="http://127.0.0.1:8300", secrets={**PLACE.secrets, "d1_token": "d1-secret"})
    names = ("D1_API_BASE", "CF_ACCOUNT_ID", "CF_D1_DATABASE_ID", "CLOUDFLARE_API_TOKEN")
    given = plan.settings(MANIFEST, function, place)
    assert (given["D1_API_BASE"], given["CLOUDFLARE_API_TOKEN"]) == ("http://127.0.0.1:8300/client/v4", "d1-secret")
    found = from_outside(MANIFEST, {"CLOUDFLARE_API_TOKEN": "mine", "CF_ACCOUNT_ID": "a1"})
    given = plan.settings(MANIFEST, function, replace(place, overrides=found))
    assert [given[name] for name in names] == ["https://api.cloudflare.com/client/v4", "a1", "", "mine"]
    assert not set(names) & set(from_outside(MANIFEST, {"SNAPSHOT_API_URL": "https://receiver.example"}))


def test_what_the_desk_decides_itself_cannot_be_set_from_outside() -> None:
    outside = {"FILLBOOK_ENV": "cloud", "FILLBOOK_OIDC_CALLERS": "eve@x", "FILLBOOK_DATABASE_URL": "postgresql://x@y/z"}
    assert from_outside(MANIFEST, outside) == {}


def test_an_operator_gets_what_the_rooms_verbs_need() -> None:
    given = plan.operator_settings(MANIFEST, PLACE)
    assert given["FILLBOOK_DATABASE_URL"].endswith("?role=desk_operator")
    assert given["FILLBOOK_DESK_KEY"] == "desk-secret"
    assert given["DISCORD_API_BASE"] == "http://127.0.0.1:8200/api/v10"
    assert "INGEST_TOKENS" not in given
