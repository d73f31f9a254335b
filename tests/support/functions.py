"""Calls a function's app in this process, as functions-framework would serve it, and leaves no trace.

``create_app`` sets FUNCTION_* variables, appends to ``sys.path``, and every function's module is called ``main``: all of it
is put back, so that many functions can be tried in one process one after the other or side by side.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"
READ_API = "trade_tracker"
USUAL = {READ_API: {"DESK_RATE_FACTOR": "1000", "DESK_FAILED_KEYS_MAX": "1000000"}}
"""What tests choose unless they say otherwise: they ask oftener than people, and with more wrong keys."""


_PYTESTS_OWN = "PYTEST_CURRENT_TEST"


class _Environment:
    """Variables for a while. Several may be inside at once; when the last of them leaves, all is as the first found it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._found: dict[str, str] = {}

    @contextmanager
    def __call__(self, env: Mapping[str, str]) -> Iterator[None]:
        with self._lock:
            if not self._inside:
                self._found = dict(os.environ)
            self._inside += 1
            before = {name: os.environ.get(name) for name in env}
            os.environ.update(env)
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                self._put(before if self._inside else {**dict.fromkeys(os.environ), **self._found})

    @staticmethod
    def _put(values: Mapping[str, str | None]) -> None:
        for name, value in values.items():
            if name == _PYTESTS_OWN:
                continue
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


_environment = _Environment()


class _Client(FlaskClient):
    """A test client whose requests see the environment of their function only, whichever others are loaded."""

    env: Mapping[str, str]

    def open(self, *args: Any, **kwargs: Any) -> Any:
        with _environment(self.env):
            return super().open(*args, **kwargs)


class _ReadApi(_Client):
    """A client of the read API: whatever it is answered is held to the API's document."""

    def open(self, *args: Any, **kwargs: Any) -> Any:
        answer = super().open(*args, **kwargs)
        importlib.import_module("tests.support.tracker_contract").check(answer.request.method, answer)
        return answer


class FunctionApps:
    """Factory of test clients: ``function_app("signal_ingest", {"INGEST_TOKENS": "…"})``.

    Configuration is read on the first request, as when served. ``modules`` holds each loaded ``main`` by function name.
    """

    def __init__(self) -> None:
        self._path = list(sys.path)
        self._main = sys.modules.get("main")
        self.modules: dict[str, Any] = {}

    def __call__(self, name: str, env: Mapping[str, str] | None = None, *, folder: Path | None = None) -> FlaskClient:
        """Load ``functions/<name>`` (or ``folder``); its requests see ``env`` on top of the environment."""
        functions_framework = importlib.import_module("functions_framework")
        source = (folder or FUNCTIONS / name) / "main.py"
        its_env = {"FILLBOOK_ENV": "local", **USUAL.get(name, {}), **(env or {})}
        sys.modules.pop("main", None)
        with _environment(its_env):
            app = functions_framework.create_app(name, str(source), "http")
        self.modules[name] = sys.modules.pop("main", None)
        app.test_client_class = type("Client", (_ReadApi if name == READ_API else _Client,), {"env": its_env})
        client: FlaskClient = app.test_client()
        return client

    def restore(self) -> None:
        """Close what the functions opened and put path and modules back."""
        for module in self.modules.values():
            for attribute in vars(module).values() if module is not None else ():
                with suppress(AttributeError, TypeError):
                    attribute.cache_clear()
        sys.path[:] = self._path
        sys.modules.pop("main", None)
        if self._main is not None:
            sys.modules["main"] = self._main
