"""What a process began with is out of the collector's way once it has answered."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import flask
import pytest
from flask import Request, Response

from fillbook.runtime.http import answer, http_edge, settle


@pytest.fixture
def unsettled() -> Iterator[None]:
    gc.unfreeze()
    settle.cache_clear()
    yield
    gc.unfreeze()


def asked() -> Response:
    def hello(_request: Request) -> Response:
        return answer(200, {"ok": True})

    edge = http_edge("hello", {"GET /": hello})
    app = flask.Flask("hello")
    with app.test_request_context("/"):
        return edge(flask.request)


def is_collected(this: object) -> bool:
    """Whether the collector still looks at it: what is frozen stands in none of its generations."""
    return any(each is this for each in gc.get_objects())


@pytest.mark.usefixtures("unsettled")
def test_the_first_answer_freezes_what_was_loaded_and_no_other_does() -> None:
    before = [["made before an answer"]]
    assert is_collected(before)
    assert asked().status_code == 200
    assert not is_collected(before)
    between = [["made between two answers"]]
    assert asked().status_code == 200
    assert is_collected(between)
