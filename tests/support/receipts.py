"""The two example receipts of the specification and what tests make of them: later, changed, as bytes."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

CASES = Path(__file__).resolve().parents[1] / "cases" / "signal"
MINUTE_MS = 60_000
R_HASH = "36fe7cb2d144a56262a802a7532b2384d6ef57bea6435717ac15acbccc71df85"
Q_HASH = "09213bff7b1c378dcf98c5cbf9a322bd23962a40fea0a9b749672d9c285441cc"
R_TS = 1_770_131_700_000


@cache
def text_of(name: str) -> str:
    """The text of R or Q exactly as the specification prints it."""
    return (CASES / f"{name}.json").read_text(encoding="utf-8")


def body(name: str = "R", *, minutes: int = 0, **changes: Any) -> dict[str, Any]:
    """R or Q as a document, ``minutes`` later, with top-level fields replaced (``...`` removes one)."""
    document: dict[str, Any] = json.loads(text_of(name), parse_float=Decimal)
    document["ts"] += minutes * MINUTE_MS
    document["time_close"] += minutes * MINUTE_MS
    document.update(changes)
    return {field: value for field, value in document.items() if value is not ...}


def encoded(document: Any) -> bytes:
    """A document as the sender would write it; Decimals as plain numbers."""
    return _Numbers(ensure_ascii=False).encode(document).encode()


class _Numbers(json.JSONEncoder):
    """Writes Decimals as numbers: the standard encoder only knows floats, and a test must not round."""

    def encode(self, o: Any) -> str:
        if isinstance(o, Decimal):
            return format(o, "f")
        if isinstance(o, dict):
            return "{" + ",".join(f"{json.dumps(key)}:{self.encode(value)}" for key, value in o.items()) + "}"
        if isinstance(o, list | tuple):
            return "[" + ",".join(self.encode(item) for item in o) + "]"
        return super().encode(o)


def ingest_cases() -> list[dict[str, Any]]:
    """The recorded requests of ``cases/signal/ingest.json``, each with its body written out."""
    recorded = json.loads((CASES / "ingest.json").read_text(encoding="utf-8"))
    cases: list[dict[str, Any]] = []
    for case in recorded["cases"]:
        text = _written_out(case["body"]) if "body" in case else text_of("R")
        for old, new in case.get("replace", ()):
            assert old in text, case["name"]
            text = text.replace(old, _written_out(new), 1)
        cases.append({"now_ms": recorded["now_ms"], "content_type": "application/json", **case, "body": text[: case.get("cut")]})
    return cases


def _written_out(text: str | list[list[Any]]) -> str:
    return text if isinstance(text, str) else "".join(piece * count for piece, count in text)
