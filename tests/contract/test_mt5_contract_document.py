"""The document of contract mt5/1 and its reader accept and refuse the same answers."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from fillbook.mt5 import contract_v1, faults
from fillbook.mt5.faults import CallFailed
from fillbook.mt5.model import Snapshot, StepFailure
from fillbook.mt5.words import Code
from tests.support.mt5_scripted import HEALTHY_V1
from tests.support.mt5_shapes import (
    DATA,
    at_path,
    deal,
    deals_v1,
    head_v1,
    info,
    paths,
    position,
    read_v1_deals,
    snapshot_v1,
    wire,
)

DOCUMENT = Path(__file__).resolve().parents[2] / "infra" / "docs" / "mt5-contract.md"
TEXT = DOCUMENT.read_text("utf-8")
SCHEMA = json.loads(re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)[0])
GONE = object()
BROKEN = (
    GONE,
    None,
    True,
    False,
    [],
    {},
    "",
    "?",
    "7",
    "0",
    7,
    0,
    -1,
    Decimal("1.5"),
    Decimal("-1.5"),
    "-1.5",
    2**70,
    "x" * 1025,
    "2026-05-06T14:30:00",
)


@cache
def validator(kind: str) -> Any:
    return jsonschema_rs.Draft202012Validator({**SCHEMA, "$ref": f"#/$defs/{kind}"})


def is_valid(kind: str, document: Any) -> bool:
    return bool(validator(kind).is_valid(json.loads(wire(document))))


def is_read(read: Callable[[bytes], Any], document: Any) -> bool:
    """Whether the reader takes it, for an answer or for one that says it is incomplete."""
    try:
        found = read(wire(document))
    except CallFailed as error:
        return error.fault.code is not Code.CONTRACT_ERROR
    parts = (found.info, found.positions) if isinstance(found, Snapshot) else ()
    return not any(isinstance(part, StepFailure) and part.code is Code.CONTRACT_ERROR for part in parts)


ANSWERS: dict[str, tuple[Any, Callable[[bytes], Any]]] = {
    "health": (HEALTHY_V1, contract_v1.read_health),
    "snapshot": (snapshot_v1(info(), (position(1, magic=-4, reason=3),)), contract_v1.read_snapshot),
    "deals": (deals_v1((deal(1),)), read_v1_deals),
    "symbols": (
        {**head_v1(), "symbols": [{"symbol": "EURGBP", "contract_size": "100000", "digits": 5, "currency_profit": "GBP"}]},
        contract_v1.read_symbols,
    ),
}
BEYOND = {"total", "margin_level"}  # a schema cannot compare one field with another


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_sound_answer_is_valid_and_read(kind: str) -> None:
    document, read = ANSWERS[kind]
    assert is_valid(kind, document)
    assert is_read(read, document)


@pytest.mark.parametrize("kind", ANSWERS)
def test_whatever_the_schema_refuses_the_reader_refuses_and_the_other_way_round(kind: str) -> None:
    document, read = ANSWERS[kind]
    differing = []
    for path in paths(document):
        for broken in BROKEN:
            damaged = copy.deepcopy(document)
            if broken is GONE:
                if isinstance(path[-1], int):
                    continue
                del at_path(damaged, path[:-1])[path[-1]]
            else:
                at_path(damaged, path[:-1])[path[-1]] = broken
            if path[-1] not in BEYOND and is_valid(kind, damaged) is not is_read(read, damaged):
                differing.append((path, broken, is_read(read, damaged)))
    assert differing == []


@pytest.mark.parametrize("kind", ["snapshot", "deals"])
def test_an_answer_that_says_it_is_incomplete_is_valid(kind: str) -> None:
    told = {"complete": False, "error": {"code": "BROKER_TIMEOUT", "message": "m", "retry_after_seconds": 5}}
    document = {**ANSWERS[kind][0], "info": told, "positions": told} if kind == "snapshot" else {**head_v1(), **told}
    assert is_valid(kind, document)
    assert is_read(ANSWERS[kind][1], document)


@pytest.mark.local_data
@pytest.mark.skipif(not DATA.exists(), reason="the sample data beside the repository is absent")
@pytest.mark.parametrize("kind", ["snapshot", "deals"])
def test_the_sample_answers_are_valid(kind: str) -> None:
    shapes = json.loads((DATA / "documented_contract_shapes.json").read_text("utf-8"), parse_float=Decimal)
    assert is_valid(kind, shapes[f"v1_{kind}"])


def test_the_document_names_every_code_that_the_reader_knows() -> None:
    rows = TEXT[TEXT.index("| code | means |") : TEXT.index("## The three-endpoint service")]
    assert set(re.findall(r"`(-?[A-Z0-9_]+)`", rows)) == set(faults.CODES)
