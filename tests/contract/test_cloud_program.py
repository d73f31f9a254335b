"""The real cloud program, with the engine replaced by mocks: it registers the plan and nothing else, in the provider's own types.

It needs the cloud program's own environment, which ``python3 infra/dev.py cloud program`` makes; without it, it is skipped.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from infra.cloud import environment, model, stack
from infra.cloud.model import Resource
from infra.cloud.policies import violations
from tests.support.cloud import planned

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not environment.is_ready(), reason="the program has no environment here: python3 infra/dev.py cloud program makes it"
    ),
]

BODY = {"service_account": "a@b", "containers": [{"image": "x"}]}
TEMPLATE = {"location": "us-east4", "template": BODY}
PROBES: Mapping[str, tuple[str, dict[str, Any], str]] = {
    "sound": (model.SERVICE, TEMPLATE, ""),
    "a name that is misspelt": (model.SERVICE, {**TEMPLATE, "ingres": "x"}, "probe: ServiceArgs has no ingres"),
    "a name that is misspelt inside": (
        model.SERVICE,
        {**TEMPLATE, "template": {**BODY, "containers": [{"image": "x", "resource": {}}]}},
        "probe.template.containers[0]: ServiceTemplateContainerArgs has no resource",
    ),
    "a name that is missing": (model.SERVICE, {"location": "us-east4"}, "missing 1 required keyword-only argument: 'template'"),
    "a text for a number": (
        model.SERVICE,
        {**TEMPLATE, "template": {**BODY, "max_instance_request_concurrency": "8"}},
        "probe.template.max_instance_request_concurrency: int is wanted, not '8'",
    ),
    "a number for a text": (
        model.SUBSCRIPTION,
        {"topic": "t", "retry_policy": {"minimum_backoff": 10}},
        "probe.retry_policy.minimum_backoff: str is wanted, not 10",
    ),
    "a list for one": (model.SUBSCRIPTION, {"topic": "t", "push_config": [{}]}, "SubscriptionPushConfigArgs is wanted"),
    "one for a list": (model.SERVICE, {**TEMPLATE, "custom_audiences": "x"}, "is wanted, not 'x'"),
}


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """What the program registered, and what the provider's types object to in the probes."""
    probes = [{"type": kind, "properties": properties} for kind, properties, _ in PROBES.values()]
    done = subprocess.run(
        [str(environment.PYTHON), "tests/support/cloud_registered.py"],
        cwd=environment.ROOT,
        input=json.dumps({"settings": {**stack.document(), "gateway": {}}, "probes": probes}),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def registered(told: dict[str, Any]) -> dict[str, Resource]:
    """The registered resources by name, with their properties in snake case again."""
    found = [Resource(type=one["type"], name=one["name"], properties=snake(one["inputs"])) for one in told["resources"]]
    assert len({one.name for one in found}) == len(found)
    return {one.name: one for one in found}


def snake(value: Any) -> Any:
    if isinstance(value, dict):
        return {re.sub(r"(?<=[a-z0-9])([A-Z])", lambda at: f"_{at[1].lower()}", key): snake(item) for key, item in value.items()}
    return [snake(item) for item in value] if isinstance(value, list) else value


def test_the_program_registers_the_plan_to_the_letter(registered: dict[str, Resource]) -> None:
    wanted = {one.name: (one.type, json.loads(json.dumps(one.properties))) for one in planned()}
    assert registered.keys() == wanted.keys()
    assert [name for name, one in registered.items() if (one.type, one.properties) != wanted[name]] == []


def test_what_is_registered_breaks_no_policy(registered: dict[str, Resource]) -> None:
    assert violations(tuple(registered.values())) == []


@pytest.mark.parametrize("name", PROBES)
def test_a_property_that_the_provider_does_not_take_is_an_error_before_anything_is_made(told: dict[str, Any], name: str) -> None:
    objection, expected = told["objections"][list(PROBES).index(name)], PROBES[name][2]
    assert expected in objection if expected else objection == ""
