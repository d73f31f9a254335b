"""A scheduled run happens once: the Scheduler calls at least once, a slot (job, due instant) runs to its end once.

A slot that ended well is a duplicate for ever; one that raised may be claimed again at once; one whose process died may
be claimed again when its lease (real time) is over. Rooms with a run table of their own keep slots there instead.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import TypeVar

from fillbook.runtime.db import Call, Database
from fillbook.runtime.errors import Unavailable

T = TypeVar("T")

LEASE_SECONDS = 900


def once(db: Database, job: str, slot: datetime, work: Callable[[], T], *, lease_seconds: int = LEASE_SECONDS) -> T | None:
    """Run ``work`` for this slot and return its result; None when the slot was already run to its end.

    ``lease_seconds`` is the longest a run may take. Raises ``Unavailable('slot_busy')`` while another run of the slot is
    under way (the Scheduler then comes back), and whatever ``work`` raises, after giving the slot back.
    """
    claim = {"job": job, "slot": slot}
    (answer,) = db.call(Call("ops.claim_slot", {**claim, "lease_seconds": lease_seconds}))
    if answer["state"] == "finished":
        return None
    if answer["state"] == "busy":
        raise Unavailable("slot_busy", f"job {job}", retry_after_seconds=60)
    try:
        result = work()
    except BaseException:
        with suppress(Unavailable):  # the lease ends it where the database is away
            db.call(Call("ops.finish_slot", {**claim, "is_done": False}))
        raise
    db.call(Call("ops.finish_slot", {**claim, "is_done": True}))
    return result
