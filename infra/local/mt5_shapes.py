"""Spellings of the fake MT5 service: which of the documented shapes an account is told in, JSON numbers, error bodies.

A document is plain dicts and lists; a Decimal in it becomes a JSON number, text stays text. ``encoded`` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Final

CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "ids": ("text", "number"),
    "numbers": ("text", "number", "noisy"),
    "info": ("data", "account_info"),
    "positions": ("iso", "epoch", "mixed"),
    "history": ("deals", "trades"),
    "epoch": ("server", "utc"),
    "errors": ("object", "flat", "detail_text", "detail_list", "message_only", "rate_limited"),
}
NAN: Final = "@nan@"
"""Stands for a number that JSON does not know; written as a bare NaN."""
Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How one account is told. Contract v1 knows ``ids`` and ``numbers`` alone; all others are of the three-endpoint service.

    ``numbers`` text: money as text, as far as a contract allows; noisy: with the noise of a binary float.
    """

    ids: str = "text"
    numbers: str = "text"
    info: str = "data"
    positions: str = "iso"
    history: str = "deals"
    epoch: str = "server"
    errors: str = "object"

    def __post_init__(self) -> None:
        for one in fields(self):
            if getattr(self, one.name) not in CHOICES[one.name]:
                raise ValueError(f"{one.name} is one of {', '.join(CHOICES[one.name])}")

    @property
    def is_noisy(self) -> bool:
        """Whether numbers carry float noise."""
        return self.numbers == "noisy"

    def money(self, amount: Decimal) -> Decimal | str:
        """Return a number of contract v1 that may be text."""
        return f"{amount:f}" if self.numbers == "text" else amount

    def number(self, value: int) -> int | str:
        """Return an id or milliseconds as contract v1 spells them."""
        return str(value) if self.ids == "text" else value


def encoded(value: Any, *, is_noisy: bool = False) -> str:
    """Return JSON; Decimals as the shortest number that a binary float would print, or as a noisy one."""
    if isinstance(value, str):
        return "NaN" if value == NAN else json.dumps(value)
    if isinstance(value, Decimal):
        return f"{float(value):.17g}" if is_noisy else repr(float(value))
    if isinstance(value, dict):
        return "{" + ",".join([f'"{name}":{encoded(one, is_noisy=is_noisy)}' for name, one in value.items()]) + "}"
    if isinstance(value, list):
        return "[" + ",".join([encoded(one, is_noisy=is_noisy) for one in value]) + "]"
    return json.dumps(value)


def error_body(kind: str, code: str, message: str, retry_after: float | None = None) -> Document:
    """Return an error as the three-endpoint service writes it; only ``object`` and ``flat`` name a code."""
    match kind:
        case "flat":
            return {"success": False, "error_code": code, "error_message": message, "details": None}
        case "detail_text":
            return {"detail": message}
        case "detail_list":
            return {"detail": [{"loc": ["query"], "msg": message, "type": "value_error"}]}
        case "message_only":
            return {"message": message}
        case "rate_limited":
            return {"error": message, "retry_after": 1 if retry_after is None else retry_after}
    error = {"code": code, "message": message, "details": None, "retry_after_seconds": retry_after}
    return {"success": False, "error": {**error, "support_reference": "fake"}}


def nan_first(value: Any) -> bool:
    """Put NaN in place of the first number of a document; whether there was one."""
    for key, one in list(value.items() if isinstance(value, dict) else enumerate(value)):
        if isinstance(one, Decimal):
            value[key] = NAN
            return True
        if isinstance(one, dict | list) and nan_first(one):
            return True
    return False


def _rows(document: Document) -> list[Document]:
    for name in ("deals", "trades", "positions"):
        found = document.get(name)
        if isinstance(found, dict):
            found = found.get("rows")
        if isinstance(found, list):
            return found
    return []


def _root(document: Document) -> str:
    return next((name for name in ("info", "data", "account_info", "positions", "deals", "trades") if name in document), "")


def mutated(document: Document, variant: str) -> None:
    """Turn a document into one that nobody documented; ``extra_field`` alone is still allowed."""
    root, rows = _root(document), _rows(document)
    match variant:
        case "unknown_root":
            document["payload"] = document.pop(root)
        case "missing_list":
            document.pop(root)
        case "null_list":
            document[root] = None
        case "wrong_type":
            document[root] = "none"
        case "unknown_enum":
            for row in rows:
                row["type"] = "long"
        case "naive_time":
            for row in rows:
                for name in ("time_msc", "time_update_msc"):
                    row.pop(name, None)
                row.update(
                    dict.fromkeys([name for name in ("time", "open_time") if name in row] or ["time"], "2026-01-05T10:30:00")
                )
        case "no_entry":
            for row in rows:
                row.pop("entry", None)
        case "deep":
            for _ in range(25):
                document["extra"] = {"extra": document.get("extra", {})}
        case "extra_field":
            document["something_new"] = {"added": "later"}
            for row in rows:
                row["something_new"] = 1
        case _:
            raise ValueError(f"unknown variant {variant!r}; known: {', '.join(MUTATIONS)}")


MUTATIONS: Final = (
    "unknown_root", "missing_list", "null_list", "wrong_type", "unknown_enum", "naive_time", "no_entry", "deep", "extra_field",
)  # fmt: skip
