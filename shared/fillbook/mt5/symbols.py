"""A broker's symbol without its broker's ornaments, for grouping only: instruments are kept apart by their raw names.

Brokers put account types and venues behind the instrument (``EURUSD.a``, ``EURUSDm``, ``GBPJPY-ECN``, ``XAUUSD_i``) or a mark
before it (``#AAPL``). Cutting them off can merge instruments that differ (``BRK.A``, ``BRK.B``): nothing is booked by the result.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_PARTS: Final = re.compile(r"[#.!]?(?:([A-Z0-9&]{3,})[a-z]{1,4}|([A-Za-z0-9&]{2,}))(?:[._#!+-].*)?", re.ASCII)


@lru_cache(1_024)
def normalized(symbol: str) -> str:
    """The symbol in capitals without mark and suffix; as it is where it has another form."""
    found = _PARTS.fullmatch(symbol)
    return symbol.upper() if found is None else (found[1] or found[2]).upper()
