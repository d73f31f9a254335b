"""What stands outside the books of replays, as hashes: equal before and after, byte for byte, where nothing of it was written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Query = Callable[..., list[dict[str, Any]]]

TABLES = """select format('%I.%I', n.nspname, c.relname) as name,
                    exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'book_id') as has_book
                from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where c.relkind in ('r', 'p') and not c.relispartition and n.nspname !~ '^(pg_|information_schema$|replay$)'
               order by 1"""


def fingerprints(query: Query) -> dict[str, str]:
    """Table -> hash of its rows without those of replay books; of every table outside schema ``replay``."""
    parts = []
    for table in query(TABLES):
        rows = " where book_id is null or book_id not like 'replay:%'" if table["has_book"] else ""
        parts.append(
            f"select '{table['name']}' as t, md5(string_agg(r::text, ' ' order by r::text)) as h from {table['name']} r{rows}"
        )
    return {row["t"]: row["h"] for row in query(" union all ".join(parts))}
