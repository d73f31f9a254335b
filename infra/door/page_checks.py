"""What must hold of the page before a change is kept: types, palette, what its pure parts do, and how heavy it is.

Started by ``check`` as a tool of its own: silent when all holds, otherwise one line per finding and status 1. The budgets are
those of tracker.md 12, in bytes after gzip; the first view is what the browser fetches before anything is shown.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from infra.door import page, palette

ROOT = Path(__file__).resolve().parents[2]
BYTES_MAX = 120_000
FIRST_VIEW_BYTES_MAX = 70_000
IMPORTED = re.compile(r"""\b(?:from|import)\s*["']\./([\w.-]+)["']""")
GZIP_LEVEL = 9


def types(root: Path) -> Iterator[str]:
    """What the type checker objects to."""
    done = tool(root, ["node_modules/typescript/bin/tsc", "--noEmit", "--pretty", "false"])
    if done.returncode != 0:
        yield done.stdout + done.stderr


def colours(root: Path) -> Iterator[str]:
    """What breaks the palette."""
    yield from palette.problems(root / page.FOLDER)


def behaviour(root: Path) -> Iterator[str]:
    """What the tests of the page's pure parts say when one fails; they run in Node.js without a browser."""
    names = [str(path) for path in sorted((root / page.FOLDER / "tests").glob("*.test.ts"))]
    with tempfile.TemporaryDirectory() as folder:
        options = ["--platform", "node", "--format", "esm", "--dir", folder, "--log-level", "warn"]
        done = tool(root, ["node_modules/rolldown/bin/cli.mjs", *names, *options])
        if done.returncode == 0:
            done = tool(root, ["--test", *(f"{folder}/{Path(name).stem}.js" for name in names)])
    if done.returncode != 0:
        yield done.stdout + done.stderr


def weight(root: Path) -> Iterator[str]:
    """How far the built page is above its budgets."""
    folder = page.build(root)
    sizes = {path.name: gzipped(path) for path in (folder / "assets").iterdir() if path.suffix in (".js", ".css")}
    whole = sum(sizes.values())
    first = sum(sizes[name] for name in first_view(folder))
    if any(IMPORTED.search(path.read_text("utf-8")) for path in (folder / "assets").glob("theme-*.js")):
        yield "the theme's script imports something: as a plain script, ahead of the page, it cannot"
    if whole > BYTES_MAX:
        yield f"the page has {whole} bytes of scripts and styles after gzip, more than {BYTES_MAX}"
    if first > FIRST_VIEW_BYTES_MAX:
        yield f"its first view has {first} bytes after gzip, more than {FIRST_VIEW_BYTES_MAX}"


def first_view(folder: Path) -> set[str]:
    """The scripts and styles that the page itself names, with everything they import at once."""
    assets = {path.name for path in (folder / "assets").iterdir() if path.suffix in (".js", ".css")}
    waiting = [name for name in assets if name in (folder / "index.html").read_text("utf-8")]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in assets and name not in found:
            found.add(name)
            waiting += IMPORTED.findall((folder / "assets" / name).read_text("utf-8")) if name.endswith(".js") else []
    return found


def gzipped(path: Path) -> int:
    """How many bytes of a file travel."""
    return len(gzip.compress(path.read_bytes(), GZIP_LEVEL, mtime=0))


def tool(root: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run one of the page's own tools in its folder."""
    node = page.node(root).node
    return subprocess.run([node, *arguments], cwd=root / page.FOLDER, capture_output=True, text=True, check=False)


CHECKS: tuple[Callable[[Path], Iterator[str]], ...] = (types, colours, behaviour, weight)


def main() -> int:
    """Run all checks; print what is wrong."""
    try:
        page.build(ROOT)
        wrong = [line for check in CHECKS for line in check(ROOT)]
    except page.PageNotBuilt as error:
        wrong = [str(error)]
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
