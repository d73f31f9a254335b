"""What the fake TWS can be made to do wrong, and the plan of frames it answers with.

Which knobs exist is the class ``Knobs``; a name that is not in it is refused, so that a test cannot rely on a fault that never
happens. Frame numbers count the executions and commissions (or positions) of one answer from 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

Frame = Sequence[str]

REQUEST_ID = "$reqId"
EXECUTION, EXECUTION_END, COMMISSION, ERROR = "11", "55", "59", "4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """``commissions``: as planned, early (before all), late (after the end), twice or never. 0 stands for nowhere.

    ``outage_at``: error 1100 before that frame, the rest of the answer is lost; ``outage_code`` (1101 or 1102) comes after
    ``outage_seconds``, 0: never. ``outage_count``: how many answers an outage strikes. ``texts``: frame number -> field
    number -> other text. ``live``: frames pushed after the end with request id -1.
    """

    server_version: int = 176
    accounts: tuple[str, ...] = ("DU1234567", "DU7654321")
    busy_client_ids: tuple[int, ...] = ()
    is_silent: bool = False
    is_mute_after_connect: bool = False
    delay_at: int = 0
    delay_seconds: float = 0.0
    has_end: bool = True
    drop_after: int | None = None
    piece_bytes: int = 0
    error_code: int = 0
    error_names_request: bool = True
    notice_codes: tuple[int, ...] = (2104,)
    outage_at: int = 0
    outage_code: int = 0
    outage_seconds: float = 0.05
    outage_count: int = 1
    commissions: str = "as_planned"
    late_seconds: float = 0.05
    duplicate_at: int = 0
    extra_field_at: int = 0
    texts: Mapping[int, Mapping[int, str]] = field(default_factory=dict)
    live: tuple[Frame, ...] = ()
    reach_days: int = 0
    time_zone: str = "America/New_York"

    def __post_init__(self) -> None:
        if self.commissions not in ("as_planned", "early", "late", "twice", "never"):
            raise ValueError("commissions is as_planned, early, late, twice or never")

    def turned(self, changes: Mapping[str, Any]) -> Self:
        """Return them with ``changes``; raises ``ValueError`` for an unknown name. Lists and text keys come from JSON."""
        unknown = changes.keys() - {one.name for one in fields(self)}
        if unknown:
            raise ValueError(f"unknown knob: {', '.join(sorted(unknown))}")
        return replace(self, **{name: _read(name, value) for name, value in changes.items()})


def _read(name: str, value: Any) -> Any:
    if name == "texts":
        return {int(at): {int(number): text for number, text in found.items()} for at, found in value.items()}
    return tuple(value) if isinstance(value, list) else value


def faulty(frames: Sequence[Frame], knobs: Knobs) -> list[list[str]]:
    """Return the frames before the end of an answer with what the knobs do to their order, number and texts."""
    body = [list(frame) for frame in frames[: _end(frames)]]
    paid = [frame for frame in body if frame[0] == COMMISSION]
    others = [frame for frame in body if frame[0] != COMMISSION]
    if knobs.commissions == "early":
        body = paid + others
    elif knobs.commissions in ("late", "never"):
        body = others
    elif knobs.commissions == "twice":
        body = body + [list(frame) for frame in paid]
    for at, texts in knobs.texts.items():
        for number, text in texts.items():
            body[at - 1][number] = text
    if knobs.extra_field_at:
        body[knobs.extra_field_at - 1].append("one more")
    if knobs.duplicate_at:
        body.insert(knobs.duplicate_at, list(body[knobs.duplicate_at - 1]))
    return body


def after_end(frames: Sequence[Frame], knobs: Knobs) -> list[list[str]]:
    """Return what follows the end frame: what the plan says, late commissions, live pushes."""
    rest = [list(frame) for frame in frames[_end(frames) + 1 :]]
    if knobs.commissions == "late":
        rest = [list(frame) for frame in frames if frame[0] == COMMISSION]
    elif knobs.commissions == "never":
        rest = [frame for frame in rest if frame[0] != COMMISSION]
    return rest + [[frame[0], "-1", *frame[2:]] if frame[0] == EXECUTION else list(frame) for frame in knobs.live]


def _end(frames: Sequence[Frame]) -> int:
    return next((at for at, frame in enumerate(frames) if frame[0] == EXECUTION_END), len(frames))
