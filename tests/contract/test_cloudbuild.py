"""The build files are ones that Cloud Build takes: its schema, limits and substitutions; and our door knows their verbs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.cloud import names
from infra.dev import VERBS
from infra.door import builds, bundles
from infra.manifest import load

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = load()
PATHS = ("cloudbuild.yaml", f"{builds.CLOUD}/rollback.yaml")
# what the platform allows: keys of a build and of a step, and how much of each
BUILD_KEYS = {"steps", "timeout", "options", "substitutions", "serviceAccount"}
STEP_KEYS = {"id", "name", "entrypoint", "args", "env", "script", "waitFor", "timeout"}
STEPS_MAX, ARGUMENTS_MAX, ARGUMENT_CHARACTERS_MAX, ENV_MAX, SUBSTITUTIONS_MAX = 100, 100, 10_000, 100, 200
TIMEOUT_SECONDS_MAX = 86_400
BUILT_IN = {"PROJECT_ID", "PROJECT_NUMBER", "BUILD_ID", "LOCATION"}
"""Of the platform's own substitutions those that every build has; names of commits and branches only builds of triggers have."""
REQUIRED = {"cloudbuild.yaml": {"_FUNCTION", "_BASE"}, PATHS[1]: {"_FUNCTION", "_DIGEST"}}
"""What has no default: a build that is not told which function must not take any."""


@pytest.fixture(scope="module", params=PATHS)
def path(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def build(path: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / path).read_text("utf-8"))
    return document


def texts(value: object) -> Iterator[str]:
    """Every text of the file in which the platform replaces substitutions: all but scripts."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from () if key == "script" else texts(one)


def test_a_build_has_no_key_and_no_kind_that_the_platform_does_not_know(build: dict[str, Any]) -> None:
    assert set(build) <= BUILD_KEYS
    assert re.fullmatch(r"\d+s", build["timeout"])
    assert int(build["timeout"][:-1]) <= TIMEOUT_SECONDS_MAX
    assert build["options"] == {"logging": "CLOUD_LOGGING_ONLY"}, "an account of one's own needs it, without a bucket of logs"
    for step in build["steps"]:
        assert set(step) <= STEP_KEYS
        assert not ("script" in step and {"args", "entrypoint"} & set(step)), "the platform refuses both"
        assert all(isinstance(one, str) for one in (*step.get("args", ()), *step.get("env", ()), step.get("script", "")))
        assert all(re.fullmatch(r"[A-Z][A-Z_]*=.+", one) for one in step.get("env", ()))


def test_a_build_stays_within_the_platforms_limits(build: dict[str, Any]) -> None:
    assert 1 <= len(build["steps"]) <= STEPS_MAX
    assert len(build["substitutions"]) <= SUBSTITUTIONS_MAX
    for step in build["steps"]:
        assert len(step.get("args", ())) <= ARGUMENTS_MAX
        assert len(step.get("env", ())) <= ENV_MAX
        assert all(len(one) <= ARGUMENT_CHARACTERS_MAX for one in (*step.get("args", ()), step.get("script", "")))


def test_ids_are_one_of_a_kind_and_steps_wait_for_those_before_them(build: dict[str, Any]) -> None:
    seen: list[str] = []
    for step in build["steps"]:
        assert re.fullmatch(r"[a-z]+", step["id"])
        assert step["id"] not in seen
        assert set(step.get("waitFor", seen)) <= set(seen)
        seen.append(step["id"])


def test_substitutions_are_declared_or_required_and_each_is_used(build: dict[str, Any], path: str) -> None:
    declared = set(build["substitutions"])
    assert all(re.fullmatch(r"_[A-Z0-9_]{1,99}", name) for name in declared | REQUIRED[path])
    found = [text for key, value in build.items() if key != "substitutions" for text in texts(value)]
    used = {name for text in found for name in re.findall(r"\$\{?(\w+)\}?", text.replace("$$", ""))}
    assert used - BUILT_IN == declared | REQUIRED[path], "the platform refuses one that is given and not used, and one unknown"
    assert declared.isdisjoint(REQUIRED[path])
    assert not any("$" in text.replace("$$", "") and not re.search(r"\$\{?[A-Z_]", text) for text in found)


def test_a_value_that_is_handed_over_is_never_text_of_a_script(build: dict[str, Any]) -> None:
    for step in build["steps"]:
        if "script" in step:
            given = {one.partition("=")[0] for one in step["env"]}
            own = set(re.findall(r"^\s*(?:for )?(\w+)(?:=| in )", step["script"], re.MULTILINE))
            used = set(re.findall(r"\$\{?(\w+)", step["script"]))
            assert used <= given | own, "a script sees variables, and only those of its step"
            assert given <= used
            assert not any(name.startswith("_") for name in used)
            assert step["script"].startswith("#!/bin/sh\n")
            assert "set -eu\n" in step["script"]


def test_no_build_names_a_secret_or_what_only_the_cloud_program_decides(build: dict[str, Any], path: str) -> None:
    text = (ROOT / path).read_text("utf-8").lower()
    secrets = {
        names.secret_id(name) for entry in MANIFEST.functions.values() for name in (*entry.secrets, *entry.optional_secrets)
    }
    assert [name for name in secrets if name in text] == []
    refused = [
        ":latest",
        "versions/",
        "availablesecrets",
        "secretenv",
        "database_url",
        "allow-unauthenticated",
        "--service-account",
    ]
    assert [word for word in refused if word in text] == []
    assert build["serviceAccount"].endswith(f"/{names.email(names.BUILD_ACCOUNT, '$PROJECT_ID')}")


def test_the_build_goes_from_check_to_deploy_in_order() -> None:
    build = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text("utf-8"))
    assert [step["id"] for step in build["steps"]] == ["check", "test", "bundle", "build", "migrate", "deploy"]
    assert all("waitFor" not in step for step in build["steps"]), "each waits for all before it"
    checked = {step["name"] for step in build["steps"][:3]}
    assert checked == {"$_BASE"}, "what checks and tests is what the image stands on"


@pytest.mark.parametrize("function", [*MANIFEST.functions, names.MIGRATE_ENTRY])
def test_every_command_of_ours_in_the_build_is_one_that_the_door_takes(function: str) -> None:
    build = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text("utf-8"))
    commands = [step["args"] for step in build["steps"] if step.get("args", [""])[0] == "infra/dev.py"]
    told = {verb: [word.replace("$_FUNCTION", function) for word in words] for _, verb, *words in commands}
    assert set(told) == {"check", "bundle"} <= set(VERBS)
    assert told["check"] == []
    assert bundles.wanted(told["bundle"]) == list(dict.fromkeys([function, names.MIGRATE_ENTRY]))
    assert (ROOT / ".ci" / "run").is_file()


def test_a_bundle_of_nothing_or_of_somebody_unknown_is_refused() -> None:
    assert bundles.wanted([]) is None
    assert bundles.wanted(["signal_ingest", "nobody"]) is None
    assert bundles.wanted(["all"]) == [*bundles.names(ROOT), bundles.MIGRATE]
    assert bundles.MIGRATE == names.MIGRATE_ENTRY


def test_flags_carry_the_functions_own_limits_and_no_secret() -> None:
    for entry in MANIFEST.functions.values():
        flags = yaml.safe_load((ROOT / builds.DEPLOY / f"{entry.name}.yaml").read_text("utf-8"))
        assert flags["--timeout"] == str(entry.timeout_seconds)
        assert flags["--memory"] == f"{entry.memory_mb}Mi"
        assert flags["--concurrency"] == flags["--update-env-vars"]["THREADS"] == str(entry.threads)
        assert (flags["--min-instances"], flags["--max-instances"]) == (str(entry.min_instances), str(entry.max_instances))
        assert not {*entry.secrets, *entry.optional_secrets} & set(flags["--update-env-vars"])
        assert all(isinstance(value, str) for value in flags["--update-env-vars"].values()), "the flag knows texts only"


def test_a_functions_job_runs_the_entry_that_the_manifest_names() -> None:
    with_job = {entry.name for entry in MANIFEST.functions.values() if entry.job_entry is not None}
    assert {path.stem.removesuffix("-job") for path in (ROOT / builds.DEPLOY).glob("*-job.yaml")} == with_job
    for name in with_job:
        flags = yaml.safe_load((ROOT / builds.DEPLOY / f"{name}-job.yaml").read_text("utf-8"))
        assert (*flags["--command"], *flags["--args"]) == names.job_command(MANIFEST.functions[name])
        assert flags["--args"][-1] == f"import main; main.{MANIFEST.functions[name].job_entry}()"
