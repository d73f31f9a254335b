"""The lock is whole, hashed, and knows no index, host or machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infra.door import lock
from infra.door.lock import closure, direct, normal, parse, subset

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / lock.LOCK).read_text("utf-8")
PINS = parse(TEXT)
CLOUD = "infra/cloud/requirements.txt"
"""The lock of the cloud program, which has an environment of its own."""
LOCKS = {name: (ROOT / name).read_text("utf-8") for name in (lock.LOCK, CLOUD)}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_index_and_no_host(name: str) -> None:
    assert not re.search(r"https?://|file:|^-|index|find-links|trusted", re.sub(r"# via.*|#   .*", "", LOCKS[name]), re.MULTILINE)


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_is_pinned_to_one_version_with_hashes(name: str) -> None:
    for pins in parse(LOCKS[name]).values():
        for pin in pins:
            assert re.fullmatch(r"[0-9][0-9a-z.+!]*", pin.version)
            assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", pin.text)) >= 1


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_of_a_lock_is_a_pin_a_hash_or_a_comment(name: str) -> None:
    line = re.compile(r"[\w.-]+==\S+( ; .+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?|    # via.*|    #   .*|#.*|")
    assert [text for text in LOCKS[name].splitlines() if not line.fullmatch(text)] == []


def test_the_lock_holds_all_that_the_source_wants_and_nothing_else() -> None:
    wanted = direct((ROOT / lock.SOURCE).read_text("utf-8"))
    assert closure(PINS, wanted) == set(PINS)


def test_the_cloud_programs_lock_holds_what_it_wants_and_nothing_else() -> None:
    pins = parse(LOCKS[CLOUD])
    assert closure(pins, direct((ROOT / "infra" / "cloud" / "requirements.in").read_text("utf-8"))) == set(pins)
    assert not {"pulumi", "pulumi-gcp"} & set(PINS), "they weigh more than everything else together"


def test_no_other_lock_lies_in_the_tree() -> None:
    assert not any((ROOT / name).exists() for name in ("uv.lock", "poetry.lock", "Pipfile.lock", "requirements.lock"))


def test_a_subset_of_the_lock_is_made_of_its_own_lines() -> None:
    text = subset(PINS, ["requests"])
    assert set(text.splitlines()) <= set(TEXT.splitlines())
    assert {"requests", "urllib3", "idna", "certifi", "charset-normalizer"} == set(parse(text))


def test_a_package_outside_the_lock_is_refused_by_name() -> None:
    with pytest.raises(KeyError, match="leftpad"):
        closure(PINS, ["requests", "leftpad"])


def test_a_version_in_a_requirements_source_is_refused() -> None:
    with pytest.raises(ValueError, match="requests==1"):
        direct("requests==1  # why\n")


def test_names_compare_the_way_indexes_compare_them() -> None:
    assert normal("Ib_Insync") == normal("ib.insync") == "ib-insync"
