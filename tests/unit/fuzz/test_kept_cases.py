"""What once broke a parser of foreign bytes breaks it no more; what reaches most of it is read or refused by name."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import pytest

from infra.dev import VERBS
from tests.fuzz import cases
from tests.fuzz.__main__ import run
from tests.fuzz.findings import SLOW_SECONDS, Findings, broken_by, shortened
from tests.fuzz.parsers import PARSERS

MEMORY_BYTES_MAX = 32 * 1024 * 1024
"""No input of a few kilobytes may take more."""


@pytest.mark.parametrize("name", PARSERS)
def test_what_once_broke_a_parser_is_read_or_refused_as_it_was_mended_to_be(name: str) -> None:
    known = cases.found(name)
    assert [(one.was, PARSERS[name].check(one.data)) for one in known] == [(one.was, one.now) for one in known]


@pytest.mark.parametrize("name", PARSERS)
def test_no_kept_input_breaks_a_parser_or_costs_it_much(name: str) -> None:
    parser = PARSERS[name]
    inputs = [*parser.seeds, *cases.corpus(name), *(one.data for one in cases.found(name))]
    parser.check(inputs[0])  # what a first call loads is no input's cost
    begun = time.process_time()
    tracemalloc.start()
    try:
        for data in inputs:
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            assert broken_by(parser.check, data) is None, data[:200]
            assert tracemalloc.get_traced_memory()[1] - before < MEMORY_BYTES_MAX, data[:200]
    finally:
        tracemalloc.stop()
    assert time.process_time() - begun < SLOW_SECONDS * len(inputs)


def test_every_parser_has_a_corpus_that_is_read_and_refused_in_many_ways() -> None:
    for name, parser in PARSERS.items():
        told = {parser.check(data) for data in [*parser.seeds, *cases.corpus(name)]}
        assert len(told) >= 3, f"{name} says only {told}"


def test_a_finding_is_kept_once_by_its_place_and_shortened_to_what_breaks(tmp_path: Path) -> None:
    def check(data: bytes) -> str:
        if b"bad" in data:
            raise KeyError(data)
        return "read"

    assert broken_by(check, b"good") is None
    was = broken_by(check, b"xx bad yy")
    assert was == "KeyError in nowhere of ours"
    findings = Findings(tmp_path / "found")
    for data in (b"first bad one", b"bad one", b"another bad one"):
        findings.note(was, data)
    assert findings.found == [(was, b"bad one")]
    assert shortened(b"a long story about a bad thing that ends well", lambda data: broken_by(check, data) == was) == b"bad"


@pytest.mark.slow
def test_the_verb_searches_blindly_where_nothing_guides_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.fuzz.engine.WORK", tmp_path)
    monkeypatch.setattr("tests.fuzz.engine.BATCH", 20)
    assert run(["bodies", "--blind", "--seconds", "1", "--seed", "7"]) == 0
    told = capsys.readouterr().out
    assert "--seed 7" in told
    assert "by hypothesis" in told
    assert "0 of them new" in told
    assert VERBS["fuzz"].target == "tests.fuzz.__main__:run"
