"""The socket's tests once more over the other client library, in an environment of its own; skips where that was not made."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.support import ibkr_other_library
from tests.support.ibkr_socket import LIBRARY

SUITE = (
    "tests/contract/test_tws_adapter.py",
    "tests/integration/ibkr/test_socket_plans.py",
    "tests/integration/ibkr/test_socket_faults.py",
)


@pytest.mark.slow
@pytest.mark.skipif(LIBRARY != "ib_insync", reason="this is the other environment")
@pytest.mark.skipif(
    not ibkr_other_library.is_ready(),
    reason="the other library's environment is absent: python -m tests.support.ibkr_other_library",
)
def test_the_other_library_passes_the_same_tests() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "VIRTUAL_ENV"))}
    environment["FILLBOOK_TWS_LIBRARY"] = "ib_async"
    command = [str(ibkr_other_library.PYTHON), "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *SUITE]
    done = subprocess.run(
        command, cwd=ibkr_other_library.ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_the_two_libraries_never_stand_in_one_lock() -> None:
    lock = (ibkr_other_library.ROOT / "requirements.txt").read_text(encoding="utf-8")
    names = {line.split("==")[0] for line in lock.splitlines() if "==" in line and not line.startswith(" ")}
    assert "ib-insync" in names
    assert not names & {"ib-async", "aeventkit"}
    assert "eventkit==" not in ibkr_other_library.lock_without(ibkr_other_library.LEFT_OUT)
