"""Holds every answer of the read API to its own document: a status that is announced, a body of the announced form, its headers.

``FunctionApps`` looks at each answer of ``trade_tracker`` with it, whichever test asked, so that no test can pass on an answer
that the document does not know.
"""

from __future__ import annotations

import functools
import gzip
import json
import re
from typing import Any

import jsonschema_rs
from werkzeug.test import TestResponse

from fillbook.tracker import openapi
from fillbook.tracker.api import ROUTES
from fillbook.tracker.dressing import HEADERS

JSON = "application/json"
UNROUTED = {"404", "405", "503"}
ERROR = {"$ref": f"{openapi.SCHEMAS}Error"}


@functools.cache
def document() -> dict[str, Any]:
    """The document of all routes."""
    return openapi.document(ROUTES)


def check(method: str, answer: TestResponse) -> None:
    """Raise ``AssertionError`` for an answer that the document does not announce."""
    path = answer.request.path
    told = f"{method} {path} -> {answer.status_code}"
    for name, value in HEADERS.items():
        assert answer.headers.get(name) == value, f"{told}: {name}"
    assert "Access-Control-Allow-Origin" not in answer.headers, told
    operation = found("GET" if method == "HEAD" else method, path)
    if operation is None:
        if answer.mimetype == JSON:
            assert str(answer.status_code) in UNROUTED, told
            _hold(told, "error", ERROR, answer)
        return
    kind = document()["paths"][operation[1]][operation[0].lower()]["responses"].get(str(answer.status_code))
    assert kind is not None, f"{told} is not announced"
    if method == "HEAD" or "content" not in (kind := _resolved(kind)):
        assert answer.data == b"", told
        return
    ((media, content),) = kind["content"].items()
    assert (answer.content_type or "").partition(";")[0] == media, f"{told}: {answer.content_type}"
    if media == JSON:
        _hold(told, f"{' '.join(operation)} {answer.status_code}", content["schema"], answer)


def found(method: str, path: str) -> tuple[str, str] | None:
    """The operation that a request went to: method and the document's path; None: to none of the API's."""
    paths = document()["paths"]
    if path in paths:
        return (method, path) if method.lower() in paths[path] else None
    for template, pattern in _patterns():
        if method.lower() in paths[template] and pattern.fullmatch(path):
            return method, template
    return None


@functools.cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    templates = [path for path in document()["paths"] if "{" in path]
    return [(path, re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))) for path in templates]


def _resolved(kind: dict[str, Any]) -> dict[str, Any]:
    name = kind.get("$ref", "").rpartition("/")[2]
    return document()["components"]["responses"][name] if name else kind


_VALIDATORS: dict[str, Any] = {}


def _hold(told: str, name: str, schema: dict[str, Any], answer: TestResponse) -> None:
    if name not in _VALIDATORS:
        whole = schema | {"components": {"schemas": document()["components"]["schemas"]}}
        _VALIDATORS[name] = jsonschema_rs.Draft202012Validator(whole)
    data = gzip.decompress(answer.data) if answer.headers.get("Content-Encoding") == "gzip" else answer.data
    body = json.loads(data)
    if not _VALIDATORS[name].is_valid(body):
        faults = [_said(fault) for fault in _VALIDATORS[name].iter_errors(body)]
        raise AssertionError(f"{told} is not as announced: {faults[:5]}")


def _said(fault: Any) -> str:
    """A fault in words; of alternatives those of the nearest one."""
    branches = getattr(fault.kind, "context", None)
    if branches:
        return f"{_place(fault)} none of its forms: {[_said(one) for one in min(branches, key=len)][:3]}"
    return f"{_place(fault)} {fault.message[-300:]}"


def _place(fault: Any) -> str:
    return "/".join(map(str, fault.instance_path)) or "(whole)"
