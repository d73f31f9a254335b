"""The function ``replay_worker`` as its client asks it: what ``ReplayFunction`` does, without a network between."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask.testing import FlaskClient

from fillbook.replay.function_calls import judged


class InProcess:
    """One session; ``before`` is called with every document that is about to be sent."""

    def __init__(self, client: FlaskClient, headers: Mapping[str, str]) -> None:
        self._client = client
        self._headers = dict(headers)
        self.before: Callable[[Mapping[str, Any]], None] = lambda _document: None

    def get(self, path: str, **parameters: str) -> Mapping[str, Any]:
        return self._judged(self._client.get(path, query_string=parameters, headers=self._headers))

    def post(self, path: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
        self.before(document)
        return self._judged(self._client.post(path, json=document, headers=self._headers))

    @staticmethod
    def _judged(response: Any) -> Mapping[str, Any]:
        return judged(response.status_code, response.headers.get("Retry-After"), response.get_json())
