"""The door makes its environment once, says why it cannot, and never installs what the lock does not name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from infra import dev
from infra.door import environment

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A work tree with what an environment is made from."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "requirements.txt").write_text("uv==1 \\\n    --hash=sha256:aa\n")
    (tmp_path / "shared" / "pyproject.toml").write_text("[project]\n")
    return tmp_path


def stamped(tree: Path) -> Path:
    """An environment that is up to date for ``tree``."""
    venv = tree / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    (venv / environment.STAMP).write_text(environment.digest(tree))
    return venv


def test_an_environment_that_is_up_to_date_is_not_touched(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv = stamped(tree)
    monkeypatch.setenv("FILLBOOK_VENV", str(venv))
    monkeypatch.setattr(sys, "prefix", str(venv))
    monkeypatch.setattr(environment, "make", lambda *_: pytest.fail("nothing is to be made"))
    environment.enter(tree, ["dev.py", "check"])


def test_a_command_moves_into_the_environment_with_its_arguments(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv, started = stamped(tree), []
    monkeypatch.setenv("FILLBOOK_VENV", str(venv))
    monkeypatch.setenv("VIRTUAL_ENV", "another")
    monkeypatch.setattr(os, "execv", lambda path, command: started.append((path, command)))
    environment.enter(tree, ["dev.py", "test", "-k", "lots"])
    python = str(venv / "bin" / "python")
    assert started == [(Path(python), [python, "dev.py", "test", "-k", "lots"])]
    assert os.environ["VIRTUAL_ENV"] == str(venv)


def test_a_changed_lock_makes_the_environment_anew(tree: Path) -> None:
    venv = stamped(tree)
    assert environment.read_stamp(venv) == environment.digest(tree)
    (tree / "requirements.txt").write_text("uv==2 \\\n    --hash=sha256:bb\n")
    assert environment.read_stamp(venv) != environment.digest(tree)


def test_an_environment_whose_python_is_gone_counts_as_none(tree: Path) -> None:
    venv = stamped(tree)
    (venv / "bin" / "python").unlink()
    assert environment.read_stamp(venv) is None


def test_an_interrupted_making_leaves_no_stamp(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv = stamped(tree)
    (venv / environment.STAMP).write_text("an older lock")
    monkeypatch.setattr(environment, "create", lambda venv: venv / "bin" / "python")
    monkeypatch.setattr(environment, "install", lambda root, python: environment.stop("no network"))
    with pytest.raises(SystemExit):
        environment.make(tree, venv, environment.digest(tree))
    assert environment.read_stamp(venv) is None


def test_the_second_of_two_makers_finds_the_work_done(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv = stamped(tree)
    monkeypatch.setattr(environment, "create", lambda _: pytest.fail("it was made while this one waited"))
    environment.make(tree, venv, environment.digest(tree))


@pytest.mark.parametrize("version", [(3, 9, 18), (3, 10, 13), (3, 14, 0)])
def test_a_python_the_desk_is_not_tested_with_is_refused_before_anything_else(
    version: tuple[int, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dev, "sys", SimpleNamespace(version_info=version, stderr=sys.stderr))
    assert dev.main(["test", "-q"]) == 2
    said = capsys.readouterr().err
    assert f"this is {version[0]}.{version[1]}." in said
    assert "python3.11 infra/dev.py test -q" in said


def test_a_debian_python_without_ensurepip_is_told_which_package_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        environment.create(tmp_path / "venv")
    major, minor = sys.version_info[:2]
    assert f"python{major}.{minor}-venv" in capsys.readouterr().err
    assert not (tmp_path / "venv").exists()


def test_nothing_is_installed_without_its_hash(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def record(command: list[str], **_: object) -> SimpleNamespace:
        commands.append(command)
        return SimpleNamespace(returncode=1 if "sync" in command else 0)

    monkeypatch.setattr(environment.subprocess, "run", record)
    environment.install(tree, Path("python"))
    from_an_index = [command for command in commands if "-e" not in command]
    assert len(from_an_index) == 3, "pip for uv, uv for the lock, and pip again where uv could not"
    assert all("--require-hashes" in command for command in from_an_index)
    own = commands[-1]
    assert {"--offline", "--no-deps", "--no-build-isolation"} <= set(own)


def test_the_list_of_verbs_needs_no_environment_and_no_packages() -> None:
    command = [sys.executable, "-I", "-S", str(ROOT / "infra" / "dev.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"FILLBOOK_VENV": "/nowhere"})
    assert "python3 infra/dev.py VERB" in done.stdout


def test_an_unknown_verb_is_answered_with_the_list() -> None:
    command = [sys.executable, "-I", "-S", str(ROOT / "infra" / "dev.py"), "fly"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no verb 'fly'" in done.stderr
