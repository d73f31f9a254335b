"""The page's types follow the document: each form of a schema has one of TypeScript's."""

from __future__ import annotations

from typing import Any

import pytest

from infra.door import pagetypes


def document(schema: dict[str, Any]) -> dict[str, Any]:
    operation = {
        "responses": {
            "201": {"description": "", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}},
            "404": {"$ref": "#/components/responses/Refusal404"},
        },
        "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}},
    }
    thing = {"type": "object", "description": "A thing.", "required": ["a"], "properties": {"a": schema, "b-c": schema}}
    return {"paths": {"/things": {"post": operation}}, "components": {"schemas": {"Thing": thing}}}


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, "string"),
        ({"type": "integer"}, "number"),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, "boolean | null"),
        ({"enum": ["x", 'y"z', None]}, '"x" | "y\\"z" | null'),
        ({"const": "mt5"}, '"mt5"'),
        ({"type": "array", "items": {"type": "string"}}, "string[]"),
        ({"type": "array", "items": {"anyOf": [{"$ref": "#/components/schemas/Thing"}, {"type": "null"}]}}, "(Thing | null)[]"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "Record<string, number>"),
        ({"type": "object"}, "Record<string, unknown>"),
        ({}, "unknown"),
    ],
)
def test_a_schema_has_its_type(schema: dict[str, Any], kind: str) -> None:
    text = pagetypes.types(document(schema))
    assert f'/** A thing. */\nexport interface Thing {{\n  a: {kind};\n  "b-c"?: {kind};\n}}\n' in text
    assert '  "POST /things": Thing;\n' in text


def test_a_long_comment_is_broken_and_cannot_end_early() -> None:
    text = pagetypes.types(document({"type": "string", "description": "*/ " + "word " * 60}))
    assert all(len(line) <= pagetypes.LINE_LENGTH for line in text.splitlines())
    assert "/** * / word" in text
