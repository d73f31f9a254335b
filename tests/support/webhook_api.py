"""The webhook as an OpenAPI document, made of the model that checks its fields; for contract tests and for readers."""

from __future__ import annotations

from typing import Any

from fillbook.signal.fields import Fields

SLUGS = (
    "json_invalid json_duplicate_key json_limits text_invalid content_type encoding number_invalid ticker_missing ts_missing "
    "price_missing ticker_invalid ts_not_milliseconds ts_too_old ts_future type range enum"
).split()


def webhook_document() -> dict[str, Any]:
    """OpenAPI 3.1: two paths, every status of the specification, bodies by schema."""
    model = Fields.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
    components = {name: _numbers_only(schema) for name, schema in model.pop("$defs").items()}
    components |= {"Receipt": _numbers_only(model), "Accepted": ACCEPTED, "Refused": REFUSED}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Fillbook webhook", "version": "1"},
        "paths": {
            "/timed/ingest": {"post": _operation([KEY])},
            "/timed/ingest/{token}": {"post": _operation([TOKEN])},
        },
        "components": {"schemas": components, "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
    }


KEY = {"name": "key", "in": "query", "required": False, "schema": {"type": "string"}}
TOKEN = {"name": "token", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[A-Za-z0-9-]+$"}}
ACCEPTED = {
    "type": "object",
    "required": ["ok", "ticker", "receiptId", "ts", "bucket", "repairs"],
    "properties": {
        "ok": {"const": True},
        "ticker": {"type": ["string", "null"], "pattern": "^[A-Z0-9][A-Z0-9_!&-]{0,23}$"},
        "receiptId": {"type": ["string", "null"], "format": "uuid"},
        "ts": {"type": ["integer", "null"]},
        "bucket": {"type": ["integer", "null"]},
        "repairs": {"type": "array", "items": {"enum": ["nan_null", "array_comma"]}},
    },
    "additionalProperties": False,
}
REFUSED = {
    "type": "object",
    "required": ["ok", "reason"],
    "properties": {
        "ok": {"const": False},
        "reason": {"type": "string"},
        "field": {"type": "string"},
        "request_id": {"type": "string"},
    },
    "additionalProperties": False,
}


def _operation(parameters: list[dict[str, Any]]) -> dict[str, Any]:
    refused = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refused"}}}}
    answers: dict[str, Any] = {
        "202": {
            "description": "Accepted for processing; a duplicate and a heartbeat too.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Accepted"}}},
        },
        "400": {"description": "Refused: " + ", ".join(SLUGS) + ".", **refused},
        "401": {"description": "No token, or a wrong one.", **refused},
        "413": {"description": "More than 65,536 bytes.", **refused},
        "503": {"description": "The way onward is closed; send it again.", **refused},
    }
    schema = {"$ref": "#/components/schemas/Receipt"}
    content = {"application/json": {"schema": schema}, "text/plain": {"schema": {"type": "string"}}}
    return {"parameters": parameters, "requestBody": {"required": True, "content": content}, "responses": answers}


def _numbers_only(schema: Any) -> Any:
    """The generator lets a Decimal also be text; the strict model does not, neither does it need titles and defaults."""
    if isinstance(schema, list):
        return [_numbers_only(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _numbers_only(value) for name, value in schema.items() if name not in ("title", "default")}
    options = found.get("anyOf")
    if isinstance(options, list) and any(option.get("type") == "number" for option in options):
        options = [option for option in options if option.get("type") != "string"]
        found |= options[0] if len(options) == 1 else {"anyOf": options}
        if len(options) == 1:
            del found["anyOf"]
    return found
