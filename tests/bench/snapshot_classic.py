"""The same publishing as it is usually written: four queries, rows mapped one by one, one POST; rows stored in batches of 200.

The baseline of ``bench snapshot``. It reads the same tables through the same driver, keeps its connection and its session, checks
nothing, hashes nothing, verifies nothing and records nothing. Its receiver deletes the day and inserts rows by prepared
statements, two hundred between two commits. ``Copies`` is the least that storing a day can cost: the lines of four COPYs lie
ready, and one transaction takes them. As a program (``python -m tests.bench.snapshot_classic URL RECEIVER DAY``) it is one job.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import pg8000.dbapi
import requests

BATCH = 200
NUMBERS = (
    "metric_raw metric_abs individual_pnl abs_individual_pnl percent_change cost_basis qty bid_price ask_price mid_price"
    " mid_mark_pnl liquidity_drag"
).split()
TABLES = {
    "metrics_kpi_values": ("date", "kpi", "value_text", "value_kind", "sort_order"),
    "metrics_series_points": ("date", "kpi", "t", "v", "src"),
    "metrics_extremes_items": (
        *("date", "kpi", "side", "rank", "trade_id", "symbol", "contract_name"),
        *(*NUMBERS, "mid_ts", "item_json"),
    ),
    "metrics_portfolio_assets": ("date", "trade_id", "symbol", "contract_name"),
}
DAILY = (
    "insert into {schema}.metrics_daily (date, updated_at, headline, summary, rows_json, overlay_json, version, content_sha256,"
    " counts, received_at) values (%s, %s, %s, %s, %s::jsonb, %s::jsonb, 1, repeat('0', 64), '{{}}', now()) on conflict (date)"
    " do update set updated_at = excluded.updated_at, headline = excluded.headline, summary = excluded.summary,"
    " rows_json = excluded.rows_json, overlay_json = excluded.overlay_json"
)
Row = tuple[Any, ...]


def connect(url: str) -> Any:
    """One connection, as a program of this kind makes it."""
    parts = urlsplit(url)
    return pg8000.dbapi.connect(
        user=parts.username or "postgres", host=parts.hostname or "", port=parts.port or 5432, database=parts.path[1:]
    )


def make_tables(url: str, schema: str) -> None:
    """Tables like ours in a schema of their own."""
    connection = connect(url)
    cursor = connection.cursor()
    cursor.execute(f"create schema if not exists {schema}")
    for table in ("metrics_daily", *TABLES):
        cursor.execute(f"create table if not exists {schema}.{table} (like metrics.{table} including all)")
    for table in TABLES:
        cursor.execute(f"alter table {schema}.{table} add foreign key (date) references {schema}.metrics_daily on delete cascade")
    connection.commit()
    connection.close()


# --- the job ------------------------------------------------------------------------------------------------------------


class Job:
    """Four queries, a mapping, one POST."""

    def __init__(self, url: str, receiver_url: str) -> None:
        self._connection = connect(url)
        self._cursor = self._connection.cursor()
        self._session = requests.Session()
        self._url = receiver_url

    def close(self) -> None:
        """End the connection."""
        self._connection.close()
        self._session.close()

    def run(self, day: str) -> dict[str, Any]:
        """Publish a day; what was sent."""
        document = self.document(day)
        answer = self._session.post(self._url, json=document, timeout=120)
        answer.raise_for_status()
        return document

    def document(self, day: str) -> dict[str, Any]:
        """Read and map a day."""
        series: dict[str, list[dict[str, Any]]] = {}
        extremes: dict[str, dict[str, list[dict[str, Any]]]] = {}
        rows = [
            {"kpi": row["kpi_name"], "value": row["display_value"], "sort_order": row["sort_order"]}
            for row in self._query("kpi", "sort_order", day)
        ]
        for row in self._query("series", "kpi_name, ts", day):
            point = {"t": _text(row["ts"]), "v": float(row["value"]), "src": row["source"]}
            series.setdefault(row["kpi_name"], []).append(point)
        for row in self._query("extremes", "kpi_name, side, rank", day):
            item = {name: row[name] for name in ("trade_id", "symbol", "contract_name", "rank")}
            item |= {name: None if row[name] is None else float(row[name]) for name in NUMBERS}
            item["mid_ts"] = None if row["mid_ts"] is None else _text(row["mid_ts"])
            extremes.setdefault(row["kpi_name"], {"hi": [], "lo": []})[row["side"]].append(item)
        names = ("trade_id", "symbol", "contract_name")
        assets = [{name: row[name] for name in names} for row in self._query("portfolio", "trade_id", day)]
        self._connection.commit()
        return {
            "date": day,
            "updated_at": f"{day}T21:00:00.000Z",
            "headline": f"Metrics for {day}",
            "summary": "",
            "rows": rows,
            "overlay": {"seriesByKpi": series, "extremes": {"byKpi": extremes}, "portfolioAssets": assets},
        }

    def _query(self, table: str, order: str, day: str) -> Iterator[dict[str, Any]]:
        self._cursor.execute(f"select * from bench.{table} where report_date = %s order by {order}", (day,))
        names = [column[0] for column in self._cursor.description]
        while (row := self._cursor.fetchone()) is not None:
            yield dict(zip(names, row, strict=True))


def _text(at: Any) -> str:
    return str(at.strftime("%Y-%m-%dT%H:%M:%S.")) + f"{at.microsecond // 1000:03}Z"


# --- stores ---------------------------------------------------------------------------------------------------------------


class Store:
    """A receiver's tables in schema ``classic``, rows in batches of 200."""

    def __init__(self, url: str, schema: str = "classic") -> None:
        make_tables(url, schema)
        self._schema = schema
        self._connection = connect(url)
        self._cursor = self._connection.cursor()

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def replace(self, document: dict[str, Any]) -> dict[str, Any]:
        """Store a day: the archive and the emptied tables first, then the rows, each batch committed."""
        daily, rows = daily_of(document), rows_of(document)
        self._cursor.execute(DAILY.format(schema=self._schema), daily)
        for table in TABLES:
            self._cursor.execute(f"delete from {self._schema}.{table} where date = %s", (document["date"],))
        self._connection.commit()
        for table, names in TABLES.items():
            marks = ", ".join("%s::jsonb" if name == "item_json" else "%s" for name in names)
            text = f"insert into {self._schema}.{table} ({', '.join(names)}) values ({marks})"
            for start in range(0, len(rows[table]), BATCH):
                self._cursor.executemany(text, rows[table][start : start + BATCH])
                self._connection.commit()
        return {"ok": True, "date": document["date"], "rows": sum(map(len, rows.values()))}


class Copies:
    """A day stored by four COPYs in one transaction, from lines that lie ready."""

    def __init__(self, url: str, schema: str = "copies") -> None:
        make_tables(url, schema)
        self._schema = schema
        self._connection = connect(url)
        self._cursor = self._connection.cursor()

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    @staticmethod
    def lines(document: dict[str, Any]) -> dict[str, bytes]:
        """The text of each COPY."""
        return {table: "".join(map(_line, rows)).encode() for table, rows in rows_of(document).items()}

    def replace(self, daily: Row, lines: dict[str, bytes]) -> None:
        """Store a day."""
        self._cursor.execute(DAILY.format(schema=self._schema), daily)
        for table, names in TABLES.items():
            self._cursor.execute(f"delete from {self._schema}.{table} where date = %s", daily[:1])
            self._cursor.execute(f"copy {self._schema}.{table} ({', '.join(names)}) from stdin", stream=io.BytesIO(lines[table]))
        self._connection.commit()


def daily_of(document: dict[str, Any]) -> Row:
    """The archive's values."""
    heads = tuple(document[name] for name in ("date", "updated_at", "headline", "summary"))
    return (*heads, json.dumps(document["rows"]), json.dumps(document["overlay"]))


def rows_of(document: dict[str, Any]) -> dict[str, list[Row]]:
    """The rows of the four tables."""
    day, overlay = document["date"], document["overlay"]
    return {
        "metrics_kpi_values": [(day, row["kpi"], row["value"], "text", row["sort_order"]) for row in document["rows"]],
        "metrics_series_points": [
            (day, kpi, point["t"], point["v"], point.get("src"))
            for kpi, points in overlay["seriesByKpi"].items()
            for point in points
        ],
        "metrics_extremes_items": [
            _extreme(day, kpi, side, item)
            for kpi, sides in overlay["extremes"]["byKpi"].items()
            for side, items in sides.items()
            for item in items
        ],
        "metrics_portfolio_assets": [
            (day, asset["trade_id"], asset.get("symbol"), asset["contract_name"]) for asset in overlay["portfolioAssets"]
        ],
    }


def _extreme(day: str, kpi: str, side: str, item: dict[str, Any]) -> Row:
    heads = tuple(item[name] for name in ("rank", "trade_id", "symbol", "contract_name"))
    return (day, kpi, side, *heads, *(item[name] for name in NUMBERS), item["mid_ts"], json.dumps(item))


def _line(row: Sequence[Any]) -> str:
    return "\t".join("\\N" if value is None else str(value).replace("\\", "\\\\") for value in row) + "\n"


if __name__ == "__main__":
    job = Job(sys.argv[1], sys.argv[2])
    job.run(sys.argv[3])
    job.close()
