"""A fake of Cloudflare D1's query endpoint, before a real SQLite file: its answers, its limits, faults on demand.

In tests: ``with D1Fake(path) as d1:`` and give ``d1.api_base``, ``d1.account_id``, ``d1.database_id``, ``d1.token`` to the
adapter; ``d1.store`` is the database. In the local cloud: ``python -m infra.local.d1 --port N --state FILE``, with the token
in the environment's ``CLOUDFLARE_API_TOKEN``. Control API: ``/_fault``, ``/_calls`` (``snapshot_server.py``). One statement an
entry, one batch a transaction; parameters are texts. Source: snapshot specification, 7.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from infra.local.d1_store import D1Store, Refused, Stop, Stopped, TooSlow
from infra.local.snapshot_faults import Fault
from infra.local.snapshot_server import Asked, Reply, Served, serve_until_told, told
from infra.local.snapshot_targets import D1_ACCOUNT, D1_BASE, D1_DATABASE

TOKEN: Final = "d1-token-of-the-fake"  # noqa: S105 - of the fake
ACCOUNT_ID: Final = D1_ACCOUNT
DATABASE_ID: Final = D1_DATABASE
BASE: Final = D1_BASE
_PATH: Final = re.compile(rf"{BASE}/accounts/(?P<account>[^/]+)/d1/database/(?P<database>[^/]+)/query")
_READS: Final = re.compile(r"\s*(select|with|values|explain)\b", re.IGNORECASE)
Statement = tuple[str, list[str]]


class BadBody(ValueError):
    """A body that is no query; the text says what is wrong with it."""


class D1Fake(Served):
    """The endpoint of one database."""

    def __init__(
        self,
        path: Path,
        *,
        token: str = TOKEN,
        account_id: str = ACCOUNT_ID,
        database_id: str = DATABASE_ID,
        port: int = 0,
        natural_keys: bool = False,
    ) -> None:
        super().__init__(port=port)
        self.store = D1Store(path, natural_keys=natural_keys)
        self.token, self.account_id, self.database_id = token, account_id, database_id

    @property
    def api_base(self) -> str:
        """What ``D1_API_BASE`` is for this fake."""
        return self.base_url + BASE

    def stop(self) -> None:
        """Stop serving and close the file."""
        super().stop()
        self.store.close()

    def side(self, asked: Asked) -> str:
        """A call that holds anything but queries writes."""
        try:
            return "read" if all(_READS.match(sql) for sql, _ in statements(asked.body)) else "write"
        except BadBody:
            return "write"

    def failed(self, status: int) -> Reply:
        """An answer without a result."""
        words = {401: (10000, "Authentication error"), 429: (971, "Please wait and consider throttling your request speed")}
        code, message = words.get(status, (7500, "internal error"))
        return refusal(status, code, message)

    def noted(self, asked: Asked) -> dict[str, Any]:
        """The statements of the call with the sizes of their parameters."""
        try:
            found = statements(asked.body)
        except BadBody as error:
            return {"bad_body": str(error)}
        return {"statements": [{"sql": sql, "params": [len(one.encode()) for one in given]} for sql, given in found]}

    def answer(self, asked: Asked, fault: Fault | None) -> Reply:
        """Answer a query."""
        route = _PATH.fullmatch(asked.path)
        if route is None or asked.method != "POST":
            return refusal(404 if route is None else 405, 7000, "No route for that URI")
        if asked.headers.get("authorization") != f"Bearer {self.token}":
            return self.failed(401)
        if route["account"] != self.account_id:
            return refusal(403, 7403, "The given account is not valid or is not authorized to access this service")
        if route["database"] != self.database_id:
            return refusal(404, 7404, "The database could not be found")
        try:
            asks = statements(asked.body)
        except BadBody as error:
            return refusal(400, 7400, str(error))
        if fault is not None and fault.kind == "forget":
            return told(200, document([_forgotten() for _ in asks]))
        return self._carried_out(asks, fault)

    def _carried_out(self, asks: Sequence[Statement], fault: Fault | None) -> Reply:
        options = {} if fault is None else fault.options
        stop = None
        if fault is not None and fault.kind == "stop":
            stop = Stop(n=int(options["n"]), rollback=bool(options["rollback"]))
        try:
            results = self.store.batch(asks, stop)
        except Refused as error:
            return refusal(400, 7500, str(error))
        except Stopped:
            return self.failed(int(options["status"]))
        except TooSlow:
            return refusal(500, 7500, "the query took too long and was given up")
        if fault is not None and fault.kind == "alter":
            self.store.alter(asks[0][1][0], str(options["table"]), options["column"])
        return told(200, document(results))


@lru_cache(maxsize=4)
def statements(body: bytes) -> tuple[Statement, ...]:
    """Read a body: one ``{sql, params}`` or a ``batch`` of them. Raises BadBody."""
    try:
        given = json.loads(body)
    except ValueError as error:
        raise BadBody("the body is not JSON") from error
    entries = given.get("batch", [given]) if isinstance(given, dict) else None
    if not isinstance(entries, list) or not entries:
        raise BadBody("the body is no query and no batch")
    found = []
    for entry in entries:
        sql, params = (entry.get("sql"), entry.get("params", [])) if isinstance(entry, dict) else (None, None)
        if not isinstance(sql, str) or not isinstance(params, list):
            raise BadBody("a query has a text sql and a list params")
        if not all(isinstance(one, str) for one in params):
            raise BadBody("params must be strings")
        found.append((sql, params))
    return tuple(found)


def document(results: list[dict[str, Any]]) -> dict[str, Any]:
    """A good answer."""
    return {"success": True, "errors": [], "messages": [], "result": results}


def refusal(status: int, code: int, message: str) -> Reply:
    """An answer that says what is wrong."""
    return told(status, {"success": False, "errors": [{"code": code, "message": message}], "messages": [], "result": []})


def _forgotten() -> dict[str, Any]:
    meta = {"changes": 1, "changed_db": True, "rows_read": 0, "rows_written": 1, "duration": 0.1, "size_after": 4096}
    return {"results": [], "success": True, "meta": meta}


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.d1", description="a fake of Cloudflare D1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", type=Path, required=True, help="the SQLite file; made when missing")
    parser.add_argument("--account", default=ACCOUNT_ID)
    parser.add_argument("--database", default=DATABASE_ID)
    options = parser.parse_args(arguments)
    token = os.environ.get("CLOUDFLARE_API_TOKEN") or TOKEN
    fake = D1Fake(options.state, token=token, account_id=options.account, database_id=options.database, port=options.port)
    serve_until_told(fake, "fake Cloudflare D1")


if __name__ == "__main__":
    main()
