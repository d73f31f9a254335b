"""``bundle NAME …``: writes what is deployed of a function, and nothing else, to the git-ignored ``build/NAME/``.

A bundle is the function's folder, those modules of ``fillbook`` that its ``main.py`` reaches (imports inside functions
included) with the data files of their packages, and its requirements pinned with hashes out of the one lock. The same
sources give the same bytes and the same digest. Byte code is left out, because it holds times and paths of the machine
that wrote it; the local cloud compiles a bundle after writing it (``compile_bytecode``), as the builder in the cloud does.
It refuses imports it cannot see through: a module of ours that does not exist is an error, not a missing file at run time.

The migration is bundled the same way (``migrate``): ``infra/database`` without its texts for people, the manifest, and what of
``fillbook`` they reach. Beside the bundles lies ``installer.txt``, the pin of what installs their requirements into an image.
"""

from __future__ import annotations

import ast
import compileall
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from py_compile import PycInvalidationMode

from infra.door import page
from infra.door.lock import LOCK, direct, parse, subset
from infra.door.page import PART

ROOT = Path(__file__).resolve().parents[2]
BUILD = "build"
PACKAGE = "fillbook"
MIGRATE = "migrate"
MIGRATION = ("infra/__init__.py", "infra/manifest.py", "infra/functions.yaml", "infra/cloud/__init__.py", "infra/cloud/names.py")
MIGRATION_FOLDER = "infra/database"
MIGRATION_LEFT_OUT = (
    "schema.sql",
    "requirements.txt",
)  # the sum of the migrations, for people; what the bundle's own is made from
INSTALLER = "installer.txt"
INSTALLERS = ("uv",)
EPOCH = 315_532_800  # 1980-01-01, the oldest time a zip archive can hold
LEFT_OUT = ("__pycache__", ".DS_Store")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A written bundle; ``digest`` covers every path and every byte in it, as hex."""

    name: str
    path: Path
    digest: str
    modules: tuple[str, ...]


def run(argv: list[str]) -> int:
    """Bundle functions, the migration or everything; print each digest."""
    chosen = wanted(argv)
    if chosen is None:
        print(f"bundle NAME …|{MIGRATE}|all; functions: " + ", ".join(names(ROOT)))
        return 2
    for name in chosen:
        try:
            bundle = build_migration() if name == MIGRATE else build(name)
        except page.PageNotBuilt as error:
            print(error, file=sys.stderr)
            return 1
        print(f"{BUILD}/{name}  {len(bundle.modules)} modules  sha256:{bundle.digest}")
    put(ROOT / BUILD / INSTALLER, installer(ROOT).encode())
    return 0


def wanted(argv: list[str]) -> list[str] | None:
    """What the verb's words ask for, each once; ``None`` when they are none it knows."""
    known = [*names(ROOT), MIGRATE]
    if argv == ["all"]:
        return known
    return list(dict.fromkeys(argv)) if argv and set(argv) <= set(known) else None


def names(root: Path) -> list[str]:
    """The functions that have a folder with a ``main.py``, sorted."""
    return sorted(path.parent.name for path in (root / "functions").glob("*/main.py"))


def build(name: str, *, root: Path = ROOT, target: Path | None = None) -> Bundle:
    """Write the bundle of one function to ``target`` (default ``build/NAME``), replacing what was there."""
    source, target = root / "functions" / name, target or root / BUILD / name
    if name == page.FUNCTION and (root / "infra" / "page").is_dir():
        page.build(root)
    shutil.rmtree(target, ignore_errors=True)
    for path in files(source):
        put(target / path.relative_to(source), path.read_bytes())
    modules = reached(source / "main.py", root / "shared")
    for path in package_files(modules, root / "shared"):
        put(target / path.relative_to(root / "shared"), path.read_bytes())
    wanted = direct((source / "requirements.txt").read_text("utf-8"))
    put(target / LOCK, subset(parse((root / LOCK).read_text("utf-8")), wanted).encode())
    return Bundle(name=name, path=target, digest=digest(target), modules=tuple(sorted(modules)))


def build_migration(*, root: Path = ROOT, target: Path | None = None) -> Bundle:
    """Write the bundle of the migration to ``target`` (default ``build/migrate``), replacing what was there."""
    folder, shared, target = root / MIGRATION_FOLDER, root / "shared", target or root / BUILD / MIGRATE
    shutil.rmtree(target, ignore_errors=True)
    own = [root / name for name in MIGRATION] + [path for path in files(folder) if path.name not in MIGRATION_LEFT_OUT]
    for path in own:
        put(target / path.relative_to(root), path.read_bytes())
    modules: dict[str, Path] = {}
    for path in own:
        modules |= reached(path, shared) if path.suffix == ".py" else {}
    for path in package_files(modules, shared):
        put(target / path.relative_to(shared), path.read_bytes())
    names_wanted = direct((folder / "requirements.txt").read_text("utf-8"))
    put(target / LOCK, subset(parse((root / LOCK).read_text("utf-8")), names_wanted).encode())
    return Bundle(name=MIGRATE, path=target, digest=digest(target), modules=tuple(sorted(modules)))


def installer(root: Path) -> str:
    """The lock's lines of what installs requirements into an image."""
    return subset(parse((root / LOCK).read_text("utf-8")), INSTALLERS)


def put(path: Path, content: bytes) -> None:
    """Write one file with fixed mode and time, so that archives of equal bundles are equal too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o644)
    os.utime(path, (EPOCH, EPOCH))


def files(folder: Path) -> list[Path]:
    """The files below a folder in a fixed order, without caches."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(PART))
    return sorted(path for path in found if not any(part in LEFT_OUT for part in path.parts) and path.suffix != ".pyc")


def digest(folder: Path) -> str:
    """One hash over all paths and contents below a folder, byte code aside."""
    total = hashlib.sha256()
    for path in files(folder):
        name = path.relative_to(folder).as_posix().encode()
        total.update(hashlib.sha256(name).digest() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def reached(main: Path, shared: Path) -> dict[str, Path]:
    """Every module of ours that ``main`` imports, directly or not: dotted name -> file."""
    found: dict[str, Path] = {}
    waiting = [*imported(main, shared)]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = module_file(name, shared)
        waiting += [*imported(found[name], shared), *parents(name)]
    return found


def imported(source: Path, shared: Path) -> Iterator[str]:
    """The modules of ours that one file names in import statements, at whatever depth they stand."""
    for name, is_sure in named(source.read_text("utf-8")):
        if ours(name) and (is_sure or exists(name, shared)):
            yield name


@lru_cache(maxsize=1024)
def named(text: str) -> tuple[tuple[str, bool], ...]:
    """The names in a source's import statements; not sure are those that may be names inside a module.

    Remembered by the text: most modules are reached by many functions.
    """
    found: list[tuple[str, bool]] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [(alias.name, True) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.module, True), *((f"{node.module}.{alias.name}", False) for alias in node.names)]
    return tuple(found)


def ours(name: str) -> bool:
    """Whether a dotted name belongs to the domain package."""
    return name == PACKAGE or name.startswith(f"{PACKAGE}.")


def parents(name: str) -> Iterator[str]:
    """The packages a module lies in, which Python imports before it."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def exists(name: str, shared: Path) -> bool:
    """Whether a dotted name is a module or package (and not merely a name inside one)."""
    base = shared.joinpath(*name.split("."))
    return base.with_suffix(".py").is_file() or (base / "__init__.py").is_file()


def module_file(name: str, shared: Path) -> Path:
    """The file of a module; ``FileNotFoundError`` when nothing in the package answers to the name."""
    base = shared.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    raise FileNotFoundError(f"{name} is imported but does not exist")


def package_files(modules: dict[str, Path], shared: Path) -> list[Path]:
    """The modules' files and the data files beside them or in data folders below (queries, tables, profiles)."""
    found = set(modules.values())
    for folder in {path.parent for path in modules.values()}:
        found |= {path for path in files(folder) if path.suffix != ".py" and owner(path, shared) == folder}
    return sorted(found)


def owner(path: Path, shared: Path) -> Path:
    """The package a data file belongs to: the nearest folder upwards that is a package."""
    folder = path.parent
    while not (folder / "__init__.py").is_file() and folder != shared:
        folder = folder.parent
    return folder


def compile_bytecode(bundle: Path) -> None:
    """Compile a bundle in place: without byte code a cold start takes three to five times as long.

    Unchecked: a bundle's sources never change after it was written, so no start has to compare them.
    """
    compileall.compile_dir(bundle, quiet=1, force=True, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
