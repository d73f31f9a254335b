"""The classic receiver as a function: one POST, stored row by row in batches of 200, each committed for itself."""

from __future__ import annotations

import functools
import os
import threading

import functions_framework
from flask import Request, Response, jsonify

from tests.bench.snapshot_classic import Store

LOCK = threading.Lock()


@functools.cache
def store() -> Store:
    """Made by the first call."""
    return Store(os.environ["CLASSIC_URL"])


@functions_framework.http
def classic(request: Request) -> Response:
    """Entry point."""
    with LOCK:
        return jsonify(store().replace(request.get_json()))
