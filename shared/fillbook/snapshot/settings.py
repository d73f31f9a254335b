"""What the environment may choose for ``snapshot_api``."""

from __future__ import annotations

import re
from typing import Final

from pydantic import SecretStr, field_validator

from fillbook.runtime.config import DatabaseConfig

_ORIGIN: Final = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?")


class SnapshotApiConfig(DatabaseConfig):
    """Who may publish, who may read, and which pages of other origins may ask; empty means nobody."""

    internal_token: SecretStr | None = None
    internal_token_previous: SecretStr | None = None
    signing_secret: SecretStr | None = None
    metrics_keys: SecretStr = SecretStr("[]")
    cors_origins: tuple[str, ...] = ()

    @field_validator("cors_origins")
    @classmethod
    def _exact_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_ORIGIN.fullmatch(origin) for origin in origins):
            raise ValueError("origins are written as browsers send them: https://name[:port], without a path or a star")
        return origins

    @property
    def tokens(self) -> tuple[str, ...]:
        """The internal tokens that are taken: the one in force and, while it is being changed, the one before."""
        known = (self.internal_token, self.internal_token_previous)
        return tuple(token.get_secret_value() for token in known if token is not None)

    @property
    def signing(self) -> str | None:
        """The secret of the signature, where one is asked for."""
        return None if self.signing_secret is None else self.signing_secret.get_secret_value()
