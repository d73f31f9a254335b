"""The only module that speaks to the Flex web service: two bounded calls over HTTPS, nothing repeated, nothing raised.

The token travels in the query string, as the service wants it; therefore no URL and no text of an exception leaves this
module. A returned address is used only where it is the broker's (or, in the local cloud, our own); redirects are not
followed. A body goes to a file, never whole into memory. Source: ibkr.md 8.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit, urlunsplit
from xml.parsers import expat

import requests
from pydantic import SecretStr
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from fillbook.ibkr.flex_statement import BODY_BYTES_MAX, ROOT, StatementFile
from fillbook.ibkr.flexrules import BODY_KEPT_BYTES, clipped
from fillbook.ibkr.sources import FlexAnswer
from fillbook.runtime import clock, outgoing
from fillbook.runtime.errors import Unavailable

SEND_URL: Final = "https://ndcdyn.interactivebrokers.com/AccountManagement/FlexWebService/SendRequest"
ALLOWED_HOSTS: Final = (".interactivebrokers.com",)
USER_AGENT: Final = "Fillbook/0.1 (+https://fillbook.example)"
CONNECT_SECONDS: Final = 10.0
SEND_SECONDS: Final = 30.0
FETCH_SECONDS: Final = 180.0
STATUS_BYTES_MAX: Final = 64 * 1024
CHUNK_BYTES: Final = 16 * 1024
URL_MAX: Final = 1024
_LOCAL_HOSTS: Final = ("127.0.0.1", "localhost")
_REFERENCE: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
_CODE: Final = re.compile(r"[0-9]{1,6}")
_FIELDS: Final = ("Status", "ReferenceCode", "Url", "ErrorCode", "ErrorMessage")


class UrlRefused(ValueError):
    """An address that is not the broker's; the text never holds it."""


def checked_url(url: str, *, allowed_hosts: Sequence[str], is_local: bool) -> str:
    """Return ``url`` without query and fragment when a call may go there; raises ``UrlRefused``.

    https, port 443 and a host under one of ``allowed_hosts`` (``.example.com``: any host below; ``example.com``: that host).
    ``is_local`` lets in http on this machine as well.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise UrlRefused("unreadable") from None
    if len(url) > URL_MAX or parts.username is not None or parts.password is not None or not parts.path.startswith("/"):
        raise UrlRefused("odd")
    if not (is_local and parts.scheme == "http" and host in _LOCAL_HOSTS):
        if parts.scheme != "https" or port not in (None, 443):
            raise UrlRefused("neither https nor port 443")
        if not any(host.endswith(one) if one.startswith(".") else host == one for one in allowed_hosts):
            raise UrlRefused("a foreign host")
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))


class Flex:
    """The web service with one token. Safe to share between threads: a session each call, no state."""

    def __init__(
        self,
        token: SecretStr,
        *,
        token_name: str = "flex",  # noqa: S107 - the name of one
        send_url: str = SEND_URL,
        allowed_hosts: Sequence[str] = ALLOWED_HOSTS,
        is_local: bool = False,
        body_bytes_max: int = BODY_BYTES_MAX,
        send_seconds: float = SEND_SECONDS,
        fetch_seconds: float = FETCH_SECONDS,
        directory: Path | None = None,
    ) -> None:
        """``directory``: where bodies are spooled, the system's place for such files without it. Raises ``UrlRefused``."""
        self._token = token
        self._name = token_name
        self._hosts = tuple(allowed_hosts)
        self._is_local = is_local
        self._send_url = checked_url(send_url, allowed_hosts=self._hosts, is_local=is_local)
        self._bytes_max = min(body_bytes_max, BODY_BYTES_MAX)
        self._send_seconds = send_seconds
        self._fetch_seconds = fetch_seconds
        self._directory = directory

    @property
    def token_name(self) -> str:
        """The name under which pacing is kept."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """The first 8 hex digits of the token's sha256."""
        return hashlib.sha256(self._token.get_secret_value().encode()).hexdigest()[:8]

    def send(self, query_id: str, from_date: date, to_date: date) -> FlexAnswer:
        """Ask for a statement of the days, both inclusive."""
        asked = {"q": query_id, "fd": f"{from_date:%Y%m%d}", "td": f"{to_date:%Y%m%d}"}
        with tempfile.TemporaryFile() as file:
            failure = self._call(self._send_url, asked, file, self._send_seconds, STATUS_BYTES_MAX)
            file.seek(0)
            body = file.read()
        if failure is not None:
            return FlexAnswer(failure=failure, error_text=_head(body))
        answer = _status_answer(body)
        return answer if answer.statement_url is None else self._checked(answer)

    def fetch(self, statement_url: str, reference_code: str) -> FlexAnswer:
        """Fetch a statement at the address that ``send`` returned."""
        try:
            url = checked_url(statement_url, allowed_hosts=self._hosts, is_local=self._is_local)
        except UrlRefused:
            return FlexAnswer(failure="flex_url_refused")
        with tempfile.NamedTemporaryFile(prefix="flex-", suffix=".xml", dir=self._directory, delete=False) as file:
            path = Path(file.name)
            document = StatementFile(path)
            try:
                failure = self._call(url, {"q": reference_code}, file, self._fetch_seconds, self._bytes_max)
            except BaseException:
                document.close()
                raise
        return _document_answer(document, path, failure)

    def _checked(self, answer: FlexAnswer) -> FlexAnswer:
        try:
            checked_url(str(answer.statement_url), allowed_hosts=self._hosts, is_local=self._is_local)
        except UrlRefused:
            return FlexAnswer(failure="flex_url_refused")
        return answer

    def _call(self, url: str, asked: Mapping[str, str], file: IO[bytes], seconds: float, bytes_max: int) -> str | None:
        """GET once into ``file``; None, or the slug of what went wrong. The token is in the query: no exception goes out."""
        params = {"t": self._token.get_secret_value(), **asked, "v": "3"}
        headers = {"User-Agent": USER_AGENT, "Accept": "application/xml, text/xml"}
        deadline = clock.monotonic() + seconds
        try:
            with (
                outgoing.session(Retry(total=0, read=False, redirect=False), pool_size=1) as session,
                session.get(
                    url,
                    params=params,
                    headers=headers,
                    stream=True,
                    allow_redirects=False,
                    timeout=(min(CONNECT_SECONDS, seconds), seconds),
                ) as response,
            ):
                _spool(response, file, deadline, bytes_max)
                return None if response.status_code == 200 else f"flex_http_{response.status_code}"
        except Unavailable as error:
            return error.reason
        except requests.Timeout:
            return "flex_timeout"
        except requests.TooManyRedirects:
            return "flex_redirect"
        except (requests.RequestException, HTTPError, OSError, ValueError):
            return "flex_unreachable"


def _spool(response: requests.Response, file: IO[bytes], deadline: float, bytes_max: int) -> None:
    """Write the body, unpacked, as it arrives: a drip uses up the time, a flood the bytes."""
    size = 0
    while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
        size += len(chunk)
        if size > bytes_max:
            raise Unavailable("flex_too_large")
        if clock.monotonic() > deadline:
            raise Unavailable("flex_timeout")
        file.write(chunk)
    file.flush()


# --- what came --------------------------------------------------------------------------------------------------------


def _document_answer(document: StatementFile, path: Path, failure: str | None) -> FlexAnswer:
    with path.open("rb") as file:
        body = file.read(STATUS_BYTES_MAX)
    if failure is None and ROOT.encode() in body[:BODY_KEPT_BYTES]:
        return FlexAnswer(document=document)
    document.close()
    if failure is not None:
        return FlexAnswer(failure=failure, error_text=_head(body))
    answer = _status_answer(body)
    return answer if answer.reference_code is None else FlexAnswer(failure="flex_answer_unknown", error_text=_head(body))


def _status_answer(body: bytes) -> FlexAnswer:
    """Read a ``FlexStatementResponse``: a reference with its address, a code, or a failure."""
    told = _read_status(body)
    if told is None:
        return FlexAnswer(failure="flex_not_xml", error_text=_head(body))
    code, reference, url = told.get("ErrorCode", ""), told.get("ReferenceCode", ""), told.get("Url", "")
    if _CODE.fullmatch(code):
        return FlexAnswer(error_code=int(code), error_text=clipped(told.get("ErrorMessage", "")))
    if told.get("Status") == "Success" and _REFERENCE.fullmatch(reference) and url:
        return FlexAnswer(reference_code=reference, statement_url=url)
    return FlexAnswer(failure="flex_answer_unknown", error_text=_head(body))


def _head(body: bytes) -> str:
    return clipped(body[:BODY_KEPT_BYTES].decode("utf-8", "replace"))


def _read_status(body: bytes) -> dict[str, str] | None:
    """The fields of a status answer; None when it is none. Document types and entities are not read."""
    told: dict[str, str] = {}
    path: list[str] = []

    def start(name: str, _: Mapping[str, str]) -> None:
        path.append(name)
        if path[0] != "FlexStatementResponse" or len(path) > 2:
            raise ValueError("not a status answer")

    def end(_: str) -> None:
        path.pop()

    def text(data: str) -> None:
        if len(path) == 2 and path[1] in _FIELDS:
            told[path[1]] = told.get(path[1], "") + data

    def refuse(*_: object) -> None:
        raise ValueError("a document type")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError):  # the last: an encoding that there is not
        return None
    return {name: value.strip() for name, value in told.items()}
