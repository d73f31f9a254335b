"""How an operator's verb ends: what went wrong as one line on stderr, and an exit code that scripts can ask for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

from fillbook.runtime.config import ConfigError
from fillbook.runtime.errors import Conflict, FillbookError, Rejected, Unavailable

REFUSED: Final = 1
USAGE: Final = 2
AWAY: Final = 3


def ended(work: Callable[[], int], *, refused: int = REFUSED, away: int = AWAY) -> int:
    """Do a verb's work and return its exit code: the work's own, or 2 without a configuration, ``refused``, ``away``.

    A room whose specification numbers refusals or absences otherwise says so.
    """
    try:
        return work()
    except ConfigError as error:
        return said(f"not configured: {error}", USAGE)
    except (Rejected, Conflict) as refusal:
        return said(f"refused: {_words(refusal)}", refused)
    except Unavailable as error:
        return said(f"away: {_words(error)}", away)


def said(line: str, code: int) -> int:
    """Say on stderr why a verb ends, and return its exit code."""
    sys.stderr.write(f"{line}\n")
    return code


def _words(error: FillbookError) -> str:
    """The reason, the field it is about, and what the log would say beside them."""
    return error.reason + (f" ({error.field})" if error.field else "") + (f": {error.detail}" if error.detail else "")
