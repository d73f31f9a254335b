"""The tracker's read API as an OpenAPI document, its parameters taken from the code that reads them; for contract tests."""

from __future__ import annotations

from typing import Any

from fillbook.mt5 import ids
from fillbook.tracker import auditing, filters, linked
from fillbook.tracker.lanes import CARDS_MAX
from fillbook.tracker.lanes import PARAMETERS as LANE_PARAMETERS
from fillbook.tracker.parameter import names

LINKED_ID = ids.account_id("desk", "Alpha-Demo", 50123456)
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
DECIMAL = {"type": ["string", "null"], "pattern": r"^-?\d+(\.\d+)?$"}
ACCOUNT_STATE = {"enum": list(linked.STATES)}
LAST_ERROR = {
    "type": ["object", "null"],
    "required": ["class", "text"],
    "properties": {"class": NULLABLE_TEXT, "text": NULLABLE_TEXT},
    "additionalProperties": False,
}


def _instants(*names: str) -> dict[str, Any]:
    return {f"{name}_{half}": schema for name in names for half, schema in (("ts", NULLABLE_WHOLE), ("at", NULLABLE_TEXT))}


def _whole(properties: dict[str, Any]) -> dict[str, Any]:
    """An object that has all of these and nothing else."""
    return {"type": "object", "required": sorted(properties), "properties": properties, "additionalProperties": False}


_FOLLOWING = {
    "account_id": {"type": "string"},
    "label": {"type": "string"},
    "book_id": {"type": "string"},
    "state": ACCOUNT_STATE,
    "lag_seconds": NULLABLE_WHOLE,
    "failures_in_a_row": {"type": "integer", "minimum": 0},
    "last_error": LAST_ERROR,
    "cash_state": NULLABLE_TEXT,
    **_instants("last_sync", "last_success", "next_due"),
}
BALANCES = _whole(
    {
        "currency": NULLABLE_TEXT,
        **dict.fromkeys(("balance", "equity", "margin", "free_margin", "credit", "floating_profit"), DECIMAL),
        "margin_level_percent": DECIMAL,
        "ts": {"type": "integer"},
        "at": {"type": "string"},
    }
) | {"type": ["object", "null"]}
ACCOUNT = _whole(
    _FOLLOWING
    | {
        "platform": {"enum": ["IBKR", "MT5"]},
        "broker_name": {"type": "string"},
        "server": NULLABLE_TEXT,
        "login_masked": {"type": "string"},
        "is_active": {"type": "boolean"},
        "connection_status": NULLABLE_TEXT,
        "balances": BALANCES,
        "open_positions": NULLABLE_WHOLE,
        "close_pending": NULLABLE_WHOLE,
        "closed_today": NULLABLE_WHOLE,
        "backfill_state": NULLABLE_TEXT,
        "backfill_floor": NULLABLE_TEXT,
        "backfill_percent": DECIMAL,
        **_instants("positions", "last_deal"),
    }
)
RUNS = _whole({word: {"type": "integer", "minimum": 0} for word in ("success", "partial", "failed", "skipped")})
MT5_HEALTH = _whole(
    {
        "count": {"type": "integer", "minimum": 0},
        "has_more": {"type": "boolean"},
        "states": _whole({word: {"type": "integer", "minimum": 0} for word in linked.STATES}),
        "fleet": _whole(
            {
                "active_accounts": {"type": "integer", "minimum": 0},
                "fresh_accounts": {"type": "integer", "minimum": 0},
                "fresh_percent": DECIMAL,
                **_instants("oldest_success"),
            }
        ),
        "accounts": {
            "type": "array",
            "maxItems": linked.HEALTH_ACCOUNTS_MAX,
            "items": _whole(_FOLLOWING | {"runs_24h": RUNS}),
        },
    }
)
DAY = _whole(
    {
        "account_id": {"type": "string"},
        "day": {"type": "string", "format": "date"},
        "state": {"enum": ["proven", "provisional", "gap", "unknown", "closed"]},
        "run_id": NULLABLE_TEXT,
    }
)
SNAPSHOT: dict[str, Any] = {
    "type": ["object", "null"],
    "required": ["date", "stage", "version", "content_sha256", "counts", "updated_at", "received_at", "publication", "kpis"],
    "properties": {
        "date": {"type": "string", "format": "date"},
        "stage": {"enum": ["premarket", "intraday", "final", None]},
        "version": {"type": "integer", "minimum": 1},
        "content_sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "publication": {"type": ["object", "null"], "required": ["status", "target", "verified", "finished_at"]},
        "kpis": {
            "type": "array",
            "items": {"type": "object", "required": ["kpi", "value", "value_num", "kind", "missing_reason"]},
        },
    },
}
# answers whose parts are described whole
DESCRIBED: dict[str, dict[str, Any]] = {
    "/api/v1/accounts": {"items": {"type": "array", "items": ACCOUNT}, "next_cursor": NULLABLE_TEXT},
    "/api/v1/accounts/{account}": {"account": ACCOUNT},
    "/api/v1/sync/health": {"mt5": MT5_HEALTH},
    "/api/v1/snapshot": {"snapshot": SNAPSHOT},
    "/api/v1/sync/coverage": {"days": {"type": "array", "items": DAY}, "has_more": {"type": "boolean"}},
}
BROKERS = {
    "/timed/audit": ("audits", auditing.PARAMETERS),
    "/api/v1/trades": ("items", names(filters.TRADE_PARAMETERS)),
    "/api/v1/trades/{trade_id}": ("trade", frozenset[str]()),
    "/api/v1/trades/{trade_id}/executions": ("items", names(filters.EXECUTION_PARAMETERS)),
    "/api/v1/accounts": ("items", names(filters.ACCOUNT_PARAMETERS)),
    "/api/v1/accounts/{account}": ("account", frozenset[str]()),
    "/api/v1/accounts/{account}/sync-runs": ("items", names(filters.RUN_PARAMETERS)),
    "/api/v1/sync/health": ("accounts", frozenset[str]()),
    "/api/v1/sync/coverage": ("days", names(filters.COVERAGE_PARAMETERS)),
}
BROKER_SCHEMAS: dict[str, dict[str, Any]] = {
    "book_id": {"type": "string", "minLength": 1, "maxLength": auditing.BOOK_LENGTH_MAX, "examples": ["live", "ibkr:U1"]},
    "platform": {"enum": list(filters.PLATFORMS)},
    "account_id": {"type": "string", "examples": ["1", "9223372036854775807", LINKED_ID]},
    "status": {"enum": [*filters.TRADE_STATUSES, *filters.LINKED_TRADE_STATUSES]},
    "symbol": {"type": "string", "minLength": 1, "maxLength": filters.SYMBOL_LENGTH_MAX, "examples": ["AAPL"]},
    "limit": {"type": "integer", "minimum": 1, "maximum": filters.LIMIT_MAX},
    "cursor": {"type": "string", "description": "`next_cursor` of the page before."},
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
    "account": {"type": "string", "examples": ["1", LINKED_ID]},
}
PATHS = {**LISTS, "/timed/lanes": ("lanes", LANE_PARAMETERS), "/timed/health": ("status", frozenset[str]()), **BROKERS}
PATHS["/api/v1/snapshot"] = ("snapshot", frozenset[str]())


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
    described = DESCRIBED.get(path, {})
    found: dict[str, Any] = {"type": "object", "required": sorted({key, *described}), "properties": described}
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
