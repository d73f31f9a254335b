"""What an error code means, what a target may be, and which frames have which shape."""

import pytest

from fillbook.ibkr import tws_frames
from fillbook.ibkr.model import Refusal, Sighting
from fillbook.ibkr.tws_rules import Meaning, TwsTarget, meaning_of
from tests.support.ibkr import ALLOWED, DAY, exec_id
from tests.support.ibkr_frames import fill, held, paid

FRAME = ["11", "9", *fill(1, account="U1234567")[2:]]


@pytest.mark.parametrize("is_of_request", [True, False])
@pytest.mark.parametrize("code", [110, 165, 202, 399, 404, 434, 492, 10167, 2100, 2104, 2158, 2199])
def test_a_notice_is_logged_whoever_it_is_for(code: int, is_of_request: bool) -> None:
    assert meaning_of(code, is_of_request=is_of_request) is Meaning.LOGGED


@pytest.mark.parametrize(
    ("code", "is_of_request", "meaning"),
    [
        (326, False, Meaning.CLIENT_ID_BUSY),
        (1100, False, Meaning.CONNECTIVITY_LOST),
        (1101, False, Meaning.CONNECTIVITY_BACK),
        (1102, False, Meaning.CONNECTIVITY_BACK),
        (321, True, Meaning.REQUEST_FAILED),
        (321, False, Meaning.REQUEST_FAILED),
        (162, True, Meaning.REQUEST_FAILED),
        (2200, True, Meaning.REQUEST_FAILED),
        (162, False, Meaning.LOGGED),
        (2099, False, Meaning.LOGGED),
    ],
)
def test_an_error_means_what_the_table_says(code: int, is_of_request: bool, meaning: Meaning) -> None:
    assert meaning_of(code, is_of_request=is_of_request) is meaning


@pytest.mark.parametrize("options", [{"reach_days": 7}, {"reach_days": -1}, {"port": 0}, {"port": 65536}])
def test_a_target_out_of_range_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        TwsTarget(**({"host": "h", "port": 4002} | options))


def test_a_zone_is_lent_to_bare_times_only_where_the_target_says_so() -> None:
    assert TwsTarget(host="h", port=1).bare_time_zone is None
    assert TwsTarget(host="h", port=1, accepts_bare_times=True, time_zone="Asia/Tokyo").bare_time_zone == "Asia/Tokyo"


def read(frame: list[str], version: int = 176) -> object:
    return tws_frames.execution(frame, DAY, ALLOWED, server_version=version, bare_zone=None)


def test_an_execution_frame_has_31_fields_and_from_178_on_one_more() -> None:
    assert len(FRAME) == 31
    row = read(FRAME)
    assert isinstance(row, Sighting)
    assert row.raw["lastLiquidity"] == "2"
    newer = read([*FRAME, "1"], 178)
    assert isinstance(newer, Sighting)
    assert newer.raw["pendingPriceRevision"] == "1"


@pytest.mark.parametrize(("frame", "version"), [([*FRAME, "x"], 177), (FRAME[:-1], 176), (FRAME, 178), (["11"], 176)])
def test_a_frame_of_another_length_is_not_guessed_at(frame: list[str], version: int) -> None:
    refusal = read(frame, version)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "bad_frame"


def test_what_is_kept_of_an_execution_does_not_know_which_request_it_answered() -> None:
    one, other = read(FRAME), read(["11", "10", *FRAME[2:]])
    assert isinstance(one, Sighting)
    assert isinstance(other, Sighting)
    assert one.payload_hash == other.payload_hash
    assert read([*FRAME, "x"]) == read(["11", "10", *FRAME[2:], "x"])


def test_the_execution_a_frame_speaks_of_is_found_also_in_a_torn_one() -> None:
    assert tws_frames.exec_id_of(tws_frames.EXECUTION, FRAME) == exec_id(1)
    assert tws_frames.exec_id_of(tws_frames.COMMISSION, paid(1)) == exec_id(1)
    assert tws_frames.exec_id_of(tws_frames.COMMISSION, ["59", "1"]) is None


def test_a_position_of_a_text_that_cannot_be_stored_is_refused() -> None:
    frame = held(account="U1234567")
    frame[4] = "A\ud800"
    refusal = tws_frames.position(frame, ALLOWED)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "bad_text"
