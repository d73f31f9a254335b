"""How large a test is: small by default, as specified with ``FILLBOOK_FULL=1``; and chance by a seed that is told."""

from __future__ import annotations

import os
import random
import sys
from typing import Final, TypeVar

import pytest

T = TypeVar("T")
IS_FULL: Final = os.environ.get("FILLBOOK_FULL") == "1"
KEEPS_PICTURES: Final = os.environ.get("FILLBOOK_PICTURES") == "1"
full_only = pytest.mark.skipif(not IS_FULL, reason="its numbers take minutes: FILLBOOK_FULL=1")


def small_or_full(small: T, full: T) -> T:
    """Return the number for this run."""
    return full if IS_FULL else small


def chance(seed: int) -> random.Random:
    """Chance from ``seed``, or from ``FILLBOOK_SEED`` where it is set."""
    chosen = int(os.environ.get("FILLBOOK_SEED", seed))
    tell(f"FILLBOOK_SEED={chosen}")
    return random.Random(chosen)


def tell(line: str) -> None:
    """Say something that is shown with -s, and beside a failure."""
    sys.stdout.write(f"{line}\n")
