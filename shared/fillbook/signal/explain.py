"""Trace and blocks of a decision as JSON values: why this, and why not (specification 5).

Without an intent the trace keeps every comparison that failed and the one that decided the lane; with one, all of them.
Numbers are plain text, because inside jsonb they must survive unrounded; unknown is null.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring
from operator import attrgetter
from typing import Any, Final

from fillbook.money import plain
from fillbook.signal.management import Case
from fillbook.signal.model import Block, Check, Decision, Facts, Receipt, Value
from fillbook.signal.reading import Reading
from fillbook.signal.sessions import MINUTE_MS

_FAILED_KINDS: Final = "EGALS"
_HELD_KINDS: Final = "S"
_FACTS: Final = tuple(field.name for field in fields(Facts))
_facts_values = attrgetter(*_FACTS)


def trace_of(decision: Decision) -> dict[str, Any]:
    """``{rule, path, side, inputs, compared: [[rule, value, op, limit, holds], …], account}``, at most 4 kB as JSON."""
    found: dict[str, Any] = json.loads(trace_text(decision, account_text(decision.account)))
    return found


def trace_text(decision: Decision, account: str) -> str:
    """``trace_of`` as JSON text, with the text of its account.

    Written at once: a replayed day stores 60,000 of them, and values in between cost most of it.
    """
    texts = _TEXTS
    inputs = ",".join([f'"{name}":{texts[type(value)](value)}' for name, value in decision.inputs.items()])
    compared = ",".join(
        [
            f'["{rule}",{texts[type(value)](value)},"{op}",{texts[type(limit)](limit)},{"true" if holds else "false"}]'
            for rule, value, op, limit, holds in decision.compared
        ]
    )
    path, side = value_text(decision.path), value_text(decision.side)
    return (
        f'{{"rule":"{decision.rule}","path":{path},"side":{side},"inputs":{{{inputs}}},'
        f'"compared":[{compared}],"account":{account}}}'
    )


def blocks_of(decision: Decision) -> list[dict[str, Any]]:
    """``[{rule, why, value, limit}, …]``: what stood in the way, in the order of the rules."""
    found: list[dict[str, Any]] = json.loads(blocks_text(decision.blocks))
    return found


def blocks_text(blocks: tuple[Block, ...]) -> str:
    """``blocks_of`` as canonical JSON text, keys in order: what is stored and what a run's hash is made of."""
    if not blocks:
        return "[]"
    texts = _TEXTS
    written = [
        f'{{"limit":{texts[type(limit)](limit)},"rule":"{rule}","value":{texts[type(value)](value)},"why":"{why}"}}'
        for rule, why, value, limit in blocks
    ]
    return f"[{','.join(written)}]"


def account_of(facts: Facts | None) -> dict[str, Any] | None:
    """The book's facts seen by an admission; ``None`` when nothing was asked."""
    found: dict[str, Any] | None = json.loads(account_text(facts))
    return found


def account_text(facts: Facts | None) -> str:
    """``account_of`` as JSON text."""
    if facts is None:
        return "null"
    texts = _TEXTS
    members = [f'"{name}":{texts[type(value)](value)}' for name, value in zip(_FACTS, _facts_values(facts), strict=True)]
    return f"{{{','.join(members)}}}"


def facts_from(document: Mapping[str, Any]) -> Facts:
    """Read what ``account_of`` wrote."""
    exact = {name: None if document[name] is None else Decimal(document[name]) for name in ("equity", "buying_power", "vix")}
    return Facts(**{**document, **exact})


def inputs_of(receipt: Receipt, reading: Reading | None, case: Case | None) -> dict[str, Value]:
    """The figures the rules compared, as computed: of the receipt, and of the position when there is one."""
    inputs: dict[str, Value] = {"price": receipt.price, "phase": receipt.phase_pct}
    if reading is not None:
        inputs |= {
            "side": reading.side,
            "score": reading.score,
            "rr": reading.rr,
            "completion": reading.completion,
            "tp_max": reading.tp_max,
            "status": reading.status,
            "column": reading.column,
            "flip_points": reading.flip_points,
        }
    if case is not None:
        inputs |= {
            "pnl_pct": case.pnl,
            "progress": case.progress,
            "adverse_pct": case.adverse,
            "age_min": case.age_ms // MINUTE_MS,
            "stop": case.held.stop,
            "warnings": case.warnings,
        }
    return inputs


def kept(checks: tuple[Check, ...], deciding: Check, blocks: tuple[Block, ...], *, whole: bool) -> tuple[Check, ...]:
    """The comparisons worth storing: all of them with an intent, else failed paths, gate, adds, limits, and what decided.

    Rules that hold and wait stay as well, and so do the stop rules (``S``), which are handed in only when the stop moved.
    """
    if whole:
        return checks
    waiting = {block.rule for block in blocks}
    return tuple(
        [
            check
            for check in checks
            if check is deciding or check.rule[0] in (_HELD_KINDS if check.holds else _FAILED_KINDS) or check.rule in waiting
        ]
    )


def value_text(value: Value) -> str:
    """A compared value as JSON text: numbers as plain text in quotes, so that none is rounded on its way."""
    return _TEXTS[type(value)](value)


def _tuple_text(value: tuple[Any, ...]) -> str:
    return "[" + ",".join([_TEXTS[type(item)](item) for item in value]) + "]"


@lru_cache(maxsize=16_384)
def _decimal_text(value: Decimal) -> str:
    """A number as text: a limit is compared with every receipt, a value stands in a block and in the trace."""
    return f'"{plain(value)}"'


_TEXTS: Final[dict[type, Callable[[Any], str]]] = {
    Decimal: _decimal_text,
    str: encode_basestring,
    int: int.__repr__,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "null",
    tuple: _tuple_text,
}
