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


@pytest.mark.usefixtures("unsettled")
def test_the_first_answer_freezes_what_was_loaded_and_no_other_does() -> None:
    assert gc.get_freeze_count() == 0
    assert asked().status_code == 200
    loaded = gc.get_freeze_count()
    assert loaded > 10_000
    made_later = [[number] for number in range(1_000)]
    assert asked().status_code == 200
    assert gc.get_freeze_count() == loaded
    assert all(one for one in made_later[1:])
