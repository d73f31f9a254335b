"""The runbook's commands have a kind and a form, name what exists, and there is a section for whatever may happen.

Those that can run on this machine are run by ``tests/integration/local/test_run_verb.py``. Those of the cloud are held to their
form only: nobody has run them against a project.
"""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from functools import cache

import pytest

from fillbook.replay.function_calls import ReplayClientConfig
from infra.cloud import names, signs
from infra.database import budget
from infra.dev import VERBS
from infra.door.operators import ROOMS
from infra.manifest import load
from tests.support.runbook import CLOUD, FENCE, LOCAL, RUNBOOK, SQL, Command, commands, headings, of_kind

TEXT = RUNBOOK.read_text("utf-8")
DATABASE = RUNBOOK.with_name("database.md").read_text("utf-8")
MANIFEST = load()
DOOR = "python3 infra/dev.py"
PROGRAMS = ("gcloud", "pulumi", "curl", "export", DOOR)
WITHOUT_PROJECT = ("auth", "projects", "billing")
SPOKEN = "|".join(sorted(path.parent.name for path in ROOMS.glob("*/__main__.py")))
ASIDE = re.compile(rf"`(op (?:{SPOKEN}) [a-z][^`]*)`")
SERVICES = {entry.cloud_name for entry in MANIFEST.functions.values()}
JOBS = {entry.job_name for entry in MANIFEST.functions.values() if entry.job_entry} | {names.MIGRATE_JOB}
SECRETS = {names.secret_id(setting) for setting in names.secret_readers(MANIFEST)}
KNOWN = (
    (r"resource\.labels\.service_name=\"([\w-]+)\"|run services describe ([\w-]+)|--service=([\w-]+)", SERVICES),
    (r"run jobs execute ([\w-]+)|--job=([\w-]+)", JOBS),
    (r"secrets versions add ([\w-]+)|--secret=([\w-]+)", SECRETS),
    (r"scheduler jobs \w+ ([\w-]+)", {one.name for one in MANIFEST.schedules}),
    (r"pubsub subscriptions \w+ ([\w-]+)", {one.name for one in MANIFEST.subscriptions}),
    (r"_FUNCTION=(\w+)", {*MANIFEST.functions, names.MIGRATE_ENTRY}),
    (r"--instance=([\w-]+)|sql instances clone ([\w-]+)", {names.SQL_INSTANCE}),
    (r"--config=(\S+)", {"infra/cloud/rollback.yaml"}),
)


@cache
def parser_of(room: str) -> argparse.ArgumentParser:
    """The room's own parser, which exits with what it does not know."""
    module = importlib.import_module(f"fillbook.{room}.__main__")
    found: argparse.ArgumentParser = (
        module._parser(ReplayClientConfig(fillbook_env="cloud")) if room == "replay" else module._parser()
    )
    return found


def verbs_of(room: str) -> set[str]:
    (choices,) = (one.choices for one in parser_of(room)._actions if isinstance(one, argparse._SubParsersAction))
    return set(choices)


def ours(text: str) -> list[str]:
    """The words after our door, where a command goes through it."""
    words = shlex.split(text.partition(" > ")[0])
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    return words[2:] if words[:2] == DOOR.split() else []


def test_every_block_is_of_a_kind_and_every_command_begins_like_one() -> None:
    found = list(commands(TEXT))
    assert {one.kind for one in found} == {LOCAL, CLOUD, SQL}
    assert len(found) > 90
    assert TEXT.count("```") == 2 * len(list(FENCE.finditer(TEXT)))
    assert "```sh" not in TEXT + DATABASE


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        ("```sh\nls\n```", "kind 'sh'"),
        ("```\nls\n```", "kind ''"),
        ("```console local\nls\n```", "no command"),
        ("```sql local\nselect\n```", "semicolon"),
    ],
)
def test_a_block_of_another_kind_is_refused(block: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        list(commands(f"# T\n\n{block}\n"))


@pytest.mark.parametrize("command", [one for one in commands(TEXT) if one.kind != SQL], ids=lambda one: f"line {one.line}")
def test_a_command_of_ours_is_a_verb_that_exists(command: Command) -> None:
    words = ours(command.text)
    if words and words[0] == "op":
        assert words[2] in verbs_of(words[1])
        parser_of(words[1]).parse_args(words[2:])
    elif words:
        assert words[0] in VERBS


def test_a_verb_that_is_named_in_a_sentence_exists_too() -> None:
    found = [text.split() for text in ASIDE.findall(TEXT)]
    assert len(found) > 40
    assert [" ".join(words) for words in found if words[2] not in verbs_of(words[1])] == []


@pytest.mark.parametrize("command", of_kind(CLOUD), ids=lambda one: f"line {one.line}")
def test_a_command_of_the_cloud_has_its_form_and_names_what_exists(command: Command) -> None:
    text = re.sub(r"^[A-Z]+=\$\(", "", command.text)
    assert text.startswith(PROGRAMS), text
    words = shlex.split(command.text.partition(" > ")[0], posix=False)
    for call in re.findall(r"gcloud (\S+)[^|]*", text):
        assert '--project="$PROJECT"' in text or call in WITHOUT_PROJECT
    assert not any(re.fullmatch(r"--(project|stack)=?[a-z].*", word) for word in words), "a project or stack is a variable"
    assert command.shown == (), "nobody has seen what it shows"
    for pattern, known in KNOWN:
        mentioned = {name for match in re.finditer(pattern, text) for name in match.groups() if name}
        assert mentioned <= known, pattern


def test_every_alert_names_a_section_that_says_what_to_do() -> None:
    sections = dict(re.findall(r"^### ([a-z0-9-]+)\n\n(.+?)(?=^#)", TEXT, re.MULTILINE | re.DOTALL))
    assert [one.section for one in signs.ALERTS if len(sections.get(one.section, "")) < 60] == []


def test_every_secret_of_the_manifest_says_how_it_is_rotated() -> None:
    begin, end = TEXT.index("## Secrets and their rotation"), TEXT.index("## Alerts")
    rows = " ".join(line.split("|")[1] for line in TEXT[begin:end].splitlines() if line.startswith("|"))
    more = " ".join(re.findall(r"`INTERNAL_TOKEN_PREVIOUS`", TEXT[begin:end]))
    assert [name for name in names.secret_readers(MANIFEST) if f"`{name}`" not in rows + more] == []


def test_every_secret_that_the_desk_requires_is_filled_in_the_first_deployment() -> None:
    first = TEXT[TEXT.index("## First deployment") : TEXT.index("## Secrets and their rotation")]
    required = {names.secret_id(name) for entry in MANIFEST.functions.values() for name in entry.secrets}
    assert set(re.findall(r"secrets versions add ([\w-]+)", first)) == required


def test_links_between_the_operators_documents_lead_somewhere() -> None:
    for text, other in ((TEXT, DATABASE), (DATABASE, TEXT)):
        assert [name for name in re.findall(r"\]\(#([^)]+)\)", text) if name not in headings(text)] == []
        assert [name for name in re.findall(r"\]\((?:database|runbook)\.md#([^)]+)\)", text) if name not in headings(other)] == []
        for name in re.findall(r"\]\(([a-z0-9-]+\.md)", text):
            assert RUNBOOK.with_name(name).is_file(), name


def test_the_budget_of_connections_stands_as_the_manifest_makes_it() -> None:
    assert budget.table(MANIFEST) in DATABASE


def test_every_holder_together_leaves_a_fifth_and_the_fifth_is_enough_for_a_deployment() -> None:
    most, kept = MANIFEST.max_connections, MANIFEST.database.reserved_connections
    planned, twice = budget.planned(MANIFEST), budget.deployed_twice(MANIFEST)
    holders = [share.holder for share in budget.shares(MANIFEST)]
    assert {"signal_worker", "replay-worker-job", "migrate", "operator", "maintenance"} <= set(holders)
    assert len(holders) == len(set(holders))
    assert planned <= most * budget.PLANNED_PERCENT_MAX // 100
    assert planned + twice + kept <= most
    assert MANIFEST.database.people["operator"].account == MANIFEST.operator_identity
