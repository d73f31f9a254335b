"""Runs the runbook's local commands: verbs of ours in this process, other programs as a person's shell would start them."""

from __future__ import annotations

import importlib
import io
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from urllib.parse import urlsplit

from infra.dev import VERBS
from infra.local.home import ROOT
from infra.local.postgres import binaries

DOOR = ["python3", "infra/dev.py"]


def surroundings(settings: Mapping[str, str], dump: str, restored: str) -> dict[str, str]:
    """The settings of a person at a desk's console: an operator's, and where the server is for its own programs.

    ``dump``: the path that ``$DUMP`` names; ``restored``: the database whose URL is ``$RESTORED_URL``.
    """
    url = urlsplit(settings["FILLBOOK_DATABASE_URL"])
    return {
        **settings,
        "PATH": f"{binaries()}{os.pathsep}{os.environ['PATH']}",
        "PGHOST": str(url.hostname),
        "PGPORT": str(url.port),
        "PGUSER": str(url.username),
        "PGDATABASE": url.path.removeprefix("/"),
        "DUMP": dump,
        "RESTORED_URL": url._replace(path=f"/{restored}").geturl(),
    }


def run(text: str, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run one command; its exit status and everything it said."""
    words = shlex.split(text)
    given: dict[str, str] = {}
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        name, _, value = words.pop(0).partition("=")
        given[name] = re.sub(r"\$([A-Z_]+)", lambda found: environment[found[1]], value)
    environment = {**environment, **given}
    if words[:2] == DOOR:
        return _verb(words[2:], environment)
    done = subprocess.run(["bash", "-c", text], cwd=ROOT, env=dict(environment), capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def _verb(words: list[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """What `infra/dev.py` would start, called instead: a process a verb would cost the suite half a minute."""
    if words[0] == "op":
        target, arguments = f"fillbook.{words[1]}.__main__:main", words[2:]
    else:
        target, arguments = VERBS[words[0]].target, words[1:]
    module, _, name = target.partition(":")
    said = io.StringIO()
    with _environment(environment), redirect_stdout(said), redirect_stderr(said):
        try:
            status = int(getattr(importlib.import_module(module), name)(arguments) or 0)
        except SystemExit as left:
            status = int(left.code or 0)
    return status, said.getvalue()


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    kept = dict(os.environ)
    os.environ.clear()
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)
