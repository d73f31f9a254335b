"""The OpenAPI document of the read API, made from its routes: parameters, bodies, answers, refusals, and the key.

Answers are described by the types that the use cases are checked against; every described object is whole, so that a field
nobody declared is a fault. pydantic's schema machinery is asked here alone, on the first request for the document. The page's
types are made from the same document (``infra/door/pagetypes.py``). Source: tracker.md 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from fillbook.tracker import shapes
from fillbook.tracker.route import Parameter, Route

VERSION = "1"
SCHEMAS = "#/components/schemas/"
NAMED = ("Amount", "Percent", "Milliseconds", "Instant")
"""Forms that have a name of their own in the document."""
TITLE = "title"
_IN_PATH = re.compile(r"\{(\w+)\}")


class ErrorWords(TypedDict):
    """What went wrong, for programs and for people, and the id that finds the log line."""

    code: str
    message: str
    request_id: str


class Error(TypedDict):
    """Every refusal and every failure."""

    error: ErrorWords


REFUSALS: Mapping[int, str] = {
    400: "A parameter, a body or a cursor is wrong; it is named.",
    401: "No key, an unknown or an expired one.",
    403: "The key lacks the scope.",
    404: "Nothing of that name for this key.",
    408: "The body did not come in time.",
    409: "It is there already, or something else stands in its place.",
    410: "A cursor of another version.",
    412: "Somebody was faster: what was seen is no longer what stands.",
    413: "Too much; narrow the range.",
    414: "The address is too long.",
    422: "Understood, and not possible.",
    428: "Say which version was seen.",
    429: "Too often; come back after Retry-After seconds.",
    500: "A fault of ours; the id finds it.",
    502: "The function that does this failed; it is named.",
    503: "The database is away, or more is asked than there are places for; come back after Retry-After seconds.",
}
ALWAYS = frozenset({400, 401, 403, 404, 414, 429, 500, 503})
"""What every operation may answer: whoever asks for books may ask for one that does not exist for the key."""
RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}
PAGED = frozenset({"cursor", "after"})


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """Return the document of these routes."""
    schemas, references = _described(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, references)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Fillbook read API", "version": VERSION},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {f"Refusal{status}": _refusal(status) for status in REFUSALS},
            "securitySchemes": {"desk_key": {"type": "http", "scheme": "bearer", "description": "A key of DESK_KEYS."}},
        },
        "security": [{"desk_key": []}],
    }


def _described(routes: Sequence[Route]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schemas of all bodies and answers by name, and what each operation refers to: ``body POST /x``, ``answer GET /x``."""
    adapters: dict[str, TypeAdapter[Any]] = {name: TypeAdapter(getattr(shapes, name)) for name in NAMED}
    adapters["Error"] = TypeAdapter(Error)
    for route in routes:
        adapters[f"answer {route.operation}"] = TypeAdapter(route.answer)
        if route.body is not None:
            adapters[f"body {route.operation}"] = TypeAdapter(route.body)
    inputs = [(name, "serialization", adapter) for name, adapter in adapters.items()]
    made, definitions = TypeAdapter.json_schemas(inputs, ref_template=SCHEMAS + "{model}")  # type: ignore[arg-type]
    forms = {name: made[(name, "serialization")] for name in NAMED}
    schemas = {name: form | {TITLE: name} for name, form in forms.items()}
    schemas |= {name: _whole(schema, forms) for name, schema in definitions.get("$defs", {}).items()}
    named = {name: {key: value for key, value in schema.items() if key != TITLE} for name, schema in sorted(schemas.items())}
    return named, {name: _whole(schema, forms) for (name, _), schema in made.items()}


def _whole(schema: Any, forms: Mapping[str, Any]) -> Any:
    """A schema without titles, whose objects have no other fields than those described, and whose forms go by their names."""
    if isinstance(schema, list):
        return [_whole(one, forms) for one in schema]
    if not isinstance(schema, dict):
        return schema
    name = next((name for name, form in forms.items() if form == {key: schema[key] for key in schema if key != TITLE}), None)
    if name is not None:
        return {"$ref": SCHEMAS + name}
    found = {key: _whole(value, forms) for key, value in schema.items() if key not in (TITLE, "properties")}
    if "properties" in schema:
        found["properties"] = {key: _whole(value, forms) for key, value in schema["properties"].items()}
        found.setdefault("additionalProperties", False)
    return found


def _operation(route: Route, references: Mapping[str, Any]) -> dict[str, Any]:
    in_path = set(_IN_PATH.findall(route.path))
    told: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{route.method.lower()}{route.path}").strip("_"),
        "summary": route.purpose,
        "security": [{"desk_key": [route.scope]}],
        "parameters": [*_parameters(route, in_path)],
        "responses": _responses(route, references[f"answer {route.operation}"]),
        "x-fillbook": {"weight": str(route.weight), "sources": sorted(map(str, route.sources))},
    }
    if route.body is not None:
        told["requestBody"] = {"required": True, "content": _content("application/json", references[f"body {route.operation}"])}
    return told


def _parameters(route: Route, in_path: set[str]) -> Iterable[dict[str, Any]]:
    described = {one.name for one in route.parameters}
    for name in sorted(in_path - described):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    for one in route.parameters:
        yield _parameter(one, "path" if one.name in in_path else "query")
    for one in route.headers:
        yield _parameter(one, "header")


def _parameter(one: Parameter, place: str) -> dict[str, Any]:
    return {
        "name": one.name,
        "in": place,
        "required": place == "path" or one.is_required,
        "schema": dict(one.schema),
        "description": one.purpose,
    }


def _responses(route: Route, answer: Any) -> dict[str, Any]:
    refusals = ALWAYS | route.refusals | ({410} if PAGED & {one.name for one in route.parameters} else set())
    found: dict[str, Any] = {str(route.status): {"description": "What was asked for.", "content": _content(route.media, answer)}}
    if route.sources:
        found["304"] = {"description": "What the reader holds is what it would be sent."}
    return found | {str(status): {"$ref": f"#/components/responses/Refusal{status}"} for status in sorted(refusals)}


def _refusal(status: int) -> dict[str, Any]:
    return {
        "description": REFUSALS[status],
        "content": _content("application/json", {"$ref": f"{SCHEMAS}Error"}),
        **({"headers": RETRY_AFTER} if status in (429, 503) else {}),
    }


def _content(media: str, schema: Any) -> dict[str, Any]:
    return {media: {"schema": schema}}
