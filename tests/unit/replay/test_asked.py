"""What a caller may ask of the bucket route, read at the door; and the small values a run is told by."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from fillbook.replay.asked import asked
from fillbook.replay.cursors import Cursor, before, cursor_from, cursor_of
from fillbook.replay.hashing import NOTHING, chained, end_hash, input_digest, memory_text, packed, unpacked
from fillbook.replay.progress import Progress, Tally, progress_of
from fillbook.runtime.errors import Rejected

NOW = datetime(2026, 2, 3, 2, 0, tzinfo=UTC)  # still the 2nd in New York
CURSOR = Cursor(ts=1_770_042_600_000, ticker="BRK-B", received_at=NOW, receipt_id="6f0c2b1e-6f5e-5a3a-9a55-0d6a5e1d7c11")


def test_what_is_not_sent_is_what_the_contract_says() -> None:
    call = asked({}, {}, NOW)
    assert (call.date, call.ticker, call.script_version, call.limit) == (date(2026, 2, 2), None, "2.5.0", 25)
    assert (call.session, call.inputs, call.start, call.facts) == ("regular", "all", "empty", "own")
    assert (call.by_cursor, call.clean_slate, call.dry_run, call.given) == (False, False, False, frozenset())
    assert asked({}, {"after": ""}, NOW).limit == 500


@pytest.mark.parametrize("text", ["nyse:brk.b", " BRK.B ", "BRK-B"])
def test_a_ticker_is_read_as_at_the_webhook(text: str) -> None:
    assert asked({"ticker": [text]}, {}, NOW).ticker == "BRK-B"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"limit": "0"}, "limit"), ({"limit": "51"}, "limit"), ({"limit": "-1"}, "limit"), ({"limit": "1e1"}, "limit"),
        ({"after": "", "limit": "2001"}, "limit"), ({"offset": "-1"}, "offset"), ({"after": "", "offset": "0"}, "offset"),
        ({"cleanSlate": "1", "offset": "25"}, "offset"), ({"cleanSlate": "1", "after": CURSOR.token}, "after"),
        ({"cleanSlate": "yes"}, "cleanSlate"), ({"date": "02.02.2026"}, "date"), ({"date": "20260202"}, "date"),
        ({"ticker": "ZZ ZZ"}, "ticker"), ({"session": "night"}, "session"), ({"start": "run:1"}, "start"),
        ({"facts": "none"}, "facts"), ({"run": "-x"}, "run"), ({"run": "X"}, "run"), ({"after": "nonsense!"}, "after"),
        ({"profile": "../etc"}, "profile"), ({"scriptVersion": ""}, "scriptVersion"), ({"target": "both"}, "target"),
        ({"bucket": "1.5"}, "bucket"), ({"cleanslate": "1"}, "cleanslate"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_its_name(given: dict[str, Any], field: str) -> None:
    with pytest.raises(Rejected) as refusal:
        asked({name: [value] for name, value in given.items()}, {}, NOW)
    assert (refusal.value.reason, refusal.value.field) == ("param", field)


def test_a_name_in_query_and_body_or_twice_in_the_query_is_refused() -> None:
    for query, body in (({"limit": ["1"]}, {"limit": 1}), ({"limit": ["1", "2"]}, {})):
        with pytest.raises(Rejected, match="param_twice"):
            asked(query, body, NOW)


def test_a_cursor_travels_unharmed_and_a_foreign_one_is_refused() -> None:
    assert cursor_from(CURSOR.token) == cursor_of(CURSOR.text) == CURSOR
    assert before(CURSOR.ts).key < CURSOR.key
    for token in ("", "MTc3MDA0Mjg0MDAwMHxaWlRB", "%%%", CURSOR.token[:-9]):
        with pytest.raises(Rejected, match="param"):
            cursor_from(token)


def test_a_bucket_is_told_in_parts_and_its_hash_does_not_know_them() -> None:
    tally = Tally(Progress(bucket=300_000))
    tally.met(b"a")
    tally.decided(["one"], 0)
    half = Tally(progress_of(tally.progress.document()))
    for one in (tally, half):
        one.met(b"b")
        one.decided(["two"], 1)
        one.met(b"c")
        one.set_aside()
    whole = half.progress
    assert whole == tally.progress
    assert (whole.rows, whole.conflicts, whole.actions) == (2, 1, 1)
    assert whole.handled == 3
    assert whole.digest == input_digest(b"abc")
    assert whole.closes(NOTHING) != chained(NOTHING, ["one", "two"])
    assert end_hash(NOTHING, "x") != end_hash(NOTHING, "y")


def test_the_count_of_decisions_is_kept_and_is_no_part_of_what_is_remembered() -> None:
    state, plan = {"version": 7, "last_price": "100.4"}, {"stop": "97"}
    assert memory_text(state, plan) == memory_text({**state, "version": 8}, plan)
    kept = unpacked(packed({"ZZTA": memory_text(state, plan)}, {"ZZTA": 7}))["ZZTA"]
    assert (kept.version, kept.state, kept.plan) == (7, state, plan)
    assert Decimal(kept.state["last_price"]) == Decimal("100.40")


def test_states_beyond_two_megabytes_are_refused() -> None:
    noise = Random(1).randbytes(3_000_000).hex()
    with pytest.raises(Rejected, match="checkpoint_too_large"):
        packed({"ZZTA": f'"{noise}"'}, {"ZZTA": 1})
