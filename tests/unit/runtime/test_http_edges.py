"""The edge's promises, on a bare Flask application."""

import base64
import io
import json
from datetime import UTC, datetime

import flask
import pytest

from fillbook.runtime.errors import Conflict, Rejected, Unavailable
from fillbook.runtime.http import answer, cron, cron_edge, http_edge, oidc, push, push_edge, read_body


def client(routes, **options):
    app = flask.Flask("edge")
    edge = http_edge("edge", routes, **options)
    methods = ["GET", "POST", "PUT", "DELETE", "HEAD"]
    app.add_url_rule("/", "root", lambda: edge(flask.request), methods=methods)
    app.add_url_rule("/<path:path>", "path", lambda path: edge(flask.request), methods=methods)
    return app.test_client()


def raising(error):
    def handler(*_, **__):
        raise error

    return handler


def envelope(data=b"{}", **message):
    inner = {"data": base64.b64encode(data).decode(), "messageId": "7", "publishTime": "2026-02-11T14:30:00.5Z", **message}
    return {"message": inner, "subscription": "projects/p/subscriptions/s", "deliveryAttempt": 3}


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (Rejected("ticker_invalid", "detail", field="ticker"), 400, {"ok": False, "reason": "ticker_invalid", "field": "ticker"}),
        (Rejected("body_too_large", status=413), 413, {"ok": False, "reason": "body_too_large"}),
        (Conflict("receipt_differs"), 409, {"ok": False, "reason": "receipt_differs"}),
    ],
)
def test_a_refusal_says_its_reason_and_nothing_else(error, status, body):
    response = client({"GET /": raising(error)}).get("/")
    assert (response.status_code, response.json) == (status, body)


def test_unavailable_says_when_to_come_back():
    response = client({"GET /": raising(Unavailable("database_unavailable", retry_after_seconds=7))}).get("/")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "7")


def test_a_bug_shows_an_opaque_id_and_never_its_text(capsys):
    response = client({"GET /": raising(KeyError("canary-text"))}).get("/", headers={"X-Request-Id": "abcdefgh-1"})
    assert response.status_code == 500
    assert response.json == {"ok": False, "reason": "internal", "request_id": "abcdefgh-1"}
    assert "canary-text" not in response.text
    assert json.loads(capsys.readouterr().out)["request_id"] == "abcdefgh-1"


def test_literal_paths_win_over_templates_and_parameters_are_passed():
    routes = {
        "GET /books/{book_id}": lambda request, book_id: answer(200, {"book": book_id}),
        "GET /books/all": lambda request: answer(200, {"all": True}),
    }
    app = client(routes)
    assert app.get("/books/live").json == {"book": "live"}
    assert app.get("/books/all").json == {"all": True}
    assert app.get("/books/a/b").status_code == 404


def test_a_known_path_with_another_method_names_the_methods():
    response = client({"POST /timed/ingest": answer, "GET /timed/{what}": answer}).delete("/timed/ingest")
    assert (response.status_code, response.headers["Allow"]) == (405, "GET, POST")


def test_head_is_answered_by_get_routes():
    assert client({"GET /": lambda request: answer(200, {"ok": True})}).head("/").status_code == 200


def test_every_answer_carries_the_security_headers_unless_the_handler_set_its_own():
    own = {"Content-Security-Policy": "default-src 'self'"}
    response = client({"GET /": lambda request: answer(200, {"ok": True}, own)}).get("/")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == "default-src 'self'"
    assert response.headers["Cache-Control"] == "no-store"


class TestPush:
    def setup_method(self):
        self.quarantined = []
        self.seen = []

    def post(self, work, body, *, verify=lambda request: "caller"):
        app = client({"POST /": push(work, verify=verify, quarantine=self.quarantined.append)})
        return app.post("/", data=body if isinstance(body, bytes) else json.dumps(body))

    def test_a_message_that_was_done_is_acknowledged(self):
        response = self.post(self.seen.append, envelope(b"hello", attributes={"a": "b"}, orderingKey="AAPL"))
        assert (response.status_code, response.data) == (204, b"")
        (message,) = self.seen
        assert (message.data, message.attributes, message.ordering_key) == (b"hello", {"a": "b"}, "AAPL")
        assert (message.delivery_attempt, message.message_id) == (3, "7")
        assert message.publish_time == datetime(2026, 2, 11, 14, 30, 0, 500_000, tzinfo=UTC)

    @pytest.mark.parametrize("error", [Rejected("ticker_invalid"), Conflict("receipt_differs")])
    def test_what_stays_wrong_is_quarantined_and_acknowledged(self, error):
        assert self.post(raising(error), envelope(b"poison")).status_code == 204
        (refused,) = self.quarantined
        assert (refused.reason, refused.body, refused.message.message_id) == (error.reason, b"poison", "7")

    @pytest.mark.parametrize("body", [b"", b"nonsense", {"message": {}}, {"message": {"data": "%%"}}, [1]])
    def test_a_malformed_envelope_is_quarantined_whole(self, body):
        assert self.post(self.seen.append, body).status_code == 204
        (refused,) = self.quarantined
        assert refused.reason == "envelope_invalid"
        assert refused.message is None
        assert self.seen == []

    def test_when_the_outside_is_down_the_message_comes_again(self):
        assert self.post(raising(Unavailable("database_unavailable")), envelope()).status_code == 503
        assert self.quarantined == []

    def test_a_bug_is_redelivered_until_it_is_dead(self):
        assert self.post(raising(ValueError("x")), envelope()).status_code == 500

    def test_an_unknown_caller_writes_nothing_not_even_into_quarantine(self):
        refuse = raising(Rejected("unauthorized", status=401))
        assert self.post(self.seen.append, b"nonsense", verify=refuse).status_code == 401
        assert (self.seen, self.quarantined) == ([], [])


SCHEDULED = {"X-CloudScheduler-ScheduleTime": "2026-02-11T09:30:00-05:00", "X-CloudScheduler-JobName": "projects/p/jobs/tick"}


class TestCron:
    def post(self, work, headers=None, body=b""):
        return client({"POST /": cron(work, verify=lambda request: "caller")}).post("/", data=body, headers=headers or {})

    def test_a_scheduled_call_knows_its_slot_in_utc(self):
        calls = []
        response = self.post(calls.append, SCHEDULED, b'{"task":"drain"}')
        assert (response.status_code, response.json) == (200, {"ok": True})
        assert calls[0].slot == datetime(2026, 2, 11, 14, 30, tzinfo=UTC)
        assert (calls[0].job, calls[0].body) == ("tick", {"task": "drain"})

    @pytest.mark.parametrize(
        ("error", "scheduled", "by_hand"),
        [
            (Rejected("date_invalid"), 200, 400),
            (Conflict("busy"), 200, 409),
            (Unavailable("down"), 500, 503),
            (ValueError(), 500, 500),
        ],
    )
    def test_the_scheduler_and_a_person_get_their_own_column_of_the_error_table(self, error, scheduled, by_hand):
        assert self.post(raising(error), SCHEDULED).status_code == scheduled
        assert self.post(raising(error)).status_code == by_hand

    def test_a_body_with_a_key_twice_is_refused(self):
        assert self.post(lambda call: None, body=b'{"a":1,"a":2}').status_code == 400


def test_a_route_behind_an_identity_token_is_not_reached_without_one():
    reached = []
    handler = oidc(lambda request: reached.append(1) or answer(200, {}), verify=raising(Rejected("forbidden", status=403)))
    assert client({"POST /reconcile": handler}).post("/reconcile").status_code == 403
    assert reached == []


class Endless(io.RawIOBase):
    """A body without end that notes how much of it was taken."""

    given = 0

    def readable(self):
        return True

    def readinto(self, buffer):
        buffer[:] = b"x" * len(buffer)
        self.given += len(buffer)
        return len(buffer)


@pytest.mark.parametrize("headers", [{"Transfer-Encoding": "chunked"}, {"Content-Length": "900000000"}])
def test_a_body_nobody_asked_for_is_not_read_after_the_answer_either(headers):
    app = client({"POST /": lambda request: answer(200, {"ok": True})})
    app.application.after_request(lambda response: (flask.request.get_data() and response) or response)  # as the framework does
    endless = Endless()
    response = app.post("/", headers=headers, environ_overrides={"wsgi.input": endless, "wsgi.input_terminated": True})
    assert (response.status_code, endless.given) == (200, 0)


def test_a_body_is_read_to_its_limit_and_no_further():
    app = client({"POST /": lambda request: answer(200, {"size": len(read_body(request, 1000))})})
    app.application.after_request(lambda response: (flask.request.get_data() and response) or response)
    endless = Endless()
    chunked = {"wsgi.input": endless, "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    assert app.post("/", environ_overrides=chunked).status_code == 413
    assert endless.given <= 1001
    assert app.post("/", data=b"x" * 1000).json == {"size": 1000}
    assert app.post("/", data=b"x" * 1001).status_code == 413
    assert app.post("/", data=b"short", environ_overrides={"CONTENT_LENGTH": "900"}).json["reason"] == "body_incomplete"


def test_a_short_unread_body_is_dropped_so_that_the_connection_can_be_kept():
    app = client({"POST /": lambda request: answer(200, {"ok": True})})
    body = io.BytesIO(b"x" * 500)
    assert app.post("/", content_length=500, environ_overrides={"wsgi.input": body}).status_code == 200
    assert body.read() == b""


def served(edge):
    app = flask.Flask("edge")
    app.add_url_rule("/<path:path>", "path", lambda path: edge(flask.request), methods=["GET", "POST"])
    return app.test_client()


def test_a_function_that_only_pubsub_calls_needs_only_paths():
    seen = []
    edge = push_edge("worker", {"/dead": seen.append}, verify=lambda request: "caller", quarantine=seen.append)
    assert served(edge).post("/dead", data=json.dumps(envelope(b"x"))).status_code == 204
    assert served(edge).get("/dead").status_code == 405
    assert seen[0].data == b"x"


def test_a_function_that_only_the_scheduler_calls_needs_only_paths():
    edge = cron_edge("relay", {"/sweep": lambda call: {"published": 3}}, verify=lambda request: "caller")
    assert served(edge).post("/sweep", headers=SCHEDULED).json == {"published": 3}


@pytest.mark.parametrize("time", ["yesterday", "2026-02-11T09:30:00"])
def test_a_schedule_time_that_is_no_instant_is_refused(time):
    app = client({"POST /": cron(lambda call: None, verify=lambda request: "caller")})
    assert app.post("/", headers={"X-CloudScheduler-ScheduleTime": time}).json == {"ok": False, "reason": "slot_invalid"}


def test_an_error_of_the_framework_keeps_its_status_and_loses_its_text():
    from werkzeug.exceptions import RequestURITooLarge

    response = client({"GET /": raising(RequestURITooLarge("canary"))}).get("/")
    assert (response.status_code, response.json) == (414, {"ok": False, "reason": "request_invalid"})


def test_a_route_that_is_none_is_noticed_when_the_edge_is_made():
    with pytest.raises(ValueError, match="METHOD /path"):
        http_edge("x", {"/path": answer})


def test_a_contract_with_another_error_shape_is_kept():
    def shape(refusal):
        return {"error": {"code": refusal.reason, "request_id": refusal.request_id}}

    response = client({}, refuse=shape).get("/", headers={"X-Request-Id": "abcdefgh"})
    assert (response.status_code, response.json) == (404, {"error": {"code": "not_found", "request_id": "abcdefgh"}})
