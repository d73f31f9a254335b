"""What an answer asks the database, and the same statements again by themselves: in one look, texts as they come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from unittest import mock
from urllib.parse import parse_qs

from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.pool import Pool
from fillbook.runtime.sql import Statement
from fillbook.runtime.tx import Tx
from fillbook.tracker import store
from fillbook.tracker.api import ROUTES
from tests.bench.api_place import Place

KEY = DeskKey(id="bench", sha256="0" * 64, scopes=frozenset({"read"}), tenant_id="desk", books=("live",))
Asked = list[tuple[Statement, dict[str, object]]]


def statements(where: Place, path: str) -> Asked:
    """The statements of one answer in their order, each with its parameters; that of the look at the books is not among them."""
    name, _, query = path.partition("?")
    asked: Asked = []
    plainly = Tx._extended

    def noted(tx: Tx, statement: Statement, params: Mapping[str, object]) -> Any:
        asked.append((statement, dict(params)))
        return plainly(tx, statement, params)

    for route in ROUTES:
        given = _path(route.path, name)
        if route.method == "GET" and given is not None:
            # all of one connection: what is asked beside it is asked of it where there is no second one
            of_one = mock.patch.object(Pool, "borrow_second", return_value=None)
            with mock.patch.object(Tx, "_extended", noted), of_one:
                route.use_case(where.db, KEY, parse_qs(query), where.now, **given)
            return [one for one in asked if one[0].name != "books"]
    raise ValueError(path)


def _path(template: str, name: str) -> dict[str, str] | None:
    pieces, given = template.split("/"), name.split("/")
    if len(pieces) != len(given):
        return None
    pairs = list(zip(pieces, given, strict=True))
    if any(piece != word for piece, word in pairs if not piece.startswith("{")):
        return None
    return {piece[1:-1]: word for piece, word in pairs if piece.startswith("{")}


def run(where: Place, asked: Asked) -> None:
    """The statements of an answer, one after the other, in one look."""
    with store.look(where.db, KEY, ["live"]) as seen:
        for statement, params in asked:
            seen.tx.texts(statement, **params)
