"""The fake TWS: its control API, what it records, what it refuses, and the small book it serves by itself."""

from __future__ import annotations

import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import requests

from fillbook.ibkr.model import CommissionReport, Sighting
from fillbook.money import vwap
from fillbook.runtime.clock import FixedClock
from infra.local import tws_book
from infra.local.tws import TwsFake
from infra.local.tws_control import Control
from infra.local.tws_knobs import Knobs
from tests.support.ibkr_frames import PAPER, fills
from tests.support.ibkr_socket import socket_of, target_of, window_of
from tests.support.ibkr_world import NOW
from tests.support.waiting import wait_until

ACCOUNTS = (PAPER, "DU7654321")


@pytest.fixture
def fake() -> Iterator[TwsFake]:
    with TwsFake(clock=FixedClock(NOW), reach_days=6) as made:
        yield made


@pytest.fixture
def control(fake: TwsFake) -> Iterator[str]:
    with Control(fake) as made:
        yield f"{made.base_url}/_control"


def test_a_plan_can_be_loaded_and_knobs_turned_from_outside(fake: TwsFake, control: str) -> None:
    requests.post(f"{control}/plan", json={"executions": fills(3)}, timeout=30).raise_for_status()
    requests.post(f"{control}/knobs", json={"texts": {"1": {"20": ""}}, "busy_client_ids": [11]}, timeout=30).raise_for_status()
    clock = FixedClock(NOW)
    answer = socket_of(fake, clock).fetch(target_of(fake), window_of(clock))
    assert (answer.fetched_count, [refusal.reason for refusal in answer.refusals]) == (3, ["bad_number"])
    received = requests.get(f"{control}/received", timeout=30).json()
    assert [frame[0] for frame in received] == ["71", "71", "7"]
    assert requests.get(f"{control}/orders", timeout=30).json() == []
    assert len(requests.get(f"{control}/book", timeout=30).json()["executions"]) == 6
    requests.post(f"{control}/reset", timeout=30).raise_for_status()
    assert (fake.received(), fake.knobs) == ([], Knobs())


def test_an_unknown_knob_is_refused(fake: TwsFake, control: str) -> None:
    answer = requests.post(f"{control}/knobs", json={"no_such": 1}, timeout=30)
    assert (answer.status_code, answer.json()) == (400, {"error": "unknown knob: no_such"})
    assert requests.get(f"{control}/nothing", timeout=30).status_code == 404
    with pytest.raises(ValueError, match="commissions is"):
        fake.turn(commissions="sometimes")


def test_the_control_port_answers_nobody_who_names_another_host(control: str) -> None:
    assert requests.get(f"{control}/knobs", headers={"Host": "desk.example"}, timeout=30).status_code == 403


def test_an_order_message_is_recorded(fake: TwsFake) -> None:
    with socket.create_connection((fake.host, fake.port), timeout=30) as client:
        client.sendall(b"API\0" + _frame(b"v157..176") + _frame(b"71\0002\0001\0\0") + _frame(b"3\0007\0AAPL\0"))
        wait_until(lambda: len(fake.received()) == 2)  # an order is answered by nothing that could be waited for
    assert fake.orders() == [["3", "7", "AAPL"]]


def test_a_filter_that_is_not_in_the_utc_form_is_an_error(fake: TwsFake) -> None:
    with socket.create_connection((fake.host, fake.port), timeout=30) as client:
        asked = b"7\0003\0009\0000\0\00020260105 10:00:00\0\0\0\0\0"
        client.sendall(b"API\0" + _frame(b"v157..176") + _frame(b"71\0002\0001\0\0") + _frame(asked))
        told = b""
        while b"\x00321\x00" not in told:
            told += client.recv(4096)
    assert b"4\x002\x009\x00321\x00" in told


def _frame(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def test_its_own_book_is_the_same_for_everybody_and_grows_with_the_day() -> None:
    close = datetime(2026, 1, 5, 21, 0, tzinfo=UTC)
    whole = tws_book.demo(ACCOUNTS, close)
    assert whole.executions == tws_book.demo(ACCOUNTS, close).executions
    noon = tws_book.demo(ACCOUNTS, close - timedelta(hours=4))
    assert 0 < len(noon.executions) < len(whole.executions)
    assert [frame for frame in whole.executions if frame in noon.executions] == noon.executions
    assert tws_book.demo(ACCOUNTS, close.replace(day=4)).executions == []


def test_its_positions_are_its_holdings_and_what_the_day_has_added() -> None:
    close = datetime(2026, 1, 5, 21, 0, tzinfo=UTC)
    before, noon, after = (tws_book.demo(ACCOUNTS, close - timedelta(hours=hours)).positions for hours in (9, 4, 0))
    assert before == after == tws_book.demo(ACCOUNTS, close.replace(day=4)).positions
    held = {frame[3] for frame in before}
    added = {(frame[2], frame[3]): (Decimal(frame[14]), Decimal(frame[15])) for frame in noon if frame[3] not in held}
    bought: dict[tuple[str, str], list[tuple[Decimal, Decimal]]] = {}
    for frame in tws_book.demo(ACCOUNTS, close - timedelta(hours=4)).executions:
        if frame[0] == "11" and frame[18] == "BOT":
            bought.setdefault((frame[16], frame[3]), []).append((Decimal(frame[19]), Decimal(frame[20])))
    sums = {key: (sum(count for count, _ in lots), vwap(lots)) for key, lots in bought.items()}
    assert added == sums
    assert added


def test_every_frame_of_its_own_book_is_understood() -> None:
    clock = FixedClock(datetime(2026, 1, 5, 21, 0, tzinfo=UTC))
    with TwsFake(clock=clock, accounts=ACCOUNTS, book=lambda now: tws_book.demo(ACCOUNTS, now)) as tws:
        answer = socket_of(tws, clock, reach_days=0).fetch(target_of(tws), window_of(clock))
        snapshot = socket_of(tws, clock, reach_days=0).fetch_positions(target_of(tws))
    executions = [row for row in answer.rows if isinstance(row, Sighting)]
    assert (answer.refusals, len(executions)) == ((), answer.fetched_count)
    assert len({row.ib_exec_id for row in executions}) == len(executions)
    assert {row.ib_exec_id for row in answer.rows if isinstance(row, CommissionReport)} == {row.ib_exec_id for row in executions}
    assert (len(snapshot.rows), snapshot.refusals) == (4, ())


def test_it_runs_as_a_process_of_its_own_and_ends_when_told() -> None:
    command = [sys.executable, "-m", "infra.local.tws", "--account", PAPER]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        control = line.split("control on ")[1].strip()
        assert requests.get(f"{control}/knobs", timeout=30).json()["accounts"] == [PAPER]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0
