"""Runs the scripts of the build files as the platform does, with stand-ins for the programs they call.

A step's substitutions are replaced as the platform replaces them, its script runs under a plain shell, and each foreign program
is a script that writes down its arguments. What the real programs would do with them nobody here can say; what they are asked,
these tests do.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """#!/bin/sh
{ printf '%s' "$(basename "$0")"; for one in "$@"; do printf '\\037%s' "$one"; done; printf '\\036'; } >>"$CALLS"
case "$*" in
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a step ended, and what it called: program and arguments."""

    status: int
    stderr: str
    calls: tuple[tuple[str, ...], ...]

    def without_quiet(self) -> list[str]:
        """Each call as one line, without the flag that only says that nobody is there to ask."""
        return [" ".join(word for word in call if word != "--quiet") for call in self.calls]


class Workspace:
    """A folder like the platform's, with stand-ins on its path; ``answers``: (part of the arguments, what is printed)."""

    def __init__(self, folder: Path, answers: Mapping[str, str] | None = None) -> None:
        self.folder, self.bin = folder / "workspace", folder / "bin"
        self.calls = folder / "calls"
        self.folder.mkdir()
        self.bin.mkdir()
        cases = "".join(f"  *{quoted(part)}*) printf '%s\\n' {quoted(text)} ;;\n" for part, text in (answers or {}).items())
        for name in ("docker", "gcloud"):
            path = self.bin / name
            path.write_text(f"{PROGRAM}{cases}  *) ;;\nesac\n", "utf-8")
            path.chmod(0o755)

    def run(self, file: str, step: str, **substitutions: str) -> Ran:
        """Run one step's script; ``substitutions`` go over the file's own."""
        build = yaml.safe_load((ROOT / file).read_text("utf-8"))
        (wanted,) = (one for one in build["steps"] if one["id"] == step)
        known = {"PROJECT_ID": "desk-1", "BUILD_ID": "b-7", **build["substitutions"], **substitutions}
        environment = dict(replaced(one, known).split("=", 1) for one in wanted["env"])
        environment |= {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", "CALLS": str(self.calls), "LC_ALL": "C.UTF-8"}
        self.calls.unlink(missing_ok=True)
        script = self.folder.parent / "script"
        script.write_text(wanted["script"], "utf-8")
        done = subprocess.run(
            ["/bin/sh", str(script)], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        told = self.calls.read_text("utf-8") if self.calls.exists() else ""
        calls = tuple(tuple(call.split("\x1f")) for call in told.split("\x1e") if call)
        return Ran(status=done.returncode, stderr=done.stderr, calls=calls)


def replaced(text: str, known: Mapping[str, Any]) -> str:
    """A text with its substitutions; KeyError for one that is not given, as the platform refuses it."""
    return re.sub(r"\$\{?([A-Z_][A-Z0-9_]*)\}?", lambda match: str(known[match[1]]), text)


def quoted(text: str) -> str:
    """A text as a shell reads it back."""
    return "'" + text.replace("'", "'\\''") + "'"
