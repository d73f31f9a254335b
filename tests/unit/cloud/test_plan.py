"""The plan is one tuple without a name twice, in an order that can be made, and a part of it can be made first."""

from __future__ import annotations

import pytest

from infra.cloud import model
from infra.cloud.model import Ref, Resource
from infra.cloud.plan import needs, ordered, plan
from infra.manifest import load
from tests.support.cloud import planned, settings


def test_everything_comes_after_what_it_needs() -> None:
    known: set[str] = set()
    for one in ordered(plan(load(), settings())):
        assert needs(one) <= known, one.name
        known.add(one.name)


def test_the_order_is_the_same_each_time() -> None:
    assert ordered(plan(load(), settings())) == ordered(plan(load(), settings()))


def test_resources_that_wait_for_each_other_are_refused() -> None:
    pair = (
        Resource(type=model.TOPIC, name="a", properties={"x": Ref(name="b", attribute="id")}),
        Resource(type=model.TOPIC, name="b", properties={}, depends=("a",)),
    )
    with pytest.raises(ValueError, match="these wait for each other: a, b"):
        ordered(pair)


def test_the_ground_is_a_part_of_the_desk_and_runs_nothing() -> None:
    ground = plan(load(), settings(stage="ground", digests={}, secret_versions={}))
    desk = {one.name: one for one in plan(load(), settings())}
    runs = {model.SERVICE, model.JOB, model.SUBSCRIPTION, model.SCHEDULE, model.FORWARDING, model.TRIGGER}
    assert not runs & {one.type for one in ground}
    assert all(desk[one.name] == one for one in ground)
    assert {model.SQL, model.REGISTRY, model.SECRET, model.ACCOUNT, model.TOPIC, model.BUDGET} <= {one.type for one in ground}


def test_without_a_gateway_there_is_no_machine_and_no_rule_that_lets_anything_in() -> None:
    found = {one.type for one in plan(load(), settings(gateway=None))}
    assert not {model.MACHINE, model.FIREWALL, model.MACHINE_MEMBER, model.TUNNEL_MEMBER} & found


def test_without_a_repository_nothing_starts_a_build() -> None:
    assert model.TRIGGER not in {one.type for one in plan(load(), settings(source=None))}


def test_more_addresses_than_a_rule_takes_are_several_rules_before_the_one_that_refuses_everybody() -> None:
    addresses = [f"198.51.100.{number}" for number in range(25)]
    doors = {"signal_ingest": {"host": "hook.example.com", "addresses": addresses}}
    (rules,) = (one.get("rules") for one in plan(load(), settings(doors=doors)) if one.type == model.ADDRESS_RULES)
    allowed = [rule["match"]["config"]["src_ip_ranges"] for rule in rules if rule["action"] == "allow"]
    assert [len(part) for part in allowed] == [10, 10, 5]
    assert [each for part in allowed for each in part] == addresses
    assert (rules[-1]["action"], rules[-1]["priority"]) == ("deny(403)", 2147483647)


def test_other_hosts_are_another_certificate_so_that_the_old_one_can_stay_until_it_is_there() -> None:
    doors = {"signal_ingest": {"host": "other.example.com", "addresses": ["192.0.2.1"]}}
    found = [
        one.get("name")
        for given in ({}, {"doors": doors})
        for one in plan(load(), settings(**given))
        if one.type == model.CERTIFICATE
    ]
    assert len(set(found)) == 2


def test_what_is_given_up_is_kept_longer_than_what_may_still_be_taken() -> None:
    kept = {one.name: one.get("message_retention_duration") for one in planned() if one.type == model.SUBSCRIPTION}
    assert kept["subscription/events-discord_notifier"] == "604800s"
    assert kept["subscription/events-dead-discord_notifier"] == "2678400s"


def test_a_keyed_function_without_a_door_is_reached_from_inside_alone() -> None:
    doors = {"signal_ingest": {"host": "hook.example.com", "addresses": ["192.0.2.1"]}}
    found = {one.name: one for one in plan(load(), settings(doors=doors))}
    assert found["service/trade-tracker"].get("ingress") == "INGRESS_TRAFFIC_INTERNAL_ONLY"
    assert "edge/trade-tracker/backend" not in found


def test_a_property_is_found_by_its_path_and_absent_otherwise() -> None:
    one = Resource(type=model.TOPIC, name="a", properties={"x": [{"y": 1}], "z": None})
    assert (one.get("x.0.y"), one.get("x.1.y"), one.get("x.y", 3), one.get("z")) == (1, None, 3, None)
    assert (one.kind, one.place) == ("Topic", "pubsub.Topic")


def test_no_secret_of_the_settings_can_be_in_the_plan_because_none_is_asked_for() -> None:
    assert not [one for one in planned() if one.type.startswith("gcp:secretmanager/secretVersion")]
