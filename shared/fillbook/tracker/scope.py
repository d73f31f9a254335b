"""What a key may see, in the words of a statement: a list whose pages are cut in the database leaves out there what it must.

Pure. Source: tracker.md 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable


def expressions(patterns: Iterable[str]) -> list[str]:
    """A key's patterns of books as regular expressions of the database; they find what ``DeskKey.sees`` finds."""
    return [f"^{''.join(_pieces(pattern))}$" for pattern in patterns]


def _pieces(pattern: str) -> Iterable[str]:
    for piece in re.findall(r"\[!?\]?[^\]]*\]|.", pattern, re.DOTALL):
        if piece == "*":
            yield ".*"
        elif piece == "?":
            yield "."
        elif len(piece) > 1:
            inner = piece[1:-1].replace("\\", "\\\\")
            yield f"[{'^' + inner[1:] if inner.startswith('!') else inner}]"
        else:
            yield re.escape(piece)
