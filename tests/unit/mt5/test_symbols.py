"""Ornaments of brokers come off a symbol, for grouping."""

from __future__ import annotations

import pytest

from fillbook.mt5.symbols import normalized


@pytest.mark.parametrize(
    ("symbol", "plain"),
    [("EURUSD", "EURUSD"), ("EURUSD.a", "EURUSD"), ("EURUSDm", "EURUSD"), ("GBPJPY-ECN", "GBPJPY"), ("XAUUSD_i", "XAUUSD"),
     ("#AAPL", "AAPL"), ("US500.cash", "US500"), ("BTCUSD#", "BTCUSD"), ("eurusd", "EURUSD"), ("Gold", "GOLD"), ("BRK.B", "BRK"),
     ("", ""), ("A", "A"), ("Volatility 75 Index", "VOLATILITY 75 INDEX")],
)  # fmt: skip
def test_a_symbol_loses_what_its_broker_added(symbol: str, plain: str) -> None:
    assert normalized(symbol) == plain
