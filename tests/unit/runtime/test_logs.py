"""A log line is one JSON object, holds no secret, and never breaks the work it tells about."""

import json
import subprocess
import sys
from decimal import Decimal

import pytest
from pydantic import BaseModel, SecretStr

from fillbook.runtime import logs

log = logs.get("worker")


@pytest.fixture
def lines(capsys):
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_an_event_is_one_line_with_its_fields(lines):
    log.info("receipt_stored", ticker="AAPL", count=2, price=Decimal("1.10"), age=0.25, note=None)
    (line,) = lines()
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "severity": "INFO",
        "message": "receipt_stored",
        "logger": "worker",
        "ticker": "AAPL",
        "count": 2,
        "price": "1.10",
        "age": "0.25",
        "note": None,
    }


def test_the_trace_of_the_request_joins_its_lines(lines):
    assert logs.trace_from("105445aa7843bc8bf206b12000100000/1;o=1") == "105445aa7843bc8bf206b12000100000"
    log.warning("x")
    assert logs.trace_from("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01") == "4bf92f3577b34da6a3ce929d0e0e4736"
    log.error("y")
    assert logs.trace_from("nonsense\n") == ""
    log.info("z")
    one, two, three = lines()
    assert one["logging.googleapis.com/trace"].endswith("105445aa7843bc8bf206b12000100000")
    assert (one["severity"], two["severity"]) == ("WARNING", "ERROR")
    assert "logging.googleapis.com/trace" not in three


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token", "canary"),
        ("api_key", "canary"),
        ("x", SecretStr("canary")),
        ("headers", {"Authorization": "canary"}),
        ("url", "https://discord.com/api/webhooks/123/canary-token"),
        ("url", "postgresql://u:canary@h/d"),
        ("header", "Bearer canary.abc.def"),
        ("jwt", "eyJhbGciOi.eyJjYW5hcnki.canary"),
        ("list", [SecretStr("canary")]),
    ],
)
def test_what_is_or_looks_like_a_secret_is_masked(capsys, name, value):
    log.info("said", **{name: value})
    assert "canary" not in capsys.readouterr().out


def test_a_secret_the_configuration_read_is_masked_wherever_it_stands(capsys):
    logs.remember(secrets=("s3cret-canary", "abc"))
    log.info("said", text="before s3cret-canary after", abc="abc")
    out = capsys.readouterr().out
    assert "s3cret-canary" not in out
    assert '"abc":"abc"' in out  # too short to mask without making logs unreadable


class Strict(BaseModel):
    n: int


def test_a_bug_is_told_by_type_and_place_without_the_input(lines):
    def inner():
        try:
            Strict.model_validate({"n": "canary"})
        except ValueError as error:
            raise RuntimeError("while reading") from error

    try:
        inner()
    except RuntimeError as error:
        log.failed("request_failed", error, request_id="r")
    (line,) = lines()
    assert line["error"] == "RuntimeError: while reading"
    assert line["frames"][-1].endswith("inner")
    assert line["causes"] == ["ValidationError: n: int_parsing"]
    assert "canary" not in json.dumps(line)


def test_a_value_nobody_can_write_does_not_break_the_line(lines):
    log.info("odd", thing=object(), bad="\ud800")
    (line,) = lines()
    assert (line["message"], line["unwritable"], line["fields"]) == ("odd", "TypeError", ["bad", "thing"])


def test_a_long_text_is_cut(lines):
    log.info("long", text="x" * 10_000)
    assert len(lines()[0]["text"]) == 2_000


def test_at_a_persons_console_only_warnings_and_errors_are_told_and_not_among_the_output(capsys):
    @logs.quiet()
    def verb():
        log.info("request_sent")
        sys.stdout.write("what was asked for\n")
        log.warning("request_refused")
        log.error("message_dead")
        log.failed("drain_failed", RuntimeError("x"))

    verb()
    log.info("after")
    told = capsys.readouterr()
    assert told.out.splitlines()[0] == "what was asked for"
    assert [json.loads(line)["message"] for line in told.out.splitlines()[1:]] == ["after"]
    assert [json.loads(line)["message"] for line in told.err.splitlines()] == ["request_refused", "message_dead", "drain_failed"]


def test_a_reader_that_stops_reading_ends_a_verb_without_a_word():
    code = "from fillbook.runtime import logs\nlogs.quiet()(lambda: [print('x' * 99) for _ in range(9999)])()"
    verb = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={"PYTHONPATH": "shared"}
    )
    assert verb.stdout is not None
    assert verb.stdout.readline()
    verb.stdout.close()
    assert verb.stderr is not None
    with verb.stderr as said:
        assert said.read() == b""
    assert verb.wait() == 0


def test_a_verb_that_fails_leaves_the_logs_as_they_were(capsys):
    @logs.quiet()
    def verb():
        raise SystemExit(2)

    with pytest.raises(SystemExit):
        verb()
    log.info("heard")
    assert json.loads(capsys.readouterr().out)["message"] == "heard"
