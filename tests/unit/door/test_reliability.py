"""The verb ``reliability``: what a report of pytest says of a check, what is kept of it, how it is told, what a run does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from infra.door import reliability
from infra.door.reliability import Check, Ran, Result

REPORT = """<testsuites><testsuite>
<testcase classname="tests.unit.a.test_x" name="test_one[1-a[b]]" time="1.5"/>
<testcase classname="tests.unit.a.test_x" name="test_one[2]" time="0.25"><skipped message="no data"/></testcase>
<testcase classname="tests.unit.a.test_x.TestMore" name="test_one" time="2"><failure message="x">no</failure></testcase>
<testcase classname="tests.unit.a.test_x" name="test_two" time="1"/>
<testcase classname="tests.unit.a.test_x" name="test_two" time="1"><error message="teardown"/></testcase>
<testcase classname="tests.unit.a.test_other" name="test_one" time="9"/>
</testsuite></testsuites>"""
ONE, MORE, TWO = (f"tests/unit/a/test_x.py::{name}" for name in ("test_one", "TestMore::test_one", "test_two"))
GOOD = Result(passed=2, failed=0, skipped=1, seconds=3.25, date="2026-02-03", commit="0123abcd", size="small")


def test_a_report_is_read_by_module_class_and_function_once_for_each_parameter() -> None:
    assert reliability.read_outcomes(REPORT, (ONE, MORE, TWO)) == {
        ONE: [Ran("passed", 1.5), Ran("skipped", 0.25)],
        MORE: [Ran("failed", 2.0)],
        TWO: [Ran("passed", 1.0), Ran("failed", 1.0)],
    }


def test_a_result_is_told_in_words_and_what_never_ran_as_such() -> None:
    assert reliability.told(None) == "not run"
    assert reliability.told(GOOD) == "passed: 2 passed, 1 skipped in 3.25 s, small, 2026-02-03, `0123abcd`"
    assert reliability.told(GOOD._replace(failed=1)).startswith("**failed**: 2 passed, 1 failed, 1 skipped")
    assert GOOD._replace(passed=0).verdict == "skipped", "what nobody could run has not passed"


def test_a_page_holds_every_check_with_its_mark_its_commands_its_result_and_its_tests() -> None:
    listed = (
        Check(number=1, check="kill it", mark="it lives", tests=(ONE, TWO)),
        Check(number=2, check="all | of it", mark="calm", command=("test", "-q"), full_command=("test",)),
    )
    text = reliability.page(listed, {1: GOOD})
    assert "| 1 · kill it | passed: 2 passed, 1 skipped" in text
    assert "| 2 · all \\| of it | not run |" in text
    assert "## 1 · kill it\n\nPass mark: it lives.\n\nShown by `python3 infra/dev.py reliability 1`; last result: passed" in text
    assert f"- `{ONE}`\n- `{TWO}`\n" in text
    assert "It runs `python3 infra/dev.py test -q`, in full `python3 infra/dev.py test`." in text


class Place:
    """A list of three checks in a folder of its own, and tests that come to what they are told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.results, self.page = folder / "results.json", folder / "page.md"
        self.ran: list[tuple[tuple[str, ...], dict[str, str]]] = []
        self.outcomes = {ONE: [Ran("passed", 1.0)], TWO: [Ran("passed", 2.0), Ran("passed", 0.5)], MORE: [Ran("failed", 1.0)]}
        listed = folder / "checks.toml"
        listed.write_text(
            f"""[[checks]]\nnumber = 1\ncheck = "a"\nmark = "b"\ntests = ["{ONE}", "{TWO}"]\n
            [[checks]]\nnumber = 2\ncheck = "c"\nmark = "d"\ntests = ["{ONE}"]\nfull_environment = {{ X = "9" }}\n
            [[checks]]\nnumber = 3\ncheck = "e"\nmark = "f"\ntests = ["{MORE}"]\n"""
        )
        load_list, load_results = reliability.load_list, reliability.load_results
        monkeypatch.setattr(reliability, "load_list", lambda: load_list(listed))
        monkeypatch.setattr(reliability, "load_results", lambda: load_results(self.results))
        monkeypatch.setattr(reliability, "RESULTS", self.results)
        monkeypatch.setattr(reliability, "PAGE", self.page)
        monkeypatch.setattr(reliability, "run_tests", self.run_tests)
        monkeypatch.setattr(reliability, "commit_now", lambda: f"commit{len(self.ran)}")

    def run_tests(self, tests: Sequence[str], environment: Mapping[str, str]) -> dict[str, list[Ran]]:
        self.ran.append((tuple(tests), dict(environment)))
        return {test: self.outcomes[test] for test in tests if test in self.outcomes}

    def kept(self) -> dict[str, dict[str, object]]:
        found: dict[str, dict[str, object]] = json.loads(self.results.read_text())
        return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


def test_a_run_runs_each_test_once_keeps_what_came_and_leaves_other_results_with_their_commit(place: Place) -> None:
    assert reliability.run(["1", "2"]) == 0
    assert place.ran == [((ONE, TWO), {})]
    first = place.kept()["1"]
    assert (first["passed"], first["seconds"], first["size"], first["commit"]) == (3, 3.5, "small", "commit0")
    assert "| 3 · e | not run |" in place.page.read_text()
    assert reliability.run(["3"]) == 1, "a check failed"
    assert place.kept()["1"] == first
    assert place.kept()["3"]["commit"] == "commit1"
    assert "| 3 · e | **failed**: 0 passed, 1 failed in 1 s" in place.page.read_text()


def test_in_full_each_environment_is_run_for_itself(place: Place) -> None:
    reliability.run(["--full", "1", "2"])
    assert place.ran == [((ONE, TWO), {"FILLBOOK_FULL": "1"}), ((ONE,), {"X": "9", "FILLBOOK_FULL": "1"})]
    assert {one["size"] for one in place.kept().values()} == {"full"}


def test_a_test_that_pytest_did_not_come_to_has_not_passed(place: Place) -> None:
    del place.outcomes[TWO]
    assert reliability.run(["1"]) == 1
    assert (place.kept()["1"]["passed"], place.kept()["1"]["failed"]) == (1, 1)


@pytest.mark.parametrize("words", [["35"], ["one"], ["--quick"], ["-1"]])
def test_words_that_make_no_sense_run_nothing(place: Place, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert reliability.run(words) == 2
    assert (place.ran, place.results.exists()) == ([], False)
    assert "reliability [NUMBER …]" in capsys.readouterr().err


def test_a_command_of_the_door_passes_when_it_ends_well(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reliability.run_command(["help"]).outcome == "passed"
    assert reliability.run_command(["no-such-verb"]).outcome == "failed"
