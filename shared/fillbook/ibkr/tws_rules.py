"""What the socket's side of the desk goes by: where it may dial, how long it waits, what an error code means.

Error codes are data, not branches: an error that is in no table and names our request fails the run, any other is logged.
Source: ibkr.md 9.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from fillbook.values import frozen

CLIENT_ID_MAX: Final = 2_147_483_647
CONNECT_TIMEOUT_SECONDS_MAX: Final = 60
REACH_DAYS_MAX: Final = 6
FRAMES_MAX: Final = 200_000
BYTES_MAX: Final = 128 * 1024 * 1024


@frozen
class TwsTarget:
    """An entry of ``IBKR_TWS_TARGETS``: a TWS or Gateway and what its settings make of times and history.

    ``time_zone``: the zone of its midnight, and of its times where ``accepts_bare_times``; ``reach_days``: how many days
    before today it really serves (a Gateway none, TWS up to 6). Raises ``ValueError`` out of range.
    """

    host: str
    port: int
    time_zone: str = "America/New_York"
    accepts_bare_times: bool = False
    reach_days: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.reach_days <= REACH_DAYS_MAX:
            raise ValueError(f"reach_days is 0 to {REACH_DAYS_MAX}")
        if not 1 <= self.port <= 65_535:
            raise ValueError("port is 1 to 65535")

    @property
    def bare_time_zone(self) -> str | None:
        """The zone of times that name none; None: such times are refused."""
        return self.time_zone if self.accepts_bare_times else None


@frozen
class Waits:
    """Real seconds; every wait has an end. ``run``: the hard deadline of a fetch, connecting included."""

    end: float = 60.0
    commissions: float = 2.0
    connectivity: float = 30.0
    run: float = 240.0


class Meaning(StrEnum):
    """What an error frame says about the run."""

    LOGGED = "logged"
    CLIENT_ID_BUSY = "client_id_busy"
    CONNECTIVITY_LOST = "connectivity_lost"
    CONNECTIVITY_BACK = "connectivity_back"
    REQUEST_FAILED = "request_failed"


MEANINGS: Final[Mapping[int, Meaning]] = {
    # a price, order or history notice; says nothing about executions
    **dict.fromkeys((110, 165, 202, 399, 404, 434, 492, 10167), Meaning.LOGGED),
    **dict.fromkeys(range(2100, 2200), Meaning.LOGGED),
    # error reading, validating, processing a request: we have only one, whether it is named or not
    **dict.fromkeys((320, 321, 322), Meaning.REQUEST_FAILED),
    326: Meaning.CLIENT_ID_BUSY,
    1100: Meaning.CONNECTIVITY_LOST,
    1101: Meaning.CONNECTIVITY_BACK,
    1102: Meaning.CONNECTIVITY_BACK,
}


def meaning_of(code: int, *, is_of_request: bool) -> Meaning:
    """Return what an error code means; ``is_of_request``: the frame names the request under way."""
    return MEANINGS.get(code, Meaning.REQUEST_FAILED if is_of_request else Meaning.LOGGED)
