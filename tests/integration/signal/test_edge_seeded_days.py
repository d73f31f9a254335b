"""Acceptance 6 at the worker: days with cut connections, lost answers, duplicates and reordering, each from one seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from fillbook.runtime.db import Database
from fillbook.runtime.errors import Unavailable
from fillbook.signal.receipt import milliseconds
from tests.conftest import database_config
from tests.support.campaigns import small_or_full
from tests.support.proxy import Proxy
from tests.support.receipts import body
from tests.support.signal_live import LiveDesk, digest, wipe

D = Decimal
Query = Callable[..., list[dict[str, Any]]]
PRICES = {
    "ZZTA": ((0, "100.40"), (1, "100.60"), (20, "102.10"), (25, "103.00"), (40, "102.00")),
    "ZZTC": ((0, "100.40"), (12, "101.93"), (30, "100.30"), (45, "96.00"), (46, "96.10")),
    "ZZTD": ((2, "100.40"), (20, "75.00"), (21, "100.50"), (22, "104.90")),
}
DAY = {
    (ticker, document["ts"]): document
    for ticker, bars in PRICES.items()
    for document in (body(minutes=minutes, price=D(price), ticker=ticker, sector=None) for minutes, price in bars)
}
FAULTS = ("none", "none", "cut", "lose_answers")
TRIES_MAX = 12


@pytest.fixture
def proxy(postgres: Any) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", postgres.port) as between:
        yield between


@pytest.fixture
def far(proxy: Proxy, database_url: str, query: Query) -> Iterator[LiveDesk]:
    db = Database.open(database_config(proxy.url(f"{database_url}?role=signal_worker")), application_name="far")
    yield LiveDesk(db, query)
    db.close()


def shuffled(seed: random.Random) -> list[dict[str, Any]]:
    """The day with neighbours swapped, some bars late, most of them more than once."""
    sent = [(document["ts"] + seed.randrange(-300_000, 300_000), number) for number, document in enumerate(DAY.values())]
    sent += [(ts + seed.randrange(0, 900_000), number) for ts, number in sent if seed.random() < 0.6]
    return [list(DAY.values())[number] for _, number in sorted(sent)]


def deliver(desk: LiveDesk, proxy: Proxy, document: dict[str, Any], seed: random.Random) -> None:
    """Send until it is acknowledged, as Pub/Sub does; each try may meet a fault."""
    for _ in range(TRIES_MAX):
        fault = seed.choice(FAULTS)
        proxy.lose_answers = fault == "lose_answers"
        if fault == "cut":
            proxy.kill()
        try:
            desk.take(document)
        except Unavailable:
            continue
        finally:
            proxy.lose_answers = False
        return
    pytest.fail("never acknowledged")


def decided(query: Query) -> list[dict[str, Any]]:
    """What was decided, in the order in which it was: one transaction after the other."""
    rows = query("select ticker, ts from signal.decisions order by xmin::text::bigint")
    return [DAY[row["ticker"], milliseconds(row["ts"])] for row in rows]


def outcome(query: Query) -> dict[str, list[str]]:
    found = digest(query)
    del found["signal.receipts"]
    return found


@pytest.mark.parametrize("number", range(small_or_full(10, 30)))
def test_a_disturbed_day_ends_as_its_decided_receipts_alone(
    far: LiveDesk, desk: LiveDesk, proxy: Proxy, query: Query, number: int
) -> None:
    seed = random.Random(number)
    for document in shuffled(seed):
        deliver(far, proxy, document, seed)
    assert desk.count("signal.receipts") == len(DAY)
    disturbed, order = outcome(query), decided(query)
    wipe(query)
    for document in order:
        assert desk.take(document).result == "decided"
    assert outcome(query) == disturbed
