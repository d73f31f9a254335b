"""The API's adapter against receivers that answer, fall silent, lose answers and store something else: scenarios 18 to 20, 27.

Ours answers with what it stored; here a scripted server says its words. Any other is the lenient receiver with its faults.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from fillbook.runtime.clock import monotonic
from fillbook.snapshot import document
from fillbook.snapshot.model import Guard, Snapshot
from fillbook.snapshot.outcomes import counts_document
from fillbook.snapshot.receiver import Door, HttpReceiver, Pace
from fillbook.snapshot.sources import ReceiverEnd, Sending, SentKind, StoredKind
from infra.local.lenient import LATEST, POST_PATH, LenientReceiver
from infra.local.ports import free_port
from infra.local.snapshot_server import Served, told
from tests.support import snapshot_shapes
from tests.support.campaigns import small_or_full
from tests.support.snapshot_receivers import OurApi
from tests.support.snapshot_shapes import SMALL, USUAL, Shape

NOW = datetime(2026, 2, 11, 22, tzinfo=UTC)
RUN = "3b0f3f3e-7b1c-4f6e-9d6a-0e7f1c1d2e3f"
SIGNING = "canary-signing-secret"
PLENTY = 60.0


class Desk:
    """A publisher's side: the adapter before one server, and what it waited."""

    def __init__(self, server: Served, **door: Any) -> None:
        self.server, self.waits, self.renewals = server, [0.0][:0], 0
        self._door: dict[str, Any] = {"url": server.base_url, "endpoint": POST_PATH, "token": SecretStr("our-test-token")} | door

    def send(self, snapshot: Snapshot, *, seconds: float = PLENTY, attempt_seconds: float = 30.0, **sent: Any) -> ReceiverEnd:
        pace = Pace(attempt_seconds=attempt_seconds, look_seconds=attempt_seconds, sleep=self.waits.append, chance=lambda: 0.5)
        adapter = HttpReceiver(Door(**self._door), now=lambda: NOW, pace=pace)
        return adapter.send(sending(snapshot, **sent), before_attempt=self._renew, deadline=monotonic() + seconds)

    def reads(self) -> list[str]:
        return [call["path"] for call in self.server.calls() if call["method"] == "GET"]

    def _renew(self) -> None:
        self.renewals += 1


def sending(snapshot: Snapshot, **given: Any) -> Sending:
    digest = document.content_sha256(snapshot)
    return Sending(run_id=RUN, body=document.encoded(snapshot), snapshot=snapshot, content_sha256=digest, **given)


DAY = snapshot_shapes.snapshot(SMALL)


@pytest.fixture
def ours() -> Iterator[OurApi]:
    with OurApi() as api:
        yield api


@pytest.fixture
def desk(ours: OurApi) -> Desk:
    return Desk(ours)


@pytest.fixture
def lenient(tmp_path: Any) -> Iterator[LenientReceiver]:
    with LenientReceiver(tmp_path / "days.sqlite", caches=False) as receiver:
        yield receiver


# --- ours ---------------------------------------------------------------------------------------------------------------


def test_our_api_proves_a_day_by_its_own_answer(desk: Desk, ours: OurApi) -> None:
    end = desk.send(DAY)
    assert (end.kind, end.attempts, end.version, end.verified) == (SentKind.STORED, 1, 1, True)
    assert (end.http_status, end.remote_request_id, desk.reads()) == (200, "remote-1", [])
    assert ours.calls()[0]["x-request-id"] == RUN
    assert desk.renewals == 1


def test_the_signature_is_the_hmac_of_the_exact_bytes(ours: OurApi) -> None:
    Desk(ours, signing_secret=SecretStr(SIGNING)).send(DAY)
    assert ours.signatures == [hmac.new(SIGNING.encode(), document.encoded(DAY), hashlib.sha256).hexdigest()]
    Desk(ours).send(DAY)
    assert ours.signatures[1] is None


def test_forced_guards_that_the_api_knows_are_named_to_it(desk: Desk, ours: OurApi) -> None:
    desk.send(DAY, forced=(Guard.SHARP_FALL, Guard.OLDER, Guard.EMPTY_VIEW))
    assert ours.calls()[0]["query"] == {"force": "older,empty"}


def test_scenario_18_an_answer_that_was_lost_is_found_by_reading_back(desk: Desk, ours: OurApi) -> None:
    ours.fault("reset_after", on="write")
    end = desk.send(DAY)
    assert (end.kind, end.attempts, end.version, end.verified) == (SentKind.STORED, 1, 1, True)
    assert desk.reads() == [POST_PATH]


def test_scenario_18_a_silent_api_is_asked_four_times_and_then_left(desk: Desk, ours: OurApi) -> None:
    ours.fault("hang", count=None)
    end = desk.send(DAY, attempt_seconds=0.05)
    assert (end.kind, end.attempts, desk.renewals) == (SentKind.UNREACHED, 4, 4)
    assert desk.waits == [1.0, 2.0, 4.0]


def test_an_api_that_nobody_serves_is_not_sent_to_and_not_read(ours: OurApi) -> None:
    desk = Desk(ours, url=f"http://127.0.0.1:{free_port()}")
    end = desk.send(DAY)
    assert (end.kind, end.attempts, end.http_status) == (SentKind.UNREACHED, 4, None)
    assert end.detail.startswith("not_sent: ConnectionError")


def test_scenario_19_an_api_that_breaks_for_ever_gets_three_posts_and_is_read_after_each(desk: Desk, ours: OurApi) -> None:
    ours.fault("status", on="write", count=None, status=500)
    end = desk.send(DAY)
    assert (end.kind, end.attempts, end.http_status) == (SentKind.UNREACHED, 3, 500)
    assert [call["path"] for call in ours.calls()].count(POST_PATH) == 6


def test_an_api_that_breaks_after_it_stored_has_stored(desk: Desk, ours: OurApi) -> None:
    ours.kept[DAY.date.isoformat()] = (document.content_sha256(DAY), counts_document(document.counts(DAY)) or {}, 7)
    ours.fault("status", on="write", status=500)
    end = desk.send(DAY)
    assert (end.kind, end.attempts, end.version, end.verified) == (SentKind.STORED, 1, 7, True)


def test_scenario_20_a_wait_that_is_asked_for_is_kept(desk: Desk, ours: OurApi) -> None:
    ours.fault("status", on="write", status=429, retry_after=3)
    end = desk.send(DAY)
    assert (end.kind, end.attempts, desk.waits) == (SentKind.STORED, 2, [3.0])
    assert desk.reads() == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (422, SentKind.REFUSED),
        (413, SentKind.REFUSED),
        (409, SentKind.CONFLICT),
        (403, SentKind.MISCONFIGURED),
        (401, SentKind.MISCONFIGURED),
        (404, SentKind.MISCONFIGURED),
        (302, SentKind.MISCONFIGURED),
    ],
)
def test_scenario_20_a_refusal_is_final(desk: Desk, ours: OurApi, status: int, kind: SentKind) -> None:
    ours.script = [told(status, {"error": {"code": "so_it_is"}}, Location=f"{ours.base_url}/elsewhere")]
    end = desk.send(DAY)
    assert (end.kind, end.attempts, end.http_status, len(ours.calls())) == (kind, 1, status, 1)
    assert end.detail.endswith("so_it_is" if status >= 400 else "HTTP 302")


def test_a_200_that_left_something_else_is_repaired_twice_and_then_not_believed(desk: Desk, ours: OurApi) -> None:
    wrong = {"ok": True, "date": "2026-02-11", "version": 1, "content_sha256": "0" * 64}
    ours.script = [told(200, wrong)] * 2
    end = desk.send(DAY)
    assert (end.kind, end.attempts, end.verified) == (SentKind.STORED, 3, True)
    ours.script = [told(200, wrong)] * 9
    assert (desk.send(DAY).kind, len(ours.script)) == (SentKind.UNREACHED, 6)


@pytest.mark.parametrize("said", [{"ok": False, "date": "2026-02-11"}, {"ok": True, "date": "2026-02-10"}, [], "fine"])
def test_a_200_that_does_not_say_what_it_took_is_ambiguous(desk: Desk, ours: OurApi, said: Any) -> None:
    ours.script = [told(200, said)]
    end = desk.send(DAY)
    assert (end.kind, end.attempts, end.verified) == (SentKind.STORED, 2, True)
    assert desk.reads() == [POST_PATH]


def test_no_attempt_is_made_that_would_outlive_the_day(desk: Desk, ours: OurApi) -> None:
    ours.fault("status", on="write", count=None, status=502)
    end = desk.send(DAY, seconds=0.9)
    assert (end.kind, end.attempts, desk.waits) == (SentKind.UNREACHED, 1, [])


def test_a_lost_lease_ends_the_sending_before_the_post(ours: OurApi) -> None:
    def lost() -> None:
        raise KeyError("lost")

    adapter = HttpReceiver(Door(url=ours.base_url, endpoint=POST_PATH, token=SecretStr("t")), now=lambda: NOW)
    with suppress(KeyError):
        adapter.send(sending(DAY), before_attempt=lost, deadline=monotonic() + PLENTY)
    assert ours.calls() == []


def test_no_word_of_a_secret_or_a_body_is_in_what_is_told(ours: OurApi, capsys: pytest.CaptureFixture[str]) -> None:
    desk = Desk(ours, token=SecretStr("canary-token"), signing_secret=SecretStr(SIGNING), read_key=SecretStr("canary-key"))
    ours.script = [told(422, {"error": {"code": "canary-token", "message": "canary-key"}})]
    end = desk.send(DAY)
    assert "canary" not in f"{end}" + capsys.readouterr().out


# --- another ------------------------------------------------------------------------------------------------------------


def other(lenient: LenientReceiver, *, with_key: bool = True) -> Desk:
    return Desk(lenient, read_key=SecretStr(lenient.read_key) if with_key else None)


HALF_DAY = Shape(kpis=25, series=15, minutes=210, sided=13, ranks=5, assets=40)
LARGE = [USUAL, Shape(kpis=25, series=15, minutes=492, sided=20, assets=195)]
"""6,625 and 8,000 rows."""


@pytest.mark.parametrize("shape", [SMALL, *small_or_full([HALF_DAY], [HALF_DAY, *LARGE])])
def test_scenario_27_a_lenient_receiver_stores_every_row_of_a_day(lenient: LenientReceiver, shape: Shape) -> None:
    day = snapshot_shapes.snapshot(shape)
    end = other(lenient).send(day)
    assert (end.kind, end.attempts, end.verified, end.version) == (SentKind.STORED, 1, True, None)
    counts = lenient.store.counts()
    stored = [counts[table] for table in TABLES_OF]
    assert stored == [shape.kpis, shape.series * shape.minutes, 2 * shape.sided * shape.ranks, shape.assets]


TABLES_OF = ("metrics_kpi_values", "metrics_series_points", "metrics_extremes_items", "metrics_portfolio_assets")


def test_without_a_key_the_public_reader_alone_is_believed(lenient: LenientReceiver) -> None:
    desk = other(lenient, with_key=False)
    assert desk.send(DAY).verified
    assert desk.reads() == [LATEST]


def test_a_torn_day_is_seen_behind_a_new_archive_and_sent_again(lenient: LenientReceiver) -> None:
    lenient.fault("stop", n=3, rollback=False)
    end = other(lenient).send(DAY)
    assert (end.kind, end.attempts, end.verified) == (SentKind.STORED, 2, True)


def test_a_receiver_that_forgets_is_sent_to_again(lenient: LenientReceiver) -> None:
    other(lenient).send(snapshot_shapes.snapshot(SMALL, seed=1))
    lenient.fault("forget")
    end = other(lenient).send(DAY)
    assert (end.kind, end.attempts, end.verified) == (SentKind.STORED, 2, True)


def test_a_reader_that_is_silent_leaves_a_day_unverified(lenient: LenientReceiver) -> None:
    lenient.fault("status", on="read", count=None, status=503)
    end = other(lenient).send(DAY)
    assert (end.kind, end.attempts, end.verified) == (SentKind.STORED, 1, False)


def test_a_look_without_sending_tells_same_from_other(lenient: LenientReceiver) -> None:
    desk = other(lenient)
    desk.send(DAY)
    door = Door(
        url=lenient.base_url,
        endpoint=POST_PATH,
        token=SecretStr(lenient.token),
        read_key=SecretStr(lenient.read_key),
    )
    adapter = HttpReceiver(door, now=lambda: NOW)
    later = replace(DAY, updated_at=DAY.updated_at.replace(second=9))
    assert adapter.stored(sending(DAY), deadline=monotonic() + PLENTY).kind is StoredKind.SAME
    assert adapter.stored(sending(later), deadline=monotonic() + PLENTY).kind is StoredKind.OTHER
