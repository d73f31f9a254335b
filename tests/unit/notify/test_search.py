"""The search for open creates: which ids a message can have, whatever the desk clock did while it was on its way."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fillbook.notify.model import Suspect
from fillbook.notify.rows import suspect_of
from fillbook.notify.search import AFTER_CLAIM, BEFORE_CLAIM, instant_of_snowflake, snowflake, window_of
from tests.support.notify_desk import START


@pytest.mark.parametrize("leap", [timedelta(0), timedelta(seconds=60), timedelta(days=90), timedelta(days=-90)])
def test_a_window_reaches_from_before_the_claim_to_after_its_end_whichever_comes_first(leap: timedelta) -> None:
    window = window_of(Suspect(since=START, until=START + leap))
    first, last = sorted((START, START + leap))
    assert instant_of_snowflake(str(window.after + 1)) == first - BEFORE_CLAIM
    assert instant_of_snowflake(str(window.before)) == last + AFTER_CLAIM
    assert window.after < snowflake(START + leap) < window.before


def test_a_claim_written_before_the_end_was_kept_is_still_read() -> None:
    text = START.isoformat()
    assert suspect_of(text) == Suspect(since=START, until=START)
    assert suspect_of([text, (START + timedelta(seconds=9)).isoformat()]).until == START + timedelta(seconds=9)
