"""Room mt5 speaks to one kind of service only, and every file of it says what it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOM = sorted((ROOT / "shared" / "fillbook" / "mt5").glob("*"))
OTHERS = re.compile(
    r"\b(meta ?api|metastats|agiliumtrade|copyfactory|myfxbook|fxblue|tradingview|ctrader|dxtrade|match-?trader|oanda"
    r"|alpaca|binance|interactive ?brokers|ibkr|ib_insync|plaid|snaptrade|mt4|metatrader ?4)\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("path", [path for path in ROOM if path.suffix in (".py", ".sql")], ids=lambda path: path.name)
def test_no_other_provider_is_named_in_the_room(path: Path) -> None:
    found = sorted({match[0].lower() for match in OTHERS.finditer(path.read_text("utf-8"))})
    assert found == []


@pytest.mark.parametrize("name", ["account_sync", "account_sync_shard"])
def test_no_other_provider_is_named_in_its_functions(name: str) -> None:
    for path in (ROOT / "functions" / name).iterdir():
        assert not path.is_file() or not OTHERS.search(path.read_text("utf-8")), path.name


def test_only_the_adapter_knows_addresses_and_headers_of_the_service() -> None:
    speaks = re.compile(r"X-API-Key|X-Account-Scope|/snapshot|api/mt5/account")
    knowing = {path.name for path in ROOM if path.suffix == ".py" and speaks.search(path.read_text("utf-8"))}
    assert knowing == {"mt5_service.py"}
