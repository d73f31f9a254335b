"""The tracker's read API as an OpenAPI document, its parameters taken from the code that reads them; for contract tests."""

from __future__ import annotations

from typing import Any

from fillbook.tracker import auditing, filters
from fillbook.tracker.lanes import CARDS_MAX
from fillbook.tracker.lanes import PARAMETERS as LANE_PARAMETERS
from fillbook.tracker.model import DIRECTIONS, LIMIT_MAX, SOURCES, STATUSES, TICKER_LENGTH_MAX, TRADE_PARAMETERS

INSTANT = {"type": "string", "examples": ["2026-02-03", "2026-02-03T15:16:00Z", "1770131700000"]}
CLOCK = {"type": "string", "examples": ["2026-02-03T15:16:00Z", "1770131700000"]}
SCHEMAS: dict[str, dict[str, Any]] = {
    "books": {"type": "string", "examples": ["live", "all", "live,ibkr:U1"]},
    "since": INSTANT,
    "until": INSTANT,
    "as_of": CLOCK,
    "known_as_of": CLOCK,
    "ticker": {"type": "string", "minLength": 1, "maxLength": TICKER_LENGTH_MAX},
    "direction": {"enum": list(DIRECTIONS)},
    "status": {"enum": list(STATUSES)},
    "include": {"enum": ["lots", "actions", "lots,actions"]},
    "limit": {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX},
    "source": {"enum": sorted(SOURCES)},
    "cards": {"type": "integer", "minimum": 1, "maximum": CARDS_MAX},
}
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "request_id"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}, "request_id": {"type": "string"}},
            "additionalProperties": False,
        }
    },
    "additionalProperties": False,
}
LISTS = {"/timed/trades": ("trades", TRADE_PARAMETERS), "/timed/ledger/trades": ("trades", TRADE_PARAMETERS)}
NULLABLE_TEXT = {"type": ["string", "null"]}
NULLABLE_WHOLE = {"type": ["integer", "null"]}
FRAME = {
    "ok": {"const": True},
    "as_of_ts": {"type": "integer"},
    "as_of_at": {"type": "string"},
    "known_as_of_ts": {"type": "integer"},
    "known_as_of_at": {"type": "string"},
    "data_as_of_ts": NULLABLE_WHOLE,
    "data_as_of_at": NULLABLE_TEXT,
    "books": {
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "required": ["seq"],
            "properties": {"seq": {"type": "integer", "minimum": 0}},
            "additionalProperties": False,
        },
    },
    "count": {"type": "integer", "minimum": 0},
    "has_more": {"type": "boolean"},
}
BROKERS = {
    "/timed/audit": ("audits", auditing.PARAMETERS),
    "/api/v1/trades": ("items", filters.TRADE_PARAMETERS),
    "/api/v1/trades/{trade_id}": ("trade", frozenset[str]()),
    "/api/v1/trades/{trade_id}/executions": ("items", filters.EXECUTION_PARAMETERS),
    "/api/v1/accounts/{account}/sync-runs": ("items", filters.RUN_PARAMETERS),
    "/api/v1/sync/health": ("accounts", frozenset[str]()),
    "/api/v1/sync/coverage": ("days", filters.COVERAGE_PARAMETERS),
}
BROKER_SCHEMAS: dict[str, dict[str, Any]] = {
    "book_id": {"type": "string", "minLength": 1, "maxLength": auditing.BOOK_LENGTH_MAX, "examples": ["live", "ibkr:U1"]},
    "account_id": {"type": "string", "examples": ["1", "9223372036854775807"]},
    "status": {"enum": list(filters.TRADE_STATUSES)},
    "symbol": {"type": "string", "minLength": 1, "maxLength": filters.SYMBOL_LENGTH_MAX, "examples": ["AAPL"]},
    "limit": {"type": "integer", "minimum": 1, "maximum": filters.LIMIT_MAX},
    "after": {"type": "string", "description": "`next` of the page before."},
    "executed_from": INSTANT,
    "executed_to": INSTANT,
    "include_merged": {"enum": list(filters.FLAGS)},
    "is_canonical": {"enum": list(filters.FLAGS)},
    "include": {"enum": ["raw", "history", "raw,history"]},
    "from": {"type": "string", "format": "date"},
    "to": {"type": "string", "format": "date"},
}
IN_PATH: dict[str, dict[str, Any]] = {
    "trade_id": {"type": "string", "format": "uuid"},
    "account": {"type": "string", "examples": ["1"]},
}
PATHS = {**LISTS, "/timed/lanes": ("lanes", LANE_PARAMETERS), "/timed/health": ("status", frozenset[str]()), **BROKERS}


def tracker_document() -> dict[str, Any]:
    """OpenAPI 3.1: every reading route with its parameters and answers."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Fillbook read API", "version": "1"},
        "paths": {path: {"get": _operation(path, key, names)} for path, (key, names) in PATHS.items()},
        "components": {
            "schemas": {"Error": ERROR},
            "securitySchemes": {"desk_key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"desk_key": []}],
    }


def _operation(path: str, key: str, names: frozenset[str]) -> dict[str, Any]:
    schemas = BROKER_SCHEMAS if path in BROKERS else SCHEMAS
    refused = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    found: dict[str, Any] = {"type": "object", "required": [key]}
    if "known_as_of" in names:
        found = {
            "type": "object",
            "required": [key, *FRAME],
            "properties": FRAME | {key: {"type": "array", "items": {"type": "object"}}},
            "additionalProperties": False,
        }
    return {
        "parameters": [
            *(
                {"name": name, "in": "path", "required": True, "schema": schema}
                for name, schema in IN_PATH.items()
                if f"{{{name}}}" in path
            ),
            *({"name": name, "in": "query", "required": False, "schema": schemas[name]} for name in sorted(names)),
        ],
        "responses": {
            "200": {"description": "What is asked for.", "content": {"application/json": {"schema": found}}},
            "400": {"description": "A parameter is wrong; it is named.", **refused},
            "401": {"description": "No key, an unknown or an expired one.", **refused},
            "403": {"description": "The key lacks the scope.", **refused},
            "404": {"description": "No such book, trade or account for this key.", **refused},
            "410": {"description": "A cursor of an older version.", **refused},
            "503": {"description": "The database is away; come back.", **refused},
        },
    }
