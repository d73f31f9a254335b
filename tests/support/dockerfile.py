"""Does what a Dockerfile says, in folders, where there is no engine: so what it says is what the tests start.

Knows the instructions that ours uses and refuses any other. A stage is a folder that stands for the root of its file system;
paths that begin with ``/`` are moved below it, in instructions and in ``ENV``. The base image is this Python: bare for what is
started, with pip and the installer at hand for the stage that installs. What an engine adds (layers, users, its own network) is
not shown here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

BASE = "python@sha256:" + "0" * 64
INSTALLED = Path(sys.executable).parents[1] / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


class NoIndex(RuntimeError):
    """What is to be installed is neither kept on this machine nor to be had from an index."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """A finished stage: ``root`` is its file system, ``folder`` the working directory in it."""

    root: Path
    python: Path
    folder: str = "/"
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = "0"
    command: Sequence[str] = ()

    def inside(self, path: str) -> Path:
        """Where a path of the image is on this machine."""
        return self.root / os.path.normpath(PurePosixPath(self.folder) / path).lstrip("/")

    def environment(self) -> dict[str, str]:
        """What is set in it, for a process of this machine."""
        moved = {name: str(self.inside(text)) if text.startswith("/") else text for name, text in self.env.items()}
        return {"PATH": f"{self.python.parent}{os.pathsep}{os.defpath}", "LANG": "C.UTF-8", **moved}

    def digest(self) -> str:
        """One hash over every path, mode and byte in it."""
        total = hashlib.sha256()
        for path in sorted(self.root.rglob("*")):
            content = path.read_bytes() if path.is_file() else b""
            total.update(
                f"{path.relative_to(self.root)}\0{path.stat().st_mode:o}\0{hashlib.sha256(content).hexdigest()}\n".encode()
            )
        return total.hexdigest()


class Builder:
    """Builds targets of one Dockerfile from one context into ``folder``."""

    def __init__(self, dockerfile: Path, context: Path, folder: Path) -> None:
        self._stages = dict(stages(dockerfile.read_text("utf-8")))
        self._context, self._folder = context, folder
        self._bare, self._equipped = folder / "bare" / "bin" / "python", folder / "equipped" / "bin" / "python"
        if not self._bare.exists():
            make_pythons(folder)

    def build(self, target: str, name: str, **arguments: str) -> Image:
        """The image of ``target`` under a name of its own; ``arguments`` as ``--build-arg``."""
        done: dict[str, Image] = {}
        for stage in self._needed(target):
            done[stage] = self._stage(stage, self._folder / name / stage, arguments, done)
        return done[target]

    def _needed(self, target: str) -> list[str]:
        """A stage after those it stands on or copies from."""
        first, *rest = self._stages[target]
        others = [re.search(r"--from=(\S+)", words) for _, words in rest]
        wanted = [first[1], *(found[1] for found in others if found)]
        before = [stage for name in wanted if name in self._stages for stage in self._needed(name)]
        return list(dict.fromkeys([*before, target]))

    def _stage(self, name: str, root: Path, arguments: Mapping[str, str], done: Mapping[str, Image]) -> Image:
        (_, parent), *rest = self._stages[name]
        if parent in done:
            image = replace(done[parent])
        else:
            assert parent.replace("${BASE}", arguments["BASE"]) == arguments["BASE"], (
                "a stage stands on the base, named by digest"
            )
            root.mkdir(parents=True)
            installs = any(kind == "RUN" for kind, _ in rest)
            image = Image(root=root, python=self._equipped if installs else self._bare)
        known: dict[str, str] = {}
        for kind, words in rest:
            if kind == "ARG":
                known[words] = arguments[words]
            else:
                text = re.sub(r"\$\{(\w+)\}", lambda match: known[match[1]], words)
                image = self._instruction(image, kind, text, done)
        return image

    def _instruction(self, image: Image, kind: str, words: str, done: Mapping[str, Image]) -> Image:
        match kind:
            case "WORKDIR":
                image = replace(image, folder=str(PurePosixPath(image.folder) / words))
                image.inside(".").mkdir(parents=True, exist_ok=True)
            case "ENV":
                pairs = dict(pair.split("=", 1) for pair in words.split())
                image = replace(image, env={**image.env, **pairs})
            case "USER":
                image = replace(image, user=words)
            case "CMD":
                image = replace(image, command=tuple(json.loads(words)))
            case "COPY":
                self._copy(image, words.split(), done)
            case "RUN":
                run(image, words)
            case _:
                raise ValueError(f"{kind}: an instruction that these tests do not know")
        return image

    def _copy(self, image: Image, words: list[str], done: Mapping[str, Image]) -> None:
        stage = words.pop(0).partition("=")[2] if words[0].startswith("--from=") else ""
        source, target = words
        origin = done[stage].inside(source) if stage else self._context / source
        if origin.is_dir():
            shutil.copytree(origin, image.inside(target), copy_function=os.link if stage else shutil.copy)
        else:
            shutil.copy(origin, image.inside(target))


def stages(text: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Each stage with its instructions, ``FROM`` first; what stands before the first stage may only be ``ARG``."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    current: list[tuple[str, str]] | None = None
    name = ""
    for line in filter(None, map(str.strip, joined.splitlines())):
        kind, _, words = line.partition(" ")
        if kind == "FROM":
            if current is not None:
                yield name, current
            parent, _, name = words.partition(" AS ")
            current = [("FROM", parent)]
        elif current is not None:
            current.append((kind, words.strip()))
        elif kind != "ARG":
            raise ValueError(f"{line!r} stands before the first stage")
    if current is not None:
        yield name, current


def make_pythons(folder: Path) -> None:
    """Two of this Python: a bare one, and one that finds pip and the installer where the tests' own environment has them."""
    for name in ("bare", "equipped"):
        venv.create(folder / name, symlinks=True, with_pip=False)
    site = next((folder / "equipped" / "lib").glob("python*")) / "site-packages"
    (site / "tools.pth").write_text(f"{INSTALLED}\n", "utf-8")
    (folder / "equipped" / "bin" / "uv").symlink_to(Path(sys.executable).parent / "uv")


def run(image: Image, words: str) -> None:
    """Run one line as an engine would; what was installed here before is not fetched again. Raises ``NoIndex``."""
    environment = image.environment() | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    environment |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "HOME", "SSL_", "XDG_"))}
    for offline in ("1", "0"):
        words_env = environment | {"UV_OFFLINE": offline}
        done = subprocess.run(
            ["/bin/sh", "-c", words], cwd=image.inside("."), env=words_env, capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return
    if " install " in words:
        raise NoIndex(f"{words}\n{done.stdout}{done.stderr}")
    raise RuntimeError(f"{words}\nended with {done.returncode}\n{done.stdout}{done.stderr}")
