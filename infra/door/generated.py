"""``table``: writes what is derived: the README's table, what the cloud's builds read, the page's types, the reliability page.

All are committed so that they can be read where people look; a contract test fails when they differ from what this
module would write. It refuses to claim anything: the build file says what would be run, not that it ever was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infra.door import builds, pagetypes, reliability
from infra.manifest import Function, Manifest, load

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- functions: begin -->", "<!-- functions: end -->"


def readme_table(manifest: Manifest) -> str:
    """The table of functions as Markdown, one row each in the manifest's order."""
    lines = ["| function | what it does | started by |", "|---|---|---|"]
    lines += [f"| `{entry.name}` | {entry.purpose} | {starters(manifest, entry)} |" for entry in manifest.functions.values()]
    return "\n".join(lines)


def starters(manifest: Manifest, entry: Function) -> str:
    """What makes a function run, in words: its topics, its schedules, its public routes."""
    topics = [f"`{item.topic}`" for item in manifest.subscriptions if item.function == entry.name]
    crons = sorted({f"`{item.cron}`" for item in manifest.schedules if item.function == entry.name})
    routes = [f"`{item.method} {item.path}`" for item in entry.routes if item.caller != "oidc"]
    parts = [("topics " + ", ".join(topics)) if topics else "", ("cron " + ", ".join(crons)) if crons else ""]
    shown = ", ".join(routes[:2]) + (" …" if len(routes) > 2 else "")
    return "; ".join(part for part in (shown, *parts) if part)


def readme(text: str, manifest: Manifest) -> str:
    """``text`` with its table written anew between the two markers; ``ValueError`` when a marker is missing."""
    before, found_begin, rest = text.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not found_begin or not found_end:
        raise ValueError(f"the README needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{readme_table(manifest)}\n{END}{after}"


def outputs(manifest: Manifest) -> dict[Path, str]:
    """Every generated file with the content it must have."""
    path = ROOT / "README.md"
    return {
        path: readme(path.read_text("utf-8"), manifest),
        **builds.outputs(manifest),
        ROOT / pagetypes.FILE: pagetypes.types(read_api()),
        reliability.PAGE: reliability.page(reliability.load_list(), reliability.load_results()),
    }


def read_api() -> dict[str, Any]:
    """The OpenAPI document of the read API, as the function tells it."""
    from fillbook.tracker import openapi
    from fillbook.tracker.api import ROUTES

    return openapi.document(ROUTES)


def run(argv: list[str]) -> int:
    """Write them; say which changed. Takes no arguments."""
    if argv:
        print("table takes no arguments")
        return 2
    for path, text in outputs(load()).items():
        changed = not path.exists() or path.read_text("utf-8") != text
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        print(f"{path.relative_to(ROOT)}: {'written' if changed else 'as it was'}")
    return 0
