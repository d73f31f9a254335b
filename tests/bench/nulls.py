"""The same chain with empty handlers: what framework, messages and Discord cost when no function does anything.

And once more with handlers that only store: what it costs at the least to have what was received, and what is about to be
told, durable before the next step; ``limit`` in the figures.

Each null function is what a beginner's first version would be: it hands on what it got. It checks no token, validates
nothing, opens no database and knows no duplicates. Processes, threads, topics, pushes and the fake Discord are the desk's own.
"""

from __future__ import annotations

from pathlib import Path

from infra.local.home import ROOT

EMPTY = '''"""Answers, and nothing else."""

import functions_framework


@functions_framework.http
def signal_ingest(request):
    return {"ok": True}, 202
'''

INGEST = '''"""Publishes what it gets."""

import base64
import os

import functions_framework
import requests

TOPIC = os.environ["FILLBOOK_LOCAL_URL"] + "/v1/projects/fillbook-local/topics/signals:publish"
SESSION = requests.Session()


@functions_framework.http
def signal_ingest(request):
    data = base64.b64encode(request.get_data()).decode()
    SESSION.post(TOPIC, json={"messages": [{"data": data}]}, timeout=5).raise_for_status()
    return {"ok": True}, 202
'''

WORKER = '''"""Publishes onward what was pushed."""

import os

import functions_framework
import requests

TOPIC = os.environ["FILLBOOK_LOCAL_URL"] + "/v1/projects/fillbook-local/topics/events:publish"
SESSION = requests.Session()


@functions_framework.http
def signal_worker(request):
    data = request.get_json()["message"]["data"]
    SESSION.post(TOPIC, json={"messages": [{"data": data}]}, timeout=5).raise_for_status()
    return "", 204
'''

NOTIFIER = '''"""Posts the ticker of what was pushed."""

import base64
import json
import os

import functions_framework
import requests

HOOK = os.environ["DISCORD_API_BASE"] + os.environ["DISCORD_EXECUTIONS_WEBHOOK"].rpartition("/api")[2] + "?wait=true"
SESSION = requests.Session()
SESSION.headers["User-Agent"] = "DiscordBot (https://example.org, 1)"


@functions_framework.http
def discord_notifier(request):
    receipt = json.loads(base64.b64decode(request.get_json()["message"]["data"]))
    SESSION.post(HOOK, json={"embeds": [{"title": receipt["ticker"]}]}, timeout=5).raise_for_status()
    return "", 204
'''

CHAIN = {"signal_ingest": INGEST, "signal_worker": WORKER, "discord_notifier": NOTIFIER}

# one row each in a table without any index but its key, committed by one message to the database
TABLE = (
    "create schema bench",
    "create table bench.kept (id bigint generated always as identity primary key, body text)",
    "grant usage on schema bench to public",
    "grant insert on bench.kept to public",
)
STORE = '''

import threading
from urllib.parse import urlsplit

import pg8000.native

PLACE = urlsplit(os.environ["FILLBOOK_DATABASE_URL"])
OWN = threading.local()


def store(data):
    """Commit one row, durably; base64 needs no quoting."""
    if not hasattr(OWN, "connection"):
        OWN.connection = pg8000.native.Connection(
            PLACE.username, host=PLACE.hostname, port=PLACE.port, database=PLACE.path[1:], ssl_context=False, tcp_keepalive=True
        )
    OWN.connection.run(f"insert into bench.kept (body) values ('{data}')")
'''


def _storing(source: str, what: str) -> str:
    """A handler that stores what it was pushed before it goes on."""
    head, entry, rest = source.partition("\n\n@functions_framework.http")
    first = rest.index("):\n") + len("):\n")
    return f"{head}{STORE}{entry}{rest[:first]}    store({what}){chr(10)}{rest[first:]}"


STORING = {
    "signal_ingest": INGEST,
    "signal_worker": _storing(WORKER, 'request.get_json()["message"]["data"]'),
    "discord_notifier": _storing(NOTIFIER, 'request.get_json()["message"]["data"]'),
}


def work_tree(folder: Path, sources: dict[str, str]) -> Path:
    """A work tree whose functions are ``sources``; the package and the lock are the project's own."""
    for name, source in sources.items():
        function = folder / "functions" / name
        function.mkdir(parents=True)
        (function / "main.py").write_text(source)
        (function / "requirements.txt").write_text("functions-framework\npg8000\nrequests\n")
    for shared in ("shared", "requirements.txt"):
        (folder / shared).symlink_to(ROOT / shared)
    return folder
