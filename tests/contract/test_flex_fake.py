"""The fake Flex web service against the bodies kept beside the repository, its pacing, its control API, its process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from pydantic import SecretStr

from fillbook.ibkr import flexrules
from fillbook.ibkr.flex import Flex
from fillbook.ibkr.flexrules import Class
from fillbook.ibkr.sources import FlexAnswer
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.errors import Rejected
from infra.local.flex import FlexFake
from infra.local.flex_faults import KNOBS
from infra.local.flex_service import MESSAGES, accepted, status
from tests.support.ibkr import ALLOWED
from tests.support.ibkr_flex import DAY, SAMPLES

NOW = datetime(2026, 1, 6, 11, 15, tzinfo=UTC)
BODIES = SAMPLES / "synthetic_flex_ws_responses.json"
CASES: list[dict[str, str]] = json.loads(BODIES.read_text("utf-8")) if BODIES.exists() else []
here = pytest.mark.skipif(not CASES, reason="the sample data of room ibkr is not here")
CODES = [one for one in CASES if one["case"].isdigit()]
CLASSES = {
    "1001": Class.NOT_READY,
    "1009": Class.NOT_READY,
    "1012": Class.TOKEN_UNUSABLE,
    "1013": Class.TOKEN_UNUSABLE,
    "1014": Class.REQUEST_WRONG,
    "1015": Class.TOKEN_UNUSABLE,
    "1017": Class.REQUEST_WRONG,
    "1018": Class.TOO_MANY,
    "1019": Class.NOT_READY,
    "1021": Class.NOT_READY,
    "1025": Class.LOCKED_OUT,
}


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def fake(clock: FixedClock) -> Iterator[FlexFake]:
    with FlexFake(clock=clock) as served:
        yield served


@contextmanager
def saying(body: str) -> Iterator[str]:
    """A server that answers everything with ``body``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/flex"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def adapter(url: str, directory: Path, token: str = "1") -> Flex:
    return Flex(SecretStr(token), send_url=url, is_local=True, directory=directory, send_seconds=5, fetch_seconds=5)


def replayed(case: dict[str, str], directory: Path) -> FlexAnswer:
    """What the real adapter makes of a body of the broker."""
    with saying(case["body"]) as url:
        if case["step"] == "SendRequest":
            return adapter(url, directory).send("7", DAY, DAY)
        return adapter(url, directory).fetch(url, "1234567890")


def case(name: str) -> dict[str, str]:
    (found,) = [one for one in CASES if one["case"] == name]
    return found


@here
def test_every_case_of_the_file_is_replayed_here() -> None:
    assert {one["case"] for one in CASES} == {*CLASSES, "ok", "html_error_page", "truncated", "empty_window"}


@here
@pytest.mark.parametrize("told", CODES, ids=[one["case"] for one in CODES])
def test_a_code_of_the_broker_is_of_the_class_the_table_says(told: dict[str, str], tmp_path: Path) -> None:
    answer = replayed(told, tmp_path)
    assert answer.error_code == int(told["case"])
    assert flexrules.class_of(answer.error_code) is CLASSES[told["case"]]
    assert answer.error_text
    assert (answer.document, answer.reference_code, answer.failure) == (None, None, None)
    assert list(tmp_path.iterdir()) == []


@here
def test_a_reference_comes_with_the_address_to_fetch_it_from(tmp_path: Path) -> None:
    answer = replayed(case("ok"), tmp_path)
    assert answer.reference_code == "1234567890"
    assert answer.statement_url == "https://gdcdyn.interactivebrokers.com/AccountManagement/FlexWebService/GetStatement"


@here
def test_a_page_for_people_is_a_failure_with_its_text(tmp_path: Path) -> None:
    answer = replayed(case("html_error_page"), tmp_path)
    assert (answer.failure, "Service Unavailable" in answer.error_text, answer.document) == ("flex_not_xml", True, None)


@here
def test_a_document_that_breaks_off_is_refused_before_a_row_is_read(tmp_path: Path) -> None:
    document = replayed(case("truncated"), tmp_path).document
    assert document is not None
    with pytest.raises(Rejected, match="flex_truncated"):
        document.check()
    document.close()
    assert list(tmp_path.iterdir()) == []


@here
def test_an_empty_window_is_a_sound_document_of_nothing(tmp_path: Path) -> None:
    document = replayed(case("empty_window"), tmp_path).document
    assert document is not None
    [span] = document.check().spans
    assert (span.account_code, span.from_date, span.to_date, span.states_positions) == ("U1234567", DAY, DAY, False)
    assert [(one.fetched_count, one.rows, one.refusals) for one in document.chunks(ALLOWED)] == []


@here
@pytest.mark.parametrize("told", CODES, ids=[one["case"] for one in CODES])
def test_the_fake_says_it_word_for_word(told: dict[str, str]) -> None:
    assert status(int(told["case"])).decode() == told["body"]
    assert int(told["case"]) in MESSAGES


@here
def test_the_fake_hands_out_references_word_for_word() -> None:
    url = "https://gdcdyn.interactivebrokers.com/AccountManagement/FlexWebService/GetStatement"
    assert accepted("1234567890", url).decode() == case("ok")["body"]


def test_the_adapter_speaks_to_the_fake_as_to_the_broker(fake: FlexFake, clock: FixedClock, tmp_path: Path) -> None:
    flex = adapter(fake.send_url, tmp_path, fake.token)
    sent = flex.send("7", DAY, DAY)
    assert (sent.statement_url, sent.error_code) == (fake.statement_url, None)
    clock.step(1)
    fetched = flex.fetch(str(sent.statement_url), str(sent.reference_code))
    assert fetched.document is not None
    assert fetched.document.check().spans[0].to_date == DAY
    fetched.document.close()
    clock.step(1)
    assert flex.fetch(str(sent.statement_url), "4711").error_code == 1017
    clock.step(1)
    assert adapter(fake.send_url, tmp_path, "2" * 24).send("7", DAY, DAY).error_code == 1015
    clock.step(1)
    assert flex.send("none", DAY, DAY).error_code == 1014
    clock.step(1)
    assert flex.send("7", DAY, date(2027, 1, 5)).error_code == 1020


def codes(fake: FlexFake, clock: FixedClock, gaps: list[float]) -> list[int | None]:
    """The codes of calls made after each of the gaps."""
    told = []
    for gap in gaps:
        clock.step(gap)
        fake.answer("send", {"t": fake.token, "q": "7", "fd": "20260105", "td": "20260105", "v": "3"}, "")
        told.append(fake.requests()[-1]["code"])
    return told


def test_one_call_a_second_is_let_through_and_a_sooner_one_is_not(fake: FlexFake, clock: FixedClock) -> None:
    assert codes(fake, clock, [0, 1, 0.999, 1]) == [None, None, 1018, None]


def test_ten_calls_a_minute_are_let_through_and_the_eleventh_when_the_first_is_a_minute_old(
    fake: FlexFake, clock: FixedClock
) -> None:
    assert codes(fake, clock, [0, *[2.0] * 9]) == [None] * 10
    assert codes(fake, clock, [2.0]) == [1018]
    fake.reset()
    assert codes(fake, clock, [0, *[2.0] * 9, 42.0]) == [None] * 11


def test_the_third_violation_locks_the_token_out_for_45_minutes(fake: FlexFake, clock: FixedClock) -> None:
    assert codes(fake, clock, [0, 0.5, 0.5, 0.5]) == [None, 1018, 1018, 1025]
    assert codes(fake, clock, [10, 44 * 60, 49.9]) == [1025] * 3
    assert codes(fake, clock, [0.1]) == [None]


def test_the_control_api_turns_every_knob_and_tells_what_came(fake: FlexFake, clock: FixedClock, tmp_path: Path) -> None:
    control = f"{fake.send_url.partition('/Account')[0]}/_control"

    def post(what: str, **given: Any) -> requests.Response:
        return requests.post(f"{control}/{what}", json=given, timeout=30)

    listed = post("faults", fault="code", step="send", code=1019).json()
    assert (listed["fault"], listed["options"]) == ("code", {"code": 1019})
    assert post("faults", fault="no_such").status_code == 400
    assert set(requests.get(f"{control}/faults", timeout=30).json()["knobs"]) == set(KNOBS)
    flex = adapter(fake.send_url, tmp_path, fake.token)
    assert flex.send("7", DAY, DAY).error_code == 1019
    assert post("clock", step_seconds=60).json() == {"ok": True}
    assert post("statement", query="7", body="<FlexQueryResponse/>").json() == {"ok": True}
    sent = flex.send("7", DAY, DAY)
    assert post("clock", step_seconds=60).json() == {"ok": True}
    fetched = flex.fetch(str(sent.statement_url), str(sent.reference_code))
    assert fetched.document is not None
    assert fetched.document.head == "<FlexQueryResponse/>"
    fetched.document.close()
    told = requests.get(f"{control}/requests", timeout=30).json()
    assert [(one["step"], one["code"], one["fault"]) for one in told] == [
        ("send", 1019, "code"),
        ("send", None, None),
        ("fetch", None, None),
    ]
    assert fake.token not in json.dumps(told)
    assert requests.get(f"{control}/stats", timeout=30).json()["calls"] == 3
    assert post("token", token="3" * 24).json() == {"ok": True}
    assert (fake.token, post("unheard", x=1).status_code) == ("3" * 24, 400)
    post("faults", fault="html")
    assert requests.delete(f"{control}/faults", timeout=30).json() == {"ok": True}
    assert requests.get(f"{control}/faults", timeout=30).json()["queued"] == []
    post("reset")
    assert fake.requests() == []


def test_the_control_port_answers_nobody_who_names_another_host(fake: FlexFake) -> None:
    control = f"{fake.send_url.partition('/Account')[0]}/_control/requests"
    assert requests.get(control, headers={"Host": "evil.example"}, timeout=30).status_code == 403


def test_it_runs_as_a_process_of_its_own_and_ends_when_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "infra.local.flex", "--account", "U7654321", "--token", "4" * 24]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split("service: ")[1].strip()
        answer = adapter(url, tmp_path, "4" * 24).send("7", DAY, DAY)
        assert (answer.error_code, answer.failure) == (None, None)
        assert answer.statement_url is not None
        assert answer.statement_url.partition("/Account")[0] != url.partition("/Account")[0], "two ports"
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0
