"""The routes that show published days as an OpenAPI document, their parameters taken from the code that reads them."""

from __future__ import annotations

from typing import Any, Final

from fillbook.snapshot import filters
from fillbook.snapshot.filters import ROUTES
from fillbook.snapshot.model import EXTREME_NUMBERS, Kind, Side, Stage

TEXT: Final = {"type": "string"}
TEXT_OR_NULL: Final = {"type": ["string", "null"]}
NUMBER_OR_NULL: Final = {"type": ["number", "null"]}
WHOLE: Final = {"type": "integer", "minimum": 0}
WHOLE_OR_NULL: Final = {"type": ["integer", "null"]}
DATE: Final = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"}
INSTANT: Final = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$"}
STAGE: Final = {"enum": [*Stage, None]}
ANY: Final[dict[str, Any]] = {}


def whole(**properties: Any) -> dict[str, Any]:
    """An object that has all of these and nothing else."""
    return {"type": "object", "required": sorted(properties), "properties": properties, "additionalProperties": False}


def listed(**properties: Any) -> dict[str, Any]:
    """A list of such objects."""
    return {"type": "array", "items": whole(**properties)}


ERROR: Final = whole(error=whole(code=TEXT, message=TEXT, request_id=TEXT))
HEAD: Final = {"date": DATE, "version": {"type": "integer", "minimum": 1}, "updated_at": INSTANT}
PAGED: Final = {"next_cursor": TEXT_OR_NULL}
COUNTS: Final = whole(kpis=WHOLE, series=WHOLE, extremes=WHOLE, assets=WHOLE)
VALUE: Final = {"value_text": TEXT_OR_NULL, "value_num": NUMBER_OR_NULL}
ASSET: Final = {"trade_id": WHOLE, "symbol": TEXT_OR_NULL, "contract_name": TEXT}
ANSWERS: Final[dict[str, dict[str, Any]]] = {
    filters.LATEST: HEAD
    | {"headline": TEXT, "summary": TEXT, "source": TEXT_OR_NULL, "schema_version": WHOLE_OR_NULL, "kpi_version": WHOLE_OR_NULL}
    | {"stage": STAGE, "content_sha256": TEXT, "watermark": ANY, "provenance": ANY}
    | {
        "rows": {"type": "array"},
        "overlay": whole(
            seriesByKpi={"type": "object"}, extremes=whole(byKpi={"type": "object"}), portfolioAssets=listed(**ASSET)
        ),
    },
    filters.TRADE_DATES: PAGED | {"items": listed(date=DATE, updated_at=INSTANT, headline=TEXT, json=TEXT)},
    filters.DAILY: HEAD | {"headline": TEXT, "summary": TEXT, "stage": STAGE, "counts": COUNTS},
    filters.KPIS: HEAD
    | {"stage": STAGE}
    | {
        "items": listed(
            kpi=TEXT, **VALUE, value_kind={"enum": list(Kind)}, unit=TEXT_OR_NULL, sort_order=WHOLE, missing_reason=TEXT_OR_NULL
        )
    },
    filters.FILLS: HEAD
    | PAGED
    | VALUE
    | {
        "kpi": TEXT,
        "books": {"type": "array"},
        "from": INSTANT,
        "as_of": INSTANT,
        "actions": WHOLE,
        "is_sum": {"type": "boolean"},
    }
    | {"total": TEXT_OR_NULL, "items": {"type": "array"}},
    filters.KPI_HISTORY: {
        "kpi": TEXT,
        "has_more": {"type": "boolean"},
        "items": listed(date=DATE, **VALUE, stage=STAGE, version=WHOLE),
    },
    filters.SERIES: HEAD | PAGED | {"kpi": TEXT, "points": listed(t=INSTANT, v={"type": "number"}, src=TEXT_OR_NULL)},
    filters.EXTREMES: HEAD
    | {
        "kpi": TEXT,
        "items": listed(
            kpi=TEXT,
            side={"enum": list(Side)},
            rank=WHOLE,
            mid_ts=TEXT_OR_NULL,
            item={"type": "object"},
            **ASSET | {"trade_id": WHOLE_OR_NULL},
            **dict.fromkeys(EXTREME_NUMBERS, NUMBER_OR_NULL),
        ),
    },
    filters.ASSETS: HEAD | PAGED | {"items": listed(**ASSET)},
    filters.DATES: PAGED | {"items": listed(date=DATE, stage=STAGE, version=WHOLE, updated_at=INSTANT)},
    filters.VERSIONS: HEAD
    | PAGED
    | {
        "items": listed(
            version=WHOLE,
            stage=STAGE,
            updated_at=INSTANT,
            kpi_version=WHOLE_OR_NULL,
            content_sha256=TEXT,
            counts=COUNTS,
            forced={"type": "array"},
            late_actions={"type": "array"},
            request_id=TEXT,
            recorded_at=INSTANT,
        )
    },
    filters.RESTATEMENTS: HEAD
    | PAGED
    | {
        "items": listed(
            version=WHOLE,
            previous_version=WHOLE,
            subject={"enum": ["kpi", "part"]},
            name=TEXT,
            old_text=TEXT_OR_NULL,
            new_text=TEXT_OR_NULL,
            old_num=NUMBER_OR_NULL,
            new_num=NUMBER_OR_NULL,
            difference=NUMBER_OR_NULL,
            late_actions={"type": "array"},
            recorded_at=INSTANT,
        )
    },
    filters.FRESHNESS: {
        "status": {"enum": ["fresh", "late", "stale", "closed"]},
        "session": whole(date=DATE, open=INSTANT, close=INSTANT, half_day={"type": "boolean"}),
        "expected": whole(date=DATE, stage=STAGE, due_at=INSTANT),
        "latest": ANY,
        "now": INSTANT,
    },
}
PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "date": DATE | {"examples": ["2026-02-11"]},
    "version": {"type": "integer", "minimum": 1, "maximum": filters.VERSION_MAX},
    "kpi": {"type": "string", "minLength": 1, "maxLength": filters.NAME_LENGTH_MAX, "examples": ["Daily PnL", "P&L"]},
    "side": {"enum": list(Side)},
    "symbol": {"type": "string", "minLength": 1, "maxLength": filters.SYMBOL_LENGTH_MAX, "examples": ["AAPL"]},
    "cursor": {"type": "string", "description": "`next_cursor` of the page before."},
    "from": {"type": "string", "examples": ["2026-02-10", "2026-02-11T14:31:00Z"]},
    "to": {"type": "string", "examples": ["2026-02-11", "2026-02-11T21:00:00Z"]},
}
REFUSALS: Final = {
    "400": "A parameter is wrong; it is named.",
    "401": "No key, an unknown or an expired one.",
    "403": "The key lacks the scope.",
    "404": "No such day, KPI or version.",
    "410": "The day was replaced; begin again without a cursor.",
    "429": "Too often; come back after Retry-After.",
    "503": "The database is away; come back.",
}


def reading_document() -> dict[str, Any]:
    """OpenAPI 3.1: every reading route with its parameters and its answer, described whole."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Fillbook published days", "version": "1"},
        "paths": {route: {"get": _operation(route)} for route in ROUTES},
        "components": {
            "schemas": {"Error": ERROR},
            "securitySchemes": {"metrics_key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"metrics_key": []}],
    }


def _operation(route: str) -> dict[str, Any]:
    rules = ROUTES[route]
    refused = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    limit = {"type": "integer", "minimum": 1, "maximum": (rules.limit or (1, 1))[1]}
    return {
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": name in rules.needed,
                "schema": limit if name == "limit" else PARAMETERS[name],
            }
            for name in sorted(rules.known)
        ],
        "responses": {
            "200": {"description": "What is asked for.", "content": {"application/json": {"schema": whole(**ANSWERS[route])}}},
            **{status: {"description": text, **refused} for status, text in REFUSALS.items()},
        },
    }
