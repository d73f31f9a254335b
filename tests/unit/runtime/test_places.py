"""Places bound what an instance takes: shown by gates that stand shut, never by how fast anything is."""

import base64
import gc
import itertools
import json
import socket
import threading

import flask
import pytest
from flask import Response

from fillbook.runtime import places as module
from fillbook.runtime.errors import Conflict, Rejected, Unavailable
from fillbook.runtime.http import answer, cron_edge, http_edge, push_edge
from fillbook.runtime.places import Overloaded, Places, waited_seconds
from tests.support.waiting import WAIT_SECONDS, wait_until

PATIENCE_MS = int(WAIT_SECONDS * 1000)


def app(edge):
    made = flask.Flask("edge")
    made.add_url_rule("/<path:path>", "path", lambda path: edge(flask.request), methods=["GET", "POST"])
    made.add_url_rule("/", "root", lambda: edge(flask.request), methods=["GET", "POST"])
    return made


class Gate:
    """A handler that says that it is in and answers when the gate is opened."""

    def __init__(self):
        self.inside = itertools.count()
        self.count = 0
        self.opened = threading.Event()

    def __call__(self, _request):
        self.count = next(self.inside) + 1
        assert self.opened.wait(WAIT_SECONDS)
        return answer(200, {"ok": True})


def test_who_finds_no_place_and_a_full_line_is_told_to_come_back_while_all_others_are_answered():
    gate, places = Gate(), Places(2, waiting=1, patience_ms=PATIENCE_MS)
    served = app(http_edge("gated", {"GET /": gate}, places=places))
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(served.test_client().get("/").status_code)) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: (gate.count, places.line) == (2, 1))

    for _ in range(20):  # the gate stands shut: what is answered now is answered at once, and nobody else is
        refused = served.test_client().get("/")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert {**refused.json, "request_id": None} == {"ok": False, "reason": "overloaded", "request_id": None}
    assert (answers, gate.count) == ([], 2)

    gate.opened.set()
    for thread in threads:
        thread.join()
    assert answers == [200, 200, 200]
    assert served.test_client().get("/").status_code == 200


def test_those_who_wait_are_let_in_in_the_order_in_which_they_came():
    places, order, threads = Places(1, waiting=4, patience_ms=PATIENCE_MS), [], []

    def come(number):
        places.take()
        order.append(number)
        places.give_back()

    places.take()
    for number in range(4):
        threads.append(threading.Thread(target=come, args=(number,)))
        threads[-1].start()
        wait_until(lambda number=number: places.line == number + 1)
    places.give_back()
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3]


def test_who_waits_longer_than_patience_leaves_the_line():
    places = Places(1, waiting=1, patience_ms=10)
    places.take()
    for _ in range(2):
        with pytest.raises(Overloaded):
            places.take()
        assert places.line == 0
    places.give_back()
    places.take()


def test_who_has_waited_before_anybody_looked_is_not_let_wait_again_but_finds_a_free_place_free():
    places = Places(1, waiting=1, patience_ms=PATIENCE_MS)
    places.take(waited_seconds=2 * WAIT_SECONDS)
    with pytest.raises(Overloaded):
        places.take(waited_seconds=WAIT_SECONDS)
    places.give_back()
    places.take()


def test_the_kernel_knows_how_long_a_request_has_been_there():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.sendall(b"GET / HTTP/1.1")
        taken, _ = server.accept()
        with taken:
            wait_until(lambda: waited_seconds(taken) >= 0.1)
            assert waited_seconds(taken) < WAIT_SECONDS
    assert (waited_seconds(None), waited_seconds(taken)) == (0, 0)  # nobody handed it over; it is closed


def test_of_many_who_come_again_and_again_never_more_are_at_work_than_there_are_places():
    places, lock = Places(3, waiting=2, patience_ms=PATIENCE_MS), threading.Lock()
    at_work, most, done = 0, 0, 0

    def work():
        nonlocal at_work, most, done
        left = 20
        while left:
            try:
                places.take()
            except Overloaded:
                continue
            with lock:
                at_work += 1
                most = max(most, at_work)
            with lock:
                at_work -= 1
                done += 1
            places.give_back()
            left -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most <= 3, done, places.line) == (True, 160, 0)
    for _ in range(3):
        places.take()  # all three came back


@pytest.mark.parametrize(
    "error", [Rejected("no"), Conflict("no"), Unavailable("no"), KeyError("a bug"), Rejected("x", status=404)]
)
def test_a_place_comes_back_whatever_becomes_of_the_request(error):
    def fail(_request):
        raise error

    served = app(http_edge("failing", {"GET /": fail}, places=Places(1, waiting=0))).test_client()
    statuses = {served.get("/").status_code for _ in range(3)} | {served.get("/unknown").status_code}
    assert 503 not in statuses or isinstance(error, Unavailable)
    assert served.get("/").json["reason"] != "overloaded"


def test_an_answer_that_is_made_while_it_is_sent_keeps_its_place_to_the_end():
    closed = []

    def pieces():
        try:
            yield from (b"a", b"b", b"c")
        finally:
            closed.append(True)

    served = app(http_edge("streaming", {"GET /": lambda _request: Response(pieces())}, places=Places(1, waiting=0)))
    whole = served.test_client().get("/", buffered=False)
    assert next(whole.response) == b"a"
    assert served.test_client().get("/").status_code == 503
    assert b"".join(whole.response) == b"bc"

    left = served.test_client().get("/", buffered=False)  # its reader goes away
    assert served.test_client().get("/").status_code == 503
    left.close()
    assert closed == [True, True]
    forgotten = served.test_client().get("/", buffered=False)
    assert served.test_client().get("/").status_code == 503
    del forgotten
    gc.collect()
    assert served.test_client().get("/").data == b"abc"


def test_a_push_and_a_schedule_find_no_place_and_nothing_is_kept_of_them():
    kept, none = [], Places(0, waiting=0)
    pushed = push_edge("worker", {"/": kept.append}, verify=kept.append, quarantine=kept.append, places=none)
    envelope = {"message": {"data": base64.b64encode(b"x").decode(), "messageId": "7"}, "subscription": "s"}
    refused = app(pushed).test_client().post("/", data=json.dumps(envelope))
    assert (refused.status_code, refused.headers["Retry-After"], kept) == (503, "5", [])
    assert app(cron_edge("relay", {"/": kept.append}, verify=kept.append)).test_client().post("/").status_code == 200


def test_a_contract_with_another_shape_of_errors_tells_it_in_that_shape():
    def shape(refusal):
        return {"error": {"code": refusal.reason}}

    refused = app(http_edge("shaped", {}, refuse=shape, places=Places(0, waiting=0))).test_client().get("/")
    assert (refused.status_code, refused.json) == (503, {"error": {"code": "overloaded"}})


def test_a_flood_of_refusals_is_one_line_of_the_log_a_second(capsys, monkeypatch):
    now = 100.0
    monkeypatch.setattr(module.clock, "monotonic", lambda: now)
    served = app(http_edge("flooded", {}, places=Places(0, waiting=0))).test_client()
    for _ in range(50):
        served.get("/")
    now = 101.5
    served.get("/")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["message"], line["refused"]) for line in lines] == [("requests_refused", 1), ("requests_refused", 50)]
