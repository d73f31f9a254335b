"""What an installation decides is checked whole before anything is planned; every problem is told, no secret can stand there."""

from __future__ import annotations

from typing import Any

import pytest

from infra.cloud import stack
from infra.cloud.settings import TRADINGVIEW, SettingsError, parse
from infra.manifest import load

EXAMPLE = stack.document()
KEYS = {"host": "a.example.com", "addresses": ["192.0.2.1"]}


def problems(**changes: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parse({**EXAMPLE, **changes}, load())
    return caught.value.problems


def test_the_example_can_be_used_and_lets_in_the_addresses_of_the_chart_service_alone() -> None:
    settings = parse(EXAMPLE, load())
    assert settings.doors["signal_ingest"].addresses == TRADINGVIEW
    assert settings.gateway is None


def test_everything_that_is_wrong_is_told_at_once() -> None:
    found = problems(project="Fillbook", budget=0, alert_emails=[], operators=["everybody"])
    assert [text.partition(":")[0] for text in found] == ["project", "budget", "alert_emails", "everybody"]


def test_names_that_are_missing_or_unknown_are_told_by_name() -> None:
    document = {name: value for name, value in EXAMPLE.items() if name != "project"}
    with pytest.raises(SettingsError, match=r"unknown colour; settings: missing project"):
        parse({**document, "colour": "blue"}, load())


@pytest.mark.parametrize("version", ["latest", "0", "1a", ""])
def test_a_version_of_a_secret_is_a_number(version: str) -> None:
    (problem,) = problems(secret_versions={**EXAMPLE["secret_versions"], "DESK_KEYS": version})
    assert problem.startswith("secret_versions: DESK_KEYS: a number")


def test_an_image_is_named_by_its_digest() -> None:
    (problem,) = problems(digests={**EXAMPLE["digests"], "signal_worker": "newest"})
    assert problem == "digests: signal_worker: sha256: and 64 digits"


def test_the_desk_needs_every_image_and_every_secret_and_the_ground_neither() -> None:
    found = problems(digests={}, secret_versions={})
    assert len(found) == len(load().functions) + 1 + len({name for one in load().functions.values() for name in one.secrets})
    assert parse({**EXAMPLE, "digests": {}, "secret_versions": {}, "stage": "ground"}, load()).stage == "ground"


@pytest.mark.parametrize(
    ("doors", "expected"),
    [
        ({}, "doors: signal_ingest must have one"),
        (
            {"signal_ingest": KEYS, "signal_worker": {**KEYS, "host": "b.example.com"}},
            "doors: signal_worker is no function with keys",
        ),
        ({"signal_ingest": KEYS, "trade_tracker": KEYS}, "doors: a.example.com stands twice"),
        ({"signal_ingest": {**KEYS, "addresses": []}}, "doors: signal_ingest: no address may ask"),
        ({"signal_ingest": {**KEYS, "addresses": ["0.0.0.0/0"]}}, "doors: signal_ingest: 0.0.0.0/0 is half the internet"),
        ({"signal_ingest": {**KEYS, "addresses": ["TradingView"]}}, "doors: signal_ingest: 'TradingView' is no address"),
        ({"signal_ingest": {**KEYS, "host": "somewhere"}}, "doors: signal_ingest: 'somewhere' is no host name"),
    ],
)
def test_a_door_has_a_host_of_its_own_and_a_list_of_addresses(doors: dict[str, Any], expected: str) -> None:
    (problem,) = problems(doors=doors)
    assert problem.startswith(expected)


def test_a_setting_that_the_manifest_does_not_have_or_that_is_a_secret_there_is_refused() -> None:
    assert problems(env={"account_sync": {"MT5_SERVICE_API_KEY": "x"}}) == [
        "env: account_sync has no setting MT5_SERVICE_API_KEY"
    ]
    assert problems(env={"nobody": {}}) == ["env: no function nobody"]


def test_builds_start_from_an_image_that_cannot_be_another_tomorrow() -> None:
    (problem,) = problems(source={"repository": "r", "base": "python:3.11-slim-bookworm"})
    assert problem.startswith("source: base")


def test_a_value_of_another_shape_is_told_and_not_taken() -> None:
    assert problems(database={"tier": "db-custom-1-3840", "colour": "blue"})
    assert problems(doors={"signal_ingest": {"host": "a.example.com"}})
