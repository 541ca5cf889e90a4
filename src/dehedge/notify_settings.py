"""Who is told, and when: the settings of messages and of the dead man's switch.

Both addresses hold keys, so both are secrets. Form only is checked here; which schemes there are is for apprise to know. A part
of ``config.Settings``.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings

from dehedge.addresses import find_notify_secrets, find_url_secrets, parse_notify_urls, parse_url, split_notify_urls


def _check_notify_urls(value: SecretStr) -> SecretStr:
    parse_notify_urls(value.get_secret_value())
    return value


def _check_heartbeat_url(value: SecretStr) -> SecretStr:
    parse_url(value.get_secret_value(), ("http", "https"))
    return value


class NotifySettings(BaseSettings):
    """A field's description says what is accepted."""

    notify_urls: Annotated[SecretStr, AfterValidator(_check_notify_urls)] | None = Field(
        None, description="one or more URLs of apprise, separated by commas"
    )
    notify_after_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        60, description="a number of seconds of 0 or more"
    )
    heartbeat_url: Annotated[SecretStr, AfterValidator(_check_heartbeat_url)] | None = Field(
        None, description="an http:// or https:// URL"
    )
    heartbeat_seconds: Annotated[float, Field(ge=1, allow_inf_nan=False)] = Field(
        60, description="a number of seconds of 1 or more"
    )

    @property
    def notify_list(self) -> list[str]:
        return split_notify_urls(self.notify_urls.get_secret_value()) if self.notify_urls is not None else []

    def find_notify_secrets(self) -> list[str]:
        """What of the addresses is a secret, in clear."""
        ping = find_url_secrets(self.heartbeat_url.get_secret_value()) if self.heartbeat_url is not None else []
        return [*ping, *(secret for url in self.notify_list for secret in find_notify_secrets(url))]
