"""The work of pytest's assertion rewriting, shared among the workers of a session.

pytest rewrites a test module before its first import and keeps the byte code beside it. In a fresh work tree several workers
that start at once would all find nothing kept and all do everything. So each begins with a share; whatever is not there when
a worker comes to import it, it rewrites itself, as ever.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from _pytest.assertion import rewrite

TESTS = Path(__file__).resolve().parents[1]
ALSO = ("conftest.py", "snapshot_sources.py")


def modules() -> list[Path]:
    """The modules whose assertions are rewritten, the same list in every worker."""
    found = (path for path in TESTS.rglob("*.py") if path.name.startswith("test_") or path.name in ALSO)
    return sorted(found)


def share(config: pytest.Config, number: int, count: int) -> None:
    """Rewrite every ``count``-th module from ``number`` on, where its byte code is not kept from an earlier session."""
    if sys.dont_write_bytecode:
        return
    state = config.stash[rewrite.assertstate_key]
    for source in modules()[number::count]:
        folder = rewrite.get_cache_dir(source)
        kept = folder / f"{source.stem}{rewrite.PYC_TAIL}"
        if rewrite.try_makedirs(folder) and rewrite._read_pyc(source, kept, state.trace) is None:
            digest, code = rewrite._rewrite_test(source, config)
            rewrite._write_pyc(state, code, digest, kept)
