"""Scenario 44: the recorded points, made whole by the labelled generator, decided twice with one digest.

The points are read in place and never copied; nothing of them appears here. How many there are and what they hold is
written in the README beside them.
"""

from __future__ import annotations

import csv
import gzip
import json
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from statistics import mean, median

import pytest

from fillbook.signal.canonical import canonical
from fillbook.signal.decode import receipt_of
from fillbook.signal.definitions import ACTIVE, COMPLETED, INVALIDATED, flip_points
from fillbook.signal.explain import blocks_of, trace_of
from fillbook.signal.model import LANES, Receipt
from fillbook.signal.payload import payload_hash, receipt_id
from fillbook.signal.profile import load
from fillbook.signal.rules import RULES
from fillbook.signal.scoring import score_of
from infra.local.receipts import labelled, read_points
from tests.support.campaigns import full_only, small_or_full
from tests.support.signal_desk import Desk

TRAIL = Path(__file__).resolve().parents[5] / "shared" / "data" / "signals" / "trail_tv_1min_2026-01-14_2026-02-03.csv.gz"
FILE_SHA256 = "c6e522124257eefc"
"""How the digest of the points begins."""
STREAM_SHA256 = "d4f7d37e4c6c290f7cc574aa48d3afc64a931448dd197ec2f50506406734a1ae"
FIRST_SHA256 = "95a9ec34b607a5f12f93f5da0fb79fa9bb03d4f90341409f53ac5de8638fdb1e"
POINTS = 26_458
DECIDED = small_or_full(POINTS // 3, POINTS)
AGAIN = small_or_full(POINTS // 8, POINTS)

pytestmark = [
    pytest.mark.local_data,
    pytest.mark.slow,
    pytest.mark.skipif(not TRAIL.is_file(), reason="the recorded points are not on this machine (../shared/data/signals)"),
]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    """The recorded rows with what another engine said about them: its rank and its derived flags."""
    with gzip.open(TRAIL, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def stream() -> tuple[list[Receipt], list[str]]:
    """The receipts that the points become; digests of the first line and of all lines of their canonical text."""
    digests, found = [sha256(), sha256()], []
    for document in labelled(read_points(TRAIL)):
        text = canonical(document).encode()
        if not found:
            digests[0].update(text)
        digests[1].update(text + b"\n")
        digest = payload_hash(text)
        name = receipt_id(document["ticker"], document["ts"], digest)
        found.append(receipt_of(document, receipt_id=name, payload_hash=digest))
    return found, [one.hexdigest() for one in digests]


@pytest.fixture(scope="module")
def receipts(stream: tuple[list[Receipt], list[str]]) -> list[Receipt]:
    assert stream[1][1] == STREAM_SHA256
    return stream[0]


def test_the_recorded_trail_becomes_exactly_the_stream_that_was_written_down(stream: tuple[list[Receipt], list[str]]) -> None:
    with gzip.open(TRAIL) as file:
        assert sha256(file.read()).hexdigest().startswith(FILE_SHA256)
    assert (len(stream[0]), stream[1]) == (POINTS, [FIRST_SHA256, STREAM_SHA256])


def digests_of_a_run(receipts: list[Receipt]) -> list[str]:
    """What was decided for the points that are run again, and for all of them."""
    desk, digest, found = Desk(), sha256(), []
    for number, incoming in enumerate(receipts, 1):
        decision = desk.take(incoming)
        assert decision.lane in LANES
        assert decision.rule in RULES
        assert decision.compared
        digest.update(json.dumps([decision.lane, trace_of(decision), blocks_of(decision), decision.action_ids]).encode())
        if number in (AGAIN, len(receipts)):
            digest.update(repr(desk.fills).encode())
            found.append(digest.hexdigest())
    return found


def test_scenario_44_every_recorded_point_has_one_lane_and_a_rule_and_two_runs_agree(receipts: list[Receipt]) -> None:
    assert len(receipts) == POINTS
    assert digests_of_a_run(receipts[:DECIDED])[0] == digests_of_a_run(receipts[:AGAIN])[0]


@full_only
def test_the_side_and_the_corridor_are_read_as_the_readme_counts_them(receipts: list[Receipt]) -> None:
    """Counts a correct reading reproduces: sides, corridor, late by phase (README, section 1)."""
    desk = Desk()
    sides, corridor, late = {"LONG": 0, "SHORT": 0}, 0, 0
    for incoming in receipts:
        decision = desk.take(incoming._replace(ticker=f"{incoming.ticker}-{incoming.ts}"))
        assert decision.side is not None
        sides[decision.side] += 1
        corridor += not any(block.rule == "G05" for block in decision.blocks)
        late += incoming.phase_pct is not None and incoming.phase_pct >= desk.config.late.phase
    assert (sides, corridor, late) == ({"LONG": 22_682, "SHORT": 3_776}, 18_859, 4_913)


def test_the_score_agrees_with_the_rank_another_engine_gave(receipts: list[Receipt], rows: list[dict[str, str]]) -> None:
    """Without rr, triggers, alignment, divergence, TD and data, and with that engine's completion and move status."""
    differences = []
    for incoming, row in zip(receipts, rows, strict=True):
        flags = row["active_flags"].split("|")
        status = INVALIDATED if "move_invalidated" in flags else COMPLETED if "move_completed" in flags else ACTIVE
        plainer = incoming._replace(triggers=(0, 0, 0), levels="present", sl=incoming.price)
        completion, long = Decimal(row["completion"]), row["state"].startswith("HTF_BULL")
        score = score_of(plainer, long=long, rr=None, completion=completion, status=status)
        differences.append(Decimal(row["rank"]) - score)
    assert median(differences) == Decimal("0.35")
    assert round(mean(differences), 1) == Decimal("3.2")


def test_flip_points_find_the_rows_another_engine_watched(receipts: list[Receipt], rows: list[dict[str, str]]) -> None:
    """2 and 3 February, setup rows, no history term: 1,565 reach 50 points, 1,564 of them carry the other engine's flag."""
    config, found, flagged = load("tt-2026-02"), 0, 0
    for incoming, row in zip(receipts, rows, strict=True):
        if row["ny_date"] < "2026-02-02" or not row["state"].endswith("PULLBACK"):
            continue
        assert incoming.htf_score is not None
        assert incoming.ltf_score is not None
        alone = ((incoming.ts, incoming.htf_score, incoming.ltf_score),)
        long = row["state"].startswith("HTF_BULL")
        points = flip_points(long, incoming, Decimal(row["completion"]), config.corridor, alone, ())
        if points >= config.flip_watch.min:
            found += 1
            flagged += "flip_watch" in row["active_flags"].split("|")
    assert (found, flagged) == (1_565, 1_564)
