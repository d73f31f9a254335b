"""``new function|room NAME``: the furniture that every function and every room starts with.

A new function is a scheduled shell with its manifest entry, a new room a package with its place among the layers; both
pass ``check`` as they are, so that the first own line is written on green. It refuses a name that is taken or that Python,
Postgres or the cloud would not take, and it leaves migrations, grants and meaning to a person.
"""

from __future__ import annotations

import re
from pathlib import Path

from infra.door import builds, generated
from infra.manifest import parse

ROOT = Path(__file__).resolve().parents[2]
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
NAME_LENGTH_MAX = 24

SHELL = '''"""Says in one sentence what {name} is for, and what it refuses to do."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import functions_framework
from flask import Request, Response

from fillbook.runtime.auth import OidcVerifier, verifier_for
from fillbook.runtime.clock import clock_for
from fillbook.runtime.config import OidcConfig
from fillbook.runtime.http import CronCall, cron_edge


class {title}Config(OidcConfig):
    """What {name} is told by its environment; a field's name in capitals is the variable's name."""


@functools.cache
def config() -> {title}Config:
    """Read on first call, once."""
    return {title}Config.from_environment()


@functools.cache
def verifier() -> OidcVerifier:
    """Who may call."""
    return verifier_for(config())


def run(call: CronCall) -> Mapping[str, object]:
    """One use case: hand it what it needs, answer with what it found."""
    return {{"job": call.job, "now": clock_for(config()).now()}}


edge = cron_edge("{name}", {{"/": run}}, verify=lambda request: verifier().check(request))


@functions_framework.http
def {name}(request: Request) -> Response:
    """The entry point."""
    return edge(request)
'''
REQUIREMENTS = "cryptography\nfunctions-framework\ngoogle-auth\npydantic\nrequests\n"
FUNCTION_ENTRY = """\
  {name}:
    purpose: Says in one sentence what {name} is for.
    trigger: schedule
    routes:
      POST /: oidc
    timeout_seconds: 60
    memory_mb: 256
    concurrency: 4
    max_instances: 1
    min_instances: 0
    service_account: fb-{cloud_name}

"""
SCHEDULE_ENTRY = """\
  - name: {cloud_name}
    function: {name}
    path: /
    cron: "0 6 * * 1-5"
    time_zone: America/New_York
    body: {{}}
    retries: 3
    deadline_seconds: 60
"""
ROOM_FILES = {
    "shared/fillbook/{name}/__init__.py": '"""Room `{name}`: says in one sentence what it keeps, and what it refuses."""\n',
    "shared/fillbook/{name}/model.py": '''"""The nouns of room {name}: frozen values, pure, made of values of the rooms below."""

from __future__ import annotations

from fillbook.values import frozen


@frozen
class {title}:
    """The first noun; its fields carry units in their names."""

    name: str
''',
    "shared/fillbook/{name}/service.py": '''"""What can be done in room {name}: use cases take `db`, their parts take `tx`."""

from __future__ import annotations

from fillbook.{name}.model import {title}


def describe(noun: {title}) -> str:
    """The first use case; returns the noun's own word."""
    return noun.name
''',
    "tests/unit/{name}/test_service.py": '''"""Room {name}, without a database."""

from __future__ import annotations

from fillbook.{name}.model import {title}
from fillbook.{name}.service import describe


def test_a_noun_is_described_by_its_own_word() -> None:
    assert describe({title}(name="first")) == "first"
''',
}
LAYER = re.compile(r"^    \(signal\).*$", re.MULTILINE)


def new_function(name: str, root: Path = ROOT) -> list[Path]:
    """Write a function's folder and its manifest entries; returns the files written or changed."""
    folder = root / "functions" / name
    require_free(name, folder)
    words = {"name": name, "cloud_name": name.replace("_", "-"), "title": title(name)}
    path = root / "infra" / "functions.yaml"
    text = path.read_text("utf-8")
    text = text.replace("\nfunctions:\n", "\nfunctions:\n" + FUNCTION_ENTRY.format(**words), 1)
    text = text.replace("\nschedules:\n", "\nschedules:\n" + SCHEDULE_ENTRY.format(**words), 1)
    manifest = parse(text)
    folder.mkdir(parents=True)
    written = {
        folder / "main.py": SHELL.format(**words),
        folder / "requirements.txt": REQUIREMENTS,
        path: text,
        root / "README.md": generated.readme((root / "README.md").read_text("utf-8"), manifest),
        root / "cloudbuild.yaml": builds.cloudbuild(manifest),
        root / builds.CLOUD / "rollback.yaml": builds.rollback(manifest),
        **{root / path: flags for path, flags in builds.flag_files(manifest).items()},
    }
    write(written)
    triggers = root / builds.CLOUD / "triggers.yaml"  # read from the folders, the new one among them
    return [*written, *write({triggers: builds.HEAD + builds.dumped(builds.triggers(manifest, root))})]


def new_room(name: str, root: Path = ROOT) -> list[Path]:
    """Write a room's furniture and give it a place beside ``signal``; returns the files written or changed."""
    require_free(name, root / "shared" / "fillbook" / name)
    if (root / "shared" / "fillbook" / f"{name}.py").exists():
        raise ValueError(f"{name} is taken")
    words = {"name": name, "title": title(name)}
    layers = root / ".importlinter"
    text = layers.read_text("utf-8")
    if LAYER.search(text) is None:
        raise ValueError(".importlinter no longer has the layer of room signal")
    written = {root / path.format(**words): body.format(**words) for path, body in ROOM_FILES.items()}
    return write(written | {layers: LAYER.sub(lambda match: f"{match[0]} | ({name})", text, count=1)})


def require_free(name: str, folder: Path) -> None:
    """Refuse (``ValueError``) a name that does not fit everywhere or is taken."""
    if not NAME.fullmatch(name) or len(name) > NAME_LENGTH_MAX:
        raise ValueError(f"{name!r} is no name: small letters, digits and single underscores, at most {NAME_LENGTH_MAX}")
    if folder.exists():
        raise ValueError(f"{name} is taken")


def title(name: str) -> str:
    """``night_owl`` as a class would be called: ``NightOwl``."""
    return "".join(word.capitalize() for word in name.split("_"))


def write(files: dict[Path, str]) -> list[Path]:
    """Write all files, making folders where needed."""
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return list(files)


def run(argv: list[str]) -> int:
    """Write the furniture and say what was written and what is left to a person."""
    kinds = {"function": new_function, "room": new_room}
    if len(argv) != 2 or argv[0] not in kinds:
        print("new function|room NAME")
        return 2
    try:
        written = kinds[argv[0]](argv[1])
    except ValueError as error:
        print(error)
        return 2
    for path in written:
        print(path.relative_to(ROOT))
    print("now say what it is for: in its docstring" + (" and the manifest's purpose line" if argv[0] == "function" else ""))
    return 0
