"""A published day, in our own spelling and in foreign ones."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import encode
from fillbook.snapshot.document import encoded
from fillbook.snapshot.model import BadSnapshot
from fillbook.snapshot.normalizer import normalized, parsed
from tests.support.snapshot_api import NOW, day_document

NAMES: Final = (
    "date updated_at headline summary source rows kpis overlay schema_version kpi_version stage watermark provenance",
    "content_sha256 kpi name label value val value_num valueNum kind value_kind unit sort_order missing_reason currency number",
    "percent final seriesByKpi extremes byKpi hi lo portfolioAssets t v src trade_id symbol contract_name rank metric_raw qty",
)


def seeds() -> Iterable[bytes]:
    """A day in our own spelling, one in another, and what is nearly one."""
    day = day_document()
    yield json.dumps(day, ensure_ascii=False).encode()
    yield b'{"date":"2026-02-11","rows":[NaN'
    yield json.dumps({**day, "kpis": day["rows"], "rows": [], "overlay": {}}).encode()
    yield b'{"date":"2026-02-11","updated_at":"2026-02-11T21:00:04.512Z","rows":[{"name":"P","val":"$1","valueNum":"1.5"}]}'
    yield b'{"date":"2026-02-11","updated_at":1770843604512,"rows":[{"kpi":"P","value":"(1,234.50)","value_kind":"currency"}]}'
    yield b'{"date":"2026-02-11","overlay":{"series":{"P":[["2026-02-11T15:00:00Z",1],["2026-02-11T15:01:00Z",null]]}}}'


def check(body: bytes) -> str:
    """Read a day as the receiver does; what is taken, written as our publisher writes it, is the very day again."""
    try:
        taken = normalized(parsed(body), now=NOW)
    except BadSnapshot as bad:
        assert bad.problem_count >= len(bad.problems) > 0
        encode([[one.path, one.code, one.message, one.value] for one in bad.problems])
        return bad.reason
    except Rejected as refusal:
        return refusal.reason
    again = normalized(parsed(encoded(taken.snapshot)), now=NOW)
    assert again.snapshot == taken.snapshot
    assert again.content_sha256 == taken.content_sha256 == again.claimed_hash
    return "read"
