"""A receiver that speaks as our API does, without a database: for the publisher's own tests."""

from __future__ import annotations

import json
from typing import Any

from infra.local.lenient import POST_PATH
from infra.local.snapshot_server import Asked, Reply, Served, told


class OurApi(Served):
    """Our API's own words: it keeps a hash per date and says so; ``script`` holds answers to give instead, in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, tuple[str, dict[str, int], int]] = {}
        self.script: list[Reply] = []
        self.signatures: list[str | None] = []

    def side(self, asked: Asked) -> str:
        return "write" if asked.method == "POST" else "read"

    def failed(self, status: int) -> Reply:
        return told(status, {"error": {"code": "internal"}})

    def noted(self, asked: Asked) -> dict[str, Any]:
        return {"x-request-id": asked.headers.get("x-request-id")}

    def answer(self, asked: Asked, fault: Any) -> Reply:
        del fault
        if asked.method == "GET":
            return self._shown(asked)
        if self.script:
            return self.script.pop(0)
        self.signatures.append(asked.headers.get("x-signature"))
        body = json.loads(asked.body)
        counts = {
            "kpis": len(body["rows"]),
            "series": sum(len(points) for points in body["overlay"]["seriesByKpi"].values()),
            "extremes": sum(len(one) for sides in body["overlay"]["extremes"]["byKpi"].values() for one in sides.values()),
            "assets": len(body["overlay"]["portfolioAssets"]),
        }
        before = self.kept.get(body["date"])
        is_new = before is None or before[0] != body["content_sha256"]
        version = (0 if before is None else before[2]) + is_new
        self.kept[body["date"]] = (body["content_sha256"], counts, version)
        said = {"ok": True, "date": body["date"], "version": version, "content_sha256": body["content_sha256"]}
        return told(200, {**said, "counts": {"stored": counts}}, X_Request_Id="remote-1")

    def _shown(self, asked: Asked) -> Reply:
        kept = self.kept.get(asked.query["date"])
        if asked.path != POST_PATH or kept is None:
            return told(404, {"error": {"code": "no_snapshot"}})
        return told(200, {"date": asked.query["date"], "content_sha256": kept[0], "counts": kept[1], "version": kept[2]})
