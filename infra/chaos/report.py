"""What a run tells: faults by kind, what healed how, every claim, the hashes, and the command that does it again."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any, Final

from infra.chaos.kinds import KINDS
from infra.chaos.plan import Plan
from infra.chaos.proof import Claim

PROBLEMS_SHOWN_MAX: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class DayTold:
    """One day as it ended. ``broke_off``: why it came to no end; its claims are missing then."""

    day: date
    faults: int
    seconds: float
    claims: tuple[Claim, ...]
    broke_off: str | None = None

    @property
    def is_proven(self) -> bool:
        """Whether every claim holds."""
        return self.broke_off is None and not any(claim.problems for claim in self.claims)


@dataclass(slots=True, kw_only=True)
class Told:
    """The run so far."""

    command: str
    plan: Plan
    days: list[DayTold] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    healed: Counter[str] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    receipts: dict[str, str] = field(default_factory=dict)
    content: dict[str, Mapping[str, str]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def is_proven(self) -> bool:
        """Whether every day of the plan came to its end and every claim holds."""
        return len(self.days) == len(self.plan.days) and all(day.is_proven for day in self.days)

    @property
    def content_digest(self) -> str:
        """SHA-256 over what every season came to."""
        return hashlib.sha256(json.dumps(self.content, sort_keys=True).encode()).hexdigest()

    @property
    def data_digest(self) -> str:
        """SHA-256 over the bodies of all receipts that the plan sends."""
        return hashlib.sha256(json.dumps(self.receipts, sort_keys=True).encode()).hexdigest()

    def document(self) -> dict[str, Any]:
        """The report as JSON."""
        injected = self.plan.injected
        return {
            "command": self.command,
            "seed": self.plan.seed,
            "is_proven": self.is_proven,
            "days": [{**asdict(day), "day": day.day.isoformat(), "is_proven": day.is_proven} for day in self.days],
            "faults": {
                name: {"checks": KINDS[name].checks, "injected": injected[name], "seen": self.seen[name]}
                for name in sorted(injected)
            },
            "injected": sum(injected.values()),
            "seen": self.seen.total(),
            "healed": dict(sorted(self.healed.items())),
            "refused": {str(status): number for status, number in sorted(self.refused.items())},
            "plan_sha256": self.plan.digest,
            "data_sha256": self.data_digest,
            "content_sha256": self.content_digest,
            "content": self.content,
            "seconds": round(self.seconds, 1),
        }


def line_of(day: DayTold) -> str:
    """One day in a line, and a line for each problem."""
    figures = Counter[str]()
    for claim in day.claims:
        if claim.name in ("messages = executions", "nothing lost of what was acknowledged"):
            figures.update(
                {name: claim.figures[name] for name in ("executions", "messages", "receipts") if name in claim.figures}
            )
    told = ", ".join(f"{number} {name}" for name, number in figures.items())
    verdict = "holds" if day.is_proven else "DOES NOT HOLD"
    lines = [f"{day.day}  {day.faults} faults  {told}  {verdict}  {day.seconds:.1f} s"]
    if day.broke_off:
        lines.append(f"    broke off: {day.broke_off}")
    for claim in day.claims:
        shown = claim.problems[:PROBLEMS_SHOWN_MAX]
        lines += (f"    {claim.name}: {problem}" for problem in shown)
        if len(claim.problems) > len(shown):
            lines.append(f"    {claim.name}: and {len(claim.problems) - len(shown)} more")
    return "\n".join(lines)


def text_of(told: Told) -> str:
    """The report for a person."""
    document = told.document()
    lines = ["", "kind                              checks   put on  struck"]
    for name, one in document["faults"].items():
        checks = ",".join(map(str, one["checks"]))
        lines.append(f"  {name:<32}{checks:<9}{one['injected']:>6}{one['seen']:>8}")
    lines += ["", "healed"]
    lines += (f"  {number:>5}  {what}" for what, number in document["healed"].items())
    lines += _verdict(told, document)
    return "\n".join(lines)


def _verdict(told: Told, document: Mapping[str, Any]) -> Sequence[str]:
    proven = sum(day.is_proven for day in told.days)
    days = f"{len(told.days)} of {len(told.plan.days)} days played, {proven} hold"
    return (
        "",
        f"{days}; {document['injected']} faults put on, {document['seen']} struck; {told.seconds:.0f} s",
        f"plan     {document['plan_sha256']}",
        f"data     {document['data_sha256']}",
        f"content  {document['content_sha256']}",
        f"again    {told.command}",
        "everything holds" if told.is_proven else "SOMETHING DOES NOT HOLD",
    )
