"""From the webhook to the book: what one function publishes is what the other reads; both with their own roles."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from fillbook.runtime.clock import real_epoch_seconds
from fillbook.signal.receipt import instant
from tests.support.functions import FunctionApps
from tests.support.receipts import R_TS, text_of
from tests.support.signer import Signer
from tests.support.topics import Topics, topics

D = Decimal
Query = Callable[..., list[dict[str, Any]]]
TOKEN = "canary-token-of-the-chain"
AUDIENCE, CALLER = "https://signal-worker.test", "pubsub-push@desk.example"
SIGNER = Signer()
R = text_of("R").encode()
PATHS = {"signals": "/", "signals-quarantine": "/quarantine"}


class Chain:
    """Both functions with a topic between them that is delivered by hand."""

    def __init__(self, webhook: FlaskClient, worker: FlaskClient, published: Topics) -> None:
        self.webhook, self.worker, self.published = webhook, worker, published

    def post(self, data: bytes, path: str = "/timed/ingest") -> int:
        return self.webhook.post(path, data=data, content_type="text/plain").status_code

    def deliver(self) -> list[int]:
        """Push every published message of the two topics once."""
        token = SIGNER.sign(audience=AUDIENCE, issued=real_epoch_seconds(), email=CALLER)
        statuses = []
        for topic, path in PATHS.items():
            for number, message in enumerate(self.published.messages.pop(topic, [])):
                message |= {"messageId": str(number), "publishTime": "2026-02-03T15:16:01Z"}
                sent = {"message": message, "subscription": f"projects/p/subscriptions/{topic}-signal-worker"}
                answer = self.worker.post(path, json=sent, headers={"Authorization": f"Bearer {token}"})
                statuses.append(answer.status_code)
        return statuses


@pytest.fixture
def chain(function_app: FunctionApps, database_url: str, tmp_path: Path) -> Iterator[Chain]:
    clock = {"desk_at": instant(R_TS + 61_000).isoformat(), "real_at": 0, "speed": 1, "paused": True}
    (tmp_path / "clock.json").write_text(json.dumps(clock))
    with topics() as published:
        published.certificates = SIGNER.certificates()
        common = {
            "FILLBOOK_PROJECT": "fillbook-local",
            "FILLBOOK_LOCAL_URL": published.url,
            "FILLBOOK_DESK_CLOCK": str(tmp_path / "clock.json"),
        }
        webhook = function_app("signal_ingest", {**common, "INGEST_TOKENS": TOKEN})
        worker = function_app(
            "signal_worker",
            {
                **common,
                "FILLBOOK_DATABASE_URL": f"{database_url}?role=signal_worker",
                "FILLBOOK_OIDC_AUDIENCE": AUDIENCE,
                "FILLBOOK_OIDC_CALLERS": CALLER,
            },
        )
        yield Chain(webhook, worker, published)


def with_token(data: bytes) -> bytes:
    return data.replace(b"{", b'{"token":"' + TOKEN.encode() + b'",', 1)


def test_a_posted_receipt_ends_as_an_entry_told_once(chain: Chain, query: Query) -> None:
    assert [chain.post(with_token(R)), chain.post(R, f"/timed/ingest/{TOKEN}")] == [202, 202]
    assert chain.deliver() == [204, 204]
    [action] = query(
        "select ticker, quantity::text as quantity, price::text as price, value::text as value from ledger.v_actions"
    )
    assert action == {"ticker": "ZZTA", "quantity": "37.6374000000", "price": "100.4000000000", "value": "3778.79496000"}
    assert len(chain.published.data("events")) == 1
    assert query("select ticker, result::text as result, repairs from signal.receipts") == [
        {"ticker": "ZZTA", "result": "decided", "repairs": []}
    ]


def test_a_repaired_receipt_keeps_the_names_of_its_repairs(chain: Chain, query: Query) -> None:
    """Scenario 4: the repaired body is the clean receipt; what was repaired is noted."""
    chain.post(with_token(R.replace(b'"tp_levels":[{', b'"tp_levels":[,{').replace(b'"rr":0.31', b'"rr":NaN')))
    assert chain.deliver() == [204]
    assert query("select repairs from signal.v_receipts") == [{"repairs": ["nan_null", "array_comma"]}]


def test_scenario_5_a_broken_body_sent_twice_is_one_row_without_its_token(chain: Chain, query: Query) -> None:
    assert [chain.post(with_token(R[:1500])) for _ in range(2)] == [400, 400]
    assert chain.deliver() == [204, 204]
    [row] = query("select source::text as source, reason, count, body from signal.quarantine")
    assert (row["source"], row["reason"], row["count"]) == ("ingest", "json_invalid", 2)
    assert TOKEN.encode() not in row["body"]


def said_on_topics(chain: Chain) -> str:
    """Every message with its data as it is, not as base64."""
    data = b"".join(piece for topic in chain.published.messages for piece in chain.published.data(topic))
    return json.dumps(chain.published.messages) + data.decode("utf-8", "replace")


def test_the_token_is_in_no_table_message_or_line(chain: Chain, query: Query, capsys: pytest.CaptureFixture[str]) -> None:
    """Acceptance 8, reliability check 30 over both functions."""
    for data in (R, R[:900], R.replace(b"100.40", b"0"), b"[]"):
        chain.post(with_token(data))
        chain.post(with_token(data), f"/timed/ingest/{TOKEN}")
        chain.post(data, f"/timed/ingest?key={TOKEN}")
    kept = said_on_topics(chain)
    chain.deliver()
    tables = query(
        """select schemaname || '.' || tablename as name from pg_catalog.pg_tables
            where schemaname in ('signal', 'ledger', 'outbox')"""
    )
    stored = "".join(str(row) for table in tables for row in query(f"select to_jsonb(t)::text as r from {table['name']} t"))
    assert "ZZTA" in stored
    said = capsys.readouterr().out
    assert "receipt_accepted" in said
    for text in (kept, stored, said, said_on_topics(chain)):
        assert TOKEN not in text
        assert TOKEN.encode().hex() not in text
