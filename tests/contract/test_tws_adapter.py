"""The adapter over the real client library against the fake TWS: what it asks, where it may, and what it leaves behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fillbook.ibkr.model import Sighting
from fillbook.ibkr.sources import Fetched, PositionsSnapshot
from fillbook.ibkr.tws import Tws
from fillbook.ibkr.tws_rules import TwsTarget
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.errors import Rejected, Unavailable
from infra.local.tws import TwsFake
from tests.support.ibkr_frames import fill, fills, held, paid
from tests.support.ibkr_socket import LIBRARY, QUICK, REACH_DAYS, socket_of, target_of, window_of
from tests.support.ibkr_world import NOW

ROOT = Path(__file__).parents[2]
INSTANT = datetime(2026, 1, 5, 15, 30, tzinfo=UTC)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def fake(clock: FixedClock) -> Iterator[TwsFake]:
    with TwsFake(clock=clock, reach_days=REACH_DAYS) as made:
        yield made
        assert made.orders() == []


def fetched(fake: TwsFake, clock: FixedClock, *, target: dict[str, Any] | None = None, **options: Any) -> Fetched:
    return socket_of(fake, clock, **options).fetch(target_of(fake, **(target or {})), window_of(clock))


def positions(fake: TwsFake, clock: FixedClock, **options: Any) -> PositionsSnapshot:
    return socket_of(fake, clock, **options).fetch_positions(target_of(fake))


# --- what is asked ----------------------------------------------------------------------------------------------------


def test_it_sends_one_request_and_nothing_at_the_start(fake: TwsFake, clock: FixedClock) -> None:
    fake.load(fills(1))
    fetched(fake, clock)
    assert [frame[0] for frame in fake.received()] == ["71", "7"]


def test_the_filter_says_only_since_when_and_in_the_form_that_is_utc(fake: TwsFake, clock: FixedClock) -> None:
    fetched(fake, clock)
    asked = fake.received()[-1]
    assert asked[:2] == ["7", "3"]
    assert asked[3:] == ["0", "", "20260104-21:00:00", "", "", "", ""]


def test_the_facts_are_the_texts_of_the_wire(fake: TwsFake, clock: FixedClock) -> None:
    fake.load([fill(1, shares="1143.28313142"), paid(1, "0.0000000001")])
    execution, report = fetched(fake, clock).rows
    assert isinstance(execution, Sighting)
    assert (execution.raw["shares"], execution.facts.quantity) == ("1143.28313142", Decimal("1143.28313142"))
    assert report.raw["commission"] == "0.0000000001"
    assert execution.observed_at == NOW


def test_the_answer_says_which_library_and_server_gave_it(fake: TwsFake, clock: FixedClock) -> None:
    version = fetched(fake, clock).client_version
    assert version.startswith(f"{LIBRARY} ")
    assert version.endswith(", server 176")


def test_a_newer_server_adds_a_field_where_the_library_can_ask_for_it(fake: TwsFake, clock: FixedClock) -> None:
    fake.turn(server_version=200)
    fake.load(fills(2))
    answer = fetched(fake, clock)
    assert (answer.fetched_count, answer.refusals, len(answer.rows)) == (2, (), 4)
    expected = {"ib_insync": "server 176", "ib_async": "server 178"}[LIBRARY]
    assert answer.client_version.endswith(expected)


@pytest.mark.parametrize(
    ("name", "value", "slug"),
    [
        ("client_id", 0, "client_id_invalid"),
        ("client_id", 2**31, "client_id_invalid"),
        ("connect_timeout_seconds", 0, "connect_timeout_invalid"),
        ("connect_timeout_seconds", 61, "connect_timeout_invalid"),
    ],
)
def test_what_would_bind_orders_or_wait_for_ever_is_refused(
    fake: TwsFake, clock: FixedClock, name: str, value: int, slug: str
) -> None:
    with pytest.raises(Rejected, match=slug):
        fetched(fake, clock, target={name: value})
    assert fake.received() == []


def test_a_client_id_of_the_pool_is_in_range_too(fake: TwsFake, clock: FixedClock) -> None:
    with pytest.raises(ValueError, match="client id"):
        socket_of(fake, clock, client_ids=(0,))


def test_it_dials_only_what_the_configuration_names(fake: TwsFake, clock: FixedClock) -> None:
    source = Tws(targets=[TwsTarget(host=fake.host, port=1)], client_ids=(1,), clock=clock, library=LIBRARY)
    with pytest.raises(Rejected, match="target_unknown"):
        source.fetch(target_of(fake), window_of(clock))
    assert fake.received() == []


def test_a_library_that_is_none_of_the_two_is_refused(clock: FixedClock) -> None:
    with pytest.raises(ValueError, match="ib_insync, ib_async"):
        Tws(targets=[], client_ids=(1,), clock=clock, library="os")


# --- where it runs ----------------------------------------------------------------------------------------------------

SHELL = """
from datetime import timedelta
import functions_framework
from fillbook.runtime.clock import SystemClock
from fillbook.ibkr.allowlist import Account, AllowList
from fillbook.ibkr.model import Window
from fillbook.ibkr.sources import Target
from fillbook.ibkr.tws import Tws
from fillbook.ibkr.tws_rules import TwsTarget
@functions_framework.http
def asked(request):
    clock, port = SystemClock(), int(request.args["port"])
    account = Account(account_id=1, code="DU1234567")
    source = Tws(targets=[TwsTarget(host="127.0.0.1", port=port)], client_ids=[1], clock=clock, library={library!r})
    target = Target(
        host="127.0.0.1", port=port, client_id=1, connect_timeout_seconds=5, allow_list=AllowList({{account.code: account}})
    )
    now = clock.now()
    answer = source.fetch(target, Window(from_at=now - timedelta(days=1), to_at=now))
    return {{"fetched": answer.fetched_count, "complete": answer.is_end_seen}}
"""


def test_it_works_in_a_request_thread_of_the_functions_framework(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(SHELL.format(library=LIBRARY), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "functions_framework", "--target", "asked", "--host", "127.0.0.1", "--port", str(port)]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "shared")}
    with TwsFake(reach_days=REACH_DAYS) as tws:
        tws.load([fill(1, at=datetime.now(UTC)), paid(1)])
        server = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            answers = [_got(f"http://127.0.0.1:{port}/?port={tws.port}") for _ in range(3)]
        finally:
            server.terminate()
            server.wait(timeout=20)
        assert answers == [{"fetched": 1, "complete": True}] * 3
        assert tws.orders() == []


def _got(url: str) -> Any:
    """The answer, as soon as the server is up."""
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError:
            raise
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def test_runs_in_many_threads_do_not_meet(fake: TwsFake, clock: FixedClock) -> None:
    fake.load(fills(20))
    found: list[int] = []
    source = socket_of(fake, clock)

    def work(client_id: int) -> None:
        found.append(len(source.fetch(target_of(fake, client_id=client_id), window_of(clock)).rows))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(21, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert found == [40] * 4


def test_a_fetch_leaves_no_socket_behind(fake: TwsFake, clock: FixedClock) -> None:
    fake.load(fills(1))
    fetched(fake, clock)
    before = _open_files()
    for _ in range(5):
        fetched(fake, clock)
    until = time.monotonic() + 60
    while _open_files() > before and time.monotonic() < until:
        time.sleep(0.02)  # the fake's own ends close in their threads
    assert _open_files() <= before


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_only_the_adapter_imports_the_library_and_nothing_names_an_order_call() -> None:
    room = ROOT / "shared" / "fillbook"
    for path in sorted(room.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        is_adapter = path == room / "ibkr" / "tws.py"
        assert ("import ib_insync" in text) == is_adapter, path
        for call in ("placeOrder", "cancelOrder", "exerciseOptions", "reqGlobalCancel"):
            assert call not in text, path


# --- times ------------------------------------------------------------------------------------------------------------

TIMES = [
    "20260105 10:30:00 US/Eastern",
    "20260105 10:30:00 America/New_York",
    "20260105 15:30:00 UTC",
    "20260105 15:30:00 Universal",
    "20260105 10:30:00 EST",
    "20260105 16:30:00 MET",
    "20260106 00:30:00 JST",
    "20260105-15:30:00",
    "20260105-15:30:00.000",
    "1767627000",
    "1767627000000",
]
BARE = ["20260105  10:30:00", "20260105 10:30:00"]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
def test_scenario_36_the_hosts_zone_plays_no_part(
    fake: TwsFake, clock: FixedClock, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = []
    for number, text in enumerate([*TIMES, *BARE]):
        frames.append(fill(number))
        frames[-1][15] = text
    fake.load(frames)
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        refusing, accepting = fetched(fake, clock), fetched(fake, clock, accepts_bare_times=True)
    finally:
        monkeypatch.undo()
        time.tzset()
    executions = [row for row in refusing.rows if isinstance(row, Sighting)]
    assert [row.facts.executed_at for row in executions] == [INSTANT] * len(TIMES)
    assert [row.facts.executed_at_text for row in executions] == TIMES
    assert [refusal.reason for refusal in refusing.refusals] == ["time_without_zone"] * len(BARE)
    assert {row.facts.executed_at for row in accepting.rows if isinstance(row, Sighting)} == {INSTANT}
    assert accepting.refusals == ()


# --- positions --------------------------------------------------------------------------------------------------------


def test_positions_are_a_snapshot_of_the_accounts_the_gateway_manages(fake: TwsFake, clock: FixedClock) -> None:
    fake.load(positions=[held(), held("272093", "-7.5", "", account="DU7654321")])
    answer = positions(fake, clock)
    assert [(row.account_id, row.conid, row.quantity, row.average_cost) for row in answer.rows] == [
        (11, 265598, Decimal(100), Decimal("10.5000000000")),
        (12, 272093, Decimal("-7.5"), None),
    ]
    assert (answer.accounts, answer.is_end_seen, answer.as_of, answer.error_class) == ((11, 12), True, NOW, None)
    assert [frame[0] for frame in fake.received()] == ["71", "61"]


def test_an_average_cost_is_a_price_whatever_the_contract_size(fake: TwsFake, clock: FixedClock) -> None:
    future, unknown = held("700000011", "2", "62120"), held("700000012", "1", "62120")
    for frame, multiplier in ((future, "1000"), (unknown, "")):
        frame[5], frame[9], frame[12] = "FUT", multiplier, "CLH6"
    fake.load(positions=[future, unknown])
    found = {row.conid: (row.symbol, row.average_cost, row.multiplier) for row in positions(fake, clock).rows}
    assert found == {700000011: ("CLH6", Decimal("62.12"), Decimal(1000)), 700000012: ("CLH6", None, None)}


def test_no_position_is_an_answer_and_no_end_is_none(fake: TwsFake, clock: FixedClock) -> None:
    assert positions(fake, clock).is_end_seen
    fake.turn(has_end=False)
    with pytest.raises(Unavailable, match="gateway_no_end"):
        positions(fake, clock)
    fake.load(positions=[held()])
    answer = positions(fake, clock)
    assert (len(answer.rows), answer.is_end_seen, answer.error_class) == (1, False, "gateway_no_end")


def test_a_refused_position_request_is_unavailable(fake: TwsFake, clock: FixedClock) -> None:
    fake.load(positions=[held()])
    fake.turn(error_code=321)
    with pytest.raises(Unavailable, match="gateway_request_failed"):
        positions(fake, clock)


def test_a_socket_lost_among_positions_is_no_complete_answer(fake: TwsFake, clock: FixedClock) -> None:
    fake.load(positions=[held(), held("272093")])
    fake.turn(drop_after=1)
    answer = positions(fake, clock)
    assert (len(answer.rows), answer.is_end_seen, answer.error_class) == (1, False, "gateway_connection_lost")


def test_positions_of_before_an_outage_are_forgotten(fake: TwsFake, clock: FixedClock) -> None:
    fake.load(positions=[held(), held("272093")])
    fake.turn(outage_at=2, outage_code=1101, outage_seconds=0.2)
    sold = threading.Timer(0.1, fake.load, kwargs={"positions": [held("272093")]})
    sold.start()
    answer = positions(fake, clock)
    sold.join()
    assert ([row.conid for row in answer.rows], answer.is_end_seen) == ([272093], True)


def test_a_position_told_twice_counts_once_and_segments_of_an_account_add_up(fake: TwsFake, clock: FixedClock) -> None:
    fake.turn(accounts=("U1234567", "DU1234567"))
    fake.load(positions=[held(), held(quantity="60"), held(account="U1234567"), held(quantity="5", account="U1234567F")])
    answer = positions(fake, clock)
    assert [(row.account_id, row.quantity) for row in answer.rows] == [(1, 105), (11, 60)]


def test_a_position_nobody_can_read_is_kept_with_its_reason(fake: TwsFake, clock: FixedClock) -> None:
    odd, long, stranger = held(quantity="NaN"), [*held(), "more"], held(account="DU9")
    fake.load(positions=[odd, long, stranger, held("272093")])
    answer = positions(fake, clock)
    assert [refusal.reason for refusal in answer.refusals] == ["bad_number", "bad_frame", "account_not_allowed"]
    assert (len(answer.rows), answer.is_end_seen) == (1, True)


def test_the_waits_of_a_run_are_those_of_the_specification_unless_told() -> None:
    waits = Tws(targets=[], client_ids=(1,), clock=FixedClock(NOW), library=LIBRARY)._waits
    assert (waits.end, waits.commissions, waits.connectivity, waits.run) == (60, 2, 30, 240)
    assert QUICK.run < waits.run


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece_bytes", [0, 100])
@pytest.mark.parametrize(("limit", "value"), [("FRAMES_MAX", 5), ("BYTES_MAX", 2000)])
def test_an_answer_without_bounds_is_broken_off_and_has_no_end(
    fake: TwsFake, clock: FixedClock, limit: str, value: int, piece_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"fillbook.ibkr.tws_talk.{limit}", value)
    fake.turn(piece_bytes=piece_bytes)
    fake.load(fills(50))
    answer = fetched(fake, clock)
    assert (answer.is_end_seen, answer.error_class) == (False, "gateway_connection_lost")
    assert 0 < answer.fetched_count <= 50
    assert "than one answer may have" in str(answer.error_detail)


def test_noise_in_place_of_a_handshake_ends_after_the_connect_timeout(clock: FixedClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        over = threading.Event()

        def noise() -> None:
            client, _ = server.accept()
            with client:
                client.sendall(b"\0\0\0\x08HTTP/1.1" + b"\xff" * 64)
                client.recv(4096)
                over.wait(60)

        thread = threading.Thread(target=noise)
        thread.start()
        place = TwsTarget(host="127.0.0.1", port=port)
        source = Tws(targets=[place], client_ids=(1,), clock=clock, library=LIBRARY, waits=QUICK)
        target = target_of(TwsFake(clock=clock, port=port))
        begun = time.monotonic()
        with pytest.raises(Unavailable, match="gateway_"):
            source.fetch(target, window_of(clock))
        assert time.monotonic() - begun < 30  # bounded, not measured
        over.set()
        thread.join(timeout=10)
