"""The page's types, made from the OpenAPI document of the read API: a form that the API changes no longer compiles on the page.

The same document gives the same file. It names every described object, and by operation what is answered and what is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FILE = Path("infra/page/src/api/types.ts")
HEAD = "// Made from the OpenAPI document by `python3 infra/dev.py table`; another form is a change of the answers' models.\n"
LINE_LENGTH = 140
PLAIN = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def types(document: Mapping[str, Any]) -> str:
    """The file's text."""
    parts = [HEAD, *(_declared(name, schema) for name, schema in document["components"]["schemas"].items())]
    parts.append(_listed("Answers", "What each operation answers.", _answers(document)))
    parts.append(_listed("Bodies", "What is sent with an operation.", _bodies(document)))
    return "\n".join(parts)


def _declared(name: str, schema: Mapping[str, Any]) -> str:
    told = _comment(schema.get("description"), "")
    if "properties" not in schema:
        return f"{told}export type {name} = {_type(schema)};\n"
    return f"{told}export interface {name} {{\n{''.join(_fields(schema))}}}\n"


def _fields(schema: Mapping[str, Any]) -> Iterator[str]:
    required = set(schema.get("required", ()))
    for name, one in schema["properties"].items():
        yield f"{_comment(one.get('description'), '  ')}  {_key(name)}{'' if name in required else '?'}: {_type(one)};\n"


def _type(schema: Mapping[str, Any]) -> str:
    """The type of a value."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "const" in schema:
        return _literal(schema["const"])
    if "enum" in schema:
        return " | ".join(map(_literal, schema["enum"]))
    if "anyOf" in schema or "oneOf" in schema:
        return " | ".join(dict.fromkeys(_type(one) for one in schema.get("anyOf") or schema["oneOf"]))
    kind = schema.get("type")
    if kind == "array":
        item = _type(schema.get("items", {}))
        return f"({item})[]" if " | " in item else f"{item}[]"
    if kind == "object":
        return _record(schema)
    return PLAIN[kind] if isinstance(kind, str) else "unknown"


def _record(schema: Mapping[str, Any]) -> str:
    if "properties" in schema:
        return "{ " + " ".join(line.strip() for line in _fields(schema)) + " }"
    values = schema.get("additionalProperties")
    return f"Record<string, {_type(values) if isinstance(values, dict) else 'unknown'}>"


def _answers(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for operation, told in _operations(document):
        ((_, answer),) = [(status, one) for status, one in told["responses"].items() if status.startswith("2")]
        ((media, content),) = answer["content"].items()
        yield operation, _type(content["schema"]) if media == "application/json" else "string"


def _bodies(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for operation, told in _operations(document):
        if "requestBody" in told:
            yield operation, _type(told["requestBody"]["content"]["application/json"]["schema"])


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            yield f"{method.upper()} {path}", told


def _listed(name: str, purpose: str, members: Iterator[tuple[str, str]]) -> str:
    lines = "".join(f"  {_literal(operation)}: {kind};\n" for operation, kind in members)
    return f"{_comment(purpose, '')}export interface {name} {{\n{lines}}}\n"


def _comment(text: str | None, margin: str) -> str:
    words = " ".join((text or "").split()).replace("*/", "* /")
    if not words:
        return ""
    lines: list[str] = []
    line = ""
    for word in words.split():
        if line and len(margin) + len(line) + len(word) + 8 > LINE_LENGTH:
            lines, line = [*lines, line], ""
        line = f"{line} {word}".strip()
    joined = f"\n{margin} * ".join([*lines, line])
    return f"{margin}/** {joined} */\n"


def _key(name: str) -> str:
    return name if name.isidentifier() else _literal(name)


def _literal(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value).lower() if isinstance(value, bool) else str(value)
