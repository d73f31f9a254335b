"""What a function is told by its environment: one declared class per function, read on first call.

A field's name in capitals is the name of its environment variable. Everything that is missing or malformed is reported
together in one ``ConfigError`` that names variables and never repeats a value. An empty variable counts as not set.
Secrets are ``SecretStr`` and stay masked in every repr. This is the only module that looks at the environment.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Literal, Self, Union, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from fillbook.runtime import logs

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class ConfigError(Exception):
    """The environment does not configure this function; ``problems`` maps variable names to what is wrong."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(sorted(problems.items()))
        super().__init__("; ".join(f"{name}: {problem}" for name, problem in self.problems.items()))


class Config(BaseModel):
    """Base of every function's configuration; ``fillbook_local_url`` and ``fillbook_desk_clock`` exist only locally."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    local_only: ClassVar[frozenset[str]] = frozenset({"fillbook_local_url", "fillbook_desk_clock"})

    fillbook_env: Literal["local", "cloud"]
    fillbook_local_url: str | None = None
    fillbook_desk_clock: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _forget_what_is_local(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("fillbook_env") != "local":
            return {name: value for name, value in values.items() if name not in cls.local_only}
        return values

    @field_validator("fillbook_local_url")
    @classmethod
    def _only_loopback(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname not in LOOPBACK:
            raise ValueError("must be http on a loopback address")
        return url.rstrip("/")

    @classmethod
    def environment_names(cls) -> tuple[str, ...]:
        """Return the environment variables this class reads, sorted; the manifest is tested against it."""
        return tuple(sorted(name.upper() for name in cls.model_fields))

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the class from ``environ`` (default: the process environment); raises ``ConfigError`` with all problems."""
        source = os.environ if environ is None else environ
        problems: dict[str, str] = {}
        values: dict[str, Any] = {}
        for name, info in cls.model_fields.items():
            text = source.get(name.upper(), "")
            if text.strip():
                try:
                    values[name] = _listed(text) if _is_tuple(info.annotation) else text.strip()
                except ValueError:
                    problems[name.upper()] = "is neither a comma separated list nor a JSON array"
        try:
            config = cls(**values)
        except ValidationError as error:
            for item in error.errors(include_input=False, include_url=False, include_context=False):
                place = str(item["loc"][0]).upper() if item["loc"] else "FILLBOOK_DATABASE_URL"
                problems.setdefault(place, "is missing" if item["type"] == "missing" else item["msg"])
            raise ConfigError(problems) from None
        if problems:
            raise ConfigError(problems)
        logs.remember(secrets=tuple(_secrets(config)), project=getattr(config, "fillbook_project", ""))
        return config


def _secrets(config: Config) -> Iterator[str]:
    """Yield every secret value, the password inside a database URL, and each text of a JSON map, so that the logs mask them."""
    for value in dict(config).values():
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, SecretStr):
                text = item.get_secret_value()
                yield text
                yield from filter(None, [urlsplit(text).password if "://" in text else None])
                yield from _texts(text)


def _texts(text: str) -> Iterator[str]:
    """Yield the values of a secret that is a JSON map of texts: each of them is used alone."""
    if text.startswith("{"):
        try:
            found = json.loads(text)
        except ValueError:
            return
        yield from (value for value in found.values() if isinstance(value, str) and value)


def _is_tuple(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return any(_is_tuple(part) for part in get_args(annotation))
    return origin is tuple


def _listed(text: str) -> tuple[Any, ...]:
    if text.lstrip().startswith("["):
        items = json.loads(text)
        if not isinstance(items, list):
            raise ValueError("not a JSON array")
        return tuple(items)
    return tuple(item.strip() for item in text.split(",") if item.strip())


class DatabaseConfig(Config):
    """Where the database is: a URL, or a Cloud SQL instance with database name and user."""

    fillbook_database_url: SecretStr | None = None
    fillbook_database_instance: str | None = None
    fillbook_database_name: str | None = None
    fillbook_database_user: str | None = None

    @model_validator(mode="after")
    def _one_way_to_the_database(self) -> Self:
        parts = (self.fillbook_database_instance, self.fillbook_database_name, self.fillbook_database_user)
        if self.fillbook_database_url is None and None in parts:
            raise ValueError("set it, or FILLBOOK_DATABASE_INSTANCE, _NAME and _USER")
        if self.fillbook_database_url is not None and self.fillbook_database_instance is not None:
            raise ValueError("set either a URL or an instance, not both")
        return self


class OidcConfig(Config):
    """Who may call with an identity token; no audience or no caller means that nobody may.

    ``fillbook_oidc_platform_verified`` is set by the deployment for services without a public invoker only: there Cloud Run
    has verified the token and cut off its signature (``auth.py``).
    """

    fillbook_oidc_audience: str | None = None
    fillbook_oidc_callers: tuple[str, ...] = ()
    fillbook_oidc_platform_verified: bool = False


class PubSubConfig(Config):
    """The project whose topics are published to and whose jobs are started."""

    fillbook_project: str = Field(min_length=1)
