"""The desk's own server: who starts it first makes no difference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from infra.local import database
from infra.local.database import LocalDatabase
from infra.local.home import Home
from infra.local.processes import Keeper

T = TypeVar("T")


class HastyKeeper(Keeper):
    """A keeper whose watch always looks once before it does what it is asked to do."""

    def do(self, work: Callable[[], T]) -> T:
        for look in self.watch:
            super().do(look)
        return super().do(work)


def test_a_server_that_its_keeper_started_first_has_the_desks_database_and_counts_one_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "Keeper", HastyKeeper)
    port = Home(tmp_path).ports(["postgres"], {})["postgres"]
    ours = LocalDatabase(tmp_path / "postgres", url=None, fsync=False)
    try:
        ours.url_at(port)
        ours.start(port)
        assert ours.starts == 1
        ours.migrate({})
    finally:
        ours.close()
