"""Whether a receiver shows what was sent. What it does not keep is no difference; what it shows otherwise is one.

A lenient receiver keeps rows and overlay and forgets the rest: stage and KPI version are ours then, since they take part in the
content and nobody else could have said them. Source: snapshot specification, 4.6.
"""

from __future__ import annotations

from dataclasses import replace

from fillbook.snapshot import document
from fillbook.snapshot.model import Snapshot


def is_same(shown: Snapshot, sent: Snapshot) -> bool:
    """Equal time and equal content."""
    known = replace(shown, stage=shown.stage or sent.stage, kpi_version=shown.kpi_version or sent.kpi_version)
    return shown.updated_at == sent.updated_at and document.content(known) == document.content(sent)
