"""How far a state machine is walked: a few short walks every day, many long ones with ``FILLBOOK_FULL=1``, whose seed is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from hypothesis import seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.support.campaigns import IS_FULL, small_or_full, tell

SEED: Final = 20261128


def walk(machine: Callable[[], RuleBasedStateMachine], *, walks: tuple[int, int], steps: tuple[int, int] = (20, 60)) -> None:
    """Walk machines that ``machine`` makes; ``walks`` and ``steps`` are the usual number and the full one."""

    def made() -> RuleBasedStateMachine:
        return machine()

    if IS_FULL:
        chosen = int(os.environ.get("FILLBOOK_SEED", SEED))
        tell(f"FILLBOOK_SEED={chosen}")
        seed(chosen)(made)
    run_state_machine_as_test(
        made,
        settings=settings(
            max_examples=small_or_full(*walks),
            stateful_step_count=small_or_full(*steps),
            derandomize=not IS_FULL,
            database=None,
            print_blob=False,
        ),
    )
