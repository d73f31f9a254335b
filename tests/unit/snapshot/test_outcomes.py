"""What an end means: exit code, answer to a person, answer to the scheduler, event; and the one word for several days."""

from __future__ import annotations

from datetime import date

import pytest

from fillbook.snapshot.model import Counts, Problem, Status
from fillbook.snapshot.outcomes import ENDINGS, GOOD, SETTLED, DayResult, Outcome

TABLE = """
published published_unverified published_fallback | 0 | 200 | 200 | snapshot_published
unchanged closed duplicate dry_run watched | 0 | 200 | 200 |
bad_request | 2 | 400 | 400 |
configuration | 2 | 500 | 500 |
view_contract | 3 | 500 | 500 | snapshot_publish_failed
refused_guard | 4 | 422 | 200 | snapshot_refused
refused_validation | 5 | 422 | 200 | snapshot_refused
kept | 6 | 503 | 500 | snapshot_publish_failed
refused_receiver | 7 | 502 | 200 | snapshot_refused
conflict | 7 | 409 | 200 | snapshot_refused
busy | 8 | 409 | 200 |
source_unavailable not_started | 9 | 503 | 500 |
partial | 10 | 200 | 200 |
"""
DAY = date(2026, 2, 11)


def outcome(*statuses: Status, is_range: bool = False) -> Outcome:
    return Outcome(run_id="r", results=tuple(DayResult(date=DAY, status=one) for one in statuses), is_range=is_range)


def test_the_endings_are_the_table_of_the_specification() -> None:
    read = {}
    for line in TABLE.strip().splitlines():
        names, exit_code, manual, cron, event = (part.strip() for part in line.split("|"))
        for name in names.split():
            read[name] = (int(exit_code), int(manual), int(cron), event or None)
    assert {status.value: (end.exit, end.manual, end.cron, end.event) for status, end in ENDINGS.items()} == read
    assert set(ENDINGS) == set(Status)


def test_what_is_published_is_settled_and_so_is_what_needed_nothing() -> None:
    assert GOOD < SETTLED
    assert {Status.UNCHANGED, Status.CLOSED, Status.DUPLICATE, Status.DRY_RUN, Status.WATCHED} == SETTLED - GOOD


@pytest.mark.parametrize(
    ("statuses", "is_range", "word", "exit_code"),
    [
        ((Status.PUBLISHED,), False, Status.PUBLISHED, 0),
        ((), True, Status.CLOSED, 0),
        ((Status.UNCHANGED, Status.PUBLISHED), False, Status.PUBLISHED, 0),
        ((Status.REFUSED_GUARD, Status.PUBLISHED), False, Status.REFUSED_GUARD, 4),
        ((Status.REFUSED_GUARD, Status.KEPT), False, Status.KEPT, 6),
        ((Status.PUBLISHED, Status.REFUSED_GUARD), True, Status.PARTIAL, 10),
        ((Status.BUSY, Status.BUSY), True, Status.BUSY, 8),
        ((Status.SOURCE_UNAVAILABLE, Status.NOT_STARTED), True, Status.SOURCE_UNAVAILABLE, 9),
    ],
)
def test_several_days_have_one_word(statuses: tuple[Status, ...], is_range: bool, word: Status, exit_code: int) -> None:
    found = outcome(*statuses, is_range=is_range)
    assert (found.status, found.exit) == (word, exit_code)


def test_a_repeat_is_asked_for_where_it_can_help_and_nowhere_else() -> None:
    assert outcome(Status.REFUSED_GUARD, Status.KEPT).http_status(is_cron=True) == 500
    assert outcome(Status.REFUSED_GUARD, Status.PUBLISHED).http_status(is_cron=True) == 200
    assert outcome(Status.REFUSED_GUARD).http_status(is_cron=False) == 422


def test_an_answer_lists_problems_without_what_stood_there() -> None:
    problem = Problem(path="rows[3].value", code="too_long", message="is too long", value="what stood there")
    result = DayResult(date=DAY, status=Status.REFUSED_VALIDATION, problems=(problem,) * 101, counts=Counts(kpis=25))
    (shown,) = Outcome(run_id="r", results=(result,)).document()["results"]
    assert shown["problems"][0] == {"path": "rows[3].value", "code": "too_long", "message": "is too long"}
    assert len(shown["problems"]) == 100
    assert list(shown) == (
        "date status stage version content_sha256 counts dropped attempts target verified torn phase_ms problems guards".split()
    )
