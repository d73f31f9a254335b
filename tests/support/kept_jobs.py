"""A platform on which jobs are started in the tests' own process: nothing runs, what was asked is kept."""

from __future__ import annotations

from collections.abc import Mapping

from fillbook.runtime.errors import Unavailable


class KeptJobs:
    """Executions that were asked for; ``is_away``: none can be."""

    def __init__(self) -> None:
        self.started: list[tuple[str, int, dict[str, str]]] = []
        self.is_away = False

    def run(self, job: str, *, tasks: int, environment: Mapping[str, str]) -> str:
        """Note an execution and return its name."""
        if self.is_away:
            raise Unavailable("job_not_started", "status 503")
        self.started.append((job, tasks, dict(environment)))
        return f"execution-{len(self.started)}"
