"""Trace and blocks of a decision as JSON values: why this, and why not (specification 5).

Without an intent the trace keeps every comparison that failed and the one that decided the lane; with one, all of them.
Numbers are plain text, because inside jsonb they must survive unrounded; unknown is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from typing import Any, Final

from fillbook.money import plain
from fillbook.signal.management import Case
from fillbook.signal.model import Block, Check, Decision, Facts, Receipt, Value
from fillbook.signal.reading import Reading
from fillbook.signal.sessions import MINUTE_MS

_FAILED_KINDS: Final = "EGALS"
_HELD_KINDS: Final = "S"


def trace_of(decision: Decision) -> dict[str, Any]:
    """``{rule, path, side, inputs, compared: [[rule, value, op, limit, holds], …], account}``, at most 4 kB as JSON."""
    return {
        "rule": decision.rule,
        "path": decision.path,
        "side": decision.side,
        "inputs": {name: _json(value) for name, value in decision.inputs.items()},
        "compared": [[check.rule, _json(check.value), check.op, _json(check.limit), check.holds] for check in decision.compared],
        "account": account_of(decision.account),
    }


def blocks_of(decision: Decision) -> list[dict[str, Any]]:
    """``[{rule, why, value, limit}, …]``: what stood in the way, in the order of the rules."""
    return [
        {"rule": block.rule, "why": block.why, "value": _json(block.value), "limit": _json(block.limit)}
        for block in decision.blocks
    ]


def account_of(facts: Facts | None) -> dict[str, Any] | None:
    """The book's facts seen by an admission; ``None`` when nothing was asked."""
    return None if facts is None else {field.name: _json(getattr(facts, field.name)) for field in fields(Facts)}


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


def _json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    return value
