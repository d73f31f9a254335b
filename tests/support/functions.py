"""Calls a function's app in this process, as functions-framework would serve it, and leaves no trace.

``create_app`` sets FUNCTION_* variables, appends to ``sys.path``, and every function's module is called ``main``: all of it
is put back, so that many functions can be tried in one process one after the other or side by side.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"


class FunctionApps:
    """Factory of test clients: ``function_app("signal_ingest", {"INGEST_TOKENS": "…"})``."""

    def __init__(self) -> None:
        self._environ = dict(os.environ)
        self._path = list(sys.path)
        self._modules = set(sys.modules)
        self._main = sys.modules.get("main")
        self.modules: dict[str, Any] = {}

    def __call__(self, name: str, env: Mapping[str, str] | None = None, *, folder: Path | None = None) -> FlaskClient:
        """Load ``functions/<name>`` (or ``folder``) with ``env`` in the environment; the module is kept in ``modules``."""
        functions_framework = importlib.import_module("functions_framework")
        os.environ.update({"FILLBOOK_ENV": "local", **(env or {})})
        sys.modules.pop("main", None)
        source = (folder or FUNCTIONS / name) / "main.py"
        app = functions_framework.create_app(name, str(source), "http")
        self.modules[name] = sys.modules.pop("main", None)
        client: FlaskClient = app.test_client()
        return client

    def restore(self) -> None:
        """Close what the functions opened and put environment, path and modules back."""
        for module in self.modules.values():
            for attribute in vars(module).values() if module is not None else ():
                with suppress(AttributeError, TypeError):
                    attribute.cache_clear()
        os.environ.clear()
        os.environ.update(self._environ)
        sys.path[:] = self._path
        sys.modules.pop("main", None)
        if self._main is not None:
            sys.modules["main"] = self._main
