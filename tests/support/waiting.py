"""Waiting for what another process or thread does: looked at again and again, and an error when it never comes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

WAIT_SECONDS: Final = 60.0
"""Patience, not a measure: a machine that is busy with other things may take many times as long as this one."""
_LOOK_SECONDS: Final = 0.01


def wait_until(is_so: Callable[[], bool], told: Callable[[], object] = lambda: None) -> None:
    """Return as soon as ``is_so()``; raise ``AssertionError`` with what is ``told`` when it is not so in time."""
    end = time.monotonic() + WAIT_SECONDS
    while not is_so():
        if time.monotonic() > end:
            raise AssertionError(f"never so: {told()}")
        time.sleep(_LOOK_SECONDS)
