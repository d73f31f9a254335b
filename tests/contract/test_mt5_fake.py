"""The fake MT5 service on the wire: both contracts, in every shape, tell one truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Any

import pytest

from fillbook.runtime.clock import FixedClock
from infra.local.mt5 import Mt5Fake
from infra.local.mt5_model import EPOCH
from infra.local.mt5_shapes import CHOICES
from tests.support.mt5_cases import SHAPES, needs_samples, samples
from tests.support.mt5_wire import NOW, SERVER, Caller, busy, without

TOLD = samples(SHAPES)
V0_SHAPES = [
    dict(zip(("info", "positions", "history", "epoch"), one, strict=True))
    for one in product(*(CHOICES[name] for name in ("info", "positions", "history", "epoch")))
]


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def fake(clock: FixedClock) -> Iterator[Mt5Fake]:
    with Mt5Fake(clock=clock) as served:
        served.add_server(SERVER)
        yield served


@pytest.fixture
def caller(fake: Mt5Fake) -> Iterator[Caller]:
    with Caller(fake) as made:
        yield made


def documented(fake: Mt5Fake, shape: dict[str, str]) -> None:
    """The account that the file of shapes describes, by what must have happened on it."""
    truth, deals = TOLD["truth"], TOLD["history_deals_root"]["deals"]
    told = {"margin": "margin", "margin_free": "free_margin", "margin_level": "margin_level"}
    overrides = {name: truth[key] for name, key in told.items()}
    fake.add_account(id="svc-1", login=truth["login"], server=truth["server"], shape=shape, overrides=overrides)
    brought = sum(row[name] for row in deals for name in ("profit", "commission", "swap", "fee"))
    fake.operate("svc-1", "deposit", datetime(2025, 9, 1, tzinfo=UTC), amount=Decimal(truth["balance"]) - brought)
    stops = {one["position_id"]: one["stop_loss"] for one in truth["open"]}
    for row in deals:
        at = EPOCH + timedelta(milliseconds=row["time_msc"]) - timedelta(hours=2)
        given = {name: row[name] for name in ("ticket", "order", "price", "commission")}
        if row["entry"] == 0:
            given |= {"symbol": row["symbol"], "side": row["type"], "volume": f"{row['volume']:.2f}"}
            fake.operate("svc-1", "open", at, **given, sl=stops.get(str(row["position_id"])))
        else:
            fake.operate("svc-1", "close", at, **given, swap=row["swap"], position=row["position_id"])
    fake.set_prices(truth["server"], **{one["symbol"]: one["current_price"] for one in truth["open"]})


def same(told: Any, wanted: Any, at: str = "") -> None:
    """Everything that is wanted is there, equal as a number, an instant or text; more may be."""
    if isinstance(wanted, dict):
        assert isinstance(told, dict), at
        for name, one in wanted.items():
            assert name in told, f"{at}.{name}"
            same(told[name], one, f"{at}.{name}")
    elif isinstance(wanted, list):
        assert len(told) == len(wanted), at
        for place, one in enumerate(wanted):
            same(told[place], one, f"{at}[{place}]")
    elif isinstance(wanted, Decimal | int) and not isinstance(wanted, bool):
        assert Decimal(told) == wanted, at
    elif isinstance(wanted, str) and wanted[:4] == "2025":
        assert datetime.fromisoformat(told) == datetime.fromisoformat(wanted), at
    else:
        assert type(told) is type(wanted), at
        assert told == wanted, at


# --- both contracts ---------------------------------------------------------------------------------------------------

IGNORED = {"name", "company", "period", "REDACTED"}
DOCUMENTED: list[tuple[str, str, str, dict[str, str]]] = [
    ("v1_snapshot", "snapshot", "", {}),
    ("v1_deals", "deals", "from_msc=1760358600000&to_msc=1763037000000&limit=1000", {}),
    ("info_data_root", "info", "", {"info": "data"}),
    ("info_account_info_root", "info", "", {"info": "account_info"}),
    ("positions_iso", "positions", "", {"positions": "iso"}),
    ("positions_epoch", "positions", "", {"positions": "epoch"}),
    ("positions_mixed", "positions", "", {"positions": "mixed"}),
    ("history_trades_root", "history", "from_date=2025-11-09&to_date=2025-11-12&limit=1000&offset=0", {"history": "trades"}),
    ("history_deals_root", "history", "from_date=2025-11-09&to_date=2025-11-12&limit=1000&offset=0", {"history": "deals"}),
]


@needs_samples
@pytest.mark.parametrize(("name", "endpoint", "query", "shape"), DOCUMENTED, ids=[one[0] for one in DOCUMENTED])
def test_one_state_is_told_in_the_shapes_that_are_documented(
    fake: Mt5Fake, caller: Caller, name: str, endpoint: str, query: str, shape: dict[str, str]
) -> None:
    documented(fake, shape)
    wanted = without(TOLD[name], {*IGNORED, "account_id"} if not name.startswith("v1") else IGNORED)
    same(caller.get(endpoint, query), wanted)


@needs_samples
def test_every_documented_answer_is_told_here() -> None:
    assert {one[0] for one in DOCUMENTED} | {"about", "truth", "errors", "must_be_refused"} == set(TOLD)


@needs_samples
def test_errors_have_the_documented_bodies(fake: Mt5Fake, caller: Caller) -> None:
    for kind, body in TOLD["errors"].items():
        fake.reset()
        fake.add_server(SERVER)
        fake.add_account(id="svc-1", server=SERVER, shape={"errors": kind})
        fake.fault("status", code=503, error_code="BROKER_TIMEOUT")
        answer = caller.ask("info")
        assert answer.status_code == 503
        assert answer.json().keys() == body.keys(), kind
        assert (answer.json().get("error_code") or str(answer.json().get("error"))) or kind.startswith(("detail", "message"))


def test_money_and_positions_are_the_truth_in_every_shape(fake: Mt5Fake, caller: Caller) -> None:
    for number, shape in enumerate(V0_SHAPES):
        busy(fake, f"a{number}", shape=shape)
        truth = fake.truth(f"a{number}")
        info = caller.get("info", account=f"a{number}")[shape["info"]]
        assert (Decimal(info["balance"]), Decimal(info["equity"])) == (Decimal(truth["balance"]), Decimal(truth["equity"]))
        rows = caller.get("positions", account=f"a{number}")["positions"]
        open_trades = [one for one in truth["trades"] if one["status"] == "open"]
        assert [one["ticket"] for one in rows] == [one["position_id"] for one in open_trades]
        history = caller.get("history", "from_date=2025-09-01&to_date=2025-11-13", account=f"a{number}")
        if shape["history"] == "trades":
            closed = [one for one in truth["trades"] if one["status"] == "closed"]
            assert [(one["ticket"], one["net_profit"]) for one in history["trades"]] == [
                (one["position_id"], Decimal(one["net"])) for one in closed
            ]
        else:
            amounts = [one["profit"] + one["commission"] + one["swap"] + one["fee"] for one in history["deals"]]
            assert sum(amounts) == Decimal(truth["balance"])


def test_an_epoch_counts_the_server_clock_or_utc(fake: Mt5Fake, caller: Caller) -> None:
    told = {}
    for epoch in CHOICES["epoch"]:
        busy(fake, epoch, shape={"positions": "epoch", "epoch": epoch})
        told[epoch] = caller.get("positions", account=epoch)["positions"][0]["time_msc"]
        query = "from_date=2025-11-12&to_date=2025-11-12"
        assert caller.get("history", query, account=epoch)["deals"][0]["time_msc"] == told[epoch]
    assert told["server"] - told["utc"] == 2 * 3_600_000


def test_ids_are_text_or_numbers_and_numbers_may_be_noisy(fake: Mt5Fake, caller: Caller) -> None:
    busy(fake, "numbers", shape={"ids": "number", "numbers": "number"})
    told = caller.get("snapshot", account="numbers")
    figures = (told["login"], told["info"]["balance"], told["positions"]["rows"][0]["ticket"])
    assert figures == (40_000_017, Decimal("5045.15"), 620_001)
    busy(fake, "noisy", shape={"numbers": "noisy"})
    text = caller.ask("positions", account="noisy").text
    assert '"open_price":1.3109999999999999' in text
    assert json.loads(text)["positions"][0]["open_price"] == 1.311


def test_numbers_at_the_edge_survive(fake: Mt5Fake, caller: Caller) -> None:
    fake.add_account(id="edge", server=SERVER, login=2**63 - 1, overrides={"margin_level": "101398.67590140559"})
    made = fake.operate("edge", "open", symbol="SHIBUSD", side="buy", volume="1", price="0.00001234", order=2**53 + 1)
    fake.operate("edge", "close", position=made.position_id, price="0.00001235", ticket=2**63 - 1)
    told = caller.get("deals", "from_msc=0&to_msc=9999999999999", account="edge")
    assert (told["login"], told["deals"][1]["ticket"]) == (str(2**63 - 1), str(2**63 - 1))
    assert (told["deals"][0]["position_id"], told["deals"][0]["price"]) == (str(2**53 + 1), Decimal("0.00001234"))
    assert caller.get("snapshot", account="edge")["info"]["margin_level"] == "101398.67590140559"
    assert caller.get("info", account="edge")["data"]["margin_level"] == Decimal("101398.67590140559")


def test_symbols_tell_contract_sizes_and_leave_out_what_is_unknown(fake: Mt5Fake, caller: Caller) -> None:
    busy(fake)
    fake.world.add_symbol(SERVER, "BTCUSD.x", Decimal(1), 2)
    rows = caller.get("symbols", "names=USDJPY,BTCUSD.x,NOPE")["symbols"]
    assert [(one["symbol"], one["contract_size"], one["digits"], one["currency_profit"]) for one in rows] == [
        ("USDJPY", 100_000, 3, "JPY"),
        ("BTCUSD.x", 1, 2, "USD"),
    ]
    assert caller.ask("symbols", "names=" + ",".join(["A"] * 51)).status_code == 400


def test_an_answer_without_news_is_the_same_but_for_its_head(fake: Mt5Fake, caller: Caller, clock: FixedClock) -> None:
    busy(fake)
    first = caller.get("snapshot")
    clock.step(300)
    second = caller.get("snapshot")
    assert second["as_of"] == "2025-11-12T10:35:00.000Z"
    assert without(first, {"as_of", "server_time_msc"}) == without(second, {"as_of", "server_time_msc"})
    fake.set_prices(SERVER, GBPUSD="1.31200")
    assert caller.get("snapshot")["info"]["profit"] == "120.00"
    fake.operate("svc-1", "close", position=620_001)
    told = caller.get("snapshot")
    assert (told["info"]["balance"], [one["ticket"] for one in told["positions"]["rows"]]) == ("5105.15", ["620002"])
    assert caller.get("deals", "from_msc=0&to_msc=9999999999999")["total"] == 6


def test_an_operation_to_come_is_told_when_its_time_has_come(fake: Mt5Fake, caller: Caller, clock: FixedClock) -> None:
    busy(fake)
    fake.operate("svc-1", "close", NOW + timedelta(minutes=10), position=620_001, price="1.31300")
    assert len(caller.get("snapshot")["positions"]["rows"]) == 2
    clock.step(600)
    assert len(caller.get("snapshot")["positions"]["rows"]) == 1
    assert fake.truth("svc-1")["balance"] == "5165.15"
