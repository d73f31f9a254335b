"""The control panel of a running local cloud, from the outside: its clock, its messages, its schedules, its tokens.

A thin blocking client for the supervisor, the tests and people's scripts; the server's side is ``cloud_api.py``.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any

CALL_SECONDS = 30.0


class ControlError(RuntimeError):
    """The local cloud refused or did not answer; the text says what."""


class Control:
    """The control panel at ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def get(self, path: str, *, seconds: float = CALL_SECONDS) -> Any:
        """GET ``path``; the decoded answer. Raises ControlError."""
        return self._call(urllib.request.Request(self.url + path), seconds)  # noqa: S310 - our own loopback address

    def post(self, path: str, document: dict[str, Any], *, seconds: float = CALL_SECONDS) -> Any:
        """POST ``document`` as JSON; the decoded answer. Raises ControlError."""
        body, headers = json.dumps(document).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, body, headers, method="POST")  # noqa: S310 - our own loopback address
        return self._call(request, seconds)

    def _call(self, request: urllib.request.Request, seconds: float) -> Any:
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310 - our own loopback address
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                raise ControlError(f"{request.full_url}: {error.code} {error.read(500).decode(errors='replace')}") from error
        except (OSError, ValueError) as error:
            raise ControlError(f"{request.full_url}: {error}") from error

    def wait_idle(self, timeout_seconds: float = 30, *, settle_seconds: float = 0.0) -> bool:
        """Whether no message waits anywhere, for ``settle_seconds`` on end, within the timeout (real seconds)."""
        query = f"timeout_seconds={timeout_seconds}&settle_seconds={settle_seconds}"
        return bool(self.get(f"/_control/pubsub/idle?{query}", seconds=timeout_seconds + 5)["idle"])

    def pubsub(self) -> dict[str, Any]:
        """Figures of topics and subscriptions."""
        document: dict[str, Any] = self.get("/_control/pubsub")
        return document

    def faults(self, target: str = "*", **knobs: float) -> None:
        """Turn fault knobs (``faults.py``); ``count`` and ``seed`` are taken too."""
        self.post("/_control/pubsub/faults", {"target": target, **knobs})

    def no_faults(self) -> None:
        """All knobs off."""
        self.post("/_control/pubsub/reset", {})

    def pause(self, subscription: str = "*") -> None:
        """Deliver nothing more of a subscription."""
        self.post("/_control/pubsub/pause", {"subscription": subscription})

    def resume(self, subscription: str = "*") -> None:
        """Deliver again."""
        self.post("/_control/pubsub/resume", {"subscription": subscription})

    def publish(self, topic: str, messages: list[dict[str, Any]], *, project: str = "fillbook-local") -> list[str]:
        """Publish as a function would; ``messages`` in Google's form. Returns the message ids."""
        answer = self.post(f"/v1/projects/{project}/topics/{topic}:publish", {"messages": messages})
        return list(answer["messageIds"])

    def run_job(self, job: str, *, seconds: float = 120) -> int:
        """Run a schedule now and wait; the HTTP status of its last attempt (0: no answer)."""
        return int(self.post("/_control/scheduler/run", {"job": job}, seconds=seconds)["status"])

    def pause_jobs(self, job: str = "*") -> None:
        """Start a schedule (or all) no more."""
        self.post("/_control/scheduler/pause", {"job": job})

    def resume_jobs(self, job: str = "*") -> None:
        """Start them again, from the next slot on."""
        self.post("/_control/scheduler/resume", {"job": job})

    def jobs(self) -> list[dict[str, Any]]:
        """Executions of Cloud Run jobs with their tasks, oldest first."""
        return list(self.get("/_control/jobs")["executions"])

    def token(self, email: str, audience: str) -> str:
        """An identity token."""
        return str(self.post("/token", {"email": email, "audience": audience})["token"])


class ClockControl:
    """The desk clock's hand, over the control panel."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def now(self) -> datetime:
        """Desk time, aware UTC."""
        return datetime.fromisoformat(self._control.get("/_control/clock")["now"])

    def set(self, at: datetime, *, paused: bool = True, speed: float = 1.0) -> None:
        """Set the time; stands still unless ``paused`` is False."""
        self._control.post("/_control/clock", {"desk_at": at.isoformat(), "paused": paused, "speed": speed})

    def step(self, seconds: float) -> None:
        """Move by ``seconds``."""
        self._control.post("/_control/clock", {"step_seconds": seconds})

    def pause(self) -> None:
        """Stand still."""
        self._control.post("/_control/clock", {"paused": True})

    def run(self, speed: float = 1.0) -> None:
        """Go on, ``speed`` times as fast as real time."""
        self._control.post("/_control/clock", {"paused": False, "speed": speed})

    def realtime(self) -> None:
        """Be the wall clock."""
        self._control.post("/_control/clock", {"realtime": True})
