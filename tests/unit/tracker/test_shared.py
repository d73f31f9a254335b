"""Answers that are made once: by one reader for all who ask meanwhile and after him, and never more bytes kept than allowed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fillbook.tracker.api import ROUTES
from fillbook.tracker.dressing import GZIP_BYTES_MIN
from fillbook.tracker.shared import Answers, Body, packed

READERS = 8


def body(size: int) -> Body:
    """A body of so many bytes that are not compressed."""
    return Body(content=b"x" * size, is_packed=False)


def test_readers_who_ask_at_once_are_sent_what_the_first_of_them_had_made() -> None:
    answers, made, everybody = Answers(), [], threading.Barrier(READERS)

    def make() -> Body:
        made.append(threading.get_ident())
        waiting.wait(5)
        return body(10)

    def ask() -> Body:
        everybody.wait(5)
        return answers.of("tag", make)

    waiting = threading.Event()
    with ThreadPoolExecutor(READERS) as pool:
        asked = [pool.submit(ask) for _ in range(READERS)]
        while not made:
            pass
        waiting.set()
        found = {id(one.result(5)) for one in asked}
    assert (len(made), len(found)) == (1, 1)
    assert answers.of("tag", lambda: pytest.fail("it is kept")) == body(10)


def test_another_tag_is_another_answer() -> None:
    answers = Answers()
    assert [answers.of(tag, lambda size=size: body(size)) for tag, size in (("a", 1), ("b", 2), ("a", 3))] == [
        body(1),
        body(2),
        body(1),
    ]


def test_who_waits_for_a_maker_that_fails_makes_it_himself_and_the_failure_is_the_makers_alone() -> None:
    answers, is_waiting = Answers(), threading.Event()

    def fail() -> Body:
        is_waiting.wait(5)
        raise ZeroDivisionError

    with ThreadPoolExecutor(2) as pool:
        failing = pool.submit(answers.of, "tag", fail)
        while "tag" not in answers._making:
            pass
        other = pool.submit(answers.of, "tag", lambda: body(1))
        is_waiting.set()
        with pytest.raises(ZeroDivisionError):
            failing.result(5)
        assert other.result(5) == body(1)
    assert answers.of("tag", lambda: body(2)) in (body(1), body(2))


def test_who_has_waited_long_enough_makes_it_himself() -> None:
    answers, is_made = Answers(waits_ms=10), threading.Event()

    def slowly() -> Body:
        is_made.wait(5)
        return body(1)

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(answers.of, "tag", slowly)
        while "tag" not in answers._making:
            pass
        assert answers.of("tag", lambda: body(2)) == body(2)
        is_made.set()
        assert slow.result(5) == body(1)


def test_the_least_recently_sent_are_forgotten_first_and_what_is_too_large_is_not_kept() -> None:
    answers = Answers(bytes_max=100, one_max=60)
    for tag in "abc":
        answers.of(tag, lambda: body(33))
    answers.of("a", lambda: pytest.fail("it is kept"))
    answers.of("d", lambda: body(33))
    assert list(answers._kept) == ["c", "a", "d"]
    assert answers.of("large", lambda: body(61)) == body(61)
    assert list(answers._kept) == ["c", "a", "d"]
    assert sum(len(one.content) for one in answers._kept.values()) == answers._bytes == 99


@pytest.mark.parametrize("size", [0, GZIP_BYTES_MIN - 1, GZIP_BYTES_MIN, 100_000])
def test_what_is_kept_is_what_was_made_compressed_where_that_is_worth_it(size: int) -> None:
    kept = packed(b"x" * size)
    assert (kept.plain, kept.is_packed) == (b"x" * size, size >= GZIP_BYTES_MIN)
    assert not kept.is_packed or len(kept.content) < size


def test_what_is_shared_is_read_from_the_database_alone_and_changes_nothing() -> None:
    shared = [route for route in ROUTES if route.sources]
    assert len(shared) > 20
    assert {(route.method, route.status, route.asks, route.media) for route in shared} == {("GET", 200, "db", "application/json")}
