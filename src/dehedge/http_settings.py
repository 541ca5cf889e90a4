"""Where the daemon listens, as variables: a part of ``config.Settings``, and by itself all that its clients need.

What is given is what ``environment`` reads, files of secrets included.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dehedge.addresses import parse_host
from dehedge.environment import read_environment


class HttpAddress(BaseSettings):
    """Where the daemon listens and what it obeys: all that the commands which talk to it have to know."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    http_host: Annotated[str, AfterValidator(parse_host)] = Field(
        "127.0.0.1", description="an address or a host name to listen on"
    )
    http_port: int = Field(8780, ge=0, le=65_535, description="a port from 0 to 65535, 0 picks a free one")
    http_token: SecretStr | None = Field(None, description="a token for everything that changes something")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (``environment`` reads files of secrets as well)
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _EnvironmentSource(settings_cls)


class _EnvironmentSource(PydanticBaseSettingsSource):
    """``read_environment`` for pydantic-settings, whose own sources know no NAME_FILE."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        return read_environment().values.get(field_name.upper()), field_name, False

    def __call__(self) -> dict[str, Any]:
        values = read_environment().values
        return {name: values[name.upper()] for name in self.settings_cls.model_fields if name.upper() in values}
