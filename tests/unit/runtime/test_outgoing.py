"""Answers of the outside are bounded in bytes and in time."""

import pytest

from fillbook.runtime import clock
from fillbook.runtime.errors import Unavailable
from fillbook.runtime.outgoing import read_bounded, read_json, session


class Answer:
    """Stands for a streamed answer."""

    def __init__(self, *chunks):
        self.chunks = list(chunks)
        self.taken = 0
        self.raw = self

    def read1(self, size, *, decode_content):
        self.taken += 1
        return self.chunks.pop(0) if self.chunks else b""


def test_an_answer_is_read_whole_within_its_bounds():
    assert read_bounded(Answer(b"ab", b"c"), seconds=1) == b"abc"
    assert read_json(Answer(b'{"a":', b"1}"), seconds=1) == {"a": 1}


def test_a_huge_answer_is_left_at_the_limit():
    answer = Answer(*[b"x" * 1000] * 50)
    with pytest.raises(Unavailable, match="answer_too_large"):
        read_bounded(answer, seconds=1, bytes_max=2500)
    assert answer.taken == 3


def test_a_dripping_answer_is_left_at_the_deadline(monkeypatch):
    now = {"at": 0.0}

    def tick():
        now["at"] += 0.4
        return now["at"]

    monkeypatch.setattr(clock, "monotonic", tick)
    with pytest.raises(Unavailable, match="answer_too_slow"):
        read_bounded(Answer(*[b"x"] * 50), seconds=1)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 100_000, b"\xff"])
def test_an_answer_that_is_no_json_says_so(body):
    with pytest.raises(Unavailable, match="answer_invalid"):
        read_json(Answer(body), seconds=1)


def test_a_session_follows_no_redirect_and_no_proxy_of_the_environment(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://10.0.0.1:1")
    with session() as http:
        assert (http.trust_env, http.max_redirects) == (False, 0)
        policy = http.get_adapter("https://x").max_retries
        assert (policy.total, policy.read, policy.redirect) == (1, 0, 0)
