"""What the environment may choose for ``snapshot_publisher``: views, the API and what opens it, the fallback.

Half a configuration is none: a fallback that lacks one of its three names, a refresh of views that are not ours. Secrets stay
masked; a problem names the variable and never a value. Source: snapshot specification, 2.2, 2.4, 4.6 and 4.7.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from fillbook.runtime.config import LOOPBACK, DatabaseConfig, OidcConfig, PubSubConfig
from fillbook.snapshot.source import ViewNames, checked_name

SECRET_CHARACTERS_MAX: Final = 512


def _address(url: str) -> str:
    """https, or http on this machine, and nothing but host, port and path."""
    parts = urlsplit(url)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    if not is_safe or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ValueError("must be https (http on a loopback address only), without user, query or fragment")
    return url.rstrip("/")


def _header_value(secret: SecretStr) -> SecretStr:
    """What is sent in a header has to fit one."""
    text = secret.get_secret_value()
    if not text.isascii() or not text.isprintable() or text != text.strip():
        raise ValueError("must be printable ASCII without spaces around it")
    return secret


Address = Annotated[str, Field(min_length=1), AfterValidator(_address)]
View = Annotated[str, AfterValidator(checked_name)]
Secret = Annotated[SecretStr, Field(min_length=1, max_length=SECRET_CHARACTERS_MAX)]
HeaderSecret = Annotated[Secret, AfterValidator(_header_value)]


class SnapshotPublisherConfig(DatabaseConfig, OidcConfig, PubSubConfig):
    """Settings of ``snapshot_publisher``."""

    model_config = ConfigDict(validate_default=True)  # a default, too, must fit what was set beside it

    snapshot_api_url: Address
    snapshot_endpoint: str = Field(default="/v1/internal/trades/snapshot", pattern=r"^(/[A-Za-z0-9._~-]+)+$")
    internal_token: HeaderSecret
    signing_secret: Secret | None = None
    snapshot_read_key: HeaderSecret | None = None

    mv_kpi_table: View = ViewNames().kpi
    mv_series_table: View = ViewNames().series
    mv_extremes_table: View = ViewNames().extremes
    mv_portfolio_table: View = ViewNames().portfolio
    snapshot_refresh: Literal["on", "off"] = "on"

    d1_api_base: Address = "https://api.cloudflare.com/client/v4"
    cf_account_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    cf_d1_database_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]{1,64}$")
    cloudflare_api_token: HeaderSecret | None = None

    @field_validator("snapshot_refresh")
    @classmethod
    def _only_our_views_are_refreshed(cls, refresh: str, given: ValidationInfo) -> str:
        ours = ViewNames()
        usual = {"kpi": ours.kpi, "series": ours.series, "extremes": ours.extremes, "portfolio": ours.portfolio}
        if refresh == "on" and any(given.data.get(f"mv_{name}_table", view) != view for name, view in usual.items()):
            raise ValueError("must be off where a view is not ours: nobody else's view is refreshed")
        return refresh

    @field_validator("cloudflare_api_token")
    @classmethod
    def _a_fallback_is_whole(cls, token: SecretStr | None, given: ValidationInfo) -> SecretStr | None:
        names = ("cf_account_id", "cf_d1_database_id")
        if any(name not in given.data for name in names):
            return token  # malformed itself, and reported already
        present = [given.data[name] is not None for name in names] + [token is not None]
        if any(present) and not all(present):
            raise ValueError("set CF_ACCOUNT_ID, CF_D1_DATABASE_ID and CLOUDFLARE_API_TOKEN, or none of them")
        return token

    @property
    def views(self) -> ViewNames:
        """The views that are published."""
        return ViewNames(
            kpi=self.mv_kpi_table, series=self.mv_series_table, extremes=self.mv_extremes_table, portfolio=self.mv_portfolio_table
        )

    @property
    def has_fallback(self) -> bool:
        """Whether a day may be written past a silent API."""
        return self.cloudflare_api_token is not None
