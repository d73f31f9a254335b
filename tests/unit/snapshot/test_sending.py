"""What an answer to a post means and what is done then: one row of the specification's table per case."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from fillbook.snapshot.sending import Answer, Heard, heard, may_try_again, pause_seconds, seconds_of

DAY = date(2026, 2, 11)
TAKEN = {"ok": True, "date": "2026-02-11"}


@pytest.mark.parametrize(
    ("status", "document", "retry_after", "means"),
    [
        (200, TAKEN, None, Heard.TAKEN),
        (200, {**TAKEN, "date": "2026-02-10"}, None, Heard.AMBIGUOUS),
        (200, {"date": "2026-02-11"}, None, Heard.AMBIGUOUS),
        (200, {**TAKEN, "ok": 1}, None, Heard.AMBIGUOUS),
        (200, None, None, Heard.AMBIGUOUS),
        (201, TAKEN, None, Heard.AMBIGUOUS),
        (408, None, None, Heard.AMBIGUOUS),
        (502, None, None, Heard.AMBIGUOUS),
        (503, None, None, Heard.AMBIGUOUS),
        (503, None, "7", Heard.WAIT),
        (504, None, None, Heard.AMBIGUOUS),
        (500, None, None, Heard.BROKEN),
        (429, None, "3", Heard.WAIT),
        (429, None, None, Heard.WAIT),
        (409, {"error": {"code": "older_snapshot"}}, None, Heard.CONFLICT),
        (400, None, None, Heard.REFUSED),
        (413, None, None, Heard.REFUSED),
        (415, None, None, Heard.REFUSED),
        (422, None, None, Heard.REFUSED),
        (418, None, None, Heard.REFUSED),
        (401, None, None, Heard.MISCONFIGURED),
        (403, None, None, Heard.MISCONFIGURED),
        (404, None, None, Heard.MISCONFIGURED),
        (405, None, None, Heard.MISCONFIGURED),
        (301, None, None, Heard.MISCONFIGURED),
        (307, TAKEN, None, Heard.MISCONFIGURED),
    ],
)
def test_an_answer_is_read_by_the_table(status: int, document: Any, retry_after: str | None, means: Heard) -> None:
    assert heard(status, document, DAY, retry_after=retry_after).heard is means


@pytest.mark.parametrize(
    ("kind", "attempts", "broken", "repairs", "may"),
    [
        (Heard.NOT_SENT, 3, 0, 0, True),
        (Heard.NOT_SENT, 4, 0, 0, False),
        (Heard.AMBIGUOUS, 3, 0, 0, True),
        (Heard.WAIT, 3, 0, 0, True),
        (Heard.BROKEN, 2, 2, 0, True),
        (Heard.BROKEN, 3, 3, 0, False),
        (Heard.TAKEN, 2, 0, 2, True),
        (Heard.TAKEN, 3, 0, 3, False),
        (Heard.CONFLICT, 1, 0, 0, False),
        (Heard.REFUSED, 1, 0, 0, False),
        (Heard.MISCONFIGURED, 1, 0, 0, False),
    ],
)
def test_a_post_is_repeated_as_often_as_its_kind_allows(kind: Heard, attempts: int, broken: int, repairs: int, may: bool) -> None:
    assert may_try_again(kind, attempts, broken, repairs) is may


def test_waits_double_and_are_up_to_half_more_or_less() -> None:
    answer = Answer(heard=Heard.NOT_SENT)
    assert [pause_seconds(answer, attempts, 0.5) for attempts in (1, 2, 3)] == [1.0, 2.0, 4.0]
    assert (pause_seconds(answer, 3, 0.0), pause_seconds(answer, 3, 1.0)) == (2.0, 6.0)


def test_a_wait_that_is_asked_for_is_kept_to_the_second_where_it_is_bearable() -> None:
    assert pause_seconds(Answer(heard=Heard.WAIT, wait_seconds=60.0), 1, 0.0) == 60.0
    assert pause_seconds(Answer(heard=Heard.WAIT, wait_seconds=61.0), 1, 0.5) == 1.0
    assert pause_seconds(Answer(heard=Heard.WAIT), 1, 0.5) == 1.0
    assert pause_seconds(Answer(heard=Heard.AMBIGUOUS, wait_seconds=30.0), 1, 0.5) == 1.0


def test_a_retry_after_is_whole_seconds() -> None:
    found = [seconds_of(text) for text in ("3", " 12 ", "-1", "1.5", "soon", "٣", "", None, "1234567")]
    assert found == [3.0, 12.0, None, None, None, None, None, None, None]
