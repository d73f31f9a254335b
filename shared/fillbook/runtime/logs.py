"""Logs: one JSON object a line on stdout, a constant event name with fields; no logging client (it costs 0.3 s).

Secrets never reach a line: values of ``SecretStr`` fields are masked, every secret the configuration read is replaced
wherever it appears, and so is what looks like a bearer token, a webhook path or a password in a URL. An exception is
logged as types and places; the text of a validation error, which repeats its input, is left out. At a person's console
(``quiet``) only warnings and errors are written, on stderr; a function writes everything.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from pydantic import SecretStr, ValidationError

from fillbook.runtime import clock
from fillbook.runtime.sql import encode
from fillbook.values import frozen

MASK = "***"
TEXT_MAX = 2_000
FRAMES_MAX = 12
SECRET_LENGTH_MIN = 6  # a shorter "secret" would mask ordinary words

_SECRET_NAME = re.compile(r"(token|secret|password|authorization|api_?key|webhook_url|cookie)s?$", re.IGNORECASE)
_SECRET_SHAPES = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), rf"\1 {MASK}"),
    (re.compile(r"(/webhooks/\d+/)[\w-]{6,}"), rf"\1{MASK}"),
    (re.compile(r"(://[^:/@\s\"]+:)[^@/\s\"]+@"), rf"\1{MASK}@"),
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*"), MASK),
)
_TRACE = re.compile(r"(?P<google>[0-9a-f]{32})(?:/\d+)?(?:;.*)?|00-(?P<w3c>[0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

_trace: ContextVar[str] = ContextVar("trace", default="")


class _Settings:
    """What the process's configuration told the logs."""

    project = ""
    secrets: tuple[str, ...] = ()
    is_quiet = False


@contextmanager
def quiet() -> Iterator[None]:
    """Decorate an operator's ``main``: only warnings and errors are logged, and stdout belongs to what the verb prints.

    The delivery log, the outbox and the runs keep in the database what an operator's verb did; a function never uses this.
    Whoever reads stdout may stop reading (``| head``): the verb then ends, without a word.
    """
    before, _Settings.is_quiet = _Settings.is_quiet, True
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes nowhere, at exit too
    finally:
        _Settings.is_quiet = before


def remember(*, secrets: tuple[str, ...] = (), project: str = "") -> None:
    """Mask ``secrets`` in every line from now on; ``project`` completes the trace's name. Called by the configuration."""
    known = {*_Settings.secrets, *(secret for secret in secrets if len(secret) >= SECRET_LENGTH_MIN)}
    _Settings.secrets = tuple(sorted(known, key=len, reverse=True))
    _Settings.project = project or _Settings.project


def trace_from(header: str | None) -> str:
    """Begin the trace that ``X-Cloud-Trace-Context`` or ``traceparent`` names for this request; return its id or ''."""
    match = _TRACE.fullmatch(header) if header else None
    trace = (match["google"] or match["w3c"]) if match is not None else ""
    _trace.set(trace)
    return trace


def masked(text: str) -> str:
    """Return ``text`` without any secret that is known or recognised by its shape."""
    for secret in _Settings.secrets:
        text = text.replace(secret, MASK)
    for shape, replacement in _SECRET_SHAPES:
        text = shape.sub(replacement, text)
    return text


def describe(error: BaseException) -> str:
    """Return the exception's text without the input that a validation error repeats."""
    if isinstance(error, ValidationError):
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        return "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['type']}" for item in problems[:20])
    return str(error)[:TEXT_MAX]


def _frames(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
    return [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]


def _plain(name: str, value: object) -> object:
    if isinstance(value, SecretStr) or _SECRET_NAME.search(name):
        return MASK
    if isinstance(value, str):
        return value[:TEXT_MAX]
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {describe(value)}"
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {str(key): _plain(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(name, item) for item in value]
    return value


@frozen(kw_only=False)
class Logger:
    """Writes events under one name; ``event`` is constant text, everything that varies is a field."""

    name: str

    def info(self, event: str, **fields: object) -> None:
        """Write what happened."""
        self._write("INFO", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Write what somebody should look at some day."""
        self._write("WARNING", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Write what somebody must look at."""
        self._write("ERROR", event, fields)

    def failed(self, event: str, error: BaseException, **fields: object) -> None:
        """Write a bug: type, text without input, places, and the types that caused it."""
        causes: list[str] = []
        cause = error.__cause__ or error.__context__
        while cause is not None and len(causes) < 5:
            causes.append(f"{type(cause).__name__}: {describe(cause)}")
            cause = cause.__cause__ or cause.__context__
        self._write("ERROR", event, {**fields, "error": error, "frames": _frames(error), "causes": causes})

    def _write(self, severity: str, event: str, fields: dict[str, object]) -> None:
        if _Settings.is_quiet and severity == "INFO":
            return
        line: dict[str, object] = {"severity": severity, "message": event, "logger": self.name}
        line["time"] = clock.SystemClock().now()
        trace = _trace.get()
        if trace:
            project = _Settings.project
            line["logging.googleapis.com/trace"] = f"projects/{project}/traces/{trace}" if project else trace
        line.update({name: _plain(name, value) for name, value in fields.items()})
        out = sys.stderr if _Settings.is_quiet else sys.stdout
        out.write(f"{masked(_text(line))}\n")
        out.flush()


def _text(line: dict[str, object]) -> str:
    try:
        return encode({name: f"{value!r}" if isinstance(value, float) else value for name, value in line.items()})
    except Exception as error:  # noqa: BLE001 -- a log line must never break the work it tells about
        kept = {name: line[name] for name in ("severity", "message", "logger", "time")}
        return encode({**kept, "unwritable": type(error).__name__, "fields": sorted(line.keys() - kept.keys())})


def get(name: str) -> Logger:
    """Return the logger of a function or room."""
    return Logger(name)
