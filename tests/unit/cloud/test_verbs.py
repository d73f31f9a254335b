"""The verb ``cloud`` shows what would be made and what the policies say, and tells by its exit status what does not hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from infra.cloud import environment, stack, verbs
from infra.cloud.policies import POLICIES
from infra.manifest import load
from tests.support.cloud import changed, planned


def test_the_plan_is_shown_as_a_table_that_says_that_nothing_was_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert verbs.run(["plan"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith("nothing was made")
    assert len(lines) - 1 == int(lines[-1].split()[0])
    assert any(line.split()[:2] == ["pubsub.Topic", "topic/events"] for line in lines)


def test_the_plan_is_shown_with_every_property_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    assert verbs.run(["plan", "--json"]) == 0
    shown = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert shown["schedule/mt5-sync"]["properties"]["schedule"] == "*/5 * * * *"
    assert shown["nat"]["properties"]["nat_ips"] == ["${address/out.self_link}"]


def test_policies_are_shown_one_by_one_and_all_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert verbs.run(["policies"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[:-1]] == list(POLICIES)
    assert lines[-1].endswith("0 objections")


def test_a_policy_that_objects_is_shown_with_the_resource_and_the_exit_status_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert verbs.show_policies(changed(planned(), "schedule/mt5-sync", "time_zone", "New York")) == 1
    assert "        schedule/mt5-sync: 'New York' is no time zone" in capsys.readouterr().out


def test_settings_that_cannot_be_used_are_told_with_the_file_and_nothing_is_planned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "Pulumi.own.yaml"
    path.write_text(yaml.safe_dump({"config": {stack.KEY: {**stack.document(), "stage": "sky"}}}), encoding="utf-8")
    assert verbs.run(["plan", "--settings", str(path)]) == 2
    assert verbs.run(["plan", "--settings", str(tmp_path / "absent.yaml")]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert f"{path}: stage: ground or desk" in told.err


def test_the_example_counts_as_nobodys_own_and_an_installations_file_is_ignored_by_git() -> None:
    ignored = (environment.ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert ignored.index("infra/cloud/Pulumi.*.yaml") < ignored.index("!infra/cloud/Pulumi.example.yaml")
    assert set(stack.document()["digests"]) == {*load().functions, "migrate"}


def test_pulumi_is_told_the_environment_that_the_verb_makes() -> None:
    program = yaml.safe_load((stack.EXAMPLE.parent / "Pulumi.yaml").read_text("utf-8"))
    assert (stack.EXAMPLE.parent / program["runtime"]["options"]["virtualenv"]).resolve() == environment.FOLDER


def test_an_environment_of_another_lock_counts_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp = tmp_path / "stamp"
    monkeypatch.setattr(environment, "STAMP", stamp)
    assert not environment.is_ready()
    stamp.write_text(environment._digest(), encoding="utf-8")
    assert environment.is_ready()
    monkeypatch.setattr(environment, "LOCK", environment.SOURCE)
    assert not environment.is_ready()
