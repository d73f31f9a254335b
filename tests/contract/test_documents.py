"""Documents say what is so: their links lead somewhere, their commands exist, their names are the project's names."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from fillbook.replay import __main__ as replay
from fillbook.replay.function_calls import ReplayClientConfig
from infra.dev import VERBS, listing
from infra.door import tidy
from infra.manifest import load

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(ROOT / source.path for source in tidy.sources(ROOT) if source.path.endswith(".md"))
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)")
REPLAY = re.compile(r"\bop replay ((?:run|compare|pin|unpin)\b[^`#\n]*)")
COMMAND = re.compile(r"infra/dev\.py +([a-z][a-z-]*)(?: +([a-z0-9_]+))?")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    links = [link for link in LINK.findall(path.read_text("utf-8")) if not re.match(r"[a-z]+:", link)]
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_documents_exist(path: Path) -> None:
    rooms = {entry.parent.name for entry in (ROOT / "shared" / "fillbook").glob("*/__main__.py")}
    for verb, word in COMMAND.findall(path.read_text("utf-8")):
        assert verb in VERBS, f"infra/dev.py {verb}"
        if verb == "op" and word:
            assert word in rooms, f"op {word}"


def test_a_replay_command_in_a_document_is_one_that_the_client_takes() -> None:
    parser = replay._parser(ReplayClientConfig(fillbook_env="local"))
    found = []
    for name in ("README.md", "infra/docs/replay.md", "infra/docs/runbook.md"):
        for words in REPLAY.findall((ROOT / name).read_text("utf-8")):
            asked = parser.parse_args(shlex.split(words.replace("DATE", "2026-02-02")))
            found.append(asked.verb.__name__)
    assert set(found) == {"_run", "_compare", "_pin"}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_of_the_door_has_someone_who_does_it(verb: str) -> None:
    module, _, function = VERBS[verb].target.partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_the_door_lists_every_verb_with_one_line() -> None:
    lines = listing().splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(VERBS)
    assert all(len(line) <= 110 for line in lines)


def test_every_function_has_its_row_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert [name for name in load().functions if f"| `{name}` |" not in text] == []


def test_the_readme_names_the_two_commands_first() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert text.index("python3 infra/dev.py run") < text.index("python3 infra/dev.py test") < text.index("## Functions")
