"""Bundles are kept between starts, and made again when sources, bundle or byte code are not what they were."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.local.prepared import prepare, sources_digest
from tests.support.local_desk import ECHO, work_tree


def main_file(root: Path, target: Path) -> None:
    path = root / "functions" / "echo" / "main.py"
    path.write_text(path.read_text() + "# changed\n")


def requirements(root: Path, target: Path) -> None:
    (root / "functions" / "echo" / "requirements.txt").write_text("functions-framework\npydantic\n")


def tampered_bundle(root: Path, target: Path) -> None:
    (target / "main.py").write_text("tampered")


def stranger_in_the_bundle(root: Path, target: Path) -> None:
    (target / "stranger.py").write_text("")


def lost_byte_code(root: Path, target: Path) -> None:
    shutil.rmtree(target / "__pycache__")


def lost_record(root: Path, target: Path) -> None:
    target.with_name(".echo.json").unlink()


def half_record(root: Path, target: Path) -> None:
    target.with_name(".echo.json").write_text("{")


@pytest.mark.parametrize(
    "change",
    [main_file, requirements, tampered_bundle, stranger_in_the_bundle, lost_byte_code, lost_record, half_record],
)
def test_a_bundle_is_kept_until_this_changes(tmp_path: Path, change: Callable[[Path, Path], None]) -> None:
    root, target = work_tree(tmp_path / "tree", echo=ECHO), tmp_path / "build" / "echo"
    assert prepare("echo", root, target, sources_digest(root))
    assert not prepare("echo", root, target, sources_digest(root))
    change(root, target)
    assert prepare("echo", root, target, sources_digest(root))
    assert not prepare("echo", root, target, sources_digest(root))
    assert "def echo" in (target / "main.py").read_text()
    assert not (target / "stranger.py").exists()
