"""signal_ingest: the chart's webhook. A body is checked at the door and published; no database is opened here."""

import functools

import functions_framework
from flask import Request, Response

from fillbook.runtime import logs
from fillbook.runtime.clock import clock_for
from fillbook.runtime.http import answer, http_edge, read_body
from fillbook.runtime.pubsub import publisher_for
from fillbook.signal.ingest import Arrival, Door, places
from fillbook.signal.settings import SignalIngestConfig


@functools.cache
def config() -> SignalIngestConfig:
    """Read once, by the first request."""
    return SignalIngestConfig.from_environment()


@functools.cache
def door() -> Door:
    """One door per process: it remembers who was refused."""
    chosen, log = config(), logs.get("signal_ingest")
    return Door(chosen.door(), publisher=publisher_for(chosen), clock=clock_for(chosen), log=log)


def take(request: Request, token: str | None = None) -> Response:
    """Say what the request shows; the door decides."""
    arrival = Arrival(
        read=lambda: read_body(request, config().body_bytes_max),
        address=(request.access_route or ["unknown"])[-1],
        authorization=request.headers.get("Authorization"),
        key_header=request.headers.get("X-Timed-Key"),
        path_token=token,
        query_token=request.args.get("key"),
        content_type=request.headers.get("Content-Type"),
        content_encoding=request.headers.get("Content-Encoding"),
    )
    return answer(*door().take(arrival))


edge = http_edge("signal_ingest", {"POST /timed/ingest": take, "POST /timed/ingest/{token}": take}, places=places())


@functions_framework.http
def signal_ingest(request: Request) -> Response:
    """Entry point."""
    return edge(request)
