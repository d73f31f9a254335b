"""What discord_notifier and its operator verbs are told: webhooks as secrets, routes, knobs. URLs and tokens stay masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator, model_validator

from fillbook.notify.routing import Settings
from fillbook.notify.webhook import API_BASE, Webhook, parse_webhook
from fillbook.runtime.config import LOOPBACK, DatabaseConfig, OidcConfig

if TYPE_CHECKING:
    from fillbook.notify.discord import Discord


class NotifierConfig(DatabaseConfig, OidcConfig):
    """The notifier's environment; missing and malformed names are reported together, never with a value."""

    discord_executions_webhook: SecretStr
    discord_ops_webhook: SecretStr
    discord_lanes_webhook: SecretStr | None = None
    discord_read_token: SecretStr | None = None
    discord_executions_thread_id: str | None = Field(default=None, pattern=r"^\d{15,20}$")
    discord_ops_thread_id: str | None = Field(default=None, pattern=r"^\d{15,20}$")
    discord_api_base: str = API_BASE
    discord_username: str = Field(default="Fillbook", min_length=1, max_length=80)
    notify_books: tuple[str, ...] = ("live", "ibkr:*", "mt5:*")
    notify_lanes_enabled: bool = False
    notify_digest_threshold: int = Field(default=10, ge=3, le=1000)
    notify_time_zone: str = "America/New_York"

    @field_validator("discord_executions_webhook", "discord_ops_webhook", "discord_lanes_webhook")
    @classmethod
    def _is_a_webhook(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_webhook(value.get_secret_value())
        return value

    @field_validator("notify_time_zone")
    @classmethod
    def _is_a_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError("is not a time zone") from None
        return value

    @model_validator(mode="before")
    @classmethod
    def _speak_to_discord_only(cls, values: Any) -> Any:
        base = values.get("discord_api_base") if isinstance(values, dict) else None
        if isinstance(base, str) and base.rstrip("/") != API_BASE and not _is_local(values.get("fillbook_env"), base):
            raise ValueError("DISCORD_API_BASE: another host than discord.com needs FILLBOOK_ENV=local and a loopback address")
        return values

    @model_validator(mode="after")
    def _lanes_need_a_webhook(self) -> Self:
        if self.notify_lanes_enabled and self.discord_lanes_webhook is None:
            raise ValueError("NOTIFY_LANES_ENABLED needs DISCORD_LANES_WEBHOOK")
        return self

    def settings(self) -> Settings:
        """Return what the room needs to know."""
        return Settings(
            books=self.notify_books,
            has_lanes=self.notify_lanes_enabled,
            digest_threshold=self.notify_digest_threshold,
            zone=ZoneInfo(self.notify_time_zone),
        )

    def discord(self) -> Discord:
        """Return the adapter for the configured webhooks; its HTTP client is imported here, by whoever is about to speak."""
        from fillbook.notify.discord import Discord

        given = {
            "executions": (self.discord_executions_webhook, self.discord_executions_thread_id),
            "ops": (self.discord_ops_webhook, self.discord_ops_thread_id),
            "lanes": (self.discord_lanes_webhook if self.notify_lanes_enabled else None, None),
        }
        webhooks = {}
        for name, (secret, thread_id) in given.items():
            if secret is not None:
                webhook_id, token = parse_webhook(secret.get_secret_value())
                webhooks[name] = Webhook(
                    webhook_id=webhook_id,
                    token=SecretStr(token),
                    secret_name=f"DISCORD_{name.upper()}_WEBHOOK",
                    thread_id=thread_id,
                )
        return Discord(
            webhooks, api_base=self.discord_api_base, read_token=self.discord_read_token, username=self.discord_username
        )


def _is_local(env: object, base: str) -> bool:
    try:
        parts = urlsplit(base)
        return env == "local" and parts.scheme in ("http", "https") and parts.hostname in LOOPBACK
    except ValueError:
        return False
