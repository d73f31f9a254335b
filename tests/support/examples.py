"""How many examples a law is tried with: few and the same in every run, or as many as FILLBOOK_EXAMPLES says.

A campaign: ``FILLBOOK_EXAMPLES=10000 python3 infra/dev.py test tests/property/mt5 -n 0``. It ends by printing its seed;
``FILLBOOK_SEED`` sets one. Laws about rows cost a database each and say themselves how few are enough for every day.
"""

from __future__ import annotations

import os
from typing import Final

from hypothesis import settings

CAMPAIGN: Final = os.environ.get("FILLBOOK_EXAMPLES")


def rows(usual: int) -> settings:
    """Settings of a law about rows: ``usual`` examples, in a campaign as many as are asked for."""
    return settings(max_examples=int(CAMPAIGN) if CAMPAIGN else usual)


def share(part: int) -> settings:
    """Settings of a law whose example costs ``part`` times as much as others'; a campaign spares none."""
    return settings(max_examples=int(CAMPAIGN) if CAMPAIGN else max(10, settings().max_examples // part))
