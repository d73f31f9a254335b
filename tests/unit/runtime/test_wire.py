"""The conversation itself, against a scripted server: in step or thrown away, nothing in between."""

import socket
import struct

import pytest

from fillbook.runtime.wire import Plans, ServerError, Wire, WireBroken, extended_message, query_message


def message(code, body=b""):
    return code + struct.pack("!i", len(body) + 4) + body


READY = message(b"Z", b"I")
DONE = message(b"C", b"SELECT 1\x00")


def described(*names):
    fields = b"".join(name.encode() + b"\x00" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0) for name in names)
    return message(b"T", struct.pack("!h", len(names)) + fields)


def row(*values):
    parts = [struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value for value in values]
    return message(b"D", struct.pack("!h", len(values)) + b"".join(parts))


def failed(code="23505", constraint="x_key"):
    return message(b"E", f"SERROR\x00C{code}\x00Mmade to fail\x00n{constraint}\x00\x00".encode())


@pytest.fixture
def talk():
    """Make a wire whose server says ``answer`` and hears what was said."""
    ends = []

    def begin(answer, *, hang_up=False, timeout=1.0):
        ours, theirs = socket.socketpair()
        ours.settimeout(timeout)
        theirs.sendall(answer)
        if hang_up:
            theirs.shutdown(socket.SHUT_WR)
        wire = Wire(ours)
        ends.append((wire, theirs))
        return wire

    yield begin
    for wire, theirs in ends:
        wire.close()
        theirs.close()


def test_each_statement_of_a_message_has_its_own_result(talk):
    begin = message(b"C", b"BEGIN\x00")
    notice = message(b"N", b"SNOTICE\x00\x00") + message(b"S", b"TimeZone\x00UTC\x00")
    wire = talk(
        begin + described("a") + row(b"1") + row(None) + DONE + notice + described("b", "c") + row(b"x", b"") + DONE + READY
    )
    results = wire.exchange(query_message("begin; select 1; select 2"))
    assert [(result.names, result.rows, result.tag) for result in results] == [
        ([], [], "BEGIN"),
        (["a"], [("1",), (None,)], "SELECT 1"),
        (["b", "c"], [("x", "")], "SELECT 1"),
    ]
    assert (wire.in_step, wire.status) == (True, b"I")


def test_a_server_error_is_raised_after_the_whole_answer_was_read(talk):
    wire = talk(message(b"C", b"BEGIN\x00") + failed() + message(b"Z", b"E") + READY)
    with pytest.raises(ServerError) as caught:
        wire.exchange(query_message("begin; insert"))
    assert (caught.value.sqlstate, caught.value.constraint) == ("23505", "x_key")
    assert (wire.in_step, wire.status) == (True, b"E")
    assert wire.exchange(query_message("rollback")) == []


def test_the_first_of_two_errors_is_the_one_that_counts(talk):
    wire = talk(failed("23514", "first") + message(b"Z", b"E") + failed("25P02", "") + message(b"Z", b"E"))
    with pytest.raises(ServerError) as caught:
        wire.exchange(query_message("x") + extended_message("select $1", ["1"]), 2)
    assert caught.value.constraint == "first"


@pytest.mark.parametrize("answer", [b"", b"C", described("a")[:7], row(b"1")[:-1], DONE])
def test_a_server_that_hangs_up_midway_breaks_the_wire(talk, answer):
    wire = talk(answer, hang_up=True)
    with pytest.raises(WireBroken, match="closed"):
        wire.exchange(query_message("select 1"))
    assert not wire.in_step
    assert not wire.is_alive()


def test_the_last_word_of_a_dying_server_is_kept(talk):
    wire = talk(failed("57P01", ""), hang_up=True)
    with pytest.raises(WireBroken) as caught:
        wire.exchange(query_message("select 1"))
    assert caught.value.server is not None
    assert caught.value.server.sqlstate == "57P01"


def test_a_message_nobody_expects_breaks_the_wire(talk):
    wire = talk(message(b"W", b"xx") + READY)
    with pytest.raises(WireBroken, match="unexpected"):
        wire.exchange(query_message("select 1"))
    assert not wire.in_step


def test_a_silent_server_is_left_after_the_timeout(talk):
    wire = talk(DONE, timeout=0.05)
    with pytest.raises(WireBroken) as caught:
        wire.exchange(query_message("select 1"))
    assert caught.value.timed_out
    assert not wire.in_step


def test_an_idle_wire_is_dead_when_the_server_spoke_or_left(talk):
    assert talk(b"").is_alive()
    assert not talk(b"", hang_up=True).is_alive()
    assert not talk(failed("57P01")).is_alive()
    wire = talk(b"")
    wire.close()
    assert not wire.is_alive()
    wire.close()  # twice is no harm


def test_an_extended_message_is_one_piece_with_text_parameters():
    assert extended_message("select $1, $2", ["é", None]) == (
        b"P\x00\x00\x00\x15\x00select $1, $2\x00\x00\x00"
        b"B\x00\x00\x00\x16\x00\x00\x00\x00\x00\x02\x00\x00\x00\x02\xc3\xa9\xff\xff\xff\xff\x00\x00"
        b"D\x00\x00\x00\x06P\x00E\x00\x00\x00\x09\x00\x00\x00\x00\x00S\x00\x00\x00\x04"
    )


def test_a_message_beyond_every_limit_is_refused_before_it_is_sent(monkeypatch):
    monkeypatch.setattr("fillbook.runtime.wire.MESSAGE_BYTES_MAX", 100)
    with pytest.raises(ValueError, match="limit"):
        query_message("x" * 101)


def test_a_planned_statement_is_parsed_with_its_first_question_alone():
    plans = Plans()
    whole = extended_message("select $1", ["1"])
    first, second = plans.message("select $1", ["1"]), plans.message("select $1", ["1"])
    assert first == whole.replace(b"P\x00\x00\x00\x11\x00", b"P\x00\x00\x00\x17plan_1\x00").replace(
        b"B\x00\x00\x00\x11\x00\x00", b"B\x00\x00\x00\x17\x00plan_1\x00"
    )
    assert first.endswith(second)
    assert second.startswith(b"B")
    assert b"plan_2" in plans.message("select $1, 2", ["1"])


def test_a_forgotten_plan_is_let_go_with_the_next_message_and_its_name_never_comes_again():
    plans = Plans()
    plans.message("select 1", [])
    plans.forget("select 1")
    plans.forget("select 1")
    again = plans.message("select 1", [])
    assert again.startswith(b"C\x00\x00\x00\x0cSplan_1\x00P\x00\x00\x00\x16plan_2\x00")
    assert not plans.message("select 1", []).startswith((b"C", b"P"))


def test_of_more_plans_than_a_connection_keeps_the_longest_unused_goes(monkeypatch):
    monkeypatch.setattr("fillbook.runtime.wire.PLANS_MAX", 2)
    plans = Plans()
    for text in ("select 1", "select 2", "select 1"):
        plans.message(text, [])
    assert b"Splan_2\x00" in plans.message("select 3", [])
    assert plans.message("select 1", []).startswith(b"B")
